/**
 * The validators on a user's own data: any single byte that is changed by hand is named, rules and invariants of a
 * module are run against what is stored, and nothing of the directory changes.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { MmsbError } from "../base/mod.ts";
import { StateBus, type Table } from "../bus/mod.ts";
import { auditLog, MemoryStorage, salvageStorage } from "../log/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { struct, table } from "../schema/mod.ts";
import { wrongBytes } from "./_own_bytes.ts";
import { accountFor, auditOwn, indexFaults } from "./_own_damage.ts";
import { integrityOf } from "./_own_integrity.ts";
import { invariantsOf } from "./_own_invariants.ts";
import { provenanceOf } from "./_own_provenance.ts";
import { purityOf } from "./_own_purity.ts";
import { pagesText } from "./_own_words.ts";
import type { Measured, ValidatorContext } from "./validator.ts";

const Quote = struct({ bid: "f64", ask: "f64" });
const TRADES = { price: "f64" } as const, Trades = table(TRADES);
const TICKS = 40;

const PROPAGATION = JSON.stringify(import.meta.resolve("../propagation/mod.ts"));
const SCHEMA = JSON.stringify(import.meta.resolve("../schema/mod.ts"));

/** Rules over structs and a table, one of them from changes and one that reads what it writes. */
const RULES = `
import { defineRule } from ${PROPAGATION};
import { struct, table } from ${SCHEMA};
const Quote = struct({ bid: "f64", ask: "f64" }), Trades = table({ price: "f64" });
const middle = defineRule({
  compute(ctx) {
    const quote = ctx.input(0).struct(Quote);
    ctx.output(0).setFloat64(0, (quote.get("bid") + quote.get("ask")) / 2);
  },
});
const total = defineRule({
  compute(ctx) {
    let sum = 0;
    for (const chunk of ctx.input(0).tableOf(Trades).chunks("price")) for (const price of chunk) sum += price;
    ctx.output(0).setFloat64(0, sum);
  },
  fromDeltas(ctx, changes) {
    const rows = changes.table(0, Trades), before = rows.before("price"), after = rows.after("price");
    let sum = ctx.output(0).getFloat64(0);
    for (let i = 0; i < rows.count; i++) sum += after[i] - before[i];
    ctx.output(0).setFloat64(0, sum);
  },
});
const count = defineRule({
  compute(ctx) {
    ctx.output(0).setUint32(0, ctx.output(0).getUint32(0) + 1);
  },
});
export const rules = { middle, total, count };
export const invariants = {
  "bid is below ask": (at) => {
    const view = new DataView(at.read(at.find("quote")).buffer);
    return view.getFloat64(0, true) <= view.getFloat64(8, true);
  },
};
`;

/** Ticks with rules, a table and checkpoints, closed. */
async function fill(options: { dir: string } | { storage: MemoryStorage }): Promise<void> {
  const { rules } = await import(`data:text/typescript,${encodeURIComponent(RULES)}`);
  await using bus = await StateBus.open({ ...options, durability: "buffered" });
  const quote = bus.create(Quote, { name: "quote" });
  const trades: Table<typeof TRADES> = bus.createTable(Trades, { name: "trades" });
  const [middle, total, count] = ["middle", "total", "count"].map((name) =>
    bus.createPage({ size: 8, name })
  );
  bus.rule(rules.middle, { name: "middle", inputs: [quote], outputs: [middle] });
  bus.rule(rules.total, { name: "total", inputs: [trades], outputs: [total] });
  bus.rule(rules.count, { name: "count", inputs: [quote], outputs: [count] });
  await bus.tick();
  for (let tick = 1; tick <= TICKS; tick++) {
    quote.set({ bid: tick, ask: tick + 2 }, { source: "feed", intent: `step ${tick}` });
    trades.append({ price: [tick, 0.5] }, { source: "feed" });
    if (tick % 10 === 0) trades.set(0, { price: tick });
    await bus.commit();
    if (tick === 20 && "storage" in options) await bus.checkpoint();
  }
}

