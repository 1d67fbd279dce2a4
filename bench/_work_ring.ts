/**
 * Numbers from this thread to another through our ring and through ringbuf.js, summed there.
 *
 * Both sides spin, in rings of the same capacity, and copy from and into arrays of the caller; our ring read and
 * written in place stands beside. Meaningful only while two cores are free: a thread that loses its core
 * stops both.
 */

import { RingBuffer } from "ringbuf.js";
import { SpscRing } from "../mod.ts";
import type { RingWork } from "./_ring_worker.ts";

const CAPACITY = 65_536;
/** The thread that pops. */
export class Popper {
  readonly #worker = new Worker(new URL("./_ring_worker.ts", import.meta.url), { type: "module" });

  send(work: RingWork): void {
    this.#worker.postMessage(work);
  }

  next(): Promise<number | "ready"> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.onerror = (event) => reject(new Error(event.message));
    });
  }

  close(): void {
    this.#worker.terminate();
  }
}

/** Runs one side; gives the seconds, and checks the sum. */
async function through(popper: Popper, work: RingWork, push: () => void): Promise<number> {
  const ready = popper.next();
  popper.send(work);
  await ready;
  const summed = popper.next();
  const start = performance.now();
  push();
  const sum = await summed;
  const seconds = (performance.now() - start) / 1000;
  const expected = sumOf(work.count);
  if (sum !== expected) throw new Error(`Other items came out: ${sum} in place of ${expected}`);
  return seconds;
}

/** Sum of what is pushed, modulo 2³². */
export function sumOf(count: number): number {
  return Number(BigInt.asIntN(32, BigInt(count) * BigInt(count - 1) / 2n));
}

/** Numbers through our ring; gives the seconds. */
export function throughRing(
  popper: Popper,
  count: number,
  batch: number,
  inPlace: boolean,
): Promise<number> {
  const ring = SpscRing.create({ capacity: CAPACITY });
  const push = batch === 1 ? pushWords : inPlace ? pushInPlace : pushBatches;
  const work = { handle: ring.share(), count, batch, inPlace };
  return through(popper, work, () => push(ring, count, batch));
}

function pushWords(ring: SpscRing, total: number): void {
  for (let i = 0; i < total;) if (ring.tryPushWord(i)) i++;
}

function pushBatches(ring: SpscRing, total: number, batch: number): void {
  const items = new Uint32Array(batch);
  for (let i = 0; i < total;) {
    const count = Math.min(batch, total - i);
    for (let k = 0; k < count; k++) items[k] = i + k;
    for (let k = 0; k < count;) k += ring.tryPush(items, k, count - k);
    i += count;
  }
}

function pushInPlace(ring: SpscRing, total: number, batch: number): void {
  const { data } = ring;
  for (let i = 0; i < total;) {
    const room = ring.reserve(Math.min(batch, total - i)), at = ring.reservedAt;
    for (let k = 0; k < room; k++) data[at + k] = i + k;
    ring.commit(room);
    i += room;
  }
}

/** The same through the peer. */
export function throughPeer(popper: Popper, total: number, batch: number): Promise<number> {
  const storage = RingBuffer.getStorageForCapacity(CAPACITY, Uint32Array) as SharedArrayBuffer;
  const ring = new RingBuffer(storage, Uint32Array);
  return through(popper, { storage, count: total, batch, inPlace: false }, () => {
    const items = new Uint32Array(batch);
    for (let i = 0; i < total;) {
      const count = Math.min(batch, total - i);
      for (let k = 0; k < count; k++) items[k] = i + k;
      for (let k = 0; k < count;) k += ring.push(items, count - k, k);
      i += count;
    }
  });
}
