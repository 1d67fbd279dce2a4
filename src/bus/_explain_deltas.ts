/**
 * Explained deltas: the newest deltas of each page of an explanation, with the bytes that they changed.
 *
 * All pages are read together, in rounds: first the deltas that are shown, then older rows, more in each
 * round, until it is known what stood there before.
 *
 * Cost: some µs a delta that is shown; for bytes before at most EXPLAIN_ROWS_MAX rows in all.
 */

import { EXPLAIN_BYTES_MAX, EXPLAIN_NEAR_PAGES_MAX, EXPLAIN_ROWS_MAX } from "../base/mod.ts";
import { type FrameRows, type LogIndex, ROW_KIND } from "../log/mod.ts";
import { KIND_SET, kindName } from "../physical/mod.ts";
import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";
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
  for (const [at, page] of wanted.entries()) {
    // Of pages far away the newest delta alone is shown, as it is.
    const isNear = at < EXPLAIN_NEAR_PAGES_MAX, most = isNear ? count : Math.min(1, count);
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
    const delta = item.delta = deltaOf(lives, item, rows);
    const length = Math.min(delta.length, EXPLAIN_BYTES_MAX), { row } = item.place;
    if (rows.kind(row) === KIND_SET) {
      const start = rows.start(row) + delta.offset - rows.offset(row);
      delta.after = rows.bytes.slice(start, start + length);
    }
    item.search?.bytes.show(rows, row, delta.offset, length);
  });
  findBytes(index, searches);
  for (const { wanted: page, delta } of shown) {
    if (horizon > 0 && delta!.tick <= horizon) delta!.before = undefined;
    page.deltas.push(delta!);
  }
}

/** Places of the newest deltas, newest first; of a derived page those of its tick. */
function newestPlaces(index: LogIndex, wanted: DeltasWanted, count: number): RowPlace[] {
  const { place, rows, span } = wanted, isDerived = place.rowKind === ROW_KIND.derived;
  const found: RowPlace[] = [];
  for (const page of rows) {
    let left = count;
    for (const row of deltasBack(index, page, span)) {
      if (isDerived && (row.tick !== place.tick || row.rowKind !== place.rowKind)) break;
      found.push(row);
      if (--left === 0) break;
    }
  }
  if (rows.length > 1) {
    found.sort((a, b) => b.tick - a.tick || b.frame - a.frame || b.row - a.row);
  }
  return found.slice(0, count);
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

function deltaOf(lives: Lives, { place, wanted }: Shown, rows: FrameRows): Writable {
  const { page, row, tick } = place, { span } = wanted, { hlcFirst } = rows.frame;
  const first = rows.offset(row), end = first + rows.length(row);
  const offset = Math.max(first, span?.offset ?? 0);
  return {
    page,
    tick,
    hlc: addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row),
    timeUs: rows.timeUs(row),
    epoch: lives.epochAfter(page, rows, row),
    kind: kindName(rows.kind(row)),
    source: place.rowKind === ROW_KIND.derived && wanted.ruleName !== undefined
      ? wanted.ruleName
      : rows.source(row),
    intent: rows.intent(row),
    offset,
    length: Math.min(end, span === undefined ? end : span.offset + span.length) - offset,
    before: undefined,
    after: undefined,
    advance: rows.advance(row),
  };
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
