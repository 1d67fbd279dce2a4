/**
 * Page merge: puts a page that a shader has written into the arena, as the writes of a rule.
 *
 * The whole page comes back, and what is compared are the host's own words: a span of words that differ is a record, with the
 * old words in the change log, as if the twin had written it. So the log, history and early cutoff are those of any rule.
 *
 * Cost: 2 ns a word, and 3 more a word that differs.
 */

import type { PageStore } from "../../physical/mod.ts";
import { type ChangeLog, RECORD_HEAD } from "../change_log.ts";

/**
 * Puts a page.
 *
 * @param row Its row in the page table.
 * @param words What it is to be.
 * @throws {MmsbError} `allocation`, `limit` where there is no room for the old words; the page is as it was then.
 */
export function putPage(
  { table, arena }: PageStore,
  log: ChangeLog,
  row: number,
  words: Int32Array,
): void {
  const pages = arena.words, base = table.slot(row) << 2, count = words.length;
  let changed = 0, spans = 0, isInside = false;
  for (let k = 0; k < count; k++) {
    const differs = words[k] !== pages[base + k];
    if (differs) changed++;
    if (differs && !isInside) spans++;
    isInside = differs;
  }
  if (changed === 0) return;
  log.reserve(changed + RECORD_HEAD * spans);
  const { words: old, heads } = log;
  let head = heads[row], at = log.used, next = -1;
  if (head === 0) log.touched[log.count++] = row;
  for (let k = 0; k < count; k++) {
    const before = pages[base + k], now = words[k];
    if (before === now) continue;
    if (k !== next) {
      old[at] = row;
      old[at + 1] = k;
      old[at + 2] = 0;
      old[at + 3] = head;
      head = at;
      at += RECORD_HEAD;
    }
    old[head + 2]++;
    old[at++] = before;
    pages[base + k] = now;
    next = k + 1;
  }
  heads[row] = head;
  log.used = at;
}
