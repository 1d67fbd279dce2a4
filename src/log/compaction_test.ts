import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, SEGMENT_BYTES_MIN } from "../base/mod.ts";
import { combineKind, encodeMetadata, PageStore, SPAN_BYTES } from "../physical/mod.ts";
import { finishSwitch, mergedPath, settledView } from "./compaction_switch.ts";
import { compactDirectory, type CompactionReport } from "./compaction.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { STRUCTURAL } from "./format.ts";
import { LogBuilder, structuralRow } from "./log_builder.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { type DirectoryMeta, readMeta } from "./meta.ts";
import { beginWriting, checkUndamaged, endWriting, recover } from "./recovery.ts";
import { SeededRandom } from "./seeded_random.ts";
import type { Storage } from "./storage.ts";
import { auditLog } from "./verify.ts";

const KINDS = [
  combineKind("i32", "add"),
  combineKind("f64", "add"),
  combineKind("f32", "min"),
  combineKind("u32", "xor"),
];

/** A mask taken from the bytes themselves, and its packed bytes. */
function masked(bytes: Uint8Array): Uint8Array {
  const mask = new Uint8Array(bytes.length + 7 >> 3);
  bytes.forEach((byte, i) => mask[i >> 3] |= (byte & 1) << i % 8);
  return Uint8Array.of(...mask, ...bytes.filter((byte) => byte & 1));
}

/** A life of a few pages, as a log. */
interface Life {
  readonly ticks: number;
  readonly seed: number;
  /** Bytes of a segment. */
  readonly segmentBytes: number;
  /** Ticks after which the directory is opened again. */
  readonly openings: readonly number[];
}

/** Writes a log by chance: births, deaths, sizes, shards, metadata and deltas of every kind. */
async function write(storage: Storage, life: Life): Promise<void> {
  const random = new SeededRandom(life.seed), sizes = { ...life, shards: 4 };
  const builder = new LogBuilder(storage, {
    shards: sizes.shards,
    segmentBytes: life.segmentBytes,
    segmentBytesMax: life.segmentBytes,
  });
  const pages = new Map<number, { size: number; epoch: number }>();
  const byte = () => random.below(256);
  let nextId = 1, incarnation = 1, hlc = 1_000_000n;
  for (let tick = 1; tick <= life.ticks; tick++) {
    if (life.openings.includes(tick)) incarnation++;
    await builder.begin({ tick, incarnation });
    const births = pages.size < 4 && random.chance(0.4) ? 1 + random.below(2) : 0;
    const born = Array.from({ length: births }, () => {
      const page = nextId++, size = 8 + random.below(600);
      pages.set(page, { size, epoch: 0 });
      const name = random.chance(0.3) ? `page ${page}` : "";
      const metadata = random.chance(0.3) ? new Map([["k", Uint8Array.of(byte())]]) : undefined;
      return { page, size, shard: random.below(4), name, metadata };
    });
    builder.births(born, hlc);
    hlc += BigInt(born.length);
    const rows = builder.rows(), ids = [...pages.keys()];
    for (let i = random.below(12); i > 0 && ids.length > 0; i--) {
      const page = ids[random.below(ids.length)], about = pages.get(page)!;
      const kind = random.below(3), isCombine = kind === 2;
      const combine = KINDS[random.below(KINDS.length)], width = combine === KINDS[1] ? 8 : 4;
      if (isCombine && about.size < width) continue;
      const offset = isCombine
        ? width * random.below(Math.floor(about.size / width))
        : random.below(about.size);
      const length = isCombine ? width : 1 + random.below(Math.min(40, about.size - offset));
      const bytes = Uint8Array.from({ length }, byte);
      const advance = random.chance(0.1) ? 1 + random.below(5) : 1;
      about.epoch += advance;
      rows.push({
        page,
        offset,
        length,
        kind: isCombine ? combine : kind,
        payload: kind === 1 ? masked(bytes) : bytes,
        epoch: about.epoch,
        source: ["", "feed-a", "feed-b"][random.below(3)],
        intent: ["", "open"][random.below(2)],
        ...(random.chance(0.3) ? { timeUs: random.below(1000) } : {}),
        advance,
      });
    }
    builder.frame(rows, { producer: 1, sequence: tick, hlc });
    hlc += BigInt(rows.rows);
    const ends = builder.rows();
    if (ids.length > 1 && random.chance(0.2)) {
      const page = ids[random.below(ids.length)], about = pages.get(page)!;
      const what = random.below(4);
      if (what === 0) {
        ends.push(structuralRow(page, STRUCTURAL.deletePage));
        pages.delete(page);
      } else if (what === 1) {
        about.size = 4 + random.below(900);
        ends.push(structuralRow(page, STRUCTURAL.resizePage, { size: about.size }));
      } else if (what === 2) {
        ends.push(structuralRow(page, STRUCTURAL.migratePage, { shard: random.below(4) }));
      } else {
        const payload = encodeMetadata({ z: Uint8Array.of(byte(), 2) });
        ends.push(structuralRow(page, STRUCTURAL.setMetadata, { payload }));
      }
    }
    builder.frame(ends, { rowKind: 1, hlc });
    hlc += BigInt(ends.rows);
    await builder.commit(hlc++, nextId);
  }
  await builder.close();
}

