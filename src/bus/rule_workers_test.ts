import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, type MmsbError } from "../base/mod.ts";
import { exportStorage, MemoryStorage } from "../log/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { type Page, StateBus } from "./mod.ts";
import { RuleTicks } from "./testdata/random_rule_ticks.ts";

const MODULE = new URL("./testdata/rules_for_workers.ts", import.meta.url);
/** Long enough for any rule that ends, also where the machine is busy. */
const TIMEOUT_MS = 2000;

const copy = defineRule({
  compute(ctx) {
    ctx.output(0).setInt32(0, ctx.input(0).getInt32(0));
  },
});

const refusing = defineRule({
  compute(ctx) {
    if (ctx.input(0).getInt32(0) === 9) throw new Error("a nine");
  },
});

function word(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

/** Pages of which each has a rule that does what its first word says, and a rule over that. */
function moodyPages(bus: StateBus, count: number): { moods: Page[]; outputs: Page[] } {
  const moods: Page[] = [], outputs: Page[] = [];
  for (let i = 0; i < count; i++) {
    const mood = bus.createPage({ size: 16 }), output = bus.createPage({ size: 16 });
    const after = bus.createPage({ size: 8 });
    bus.rule(MODULE, { name: `mood ${i}`, export: "moody", inputs: [mood], outputs: [output] });
    bus.rule(copy, { name: `after ${i}`, inputs: [output], outputs: [after] });
    moods.push(mood);
    outputs.push(output);
  }
  return { moods, outputs };
}

async function refusalOf(tick: Promise<unknown>): Promise<MmsbError> {
  try {
    await tick;
  } catch (error) {
    assert(isMmsbError(error), String(error));
    return error;
  }
  assert.fail("the tick is refused");
}

Deno.test("rules on workers fail as they do without: the first in order, with rule, page and tick", async () => {
  const found: unknown[] = [];
  for (const workers of [0, 2]) {
    await using bus = await StateBus.open({
      workers,
      ...(workers > 0 ? { ruleTimeoutMs: 5000 } : {}),
    });
    const { moods } = moodyPages(bus, 40);
    await bus.commit();
    const before = bus.digest();
    // The later one fails at once, the earlier one after a while.
    moods[7].write(0, word(4));
    moods[30].write(0, word(1));
    moods[33].write(0, word(3));
    const late = await refusalOf(bus.tick());
    assert.equal(late.code, "rule");
    assert(isMmsbError(late.cause, "out-of-bounds"));
    assert.equal(bus.digest(), before);
    moods[30].write(0, word(1));
    const early = await refusalOf(bus.tick());
    assert.equal((early.cause as Error).message, "a bad mood");
    assert.equal((early.cause as Error).name, "RangeError");
    assert.equal(bus.digest(), before);
    const report = await bus.commit(() => moods[30].write(0, word(5)));
    assert.deepEqual([report.fired, report.derived], [2, 2]);
    found.push([late.message, late.values, early.message, early.values, bus.digest()]);
  }
  assert.deepEqual(found[0], found[1]);
});

Deno.test("of a closure and a rule on a worker that both fail, the first in order is named", async () => {
  for (const [first, expected] of [[0, "own"], [1, "other"]] as const) {
    await using bus = await StateBus.open({ workers: 1, ruleTimeoutMs: 5000 });
    const input = bus.createPage({ size: 8 });
    const outputs = [bus.createPage({ size: 16 }), bus.createPage({ size: 16 })];
    const bind = [
      () => bus.rule(refusing, { name: "own", inputs: [input], outputs: [outputs[0]] }),
      () =>
        bus.rule(MODULE, {
          name: "other",
          export: "moody",
          inputs: [input],
          outputs: [outputs[1]],
        }).ready,
    ];
    // Readers stand in the order in which they were bound.
    await bind[first]();
    await bus.tick();
    await bind[1 - first]();
    await bus.tick();
    input.write(0, word(expected === "own" ? 9 : 1));
    assert.equal((await refusalOf(bus.tick())).values.rule, expected);
  }
});

Deno.test("a rule that never ends fails its tick, and the bus goes on with another worker", async () => {
  await using bus = await StateBus.open({ workers: 2, ruleTimeoutMs: TIMEOUT_MS });
  const { moods, outputs } = moodyPages(bus, 8);
  await bus.commit();
  const before = bus.digest();
  moods[2].write(0, word(7));
  moods[5].write(0, word(2));
  const refusal = await refusalOf(bus.tick());
  assert.equal(refusal.code, "worker");
  const { rule, page, tick, timeoutMs } = refusal.values;
  assert.deepEqual([rule, page, tick, timeoutMs], [
    "mood 5",
    outputs[5].id,
    bus.tickNumber + 1,
    TIMEOUT_MS,
  ]);
  assert.equal(bus.digest(), before);
  assert.equal(bus.readOnly, false);
  for (let value = 10; value < 14; value++) {
    const report = await bus.commit(() => moods.forEach((mood) => mood.write(0, word(value))));
    assert.equal(report.fired, 16);
    for (const output of outputs) assert.deepEqual(output.read(0, 4), word(value));
  }
});

Deno.test("random programs come to the same bytes and the same log with 0, 1, 2 and 8 workers", async () => {
  const property = fc.asyncProperty(
    fc.nat(),
    fc.integer({ min: 15, max: 30 }),
    async (seed, ticks) => {
      const ends = [];
      for (const workers of [0, 1, 2, 8]) ends.push(await endOf(seed, ticks, workers));
      for (const end of ends.slice(1)) assert.deepEqual(end, ends[0]);
    },
  );
  await fc.assert(property, { numRuns: 1 });
});

/** Digest and canonical export of a random program. */
async function endOf(seed: number, ticks: number, workers: number) {
  const storage = new MemoryStorage();
  const limits = workers > 0 ? { ruleTimeoutMs: 30_000 } : {};
  // What a tick takes on must not depend on time.
  const bus = await StateBus.open({ storage, workers, tickBudgetMs: 3_600_000, ...limits });
  await new RuleTicks(seed).run(bus, ticks);
  const digest = bus.digest();
  await bus.close();
  return { digest, lines: [...exportStorage(storage, { canonical: true })] };
}
