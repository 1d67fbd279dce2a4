import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { PageStore, SPAN_BYTES } from "../physical/mod.ts";
import { type FrameSpec, tickParts } from "./_frames_test.ts";
import { lanesOf, pathOf, range } from "./_lanes_test.ts";
import { type CrashOptions, FaultyStorage } from "./faulty_storage.ts";
import { FORMAT, ROW_KIND, STRUCTURAL } from "./format.ts";
import type { LaneSet } from "./lane_set.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { type DirectoryMeta, readMeta, writeMeta } from "./meta.ts";
import { beginWriting, checkUndamaged, endWriting, recover, type Recovery } from "./recovery.ts";
import { SeededRandom } from "./seeded_random.ts";
import type { Storage, StorageFile } from "./storage.ts";

const STORE_BYTES = 4 * SPAN_BYTES;
const PAGES = 3;
const NEW: DirectoryMeta = {
  format: FORMAT,
  shards: 4,
  incarnation: 0,
  lanes: [],
  closed: null,
};

/** The frames of tick `t`: page `t` is born, up to {@linkcode PAGES}, and every page is set to `t`. */
function framesOf(tick: number): FrameSpec[] {
  const births = tick > PAGES ? [] : [{
    rowKind: ROW_KIND.structural,
    rows: [{ page: tick, offset: 8, kind: STRUCTURAL.createPage, shard: 1 }],
  }];
  const pages = range(1, Math.min(tick, PAGES));
  return [...births, {
    rows: pages.map((page) => ({ page, length: 4, start: 0, epoch: tick - page + 1 })),
    payload: new Uint8Array(Uint32Array.of(tick).buffer),
  }];
}

/** Checks that a store holds just what the first `tick` ticks made of it. */
function checkState(store: PageStore, tick: number, what: string): void {
  const ids = [...store.table.rows()].map((row) => store.table.ids[row]);
  assert.deepEqual(ids.sort(), range(1, Math.min(tick, PAGES)), what);
  for (const id of ids) {
    const row = store.table.rowOf(id);
    assert.equal(store.table.epoch(row), tick - id + 1, what);
    assert.deepEqual([...store.view(row)], [tick, 0, 0, 0, 0, 0, 0, 0], what);
  }
  assert.equal(store.nextPageId, Math.min(tick, PAGES) + 1, what);
}

/** A directory open for writing, in the order in which a bus takes the steps. */
class Directory {
  readonly store = new PageStore(STORE_BYTES);
  readonly recovery: Recovery;
  readonly writer: LaneSet;
  readonly meta: DirectoryMeta;
  readonly #storage: Storage;
  readonly #unlock: () => void;
  tick: number;

  constructor(storage: Storage, segmentBytesMax = 1024) {
    storage.makeFolder("");
    this.#storage = storage;
    this.#unlock = storage.lock();
    try {
      let meta = readMeta(storage);
      if (meta === undefined) writeMeta(storage, meta = NEW);
      this.recovery = recover(storage, meta, this.store);
      this.tick = this.recovery.tick;
      checkState(this.store, this.tick, `tick ${this.tick}`);
      checkUndamaged(storage, this.recovery.end);
      const sizes = { segmentBytesMax };
      ({ writer: this.writer, meta: this.meta } = beginWriting(
        storage,
        meta,
        this.recovery.end,
        sizes,
      ));
    } catch (error) {
      this.#unlock();
      throw error;
    }
  }

  async write(): Promise<void> {
    const parts = tickParts({
      tick: this.tick + 1,
      incarnation: this.meta.incarnation,
      synced: this.writer.syncedPosition,
      frames: framesOf(this.tick + 1),
      commitHlc: BigInt(this.tick + 1) << 20n,
      nextPageId: Math.min(this.tick + 1, PAGES) + 1,
    });
    await this.writer.reserve([parts.reduce((sum, part) => sum + part.length, 0)]);
    this.writer.append([parts]);
    this.tick++;
  }

