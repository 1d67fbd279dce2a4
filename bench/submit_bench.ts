/** From a program's data to the end of a tick in memory, three ways: `deno bench -A bench/submit_bench.ts`. */

import type { DeltaBatch, StateBus } from "../mod.ts";
import { bench, type Place, type Side } from "./_comparison.ts";
import {
  bareApply,
  bareMemory,
  busOfPages,
  emptyBatch,
  fillColumns,
  filledBatch,
  PAYLOAD,
  SEED,
  signed,
  stateHash,
  tickOf,
} from "./_work.ts";

const PAGE_BYTES = 256;

type Stage = (batch: DeltaBatch, from: DeltaBatch, source: number) => void;

function fill(batch: DeltaBatch, from: DeltaBatch, source: number): void {
  fillColumns(batch, from.columns.page, from.columns.offset, from.payload, source);
}

function push(batch: DeltaBatch, from: DeltaBatch, source: number): void {
  const { page, offset } = from.columns, { payload } = signed(from);
  const bytes = new Uint8Array(PAYLOAD), words = new Int32Array(bytes.buffer);
  for (let i = 0; i < from.length; i++) {
    for (let k = 0; k < 4; k++) words[k] = payload[4 * i + k];
    batch.push(page[i], offset[i], bytes, source);
  }
}

async function staged({ size }: Place, stage: Stage): Promise<Side> {
  const from = filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size), batch = emptyBatch(size);
  const bus = await busOfPages(size, PAGE_BYTES), source = batch.source("bench");
  return {
    run() {
      batch.clear();
      stage(batch, from, source);
      return tickOf(bus, batch);
    },
    result: () => stateHash(bus),
    close: () => bus.close(),
  };
}

async function written({ size }: Place): Promise<Side> {
  const from = filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size);
  const { page, offset } = from.columns, bus: StateBus = await busOfPages(size, PAGE_BYTES);
  const handles = Array.from({ length: size }, (_, i) => bus.page(i + 1));
  const payloads = Array.from({ length: size }, (_, i) => {
    return from.payload.slice(i * PAYLOAD, (i + 1) * PAYLOAD);
  });
  return {
    async run() {
      for (let i = 0; i < size; i++) handles[page[i] - 1].write(offset[i], payloads[i]);
      await bus.tick();
    },
    result: () => stateHash(bus),
    close: () => bus.close(),
  };
}

export default bench({
  unit: "65,536 deltas of 16 bytes into as many pages of 256 bytes, and a tick",
  size: 65_536,
  smokeSize: 512,
  sides: {
    "bare loop, no bus": ({ size }) => {
      const batch = filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size);
      const { page, offset, start, payload } = signed(batch), words = bareMemory(PAGE_BYTES, size);
      return {
        run: () => bareApply(words, payload, page, offset, start, size, PAGE_BYTES >> 2),
        result: () => new Uint8Array(words.buffer),
      };
    },
    "columns filled, submit, tick": (place) => staged(place, fill),
    "batch.push, submit, tick": (place) => staged(place, push),
    "page.write, tick": written,
  },
});
