/** Tests of the histogram: against sorted values, at the edges of its range. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { DurationHistogram } from "./histogram.ts";

Deno.test("DurationHistogram.percentileMs() is at most 3.2 % above the sorted value of that rank", () => {
  const durations = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1 });
  const shares = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(fc.property(durations, shares, (values, share) => {
    const histogram = new DurationHistogram();
    for (const value of values) histogram.record(value);
    const sorted = [...values].sort((a, b) => a - b);
    const exact = sorted[Math.max(1, Math.ceil(share * values.length)) - 1];
    const found = histogram.percentileMs(share);
    assert(found >= exact * (1 - 1e-9) && found <= exact * 1.032, `${found} for ${exact}`);
    assert.equal(histogram.summary().maxMs, sorted[sorted.length - 1]);
  }));
});

Deno.test("DurationHistogram takes what is no duration for 0 and what is too long for its longest", () => {
  const histogram = new DurationHistogram();
  assert.deepEqual(histogram.summary(), { count: 0, totalMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  for (const value of [0, -1, NaN]) histogram.record(value);
  assert.deepEqual([histogram.count, histogram.percentileMs(1)], [3, 0]);
  histogram.record(Infinity);
  histogram.record(1e12);
  assert(histogram.percentileMs(0.5) < 2e-6);
  assert.equal(histogram.summary().maxMs, Infinity);
  assert(histogram.percentileMs(0.99) >= 2 ** 42 / 1e6);
  histogram.clear();
  assert.deepEqual(histogram.summary(), { count: 0, totalMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
});
