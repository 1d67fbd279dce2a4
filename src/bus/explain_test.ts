import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { defineRule, type Rule } from "../propagation/mod.ts";
import { table } from "../schema/mod.ts";
import {
  type ExplainOptions,
  type Explanation,
  type OpenOptions,
  type Page,
  StateBus,
} from "./mod.ts";

const SMALL: OpenOptions = { memoryLimitBytes: 2 ** 23 };

/** The sum of the inputs' first words, and of the version. */
function sumOf(inputs: number, version = 1): Rule {
  return defineRule({
    version,
    compute(ctx) {
      let total = version - 1;
      for (let at = 0; at < inputs; at++) total += ctx.input(at).getUint32(0);
      ctx.output(0).setUint32(0, total);
    },
  });
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value & 255, value >> 8 & 255, 0, 0);
}

/** A source and a chain of derived pages behind it. */
async function chain(bus: StateBus, length: number): Promise<Page[]> {
  const pages = [bus.createPage({ size: 4, name: "source" })];
  for (let at = 1; at <= length; at++) {
    const page = bus.createPage({ size: 4, name: `step ${at}` });
    bus.rule(sumOf(1), { name: `rule ${at}`, inputs: [pages.at(-1)!], outputs: [page] });
    pages.push(page);
  }
  await bus.tick();
  return pages;
}

function namesOf(explanation: Explanation): string[] {
  return [...explanation].map(({ name }) => name);
}

Deno.test("Explanation.truncated is set where the way is longer than the depth, and only there", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const pages = await chain(bus, 40);
  await bus.commit(() => pages[0].write(0, word(7), { source: "feed" }));
  const whole = await bus.explain(pages[31]);
  assert.deepEqual([whole.depth, whole.pages, whole.truncated, whole.complete], [
    31,
    32,
    false,
    true,
  ]);
  assert.deepEqual(whole.sources().map(({ name }) => name), ["source"]);
  const cut = await bus.explain(pages[32]);
  assert.deepEqual([cut.depth, cut.pages, cut.truncated, cut.complete], [31, 32, true, false]);
  assert.deepEqual([...cut].at(-1)!.end, "depth");
  assert.deepEqual(cut.sources(), []);
  const near = await bus.explain(pages[40], { depth: 2 });
  assert.deepEqual(namesOf(near), ["step 40", "step 39", "step 38"]);
  assert.match(near.toText(), /further away than the depth asked for/);
});

Deno.test("StateBus.explain() tells parents as they were when the value was made, whatever came since", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const [a, b, out] = ["a", "b", "out"].map((name) => bus.createPage({ size: 4, name }));
  await bus.tick();
  const least = defineRule({
    version: 1,
    compute(ctx) {
      ctx.output(0).setUint32(0, Math.min(ctx.input(0).getUint32(0), ctx.input(1).getUint32(0)));
    },
  });
  bus.rule(least, { name: "least", inputs: [a, b], outputs: [out] });
  await bus.commit(() => [a, b].forEach((page) => page.write(0, word(5))));
  // The larger one changes: the least one does not, and is what it was made of before.
  await bus.commit(() => b.write(0, word(9)));
  const before = await bus.explain(out);
  assert.deepEqual([before.tick, before.root.tick], [3, 2]);
  assert.deepEqual(before.root.parents.map(({ name, epoch, tick }) => [name, epoch, tick]), [
    ["a", 1, 2],
    ["b", 1, 2],
  ]);
  await bus.commit(() => a.write(0, word(6)));
  const after = await bus.explain(out);
  assert.deepEqual(after.root.parents.map(({ name, epoch, tick }) => [name, epoch, tick]), [
    ["a", 2, 4],
    ["b", 2, 3],
  ]);
  assert.deepEqual(after.root.deltas.map(({ before, after }) => [before![0], after![0]]), [[5, 6]]);
});

