/** The robust line: exact lines, wild points, and its own statement of how wrong the slope is. */
import { equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { fitRobustLine, ROBUST_LINE_POINTS_MAX } from "./robust_line.ts";
import { chanceOf } from "./testdata/simulated_network.ts";

Deno.test("fitRobustLine() finds a line of which nearly half of the points are anything", () => {
  fc.assert(fc.property(
    fc.integer({ min: -1000, max: 1000 }),
    fc.integer({ min: -1000, max: 1000 }),
    fc.array(fc.integer({ min: -1e9, max: 1e9 }), { minLength: 0, maxLength: 6 }),
    fc.integer({ min: 0, max: 20 }),
    (slope, intercept, wild, turn) => {
      const count = 2 * wild.length + 5;
      const x = Array.from({ length: count }, (_, i) => i);
      const y = x.map((at) => slope * at + intercept);
      for (const [i, value] of wild.entries()) y[(2 * i + turn) % count] = value;
      const line = fitRobustLine(x, y);
      equal(line.slope + 0, slope);
      equal(line.intercept + 0, intercept);
    },
  ));
});

Deno.test("fitRobustLine() says how wrong its slope may be: 95 % within two of its errors", () => {
  const chance = chanceOf(5);
  const normal = () => Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance());
  let within = 0;
  const lines = 500;
  for (let i = 0; i < lines; i++) {
    const x = Float64Array.from({ length: 32 }, (_, at) => at * 16);
    const y = x.map((at) => 3 * at + 100 * normal());
    const { slope, slopeError, residual } = fitRobustLine(x, y);
    if (Math.abs(slope - 3) <= 2 * slopeError) within++;
    ok(residual > 30 && residual < 250, `${residual}`);
  }
  ok(within > 0.88 * lines && within < 0.995 * lines, `${within} of ${lines}`);
});

Deno.test("fitRobustLine() takes the first points if told so, and two of them at least", () => {
  equal(fitRobustLine([0, 1, 2], [0, 2, 100], 2).slope, 2);
  equal(fitRobustLine([0, 1, 2], [0, 2, 100], 2).slopeError, Infinity);
  const many = new Float64Array(ROBUST_LINE_POINTS_MAX + 1);
  for (
    const [x, y, count] of [
      [[1], [1], 1],
      [[1, 1], [1, 2], 2],
      [[1, 2], [1], 2],
      [[1, NaN], [1, 2], 2],
      [[1, 2], [1, Infinity], 2],
      [[1, 2], [1, 2], 2.5],
      [many, many, many.length],
    ] as const
  ) throws(() => fitRobustLine(x, y, count), { name: "MmsbError", code: "usage" });
});
