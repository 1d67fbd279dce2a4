/** Single rows of a batch, for the loops that keep what stood there: the room of their records, and their apply. */

import { applyRows, type Arena, type BatchShape, type KernelColumns } from "../physical/mod.ts";
import { RECORD_HEAD } from "./change_log.ts";

/** Words that records of all rows take at most. */
export function wordsOf({ offset, length }: KernelColumns, rows: number): number {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum += RECORD_HEAD + ((offset[i] & 3) + length[i] + 3 >>> 2);
  return sum;
}

/** Applies single rows of a batch. */
export class OneRow {
  readonly #all: KernelColumns;
  readonly #one: KernelColumns;

  /** Of the rows in some columns. */
  constructor(all: KernelColumns) {
    this.#all = all;
    this.#one = {
      ...all,
      offset: new Int32Array(1),
      length: new Int32Array(1),
      start: new Int32Array(1),
      target: new Int32Array(1),
      kind: new Uint8Array(1),
    };
  }

  /** Applies one of them. */
  apply(row: number, { kinds, aligned }: BatchShape, arena: Arena): void {
    const one = this.#one, all = this.#all;
    one.offset[0] = all.offset[row];
    one.length[0] = all.length[row];
    one.start[0] = all.start[row];
    one.target[0] = all.target[row];
    one.kind[0] = all.kind[row];
    applyRows(one, 1, { uniformLength: 0, sequential: false, aligned, kinds }, arena);
  }
}
