/**
 * Device apply: chooses for each batch of a tick whether the GPU puts it into the pages or the CPU, and has the CPU do
 * what the GPU could not.
 *
 * The log has a tick before its rows are in the pages, so nothing may fail here. A job of the GPU changes no page
 * before all of its result is there; whatever goes wrong before that, the CPU does the batch from pages that are as
 * they were. After some failures in a row the GPU is left alone, as a job that is waited for in vain costs
 * seconds.
 *
 * Cost: some comparisons a batch.
 */

import { isMmsbError, reasonOf } from "../base/mod.ts";
import {
  type ApplyBackend,
  type ApplyPages,
  type BatchShape,
  CPU_APPLY,
  type KernelColumns,
} from "../physical/mod.ts";

/** The back-end of a device, as far as a bus uses it. */
export interface DeviceBackend extends ApplyBackend {
  /** Whether its device is there. */
  readonly isReady: boolean;
  /** Why it has no kernel for rows of such kinds, if so. */
  refusal(shape: BatchShape): string | undefined;
}

/** What was applied by whom. */
export interface DeviceApplyCounts {
  /** Batches and rows that the device did. */
  readonly gpu: { batches: number; rows: number };
  /** Batches and rows that the CPU did. */
  readonly cpu: { batches: number; rows: number };
  /** Batches that the CPU did, by the reason for it. */
  readonly reasons: Map<string, number>;
  /** Jobs that failed. */
  failures: number;
}

/** Failures in a row after which the device is left alone. */
const FAILURES_MAX = 3;
/** Reasons that are kept; drivers have many words. */
const REASONS_MAX = 64;

/** Applies batches by a device where that can do it and pays. */
export class DeviceApply implements ApplyBackend {
  /** Always `gpu`. */
  readonly name = "gpu";
  /** What was done. */
  readonly counts: DeviceApplyCounts = {
    gpu: { batches: 0, rows: 0 },
    cpu: { batches: 0, rows: 0 },
    reasons: new Map(),
    failures: 0,
  };
  readonly #backend: DeviceBackend;
  readonly #rowsMin: number;
  #failuresInRow = 0;
  #lastFailure = "";

  /**
   * By a back-end.
   *
   * @param backend The device's.
   * @param rowsMin Rows from which on a batch pays.
   */
  constructor(backend: DeviceBackend, rowsMin: number) {
    this.#backend = backend;
    this.#rowsMin = rowsMin;
  }

  /** Why the device is left alone, `undefined` where it is not. */
  get givenUp(): string | undefined {
    return this.#failuresInRow < FAILURES_MAX
      ? undefined
      : `it failed ${FAILURES_MAX} times in a row: ${this.#lastFailure}`;
  }

  /** Whether the device would do a batch; where not, it counts as done by the CPU. */
  takes(rows: number, shape: BatchShape): boolean {
    const refusal = this.#refusal(rows, shape);
    if (refusal !== undefined) this.#note(rows, refusal);
    return refusal === undefined;
  }

  /** {@inheritDoc ApplyBackend.apply} */
  apply(columns: KernelColumns, rows: number, shape: BatchShape, pages: ApplyPages): void {
    const refusal = this.#refusal(rows, shape) ?? this.#try(columns, rows, shape, pages);
    if (refusal === undefined) {
      this.counts.gpu.batches++;
      this.counts.gpu.rows += rows;
      return;
    }
    CPU_APPLY.apply(columns, rows, shape, pages);
    this.#note(rows, refusal);
  }

  #refusal(rows: number, shape: BatchShape): string | undefined {
    if (rows < this.#rowsMin) return "below the crossover";
    if (this.#failuresInRow >= FAILURES_MAX) return "given up";
    if (!this.#backend.isReady) return "no device";
    return this.#backend.refusal(shape);
  }

  /** Has the device do a batch; gives why it did not. */
  #try(
    columns: KernelColumns,
    rows: number,
    shape: BatchShape,
    pages: ApplyPages,
  ): string | undefined {
    try {
      this.#backend.apply(columns, rows, shape, pages);
      this.#failuresInRow = 0;
      return undefined;
    } catch (error) {
      this.counts.failures++;
      this.#lastFailure = reasonOf(error);
      const { code } = isMmsbError(error) ? error : { code: "" };
      // Another batch may be small enough.
      if (code === "limit" || code === "allocation") return "too large";
      this.#failuresInRow++;
      return "the device failed";
    }
  }
  #note(rows: number, reason: string): void {
    const { cpu, reasons } = this.counts;
    cpu.batches++;
    cpu.rows += rows;
    const name = reasons.size < REASONS_MAX || reasons.has(reason) ? reason : "other";
    reasons.set(name, (reasons.get(name) ?? 0) + 1);
  }
}
