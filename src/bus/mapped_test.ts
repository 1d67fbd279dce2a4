/** A bus whose pages live in a mapped file: as any other bus, opened again at once, or without. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { closedEnd, FileStorage, MemoryStorage, readMeta, recover } from "../log/mod.ts";
import { succeeds, testOnDisk } from "../log/small_disk_test.ts";
import { mappingUnavailable, PageStore } from "../physical/mod.ts";
import { seen } from "./_seen_test.ts";
import { commands, Twin } from "./_twin_test.ts";
import { StateBus } from "./mod.ts";

const UNAVAILABLE = mappingUnavailable();
const SKIPPED = UNAVAILABLE === undefined ? "" : ` (skipped: ${UNAVAILABLE})`;
const MAPPED = { arena: "mmap", memoryLimitBytes: 2 ** 22 } as const;

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name: name + SKIPPED, ignore: UNAVAILABLE !== undefined, fn });
}

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync();
  try {
    await body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** Runs a program that knows `StateBus` and gives what it prints. */
async function run(program: string, flags: readonly string[]): Promise<string> {
  const text = `import { StateBus } from ${JSON.stringify(import.meta.resolve("./mod.ts"))};`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--ext=ts", ...flags, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text + program));
  await writer.close();
  const { stdout, stderr } = await child.output();
  assert.notEqual(stdout.length, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

test("StateBus in mapped memory does what the model does", async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (commands) => {
      const twin = await Twin.open(undefined, "memory", { arena: "mmap" });
      assert.equal(twin.bus.opened.arena!.kind, "mmap");
      for (const command of commands) await twin.run(command);
      await twin.tick(() => twin.bus.tick());
      await twin.verify();
      await twin.bus.close();
    }),
    { numRuns: 40 },
  );
});

test("StateBus with a mapped file does what the model does, reopened too, and readers see it", async () => {
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(commands, (commands) =>
      withDir(async (dir) => {
        const twin = await Twin.open(new FileStorage(dir), "buffered", { arena: "mmap" });
        await using reader = await StateBus.open({ dir, readOnly: true, arena: "mmap" });
        for (const command of commands) {
          await twin.run(command);
          assert.equal(reader.tickNumber, twin.bus.tickNumber);
          assert.deepEqual(pagesOf(reader), pagesOf(twin.bus));
        }
        await twin.tick(() => twin.bus.tick());
        await twin.reopen();
        assert.deepEqual(twin.bus.opened.arena!.kind, "mmap");
        // A segment that was prepared and stayed behind makes it be made from the log, once.
        const { adopted } = twin.bus.opened.arena!;
        assert.ok(!adopted || twin.bus.tickNumber > 0);
        if (adopted) taken++;
        await twin.verify();
        await twin.compareHistories();
        assert.deepEqual(pagesOf(reader), pagesOf(twin.bus));
        assert.deepEqual([reader.live, (await reader.verify()).ok], [true, true]);
        await twin.bus.close();
        assert.equal(reader.live, false);
      })),
    { numRuns: 15 },
  );
  assert.ok(taken > 0, `${taken} mapped files were taken over`);
});

/** All that can be seen of the pages that a tick has made real. */
function pagesOf(bus: StateBus): unknown {
  return [...bus.pages()].filter((page) => page.state === "active").map((page) => ({
    id: page.id,
    name: page.name,
    size: page.size,
    epoch: page.epoch,
    shard: page.shard,
    metadata: page.metadata,
    bytes: page.read(),
    found: page.name === "" ? undefined : bus.find(page.name)?.id,
  })).sort((a, b) => a.id - b.id);
}

