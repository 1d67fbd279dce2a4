/** Checkpoints from the outside: what is made while ticks go on leads to the same state as the log. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import {
  auditCheckpoints,
  checkpointPath,
  FaultyStorage,
  inspectLog,
  MemoryStorage,
  readMeta,
  recover,
  verifyLog,
} from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { compareStores } from "./compare.ts";
import { type OpenOptions, StateBus } from "./mod.ts";

const OPTIONS = { memoryLimitBytes: 2 ** 26, shards: 4 };
const NEVER = { everyBytes: Infinity };

/** Lets the other side of a checkpoint go on. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, 0));
}

/** All that a bus holds, page by page. */
function dump(bus: StateBus): Map<number, unknown> {
  return new Map(
    [...bus.pages()].sort((a, b) => a.id - b.id).map((page) => [page.id, {
      name: page.name,
      size: page.size,
      epoch: page.epoch,
      shard: page.shard,
      metadata: page.metadata,
      bytes: page.read(),
    }]),
  );
}

/** The store that recovery gives, from the newest checkpoint or from as early as can be. */
function recovered(storage: MemoryStorage, start: "newest" | "earliest") {
  const store = new PageStore(OPTIONS.memoryLimitBytes);
  const found = recover(storage, readMeta(storage), store, Infinity, start);
  store.checkInvariants();
  return { store, found };
}

async function filled(options: OpenOptions, pages = 4): Promise<StateBus> {
  const bus = await StateBus.open({ ...OPTIONS, checkpoints: NEVER, ...options });
  for (let i = 0; i < pages; i++) bus.createPage({ size: 64, name: `page ${i}` });
  await bus.commit(() => bus.page(1).write(0, Uint8Array.of(1)));
  return bus;
}

type Step =
  | { readonly do: "create"; readonly size: number; readonly text: boolean }
  | {
    readonly do: "write" | "delete" | "resize" | "metadata" | "migrate";
    readonly page: number;
    readonly value: number;
  }
  | { readonly do: "tick" | "turn" | "checkpoint" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("create" as const),
      // Large ones, so that there are several chunks, and small ones that share one.
      size: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 300_000, max: 900_000 })),
      text: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("write", "write", "delete", "resize", "metadata", "migrate"),
      page: fc.nat(20),
      value: fc.nat(255),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constantFrom("tick", "tick", "turn", "turn", "checkpoint") }),
  },
) as fc.Arbitrary<Step>;

async function perform(bus: StateBus, step: Step, number: number): Promise<void> {
  if (step.do === "tick") await bus.commit();
  else if (step.do === "turn") await turn();
  else if (step.do === "create") {
    const name = step.text ? `name ${number}` : undefined;
    const metadata = step.text ? { key: Uint8Array.of(number) } : undefined;
    bus.createPage({ size: step.size, name, metadata });
  } else if ("page" in step) {
    const pages = [...bus.pages()].filter((page) => page.state === "active");
    if (pages.length === 0) return;
    const page = pages[step.page % pages.length], { value } = step;
    if (step.do === "write") page.write(page.size - 1, Uint8Array.of(value));
    else if (step.do === "delete") page.delete();
    else if (step.do === "resize") page.resize(value < 128 ? 1 + value : 3_000 * value);
    else if (step.do === "metadata") page.setMetadata({ value: Uint8Array.of(value) });
    else page.migrate({ shard: value % 4 });
  }
}

Deno.test("StateBus.checkpoint() amid a workload and the log after it lead where the whole log leads", async () => {
  let fuzzy = 0, made = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 60, size: "max" }),
      async (steps) => {
        const storage = new MemoryStorage();
        const bus = await StateBus.open({ ...OPTIONS, storage, checkpoints: NEVER });
        for (let i = 0; i < 4; i++) bus.createPage({ size: 600_000, name: `first ${i}` });
        await bus.commit();
        const asked: Promise<unknown>[] = [];
        for (const [number, step] of steps.entries()) {
          if (step.do === "checkpoint") {
            asked.push(
              bus.checkpoint().then((report) => {
                made++;
                if (report.tickFirst < report.tick) fuzzy++;
              }),
            );
          }
          // What cannot be staged beside what is staged already is left out.
          await perform(bus, step, number).catch((error) => assert.equal(error.name, "MmsbError"));
        }
        await bus.commit();
        const expected = dump(bus), { tickNumber } = bus;
        await bus.close();
        await Promise.all(asked);
        const last = recovered(storage, "newest"), first = recovered(storage, "earliest");
        assert.deepEqual([last.found.tick, first.found.tick], [tickNumber, tickNumber]);
        assert.equal(last.found.hlcLast, first.found.hlcLast);
        assert.equal(last.found.checkpoint !== undefined, asked.length > 0);
        assert.deepEqual(last.found.passedOver, []);
        const difference = compareStores(first.store, last.store);
        assert.equal(difference.same, true, JSON.stringify(difference));
        assert.ok(last.store.nextPageId >= first.store.nextPageId);
        await using again = await StateBus.open({ ...OPTIONS, storage, checkpoints: NEVER });
        assert.deepEqual(dump(again), expected);
        assert.equal((await again.verify()).ok, true);
      },
    ),
    { numRuns: 25 },
  );
  assert.ok(made > 10 && fuzzy > 3, `${fuzzy} of ${made} checkpoints were made over several ticks`);
});

