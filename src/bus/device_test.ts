import assert from "node:assert/strict";
import { exportStorage } from "../log/export_log.ts";
import { MemoryStorage } from "../log/mod.ts";
import { type GpuThread, openGpuThread } from "../physical/gpu/gpu_thread.ts";
import { gpuMissing } from "../physical/gpu/testdata/gpu_test.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { type OpenOptions, type Page, StateBus, StateBusPool } from "./mod.ts";
import { RuleTicks } from "./testdata/random_rule_ticks.ts";

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/** One thread for all tests of this file: each would start one of its own. */
const keeper = missing === undefined || isRequired ? await openGpuThread() : undefined;

/** A test with a GPU; `thread` is a handle on the thread that its buses share. */
function testDevice(name: string, body: (thread: GpuThread) => Promise<void>): void {
  Deno.test({ name, ignore: keeper === undefined, fn: () => body(keeper!) });
}

const GPU: OpenOptions = { device: "gpu", memoryLimitBytes: 1 << 24 };

const copy = defineRule({
  compute: (ctx) => ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + 1),
});

/** Digest and canonical export of a random program with rules, edges, batches and a log. */
async function endOf(device: "cpu" | "gpu", seed: number, more: OpenOptions = {}) {
  const storage = new MemoryStorage();
  const bus = await StateBus.open({ storage, device, tickBudgetMs: 3_600_000, ...more });
  await new RuleTicks(seed).run(bus, 14);
  const digest = bus.digest(), { ok } = await bus.verify();
  const device1 = bus.stats().device;
  await bus.close();
  return { ends: { digest, ok, lines: [...exportStorage(storage, { canonical: true })] }, device1 };
}

testDevice(
  "random programs come to the same bytes and the same log on the GPU, with workers, too",
  async (thread) => {
    for (const [seed, more] of [[11, {}], [12, { workers: 2 }]] as const) {
      const { ends: expected, device1: none } = await endOf("cpu", seed);
      assert.equal(none, undefined);
      const { ends, device1 } = await endOf("gpu", seed, more);
      assert.deepEqual(ends, expected);
      assert.ok(ends.ok);
      assert.ok(device1!.gpu.batches >= 10, JSON.stringify(device1));
      assert.deepEqual([device1!.failures, device1!.uses], [0, "gpu"]);
    }
    assert.ok(thread.totals.batches >= 20);
  },
);

