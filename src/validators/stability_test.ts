/** Validator 9 on few steps, and on systems that run away, jump or compute something else. */

import assert from "node:assert/strict";
import { Page } from "../bus/mod.ts";
import { STABLE } from "./_stability_system.ts";
import { measureStability, stabilityMetrics, type StabilityPlan } from "./stability.ts";

const SMALL: StabilityPlan = { ...STABLE, width: 8, rows: 3, strips: 3, steps: 60, seed: 1 };

async function measure(plan: Partial<StabilityPlan> = {}) {
  return stabilityMetrics(await measureStability({ ...SMALL, ...plan }, () => {}));
}

Deno.test("measureStability() finds a stable system stable, and like plain arrays, whatever the seed", async () => {
  for (const seed of [1, 2, 3]) {
    const { nonFinite, wrongSteps, errorGrowth, secondDifferenceGrowth } = await measure({ seed });
    assert.deepEqual([nonFinite, wrongSteps], [0, 0]);
    assert(errorGrowth > 0.5 && errorGrowth <= 2, `${errorGrowth}`);
    assert(secondDifferenceGrowth > 0.5 && secondDifferenceGrowth <= 2);
  }
});

Deno.test("measureStability() finds errors that grow", async () => {
  const { errorGrowth, secondDifferenceGrowth, wrongSteps } = await measure({ diffusion: 0.35 });
  assert(errorGrowth > 10, `${errorGrowth}`);
  assert(secondDifferenceGrowth > 10, `${secondDifferenceGrowth}`);
  // It is the system that is unstable; the bus computes just that.
  assert.equal(wrongSteps, 0);
});

Deno.test("measureStability() finds values that are no numbers", async () => {
  const { nonFinite } = await measure({ diffusion: 1e9, steps: 80 });
  assert(nonFinite > 0);
});

Deno.test("measureStability() finds a trajectory that jumps and steps unlike plain arrays", async () => {
  const { write } = Page.prototype;
  let count = 0;
  Page.prototype.write = function (offset, bytes, options) {
    // In a disturbed run something is written that nobody put there.
    if (++count > 3000 && count % 40 === 0 && bytes.length === 8 * 24) {
      new Float64Array(bytes.buffer, bytes.byteOffset)[3] += 1;
    }
    write.call(this, offset, bytes, options);
  };
  try {
    const { secondDifferenceGrowth, errorGrowth } = await measure();
    assert(secondDifferenceGrowth > 10 && errorGrowth > 10);
  } finally {
    Page.prototype.write = write;
  }
  const { read } = Page.prototype;
  Page.prototype.read = function (offset, length) {
    const bytes = read.call(this, offset, length);
    if (bytes.length === 8 * 24) bytes[5] ^= 1;
    return bytes;
  };
  try {
    assert((await measure()).wrongSteps > 50);
  } finally {
    Page.prototype.read = read;
  }
});
