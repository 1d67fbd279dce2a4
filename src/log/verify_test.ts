/** Audits of logs laid down by hand: what is wrong is named and located, what is right is not. */

import assert from "node:assert/strict";
import { equalBytes } from "../base/mod.ts";
import { beginTick, joined, reseal, tickBytes, type TickSpec } from "./_frames_test.ts";
import { lanesOf, pathOf, type SegmentSpec } from "./_lanes_test.ts";
import { encodeBirth } from "./birth.ts";
import { LOG_FAULTS } from "./fault.ts";
import { FORMAT, ROW_KIND, SEGMENT_HEADER_BYTES, STRUCTURAL } from "./format.ts";
import { FrameWriter } from "./frame_writer.ts";
import { LogReader } from "./log_reader.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { type DirectoryMeta, META_PATH, readMeta, writeMeta } from "./meta.ts";
import { SeededRandom } from "./seeded_random.ts";
import { auditLog, verifyLog } from "./verify.ts";

const PATH = pathOf(0, 1);

/** A birth of a page of 16 bytes. */
function birth(page: number, name = "", row = {}) {
  const payload = encodeBirth(name, undefined);
  return {
    rowKind: ROW_KIND.structural,
    rows: [{ page, offset: 16, length: payload.length, kind: STRUCTURAL.createPage, ...row }],
    payload,
  };
}

function structural(page: number, kind: number) {
  return { rowKind: ROW_KIND.structural, rows: [{ page, kind }] };
}

/** Four bytes at the start of page 1. */
function delta(epoch: number, row = {}) {
  return {
    sequence: epoch,
    producer: 1,
    rows: [{ page: 1, length: 4, epoch, ...row }],
    payload: Uint8Array.of(1, 2, 3, epoch),
  };
}

/** Ticks with times that rise: a tick takes 100 of them, a frame 10. */
function timed(ticks: readonly TickSpec[]): TickSpec[] {
  return ticks.map((tick) => {
    const start = BigInt(100 * tick.tick);
    return {
      commitHlc: start + 99n,
      ...tick,
      frames: tick.frames?.map((frame, index) => ({ hlc: start + BigInt(10 * index), ...frame })),
    };
  });
}

/** Birth of page 1, and a delta a tick. */
function goodTicks(last: number): TickSpec[] {
  return timed(Array.from({ length: last }, (_, index) => ({
    tick: index + 1,
    frames: index === 0 ? [birth(1, "board")] : [delta(index)],
  })));
}

function storageOf(segments: readonly SegmentSpec[], meta: Partial<DirectoryMeta> = {}) {
  const storage = lanesOf(segments);
  writeMeta(storage, {
    format: FORMAT,
    shards: 4,
    incarnation: 1,
    lanes: [{ lane: 0, segment: 1, position: 0 }],
    closed: null,
    ...meta,
  });
  return storage;
}

/** The faults of a log in one segment, as `name@tick`. */
function faultsOf(ticks: readonly TickSpec[]): string[] {
  const { problems } = auditLog(storageOf([{ content: ticks }]));
  for (const { file, kind } of problems) assert.deepEqual([file, kind], [PATH, "damage"]);
  return problems.map(({ fault, tick }) => `${fault}@${tick}`);
}

Deno.test("auditLog() counts, and finds nothing in a log that is right", () => {
  const audit = auditLog(storageOf([{ content: goodTicks(4), padding: 4096 }]));
  assert.deepEqual({ ...audit, bytes: 0 }, {
    frames: 8,
    deltas: 3,
    validDeltas: 3,
    orphans: 0,
    structural: 1,
    bytes: 0,
    segments: 1,
    ticks: 4,
    lastTick: 4,
    pages: 1,
    sequenceGaps: 0,
    checkpoints: 0,
    tickBase: 0,
    problems: [],
  });
});

Deno.test("auditLog() takes an empty directory, an empty lane and one that was never written", () => {
  for (const segments of [[], [{ content: [] }]]) {
    const lanes = segments.length === 0 ? [] : [{ lane: 0, segment: 1, position: 0 }];
    assert.deepEqual(auditLog(storageOf(segments, { lanes })).problems, []);
  }
  const blank = new MemoryStorage({ image: new Map([[PATH, new Uint8Array(4096)]]) });
  writeMeta(blank, { format: FORMAT, shards: 1, incarnation: 0, lanes: [], closed: null });
  assert.deepEqual(auditLog(blank).problems, []);
});

