/**
 * The self-tests of the kernels: each on small random data against its twin, byte by byte.
 *
 * The data is made to collide: many rows on few words, at odd offsets, over each other. Cost: some milliseconds each.
 */

import { MmsbError } from "../../base/mod.ts";
import { applyRows } from "../apply.ts";
import type { Arena } from "../arena.ts";
import { type KernelColumns, kernelColumns } from "../kernel_columns.ts";
import {
  COMBINE_OPERATIONS,
  COMBINE_TYPES,
  combineKind,
  KIND_MASKED,
  KIND_SET,
  kindName,
} from "../kind.ts";
import type { BufferPool } from "./buffer_pool.ts";
import type { ApplyRows, ApplyScheme, GpuApply } from "./gpu_apply.ts";
import type { GpuDevice } from "./gpu_device.ts";
import type { GpuKernels } from "./gpu_kernels.ts";
import { ChangeFinder } from "./_rule_changes.ts";
import type { KernelTest } from "./selftest.ts";
import { changedRange, COMPARE_WORDS, compareRange } from "./kernels/compare.ts";
import { BLOCK_HEAD_WORDS, BLOCK_WORDS, changedBlocks } from "./kernels/changed_blocks.ts";
import { copyRanges } from "./kernels/copy.ts";
import { mergeMasked } from "./kernels/masked_merge.ts";
import type { WordRange } from "./kernels/ranges.ts";
import { zeroRanges } from "./kernels/zero.ts";

/** What the self-tests run on. */
export interface KernelEngine {
  /** The device. */
  readonly device: GpuDevice;
  /** Its buffers. */
  readonly pool: BufferPool;
  /** Its kernels, prepared. */
  readonly kernels: GpuKernels;
  /** Its apply. */
  readonly apply: GpuApply;
}

/** All kinds that the GPU folds. */
const COMBINE_KINDS = COMBINE_TYPES.slice(0, 3).flatMap((type) =>
  COMBINE_OPERATIONS.slice(0, type === "f32" ? 3 : 6).map((operation) =>
    combineKind(type, operation)
  )
);
/** Floats where rounding, subnormals, infinities, zeros and NaNs show. */
const FLOAT_BITS = [
  0x0000_0000,
  0x8000_0000,
  0x0000_0001,
  0x8000_0001,
  0x007f_ffff,
  0x0080_0000,
  0x8080_0001,
  0x3f80_0000,
  0xbf80_0001,
  0x4b80_0000,
  0x7f7f_ffff,
  0xff7f_ffff,
  0x7f80_0000,
  0xff80_0000,
  0x7fc0_0000,
  0xff80_0001,
];
/** Random words, 0 … 2³² − 1. */
type Random = () => number;

/** Words of the buffers that ranges lie in. */
const BUFFER_WORDS = 4096;

/** The self-tests of all kernels. */
export const KERNEL_TESTS: readonly KernelTest<KernelEngine>[] = [
  rangesTest("copy", ({ kernels }, encoder, { source, target, table }, twin) => {
    kernels.copy(encoder, source, target, table);
    copyRanges(twin.source, twin.target, twin.ranges);
  }),
  rangesTest("zero", ({ kernels }, encoder, { target, table }, twin) => {
    kernels.zero(encoder, target, table);
    zeroRanges(twin.target, twin.ranges);
  }),
  rangesTest("masked merge", ({ kernels }, encoder, { source, target, mask, table }, twin) => {
    kernels.maskedMerge(encoder, source, target, mask, table);
    mergeMasked(bytesOf(twin.source), bytesOf(twin.target), bytesOf(twin.mask), twin.ranges);
  }),
  rangesTest("compare", ({ kernels }, encoder, { source, mask, target, table }, twin) => {
    kernels.compare(encoder, source, mask, target, table);
    twin.target.fill(0, 0, COMPARE_WORDS * twin.ranges.length);
    for (const [number, range] of twin.ranges.entries()) {
      const found = compareRange(twin.source, twin.mask, range), at = COMPARE_WORDS * number;
      if (found === undefined) continue;
      twin.target.set([~found.first, found.end, found.changed], at);
      const read = changedRange(twin.target, number);
      if (read?.first !== found.first) throw new MmsbError("gpu", "A result is read wrongly");
    }
  }),
  { name: "changed blocks", test: testChangedBlocks },
  rowsTest("sparse apply", "resolve", (random) => ({
    kinds: [KIND_SET],
    step: 4,
    uniform: [0, 4, 8, 16, 12][below(random, 5)],
  })),
  ...COMBINE_KINDS.filter((kind) => kind !== combineKind("f32", "add")).map((kind) =>
    rowsTest(`combine ${kindName(kind)}`, "atomic", () => ({ kinds: [kind], step: 4, uniform: 0 }))
  ),
  rowsTest("float add", "grouped", () => ({
    kinds: [combineKind("f32", "add")],
    step: 4,
    uniform: 0,
  })),
  rowsTest("grouped apply", "grouped", () => ({
    kinds: [KIND_SET, KIND_MASKED, KIND_MASKED, ...COMBINE_KINDS],
    step: 1,
    uniform: 0,
  })),
];

