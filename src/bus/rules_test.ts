/** Tests of rules on a bus: what a tick derives, what it refuses, and what a failure leaves. */

import assert from "node:assert/strict";
import type { MmsbError } from "../base/mod.ts";
import { FaultyStorage, MemoryStorage } from "../log/mod.ts";
import { defineRule, mirror, type Rule, type RuleContext } from "../propagation/mod.ts";
import { table } from "../schema/mod.ts";
import { type Page, StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22, segmentBytesMax: 65_536 };

function bytesOf(...values: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer);
}

function word(page: Page, at = 0): number {
  return new DataView(page.read().buffer).getInt32(4 * at, true);
}

function add(by: number): Rule {
  return defineRule({
    compute: (ctx) => ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + by),
  });
}

function of(compute: (ctx: RuleContext) => void): Rule {
  return defineRule({ compute });
}

async function pagesOf(bus: StateBus, count: number, size = 16): Promise<Page[]> {
  const pages = Array.from({ length: count }, () => bus.createPage({ size }));
  await bus.tick();
  return pages;
}

function refused(code: string, values: Record<string, unknown> = {}) {
  return (error: unknown): boolean => {
    const { code: found, values: given } = error as MmsbError;
    assert.equal(found, code, String(error));
    for (const [key, value] of Object.entries(values)) assert.deepEqual(given[key], value);
    return true;
  };
}

Deno.test("StateBus.rule() runs each rule at most once a tick, after all that it reads", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, left, right, sum] = await pagesOf(bus, 4);
  const seen: number[][] = [];
  bus.rule(
    of((ctx) => {
      seen.push([ctx.input(0).getInt32(0), ctx.input(1).getInt32(0)]);
      ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + ctx.input(1).getInt32(0));
    }),
    { name: "sum", inputs: [left, right], outputs: [sum] },
  );
  bus.rule(add(1), { name: "left", inputs: [a], outputs: [left] });
  bus.rule(add(10), { name: "right", inputs: [a], outputs: [right] });
  assert.equal((await bus.tick()).fired, 3);
  const report = await bus.commit(() => a.write(0, bytesOf(5)));
  assert.deepEqual([report.rows, report.fired, report.derived], [1, 3, 3]);
  assert.deepEqual(seen, [[1, 10], [6, 15]]);
  assert.deepEqual([a, left, right, sum].map((page) => page.epoch), [1, 2, 2, 2]);
});

Deno.test("A wave stops at outputs that stay as they are, and at writes that change nothing", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, parity, next] = await pagesOf(bus, 3);
  const low = of((ctx) => ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) & 1));
  bus.rule(low, { name: "parity", inputs: [a], outputs: [parity] });
  bus.rule(add(1), { name: "next", inputs: [parity], outputs: [next] });
  await bus.tick();
  const fired = async (value: number) => (await bus.commit(() => a.write(0, bytesOf(value)))).fired;
  assert.deepEqual([await fired(2), await fired(3), await fired(5), await fired(5)], [1, 2, 1, 0]);
  // Written to and fro in one run: as if nothing had been written.
  const fro = of((ctx) => {
    ctx.output(0).setInt32(4, 9);
    ctx.output(0).setInt32(0, ctx.input(0).getInt32(0));
    ctx.output(0).setInt32(4, 0);
    ctx.output(0).setInt32(0, 0);
  });
  const [same, after] = await pagesOf(bus, 2);
  bus.rule(fro, { name: "fro", inputs: [a], outputs: [same] });
  bus.rule(add(1), { name: "after", inputs: [same], outputs: [after] });
  await bus.tick();
  const report = await bus.commit(() => a.write(0, bytesOf(7)));
  assert.deepEqual([report.fired, report.derived, same.epoch], [2, 0, 0]);
});

