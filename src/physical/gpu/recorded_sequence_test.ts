/** Recorded sequences: what is replayed does what the commands would have done, against a loop on the CPU. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { GpuDevice } from "./gpu_device.ts";
import { type BufferPart, RecordedSequence, type SequenceCommand } from "./recorded_sequence.ts";
import { testWithGpu } from "./testdata/gpu_test.ts";

const CELLS = 64;
const BYTES = 4 * CELLS;

/** Each cell becomes the sum of itself and its left neighbour, and the weight. */
const SUM = `
@group(0) @binding(0) var<storage, read> before: array<u32>;
@group(0) @binding(1) var<storage, read_write> after: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>;
@compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u) {
  let left = (id.x + ${CELLS - 1}u) % ${CELLS}u;
  after[id.x] = before[id.x] + before[left] + weight[0];
}`;

function sum(before: Uint32Array<ArrayBuffer>, weight: number): Uint32Array<ArrayBuffer> {
  return before.map((cell, i) => cell + before[(i + CELLS - 1) % CELLS] + weight);
}

class Bench {
  readonly gpu: GpuDevice;
  readonly #usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }
  part(words: Uint32Array): BufferPart {
    const buffer = this.gpu.createBuffer(words.byteLength, this.#usage, "test");
    this.gpu.write(buffer, 0, words);
    return { buffer, bytes: words.byteLength };
  }
  async words({ buffer, bytes }: BufferPart): Promise<Uint32Array> {
    const found = new Uint8Array(bytes);
    await this.gpu.read(buffer, 0, found);
    return new Uint32Array(found.buffer);
  }
}

testWithGpu("RecordedSequence", async (gpu, { step }) => {
  const bench = new Bench(gpu), pipeline = await gpu.pipeline(SUM, { entry: "main", label: "sum" });
  const cells = Uint32Array.from({ length: CELLS }, (_, i) => i * i);

  await step("replays steps in which two buffers take turns, over many ticks", async () => {
    const a = bench.part(cells), b = bench.part(new Uint32Array(CELLS));
    const weight = bench.part(Uint32Array.of(5));
    const sequence = await RecordedSequence.record(gpu, [
      { kind: "dispatch", pipeline, bindings: [[a, b], [b, a], weight], groups: [CELLS / 16] },
    ]);
    assert.deepEqual([sequence.length, sequence.buffers.length], [1, 3]);
    let expected = cells, done = 0;
    for (const steps of [1, 2, 7, 0, 4]) {
      const value = 5 + done;
      gpu.write(weight.buffer, 0, Uint32Array.of(value));
      await sequence.replay(steps, done);
      for (let k = 0; k < steps; k++) expected = sum(expected, value);
      done += steps;
      assert.deepEqual(await bench.words(done % 2 === 0 ? a : b), expected);
    }
  });

  await step("does what its commands say, in their order", async () => {
    const source = fc.constantFrom(0, 1, 2),
      command = fc.record({
        kind: fc.constantFrom("dispatch", "copy", "clear"),
        source,
        target: source,
        turned: fc.boolean(),
        word: fc.nat(CELLS - 1),
      });
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { minLength: 1, maxLength: 8, size: "max" }),
        fc.nat(5),
        fc.nat(3),
        async (commands, steps, first) => {
          const start = [cells, cells.map((cell) => cell + 1), new Uint32Array(CELLS)];
          const model = start.map((words) => words.slice());
          const parts = start.map((words) => bench.part(words));
          const weight = bench.part(Uint32Array.of(3));
          const recorded: SequenceCommand[] = [], modelled: ((turn: number) => void)[] = [];
          for (const { kind, source, target, turned, word } of commands) {
            const from = source, to = target === source ? (target + 1) % 3 : target;
            const ends = (turn: number) => turned && turn === 1 ? [to, from] : [from, to];
            const [even, odd] = [ends(0), ends(1)];
            const of = (end: 0 | 1) => [parts[even[end]], parts[odd[end]]] as const;
            if (kind === "dispatch") {
              const bindings = [of(0), of(1), weight];
              recorded.push({ kind, pipeline, bindings, groups: [CELLS / 16, 1, 1] });
              modelled.push((turn) => {
                const [s, t] = ends(turn);
                model[t] = sum(model[s], 3);
              });
            } else if (kind === "copy") {
              const bytes = BYTES - 4 * word, skip = word >> 1;
              const all = (end: 0 | 1, offset: number) =>
                [{ ...of(end)[0], offset, bytes }, { ...of(end)[1], offset, bytes }] as const;
              recorded.push({ kind, source: all(0, 4 * skip), target: all(1, 4 * (word - skip)) });
              modelled.push((turn) => {
                const [s, t] = ends(turn);
                model[t].set(model[s].slice(skip, skip + CELLS - word), word - skip);
              });
            } else {
              recorded.push({
                kind: "clear",
                target: { buffer: parts[to].buffer, offset: 4 * word, bytes: BYTES - 4 * word },
              });
              modelled.push(() => model[to].fill(0, word));
            }
          }
          const sequence = await RecordedSequence.record(gpu, recorded);
          await sequence.replay(steps, first);
          for (let k = first; k < first + steps; k++) for (const one of modelled) one(k & 1);
          const all = bench.part(new Uint32Array(3 * CELLS));
          const gather = await RecordedSequence.record(
            gpu,
            parts.map((part, i) => ({
              kind: "copy",
              source: part,
              target: { ...all, offset: i * BYTES, bytes: BYTES },
            })),
          );
          await gather.replay();
          const found = await bench.words(all);
          model.forEach((words, i) =>
            assert.deepEqual(found.subarray(CELLS * i, CELLS * (i + 1)), words)
          );
          for (const { buffer } of [...parts, weight, all]) gpu.destroyBuffer(buffer);
        },
      ),
      { numRuns: 20 },
    );
  });

  await step("makes bind groups when it is recorded, and none when it is replayed", async () => {
    const { device } = gpu, create = device.createBindGroup;
    let made = 0;
    device.createBindGroup = (descriptor) => {
      made++;
      return create.call(device, descriptor);
    };
    try {
      const a = bench.part(cells), b = bench.part(cells), weight = bench.part(Uint32Array.of(1));
      const sequence = await RecordedSequence.record(gpu, [
        { kind: "dispatch", pipeline, bindings: [[a, b], [b, a], weight], groups: [4] },
        { kind: "dispatch", pipeline, bindings: [a, b, weight], groups: [4] },
      ]);
      assert.equal(made, 3);
      for (let tick = 0; tick < 5; tick++) await sequence.replay(2);
      assert.equal(made, 3);
    } finally {
      device.createBindGroup = create;
    }
  });

  await step("knows when it fits no more, and refuses what cannot be", async () => {
    const a = bench.part(cells), b = bench.part(cells), small = bench.part(Uint32Array.of(1));
    const record = (command: SequenceCommand) => RecordedSequence.record(gpu, [command]);
    const good: SequenceCommand = { kind: "copy", source: a, target: b };
    const sequence = await record(good);
    assert(sequence.isOf([a.buffer, b.buffer]));
    assert(!sequence.isOf([a.buffer]) && !sequence.isOf([b.buffer, a.buffer]));
    const refused = (command: SequenceCommand, code: string) =>
      assert.rejects(record(command), { code });
    await refused({ ...good, source: { ...a, offset: 4 } }, "out-of-bounds");
    await refused({ ...good, source: { ...a, bytes: 0 } }, "out-of-bounds");
    await refused({ ...good, source: { ...a, bytes: 6 } }, "usage");
    await refused({ ...good, source: { ...a, bytes: 4 } }, "usage");
    await refused({ ...good, target: [b, a] }, "usage");
    await refused({ ...good, target: small }, "usage");
    await refused({ kind: "clear", target: { ...small, offset: NaN } }, "usage");
    const dispatch: SequenceCommand = { kind: "dispatch", pipeline, bindings: [a, b], groups: [1] };
    await refused(dispatch, "gpu");
    await refused({ ...dispatch, bindings: [a, b, small], groups: [1, 70_000] }, "limit");
    await refused({ ...dispatch, bindings: [a, b, small], groups: [-1] }, "limit");
    await refused({ ...dispatch, bindings: [a, b, small], groups: [0.5] }, "usage");
    gpu.destroyBuffer(b.buffer);
    await assert.rejects(sequence.replay(), { code: "usage" });
    await refused(good, "usage");
    const lost = await record({ kind: "clear", target: a });
    await gpu.destroy();
    await assert.rejects(lost.replay(), { code: "gpu" });
  });
});
