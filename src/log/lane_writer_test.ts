import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { tickParts } from "./_frames_test.ts";
import { appendTicks, GatedStorage, pathOf, range, readLane, smallWriter } from "./_lanes_test.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { SEGMENT_HEADER_BYTES } from "./format.ts";
import { LaneWriter } from "./lane_writer.ts";
import { MemoryStorage } from "./memory_storage.ts";

const TICK_BYTES = tickParts({ tick: 1 }).reduce((sum, part) => sum + part.length, 0);

/** Turns of the event loop's microtasks, enough for any chain of promises here. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await undefined;
}

/** The outcome of a promise, seen without waiting. */
function watch(promise: Promise<unknown>): { state: "pending" | "done" | "failed" } {
  const seen: { state: "pending" | "done" | "failed" } = { state: "pending" };
  promise.then(() => seen.state = "done", () => seen.state = "failed");
  return seen;
}

Deno.test("LaneWriter rolls over many small segments, and a reader finds every tick", async () => {
  const storage = new MemoryStorage();
  const writer = smallWriter(storage);
  await appendTicks(writer, 1, 60);
  const { position } = writer;
  assert(writer.segment > 4, `${writer.segment} segments`);
  await writer.close();
  const { ticks, end } = readLane(storage);
  assert.deepEqual(ticks, range(1, 60));
  assert.equal(end.state, "whole");
  assert.equal(end.position, position);
  assert.equal(end.number, writer.segment);
  const names = storage.list("lane-00");
  assert.deepEqual(names, range(1, writer.segment).map((n) => pathOf(0, n).slice(8)));
});

Deno.test("LaneWriter.position counts through segments without a gap", async () => {
  const storage = new MemoryStorage();
  const writer = smallWriter(storage);
  let before: number = writer.position;
  assert.equal(before, 0);
  for (let tick = 1; tick <= 20; tick++) {
    const { segment } = writer;
    await appendTicks(writer, tick, tick);
    const rolled = writer.segment !== segment;
    const around = tick === 1 ? SEGMENT_HEADER_BYTES : rolled ? 128 + SEGMENT_HEADER_BYTES : 0;
    assert.equal(writer.position, before + TICK_BYTES + around);
    before = writer.position;
  }
  writer.abandon();
});

Deno.test("LaneWriter.reserve() prepares the next segment ahead, at its full size", async () => {
  const storage = new MemoryStorage();
  const writer = smallWriter(storage);
  assert.equal(storage.readAll(pathOf(0, 1))!.length, 1024);
  await appendTicks(writer, 1, 1);
  assert.equal(writer.segment, 1);
  assert.equal(writer.reserve(TICK_BYTES), undefined);
  await settled();
  assert.deepEqual(storage.list("lane-00"), ["0000000001.log", "0000000002.log"]);
  const prepared = storage.readAll(pathOf(0, 2))!;
  assert.equal(prepared.length, 4096);
  assert(prepared.every((byte) => byte === 0));
  await appendTicks(writer, 2, 10);
  assert.equal(writer.segment, 2);
  assert.equal(storage.readAll(pathOf(0, 2))!.length, 4096);
  await writer.close();
});

Deno.test("LaneWriter.reserve() waits only while the next segment is being made", async () => {
  const storage = new FaultyStorage();
  const writer = smallWriter(storage);
  writer.append(tickParts({ tick: 1 }));
  writer.append(tickParts({ tick: 2 }));
  const wait = writer.reserve(TICK_BYTES);
  assert(wait instanceof Promise, "the segment is full and the next one is under way");
  await wait;
  assert.equal(writer.segment, 2);
  assert.equal(writer.reserve(TICK_BYTES), undefined);
  writer.append(tickParts({ tick: 3 }));
  await writer.close();
  assert.deepEqual(readLane(storage).ticks, [1, 2, 3]);
});

Deno.test("LaneWriter.close() removes the segment that was prepared, and cuts the last", async () => {
  for (const ticks of [0, 1, 5]) {
    const storage = new FaultyStorage();
    const writer = smallWriter(storage);
    await appendTicks(writer, 1, ticks);
    writer.reserve(TICK_BYTES);
    const { position, segment } = writer;
    await writer.close();
    await writer.close();
    assert.equal(writer.syncedPosition, position);
    for (const keep of ["none", "all"] as const) {
      const crash = storage.crash({ keep });
      assert.deepEqual(crash.list("lane-00"), range(1, segment).map((n) => pathOf(0, n).slice(8)));
      const { ticks: found, end } = readLane(crash);
      assert.deepEqual(found, range(1, ticks));
      assert.equal(end.state, "whole");
    }
  }
});