  async close(): Promise<void> {
    await endWriting(this.#storage, this.meta, this.writer, this.tick, BigInt(this.tick) << 20n);
    this.#unlock();
  }
}

/** A storage whose lock a killed process does not keep. */
class KilledStorage extends FaultyStorage {
  override lock(): () => void {
    return () => {};
  }
}

/**
 * Opens, ticks, closes, opens again, ticks, is killed, opens again …: a life of `ticks` ticks.
 *
 * @returns The last tick that was acknowledged as durable, known at every moment.
 */
async function live(storage: FaultyStorage, acknowledged: { tick: number }): Promise<void> {
  let directory = new Directory(storage);
  const sync = () => {
    const { tick } = directory;
    directory.writer.syncNow();
    acknowledged.tick = tick;
  };
  await directory.write();
  await directory.write();
  sync();
  await directory.write();
  await directory.close();
  acknowledged.tick = directory.tick;
  directory = new Directory(storage);
  await directory.write();
  const { tick } = directory;
  const syncing = directory.writer.sync().then(() => acknowledged.tick = tick);
  syncing.catch(() => {});
  await directory.write();
  await syncing;
  await directory.write();
  sync();
  await directory.write();
  // The process is killed here; what it wrote is in the memory of the system.
  directory = new Directory(storage);
  await directory.write();
  sync();
  await directory.write();
  await directory.close();
  acknowledged.tick = directory.tick;
}

/** The fates to try at each moment. */
function fates(seed: number): CrashOptions[] {
  return [
    { keep: "none" },
    { keep: "all" },
    { keep: "some", tear: "sector", seed },
    { keep: "some", tear: "byte", seed: seed + 1 },
  ];
}

/** Opens what a crash left, goes on with it, and opens it once more. */
async function reopen(crash: MemoryStorage, acknowledged: number, what: string): Promise<void> {
  const directory = new Directory(crash);
  assert(directory.tick >= acknowledged, `${what}: ${directory.tick} of ${acknowledged}`);
  const { tick } = directory;
  await directory.write();
  await directory.write();
  await directory.close();
  const again = new Directory(crash);
  assert.equal(again.tick, tick + 2, what);
  assert.equal(again.recovery.end.state, "whole", what);
  assert.equal(again.recovery.hlcLast, BigInt(tick + 2) << 20n);
  await again.writer.abandon();
}

Deno.test("recovery opens after a crash at any step of a directory's life, and loses nothing", async () => {
  const whole = new KilledStorage();
  await live(whole, { tick: 0 });
  assert(whole.steps > 80, `${whole.steps} steps`);
  for (let after = 0; after <= whole.steps; after++) {
    const storage = new KilledStorage({ seed: after });
    const acknowledged = { tick: 0 };
    storage.stop({ after });
    await live(storage, acknowledged).catch((error) => assert(isMmsbError(error, "io"), error));
    for (const fate of fates(after)) {
      const what = `step ${after}, ${JSON.stringify(fate)}`;
      await reopen(storage.crash(fate), acknowledged.tick, what);
    }
  }
});

Deno.test("recovery opens after a crash at any step of a recovery from a crash", async () => {
  const random = new SeededRandom(11);
  const { steps } = await counted();
  for (let after = 0; after <= steps; after++) {
    const storage = new KilledStorage({ seed: after });
    const acknowledged = { tick: 0 };
    storage.stop({ after });
    await live(storage, acknowledged).catch(() => {});
    const image = storage.crash({ seed: after, tear: "byte" }).image();
    // The number of steps of this recovery, then a crash after some of them.
    const probe = new FaultyStorage({ image });
    const first = new Directory(probe);
    const inner = probe.steps;
    await first.writer.abandon();
    for (const stop of new Set([0, 1, inner, ...range(0, 2).map(() => random.below(inner))])) {
      const again = new FaultyStorage({ image, seed: after });
      again.stop({ after: stop });
      try {
        await new Directory(again).writer.abandon();
      } catch (error) {
        assert(isMmsbError(error, "io"), String(error));
      }
      for (const fate of fates(stop)) {
        const what = `step ${after}, then ${stop}, ${JSON.stringify(fate)}`;
        const crash = again.crash(fate);
        assert.equal(new Directory(crash.clone()).tick, first.recovery.tick, what);
        await reopen(crash, acknowledged.tick, what);
      }
    }
  }
  async function counted(): Promise<FaultyStorage> {
    const storage = new KilledStorage();
    await live(storage, { tick: 0 });
    return storage;
  }
});

Deno.test("recovery makes durable what a killed process wrote before new ticks stand on it", async () => {
  for (const ticks of [1, 2, 5, 20]) {
    const storage = new KilledStorage();
    const killed = new Directory(storage);
    for (let tick = 1; tick <= ticks; tick++) await killed.write();
    assert.equal(killed.writer.syncedPosition, 0);
    const next = new Directory(storage);
    assert.equal(next.tick, ticks, "the system kept all that was written");
    assert.equal(new Directory(storage.crash({ keep: "none" })).tick, ticks);
    await next.write();
    next.writer.syncNow();
    assert.equal(new Directory(storage.crash({ keep: "none" })).tick, ticks + 1);
  }
});

Deno.test("recovery writes again what met a failed sync, as another sync proves nothing", async () => {
  const storage = new KilledStorage();
  const failed = new Directory(storage);
  for (let tick = 1; tick <= 8; tick++) await failed.write();
  storage.failSyncs({ after: 0, times: 3 });
  assert.throws(() => failed.writer.syncNow(), { code: "io" });
  storage.failSyncs({ after: Infinity });
  await failed.writer.abandon();
  const next = new Directory(storage);
  assert.equal(next.tick, 8);
  await next.write();
  next.writer.syncNow();
  const found = new Directory(storage.crash({ keep: "none" }));
  assert.equal(found.tick, 9);
});

// The order of the steps.

/** A storage that notes what changes the disk, in order. */
class NotingStorage extends FaultyStorage {
  readonly notes: string[] = [];

