import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { tickParts } from "./_frames_test.ts";
import { GatedStorage, pathOf, range } from "./_lanes_test.ts";
import { laneFolder } from "./format.ts";
import type { LaneSet } from "./lane_set.ts";
import { LogReader } from "./log_reader.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { type DirectoryMeta, readMeta, writeMeta } from "./meta.ts";
import { beginWriting, checkUndamaged, endWriting } from "./recovery.ts";
import { SeededRandom } from "./seeded_random.ts";
import type { Storage } from "./storage.ts";

const NEW: DirectoryMeta = { format: 1, shards: 8, incarnation: 0, lanes: [], closed: null };

function readLog(storage: Storage) {
  const reader = new LogReader(storage, readMeta(storage));
  const ticks: number[] = [];
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) ticks.push(tick.tick);
  return { ticks, end: reader.end() };
}

/** Opens a directory to write `lanes` lanes, as a bus does. */
function open(storage: Storage, lanes: number, segmentBytes = 1024) {
  storage.makeFolder("");
  if (readMeta(storage) === undefined) writeMeta(storage, NEW);
  const { end, ticks } = readLog(storage);
  checkUndamaged(storage, end);
  const begun = beginWriting(storage, readMeta(storage)!, end, {
    lanes,
    segmentBytes,
    segmentBytesMax: segmentBytes,
  });
  return { ...begun, tick: ticks.length };
}

/** Appends a tick to some lanes of a set. */
async function append(
  set: LaneSet,
  tick: number,
  lanes: readonly number[],
  incarnation: number,
): Promise<void> {
  const parts = range(0, set.size - 1).map((lane) =>
    !lanes.includes(lane) ? undefined : tickParts({
      tick,
      lane,
      lanes,
      incarnation,
      synced: set.syncedPositionOf(lane),
    })
  );
  const bytes = (part: readonly Uint8Array[] = []) =>
    part.reduce((sum, { length }) => sum + length, 0);
  await set.reserve(parts.map(bytes));
  set.append(parts);
}

/** Some of the lanes, at least one. */
function someOf(random: SeededRandom, count: number): number[] {
  const lanes = range(0, count - 1).filter(() => random.chance(0.5));
  return lanes.length === 0 ? [random.below(count)] : lanes;
}

Deno.test("LaneSet: every crash leaves a whole prefix of ticks, with other numbers of lanes in between", async () => {
  for (let seed = 0; seed < 24; seed++) {
    const random = new SeededRandom(seed);
    let storage = new FaultyStorage({ seed });
    storage.makeFolder("");
    writeMeta(storage, NEW);
    let acknowledged = 0;
    for (let round = 0; round < 5; round++) {
      const lanes = [1, 2, 3, 8][random.below(4)];
      const begun = open(storage, lanes), { writer, meta } = begun;
      let { tick } = begun;
      assert(tick >= acknowledged, `seed ${seed}: tick ${tick}, ${acknowledged} was acknowledged`);
      acknowledged = tick;
      assert.equal(meta.lanes.length, new Set(meta.lanes.map(({ lane }) => lane)).size);
      assert.equal(writer.size, lanes);
      for (let i = random.below(12); i > 0; i--) {
        await append(writer, ++tick, someOf(random, lanes), meta.incarnation);
        if (random.chance(0.3)) {
          const upTo = tick;
          const done = writer.sync().then(() => acknowledged = Math.max(acknowledged, upTo));
          if (random.chance(0.5)) await done;
        }
        if (!random.chance(0.2)) continue;
        const crash = storage.crash({ seed: random.below(1e6), tear: "byte" });
        const { ticks, end } = readLog(crash);
        assert(ticks.length >= acknowledged, `seed ${seed}: ${end.reason}`);
        assert.notEqual(end.state, "damaged", `seed ${seed}: ${end.reason}`);
      }
      if (random.chance(0.4)) {
        await endWriting(storage, meta, writer, tick, 0n);
        acknowledged = tick;
        assert.deepEqual(readLog(storage.crash({ keep: "none" })).ticks, range(1, tick));
      } else {
        await writer.sync();
        acknowledged = tick;
        await append(writer, tick + 1, someOf(random, lanes), meta.incarnation);
        const crash = storage.crash({ seed: random.below(1e6), tear: "byte" });
        await writer.abandon();
        storage = new FaultyStorage({ seed: seed + 1, image: crash.image() });
      }
    }
  }
});

