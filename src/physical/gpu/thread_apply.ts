/**
 * The GPU as an apply back-end: each batch becomes a job for the GPU thread, and its result is put into the pages.
 *
 * It refuses what the device has no kernel for, and hands on what the device could not do; both leave the pages as they
 * were, so that whoever asked has another back-end do the batch.
 *
 * Cost: a round trip to the thread and the device, from some 50 µs on, beside what a job costs (apply_job.ts).
 *
 * @module
 */

import { assert, MmsbError } from "../../base/mod.ts";
import type { ApplyBackend, ApplyPages } from "../apply_backend.ts";
import type { SharedArena } from "../arena.ts";
import type { KernelColumns } from "../kernel_columns.ts";
import type { BatchShape } from "../resolve.ts";
import { type ApplyPool, ApplySpans, putApplied, writeApply } from "./apply_job.ts";
import type { GpuThread } from "./gpu_thread.ts";
import { APPLY_JOB } from "./job_ops.ts";
import { applyRefusal } from "./kernels/refusal.ts";

/** What a back-end has moved so far. */
export interface ApplyCounts {
  /** Batches whose result stands in the pages. */
  batches: number;
  /** Their rows. */
  rows: number;
  /** Bytes that went to the device. */
  uploadedBytes: number;
  /** Bytes that came back. */
  readBytes: number;
}

/** Applies batches by the GPU thread, to the pages of one arena. */
export class ThreadApply implements ApplyBackend {
  /** Always `gpu`. */
  readonly name = "gpu";
  /** What was done. */
  readonly counts: ApplyCounts = { batches: 0, rows: 0, uploadedBytes: 0, readBytes: 0 };
  /** The number under which the thread knows the arena. */
  readonly arenaNumber: number;
  readonly #thread: GpuThread;
  readonly #totals: ApplyCounts;
  readonly #arena: SharedArena;
  readonly #spans = new ApplySpans();
  #pool: ApplyPool = { hits: 0, misses: 0, cached: 0, cachedBytes: 0 };

  /**
   * Lets the thread see an arena; {@linkcode ThreadApply.end} takes it back.
   *
   * @param totals What is added to beside its own counts. Default: the thread's.
   */
  constructor(thread: GpuThread, arena: SharedArena, totals: ApplyCounts = thread.totals) {
    this.#thread = thread;
    this.#totals = totals;
    this.#arena = arena;
    this.arenaNumber = thread.register(arena);
  }

  /** Buffers of the device, as of the last job. */
  get pool(): ApplyPool {
    return this.#pool;
  }

  /** Why it does not take rows of such kinds, `undefined` where it does. */
  refusal(shape: BatchShape): string | undefined {
    return applyRefusal(shape.kinds);
  }

  /** {@inheritDoc ApplyBackend.apply} */
  apply(columns: KernelColumns, rows: number, shape: BatchShape, pages: ApplyPages): void {
    if (rows === 0) return;
    assert(pages.arena === this.#arena, "the thread knows the arena");
    const refusal = this.refusal(shape);
    if (refusal !== undefined) {
      throw new MmsbError("usage", `Cannot apply the batch on the GPU: ${refusal}`, {
        values: { kinds: shape.kinds },
      });
    }
    const spans = this.#spans, thread = this.#thread, counts = this.counts;
    spans.gather(columns, rows, pages);
    const { uploadedBytes, readBytes, pool } = thread.call(
      APPLY_JOB,
      (job) => writeApply(job, this.arenaNumber, spans, columns, rows, shape),
      (result) => putApplied(result, spans, pages.arena.words),
    );
    this.#pool = pool;
    for (const sum of [counts, this.#totals]) {
      sum.batches++;
      sum.rows += rows;
      sum.uploadedBytes += uploadedBytes;
      sum.readBytes += readBytes;
    }
  }

  /** Takes the arena back from the thread. */
  end(): void {
    this.#thread.unregister(this.arenaNumber);
  }
}
