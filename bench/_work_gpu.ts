/**
 * The work of subject `gpu`: batches that go through the back-end of the GPU thread, through a device in this
 * thread where each phase is waited for, and through the CPU; a field that a rule in WGSL steps through; an input of
 * which little changes.
 *
 * Phases are measured apart, as the whole overlaps them: the same bytes are written and waited for (upload), written
 * and computed and waited for (the rest of that is compute), copied and read (read-back).
 */

import { type DeltaBatch, type OpenOptions, type Page, StateBus } from "../mod.ts";
import { type ApplyBackend, CPU_APPLY } from "../src/physical/apply_backend.ts";
import { ApplySpans } from "../src/physical/gpu/apply_job.ts";
import type { ApplyWork } from "../src/physical/gpu/gpu_apply.ts";
import type { GpuEngine } from "../src/physical/gpu/gpu_engine.ts";
import type { GpuThread } from "../src/physical/gpu/gpu_thread.ts";
import type { ReadBack } from "../src/physical/gpu/read_back.ts";
import { ThreadApply } from "../src/physical/gpu/thread_apply.ts";
import { type BatchShape, PageStore, resolve, type SharedArena } from "../src/physical/mod.ts";
import { defineRule, type Rule } from "../src/propagation/mod.ts";
import { hash, seconds } from "./_harness.ts";
import { emptyBatch, filledBatch, PAGES, SEED } from "./_work.ts";

/** Bytes of a page. */
export const PAGE_BYTES = 64;
/** Most rows of a batch; more deltas are several. */
const ROWS_MAX: number = 2 ** 22;
/** Batches that are different; the others are these again. */
const DIFFERENT = 2;
/** Bytes that a row takes here at most: columns, payload, their copies for the thread and for the device. */
const ROW_BYTES = 250;

/** Bytes that so many deltas need in memory. */
export function memoryFor(deltas: number): number {
  return Math.min(DIFFERENT, Math.ceil(deltas / ROWS_MAX)) * Math.min(deltas, ROWS_MAX) * ROW_BYTES;
}

function storeOfPages(): PageStore {
  const store = new PageStore(PAGES * PAGE_BYTES + 2 ** 24);
  for (let id = 1; id <= PAGES; id++) {
    store.table.setActive(store.create(id, { size: PAGE_BYTES, shard: 0, name: "" }), true);
  }
  return store;
}

/** Milliseconds of the phases, each waited for. */
export interface Phases {
  upload: number;
  compute: number;
  readBack: number;
}

/** So many deltas of 16 bytes into 65,536 pages of 64 bytes, for the CPU and for the GPU. */
export class GpuBatches {
  /** Deltas of a run. */
  readonly deltas: number;
  readonly #batches: readonly { readonly batch: DeltaBatch; readonly shape: BatchShape }[];
  readonly #cpu: PageStore = storeOfPages();
  readonly #gpu: PageStore = storeOfPages();
  readonly #apply: ThreadApply;