Deno.test("LaneWriter takes ticks larger than a segment", async () => {
  const storage = new MemoryStorage();
  const writer = smallWriter(storage);
  const large = (tick: number, size: number) => ({
    tick,
    frames: [{ rows: [{ page: 1, length: size }], payload: new Uint8Array(size).fill(tick) }],
  });
  const sizes = [10, 100_000, 10, 3_000, 5_000, 200_000, 10, 33_001, 10];
  for (const [i, size] of sizes.entries()) {
    const parts = tickParts(large(i + 1, size));
    await writer.reserve(parts.reduce((sum, part) => sum + part.length, 0));
    writer.append(parts);
  }
  await writer.close();
  assert.deepEqual(readLane(storage).ticks, range(1, sizes.length));
});

// Group commit.

Deno.test("LaneWriter.sync() serves all ticks written before it began with one sync", async () => {
  const storage = new GatedStorage();
  const writer = smallWriter(storage, { segmentBytes: 64 * 1024, segmentBytesMax: 64 * 1024 });
  storage.hold = true;
  storage.syncs.length = 0;
  await appendTicks(writer, 1, 1);
  const position1 = writer.position;
  const first = watch(writer.sync());
  await appendTicks(writer, 2, 4);
  const position4 = writer.position;
  const later = [writer.sync(), writer.sync(), writer.sync()];
  const watched = later.map(watch);
  assert.equal(later[0], later[2], "one promise for all");
  await settled();
  assert.deepEqual(storage.syncs, [pathOf(0, 1)], "the second waits for the first");
  assert.equal(writer.syncedPosition, 0);

  storage.held.shift()!.release();
  await settled();
  assert.equal(first.state, "done");
  assert.equal(writer.syncedPosition, position1);
  assert.deepEqual(watched.map(({ state }) => state), ["pending", "pending", "pending"]);
  await appendTicks(writer, 5, 5);
  const last = watch(writer.sync());

  storage.held.shift()!.release();
  await settled();
  assert.deepEqual(watched.map(({ state }) => state), ["done", "done", "done"]);
  assert.equal(writer.syncedPosition, position4);
  assert.equal(last.state, "pending");
  storage.held.shift()!.release();
  await settled();
  assert.equal(last.state, "done");
  assert.equal(writer.syncedPosition, writer.position);
  assert.equal(storage.syncs.length, 3, "5 ticks, 3 syncs");
  await writer.close();
});

Deno.test("LaneWriter.sync() covers what was written to a segment after the sync before it", async () => {
  // The sync of segment 1 is under way when tick 2 is written to it and the lane rolls on.
  const storage = new GatedStorage();
  const writer = smallWriter(storage);
  await appendTicks(writer, 1, 1);
  await settled();
  storage.hold = true;
  const first = writer.sync();
  await appendTicks(writer, 2, 3);
  assert.equal(writer.segment, 2);
  const second = writer.sync();
  storage.hold = false;
  storage.held.shift()!.release();
  await first;
  await second;
  assert.equal(writer.syncedPosition, writer.position);
  const { ticks, end } = readLane(storage.crash({ keep: "none" }));
  assert.deepEqual(ticks, [1, 2, 3], end.reason);
  await writer.close();
});

Deno.test("LaneWriter: what a sync acknowledged survives every crash, whatever is under way", async () => {
  const storage = new GatedStorage({ seed: 3 });
  const writer = smallWriter(storage);
  storage.hold = true;
  let acknowledged = 0;
  for (let tick = 1; tick <= 40; tick++) {
    await appendTicks(writer, tick, tick);
    writer.sync().then(() => acknowledged = Math.max(acknowledged, tick));
    // Syncs take from none to a few ticks, so that rolls come at every moment of one.
    if (tick % 3 === 0 || tick % 7 === 0) {
      storage.held.splice(0).forEach(({ release }) => release());
      await settled();
    }
    for (const keep of ["none", "some", "some", "all"] as const) {
      const { ticks, end } = readLane(storage.crash({ keep, tear: "byte" }));
      assert.deepEqual(ticks, range(1, ticks.length));
      assert(ticks.length >= acknowledged, `${ticks.length} of ${acknowledged}: ${end.reason}`);
      assert.notEqual(end.state, "damaged", end.reason);
    }
  }
  assert(acknowledged > 30 && writer.segment > 3);
  storage.hold = false;
  storage.held.splice(0).forEach(({ release }) => release());
  await writer.close();
});