  override open(path: string, mode: "read" | "write" | "create"): StorageFile {
    const file = super.open(path, mode);
    for (const name of ["truncate", "sync"] as const) {
      const call = file[name].bind(file) as (size: number) => void;
      file[name] = (size?: number) => {
        this.#note(`${name} ${path}`);
        call(size!);
      };
    }
    const write = file.write.bind(file);
    file.write = (bytes, position) => {
      this.#note(`write ${path}`);
      write(bytes, position);
    };
    return file;
  }

  override replace(path: string, bytes: Uint8Array): void {
    super.replace(path, bytes);
    const meta = readMeta(this)!;
    this.notes.push(`meta: incarnation ${meta.incarnation}, segment ${meta.lanes[0]?.segment}`);
  }

  override allocateNow(path: string, size: number): void {
    super.allocateNow(path, size);
    this.notes.push(`allocate ${path}`);
  }

  override remove(path: string): void {
    if (this.exists(path)) this.#note(`remove ${path}`);
    super.remove(path);
  }

  override syncFolder(folder: string): void {
    super.syncFolder(folder);
    if (folder !== "") this.notes.push(`sync names of ${folder}`);
  }

  #note(text: string): void {
    if (!text.includes(".tmp")) this.notes.push(text);
  }
}

Deno.test("beginWriting() keeps, states, cuts, and begins: in this order", async () => {
  const first = new MemoryStorage();
  const directory = new Directory(first, 2048);
  for (let tick = 1; tick <= 5; tick++) await directory.write();
  assert.equal(directory.writer.segmentOf(0), 2);
  const image = first.image(), path = pathOf(0, 1);
  // Tick 2 is torn, so that all behind it goes.
  image.get(path)![64 + tickBytesOf(1) + 9] ^= 1;
  const storage = new NotingStorage({ image });
  new Directory(storage);
  const lane = "lane-00";
  assert.deepEqual(storage.notes.filter((note, i) => note !== storage.notes[i - 1]), [
    `write ${path}`,
    `sync ${path}`,
    `sync names of ${lane}`,
    "meta: incarnation 1, segment 1",
    `truncate ${path}`,
    `sync ${path}`,
    `remove ${pathOf(0, 2)}`,
    `remove ${pathOf(0, 3)}`,
    `sync names of ${lane}`,
    `allocate ${pathOf(0, 2)}`,
    "meta: incarnation 2, segment 2",
  ]);
});

function tickBytesOf(tick: number): number {
  return tickParts({ tick, frames: framesOf(tick) }).reduce((sum, part) => sum + part.length, 0);
}

Deno.test("beginWriting() touches no old segment of a directory that was closed", async () => {
  const first = new MemoryStorage();
  const directory = new Directory(first);
  for (let tick = 1; tick <= 5; tick++) await directory.write();
  await directory.close();
  const last = directory.writer.segmentOf(0) + 1;
  const storage = new NotingStorage({ image: first.image() });
  new Directory(storage);
  const notes = storage.notes.filter((note) => !note.startsWith("sync names"));
  assert.deepEqual(notes, [
    `allocate ${pathOf(0, last)}`,
    `meta: incarnation 2, segment ${last}`,
  ]);
});

Deno.test("endWriting() records where each lane ends, and nothing after a failure", async () => {
  const storage = new FaultyStorage();
  const directory = new Directory(storage);
  await directory.write();
  await directory.close();
  const { position } = directory.writer, segment = directory.writer.segmentOf(0);
  assert.deepEqual(readMeta(storage), {
    ...NEW,
    incarnation: 1,
    lanes: [{ lane: 0, segment, position }],
    closed: { tick: 1, hlc: String(1n << 20n) },
  });
  const failing = new Directory(storage);
  await failing.write();
  storage.failSyncs({ after: 0 });
  await assert.rejects(failing.close(), { code: "io" });
  assert.equal(readMeta(storage)?.closed, null);
});

