#!/usr/bin/env -S deno run -A
/**
 * A spreadsheet: every cell is a page of 16 bytes, every formula a rule.
 *
 * What it shows: rules over small pages, a change that recomputes what depends on it and nothing else,
 * errors as values, refused cycles, `bus.explain`, and a sheet that is there again after closing.
 *
 * ```sh
 * deno run -A examples/spreadsheet.ts               # 10,000 formulas in ./data/sheet, made anew
 * deno run -A examples/spreadsheet.ts --rows 20     # 100 of them
 * deno task mmsb explain data/sheet G2              # a question from the shell
 * ```
 *
 * To try: another formula in `fillSheet`, or a function beside `SUM` in spreadsheet_formulas.ts, which
 * parses and computes formulas and knows nothing of the bus.
 */

import {
  defineRule,
  type ExplainedPage,
  isMmsbError,
  type Page,
  type RuleHandle,
  type RuleInput,
  StateBus,
} from "@mmsb/mmsb";
import { flagsOf } from "./_flags.ts";
import { removeOldRun } from "./_fresh_directory.ts";
import { evaluate, parseFormula, type Value } from "./spreadsheet_formulas.ts";

/** A cell is a number (8 bytes) and its state (4 bytes), which says whether it is one. */
const CELL_BYTES = 16, STATE_AT = 8, NUMBER = 1;
const STATES = ["", "number", "#DIV/0!", "#NUM!"];
const cellValue = (number: number, state: number) =>
  state === NUMBER ? number : STATES[state] as Value;

/** What the bytes of a cell say. */
export function decodeCell(bytes: Uint8Array): Value {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return cellValue(view.getFloat64(0, true), view.getUint32(STATE_AT, true));
}

function readCell(cell: RuleInput): Value {
  return cellValue(cell.getFloat64(0), cell.getUint32(STATE_AT));
}

/** A sheet: names of cells to pages, formulas to rules. */
export class Sheet {
  readonly bus: StateBus;
  readonly #formulas = new Map<string, { readonly text: string; readonly rule: RuleHandle }>();

  /** The sheet on a bus. Opening runs no code: formulas that are stored there are bound here again. */
  constructor(bus: StateBus) {
    this.bus = bus;
    for (const page of bus.pages()) {
      const text = new TextDecoder().decode(page.metadata.get("formula"));
      if (text !== "") this.#bind(page, text);
    }
  }

  /** Number of formulas. */
  get formulas(): number {
    return this.#formulas.size;
  }

  /** The formula of a cell, "" for none. */
  formula(name: string): string {
    return this.#formulas.get(name)?.text ?? "";
  }

  /** The value of a cell, as of the last tick. */
  get(name: string): Value {
    return decodeCell(this.#cell(name).read());
  }

  /** Stages a number, or a formula such as `=SUM(A1:A9)+B2*2`; the next tick makes it real. */
  set(name: string, content: number | string, intent = ""): void {
    const cell = this.#cell(name), old = this.formula(name);
    if (typeof content === "number") {
      this.#formulas.get(name)?.rule.unbind();
      this.#formulas.delete(name);
      const bytes = new Uint8Array(CELL_BYTES), view = new DataView(bytes.buffer);
      view.setFloat64(0, content, true);
      view.setUint32(STATE_AT, NUMBER, true);
      cell.write(0, bytes, { source: "user", intent });
    } else {
      try {
        this.#bind(cell, content);
      } catch (error) {
        throw isMmsbError(error, "cycle") ? this.#cycleError(error.values.cycle) : error;
      }
    }
    if (this.formula(name) !== old) {
      cell.setMetadata({ formula: new TextEncoder().encode(this.formula(name)) });
    }
  }

  #cell(name: string): Page {
    return this.bus.find(name) ?? this.bus.createPage({ size: CELL_BYTES, name });
  }

  /** Makes a rule for a cell: a closure over its parsed formula. */
  #bind(cell: Page, text: string): void {
    const { cells, tree } = parseFormula(text);
    const rule = defineRule({
      compute(ctx) {
        const value = evaluate(tree, (index) => readCell(ctx.input(index)));
        const isNumber = typeof value === "number";
        ctx.output(0).setFloat64(0, isNumber ? value : 0);
        ctx.output(0).setUint32(STATE_AT, isNumber ? NUMBER : STATES.indexOf(value));
      },
    });
    const bound = this.bus.rule(rule, {
      name: cell.name,
      inputs: cells.map((name) => this.#cell(name)),
      outputs: [cell],
      params: text, // stored with the binding: another text is another rule, and is computed
      replace: true, // in the place of the cell's old formula, which stays if this one is refused
    });
    this.#formulas.set(cell.name, { text, rule: bound });
  }

