/** The kernel that applies a batch beside the bare loop over plain arrays: `deno bench -A bench/apply_bench.ts`. */

import { applyRows, PageStore, resolve } from "../src/physical/mod.ts";
import { bench, type Comparison, type Place, type Side } from "./_comparison.ts";
import { bareApply, bareMemory, emptyBatch, filledBatch, SEED, signed } from "./_work.ts";

function applying(pageBytes: number): Comparison {
  return {
    unit: `65,536 deltas of 16 bytes into as many pages of ${pageBytes} bytes`,
    size: 65_536,
    smokeSize: 512,
    sides: {
      "bare loop, nothing checked": (place) => bareLoop(place, pageBytes),
      "apply alone": (place) => kernel(place, pageBytes, false),
      "check and apply": (place) => kernel(place, pageBytes, true),
    },
  };
}

function bareLoop({ size }: Place, pageBytes: number): Side {
  const batch = filledBatch(pageBytes, SEED, emptyBatch(size), size);
  const { page, offset, start, payload } = signed(batch), words = bareMemory(pageBytes, size);
  return {
    run: () => bareApply(words, payload, page, offset, start, size, pageBytes >> 2),
    result: () => new Uint8Array(words.buffer),
  };
}

function kernel({ size }: Place, pageBytes: number, checks: boolean): Side {
  const batch = filledBatch(pageBytes, SEED, emptyBatch(size), size);
  const store = new PageStore(size * pageBytes + 2 ** 24);
  for (let id = 1; id <= size; id++) {
    store.table.setActive(store.create(id, { size: pageBytes, shard: 0, name: "" }), true);
  }
  const { kernel: columns, payloadLength } = batch;
  const input = { columns, rows: size, payloadLength, strings: 2 };
  const shape = resolve(input, store.table);
  return {
    run: () => applyRows(columns, size, checks ? resolve(input, store.table) : shape, store.arena),
    result: () => {
      const bytes = new Uint8Array(size * pageBytes);
      for (let id = 1; id <= size; id++) {
        bytes.set(store.view(store.table.rowOf(id)), (id - 1) * pageBytes);
      }
      return bytes;
    },
  };
}

export default bench(applying(4096), applying(64));