Deno.test("LaneWriter.syncNow() makes all segments durable", async () => {
  const storage = new FaultyStorage();
  const writer = smallWriter(storage);
  await appendTicks(writer, 1, 12);
  assert(writer.segment > 1);
  writer.syncNow();
  assert.equal(writer.syncedPosition, writer.position);
  assert.deepEqual(readLane(storage.crash({ keep: "none" })).ticks, range(1, 12));
  await writer.close();
});

for (const now of [false, true]) {
  Deno.test(`LaneWriter: a failing ${now ? "syncNow" : "sync"}() is final`, async () => {
    const storage = new GatedStorage();
    const writer = smallWriter(storage);
    await appendTicks(writer, 1, 2);
    storage.failSyncs({ after: 0 });
    const sync = async () => now ? writer.syncNow() : await writer.sync();
    const both = now ? [sync()] : [sync(), sync()];
    for (const one of both) await assert.rejects(one, { code: "io" });
    assert(isMmsbError(writer.failure, "io"));
    const { length } = storage.syncs;
    await assert.rejects(sync(), { code: "io" });
    await assert.rejects(async () => writer.append(tickParts({ tick: 3 })), { code: "io" });
    await assert.rejects(async () => writer.reserve(1), { code: "io" });
    assert.equal(writer.syncedPosition, 0);
    await writer.close();
    assert.equal(storage.syncs.length, length, "nothing is synced again");
  });
}

Deno.test("LaneWriter: ticks that waited for a failing sync all fail", async () => {
  const storage = new GatedStorage();
  const writer = smallWriter(storage, { segmentBytesMax: 64 * 1024, segmentBytes: 64 * 1024 });
  storage.hold = true;
  await appendTicks(writer, 1, 1);
  storage.failSyncs({ after: 0 });
  const first = watch(writer.sync());
  await appendTicks(writer, 2, 3);
  const second = watch(writer.sync());
  storage.held.shift()!.release();
  await settled();
  assert.deepEqual([first.state, second.state], ["failed", "failed"]);
  assert.equal(storage.held.length, 0, "no second sync was tried");
  assert.equal(writer.syncedPosition, 0);
  await writer.close();
});

// Writes that fail.

Deno.test("LaneWriter: a failed write is wiped, durably, whatever it left", async () => {
  for (const before of [0, 1, 2]) {
    for (let prefix = 0; prefix <= TICK_BYTES; prefix += prefix < 200 ? 8 : 1) {
      for (const error of ["io", "disk-full"] as const) {
        const storage = new FaultyStorage();
        const writer = smallWriter(storage);
        await appendTicks(writer, 1, before);
        await settled();
        // The first tick of a segment is two writes: the segment's header too.
        for (const after of before === 0 ? [0, 1] : [0]) {
          storage.failWrites({ after, prefix, error });
          assert.throws(() => writer.append(tickParts({ tick: before + 1 })), { code: error });
          assert.equal(writer.failure, undefined);
          for (const keep of ["none", "all", "some"] as const) {
            const { ticks, end } = readLane(storage.crash({ keep, tear: "byte" }));
            assert(ticks.length <= before, `tick ${before + 1} is back`);
            assert.notEqual(end.state, "damaged");
            if (keep === "all") assert.equal(end.state, "whole", end.reason);
          }
        }
        writer.append(tickParts({ tick: before + 1, nextPageId: 77 }));
        writer.syncNow();
        const { ticks, end } = readLane(storage.crash({ keep: "none" }));
        assert.deepEqual(ticks, range(1, before + 1));
        assert.equal(end.state, "whole");
        await writer.close();
      }
    }
  }
});

Deno.test("LaneWriter: a refused tick cannot come back behind a shorter one", async () => {
  const storage = new FaultyStorage();
  const writer = smallWriter(storage, { segmentBytes: 16_384, segmentBytesMax: 16_384 });
  const rows = { rows: [{ page: 1, length: 8_000 }], payload: new Uint8Array(8_000).fill(1) };
  const long = tickParts({ tick: 1, frames: [rows, rows] }).map((part) => part.slice());
  storage.failWrites({ after: 1, prefix: Infinity });
  assert.throws(() => writer.append(long));
  writer.append(tickParts({ tick: 1 }));
  for (const keep of ["none", "some", "all"] as const) {
    const { ticks, end } = readLane(storage.crash({ keep, tear: "byte", seed: 5 }));
    assert(ticks.length <= 1);
    if (keep === "all") assert.deepEqual([ticks, end.state], [[1], "whole"]);
  }
  await writer.close();
});

