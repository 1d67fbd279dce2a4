/** Reading a log from a place between two ticks, from its base, and over merged ticks. */

import assert from "node:assert/strict";
import { appendTicks, lanesOf, range } from "./_lanes_test.ts";
import { segmentPath } from "./format.ts";
import { LogReader, type LogReading } from "./log_reader.ts";
import { MemoryStorage } from "./memory_storage.ts";
import type { DirectoryMeta, LogPlace } from "./meta.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { beginWriting, endWriting } from "./recovery.ts";

const META: DirectoryMeta = { format: 1, shards: 4, incarnation: 0, lanes: [], closed: null };

function read(storage: MemoryStorage, meta: DirectoryMeta | undefined, reading: LogReading = {}) {
  const reader = new LogReader(storage, meta, reading);
  const ticks: number[] = [];
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) ticks.push(tick.tick);
  return { ticks, end: reader.end() };
}

/** A log over many small segments and three writers, with the place behind each tick. */
async function writtenLog(tickLast: number, closes: boolean) {
  const storage = new MemoryStorage();
  let meta = META, tick = 0;
  const places: LogPlace[] = [];
  for (const last of [Math.floor(tickLast / 3), Math.floor(tickLast / 2), tickLast]) {
    const { end } = read(storage, meta);
    const begun = beginWriting(storage, meta, end, { segmentBytesMax: 1024 });
    const { writer } = begun;
    meta = begun.meta;
    places.push({ tick, lanes: writer.places });
    for (; tick < last; tick++) {
      await appendTicks(writer, tick + 1, tick + 1, { incarnation: meta.incarnation });
      places.push({ tick: tick + 1, lanes: writer.places });
    }
    if (closes) await endWriting(storage, meta, writer, tick, 0n);
    else {
      await writer.sync();
      await writer.abandon();
    }
    meta = readMeta(storage)!;
  }
  return { storage, meta, places };
}

for (const closes of [true, false]) {
  const how = closes ? "closed" : "killed";
  Deno.test(`LogReader begins at every place that a writer had, its writers ${how}`, async () => {
    const { storage, meta, places } = await writtenLog(60, closes);
    const whole = read(storage, meta);
    assert.deepEqual(whole.ticks, range(1, 60));
    assert(places.some(({ lanes }) => lanes[0].segment > 3), "there are many segments");
    for (const start of places) {
      const { ticks, end } = read(storage, meta, { start });
      assert.deepEqual(ticks, range(start.tick + 1, 60), `from ${JSON.stringify(start)}`);
      assert.deepEqual(
        [end.tick, end.state],
        [60, whole.end.state],
        `from ${JSON.stringify(start)}: ${end.reason}`,
      );
      assert.equal(end.lanes[0].position, whole.end.lanes[0].position);
      const some = read(storage, meta, { start, tickMax: 40 });
      assert.deepEqual(some.ticks, range(start.tick + 1, 40));
    }
  });
}

Deno.test("LogReader begins at the base, whatever stood before it", async () => {
  const { storage, meta, places } = await writtenLog(40, true);
  for (const place of places) {
    const based = storage.clone();
    const { segment } = place.lanes[0];
    writeMeta(based, { ...meta, base: { ...place, horizon: place.tick } });
    assert.deepEqual(read(based, readMeta(based)).ticks, range(place.tick + 1, 40));
    for (let number = 1; number < segment; number++) based.remove(segmentPath(0, number));
    const { ticks, end } = read(based, readMeta(based));
    assert.deepEqual(ticks, range(place.tick + 1, 40));
    assert.equal(end.state, "whole");
    const begun = beginWriting(based, readMeta(based)!, end);
    await appendTicks(begun.writer, 41, 42, { incarnation: begun.meta.incarnation });
    await endWriting(based, begun.meta, begun.writer, 42, 0n);
    const again = read(based, readMeta(based));
    assert.deepEqual(again.ticks, range(place.tick + 1, 42));
    assert.equal(again.end.state, "whole");
  }
});

Deno.test("LogReader finds damage where the segment of its place is missing or another one", async () => {
  const { storage, meta, places } = await writtenLog(40, true);
  const start = places[25], { segment, offset, position } = start.lanes[0];
  const gone = storage.clone();
  gone.remove(segmentPath(0, segment));
  assert.deepEqual(
    [read(gone, meta, { start }).ticks, read(gone, meta, { start }).end.state],
    [[], "damaged"],
  );
  const swapped = storage.clone();
  swapped.replace(segmentPath(0, segment), storage.readAll(segmentPath(0, segment - 1))!);
  assert.equal(read(swapped, meta, { start }).end.state, "damaged");
  const wrong = { tick: 25, lanes: [{ lane: 0, segment, offset, position: position + 8 }] };
  assert.equal(read(storage, meta, { start: wrong }).end.state, "damaged");
});

Deno.test("LogReader takes a merged tick for all the ticks that it stands for", () => {
  const content = [{ tick: 9, span: 8 }, { tick: 10 }, { tick: 11 }];
  const storage = lanesOf([{ content }]);
  assert.deepEqual(read(storage, undefined).ticks, [9, 10, 11]);
  assert.deepEqual(read(storage, undefined, { tickMax: 10 }).ticks, [9, 10]);
  assert.deepEqual(read(storage, undefined, { tickMax: 8 }).ticks, []);
  const gap = lanesOf([{ content: [{ tick: 9, span: 7 }, { tick: 10 }] }]);
  assert.deepEqual(read(gap, undefined).ticks, []);
  assert.equal(read(gap, undefined).end.state, "damaged");
});

Deno.test("meta.json keeps the base, and refuses one that is none", () => {
  const storage = new MemoryStorage();
  const lanes = [{ lane: 0, segment: 3, offset: 64, position: 4096 }];
  const meta = { ...META, base: { tick: 5, horizon: 7, lanes } };
  writeMeta(storage, meta);
  assert.deepEqual(readMeta(storage), meta);
  for (const base of [{}, { tick: -1, horizon: 0, lanes }, { tick: 1, horizon: 1, lanes: [{}] }]) {
    writeMeta(storage, { ...META, base } as DirectoryMeta);
    assert.throws(() => readMeta(storage), { code: "corrupt-log" });
  }
});
