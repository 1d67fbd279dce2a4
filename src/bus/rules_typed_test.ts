/** Tests of structs and tables in rules, by their schemas. */

import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { MmsbError } from "../base/mod.ts";
import { defineRule, type RuleContext, type RuleStructOutput } from "../propagation/mod.ts";
import { bytes, struct, table, utf8 } from "../schema/mod.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };
const All = struct({
  i8: "i8",
  u8: "u8",
  i16: "i16",
  flag: "bool",
  u16: "u16",
  i32: "i32",
  u32: "u32",
  i64: "i64",
  u64: "u64",
  f32: "f32",
  f64: "f64",
  id: bytes(5),
  text: utf8(11),
});

Deno.test("RulePage.struct() reads what Struct.set() wrote, and writes what Struct.get() reads", async () => {
  await using bus = await StateBus.open(SMALL);
  const from = bus.create(All, { name: "from" }), to = bus.create(All, { name: "to" });
  const whole = bus.create(All, { name: "whole" });
  const copy = defineRule({
    compute(ctx) {
      const input = ctx.input(0).struct(All), output = ctx.output(0).struct(All);
      for (const { name } of All.fields) {
        const field = name as "f64";
        output.set(field, input.get(field));
      }
      ctx.output(1).struct(All).set(input.get());
    },
  });
  bus.rule(copy, { name: "copy", inputs: [from], outputs: [to, whole] });
  const value = fc.record({
    i8: fc.integer({ min: -128, max: 127 }),
    u8: fc.integer({ min: 0, max: 255 }),
    i16: fc.integer({ min: -32_768, max: 32_767 }),
    flag: fc.boolean(),
    u16: fc.integer({ min: 0, max: 65_535 }),
    i32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    u32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    f32: fc.float(),
    f64: fc.double(),
    id: fc.uint8Array({ minLength: 5, maxLength: 5 }),
    text: fc.string({ maxLength: 11 }).filter((text) =>
      new TextEncoder().encode(text).length <= 11
    ),
  });
  await fc.assert(
    fc.asyncProperty(value, async (set) => {
      await bus.commit(() => from.set(set));
      assert.deepEqual(to.get(), from.get());
      assert.deepEqual(whole.get(), from.get());
      assert.equal(from.get("i64"), set.i64);
    }),
    { numRuns: 60 },
  );
});

Deno.test("RulePage.struct() makes nothing anew in each run, and serves what was", async () => {
  await using bus = await StateBus.open(SMALL);
  const Small = struct({ a: "i32", b: "f64" });
  const from = bus.create(Small), to = bus.create(Small);
  const seen = new Set<RuleStructOutput<{ a: "i32"; b: "f64" }>>(), changes: number[][] = [];
  const rule = defineRule(
    {
      compute(ctx) {
        seen.add(ctx.output(0).struct(Small));
        ctx.output(0).struct(Small).set("b", ctx.input(0).struct(Small).get("b"));
      },
      fromDeltas(ctx, deltas) {
        const before = deltas.before(0).struct(Small), now = ctx.input(0).struct(Small);
        changes.push([before.get("a"), now.get("a"), before.get("b"), now.get("b")]);
        this.compute!(ctx);
      },
    } as Parameters<typeof defineRule>[0],
  );
  bus.rule(rule, { name: "r", inputs: [from], outputs: [to] });
  await bus.tick();
  await bus.commit(() => from.set({ a: 5 }));
  await bus.commit(() => from.set({ b: 2.5 }));
  assert.deepEqual(changes, [[0, 5, 0, 0], [5, 5, 0, 2.5]]);
  assert.equal(seen.size, 1);
  // Good while the rule runs and no longer.
  const [kept] = seen;
  assert.throws(() => kept.get("a"), { code: "usage" });
  assert.throws(() => kept.set("a", 1), { code: "usage" });
});

