/**
 * History: the deltas of one page, read back from the log, each with the bytes before and after.
 *
 * The page is rebuilt delta by delta in a store of its own while the log is walked, so each step
 * shows real bytes. It costs a pass over the log's page columns; only the rows of the page are
 * decoded to objects.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import {
  decodeBirth,
  type DirectoryMeta,
  LogReader,
  ROW_KIND,
  RowDecoder,
  type Storage,
  STRUCTURAL,
} from "../log/mod.ts";
import {
  applyRows,
  type KernelColumns,
  kernelColumns,
  kindName,
  PageStore,
  raiseEpochs,
  resolve,
  ROW_BYTES,
  SPAN_BYTES,
} from "../physical/mod.ts";
import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";

/** One delta of a page's past. */
export interface HistoryEntry {
  /** Tick that applied it. */
  readonly tick: number;
  /** Hybrid logical timestamp. */
  readonly hlc: bigint;
  /** The source's own time in µs since the Unix epoch, if it stated one. */
  readonly timeUs: number | undefined;
  /** The page's epoch after it. */
  readonly epoch: number;
  /** First byte of the span. */
  readonly offset: number;
  /** Bytes of the span before. */
  readonly before: Uint8Array;
  /** Bytes of the span after. */
  readonly after: Uint8Array;
  /** What it did: `set`, `masked`, `add f64` … */
  readonly kind: string;
  /** Who made it, "" if not said. */
  readonly source: string;
  /** Why, "" if not said. */
  readonly intent: string;
  /** Rule that made it; none in this version. */
  readonly rule: undefined;
}

/**
 * Walks the deltas of one page, oldest first.
 *
 * @throws {MmsbError} `corrupt-log` where a row does not fit the page.
 */
export function* pageHistory(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  page: number,
  tickMax: number,
): Generator<HistoryEntry> {
  const reader = new LogReader(storage, meta, { tickMax });
  const decoder = new RowDecoder();
  let single: SinglePage | undefined;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    for (const lane of tick.lanes) {
      for (const frame of lane.frames) {
        const isData = frame.rowKind === ROW_KIND.data || frame.rowKind === ROW_KIND.derived;
        if (!isData && frame.rowKind !== ROW_KIND.structural) continue;
        const decoded = decoder.decode(lane.segment, frame);
        const { columns } = decoded;
        for (let row = 0; row < decoded.rows; row++) {
          if (columns.page[row] >>> 0 !== page) continue;
          if (!isData) {
            if (columns.kind[row] !== STRUCTURAL.createPage) continue;
            const start = columns.start[row];
            const { name } = decodeBirth(
              lane.segment.bytes.subarray(start, start + columns.length[row]),
            );
            single = new SinglePage(page, columns.offset[row], name);
            continue;
          }
          if (single === undefined) {
            throw new MmsbError(
              "corrupt-log",
              `Cannot read the history of page ${page}: it has no birth`,
              {
                values: { page, tick: tick.tick },
              },
            );
          }
          const { offset, before, after, epoch } = single.apply(
            columns,
            row,
            decoded.payloadEnd,
            decoded.advance?.[row] ?? 1,
          );
          const { hlcFirst } = frame;
          yield {
            tick: tick.tick,
            hlc: addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row),
            timeUs: statedTime(decoded.timesUs, row),
            epoch,
            offset,
            before,
            after,
            kind: kindName(columns.kind[row]),
            source: decoded.strings[columns.source[row]] ?? "",
            intent: decoded.strings[columns.intent[row]] ?? "",
            rule: undefined,
          };
        }
      }
    }
  }
  checkEnd(reader, tickMax);
}

/** A log that ends before the bus's last tick has lost what the bus was told is there. */
function checkEnd(reader: LogReader, tickMax: number): void {
  const { tick, reason } = reader.end();
  if (tick >= tickMax) return;
  throw new MmsbError(
    "corrupt-log",
    `Cannot read history past tick ${tick} as the log is damaged: ${reason}`,
    { values: { tick, tickMax, reason } },
  );
}

function statedTime(timesUs: Float64Array | undefined, row: number): number | undefined {
  const time = timesUs?.[row];
  return time === undefined || Number.isNaN(time) ? undefined : time;
}

/** A store with one page in it, which is given one row at a time. */
class SinglePage {
  readonly #store: PageStore;
  readonly #row: number;
  readonly #scratch = new ArrayBuffer(8 * ROW_BYTES);
  #columns: KernelColumns | undefined;

  constructor(page: number, size: number, name: string) {
    this.#store = new PageStore(2 * SPAN_BYTES + 2 * size + SPAN_BYTES);
    this.#row = this.#store.create(page, { size, shard: 0, name });
    this.#store.table.setActive(this.#row, true);
  }

  apply(from: KernelColumns, row: number, payloadLength: number, advance: number) {
    if (this.#columns?.payloadBytes !== from.payloadBytes) {
      this.#columns = kernelColumns(this.#scratch, 8, from.payloadBytes);
    }
    const columns = this.#columns;
    for (const name of ["page", "offset", "length", "start", "kind"] as const) {
      columns[name][0] = from[name][row];
    }
    const { table, arena } = this.#store;
    const shape = resolve({ columns, rows: 1, payloadLength, strings: 1 }, table);
    const offset = columns.offset[0], length = columns.length[0];
    const before = new Uint8Array(length), after = new Uint8Array(length);
    this.#store.copyOut(this.#row, offset, before, length);
    for (let step = 0; step < advance; step++) raiseEpochs(columns, 1, table.epochs);
    applyRows(columns, 1, shape, arena);
    this.#store.copyOut(this.#row, offset, after, length);
    return { offset, before, after, epoch: table.epoch(this.#row) };
  }
}
