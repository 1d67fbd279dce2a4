/**
 * One contender of the clocks' test: takes timestamps as fast as it can, by all three ways, from the clock that all share or
 * from one of its own, and posts every one it got.
 *
 * It starts with all others at once, from a gate in shared memory, since the trouble that is looked
 * for needs threads that are at the same place at the same time.
 */
import { HybridLogicalClock } from "./hlc.ts";
import type { HybridClock } from "./hybrid_clock.ts";
import { SharedHybridLogicalClock } from "./shared_hlc.ts";
import { addTo, timestampFromHalves } from "./timestamp.ts";

/** What the test sends. */
export interface ContenderTask {
  /** Memory of the clock that all share; a clock of its own without. */
  readonly memory?: SharedArrayBuffer;
  /** Its node id. */
  readonly node?: number;
  /** An i32: 0 while closed, 1 when open. */
  readonly gate: SharedArrayBuffer;
  /** How many timestamps to take. */
  readonly count: number;
  /** What the physical clock says, µs; each contender may have another one. */
  readonly us: number;
}

/** The worker's own side of the messages, typed without a library for workers. */
const port = globalThis as unknown as {
  onmessage: (event: { readonly data: ContenderTask }) => void;
  postMessage: (message: "ready" | BigUint64Array) => void;
};

port.onmessage = ({ data }) => {
  const gate = new Int32Array(data.gate);
  port.postMessage("ready");
  Atomics.wait(gate, 0, 0);
  port.postMessage(contend(data));
};

function contend({ memory, node, count, us }: ContenderTask): BigUint64Array {
  const options = { nowUs: () => us, node };
  const clock: HybridClock = memory === undefined
    ? new HybridLogicalClock(options)
    : new SharedHybridLogicalClock(memory, options);
  const sender = new HybridLogicalClock({ nowUs: () => us });
  const taken = new BigUint64Array(count);
  for (let i = 0; i < count;) {
    if (i % 64 === 0 && i + 5 <= count) {
      clock.reserve(5);
      for (let row = 0; row < 5; row++) taken[i++] = addTo(clock.firstHi, clock.firstLo, row);
    } else if (i % 64 === 32) {
      sender.now();
      clock.update(sender.hi, sender.lo);
      taken[i++] = timestampFromHalves(clock.hi, clock.lo);
    } else {
      taken[i++] = clock.nowBigint();
    }
  }
  clock.checkInvariants();
  return taken;
}
