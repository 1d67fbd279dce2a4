import assert from "node:assert/strict";
import { isMmsbError, type MmsbError } from "../../base/mod.ts";
import { GpuDevice } from "./gpu_device.ts";
import { FakeGpu, type FakeGpuOptions } from "./testdata/fake_gpu.ts";

async function refusal(options: FakeGpuOptions, timeoutMs = 1000): Promise<MmsbError> {
  const fake = new FakeGpu(options);
  const error = await GpuDevice.open({ gpu: fake.gpu, timeoutMs }).then(
    (device) => device.destroy(),
    (reason) => reason,
  );
  assert(isMmsbError(error), `${JSON.stringify(options)} is refused with an error of ours`);
  return error;
}

Deno.test("GpuDevice.open() says why there is no device, whatever a driver does", async () => {
  const cases: readonly (readonly [FakeGpuOptions, RegExp])[] = [
    [{ adapter: "none" }, /^no adapter was found$/],
    [{ adapter: "undefined" }, /no adapter was found/],
    [{ adapter: "rejects" }, /asking for an adapter failed: the driver is too old/],
    [{ adapter: "throws" }, /asking for an adapter failed: the driver cannot be loaded/],
    [{ adapter: "no info" }, /the adapter does not say what it is/],
    [{ adapter: "no limits" }, /the adapter does not say what it is: max\w+ is undefined/],
    [{ limits: { maxBufferSize: NaN } }, /maxBufferSize is NaN/],
    [{ device: "none" }, /Acme One gives no device/],
    [{ device: "rejects" }, /asking for a device of Acme One failed: a limit is not supported/],
    [{ device: "throws" }, /the adapter is used up/],
  ];
  for (const [options, pattern] of cases) {
    const error = await refusal(options);
    assert.equal(error.code, "gpu");
    assert.match(error.message, /^Cannot open a GPU device: .*; `mmsb doctor` says what to do$/);
    assert.match(String(error.values.reason), pattern);
  }
});

Deno.test("GpuDevice.open() gives up a driver that never answers, and gives back what comes late", async () => {
  assert.match((await refusal({ adapter: "hangs" }, 10)).message, /no answer within 10 ms/);
  assert.match((await refusal({ device: "hangs" }, 10)).message, /no answer within 10 ms/);
  const fake = new FakeGpu({ device: "is late" });
  await assert.rejects(GpuDevice.open({ gpu: fake.gpu, timeoutMs: 5 }), { code: "gpu" });
  assert(!fake.devices[0].isDestroyed);
  await new Promise((resolve) => setTimeout(resolve, fake.lateMs + 20));
  assert(fake.devices[0].isDestroyed);
});

Deno.test("GpuDevice.open() tells a runtime without WebGPU from arguments that are none", async () => {
  await assert.rejects(GpuDevice.open({ gpu: null }), (error) => {
    assert(isMmsbError(error, "gpu"));
    return /this runtime has no WebGPU/.test(error.message);
  });
  for (const gpu of [7, "gpu", {}, { requestAdapter: 7 }, true]) {
    await assert.rejects(GpuDevice.open({ gpu: gpu as unknown as GPU }), { code: "usage" });
  }
  for (const timeoutMs of [NaN, "1", 1.5, 1n]) {
    await assert.rejects(GpuDevice.open({ gpu: null, timeoutMs: timeoutMs as number }), {
      code: "usage",
    });
  }
  await assert.rejects(GpuDevice.open({ gpu: null, timeoutMs: 0 }), { code: "out-of-bounds" });
  await assert.rejects(GpuDevice.open({ nothing: 1 } as unknown as { gpu: null }), {
    code: "usage",
  });
});

Deno.test("GpuDevice.open() knows software adapters by their name and by what they say", async () => {
  const isSoftware = async (info: FakeGpuOptions["info"]): Promise<boolean> => {
    await using device = await GpuDevice.open({ gpu: new FakeGpu({ info }).gpu });
    return device.adapter.isSoftware;
  };
  for (
    const description of [
      "llvmpipe (LLVM 15.0.6, 256 bits)",
      "SwiftShader Device (Subzero)",
      "Microsoft Basic Render Driver",
      "softpipe",
      "Lavapipe",
    ]
  ) assert(await isSoftware({ description }), description);
  for (
    const description of [
      "NVIDIA H100 80GB HBM3",
      "AMD Radeon RX 7900 XTX (RADV NAVI31)",
      "Intel(R) Iris(R) Xe Graphics (TGL GT2)",
      "Apple M2 Max",
      "Adreno (TM) 740",
      "Microsoft Direct3D12 (NVIDIA GeForce RTX 4090)",
    ]
  ) assert(!await isSoftware({ description }), description);
  assert(await isSoftware({ description: "NVIDIA H100", isFallbackAdapter: true }));
  assert(!await isSoftware({ isFallbackAdapter: false }));
});

