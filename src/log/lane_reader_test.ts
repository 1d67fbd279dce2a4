import assert from "node:assert/strict";
import { reseal, tickBytes, type TickSpec } from "./_frames_test.ts";
import {
  appendTicks,
  endOf,
  lanesOf,
  pathOf,
  range,
  readLane,
  segmentOf,
  smallWriter,
} from "./_lanes_test.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { SEGMENT_HEADER_BYTES } from "./format.ts";
import { type LaneEnd, LaneReader } from "./lane_reader.ts";
import { MemoryStorage } from "./memory_storage.ts";

const TICK_BYTES = tickBytes({ tick: 1 }).length;
const FIRST = pathOf(0, 1), SECOND = pathOf(0, 2);

/** Ticks that knew nothing to be synced; so does whoever reads them. */
function unsynced(first: number, last: number): TickSpec[] {
  return range(first, last).map((tick) => ({ tick }));
}

/** The mark that ends a segment. */
function mark(incarnation = 1): Uint8Array {
  const bytes = tickBytes({ tick: 0, incarnation, frames: [] }).slice(0, 128);
  // A commit frame less its section: kind 4, no section, no rows.
  const view = new DataView(bytes.buffer);
  view.setUint16(10, 128, true);
  view.setUint32(12, 128, true);
  view.setUint8(26, 4);
  view.setUint8(27, 0);
  view.setUint32(28, 0, true);
  reseal(bytes);
  return bytes;
}

/** A storage with one file's bytes changed. */
function changed(
  storage: MemoryStorage,
  path: string,
  change: (bytes: Uint8Array) => Uint8Array | void,
): MemoryStorage {
  const image = storage.image(), bytes = image.get(path)!;
  image.set(path, new Uint8Array(change(bytes) ?? bytes));
  return new MemoryStorage({ image });
}

/** A storage without some files. */
function without(storage: MemoryStorage, ...paths: string[]): MemoryStorage {
  const copy = storage.clone();
  for (const path of paths) copy.remove(path);
  return copy;
}

/** What a writer with small segments leaves, each tick synced before the next, or none at all. */
async function written(ticks: number, synced: boolean): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const writer = smallWriter(storage);
  for (let tick = 1; tick <= ticks; tick++) {
    await appendTicks(writer, tick, tick);
    if (synced) writer.syncNow();
  }
  await writer.abandon();
  return storage;
}

Deno.test("LaneReader finds an empty lane where there is none, or nothing in it", () => {
  const storages = [
    new MemoryStorage(),
    new MemoryStorage({ image: new Map([[FIRST, new Uint8Array(0)]]) }),
    new MemoryStorage({ image: new Map([[FIRST, new Uint8Array(4096)]]) }),
    new MemoryStorage({ image: new Map([["lane-00/notes.txt", new Uint8Array(7)]]) }),
  ];
  for (const storage of storages) {
    const { ticks, end } = readLane(storage);
    assert.deepEqual([ticks, end.state, end.number, end.position], [[], "whole", 0, 0]);
  }
  const { end } = readLane(lanesOf([{ content: [], padding: 100 }]));
  assert.deepEqual([end.state, end.number, end.offset], ["whole", 1, SEGMENT_HEADER_BYTES]);
});

Deno.test("LaneReader stops where the zeros of a prepared segment begin", () => {
  const { ticks, end } = readLane(lanesOf([{ content: unsynced(1, 3), padding: 1000 }]));
  assert.deepEqual(ticks, [1, 2, 3]);
  assert.deepEqual([end.state, end.offset, end.lastTick], ["whole", endOf(unsynced(1, 3)), 3]);
  assert.equal(end.reason, "the lane ends");
});

Deno.test("LaneReader gives nothing more after the end", () => {
  const reader = new LaneReader(lanesOf([{ content: unsynced(1, 1) }]), 0);
  assert(!reader.end);
  assert.equal(reader.next()?.tick, 1);
  assert.equal(reader.next(), undefined);
  assert.equal(reader.next(), undefined);
  assert.deepEqual(reader.segments, [1]);
  assert.equal((reader.end as LaneEnd | undefined)?.state, "whole");
});

