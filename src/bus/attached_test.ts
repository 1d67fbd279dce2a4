/** A bus attached to another process's pages: ticks as they come, whole, and what happens when it dies. */

import assert from "node:assert/strict";
import { mappingUnavailable } from "../physical/mod.ts";
import { struct, table } from "../schema/mod.ts";
import { StateBus } from "./mod.ts";

const UNAVAILABLE = mappingUnavailable();
const SKIPPED = UNAVAILABLE === undefined ? "" : ` (skipped: ${UNAVAILABLE})`;
const MAPPED = { arena: "mmap", memoryLimitBytes: 2 ** 24 } as const;
const PAGES = 24;
const PAGE_BYTES = 2000;

// Started with a directory this file is the other process: it ticks until it is killed, and each
// tick fills every page with one value and makes and deletes a page.
if (Deno.args[0] === "write-until-killed") await writeUntilKilled(Deno.args[1], Deno.args[2]);

async function writeUntilKilled(dir: string, how: string): Promise<never> {
  const bus = await StateBus.open({ ...MAPPED, dir, durability: "buffered" });
  const pages = Array.from(
    { length: PAGES },
    (_, i) => bus.find(`page ${i}`) ?? bus.createPage({ size: PAGE_BYTES, name: `page ${i}` }),
  );
  const bytes = new Uint8Array(PAGE_BYTES);
  for (let tick = bus.tickNumber + 1;; tick++) {
    bytes.fill(tick % 251);
    for (const page of pages) page.write(0, bytes);
    bus.find("passing")?.delete();
    if (tick % 2 === 0) bus.createPage({ size: tick % 5000 + 1, name: "passing" });
    await bus.tick();
    if (tick % 64 === 0) console.log(tick);
    // Timers and signals get their turn.
    if (tick % (how === "" ? 8 : 512) === 0) await new Promise((resolve) => setTimeout(resolve));
  }
}

