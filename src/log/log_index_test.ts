/** Indices of segments: made, stored, believed, made again; and where damage is found by them. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { GrowingRows, rowsIn, sortRows } from "./_page_rows.ts";
import { planColumn, planTimes, timeAt, valueAt, writeColumn, writeTimes } from "./column_codec.ts";
import { appendTicks, range, smallWriter } from "./_lanes_test.ts";
import { LogIndex } from "./log_index.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { decodeIndex, segmentIndexPath } from "./segment_index.ts";

/** A log of small segments: tick n has one row of page n modulo 5, and an HLC of n ms. */
async function written(ticks: number, pages = 5): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const writer = smallWriter(storage);
  for (let tick = 1; tick <= ticks; tick++) {
    const hlc = BigInt(tick) * 1000n << 12n;
    const frames = [{
      hlc,
      rows: [{ page: 1 + tick % pages, length: 4, epoch: tick }],
      payload: new Uint8Array(4),
    }];
    await appendTicks(writer, tick, tick, { frames, commitHlc: hlc });
  }
  await writer.close();
  return storage;
}

/** Ticks that have rows of a page, by index. */
function ticksOf(index: LogIndex, page: number): number[] {
  const ticks: number[] = [];
  for (const lane of index.lanes) {
    for (const { columns, rowsOf } of index.segments(lane)) {
      for (const row of rowsOf(page)) {
        const frame = columns.frameRows.findLastIndex((first) => first <= row);
        ticks.push(columns.ticks[columns.frameTicks[frame]]);
      }
    }
  }
  return ticks;
}

function expected(page: number, ticks: number): number[] {
  return range(1, ticks).filter((tick) => 1 + tick % 5 === page);
}

function indices(storage: MemoryStorage): string[] {
  return storage.list("lane-00").filter((name) => !name.endsWith(".log"));
}

Deno.test("sortRows() and GrowingRows find the rows of every page", () => {
  const columns = fc.array(
    fc.array(fc.oneof(fc.nat(9), fc.constant(70_000), fc.integer()), { maxLength: 40 }),
  );
  fc.assert(fc.property(columns, (parts) => {
    const growing = new GrowingRows(), all: number[] = [];
    for (const part of parts) {
      growing.add(Int32Array.from(part), part.length);
      all.push(...part.map((page) => page >>> 0));
      for (const page of new Set([...all, 5])) {
        const rows = all.flatMap((each, row) => each === page ? [row] : []);
        assert.deepEqual([...growing.find(page)], rows);
      }
    }
    const run = growing.finish();
    assert.equal(run.rows.length, all.length);
  }));
  // More rows than the sort of few takes, with pages below and above 2^16.
  for (const pages of [1000, 300_000]) {
    const pageOf = Uint32Array.from(
      { length: 9000 },
      (_, i) => Math.imul(i, 2_654_435_761) % pages >>> 0,
    );
    const run = sortRows(pageOf, 100, 9000);
    for (const page of new Set(pageOf.subarray(100, 600))) {
      const rows = [...pageOf.keys()].filter((row) => row >= 100 && pageOf[row] === page);
      assert.deepEqual([...rowsIn(run, page)], rows);
    }
    assert.deepEqual([...rowsIn(run, 400_000)], []);
  }
});

Deno.test("valueAt() and timeAt() read what was written, row by row", () => {
  const wide = fc.array(fc.oneof(fc.integer(), fc.nat(300), fc.constant(7)), { minLength: 1 });
  fc.assert(fc.property(wide, fc.integer(), (values, step) => {
    for (const column of [Int32Array.from(values), Int32Array.from(values, (_, i) => i * step)]) {
      const plan = planColumn(column, column.length);
      const buffer = new ArrayBuffer(16 + 8 * values.length);
      writeColumn(plan, column, column.length, buffer, 8);
      const view = new DataView(buffer);
      column.forEach((value, row) => assert.equal(valueAt(plan.encoding, view, 8, row), value));
    }
  }));
  const times = fc.array(fc.oneof(fc.double(), fc.integer(), fc.constant(NaN)), { minLength: 1 });
  fc.assert(fc.property(times, (values) => {
    const column = Float64Array.from(values), plan = planTimes(column, column.length);
    if (plan === undefined) return;
    const buffer = new ArrayBuffer(16 + 8 * values.length);
    writeTimes(plan, column, column.length, buffer, 8);
    const view = new DataView(buffer);
    column.forEach((value, row) => assert.equal(timeAt(plan.encoding, view, 8, row), value));
  }));
});

