/**
 * A source that 10,000 rules read, in all modes: at once, from deltas, in the next tick, in every fourth tick.
 *
 * Each rule has parameters of its own, so that outputs which were mixed up would show. After the last change and some empty
 * ticks each output must be what its mode promises, before and after the directory is opened again.
 */

import assert from "node:assert/strict";
import { type Page, type RuleHandle, StateBus } from "../src/bus/mod.ts";
import { defineRule, type RuleMode } from "../src/propagation/mod.ts";
import { count, perSecond, scaled, type StressLog, type StressOptions } from "./_report.ts";

const READERS = 10_000;
const TICKS = 400;
const EVERY = 4;

/** What reader `index` makes of a value, in 32 bits. */
function made(value: number, index: number): number {
  return Math.imul(value, 2 * index + 1) + index | 0;
}

const full = defineRule({
  compute(ctx) {
    ctx.output(0).setInt32(0, made(ctx.input(0).getInt32(0), ctx.params as number));
  },
});

const incremental = defineRule({
  compute(ctx) {
    ctx.output(0).setInt32(0, made(ctx.input(0).getInt32(0), ctx.params as number));
  },
  fromDeltas(ctx, changes) {
    const change = ctx.input(0).getInt32(0) - changes.before(0).getInt32(0) | 0;
    const factor = 2 * (ctx.params as number) + 1;
    ctx.output(0).setInt32(0, ctx.output(0).getInt32(0) + Math.imul(change, factor) | 0);
  },
});

const KINDS: readonly { readonly mode: RuleMode; readonly fromDeltas: boolean }[] = [
  { mode: "immediate", fromDeltas: false },
  { mode: "immediate", fromDeltas: true },
  { mode: "deferred", fromDeltas: false },
  { mode: "batch", fromDeltas: false },
];

/** Runs it. */
export async function runFanOut(
  dir: string,
  { scale, seed }: StressOptions,
  log: StressLog,
): Promise<void> {
  const readers = scaled(READERS, Math.min(1, scale * 4), KINDS.length);
  const ticks = scaled(TICKS, scale, 8);
  const bus = await StateBus.open({ dir, memoryLimitBytes: 2 ** 30, tickBudgetMs: 3_600_000 });
  let digest: string, seconds = 0, derived = 0, fired = 0, plain = 0;
  try {
    const source = bus.createPage({ size: 8, name: "source" });
    const other = bus.createPage({ size: 8, name: "beside it" });
    const outputs: Page[] = [], rules: RuleHandle[] = [];
    for (let index = 0; index < readers; index++) {
      const { mode, fromDeltas } = KINDS[index % KINDS.length];
      const output = bus.createPage({ size: 4 });
      outputs.push(output);
      rules.push(bus.rule(fromDeltas ? incremental : full, {
        name: `reader ${index}`,
        inputs: [source],
        outputs: [output],
        params: index,
        mode,
        ...mode === "batch" ? { every: EVERY } : {},
      }));
    }
    await bus.commit();
    const bytes = new Uint8Array(4), view = new DataView(bytes.buffer);
    let value = seed | 0;
    const expected = new Int32Array(readers);
    for (let i = 0; i < ticks; i++) {
      value = Math.imul(value, 1_664_525) + 1_013_904_223 | 0;
      view.setInt32(0, value, true);
      let start = performance.now();
      source.write(0, bytes);
      const report = await bus.commit();
      seconds += (performance.now() - start) / 1000;
      derived += report.derived;
      fired += report.fired;
      start = performance.now();
      for (let index = 0; index < readers; index++) expected[index] = made(value, index);
      plain += (performance.now() - start) / 1000;
    }
    // Whatever is late has its turn within so many ticks.
    for (let i = 0; i < EVERY; i++) {
      const report = await bus.commit(() => other.combine("u32", "add", 0, 1));
      derived += report.derived;
      fired += report.fired;
    }
    outputs.forEach((page, index) => {
      const [found] = new Int32Array(page.read().buffer);
      assert.equal(
        found,
        expected[index],
        `output of reader ${index}, ${JSON.stringify(KINDS[index % 4])}`,
      );
      assert.equal(page.stale, false, `reader ${index} is up to date`);
    });
    const byHandles = rules.reduce((sum, rule) => sum + rule.fired, 0);
    assert(byHandles >= fired, "rules' own counts are not less than the ticks'");
    assert(
      outputs.every((page, index) => KINDS[index % 4].mode !== "immediate" || page.epoch >= ticks),
    );
    digest = bus.digest();
  } finally {
    await bus.close();
  }
  await using again = await StateBus.open({ dir, readOnly: true });
  assert.equal(again.digest(), digest, "the directory opened again");
  assert.equal((await again.verify()).ok, true);
  log.add({
    what: "a source with many readers, logged",
    amount: `${count(readers)} rules in all modes, ${count(fired)} firings in ${
      count(ticks)
    } ticks`,
    rate: `${perSecond(fired, seconds)} firings, ${(plain / seconds).toFixed(3)} of a bare loop`,
    checked: "each output by its formula, none stale; opened again, same digest; verify",
    figures: { readers, ticks, fired, derived, seconds, plainSeconds: plain },
  });
}