Deno.test("StateBus.explain() names the version of a rule that was bound then, and parents that are gone", async () => {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ ...SMALL, storage });
  const [old, other, out] = ["old", "other", "out"].map((name) =>
    bus.createPage({ size: 4, name })
  );
  await bus.commit(() => old.write(0, word(1), { source: "feed" }));
  const first = bus.rule(sumOf(1, 1), { name: "rule", inputs: [old], outputs: [out] });
  await bus.tick();
  first.unbind();
  await bus.tick();
  bus.rule(sumOf(1, 7), { name: "rule", inputs: [other], outputs: [out] });
  await bus.tick();
  await bus.commit(() => old.delete());
  const lines = async (of: StateBus, options: ExplainOptions) => {
    const { root: { rule, parents } } = await of.explain(out.id, options);
    return [rule!.number, rule!.name, rule!.version, parents.map(({ name }) => name).join()];
  };
  assert.deepEqual(await lines(bus, { tick: 3 }), [1, "rule", 1, "old"]);
  assert.deepEqual(await lines(bus, { tick: 2 }), [1, "rule", 1, "old"]);
  assert.deepEqual(await lines(bus, {}), [2, "rule", 7, "other"]);
  await assert.rejects(bus.explain(old), { code: "invalid-handle" });
  const gone = await bus.explain(old, { tick: 4 });
  assert.deepEqual([gone.root.name, gone.root.deltas[0].source], ["old", "feed"]);
  await bus.close();
  await using reader = await StateBus.open({ ...SMALL, storage, readOnly: true });
  assert.deepEqual(await lines(reader, { tick: 3 }), [1, "rule", 1, "old"]);
  await using past = await bus.closed ? await reader.at({ tick: 3 }) : reader;
  assert.deepEqual(await lines(past, {}), [1, "rule", 1, "old"]);
  await assert.rejects(past.explain(out.id, { tick: 5 }), { code: "out-of-bounds" });
});

Deno.test("StateBus.explain() says where the horizon hides what came before: a dropped log", async () => {
  const storage = new MemoryStorage();
  const options: OpenOptions = {
    ...SMALL,
    storage,
    segmentBytes: 4096,
    segmentBytesMax: 4096,
    checkpoints: { keep: 1, log: "drop", everyBytes: Infinity },
  };
  await using bus = await StateBus.open(options);
  const [a, b, filler] = ["a", "b", "filler"].map((name) => bus.createPage({ size: 600, name }));
  const sum = bus.createPage({ size: 4, name: "sum" });
  bus.rule(sumOf(2), { name: "sum", inputs: [a, b], outputs: [sum] });
  await bus.commit(() => [a, b].forEach((page) => page.write(0, word(5), { source: "early" })));
  for (let tick = 0; tick < 30; tick++) {
    await bus.commit(() => filler.write(0, new Uint8Array(600).fill(tick + 1)));
  }
  assert.equal((await bus.explain(sum)).complete, true);
  await bus.checkpoint();
  assert(bus.horizon > 3, `horizon ${bus.horizon}`);
  const early = await bus.explain(sum);
  assert.deepEqual([early.complete, early.root.end, early.horizon], [
    false,
    "horizon",
    bus.horizon,
  ]);
  assert.deepEqual([early.root.epoch, early.root.parents.length], [sum.epoch, 0]);
  await bus.commit(() => a.write(0, word(6), { source: "late" }));
  const late = await bus.explain(sum);
  assert.deepEqual([late.root.end, late.complete], [undefined, false]);
  const [first, second] = late.root.parents;
  assert.deepEqual([first.end, first.deltas[0].source, first.epoch], [undefined, "late", 2]);
  assert.deepEqual([second.name, second.end, second.epoch], ["b", "horizon", 1]);
  assert.match(late.toText(), new RegExp(`what is before tick ${bus.horizon} is gone`));
  await assert.rejects(bus.explain(sum, { tick: 1 }), { code: "out-of-bounds" });
});