Deno.test("LaneSet: what a recovery that is cut off leaves is no damage", async () => {
  let torn = 0;
  for (let seed = 0; seed < 6; seed++) {
    const random = new SeededRandom(seed), written = new FaultyStorage({ seed });
    const { writer, meta } = open(written, 3);
    let tick = 0;
    for (; tick < 6; tick++) await append(writer, tick + 1, someOf(random, 3), meta.incarnation);
    await writer.sync();
    // Lanes 0 and 2 go far beyond what lane 1 still has; full segments are synced by themselves, and say so.
    await append(writer, ++tick, [0, 1, 2], meta.incarnation);
    for (let i = 0; i < 40; i++) {
      await append(writer, ++tick, [0, 2], meta.incarnation);
      await new Promise((resolve) => setTimeout(resolve));
    }
    const crash = written.crash({ survive: ({ path }) => !path.startsWith(laneFolder(1)) });
    await writer.abandon();
    assert.deepEqual(readLog(crash).ticks, range(1, 6), `seed ${seed}`);
    for (let after = 0; after < 80; after++) {
      const storage = new FaultyStorage({ seed, image: crash.image() });
      storage.stop({ after });
      let isDone = true;
      try {
        await open(storage, 2).writer.abandon();
      } catch (error) {
        assert(isMmsbError(error, "io"), String(error));
        isDone = false;
      }
      for (const keep of ["none", "all", "some"] as const) {
        const left = storage.crash({ keep, seed: after });
        const { ticks, end } = readLog(left);
        assert.deepEqual(ticks, range(1, 6), `seed ${seed}, step ${after}: ${end.reason}`);
        assert.notEqual(end.state, "damaged", `seed ${seed}, step ${after}: ${end.reason}`);
        if (end.state === "torn") torn++;
        const again = open(left, 3);
        assert.equal(again.tick, 6);
        await again.writer.abandon();
      }
      if (isDone) break;
    }
  }
  assert(torn > 100, `${torn}`);
});

Deno.test("LaneSet takes a tick back from the lanes that had it where one cannot", async () => {
  let taken = 0, lost = 0;
  for (let after = 0; after < 8; after++) {
    for (const times of [1, Infinity]) {
      const storage = new FaultyStorage({ seed: after });
      const { writer, meta } = open(storage, 3, 65_536);
      await append(writer, 1, [0, 1, 2], meta.incarnation);
      await append(writer, 2, [1], meta.incarnation);
      await writer.sync();
      const places = writer.places, position = writer.position;
      storage.failWrites({ after, times, error: "disk-full" });
      const failed = await append(writer, 3, [0, 1, 2], meta.incarnation)
        .then(() => false, (error) => isMmsbError(error, "disk-full"));
      storage.failWrites({ after: Infinity });
      if (!failed) {
        await writer.abandon();
        continue;
      }
      const left = storage.crash({ keep: "all" });
      if (writer.failure === undefined) {
        taken++;
        assert.deepEqual([writer.places, writer.position], [places, position]);
        // Durably: no later tick of this number may meet a part of this one.
        const { ticks, end } = readLog(storage.crash({ keep: "none" }));
        assert.deepEqual([ticks, end.state], [[1, 2], "whole"], end.reason);
        await append(writer, 3, [2], meta.incarnation);
        await append(writer, 4, [0, 1], meta.incarnation);
        await endWriting(storage, meta, writer, 4, 0n);
        const again = readLog(storage.crash({ keep: "none" }));
        assert.deepEqual([again.ticks, again.end.state], [range(1, 4), "whole"], again.end.reason);
      } else {
        lost++;
        await assert.rejects(append(writer, 3, [2], meta.incarnation), { code: "disk-full" });
        await assert.rejects(writer.sync(), { code: "disk-full" });
        await writer.abandon();
      }
      assert.deepEqual(readLog(left).ticks, [1, 2]);
    }
  }
  assert(taken >= 3 && lost >= 1, `${taken} taken back, ${lost} lost`);
});

