import assert from "node:assert/strict";
import fc from "fast-check";
import type { TickSpec } from "./_frames_test.ts";
import {
  appendTicks,
  lanesOf,
  pathOf,
  range,
  type SegmentSpec,
  smallWriter,
} from "./_lanes_test.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { laneFolder } from "./format.ts";
import type { LaneWriter } from "./lane_writer.ts";
import { type LogEnd, LogReader } from "./log_reader.ts";
import { MemoryStorage } from "./memory_storage.ts";
import type { DirectoryMeta } from "./meta.ts";
import { beginWriting } from "./recovery.ts";
import { SeededRandom } from "./seeded_random.ts";
import type { Storage } from "./storage.ts";

const META: DirectoryMeta = { format: 1, shards: 4, incarnation: 1, lanes: [], closed: null };

/** All whole ticks of a directory with the lanes of each, and how it ends. */
function readLog(
  storage: Storage,
  meta?: DirectoryMeta,
): { ticks: number[]; lanes: number[][]; end: LogEnd } {
  const reader = new LogReader(storage, meta);
  const ticks: number[] = [], lanes: number[][] = [];
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    ticks.push(tick.tick);
    lanes.push(tick.lanes.map((lane) => lane.lane));
    for (const lane of tick.lanes) assert.equal(lane.tick, tick.tick);
  }
  assert.equal(reader.next(), undefined, "nothing comes after the end");
  return { ticks, lanes, end: reader.end() };
}

/** Cuts what is not whole, as a writer does before it begins; gives the directory as it then is. */
function cutOff(storage: MemoryStorage, end: LogEnd): MemoryStorage {
  const copy = storage.clone();
  const { writer, meta } = beginWriting(copy, META, end, { segmentBytes: 4096 });
  writer.abandon();
  const again = readLog(copy, meta);
  assert.equal(again.end.state, "whole", again.end.reason);
  assert.equal(again.end.tick, end.tick);
  return copy;
}

/** Lanes of one segment each, from the ticks that each lane holds. */
function directory(lanes: readonly (readonly TickSpec[])[]): MemoryStorage {
  return lanesOf(
    lanes.map((content, lane): SegmentSpec => ({ lane, content, padding: 40 })),
  );
}

Deno.test("LogReader gives no tick of a directory without lanes", () => {
  const { ticks, end } = readLog(new MemoryStorage());
  assert.deepEqual([ticks, end], [[], { tick: 0, state: "whole", lanes: [], reason: "" }]);
});

Deno.test("LogReader knows lanes by their folders and by the metadata", () => {
  const storage = directory([[{ tick: 1 }]]);
  for (const folder of ["lane-7", "lane-007", "lane-xx", "other"]) storage.makeFolder(folder);
  storage.replace("lane-03", new Uint8Array(3));
  storage.remove("lane-03");
  assert.deepEqual(readLog(storage).end.lanes.map(({ lane }) => lane), [0]);
  const lanes = [{ lane: 2, segment: 0, position: 0 }, { lane: 0, segment: 1, position: 0 }];
  assert.deepEqual(readLog(storage, { ...META, lanes }).end.lanes.map(({ lane }) => lane), [0, 2]);
  const missing = readLog(storage, { ...META, lanes: [{ lane: 2, segment: 1, position: 0 }] });
  assert.equal(missing.end.state, "damaged");
});

Deno.test("LogReader reads lanes with three digits", () => {
  const storage = lanesOf([{ lane: 255, content: [{ tick: 1 }] }]);
  assert.deepEqual(storage.list(""), ["lane-255"]);
  assert.deepEqual(readLog(storage).lanes, [[255]]);
});

Deno.test("LogReader keeps a tick only if every lane that took part has it", () => {
  // Ticks by lane: what is torn off one lane takes later ticks of the others along.
  const all: TickSpec[] = [
    { tick: 1, lanes: [0, 1, 2, 3] },
    { tick: 2, lanes: [0] },
    { tick: 3, lanes: [1, 2] },
    { tick: 4, lanes: [2, 3] },
    { tick: 5, lanes: [0, 1, 2, 3] },
    { tick: 6, lanes: [1] },
  ];
  const held = (lane: number) => all.filter(({ lanes }) => lanes!.includes(lane));
  const whole = readLog(directory([0, 1, 2, 3].map(held)));
  assert.deepEqual(whole.ticks, range(1, 6));
  assert.deepEqual(whole.lanes, all.map(({ lanes }) => lanes));
  assert.equal(whole.end.state, "whole");
  for (let lane = 0; lane < 4; lane++) {
    for (let count = 0; count < held(lane).length; count++) {
      const cut = [0, 1, 2, 3].map((each) =>
        each === lane ? held(lane).slice(0, count) : held(each)
      );
      const { ticks, end } = readLog(directory(cut));
      const lost = held(lane)[count].tick;
      assert.deepEqual(ticks, range(1, lost - 1), `lane ${lane} after ${count} ticks`);
      assert.equal(end.tick, lost - 1);
      const others = all.slice(lost - 1).some(({ lanes }) => lanes!.some((each) => each !== lane));
      assert.equal(end.state, others ? "torn" : "whole");
      if (others) assert.match(end.reason, /not every lane|is missing before/);
      cutOff(directory(cut), end);
    }
  }
});