Deno.test("StateBus.explain() says where the horizon hides what came before: a compacted log", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({
    ...SMALL,
    storage,
    segmentBytes: 4096,
    segmentBytesMax: 4096,
  });
  const [a, b] = ["a", "b"].map((name) => bus.createPage({ size: 600, name }));
  const sum = bus.createPage({ size: 4, name: "sum" });
  bus.rule(sumOf(2), { name: "sum", inputs: [a, b], outputs: [sum] });
  for (let tick = 1; tick <= 60; tick++) {
    await bus.commit(() => a.write(0, new Uint8Array(600).fill(tick), { source: "early" }));
  }
  const { merged } = await bus.compact();
  assert(merged && bus.horizon > 10);
  await bus.commit(() => b.write(0, word(5), { source: "late" }));
  const { root, complete } = await bus.explain(sum);
  assert.deepEqual([root.kind, root.epoch, root.rule?.name], ["derived", sum.epoch, "sum"]);
  const [ofA, ofB] = root.parents;
  assert.deepEqual([ofA.epoch, ofB.epoch, ofB.deltas[0].source], [a.epoch, b.epoch, "late"]);
  const atHorizon = await bus.explain(a, { tick: bus.horizon });
  assert.deepEqual([atHorizon.root.end, atHorizon.complete], ["horizon", false]);
  assert.equal(complete, ofA.tick! > bus.horizon);
});

Deno.test("StateBus.explain() of a table goes through all its pages", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const trades = bus.createTable(table({ price: "f64", size: "u32" }), { name: "trades" });
  const total = bus.createPage({ size: 8, name: "total" });
  const add = defineRule({
    version: 1,
    compute(ctx) {
      let sum = 0;
      for (const chunk of ctx.input(0).table.chunks("size")) {
        for (const size of chunk) sum += Number(size);
      }
      ctx.output(0).setFloat64(0, sum);
    },
  });
  await bus.commit(() => trades.append({ price: [1, 2], size: [10, 20] }, { source: "feed-a" }));
  bus.rule(add, { name: "add", inputs: [trades], outputs: [total] });
  await bus.tick();
  await bus.commit(() => trades.set(1, { size: 25 }, { source: "correction" }));
  const { root } = await bus.explain(total);
  const [parent] = root.parents;
  assert.deepEqual([parent.name, parent.kind, parent.tick], ["trades", "source", bus.tickNumber]);
  assert(parent.pages > 2, "the root, a directory and the columns");
  assert.equal(parent.deltas[0].source, "correction");
  assert.notEqual(parent.deltas[0].page, parent.id);
  const before = await bus.explain(trades, { tick: bus.tickNumber - 1, deltas: 9 });
  const sources = new Set(before.root.deltas.map(({ source }) => source));
  assert(sources.has("feed-a") && !sources.has("correction"));
  const now = await bus.explain(trades);
  assert.equal(await bus.explain(trades), now);
  await bus.commit(() => trades.set(0, { size: 11 }, { source: "again" }));
  assert.equal((await bus.explain(trades)).root.deltas[0].source, "again");
});

Deno.test("StateBus.explain() of a part of a page tells of the deltas that touched it", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 1024 });
  for (let tick = 1; tick <= 600; tick++) {
    await bus.commit(() => page.write(tick < 10 ? 0 : 512, word(tick), { source: `feed ${tick}` }));
  }
  const part = await bus.explain(page, { offset: 1, length: 4 });
  const [{ source, offset, length, before, after }] = part.root.deltas;
  assert.deepEqual([source, offset, length, part.root.tick, part.root.epoch], [
    "feed 9",
    1,
    3,
    9,
    9,
  ]);
  assert.deepEqual([before!.join(), after!.join()], ["0,0,0", "0,0,0"]);
  const whole = await bus.explain(page, { offset: 0, length: 2, deltas: 1 });
  assert.deepEqual([whole.root.deltas[0].before!.join(), whole.root.deltas[0].after!.join()], [
    "8,0",
    "9,0",
  ]);
  assert.equal(whole.root.more, true);
  const nothing = await bus.explain(page, { offset: 900, length: 8 });
  assert.deepEqual([nothing.root.kind, nothing.root.tick], ["unwritten", 0]);
});