testDevice("a bus with a GPU says what it is, what it did, and gives it back", async (thread) => {
  const { adapter } = thread.status;
  await using bus = await StateBus.open(GPU);
  const { asked, uses, reason, crossover, adapter: told } = bus.opened.device!;
  assert.deepEqual([asked, uses, reason], ["gpu", "gpu", ""]);
  assert.deepEqual([told!.name, told!.isSoftware], [adapter!.name, adapter!.isSoftware]);
  assert.ok(
    crossover!.points.every(({ rows, cpuMs, gpuMs }) => rows > 0 && cpuMs > 0 && gpuMs > 0),
  );
  assert.deepEqual(bus.device.status, { ...bus.opened.device, lost: bus.device.status.lost });

  const page = bus.createPage({ size: 64 });
  await bus.tick();
  await bus.commit(() => page.write(3, Uint8Array.of(1, 2, 3, 4, 5)));
  await bus.commit(() => page.combine("f64", "add", 8, 1.5));
  assert.deepEqual([...page.read(0, 16)], [0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
  const { gpu, cpu, uploadedBytes, readBytes, pool } = bus.stats().device!;
  assert.deepEqual([gpu, cpu.batches, cpu.rows], [{ batches: 1, rows: 1 }, 1, 1]);
  assert.match(Object.keys(cpu.reasons)[0], /f64/);
  assert.ok(uploadedBytes > 0 && readBytes > 0 && pool.misses > 0);
});

testDevice(
  "a device that is lost in mid-tick loses nothing: the CPU does the tick",
  async (thread) => {
    for (const message of [{ kind: "destroy", submits: 1 }, { kind: "exit" }]) {
      for (const hasRule of [false, true]) {
        const storage = new MemoryStorage(), twin = new MemoryStorage();
        const buses = [
          await StateBus.open({ storage, ...GPU }),
          await StateBus.open({ storage: twin, device: "cpu" }),
        ];
        const ids = buses.map((bus) =>
          Array.from({ length: 5 }, () => bus.createPage({ size: 40 }).id)
        );
        for (const bus of buses) {
          await bus.tick();
          if (hasRule) bus.rule(copy, { name: "copy", inputs: [1], outputs: [5] });
          await bus.tick();
        }
        assert.deepEqual(ids[0], ids[1]);
        const commit = (bus: StateBus, value: number) =>
          bus.commit(() => {
            for (let i = 0; i < 40; i++) {
              bus.page(1 + i % 4).write(i % 30, Uint8Array.of(value + i, i));
            }
          });
        await commit(buses[0], 1);
        await commit(buses[1], 1);
        assert.equal(buses[0].stats().device!.gpu.batches, 1);
        await buses[0].device.migrate(buses[0].page(1), "gpu");
        await buses[0].device.prefetch([2]);

        await thread.ask(message);
        await commit(buses[0], 7);
        await commit(buses[1], 7);
        const { failures, cpu } = buses[0].stats().device!;
        assert.deepEqual([failures, cpu.reasons], [1, { "the device failed": 1 }], message.kind);
        assert.equal(buses[0].digest(), buses[1].digest());

        // Another device or thread comes, and is used.
        await thread.waitBeforeTick();
        assert.deepEqual([buses[0].page(1).location, buses[0].page(2).location], ["gpu", "cpu"]);
        await commit(buses[0], 9);
        await commit(buses[1], 9);
        assert.equal(buses[0].stats().device!.gpu.batches, 2);
        assert.ok(buses[0].stats().device!.lost > 0);
        assert.equal((await buses[0].device.sync()).pages, 1);
        assert.equal(buses[0].digest(), buses[1].digest());
        for (const bus of buses) {
          assert.ok((await bus.verify()).ok);
          await bus.close();
        }
        const lines = [storage, twin].map((each) => [...exportStorage(each, { canonical: true })]);
        assert.deepEqual(lines[0], lines[1]);
      }
    }
  },
);

testDevice("pages are moved to the device, kept in step there, and taken away", async () => {
  await using bus = await StateBus.open(GPU);
  const [a, b, c] = [4096, 100, 64].map((size) => bus.createPage({ size }));
  await bus.tick();
  assert.deepEqual([a, b, c].map(({ location }) => location), ["cpu", "cpu", "cpu"]);
  await bus.device.migrate(a, "gpu");
  await bus.device.migrate(b.id, "unified");
  assert.deepEqual([a, b, c].map(({ location }) => location), ["gpu", "unified", "cpu"]);
  assert.deepEqual(bus.stats().device!.resident, { pages: 2, kept: 1, bytes: 4196 });
  assert.deepEqual(await bus.device.sync(), { pages: 0, bytes: 0 });

  await bus.commit(() => {
    a.write(1000, Uint8Array.of(1, 2, 3));
    c.write(0, Uint8Array.of(4));
  });
  const { pages, bytes } = await bus.device.sync();
  assert.equal(pages, 1);
  assert.ok(bytes > 0 && bytes <= 16, `${bytes} bytes of 4096`);
  assert.deepEqual(await bus.device.prefetch([a, b, c]), { pages: 1, bytes: 64 });
  assert.equal(c.location, "unified");

  await bus.device.migrate(a, "cpu");
  await bus.commit(() => c.delete());
  assert.deepEqual([a.location, bus.stats().device!.resident.pages], ["cpu", 1]);
  bus.reset();
  assert.equal(bus.stats().device!.resident.pages, 0);
  const again = bus.createPage({ size: 8 });
  await bus.commit(() => again.write(0, Uint8Array.of(7)));
  await bus.device.migrate(again, "gpu");
  assert.deepEqual([again.location, again.read(0, 1)[0]], ["gpu", 7]);
});

testDevice(
  "an edge of type gpu brings the target's copy into step behind the tick, and tells of it",
  async () => {
    await using bus = await StateBus.open(GPU);
    const [source, target] = [bus.createPage({ size: 16 }), bus.createPage({ size: 4096 })];
    bus.edge(source, target, "gpu");
    await bus.tick();
    await using events = bus.events({ kinds: ["gpu-sync-needed", "gpu-sync-complete", "tick"] });
    await bus.commit(() => {
      source.write(0, Uint8Array.of(1));
      target.write(8, Uint8Array.of(2));
    });
    assert.equal(target.location, "unified");
    assert.deepEqual(await bus.device.sync(), { pages: 0, bytes: 0 });
    const before = bus.stats().device!.uploadedBytes;
    await bus.commit(() => source.write(0, Uint8Array.of(3)));
    const told: unknown[] = [];
    while (events.buffered > 0) {
      const { value } = await events.next();
      told.push([value!.kind, value!.page, value!.tick]);
    }
    assert.deepEqual(told, [
      ["gpu-sync-needed", target.id, 2],
      ["tick", 0, 2],
      ["gpu-sync-complete", target.id, 2],
      ["gpu-sync-needed", target.id, 3],
      ["tick", 0, 3],
      ["gpu-sync-complete", target.id, 3],
    ]);
    assert.ok(
      bus.stats().device!.uploadedBytes - before < 4096,
      "what is in step does not go up again",
    );
  },
);

testDevice("a tick that is taken back leaves copies as they were", async () => {
  await using bus = await StateBus.open(GPU);
  const [a, b] = [bus.createPage({ size: 64 }), bus.createPage({ size: 64 })];
  bus.rule(copy, { name: "copy", inputs: [a], outputs: [b] });
  await bus.tick();
  await bus.device.prefetch([a, b]);
  bus.invariant("below nine", () => a.read(0, 1)[0] < 9);
  const before = bus.digest();
  await assert.rejects(bus.commit(() => a.write(0, Uint8Array.of(9))), { code: "rule" });
  assert.equal(bus.digest(), before);
  await bus.commit(() => a.write(0, Uint8Array.of(3)));
  assert.deepEqual([a.read(0, 1)[0], b.read(0, 1)[0]], [3, 4]);
  assert.equal((await bus.device.sync()).pages, 2);
});

testDevice("two buses share the GPU, each with its own pages", async (thread) => {
  const { threadsLost } = thread.status;
  await using one = await StateBus.open(GPU);
  const two = await StateBus.open(GPU);
  for (const [bus, value] of [[one, 1], [two, 2]] as const) {
    const page = bus.createPage({ size: 32 });
    await bus.commit(() => page.write(0, new Uint8Array(32).fill(value)));
    await bus.device.migrate(page, "gpu");
  }
  await two.close();
  await one.commit(() => one.page(1).combine("u32", "add", 4, 1));
  assert.deepEqual([...one.page(1).read(0, 8)], [1, 1, 1, 1, 2, 1, 1, 1]);
  assert.equal(one.stats().device!.gpu.batches, 2);
  assert.equal(thread.status.threadsLost, threadsLost);
});

testDevice("a bus with a GPU spills pages, and sends those that were spilled", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using bus = await StateBus.open({
      dir,
      device: "gpu",
      durability: "buffered",
      memoryLimitBytes: 1 << 18,
      spill: true,
    });
    const all: { i: number; k: number; page: Page }[] = [];
    for (let i = 0; i < 12; i++) {
      await bus.commit(() => {
        for (let k = 0; k < 8; k++) {
          const page = bus.createPage({ size: 4096 });
          page.write(k, Uint8Array.of(i, k));
          all.push({ i, k, page });
        }
      });
    }
    assert.ok(bus.memory().spilled!.pages > 0, "some went");
    for (const { i, k, page } of all) {
      await bus.commit(() => page.combine("u32", "add", 64, 1 + i));
      assert.deepEqual([...page.read(k, 2)], [i, k]);
      assert.equal(page.read(64, 1)[0], 1 + i);
    }
    assert.equal(bus.stats().device!.gpu.batches, 12 + all.length);
    await bus.device.prefetch(all.map(({ page }) => page));
    assert.ok((await bus.verify()).ok);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

testDevice("a bus that was killed with a GPU goes on from its last acknowledged tick", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const program = `
      import { StateBus } from ${JSON.stringify(new URL("./mod.ts", import.meta.url).href)};
      const bus = await StateBus.open({ dir: ${JSON.stringify(dir)}, device: "gpu" });
      const pages = Array.from({ length: 4 }, () => bus.createPage({ size: 64 }));
      for (let tick = 1;; tick++) {
        await bus.commit(() => pages.forEach((page, i) => page.combine("i32", "add", 4 * i, tick)));
        if (tick === 1) console.log("uses", bus.stats().device.uses, bus.stats().device.gpu.batches);
        console.log("tick", tick);
      }
    `;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "-"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const input = child.stdin.getWriter();
    await input.write(new TextEncoder().encode(program));
    await input.close();
    let said = "";
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    while (!said.includes("tick 20\n")) {
      const { value, done } = await reader.read();
      if (done) break;
      said += value;
    }
    child.kill("SIGKILL");
    await child.status;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      said += value;
    }
    assert.match(said, /^uses gpu 1\n/);
    const last = Math.max(...[...said.matchAll(/tick (\d+)\n/g)].map(([, tick]) => Number(tick)));
    assert.ok(last >= 20);
    await using bus = await StateBus.open({ dir });
    assert.ok(bus.tickNumber >= last);
    const sum = bus.tickNumber * (bus.tickNumber + 1) / 2;
    for (let i = 0; i < 4; i++) {
      assert.equal(new DataView(bus.page(1 + i).read().buffer).getInt32(4 * i, true), sum);
    }
    assert.ok((await bus.verify()).ok);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

testDevice(
  "a directory keeps the crossover of its device, and measures it anew where that is damaged",
  async () => {
    const storage = new MemoryStorage(), options: OpenOptions = { ...GPU, storage };
    const open = async () => {
      await using bus = await StateBus.open(options);
      assert.ok((await bus.verify()).ok);
      return bus.opened.device!.crossover!;
    };
    const text = () => new TextDecoder().decode(storage.readAll("device.json"));
    const measured = await open(), written = text();
    assert.deepEqual(JSON.parse(written).crossover, measured);
    // What stands there counts, as long as it is of this device.
    const planted = { rows: 77, points: [{ rows: 77, cpuMs: 2, gpuMs: 1 }] };
    const plant = (change: object) =>
      storage.replace(
        "device.json",
        new TextEncoder().encode(JSON.stringify({ ...JSON.parse(written), ...change })),
      );
    plant({ crossover: planted });
    assert.deepEqual(await open(), planted);
    for (const change of [{ device: { adapter: "other" } }, { crossover: { rows: 77 } }]) {
      plant(change);
      assert.deepEqual(await open(), measured);
      assert.equal(text(), written);
    }
    storage.replace("device.json", Uint8Array.of(0xff, 0x7b));
    assert.deepEqual(await open(), measured);
    assert.equal(text(), written);
    await using reader = await StateBus.open({ storage, readOnly: true });
    assert.equal(reader.opened.state, "whole");
  },
);

testDevice("large ticks of many producers on the GPU are those of the CPU", async () => {
  const digests: string[] = [];
  for (const device of ["cpu", "gpu"] as const) {
    await using bus = await StateBus.open({ device, memoryLimitBytes: 1 << 24 });
    const pages = Array.from({ length: 64 }, () => bus.createPage({ size: 1024 }));
    await bus.tick();
    for (let producer = 1; producer <= 3; producer++) {
      const batch = new DeltaBatch({ rows: 6000, payloadBytes: 6000 * 16 });
      for (let i = 0; i < 6000; i++) {
        const { id } = pages[i * 7 % 64], value = i * producer;
        if (producer === 2) batch.combine(id, "i32", "add", 4 * (i % 256), value);
        else batch.push(id, 4 * (i * 5 % 250), Uint8Array.of(value, value >> 8, 3, 4, 5, 6, 7, 8));
      }
      bus.submit(batch, { producer }).catch(() => {});
    }
    await bus.tick();
    digests.push(bus.digest());
    if (device === "gpu") assert.deepEqual(bus.stats().device!.gpu, { batches: 3, rows: 18_000 });
  }
  assert.equal(digests[0], digests[1]);
});

interface LoadedModule {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly isDynamic?: boolean;
  }[];
}

Deno.test("a bus that asks for no device loads nothing of the GPU", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", new URL("./mod.ts", import.meta.url).href],
    stderr: "null",
  }).output();
  const { roots, modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    readonly roots: readonly string[];
    readonly modules: readonly LoadedModule[];
  };
  const bySpecifier = new Map(modules.map((module) => [module.specifier, module]));
  const loaded = new Set(roots);
  for (const module of loaded) {
    for (const { code, isDynamic } of bySpecifier.get(module)?.dependencies ?? []) {
      if (code?.specifier !== undefined && isDynamic !== true) loaded.add(code.specifier);
    }
  }
  const isGpu = (specifier: string) => /\/src\/physical\/gpu\//.test(specifier);
  assert.ok(loaded.size > 100 && modules.some(({ specifier }) => isGpu(specifier)));
  assert.deepEqual([...loaded].filter(isGpu), []);
});