test("StateBus takes a mapped file over only where it is just what the log says", async () => {
  await withDir(async (dir) => {
    const write = async (value: number, arena: "mmap" | "shared" = "mmap") => {
      await using bus = await StateBus.open({ ...MAPPED, dir, arena });
      const page = bus.find("page") ?? bus.createPage({ size: 64, name: "page" });
      await bus.commit(() => page.write(0, Uint8Array.of(value)));
      return bus.opened;
    };
    const read = async (more = {}) => {
      await using bus = await StateBus.open({ ...MAPPED, dir, ...more });
      assert.equal((await bus.verify()).ok, true);
      return [bus.opened.arena!.adopted, bus.find("page")!.read(0, 1)[0]];
    };
    assert.deepEqual((await write(1)).arena!.adopted, false);
    assert.deepEqual((await write(2)).arena, { kind: "mmap", adopted: true, reason: "" });
    assert.deepEqual(await read(), [true, 2]);
    // Another writer, without the file, ticks on.
    assert.equal((await write(3, "shared")).arena, undefined);
    assert.deepEqual(await read(), [false, 3]);
    assert.deepEqual(await read(), [true, 3]);
    assert.deepEqual(await read({ memoryLimitBytes: 2 ** 23 }), [false, 3]);
    // Bytes of the control block that do not agree with each other.
    using file = Deno.openSync(`${dir}/arena`, { read: true, write: true });
    file.seekSync(1100, Deno.SeekMode.Start);
    file.writeSync(Uint8Array.of(0xff, 0xfe));
    assert.deepEqual(await read({ memoryLimitBytes: 2 ** 23 }), [false, 3]);
    // A file of somebody else, a short one, a folder.
    for (const bytes of [0, 10, 20_000, 40_960]) {
      Deno.removeSync(`${dir}/arena`);
      Deno.writeFileSync(`${dir}/arena`, new Uint8Array(bytes).fill(7));
      assert.deepEqual(await read(), [false, 3]);
    }
    Deno.removeSync(`${dir}/arena`);
    Deno.mkdirSync(`${dir}/arena`);
    for (const arena of ["mmap", "shared"] as const) {
      await using bus = await StateBus.open({ ...MAPPED, dir, arena });
      assert.equal(bus.find("page")!.read(0, 1)[0], 3);
    }
  });
});

test("StateBus that takes a mapped file over forgets the names of pages that were never real", async () => {
  await withDir(async (dir) => {
    const options = { ...MAPPED, dir };
    {
      await using bus = await StateBus.open(options);
      // A byte order mark is part of a name.
      bus.createPage({ size: 8, name: "\ufefffirst" });
      await bus.commit();
      bus.createPage({ size: 8, name: "never", metadata: { key: Uint8Array.of(1) } });
    }
    await using reader = await StateBus.open({ dir, readOnly: true, arena: "mmap" });
    {
      await using bus = await StateBus.open(options);
      bus.createPage({ size: 8 });
      await bus.commit();
      assert.deepEqual([reader.page(2).name, reader.find("never")], ["", undefined]);
    }
    await using bus = await StateBus.open(options);
    assert.equal(bus.opened.arena!.adopted, true);
    assert.deepEqual([bus.page(2).name, bus.page(2).metadata.size], ["", 0]);
    assert.deepEqual([bus.find("\ufefffirst")!.id, bus.find("never")], [1, undefined]);
    assert.equal((await bus.verify()).ok, true);
  });
});

test("StateBus takes a mapped file over beside a segment that was prepared only", async () => {
  await withDir(async (dir) => {
    {
      await using bus = await StateBus.open({ ...MAPPED, dir });
      bus.createPage({ size: 8, name: "page" });
      await bus.commit();
    }
    const path = `${dir}/lane-00/0000000002.log`;
    Deno.writeFileSync(path, new Uint8Array(65_536));
    {
      await using bus = await StateBus.open({ ...MAPPED, dir });
      assert.equal(bus.opened.arena!.adopted, true);
      await bus.commit(() => bus.find("page")!.write(0, Uint8Array.of(5)));
      assert.equal((await bus.verify()).ok, true);
    }
    // One that was begun is another matter.
    Deno.writeFileSync(`${dir}/lane-00/0000000003.log`, new Uint8Array(64).fill(7));
    await using bus = await StateBus.open({ ...MAPPED, dir });
    assert.equal(bus.opened.arena!.adopted, false);
    assert.equal(bus.find("page")!.read(0, 1)[0], 5);
  });
});