Deno.test("LaneReader takes every cut and every flip of an unsynced lane for a torn tail", () => {
  const ticks = unsynced(1, 3);
  const storage = lanesOf([{ content: ticks, padding: 32 }]);
  const size = storage.readAll(FIRST)!.length;
  const wholeBefore = (offset: number) =>
    range(1, 3).filter((tick) => endOf(ticks.slice(0, tick)) <= offset);
  for (let at = 0; at < size; at++) {
    const cut = readLane(changed(storage, FIRST, (bytes) => bytes.slice(0, at)));
    assert.deepEqual(cut.ticks, wholeBefore(at));
    assert.notEqual(cut.end.state, "damaged");
    const flipped = readLane(changed(storage, FIRST, (bytes) => void (bytes[at] ^= 1 << at % 8)));
    const kept = at < SEGMENT_HEADER_BYTES ? [] : wholeBefore(at);
    assert.deepEqual(flipped.ticks, kept);
    assert.equal(flipped.end.state, "torn");
    const start = kept.length === 0 ? 0 : endOf(ticks.slice(0, kept.length));
    assert(flipped.end.badOffset >= start && flipped.end.badOffset <= at, `byte ${at}`);
    assert.equal(flipped.end.badPath, FIRST);
  }
});

Deno.test("LaneReader calls it damage where a later frame knew the place to be synced", () => {
  // Each tick knows all before it to be synced, but the second only half of the first.
  const end1 = SEGMENT_HEADER_BYTES + TICK_BYTES;
  const ticks = [
    { tick: 1 },
    { tick: 2, synced: end1 - 10 },
    { tick: 3, synced: end1 + TICK_BYTES },
    { tick: 4, synced: end1 + TICK_BYTES },
  ];
  const storage = lanesOf([{ content: ticks, padding: 64 }]);
  const synced = end1 + TICK_BYTES;
  for (let at = 0; at < end1 + 3 * TICK_BYTES; at++) {
    const { ticks: found, end } = readLane(
      changed(storage, FIRST, (bytes) => void (bytes[at] ^= 1)),
    );
    assert.equal(end.state, at < synced ? "damaged" : "torn", `byte ${at}`);
    const whole = Math.max(0, Math.floor((at - SEGMENT_HEADER_BYTES) / TICK_BYTES));
    assert.deepEqual(found, range(1, at < SEGMENT_HEADER_BYTES ? 0 : whole));
  }
});

Deno.test("LaneReader takes no frame inside a payload for evidence", () => {
  const inner = tickBytes({ tick: 9, synced: 1_000_000 });
  const spec = { tick: 2, frames: [{ rows: [{ page: 1, length: inner.length }], payload: inner }] };
  const storage = lanesOf([{ content: [{ tick: 1 }, spec] }]);
  const start = endOf([{ tick: 1 }]);
  const frame = 128 + 8 * 2;
  for (const at of [start + frame + 20, start + tickBytes(spec).length - 1]) {
    const { ticks, end } = readLane(changed(storage, FIRST, (bytes) => void (bytes[at] ^= 1)));
    assert.deepEqual([ticks, end.state], [[1], "torn"], `byte ${at}`);
  }
});

Deno.test("LaneReader uses what the directory knows of the lane as evidence", () => {
  const ticks = unsynced(1, 3), end2 = endOf(ticks.slice(0, 2));
  const storage = lanesOf([{ content: ticks }]);
  const size = storage.readAll(FIRST)!.length;
  const read = (cut: number, position: number) =>
    readLane(changed(storage, FIRST, (bytes) => bytes.slice(0, cut)), {
      known: { position, segment: 1 },
    }).end.state;
  for (let cut = 0; cut <= size; cut++) {
    assert.equal(read(cut, end2), cut < end2 ? "damaged" : cut < size ? cutState(cut) : "whole");
    assert.equal(read(cut, size), cut < size ? "damaged" : "whole");
  }
  function cutState(cut: number): string {
    return cut === end2 ? "whole" : "torn";
  }
});

// Segments.

