/** One thread of a ring's test: pushes a stream of numbers or pops what comes, and says what it saw. */

import { MpmcRing } from "../mpmc_ring.ts";
import { SpscRing } from "../spsc_ring.ts";
import type { RingHandle } from "../mod.ts";

/** What a thread is to do. */
export interface RingTask {
  readonly handle: RingHandle;
  readonly role: "push" | "pop";
  /** Number of the producer; stands in the upper bits of each item. */
  readonly producer: number;
  /** Producers in all. */
  readonly producers: number;
  /** Items of a producer. */
  readonly count: number;
  readonly seed: number;
  /** Most items of a call. */
  readonly batchMax: number;
}

/** What it saw. */
export interface RingReport {
  readonly items: number;
  /** Sum of all items, modulo 2³². */
  readonly sum: number;
  /** Why it is wrong. */
  readonly error?: string;
}

/** Bits of an item's number. */
const NUMBER_BITS = 26;

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<RingTask>) => void;
  postMessage: (report: RingReport) => void;
};

thread.onmessage = ({ data }: MessageEvent<RingTask>): void => {
  const { handle } = data;
  const ring = handle.kind === "spsc-ring" ? SpscRing.attach(handle) : MpmcRing.attach(handle);
  let report: RingReport;
  try {
    report = data.role === "push" ? push(ring, data) : pop(ring, data);
  } catch (error) {
    report = { items: 0, sum: 0, error: String(error) };
  }
  thread.postMessage(report);
};

function push(ring: SpscRing | MpmcRing, task: RingTask): RingReport {
  const { producer, count, batchMax } = task;
  const next = numbers(task.seed + producer), batch = new Uint32Array(batchMax);
  let sum = 0;
  for (let i = 0; i < count;) {
    const items = Math.min(count - i, 1 + next() % batchMax);
    for (let k = 0; k < items; k++) {
      batch[k] = (producer << NUMBER_BITS) | (i + k);
      sum = (sum + batch[k]) >>> 0;
    }
    if (items === 1) ring.pushWord(batch[0]);
    else ring.push(batch, { count: items });
    i += items;
  }
  return { items: count, sum };
}

function pop(ring: SpscRing | MpmcRing, task: RingTask): RingReport {
  const next = numbers(task.seed + 1000 + task.producer), batch = new Uint32Array(task.batchMax);
  const last = new Int32Array(task.producers).fill(-1);
  let items = 0, sum = 0;
  for (;;) {
    let got = 0;
    try {
      got = ring.pop(batch, { count: 1 + next() % task.batchMax });
    } catch (error) {
      if ((error as { code?: string }).code === "closed") return { items, sum };
      throw error;
    }
    for (let k = 0; k < got; k++) {
      const producer = batch[k] >>> NUMBER_BITS, number = batch[k] & (2 ** NUMBER_BITS - 1);
      if (number <= last[producer]) {
        return { items, sum, error: `${number} of ${producer} came behind ${last[producer]}` };
      }
      last[producer] = number;
      sum = (sum + batch[k]) >>> 0;
    }
    items += got;
  }
}

/** Numbers from a seed: xorshift of 32 bits (Marsaglia, "Xorshift RNGs", 2003). */
function numbers(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
