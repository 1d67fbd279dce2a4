import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, type MmsbError } from "../../base/mod.ts";
import { GpuDevice } from "./gpu_device.ts";
import { EARLY_READ_VERSIONS } from "./read_back.ts";
import { testWithGpu } from "./testdata/gpu_test.ts";

const STORAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

const ADD_INDEX = `
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u) {
  words[id.x] += id.x;
}`;

/** Numbers that are no size and no offset, with the codes that may refuse them. */
const NO_NUMBERS: readonly unknown[] = [
  NaN,
  Infinity,
  -Infinity,
  1.5,
  "4",
  4n,
  null,
  undefined,
  {},
  [],
  Symbol("x"),
];

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    assert(isMmsbError(error), `an error of ours is thrown, not ${String(error)}`);
    return error.code;
  }
  return "nothing";
}

async function rejectionOf(promise: Promise<unknown>): Promise<MmsbError> {
  const error = await promise.then(() => undefined, (reason) => reason);
  assert(isMmsbError(error), `an error of ours is thrown, not ${String(error)}`);
  return error;
}

testWithGpu("GpuDevice.open() says what the adapter is and can", (gpu) => {
  const { name, isSoftware, limits, features } = gpu.adapter;
  assert(name.length > 0);
  assert.equal(typeof isSoftware, "boolean");
  assert(limits.maxBufferSize >= 268_435_456, "a device has the adapter's limits");
  assert.equal(gpu.device.limits.maxBufferSize, limits.maxBufferSize);
  assert.equal(gpu.device.limits.maxStorageBufferBindingSize, limits.maxStorageBufferBindingSize);
  assert.deepEqual(features, [...features].sort());
  if (/llvmpipe/.test(name)) assert(isSoftware);
  assert(!gpu.isLost);
  assert.equal(gpu.lossReason, "");
});

testWithGpu(
  "GpuDevice.createBuffer() refuses sizes that are none, and those above the limits",
  (gpu) => {
    const { maxBufferSize, maxStorageBufferBindingSize } = gpu.adapter.limits;
    const create = (bytes: unknown, usage: unknown = STORAGE, label: unknown = "b") => () =>
      gpu.createBuffer(bytes as number, usage as number, label as string);
    for (const bytes of [...NO_NUMBERS, 0, -0]) assert.equal(codeOf(create(bytes)), "usage");
    for (const bytes of [5, 6, 7, 1001]) assert.equal(codeOf(create(bytes)), "usage");
    for (
      const bytes of [
        -1,
        -4,
        1,
        3,
        2 ** 32,
        2 ** 33,
        2 ** 53 - 4,
        maxBufferSize - maxBufferSize % 4 + 4,
      ]
    ) assert.equal(codeOf(create(bytes)), "limit", `${bytes} bytes`);
    assert.equal(codeOf(create(maxStorageBufferBindingSize + 4)), "limit");
    for (
      const usage of [
        ...NO_NUMBERS.filter((value) => value !== undefined),
        0,
        -1,
        0x400,
        2 ** 32,
        GPUBufferUsage.MAP_READ,
      ]
    ) {
      assert.equal(codeOf(create(16, usage)), "usage");
    }
    assert.equal(
      codeOf(create(16, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST)),
      "usage",
      "a buffer that can be mapped comes from readBack()",
    );
    for (const label of [7, null, undefined]) {
      assert.equal(
        codeOf(() => gpu.createBuffer(16, STORAGE, label as unknown as string)),
        "usage",
      );
    }
    assert.equal(gpu.buffers, 0);
    assert.equal(gpu.bufferBytes, 0);
    const error = (() => {
      try {
        return gpu.createBuffer(2 ** 32, STORAGE, "b");
      } catch (thrown) {
        return thrown as MmsbError;
      }
    })();
    assert(
      "message" in error && error.message.includes("4294967296"),
      "the message names the size",
    );
  },
);

