/** The spreadsheet beside the same sums done by hand, and beside a model that computes all anew. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { StateBus } from "@mmsb/mmsb";
import { fillSheet, main, Sheet } from "./spreadsheet.ts";
import { cellsBetween, parseFormula, type Value } from "./spreadsheet_formulas.ts";

/** What `fillSheet` asks for, in arrays. */
function byHand(rows: number, quantity: (row: number) => number, tax: number) {
  const d: number[] = [], e: number[] = [], f: number[] = [], g: Value[] = [];
  for (let row = 1; row <= rows; row++) {
    d.push(quantity(row) * ((13 * row) % 97 + 0.5) * tax);
    e.push((e.at(-1) ?? 0) + d.at(-1)!);
    const window = d.slice(-9);
    f.push(window.reduce((sum, x) => sum + x, 0) / window.length);
    g.push(e.at(-1) === 0 ? "#DIV/0!" : d.at(-1)! / e.at(-1)! * 100);
  }
  return { d, e, f, g };
}

Deno.test("a sheet holds what the same sums give in arrays, and an edit computes what depends on it", async () => {
  const rows = 60, quantity = (row: number) => row === 1 ? 0 : (7 * row) % 11 + 1;
  await using bus = await StateBus.open();
  const sheet = new Sheet(bus);
  fillSheet(sheet, rows);
  assert.equal((await bus.tick()).fired, 5 * rows);
  const compare = (wanted: ReturnType<typeof byHand>) => {
    for (const [column, values] of Object.entries(wanted)) {
      values.forEach((value, i) =>
        assert.equal(sheet.get(`${column.toUpperCase()}${i + 1}`), value, `${column}${i + 1}`)
      );
    }
  };
  compare(byHand(rows, quantity, 1.2));
  sheet.set("A50", 77);
  // C50 and D50, E50 to E60, F50 to F58, G50 to G60.
  assert.equal((await bus.tick()).fired, 2 + 11 + 9 + 11);
  compare(byHand(rows, (row) => row === 50 ? 77 : quantity(row), 1.2));
});

Deno.test("Sheet equals a model that computes all anew, after any edits and a new opening", async () => {
  const cells = cellsBetween("A1", "C3");
  const operand = fc.oneof(
    fc.constantFrom(...cells),
    fc.integer({ min: 0, max: 9 }).map(String),
    fc.constantFrom("SUM(A1:B2)", "MAX(B1:C3)", "AVERAGE(A3:C3,4)"),
  );
  const formula = fc.tuple(operand, fc.constantFrom("+", "-", "*"), operand, operand)
    .map(([a, operator, b, c]) => `=(${a}${operator}${b})*-${c}`);
  const edit = fc.tuple(
    fc.constantFrom(...cells),
    fc.oneof(fc.integer({ min: -99, max: 99 }), formula),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { maxLength: 25 }), async (edits) => {
      const dir = await Deno.makeTempDir({ prefix: "mmsb-sheet-" });
      try {
        const model = new Map<string, number | string>();
        const compare = (sheet: Sheet) => {
          const values = valuesOf(model, cells);
          for (const name of model.keys()) assert.equal(sheet.get(name), values!.get(name), name);
        };
        {
          await using bus = await StateBus.open({ dir, durability: "buffered" });
          const sheet = new Sheet(bus);
          for (const [name, content] of edits) {
            const isCyclic = valuesOf(new Map(model).set(name, content), cells) === undefined;
            if (isCyclic) assert.throws(() => sheet.set(name, content), /cannot depend on itself/);
            else {
              sheet.set(name, content);
              model.set(name, content);
            }
            await bus.tick();
            compare(sheet);
          }
        }
        await using bus = await StateBus.open({ dir, durability: "buffered" });
        const sheet = new Sheet(bus);
        assert.equal((await bus.tick()).fired, 0);
        compare(sheet);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    }),
    { numRuns: 15 },
  );
});