Deno.test("LogReader says where each lane is to be cut", () => {
  const lanes = [[1, 2, 3], [1], [2, 3, 4]];
  const specs = lanes.map((ticks, lane) =>
    ticks.map((tick): TickSpec => ({ tick, lanes: [[0, 1], [0, 2], [0, 2], [2, 3]][tick - 1] }))
      .map((spec) => ({ ...spec, lane }))
  );
  const storage = directory(specs);
  const { ticks, end } = readLog(storage);
  assert.deepEqual([ticks, end.state], [[1, 2, 3], "torn"]);
  assert.deepEqual(
    end.lanes.map(({ lane, number, lastTick }) => [lane, number, lastTick]),
    [[0, 1, 3], [1, 1, 1], [2, 1, 3]],
  );
  const size = (lane: number, count: number) => directory([specs[lane].slice(0, count)]);
  for (const [lane, count] of [[0, 3], [1, 1], [2, 2]]) {
    const expected = size(lane, count).readAll(pathOf(0, 1))!.length - 40;
    assert.equal(end.lanes[lane].offset, expected);
    assert.equal(end.lanes[lane].position, expected);
  }
});

Deno.test("LogReader: a lane without any whole tick is cut to nothing", () => {
  const storage = lanesOf([
    { lane: 0, content: [{ tick: 1 }] },
    { lane: 5, content: [{ tick: 2, lanes: [0, 5] }] },
    { lane: 5, content: [] },
  ]);
  const { ticks, end } = readLog(storage);
  assert.deepEqual([ticks, end.state], [[1], "torn"]);
  assert.deepEqual(
    end.lanes.map(({ lane, number, offset, position }) => [lane, number, offset, position])[1],
    [5, 0, 0, 0],
  );
  assert.deepEqual(cutOff(storage, end).list(laneFolder(5)), []);
});

Deno.test("LogReader: a tick that is missing while every lane goes on is damage", () => {
  for (const lanes of [[[1, 2, 4]], [[2]], [[1, 3], [1, 4]], [[1, 2, 4], [1, 2, 5]]]) {
    const storage = directory(
      lanes.map((ticks) => ticks.map((tick) => ({ tick, lanes: lanes.map((_, lane) => lane) }))),
    );
    const { end } = readLog(storage);
    assert.equal(end.state, "damaged");
    assert.match(end.reason, /tick \d is missing before tick \d/);
    const bad = end.lanes.find(({ state }) => state === "damaged")!;
    assert.equal(bad.badPath, pathOf(bad.lane, 1));
    assert(bad.badOffset >= 64);
  }
});

Deno.test("LogReader: damage of one lane is damage of the log, wherever the others end", () => {
  const ticks = range(1, 5).map((tick): TickSpec => ({ tick, lanes: [0, 1], synced: 5000 }));
  const storage = directory([ticks, ticks]);
  const image = storage.image(), bytes = image.get(pathOf(1, 1))!;
  bytes[bytes.length / 2] ^= 1;
  const { ticks: found, end } = readLog(new MemoryStorage({ image }));
  assert.equal(end.state, "damaged");
  assert(found.length < 5);
  assert.deepEqual(end.lanes.map(({ state }) => state), ["torn", "damaged"]);
});

Deno.test("LogReader keeps the longest prefix that all lanes have, however each one is torn", () => {
  fc.assert(
    fc.property(
      fc.array(fc.subarray([0, 1, 2, 3], { minLength: 1 }), { maxLength: 12 }),
      fc.array(fc.nat(12), { minLength: 4, maxLength: 4 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 4, maxLength: 4 }),
      (sets, counts, scraps) => {
        const ticks = sets.map((lanes, i): TickSpec => ({ tick: i + 1, lanes }));
        const held = [0, 1, 2, 3].map((lane) => ticks.filter(({ lanes }) => lanes!.includes(lane)));
        const storage = lanesOf(held.map((own, lane): SegmentSpec => {
          const next = own.slice(counts[lane], counts[lane] + 1);
          // A scrap of the next tick: never all of it.
          const scrap = next.length === 0 || scraps[lane] === 0
            ? new Uint8Array(0)
            : lanesOf([{ lane, content: next }]).readAll(pathOf(lane, 1))!.slice(64)
              .subarray(0, Math.min(scraps[lane], 300));
          return { lane, content: [...own.slice(0, counts[lane]), scrap], padding: 16 };
        }));
        const lost = held.flatMap((own, lane) => own.slice(counts[lane]).map(({ tick }) => tick));
        const expected = Math.min(ticks.length, ...lost.map((tick) => tick - 1));
        const { ticks: found, end } = readLog(storage);
        assert.deepEqual(found, range(1, expected));
        assert.notEqual(end.state, "damaged", end.reason);
        cutOff(storage, end);
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("LogReader: every crash of four lanes leaves all ticks that all of them had synced", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const storage = new FaultyStorage({ seed }), random = new SeededRandom(seed);
    const writers = range(0, 3).map((lane): LaneWriter => smallWriter(storage, { lane }));
    let synced = 0;
    // Frames tell what is durable in all lanes up to one tick, not what is in their own.
    let known = range(0, 3).map(() => 0);
    for (let tick = 1; tick <= 20; tick++) {
      const lanes = range(0, 3).filter(() => random.chance(0.6));
      if (lanes.length === 0) lanes.push(random.below(4));
      for (const lane of lanes) {
        await appendTicks(writers[lane], tick, tick, { lane, lanes, synced: known[lane] });
      }
      const choice = random.below(4);
      if (choice === 0) {
        writers.forEach((writer) => writer.syncNow());
        known = writers.map(({ position }) => position);
        synced = tick;
      }
      if (choice === 1) writers[random.below(4)].syncNow();
      const crash = storage.crash();
      const { ticks, end } = readLog(crash);
      assert(ticks.length >= synced, `seed ${seed}: ${end.reason}`);
      assert.deepEqual(ticks, range(1, ticks.length));
      assert.notEqual(end.state, "damaged", `seed ${seed}: ${end.reason}`);
      cutOff(crash, end);
    }
    for (const writer of writers) await writer.close();
    assert.deepEqual(readLog(storage.crash({ keep: "none" })).ticks, range(1, 20));
  }
});
