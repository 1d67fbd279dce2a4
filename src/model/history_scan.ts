/**
 * The obvious history: the whole log is replayed, and one page looked at before and after each tick's
 * rows, one row at a time. The oracle of the history that is found by index, and the other side of its
 * measurement.
 *
 * @module
 */

import {
  type DirectoryMeta,
  LogReader,
  ROW_KIND,
  RowDecoder,
  type Storage,
  STRUCTURAL,
} from "../log/mod.ts";
import {
  ANY_STRINGS,
  applyRows,
  type KernelColumns,
  kernelColumns,
  kindName,
  PageStore,
  resolve,
  ROW_BYTES,
} from "../physical/mod.ts";
import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";

/** One delta of a page's past. */
export interface ScannedDelta {
  /** Tick. */
  readonly tick: number;
  /** Hybrid logical timestamp. */
  readonly hlc: bigint;
  /** The source's own time. */
  readonly timeUs: number | undefined;
  /** The page's epoch after it. */
  readonly epoch: number;
  /** First byte of the span. */
  readonly offset: number;
  /** Bytes of the span. */
  readonly length: number;
  /** Bytes before. */
  readonly before: Uint8Array;
  /** Bytes after. */
  readonly after: Uint8Array;
  /** What it did. */
  readonly kind: string;
  /** Who made it. */
  readonly source: string;
  /** Why. */
  readonly intent: string;
  /** Name of the rule that made it. */
  readonly rule: string | undefined;
  /** Deltas that it stands for. */
  readonly advance: number;
}

/** All deltas of a page up to a tick, by reading the whole log. */
export function scanHistory(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  page: number,
  tickMax: number,
): ScannedDelta[] {
  const reader = new LogReader(storage, meta, { tickMax });
  const decoder = new RowDecoder();
  const store = new PageStore(2 ** 26);
  const found: ScannedDelta[] = [];
  let epoch = 0;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    const ends: (() => void)[] = [];
    for (const { frames, segment } of tick.lanes) {
      for (const frame of frames) {
        const isStructural = frame.rowKind === ROW_KIND.structural;
        const isData = frame.rowKind === ROW_KIND.data || frame.rowKind === ROW_KIND.derived;
        if (!isStructural && !isData) continue;
        const { columns, rows, strings, advance, timesUs, payloadEnd } = decoder.decode(
          segment,
          frame,
        );
        for (let row = 0; row < rows; row++) {
          if (columns.page[row] >>> 0 !== page) continue;
          if (isStructural) {
            const size = columns.offset[row] >>> 0, operation = columns.kind[row];
            if (operation === STRUCTURAL.createPage) {
              store.table.setActive(store.create(page, { size, shard: 0, name: "" }), true);
            } else if (operation === STRUCTURAL.resizePage) {
              ends.push(() => store.resize(page, size));
            } else if (operation === STRUCTURAL.deletePage) ends.push(() => store.remove(page));
            continue;
          }
          const one = oneRow(columns, row);
          const offset = columns.offset[row] >>> 0, end = offset + columns.length[row];
          const before = store.view(store.table.rowOf(page)).slice(offset, end);
          const input = { columns: one, rows: 1, payloadLength: payloadEnd, strings: ANY_STRINGS };
          applyRows(one, 1, resolve(input, store.table), store.arena);
          const time = timesUs?.[row] ?? NaN, count = advance?.[row] ?? 1;
          epoch += count;
          const { hlcFirst } = frame;
          found.push({
            tick: tick.tick,
            hlc: addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row),
            timeUs: Number.isNaN(time) ? undefined : time,
            epoch,
            offset,
            length: before.length,
            before,
            after: store.view(store.table.rowOf(page)).slice(offset, end),
            kind: kindName(columns.kind[row]),
            source: strings[columns.source[row]] ?? "",
            intent: strings[columns.intent[row]] ?? "",
            rule: frame.rowKind === ROW_KIND.derived ? strings[columns.source[row]] : undefined,
            advance: count,
          });
        }
      }
    }
    for (const end of ends) end();
  }
  return found;
}

function oneRow(columns: KernelColumns, row: number): KernelColumns {
  const one = kernelColumns(new ArrayBuffer(8 * ROW_BYTES), 8, columns.payloadBytes);
  for (const name of ["page", "offset", "length", "start", "kind"] as const) {
    one[name][0] = columns[name][row];
  }
  return one;
}