/** All that a state holds, as text that can be compared. */
function stateOf(storage: Storage, tickMax?: number): unknown {
  const store = new PageStore(1024 * SPAN_BYTES);
  const found = recover(storage, readMeta(storage), store, tickMax);
  store.checkInvariants();
  const pages = [...store.table.rows()].map((row) => {
    const id = store.table.ids[row];
    return {
      id,
      bytes: [...store.view(row)].join(),
      epoch: store.table.epoch(row),
      shard: store.table.shards[row],
      name: store.nameOf(id),
      metadata: [...store.metadataOf(id)].map(([key, value]) => [key, [...value]]),
    };
  }).sort((a, b) => a.id - b.id);
  const { tick, hlcLast, end } = found;
  return { pages, nextPageId: store.nextPageId, tick, hlcLast, state: end.state };
}

/** Compacts, and finds all that can be seen at and after the horizon as it was. */
async function compactAndCompare(
  storage: MemoryStorage,
  beforeTick?: number,
  tickBytes?: number,
): Promise<CompactionReport> {
  const last = readMeta(storage)!.closed!.tick;
  const before = Array.from({ length: last + 1 }, (_, tick) => stateOf(storage, tick));
  const whole = stateOf(storage);
  const report = await compactDirectory(storage, {
    beforeTick,
    tickBytes,
    memoryLimitBytes: 2 ** 26,
  });
  assert.deepEqual(stateOf(storage), whole);
  assert.deepEqual(auditLog(storage).problems, []);
  if (report.merged) {
    assert.ok(report.horizon < (beforeTick ?? Infinity) && report.horizon <= last);
    assert.ok(report.bytes.after < report.bytes.before);
    assert.ok(report.rows.after <= report.rows.before);
    for (let tick = report.horizon; tick <= last; tick++) {
      assert.deepEqual(stateOf(storage, tick), before[tick], `tick ${tick}`);
    }
    const left = [...storage.image().keys()].filter((path) => /merged|tmp/.test(path));
    assert.deepEqual(left, []);
  }
  return report;
}

Deno.test("compactDirectory() leaves every state from the horizon on as it was, again and again", async () => {
  let merged = 0, horizons = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        ticks: fc.integer({ min: 1, max: 40 }),
        seed: fc.nat(),
        segmentBytes: fc.constantFrom(600, 2000, 100_000),
        openings: fc.uniqueArray(fc.integer({ min: 2, max: 40 }), { maxLength: 3 }),
      }),
      fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
      fc.constantFrom(undefined, 300),
      async (life, beforeTick, tickBytes) => {
        const storage = new MemoryStorage();
        await write(storage, life);
        const first = await compactAndCompare(storage, beforeTick, tickBytes);
        const second = await compactAndCompare(storage);
        assert.ok(second.horizon >= first.horizon);
        if (first.merged && second.merged) horizons++;
        if (first.merged || second.merged) merged++;
      },
    ),
    { numRuns: 40 },
  );
  assert.ok(merged > 12 && horizons > 3, `${merged}, ${horizons}`);
});