Deno.test("LaneReader walks from segment to segment, also where the mark between is lost", () => {
  for (const between of [[mark()], []]) {
    const storage = lanesOf([
      { content: [...unsynced(1, 2), ...between], padding: 256 },
      { content: [...unsynced(3, 3), ...between], padding: 8 },
      { content: unsynced(4, 4) },
    ]);
    const { ticks, end } = readLane(storage);
    assert.deepEqual([ticks, end.state], [[1, 2, 3, 4], "whole"]);
    assert.deepEqual([end.number, end.path], [3, pathOf(0, 3)]);
  }
});

Deno.test("LaneReader goes on in the segment of the next incarnation", () => {
  const storage = lanesOf([
    { content: unsynced(1, 2), padding: 500 },
    { content: unsynced(3, 4), incarnation: 2, padding: 500 },
    { content: unsynced(5, 5), incarnation: 7 },
  ]);
  assert.deepEqual(readLane(storage).ticks, [1, 2, 3, 4, 5]);
});

Deno.test("LaneReader: a torn tail before a later incarnation is damage", () => {
  // Recovery cut the lane where the next incarnation begins, so all before it was kept.
  const storage = lanesOf([
    { content: unsynced(1, 2) },
    { content: unsynced(3, 4), incarnation: 2 },
  ]);
  for (let at = SEGMENT_HEADER_BYTES; at < SEGMENT_HEADER_BYTES + 2 * TICK_BYTES; at++) {
    const { end } = readLane(changed(storage, FIRST, (bytes) => void (bytes[at] ^= 4)));
    assert.deepEqual([end.state, end.badPath], ["damaged", FIRST]);
  }
});

for (const synced of [true, false]) {
  const what = synced ? "synced" : "unsynced";
  Deno.test(`LaneReader: a missing segment of a lane that is ${what} is damage, by name`, async () => {
    const storage = await written(30, synced);
    const whole = readLane(storage);
    const last = whole.end.number;
    assert(last >= 3 && whole.end.state === "whole");
    const known = { position: 0, segment: 1 };
    for (let number = 1; number <= last; number++) {
      // What was prepared behind the last is missing too, or not.
      for (const more of [[], [pathOf(0, last + 1)]]) {
        const { ticks, end } = readLane(without(storage, pathOf(0, number), ...more), { known });
        assert.equal(end.state, "damaged", `segment ${number}`);
        assert.match(end.reason, new RegExp(number === 1 ? "missing" : `${pathOf(0, number)}" is`));
        assert(ticks.length < whole.ticks.length);
        assert.deepEqual(ticks, range(1, ticks.length));
      }
    }
    assert.equal(readLane(without(storage, pathOf(0, last + 1))).end.state, "whole");
    const all = without(storage, ...range(1, last + 1).map((number) => pathOf(0, number)));
    const { end } = readLane(all, { known });
    assert.deepEqual([end.state, end.reason], ["damaged", "its segments are missing"]);
  });
}

Deno.test("LaneReader: a missing segment after a torn one is damage, as names are durable", () => {
  const storage = lanesOf([
    { content: unsynced(1, 2) },
    { content: unsynced(3, 4) },
    { content: unsynced(5, 6) },
  ]);
  const torn = changed(storage, FIRST, (bytes) => void (bytes[bytes.length - 1] ^= 1));
  assert.equal(readLane(torn).end.state, "torn");
  const { ticks, end } = readLane(without(torn, SECOND));
  assert.deepEqual([ticks, end.state, end.badPath], [[1], "damaged", SECOND]);
});

Deno.test("LaneReader: segments that an interrupted cut had begun to remove are no damage", () => {
  const position = endOf(unsynced(1, 1));
  const storage = lanesOf([
    { content: [...unsynced(1, 2), mark()] },
    { content: [...unsynced(3, 4), mark()] },
    { content: unsynced(5, 6) },
    { content: [], padding: 400 },
  ]);
  const torn = changed(storage, FIRST, (bytes) => void (bytes[position + 5] ^= 1));
  const cut = changed(storage, FIRST, (bytes) => bytes.slice(0, position));
  const removable = [2, 3, 4].map((number) => pathOf(0, number));
  for (let subset = 0; subset < 8; subset++) {
    const removed = removable.filter((_, i) => subset & 1 << i);
    const known = { position, segment: 1 };
    for (const [disk, states] of [[torn, ["torn"]], [cut, ["torn", "whole"]]] as const) {
      const { ticks, end } = readLane(without(disk, ...removed), { known });
      assert.deepEqual([ticks, end.number, end.position], [[1], 1, position]);
      assert(states.some((state) => state === end.state), end.reason);
    }
    // Nothing at all was whole: the lane was to be emptied.
    const emptied = readLane(without(storage, ...removed), { known: { position: 0, segment: 0 } });
    assert.deepEqual([emptied.ticks, emptied.end.state, emptied.end.number], [[], "whole", 0]);
    // The cut was to come behind the mark of the first segment, whose successor was not written.
    const marked = readLane(without(storage, SECOND, ...removed), {
      known: { position: endOf(unsynced(1, 2)) + 128, segment: 1 },
    });
    assert.deepEqual([marked.ticks, marked.end.number], [[1, 2], 1]);
    assert.notEqual(marked.end.state, "damaged");
  }
});

