/** Numbers from one thread to another: `deno bench -A bench/ring_bench.ts`; two cores must be free. */

import { bench, type Comparison, type OpenSide } from "./_comparison.ts";
import { Popper, sumOf, throughPeer, throughRing } from "./_work_ring.ts";

type Through = (popper: Popper, count: number) => Promise<unknown>;

function threads(through: Through): OpenSide {
  return ({ size }) => {
    const popper = new Popper();
    let sum = 0;
    return {
      async run() {
        // Throws where anything else comes out.
        await through(popper, size);
        sum += sumOf(size);
      },
      result: () => `${sum}`,
      close: () => popper.close(),
    };
  };
}

function calls(batch: number): Comparison {
  return {
    unit: `1,000,000 numbers to another thread, ${batch.toLocaleString("en")} a call`,
    size: 1_000_000,
    smokeSize: 5000,
    runs: 20,
    sides: {
      "ringbuf.js": threads((popper, count) => throughPeer(popper, count, batch)),
      "SpscRing": threads((popper, count) => throughRing(popper, count, batch, false)),
      ...(batch === 1 ? {} : {
        "SpscRing, in place": threads((popper, count) => throughRing(popper, count, batch, true)),
      }),
    },
  };
}

export default bench(calls(1), calls(64), calls(4096));
