/**
 * No delta allocates on the JavaScript heap: neither garbage on its way nor anything that stays.
 *
 * Each way of a delta (columns filled, pushed row by row, with rules, with a log, with all of it) runs in a
 * process of its own: as many ticks of 1,024 rows and of 65,536. What both allocate is the ticks' own; what the
 * many rows allocate beyond that, divided by their number, is a delta's. The least that V8 allocates is an object
 * of 12 bytes, so a bound of half a byte leaves room for code that is compiled meanwhile, and none for an
 * allocation in every twentieth delta. Nothing is collected while it is counted: that, too, is checked, by
 * V8's own trace. A path that allocates one small array a delta shows that all this sees it.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { HeapReport, HeapUse } from "./_heap_process.ts";

/** Ticks of 65,536 rows that are some 1,000,000 deltas, and some 10,000,000. */
const MILLION = 16;
const TEN_MILLION = 153;
/** A delta's own allocation, in bytes. */
const ALLOCATED_MAX = 0.5;
/** Bytes of a delta that are still there after a collection, over 10,000,000; noise is ten times that over 1,000,000. */
const GROWN_MAX = 0.01;

interface Outcome {
  readonly report: HeapReport;
  /** Collections of the nursery. */
  readonly scavenges: number;
}

async function outcomeOf(path: string, ticks: number): Promise<Outcome> {
  const flags = "--expose-gc,--trace-gc,--min-semi-space-size=64,--max-semi-space-size=64";
  const entry = fileURLToPath(new URL("./_heap_process.ts", import.meta.url));
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--no-prompt",
      `--v8-flags=${flags}`,
      entry,
      path,
      `${ticks}`,
    ],
  }).output();
  const told = new TextDecoder().decode(stderr);
  assert.ok(success, told);
  const scavenges = new TextDecoder().decode(stdout).match(/Scavenge/g)?.length ?? 0;
  return { report: JSON.parse(told.slice(told.indexOf("{"))), scavenges };
}

/** Bytes a delta that the many rows have beyond the few. */
function eachOf({ few, many }: HeapReport, bytes: (use: HeapUse) => number): number {
  return (bytes(many) - bytes(few)) / (many.deltas - few.deltas);
}

for (
  const [path, ticks] of [
    ["fill", MILLION],
    ["push", MILLION],
    ["rules", MILLION],
    ["logged", MILLION],
    ["rules, logged", TEN_MILLION],
  ] as const
) {
  const count = ticks === MILLION ? "1,000,000" : "10,000,000";
  Deno.test(`${count} deltas allocate nothing each: ${path}`, async () => {
    const { report, scavenges } = await outcomeOf(path, ticks), { many } = report;
    assert.equal(many.deltas, ticks * 65_536);
    assert.equal(scavenges, 0, "the nursery was never full");
    const allocated = eachOf(report, (use) => use.allocatedBytes);
    const grown = eachOf(report, (use) => use.grownBytes);
    assert.ok(allocated < ALLOCATED_MAX, `${allocated} bytes allocated a delta`);
    const most = ticks === MILLION ? 10 * GROWN_MAX : GROWN_MAX;
    assert.ok(grown < most, `${grown} bytes a delta are still there`);
    assert.equal(many.fired > 0, path.includes("rules"));
  });
}

Deno.test("an allocation a delta is seen", async () => {
  const { report, scavenges } = await outcomeOf("planted", MILLION);
  const allocated = eachOf(report, (use) => use.allocatedBytes);
  assert.ok(allocated > 12, `${allocated} bytes allocated a delta`);
  assert.ok(scavenges > 0);
});
