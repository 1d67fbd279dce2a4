/** One thread of many that take timestamps at once: into memory that all share, so that nothing is copied. */

// Not from mod.ts: a thread starts with what it needs.
import { HybridLogicalClock } from "../src/temporal/hlc.ts";
import type { HybridClock } from "../src/temporal/hybrid_clock.ts";
import { SharedHybridLogicalClock } from "../src/temporal/shared_hlc.ts";

/** What a thread is to take. */
export interface StampWork {
  /** Memory of the clock that all share; a clock of its own without. */
  readonly clock?: SharedArrayBuffer;
  /** Its node id. */
  readonly node: number;
  /** Where the timestamps go, as 64-bit words. */
  readonly taken: SharedArrayBuffer;
  /** Place of its first one. */
  readonly first: number;
  readonly count: number;
  /** An i32: 0 while the gate is closed, 1 when it is open. */
  readonly gate: SharedArrayBuffer;
}

const originUs = Math.round(performance.timeOrigin * 1000);

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<StampWork>) => void;
  postMessage: (message: "ready" | "done") => void;
};

thread.onmessage = ({ data }): void => {
  const { clock: memory, node, taken, first, count } = data;
  const options = { nowUs: () => originUs + performance.now() * 1000, node };
  const clock: HybridClock = memory === undefined
    ? new HybridLogicalClock(options)
    : new SharedHybridLogicalClock(memory, options);
  const halves = new Uint32Array(taken, 8 * first, 2 * count);
  thread.postMessage("ready");
  Atomics.wait(new Int32Array(data.gate), 0, 0);
  for (let i = 0; i < count; i++) {
    clock.now();
    halves[2 * i] = clock.lo;
    halves[2 * i + 1] = clock.hi;
  }
  thread.postMessage("done");
};