testWithGpu(
  "GpuDevice.allocate() and readBack() refuse as createBuffer() does, and keep nothing",
  async (gpu) => {
    for (const bytes of [0, 3, NaN, 6]) {
      const code = bytes === 3 ? "limit" : "usage";
      assert.equal((await rejectionOf(gpu.allocate(bytes, STORAGE, "b"))).code, code);
      assert.equal((await rejectionOf(gpu.readBack(bytes))).code, code);
    }
    assert.equal((await rejectionOf(gpu.allocate(2 ** 32, STORAGE, "b"))).code, "limit");
    assert.equal((await rejectionOf(gpu.readBack(2 ** 32))).code, "limit");
    assert.equal(gpu.buffers, 0);
    const buffer = await gpu.allocate(64, STORAGE, "\0 a \ud800 name");
    assert.equal(gpu.bufferBytes, 64);
    gpu.destroyBuffer(buffer);
    gpu.destroyBuffer(buffer);
    assert.equal(gpu.bufferBytes, 0);
  },
);

testWithGpu(
  "GpuDevice.write() and read() refuse what is not inside, and all that is no range",
  async (gpu) => {
    const buffer = gpu.createBuffer(64, STORAGE, "b");
    const write = (offset: unknown, view: unknown) => () =>
      gpu.write(buffer, offset as number, view as Uint8Array);
    const bytes = (length: number) => new Uint8Array(length);
    for (const offset of NO_NUMBERS) assert.equal(codeOf(write(offset, bytes(4))), "usage");
    for (const offset of [-4, 64, 68, 2 ** 32, 2 ** 53 - 1]) {
      assert.equal(codeOf(write(offset, bytes(4))), "out-of-bounds", `offset ${offset}`);
    }
    assert.equal(codeOf(write(0, bytes(68))), "out-of-bounds");
    assert.equal(codeOf(write(60, bytes(8))), "out-of-bounds");
    assert.equal(codeOf(write(2, bytes(4))), "usage");
    assert.equal(codeOf(write(0, bytes(3))), "usage");
    for (const view of [undefined, null, 4, "abcd", [1, 2, 3, 4], new ArrayBuffer(4), {}]) {
      assert.equal(codeOf(write(0, view)), "usage");
    }
    for (const other of [undefined, null, {}, 7]) {
      assert.equal(codeOf(() => gpu.write(other as unknown as GPUBuffer, 0, bytes(4))), "usage");
    }
    const read = (offset: unknown, target: unknown) =>
      rejectionOf(gpu.read(buffer, offset as number, target as Uint8Array));
    assert.equal((await read(64, bytes(4))).code, "out-of-bounds");
    assert.equal((await read(-4, bytes(4))).code, "out-of-bounds");
    assert.equal((await read(0, bytes(5))).code, "usage");
    assert.equal((await read(NaN, bytes(4))).code, "usage");
    assert.equal((await read(0, new Uint32Array(1))).code, "usage");
    assert.equal((await read(0, undefined)).code, "usage");
    assert.equal(gpu.buffers, 1, "what was refused left no buffer");
  },
);

testWithGpu(
  "GpuDevice.write() takes every kind of view, none of which ends the process",
  async (gpu) => {
    const buffer = gpu.createBuffer(32, STORAGE, "b");
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const resized = new ArrayBuffer(16, { maxByteLength: 32 });
    const outside = new Uint8Array(resized, 8, 8);
    const tracking = new Uint8Array(resized);
    resized.resize(8);
    // Empty views, of which Deno's own call panics.
    for (const view of [detached, outside, new Uint8Array(0), new DataView(new ArrayBuffer(0))]) {
      gpu.write(buffer, 0, view);
    }
    tracking.fill(9);
    gpu.write(buffer, 24, tracking);
    const shared = new SharedArrayBuffer(8, { maxByteLength: 64 });
    new Uint8Array(shared).fill(1);
    gpu.write(buffer, 0, new Uint32Array(shared));
    gpu.write(buffer, 8, new Float64Array(new BigUint64Array([0x0303030303030303n]).buffer));
    gpu.write(buffer, 16, new DataView(new Uint8Array(12).fill(5).buffer, 2, 8));
    const found = new Uint8Array(32);
    await gpu.read(buffer, 0, found);
    assert.deepEqual([...found], [1, 3, 5, 9].flatMap((byte) => new Array(8).fill(byte)));
    await gpu.read(buffer, 32, new Uint8Array(0));
  },
);