Deno.test("GpuDevice.adapter has a name also where the driver gives none", async () => {
  const nameOf = async (info: FakeGpuOptions["info"]): Promise<string> => {
    await using device = await GpuDevice.open({ gpu: new FakeGpu({ info }).gpu });
    return device.adapter.name;
  };
  assert.equal(await nameOf({ description: "", device: "0x2330", vendor: "nvidia" }), "0x2330");
  assert.equal(await nameOf({ description: "", device: "", vendor: "nvidia" }), "nvidia");
  assert.equal(await nameOf({ description: "", device: "", vendor: "" }), "unnamed adapter");
  assert.equal(await nameOf({ description: "two\n  lines" }), "two lines");
  assert((await nameOf({ description: "x".repeat(10_000) })).length < 1000);
});

Deno.test("GpuDevice.adapter names makers that come as numbers, and takes no card's number for a driver", async () => {
  const aboutOf = async (info: FakeGpuOptions["info"]) => {
    await using device = await GpuDevice.open({ gpu: new FakeGpu({ info }).gpu });
    const { vendor, driver } = device.adapter;
    return { vendor, driver };
  };
  const ofCard = await aboutOf({ vendor: "4318", device: "9008" });
  assert.deepEqual(ofCard, { vendor: "NVIDIA", driver: "" });
  const ofOther = await aboutOf({ vendor: "77", device: "acme 1.2" });
  assert.deepEqual(ofOther, { vendor: "77", driver: "acme 1.2" });
});

Deno.test("GpuDevice: out of memory is `allocation`, and the refused buffer is gone", async () => {
  const fake = new FakeGpu({ memoryBytes: 4096 });
  await using device = await GpuDevice.open({ gpu: fake.gpu });
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
  const first = await device.allocate(4096, usage, "first");
  for (const promise of [device.allocate(4, usage, "second"), device.readBack(4)]) {
    await assert.rejects(promise, (error) => {
      assert(isMmsbError(error, "allocation"));
      return /as the GPU has no memory left: free some, or use the CPU$/.test(error.message);
    });
  }
  assert.equal(device.buffers, 1);
  device.createBuffer(16, usage, "unasked");
  assert.equal(device.takeError()?.code, "allocation", "an unchecked creation is told of as well");
  device.destroyBuffer(first);
  await device.allocate(4096, usage, "third");
});

Deno.test("ReadBack.read() awaits where a runtime shows bytes only when the promise settles", async () => {
  await using device = await GpuDevice.open({ gpu: new FakeGpu().gpu });
  const couldReadEarly = device.readsEarly;
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer(16, usage, "b");
  const back = await device.readBack(16);
  for (let round = 1; round <= 3; round++) {
    device.write(buffer, 0, new Uint8Array(16).fill(round));
    const encoder = device.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, back.buffer, 0, 16);
    device.queue.submit([encoder.finish()]);
    const found = new Uint8Array(16);
    const wait = back.read(found);
    assert(wait instanceof Promise, "an early look was refused, so there is something to await");
    assert.throws(() => back.read(found), { code: "usage" }, "two reads at once");
    await wait;
    assert.deepEqual(found, new Uint8Array(16).fill(round));
    assert(!device.readsEarly, "a runtime that refused gets no second early look");
  }
  assert.equal(typeof couldReadEarly, "boolean");
  const refused = back.read(new Uint8Array(16)) as Promise<void>;
  back.destroy();
  await assert.rejects(refused, { code: "usage" });
});

Deno.test("GpuDevice.destroy() waits for the promises of early reads, whose outcome is nobody's", async () => {
  const fake = new FakeGpu({ showsEarly: true });
  const device = await GpuDevice.open({ gpu: fake.gpu });
  const back = await device.readBack(16);
  assert.equal(fake.devices[0].pending.size, 0);
  for (let round = 0; round < 3; round++) await back.read(new Uint8Array(16));
  assert.equal(fake.devices[0].pending.size, device.readsEarly ? 3 : 0);
  await device.destroy();
  assert.equal(fake.devices[0].pending.size, 0);
});

Deno.test("ReadBack.read() is refused where the device is destroyed or lost in the middle of it", async () => {
  for (const end of ["destroyed", "lost"]) {
    const fake = new FakeGpu();
    await using device = await GpuDevice.open({ gpu: fake.gpu });
    const back = await device.readBack(16);
    const wait = back.read(new Uint8Array(16)) as Promise<void>;
    if (end === "lost") fake.devices[0].lose("the driver restarts");
    const destroyed = end === "destroyed" ? device.destroy() : undefined;
    await assert.rejects(wait, (error) => {
      assert(isMmsbError(error, "gpu"));
      return error.values.isLost === true;
    });
    await destroyed;
    assert.equal(device.lossReason, end === "lost" ? "the driver restarts" : "it was destroyed");
  }
});

Deno.test("GpuDevice: a device that is lost as it is opened says so at the first call", async () => {
  await using device = await GpuDevice.open({ gpu: new FakeGpu({ device: "is lost" }).gpu });
  assert.deepEqual(await device.loss, { reason: "lost", message: "it fell off the bus" });
  assert.throws(
    () => device.createBuffer(16, GPUBufferUsage.STORAGE, "b"),
    /as the GPU device is gone: it fell off the bus; open another or use the CPU/,
  );
  await assert.rejects(device.checked("wait", () => 1), { code: "gpu" });
});