Deno.test("A derived row holds the words that differ, joined where they follow each other", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const [a, out] = await pagesOf(bus, 2, 32);
  const write = of((ctx) => {
    const value = ctx.input(0).getInt32(0), to = ctx.output(0);
    for (const at of [5, 1, 2, 6]) to.setInt32(4 * at, value);
    to.setUint8(31, value);
  });
  bus.rule(write, { name: "write", inputs: [a], outputs: [out] });
  await bus.tick();
  await bus.commit(() => a.write(0, bytesOf(3)));
  const spans: unknown[] = [];
  for await (const { offset, after, source, before } of bus.history(out)) {
    spans.push([offset, after?.length, before?.length, source]);
  }
  assert.deepEqual(spans, [[4, 8, 8, "write"], [20, 12, 12, "write"]]);
  assert.equal(out.epoch, 2);
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("StateBus.rule() refuses what cannot be bound, and changes nothing then", async () => {
  await using bus = await StateBus.open(SMALL);
  await using other = await StateBus.open(SMALL);
  const [a, b, c, d] = await pagesOf(bus, 4), [foreign] = await pagesOf(other, 1);
  const rows = bus.createTable(table({ x: "i32" }), { name: "rows" });
  bus.rule(add(1), { name: "first", inputs: [a], outputs: [b], state: [d] });
  await bus.tick();
  const version = bus.graph.version;
  const bind = (options: Record<string, unknown>, rule: unknown = add(1)) => () =>
    bus.rule(rule as Rule, { name: "x", inputs: [b], outputs: [c], ...options } as never);
  assert.throws(bind({ outputs: [b] }), refused("usage", { other: "first", page: b.id }));
  assert.throws(bind({ outputs: [d] }), refused("usage", { other: "first" }));
  assert.throws(bind({ inputs: [d] }), refused("usage", { other: "first" }));
  assert.throws(bind({ name: "first" }), refused("usage", { rule: "first" }));
  assert.throws(bind({ outputs: [a] }), refused("cycle"));
  assert.throws(bind({ inputs: [c] }), refused("cycle", { page: c.id, cycle: [c.id] }));
  assert.throws(bind({ outputs: [] }), refused("usage"));
  assert.throws(bind({ outputs: [c, c] }), refused("usage"));
  assert.throws(bind({ outputs: [rows] }), refused("usage"));
  assert.throws(bind({ inputs: [foreign] }), refused("usage"));
  assert.throws(bind({ inputs: [4_000_000] }), refused("invalid-handle"));
  assert.throws(bind({ inputs: [1n] }), refused("usage"));
  assert.throws(bind({ inputs: 7 }), refused("usage"));
  assert.throws(bind({ name: "" }), refused("usage"));
  assert.throws(bind({ name: 5 }), refused("usage"));
  assert.throws(bind({ mode: "later" }), refused("usage"));
  assert.throws(bind({ every: 0 }), refused("out-of-bounds"));
  assert.throws(bind({ params: 1n }), refused("usage"));
  assert.throws(bind({ unknown: 1 }), refused("usage"));
  assert.throws(bind({}, { compute() {} }), refused("usage"));
  assert.throws(bind({}, "no url"), refused("usage"));
  assert.throws(bind({}, null), refused("usage"));
  assert.throws(() => bus.rule(add(1), null as never), refused("usage"));
  await bus.tick();
  assert.equal(bus.graph.version, version);
  bind({})();
  assert.throws(bind({ name: "y" }), refused("usage", { other: "x" }));
  await bus.tick();
  assert.equal(word(c), 2);
});

Deno.test("defineRule() refuses what is no rule", () => {
  const define = defineRule as (definition: unknown) => Rule;
  assert.throws(() => define(null), refused("usage"));
  assert.throws(() => define({}), refused("usage"));
  assert.throws(() => define({ compute: 1 }), refused("usage"));
  assert.throws(() => define({ compute() {}, fromDeltas: 1 }), refused("usage"));
  assert.throws(() => define({ compute() {}, version: -1 }), refused("out-of-bounds"));
  assert.throws(() => define({ compute() {}, other: 1 }), refused("usage"));
});

const FAILING: Readonly<Record<string, (ctx: RuleContext) => unknown>> = {
  "throws": () => {
    throw new Error("told to");
  },
  "throws what is no error": () => {
    // deno-lint-ignore no-throw-literal
    throw "no";
  },
  "writes past its output": (ctx) => ctx.output(0).setInt32(16, 1),
  "writes across the end": (ctx) => ctx.output(0).setFloat64(12, 1),
  "writes bytes past it": (ctx) => ctx.output(0).set(10, new Uint8Array(7)),
  "fills past it": (ctx) => ctx.output(0).fill(1, 10, 7),
  "writes at a place that is none": (ctx) => ctx.output(0).setUint8(-1, 1),
  "writes at half a byte": (ctx) => ctx.output(0).setInt32(0.5, 1),
  "writes no number": (ctx) => ctx.output(0).setFloat64(0, "1" as never),
  "writes no bigint": (ctx) => ctx.output(0).setBigInt64(0, 1 as never),
  "writes a bigint as number": (ctx) => ctx.output(0).setInt32(0, 1n as never),
  "writes NaN": (ctx) => ctx.output(0).setFloat64(0, NaN),
  "writes infinity": (ctx) => ctx.output(0).setFloat32(0, Infinity),
  "writes an input": (ctx) =>
    (ctx.input(0) as never as { setInt8(a: number, b: number): void }).setInt8(0, 1),
  "reads past its input": (ctx) => ctx.input(0).getInt16(15),
  "asks for an input that it has not": (ctx) => ctx.input(1),
  "asks for an output that it has not": (ctx) => ctx.output(1),
  "asks for state that it has not": (ctx) => ctx.state(0),
  "asks for the table of a page": (ctx) => ctx.input(0).table,
  "catches its own fault": (ctx) => {
    try {
      ctx.output(0).setInt32(99, 1);
    } catch {
      // It goes on as if nothing were.
    }
  },
  "is asynchronous": async () => {},
  "returns something": () => 5,
};

for (const [what, compute] of Object.entries(FAILING)) {
  Deno.test(`A rule that ${what} fails the tick and leaves everything as it was`, async () => {
    const storage = new MemoryStorage();
    await using bus = await StateBus.open({ ...SMALL, storage });
    const [a, before, out, after] = await pagesOf(bus, 4);
    let isFailing = false;
    bus.rule(add(1), { name: "before", inputs: [a], outputs: [before] });
    const rule = of((ctx) => {
      ctx.output(0).setInt32(0, ctx.input(0).getInt32(0));
      return isFailing ? compute(ctx) as void : undefined;
    });
    bus.rule(rule, { name: "failing", inputs: [before], outputs: [out], finite: true });
    const last = bus.rule(add(1), { name: "after", inputs: [out], outputs: [after] });
    await bus.commit(() => a.write(0, bytesOf(1)));
    const digest = bus.digest(), epochs = [a, before, out, after].map((page) => page.epoch);
    isFailing = true;
    // Twice, so that the older bytes must come back.
    a.write(0, bytesOf(9));
    a.write(0, bytesOf(2));
    await assert.rejects(
      bus.tick(),
      refused("rule", { rule: "failing", page: out.id, tick: bus.tickNumber + 1 }),
    );
    assert.equal(bus.digest(), digest);
    assert.deepEqual([a, before, out, after].map((page) => page.epoch), epochs);
    assert.equal(last.fired, 1);
    isFailing = false;
    const report = await bus.commit(() => a.write(0, bytesOf(3)));
    assert.deepEqual([report.fired, word(after)], [3, 5]);
    assert.equal((await bus.verify()).ok, true);
  });
}

Deno.test("A rule whose first run fails is not bound, and its page is as any other", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, out] = await pagesOf(bus, 2);
  const version = bus.graph.version;
  bus.rule(of(() => assert.fail("no")), { name: "no", inputs: [a], outputs: [out] });
  await assert.rejects(bus.tick(), refused("rule"));
  assert.equal(bus.graph.version, version);
  await bus.commit(() => out.write(0, bytesOf(4)));
  bus.rule(add(1), { name: "no", inputs: [a], outputs: [out] });
  await bus.tick();
  assert.equal(word(out), 1);
});