Deno.test("LogIndex stores the indices of closed segments, and reads them the next time", async () => {
  const storage = await written(60);
  const index = new LogIndex(storage, undefined, { writes: true });
  assert.equal(index.update(60), undefined);
  await index.flush();
  const names = indices(storage);
  assert(names.length > 5 && names.every((name) => name.endsWith(".idx")), names.join());
  for (let page = 0; page < 7; page++) assert.deepEqual(ticksOf(index, page), expected(page, 60));
  // What was stored is believed, so a look reads no segment but the open one.
  const opened: string[] = [];
  const open = storage.open.bind(storage);
  storage.open = (path, mode) => {
    const file = open(path, mode), read = file.read.bind(file);
    file.read = (target, position) => {
      if (target.length > 400) opened.push(path);
      return read(target, position);
    };
    return file;
  };
  const again = new LogIndex(storage, undefined);
  assert.equal(again.update(60), undefined);
  for (let page = 1; page < 6; page++) assert.deepEqual(ticksOf(again, page), expected(page, 60));
  const logs = new Set(opened.filter((path) => path.endsWith(".log")));
  assert(logs.size <= 2, [...logs].join());
});

Deno.test("LogIndex of a reader stores nothing", async () => {
  const storage = await written(30);
  const index = new LogIndex(storage, undefined);
  index.update(30);
  await index.flush();
  assert.deepEqual(indices(storage), []);
});

Deno.test("LogIndex believes no index that is torn, flipped, of another segment or another log", async () => {
  const storage = await written(60);
  const index = new LogIndex(storage, undefined, { writes: true });
  index.update(60);
  await index.flush();
  const image = storage.image();
  const other = await written(40, 3);
  const path = segmentIndexPath(0, 3);
  const good = image.get(path)!;
  assert(decodeIndex(Uint8Array.from(good)) !== undefined);
  const wrong: [string, Uint8Array<ArrayBuffer> | undefined][] = [
    ["missing", undefined],
    ["empty", new Uint8Array(0)],
    ["torn", good.slice(0, good.length - 8)],
    ["cut in its header", good.slice(0, 60)],
    ["of another segment", image.get(segmentIndexPath(0, 2))!],
  ];
  for (let at = 0; at < good.length; at += 5) {
    const flipped = good.slice();
    flipped[at] ^= 1 << at % 8;
    wrong.push([`flipped at ${at}`, flipped]);
  }
  for (const [what, bytes] of wrong) {
    const spoilt = new Map(image);
    if (bytes === undefined) spoilt.delete(path);
    else spoilt.set(path, bytes);
    const directory = new MemoryStorage({ image: spoilt });
    const found = new LogIndex(directory, undefined, { writes: true });
    assert.equal(found.update(60), undefined, what);
    for (let page = 1; page < 6; page++) {
      assert.deepEqual(ticksOf(found, page), expected(page, 60), what);
    }
    await found.flush();
    assert.deepEqual(Uint8Array.from(directory.readAll(path)!), Uint8Array.from(good), what);
  }
  // The indices of one log beside the segments of another.
  const mixed = other.image();
  for (const [name, bytes] of image) if (name.endsWith(".idx")) mixed.set(name, bytes);
  mixed.set(segmentIndexPath(0, 77), good);
  const directory = new MemoryStorage({ image: mixed });
  const found = new LogIndex(directory, undefined, { writes: true });
  assert.equal(found.update(40), undefined);
  for (let page = 1; page < 4; page++) {
    assert.deepEqual(ticksOf(found, page), range(1, 40).filter((tick) => 1 + tick % 3 === page));
  }
  assert.equal(directory.exists(segmentIndexPath(0, 77)), false, "its segment is gone");
});

Deno.test("LogIndex keeps to its memory, and finds all the same", async () => {
  const storage = await written(80);
  const index = new LogIndex(storage, undefined, { bytesMax: 2000 });
  index.update(80);
  for (let page = 1; page < 6; page++) {
    assert.deepEqual(ticksOf(index, page), expected(page, 80));
    assert(index.bytes < 4000, `${index.bytes}`);
  }
});

Deno.test("LogIndex.tickAt() gives the last tick at or before a time", async () => {
  const index = new LogIndex(await written(50), undefined);
  index.update(50);
  for (let tick = 1; tick <= 50; tick++) {
    assert.equal(index.tickAt(tick * 1000), tick);
    assert.equal(index.tickAt(tick * 1000 - 1), tick - 1);
  }
  assert.equal(index.tickAt(0), 0);
  assert.equal(index.tickAt(1e12), 50);
});

Deno.test("LogIndex.update() goes on from its last look, and says where a log is damaged", async () => {
  const storage = await written(60);
  const index = new LogIndex(storage, undefined);
  for (const tick of [1, 2, 30, 31, 60]) {
    assert.equal(index.update(tick), undefined);
    assert.equal(index.tick, tick);
    assert.deepEqual(ticksOf(index, 1), expected(1, tick));
  }
  const image = storage.image(), path = "lane-00/0000000004.log";
  const bytes = image.get(path)!;
  bytes[200] ^= 4;
  const damaged = new LogIndex(new MemoryStorage({ image }), undefined);
  const fault = damaged.update(60)!;
  assert.equal(fault.path, path);
  assert(fault.offset <= 200 && damaged.tick > 5 && damaged.tick < 60);
  image.delete(path);
  const missing = new LogIndex(new MemoryStorage({ image }), undefined).update(60)!;
  assert.deepEqual([missing.path, missing.offset], [path, 0]);
});