Deno.test("a bus with device cpu has none, and says so where one is wanted", async () => {
  await using bus = await StateBus.open({ memoryLimitBytes: 1 << 20 });
  const page = bus.createPage({ size: 8 });
  await bus.tick();
  assert.equal(bus.opened.device, undefined);
  assert.equal(bus.stats().device, undefined);
  const { asked, uses, reason } = bus.device.status;
  assert.deepEqual([asked, uses, page.location], ["cpu", "cpu", "cpu"]);
  assert.match(reason, /device "cpu"/);
  assert.deepEqual(await bus.device.prefetch([page]), { pages: 0, bytes: 0 });
  assert.deepEqual(await bus.device.sync(), { pages: 0, bytes: 0 });
  await bus.device.migrate(page, "cpu");
  await assert.rejects(bus.device.migrate(page, "gpu"), { code: "usage" });
});

Deno.test("bus.device refuses what is no page, no location, and a closed bus", async () => {
  const bus = await StateBus.open({ memoryLimitBytes: 1 << 20 });
  const other = await StateBus.open({ memoryLimitBytes: 1 << 20 });
  const page = bus.createPage({ size: 8 }), foreign = other.createPage({ size: 8 });
  await bus.tick();
  for (const bad of [null, undefined, 1.5, "1", 1n, {}, foreign, Symbol("a")]) {
    await assert.rejects(bus.device.migrate(bad as never, "cpu"), { code: "usage" });
    await assert.rejects(bus.device.prefetch([bad as never]), { code: "usage" });
  }
  for (const bad of [-1, 0, 2 ** 40]) {
    await assert.rejects(bus.device.prefetch([bad]), { code: "out-of-bounds" });
  }
  await assert.rejects(bus.device.prefetch([99]), { code: "invalid-handle" });
  for (const bad of [null, 1, {}, undefined]) {
    await assert.rejects(bus.device.prefetch(bad as never), { code: "usage" });
  }
  for (const bad of ["GPU", "", 1, null, undefined]) {
    await assert.rejects(bus.device.migrate(page, bad as never), { code: "usage" });
  }
  await other.close();
  await bus.close();
  await assert.rejects(bus.device.prefetch([page]), { code: "closed" });
  await assert.rejects(bus.device.sync(), { code: "closed" });
});