/** Buffers for kernels that go through ranges, on the device. */
interface RangeBuffers {
  readonly source: GPUBuffer;
  readonly target: GPUBuffer;
  readonly mask: GPUBuffer;
  readonly table: Awaited<ReturnType<GpuKernels["ranges"]>>;
}

/** The same here. */
interface RangeTwin {
  readonly source: Uint32Array<ArrayBuffer>;
  readonly target: Uint32Array<ArrayBuffer>;
  readonly mask: Uint32Array<ArrayBuffer>;
  readonly ranges: readonly WordRange[];
}

function rangesTest(
  name: string,
  run: (
    engine: KernelEngine,
    encoder: GPUCommandEncoder,
    buffers: RangeBuffers,
    twin: RangeTwin,
  ) => void,
): KernelTest<KernelEngine> {
  async function test(engine: KernelEngine, random: Random): Promise<void> {
    const { device, kernels, pool } = engine;
    const source = randomWords(random, BUFFER_WORDS), target = randomWords(random, BUFFER_WORDS);
    // The mask is also what is compared with, so it is like the source for the most part.
    const mask = source.slice();
    for (let k = 0; k < 40; k++) mask[below(random, mask.length)] = random();
    const twin = { source, target, mask, ranges: randomRanges(random) };
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const buffers: GPUBuffer[] = [];
    const table = await kernels.ranges(twin.ranges);
    try {
      for (const words of [source, target, mask]) {
        const buffer = await pool.acquire(4 * BUFFER_WORDS, STORAGE | COPY_SRC | COPY_DST, name);
        buffers.push(buffer);
        device.write(buffer, 0, words);
      }
      const onDevice = { source: buffers[0], target: buffers[1], mask: buffers[2], table };
      await device.checked(name, () => {
        const encoder = device.device.createCommandEncoder();
        run(engine, encoder, onDevice, twin);
        device.queue.submit([encoder.finish()]);
      });
      const result = new Uint8Array(4 * BUFFER_WORDS);
      await device.read(onDevice.target, 0, result);
      checkBytes(result, bytesOf(twin.target));
    } finally {
      table.destroy();
      for (const buffer of buffers) pool.release(buffer);
    }
  }
  return { name, test };
}

/** A page of which some blocks change, the last one not whole, and more of them than there is room for. */
async function testChangedBlocks(engine: KernelEngine, random: Random): Promise<void> {
  const { device, pool } = engine, words = 8 * BLOCK_WORDS + 1 + below(random, 900), room = 4;
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage, bytes = 4 * words;
  const buffer = await pool.acquire(bytes, STORAGE | COPY_SRC | COPY_DST, "changed blocks");
  const finder = await ChangeFinder.of(engine, { buffer, bytes }, room, "changed blocks");
  try {
    finder.setCapacity(engine, room);
    const before = randomWords(random, words);
    for (const changes of [0, 1, 3, 40]) {
      const after = before.slice();
      for (let k = 0; k < changes; k++) after[below(random, words)]++;
      if (changes > 0) after[words - 1]++;
      device.write(buffer, 0, before);
      await device.checked("put a page aside", () => {
        const encoder = device.device.createCommandEncoder();
        finder.keep.encode(encoder);
        device.queue.submit([encoder.finish()]);
      });
      device.write(buffer, 0, after);
      await device.checked("find changed blocks", () => {
        const encoder = device.device.createCommandEncoder();
        finder.find.encode(encoder);
        device.queue.submit([encoder.finish()]);
      });
      const list = new Uint32Array(finder.list.bytes / 4),
        packed = new Uint32Array(finder.packed.bytes / 4);
      await device.read(finder.list.buffer, 0, bytesOf(list));
      await device.read(finder.packed.buffer, 0, bytesOf(packed));
      checkBlocks(list, packed, after, changedBlocks(before, after), room);
    }
  } finally {
    for (const own of [buffer, ...finder.own]) pool.release(own);
  }
}

function checkBlocks(
  list: Uint32Array,
  packed: Uint32Array,
  after: Uint32Array,
  expected: readonly number[],
  room: number,
): void {
  const found = [...list.subarray(BLOCK_HEAD_WORDS, BLOCK_HEAD_WORDS + list[0])];
  const sorted = found.toSorted((a, b) => a - b);
  checkBytes(
    bytesOf(Uint32Array.of(list[0], ...sorted)),
    bytesOf(Uint32Array.of(expected.length, ...expected)),
  );
  found.slice(0, room).forEach((block, place) => {
    const words = after.subarray(BLOCK_WORDS * block, BLOCK_WORDS * (block + 1));
    const at = BLOCK_WORDS * place;
    checkBytes(bytesOf(packed.subarray(at, at + words.length)), bytesOf(words));
  });
}

/** Ranges that do not overlap, some of them empty, one over several tiles, in no order. */
function randomRanges(random: Random): WordRange[] {
  const ranges: WordRange[] = [];
  let at = 0;
  while (true) {
    at += below(random, 9);
    const words = [below(random, 5), below(random, 70), below(random, 2500)][below(random, 3)];
    if (at + words > BUFFER_WORDS) return ranges.reverse();
    ranges.push({ target: at, source: below(random, BUFFER_WORDS - words + 1), words });
    at += words;
  }
}