Deno.test("compactDirectory() shrinks ten overwrites of every byte at least five times", async () => {
  const storage = new MemoryStorage(), size = 4096, cell = 16, pages = 16;
  const builder = new LogBuilder(storage, { shards: 1 });
  const random = new SeededRandom(7);
  let hlc = 1n;
  for (let tick = 1; tick <= 10; tick++) {
    await builder.begin({ tick });
    if (tick === 1) {
      const born = Array.from({ length: pages }, (_, i) => {
        return { page: i + 1, size, shard: 0, name: "" };
      });
      builder.births(born, hlc);
      hlc += BigInt(pages);
    }
    const rows = builder.rows();
    for (let i = 0; i < pages * size / cell; i++) {
      const page = 1 + i % pages, offset = Math.floor(i / pages) * cell;
      const payload = Uint8Array.from({ length: cell }, () => 1 + random.below(255));
      const epoch = (tick - 1) * size / cell + Math.floor(i / pages) + 1;
      rows.push({ page, offset, length: cell, kind: 0, payload, epoch, source: "feed" });
    }
    builder.frame(rows, { producer: 1, sequence: tick, hlc });
    hlc += BigInt(rows.rows);
    await builder.commit(hlc++);
  }
  await builder.close();
  const { bytes, rows, horizon } = await compactAndCompare(storage);
  assert.ok(bytes.before >= 5 * bytes.after, `${bytes.before} to ${bytes.after}`);
  assert.deepEqual(rows, { before: 10 * pages * size / cell, after: pages });
  assert.equal(horizon, 10);
});

Deno.test("compactDirectory() splits a large state by pages over several ticks and segments", async () => {
  const storage = new MemoryStorage(), size = 2 ** 20, pages = 10;
  const builder = new LogBuilder(storage, { shards: 1, segmentBytesMax: 8 * 2 ** 20 });
  const random = new SeededRandom(3);
  let hlc = 1n;
  for (let tick = 1; tick <= 20; tick++) {
    await builder.begin({ tick });
    const page = 1 + tick % pages;
    if (tick <= pages) builder.births([{ page, size, shard: 0, name: `p${page}` }], hlc++);
    const rows = builder.rows(), first = random.below(200);
    const payload = Uint8Array.from({ length: size }, (_, i) => first + i % 56 | 1);
    rows.push({ page, offset: 0, length: size, kind: 0, payload, epoch: tick <= pages ? 1 : 2 });
    builder.frame(rows, { producer: 1, sequence: tick, hlc: hlc++ });
    await builder.commit(hlc++);
  }
  await builder.close();
  const before = stateOf(storage);
  const report = await compactDirectory(storage);
  assert.deepEqual(report.ticks, { before: 20, after: 4 });
  assert.deepEqual(stateOf(storage), before);
  assert.deepEqual(auditLog(storage).problems, []);
  const segments = [...storage.image().keys()].filter((path) => path.endsWith(".log"));
  assert.ok(segments.length > 1 && !segments.includes("lane-00/0000000001.log"), segments.join());
});

/** Small ticks and segments, so that there are several. */
const OPTIONS = { tickBytes: 300 };

/** Opens for writing, as a bus does, and closes: the state that was found. */
async function reopen(storage: Storage): Promise<unknown> {
  const found = readMeta(storage)!;
  const readable = stateOf(settledView(storage));
  const meta: DirectoryMeta = finishSwitch(storage, found);
  assert.equal(readMeta(storage)!.pending, undefined);
  const state = stateOf(storage);
  assert.deepEqual(readable, state, "read before it was put right");
  const store = new PageStore(1024 * SPAN_BYTES);
  const recovery = recover(storage, meta, store);
  checkUndamaged(storage, recovery.end);
  const begun = beginWriting(storage, meta, recovery.end);
  await endWriting(storage, begun.meta, begun.writer, recovery.tick, recovery.hlcLast);
  assert.deepEqual(auditLog(storage).problems, []);
  return state;
}

