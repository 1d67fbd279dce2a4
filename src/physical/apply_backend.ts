/**
 * Apply back-ends: what puts the resolved rows of a batch into their pages.
 *
 * The processor does it with a bare loop ({@linkcode applyRows}); a GPU does it in parallel. Whoever does it, the pages
 * hold the same bytes afterwards, so which one it was is chosen batch by batch, and a batch that one of them could not do
 * is done by another from the start. All of them run one conformance suite (apply_conformance.ts).
 *
 * Cost: one call a batch.
 *
 * @module
 */

import { applyRows } from "./apply.ts";
import type { Arena } from "./arena.ts";
import type { KernelColumns } from "./kernel_columns.ts";
import type { PageTable } from "./page_table.ts";
import type { BatchShape } from "./resolve.ts";

/** The pages that rows are put into; a `PageStore` is one. */
export interface ApplyPages {
  /** Where their bytes stand. */
  readonly arena: Arena;
  /** Where in it each page stands. */
  readonly table: PageTable;
}

/** Puts rows into pages. */
export interface ApplyBackend {
  /** What does the work. */
  readonly name: "cpu" | "gpu";
  /**
   * Writes all rows into the pages, with the same bytes as one after the other in row order.
   *
   * @param columns Resolved columns.
   * @param rows Rows.
   * @param shape What resolving found.
   * @param pages The pages, with no row changed since.
   * @throws {MmsbError} `gpu` where a device failed: the pages are as they were then.
   */
  apply(columns: KernelColumns, rows: number, shape: BatchShape, pages: ApplyPages): void;
}

/** The processor. */
export const CPU_APPLY: ApplyBackend = {
  name: "cpu",
  apply: (columns, rows, shape, { arena }) => applyRows(columns, rows, shape, arena),
};
