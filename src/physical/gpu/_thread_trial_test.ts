/**
 * Handlers that tests of the GPU thread use: loaded by the thread itself, before it opens a device.
 */

import { MmsbError } from "../../base/mod.ts";
import type { JobReader, JobWriter } from "./_channel.ts";
import { addHandlers, type AskHandler, type JobHandler } from "./_gpu_jobs.ts";
import { pauseMs } from "./_thread_turns.ts";
import type { GpuEngine } from "./gpu_engine.ts";

/** Operations of these handlers. */
export const ECHO = 101, ARENA_SUM = 102, PAUSE = 103, DOUBLE = 104, FAIL = 105, BUFFER_SUM = 106;
/** Gives so many words. */
export const GIVE = 107;
/** Does not notice that its device is lost. */
export const UNAWARE = 109;
/** Waits until a word of shared memory changes. */
export const GATE = 108;

function echo(_: GpuEngine, job: JobReader, result: JobWriter): void {
  result.word(job.word());
  result.text(job.text());
  result.double(job.double());
  const words = job.words();
  result.words(words.length).set(words);
  const bytes = job.bytes();
  result.bytes(bytes.length).set(bytes);
}

/** Sum of words of an arena, modulo 2³². */
function arenaSum(_: GpuEngine, job: JobReader, result: JobWriter): void {
  const { words } = job.arena(job.word()), end = job.word();
  let sum = 0;
  for (let i = 0; i < end; i++) sum = sum + words[i] | 0;
  result.word(sum);
}

function bufferSum(_: GpuEngine, job: JobReader, result: JobWriter): void {
  let sum = 0;
  for (const word of new Int32Array(job.buffer())) sum = sum + word | 0;
  result.word(sum);
}

async function pause(_: GpuEngine, job: JobReader): Promise<void> {
  const times = job.word(), ms = job.word(), goesOn = job.word() !== 0;
  for (let i = 0; i < times; i++) {
    await pauseMs(ms);
    if (goesOn) job.goesOn();
  }
}

function gate(_: GpuEngine, job: JobReader, result: JobWriter): void {
  const gate = new Int32Array(job.buffer()), order = job.word();
  Atomics.wait(gate, 0, 0, 5000);
  // Which job came when.
  result.word(Atomics.add(gate, 1, 1));
  result.word(order);
}

/** Doubles words on the device, in as many submissions as the job says. */
async function double(engine: GpuEngine, job: JobReader, result: JobWriter): Promise<void> {
  const { device } = engine, submissions = job.word(), words = job.words();
  const pipeline = await doubling(engine), bytes = words.byteLength;
  const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
  const buffer = await engine.pool.acquire(bytes, STORAGE | COPY_DST | COPY_SRC, "double");
  const back = await device.readBack(bytes);
  try {
    device.write(buffer, 0, words);
    const group = device.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer, size: bytes } }],
    });
    for (let i = 0; i < submissions; i++) {
      await device.checked("double words", () => {
        const encoder = device.device.createCommandEncoder(), pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(words.length);
        pass.end();
        encoder.copyBufferToBuffer(buffer, 0, back.buffer, 0, bytes);
        device.queue.submit([encoder.finish()]);
      });
    }
    const wait = back.read(result.bytes(bytes));
    if (wait !== undefined) await wait;
  } finally {
    back.destroy();
    engine.pool.release(buffer);
  }
}

async function doubling({ device, kept }: GpuEngine): Promise<GPUComputePipeline> {
  const known = kept.get("double") as GPUComputePipeline | undefined;
  if (known !== undefined) return known;
  const code = `
    @group(0) @binding(0) var<storage, read_write> words: array<u32>;
    @compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3u) {
      words[id.x] = words[id.x] * 2u;
    }`;
  const pipeline = await device.pipeline(code, { label: "double" });
  kept.set("double", pipeline);
  return pipeline;
}

function fail(_: GpuEngine, job: JobReader, result: JobWriter): Promise<void> {
  result.words(1000);
  switch (job.text()) {
    case "mmsb":
      throw new MmsbError("limit", "Cannot do so much: do less", { values: { most: 7n } });
    case "type":
      throw new TypeError("x is not a function");
    case "huge":
      throw new MmsbError("usage", "x".repeat(100_000), { values: { y: "y".repeat(2 ** 20) } });
    case "value":
      return Promise.reject("no error at all");
    default:
      // Reads too far.
      for (;;) job.word();
  }
}

const ASKS: [string, AskHandler][] = [
  ["echo", (_, { value }) => value],
  ["fail", () => {
    throw new MmsbError("usage", "Cannot answer that: ask something else", { values: { n: 1 } });
  }],
  ["pause", (_, { ms }) => pauseMs(ms as number)],
  ["function", () => () => 1],
  ["mark", ({ kept }, { name }) => {
    kept.set(`mark ${name}`, true);
    return [...kept.keys()].filter((key) => key.startsWith("mark "));
  }],
  ["marks", ({ kept }) => [...kept.keys()].filter((key) => key.startsWith("mark "))],
];

const HANDLERS: [number, JobHandler][] = [
  [ECHO, echo],
  [ARENA_SUM, arenaSum],
  [PAUSE, pause],
  [DOUBLE, double],
  [FAIL, fail],
  [BUFFER_SUM, bufferSum],
  [GIVE, (_, job, result) => void result.words(job.word()).fill(7)],
  [GATE, gate],
  [UNAWARE, (engine, _, result) => {
    result.word(1);
    void engine.device.destroy();
  }],
];
addHandlers(HANDLERS, ASKS);
