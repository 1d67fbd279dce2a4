/**
 * Materialised view: a page folded from deltas alone.
 *
 * Nothing is known of a page but its deltas, so each byte is either written or none. A combining
 * operation onto bytes that are none has a result that nobody knows: they stay none, until a delta
 * sets them. (Merging keeps such operations; a view shows values, and has none to show.)
 *
 * Cost: three bytes a byte of the page, and a few ns a byte that a delta touches.
 *
 * @module
 */

import {
  checkInteger,
  checkIterable,
  MmsbError,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
} from "../base/mod.ts";
import { PageFold } from "./_page_fold.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { maskBytes } from "./mask.ts";
import { rowFault } from "./resolve.ts";

/** Deltas whose spans are remembered at one time. */
const LAYER_ROWS_MAX = 65_536;

/**
 * A page as its deltas alone show it.
 *
 * @example Written bytes and none
 * ```ts
 * import assert from "node:assert/strict";
 * import { MaterializedView } from "@mmsb/mmsb";
 *
 * const view = new MaterializedView(8);
 * const row = { page: 7, kind: 0, source: "", intent: "" };
 * view.apply({ ...row, offset: 2, length: 2, payload: Uint8Array.of(5, 6) });
 * assert.deepEqual(view.read(1, 3), [undefined, 5, 6]);
 * assert.deepEqual([...view.mask()], [0b1100]);
 * assert.deepEqual([view.written, view.deltas], [2, 1]);
 * ```
 */
export class MaterializedView {
  /** Bytes of the page. */
  readonly size: number;
  readonly #fold = new PageFold();
  #deltas = 0;

  /**
   * A view in which every byte is none.
   *
   * @param size Bytes of the page.
   * @throws {MmsbError} `out-of-bounds` for sizes that no page has.
   */
  constructor(size: number) {
    this.size = checkInteger("size", size, PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    this.#fold.begin(false);
  }

  /**
   * Folds deltas into a new view.
   *
   * @param size Bytes of the page.
   * @param deltas Its deltas, in order.
   * @throws {MmsbError} as the constructor and {@linkcode MaterializedView.apply}.
   */
  static from(size: number, deltas: Iterable<DeltaRow>): MaterializedView {
    const view = new MaterializedView(size);
    for (const delta of checkIterable("deltas", deltas)) view.apply(delta);
    return view;
  }

  /** Deltas folded. */
  get deltas(): number {
    return this.#deltas;
  }

  /** Bytes that are not none. */
  get written(): number {
    let written = 0;
    for (let at = 0; at < this.size; at++) if (this.#fold.isKnown(at)) written++;
    return written;
  }

  /**
   * Folds one delta; whose page it is of is for the caller to know.
   *
   * @param delta A delta.
   * @throws {MmsbError} `usage` for what is no delta, `out-of-bounds` where its span leaves the page.
   * The view is then as it was.
   */
  apply(delta: DeltaRow): void {
    const batch = DeltaBatch.from([delta]);
    const { columns, payload } = batch;
    const offset = columns.offset[0], length = columns.length[0];
    const fault = rowFault(batch.kernel, 0, batch.payloadLength);
    if (fault !== undefined) {
      throw new MmsbError("usage", `Cannot fold the delta: ${fault}`, {
        values: { offset, length, kind: columns.kind[0] },
      });
    }
    if (offset + length > this.size) {
      throw new MmsbError(
        "out-of-bounds",
        `Cannot fold a delta of bytes ${offset} to ${offset + length}: the page has ${this.size}`,
        { values: { offset, length, size: this.size } },
      );
    }
    const row = [columns.kind[0], offset, length, payload, columns.payloadStart[0]] as const;
    if (this.#fold.rows >= LAYER_ROWS_MAX || !this.#fold.fold(...row)) {
      // What waits for a value is forgotten: it would stay none whatever follows.
      this.#fold.next();
      this.#fold.fold(...row);
    }
    this.#deltas++;
  }

  /**
   * One byte.
   *
   * @param offset Its place in the page.
   * @returns Its value, `undefined` where it is none.
   * @throws {MmsbError} `out-of-bounds` past the end, `usage` for what is no offset.
   */
  at(offset: number): number | undefined {
    checkInteger("offset", offset, 0, this.size - 1);
    return this.#fold.isKnown(offset) ? this.#fold.values[offset] : undefined;
  }

  /**
   * Bytes in a row, `undefined` for each that is none.
   *
   * @param offset First byte. Default 0.
   * @param length Bytes. Default: to the end.
   * @throws {MmsbError} `out-of-bounds` where the span leaves the page.
   */
  read(offset?: number, length?: number): (number | undefined)[] {
    const first = checkInteger("offset", offset === undefined ? 0 : offset, 0, this.size);
    const rest = this.size - first;
    const count = checkInteger("length", length === undefined ? rest : length, 0, rest);
    return Array.from({ length: count }, (_, i) => this.at(first + i));
  }

  /**
   * The whole page as bytes.
   *
   * @param none What stands for bytes that are none. Default 0.
   */
  bytes(none = 0): Uint8Array<ArrayBuffer> {
    checkInteger("none", none, 0, 255);
    return Uint8Array.from({ length: this.size }, (_, offset) => this.at(offset) ?? none);
  }

  /** Which bytes are not none: a bit a byte, lowest bit first. */
  mask(): Uint8Array<ArrayBuffer> {
    const mask = new Uint8Array(maskBytes(this.size));
    for (let at = 0; at < this.size; at++) {
      if (this.#fold.isKnown(at)) mask[at >>> 3] |= 1 << (at & 7);
    }
    return mask;
  }
}
