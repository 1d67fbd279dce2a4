/**
 * Shared memory: the pages of one bus, as other threads of the process see them.
 *
 * The arena and the columns of the page table are SharedArrayBuffers that grow in their place, so a thread
 * that was given them once has them for good: it makes longer views where they have grown
 * . Names and metadata are not among them.
 *
 * Cost: nothing for who shares; views for who looks.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { SharedArena } from "./arena.ts";
import type { PageMemory } from "./page_memory.ts";
import type { PageStore } from "./page_store.ts";
import { TABLE_PARTS, type TableBlock, type TableMemory, type TablePart } from "./table_memory.ts";

/** The buffers of one store; may be posted to other threads. */
export interface SharedPages {
  /** Bytes that pages may take. */
  readonly limitBytes: number;
  /** The arena's buffer. */
  readonly arena: SharedArrayBuffer;
  /** The page table's buffers. */
  readonly table: Readonly<Record<TablePart, SharedArrayBuffer>>;
}

/**
 * The buffers of a store.
 *
 * @throws {MmsbError} `usage` where its pages stand in a mapped file, which each process maps for itself.
 */
export function sharedPages({ arena, table }: PageStore): SharedPages {
  if (!(arena instanceof SharedArena)) {
    throw new MmsbError(
      "usage",
      'Cannot share pages of a mapped file with other threads: use arena "shared"',
      { values: { arena: arena.kind } },
    );
  }
  const parts = TABLE_PARTS.map((part) => [part, table.bufferOf(part)]);
  return { limitBytes: arena.limitBytes, arena: arena.buffer, table: Object.fromEntries(parts) };
}

/** The memory that another thread shares; a store over it sees that thread's pages. */
export function memoryOf(shared: SharedPages): PageMemory & { readonly arena: SharedArena } {
  return {
    arena: new SharedArena(shared.limitBytes, shared.arena),
    table: new SharedTable(shared.table),
  };
}

class SharedTable implements TableMemory {
  readonly #buffers: SharedPages["table"];

  constructor(buffers: SharedPages["table"]) {
    this.#buffers = buffers;
  }

  block(part: TablePart): TableBlock {
    return new OthersBlock(this.#buffers[part]);
  }
}

/** A block that only its owner makes longer. */
class OthersBlock implements TableBlock {
  readonly buffer: SharedArrayBuffer;
  readonly start = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
  }

  get byteLength(): number {
    return this.buffer.byteLength;
  }

  grow(): void {
    throw new MmsbError("usage", "Cannot create pages here: the thread of the bus does that");
  }
}