Deno.test("a device is refused, or left out with a reason, where pages are not in shared memory or nothing is applied", async () => {
  await assert.rejects(
    StateBus.open({ device: "gpu", arena: "mmap", memoryLimitBytes: 1 << 20 }),
    { code: "usage", message: /arena "shared"/ },
  );
  for (const bad of ["GPU", "", null, 1, {}]) {
    await assert.rejects(StateBus.open({ device: bad as never }), { code: "usage" });
  }
  const storage = new MemoryStorage();
  await (await StateBus.open({ storage, memoryLimitBytes: 1 << 20 })).close();
  for (const device of ["gpu", "auto"] as const) {
    await using bus = await StateBus.open({ storage, readOnly: true, device });
    assert.deepEqual([bus.opened.device!.asked, bus.opened.device!.uses], [device, "cpu"]);
    assert.match(bus.opened.device!.reason, /only reads/);
  }
  assert.throws(
    () => new StateBusPool({ size: 1, open: { device: "gpu" } as never }),
    { code: "usage" },
  );
});

Deno.test("a machine without an adapter applies on the CPU, and says why once", async () => {
  const program = `
    import assert from "node:assert/strict";
    import { StateBus } from ${JSON.stringify(new URL("./mod.ts", import.meta.url).href)};
    for (const device of ["gpu", "auto"]) {
      await using bus = await StateBus.open({ device, memoryLimitBytes: 1 << 20 });
      const page = bus.createPage({ size: 8 });
      await bus.commit(() => page.write(0, Uint8Array.of(7)));
      const { asked, uses, reason, adapter, crossover } = bus.opened.device;
      assert.deepEqual([asked, uses, adapter, crossover], [device, "cpu", undefined, undefined]);
      assert.match(reason, /adapter/);
      assert.deepEqual(bus.stats().device.gpu, { batches: 0, rows: 0 });
      assert.equal(page.location, "cpu");
      await assert.rejects(bus.device.migrate(page, "gpu"), { code: "gpu" });
      assert.deepEqual(await bus.device.prefetch([page]), { pages: 0, bytes: 0 });
      assert.equal(page.read(0, 1)[0], 7);
    }
    console.log("done");
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "-"],
    env: { DENO_WEBGPU_BACKEND: "none", VK_DRIVER_FILES: "/nonexistent" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(new TextEncoder().encode(program));
  await input.close();
  const { stdout, stderr } = await child.output();
  assert.equal(new TextDecoder().decode(stdout), "done\n", new TextDecoder().decode(stderr));
});

testDevice("auto leaves a software adapter alone, and keeps a hardware one", async (thread) => {
  await using bus = await StateBus.open({ device: "auto", memoryLimitBytes: 1 << 20 });
  const { uses, reason, adapter } = bus.opened.device!;
  assert.equal(adapter!.name, thread.status.adapter!.name);
  assert.equal(uses, adapter!.isSoftware ? "cpu" : "gpu");
  if (adapter!.isSoftware) assert.match(reason, /computes on the CPU/);
});

Deno.test("the GPU thread of these tests ends", async () => {
  await keeper?.close();
});