test("StateBus that takes a mapped file over goes on with its slots, names and ids", async () => {
  await withDir(async (dir) => {
    let before: unknown;
    {
      await using bus = await StateBus.open({ ...MAPPED, dir });
      const pages = Array.from(
        { length: 50 },
        (_, i) =>
          bus.createPage({
            size: 100 + 10 * i,
            name: `page ${i}`,
            metadata: { i: Uint8Array.of(i) },
          }),
      );
      await bus.commit(() => pages.forEach((page, i) => page.write(0, Uint8Array.of(i))));
      await bus.commit(() => pages.filter((_, i) => i % 3 === 0).forEach((page) => page.delete()));
      await bus.commit(() => bus.createPage({ size: 100, name: "page 0" }));
      bus.createPage({ size: 100, name: "never ticked" });
      before = { ...bus.stats(), seen: pagesOf(bus) };
    }
    await using bus = await StateBus.open({ ...MAPPED, dir });
    assert.equal(bus.opened.arena!.adopted, true);
    const { pages, pageBytes } = bus.stats();
    const counted = before as ReturnType<StateBus["stats"]> & { seen: unknown };
    assert.deepEqual(pagesOf(bus), counted.seen);
    assert.deepEqual([pages, pageBytes], [counted.pages - 1, counted.pageBytes - 112]);
    assert.equal(bus.find("never ticked"), undefined);
    const again = Array.from({ length: 30 }, () => bus.createPage({ size: 100 }));
    assert.equal(again[0].id, 52);
    assert.ok(again.every((page) => page.read().every((byte) => byte === 0)));
    await bus.commit(() => again.forEach((page) => page.write(3, Uint8Array.of(9))));
    assert.equal((await bus.verify()).ok, true);
  });
});

test("StateBus keeps names and metadata readable through many births and deaths", async () => {
  await withDir(async (dir) => {
    await using bus = await StateBus.open({ ...MAPPED, dir, durability: "buffered" });
    await using reader = await StateBus.open({ dir, readOnly: true, arena: "mmap" });
    const kept = bus.createPage({ size: 8, name: "kept", metadata: { unit: Uint8Array.of(1) } });
    const bytes = new Uint8Array(20_000);
    for (let round = 1; round < 300; round++) {
      const page = bus.createPage({ size: 8, name: "other", metadata: { bytes } });
      await bus.tick();
      if (round % 50 === 0) {
        kept.setMetadata({ round: Uint8Array.of(round / 50) });
        assert.equal(reader.find("other")!.id, page.id);
        assert.equal(reader.find("other")!.metadata.get("bytes")!.length, 20_000);
        assert.equal(reader.find("kept")!.name, "kept");
      }
      page.delete();
      await bus.tick();
    }
    assert.equal(reader.find("other"), undefined);
    assert.deepEqual([...reader.find("kept")!.metadata.keys()], ["unit", "round"]);
    const { blocks } = Deno.statSync(`${dir}/arena`);
    assert.ok(blocks! * 512 < 8 * 2 ** 20, "what is dead is tidied up");
  });
});

test("StateBus keeps a mapped file where arenaDir says, and readers find it", async () => {
  await withDir(async (dir) => {
    const arenaDir = Deno.makeTempDirSync({ dir: "/dev/shm" });
    try {
      const options = { ...MAPPED, dir: `${dir}/bus`, arenaDir };
      {
        await using bus = await StateBus.open(options);
        assert.equal([...Deno.readDirSync(arenaDir)].length, 1);
        const page = bus.createPage({ size: 64, name: "page" });
        await using reader = await StateBus.open({
          dir: options.dir,
          readOnly: true,
          arena: "mmap",
        });
        await bus.commit(() => page.write(0, Uint8Array.of(5)));
        assert.equal(reader.find("page")!.read(0, 1)[0], 5);
      }
      await using bus = await StateBus.open(options);
      assert.equal(bus.opened.arena!.adopted, true);
    } finally {
      Deno.removeSync(arenaDir, { recursive: true });
    }
  });
});