Deno.test("StateBus.checkpoint() is good only from the tick on at which its last pages died", async () => {
  const storage = new MemoryStorage();
  const bus = await filled({ storage });
  for (let i = 0; i < 30; i++) bus.createPage({ size: 600_000 });
  await bus.commit();
  const asked = bus.checkpoint();
  await turn();
  // No page is left of which an image could be made after this tick.
  const { tick } = await bus.commit(() => {
    for (const page of bus.pages()) {
      page.migrate({ shard: 1 });
      if (page.id > 4) page.delete();
    }
  });
  const report = await asked;
  assert.ok(report.tickFirst < tick && report.tick === tick && report.pages < 34);
  await bus.close();
  const last = recovered(storage, "newest"), first = recovered(storage, "earliest");
  assert.deepEqual([last.found.passedOver, last.found.tick], [[], tick]);
  assert.equal(compareStores(first.store, last.store).same, true);
});

Deno.test("StateBus.checkpoint() tells what it made, and pages are clean that it holds", async () => {
  const storage = new MemoryStorage();
  const bus = await filled({ storage });
  const staged = bus.createPage({ size: 64 });
  const report = await bus.checkpoint();
  assert.deepEqual(
    { ...report, storedBytes: 0 },
    { tick: 1, tickFirst: 1, path: checkpointPath(1), pages: 4, bytes: 256, storedBytes: 0 },
  );
  assert.equal(storage.readAll(report.path)!.length, report.storedBytes);
  assert.equal(bus.page(1).dirty, false);
  await bus.commit(() => bus.page(1).write(1, Uint8Array.of(2)));
  assert.deepEqual([bus.page(1).dirty, staged.state], [true, "active"]);
  assert.deepEqual(bus.stats().checkpoints?.ticks, [1]);
  await bus.close();
  await using again = await StateBus.open({ ...OPTIONS, storage });
  assert.deepEqual([again.opened.checkpoint?.tick, again.opened.rows], [1, 1]);
  assert.deepEqual([again.page(1).dirty, again.page(2).dirty], [true, false]);
  assert.equal((await again.verify()).ok, true);
});

Deno.test("StateBus.checkpoint() makes one at a time, and calls that wait share one", async () => {
  const storage = new MemoryStorage();
  const bus = await filled({ storage });
  // In one go: however slow the machine is, the first has not ended when the others are asked for.
  const first = bus.checkpoint(), second = bus.checkpoint(), third = bus.checkpoint();
  const before = await first;
  // The first has just ended, and the second has not begun.
  const reports = await Promise.all([second, third, bus.checkpoint()]);
  assert.ok(before !== reports[0] && before.tick <= reports[0].tickFirst);
  assert.equal(reports[1], reports[0]);
  assert.equal(reports[2], reports[0]);
  const last = bus.checkpoint();
  await bus.commit(() => bus.page(1).write(0, Uint8Array.of(2)));
  const waiting = bus.checkpoint();
  await bus.close();
  assert.ok((await last).tick <= (await waiting).tickFirst);
  assert.equal((await waiting).tick, 2);
  await assert.rejects(bus.checkpoint(), { code: "closed" });
});