const Point = struct({ x: "i16", name: utf8(4) });
const Rows = table({ n: "i32", label: utf8(8), big: "u64" });
const refusals: [string, RegExp, (ctx: RuleContext) => unknown][] = [
  [
    "a field that there is not",
    /Cannot find "y" in the struct: it has x, name/,
    (ctx) => ctx.input(0).struct(Point).get("y" as "x"),
  ],
  [
    "a number out of range",
    /Cannot use 40000 as "x"/,
    (ctx) => ctx.output(0).struct(Point).set("x", 40_000),
  ],
  [
    "a value of another type",
    /as "x"/,
    (ctx) => ctx.output(0).struct(Point).set({ x: "1" as never }),
  ],
  [
    "text that is too long",
    /Cannot use/,
    (ctx) => ctx.output(0).struct(Point).set("name", "abcde"),
  ],
  [
    "writing an input",
    /the rule only reads it/,
    (ctx) => (ctx.input(0).struct(Point) as RuleStructOutput<typeof Point.definition>).set("x", 1),
  ],
  [
    "a schema that is none",
    /give what struct\(\) made/,
    (ctx) => ctx.input(0).struct({ x: "i16" } as never),
  ],
  [
    "a struct that is larger than the page",
    /its size is/,
    (ctx) => ctx.input(0).struct(struct({ a: bytes(4000), b: "i32" })).get("b"),
  ],
  ["a page as a table", /it is none/, (ctx) => ctx.input(0).tableOf(Rows)],
  [
    "a column that there is not",
    /Cannot find column "m"/,
    (ctx) => ctx.input(1).tableOf(table({ n: "i32", m: "i32" })),
  ],
  [
    "a column of another type",
    /Cannot read column "n" of table \d+ as f64: it is i32/,
    (ctx) => ctx.input(1).tableOf(table({ n: "f64" })),
  ],
  ["a table by no schema", /give what table\(\) made/, (ctx) => ctx.input(1).tableOf({} as never)],
];

for (const [what, message, use] of refusals) {
  Deno.test(`A rule that uses ${what} fails its tick`, async () => {
    await using bus = await StateBus.open(SMALL);
    const point = bus.create(Point), rows = bus.createTable(Rows), out = bus.create(Point);
    bus.rule(defineRule({ compute: (ctx) => void use(ctx) }), {
      name: "r",
      inputs: [point, rows],
      outputs: [out],
    });
    await assert.rejects(bus.tick(), (error: MmsbError) => {
      assert.equal(error.code, "rule");
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("RuleInput.tableOf() and changes.table() give columns of their types", async () => {
  await using bus = await StateBus.open(SMALL);
  const rows = bus.createTable(Rows, { name: "rows" });
  const out = bus.createPage({ size: 16, name: "out" });
  const Numbers = table({ n: "i32" }), labels: string[] = [];
  const rule = defineRule({
    compute(ctx) {
      const all = ctx.input(0).tableOf(Numbers);
      let sum = 0;
      for (const chunk of all.chunks("n")) for (const n of chunk) sum += n;
      ctx.output(0).setInt32(0, sum);
      if (all.length > 0) labels.push(ctx.input(0).tableOf(Rows).get(0, "label"));
    },
    fromDeltas(ctx, changes) {
      const changed = changes.table(0, Numbers);
      const before: Int32Array = changed.before("n"), after: Int32Array = changed.after("n");
      let sum = ctx.output(0).getInt32(0);
      for (let i = 0; i < changed.count; i++) sum += after[i] - before[i];
      ctx.output(0).setInt32(0, sum);
      return changed.length === 3 ? undefined : "full";
    },
  });
  bus.rule(rule, { name: "sum", inputs: [rows], outputs: [out] });
  await bus.commit(() => rows.append({ n: [1, 2, 3], label: ["a", "b", "c"], big: [1n, 2n, 3n] }));
  await bus.commit(() => rows.set(1, { n: 20 }));
  assert.equal(new DataView(out.read().buffer).getInt32(0, true), 24);
  await bus.commit(() => rows.append({ n: [4], label: ["d"], big: [4n] }));
  assert.equal(new DataView(out.read().buffer).getInt32(0, true), 28);
  assert.deepEqual(new Set(labels), new Set(["a"]));
});