  /** Fills the batches. */
  constructor(deltas: number, thread: GpuThread) {
    this.deltas = deltas;
    const rows = Math.min(deltas, ROWS_MAX), count = Math.ceil(deltas / rows);
    const different = Array.from({ length: Math.min(count, DIFFERENT) }, (_, index) => {
      const batch = filledBatch(PAGE_BYTES, SEED + index, emptyBatch(rows));
      const input = { columns: batch.kernel, rows, payloadLength: batch.payloadLength, strings: 2 };
      // Both stores were made alike, so the targets are those of both.
      return { batch, shape: resolve(input, this.#cpu.table) };
    });
    this.#batches = Array.from({ length: count }, (_, index) => different[index % DIFFERENT]);
    this.#apply = new ThreadApply(thread, this.#gpu.arena as SharedArena);
  }

  /** Seconds of the CPU. */
  runCpu(): number {
    return this.#run(CPU_APPLY, this.#cpu);
  }

  /** Seconds of the GPU, from the batches in memory to their bytes in the pages. */
  runGpu(): number {
    return this.#run(this.#apply, this.#gpu);
  }

  #run(backend: ApplyBackend, store: PageStore): number {
    return seconds(() => {
      for (const { batch, shape } of this.#batches) {
        backend.apply(batch.kernel, batch.length, shape, store);
      }
    });
  }

  /** The phases of the same batches on a device in this thread. */
  async phases(engine: GpuEngine): Promise<Phases & { readonly scheme: string }> {
    const sum: Phases = { upload: 0, compute: 0, readBack: 0 }, spans = new ApplySpans();
    let scheme = "";
    for (const { batch, shape } of this.#batches) {
      const phases = await phasesOf(engine, packedWork(spans, batch, shape, this.#cpu));
      scheme = phases.scheme;
      for (const name of ["upload", "compute", "readBack"] as const) sum[name] += phases[name];
    }
    return { ...sum, scheme };
  }

  /** Hashes of all pages, of the CPU's and of the GPU's. */
  hashes(): readonly [cpu: string, gpu: string] {
    const of = (store: PageStore) =>
      hash(...Array.from({ length: PAGES }, (_, i) => store.view(store.table.rowOf(i + 1))));
    return [of(this.#cpu), of(this.#gpu)];
  }

  /** Lets go of the thread. */
  close(): void {
    this.#apply.end();
  }
}

/** A batch as the GPU thread would hand it to a device. */
function packedWork(
  spans: ApplySpans,
  { kernel, length: rows, payload, payloadLength }: DeltaBatch,
  shape: BatchShape,
  store: PageStore,
): ApplyWork {
  spans.gather(kernel, rows, store);
  const target = new Int32Array(rows), words = new Int32Array(spans.words);
  spans.rebase(kernel, rows, target);
  for (let span = 0; span < spans.count; span++) {
    const { words: arena } = store.arena;
    words.set(arena.subarray(spans.first[span], spans.end[span]), spans.packed[span]);
  }
  return {
    rows,
    target,
    offset: kernel.offset.subarray(0, rows),
    length: kernel.length.subarray(0, rows),
    start: kernel.start.subarray(0, rows),
    kind: kernel.kind.subarray(0, rows),
    payload: payload.subarray(0, payloadLength),
    shape,
    words,
    results: words,
  };
}

async function phasesOf(
  engine: GpuEngine,
  work: ApplyWork,
): Promise<Phases & { readonly scheme: string }> {
  const { device, apply } = engine, { COPY_DST, COPY_SRC, STORAGE } = GPUBufferUsage;
  const { scheme, uploadedBytes, readBytes } = await apply.apply(work);
  const bytes = new Uint8Array(uploadedBytes), pageBytes = 4 * work.words.length;
  const uploaded = device.createBuffer(uploadedBytes, COPY_DST | COPY_SRC, "upload");
  const pages = device.createBuffer(pageBytes, STORAGE | COPY_DST | COPY_SRC, "pages");
  const back = await device.readBack(readBytes), flag = await device.readBack(8);
  try {
    const write = () => {
      for (let at = 0; at < uploadedBytes; at += UPLOAD_BYTES) {
        device.write(uploaded, at, bytes.subarray(at, at + UPLOAD_BYTES));
      }
    };
    const upload = await timed(async () => {
      write();
      await awaitQueue(device, uploaded, flag);
    });
    const whole = await timed(async () => {
      device.write(pages, 0, work.words);
      await apply.applyOn(pages, work.words.length, work);
      await awaitQueue(device, pages, flag);
    });
    const target = new Uint8Array(readBytes);
    const readBack = await timed(async () => {
      await device.checked("copy back", () => copy(device, pages, back, readBytes));
      await back.read(target);
    });
    return { upload, compute: Math.max(0, whole - upload), readBack, scheme };
  } finally {
    device.destroyBuffer(uploaded);
    device.destroyBuffer(pages);
    back.destroy();
    flag.destroy();
  }
}

/** A write may be so large. */
const UPLOAD_BYTES: number = 2 ** 25;

type Device = GpuEngine["device"];

/** Waits until all that was submitted has run, by reading 4 bytes behind it. */
async function awaitQueue(device: Device, buffer: GPUBuffer, flag: ReadBack): Promise<void> {
  await device.checked("wait", () => copy(device, buffer, flag, 4));
  await flag.read(new Uint8Array(4));
}

function copy(device: Device, buffer: GPUBuffer, back: ReadBack, bytes: number): void {
  const encoder = device.device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, back.buffer, 0, bytes);
  device.queue.submit([encoder.finish()]);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** A field of words, each of which follows from itself and its neighbours a step before. */
export class Field {
  /** Steps of a run. */
  readonly steps: number;
  readonly #bus: StateBus;
  readonly #trigger: Page;
  readonly #field: Page;
  readonly #ticks: number;
  #run = 0;

  private constructor(bus: StateBus, steps: number, ticks: number) {
    this.steps = steps;
    this.#bus = bus;
    this.#ticks = ticks;
    this.#trigger = bus.page(1);
    this.#field = bus.page(2);
  }

  /**
   * Opens a bus with a field.
   *
   * @param words Words of it.
   * @param steps Steps of a run of it.
   * @param ticks In so many ticks: each then reads back what it made.
   */
  static async open(
    words: number,
    steps: number,
    ticks: number,
    options: OpenOptions,
  ): Promise<Field> {
    const bus = await StateBus.open({ memoryLimitBytes: 16 * words + 2 ** 24, ...options });
    const trigger = bus.createPage({ size: 4 }), field = bus.createPage({ size: 4 * words });
    field.write(0, new Uint8Array(Uint32Array.from({ length: words }, (_, i) => i * 7).buffer));
    await bus.tick();
    await bus.rule(fieldRule(words, steps / ticks), {
      name: "field",
      inputs: [trigger],
      outputs: [field],
    }).ready;
    const all = new Field(bus, steps, ticks);
    // The tick that binds it is the first of a run: all fields have done as many steps afterwards.
    await bus.tick();
    await all.#go(ticks - 1);
    return all;
  }

  /** Does a run; gives its seconds. */
  async run(): Promise<number> {
    const start = performance.now();
    await this.#go(this.#ticks);
    return (performance.now() - start) / 1000;
  }

  async #go(ticks: number): Promise<void> {
    for (let tick = 0; tick < ticks; tick++) {
      this.#trigger.write(0, new Uint8Array(Uint32Array.of(++this.#run).buffer));
      await this.#bus.tick();
    }
  }

  /** Hash of the field. */
  hash(): string {
    return hash(this.#field.read());
  }

  /** Ends the bus. */
  async close(): Promise<void> {
    await this.#bus.close();
  }
}

function fieldRule(words: number, steps: number): Rule {
  return defineRule({
    wgsl: {
      code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = id.x;
  if (at >= threads.x) { return; }
  let beside = previous0[(at + 1u) % ${words}u] ^ previous0[(at + ${words - 1}u) % ${words}u];
  output0[at] = previous0[at] + (beside >> 3u) + (input0[0] & 0u);
}`,
      threads: words,
      steps,
    },
    compute(ctx) {
      const bytes = ctx.output(0).readInto(new Uint8Array(4 * words));
      const old = new Uint32Array(bytes.buffer), output = ctx.output(0);
      const now = new Uint32Array(words);
      for (let at = 0; at < words; at++) {
        const beside = old[(at + 1) % words] ^ old[(at + words - 1) % words];
        now[at] = old[at] + (beside >>> 3);
      }
      output.set(0, new Uint8Array(now.buffer));
    },
  });
}

/** Bytes of pages that went to the device of a thread so far. */
export async function uploadedBytes(thread: GpuThread): Promise<number> {
  const { pages } = await thread.ask<{ readonly pages: { readonly uploadedBytes: number } }>({
    kind: "statistics",
  });
  return pages.uploadedBytes;
}

/** A page of which each tick changes 64 bytes, and a rule in WGSL that reads all of it. */
export class ReadWhole {
  readonly #bus: StateBus;
  readonly #page: Page;
  readonly #sums: Page;
  readonly #words: number;
  readonly #dropsCopies: boolean;
  #tick = 0;

  private constructor(bus: StateBus, words: number, dropsCopies: boolean) {
    this.#bus = bus;
    this.#words = words;
    this.#dropsCopies = dropsCopies;
    this.#page = bus.page(1);
    this.#sums = bus.page(2);
  }

  /**
   * Opens a bus.
   *
   * @param words Words of the page.
   * @param dropsCopies Whether the device forgets the page before each tick, so that all of it goes up again.
   */
  static async open(
    words: number,
    dropsCopies: boolean,
    options: OpenOptions,
  ): Promise<ReadWhole> {
    const bus = await StateBus.open({ memoryLimitBytes: 16 * words + 2 ** 24, ...options });
    const page = bus.createPage({ size: 4 * words }), sums = bus.createPage({ size: 4 * SUMS });
    page.write(0, new Uint8Array(Uint32Array.from({ length: words }, (_, i) => i * 13).buffer));
    await bus.tick();
    await bus.rule(sumsRule(words), { name: "sums", inputs: [page], outputs: [sums] }).ready;
    await bus.tick();
    return new ReadWhole(bus, words, dropsCopies);
  }

  /** Does some ticks; gives their seconds. */
  async run(ticks: number): Promise<number> {
    let time = 0;
    for (let left = ticks; left > 0; left--) {
      if (this.#dropsCopies) await this.#bus.device.migrate(this.#page, "cpu");
      const at = Math.imul(++this.#tick, 0x9e37_79b1) >>> 0;
      const start = performance.now();
      this.#page.write(4 * (at % (this.#words - 16)), new Uint8Array(64).fill(this.#tick));
      await this.#bus.tick();
      time += performance.now() - start;
    }
    return time / 1000;
  }

  /** Hash of page and sums. */
  hash(): string {
    return hash(this.#page.read(), this.#sums.read());
  }

  /** Ends the bus. */
  async close(): Promise<void> {
    await this.#bus.close();
  }
}

const SUMS = 256;

function sumsRule(words: number): Rule {
  const part = words / SUMS;
  return defineRule({
    wgsl: {
      code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= threads.x) { return; }
  var sum = 0u;
  for (var i = 0u; i < ${part}u; i++) { sum += input0[i * ${SUMS}u + id.x]; }
  output0[id.x] = sum;
}`,
      threads: SUMS,
    },
    compute(ctx) {
      const input = new Uint32Array(ctx.input(0).readInto(new Uint8Array(4 * words)).buffer);
      const sums = new Uint32Array(SUMS);
      for (let at = 0; at < words; at++) sums[at % SUMS] += input[at];
      ctx.output(0).set(0, new Uint8Array(sums.buffer));
    },
  });
}