testWithGpu(
  "GpuDevice refuses a buffer that is destroyed, and one of another device",
  async (gpu) => {
    await using other = await GpuDevice.open();
    const theirs = other.createBuffer(16, STORAGE, "theirs");
    const gone = gpu.createBuffer(16, STORAGE, "gone");
    gpu.destroyBuffer(gone);
    for (const buffer of [theirs, gone]) {
      assert.equal(codeOf(() => gpu.write(buffer, 0, new Uint8Array(4))), "usage");
      assert.equal((await rejectionOf(gpu.read(buffer, 0, new Uint8Array(4)))).code, "usage");
    }
    gpu.destroyBuffer(theirs);
    assert.equal(other.buffers, 1, "a device frees its own buffers only");
  },
);

testWithGpu(
  "ReadBack.read() gives the bytes of each submission, whatever happened between two",
  async (gpu) => {
    const buffer = gpu.createBuffer(64, STORAGE, "b");
    const pipeline = await gpu.pipeline(ADD_INDEX, { label: "add" });
    const group = gpu.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    });
    const backs = [await gpu.readBack(64), await gpu.readBack(128, "larger")];
    const { readsEarly } = gpu;
    assert.equal(readsEarly, EARLY_READ_VERSIONS.includes(Deno.version.deno));
    const found = new Uint32Array(16);
    for (let round = 1; round <= 30; round++) {
      const back = backs[round % 2];
      await gpu.checked("add", () => {
        const encoder = gpu.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(1);
        pass.end();
        encoder.copyBufferToBuffer(buffer, 0, back.buffer, 0, 64);
        gpu.queue.submit([encoder.finish()]);
      });
      found.fill(0);
      const wait = back.read(new Uint8Array(found.buffer));
      assert.equal(wait === undefined, readsEarly);
      await wait;
      assert.deepEqual([...found], Array.from({ length: 16 }, (_, index) => index * round));
      const part = new Uint8Array(8);
      await back.read(part, 40);
      assert.deepEqual([...new Uint32Array(part.buffer)], [10 * round, 11 * round]);
      // Now and then Deno's sleep is over between two reads.
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 15));
    }
  },
);

testWithGpu(
  "ReadBack.read() refuses ranges that are none, and a buffer that is destroyed",
  async (gpu) => {
    const back = await gpu.readBack(32);
    const read = (target: unknown, offset?: unknown) => () =>
      back.read(target as Uint8Array, offset as number);
    for (const target of [undefined, null, 4, new Uint32Array(2), new ArrayBuffer(8), "12345678"]) {
      assert.equal(codeOf(read(target)), "usage");
    }
    for (const offset of NO_NUMBERS.filter((value) => value !== undefined)) {
      assert.equal(codeOf(read(new Uint8Array(4), offset)), "usage");
    }
    assert.equal(codeOf(read(new Uint8Array(4), 4)), "usage");
    assert.equal(codeOf(read(new Uint8Array(5))), "usage");
    assert.equal(codeOf(read(new Uint8Array(36))), "out-of-bounds");
    assert.equal(codeOf(read(new Uint8Array(8), 32)), "out-of-bounds");
    assert.equal(codeOf(read(new Uint8Array(8), -8)), "out-of-bounds");
    assert.equal(codeOf(read(new Uint8Array(8), 2 ** 32)), "out-of-bounds");
    assert.equal(codeOf(read(new Uint8Array(0), 32)), "nothing");
    back.destroy();
    back.destroy();
    assert.equal(codeOf(read(new Uint8Array(4))), "usage");
    assert.equal(gpu.buffers, 0);
    // Freed behind its back: the mapping is refused, late or early, and nothing else happens.
    const freed = await gpu.readBack(32);
    gpu.destroyBuffer(freed.buffer);
    const target = new Uint8Array(8).fill(7);
    assert.equal((await rejectionOf(Promise.resolve(freed.read(target)))).code, "gpu");
    assert.deepEqual(target, new Uint8Array(8).fill(7));
    gpu.takeError();
  },
);