Deno.test("A page that a rule writes takes no other writes", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, out] = await pagesOf(bus, 2);
  const handle = bus.rule(add(1), { name: "add", inputs: [a], outputs: [out] });
  await bus.tick();
  out.write(0, bytesOf(9));
  await assert.rejects(bus.tick(), refused("usage", { rule: "add", page: out.id }));
  assert.equal(word(out), 1);
  handle.unbind();
  assert.throws(() => handle.unbind(), refused("invalid-handle"));
  await bus.tick();
  await bus.commit(() => out.write(0, bytesOf(9)));
  await bus.commit(() => a.write(0, bytesOf(9)));
  assert.equal(word(out), 9);
});

Deno.test("A log that cannot be written takes a wave back", async () => {
  const storage = new FaultyStorage({ seed: 5 });
  const bus = await StateBus.open({ ...SMALL, storage, durability: "always" });
  const [a, out] = await pagesOf(bus, 2);
  bus.rule(add(1), { name: "add", inputs: [a], outputs: [out] });
  await bus.commit(() => a.write(0, bytesOf(1)));
  const digest = bus.digest();
  storage.failWrites({ after: 0 });
  a.write(0, bytesOf(2));
  await assert.rejects(bus.tick());
  assert.equal(bus.digest(), digest);
  await bus.close().catch(() => {});
  const again = await StateBus.open({ ...SMALL, storage });
  assert.equal(again.digest(), digest);
  await again.close();
});

