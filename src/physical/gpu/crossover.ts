/**
 * Crossover: from how many rows on a batch is faster on the GPU than on the processor, measured on the two at hand.
 *
 * What is measured is the way that a batch of a bus goes: job, upload, kernels, read-back, the result put into the
 * pages; against the processor's kernel on the same rows. Rows set 16 bytes each at random places of 1,024 pages of 4
 * KiB, which favours the GPU: the rows of a bus usually are of more pages, and all that they touch goes up and comes
 * back. Sizes grow until the time for it is spent. On a software adapter the processor computes twice, so there
 * normally is no such size.
 *
 * Cost: at most some 300 ms, once for each adapter, driver and version: it is kept for the process, and in the
 * directory of a bus.
 *
 * @module
 */

import { isMmsbError } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { type ApplyBackend, type ApplyPages, CPU_APPLY } from "../apply_backend.ts";
import { SlotAllocator } from "../allocator.ts";
import { SharedArena } from "../arena.ts";
import { DeltaBatch } from "../delta_batch.ts";
import { PageTable } from "../page_table.ts";
import { type BatchShape, resolve } from "../resolve.ts";
import { denoVersion } from "./_platform.ts";
import type { GpuThread } from "./gpu_thread.ts";
import { ThreadApply } from "./thread_apply.ts";

/** A number of rows, and how long both took. */
export interface CrossoverPoint {
  /** Rows of 16 bytes. */
  readonly rows: number;
  /** Milliseconds of the processor's kernel. */
  readonly cpuMs: number;
  /** Milliseconds of upload, kernels and read-back. */
  readonly gpuMs: number;
}

/** From how many rows on the GPU is faster. */
export interface Crossover {
  /** The rows; `null` where it is slower with as many as were tried. */
  readonly rows: number | null;
  /** What was measured, by rising rows. */
  readonly points: readonly CrossoverPoint[];
}

/** The device that a crossover is of; another one is measured anew. */
export interface CrossoverDevice {
  /** Name of the adapter. */
  readonly adapter: string;
  /** Its driver, as far as it says. */
  readonly driver: string;
  /** The runtime and its version. */
  readonly runtime: string;
  /** Version of what is measured. */
  readonly measure: number;
}

/** How long may be measured. */
export interface MeasureOptions {
  /** Milliseconds after which no larger size is begun. Default 150. */
  readonly budgetMs?: number;
}

/** Grows when something else is measured. */
const MEASURE = 1;
const PAGES = 1024;
const PAGE_BYTES = 4096;
const ROW_BYTES = 16;
const SIZES = [2 ** 10, 2 ** 12, 2 ** 14, 2 ** 16, 2 ** 18, 2 ** 20];
const BUDGET_MS_DEFAULT = 150;
/** Where the GPU is so many times slower, the next size, four times as large, cannot be the one. */
const HOPELESS_RATIO = 64;
const ROUNDS = 3;
const POINTS_MAX = 64;
const TEXT_MAX = 1000;

/** What was measured in this process. */
const measured = new Map<string, Crossover>();

/** The device of a GPU thread, as crossovers are told apart by. */
export function crossoverDevice({ status }: GpuThread): CrossoverDevice {
  const { adapter } = status, version = denoVersion();
  return {
    adapter: `${adapter?.vendor ?? ""} ${adapter?.name ?? ""} ${adapter?.architecture ?? ""}`
      .trim(),
    driver: adapter?.driver ?? "",
    runtime: version === undefined ? "" : `deno ${version}`,
    measure: MEASURE,
  };
}

/**
 * The crossover of a GPU thread's device: as it stands in a file, as it was measured in this process, or measured now.
 *
 * @param thread A thread whose device is ready.
 * @param stored Text of the file, if there is one.
 * @param options How long may be measured.
 * @returns It, and the text for the file where that has none of this device.
 * @throws {MmsbError} `gpu` where the device fails meanwhile.
 */
export function crossoverOf(
  thread: GpuThread,
  stored?: string,
  options?: MeasureOptions,
): { readonly crossover: Crossover; readonly text?: string } {
  const device = crossoverDevice(thread);
  const found = stored === undefined ? undefined : readCrossover(stored, device);
  if (found !== undefined) return { crossover: found };
  const key = JSON.stringify(device);
  const crossover = measured.get(key) ?? measureThread(thread, options);
  measured.set(key, crossover);
  return { crossover, text: `${JSON.stringify({ device, crossover }, undefined, 2)}\n` };
}

/** Forgets what was measured in this process. */
export function forgetCrossovers(): void {
  measured.clear();
}

/** Reads a crossover; `undefined` where the text is damaged, or of another device. */
export function readCrossover(text: string, device: CrossoverDevice): Crossover | undefined {
  try {
    const { device: of, crossover } = JSON.parse(text) as {
      readonly device: CrossoverDevice;
      readonly crossover: Crossover;
    };
    const isOwn = JSON.stringify(of) === JSON.stringify(device);
    return isOwn && isCrossover(crossover) ? crossover : undefined;
  } catch {
    return undefined;
  }
}

