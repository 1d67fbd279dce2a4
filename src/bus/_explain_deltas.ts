/**
 * Explained deltas: the newest deltas of each page of an explanation, with the bytes that they changed.
 *
 * The pages near the one that was asked about are read together, in rounds: first the deltas that are
 * shown, then older rows, more in each round, until it is known what stood there before. Of a page far away
 * one delta is shown as it is; who has its row at hand makes it at once.
 *
 * Cost: about 1 µs a delta that is shown; for bytes before at most EXPLAIN_ROWS_MAX rows in all.
 */

import { EXPLAIN_BYTES_MAX, EXPLAIN_ROWS_MAX } from "../base/mod.ts";
import { type FrameRows, type LogIndex, ROW_KIND } from "../log/mod.ts";
import { KIND_SET, kindName } from "../physical/mod.ts";
import { BytePool, ShownBytes } from "./_explain_bytes.ts";
import type { Lives } from "./_explain_lives.ts";
import {
  isDelta,
  type PageRows,
  type PlacedRow,
  readRows,
  type RowPlace,
} from "./_explain_rows.ts";
import type { ExplainedDelta } from "./explanation.ts";
import { copy } from "./page_past.ts";

/** Part of a page that an explanation is about. */
export interface Span {
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** A page whose deltas are wanted. */
export interface DeltasWanted {
  /** The newest delta. */
  readonly place: RowPlace;
  /** Rows of the page, or of all pages of the table, up to that delta's tick. */
  readonly rows: readonly PageRows[];
  /** Name of the rule that made it, if it is known; else the log is read for it. */
  readonly ruleName: string | undefined;
  /** The part of it that is meant; all of it if left out. */
  readonly span: Span | undefined;
  /** Whether it is so near that all its deltas are shown, with the bytes before; else one, as it is. */
  readonly isNear: boolean;
  /** Where the deltas go. */
  deltas: ExplainedDelta[];
  /** Whether there are more. */
  more: boolean;
}

type Writable = { -readonly [key in keyof ExplainedDelta]: ExplainedDelta[key] };

interface Shown extends PlacedRow {
  readonly wanted: DeltasWanted;
  /** What finds its bytes, if they are looked for. */
  readonly search: Search | undefined;
  delta: Writable | undefined;
}

/** The shown bytes of one page, and the rows that are still to be looked at. */
interface Search {
  readonly bytes: ShownBytes;
  readonly shown: Shown[];
  readonly rows: PageRows;
  /** Rows that were looked at. */
  looked: number;
  /** Rows that are to be looked at next. */
  next: number;
}

/** How many times as many rows of a page are looked at in each round. */
const ROUND_GROWTH = 4;
/** Rows of a page that are looked through at once for deltas of a span. */
const SPAN_ROWS = 256;

/**
 * Finds the deltas.
 *
 * @param count Most deltas of a page.
 * @param horizon What stood anywhere up to this tick is not known.
 */
export function findDeltas(
  index: LogIndex,
  lives: Lives,
  wanted: readonly DeltasWanted[],
  count: number,
  horizon: number,
): void {
  const shown: Shown[] = [], searches: Search[] = [], pool = new BytePool();
  for (const page of wanted) {
    const { isNear } = page, most = isNear ? count : Math.min(1, count);
    const places = newestPlaces(index, page, most + 1), ofPage = new Map<number, Search>();
    page.more = places.length > most;
    if (page.more) places.pop();
    for (const place of places) {
      let search = ofPage.get(place.page);
      if (search === undefined && isNear) {
        const rows = page.rows.find((one) => one.page === place.page)!;
        search = { bytes: new ShownBytes(pool), shown: [], rows, looked: 0, next: 1 };
        ofPage.set(place.page, search);
        searches.push(search);
      }
      const item: Shown = { place, wanted: page, search, delta: undefined };
      shown.push(item);
      if (search === undefined) continue;
      search.shown.push(item);
      search.next++;
    }
  }
  readRows(index, shown, (item, rows) => {
    const { place, wanted: { span, ruleName } } = item;
    const epoch = lives.epochAfter(place.page, rows, place.row);
    const delta = item.delta = deltaOf(place, rows, epoch, ruleName, span);
    const length = Math.min(delta.length, EXPLAIN_BYTES_MAX);
    item.search?.bytes.show(rows, place.row, delta.offset, length);
  });
  findBytes(index, searches);
  for (const { wanted: page, delta } of shown) {
    if (horizon > 0 && delta!.tick <= horizon) delta!.before = undefined;
    page.deltas.push(delta!);
  }
}

/** Places of the newest deltas, newest first; of a derived page those of its tick. */
function newestPlaces(index: LogIndex, wanted: DeltasWanted, count: number): RowPlace[] {
  const { place, rows, span } = wanted, found: RowPlace[] = [];
  for (const page of rows) {
    let left = count;
    for (const row of deltasBack(index, page, span)) {
      if (!isOfValue(row, place)) break;
      found.push(row);
      if (--left === 0) break;
    }
  }
  if (rows.length > 1) {
    found.sort((a, b) => b.tick - a.tick || b.frame - a.frame || b.row - a.row);
  }
  return found.slice(0, count);
}

/** Whether a delta is among those that led to a value: of a derived page only those of its tick are. */
function isOfValue({ tick, rowKind }: RowPlace, newest: RowPlace): boolean {
  return newest.rowKind !== ROW_KIND.derived || tick === newest.tick && rowKind === newest.rowKind;
}

/** Whether deltas of a page led to its value beside the newest. */
export function hasMore(rows: PageRows, newest: RowPlace): boolean {
  let at = 0, place = rows.at(0);
  while (place !== undefined && (place === newest || !isDelta(place))) place = rows.at(++at);
  return place !== undefined && isOfValue(place, newest);
}

/** Deltas of a page that touch a span, newest first. */
export function* deltasBack(
  index: LogIndex,
  rows: PageRows,
  span: Span | undefined,
): Generator<RowPlace> {
  let some: PlacedRow[] = [];
  for (let at = 0, place = rows.at(0); place !== undefined; place = rows.at(++at)) {
    if (!isDelta(place)) continue;
    if (span === undefined) yield place;
    else if (some.push({ place }) === SPAN_ROWS) {
      yield* touching(index, some, span);
      some = [];
    }
  }
  if (span !== undefined) yield* touching(index, some, span);
}

function touching(index: LogIndex, rows: readonly PlacedRow[], span: Span): RowPlace[] {
  const hits = new Set<RowPlace>();
  readRows(index, rows, ({ place }, frame) => {
    const offset = frame.offset(place.row), end = offset + frame.length(place.row);
    if (offset < span.offset + span.length && end > span.offset) hits.add(place);
  });
  return rows.map(({ place }) => place).filter((place) => hits.has(place));
}

/**
 * The delta that a row is. What stood before it is left open, and what stands after it if it does not say so
 * itself.
 *
 * @param epoch Epoch of its page after it.
 * @param ruleName Name of the rule that made it, if it is known.
 * @param span The part of it that is meant; all of it if `undefined`.
 */
export function deltaOf(
  { page, row, tick, rowKind }: RowPlace,
  rows: FrameRows,
  epoch: number,
  ruleName: string | undefined,
  span?: Span,
): Writable {
  const first = rows.offset(row), kind = rows.kind(row);
  let offset = first, length = rows.length(row);
  if (span !== undefined) {
    offset = Math.max(first, span.offset);
    length = Math.min(first + length, span.offset + span.length) - offset;
  }
  return {
    page,
    tick,
    hlc: rows.frame.hlcFirst + BigInt(row),
    timeUs: rows.timeUs(row),
    epoch,
    kind: kindName(kind),
    source: rowKind === ROW_KIND.derived && ruleName !== undefined ? ruleName : rows.source(row),
    intent: rows.intent(row),
    offset,
    length,
    before: undefined,
    after: kind === KIND_SET
      ? bytesAt(rows, rows.start(row) + offset - first, Math.min(length, EXPLAIN_BYTES_MAX))
      : undefined,
    advance: rows.advance(row),
  };
}

/** A copy of few bytes. */
function bytesAt({ bytes }: FrameRows, start: number, length: number): Uint8Array {
  const copied = new Uint8Array(Math.max(0, Math.min(length, bytes.length - start)));
  copy(bytes, start, copied, 0, copied.length);
  return copied;
}

/** Looks at rows in rounds until all shown bytes are known, or there are no more rows to look at. */
function findBytes(index: LogIndex, searches: readonly Search[]): void {
  for (const { bytes } of searches) bytes.layOut();
  let open = searches, left = EXPLAIN_ROWS_MAX;
  while (open.length > 0) {
    const round: (PlacedRow & { readonly search: Search })[] = [], ended = new Set<Search>();
    for (const search of open) {
      for (let more = Math.min(search.next, left); more > 0; more--) {
        const place = search.rows.at(search.looked);
        if (place === undefined) {
          ended.add(search);
          break;
        }
        round.push({ place, search });
        search.looked++;
        left--;
      }
      search.next *= ROUND_GROWTH;
    }
    readRows(index, round, ({ place, search }, rows) => search.bytes.take(rows, place.row));
    open = open.filter((search) => {
      const isLast = left === 0 || ended.has(search);
      return !search.bytes.settle(isLast) && !isLast;
    });
  }
  for (const { bytes, shown } of searches) {
    const found = bytes.found();
    shown.forEach(({ delta }, at) => {
      delta!.before = found[at].before;
      delta!.after ??= found[at].after;
    });
  }
}