  /** An error that names cells and not pages. */
  #cycleError(pages: unknown): Error {
    const names = (pages as number[]).map((id) => this.bus.page(id).name);
    return new Error(`A cell cannot depend on itself: ${[...names, names[0]].join(" → ")}`);
  }
}

/** Fills a sheet with sales: quantity A, price B, and five formulas a row. */
export function fillSheet(sheet: Sheet, rows: number): void {
  sheet.set("H1", 1.2); // tax
  for (let row = 1; row <= rows; row++) {
    sheet.set(`A${row}`, row === 1 ? 0 : (7 * row) % 11 + 1);
    sheet.set(`B${row}`, (13 * row) % 97 + 0.5);
    sheet.set(`C${row}`, `=A${row}*B${row}`);
    sheet.set(`D${row}`, `=C${row}*H1`);
    sheet.set(`E${row}`, row === 1 ? "=D1" : `=E${row - 1}+D${row}`); // running total
    sheet.set(`F${row}`, `=AVERAGE(D${Math.max(1, row - 8)}:D${row})`);
    sheet.set(`G${row}`, `=D${row}/E${row}*100`); // share of the total, in per cent
  }
}

const number = (value: number) => value.toLocaleString("en");
const show = (value: Value) => typeof value === "number" ? String(+value.toFixed(4)) : value;

/** The lines of an explanation: each page with the value that it had in that tick. */
async function* explain(sheet: Sheet, page: ExplainedPage, indent = ""): AsyncGenerator<string> {
  const { bytes } = await sheet.bus.pageAt(page.id, { tick: page.tick! });
  const why = page.kind === "derived"
    ? sheet.formula(page.name)
    : `${page.deltas[0].source}${page.deltas[0].intent && `: ${page.deltas[0].intent}`}`;
  yield `${indent}${page.name} = ${show(decodeCell(bytes))}   (${why}, tick ${page.tick})`;
  for (const parent of page.parents) yield* explain(sheet, parent, indent + "  ");
}

/** The program. */
export async function main(
  { dir, rows }: { readonly dir: string; readonly rows: number },
  print: (line: string) => void = console.log,
): Promise<void> {
  await removeOldRun(dir);
  const last = rows, middle = Math.ceil(rows / 2);
  {
    await using bus = await StateBus.open({ dir });
    const sheet = new Sheet(bus);
    let started = performance.now();
    const ms = () => `${(performance.now() - started).toFixed(1)} ms`;
    fillSheet(sheet, rows);
    let report = await bus.tick();
    print(
      `Filled    ${number(sheet.formulas)} formulas: ${number(report.fired)} computed, ${ms()}`,
    );
    print(`Values    E${last} = ${show(sheet.get(`E${last}`))} (running total)`);
    print(`Errors    G1 = ${show(sheet.get("G1"))}, as nothing was sold in row 1`);

    const edit = async (name: string, content: number | string, intent: string) => {
      started = performance.now();
      sheet.set(name, content, intent);
      report = await bus.tick();
      print(
        `Edit      ${name} ← ${content}: ${number(report.fired)} of ${number(sheet.formulas)} ` +
          `formulas computed, ${ms()}; E${last} = ${show(sheet.get(`E${last}`))}`,
      );
    };
    await edit(`A${last}`, 500, "a large order"); // the first tick after binding puts the rules in order
    await edit(`A${last}`, 501, "one more");
    await edit(`A${middle}`, 10, "a wrong figure");
    await edit("A1", 3, "a late booking");
    await edit("H1", 1.19, "another tax");
    await edit(`F${last}`, `=MAX(D1:D${Math.min(9, last)})`, "");

    try {
      sheet.set("C1", "=G2");
    } catch (error) {
      print(`Refused   C1 ← =G2: ${(error as Error).message}`);
    }
    await bus.tick();

    print(`\nWhy G2 = ${show(sheet.get("G2"))}?`);
    const { root } = await bus.explain(bus.find("G2")!);
    for await (const line of explain(sheet, root)) print(`  ${line}`);
  }

  const started = performance.now();
  await using bus = await StateBus.open({ dir });
  const sheet = new Sheet(bus);
  const { fired } = await bus.tick();
  print(
    `\nReopened  ${number(sheet.formulas)} formulas in ` +
      `${(performance.now() - started).toFixed(0)} ms, ${fired} computed; ` +
      `E${last} = ${show(sheet.get(`E${last}`))}`,
  );
  sheet.set("A1", 0);
  await bus.tick();
  print(`Goes on   A1 ← 0: G1 = ${show(sheet.get("G1"))}`);
}

if (import.meta.main) {
  const rows = { help: "rows of the sheet", value: 2000, min: 2, max: 100_000, isWhole: true };
  await main(flagsOf("spreadsheet.ts", "./data/sheet", { rows }));
}