const WRONG: readonly (readonly [string, readonly TickSpec[], readonly string[]])[] = [
  ["a page without a birth", [{ tick: 1, frames: [delta(1)] }], ["page-unborn@1"]],
  [
    "a delta after its page's death, once a page",
    [
      { tick: 1, frames: [birth(1)] },
      { tick: 2, frames: [delta(1), structural(1, STRUCTURAL.deletePage)] },
      { tick: 3, frames: [delta(2)] },
      { tick: 4, frames: [delta(3)] },
    ],
    ["page-dead@3"],
  ],
  [
    "an epoch left out, once",
    [{ tick: 1, frames: [birth(1)] }, { tick: 2, frames: [delta(2)] }, {
      tick: 3,
      frames: [delta(3)],
    }],
    ["epoch@2"],
  ],
  [
    "an epoch twice",
    [{ tick: 1, frames: [birth(1)] }, { tick: 2, frames: [delta(1)] }, {
      tick: 3,
      frames: [{ ...delta(1), sequence: 2 }],
    }],
    ["epoch@3"],
  ],
  [
    "rows that are malformed",
    [
      { tick: 1, frames: [birth(1)] },
      { tick: 2, frames: [delta(1, { offset: 13 })] },
      { tick: 3, frames: [delta(2, { kind: 200 })] },
      { tick: 4, frames: [delta(3, { start: 4 })] },
      { tick: 5, frames: [delta(4, { source: 1 })] },
      { tick: 6, frames: [delta(5, { kind: 0x11, offset: 2 })] },
      { tick: 7, frames: [delta(6, { kind: 1, length: 3, start: 3 })] },
    ],
    ["row@2", "row@3", "row@4", "row@5", "row@6", "row@7"],
  ],
  [
    "births that cannot be",
    [
      { tick: 1, frames: [birth(1, "board"), birth(1), birth(2, "board")], nextPageId: 9 },
      { tick: 2, frames: [birth(3, "", { offset: 0 }), birth(4, "", { shard: 4 })], nextPageId: 9 },
      { tick: 3, frames: [birth(5, "", { length: 3 })], nextPageId: 9 },
    ],
    ["structure@1", "structure@1", "structure@2", "structure@2", "structure@3"],
  ],
  [
    "deaths and metadata that cannot be",
    [
      { tick: 1, frames: [birth(1)] },
      { tick: 2, frames: [structural(1, STRUCTURAL.deletePage)] },
      { tick: 3, frames: [structural(1, STRUCTURAL.deletePage)] },
      { tick: 4, frames: [structural(7, STRUCTURAL.setMetadata), structural(1, 99)] },
    ],
    ["structure@3", "structure@4", "structure@4"],
  ],
  [
    "a next page id that is taken, and one that falls",
    [
      { tick: 1, frames: [birth(7)], nextPageId: 7 },
      { tick: 2, frames: [birth(8)], nextPageId: 20 },
      { tick: 3, frames: [birth(9)], nextPageId: 19 },
    ],
    ["commit@1", "commit@3"],
  ],
  [
    "time that stands still, in a tick and between two",
    [
      { tick: 1, frames: [birth(1), { ...birth(2), hlc: 100n }], nextPageId: 3 },
      { tick: 2, frames: [{ ...delta(1), hlc: 199n }], nextPageId: 3 },
    ],
    ["time@1", "time@2"],
  ],
  [
    "sequences that go back, and a hole in the caller's own",
    [
      { tick: 1, frames: [birth(1)] },
      { tick: 2, frames: [{ ...delta(1), sequence: 5 }] },
      { tick: 3, frames: [{ ...delta(2), sequence: 5 }] },
      { tick: 4, frames: [{ ...delta(3), producer: 0, sequence: 2 }] },
    ],
    ["sequence@3", "sequence@4"],
  ],
  [
    "ticks left out, and a tick that comes again",
    [
      { tick: 1, frames: [birth(1)] },
      { tick: 4, frames: [delta(1)] },
      { tick: 4, frames: [delta(2)] },
      { tick: 5, frames: [delta(2)] },
    ],
    ["tick-missing@4", "tick-twice@4"],
  ],
  [
    "a graph version that falls, and an unknown row kind",
    [
      { tick: 1, frames: [birth(1)], graphVersion: 3 },
      { tick: 2, frames: [{ ...delta(1), rowKind: 9 }], graphVersion: 2 },
    ],
    ["columns@2", "structure@2"],
  ],
  [
    "a frame of another writer, and of another lane",
    [
      { tick: 1, frames: [birth(1)] },
      { tick: 2, frames: [delta(1)], incarnation: 2 },
      { tick: 2, frames: [delta(1)], lane: 3 },
      { tick: 2, frames: [delta(1)] },
    ],
    ["frame-place@2", "frame-place@2", "frame-place@2", "frame-place@2"],
  ],
];