Deno.test("LaneReader: behind a mark, an unwritten segment is the end of a crash", () => {
  const first = { content: [...unsynced(1, 2), mark()] };
  for (const size of [0, 10, 4096]) {
    const storage = lanesOf([first]);
    storage.replace(SECOND, new Uint8Array(size));
    const { ticks, end } = readLane(storage);
    assert.deepEqual([ticks, end.state, end.number], [[1, 2], "whole", 1]);
    assert.equal(end.offset, endOf(unsynced(1, 2)) + 128);
  }
});

Deno.test("LaneReader: frames behind a lost segment header are evidence, or a torn tail", () => {
  const position = endOf(unsynced(1, 2)) + 128;
  for (const known of [true, false]) {
    const storage = lanesOf([
      { content: [...unsynced(1, 2), mark()] },
      { content: [{ tick: 3 }, { tick: 4, synced: known ? position + 10 : position }] },
      { content: [], padding: 100 },
    ]);
    for (const damage of [zeroHeader, (bytes: Uint8Array) => void (bytes[9] ^= 1)]) {
      const { ticks, end } = readLane(changed(storage, SECOND, damage));
      assert.deepEqual([ticks, end.state], [[1, 2], known ? "damaged" : "torn"]);
      const first = readLane(changed(storage, FIRST, damage));
      assert.deepEqual([first.ticks, first.end.state], [[], "damaged"]);
    }
  }
  function zeroHeader(bytes: Uint8Array): void {
    bytes.fill(0, 0, SEGMENT_HEADER_BYTES);
  }
});

// What no crash leaves: whole frames and segments where they do not belong.

const MISPLACED: readonly [string, () => MemoryStorage, number[], RegExp][] = [
  [
    "swapped ticks",
    () => lanesOf([{ content: [1, 3, 2, 4].map((tick) => ({ tick })) }]),
    [1, 3],
    /tick 2 comes after tick 3/,
  ],
  [
    "a tick that is there twice",
    () => lanesOf([{ content: [1, 2, 2, 3].map((tick) => ({ tick })) }]),
    [1, 2],
    /tick 2 comes after tick 2/,
  ],
  [
    "a tick of another lane",
    () => lanesOf([{ content: [{ tick: 1 }, { tick: 2, lane: 3 }, { tick: 3 }] }]),
    [1],
    /a frame of lane 3 stands in lane 0/,
  ],
  [
    "a tick of another incarnation",
    () => lanesOf([{ content: [{ tick: 1 }, { tick: 2, incarnation: 2 }] }]),
    [1],
    /a frame of incarnation 2 stands in a segment of 1/,
  ],
  ["a tick without its first frame", () => framesOf([1, 2]), [1], /frame 1 of tick 2 stands where/],
  ["a tick without a frame", () => framesOf([0, 2]), [1], /frame 2 of tick 2 stands where 1 is/],
  ["a frame that is there twice", () => framesOf([0, 0, 1, 2]), [1], /frame 0 of tick 2 stands/],
  ["swapped frames", () => framesOf([1, 0, 2]), [1], /frame 1 of tick 2 stands where 0 is due/],
  ["a frame of another tick", () => framesOf([0, 11, 2]), [1], /of tick 5 stands in tick 2/],
  ["a frame of another making", () => framesOf([0, 21, 2]), [1], /commit row of tick 2 does not/],
  ["a mark in a tick", () => framesOf([0, 30, 1, 2]), [1], /tick 2 has no commit row/],
];