/** All values by JavaScript's own evaluation of the text; `undefined` for a cycle. */
function valuesOf(contents: ReadonlyMap<string, number | string>, cells: readonly string[]) {
  const values = new Map<string, number>(), open = new Set<string>();
  const functions = {
    SUM: (...all: number[]) => all.reduce((sum, x) => sum + x, 0),
    MAX: (...all: number[]) => all.length === 0 ? 0 : Math.max(...all),
    AVERAGE: (...all: number[]) => all.reduce((sum, x) => sum + x, 0) / all.length,
    cell: (name: string) => contents.has(name) ? value(name) : 0,
    cells: (first: string, last: string) =>
      cells.filter((name) =>
        contents.has(name) && name[0] >= first[0] && name[0] <= last[0] &&
        name[1] >= first[1] && name[1] <= last[1]
      ).sort((a, b) => a[1].localeCompare(b[1]) || a[0].localeCompare(b[0])).map(value),
  };
  const value = (name: string): number => {
    if (values.has(name)) return values.get(name)!;
    if (open.has(name)) throw new RangeError("cycle");
    open.add(name);
    const content = contents.get(name)!;
    // As the sheet has it, -c is 0 - c.
    const text = String(content).replace("=", "").replace(/\*-(.*)$/, "*(0-$1)")
      .replace(/\b([A-C]\d):([A-C]\d)\b/g, '...cells("$1","$2")')
      .replace(/(?<!")\b([A-C]\d)\b/g, 'cell("$1")');
    const result = typeof content === "number"
      ? content
      : new Function(...Object.keys(functions), `return ${text}`)(...Object.values(functions));
    values.set(name, result);
    return result;
  };
  try {
    for (const name of contents.keys()) value(name);
    return values;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

Deno.test("a formula that cannot be read is refused, and the cell keeps what it had", async () => {
  await using bus = await StateBus.open();
  const sheet = new Sheet(bus);
  sheet.set("A1", 2);
  sheet.set("B1", "=A1*3");
  await bus.tick();
  for (
    const text of ["A1", "=", "=A1+", "=FOO(1)", "=(A1", "=A1:A2", "=toString(1)", "=1 2", "=SUM()"]
  ) {
    assert.throws(() => sheet.set("B1", text), /Cannot read the formula/, text);
    assert.throws(() => parseFormula(text), /Cannot read the formula/);
  }
  sheet.set("A1", 5);
  await bus.tick();
  assert.deepEqual([sheet.formula("B1"), sheet.get("B1")], ["=A1*3", 15]);
});

Deno.test("errors are values that spread, and go with their cause", async () => {
  await using bus = await StateBus.open();
  const sheet = new Sheet(bus);
  sheet.set("A1", 1);
  sheet.set("B1", "=A1/A2");
  sheet.set("C1", "=SUM(A1:B1)+1");
  sheet.set("D1", `=${"9".repeat(300)}*${"9".repeat(300)}`);
  await bus.tick();
  assert.deepEqual(["B1", "C1", "D1"].map((name) => sheet.get(name)), [
    "#DIV/0!",
    "#DIV/0!",
    "#NUM!",
  ]);
  sheet.set("A2", 4);
  await bus.tick();
  assert.deepEqual(["B1", "C1"].map((name) => sheet.get(name)), [0.25, 2.25]);
});

Deno.test("spreadsheet.ts tells what it did", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-sheet-" });
  try {
    const lines: string[] = [];
    await main({ dir, rows: 30 }, (line) => lines.push(line));
    const text = lines.join("\n");
    assert.match(text, /^Filled {4}150 formulas: 150 computed, /m);
    assert.match(text, /^Edit {6}A30 ← 500: 5 of 150 formulas computed/m);
    assert.match(text, /depend on itself: C1 → D1 → E1 → E2 → G2 → C1$/m);
    assert.match(text, /A1 = 3 {3}\(user: a late booking, tick 5\)$/m);
    assert.match(text, /^Reopened {2}150 formulas in \d+ ms, 0 computed/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("an example does not empty a directory that holds anything else", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-sheet-" });
  try {
    await Deno.writeTextFile(`${dir}/letter.txt`, "dear");
    await assert.rejects(main({ dir, rows: 2 }, () => {}), /where "letter\.txt" is/);
    assert.equal(await Deno.readTextFile(`${dir}/letter.txt`), "dear");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