Deno.test("StateBus.explain() keeps an explanation until the page changes", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const pages = await chain(bus, 3), other = bus.createPage({ size: 4 });
  await bus.commit(() => pages[0].write(0, word(1)));
  const first = await bus.explain(pages[3]);
  assert.equal(await bus.explain(pages[3]), first, "the same object");
  await bus.commit(() => other.write(0, word(1)));
  const later = await bus.explain(pages[3]);
  assert.equal(later.root, first.root, "another page does not matter");
  assert.deepEqual([first.tick, later.tick], [2, 3]);
  await bus.commit(() => pages[0].write(0, word(2)));
  const changed = await bus.explain(pages[3]);
  assert.notEqual(changed.root, first.root);
  assert.deepEqual([changed.root.tick, changed.root.epoch], [4, 2]);
  assert.equal((await bus.explain(pages[3], { tick: 2 })).root.epoch, 1);
});

Deno.test("StateBus.explain() in memory tells rules, parents and epochs, and says that it knows no deltas", async () => {
  await using bus = await StateBus.open(SMALL), other = await StateBus.open(SMALL);
  const pages = await chain(bus, 2);
  await bus.commit(() => pages[0].write(0, word(1)));
  const explanation = await bus.explain(pages[2]);
  assert.deepEqual(
    [...explanation].map(({ name, epoch, tick, deltas, end }) => ({
      ...{ name, epoch, tick },
      ...{ deltas: deltas.length, end },
    })),
    [
      { name: "step 2", epoch: 1, tick: undefined, deltas: 0, end: undefined },
      { name: "step 1", epoch: 1, tick: undefined, deltas: 0, end: undefined },
      { name: "source", epoch: 1, tick: undefined, deltas: 0, end: "log" },
    ],
  );
  assert.equal(explanation.complete, false);
  assert.equal((await bus.explain(pages[2], { depth: 1 })).truncated, true);
  await assert.rejects(bus.explain(pages[2], { tick: 1 }), { code: "usage" });
  await assert.rejects(bus.explain(pages[2], { offset: 0, length: 1 }), { code: "usage" });
  await assert.rejects(other.explain(pages[2]), { code: "usage" });
});

Deno.test("StateBus.explain() refuses what it cannot answer, with a code", async () => {
  const bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const page = bus.createPage({ size: 8 });
  await assert.rejects(bus.explain(page), {
    code: "invalid-handle",
    message: /before the next tick/,
  });
  await bus.commit(() => page.write(0, word(1)));
  const late = bus.createPage({ size: 8 });
  await bus.tick();
  const cases: [unknown, unknown, string][] = [
    [99, {}, "invalid-handle"],
    [99, { tick: 1 }, "invalid-handle"],
    [late, { tick: 1 }, "invalid-handle"],
    [page, { tick: 3 }, "out-of-bounds"],
    [page, { tick: -1 }, "out-of-bounds"],
    [page, { tick: 1.5 }, "usage"],
    [page, { tick: 1n }, "usage"],
    [page, { tick: 1, time: 5 }, "usage"],
    [page, { time: "yesterday" }, "usage"],
    [page, { depth: 0 }, "out-of-bounds"],
    [page, { depth: 32 }, "out-of-bounds"],
    [page, { depth: NaN }, "usage"],
    [page, { depth: "3" }, "usage"],
    [page, { deltas: -1 }, "out-of-bounds"],
    [page, { deltas: 1e9 }, "out-of-bounds"],
    [page, { offset: 4 }, "usage"],
    [page, { offset: 4, length: 5 }, "out-of-bounds"],
    [page, { offset: 0, length: 0 }, "out-of-bounds"],
    [page, { offset: 2 ** 40, length: 1 }, "out-of-bounds"],
    [page, { steps: 4 }, "usage"],
    [page, null, "usage"],
    [null, {}, "usage"],
    [undefined, {}, "usage"],
    [{}, {}, "usage"],
    [1n, {}, "usage"],
    [NaN, {}, "usage"],
    ["page", {}, "usage"],
  ];
  for (const [what, options, code] of cases) {
    const asked = async () => await bus.explain(what as Page, options as ExplainOptions);
    await assert.rejects(asked, (error: { code: string; message: string }) => {
      assert.equal(error.code, code, `${String(what)} ${Deno.inspect(options)}: ${error.message}`);
      return true;
    });
  }
  await bus.close();
  await assert.rejects(bus.explain(page), { code: "closed" });
});