Deno.test("A context is good while its rule runs and no longer", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, out] = await pagesOf(bus, 2);
  let kept: RuleContext | undefined;
  const pages: {
    input?: { getInt32(at: number): number };
    output?: { setInt32(a: number, b: number): void };
  } = {};
  const rule = of((ctx) => {
    kept = ctx;
    pages.input = ctx.input(0);
    pages.output = ctx.output(0);
  });
  bus.rule(rule, { name: "keep", inputs: [a], outputs: [out] });
  await bus.tick();
  assert.throws(() => pages.input!.getInt32(0), refused("usage"));
  assert.throws(() => pages.output!.setInt32(0, 1), refused("usage"));
  assert.throws(() => kept!.input(0), refused("usage"));
  assert.equal(word(out), 0);
  const report = await bus.commit(() => a.write(0, bytesOf(1)));
  assert.equal(report.fired, 1);
});

Deno.test("Deferred and batch rules are stale until their turn, or until somebody asks", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, later, third] = await pagesOf(bus, 3);
  bus.rule(add(1), { name: "later", inputs: [a], outputs: [later], mode: "deferred" });
  bus.rule(add(1), { name: "third", inputs: [a], outputs: [third], mode: "batch", every: 3 });
  await bus.tick(); // tick 2
  await bus.tick(); // nothing to do
  assert.equal(bus.tickNumber, 2);
  await bus.commit(() => a.write(0, bytesOf(5))); // tick 3
  assert.deepEqual([word(later), later.stale, word(third), third.stale], [1, true, 6, false]);
  await bus.commit(() => a.write(0, bytesOf(6))); // tick 4
  assert.deepEqual([word(later), later.stale, word(third), third.stale], [7, false, 6, true]);
  await third.fresh(); // tick 5
  assert.deepEqual([word(third), third.stale, bus.tickNumber], [7, false, 5]);
  await third.fresh();
  assert.equal(bus.tickNumber, 5);
});