function isCrossover(value: Crossover): boolean {
  const { rows, points } = value;
  const isSize = (size: unknown) => Number.isSafeInteger(size) && (size as number) > 0;
  const isTime = (ms: unknown) => Number.isFinite(ms) && (ms as number) >= 0;
  return (rows === null || isSize(rows)) && Array.isArray(points) && points.length > 0 &&
    points.length <= POINTS_MAX &&
    points.every((point) => isSize(point.rows) && isTime(point.cpuMs) && isTime(point.gpuMs));
}

/** In words: what a doctor says. */
export function crossoverText({ rows, points }: Crossover): string {
  const last = points.at(-1);
  const figures = last === undefined
    ? ""
    : ` (${last.rows} rows: GPU ${last.gpuMs.toFixed(2)} ms, CPU ${last.cpuMs.toFixed(2)} ms)`;
  return (rows === null ? "at no size that was tried" : `from ${rows} rows of 16 bytes on`) +
    figures.slice(0, TEXT_MAX);
}

function measureThread(thread: GpuThread, options?: MeasureOptions): Crossover {
  const pages = new TrialPages();
  // What measures is nobody's batch.
  const none = { batches: 0, rows: 0, uploadedBytes: 0, readBytes: 0 };
  const backend = new ThreadApply(thread, pages.arena, none);
  try {
    return measureCrossover(backend, pages, options);
  } finally {
    backend.end();
  }
}

/**
 * Measures two back-ends against each other.
 *
 * @param gpu The one that is to be faster from some size on.
 * @param pages Pages for it.
 * @throws {MmsbError} what it throws; a size that is too large for it only ends the measuring.
 */
export function measureCrossover(
  gpu: ApplyBackend,
  pages: TrialPages = new TrialPages(),
  { budgetMs = BUDGET_MS_DEFAULT }: MeasureOptions = {},
): Crossover {
  const points: CrossoverPoint[] = [], began = monotonicNowMs();
  for (const rows of SIZES) {
    const trial = pages.trial(rows);
    try {
      // The first one compiles, and makes buffers of the size.
      trial(gpu);
    } catch (error) {
      if (isMmsbError(error) && error.code !== "gpu" && points.length > 0) break;
      throw error;
    }
    trial(CPU_APPLY);
    const isLate = () => monotonicNowMs() - began > budgetMs;
    let cpuMs = Infinity, gpuMs = Infinity;
    for (let round = 0; round < ROUNDS && (round === 0 || !isLate()); round++) {
      cpuMs = Math.min(cpuMs, trial(CPU_APPLY));
      gpuMs = Math.min(gpuMs, trial(gpu));
    }
    points.push({ rows, cpuMs, gpuMs });
    if (isLate() || gpuMs > HOPELESS_RATIO * cpuMs && rows >= SIZES[2]) break;
  }
  return { rows: crossingOf(points), points };
}

/** The size from which on all that were tried are faster on the GPU. */
function crossingOf(points: readonly CrossoverPoint[]): number | null {
  const slower = points.findLastIndex(({ cpuMs, gpuMs }) => gpuMs >= cpuMs);
  return points[slower + 1]?.rows ?? null;
}

/** Pages that only serve measuring. */
export class TrialPages implements ApplyPages {
  /** Where they stand. */
  readonly arena: SharedArena = new SharedArena(2 * PAGES * PAGE_BYTES);
  /** Their table. */
  readonly table: PageTable = new PageTable(PAGES);

  /** Makes them. */
  constructor() {
    const allocator = new SlotAllocator(this.arena);
    for (let id = 1; id <= PAGES; id++) {
      const row = this.table.add(id, allocator.allocate(PAGE_BYTES), PAGE_BYTES, 0);
      this.table.setActive(row, true);
    }
  }

  /** A batch of so many rows; gives a function that has a back-end apply it, and tells how long that took. */
  trial(rows: number): (backend: ApplyBackend) => number {
    const batch = new DeltaBatch({ rows, payloadBytes: ROW_BYTES * rows });
    const { columns } = batch;
    let random = 1;
    for (let row = 0; row < rows; row++) {
      // Numerical Recipes' linear congruential generator; its high bits are good enough for places.
      random = Math.imul(random, 1_664_525) + 1_013_904_223 | 0;
      columns.page[row] = 1 + (random >>> 22);
      columns.offset[row] = (random >>> 14 & 255) * ROW_BYTES;
      columns.length[row] = ROW_BYTES;
      columns.payloadStart[row] = ROW_BYTES * row;
    }
    batch.payload.fill(7);
    batch.setLength(rows, ROW_BYTES * rows);
    const shape: BatchShape = resolve({
      columns: batch.kernel,
      rows,
      payloadLength: batch.payloadLength,
      strings: 1,
    }, this.table);
    return (backend) => {
      const began = monotonicNowMs();
      backend.apply(batch.kernel, rows, shape, this);
      return monotonicNowMs() - began;
    };
  }
}
