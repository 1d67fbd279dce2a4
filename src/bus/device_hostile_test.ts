/** Hostile use of a bus with a GPU: it comes to what a bus without one comes to, whatever shaders and devices do. */

import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { exportStorage } from "../log/export_log.ts";
import { MemoryStorage } from "../log/mod.ts";
import { openGpuThread } from "../physical/gpu/gpu_thread.ts";
import { gpuMissing } from "../physical/gpu/testdata/gpu_test.ts";
import { defineRule, type RuleContext } from "../propagation/mod.ts";
import { StateBus } from "./mod.ts";

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";
const ignore = missing !== undefined && !isRequired;
const MODULE = new URL("./testdata/rules_for_workers.ts", import.meta.url);
const WORDS = 64;

function main(text: string, declarations = ""): string {
  return `${declarations}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { ${text} }`;
}

const PLUS_1 = "output0[id.x] = input0[id.x] + 1u;";

function plus1(ctx: RuleContext): void {
  for (let at = 0; at < 4 * WORDS; at += 4) {
    ctx.output(0).setUint32(at, ctx.input(0).getUint32(at) + 1);
  }
}

/** What is wrong with a shader, and the code of the error that tells it. */
const BAD: readonly (readonly [name: string, code: string, error: string])[] = [
  ["deep text behind a line that CR ends", main(PLUS_1) + `//\r${"(".repeat(30_000)}`, "limit"],
  ["indexes of indexes", main(`let a = id${"[0]".repeat(60_000)};`), "limit"],
  [
    "private memory of 1 GiB",
    main(
      "a[id.x][0] = 1u; output0[id.x] = a[0][id.x];",
      "var<private> a: array<array<u32, 16384>, 16384>;",
    ),
    "limit",
  ],
  [
    "workgroup memory of 4 MiB",
    main("a[id.x] = 1u; output0[id.x] = a[0];", "var<workgroup> a: array<u32, 1024 * 1024>;"),
    "limit",
  ],
  ["no end of functions", functionsTwice(30) + main("output0[id.x] = f0(input0[id.x]);"), "limit"],
  ["a workgroup of 65,536", main(PLUS_1).replace("(64)", "(65536)"), "limit"],
  ["no WGSL", main("this is none"), "usage"],
  ["a name of ours", main(PLUS_1, "var<private> output0: array<u32, 64>;"), "usage"],
  ["a page that is read only", main(`input0[id.x] = 1u; ${PLUS_1}`), "usage"],
  ["a feature that is not there", main(PLUS_1, "enable f16;"), "usage"],
  ["a shader that is not its twin", main("output0[id.x] = input0[id.x] + 2u;"), "rule"],
  [
    "a shader past the ends of pages",
    main("output0[id.x + 4000000000u] = input0[id.x + 9999u];"),
    "rule",
  ],
];

function functionsTwice(count: number): string {
  const texts = Array.from(
    { length: count },
    (_, i) => `fn f${i}(x: u32) -> u32 { return f${i + 1}(x) + f${i + 1}(x); }`,
  );
  return `${texts.join("\n")} fn f${count}(x: u32) -> u32 { return x; }`;
}

Deno.test({
  name:
    "a shader that is wrong is told, takes nothing from others, and its page is what its twin says",
  ignore,
  fn: async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    await using twin = await StateBus.open({ device: "cpu" });
    for (const [name, code, expected] of BAD) {
      const rule = defineRule({ wgsl: { code, threads: WORDS }, compute: plus1 });
      for (const each of [bus, twin]) {
        const [from, to] = [0, 0].map(() => each.createPage({ size: 4 * WORDS }));
        await each.tick();
        const handle = each.rule(rule, { name, inputs: [from], outputs: [to] });
        const error = await each.tick().then(() => undefined, (reason) => reason);
        if (each === twin) assert.equal(error, undefined);
        else {
          assert.ok(isMmsbError(error), `${name}: ${error}`);
          assert.equal(error.code, expected, `${name}: ${error.message}`);
        }
        await each.commit(() => from.write(0, Uint8Array.of(7)));
        if (each === twin || expected !== "rule") {
          assert.equal(to.read(0, 1)[0], 8, name);
          assert.equal(handle.device.on, "cpu");
          handle.unbind();
          await each.tick();
        } else assert.equal(to.read(0, 1)[0], 0, name);
      }
    }
    const good = defineRule({ wgsl: { code: main(PLUS_1), threads: WORDS }, compute: plus1 });
    const [from, to] = [0, 0].map(() => bus.createPage({ size: 4 * WORDS }));
    await bus.tick();
    const handle = bus.rule(good, { name: "good", inputs: [from], outputs: [to] });
    await bus.tick();
    await bus.commit(() => from.write(0, Uint8Array.of(7)));
    assert.deepEqual([handle.device.on, to.read(0, 1)[0], bus.device.status.lost], ["gpu", 8, 0]);
    assert.ok((await bus.verify()).ok);
  },
});

