/**
 * Mapped parts: the growing parts of a mapped file, as memory for the page table and the arena.
 *
 * The writer makes a part longer by taking disk space for it and then stating the new length in the
 * control block; a reader takes the lengths from there. Neither ever moves anything, so every view that
 * was made stays good.
 *
 * @module
 */

import { alignUp, assert } from "../base/mod.ts";
import { MappedControl } from "./mapped_control.ts";
import { MAP_PAGE_BYTES, type MappedFile } from "./mapped_file.ts";
import {
  CONTROL_BYTES,
  GROWING_PARTS,
  type GrowingPart,
  type MappedLayout,
} from "./mapped_layout.ts";
import type { TableBlock, TableMemory, TablePart } from "./table_memory.ts";

/** The parts of one mapped file, for its writer or for a reader. */
export class MappedParts implements TableMemory {
  /** The file. */
  readonly file: MappedFile;
  /** Where everything stands in it. */
  readonly layout: MappedLayout;
  /** Its control block. */
  readonly control: MappedControl;
  /** Whether parts may be made longer here. */
  readonly writable: boolean;

  /** Looks at a file that is laid out so. */
  constructor(file: MappedFile, layout: MappedLayout, writable: boolean) {
    this.file = file;
    this.layout = layout;
    this.control = new MappedControl(file.buffer);
    this.writable = writable;
  }

  /** Bytes of a part, from one of its bytes on. */
  bytes(part: GrowingPart, offset: number, length: number): Uint8Array<ArrayBuffer> {
    assert(offset + length <= this.control.length(part), `${part} has these bytes`);
    return new Uint8Array(this.file.buffer, this.layout.parts[part].start + offset, length);
  }

  /**
   * Makes a part longer.
   *
   * @throws {MmsbError} `disk-full` or `io` where the system gives no space; nothing is changed then.
   */
  grow(part: GrowingPart, bytes: number): void {
    const { start, bytesMax } = this.layout.parts[part];
    const has = this.control.length(part);
    if (bytes <= has) return;
    assert(this.writable && bytes <= bytesMax, `${part} may grow to ${bytes} bytes`);
    const first = alignUp(has, MAP_PAGE_BYTES), end = alignUp(bytes, MAP_PAGE_BYTES);
    if (end > first) this.file.take(start + first, end - first);
    this.control.setLength(part, bytes);
  }

  /** {@inheritDoc TableMemory.block} */
  block(part: TablePart, bytes: number): TableBlock {
    if (this.writable) this.grow(part, bytes);
    return new MappedBlock(this, part);
  }

  /** Writes everything in use to the disk. */
  sync(): void {
    for (const part of GROWING_PARTS) {
      this.file.sync(
        this.layout.parts[part].start,
        alignUp(this.control.length(part), MAP_PAGE_BYTES),
      );
    }
    this.syncControl();
    this.file.syncBlocks();
  }

  /** Writes the control block to the disk. */
  syncControl(): void {
    this.file.sync(0, CONTROL_BYTES);
  }
}

class MappedBlock implements TableBlock {
  readonly buffer: ArrayBuffer;
  readonly start: number;
  readonly #parts: MappedParts;
  readonly #part: TablePart;

  constructor(parts: MappedParts, part: TablePart) {
    this.buffer = parts.file.buffer;
    this.start = parts.layout.parts[part].start;
    this.#parts = parts;
    this.#part = part;
  }

  get byteLength(): number {
    return this.#parts.control.length(this.#part);
  }

  grow(byteLength: number): void {
    this.#parts.grow(this.#part, byteLength);
  }
}
