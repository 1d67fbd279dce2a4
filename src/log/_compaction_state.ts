/**
 * Compaction state: the pages of a log at its horizon, and the merged rows that make each of them.
 *
 * The ticks are replayed, so all that replaying checks is checked; beside it each page notes who changed
 * it last, why, at what time, and in how many rows. Every page was born zero in these ticks, so its
 * bytes at the horizon are all that its rows came to, a float add too; bytes that are zero need no row.
 * A page that a rule wrote last keeps rows of that rule. Of edges, rules and marks only those are left that
 * are there at the horizon.
 *
 * Cost: the memory of all pages once more and 28 bytes a page; a replay, and some
 * words a row for what is noted.
 */

import {
  isMaskSmaller,
  KIND_MASKED,
  KIND_SET,
  maskOfChanges,
  maskSpans,
  packMasked,
  PageStore,
  ROW_COST_BYTES,
  type SpillPlan,
} from "../physical/mod.ts";
import { ROW_KIND, SECTION } from "./format.ts";
import { type FrameHeader, RowDecoder } from "./frame_reader.ts";
import type { LogRow } from "./import_columns.ts";
import type { LaneTick } from "./lane_reader.ts";
import type { LogTick } from "./log_reader.ts";
import { Replayer } from "./replay.ts";

const PAGES_START = 1024;
const ADVANCE_MAX = 0xffff_ffff;
const NONE = new Uint8Array(1);

/** Pages at a horizon. */
export class CompactionState {
  /** The pages. */
  readonly store: PageStore;
  /** Last tick taken. */
  tick = 0;
  /** Ticks taken; a merged one counts once. */
  ticks = 0;
  /** Time of the last tick's commit. */
  hlcLast = 0n;

  readonly #replayer: Replayer;
  readonly #decoder = new RowDecoder();
  readonly #strings: string[] = [""];
  readonly #numbers = new Map<string, number>([["", 0]]);
  /** By row of the page table: the page that the notes are of, its rows, source, intent, time, rule + 1. */
  #pages = new Uint32Array(PAGES_START);
  #rows = new Uint32Array(PAGES_START);
  #sources = new Uint32Array(PAGES_START);
  #intents = new Uint32Array(PAGES_START);
  #timesUs = new Float64Array(PAGES_START);
  #rules = new Uint32Array(PAGES_START);
  #zeros = new Uint8Array(PAGES_START);

  /**
   * @param memoryLimitBytes Bytes that the pages may take.
   * @param spill Where those go for which there is no room.
   */
  constructor(memoryLimitBytes: number, spill?: SpillPlan) {
    this.store = new PageStore(memoryLimitBytes, undefined, spill);
    this.#replayer = new Replayer(this.store);
  }

  /** Lets go of what it has on the disk. */
  [Symbol.dispose](): void {
    this.store.close();
  }

  /** Rows of deltas taken. */
  get rows(): number {
    return this.#replayer.rows;
  }

  /**
   * Takes the next tick.
   *
   * @throws {MmsbError} `corrupt-log` where it does not fit the pages, `allocation` where memory is
   * short.
   */
  take(tick: LogTick): void {
    this.#replayer.apply(tick);
    for (const kind of [ROW_KIND.data, ROW_KIND.derived]) {
      for (const lane of tick.lanes) {
        for (const frame of lane.frames) if (frame.rowKind === kind) this.#note(lane, frame);
      }
    }
    for (const lane of tick.lanes) {
      const { hlcLast } = lane.commitFrame;
      if (hlcLast > this.hlcLast) this.hlcLast = hlcLast;
    }
    this.tick = tick.tick;
    this.ticks++;
  }

  /** Rows that the page of a row of the table was given. */
  rowsOf(tableRow: number): number {
    return this.#pages[tableRow] === this.store.table.ids[tableRow] ? this.#rows[tableRow] : 0;
  }

  /** Whether a rule wrote the page of a row of the table last: then its merged rows are that rule's. */
  isDerived(tableRow: number): boolean {
    return this.#pages[tableRow] === this.store.table.ids[tableRow] && this.#rules[tableRow] > 0;
  }