async function withData<T>(use: (dir: string, rules: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-own-" });
  try {
    await fill({ dir: `${folder}/data` });
    await Deno.writeTextFile(`${folder}/rules.ts`, RULES);
    return await use(`${folder}/data`, `file://${folder}/rules.ts`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function contextOf(more: Partial<ValidatorContext> = {}): ValidatorContext {
  return { quick: false, seed: 1, progress() {}, ...more };
}

function textOf({ notes = [], damage = "", leftOut = "" }: Measured): string {
  return [...notes, damage, leftOut].join("\n");
}

Deno.test("any byte that is changed in a directory is named with its place, and all else can be saved", async () => {
  const whole = new MemoryStorage();
  await fill({ storage: whole });
  const image = whole.image();
  const files = [...image.keys()].filter((path) => image.get(path)!.length > 0);
  assert(files.some((file) => file.endsWith(".ckpt")) && files.includes("meta.json"));
  const cases = fc.record({
    file: fc.constantFrom(...files),
    at: fc.nat(2 ** 31),
    change: fc.integer({ min: 1, max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ file, at, change }) => {
      const copy = new Map([...image].map(([path, bytes]) => [path, bytes.slice()]));
      const bytes = copy.get(file)!, offset = at % bytes.length, written = bytes[offset];
      bytes[offset] ^= change;
      const storage = new MemoryStorage({ image: copy });
      const audit = await auditOwn(storage, async () => auditLog(storage));
      const { damaged } = indexFaults(storage);
      if (file === "meta.json" && audit.problems.length === 0) {
        // A space for a line break: it means the same.
        assert.match(String.fromCharCode(written), /\s/);
        return;
      }
      const account = audit.problems.length === 0
        ? { places: damaged }
        : await accountFor(storage, audit, () => {});
      const place = account.places.find((place) => place.file === file);
      assert.deepEqual(place?.byte, { file, offset, found: bytes[offset], written });
      if (!file.endsWith(".log")) return;
      const target = new MemoryStorage(), saved = await salvageStorage(storage, target);
      assert.deepEqual(auditLog(target).problems, []);
      const lost = saved.ticksLost.flatMap(({ first, last }) => [first, last]);
      assert(lost.length === 0 || place!.ticks !== undefined, "a tick that is lost is named");
      for (const tick of lost) {
        assert.deepEqual([place!.ticks!.first, place!.ticks!.last], [tick, tick]);
      }
      const hurt = saved.pagesHurt.map(({ page }) => page);
      const named = new Set(place!.pages.map(({ page }) => page));
      assert(hurt.every((page) => named.has(page)), "a page that is hurt is named");
    }),
    { numRuns: 40 },
  );
});

Deno.test("more than one wrong byte: the ticks and pages are those that a salvage misses", async () => {
  await withData(async (dir) => {
    const path = `${dir}/lane-00/0000000001.log`, bytes = await Deno.readFile(path);
    const at = new TextDecoder("latin1").decode(bytes).indexOf("step 17");
    bytes.fill(0xaa, at, at + 5);
    await Deno.writeFile(path, bytes);
    const measured = await integrityOf(dir, contextOf()), text = textOf(measured);
    assert.match(
      text,
      /lane-00\/0000000001\.log, from byte \d+ on: a frame of tick 18: its body's checksum is wrong/,
    );
    assert.match(text, /tick 18, pages \d+ "quote"/);
    assert.match(text, /a salvage would save 40 ticks, up to tick 41; lost: tick 18/);
    assert.match(measured.damage!, /; tick 18, pages \d+ "quote"[^;]*$/);
    assert.match(text, /^what to do: .* mmsb log salvage \S+ --to \S+-saved$/m);
    for (const validate of [purityOf, invariantsOf, provenanceOf]) {
      const { leftOut, damage } = await validate(dir, contextOf());
      assert.match(leftOut!, /damaged: validator 2 says where/);
      assert.equal(damage, leftOut);
    }
  });
});

Deno.test("rules of a module agree with what is stored, also from changes and where they read what they write", async () => {
  await withData(async (dir, rules) => {
    const measured = await purityOf(dir, contextOf({ rules })), text = textOf(measured);
    assert.deepEqual(measured.metrics, { sideEffects: 0, agreePercent: 100 }, text);
    assert.match(text, /^3 of 3 rules checked/);
    assert.match(text, /; 2[14] runs from changes$/m);
    const path = `${rules.slice("file://".length)}.more.ts`;
    await Deno.writeTextFile(path, RULES.replace("count };", "count, other: middle };"));
    const more = textOf(await purityOf(dir, contextOf({ rules: `file://${path}` })));
    assert.match(more, /^given, but no rule of that name is bound: "other"$/m);
    assert.match(
      (await purityOf(dir, contextOf())).leftOut!,
      /3 rules, whose code is not in the data/,
    );
  });
});

Deno.test("a rule that is not what was stored is found by its name, page and tick", async () => {
  await withData(async (dir, rules) => {
    const path = rules.slice("file://".length);
    const outcome = async (from: string, to: string) => {
      const changed = RULES.replace(from, to);
      assert.notEqual(changed, RULES);
      const other = path.replace("rules.ts", `rules${crypto.randomUUID()}.ts`);
      await Deno.writeTextFile(other, changed);
      return await purityOf(dir, contextOf({ rules: `file://${other}`, ruleTimeoutMs: 2000 }));
    };
    const wrong = await outcome("/ 2)", "/ 2 + 1)");
    assert(wrong.metrics.agreePercent < 100);
    assert.match(
      textOf(wrong),
      /rule "middle" of page \d+, tick 41: it computes other bytes than are stored/,
    );
    const impure = await outcome("let sum = 0;", "let sum = 0 * Math.random();");
    assert(impure.metrics.sideEffects > 0);
    assert.match(textOf(impure), /Math\.random was asked/);
    const drifting = await outcome(
      "sum += after[i] - before[i]",
      "sum += 2 * after[i] - before[i]",
    );
    assert.match(
      textOf(drifting),
      /rule "total" of page \d+, tick \d+: from changes it computes other/,
    );
    const failing = await outcome("let sum = 0;", 'let sum = 0; throw new Error("no price");');
    assert.match(textOf(failing), /rule "total" of page \d+, tick \d+: it fails: .*no price/);
    const older = await outcome(
      "const total = defineRule({",
      "const total = defineRule({ version: 7,",
    );
    assert.match(textOf(older), /another version .*"total": version 7 is given, 1 is bound/);
    const missing = await outcome("{ middle, total, count }", "{ middle, total, cuont: count }");
    assert.match(textOf(missing), /no code was given for: "count"/);
    assert.match(textOf(missing), /no rule of that name is bound: "cuont"/);
    await assert.rejects(outcome("let sum = 0;", "let sum = 0; for (;;);"), {
      code: "rule",
      message: /rule "total" of \S+: it was not done after 2000 ms/,
    });
  });
});

Deno.test("a module that cannot be used is refused in one line", async () => {
  await withData(async (dir, rules) => {
    const path = rules.slice("file://".length);
    for (
      const [text, message] of [
        ["export const x = ;", /Cannot use the rules of file:\S+: /],
        ["export const x = 1;", /it exports no rules and no invariants/],
        ['throw new Error("not today");', /not today/],
        ["export const rules = { a: 1 };", /Cannot use "a" as a rule/],
        ['export function rules() { throw new Error("no bus"); }', /"rules" failed: .*no bus/],
        ["export const invariants = { a: 1 };", /invariant "a" is no function/],
      ] as const
    ) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(purityOf(dir, contextOf({ rules })), (error: MmsbError) => {
        assert.equal(error.code, "usage", error.message);
        assert.match(error.message, message);
        return !error.message.includes("\n");
      });
    }
  });
});

Deno.test("invariants of a module are asked of stored states, and say which does not hold when", async () => {
  await withData(async (dir, rules) => {
    const good = await invariantsOf(dir, contextOf({ rules, quick: true }));
    assert.equal(good.metrics.failures, 0, textOf(good));
    assert.match(textOf(good), /1 invariant of the user's asked 3 times: "bid is below ask"/);
    await Deno.writeTextFile(rules.slice("file://".length), RULES.replace("<=", ">"));
    const bad = await invariantsOf(dir, contextOf({ rules, quick: true }));
    assert.equal(bad.metrics.failures, 3);
    assert.match(
      textOf(bad),
      /invariant "bid is below ask" does not hold after tick 41: it returned false/,
    );
  });
});

Deno.test("a checkpoint whose end is not one is looked at without reading past it", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ storage });
  bus.createPage({ size: 64, name: "board" });
  await bus.commit();
  await bus.checkpoint();
  const file = "checkpoints/000000000001.ckpt", whole = storage.readAll(file)!;
  for (const junk of [0, 1, 65, 255]) {
    for (const bytes of [999, 64, 8]) {
      const changed = new Uint8Array(whole.length + bytes).fill(junk);
      changed.set(whole);
      const copy = new MemoryStorage({ image: new Map([[file, changed]]) });
      assert.deepEqual(wrongBytes(copy, file).filter(({ offset }) => offset < 0), []);
    }
    const copy = new MemoryStorage({ image: new Map([[file, whole.map(() => junk)]]) });
    assert.deepEqual(wrongBytes(copy, file), []);
  }
});

Deno.test("explanations of a directory agree with its log", async () => {
  await withData(async (dir) => {
    const { metrics, notes } = await provenanceOf(dir, contextOf());
    assert.equal(metrics.resolvedPercent, 100, notes!.join("\n"));
    assert.equal(metrics.depthMax, 1);
  });
});

Deno.test("pages that are born while a directory is looked at are not asked about as of before", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-validators-" });
  try {
    await using bus = await StateBus.open({ dir });
    const before = bus.createPage({ size: 8, name: "before" });
    await bus.commit(() => before.write(0, Uint8Array.of(1)));
    const { tickNumber } = bus;
    const later = bus.createPage({ size: 8, name: "later" });
    await bus.commit(() => later.write(0, Uint8Array.of(2)));
    const { metrics, samples } = await provenanceOf(
      dir,
      contextOf({ bus: { tickNumber } as StateBus }),
    );
    assert.equal(metrics.resolvedPercent, 100);
    assert.equal(samples, 1);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("pagesText() names some pages and counts the others", () => {
  const pages = Array.from({ length: 1010 }, (_, i) => ({ page: i + 1, name: i === 0 ? "a" : "" }));
  assert.equal(pagesText(pages), 'pages 1 "a", 2, 3, 4, 5, 6, 7, 8 and 1,002 more');
  assert.equal(pagesText(pages.slice(1, 2)), "page 2");
});

Deno.test("a rule of a program runs where the program does", async () => {
  await withData(async (dir) => {
    const count = defineRule({
      compute: (ctx) => ctx.output(0).setUint32(0, ctx.output(0).getUint32(0) + 1),
    });
    const measured = await purityOf(dir, contextOf({ givenRules: { count } }));
    assert.deepEqual(measured.metrics, { sideEffects: 0, agreePercent: 100 }, textOf(measured));
    assert.match(textOf(measured), /1 of 3 rules checked; .*, in this thread alone$/m);
  });
});
