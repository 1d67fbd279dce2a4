/** Hybrid logical timestamps, ten thousand at a time: `deno bench -A bench/stamp_bench.ts`. */

import {
  type HybridClock,
  HybridLogicalClock,
  SharedHybridLogicalClock,
} from "../src/temporal/mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";

/** A physical clock that gives the same readings in each run: one µs each 16 questions. */
function steadyClock(): () => number {
  let asked = 0;
  return () => 1_767_225_600_000_000 + (asked++ >>> 4);
}

function stamping(
  open: (nowUs: () => number) => HybridClock,
  stamp: (clock: HybridClock, count: number) => void,
): OpenSide {
  return ({ size }) => {
    const clock = open(steadyClock());
    return { run: () => stamp(clock, size), result: () => `${clock.peek()}` };
  };
}

function eachAlone(clock: HybridClock, count: number): void {
  for (let i = 0; i < count; i++) clock.now();
}

export default bench({
  unit: "10,000 hybrid logical timestamps",
  size: 10_000,
  smokeSize: 1000,
  sides: {
    "a bigint counted up": ({ size }) => {
      const nowUs = steadyClock();
      let last = 0n;
      return {
        run() {
          for (let i = 0; i < size; i++) {
            const now = BigInt(nowUs()) << 12n;
            last = now > last ? now : last + 1n;
          }
        },
        result: () => `${last}`,
      };
    },
    "a thread's own clock": stamping((nowUs) => new HybridLogicalClock({ nowUs }), eachAlone),
    "a clock shared by threads": stamping(
      (nowUs) => new SharedHybridLogicalClock(new SharedArrayBuffer(64), { nowUs }),
      eachAlone,
    ),
    "one range for all": stamping(
      (nowUs) => new HybridLogicalClock({ nowUs }),
      (clock, count) => clock.reserve(count),
    ),
  },
  others: ["one range for all"],
});
