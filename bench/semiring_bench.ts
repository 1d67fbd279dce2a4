/** Folds over columns with a semiring: `deno bench -A bench/semiring_bench.ts`. */

import { boolean, foldSum, type Semiring, tropical } from "../mod.ts";
import { bench, type Comparison, type OpenSide } from "./_comparison.ts";
import { numbers } from "./_harness.ts";
import { SEED } from "./_work.ts";

function folding(fold: (column: Float64Array) => number): OpenSide {
  return ({ size }) => {
    const next = numbers(SEED), column = Float64Array.from({ length: size }, () => 1 + next());
    let sum = 0;
    return {
      run() {
        column[0] = 1 / ++sum;
        sum += fold(column);
      },
      result: () => `${sum}`,
    };
  };
}

function folds(ring: Semiring, what: string, loop: (column: Float64Array) => number): Comparison {
  return {
    unit: `${what} of a column of 100,000 numbers`,
    size: 100_000,
    smokeSize: 1000,
    sides: {
      "bare loop": folding(loop),
      [`foldSum with the ${ring.name} semiring`]: folding((column) => foldSum(ring, column)),
      "Array.reduce": folding((column) => column.reduce((a, b) => ring.plus(a, b), ring.zero)),
    },
  };
}

export default bench(
  folds(tropical, "smallest", (column) => {
    let least = Infinity;
    for (let i = 0; i < column.length; i++) least = Math.min(least, column[i]);
    return least;
  }),
  folds(boolean, "any that is not zero", (column) => {
    let any = 0;
    for (let i = 0; i < column.length; i++) if (column[i] !== 0) any = 1;
    return any;
  }),
);
