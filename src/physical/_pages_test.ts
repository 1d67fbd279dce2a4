/** Pages for the tests of this folder: an arena, its allocator and table, and what they hold. */

import type { KernelColumns } from "./kernel_columns.ts";
import type { DeltaBatch } from "./delta_batch.ts";
import { SharedArena } from "./arena.ts";
import { SlotAllocator } from "./allocator.ts";
import { PageTable } from "./page_table.ts";
import { type BatchShape, resolve, type ResolveInput } from "./resolve.ts";
import { sizeClassOf, sizeOfClass } from "./size_class.ts";

/** A table of pages with their bytes. */
export class Pages {
  readonly arena: SharedArena;
  readonly allocator: SlotAllocator;
  readonly table: PageTable;
  /** Size by page id. */
  readonly sizes: Map<number, number> = new Map();

  /** Makes active pages of the given sizes by id. */
  constructor(sizes: Iterable<readonly [number, number]>, limitBytes: number = 64 << 20) {
    this.arena = new SharedArena(limitBytes);
    this.allocator = new SlotAllocator(this.arena);
    this.table = new PageTable(100_000);
    for (const [id, size] of sizes) this.add(id, size);
  }

  /** Adds an active page and gives its row. */
  add(id: number, size: number): number {
    const row = this.table.add(id, this.allocator.allocate(size), size, 0);
    this.table.setActive(row, true);
    this.sizes.set(id, size);
    return row;
  }

  /** The live bytes of a page. */
  bytes(id: number): Uint8Array {
    const row = this.table.rowOf(id);
    return this.arena.bytes(this.table.slot(row), this.table.sizeOf(row));
  }

  /** The epoch of a page. */
  epoch(id: number): number {
    return this.table.epoch(this.table.rowOf(id));
  }

  /** Resolves a batch. */
  resolve(batch: DeltaBatch): BatchShape {
    return resolve(inputOf(batch), this.table);
  }

  /** Copies of all that a refused batch must not change: records, ids, and each whole slot. */
  copy(): unknown {
    const slots = [...this.sizes].map(([id, size]) => {
      const slot = this.table.slot(this.table.rowOf(id));
      return this.arena.bytes(slot, sizeOfClass(sizeClassOf(size))).slice();
    });
    const rows = this.table.size + 1;
    return [this.table.records.slice(0, 4 * rows), this.table.ids.slice(0, rows), slots];
  }

  /** Checks all structures. */
  checkInvariants(): void {
    this.arena.checkInvariants();
    this.allocator.checkInvariants();
    this.table.checkInvariants();
  }
}

/** What resolving takes of a batch. */
export function inputOf(batch: DeltaBatch): ResolveInput & { readonly columns: KernelColumns } {
  return {
    columns: batch.kernel,
    rows: batch.length,
    payloadLength: batch.payloadLength,
    strings: batch.strings.length,
    expectedEpochs: batch.expectedEpochs,
  };
}