testWithGpu(
  "GpuDevice.checked() reports what the driver refuses, and calls at once do not mix",
  async (gpu) => {
    const small = gpu.createBuffer(16, STORAGE, "small");
    const overrun = () => {
      const encoder = gpu.device.createCommandEncoder();
      encoder.copyBufferToBuffer(small, 8, gpu.createBuffer(16, STORAGE, "t"), 0, 16);
      gpu.queue.submit([encoder.finish()]);
    };
    const outcomes = await Promise.allSettled([
      gpu.checked("go well", () => 1),
      gpu.checked("copy too much", overrun),
      gpu.checked("go well", () => 3),
      gpu.checked("throw", () => {
        throw new RangeError("not ours");
      }),
    ]);
    assert.deepEqual(outcomes.map(({ status }) => status), [
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
    ]);
    const [, copied, , threw] = outcomes.map((outcome) =>
      outcome.status === "rejected" ? outcome.reason as MmsbError : undefined
    );
    assert.equal(copied?.code, "gpu");
    assert.match(copied?.message ?? "", /Cannot copy too much on the GPU: .*overrun/);
    assert.match(threw?.message ?? "", /not ours/);
    assert.equal(gpu.takeError(), undefined, "a checked error is not reported twice");
  },
);

testWithGpu(
  "GpuDevice.takeError() gives the first error outside of checked(), once",
  async (gpu) => {
    const encoder = gpu.device.createCommandEncoder();
    encoder.copyBufferToBuffer(
      gpu.createBuffer(16, STORAGE, "a"),
      0,
      gpu.createBuffer(16, STORAGE, "b"),
      8,
      16,
    );
    gpu.queue.submit([encoder.finish()]);
    await new Promise((resolve) => setTimeout(resolve, 10));
    const error = gpu.takeError();
    assert.equal(error?.code, "gpu");
    assert.match(error?.message ?? "", /overrun/);
    assert.equal(gpu.takeError(), undefined);
  },
);