/** What rows of a test have in common. */
interface RowsAbout {
  readonly kinds: readonly number[];
  readonly step: 1 | 4;
  readonly uniform: number;
}

function rowsTest(
  name: string,
  scheme: ApplyScheme,
  about: (random: Random) => RowsAbout,
): KernelTest<KernelEngine> {
  async function test({ apply }: KernelEngine, random: Random): Promise<void> {
    for (const words of [1 + below(random, 3), 64 + below(random, 200)]) {
      const rows = randomRows(random, words, 200, about(random));
      const before = new Int32Array(randomWords(random, words)), expected = before.slice();
      applyRows(rows.columns, rows.rows, rows.shape, new PlainArena(expected));
      const results = new Int32Array(words);
      const figures = await apply.apply({ ...rows, words: before, results });
      if (figures.scheme !== scheme) {
        throw new MmsbError("gpu", `It took the order ${figures.scheme}, not ${scheme}`);
      }
      checkBytes(bytesOf(results), bytesOf(expected));
    }
  }
  return { name, test };
}

/** Random rows over a few words, as an apply and as its twin take them. */
function randomRows(
  random: Random,
  words: number,
  rows: number,
  { kinds, step, uniform }: RowsAbout,
): ApplyRows & { readonly columns: KernelColumns } {
  const payload = new Uint8Array(rows * 96);
  const columns = kernelColumns(new ArrayBuffer(33 * (rows + 8)), rows + 7 & ~7, payload);
  let end = 0, differs = 0, or = 0;
  for (let row = 0; row < rows; row++) {
    const kind = kinds[below(random, kinds.length)], unit = kind > KIND_MASKED ? 4 : step;
    const length = Math.min(
      uniform || unit * (1 + below(random, Math.min(48, 4 * words) / unit)),
      4 * words,
    );
    const at = unit * below(random, (4 * words - length) / unit + 1);
    columns.kind[row] = kind;
    columns.target[row] = at >>> 2;
    columns.offset[row] = at;
    columns.length[row] = length;
    columns.start[row] = end;
    end = fillPayload(random, payload, end, kind, length);
    // Payloads follow each other at words, or anywhere.
    end = step === 4 ? end + 3 & ~3 : end + below(random, 3);
    differs |= length ^ columns.length[0];
    or |= kind;
  }
  const isUniform = or === KIND_SET && differs === 0;
  const shape = {
    uniformLength: isUniform ? columns.length[0] : 0,
    sequential: isUniform && step === 4,
    aligned: step === 4,
    kinds: or,
  };
  return { ...columns, rows, payload: payload.subarray(0, end), shape, columns };
}

/** Puts a random payload into the pool; gives its end. */
function fillPayload(
  random: Random,
  payload: Uint8Array,
  start: number,
  kind: number,
  length: number,
): number {
  const maskBytes = kind === KIND_MASKED ? length + 7 >>> 3 : 0;
  for (let at = start; at < start + maskBytes + length; at++) payload[at] = random() >>> 24;
  // As many bytes as the mask has bits at most, so what is too much stays behind the row.
  if ((length & 7) !== 0 && maskBytes > 0) {
    payload[start + maskBytes - 1] &= 255 >>> 8 - (length & 7);
  }
  if (kind > KIND_MASKED) {
    const view = new DataView(payload.buffer, start);
    for (let at = 0; at < length; at += 4) {
      if (below(random, 4) > 0) view.setUint32(at, FLOAT_BITS[below(random, 16)], true);
    }
  }
  return start + maskBytes + length;
}

/** Random words, a third of them floats that go wrong easily. */
function randomWords(random: Random, words: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: words },
    () => below(random, 3) === 0 ? FLOAT_BITS[below(random, 16)] : random(),
  );
}

/** A random integer from 0 up to `end`, which is excluded. */
function below(random: Random, end: number): number {
  return random() % end;
}

function bytesOf(words: Uint32Array | Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function checkBytes(found: Uint8Array, expected: Uint8Array): void {
  for (let at = 0; at < expected.length; at++) {
    if (found[at] === expected[at]) continue;
    throw new MmsbError("gpu", `Byte ${at} is ${found[at]}, the CPU has ${expected[at]}`, {
      values: { at, found: found[at], expected: expected[at] },
    });
  }
}

/** Words as an arena, for `applyRows`. */
class PlainArena implements Arena {
  readonly kind = "shared";
  readonly limitBytes: number;
  readonly byteLength: number;
  readonly words: Int32Array;
  readonly doubles: Float64Array = new Float64Array(0);
  readonly #bytes: Uint8Array;

  constructor(words: Int32Array) {
    this.words = words;
    this.#bytes = bytesOf(words);
    this.limitBytes = this.byteLength = words.byteLength;
  }

  grow(): void {}

  region(): Uint8Array {
    return this.#bytes;
  }

  bytes(address: number, length: number): Uint8Array {
    return this.#bytes.subarray(16 * address, 16 * address + length);
  }

  checkInvariants(): void {}
}
