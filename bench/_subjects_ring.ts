/**
 * Subject `ring`: numbers from this thread to another through our ring and through ringbuf.js, summed there.
 *
 * Both sides spin, in rings of the same capacity, and copy from and into arrays of the caller; our ring read and
 * written in place stands beside. Meaningful only while two cores are free: a thread that loses its core
 * stops both.
 */

import { RingBuffer } from "ringbuf.js";
import { SpscRing } from "../mod.ts";
import type { RingWork } from "./_ring_worker.ts";
import { hash, interleave, median, millions, type Row } from "./_harness.ts";

const CAPACITY = 65_536;
const COUNT = 8_000_000;

/** The thread that pops. */
class Popper {
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
  if (sum !== SUM) throw new Error(`Other items came out: ${sum} in place of ${SUM}`);
  return seconds;
}

/** Sum of what is pushed, modulo 2³². */
const SUM = Number(BigInt.asIntN(32, BigInt(COUNT) * BigInt(COUNT - 1) / 2n));

function ours(popper: Popper, batch: number, inPlace: boolean): Promise<number> {
  const ring = SpscRing.create({ capacity: CAPACITY });
  const push = batch === 1 ? pushWords : inPlace ? pushInPlace : pushBatches;
  const work = { handle: ring.share(), count: COUNT, batch, inPlace };
  return through(popper, work, () => push(ring, batch));
}

function pushWords(ring: SpscRing): void {
  for (let i = 0; i < COUNT;) if (ring.tryPushWord(i)) i++;
}

function pushBatches(ring: SpscRing, batch: number): void {
  const items = new Uint32Array(batch);
  for (let i = 0; i < COUNT;) {
    const count = Math.min(batch, COUNT - i);
    for (let k = 0; k < count; k++) items[k] = i + k;
    for (let k = 0; k < count;) k += ring.tryPush(items, k, count - k);
    i += count;
  }
}

function pushInPlace(ring: SpscRing, batch: number): void {
  const { data } = ring;
  for (let i = 0; i < COUNT;) {
    const room = ring.reserve(Math.min(batch, COUNT - i)), at = ring.reservedAt;
    for (let k = 0; k < room; k++) data[at + k] = i + k;
    ring.commit(room);
    i += room;
  }
}

function peer(popper: Popper, batch: number): Promise<number> {
  const storage = RingBuffer.getStorageForCapacity(CAPACITY, Uint32Array) as SharedArrayBuffer;
  const ring = new RingBuffer(storage, Uint32Array);
  return through(popper, { storage, count: COUNT, batch, inPlace: false }, () => {
    const items = new Uint32Array(batch);
    for (let i = 0; i < COUNT;) {
      const count = Math.min(batch, COUNT - i);
      for (let k = 0; k < count; k++) items[k] = i + k;
      for (let k = 0; k < count;) k += ring.push(items, count - k, k);
      i += count;
    }
  });
}

/** Our ring against ringbuf.js, and one item at a time. */
export async function ring(rounds: number): Promise<Row[]> {
  const popper = new Popper(), rows: Row[] = [];
  const sum = hash(new Uint8Array(Int32Array.of(SUM).buffer));
  try {
    for (
      const [batch, inPlace] of [[64, false], [64, true], [4096, false], [4096, true]] as const
    ) {
      const measured = await interleave(
        () => ours(popper, batch, inPlace),
        () => peer(popper, batch),
        rounds,
      );
      rows.push({
        subject: `ring: ${batch} items a call${inPlace ? ", in place" : ""}`,
        ours: millions(COUNT, measured.ours),
        peer: `ringbuf.js ${millions(COUNT, measured.peer)}`,
        ratio: measured.ratio,
        spread: measured.spread,
        target: "> 1",
        met: measured.ratio > 1,
        hash: sum,
      });
    }
    const times: number[] = [];
    for (let round = -2; round < 2 * rounds; round++) {
      const time = await ours(popper, 1, false);
      if (round >= 0) times.push(time);
    }
    times.sort((x, y) => x - y);
    const rate = (time: number): number => COUNT / time / 1e6;
    rows.push({
      subject: "ring: one item a call, M/s",
      ours: millions(COUNT, median(times)),
      peer: "",
      ratio: rate(median(times)),
      spread: [rate(times[times.length - 1]), rate(times[0])],
      target: "> 19",
      met: rate(median(times)) > 19,
      hash: sum,
    });
  } finally {
    popper.close();
  }
  return rows;
}
