/** The other end of a ring in the benchmark: pops what comes, sums it, and answers with the sum. */

import { RingBuffer } from "ringbuf.js";
// Not from mod.ts: a thread starts with what it needs.
import type { RingHandle } from "../src/propagation/ring_memory.ts";
import { SpscRing } from "../src/propagation/spsc_ring.ts";

/** What to pop. */
export interface RingWork {
  /** Our ring, or none. */
  readonly handle?: RingHandle;
  /** The peer's memory, or none. */
  readonly storage?: SharedArrayBuffer;
  readonly count: number;
  /** Items of a call; 1: single words. */
  readonly batch: number;
  /** Read without copying, where it is our ring. */
  readonly inPlace: boolean;
}

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<RingWork>) => void;
  postMessage: (sum: number | "ready") => void;
};

thread.onmessage = ({ data }): void => {
  const { handle, storage } = data;
  thread.postMessage("ready");
  if (storage !== undefined) {
    thread.postMessage(popPeer(new RingBuffer(storage, Uint32Array), data));
  } else {
    const ring = SpscRing.attach(handle!);
    const pop = data.batch === 1 ? popWords : data.inPlace ? popInPlace : popBatches;
    thread.postMessage(pop(ring, data));
  }
};

function popPeer(ring: RingBuffer, { count, batch }: RingWork): number {
  const items = new Uint32Array(batch);
  let sum = 0;
  for (let i = 0; i < count;) {
    const got = ring.pop(items, batch);
    for (let k = 0; k < got; k++) sum = (sum + items[k]) | 0;
    i += got;
  }
  return sum;
}

function popBatches(ring: SpscRing, { count, batch }: RingWork): number {
  const items = new Uint32Array(batch);
  let sum = 0;
  for (let i = 0; i < count;) {
    const got = ring.tryPop(items);
    for (let k = 0; k < got; k++) sum = (sum + items[k]) | 0;
    i += got;
  }
  return sum;
}

function popInPlace(ring: SpscRing, { count, batch }: RingWork): number {
  const { data } = ring;
  let sum = 0;
  for (let i = 0; i < count;) {
    const got = ring.peek(batch), at = ring.peekedAt;
    for (let k = at; k < at + got; k++) sum = (sum + data[k]) | 0;
    ring.release(got);
    i += got;
  }
  return sum;
}

function popWords(ring: SpscRing, { count }: RingWork): number {
  let sum = 0;
  for (let i = 0; i < count;) {
    const word = ring.tryPopWord();
    if (word < 0) continue;
    sum = (sum + word) | 0;
    i++;
  }
  return sum;
}
