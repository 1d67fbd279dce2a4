import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { isMmsbError } from "../base/mod.ts";
import {
  auditLog,
  FaultyStorage,
  MemoryStorage,
  readMeta,
  salvageStorage,
  type Storage,
} from "../log/mod.ts";
import { type OpenOptions, StateBus } from "./mod.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const PAGES = 6;
const PAGE_BYTES = 400;
/** Small segments, so that many are closed. */
const OPTIONS: OpenOptions = {
  segmentBytes: 4096,
  segmentBytesMax: 4096,
  shards: 2,
  memoryLimitBytes: 2 ** 24,
};

/** Bytes and epochs of all pages, by name. */
function stateOf(bus: StateBus): Record<string, unknown> {
  const pages = [...bus.pages()].sort((a, b) => a.id - b.id);
  return Object.fromEntries(pages.map((page) => [
    page.id,
    [page.epoch, page.name, page.shard, [...page.metadata.keys()].join(), page.read().join()],
  ]));
}

/** A bus that is written to by a rule of its own, and what it was after each tick. */
class Life {
  readonly states: Record<string, unknown>[] = [{}];
  acknowledged = 0;
  bus!: StateBus;

  async open(storage: Storage, options: OpenOptions = {}): Promise<this> {
    this.bus = await StateBus.open({ ...OPTIONS, storage, ...options });
    return this;
  }

  /** One tick: two pages are overwritten, now and then one dies, one is resized, one is born. */
  async tick(): Promise<void> {
    const { bus } = this, tick = bus.tickNumber + 1;
    const pages = [...bus.pages()];
    if (pages.length < PAGES) {
      bus.createPage({ size: PAGE_BYTES, name: tick % 2 ? `page ${tick}` : "" });
    }
    for (const page of pages.slice(tick % 3, tick % 3 + 2)) {
      const bytes = Uint8Array.from({ length: page.size }, (_, i) => i * tick % 251);
      page.write(0, bytes, { source: `feed-${tick % 3}`, intent: tick % 5 ? "" : "open" });
      page.combine("f64", "add", 8, tick / 3, { timeUs: tick });
    }
    if (tick % 17 === 0) pages[0].delete();
    else if (tick % 7 === 0) pages[0].resize(100 + tick % 300);
    else if (tick % 5 === 0) pages[0]?.setMetadata({ [`at ${tick}`]: Uint8Array.of(1) });
    const report = await bus.tick();
    this.states[report.tick] = stateOf(bus);
    report.durable.then(() => this.acknowledged = report.tick, () => {});
    await Promise.resolve();
  }

  async ticks(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.tick();
  }
}

Deno.test("StateBus.compact() merges while ticks go on, and every state from the horizon on stays", async () => {
  const storage = new MemoryStorage(), life = await new Life().open(storage);
  await life.ticks(200);
  let done = false, meanwhile = 0;
  const compaction = life.bus.compact().finally(() => done = true);
  while (!done) {
    await life.tick();
    meanwhile++;
    await turn();
  }
  const report = await compaction;
  assert.ok(report.merged && meanwhile > 2, `${meanwhile} ticks`);
  assert.ok(report.bytes.before > 20 * report.bytes.after);
  assert.ok(report.horizon > 150 && report.horizon <= 200);
  assert.equal(life.bus.horizon, report.horizon);
  assert.equal((await life.bus.verify()).ok, true);
  for (let tick = report.horizon; tick <= life.bus.tickNumber; tick++) {
    await using past = await life.bus.at({ tick });
    assert.deepEqual(stateOf(past), life.states[tick], `tick ${tick}`);
  }
  await assert.rejects(life.bus.at({ tick: report.horizon - 1 }), { code: "out-of-bounds" });
  // Later segments are merged with what was merged before.
  await life.ticks(60);
  const again = await life.bus.compact({ beforeTick: 240 });
  assert.ok(again.merged && again.horizon > report.horizon && again.horizon < 240);
  assert.equal((await life.bus.verify()).ok, true);
  const last = life.bus.tickNumber;
  await life.bus.close();
  const { bus } = await life.open(storage);
  assert.deepEqual(stateOf(bus), life.states[last]);
  await life.ticks(5);
  assert.equal((await bus.verify()).ok, true);
  assert.equal(bus.horizon, again.horizon);
  await bus.close();
});