Deno.test("checkUndamaged() names file, byte and tick", async () => {
  const storage = new MemoryStorage();
  const directory = new Directory(storage, 4096);
  for (let tick = 1; tick <= 3; tick++) {
    await directory.write();
    directory.writer.syncNow();
  }
  const image = storage.image(), path = pathOf(0, 1);
  const start = 64 + tickBytesOf(1);
  image.get(path)![start + 40] ^= 1;
  const damaged = new MemoryStorage({ image });
  const { end, tick } = recover(damaged, readMeta(damaged), new PageStore(STORE_BYTES));
  assert.equal(tick, 1);
  assert.throws(
    () => checkUndamaged(damaged, end),
    (error) => {
      assert(isMmsbError(error, "corrupt-log"));
      const { location, reason, ...values } = error.values;
      assert.deepEqual(values, { path, offset: start, tick: 2 });
      assert.equal(location, damaged.location);
      assert.match(String(reason), /checksum/);
      return true;
    },
  );
  assert.throws(() => new Directory(damaged), { code: "corrupt-log" });
  assert.equal(readMeta(damaged)?.incarnation, 1, "nothing was changed");
});

// Replay.

const BIRTH: FrameSpec = {
  rowKind: ROW_KIND.structural,
  rows: [{ page: 1, offset: 8, kind: STRUCTURAL.createPage }],
};
const WORD = new Uint8Array(4);

const UNFIT: readonly [string, FrameSpec[], RegExp][] = [
  ["a page that was never born", [row({ page: 2, epoch: 1 })], /no such page/],
  ["an epoch that does not follow", [BIRTH, row({ page: 1, epoch: 2 })], /epochs in the log/],
  ["a span outside its page", [BIRTH, row({ page: 1, offset: 5, epoch: 1 })], /size is 8/],
  ["a payload outside its frame", [BIRTH, row({ page: 1, start: 1, epoch: 1 })], /./],
  ["a kind that is not known", [BIRTH, row({ page: 1, kind: 2, epoch: 1 })], /kind is 2/],
  ["a page born twice", [BIRTH, BIRTH], /born twice/],
  ["page 0", [structural({ page: 0, offset: 8, kind: STRUCTURAL.createPage })], /./],
  ["a death of no page", [structural({ page: 1, kind: STRUCTURAL.deletePage })], /not there/],
  [
    "a page that dies twice",
    [
      BIRTH,
      structural({ page: 1, kind: STRUCTURAL.deletePage }),
      structural({ page: 1, kind: STRUCTURAL.deletePage }),
    ],
    /not there/,
  ],
  ["an operation that is not known", [BIRTH, structural({ page: 1, kind: 9 })], /operation 9/],
  [
    "metadata outside its frame",
    [BIRTH, structural({ page: 1, kind: STRUCTURAL.setMetadata, length: 9 })],
    /payload of row 0/,
  ],
  [
    "metadata that is none",
    [
      BIRTH,
      {
        ...structural({ page: 1, kind: STRUCTURAL.setMetadata, length: 4 }),
        payload: WORD.fill(9),
      },
    ],
    /./,
  ],
  [
    "a page of no bytes",
    [structural({ page: 1, offset: 0, kind: STRUCTURAL.createPage })],
    /./,
  ],
  [
    "a page larger than pages are",
    [structural({ page: 1, offset: 2 ** 24 + 1, kind: STRUCTURAL.createPage })],
    /./,
  ],
];

function row(spec: Partial<FrameSpec["rows"][number]>): FrameSpec {
  return { rows: [{ length: 4, ...spec }], payload: WORD };
}

function structural(spec: FrameSpec["rows"][number]): FrameSpec {
  return { rowKind: ROW_KIND.structural, rows: [spec] };
}

for (const [what, frames, message] of UNFIT) {
  Deno.test(`recover() refuses ${what}, although all checksums fit`, () => {
    const storage = lanesOf([{ content: [{ tick: 1, frames }] }]);
    assert.throws(
      () => recover(storage, { ...NEW }, new PageStore(STORE_BYTES)),
      (error) => {
        assert(isMmsbError(error, "corrupt-log"), String(error));
        assert.match(error.message, message);
        assert.equal(error.values.tick, 1);
        assert.equal(error.values.path, pathOf(0, 1));
        assert(Number(error.values.offset) >= 64);
        return true;
      },
    );
  });
}

Deno.test("recover() keeps rows of a tick in which their page dies, and ids that were used up", () => {
  const frames = [
    BIRTH,
    row({ page: 1, epoch: 1 }),
    structural({ page: 1, kind: STRUCTURAL.deletePage }),
  ];
  const storage = lanesOf([{ content: [{ tick: 1, frames, nextPageId: 9, commitHlc: 77n }] }]);
  const store = new PageStore(STORE_BYTES);
  const { tick, rows, hlcLast, end } = recover(storage, undefined, store);
  assert.deepEqual([tick, rows, hlcLast, end.state], [1, 1, 77n, "whole"]);
  assert.equal(store.table.size, 0);
  assert.equal(store.nextPageId, 9);
  store.checkInvariants();
});
