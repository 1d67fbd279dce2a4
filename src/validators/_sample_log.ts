/**
 * A small log with everything in it: births with names and metadata, deaths, changed metadata, sets,
 * masks and combining deltas of three producers and of the caller's own batch, sources and intents,
 * several segments, two incarnations. Made by the bus itself, the same for the same seed but for
 * its times.
 */

import { StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { DeltaBatch } from "../physical/mod.ts";

const TICKS = 60;
const ROWS = 120;
const PAGES = 40;
const PAGE_BYTES = 256;
const SEGMENT_BYTES = 64 * 1024;
const MEMORY_BYTES = 16 * 2 ** 20;

/** Shards of the sample. */
export const SAMPLE_SHARDS = 4;

/** Makes the sample. */
export async function sampleLog(seed: number): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const random = new SeededRandom(seed);
  for (let incarnation = 0; incarnation < 2; incarnation++) {
    const bus = await StateBus.open({
      storage,
      shards: SAMPLE_SHARDS,
      durability: "group",
      memoryLimitBytes: MEMORY_BYTES,
      segmentBytes: SEGMENT_BYTES,
      segmentBytesMax: SEGMENT_BYTES,
    });
    for (let tick = 0; tick < TICKS / 2; tick++) {
      if (incarnation === 0 && tick === 0) births(bus);
      else changes(bus, random, tick);
      for (const producer of [1, 2, 3]) {
        if (tick > 0 || incarnation > 0) bus.submit(batchOf(bus, random), { producer });
      }
      await (await bus.tick()).durable;
    }
    await bus.close();
  }
  return storage;
}

function births(bus: StateBus): void {
  for (let index = 0; index < PAGES; index++) {
    const isNamed = index % 3 === 0;
    bus.createPage({
      size: PAGE_BYTES,
      ...(isNamed ? { name: `page ${index}`, metadata: { unit: Uint8Array.of(index) } } : {}),
    });
  }
}

/** A birth, a death, metadata and a write of the caller's own, now and then. */
function changes(bus: StateBus, random: SeededRandom, tick: number): void {
  const pages = [...bus.pages()].sort((a, b) => a.id - b.id);
  const own = pages[random.below(pages.length)];
  own.write(0, Uint8Array.of(tick), { source: "the caller", intent: `tick ${tick}` });
  if (tick % 4 === 1) bus.createPage({ size: PAGE_BYTES, name: `born in ${bus.tickNumber + 1}` });
  if (tick % 5 === 2) pages[random.below(pages.length)].delete();
  if (tick % 7 === 3) own.setMetadata({ note: Uint8Array.of(tick) });
}

function batchOf(bus: StateBus, random: SeededRandom): DeltaBatch {
  const batch = new DeltaBatch({ rows: ROWS, payloadBytes: 32 * ROWS });
  const sources = ["feed-a", "feed-b"].map((name) => batch.source(name));
  const intent = batch.intent("sample");
  const ids = [...bus.pages()].map(({ id }) => id).sort((a, b) => a - b);
  for (let row = 0; row < ROWS; row++) {
    const id = ids[random.below(ids.length)], offset = 16 * random.below(PAGE_BYTES / 16);
    const options = { source: sources[random.below(2)], intent: random.below(2) * intent };
    const bytes = Uint8Array.from({ length: 16 }, () => random.below(256));
    if (row % 3 === 0) batch.push(id, offset, bytes, options);
    else if (row % 3 === 1) batch.combine(id, "i32", "add", offset, random.below(1000), options);
    else batch.pushMasked(id, offset, 8, Uint8Array.of(0b101), bytes.subarray(0, 2), options);
  }
  return batch;
}