test("StateBus in mapped memory leaves no file behind", async () => {
  const arenaDir = Deno.makeTempDirSync({ dir: "/dev/shm" });
  await using bus = await StateBus.open({ ...MAPPED, arenaDir });
  assert.equal(bus.opened.arena!.kind, "mmap");
  assert.deepEqual([...Deno.readDirSync(arenaDir)], []);
  Deno.removeSync(arenaDir);
  const page = bus.createPage({ size: 100_000 });
  await bus.commit(() => page.write(99_999, Uint8Array.of(7)));
  assert.equal(page.read(99_999)[0], 7);
});

test("StateBus does without a mapped file where it cannot have one, and says why", async () => {
  for (const arenaDir of ["/nowhere/at/all", "/proc/self", "/dev/null"]) {
    await using bus = await StateBus.open({ ...MAPPED, arenaDir });
    assert.equal(bus.opened.arena!.kind, "shared");
    assert.match(bus.opened.arena!.reason, /^Cannot open "\/(nowhere|proc|dev)\//);
    const page = bus.createPage({ size: 64 });
    await bus.commit(() => page.write(0, Uint8Array.of(1)));
  }
  await using bus = await StateBus.open({ ...MAPPED, storage: new MemoryStorage() });
  assert.equal(bus.opened.arena!.kind, "mmap", "a storage of one's own has it in memory");
});

Deno.test("StateBus.open() refuses an arenaDir that is none", async () => {
  for (const arenaDir of ["", "a\0b", 1, {}]) {
    await assert.rejects(
      StateBus.open({ arena: "mmap", arenaDir: arenaDir as string }),
      { code: "usage" },
    );
  }
  await assert.rejects(StateBus.open({ arenaDir: "/tmp" }), { code: "usage" });
});

test("StateBus opened and closed a thousand times leaves neither mappings nor files behind", async () => {
  const [before, after] = JSON.parse(
    await run(
      `
      const count = () => [
        Deno.readTextFileSync("/proc/self/maps").split("\\n").filter((l) => l.includes("mmsb-")).length,
        [...Deno.readDirSync("/proc/self/fd")].length,
      ];
      const turn = async (times) => {
        for (let i = 0; i < times; i++) {
          const bus = await StateBus.open({ arena: "mmap", memoryLimitBytes: 2 ** 20 });
          if (bus.opened.arena.kind !== "mmap") throw new Error(bus.opened.arena.reason);
          const page = bus.createPage({ size: 100 });
          await bus.commit(() => page.write(0, Uint8Array.of(7)));
          const view = page.view();
          await bus.close();
          if (view[0] !== 7) throw new Error("a view must outlive its bus");
        }
        for (let i = 0; i < 3; i++) {
          gc();
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        return count();
      };
      console.log(JSON.stringify([await turn(10), await turn(1000)]));`,
      ["-A", "--v8-flags=--expose-gc"],
    ),
  ) as [number, number][];
  assert.ok(after[0] <= before[0] + 5, `${before[0]} mappings became ${after[0]}`);
  assert.ok(after[1] <= before[1] + 5, `${before[1]} open files became ${after[1]}`);
});

test("closedEnd() is where recovery ends, or nothing", async () => {
  await withDir(async (dir) => {
    const storage = new FileStorage(dir);
    const turn = async (ticks: number) => {
      await using bus = await StateBus.open({
        dir,
        memoryLimitBytes: 2 ** 22,
        segmentBytesMax: 4096,
      });
      const page = bus.find("page") ?? bus.createPage({ size: 2000, name: "page" });
      for (let i = 0; i < ticks; i++) await bus.commit(() => page.write(0, new Uint8Array(2000)));
    };
    for (const ticks of [0, 1, 0, 7, 0, 0, 3]) {
      await turn(ticks);
      const meta = readMeta(storage)!;
      const { end, tick } = recover(storage, meta, new PageStore(2 ** 22));
      assert.deepEqual(closedEnd(storage, meta), tick === 0 ? undefined : end);
      assert.equal(closedEnd(storage, { ...meta, closed: null }), undefined);
    }
    const meta = readMeta(storage)!, { segment } = meta.lanes[0];
    const path = `${dir}/lane-00/${String(segment).padStart(10, "0")}.log`;
    const whole = Deno.readFileSync(path);
    for (const bytes of [whole.slice(0, -1), new Uint8Array([...whole, 0]), whole.slice(0, 20)]) {
      Deno.writeFileSync(path, bytes);
      assert.equal(closedEnd(storage, meta), undefined);
    }
    Deno.removeSync(path);
    assert.equal(closedEnd(storage, meta), undefined);
  });
});

Deno.test("StateBus without --allow-ffi does without a mapped file, unasked, and says so", async () => {
  const output = await run(
    `
    const bus = await StateBus.open({ arena: "mmap" });
    const page = bus.createPage({ size: 8 });
    await bus.commit(() => page.write(0, Uint8Array.of(7)));
    console.log(JSON.stringify([bus.opened.arena, page.read(0, 1)[0]]));
    await bus.close();`,
    ["--no-prompt"],
  );
  assert.deepEqual(JSON.parse(output), [
    {
      kind: "shared",
      adopted: false,
      reason: Deno.build.os === "linux"
        ? "it needs --allow-ffi"
        : `it is for Linux, and this is ${Deno.build.os}`,
    },
    7,
  ]);
});

testOnDisk(
  "StateBus with a mapped file on a full disk refuses with nothing changed",
  async (path) => {
    if (UNAVAILABLE !== undefined) return;
    const dir = Deno.makeTempDirSync();
    try {
      await using bus = await StateBus.open({ ...MAPPED, dir, arenaDir: path });
      assert.equal(bus.opened.arena!.kind, "mmap", bus.opened.arena!.reason);
      const page = bus.createPage({ size: 64, name: "page" });
      await bus.commit(() => page.write(0, Uint8Array.of(7)));
      const before = seen(bus);
      for (
        const make of [
          () => bus.createPage({ size: 2 ** 20 }),
          () =>
            bus.createPage({
              size: 64,
              name: "x".repeat(1000),
              metadata: { x: new Uint8Array(900_000) },
            }),
        ]
      ) {
        assert.throws(make, { code: "disk-full" });
        assert.deepEqual(seen(bus), before);
      }
      page.setMetadata({ x: new Uint8Array(900_000) });
      page.write(0, Uint8Array.of(8));
      await assert.rejects(bus.tick(), { code: "disk-full" });
      assert.deepEqual([page.read(0, 1)[0], page.metadata.size, page.epoch], [7, 0, 1]);
      await bus.commit(() => page.write(0, Uint8Array.of(9)));
      assert.equal((await bus.verify()).ok, true);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
);

testOnDisk(
  "StateBus does without a mapped file where the disk has no room for it",
  async (path) => {
    if (UNAVAILABLE !== undefined) return;
    Deno.writeFileSync(`${path}/filler`, new Uint8Array(800_000));
    const dir = Deno.makeTempDirSync();
    try {
      await using bus = await StateBus.open({ ...MAPPED, dir, arenaDir: path });
      assert.equal(bus.opened.arena!.kind, "shared");
      assert.match(bus.opened.arena!.reason, /no space left/);
      assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["filler"]);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
);

testOnDisk("StateBus does without a mapped file where the disk is read-only", async (path) => {
  if (UNAVAILABLE !== undefined) return;
  assert.ok(await succeeds("mount", "-o", "remount,ro", path));
  await using bus = await StateBus.open({ ...MAPPED, arenaDir: path });
  assert.match(bus.opened.arena!.reason, /read-only/);
});