class Writer implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;

  constructor(dir: string, how = "") {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", import.meta.filename!, "write-until-killed", dir, how],
      stdout: "piped",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Waits until it has written for some time. */
  async running(): Promise<void> {
    const { done } = await this.#lines.read();
    assert.equal(done, false, "the writer ended by itself");
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    while (!(await this.#lines.read()).done);
  }

  signal(name: Deno.Signal): void {
    this.#child.kill(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.kill();
    } catch { /* It was killed before. */ }
  }
}

function test(name: string, fn: (dir: string) => Promise<void>): void {
  Deno.test({
    name: name + SKIPPED,
    ignore: UNAVAILABLE !== undefined,
    async fn() {
      const dir = Deno.makeTempDirSync();
      try {
        await fn(dir);
      } finally {
        Deno.removeSync(dir, { recursive: true });
      }
    },
  });
}

function attach(dir: string): Promise<StateBus> {
  return StateBus.open({ dir, readOnly: true, arena: "mmap" });
}

/** Reads all pages at one tick and claims that they are of it. */
function checkSnapshot(bus: StateBus): number {
  return bus.snapshot((at) => {
    for (let i = 0; i < PAGES; i++) {
      const bytes = at.read(at.find(`page ${i}`)!);
      assert.ok(bytes.every((byte) => byte === at.tick % 251), `page ${i} is of tick ${at.tick}`);
      assert.equal(at.epoch(at.find(`page ${i}`)!), at.tick);
    }
    assert.equal(at.find("passing") !== undefined, at.tick % 2 === 0);
    return at.tick;
  });
}

test("StateBus attached to another process sees whole ticks, one after the other", async (dir) => {
  await using writer = new Writer(dir);
  await writer.running();
  await using bus = await attach(dir);
  assert.deepEqual(bus.opened.arena, { kind: "mmap", adopted: true, reason: "" });
  assert.deepEqual([bus.live, bus.readOnly], [true, true]);
  const page = bus.find("page 7")!, target = new Uint8Array(PAGE_BYTES);
  const ticks = new Set<number>();
  let last = 0;
  const ended = performance.now() + 400;
  while (performance.now() < ended) {
    for (let i = 0; i < 20; i++) {
      const tick = checkSnapshot(bus);
      assert.ok(tick >= last);
      ticks.add(last = tick);
      page.readInto(target);
      assert.ok(target.every((byte) => byte === target[0]), "one page is of one tick");
      const passing = bus.find("passing");
      if (passing !== undefined) {
        try {
          assert.ok(passing.read().every((byte) => byte === 0));
        } catch (error) {
          assert.equal((error as { code: string }).code, "invalid-handle");
        }
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.ok(ticks.size > 5, `${ticks.size} ticks seen`);
  assert.equal((await bus.verify()).ok, true);
  assert.ok(bus.opened.tick > 0 && bus.opened.tick <= last);
  assert.throws(() => bus.createPage(), { code: "read-only" });
  assert.throws(() => page.write(0, target), { code: "read-only" });
  await assert.rejects(bus.tick(), { code: "read-only" });
  assert.equal(bus.stats().pages >= PAGES, true);
  let entries = 0;
  for await (const entry of bus.history(page)) if (entry.tick > 0 && ++entries > 10) break;
  assert.equal(entries, 11);
});

test("StateBus attached to a writer that never pauses gets its time, and the writer goes on", async (dir) => {
  await using writer = new Writer(dir, "without a pause");
  await writer.running();
  await using bus = await attach(dir);
  let tries = 0;
  for (let round = 0; round < 5; round++) {
    const before = bus.tickNumber;
    const tick = bus.snapshot((at) => {
      tries++;
      const first = at.read(at.find("page 0")!, 0, 1)[0];
      for (const started = performance.now(); performance.now() - started < 12;);
      assert.equal(at.read(at.find("page 1")!, 0, 1)[0], first);
      return at.tick;
    });
    assert.ok(tick >= before, `tick ${tick} after ${before}`);
  }
  assert.ok(tries > 10, "ticks came between");
  // A reading that takes longer than a writer waits is told so, unless its log makes it pause.
  let refusal: unknown;
  for (let round = 0; round < 5 && refusal === undefined; round++) {
    try {
      bus.snapshot(() => {
        for (const started = performance.now(); performance.now() - started < 100;);
      });
    } catch (error) {
      refusal = error;
    }
  }
  if (refusal !== undefined) {
    assert.equal((refusal as { code: string }).code, "transaction-conflict");
  }
  await writer.running();
});

test("StateBus attached to a writer that is killed again and again never shows half a tick", async (dir) => {
  let reader: StateBus | undefined;
  let refused = 0, tick = 0;
  for (let round = 0; round < 5; round++) {
    await using writer = new Writer(dir);
    await writer.running();
    reader ??= await attach(dir);
    // The same reader goes over to each new writer by itself.
    tick = Math.max(tick, checkSnapshot(reader));
    assert.equal(reader.live, true);
    for (let i = 0; i < round * 40; i++) tick = checkSnapshot(reader);
    await writer.kill();
    assert.equal(reader.live, false);
    try {
      assert.ok(checkSnapshot(reader) >= tick);
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      assert.equal(code, "closed", message);
      assert.match(message, /died in the middle of a tick/);
      refused++;
    }
    // Who comes now reads the log.
    await using late = await attach(dir);
    assert.equal(late.opened.arena!.kind, "shared");
    assert.match(late.opened.arena!.reason, /its writer died/);
    assert.ok(checkSnapshot(late) >= tick);
  }
  await reader!.close();
  assert.ok(refused <= 5);
});

test("StateBus attached to a writer that died in the middle of a tick refuses at once, until another comes", async (dir) => {
  const writer = await StateBus.open({ ...MAPPED, dir });
  const page = writer.createPage({ size: 8, name: "page" });
  await writer.commit(() => page.write(0, Uint8Array.of(1)));
  await using reader = await attach(dir);
  assert.equal(reader.find("page")!.read(0, 1)[0], 1);
  // As a writer leaves it that is killed: the sequence odd, the lock gone.
  await writer.close();
  using file = Deno.openSync(`${dir}/arena`, { read: true, write: true });
  file.seekSync(64, Deno.SeekMode.Start);
  const words = new Int32Array(2);
  file.readSync(new Uint8Array(words.buffer));
  words[0] |= 1;
  words[1] = 2;
  file.seekSync(64, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array(words.buffer));
  const started = performance.now();
  assert.throws(() => reader.find("page"), { code: "closed" });
  assert.throws(() => reader.tickNumber, { code: "closed" });
  assert.ok(performance.now() - started < 2000, "it does not wait for nothing");
  assert.equal(reader.live, false);
  {
    await using late = await attach(dir);
    assert.deepEqual([late.opened.arena!.kind, late.find("page")!.read(0, 1)[0]], ["shared", 1]);
  }
  await using next = await StateBus.open({ ...MAPPED, dir });
  assert.deepEqual([next.opened.arena!.adopted, next.tickNumber], [false, 1]);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(reader.find("page")!.read(0, 1)[0], 1);
  await next.commit(() => next.find("page")!.write(0, Uint8Array.of(2)));
  assert.deepEqual([reader.live, reader.tickNumber, reader.find("page")!.read(0, 1)[0]], [
    true,
    2,
    2,
  ]);
});

test("StateBus attached waits for a writer that is stopped in a tick, not for ever", async (dir) => {
  await using writer = new Writer(dir);
  await writer.running();
  await using bus = await attach(dir);
  for (let round = 0; round < 20; round++) {
    writer.signal("SIGSTOP");
    try {
      const started = performance.now();
      try {
        bus.find("page 1")!.read();
      } catch (error) {
        assert.equal((error as { code: string }).code, "transaction-conflict");
        assert.ok(performance.now() - started < 20_000);
        break;
      }
    } finally {
      writer.signal("SIGCONT");
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  checkSnapshot(bus);
});

test("StateBus attached sees pages, names and metadata that come, and growth of everything", async (dir) => {
  await using writer = await StateBus.open({ ...MAPPED, dir, durability: "buffered" });
  await using bus = await attach(dir);
  assert.deepEqual([...bus.pages()], []);
  for (let round = 0; round < 6; round++) {
    const pages = Array.from({ length: 700 }, (_, i) => {
      const name = `${round} ${i}`;
      return writer.createPage({ size: 1500, name, metadata: { i: Uint8Array.of(i) } });
    });
    assert.equal(bus.find(`${round} 0`), undefined, "staged is not there yet");
    assert.throws(() => bus.page(pages[0].id), { code: "invalid-handle" });
    for (const page of pages) page.write(1499, Uint8Array.of(round + 1));
    await writer.tick();
    assert.equal([...bus.pages()].length, 700 * (round + 1));
    for (const i of [0, 350, 699]) {
      const page = bus.find(`${round} ${i}`)!;
      assert.equal(page.id, pages[i].id);
      assert.deepEqual([page.name, page.size, page.epoch], [`${round} ${i}`, 1500, 1]);
      assert.equal(page.read(1499)[0], round + 1);
      assert.equal(page.view()[1499], round + 1);
      assert.deepEqual(page.metadata, new Map([["i", Uint8Array.of(i)]]));
    }
  }
  const first = bus.find("0 0")!;
  const view = first.view();
  await writer.commit(() => writer.find("0 0")!.write(0, Uint8Array.of(77)));
  assert.equal(view[0], 77);
  await writer.commit(() => writer.find("0 0")!.delete());
  assert.equal(first.state, "deleted");
  assert.throws(() => first.read(), { code: "invalid-handle" });
  assert.deepEqual([bus.stats().pages, bus.stats().tick], [700 * 6 - 1, 8]);
  assert.equal((await bus.verify()).ok, true);
  writer.createPage({ size: 8 });
  await writer.commit(() => writer.find("1 1")!.write(0, Uint8Array.of(5)));
  assert.equal(bus.digest(), writer.digest());
  await using past = await bus.at({ tick: 8 });
  assert.notEqual(past.digest(), bus.digest());
});

test("StateBus attached reads structs and tables, at one tick inside a snapshot", async (dir) => {
  const Quote = struct({ bid: "f64", ask: "f64" }), Rows = table({ delay: "i16" });
  await using writer = await StateBus.open({ ...MAPPED, dir, durability: "buffered" });
  await using bus = await attach(dir);
  const quote = writer.create(Quote, { name: "quote" });
  const rows = writer.createTable(Rows, { name: "rows" });
  for (let round = 1; round < 5; round++) {
    quote.set({ bid: round, ask: 2 * round });
    rows.append({ delay: new Int16Array(20_000).fill(round) });
    await writer.tick();
    const seen = bus.snapshot(() => {
      const column = [...bus.table(Rows, "rows").column("delay")];
      return [
        bus.struct(Quote, "quote").get(),
        column.reduce((sum, { length }) => sum + length, 0),
      ];
    });
    assert.deepEqual(seen, [{ bid: round, ask: 2 * round }, 20_000 * round]);
  }
});

test("StateBus attached to a directory at rest reads its mapped file, and follows the next writer", async (dir) => {
  {
    await using writer = await StateBus.open({ ...MAPPED, dir });
    const page = writer.createPage({ size: 8, name: "page" });
    await writer.commit(() => page.write(0, Uint8Array.of(1)));
  }
  await using bus = await attach(dir);
  assert.deepEqual([bus.opened.arena!.kind, bus.live, bus.tickNumber], ["mmap", false, 1]);
  {
    await using writer = await StateBus.open({ ...MAPPED, dir });
    assert.equal(writer.opened.arena!.adopted, true);
    await writer.commit(() => writer.find("page")!.write(0, Uint8Array.of(2)));
    assert.deepEqual([bus.live, bus.tickNumber, bus.find("page")!.read(0, 1)[0]], [true, 2, 2]);
  }
  {
    // A writer without a mapped file takes it away: the reader stays where it is.
    await using writer = await StateBus.open({ dir, memoryLimitBytes: 2 ** 24 });
    await writer.commit(() => writer.find("page")!.write(0, Uint8Array.of(3)));
    assert.deepEqual([bus.live, bus.tickNumber], [false, 2]);
    await using late = await attach(dir);
    assert.deepEqual([late.opened.arena!.kind, late.tickNumber, late.live], ["shared", 3, false]);
  }
  await using writer = await StateBus.open({ ...MAPPED, dir });
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual([bus.live, bus.tickNumber, writer.tickNumber], [true, 3, 3]);
  await bus.close();
  assert.throws(() => bus.find("page"), { code: "closed" });
  assert.equal(bus.live, false);
});

test("StateBus.snapshot() reads at one tick, refuses what is no reading, and ends", async () => {
  await using bus = await StateBus.open({ memoryLimitBytes: 2 ** 20 });
  const page = bus.createPage({ size: 8, name: "page" });
  await bus.commit(() => page.write(0, Uint8Array.of(1)));
  let kept: unknown;
  const found = bus.snapshot((at) => {
    kept = at;
    const target = at.readInto(page, new Uint8Array(2), 0);
    return [at.tick, at.epoch(page.id), at.read(page, 0, 1)[0], target[0], at.find("page")!.id];
  });
  assert.deepEqual(found, [1, 1, 1, 1, page.id]);
  assert.throws(() => (kept as { read(page: number): void }).read(page.id), { code: "usage" });
  assert.throws(() => bus.snapshot(async () => {}), { code: "usage" });
  assert.throws(() => bus.snapshot(7 as never), { code: "usage" });
  assert.throws(() => bus.snapshot((at) => at.read(9)), { code: "invalid-handle" });
  assert.throws(() => bus.snapshot((at) => at.read("a" as never)), { code: "usage" });
  assert.throws(() => bus.snapshot((at) => at.read(page, 9)), { code: "out-of-bounds" });
});