Deno.test("Edges of type control, compiler and gpu make stale, invalidate, and ask for a device", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, out, plain, code] = await pagesOf(bus, 4);
  const rule = bus.rule(add(1), { name: "add", inputs: [a], outputs: [out] });
  const [switchPage] = await pagesOf(bus, 1);
  bus.edge(switchPage, out, "control");
  bus.edge(switchPage, plain, "control");
  bus.edge(a, code, "compiler");
  await bus.tick();
  await bus.commit(() => switchPage.write(0, bytesOf(1)));
  assert.deepEqual([out.stale, plain.stale, code.invalidated], [true, true, false]);
  const { fired } = rule;
  await out.fresh();
  // Nothing that the rule reads has changed.
  assert.deepEqual([out.stale, rule.fired], [false, fired]);
  await plain.fresh();
  assert.equal(plain.stale, false);
  await bus.commit(() => a.write(0, bytesOf(1)));
  assert.equal(code.invalidated, true);
  await bus.commit(() => code.write(0, bytesOf(1)));
  assert.equal(code.invalidated, false);
});

Deno.test("mirror() hands a span on", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, out] = await pagesOf(bus, 2, 64);
  bus.rule(mirror({ from: 7, to: 3, length: 20 }), { name: "span", inputs: [a], outputs: [out] });
  await bus.tick();
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
  await bus.commit(() => a.write(0, bytes));
  assert.deepEqual([...out.read(3, 20)], [...bytes.subarray(7, 27)]);
  assert.deepEqual([...out.read(0, 3), ...out.read(23, 9)], new Array(12).fill(0));
  const report = await bus.commit(() => a.write(40, Uint8Array.of(9)));
  assert.deepEqual([report.fired, report.derived], [1, 0]);
});

Deno.test("A rule by module is loaded before the tick that binds it", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, out] = await pagesOf(bus, 2);
  const url = new URL("./testdata/double_rule.ts", import.meta.url);
  const handle = bus.rule(url, { name: "double", inputs: [a], outputs: [out] });
  assert.equal(handle.number, 0);
  await bus.commit(() => a.write(0, bytesOf(21)));
  assert.deepEqual([word(out), handle.version], [42, 3]);
  bus.rule(url, { name: "none", inputs: [a], outputs: [a], export: "nothing" });
  await assert.rejects(bus.tick(), refused("usage", { export: "nothing" }));
  const missing = new URL("./testdata/no_such_rule.ts", import.meta.url);
  const gone = bus.rule(missing, { name: "gone", inputs: [a], outputs: [a] });
  await assert.rejects(gone.ready);
  await assert.rejects(bus.tick(), refused("rule", { rule: "gone" }));
  await bus.tick();
});

Deno.test("Opening runs no rule: outputs stay, and binding again computes only what is stale", async () => {
  const storage = new MemoryStorage();
  let runs = 0;
  const counted = (version: number) =>
    defineRule({
      version,
      compute(ctx) {
        runs++;
        ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + version);
      },
    });
  let bus = await StateBus.open({ ...SMALL, storage });
  const [a, out] = (await pagesOf(bus, 2)).map(({ id }) => id);
  const bind = (version: number) =>
    bus.rule(counted(version), { name: "rule", inputs: [a], outputs: [out] });
  const reopen = async () => {
    await bus.close();
    bus = await StateBus.open({ ...SMALL, storage });
  };
  bind(1);
  await bus.commit(() => bus.page(a).write(0, bytesOf(5)));
  assert.deepEqual([word(bus.page(out)), runs], [6, 1]);
  await reopen();
  assert.deepEqual([word(bus.page(out)), bus.page(out).stale, runs], [6, false, 1]);
  bus.page(out).write(0, bytesOf(1));
  await assert.rejects(bus.tick(), refused("usage", { rule: "rule" }));
  const same = bind(1);
  await bus.tick();
  assert.deepEqual([runs, same.fired], [1, 0]);
  await bus.commit(() => bus.page(a).write(0, bytesOf(6)));
  assert.deepEqual([word(bus.page(out)), runs], [7, 2]);
  await reopen();
  await bus.commit(() => bus.page(a).write(0, bytesOf(7)));
  assert.deepEqual([word(bus.page(out)), bus.page(out).stale], [7, true]);
  await assert.rejects(bus.page(out).fresh(), refused("usage", { rule: "rule" }));
  await reopen();
  assert.equal(bus.page(out).stale, true);
  bind(1);
  await bus.tick();
  assert.deepEqual([word(bus.page(out)), bus.page(out).stale, runs], [8, false, 3]);
  await reopen();
  const number = bind(2).number;
  await bus.tick();
  assert.deepEqual([word(bus.page(out)), runs, number], [9, 4, 2]);
  await bus.close();
});