testWithGpu(
  "GpuDevice.pipeline() names line, column and text of what is wrong in a shader",
  async (gpu) => {
    const refusal = (code: unknown, options: unknown = { label: "mine" }) =>
      rejectionOf(gpu.pipeline(code as string, options as { label: string }));
    const body = (text: string) => `@compute @workgroup_size(1)\nfn main() {\n${text}\n}`;
    const unknownName = await refusal(body("  let a = 1;\n  let b = nobody;"));
    assert.equal(unknownName.code, "usage");
    assert.equal(unknownName.values.line, 4);
    assert.equal(unknownName.values.column, 11);
    assert.match(String(unknownName.values.text), /nobody/);
    assert.match(unknownName.message, /^Cannot compile shader "mine" at line 4, column 11: /);
    const behind = await refusal(`// ours\n// ours\n${body("  let b = nobody;")}`, {
      label: "mine",
      lineOffset: 2,
    });
    assert.equal(behind.values.line, 3);
    const invalid = await refusal(
      `@group(0) @binding(0) var<storage, read> a: array<u32>;\n${body("a[0] = 1u;")}`,
    );
    assert.equal(invalid.values.line, 4);
    assert.match(String(invalid.values.text), /invalid: .*store/);
    for (
      const code of [
        "",
        " ",
        "not a shader",
        "fn main() {}",
        "@compute @workgroup_size(0) fn main() {}",
        "@compute @workgroup_size(100000) fn main() {}",
        "@compute @workgroup_size(1) fn a() {} @compute @workgroup_size(1) fn b() {}",
        "@vertex fn a() -> @builtin(position) vec4f { return vec4f(); }",
        "@group(99) @binding(0) var<storage> a: array<u32>; @compute @workgroup_size(1) fn main() { _ = a[0]; }",
        "enable nothing;",
        body("let a = 1 / 0;"),
        body("loop { let a = b; }"),
        "fn a() { b(); } fn b() { a(); } @compute @workgroup_size(1) fn main() { a(); }",
        "\0",
        "/* \ud800 */ x",
      ]
    ) {
      const error = await refusal(code);
      assert.equal(error.code, code === "" ? "limit" : "usage", code);
      assert(!/\[object|Shader '/.test(error.message), error.message);
    }
    const fits = body("");
    assert.equal((await refusal(fits, { label: "mine", entry: "nobody" })).code, "usage");
    assert.equal((await refusal(fits, { label: "mine", constants: { nobody: 1 } })).code, "usage");
    for (
      const options of [
        undefined,
        null,
        7,
        {},
        { label: 7 },
        { label: "mine", entry: 7 },
        { label: "mine", lineOffset: -1 },
        { label: "mine", constants: { a: NaN } },
        { label: "mine", constants: 7 },
        { label: "mine", layout: {} },
        { label: "mine", layout: "auto" },
        { label: "mine", nothing: 1 },
      ]
    ) {
      const { code } = await rejectionOf(gpu.pipeline(fits, options as { label: string }));
      assert(code === "usage" || code === "out-of-bounds", `${JSON.stringify(options)}: ${code}`);
    }
    for (const code of [undefined, 7, null]) assert.equal((await refusal(code)).code, "usage");
    await gpu.pipeline(fits, { label: "mine", entry: "main", constants: {} });
  },
);

testWithGpu(
  "GpuDevice.pipeline() refuses text that would end the process or take minutes",
  async (gpu) => {
    const body = (text: string) => `@compute @workgroup_size(1) fn main() { var b = 1u; ${text} }`;
    const many = (text: string) => text.repeat(20_000);
    for (
      const code of [
        body(`let a = ${many("(")}1${many(")")};`),
        body(`let a = ${many("-")}1;`),
        body(`let a = ${many("b + ")}b;`),
        body(`let a = ${many("b /* a comment */ && ")}b;`),
        body(`let a = b${many(".x")};`),
        body(`let a = ${many("b[")}0${many("]")};`),
        body(many("if b == 2u {} else ") + "{}"),
        body(`switch b { ${many("case 1u: {}")} default: {} }`),
        `var<private> a: ${many("array<")}u32${many(", 1>")}; ${body("")}`,
        `${many("const a = 1; ")} ${body("")}`,
        `${many("fn f() {} ")} ${body("")}`,
        body("var a: array<u32, 100000000>;"),
        "var<workgroup> a: array<array<array<u32, 16000>, 16000>, 16000>; @compute @workgroup_size(1) fn main() { a[0][0][0] = 1u; }",
        body("var a: array<vec4<f32>, 0x1000000u >;"),
        `const SIZE: u32 = 50000000; var<private> a: array<u32, SIZE>; ${body("")}`,
        `${" ".repeat(2 ** 20)}${body("")}`,
      ]
    ) {
      const error = await rejectionOf(gpu.pipeline(code, { label: "deep" }));
      assert.equal(error.code, "limit", error.message);
    }
    const error = await rejectionOf(
      gpu.pipeline(`// prelude\n${body(`\n let a = ${many("(")}1;`)}`, {
        label: "deep",
        lineOffset: 1,
      }),
    );
    assert.equal(error.values.line, 2);
  },
);

testWithGpu("GpuDevice.pipeline() compiles what people write", async (gpu) => {
  const flat = Array.from({ length: 300 }, (_, index) => `${index}u`).join(", ");
  const sum = Array.from({ length: 200 }, (_, index) => `b[${index % 4}]`).join(" + ");
  await gpu.pipeline(
    `/* nested /* comments */ ${"(".repeat(1000)} */ // )))) ${"else (".repeat(1000)}
@group(0) @binding(0) var<storage, read_write> b: array<u32>;
const TABLE = array<u32, 300>(${flat});
fn rotate(a: u32, by: u32) -> u32 { return (a << by) | (a >> (32u - by)); }
@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  ${"b[0] = rotate(b[1], 7u) ^ b[2];\n".repeat(50)}
  b[id.x] = ${sum};
  b[3] = TABLE[7];
}`,
    { label: "flat" },
  );
});

testWithGpu(
  "EARLY_READ_VERSIONS: this version of Deno reads early if it is in the list",
  async () => {
    if (!EARLY_READ_VERSIONS.includes(Deno.version.deno)) return;
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-config",
        "--no-check",
        import.meta.dirname + "/testdata/early_read.ts",
      ],
      stderr: "null",
    }).output();
    assert.match(new TextDecoder().decode(stdout), /^early reads: (\d+) of \1\n$/);
    assert.equal(code, 0);
  },
);