Deno.test("LaneWriter: where wiping fails too, the lane is unusable", async () => {
  for (const part of ["write", "sync"] as const) {
    const storage = new FaultyStorage();
    const writer = smallWriter(storage);
    await appendTicks(writer, 1, 1);
    storage.failWrites({ after: 0, times: part === "write" ? 2 : 1, prefix: 100 });
    if (part === "sync") storage.failSyncs({ after: 0 });
    assert.throws(() => writer.append(tickParts({ tick: 2 })), { code: "io" });
    assert(isMmsbError(writer.failure, "io"));
    assert.throws(() => writer.append(tickParts({ tick: 2 })), { code: "io" });
    await assert.rejects(writer.sync(), { code: "io" });
    writer.abandon();
  }
});

Deno.test("LaneWriter: a full disk refuses ticks and takes them again when there is room", async () => {
  const storage = new FaultyStorage();
  const writer = smallWriter(storage);
  await appendTicks(writer, 1, 2);
  storage.fillUp({ bytesLeft: 0 });
  // What is left of the segment was written with zeros before, so it takes ticks; then none.
  let tick = 3, refused = 0;
  for (; refused < 3 && tick < 20;) {
    try {
      await appendTicks(writer, tick, tick);
      tick++;
    } catch (error) {
      assert(isMmsbError(error, "disk-full"), String(error));
      assert.equal(writer.failure, undefined);
      refused++;
    }
  }
  assert.equal(refused, 3);
  for (const keep of ["none", "all"] as const) {
    const { ticks, end } = readLane(storage.crash({ keep }));
    assert.notEqual(end.state, "damaged", end.reason);
    assert.deepEqual(ticks, keep === "all" ? range(1, tick - 1) : []);
  }
  storage.fillUp({ bytesLeft: Infinity });
  await appendTicks(writer, tick, tick + 5);
  await writer.close();
  assert.deepEqual(readLane(storage).ticks, range(1, tick + 5));
});

Deno.test("LaneWriter grows a segment as it goes where the disk has no room for all of it", async () => {
  const storage = new FaultyStorage();
  const writer = smallWriter(storage);
  await appendTicks(writer, 1, 1);
  storage.fillUp({ bytesLeft: 2_000 });
  await appendTicks(writer, 2, 5);
  assert.equal(writer.segment, 2);
  assert(storage.readAll(pathOf(0, 2))!.length < 4096);
  writer.syncNow();
  const { ticks, end } = readLane(storage.crash({ keep: "none" }));
  assert.deepEqual(ticks, range(1, 5), end.reason);
  // A failed write behind what was written with zeros is cut away.
  storage.fillUp({ bytesLeft: 100 });
  await assert.rejects(appendTicks(writer, 6, 6), { code: "disk-full" });
  assert.equal(readLane(storage.crash({ keep: "none" })).end.state, "whole");
  await writer.close();
});

Deno.test("LaneWriter rolls on after the next segment could not be prepared", async () => {
  // The steps of an allocation: create, write, sync, rename, folder sync.
  for (const fault of ["write", "sync", "folder sync"] as const) {
    const storage = new FaultyStorage();
    const writer = smallWriter(storage);
    writer.append(tickParts({ tick: 1 }));
    if (fault === "write") storage.failWrites({ after: 0 });
    else storage.failSyncs({ after: fault === "sync" ? 0 : 1 });
    await appendTicks(writer, 2, 8);
    assert(writer.segment > 1);
    writer.syncNow();
    const { ticks, end } = readLane(storage.crash({ keep: "none" }));
    assert.deepEqual(ticks, range(1, 8), `${fault}: ${end.reason}`);
    await writer.close();
  }
});

Deno.test("LaneWriter begins at the position and number that it is told", async () => {
  const storage = new MemoryStorage();
  const writer = new LaneWriter(storage, { lane: 3, number: 7, position: 9_000, incarnation: 4 });
  assert.equal(writer.position, 9_000);
  assert.equal(writer.syncedPosition, 9_000);
  await appendTicks(writer, 5, 5, { lane: 3, incarnation: 4 });
  await writer.close();
  assert.deepEqual(storage.list("lane-03"), ["0000000007.log"]);
});
