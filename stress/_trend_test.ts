import assert from "node:assert/strict";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { driftOf, median, quantile, trendOf } from "./_trend.ts";

const TIMES = Array.from({ length: 120 }, (_, i) => i / 4);

function noisy(seed: number, spread: number, of: (time: number) => number): number[] {
  const random = new SeededRandom(seed);
  return TIMES.map((time) => {
    // Now and then a moment in which the machine did something else.
    const spike = random.chance(0.05) ? 20 * spread : 0;
    return of(time) + spread * (random.next() / 2 ** 31 - 1) + spike;
  });
}

Deno.test("trendOf() finds a slope under noise and spikes, and none where there is none", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const flat = trendOf(TIMES, noisy(seed, 5, () => 100));
    assert(
      Math.abs(flat.growth) <= flat.noise,
      `seed ${seed}: ${flat.growth} within ${flat.noise}`,
    );
    const rising = trendOf(TIMES, noisy(seed, 5, (time) => 100 + time));
    assert(rising.growth - rising.noise > 15, `seed ${seed}: ${rising.growth} of 29.75`);
    assert(Math.abs(rising.slope - 1) < 0.3, `seed ${seed}: ${rising.slope}`);
  }
});

Deno.test("driftOf() tells a drift from noise", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const flat = driftOf(noisy(seed, 5, () => 100));
    assert(flat.drift - flat.noise < 0.05, `seed ${seed}: ${flat.drift} ± ${flat.noise}`);
    const slower = driftOf(noisy(seed, 5, (time) => 100 + 2 * time));
    assert(slower.drift - slower.noise > 0.2, `seed ${seed}: ${slower.drift} ± ${slower.noise}`);
  }
});

Deno.test("median() and quantile() of few numbers", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(quantile([5, 1, 3], 0.99), 5);
  assert.equal(quantile([5, 1, 3], 0.5), 3);
});
