/** The intersection against counting, point by point. */
import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { intersect } from "./intersection.ts";

Deno.test("intersect() gives the ends of what at least a majority covers", () => {
  const interval = fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 12 }));
  fc.assert(fc.property(fc.array(interval, { maxLength: 9 }), (intervals) => {
    const lows = intervals.map(([low]) => low);
    const highs = intervals.map(([low, width]) => low + width);
    const needed = intervals.length - Math.floor((intervals.length - 1) / 2);
    const covered: number[] = [];
    for (let at = 0; at <= 42 && intervals.length > 0; at++) {
      if (lows.filter((low, i) => low <= at && at <= highs[i]).length >= needed) covered.push(at);
    }
    const found = intersect(lows, highs);
    if (covered.length === 0) return equal(found, undefined);
    deepEqual([found?.low, found?.high], [covered[0], covered[covered.length - 1]]);
    for (const [i, agrees] of (found?.agrees ?? []).entries()) {
      equal(agrees, lows[i] <= (found?.high ?? 0) && highs[i] >= (found?.low ?? 0));
    }
  }));
});

Deno.test("intersect() holds the truth as long as a minority lies, by little or by much", () => {
  const honest = fc.tuple(
    fc.double({ min: 0, max: 10, noNaN: true }),
    fc.double({ min: 0, max: 10, noNaN: true }),
  );
  const lie = fc.tuple(
    fc.double({ min: -20, max: 20, noNaN: true }),
    fc.double({ min: 0, max: 10, noNaN: true }),
  );
  fc.assert(fc.property(
    fc.array(honest, { minLength: 1, maxLength: 6 }),
    fc.array(lie, { maxLength: 5 }),
    (honests, lies) => {
      const wrong = lies.slice(0, honests.length - 1);
      const lows = [...honests.map(([below]) => -below), ...wrong.map(([at]) => at)];
      const highs = [
        ...honests.map(([, above]) => above),
        ...wrong.map(([at, width]) => at + width),
      ];
      const found = intersect(lows, highs);
      ok(found !== undefined && found.low <= 0 && found.high >= 0);
    },
  ));
});