testWithGpu(
  "GpuDevice.read() keeps one buffer for small reads, however many run at a time",
  async (gpu) => {
    const buffer = gpu.createBuffer(4096, STORAGE, "b");
    gpu.write(buffer, 0, Uint32Array.from({ length: 1024 }, (_, k) => k));
    const targets = Array.from({ length: 5 }, () => new Uint8Array(8));
    await Promise.all(targets.map((target, k) => gpu.read(buffer, 8 * k, target)));
    assert.deepEqual(targets.map((target) => target[0]), [0, 2, 4, 6, 8]);
    assert.equal(gpu.buffers, 2);
    const large = gpu.createBuffer(131_072, STORAGE, "large");
    await gpu.read(large, 0, new Uint8Array(131_072));
    assert.equal(gpu.buffers, 3, "that of a large read is freed");
  },
);

testWithGpu("GpuDevice: once it is destroyed, all calls say so", async (gpu) => {
  const buffer = gpu.createBuffer(16, STORAGE, "b");
  const back = await gpu.readBack(16);
  const late = gpu.read(buffer, 0, new Uint8Array(16));
  const compiled = gpu.pipeline(ADD_INDEX, { label: "add" });
  const checked = gpu.checked("wait", () => 1);
  await Promise.all([gpu.destroy(), gpu.destroy()]);
  assert.deepEqual(await gpu.loss, { reason: "destroyed", message: "" });
  for (const promise of [late, compiled, checked]) {
    const error = await rejectionOf(promise);
    assert.equal(error.code, "gpu");
    assert.match(error.message, /the GPU device is gone: it was destroyed/);
    assert.equal(error.values.isLost, true);
    assert.equal(error.retryable, true);
  }
  assert.equal(codeOf(() => gpu.createBuffer(16, STORAGE, "b")), "gpu");
  assert.equal(codeOf(() => back.read(new Uint8Array(16))), "gpu");
  assert.equal((await rejectionOf(gpu.readBack(16))).code, "gpu");
  assert.equal((await rejectionOf(gpu.pipeline(ADD_INDEX, { label: "add" }))).code, "gpu");
  // The buffer went with its device.
  assert.equal(codeOf(() => gpu.write(buffer, 0, new Uint8Array(4))), "usage");
  assert.equal(gpu.bufferBytes, 0);
  back.destroy();
});

testWithGpu(
  "GpuDevice: a loss by the driver is told from a mistake, before the driver says so",
  async (gpu) => {
    const buffer = gpu.createBuffer(16, STORAGE, "b");
    const back = await gpu.readBack(16);
    gpu.device.destroy(); // Past us, as a driver does it: the word comes later.
    assert(!gpu.isLost);
    const target = new Uint8Array(16).fill(7);
    const error = await rejectionOf(Promise.resolve(back.read(target)));
    assert.equal(error.values.isLost, true);
    assert.deepEqual(target, new Uint8Array(16).fill(7), "no bytes come from a lost device");
    assert(gpu.isLost);
    assert.equal(codeOf(() => gpu.write(buffer, 0, new Uint8Array(4))), "gpu");
  },
);

testWithGpu("GpuDevice.pipeline() does not blame the shader for a lost device", async (gpu) => {
  gpu.device.destroy();
  const error = await rejectionOf(gpu.pipeline(ADD_INDEX, { label: "add" }));
  assert.equal(error.values.isLost, true);
});

