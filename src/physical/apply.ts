/**
 * Apply: put resolved rows into their pages.
 *
 * Every row was checked ({@linkcode resolve}) and has its target word, so a kernel is a bare loop.
 * The kernel is chosen once a batch by what its rows have in common: 4, 8 or 16 bytes each and
 * payloads in a row; whole words; single bytes; or rows of mixed kinds.
 *
 * Measured against the bare loop over the same columns (`deno task anchors apply`).
 *
 * @module
 */

import type { Arena } from "./arena.ts";
import { REGION_SHIFT } from "./arena.ts";
import { applyCombine } from "./combine.ts";
import type { KernelColumns } from "./kernel_columns.ts";
import { KIND_MASKED, KIND_SET } from "./kind.ts";
import type { BatchShape } from "./resolve.ts";

/** Words from which a block move is faster than a loop. */
const MOVE_WORDS_MIN = 96;
const WORD_IN_REGION = 2 ** (REGION_SHIFT + 2) - 1;

/**
 * Writes all rows into the arena, in row order.
 *
 * @param columns Resolved columns.
 * @param rows Rows.
 * @param shape What resolving found.
 * @param arena The pages.
 */
export function applyRows(
  columns: KernelColumns,
  rows: number,
  shape: BatchShape,
  arena: Arena,
): void {
  if (shape.kinds !== KIND_SET) applyMixed(columns, rows, arena);
  else if (!shape.aligned) applyBytes(columns, rows, arena);
  else if (!shape.sequential) applyWords(columns, rows, arena.words);
  else if (shape.uniformLength === 4) apply4(columns, rows, arena.words);
  else if (shape.uniformLength === 8) apply8(columns, rows, arena.words);
  else if (shape.uniformLength === 16) apply16(columns, rows, arena.words);
  else applyWords(columns, rows, arena.words);
}

/** As {@linkcode applyRows}, for the rows that `order` names from one of its places to another. */
export function applyPicked(
  columns: KernelColumns,
  order: Int32Array,
  from: number,
  to: number,
  shape: BatchShape,
  arena: Arena,
): void {
  if (shape.kinds !== KIND_SET || !shape.aligned) {
    for (let k = from; k < to; k++) applyRow(columns, order[k], arena);
  } else if (shape.sequential && shape.uniformLength === 16) {
    picked16(columns, order, from, to, arena.words);
  } else {
    pickedWords(columns, order, from, to, arena.words);
  }
}

function picked16(
  columns: KernelColumns,
  order: Int32Array,
  from: number,
  to: number,
  words: Int32Array,
): void {
  const { target, payloadWords } = columns;
  const first = from === to ? 0 : columns.start[0] >>> 2;
  for (let k = from; k < to; k++) {
    const i = order[k], at = target[i], source = first + (i << 2);
    words[at] = payloadWords[source];
    words[at + 1] = payloadWords[source + 1];
    words[at + 2] = payloadWords[source + 2];
    words[at + 3] = payloadWords[source + 3];
  }
}

function pickedWords(
  columns: KernelColumns,
  order: Int32Array,
  from: number,
  to: number,
  words: Int32Array,
): void {
  const { target, payloadWords, start, length } = columns;
  for (let k = from; k < to; k++) {
    const i = order[k], at = target[i], source = start[i] >>> 2, count = length[i] >>> 2;
    if (count < MOVE_WORDS_MIN) {
      for (let w = 0; w < count; w++) words[at + w] = payloadWords[source + w];
    } else {
      words.set(payloadWords.subarray(source, source + count), at);
    }
  }
}

function apply4(columns: KernelColumns, rows: number, words: Int32Array): void {
  const { target, payloadWords } = columns;
  const first = rows === 0 ? 0 : columns.start[0] >>> 2;
  for (let i = 0; i < rows; i++) words[target[i]] = payloadWords[first + i];
}

function apply8(columns: KernelColumns, rows: number, words: Int32Array): void {
  const { target, payloadWords } = columns;
  let from = rows === 0 ? 0 : columns.start[0] >>> 2;
  for (let i = 0; i < rows; i++, from += 2) {
    const to = target[i];
    words[to] = payloadWords[from];
    words[to + 1] = payloadWords[from + 1];
  }
}

function apply16(columns: KernelColumns, rows: number, words: Int32Array): void {
  const { target, payloadWords } = columns;
  let from = rows === 0 ? 0 : columns.start[0] >>> 2;
  for (let i = 0; i < rows; i++, from += 4) {
    const to = target[i];
    words[to] = payloadWords[from];
    words[to + 1] = payloadWords[from + 1];
    words[to + 2] = payloadWords[from + 2];
    words[to + 3] = payloadWords[from + 3];
  }
}

function applyWords(columns: KernelColumns, rows: number, words: Int32Array): void {
  const { target, payloadWords, start, length } = columns;
  for (let i = 0; i < rows; i++) {
    const to = target[i], from = start[i] >>> 2, count = length[i] >>> 2;
    if (count < MOVE_WORDS_MIN) {
      for (let k = 0; k < count; k++) words[to + k] = payloadWords[from + k];
    } else {
      words.set(payloadWords.subarray(from, from + count), to);
    }
  }
}

function applyBytes(columns: KernelColumns, rows: number, arena: Arena): void {
  for (let i = 0; i < rows; i++) copyBytes(columns, i, arena);
}

function applyMixed(columns: KernelColumns, rows: number, arena: Arena): void {
  for (let i = 0; i < rows; i++) applyRow(columns, i, arena);
}

function applyRow(columns: KernelColumns, row: number, arena: Arena): void {
  const kind = columns.kind[row];
  if (kind === KIND_SET) copyBytes(columns, row, arena);
  else if (kind === KIND_MASKED) applyMasked(columns, row, arena);
  else applyCombine(columns, row, arena);
}

function copyBytes(columns: KernelColumns, row: number, arena: Arena): void {
  const { target, offset, start, length, payloadBytes } = columns;
  const region = arena.region(target[row] >>> REGION_SHIFT + 2);
  const to = ((target[row] & WORD_IN_REGION) << 2) + (offset[row] & 3);
  const from = start[row], count = length[row];
  if (count < 4 * MOVE_WORDS_MIN) {
    for (let k = 0; k < count; k++) region[to + k] = payloadBytes[from + k];
  } else {
    region.set(payloadBytes.subarray(from, from + count), to);
  }
}

function applyMasked(columns: KernelColumns, row: number, arena: Arena): void {
  const { target, offset, start, length, payloadBytes } = columns;
  const region = arena.region(target[row] >>> REGION_SHIFT + 2);
  const to = ((target[row] & WORD_IN_REGION) << 2) + (offset[row] & 3);
  const mask = start[row], count = length[row];
  let from = mask + (count + 7 >>> 3);
  for (let k = 0; k < count; k++) {
    if (payloadBytes[mask + (k >>> 3)] >>> (k & 7) & 1) region[to + k] = payloadBytes[from++];
  }
}