/** Tick 1, then frames of a tick 2 of two frames and a commit row, picked by number. */
function framesOf(numbers: readonly number[]): MemoryStorage {
  const frames = (spec: TickSpec) => {
    const bytes = tickBytes({ ...spec, frames: [spec.frames![0], spec.frames![0]] });
    const sizes = [0, 1].map(() => (bytes.length - 160) / 2);
    return [
      bytes.slice(0, sizes[0]),
      bytes.slice(sizes[0], 2 * sizes[0]),
      bytes.slice(2 * sizes[0]),
    ];
  };
  const rows = (page: number) => [{ rows: [{ page, length: 4 }], payload: new Uint8Array(4) }];
  const [own, other, foreign] = [
    frames({ tick: 2, frames: rows(1) }),
    frames({ tick: 5, frames: rows(1) }),
    frames({ tick: 2, frames: rows(7) }),
  ];
  const pick = (number: number) =>
    number === 30 ? mark() : [own, other, foreign][Math.floor(number / 10)][number % 10];
  return lanesOf([{ content: [{ tick: 1 }, ...numbers.map(pick)] }]);
}

for (const [what, make, ticks, reason] of MISPLACED) {
  Deno.test(`LaneReader: ${what}: damage`, () => {
    const found = readLane(make());
    assert.deepEqual(found.ticks, ticks);
    assert.equal(found.end.state, "damaged");
    assert.match(found.end.reason, reason);
  });
}

Deno.test("LaneReader: a segment in the place of another is damage", async () => {
  const storage = await written(30, false);
  const second = storage.readAll(SECOND)!, first = storage.readAll(FIRST)!;
  const last = readLane(storage).end.number;
  assert(last >= 3);
  const third = storage.readAll(pathOf(0, 3))!;
  const cases: [string, Uint8Array][][] = [
    [[SECOND, third], [pathOf(0, 3), second]],
    [[FIRST, second], [SECOND, first]],
    [[SECOND, first]],
    [[FIRST, third]],
    [[SECOND, segmentOf({ lane: 1, number: 2, content: [] })]],
  ];
  for (const files of cases) {
    const image = storage.image();
    for (const [path, bytes] of files) image.set(path, new Uint8Array(bytes));
    const { ticks, end } = readLane(new MemoryStorage({ image }));
    assert.equal(end.state, "damaged", files.map(([path]) => path).join());
    assert.deepEqual(ticks, range(1, ticks.length));
  }
});

Deno.test("LaneReader refuses a newer format, wherever the lane goes on in it", () => {
  const newer = tickBytes({ tick: 2 });
  new DataView(newer.buffer).setUint16(8, 2, true);
  reseal(newer);
  const storage = lanesOf([{ content: [{ tick: 1 }, newer] }]);
  const reader = new LaneReader(storage, 0);
  assert.equal(reader.next()?.tick, 1);
  assert.throws(() => reader.next(), {
    code: "version",
    values: { path: FIRST, format: 2, formatMax: 1 },
  });
  // Behind damage nothing is read; that it is there shows that bytes were synced.
  const behind = changed(storage, FIRST, (bytes) => void (bytes[SEGMENT_HEADER_BYTES] ^= 1));
  assert.equal(readLane(behind).end.state, "damaged");
});

Deno.test("LaneReader: every crash of a written lane is whole or torn, never damaged", async () => {
  for (let seed = 0; seed < 30; seed++) {
    const storage = new FaultyStorage({ seed });
    const writer = smallWriter(storage);
    let synced = 0;
    for (let tick = 1; tick <= 15; tick++) {
      await appendTicks(writer, tick, tick);
      if ((tick * 7 + seed) % 5 === 0) {
        writer.syncNow();
        synced = tick;
      }
      const { ticks, end } = readLane(storage.crash({ tear: seed & 1 ? "byte" : "sector" }));
      assert.deepEqual(ticks, range(1, ticks.length));
      assert(ticks.length >= synced, end.reason);
      assert.notEqual(end.state, "damaged", `seed ${seed}, tick ${tick}: ${end.reason}`);
      assert(end.synced <= end.position);
    }
    await writer.abandon();
  }
});
