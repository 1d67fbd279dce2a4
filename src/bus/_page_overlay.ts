/**
 * Page overlay: a page's bytes with the rows of a batch on them, before any tick has applied those.
 *
 * It does to a plain array of bytes what the kernels do to the arena, row by row and in the same order, so what
 * a transaction reads of its own writes is what its tick will leave.
 *
 * Cost: a copy of the page once, and each row once, however often it is read.
 */

import {
  combineElement,
  type DeltaBatch,
  elementBytes,
  KIND_MASKED,
  KIND_SET,
} from "../physical/mod.ts";

/** A page as it will be. */
export class PageOverlay {
  /** Its bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #page: number;
  /** The first row of the batch that was not looked at. */
  #next = 0;

  /** Takes a copy of the page as it is. */
  constructor(page: number, bytes: Uint8Array<ArrayBuffer>) {
    this.#page = page;
    this.bytes = bytes;
  }

  /** Applies the rows that came since. */
  follow(batch: DeltaBatch): void {
    const { columns: { page }, length } = batch;
    for (; this.#next < length; this.#next++) {
      if (page[this.#next] === this.#page) this.#apply(batch, this.#next);
    }
  }

  #apply({ columns, payload }: DeltaBatch, row: number): void {
    const offset = columns.offset[row], length = columns.length[row], kind = columns.kind[row];
    const start = columns.payloadStart[row];
    if (kind === KIND_SET) {
      this.bytes.set(payload.subarray(start, start + length), offset);
    } else if (kind === KIND_MASKED) {
      let from = start + (length + 7 >>> 3);
      for (let k = 0; k < length; k++) {
        if (payload[start + (k >>> 3)] >>> (k & 7) & 1) this.bytes[offset + k] = payload[from++];
      }
    } else {
      const width = elementBytes(kind);
      for (let done = 0; done < length; done += width) {
        combineElement(kind, this.bytes, offset + done, payload, start + done);
      }
    }
  }
}