Deno.test({
  name:
    "a device lost at each submit of ticks with batches, rules on both sides and gpu edges loses nothing",
  ignore,
  fn: async () => {
    await using thread = await openGpuThread();
    const storages = [new MemoryStorage(), new MemoryStorage()];
    const buses = await Promise.all(
      storages.map((storage, i) =>
        StateBus.open({ storage, device: i === 0 ? "gpu" : "cpu", tickBudgetMs: 3_600_000 })
      ),
    );
    const onGpu = defineRule({
      wgsl: {
        code: main("output0[id.x] = 3u * output0[id.x] + input0[id.x];"),
        threads: 64,
        steps: 3,
      },
      compute: (ctx) => {
        const input = ctx.input(0), output = ctx.output(0);
        for (let at = 0; at < 4 * WORDS; at += 4) {
          output.setUint32(at, Math.imul(output.getUint32(at), 3) + input.getUint32(at) >>> 0);
        }
      },
    });
    const onCpu = defineRule({ compute: plus1 });
    for (const bus of buses) {
      const pages = Array.from({ length: 8 }, () => bus.createPage({ size: 4 * WORDS }));
      await bus.tick();
      bus.rule(onGpu, { name: "first", inputs: [pages[0]], outputs: [pages[1]] });
      bus.rule(onCpu, { name: "second", inputs: [pages[1]], outputs: [pages[2]] });
      bus.rule(onGpu, { name: "third", inputs: [pages[2]], outputs: [pages[3]] });
      bus.rule(onGpu, { name: "fourth", inputs: [pages[2]], outputs: [pages[4]] });
      bus.edge(pages[3], pages[5], "gpu");
      await bus.tick();
    }
    await buses[0].device.migrate(1, "gpu");
    await buses[0].device.prefetch([2, 3, 6]);
    let seed = 0;
    const step = async () => {
      seed++;
      for (const bus of buses) {
        await bus.commit(() => {
          for (let i = 0; i < 30; i++) {
            bus.page(i % 2 === 0 ? 1 : 6 + i % 3).write(i * 7, Uint8Array.of(seed + i, seed, i));
          }
        });
      }
      assert.equal(buses[0].digest(), buses[1].digest(), `tick ${seed}`);
    };
    for (let submits = 0; submits < 12; submits++) {
      await thread.waitBeforeTick();
      await step();
      await thread.ask({ kind: "destroy", submits, raw: submits % 2 === 1 });
      await step();
      await step();
    }
    const { lost, rules, gpu, cpu } = buses[0].stats().device!;
    assert.ok(lost >= 8 && rules.twins > 0 && gpu.batches > 12 && cpu.batches > 0);
    for (const bus of buses) {
      assert.ok((await bus.verify()).ok);
      await bus.close();
    }
    const [first, second] = storages.map((one) => [...exportStorage(one, { canonical: true })]);
    assert.deepEqual(first, second);
  },
});

Deno.test({
  name:
    "many rows in order at one word come to the same on the GPU: sums of floats, bytes among them",
  ignore,
  fn: async () => {
    const ends: Uint8Array[] = [];
    for (const device of ["gpu", "cpu"] as const) {
      await using bus = await StateBus.open({ device, tickBudgetMs: 3_600_000 });
      const page = bus.createPage({ size: 64 });
      await bus.tick();
      await bus.commit(() => {
        for (let i = 0; i < 16_000; i++) {
          page.combine("f32", "add", 8, i * 1.25);
          if (i % 7 === 0) page.write(9 + i % 5, Uint8Array.of(i, 1));
        }
      });
      if (device === "gpu") assert.equal(bus.stats().device!.gpu.batches, 1);
      ends.push(page.read(0, 64));
    }
    assert.deepEqual(ends[0], ends[1]);
  },
});

Deno.test({
  name: "ruleTimeoutMs ends the twin of a shader from a module, on a bus with a device as on any",
  ignore,
  fn: async () => {
    await using bus = await StateBus.open({ device: "gpu", workers: 1, ruleTimeoutMs: 300 });
    const [from, to] = [0, 0].map(() => bus.createPage({ size: 32 }));
    await bus.tick();
    const binding = { name: "endless", export: "endless", inputs: [from], outputs: [to] };
    const handle = bus.rule(MODULE, binding);
    await handle.ready;
    await bus.tick();
    await assert.rejects(bus.commit(() => from.write(0, Uint8Array.of(2))), { code: "worker" });
    await bus.commit(() => from.write(0, Uint8Array.of(7)));
    const { on, reason } = handle.device;
    assert.deepEqual([to.read(0, 1)[0], on], [8, "cpu"]);
    assert.match(reason, /ruleTimeoutMs/);
  },
});