/** A step of a random program. */
type Step =
  | { readonly kind: "create"; readonly bytes: number }
  | { readonly kind: "destroy"; readonly which: number }
  | {
    readonly kind: "write" | "read" | "copy";
    readonly which: number;
    readonly offset: number;
    readonly bytes: number;
  }
  | { readonly kind: "pause" };

const someBytes = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 24 }).map((words) => 4 * words) },
  { weight: 1, arbitrary: fc.constantFrom(-4, 3, 2 ** 32, NaN, 1.5, 2 ** 53) },
);
const someSteps = fc.array(
  fc.oneof<fc.Arbitrary<Step>[]>(
    fc.record({ kind: fc.constant("create"), bytes: someBytes }),
    fc.record({ kind: fc.constant("destroy"), which: fc.nat(5) }),
    fc.record({
      kind: fc.constantFrom("write", "read", "copy"),
      which: fc.nat(5),
      offset: someBytes,
      bytes: fc.integer({ min: 0, max: 100 }),
    }),
    fc.record({ kind: fc.constant("pause") }),
  ),
  { minLength: 4, maxLength: 30 },
);

testWithGpu(
  "GpuDevice: random programs of buffers agree with arrays, mistakes included",
  async (gpu) => {
    const back = await gpu.readBack(128);
    await gpu.prepareReads();
    let filler = 0;
    await fc.assert(
      fc.asyncProperty(someSteps, async (steps) => {
        const made: { readonly buffer: GPUBuffer; bytes: Uint8Array; isGone: boolean }[] = [];
        for (const step of steps) {
          if (step.kind === "create") {
            const isGood = Number.isInteger(step.bytes) && step.bytes >= 4 && step.bytes < 128 &&
              step.bytes % 4 === 0;
            try {
              const buffer = gpu.createBuffer(step.bytes, STORAGE, "b");
              assert(isGood, `${step.bytes} bytes`);
              made.push({ buffer, bytes: new Uint8Array(step.bytes), isGone: false });
            } catch (error) {
              assert(isMmsbError(error) && !isGood, String(error));
            }
          } else if (step.kind === "pause") {
            await new Promise((resolve) => setTimeout(resolve, 0));
          } else if (made.length > 0) {
            const item = made[step.which % made.length];
            if (step.kind === "destroy") {
              gpu.destroyBuffer(item.buffer);
              item.isGone = true;
            } else await use(item, step);
          }
        }
        for (const { buffer } of made) gpu.destroyBuffer(buffer);
        assert.equal(gpu.buffers, 2, "all but the read-back and that of small reads is freed");
      }),
      { numRuns: 60 },
    );

    async function use(
      item: { readonly buffer: GPUBuffer; bytes: Uint8Array; isGone: boolean },
      { kind, offset, bytes }: { kind: "write" | "read" | "copy"; offset: number; bytes: number },
    ): Promise<void> {
      const isGood = !item.isGone && Number.isInteger(offset) && offset >= 0 && offset % 4 === 0 &&
        bytes % 4 === 0 && offset + bytes <= item.bytes.length;
      const data = new Uint8Array(bytes).fill(++filler);
      try {
        if (kind === "write") {
          gpu.write(item.buffer, offset, data);
          item.bytes.set(data, offset);
        } else if (kind === "read") {
          await gpu.read(item.buffer, offset, data);
          assert.deepEqual(data, item.bytes.slice(offset, offset + bytes));
        } else {
          gpu.checkRange(item.buffer, offset, bytes);
          if (bytes === 0) return;
          const encoder = gpu.device.createCommandEncoder();
          encoder.copyBufferToBuffer(item.buffer, offset, back.buffer, 0, bytes);
          gpu.queue.submit([encoder.finish()]);
          await back.read(data);
          assert.deepEqual(data, item.bytes.slice(offset, offset + bytes));
        }
        assert(isGood, `${kind} of ${bytes} bytes at ${offset} of ${item.bytes.length}`);
      } catch (error) {
        if (!isMmsbError(error)) throw error;
        assert(!isGood, `${error.message} (${kind} of ${bytes} bytes at ${offset})`);
      }
    }
  },
);