Deno.test("StateBus.checkpoint() is refused in memory, read-only and where options are wrong", async () => {
  await using bus = await StateBus.open();
  await assert.rejects(bus.checkpoint(), { code: "usage" });
  assert.equal(bus.stats().checkpoints, undefined);
  const storage = new MemoryStorage();
  await (await filled({ storage })).close();
  await using reader = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  await assert.rejects(reader.checkpoint(), { code: "read-only" });
  const wrong: unknown[] = [
    null,
    { keep: 0 },
    { keep: 1.5 },
    { everyBytes: 0 },
    { everyBytes: NaN },
    { log: "burn" },
    { archiveDir: "../up" },
    { archiveDir: "lane-00" },
    { archiveDir: "" },
    { other: 1 },
  ];
  for (const checkpoints of wrong) {
    const options = { storage, checkpoints } as OpenOptions;
    await assert.rejects(
      StateBus.open(options),
      { name: "MmsbError" },
      JSON.stringify(checkpoints),
    );
  }
});

Deno.test("StateBus makes checkpoints by itself as the log grows, and keeps the newest", async () => {
  const storage = new MemoryStorage();
  const bus = await filled({ storage, checkpoints: { everyBytes: 20_000, keep: 2 } });
  for (let i = 0; i < 400; i++) {
    await bus.commit(() => bus.page(1).write(0, new Uint8Array(64).fill(i)));
    if (i % 10 === 0) await turn();
  }
  const expected = dump(bus);
  await bus.close();
  const names = storage.list("checkpoints");
  assert.equal(names.length, 2);
  await using again = await StateBus.open({ ...OPTIONS, storage });
  assert.ok(again.opened.rows < 300, `${again.opened.rows} rows were replayed`);
  assert.deepEqual(dump(again), expected);
});

Deno.test("StateBus.checkpoint() that fails leaves nothing, and the bus goes on", async () => {
  const storage = new FaultyStorage();
  const bus = await filled({ storage });
  await bus.checkpoint();
  await bus.commit(() => bus.page(1).write(0, Uint8Array.of(5)));
  const before = [...storage.image().keys()];
  storage.fillUp({ bytesLeft: 100 });
  await assert.rejects(bus.checkpoint(), { code: "disk-full" });
  assert.deepEqual([...storage.image().keys()], before);
  assert.equal(bus.page(1).dirty, true);
  assert.match(bus.stats().checkpoints!.failure!, /full/);
  storage.fillUp({ bytesLeft: Infinity });
  // A sync of the checkpoint that fails is not one of the log.
  storage.failSyncs({ after: 0 });
  await assert.rejects(bus.checkpoint(), { code: "io" });
  assert.deepEqual([...storage.image().keys()], before);
  await bus.commit(() => bus.page(1).write(0, Uint8Array.of(6)));
  assert.equal((await bus.checkpoint()).tick, 3);
  assert.equal(bus.stats().checkpoints!.failure, undefined);
  await bus.close();
});

Deno.test("StateBus passes damaged, cut and newer checkpoints over, and says so", async () => {
  const storage = new FaultyStorage();
  const bus = await filled({ storage, checkpoints: { ...NEVER, keep: 9 } });
  for (let i = 2; i < 6; i++) {
    await bus.checkpoint();
    await bus.commit(() => bus.page(1).write(0, Uint8Array.of(i)));
  }
  const expected = dump(bus);
  await bus.close();
  const image = storage.image(), sizeOf = (tick: number) => image.get(checkpointPath(tick))!.length;
  const ways: ((storage: FaultyStorage) => void)[] = [
    (storage) => storage.remove(checkpointPath(4)),
    (storage) => storage.cut(checkpointPath(4), sizeOf(4) - 1),
    (storage) => storage.cut(checkpointPath(4), 0),
  ];
  for (let bit = 0; bit < 8 * sizeOf(4); bit += 8 * 61 + 3) {
    ways.push((storage) => storage.flip(checkpointPath(4), bit));
  }
  for (const [index, damage] of ways.entries()) {
    const damaged = new FaultyStorage({ image });
    damage(damaged);
    await using again = await StateBus.open({ ...OPTIONS, storage: damaged });
    // A byte that nothing reads may flip: there is none in the checkpoint.
    assert.deepEqual([again.opened.checkpoint?.tick, again.opened.state], [3, "whole"], `${index}`);
    assert.equal(again.opened.passedOver?.length ?? 0, index === 0 ? 0 : 1);
    assert.deepEqual(dump(again), expected);
  }
  const all = new FaultyStorage({ image });
  for (let tick = 1; tick <= 4; tick++) all.flip(checkpointPath(tick), 8 * 100);
  await using again = await StateBus.open({ ...OPTIONS, storage: all, readOnly: true });
  assert.deepEqual([again.opened.checkpoint, again.opened.passedOver?.length ?? 0], [undefined, 4]);
  assert.deepEqual(dump(again), expected);
});