for (const [name, ticks, expected] of WRONG) {
  Deno.test(`auditLog() finds ${name}`, () => {
    assert.deepEqual(faultsOf(timed(ticks)).sort(), [...expected].sort());
  });
}

Deno.test("auditLog() finds every name of fault in these tests and those of the validators", () => {
  const here = new Set(WRONG.flatMap(([, , faults]) => faults.map((fault) => fault.split("@")[0])));
  const elsewhere = [
    "meta",
    "segment-missing",
    "segment-header",
    "frame-header",
    "frame-body",
    "frame-cut",
    "frame-order",
    "frame-twice",
    "checkpoint",
  ];
  assert.deepEqual([...here, ...elsewhere].sort(), Object.keys(LOG_FAULTS).sort());
});

Deno.test("auditLog() says where bytes are bad, and goes on behind them", () => {
  const ticks = goodTicks(6);
  const at = SEGMENT_HEADER_BYTES + joined(ticks.slice(0, 2).map((tick) => tickBytes(tick))).length;
  const content = [...ticks.slice(0, 5), { ...ticks[5], synced: 400 }];
  const whole = storageOf([{ content }]).readAll(PATH)!;
  const position = whole.length;
  const meta = { lanes: [{ lane: 0, segment: 1, position }] };
  const audited = (bytes: Uint8Array) => {
    const storage = storageOf([{ content }], meta);
    storage.replace(PATH, bytes);
    return auditLog(storage);
  };
  const flipped = whole.slice();
  flipped[at + 8 + 128 + 40] ^= 1;
  const audit = audited(flipped);
  assert.equal(audit.problems.length, 1);
  const [{ message, ...place }] = audit.problems;
  assert.match(message, /its body's checksum is wrong/);
  assert.deepEqual(place, { kind: "damage", fault: "frame-body", file: PATH, offset: at, tick: 3 });
  assert.deepEqual([audit.lastTick, audit.deltas, audit.validDeltas], [6, 5, 4]);

  flipped[at + 20] ^= 1;
  const [header] = audited(flipped).problems;
  assert.deepEqual([header.fault, header.offset, header.tick], ["frame-header", at, undefined]);
  // Without anything that shows it to have been synced, the same is a torn tail.
  const storage = storageOf([{ content: ticks }]);
  storage.replace(PATH, flipped.slice(0, at + 300));
  const [torn, ...others] = auditLog(storage).problems;
  assert.deepEqual([torn.kind, torn.fault, others], ["torn", "frame-header", []]);
});

Deno.test("auditLog() finds what does not fit between segments and metadata", () => {
  const [first, second, third] = goodTicks(3);
  const segments: SegmentSpec[] = [{ content: [first] }, { content: [second] }, {
    content: [third],
  }];
  const faults = (edit: (storage: MemoryStorage) => void, meta: Partial<DirectoryMeta> = {}) => {
    const storage = storageOf(segments, meta);
    edit(storage);
    return auditLog(storage).problems.map(({ kind, fault, file }) => `${kind} ${fault} ${file}`);
  };
  assert.deepEqual(faults(() => {}), []);
  const [one, two] = [pathOf(0, 1), pathOf(0, 2)];
  assert.deepEqual(faults((storage) => storage.remove(two)), [`damage segment-missing ${two}`]);
  assert.deepEqual(faults((storage) => storage.remove(one)), [`damage segment-missing ${one}`]);
  assert.deepEqual(
    faults((storage) => {
      const bytes = storage.readAll(two)!;
      bytes[30] ^= 1;
      storage.replace(two, bytes);
    }),
    [`torn segment-header ${two}`],
  );
  assert.deepEqual(
    faults((storage) => storage.replace(one, storage.readAll(two)!)),
    [`damage segment-header ${one}`],
  );
  assert.deepEqual(faults((storage) => storage.remove(META_PATH)), [`damage meta ${META_PATH}`]);
  assert.deepEqual(faults(() => {}, { incarnation: 0 }), [`damage meta ${META_PATH}`]);
  assert.deepEqual(faults(() => {}, { closed: { tick: 4, hlc: "0" } }), [
    `damage meta ${META_PATH}`,
  ]);
  const beyond = { lanes: [{ lane: 0, segment: 3, position: 1e6 }] };
  assert.deepEqual(faults(() => {}, beyond), [`damage frame-header ${pathOf(0, 3)}`]);
});

Deno.test("auditLog() takes ticks of two lanes together, and misses a lane that took part", () => {
  const both = { lanes: [0, 3] };
  const [first, second] = goodTicks(2);
  const other = timed([{ tick: 1, frames: [birth(2)], nextPageId: 3 }])[0];
  const lanes = [0, 3].map((lane) => ({ lane, segment: 1, position: 0 }));
  const content = [{ ...first, ...both, nextPageId: 3 }, { ...second, nextPageId: 3 }];
  const whole = storageOf([{ content }, { lane: 3, content: [{ ...other, ...both }] }], { lanes });
  const audit = auditLog(whole);
  assert.deepEqual(audit.problems, []);
  assert.equal(audit.pages, 2);
  const half = auditLog(storageOf([{ content }], { lanes: [lanes[0]] }));
  assert.deepEqual(half.problems.map(({ fault, tick }) => `${fault}@${tick}`), ["frame-place@1"]);
});

Deno.test("auditLog() refuses a newer format", () => {
  const storage = storageOf([{ content: goodTicks(2) }]);
  const bytes = storage.readAll(PATH)!;
  bytes[SEGMENT_HEADER_BYTES + 8] = 9;
  reseal(bytes, SEGMENT_HEADER_BYTES);
  storage.replace(PATH, bytes);
  assert.throws(() => auditLog(storage), { code: "version" });
});

Deno.test("auditLog() finds a tick without its commit row", () => {
  const writer = new FrameWriter();
  const [first, second, third] = goodTicks(3);
  beginTick(writer, second);
  const cut = joined(writer.finish());
  const found = auditLog(storageOf([{ content: [first, cut, third] }])).problems;
  assert.deepEqual(found.map(({ fault, tick }) => `${fault}@${tick}`), ["commit@2"]);
  // At the end of the log it is what a crash leaves.
  const [torn] = auditLog(storageOf([{ content: [first, cut], padding: 64 }])).problems;
  assert.deepEqual([torn.kind, torn.fault, torn.tick], ["torn", "commit", 2]);
});

Deno.test("auditLog() tells damage from a torn tail as recovery does, whatever byte is bad", () => {
  const ticks = goodTicks(9);
  const random = new SeededRandom(7);
  const verdicts: Record<string, number> = {};
  for (let run = 0; run < 400; run++) {
    const content = [ticks.slice(0, 3), ticks.slice(3, 6), ticks.slice(6)];
    const isSynced = random.chance(0.5);
    const storage = storageOf(content.map((part, index) => ({
      content: part.map((tick) => isSynced && index === 2 ? { ...tick, synced: 900 } : tick),
      padding: 64,
    })));
    const path = pathOf(0, 1 + random.below(3));
    const bytes = storage.readAll(path)!;
    const at = random.below(bytes.length - 64);
    if (random.chance(0.3)) storage.replace(path, bytes.slice(0, at));
    else {
      bytes[at] ^= 1 << random.below(8);
      storage.replace(path, bytes);
    }
    const reader = new LogReader(storage, readMeta(storage));
    while (reader.next() !== undefined);
    const { state } = reader.end();
    const { problems } = auditLog(storage);
    const isDamaged = problems.some(({ kind }) => kind === "damage");
    const verdict = isDamaged ? "damaged" : problems.length > 0 ? "torn" : "whole";
    assert.equal(verdict, state, `run ${run}: byte ${at} of ${path}: ${JSON.stringify(problems)}`);
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
  }
  assert(verdicts.damaged > 50 && verdicts.torn > 50, JSON.stringify(verdicts));
});

Deno.test("verifyLog() reads a directory, changes nothing, and refuses what is none", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-verify-" });
  try {
    await assert.rejects(verifyLog(folder), { code: "usage", message: /is no data directory/ });
    const storage = storageOf([{ content: goodTicks(3) }]);
    await Deno.mkdir(`${folder}/lane-00`);
    for (const [path, bytes] of storage.image()) await Deno.writeFile(`${folder}/${path}`, bytes);
    const said: string[] = [];
    const { problems, lastTick } = await verifyLog(folder, { progress: (text) => said.push(text) });
    assert.deepEqual([problems, lastTick], [[], 3]);
    const cut = storage.readAll(PATH)!.slice(0, -20);
    await Deno.writeFile(`${folder}/${PATH}`, cut);
    await Deno.writeTextFile(`${folder}/lock`, "4711\n");
    const [torn] = (await verifyLog(folder)).problems;
    assert.match(torn.message, /\(process 4711 has it open, or was killed\)$/);
    assert(equalBytes(await Deno.readFile(`${folder}/${PATH}`), cut));
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "lane-00",
      "lock",
      "meta.json",
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