Deno.test("StateBus.history() shows merged rows with what they stand for", async () => {
  const life = await new Life().open(new MemoryStorage());
  await life.ticks(150);
  const before = new Map<number, { tick: number; epoch: number; after: Uint8Array }[]>();
  const pages = [...life.bus.pages()];
  for (const { id } of pages) before.set(id, await Array.fromAsync(life.bus.history(id)));
  const { horizon } = await life.bus.compact();
  for (const page of pages) {
    const old = before.get(page.id)!, now = await Array.fromAsync(life.bus.history(page));
    const late = now.filter(({ tick }) => tick > horizon);
    assert.deepEqual(late, old.filter(({ tick }) => tick > horizon));
    const merged = now.filter(({ tick }) => tick <= horizon);
    const lastEpoch = old.filter(({ tick }) => tick <= horizon).at(-1)?.epoch ?? 0;
    assert.equal(merged.reduce((sum, { advance = 1 }) => sum + advance, 0), lastEpoch);
    assert.equal(merged.at(-1)?.epoch ?? 0, lastEpoch);
    if (lastEpoch > 1) assert.ok(merged.length < lastEpoch && merged[0].source !== "");
  }
  await life.bus.close();
});

Deno.test("StateBus.compact() and checkpoints leave each other a log that opens", async () => {
  const storage = new MemoryStorage(), life = await new Life().open(storage);
  await life.ticks(80);
  await life.bus.checkpoint();
  await life.ticks(80);
  // One is made while the log is merged: it waits.
  const [report, checkpoint] = await Promise.all([life.bus.compact(), life.bus.checkpoint()]);
  assert.ok(report.merged && checkpoint.tick > report.horizon);
  assert.deepEqual(storage.list("checkpoints").length, 1, "the early one is of no use any more");
  await life.ticks(10);
  const last = life.bus.tickNumber;
  await life.bus.close();
  await life.open(storage);
  assert.equal(life.bus.opened.checkpoint?.tick, checkpoint.tick);
  assert.deepEqual(life.bus.opened.passedOver ?? [], []);
  assert.deepEqual(stateOf(life.bus), life.states[last]);
  assert.equal((await life.bus.verify()).ok, true);
  await life.bus.close();
  // Without the checkpoint the merged log says the same.
  for (const name of storage.list("checkpoints")) storage.remove(`checkpoints/${name}`);
  await life.open(storage);
  assert.deepEqual(stateOf(life.bus), life.states[last]);
  await life.bus.close();
});

Deno.test("StateBus.compact() lets readers stay, and tells them what is gone", async () => {
  const storage = new MemoryStorage(), life = await new Life().open(storage);
  await life.ticks(60);
  const reader = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  const seen = stateOf(reader);
  await life.ticks(100);
  const { horizon } = await life.bus.compact();
  assert.deepEqual(stateOf(reader), seen);
  await assert.rejects(reader.verify(), { code: "out-of-bounds" });
  await assert.rejects(reader.at({ tick: 50 }), { code: "out-of-bounds" });
  await reader.close();
  const later = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  assert.deepEqual(stateOf(later), life.states[life.bus.tickNumber]);
  assert.equal((await later.verify()).ok, true);
  await using past = await later.at({ tick: horizon });
  assert.deepEqual(stateOf(past), life.states[horizon]);
  await later.close();
  await life.bus.close();
});

Deno.test("StateBus.compact() cut off by a power loss loses no acknowledged tick", async () => {
  const origin = new MemoryStorage(), first = await new Life().open(origin);
  await first.ticks(60);
  await first.bus.close();
  const image = origin.image();
  let pendings = 0;
  const run = async (storage: FaultyStorage, life: Life): Promise<void> => {
    await life.open(storage);
    let done = false;
    const compaction = life.bus.compact().finally(() => done = true);
    compaction.catch(() => {});
    while (!done) {
      await life.tick();
      await turn();
    }
    await compaction;
    await life.ticks(3);
    await life.bus.close();
  };
  const probe = new FaultyStorage({ image });
  await run(probe, Object.assign(new Life(), { states: [...first.states] }));
  const { steps } = probe;
  for (let after = 5; after < steps; after += 3) {
    const storage = new FaultyStorage({ image, seed: after });
    const life = Object.assign(new Life(), { states: [...first.states], acknowledged: 60 });
    storage.stop({ after });
    await run(storage, life).catch((error) => {
      assert.ok(isMmsbError(error) && ["io", "read-only"].includes(error.code), String(error));
    });
    await life.bus?.close().catch(() => {});
    const { acknowledged } = life;
    for (const fate of [{ keep: "none" }, { keep: "all" }, { seed: after }] as const) {
      const crash = storage.crash(fate);
      if (readMeta(crash)!.pending !== undefined) pendings++;
      const { bus } = await new Life().open(crash);
      const what = `step ${after} of ${steps}, ${JSON.stringify(fate)}`;
      assert.ok(bus.tickNumber >= acknowledged, `${what}: ${bus.tickNumber} of ${acknowledged}`);
      assert.deepEqual(stateOf(bus), life.states[bus.tickNumber], what);
      assert.equal((await bus.verify()).ok, true, what);
      await bus.close();
    }
  }
  assert.ok(pendings > 3, `${pendings} crashes in the middle of a switch`);
});