Deno.test("StateBus opens from a checkpoint where the log before it is damaged, and knows a log that lost synced ticks", async () => {
  const storage = new FaultyStorage();
  const bus = await filled({ storage, segmentBytes: 65_536, segmentBytesMax: 65_536 });
  for (let i = 0; i < 40; i++) {
    await bus.commit(() => bus.page(1).write(0, new Uint8Array(64).fill(i)));
  }
  await bus.checkpoint();
  await bus.commit(() => bus.page(2).write(0, Uint8Array.of(9)));
  const expected = dump(bus);
  await bus.close();
  const damaged = new FaultyStorage({ image: storage.image() });
  damaged.flip("lane-00/0000000001.log", 8 * 400);
  {
    await using again = await StateBus.open({ ...OPTIONS, storage: damaged });
    assert.deepEqual(dump(again), expected);
    await assert.rejects(async () => {
      const report = await again.verify();
      assert.equal(report.ok, true);
    });
  }
  // The writer was killed, and the log ends before the checkpoint: that is no torn tail.
  const cut = new FaultyStorage({ image: storage.image() });
  const meta = JSON.parse(new TextDecoder().decode(cut.readAll("meta.json")!));
  assert.equal(meta.closed.tick, 42);
  cut.cut("lane-00/0000000001.log", 3000);
  await assert.rejects(StateBus.open({ ...OPTIONS, storage: cut }), { code: "corrupt-log" });
});

Deno.test("StateBus drops or archives the log before the oldest checkpoint, and opens without it", async () => {
  for (const log of ["drop", "archive"] as const) {
    const storage = new MemoryStorage();
    const options = {
      storage,
      segmentBytes: 65_536,
      segmentBytesMax: 65_536,
      checkpoints: { ...NEVER, keep: 2, log },
    };
    const bus = await filled(options);
    for (let i = 0; i < 12; i++) {
      for (let k = 0; k < 4; k++) {
        await bus.commit(() => {
          for (let n = 0; n < 100; n++) bus.page(1).write(0, new Uint8Array(64).fill(i + n));
        });
      }
      await bus.checkpoint();
    }
    const { ticks, logFirst, horizon } = bus.stats().checkpoints!;
    assert.deepEqual([ticks, logFirst, horizon], [[45, 49], 46, 45]);
    await bus.commit(() => bus.page(3).write(0, Uint8Array.of(7)));
    assert.equal((await bus.verify()).ok, true);
    const expected = dump(bus);
    await bus.close();
    assert.ok(!storage.exists("lane-00/0000000001.log"));
    const archived = storage.list("archive/lane-00");
    assert.equal(archived.includes("0000000001.log"), log === "archive");
    {
      await using again = await StateBus.open({ ...OPTIONS, ...options });
      assert.equal(again.opened.checkpoint?.tick, 49);
      assert.deepEqual(dump(again), expected);
      assert.equal((await again.verify()).ok, true);
    }
    for (const name of storage.list("checkpoints")) storage.remove(`checkpoints/${name}`);
    await assert.rejects(StateBus.open({ ...OPTIONS, ...options }), (error: Error) => {
      assert.equal((error as Error & { code: string }).code, "corrupt-log");
      return /dropped/.test(error.message);
    });
  }
});

const CRASH_OPTIONS = {
  ...OPTIONS,
  segmentBytes: 65_536,
  segmentBytesMax: 65_536,
  clock: { nowUs: () => 1_000_000, errorUs: () => 0 },
};

/** A workload with checkpoints and retention; stops where the storage does. */
async function crashWorkload(
  storage: FaultyStorage,
  log: "drop" | "archive",
  states?: Map<number, unknown>,
): Promise<number> {
  let acknowledged = 0;
  const note = (bus: StateBus) => {
    acknowledged = bus.tickNumber;
    states?.set(acknowledged, dump(bus));
  };
  const checkpoints = { ...NEVER, keep: 1, log };
  try {
    const bus = await StateBus.open({ ...CRASH_OPTIONS, storage, checkpoints });
    for (let i = 0; i < 3; i++) bus.createPage({ size: 530_000, name: `page ${i}` });
    await bus.commit();
    note(bus);
    for (let round = 0; round < 2; round++) {
      const made = bus.checkpoint();
      made.catch(() => {});
      for (let i = 0; i < 3; i++) {
        await bus.commit(() => {
          bus.page(1 + i % 3).write(0, new Uint8Array(30_000).fill(10 * round + i + 1));
          if (i === 1) bus.createPage({ size: 10, name: `later ${round}` });
        });
        note(bus);
        await turn();
      }
      await made;
    }
    await bus.close();
  } catch (error) {
    assert.equal((error as Error).name, "MmsbError", String((error as Error).stack));
  }
  return acknowledged;
}

