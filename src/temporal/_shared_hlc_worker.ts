/**
 * One contender of the shared clock's test: takes timestamps as fast as it can, by all three ways,
 * and posts every one it got.
 *
 * It starts with all others at once, from a gate in shared memory, since the trouble that is looked
 * for needs threads that are at the same place at the same time.
 */
import { HybridLogicalClock } from "./hlc.ts";
import { SharedHybridLogicalClock } from "./shared_hlc.ts";
import { addTo, timestampFromHalves } from "./timestamp.ts";

/** What the test sends. */
export interface ContenderTask {
  /** Memory of the clock. */
  readonly memory: SharedArrayBuffer;
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

function contend({ memory, count, us }: ContenderTask): BigUint64Array {
  const clock = new SharedHybridLogicalClock(memory, { nowUs: () => us });
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