/** Fails where a bus is not what it was after its tick, or at an earlier one that can still be had. */
async function checkPast(bus: StateBus, states: readonly unknown[]): Promise<void> {
  const { tickNumber, horizon } = bus;
  assert.deepEqual(stateOf(bus), states[tickNumber]);
  assert.equal((await bus.verify()).ok, true);
  for (let tick = horizon; tick <= tickNumber; tick += 2) {
    await using past = await bus.at({ tick });
    assert.deepEqual(stateOf(past), states[tick], `tick ${tick}`);
  }
  for (const page of bus.pages()) {
    const [last] = await Array.fromAsync(bus.history(page, { reverse: true, limit: 1 }));
    assert.equal(last?.epoch ?? 0, page.epoch);
    assert.equal(bus.pageAt(page, { tick: tickNumber }).epoch, page.epoch);
  }
}

Deno.test("StateBus.compact() hides nothing while merged segments get their names", async () => {
  const storage = new MemoryStorage(), life = await new Life().open(storage);
  await life.ticks(120);
  await using reader = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  let done = false, pendings = 0;
  const compaction = life.bus.compact().finally(() => done = true);
  while (!done) {
    if (readMeta(storage)?.pending !== undefined) {
      pendings++;
      for (const bus of [life.bus, reader]) await checkPast(bus, life.states);
      await using other = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
      await checkPast(other, life.states);
    }
    await turn();
  }
  assert.ok((await compaction).merged && pendings > 0, `${pendings} looks in the middle`);
  for (const bus of [life.bus, reader]) await checkPast(bus, life.states);
  await life.bus.close();
});

Deno.test("StateBus.follow(), history() and refresh() say what a compaction took from under them", async () => {
  const storage = new MemoryStorage(), life = await new Life().open(storage);
  await life.ticks(30);
  const reader = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  const late = await StateBus.open({ ...OPTIONS, storage, readOnly: true });
  await life.ticks(130);
  await late.refresh();
  const followers = [life.bus, late].map((bus) => bus.follow({ fromTick: 5, pollMs: 1 }));
  for (const follower of followers) await follower.next();
  const page = late.page([...late.pages()][0].id);
  const history = late.history(page);
  await history.next();
  const { horizon } = await life.bus.compact();
  const isGone = (error: unknown) =>
    isMmsbError(error, "out-of-bounds") && error.values.horizon === horizon;
  for (const follower of followers) await assert.rejects(Array.fromAsync(follower), isGone);
  await assert.rejects(reader.refresh(), isGone);
  assert.equal(reader.tickNumber, 30);
  // What was read ahead may still be given.
  await Array.fromAsync(history).catch((error) => assert.ok(isGone(error), String(error)));
  await life.ticks(3);
  await late.refresh();
  assert.deepEqual(stateOf(late), life.states[163]);
  for (const bus of [reader, late, life.bus]) await bus.close();
});

Deno.test("StateBus.compact() on a disk that fills up goes on where it stopped", async () => {
  const origin = new MemoryStorage(), first = await new Life().open(origin);
  await first.ticks(60);
  await first.bus.close();
  let halves = 0;
  for (let bytesLeft = 500; bytesLeft < 9000; bytesLeft += 500) {
    const storage = new FaultyStorage({ image: origin.image() });
    const life = await Object.assign(new Life(), { states: [...first.states] }).open(storage);
    await life.ticks(5);
    await turn();
    storage.fillUp({ bytesLeft });
    const isMerged = await life.bus.compact().then(({ merged }) => merged, (error) => {
      assert.ok(isMmsbError(error, "disk-full"), String(error));
      return false;
    });
    storage.fillUp({ bytesLeft: Infinity });
    if (!isMerged && life.bus.horizon > 0) halves++;
    await checkPast(life.bus, life.states);
    await life.bus.compact();
    assert.ok(life.bus.horizon > 0 && readMeta(storage)!.pending === undefined);
    await life.ticks(5);
    await life.bus.checkpoint();
    await checkPast(life.bus, life.states);
    await life.bus.close();
  }
  assert.ok(halves > 3, `${halves} were stopped in the middle`);
});

