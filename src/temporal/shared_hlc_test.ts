/** What holds for the shared clock alone; see `hybrid_clock_test.ts` for the rest. */
import { equal, ok, throws } from "node:assert/strict";
import type { ContenderTask } from "./_shared_hlc_worker.ts";
import { SHARED_CLOCK_BYTES, SharedHybridLogicalClock } from "./shared_hlc.ts";
import { timestampOf } from "./timestamp.ts";
import { encodeText } from "./wire.ts";

const BASE_US = 1_767_225_600_000_000;
const THREADS = [0, 1, 2, 3, 4, 5, 6, 7];

/** Starts contenders, opens the gate when all stand at it, and returns what each of them took. */
async function contend(tasks: readonly ContenderTask[]): Promise<BigUint64Array[]> {
  const workers = tasks.map(() =>
    new Worker(new URL("./_shared_hlc_worker.ts", import.meta.url), { type: "module" })
  );
  try {
    const ready = workers.map(nextMessage);
    workers.forEach((worker, index) => worker.postMessage(tasks[index]));
    for (const message of await Promise.all(ready)) equal(message, "ready");
    const taken = workers.map(nextMessage);
    const gate = new Int32Array(tasks[0].gate);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    return await Promise.all(taken) as BigUint64Array[];
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`Contender failed: ${event.message}`));
    };
  });
}

/** Asserts that each contender's timestamps rise strictly and that no two are equal. */
function checkTaken(taken: readonly BigUint64Array[], count: number): void {
  const all = new BigUint64Array(taken.length * count);
  taken.forEach((own, index) => {
    equal(own.length, count);
    for (let i = 1; i < own.length; i++) ok(own[i] > own[i - 1], "Not strictly rising");
    all.set(own, index * count);
  });
  all.sort();
  for (let i = 1; i < all.length; i++) ok(all[i] !== all[i - 1], `Twice: ${all[i]}`);
}

Deno.test("SharedHybridLogicalClock gives no timestamp twice to eight threads", async () => {
  const memory = new SharedArrayBuffer(SHARED_CLOCK_BYTES);
  const gate = new SharedArrayBuffer(4);
  const count = 50_000;
  // The physical clocks stand still, 1 µs apart, so that every call contends for the counter.
  const tasks = THREADS.map((index) => ({ memory, gate, count, us: BASE_US + index }));
  const taken = await contend(tasks);
  checkTaken(taken, count);
  // Nothing is skipped but the microseconds that the clocks began apart and what updates step over.
  const end = taken.reduce((last, own) => own[count - 1] > last ? own[count - 1] : last, 0n);
  equal(new SharedHybridLogicalClock(memory, { nowUs: () => 0 }).peek(), end);
  ok(end >= timestampOf(BASE_US, 0) + BigInt(8 * count - 1));
});

Deno.test("HybridLogicalClock: eight threads with clocks of their own give nothing twice, as each has its node id", async () => {
  const gate = new SharedArrayBuffer(4);
  const count = 50_000;
  const tasks = THREADS.map((node) => ({ gate, count, node, us: BASE_US }));
  const taken = await contend(tasks);
  // The words alone are the same in all threads: it is the node that tells them apart.
  for (const own of taken) equal(own[count - 1], taken[0][count - 1]);
  const all: string[] = [];
  for (const [node, own] of taken.entries()) {
    for (let i = 1; i < count; i++) ok(own[i] > own[i - 1], "Not strictly rising");
    for (let i = 0; i < count; i += 500) all.push(encodeText(own[i], node));
  }
  equal(new Set(all).size, all.length);
});

Deno.test("SharedHybridLogicalClock.hi and .lo are this handle's, not another's", () => {
  const memory = new SharedArrayBuffer(SHARED_CLOCK_BYTES);
  const one = new SharedHybridLogicalClock(memory, { nowUs: () => 0 });
  const other = new SharedHybridLogicalClock(memory, { nowUs: () => 0 });
  one.now();
  other.reserve(10);
  equal(one.lo, 1);
  equal(other.firstLo, 2);
  equal(other.lo, 11);
  equal(one.peek(), 11n);
  one.checkInvariants();
  other.checkInvariants();
});

Deno.test("SharedHybridLogicalClock.restore() does not take back what others have", () => {
  const memory = new SharedArrayBuffer(SHARED_CLOCK_BYTES);
  const one = new SharedHybridLogicalClock(memory, { nowUs: () => 0, last: 100n });
  const other = new SharedHybridLogicalClock(memory, { nowUs: () => 0, last: 50n });
  equal(other.nowBigint(), 101n);
  equal(one.nowBigint(), 102n);
});

Deno.test("SharedHybridLogicalClock keeps to its word in the memory", () => {
  const memory = new SharedArrayBuffer(24);
  const words = new BigUint64Array(memory);
  const clock = new SharedHybridLogicalClock(memory, { nowUs: () => 0, byteOffset: 8 });
  clock.reserve(7);
  equal(words.join(), "0,7,0");
});

Deno.test("SharedHybridLogicalClock refuses memory that cannot hold the word", () => {
  const nowUs = () => 0;
  const memory = new SharedArrayBuffer(16);
  for (const byteOffset of [4, -8, 16, 0.5]) {
    throws(() => new SharedHybridLogicalClock(memory, { nowUs, byteOffset }), { code: "usage" });
  }
  throws(() => new SharedHybridLogicalClock(new SharedArrayBuffer(4), { nowUs }), {
    code: "usage",
  });
  const notShared = new ArrayBuffer(8) as unknown as SharedArrayBuffer;
  throws(() => new SharedHybridLogicalClock(notShared, { nowUs }), { code: "usage" });
});