  /** The merged rows of the page in a row of the table, in order: none where it was given none. */
  mergedRows(tableRow: number): LogRow[] {
    const { table } = this.store;
    const epoch = table.epoch(tableRow), page = table.ids[tableRow];
    if (epoch === 0) return [];
    const timeUs = this.#timesUs[tableRow];
    const about = {
      page,
      source: this.#strings[this.#sources[tableRow]],
      intent: this.#strings[this.#intents[tableRow]],
      ...(Number.isNaN(timeUs) ? {} : { timeUs }),
      ...(this.isDerived(tableRow) ? { rule: this.#rules[tableRow] - 1 } : {}),
    };
    const changes = this.#changes(tableRow);
    const rows: LogRow[] = [];
    let reached = 0;
    const add = (change: Change, advance: number) => {
      reached += advance;
      rows.push({ ...about, ...change, epoch: reached, advance });
    };
    for (const change of changes.slice(0, -1)) add(change, 1);
    const last = changes[changes.length - 1];
    while (reached < epoch) add(last, Math.min(ADVANCE_MAX, epoch - reached));
    return rows;
  }

  /** What the rows of a page set: never more than it was given. */
  #changes(tableRow: number): Change[] {
    const bytes = this.store.view(tableRow), { length } = bytes;
    if (this.#zeros.length < length) this.#zeros = new Uint8Array(length);
    const mask = maskOfChanges(this.#zeros.subarray(0, length), bytes);
    const spans = maskSpans(mask, length, ROW_COST_BYTES);
    if (spans.length === 0) return [{ kind: KIND_SET, offset: 0, length: 1, payload: NONE }];
    if (spans.length <= this.rowsOf(tableRow) && !isMaskSmaller(spans)) {
      return spans.map(({ offset, length }) => {
        return { kind: KIND_SET, offset, length, payload: bytes.subarray(offset, offset + length) };
      });
    }
    const last = spans[spans.length - 1];
    const first = spans[0].offset & ~7, end = last.offset + last.length;
    const some = mask.slice(first >>> 3, end + 7 >>> 3);
    const packed = packMasked(bytes.subarray(first, end), some);
    const payload = new Uint8Array(some.length + packed.length);
    payload.set(some);
    payload.set(packed, some.length);
    return [{ kind: KIND_MASKED, offset: first, length: end - first, payload }];
  }

  /** Notes who made the rows of a frame; of pages that the tick deleted nothing is left to note. */
  #note(lane: LaneTick, frame: FrameHeader): void {
    const isDerived = frame.rowKind === ROW_KIND.derived;
    const named = isDerived || [SECTION.source, SECTION.intent, SECTION.timeUs]
      .some((id) => frame.sections.has(id));
    const { columns, rows, strings, timesUs, rules } = this.#decoder.decode(
      lane.segment,
      frame,
      named,
    );
    const { table } = this.store;
    this.#grow(table.ids.length);
    const numbers = named ? strings.map((text) => this.#intern(text)) : [0];
    for (let row = 0; row < rows; row++) {
      const at = table.rowOf(columns.page[row] >>> 0);
      if (at === 0) continue;
      if (this.#pages[at] !== table.ids[at]) this.#begin(at, table.ids[at]);
      this.#rows[at]++;
      this.#rules[at] = isDerived ? (rules?.[row] ?? 0) + 1 : 0;
      if (!named) continue;
      this.#sources[at] = numbers[columns.source[row]] || this.#sources[at];
      this.#intents[at] = numbers[columns.intent[row]] || this.#intents[at];
      const time = timesUs === undefined ? NaN : timesUs[row];
      if (!Number.isNaN(time) && !(time <= this.#timesUs[at])) this.#timesUs[at] = time;
    }
  }

  #begin(at: number, page: number): void {
    this.#pages[at] = page;
    this.#rows[at] =
      this.#sources[at] =
      this.#intents[at] =
      this.#rules[at] =
        0;
    this.#timesUs[at] = NaN;
  }

  #intern(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#strings.push(text) - 1;
      this.#numbers.set(text, number);
    }
    return number;
  }

  #grow(rows: number): void {
    if (rows <= this.#pages.length) return;
    const longer = <T extends Uint32Array | Float64Array>(column: T, made: T): T => {
      made.set(column);
      return made;
    };
    this.#pages = longer(this.#pages, new Uint32Array(rows));
    this.#rows = longer(this.#rows, new Uint32Array(rows));
    this.#sources = longer(this.#sources, new Uint32Array(rows));
    this.#intents = longer(this.#intents, new Uint32Array(rows));
    this.#timesUs = longer(this.#timesUs, new Float64Array(rows));
    this.#rules = longer(this.#rules, new Uint32Array(rows));
  }
}

type Change = Pick<LogRow, "kind" | "offset" | "length" | "payload">;