Deno.test("An incremental rule over a table sees each changed row once, old and new", async () => {
  await using bus = await StateBus.open({ ...SMALL, memoryLimitBytes: 2 ** 26 });
  const items = bus.createTable(table({ small: "u8", half: "i16", big: "f64", flag: "bool" }));
  const out = bus.createPage({ size: 32 });
  const seen: { rows: number[]; before: unknown[]; after: unknown[]; first: number }[] = [];
  const sum = defineRule({
    compute(ctx) {
      let total = 0;
      for (const chunk of ctx.input(0).table.chunks("big")) {
        for (const value of chunk as Float64Array) total += value;
      }
      ctx.output(0).setFloat64(0, total);
    },
    fromDeltas(ctx, changes) {
      assert.equal(changes.next(), false);
      assert.equal(changes.has(0), true);
      const rows = changes.table(0), old = rows.before("big"), now = rows.after("big");
      let total = ctx.output(0).getFloat64(0);
      for (let i = 0; i < rows.count; i++) total += Number(now[i]) - Number(old[i]);
      ctx.output(0).setFloat64(0, total);
      const values = (of: "before" | "after") =>
        Array.from(
          { length: rows.count },
          (_, i) => ["small", "half", "big", "flag"].map((column) => Number(rows[of](column)[i])),
        );
      seen.push({
        rows: [...rows.rows.subarray(0, rows.count)],
        before: values("before"),
        after: values("after"),
        first: rows.lengthBefore,
      });
    },
  });
  bus.rule(sum, { name: "sum", inputs: [items], outputs: [out] });
  const row = (n: number) => ({ small: [n], half: [-n], big: [n / 2], flag: [n % 2 === 1] });
  await bus.commit(() => {
    for (let n = 0; n < 300; n++) items.append(row(n % 100));
  });
  const total = () => new DataView(out.read().buffer).getFloat64(0, true);
  const expected = () => {
    let sum = 0;
    for (let i = 0; i < items.length; i++) sum += items.get(i, "big");
    return sum;
  };
  assert.equal(total(), expected());
  await bus.commit(() => {
    items.set(299, { big: 7 });
    items.set(3, { small: 200, flag: false });
    items.set(3, { small: 201 });
    items.set(5, { half: 1 });
    items.append({ small: [0], half: [0], big: [0], flag: [false] });
  });
  const { rows, before, after, first } = seen.pop()!;
  const order = rows.map((_, i) => i).sort((a, b) => rows[a] - rows[b]);
  assert.deepEqual(order.map((i) => rows[i]), [3, 5, 299, 300]);
  assert.deepEqual(order.map((i) => before[i]), [
    [3, -3, 1.5, 1],
    [5, -5, 2.5, 1],
    [99, -99, 49.5, 1],
    [0, 0, 0, 0],
  ]);
  assert.deepEqual(order.map((i) => after[i]), [
    [201, -3, 1.5, 0],
    [5, 1, 2.5, 1],
    [99, -99, 7, 1],
    [0, 0, 0, 0],
  ]);
  assert.equal(first, 300);
  assert.equal(total(), expected());
  // More rows than the chunks so far hold: the tick makes new ones.
  await bus.commit(() => {
    for (let n = 0; n < 3000; n++) items.append(row(n % 256));
  });
  assert.equal(seen.pop()!.rows.length, 3000);
  assert.equal(total(), expected());
});