for (const log of ["drop", "archive"] as const) {
  Deno.test(`StateBus.checkpoint() loses nothing in a crash between any two steps (${log})`, async () => {
    const states = new Map<number, unknown>([[0, new Map()]]);
    const whole = new FaultyStorage({ seed: 1 });
    await crashWorkload(whole, log, states);
    assert.ok(whole.steps > 60, `${whole.steps} steps`);
    for (let after = 0; after <= whole.steps; after++) {
      const storage = new FaultyStorage({ seed: after });
      storage.stop({ after });
      const acknowledged = await crashWorkload(storage, log);
      for (const keep of ["none", "all", "some"] as const) {
        const left = storage.crash({ keep });
        await using bus = await StateBus.open({
          ...CRASH_OPTIONS,
          storage: left,
          checkpoints: { ...NEVER, keep: 1, log },
        });
        const { tick } = bus.opened;
        assert.ok(tick >= acknowledged, `step ${after}, ${keep}: ${tick} of ${acknowledged}`);
        assert.deepEqual(dump(bus), states.get(tick), `step ${after}, ${keep}, tick ${tick}`);
        await bus.close();
        assert.ok(left.list("checkpoints").every((name) => name.endsWith(".ckpt")));
      }
    }
  });
}

Deno.test("verifyLog() and inspectLog() know checkpoints, also behind a log whose beginning was dropped", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-checkpoint-" });
  try {
    const options = {
      dir,
      segmentBytes: 65_536,
      segmentBytesMax: 65_536,
      checkpoints: { ...NEVER, keep: 2, log: "drop" as const },
    };
    const bus = await filled(options);
    for (let i = 0; i < 5; i++) {
      for (let k = 0; k < 300; k++) {
        bus.page(2).write(0, new Uint8Array(64).fill(i + k));
        await bus.tick();
      }
      await bus.checkpoint();
    }
    const { ticks } = bus.stats().checkpoints!;
    await bus.close();
    const audit = await verifyLog(dir);
    assert.deepEqual([audit.problems, audit.checkpoints], [[], 2]);
    const seen = await inspectLog(dir);
    assert.deepEqual(seen.checkpoints.map(({ tick }) => tick), ticks);
    assert.equal(seen.ticks!.first > 1, true);
    assert.deepEqual([seen.pages, seen.epochs[0].page, seen.epochs[0].epoch], [4, 2, 1500]);
    const file = `${dir}/${checkpointPath(ticks[1])}`;
    const image = await Deno.readFile(file);
    image[image.length >> 1] ^= 1;
    await Deno.writeFile(file, image);
    const damaged = await verifyLog(dir);
    assert.deepEqual(damaged.problems.map(({ fault, file, tick }) => ({ fault, file, tick })), [
      { fault: "checkpoint", file: checkpointPath(ticks[1]), tick: ticks[1] },
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("auditCheckpoints() finds a whole checkpoint that is not the log's state", async () => {
  const storage = new MemoryStorage();
  const bus = await filled({ storage });
  // Bytes that no delta made, as through a cast of a view: the image has them, the log has not.
  (bus.page(2).view() as unknown as Uint8Array)[5] = 1;
  await bus.checkpoint();
  await bus.close();
  const found: unknown[] = [];
  const good = auditCheckpoints(storage, readMeta(storage), (path, _, message) => {
    found.push([path, message]);
  });
  assert.deepEqual([good, found], [0, [[
    checkpointPath(1),
    "page 2 is not as the log has it at tick 1",
  ]]]);
});

/** 24 MiB of pages, every third of which does not shrink; the others hold little. */
async function fillMuch(bus: StateBus): Promise<void> {
  const random = new Uint8Array(2 ** 16);
  for (let i = 0, state = 1; i < random.length; i++) {
    state = Math.imul(state, 1_103_515_245) + 12_345 | 0;
    random[i] = state >>> 16;
  }
  for (let i = 0; i < 24; i++) bus.createPage({ size: 2 ** 20 - 7 * i });
  await bus.commit();
  for (const page of bus.pages()) {
    if (page.size < 2 ** 16) continue;
    if (page.id % 3 > 0) page.write(page.id, random.subarray(0, 1000));
    else {for (let at = 0; at + 2 ** 16 <= page.size; at += 2 ** 16) {
        page.write(at, shuffled(random, at));
      }}
  }
  await bus.commit();
}

for (const pack of ["auto", "always", "never"] as const) {
  Deno.test(`StateBus.checkpoint() of much state is packed beside this thread, or not (${pack})`, async () => {
    const storage = new MemoryStorage();
    const bus = await filled({ storage, checkpoints: { ...NEVER, pack } });
    await fillMuch(bus);
    const report = await bus.checkpoint(), share = report.storedBytes / report.bytes;
    // What `auto` packs is left to the disk and the machine.
    if (pack === "always") assert.ok(share > 0.3 && share < 0.5, `${share}`);
    else assert.ok(share > 0.3 && share < 1.01, `${share}`);
    if (pack === "never") assert.ok(share >= 1, `${share}`);
    const expected = dump(bus);
    await bus.close();
    const again = await StateBus.open({ ...OPTIONS, storage });
    assert.deepEqual([again.opened.checkpoint?.tick, again.opened.rows], [report.tick, 0]);
    for (const [id, page] of dump(again)) assert.deepEqual(page, expected.get(id));
    await again.close();
  });
}

Deno.test("StateBus.checkpoint() is packed where the state is small or the disk is slow", async () => {
  const small = await filled({ storage: new MemoryStorage(), checkpoints: NEVER });
  small.createPage({ size: 2 ** 20 });
  await small.commit();
  assert.ok((await small.checkpoint()).storedBytes < 2 ** 16);
  await small.close();
  const large = async (disk: SlowDisk, pack: "always" | "auto") => {
    const checkpoints = { ...NEVER, pack };
    const bus = await filled({ storage: disk.storage, memoryLimitBytes: 2 ** 27, checkpoints });
    for (let i = 0; i < 64; i++) bus.createPage({ size: 2 ** 20 });
    await bus.commit();
    const report = await bus.checkpoint();
    await bus.close();
    return report;
  };
  const quick = new SlowDisk();
  await large(quick, "always");
  // Slower than packing on any machine: no sync ends before all chunks are there, of which table and footer follow.
  const slow = new SlowDisk();
  slow.holds = () => slow.writes < quick.writes - 2;
  const { bytes, storedBytes } = await large(slow, "auto");
  // Until the disk has enough to do, chunks may go there as they are.
  assert.ok(bytes > 2 ** 26 && storedBytes < 2 ** 25, `${storedBytes}`);
});

Deno.test("StateBus.checkpoint() tells of a sync that fails on its way, and leaves nothing", async () => {
  const disk = new SlowDisk(), { storage } = disk;
  disk.sync = () => {
    throw new MmsbError("io", "Cannot sync: no disk");
  };
  const bus = await filled({ storage, checkpoints: { ...NEVER, pack: "never" } });
  await fillMuch(bus);
  await assert.rejects(bus.checkpoint(), { code: "io" });
  assert.deepEqual(storage.list("checkpoints"), []);
  await bus.close();
});

/** A store that takes a while for each sync of a checkpoint. */
class SlowDisk {
  readonly storage = new MemoryStorage();
  /** Writes to checkpoints. */
  writes = 0;
  /** As long as this says so, no sync ends. */
  holds: () => boolean = () => false;
  /** What a sync does in the end. */
  sync: () => void = () => {};

  constructor() {
    const { storage } = this, open = storage.open.bind(storage);
    storage.open = (path, mode) => {
      const file = open(path, mode);
      if (!path.startsWith("checkpoints/")) return file;
      const writeAsync = file.writeAsync.bind(file);
      file.writeAsync = (bytes, at) => {
        this.writes++;
        return writeAsync(bytes, at);
      };
      file.syncAsync = async () => {
        do await new Promise((resolve) => void setTimeout(resolve, 10)); while (this.holds());
        this.sync();
      };
      return file;
    };
  }
}

/** Other bytes for each place, so that one piece says nothing of the next. */
function shuffled(bytes: Uint8Array, seed: number): Uint8Array {
  return bytes.map((byte, i) => byte ^ Math.imul(seed + i, 0x9e37_79b1) >>> 13);
}