Deno.test("compactDirectory() cut off at any step leaves the old log or the new one", async () => {
  const life = { ticks: 30, seed: 5, segmentBytes: 2000, openings: [11, 23] };
  const origin = new MemoryStorage();
  await write(origin, life);
  const image = origin.image(), whole = stateOf(origin);
  const probe = new FaultyStorage({ image });
  const report = await compactDirectory(probe, OPTIONS);
  assert.ok(report.merged && report.ticks.after > 2);
  assert.ok([...probe.image().keys()].filter((path) => path.endsWith(".log")).length > 1);
  const { steps } = probe;
  const outcomes = new Map<string, number>();
  for (let after = 0; after <= steps; after++) {
    const storage = new FaultyStorage({ image, seed: after });
    storage.stop({ after });
    await compactDirectory(storage, OPTIONS).catch((error) =>
      assert.ok(isMmsbError(error, "io"), error)
    );
    for (
      const fate of [{ keep: "none" }, { keep: "all" }, { seed: after }, {
        seed: -after - 1,
      }] as const
    ) {
      const crash = storage.crash(fate);
      const { base, pending } = readMeta(crash)!;
      const outcome = base === undefined ? "old" : pending === undefined ? "new" : "pending";
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      const what = `step ${after} of ${steps}, ${JSON.stringify(fate)}: ${outcome}`;
      try {
        assert.deepEqual(await reopen(crash), whole);
      } catch (error) {
        throw new Error(what, { cause: error });
      }
      const names = [...crash.image().keys()];
      assert.ok(!names.some((path) => /merged|tmp/.test(path)), `${what}: ${names}`);
      // And it can be compacted, whatever happened.
      await compactDirectory(crash);
      assert.deepEqual((stateOf(crash) as { pages: unknown }).pages, pagesOf(whole));
    }
  }
  for (const outcome of ["old", "pending", "new"]) assert.ok(outcomes.get(outcome)! > 0, outcome);
});

function pagesOf(state: unknown): unknown {
  return (state as { pages: unknown }).pages;
}

Deno.test("compactDirectory() cut off while an earlier switch is carried out finishes it", async () => {
  const origin = new MemoryStorage();
  await write(origin, { ticks: 30, seed: 5, segmentBytes: 2000, openings: [] });
  const whole = stateOf(origin);
  const storage = new FaultyStorage({ image: origin.image() });
  // Stops when the switch is known and nothing of it is done.
  let pending: MemoryStorage | undefined;
  for (let after = 0; pending === undefined; after++) {
    const again = new FaultyStorage({ image: storage.image() });
    again.stop({ after });
    await compactDirectory(again, OPTIONS).catch(() => {});
    const crash = again.crash({ keep: "none" });
    if (readMeta(crash)!.pending !== undefined) pending = crash;
  }
  assert.ok(pending.exists(mergedPath(0, 0)));
  const probe = new FaultyStorage({ image: pending.image() });
  finishSwitch(probe, readMeta(probe)!);
  for (let after = 0; after <= probe.steps; after++) {
    const again: FaultyStorage = new FaultyStorage({ image: pending.image(), seed: after });
    again.stop({ after });
    try {
      finishSwitch(again, readMeta(again)!);
    } catch (error) {
      assert.ok(isMmsbError(error, "io"));
    }
    for (const fate of [{ keep: "none" }, { keep: "all" }, { seed: after }] as const) {
      assert.deepEqual(await reopen(again.crash(fate)), whole);
    }
  }
});

Deno.test("compactDirectory() refuses what it must not touch, and leaves it as it was", async () => {
  const life = { ticks: 30, seed: 5, segmentBytes: 2000, openings: [] };
  const storage = new MemoryStorage();
  await write(storage, life);
  const paths = [...storage.image().keys()].filter((path) => path.endsWith(".log"));
  const broken = storage.clone();
  const file = broken.open(paths[1], "write");
  const byte = new Uint8Array(1);
  file.read(byte, 300);
  file.write(Uint8Array.of(byte[0] ^ 1), 300);
  await assert.rejects(compactDirectory(broken), { code: "corrupt-log" });
  const image = broken.image();
  await assert.rejects(compactDirectory(broken), { code: "corrupt-log" });
  assert.deepEqual(broken.image(), image);
  await assert.rejects(compactDirectory(storage, { beforeTick: 0 }), { code: "out-of-bounds" });
  await assert.rejects(compactDirectory(storage, { memoryLimitBytes: SEGMENT_BYTES_MIN }), {
    code: "allocation",
  });
  await assert.rejects(compactDirectory(new MemoryStorage()), { code: "usage" });
  const unlock = storage.lock();
  await assert.rejects(compactDirectory(storage), { code: "locked" });
  unlock();
  const full = new FaultyStorage({ image: storage.image() });
  full.fillUp({ bytesLeft: 1000 });
  const whole = stateOf(full);
  await assert.rejects(compactDirectory(full), { code: "disk-full" });
  assert.deepEqual(stateOf(full), whole);
  assert.ok(![...full.image().keys()].some((path) => path.includes("merged")));
});

Deno.test("compactDirectory() refuses what is no storage", async () => {
  for (const storage of [null, undefined, {}, "x", 7]) {
    await assert.rejects(compactDirectory(storage as unknown as MemoryStorage), { code: "usage" });
  }
});
