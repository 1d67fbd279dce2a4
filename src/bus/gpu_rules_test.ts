/**
 * Rules with shaders, from outside: on a device they come to what their twins come to, and whatever is wrong with a
 * shader, a page or the device is told and loses nothing.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, type MmsbError } from "../base/mod.ts";
import { exportStorage, MemoryStorage } from "../log/mod.ts";
import { type GpuThread, openGpuThread } from "../physical/gpu/gpu_thread.ts";
import { gpuMissing } from "../physical/gpu/testdata/gpu_test.ts";
import { defineRule, mirror, type RuleContext, type RuleShader } from "../propagation/mod.ts";
import { table } from "../schema/mod.ts";
import { type OpenOptions, type Page, StateBus } from "./mod.ts";
import { RuleTicks } from "./testdata/random_rule_ticks.ts";

const MODULE = new URL("./testdata/rules_for_workers.ts", import.meta.url);
const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/** A test on the GPU thread, which stays while it runs: a bus that opens has its device at once. */
function testOnGpu(name: string, body: (thread: GpuThread) => Promise<void>): void {
  Deno.test({
    name,
    ignore: missing !== undefined && !isRequired,
    fn: async () => {
      await using thread = await openGpuThread();
      await body(thread);
    },
  });
}

/** A shader over as many words as the output has, with what is done for word `at`. */
function shader(body: string, more: Partial<RuleShader> = {}): RuleShader {
  return {
    code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = id.x;
  if (at >= threads.x) { return; }
  ${body}
}`,
    threads: 256,
    ...more,
  };
}

/** Each word of the output from the word of the input. */
function wordwise(compute: (word: number, ctx: RuleContext, at: number) => number) {
  return (ctx: RuleContext): void => {
    const input = ctx.input(0), output = ctx.output(0);
    for (let at = 0; at < output.byteLength; at += 4) {
      output.setUint32(at, compute(input.getUint32(at), ctx, at >> 2));
    }
  };
}

const twice = defineRule({
  wgsl: shader("output0[at] = 2 * input0[at];"),
  compute: wordwise((word) => 2 * word),
});

function words(page: Page): Uint32Array {
  return new Uint32Array(page.read().slice().buffer);
}

function bytesOf(...numbers: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(numbers).buffer);
}

function pagesOf(bus: StateBus, count: number, size = 1024): Page[] {
  return Array.from({ length: count }, () => bus.createPage({ size }));
}

async function refusalOf(work: Promise<unknown>): Promise<MmsbError> {
  try {
    await work;
  } catch (error) {
    assert(isMmsbError(error), String(error));
    return error;
  }
  assert.fail("it is refused");
}

/** Digest and canonical export of a random program. */
async function endOf(seed: number, ticks: number, options: OpenOptions) {
  const storage = new MemoryStorage();
  // What a tick takes on must not depend on time.
  const bus = await StateBus.open({ storage, tickBudgetMs: 3_600_000, ...options });
  await new RuleTicks(seed).run(bus, ticks);
  const digest = bus.digest(), runs = bus.stats().device?.rules?.runs ?? 0;
  await bus.close();
  return { end: { digest, lines: [...exportStorage(storage, { canonical: true })] }, runs };
}

testOnGpu(
  "random programs come to the same bytes and the same log with and without a device",
  async () => {
    let runs = 0;
    const property = fc.asyncProperty(fc.nat(), async (seed) => {
      const cpu = await endOf(seed, 25, {});
      for (const workers of [0, 1]) {
        const limits = workers > 0 ? { workers, ruleTimeoutMs: 30_000 } : {};
        const gpu = await endOf(seed, 25, { device: "gpu", ...limits });
        assert.deepEqual(gpu.end, cpu.end);
        runs += gpu.runs;
      }
    });
    await fc.assert(property, { numRuns: 4 });
    assert(runs > 0, "shaders have run");
  },
);

testOnGpu(
  "a shader has its inputs, outputs, state, parameters and tick, and runs as often as it asks for",
  async () => {
    const rule = {
      wgsl: shader(
        `let left = previous0[(at + 255) & 255];
       output0[at] = left * params.factor + input1[at] + tick;
       output1[at] = -i32(at) + params.shift;
       state0[at] += params.step;`,
        {
          outputs: ["u32", "i32"],
          state: ["f32"],
          params: { factor: "u32", shift: "i32", step: "f32" },
          steps: 5,
        },
      ),
      compute(ctx: RuleContext) {
        const output = ctx.output(0), old = output.readInto(new Uint8Array(1024));
        const before = new Uint32Array(old.buffer);
        const { factor, shift, step } = ctx.params as Record<string, number>;
        for (let at = 0; at < 256; at++) {
          const sum = Math.imul(before[at + 255 & 255], factor) + ctx.input(1).getUint32(4 * at);
          output.setUint32(4 * at, sum + ctx.tick);
          ctx.output(1).setInt32(4 * at, shift - at);
          ctx.state(0).setFloat32(4 * at, ctx.state(0).getFloat32(4 * at) + step);
        }
      },
    };
    const ends: unknown[] = [];
    for (const device of ["cpu", "gpu"] as const) {
      await using bus = await StateBus.open({ device });
      const [a, b, c, d, e] = pagesOf(bus, 5);
      const params = { factor: 3, shift: -7, step: 0.5 };
      const binding = { inputs: [a, b], outputs: [c, d], state: [e], params };
      const handle = bus.rule(rule, { name: "all of it", ...binding });
      await bus.commit();
      for (let tick = 0; tick < 4; tick++) {
        await bus.commit(() => b.write(4 * tick, bytesOf(tick, 77)));
      }
      assert.equal(handle.device.on, device);
      assert.equal(handle.fired, 5);
      ends.push([[c, d, e].map((page) => [page.epoch, ...words(page)]), bus.digest()]);
      const { steps, runs, checks } = bus.stats().device?.rules ??
        { steps: 25, runs: 5, checks: 1 };
      assert.deepEqual([steps, runs, checks], [25, 5, 1]);
    }
    assert.deepEqual(ends[1], ends[0]);
  },
);

testOnGpu(
  "an output that stays as it is wakes nobody, and only what changed is a delta",
  async () => {
    await using bus = await StateBus.open({ device: "gpu", storage: new MemoryStorage() });
    const [a, b, c] = pagesOf(bus, 3);
    const high = defineRule({
      wgsl: shader("output0[at] = input0[at] >> 8;"),
      compute: wordwise((word) => word >>> 8),
    });
    bus.rule(high, { name: "high", inputs: [a], outputs: [b] });
    const after = bus.rule(twice, { name: "twice", inputs: [b], outputs: [c] });
    await bus.commit();
    assert.equal((await bus.commit(() => a.write(0, bytesOf(255)))).derived, 0);
    const fired = after.fired;
    const report = await bus.commit(() => a.write(40, bytesOf(256, 0, 512)));
    assert.deepEqual([report.derived, after.fired - fired], [4, 1]);
    assert.deepEqual([words(c)[10], words(c)[12]], [2, 4]);
    const history = await Array.fromAsync(await bus.history(b));
    assert.deepEqual(history.map(({ offset, length }) => [offset, length]), [[40, 4], [48, 4]]);
  },
);

testOnGpu(
  "of large pages only the blocks that changed come back, more of them where more change, to the same log",
  async () => {
    // The last block is not whole.
    const size = 4 * (12 * 1024 + 20), count = size / 4;
    const large = defineRule({
      wgsl: shader("output0[at] = 3 * input0[at];", { threads: count }),
      compute: wordwise((word) => 3 * word),
    });
    // Words at which a tick writes, over the edges of blocks, too; 0 words, all, and few again.
    const places = fc.array(fc.nat(count - 3), { maxLength: 3 });
    const edges = fc.constant([1023, 2047, count - 2]);
    const ticks = fc.array(fc.oneof(places, edges, fc.constant("all" as const)), {
      minLength: 6,
      maxLength: 14,
    });
    const end = async (device: "cpu" | "gpu", program: readonly (readonly number[] | "all")[]) => {
      const storage = new MemoryStorage();
      await using bus = await StateBus.open({ storage, device, tickBudgetMs: 3_600_000 });
      const [a, b, c] = pagesOf(bus, 3, size);
      bus.rule(large, { name: "large", inputs: [a], outputs: [b] });
      bus.rule(large, { name: "again", inputs: [b], outputs: [c] });
      await bus.commit();
      const read: number[] = [];
      for (const [tick, places] of program.entries()) {
        const before = bus.stats().device?.rules?.readBytes ?? 0;
        await bus.commit(() => {
          if (places === "all") a.write(0, new Uint8Array(size).fill(1 + tick));
          else for (const at of places) a.write(4 * at, bytesOf(7 * tick + 1, tick));
        });
        read.push((bus.stats().device?.rules?.readBytes ?? 0) - before);
      }
      assert.deepEqual(words(c), words(a).map((word) => 9 * word));
      return { log: [bus.digest(), ...exportStorage(storage, { canonical: true })], read };
    };
    await fc.assert(
      fc.asyncProperty(ticks, async (program) => {
        const gpu = await end("gpu", program);
        assert.deepEqual(gpu.log, (await end("cpu", program)).log);
      }),
      { numRuns: 6 },
    );
    const quiet = Array.from({ length: 8 }, (_, tick) => [tick]);
    const { read } = await end("gpu", [...quiet, "all", ...quiet]);
    // Of each page a list of 17 words, and one block.
    const little = 2 * (4 * 18 + 4096);
    assert.deepEqual(read.slice(0, 8), new Array(8).fill(little));
    assert.equal(read[8], little + 2 * size, "all has changed, and was not foreseen");
    assert.equal(read[9], 2 * size, "much has changed lately");
    assert.equal(read.at(-1), little);
  },
);

testOnGpu("what stays on the device is not sent again, and of what changes only that", async () => {
  await using bus = await StateBus.open({ device: "gpu" });
  const [a, b, c] = pagesOf(bus, 3);
  bus.rule(twice, { name: "first", inputs: [a], outputs: [b] });
  bus.rule(twice, { name: "second", inputs: [b], outputs: [c] });
  const sent = () => bus.stats().device!.rules!.uploadedBytes;
  await bus.commit(() => a.write(0, bytesOf(1)));
  assert.equal(sent(), 3 * 1024);
  for (let tick = 1; tick <= 5; tick++) {
    await bus.commit(() => a.write(8 * tick, bytesOf(tick)));
    assert.equal(sent(), 3 * 1024 + 4 * tick);
  }
  assert.deepEqual([...words(c).slice(0, 11)], [4, 0, 4, 0, 8, 0, 12, 0, 16, 0, 20]);
});

testOnGpu("tick behind tick, nothing of them piles up in the thread of the GPU", async (thread) => {
  await using bus = await StateBus.open({ device: "gpu" });
  const [a, b] = pagesOf(bus, 2);
  bus.rule(twice, { name: "twice", inputs: [a], outputs: [b] });
  for (let tick = 1; tick <= 300; tick++) {
    a.write(0, bytesOf(tick));
    await bus.tick();
  }
  assert.equal(words(b)[0], 600);
  const { unsettled } = await thread.ask<{ unsettled: number }>({ kind: "statistics" });
  assert(unsettled < 300, `${unsettled} of 600 reads`);
});

testOnGpu(
  "rules behind those of a device and of this thread come in the same order, and the first that fails is named",
  async () => {
    const named: unknown[] = [];
    for (const device of ["cpu", "gpu"] as const) {
      for (const isShaderFirst of [true, false]) {
        await using bus = await StateBus.open({ device });
        const [a, b, c] = pagesOf(bus, 3);
        const bind = [
          () => bus.rule(twice, { name: "shader", inputs: [a], outputs: [b] }),
          () => bus.rule(mirror({ length: 8 }), { name: "mirror", inputs: [a], outputs: [c] }),
        ];
        (isShaderFirst ? bind : bind.reverse()).forEach((bind) => bind());
        const failing = defineRule({
          compute(ctx) {
            if (ctx.input(0).getUint32(4) !== 0) throw new Error("no");
          },
        });
        for (const [name, page] of [["behind the mirror", c], ["behind the shader", b]] as const) {
          bus.rule(failing, { name, inputs: [page], outputs: [bus.createPage()] });
        }
        await bus.commit(() => a.write(0, bytesOf(1)));
        const { message, values } = await refusalOf(bus.commit(() => a.write(4, bytesOf(1))));
        named.push(`${message} ${JSON.stringify(values)}`);
        assert.equal(values.rule, `behind the ${isShaderFirst ? "shader" : "mirror"}`);
      }
    }
    assert.deepEqual(named.slice(2), named.slice(0, 2));
  },
);

testOnGpu(
  "a tick that is refused takes back what the device did, and the next one starts from there",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const [a, b, c] = pagesOf(bus, 3);
    let isBad = false;
    const picky = defineRule({
      compute(ctx) {
        if (isBad) throw new Error("not now");
        ctx.output(0).setUint32(0, ctx.input(0).getUint32(0));
      },
    });
    bus.rule(twice, { name: "twice", inputs: [a], outputs: [b] });
    bus.rule(picky, { name: "picky", inputs: [b], outputs: [c] });
    await bus.commit(() => a.write(0, bytesOf(1, 2, 3)));
    const digest = bus.digest();
    isBad = true;
    const refusal = await refusalOf(bus.commit(() => a.write(4, bytesOf(50, 60))));
    assert.deepEqual([refusal.code, refusal.values.rule], ["rule", "picky"]);
    assert.equal(bus.digest(), digest);
    isBad = false;
    await bus.commit(() => a.write(8, bytesOf(9)));
    assert.deepEqual([...words(b).slice(0, 4)], [2, 4, 18, 0]);
    assert.equal(words(c)[0], 2);
  },
);

testOnGpu(
  "of a shader and its twin that disagree the tick is refused, with page, word and both values",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const [a, b, c] = pagesOf(bus, 3);
    const wrong = defineRule({
      wgsl: shader("output0[at] = 2 * input0[at] + select(0u, 1u, at == 200);"),
      compute: wordwise((word) => 2 * word),
    });
    await bus.commit();
    const digest = bus.digest();
    const handle = bus.rule(wrong, { name: "wrong", inputs: [a], outputs: [b] });
    const refusal = await refusalOf(bus.commit(() => a.write(0, bytesOf(4))));
    assert.deepEqual([refusal.code, refusal.values.rule], ["rule", "wrong"]);
    const cause = refusal.cause as MmsbError;
    const { page, word, shader: ours, twin } = cause.values;
    assert.deepEqual([page, word, ours, twin], [b.id, 200, 1, 0]);
    assert.equal(bus.digest(), digest);
    assert.throws(() => handle.unbind(), { code: "invalid-handle" }, "its tick never was");
    // What the shader does not name the twin must not write.
    const silent = defineRule({
      wgsl: shader("output0[at] = input0[at];"),
      compute(ctx) {
        ctx.output(1).setUint32(8, 5);
      },
    });
    bus.rule(silent, { name: "silent", inputs: [a], outputs: [b, c] });
    const other = await refusalOf(bus.tick());
    assert.deepEqual((other.cause as MmsbError).values.page, c.id);
  },
);

testOnGpu(
  "floats may be apart as far as the rule allows, and those that are not finite are refused where asked",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const root = (tolerance?: number) =>
      defineRule({
        wgsl: shader("output0[at] = exp(input0[at]);", {
          inputs: ["f32"],
          outputs: ["f32"],
          ...(tolerance === undefined ? {} : { tolerance }),
        }),
        compute(ctx) {
          // Some fifty floats too much.
          for (let at = 0; at < 1024; at += 4) {
            const value = Math.exp(ctx.input(0).getFloat32(at)) * (1 + 50 * 2 ** -23);
            ctx.output(0).setFloat32(at, value);
          }
        },
      });
    const [a, b] = pagesOf(bus, 2);
    await bus.commit(() => a.write(0, new Uint8Array(Float32Array.of(1, -2, 3.5).buffer)));
    bus.rule(root(), { name: "default", inputs: [a], outputs: [b] });
    assert.equal((await refusalOf(bus.tick())).code, "rule");
    bus.rule(root(100), { name: "wide", inputs: [a], outputs: [b], finite: true });
    await bus.tick();
    assert.equal(Math.round(new Float32Array(words(b).buffer)[0] * 100), 272);
    const refusal = await refusalOf(
      bus.commit(() => a.write(12, new Uint8Array(Float32Array.of(100).buffer))),
    );
    assert.match((refusal.cause as Error).message, /Cannot write Infinity: .* finite/);
  },
);

testOnGpu(
  "a shader that parts from its twin later is told by the next run that is checked, and by no other",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    // They agree on words below 100.
    const parting = (checkEvery: number) =>
      defineRule({
        wgsl: shader("output0[at] = min(input0[at], 100);", { checkEvery }),
        compute: wordwise((word) => word),
      });
    const [a, b, c] = pagesOf(bus, 3);
    bus.rule(parting(0), { name: "once", inputs: [a], outputs: [b] });
    bus.rule(parting(3), { name: "every third", inputs: [a], outputs: [c] });
    await bus.commit(() => a.write(0, bytesOf(7)));
    const checked = bus.stats().device!.rules.checks;
    assert.equal(checked, 2, "the first run of each");
    const ends: string[] = [];
    for (let run = 2; run <= 4; run++) {
      const end = await bus.commit(() => a.write(0, bytesOf(100 + run))).then(() => "", refused);
      ends.push(end);
    }
    assert.equal(ends.filter((end) => end !== "").length, 1, ends.join("; "));
    assert.match(ends.join(""), /every third/);
  },
);

function refused(error: unknown): string {
  assert.equal((error as MmsbError).code, "rule");
  return (error as MmsbError).message;
}

testOnGpu(
  "a shader that does not compile is told with its line, before the tick; its twin runs then",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const bad: [Partial<RuleShader>, string, RegExp, number?][] = [
      [
        { code: shader("output0[at] = ;").code },
        "usage",
        /Cannot compile shader "bad" at line 4/,
        4,
      ],
      [{ code: shader("output0[at] = 1.5f;").code }, "usage", /line 4/, 4],
      [{ code: shader("output0[at] = nothing;").code }, "usage", /line 4, .*nothing/, 4],
      [{ code: `const threads = 5;\n${shader("").code}` }, "usage", /behind the code/, 0],
      [
        { code: shader("output0[at] = 1;").code.replace("(64)", "(4096)") },
        "limit",
        /4096 invocations in a workgroup/,
      ],
      [
        { code: shader("output0[at] = 1;").code.replace("(64)", "(1)"), threads: 70_000 },
        "limit",
        /70000 workgroups in x/,
      ],
    ];
    for (const [wgsl, code, message, line] of bad) {
      const [a, b] = pagesOf(bus, 2);
      const rule = defineRule({ wgsl: shader("", wgsl), compute: wordwise((word) => word + 1) });
      const handle = bus.rule(rule, { name: "bad", inputs: [a], outputs: [b], replace: true });
      const refusal = await refusalOf(bus.tick());
      assert.deepEqual([refusal.code, refusal.values.line], [code, line]);
      assert.match(refusal.message, message);
      assert.equal(await handle.ready.catch((error) => error), refusal);
      await bus.tick();
      assert.deepEqual([handle.device.on, handle.fired, words(b)[3]], ["cpu", 1, 1]);
      assert.match(handle.device.reason, message);
    }
  },
);

testOnGpu("a shader of more pages than the device has room for is refused by name", async () => {
  await using bus = await StateBus.open({ device: "gpu" });
  const pages = pagesOf(bus, 70, 16), output = bus.createPage({ size: 16 });
  const all = pages.map((_, i) => `input${i}[0]`).join(" + ");
  const rule = defineRule({ wgsl: shader(`output0[0] = ${all};`), compute() {} });
  bus.rule(rule, { name: "many", inputs: pages, outputs: [output] });
  const refusal = await refusalOf(bus.tick());
  assert.equal(refusal.code, "limit");
  assert.match(refusal.message, /shader "many" as it has 71 pages: this device has \d+ at most/);
});

testOnGpu(
  "pages that are no words, tables and rules without a shader run on the CPU, and say so",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const odd = bus.createPage({ size: 1022 }), [a, b] = pagesOf(bus, 2);
    const rows = bus.createTable(table({ x: "u32" }), { name: "rows" });
    const count = defineRule({
      wgsl: shader("output0[at] = arrayLength(&input0);"),
      compute(ctx) {
        for (let at = 0; at < 1024; at += 4) {
          ctx.output(0).setUint32(at, ctx.input(0).byteLength >> 2);
        }
      },
    });
    const handles = [
      bus.rule(count, { name: "odd", inputs: [odd], outputs: [a] }),
      bus.rule(count, { name: "table", inputs: [rows], outputs: [b] }),
      bus.rule(mirror({ length: 4 }), {
        name: "mirror",
        inputs: [odd],
        outputs: [bus.createPage()],
      }),
    ];
    await bus.commit();
    const reasons = handles.map(({ device }) => `${device.on}: ${device.reason}`);
    assert.match(reasons[0], new RegExp(`^cpu: page ${odd.id} has 1022 bytes`));
    assert.match(reasons[1], /^cpu: input \d+ is a table/);
    assert.equal(reasons[2], "cpu: it has no shader");
    assert.equal(words(a)[0], 255);
    await bus.commit(() => odd.resize(1024));
    await bus.commit(() => odd.write(0, bytesOf(1)));
    assert.deepEqual([handles[0].device.on, words(a)[0]], ["gpu", 256]);
  },
);

testOnGpu(
  "a device that is lost in the middle of a level: the twins run, nothing is lost, and the next device goes on",
  async (thread) => {
    const end = async (device: "cpu" | "gpu") => {
      const storage = new MemoryStorage();
      const bus = await StateBus.open({ storage, device });
      const [a, b, c, d] = pagesOf(bus, 4);
      bus.rule(twice, { name: "twice", inputs: [a], outputs: [b] });
      bus.rule(twice, { name: "again", inputs: [a], outputs: [c] });
      bus.rule(mirror({ length: 64 }), { name: "mirror", inputs: [b], outputs: [d] });
      await bus.commit(() => a.write(0, bytesOf(1, 2, 3)));
      const before = thread.generation;
      if (device === "gpu") await thread.ask({ kind: "destroy", submits: 1 });
      // Doubles are applied by the CPU, so the next job is that of the rules.
      await bus.commit(() => a.combine("f64", "add", 16, 1.25));
      const { twins } = bus.stats().device?.rules ?? { twins: 2 };
      assert.equal(twins, 2);
      await thread.waitBeforeTick();
      assert.equal(thread.generation === before, device === "cpu");
      await bus.commit(() => a.write(24, bytesOf(6, 7)));
      assert.deepEqual([...words(d).slice(0, 8)], [2, 4, 6, 0, 0, 2 * 0x3ff40000, 12, 14]);
      const digest = bus.digest(), rules = bus.stats().device?.rules;
      await bus.close();
      return { digest, rules, lines: [...exportStorage(storage, { canonical: true })] };
    };
    const cpu = await end("cpu"), gpu = await end("gpu");
    assert.deepEqual(gpu.lines, cpu.lines);
    assert.equal(gpu.digest, cpu.digest);
    assert.equal(gpu.rules?.runs, 4, "before and after the loss");
    assert.equal(gpu.rules?.checks, 4, "each device is compared with the twins");
  },
);

testOnGpu(
  "rules keep their place over many ticks, unbinding, replacing and an opening",
  async () => {
    const storage = new MemoryStorage();
    let bus = await StateBus.open({ storage, device: "gpu" });
    const [a, b] = [
      bus.createPage({ size: 1024, name: "a" }),
      bus.createPage({ size: 1024, name: "b" }),
    ];
    const handle = bus.rule(twice, { name: "rule", inputs: [a], outputs: [b] });
    await bus.commit(() => a.write(0, bytesOf(7)));
    handle.unbind();
    await bus.commit(() => b.write(0, bytesOf(1)));
    bus.rule(twice, { name: "rule", inputs: [a], outputs: [b] });
    await bus.commit(() => a.write(4, bytesOf(8)));
    assert.deepEqual([...words(b).slice(0, 3)], [14, 16, 0]);
    const thrice = {
      version: 2,
      wgsl: shader("output0[at] = 3 * input0[at];"),
      compute: wordwise((word) => 3 * word),
    };
    bus.rule(thrice, { name: "rule", inputs: [a], outputs: [b], replace: true });
    await bus.commit();
    assert.deepEqual([...words(b).slice(0, 3)], [21, 24, 0]);
    await bus.close();
    bus = await StateBus.open({ storage, device: "gpu" });
    const [input, output] = [bus.find("a")!, bus.find("b")!];
    const again = bus.rule(thrice, { name: "rule", inputs: [input], outputs: [output] });
    assert.equal((await bus.tick()).fired, 0, "it goes on where it was");
    await bus.commit(() => input.write(8, bytesOf(1)));
    assert.deepEqual([again.device.on, ...words(output).slice(0, 3)], ["gpu", 21, 24, 3]);
    await bus.close();
  },
);

testOnGpu(
  "a rule from a module runs its shader, too, and a hundred rules over one page are one level",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const a = bus.createPage({ size: 32 }), outputs = pagesOf(bus, 100, 32);
    const handles = outputs.map((output, i) =>
      bus.rule(MODULE, { name: `shade ${i}`, export: "shade", inputs: [a], outputs: [output] })
    );
    await bus.commit(() => a.write(0, bytesOf(160, 32)));
    await bus.commit(() => a.write(4, bytesOf(64)));
    for (const output of outputs) assert.deepEqual([...words(output).slice(0, 3)], [10, 4, 0]);
    assert(handles.every(({ device }) => device.on === "gpu"));
    assert.equal(bus.stats().device?.rules?.runs, 200);
  },
);

testOnGpu(
  "rules wait for their tick as others do: steps of a batch rule run in one go",
  async () => {
    await using bus = await StateBus.open({ device: "gpu" });
    const [a, b] = pagesOf(bus, 2);
    const grow = defineRule({
      // So many that they go to the device in several parts.
      wgsl: shader("output0[at] = previous0[at] + input0[at];", { steps: 600, threads: [256, 64] }),
      compute: wordwise((word, ctx, at) => word + ctx.output(0).getUint32(4 * at)),
    });
    const binding = { inputs: [a], outputs: [b], mode: "batch", every: 4 } as const;
    const handle = bus.rule(grow, { name: "grow", ...binding });
    await bus.commit(() => a.write(0, bytesOf(1)));
    const first = words(b)[0];
    for (let tick = 2; tick <= 8; tick++) {
      await bus.commit(() => a.write(0, bytesOf(tick)));
      assert.equal(b.stale, tick % 4 !== 0);
    }
    assert.equal(words(b)[0] - first, 600 * (4 + 8));
    assert.equal(handle.fired, 3);
  },
);

Deno.test("without a device, or one that is not worth it, a rule with a shader runs on the CPU and says why", async () => {
  for (const [options, reason] of [[{}, /device "cpu"/], [{ device: "auto" }, /./]] as const) {
    await using bus = await StateBus.open(options);
    const [a, b] = pagesOf(bus, 2);
    const handle = bus.rule(twice, { name: "twice", inputs: [a], outputs: [b] });
    await bus.commit(() => a.write(0, bytesOf(21)));
    assert.deepEqual([words(b)[0], handle.device.on], [42, "cpu"]);
    assert.match(handle.device.reason, reason);
  }
});

Deno.test("what is wrong with a shader without looking at a device is refused where it is defined or bound", async () => {
  const refused: [unknown, string, RegExp][] = [
    [{ code: "", threads: 1 }, "usage", /Cannot find entry "main"/],
    [{ ...shader(""), entry: "other" }, "usage", /Cannot find entry "other"/],
    [{ ...shader(""), threads: 0 }, "out-of-bounds", /threads/],
    [{ ...shader(""), threads: [1, 2, 3, 4] }, "usage", /threads/],
    [{ ...shader(""), threads: 2n }, "usage", /threads/],
    [{ ...shader(""), steps: NaN }, "usage", /steps/],
    [{ ...shader(""), steps: 2 ** 40 }, "limit", /steps/],
    [{ ...shader(""), inputs: ["f64"] }, "usage", /f64, which WGSL does not know/],
    [{ ...shader(""), outputs: ["i64"] }, "usage", /i64, which WGSL does not know/],
    [{ ...shader(""), state: "u32" }, "usage", /state/],
    [{ ...shader(""), params: { "a b": "u32" } }, "usage", /a b/],
    [{ ...shader(""), params: { a: "vec2" } }, "usage", /parameter a/],
    [{ ...shader(""), tolerance: -1 }, "out-of-bounds", /ulp/],
    [{ ...shader(""), tolerance: { absolute: NaN } }, "usage", /absolute/],
    [{ ...shader(""), colour: 1 }, "usage", /colour/],
    [{ ...shader(""), code: 5 }, "usage", /code/],
    [{ ...shader(""), code: "x".repeat(2 ** 21) }, "limit", /2097152 characters/],
    [
      {
        ...shader(""),
        code: `@group(0) @binding(9) var<storage> x: array<u32>;\n${shader("").code}`,
      },
      "usage",
      /"@group" in line 1/,
    ],
    [{ ...shader(""), code: "@compute @workgroup_size(N) fn main() {}" }, "usage", /workgroup/],
    [5, "usage", /wgsl of a rule/],
    [null, "usage", /wgsl of a rule/],
  ];
  for (const [wgsl, code, message] of refused) {
    const define = () => defineRule({ wgsl: wgsl as RuleShader, compute() {} });
    assert.throws(define, (error) => {
      assert(isMmsbError(error) && error.code === code, `${String(error)} for ${String(wgsl)}`);
      assert.match(error.message, message);
      return true;
    });
  }
  const incremental = { wgsl: shader(""), compute() {}, fromDeltas() {} };
  assert.throws(() => defineRule(incremental), { code: "usage" });
  assert.throws(() => defineRule({ wgsl: shader("") } as never), { code: "usage" });
  await using bus = await StateBus.open();
  const [a, b] = pagesOf(bus, 2), binding = { name: "r", inputs: [a], outputs: [b] };
  const bind = (wgsl: RuleShader, params?: unknown) => () =>
    bus.rule({ wgsl, compute() {} }, { ...binding, params });
  for (const name of ["input1", "output1", "previous1", "state0"]) {
    assert.throws(bind(shader(`_ = ${name}[0];`)), { code: "usage", message: new RegExp(name) });
  }
  const typed = shader("", { params: { n: "u32" } });
  for (const params of [undefined, { n: -1 }, { n: 0.5 }, { n: "1" }, { m: 1 }, [1]]) {
    assert.throws(bind(typed, params ?? null), { code: "usage", message: /params\.n/ });
  }
  assert.equal(bus.graph.version, 0);
  // Comments may say what they like.
  bind(shader("// input9 @group(3)\n/* state7 /* output4 */ */"))();
});

Deno.test("deltas of a rule with a shader are the spans of words that differ, however compute writes them", async () => {
  const copy = shader("output0[at] = input0[at]; state0[at] = input0[at];");
  const writing: Record<string, (ctx: RuleContext, bytes: Uint8Array) => void> = {
    whole(ctx, bytes) {
      ctx.output(0).set(0, bytes);
      ctx.state(0).set(0, bytes);
    },
    halves(ctx, bytes) {
      for (const at of [0, 512]) ctx.output(0).set(at, bytes.subarray(at, at + 512));
      for (const at of [512, 0]) ctx.state(0).set(at, bytes.subarray(at, at + 512));
    },
    words(ctx, bytes) {
      for (let at = 0; at < 1024; at += 4) {
        ctx.output(0).set(at, bytes.subarray(at, at + 4));
        ctx.state(0).setUint32(at, ctx.input(0).getUint32(at));
      }
    },
    bytes(ctx, bytes) {
      for (let at = 1023; at >= 0; at--) {
        ctx.output(0).setUint8(at, bytes[at]);
        ctx.state(0).setUint8(1023 - at, bytes[1023 - at]);
      }
    },
  };
  for (const [name, write] of Object.entries(writing)) {
    await using bus = await StateBus.open();
    const [a, b, c] = pagesOf(bus, 3);
    const compute = (ctx: RuleContext) => write(ctx, ctx.input(0).readInto(new Uint8Array(1024)));
    bus.rule({ wgsl: copy, compute }, { name, inputs: [a], outputs: [b], state: [c] });
    await bus.commit(() => a.write(0, new Uint8Array(1024).fill(1)));
    const before = b.epoch;
    const report = await bus.commit(() => {
      for (const at of [0, 4, 12, 500, 508, 512, 516, 1020]) a.write(at, bytesOf(at + 2));
    });
    // 0 and 4, 12, 500, 508 to 516, 1020.
    assert.deepEqual([name, report.derived, b.epoch - before, c.epoch], [name, 10, 5, 6]);
    assert.deepEqual([b.read(), c.read()], [a.read(), a.read()], name);
  }
});
