/**
 * A small log with everything in it: births with names and metadata, deaths, changed metadata and sizes, sets,
 * masks and combining deltas of three producers and of the caller's own batch, sources and intents, a rule and
 * what it derives, edges that come and go, marks, several segments, two incarnations. Made by the bus itself, the same for the same seed but for
 * its times.
 */

import type { Page, StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { openBus } from "./device_run.ts";

const TICKS = 60;
const ROWS = 50;
const PAGES = 40;
const PAGE_BYTES = 256;
const SEGMENT_BYTES = 32 * 1024;
const MEMORY_BYTES = 16 * 2 ** 20;

/** Shards of the sample. */
export const SAMPLE_SHARDS = 4;

/** Makes the sample. */
export async function sampleLog(seed: number): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const random = new SeededRandom(seed);
  for (let incarnation = 0; incarnation < 2; incarnation++) {
    const bus = await openBus({
      storage,
      shards: SAMPLE_SHARDS,
      durability: "group",
      memoryLimitBytes: MEMORY_BYTES,
      segmentBytes: SEGMENT_BYTES,
      segmentBytesMax: SEGMENT_BYTES,
    });
    for (let tick = 0; tick < TICKS / 2; tick++) {
      if (tick === 1 - incarnation) bind(bus);
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

/** Names of the pages that depend on each other. */
const GRAPH = ["input", "output", "follower"];
const FOLLOWS = "control";

const sumOfInput = defineRule({
  compute(ctx) {
    let sum = 0;
    for (let at = 0; at < PAGE_BYTES; at += 4) sum = sum + ctx.input(0).getInt32(at) | 0;
    ctx.output(0).setInt32(0, sum);
  },
});

/** A rule, an edge that marks what follows, and one that comes and goes. */
function bind(bus: StateBus): void {
  const [input, output, follower] = GRAPH.map((name) => {
    return bus.find(name) ?? bus.createPage({ size: PAGE_BYTES, name });
  });
  bus.rule(sumOfInput, { name: "sum of the input", inputs: [input], outputs: [output] });
  if (bus.graph.edges().length === 0) bus.edge(input, follower, FOLLOWS);
}

/** Pages that are written and deleted at random. */
function freePages(bus: StateBus): Page[] {
  return [...bus.pages()].filter(({ name }) => !GRAPH.includes(name)).sort((a, b) => a.id - b.id);
}

/** A birth, a death, metadata and a write of the caller's own, now and then. */
function changes(bus: StateBus, random: SeededRandom, tick: number): void {
  const pages = freePages(bus);
  const own = pages[random.below(pages.length)];
  own.write(0, Uint8Array.of(tick), { source: "the caller", intent: `tick ${tick}` });
  if (tick % 4 === 1) bus.createPage({ size: PAGE_BYTES, name: `born in ${bus.tickNumber + 1}` });
  if (tick % 5 === 2) pages[random.below(pages.length)].delete();
  if (tick % 7 === 3) own.setMetadata({ note: Uint8Array.of(tick) });
  const input = bus.find("input"), output = bus.find("output"), follower = bus.find("follower");
  if (input === undefined || output === undefined || follower === undefined) return;
  if (tick % 2 === 0) input.combine("i32", "add", 4 * random.below(PAGE_BYTES / 4), tick);
  const isThere = bus.graph.has(output.id, follower.id, "gpu");
  if (tick % 8 === 4 && !isThere) bus.edge(output, follower, "gpu");
  if (tick % 8 === 6 && isThere) bus.removeEdge(output, follower, "gpu");
  if (tick % 9 === 5) follower.resize(PAGE_BYTES + tick);
}

function batchOf(bus: StateBus, random: SeededRandom): DeltaBatch {
  const batch = new DeltaBatch({ rows: ROWS, payloadBytes: 32 * ROWS });
  const sources = ["feed-a", "feed-b"].map((name) => batch.source(name));
  const intent = batch.intent("sample");
  const ids = freePages(bus).map(({ id }) => id);
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
