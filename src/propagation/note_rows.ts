/**
 * Notes: keep what stood where rows will write, for rows that something else puts into the pages afterwards.
 *
 * A GPU gives only what the pages hold when all rows of a batch are done, so their old words are noted before. A row is
 * noted if it differs from what stood there before the batch. That names the same pages, in the same order, as
 * `captureRows` does row by row: the first row that changes a page finds it as it was before the batch, and where no row
 * differs from that, none changes anything. And it keeps every word that changes, since the first row that changes
 * a word finds it as it was, too.
 *
 * Cost: as `captureRows` without the writes; of rows that do not just set whole words, with them and once more.
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
 * Notes the old words of all rows that differ from what stands there; the pages stay as they are.
 *
 * @param columns Resolved columns.
 * @param rows Rows.
 * @param shape What resolving found.
 * @param arena The pages.
 * @param log Where the old words go; it knows all rows of the page table.
 * @throws {MmsbError} `allocation` where there is no room for them; nothing is changed then.
 */
export function noteRows(
  columns: KernelColumns,
  rows: number,
  shape: BatchShape,
  arena: Arena,
  log: ChangeLog,
): void {
  log.reserve(wordsOf(columns, rows));
  if (shape.kinds === KIND_SET && shape.aligned) noteWords(columns, rows, arena.words, log);
  else noteAny(columns, rows, shape, arena, log);
}

function noteWords(columns: KernelColumns, rows: number, pages: Int32Array, log: ChangeLog): void {
  const { record, offset, target, start, length, payloadWords } = columns;
  const { words, heads, touched } = log;
  let at = log.used, count = log.count;
  for (let i = 0; i < rows; i++) {
    const to = target[i], source = start[i] >>> 2, span = length[i] >>> 2;
    const from = at + RECORD_HEAD;
    let differs = 0;
    for (let k = 0; k < span; k++) {
      const old = pages[to + k];
      words[from + k] = old;
      differs |= old ^ payloadWords[source + k];
    }
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

/** Rows of any kind: each is applied, compared, and taken back. */
function noteAny(
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
    for (let k = 0; k < span; k++) {
      const old = words[from + k];
      differs |= old ^ pages[to + k];
      pages[to + k] = old;
    }
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