/** A directory whose writer was killed in the middle of a switch, and what it was. */
async function killedInSwitch(): Promise<{ storage: MemoryStorage; life: Life }> {
  const storage = new FaultyStorage(), life = await new Life().open(storage);
  await life.ticks(60);
  let killed: MemoryStorage | undefined;
  const compaction = life.bus.compact().finally(() => killed ??= new MemoryStorage());
  while (killed === undefined) {
    if (readMeta(storage)?.pending !== undefined) killed = storage.crash({ keep: "all" });
    await turn();
  }
  await compaction;
  await life.bus.close();
  assert.notEqual(readMeta(killed)?.pending, undefined);
  return { storage: killed, life };
}

Deno.test("auditLog() and salvageStorage() see the merged log of a writer killed in a switch", async () => {
  const { storage, life } = await killedInSwitch();
  assert.deepEqual(auditLog(storage).problems.filter(({ kind }) => kind === "damage"), []);
  const target = new MemoryStorage(), report = await salvageStorage(storage, target);
  assert.deepEqual([report.ok, report.lastTick, report.ticksLost], [true, 60, []]);
  const { bus } = await new Life().open(target);
  assert.deepEqual(stateOf(bus), life.states[60]);
  await bus.close();
});

Deno.test("StateBus.open() takes nothing away where a merged segment is lost before it got its name", async () => {
  const { storage } = await killedInSwitch();
  const { first } = readMeta(storage)!.pending!;
  storage.remove(`lane-00/${String(first).padStart(10, "0")}.log`);
  storage.remove("lane-00/merged-000000.new");
  const before = storage.list("lane-00");
  await assert.rejects(new Life().open(storage), (error) => {
    return isMmsbError(error, "corrupt-log") && error.values.path === "lane-00/merged-000000.new";
  });
  assert.deepEqual(storage.list("lane-00"), before);
});

Deno.test("StateBus.close() waits for a compaction, and refuses one that waits for a checkpoint", async () => {
  for (const waits of [true, false]) {
    const storage = new MemoryStorage(), life = await new Life().open(storage);
    await life.ticks(120);
    const checkpoint = waits ? life.bus.checkpoint() : undefined;
    let settled = 0;
    const compactions = [life.bus.compact(), life.bus.compact()].map((compaction) =>
      compaction.then(({ merged }) => merged, (error) => {
        assert.ok(isMmsbError(error, "closed"), String(error));
        return error.code;
      }).finally(() => settled++)
    );
    if (!waits) await turn();
    await life.bus.close();
    assert.equal(settled, 2, "nothing goes on behind the close");
    await checkpoint;
    assert.deepEqual(
      await Promise.all(compactions),
      waits ? ["closed", "closed"] : [true, "closed"],
    );
    await life.open(storage);
    await checkPast(life.bus, life.states);
    await life.bus.close();
  }
});

Deno.test("StateBus.compact() refuses what it cannot do, and does nothing where nothing is to be had", async () => {
  await using memory = await StateBus.open();
  await assert.rejects(memory.compact(), { code: "usage" });
  const life = await new Life().open(new MemoryStorage());
  assert.deepEqual((await life.bus.compact()).merged, false);
  await life.ticks(2);
  assert.deepEqual((await life.bus.compact()).merged, false);
  for (const beforeTick of [0, -1, NaN, "3", 3n]) {
    await assert.rejects(life.bus.compact({ beforeTick: beforeTick as number }), (error) => {
      return isMmsbError(error, "out-of-bounds") || isMmsbError(error, "usage");
    });
  }
  await assert.rejects(life.bus.compact({ before: 3 } as never), { code: "usage" });
  await assert.rejects(life.bus.compact(null as never), { code: "usage" });
  await life.bus.close();
  await assert.rejects(life.bus.compact(), { code: "closed" });
});