Deno.test("LaneSet: one sync of all lanes serves all ticks that were appended before it", async () => {
  const storage = new GatedStorage();
  const { writer, meta } = open(storage, 3, 65_536);
  await append(writer, 1, [0, 2], meta.incarnation);
  storage.hold = true;
  storage.syncs.length = 0;
  const first = writer.sync();
  await append(writer, 2, [0, 1], meta.incarnation);
  const second = writer.sync(), third = writer.sync();
  assert.equal(second, third);
  assert.deepEqual(storage.syncs, [pathOf(0, 1), pathOf(2, 1)], "lane 1 has nothing to sync");
  assert.equal(writer.syncedPositionOf(0), 0);
  storage.held.splice(0).forEach(({ release }) => release());
  await first;
  assert(writer.syncedPositionOf(0) > 0 && writer.syncedPositionOf(2) === writer.positionOf(2));
  assert.equal(writer.syncedPositionOf(1), 0, "tick 2 is not durable");
  storage.hold = false;
  storage.held.splice(0).forEach(({ release }) => release());
  while (storage.held.length === 0 && writer.syncedPosition < writer.position) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  await second;
  assert.equal(writer.syncedPosition, writer.position);
  await writer.close();
});

Deno.test("LaneSet: a sync that fails in one lane ends the whole set", async () => {
  const storage = new FaultyStorage();
  const { writer, meta } = open(storage, 3);
  await append(writer, 1, [0, 1, 2], meta.incarnation);
  storage.failSyncs({ after: 1 });
  await assert.rejects(writer.sync(), { code: "io" });
  assert(writer.failure !== undefined);
  await assert.rejects(append(writer, 2, [0], meta.incarnation));
  await assert.rejects(writer.sync());
  assert.throws(() => writer.syncNow());
  await writer.abandon();
});

Deno.test("LaneSet: lanes that are no longer written stay, and are known", async () => {
  const storage = new MemoryStorage();
  let tick = 0;
  const incarnations: number[] = [];
  for (const lanes of [3, 1, 8, 2]) {
    const { writer, meta } = open(storage, lanes);
    incarnations.push(meta.incarnation);
    for (let lane = 0; lane < lanes; lane++) {
      await append(writer, ++tick, [lane], meta.incarnation);
      await append(writer, ++tick, [lane, lanes - 1], meta.incarnation);
    }
    await endWriting(storage, meta, writer, tick, 0n);
    const { ticks, end } = readLog(storage);
    assert.deepEqual([ticks, end.state], [range(1, tick), "whole"]);
  }
  assert.deepEqual(incarnations, [1, 2, 3, 4]);
  const { lanes, closed } = readMeta(storage)!;
  assert.deepEqual(lanes.map(({ lane }) => lane), range(0, 7));
  assert.equal(closed?.tick, tick);
  // What is missing of any of them is found.
  for (const lane of range(0, 7)) {
    for (const name of storage.list(laneFolder(lane))) {
      const copy = storage.clone();
      copy.remove(`${laneFolder(lane)}/${name}`);
      assert.equal(readLog(copy).end.state, "damaged", `${lane}/${name}`);
    }
    const image = storage.image();
    for (const path of image.keys()) if (path.startsWith(laneFolder(lane))) image.delete(path);
    const { end } = readLog(new MemoryStorage({ image }));
    assert.equal(end.state, "damaged");
    assert.throws(() => checkUndamaged(storage, end), { code: "corrupt-log" });
  }
});

Deno.test("LogReader: a tick that another lane shows to have been durable was not torn off", async () => {
  const storage = new MemoryStorage();
  const { writer, meta } = open(storage, 2);
  await append(writer, 1, [0, 1], meta.incarnation);
  await append(writer, 2, [0, 1], meta.incarnation);
  const lost = writer.positionOf(1) - 1;
  const cut = () => {
    const copy = storage.clone(), file = copy.open(pathOf(1, 1), "write");
    file.truncate(lost);
    file.close();
    return readLog(copy);
  };
  await append(writer, 3, [0], meta.incarnation);
  assert.equal(cut().end.state, "torn", "nobody knows that tick 2 was synced");
  await writer.sync();
  await append(writer, 4, [0], meta.incarnation);
  const { ticks, end } = cut();
  assert.deepEqual([ticks, end.state], [[1], "damaged"]);
  assert.match(end.reason, /tick 2 is not whole: .* but ticks up to 3 were durable/);
  assert.equal(end.lanes.find(({ state }) => state === "damaged")?.lane, 1);
  await writer.abandon();
});