Deno.test("A crash keeps what rules made, and recovery runs none", async () => {
  const storage = new FaultyStorage({ seed: 7 });
  const bus = await StateBus.open({ ...SMALL, storage, durability: "always" });
  const [a, b, c] = await pagesOf(bus, 3);
  let runs = 0;
  const count = of((ctx) => {
    runs++;
    ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + 1);
  });
  bus.rule(count, { name: "b", inputs: [a], outputs: [b] });
  bus.rule(count, { name: "c", inputs: [b], outputs: [c], mode: "deferred" });
  for (let i = 1; i <= 5; i++) await bus.commit(() => a.write(0, bytesOf(i)));
  const digest = bus.digest(), before = runs;
  const crashed = storage.crash({ keep: "none" });
  const again = await StateBus.open({ ...SMALL, storage: crashed });
  assert.deepEqual([again.digest(), runs, word(again.page(c.id))], [digest, before, 7]);
  assert.equal(again.page(c.id).stale, false);
  assert.equal((await again.verify()).ok, true);
  await again.close();
  await bus.close();
});

Deno.test("RuleHandle.fired counts the runs of ticks that were, in each level", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, b, c, d, e] = await pagesOf(bus, 5);
  const picky = of((ctx) => {
    const value = ctx.input(0).getInt32(0);
    if (value === 13) throw new Error("not this one");
    ctx.output(0).setInt32(0, value);
  });
  const handles = [
    bus.rule(add(1), { name: "first", inputs: [a], outputs: [b] }),
    bus.rule(add(1), { name: "beside", inputs: [b], outputs: [c] }),
    bus.rule(picky, { name: "picky", inputs: [b], outputs: [d] }),
    bus.rule(add(1), { name: "last", inputs: [d], outputs: [e] }),
  ];
  const fired = () => handles.map((handle) => handle.fired);
  await bus.commit(() => a.write(0, bytesOf(1)));
  assert.deepEqual(fired(), [1, 1, 1, 1]);
  for (let i = 0; i < 3; i++) {
    await assert.rejects(bus.commit(() => a.write(0, bytesOf(12))), refused("rule"));
    assert.deepEqual(fired(), [1, 1, 1, 1]);
  }
  await bus.commit(() => a.write(0, bytesOf(20)));
  assert.deepEqual([...fired(), word(e)], [2, 2, 2, 2, 22]);
  // Another rule has all of them laid out anew; the counts stay.
  const [f] = await pagesOf(bus, 1);
  bus.rule(add(1), { name: "new", inputs: [e], outputs: [f] });
  await bus.commit(() => a.write(0, bytesOf(30)));
  assert.deepEqual(fired(), [3, 3, 3, 3]);
});

Deno.test("An output that is written to and fro out of order, and stays as it was, hides no other", async () => {
  await using bus = await StateBus.open(SMALL);
  const [a, quiet, loud, next] = await pagesOf(bus, 4);
  const both = of((ctx) => {
    const fro = ctx.output(0);
    for (const value of [1, 0]) {
      for (const at of [4, 0]) fro.setInt32(at, value);
    }
    ctx.output(1).setInt32(0, ctx.input(0).getInt32(0));
  });
  bus.rule(both, { name: "both", inputs: [a], outputs: [quiet, loud] });
  bus.rule(add(1), { name: "next", inputs: [loud], outputs: [next] });
  await bus.tick();
  const report = await bus.commit(() => a.write(0, bytesOf(5)));
  assert.deepEqual([report.fired, report.derived, word(loud), word(next)], [2, 2, 5, 6]);
  assert.deepEqual([quiet, loud, next].map((page) => page.epoch), [0, 1, 2]);
});