Deno.test("StateBus.explain() names the place where the log is damaged", async () => {
  const storage = new MemoryStorage(), bus = await StateBus.open({ ...SMALL, storage });
  const pages = await chain(bus, 2);
  for (let tick = 1; tick < 9; tick++) await bus.commit(() => pages[0].write(0, word(tick)));
  const path = "lane-00/0000000001.log", file = storage.open(path, "write");
  const bytes = storage.readAll(path)!, at = bytes.findLastIndex((byte) => byte !== 0) >> 1;
  file.write(Uint8Array.of(bytes[at] ^ 1), at);
  file.close();
  const outcomes: string[] = [];
  for (let tick = 2; tick < 10; tick++) {
    await bus.explain(pages[2], { tick }).then(() => outcomes.push("whole"), (error) => {
      outcomes.push(error.code);
      assert.equal(error.values.path, path);
    });
  }
  assert(outcomes.includes("corrupt-log"), outcomes.join());
  await bus.close();
});

Deno.test("StateBus.explain() says the same of far pages as of near ones, but for older deltas and bytes before", async () => {
  await using bus = await StateBus.open({ ...SMALL, storage: new MemoryStorage() });
  const sources = Array.from({ length: 300 }, () => bus.createPage({ size: 8 }));
  const middle = sources.map((source, at) => {
    const page = bus.createPage({ size: 4 });
    bus.rule(sumOf(1), { name: `rule ${at}`, inputs: [source], outputs: [page] });
    return page;
  });
  const top = bus.createPage({ size: 4 });
  bus.rule(sumOf(300), { name: "top", inputs: middle, outputs: [top] });
  await bus.tick();
  for (let turn = 0; turn < 4; turn++) {
    await bus.commit(() => {
      for (let at = turn; at < 300; at += 1 + turn) {
        const options = { source: `feed-${turn}`, intent: at % 2 ? "" : "odd" };
        if (at % 5 === 0) sources[at].combine("u32", "add", 4 * (turn & 1), at, options);
        else sources[at].write(4 * (turn & 1), word(at + turn), options);
      }
    });
  }
  const whole = await bus.explain(top);
  assert(whole.pages > 2 * 256);
  const far = [...whole].slice(300), seen = new Set<string>();
  for (const { id, tick, epoch, kind, rule, graphVersion, deltas, more } of far) {
    const { root } = await bus.explain(id, { tick, deltas: 1, depth: 1 });
    seen.add(`${kind} ${more} ${deltas.map((delta) => delta.kind)}`);
    const shown = root.deltas.map((delta) => ({
      ...delta,
      before: undefined,
      after: delta.kind === "set" ? delta.after : undefined,
    }));
    assert.deepEqual(
      { tick, epoch, kind, rule, graphVersion, deltas, more },
      {
        tick: root.tick,
        epoch: root.epoch,
        kind: root.kind,
        rule: root.rule,
        graphVersion: root.graphVersion,
        deltas: shown,
        more: root.more,
      },
    );
  }
  assert.deepEqual([...seen].sort(), [
    "derived false set",
    "source false add u32",
    "source false set",
    "source true add u32",
    "source true set",
  ]);
});
