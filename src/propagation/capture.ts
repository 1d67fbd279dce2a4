/**
 * Capture: put resolved rows into their pages, and keep what stood there.
 *
 * The kernels of `applyRows` once more, each with a record of the old words in front of the new ones
 * ({@linkcode ChangeLog}). A row that writes what stands there already leaves no record, so a wave does
 * not begin with it.
 *
 * Cost: against `applyRows` one more read of the page's words and 16 bytes written a row.
 *
 * @module
 */

import {
  type Arena,
  type BatchShape,
  type KernelColumns,
  KIND_SET,
  RECORD_SHIFT,
} from "../physical/mod.ts";
import { OneRow, wordsOf } from "./_one_row.ts";
import { type ChangeLog, RECORD_HEAD } from "./change_log.ts";

/**
 * Writes all rows into the arena, in row order, with records of what they changed.
 *
 * @param columns Resolved columns.
 * @param rows Rows.
 * @param shape What resolving found.
 * @param arena The pages.
 * @param log Where the old words go; it knows all rows of the page table.
 * @throws {MmsbError} `allocation` where there is no room for them; nothing is changed then.
 */
export function captureRows(
  columns: KernelColumns,
  rows: number,
  shape: BatchShape,
  arena: Arena,
  log: ChangeLog,
): void {
  const isWords = shape.kinds === KIND_SET && shape.aligned && shape.sequential;
  const length = shape.uniformLength;
  if (isWords && (length === 4 || length === 8 || length === 16)) {
    log.reserve(rows * (RECORD_HEAD + (length >>> 2)));
    if (length === 4) capture4(columns, rows, arena.words, log);
    else if (length === 8) capture8(columns, rows, arena.words, log);
    else capture16(columns, rows, arena.words, log);
  } else {
    log.reserve(wordsOf(columns, rows));
    captureAny(columns, rows, shape, arena, log);
  }
}

function capture4(columns: KernelColumns, rows: number, pages: Int32Array, log: ChangeLog): void {
  const { record, offset, target, payloadWords } = columns;
  const { words, heads, touched } = log;
  const first = rows === 0 ? 0 : columns.start[0] >>> 2;
  let at = log.used, count = log.count;
  for (let i = 0; i < rows; i++) {
    const to = target[i], old = pages[to], now = payloadWords[first + i];
    if (old === now) continue;
    pages[to] = now;
    const row = record[i] >> RECORD_SHIFT, before = heads[row];
    if (before === 0) touched[count++] = row;
    heads[row] = at;
    words[at] = row;
    words[at + 1] = offset[i] >>> 2;
    words[at + 2] = 1;
    words[at + 3] = before;
    words[at + 4] = old;
    at += 5;
  }
  log.used = at;
  log.count = count;
}

function capture8(columns: KernelColumns, rows: number, pages: Int32Array, log: ChangeLog): void {
  const { record, offset, target, payloadWords } = columns;
  const { words, heads, touched } = log;
  let from = rows === 0 ? 0 : columns.start[0] >>> 2;
  let at = log.used, count = log.count;
  for (let i = 0; i < rows; i++, from += 2) {
    const to = target[i];
    const old0 = pages[to], old1 = pages[to + 1];
    const now0 = payloadWords[from], now1 = payloadWords[from + 1];
    if (((old0 ^ now0) | (old1 ^ now1)) === 0) continue;
    pages[to] = now0;
    pages[to + 1] = now1;
    const row = record[i] >> RECORD_SHIFT, before = heads[row];
    if (before === 0) touched[count++] = row;
    heads[row] = at;
    words[at] = row;
    words[at + 1] = offset[i] >>> 2;
    words[at + 2] = 2;
    words[at + 3] = before;
    words[at + 4] = old0;
    words[at + 5] = old1;
    at += 6;
  }
  log.used = at;
  log.count = count;
}

function capture16(columns: KernelColumns, rows: number, pages: Int32Array, log: ChangeLog): void {
  const { record, offset, target, payloadWords } = columns;
  const { words, heads, touched } = log;
  let from = rows === 0 ? 0 : columns.start[0] >>> 2;
  let at = log.used, count = log.count;
  for (let i = 0; i < rows; i++, from += 4) {
    const to = target[i];
    const old0 = pages[to], old1 = pages[to + 1], old2 = pages[to + 2], old3 = pages[to + 3];
    const now0 = payloadWords[from], now1 = payloadWords[from + 1];
    const now2 = payloadWords[from + 2], now3 = payloadWords[from + 3];
    if (((old0 ^ now0) | (old1 ^ now1) | (old2 ^ now2) | (old3 ^ now3)) === 0) continue;
    pages[to] = now0;
    pages[to + 1] = now1;
    pages[to + 2] = now2;
    pages[to + 3] = now3;
    const row = record[i] >> RECORD_SHIFT, before = heads[row];
    if (before === 0) touched[count++] = row;
    heads[row] = at;
    words[at] = row;
    words[at + 1] = offset[i] >>> 2;
    words[at + 2] = 4;
    words[at + 3] = before;
    words[at + 4] = old0;
    words[at + 5] = old1;
    words[at + 6] = old2;
    words[at + 7] = old3;
    at += 8;
  }
  log.used = at;
  log.count = count;
}

/** Rows of any kind: a row's words are kept, it is applied, and the record stays if they differ. */
function captureAny(
  columns: KernelColumns,
  rows: number,
  shape: BatchShape,
  arena: Arena,
  log: ChangeLog,
): void {
  const { record, offset, target, length } = columns;
  const pages = arena.words, { words, heads, touched } = log;
  const single = new OneRow(columns);
  let at = log.used, count = log.count;
  for (let i = 0; i < rows; i++) {
    const to = target[i], span = (offset[i] & 3) + length[i] + 3 >>> 2;
    const from = at + RECORD_HEAD;
    for (let k = 0; k < span; k++) words[from + k] = pages[to + k];
    single.apply(i, shape, arena);
    let differs = 0;
    for (let k = 0; k < span; k++) differs |= words[from + k] ^ pages[to + k];
    if (differs === 0) continue;
    const row = record[i] >> RECORD_SHIFT, before = heads[row];
    if (before === 0) touched[count++] = row;
    heads[row] = at;
    words[at] = row;
    words[at + 1] = offset[i] >>> 2;
    words[at + 2] = span;
    words[at + 3] = before;
    at = from + span;
  }
  log.used = at;
  log.count = count;
}
