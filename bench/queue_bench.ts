/** Temporal messages into a queue and out of it, beside a binary heap of objects: `deno bench -A bench/queue_bench.ts`. */

import { MessageBatch, TemporalQueue } from "../src/temporal/messages/mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { hash } from "./_harness.ts";
import { BinaryHeap, fill, NOW_US } from "./_work_queue.ts";

const BATCH = 1024;

/** Keeps the order in which ids came out. */
class Order {
  readonly #ids: Uint32Array;
  #count = 0;

  constructor(size: number) {
    this.#ids = new Uint32Array(size);
  }

  add(id: number): void {
    this.#ids[this.#count++ % this.#ids.length] = id;
  }

  result(): string {
    return hash(
      new Uint8Array(this.#ids.buffer),
      new Uint8Array(Int32Array.of(this.#count).buffer),
    );
  }
}

const ours: OpenSide = ({ size }) => {
  const capacity = Math.min(BATCH, size), order = new Order(size);
  const queue = TemporalQueue.create({ nowUs: () => NOW_US, capacity: size });
  const source = new MessageBatch({ capacity }), target = new MessageBatch({ capacity });
  let next = 0;
  return {
    run() {
      for (let i = 0; i < size; i += capacity) {
        fill(source, next, 0, false);
        queue.pushBatch(source);
        next += capacity;
      }
      while (queue.popBatch(target) > 0) {
        for (let row = 0; row < target.count; row++) order.add(target.idLo[row]);
      }
    },
    result: () => order.result(),
  };
};

const heap: OpenSide = ({ size }) => {
  const items = new BinaryHeap(), order = new Order(size);
  let next = 0;
  return {
    run() {
      for (let i = 0; i < size; i++) {
        const id = next++;
        items.push({
          id,
          time: 2 ** 32 + id * 4,
          sequence: id,
          priority: id & 3,
          payload: new Uint8Array(8),
        });
      }
      while (items.size > 0) order.add(items.pop().id);
    },
    result: () => order.result(),
  };
};

export default bench({
  unit: "16,384 temporal messages into a queue, and out of it in order",
  size: 16_384,
  smokeSize: 256,
  sides: { "binary heap": heap, "TemporalQueue": ours },
});
