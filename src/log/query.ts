/**
 * Query: the deltas of a log that were asked for, by page, tick, time, source or intent, in the order
 * of the canonical log: by tick, then shard, then as they were applied.
 *
 * It gives what recovery would keep. Damage ends it with an error, after all that is whole before
 * it, and only where the query reaches that far.
 *
 * Cost: of a page, the ticks that have rows of it, where the log's indices are stored; otherwise a pass
 * over the log up to the last tick asked for;
 * two small objects a delta of a tick that is given.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { EDGE_TYPES, type EdgeType, kindName, MARK_NAMES, type MarkName } from "../physical/mod.ts";
import { addTo, physicalUs, timestampHi, timestampLo } from "../temporal/mod.ts";
import { basePages } from "./_base_pages.ts";
import { decodeBinding } from "./binding.ts";
import { decodeBirth } from "./birth.ts";
import { findMeta, openDirectory, settle } from "./_directory.ts";
import { type QueryTicks, ticksFor } from "./_query_ticks.ts";
import {
  isEdgeRow,
  ROW_KIND,
  ROW_KIND_NAMES,
  RULE_ROW,
  RULE_ROW_NAMES,
  STRUCTURAL,
  STRUCTURAL_NAMES,
} from "./format.ts";
import {
  type DecodedRows,
  type FrameHeader,
  importedId,
  isDeltas,
  payloadLength,
  RowDecoder,
} from "./frame_reader.ts";
import { stateOf } from "./inspect.ts";
import type { LaneTick } from "./lane_reader.ts";
import { framesOf, LogReader, type LogTick } from "./log_reader.ts";
import type { DirectoryMeta, LogPlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** Which deltas to give; one that lacks what is asked for is left out. */
export interface DeltaQuery {
  /** A page by its id, or by its name; then all pages that ever had it. */
  readonly page?: number | string;
  /** Hybrid logical time at or after this, in µs since the Unix epoch. */
  readonly sinceUs?: number;
  /** Hybrid logical time before this, in µs since the Unix epoch. */
  readonly untilUs?: number;
  /** Tick, at or after this. */
  readonly tickFrom?: number;
  /** Tick, at or before this. */
  readonly tickTo?: number;
  /** Source, exactly. */
  readonly source?: string;
  /** Intent, exactly. */
  readonly intent?: string;
  /** Name of a rule: what it made, and where it is bound and unbound. */
  readonly rule?: string;
  /** Rows of these kinds only: `data`, `structural`, `derived`, `rule`, `mark`. */
  readonly rowKinds?: readonly string[];
}

/** One row of a log that changes a page. */
export interface LoggedDelta {
  /** Its tick. */
  readonly tick: number;
  /** Its hybrid logical timestamp, a 64-bit word. */
  readonly hlc: bigint;
  /** Its page's id. */
  readonly page: number;
  /** Its page's name, if it has one. */
  readonly name?: string;
  /** Its page's epoch after it. */
  readonly epoch: number;
  /**
   * What it does: `set`, `masked`, `add f64` …, `create`, `delete`, `metadata`, `resize`, `migrate`,
   * `add edge`, `remove edge` (at the page that the edge leads to), `bind`, `unbind` (at the first page
   * that the rule writes), `mark`, `unmark`.
   */
  readonly kind: string;
  /** First byte in the page. */
  readonly offset: number;
  /** Bytes of its span; of births and resizes the page's size. */
  readonly length: number;
  /** Payload as it stands in the log; a copy. */
  readonly payload: Uint8Array;
  /** Who made it. */
  readonly source?: string;
  /** Why. */
  readonly intent?: string;
  /** The source's own time in µs since the Unix epoch, if it stated one. */
  readonly timeUs?: number;
  /** Deltas that it stands for, where compaction merged several. */
  readonly advance?: number;
  /** Shard that the page is born in, or goes to. */
  readonly shard?: number;
  /** The id and epoch that it had in the log it was imported from. */
  readonly imported?: { readonly id: bigint; readonly epoch: number };
  /** What kind of row it is, if not `data`: `structural`, `derived`, `rule` or `mark`. */
  readonly rowKind?: string;
  /** Name of the rule that made it, or is bound or unbound. */
  readonly rule?: string;
  /** Number of that rule. */
  readonly ruleNumber?: number;
  /** Page that an edge leads from. */
  readonly from?: number;
  /** Type of an edge. */
  readonly edge?: EdgeType;
  /** The mark that is set or taken off. */
  readonly mark?: MarkName;
}

/**
 * Gives the deltas of a directory, which may be in use.
 *
 * @param directory The directory; it is only read.
 * @param query Which deltas.
 * @throws {MmsbError} `usage` where it is no data directory, `version` where a newer MMSB wrote it,
 * `invalid-handle` where the page never lived, `corrupt-log` where damage ends the reading, `io`
 * where files cannot be read.
 *
 * @example What one source wrote
 * ```ts
 * import assert from "node:assert/strict";
 * import { queryLog, StateBus } from "@mmsb/mmsb";
 *
 * const dir = await Deno.makeTempDir();
 * {
 *   await using bus = await StateBus.open({ dir });
 *   const page = bus.createPage({ size: 8, name: "board" });
 *   await bus.commit(() => {
 *     page.write(0, Uint8Array.of(1), { source: "feed-a", intent: "open" });
 *     page.write(1, Uint8Array.of(2), { source: "feed-b" });
 *   });
 * }
 * const found = await Array.fromAsync(queryLog(dir, { page: "board", source: "feed-a" }));
 * assert.deepEqual(found.map(({ offset, intent }) => [offset, intent]), [[0, "open"]]);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function* queryLog(
  directory: string,
  query: DeltaQuery = {},
): AsyncGenerator<LoggedDelta> {
  const storage = openDirectory(directory);
  yield* new Query(storage, query).run();
}

interface Page {
  readonly name: string;
  shard: number;
  /** Its epoch so far; up to `imageTick` that of the image it is known from. */
  epoch: number;
  readonly imageTick: number;
}

/** The epoch of a page that nothing tells of: one that no row is past. */
const EPOCH_UNKNOWN = 2 ** 32 - 1;

/** A frame of the tick at hand, decoded. */
interface Part {
  readonly lane: LaneTick;
  readonly frame: FrameHeader;
  readonly decoded: DecodedRows;
}

/** A row that was asked for. */
interface Match {
  readonly part: Part;
  readonly row: number;
  readonly shard: number;
  readonly epoch: number;
  readonly name: string;
  /** Name of a rule that is bound or unbound. */
  readonly rule?: string;
}

class Query {
  readonly #storage: Storage;
  readonly #query: DeltaQuery;
  readonly #decoders: RowDecoder[] = [];
  readonly #pages = new Map<number, Page>();
  readonly #wanted = new Set<number>();
  /** Names of rules by number. */
  readonly #rules = new Map<number, string>();
  readonly #kinds: ReadonlySet<string> | undefined;
  /** Whether there were pages before the log begins. */
  #isDropped = false;

  constructor(storage: Storage, query: DeltaQuery) {
    this.#storage = storage;
    this.#query = query;
    this.#kinds = query.rowKinds === undefined ? undefined : new Set(query.rowKinds);
  }

  *run(): Generator<LoggedDelta> {
    const { tickFrom = 0, tickTo = Infinity, untilUs = Infinity, page } = this.#query;
    const { meta, fault } = findMeta(this.#storage);
    this.#begin(meta);
    const found = this.#ticksFor(meta, page);
    for (const tick of found.ticks) {
      const isLater = tick.tick > tickTo || firstUs(tick) >= untilUs;
      // Whether a page ever lived is known only at the end of the log.
      if (isLater && (page === undefined || this.#wanted.size > 0)) return;
      let matches: Match[];
      try {
        matches = this.#tick(tick);
      } catch (error) {
        if (!(error instanceof MmsbError)) throw error;
        throw damaged(this.#storage, error.message);
      }
      if (isLater || tick.tick < tickFrom) continue;
      for (const match of matches) {
        if (this.#isInTime(match)) yield deltaOf(match);
      }
    }
    const lost = found.fault();
    if (lost !== undefined) {
      throw damaged(this.#storage, `${lost.reason} (${lost.path}, byte ${lost.offset})`);
    }
    this.#checkEnd(fault, found.rest);
    if (page !== undefined && this.#wanted.size === 0) {
      const what = typeof page === "number" ? `page ${page}` : `a page named "${page}"`;
      throw new MmsbError("invalid-handle", `Cannot find ${what} in ${this.#storage.location}`, {
        values: { page, location: this.#storage.location },
      });
    }
  }

  /** Where the log's beginning was dropped, the pages before are known from a checkpoint. */
  #begin(meta: DirectoryMeta | undefined): void {
    this.#isDropped = (meta?.base?.tick ?? 0) > 0;
    const { page: wanted } = this.#query;
    for (const { page, name, shard, epoch, imageTick } of basePages(this.#storage, meta)) {
      this.#pages.set(page, { name, shard, epoch, imageTick });
      if (wanted === page || wanted === name) this.#wanted.add(page);
    }
  }

  /** A page of which only rows are there: born before the log begins, and dead before any image. */
  #stranger(id: number): Page | undefined {
    if (!this.#isDropped) return undefined;
    const page = { name: "", shard: 0, epoch: EPOCH_UNKNOWN, imageTick: Infinity };
    this.#pages.set(id, page);
    if (this.#query.page === id) this.#wanted.add(id);
    return page;
  }

  /** The ticks to look at: by index where the log has one that can be read. */
  #ticksFor(meta: DirectoryMeta | undefined, page: number | string | undefined): QueryTicks {
    // The index knows names from births only.
    const isNamed = this.#isDropped && typeof page === "string";
    try {
      return ticksFor(this.#storage, meta, isNamed ? undefined : page);
    } catch (error) {
      // Damage that hides the answer is met again, and named, where all is read.
      if (!(error instanceof MmsbError) || error.code !== "corrupt-log") throw error;
      return ticksFor(this.#storage, meta, undefined);
    }
  }

  /** Throws where the log is damaged behind what was given. */
  #checkEnd(fault: string | undefined, start: LogPlace | undefined): void {
    const { reading, damage } = settle(() => {
      const { meta } = findMeta(this.#storage);
      const reader = new LogReader(this.#storage, meta, start === undefined ? {} : { start });
      while (reader.next() !== undefined);
      return stateOf(reader.end());
    }, (state) => state.state === "damaged" ? [`${state.file} ${state.offset}`] : []);
    if (damage.size > 0) {
      const { tick, reason, file, offset } = reading;
      // Some reasons begin with their tick.
      const where = reason?.startsWith("tick ") ? "" : `tick ${tick}: `;
      throw damaged(this.#storage, `${where}${reason} (${file}, byte ${offset})`);
    }
    if (fault !== undefined) throw damaged(this.#storage, fault);
  }

  /** Takes a tick, and gives the rows of it that are wanted, in canonical order. */
  #tick(tick: LogTick): Match[] {
    const parts: Part[] = [];
    for (const { lane, frame } of framesOf(tick.lanes)) {
      if (frame.rowKind >= ROW_KIND.commit) continue;
      const decoder = this.#decoders[parts.length] ??= new RowDecoder();
      parts.push({ lane, frame, decoded: decoder.decode(lane.segment, frame) });
    }
    const isStructural = ({ frame }: Part) => frame.rowKind === ROW_KIND.structural;
    const matches: Match[] = [];
    for (const part of parts.filter(isStructural)) this.#structural(part, true, matches);
    for (const part of parts) if (isDeltas(part.frame.rowKind)) this.#data(part, matches);
    // Before pages are gone.
    for (const part of parts) {
      if (!isStructural(part) && !isDeltas(part.frame.rowKind)) this.#rulesOrMarks(part, matches);
    }
    for (const part of parts.filter(isStructural)) this.#structural(part, false, matches);
    // Stable, so that rows of one shard stay as they were applied.
    return matches.sort((a, b) => a.shard - b.shard);
  }

  /** Births come first in a tick, all else that is structural last. */
  #structural(part: Part, births: boolean, matches: Match[]): void {
    const { columns, rows, shards } = part.decoded;
    for (let row = 0; row < rows; row++) {
      const operation = columns.kind[row], id = columns.page[row] >>> 0;
      if ((operation === STRUCTURAL.createPage) !== births) continue;
      if (births) {
        const { name } = decodeBirth(payloadOf(part, row));
        this.#pages.set(id, { name, shard: shards?.[row] ?? 0, epoch: 0, imageTick: 0 });
        if (this.#query.page === id || this.#query.page === name) this.#wanted.add(id);
      }
      const page = this.#pages.get(id) ?? this.#stranger(id);
      if (page === undefined) continue;
      if (this.#isAnyones && this.#wants("structural") && this.#has(id)) {
        matches.push({ part, row, ...page });
      }
      if (operation === STRUCTURAL.deletePage) this.#pages.delete(id);
      if (operation === STRUCTURAL.migratePage) page.shard = shards?.[row] ?? 0;
    }
  }

  /** Whether rows that nobody in particular made are wanted. */
  get #isAnyones(): boolean {
    const { source, intent, rule } = this.#query;
    return source === undefined && intent === undefined && rule === undefined;
  }

  #wants(rowKind: string): boolean {
    return this.#kinds?.has(rowKind) ?? true;
  }

  /** The bindings and marks of a frame. */
  #rulesOrMarks(part: Part, matches: Match[]): void {
    const { columns, rows } = part.decoded, isRule = part.frame.rowKind === ROW_KIND.rule;
    const { source, intent, rule: wanted } = this.#query;
    for (let row = 0; row < rows; row++) {
      const id = columns.page[row] >>> 0, number = columns.offset[row] >>> 0;
      if (isRule && columns.kind[row] === RULE_ROW.bind) {
        this.#rules.set(number, decodeBinding(payloadOf(part, row)).name);
      }
      const page = this.#pages.get(id) ?? this.#stranger(id);
      if (page === undefined || !this.#has(id)) continue;
      const rule = isRule ? this.#rules.get(number) ?? "" : undefined;
      const isWanted = isRule
        ? source === undefined && intent === undefined && (wanted ?? rule) === rule
        : this.#isAnyones;
      if (!isWanted || !this.#wants(isRule ? "rule" : "mark")) continue;
      matches.push({ part, row, ...page, ...(rule === undefined ? {} : { rule }) });
    }
  }

  #data(part: Part, matches: Match[]): void {
    const { columns, rows, strings, advance } = part.decoded;
    const { tick } = part.frame;
    const { source, intent, page: wanted, rule } = this.#query;
    const isDerived = part.frame.rowKind === ROW_KIND.derived;
    const isOther = !this.#wants(isDerived ? "derived" : "data") ||
      rule !== undefined && !isDerived;
    const ruleNumber = rule === undefined ? -1 : strings.indexOf(rule);
    const sourceNumber = source === undefined ? -1 : strings.indexOf(source);
    const intentNumber = intent === undefined ? -1 : strings.indexOf(intent);
    for (let row = 0; row < rows; row++) {
      const id = columns.page[row] >>> 0;
      const page = this.#pages.get(id) ?? this.#stranger(id);
      if (page === undefined) continue;
      let { epoch } = page;
      if (tick > page.imageTick) {
        page.epoch += advance === undefined ? 1 : advance[row] >>> 0;
        epoch = page.epoch;
      } else {
        // The row has the low half of its epoch, which is that of the image or an earlier one.
        epoch -= epoch - columns.epoch[row] >>> 0;
      }
      if (isOther || wanted !== undefined && !this.#wanted.has(id)) continue;
      if (rule !== undefined && columns.source[row] !== ruleNumber) continue;
      if (source !== undefined && columns.source[row] !== sourceNumber) continue;
      if (intent !== undefined && columns.intent[row] !== intentNumber) continue;
      matches.push({ part, row, ...page, epoch });
    }
  }

  #has(id: number): boolean {
    return this.#query.page === undefined || this.#wanted.has(id);
  }

  #isInTime(match: Match): boolean {
    const { sinceUs = -Infinity, untilUs = Infinity } = this.#query;
    if (sinceUs === -Infinity && untilUs === Infinity) return true;
    const us = physicalUs(hlcOf(match));
    return us >= sinceUs && us < untilUs;
  }
}

function firstUs(tick: LogTick): number {
  return Math.min(
    ...tick.lanes.map(({ frames, commitFrame }) => physicalUs((frames[0] ?? commitFrame).hlcFirst)),
  );
}

function hlcOf({ part, row }: Match): bigint {
  const { hlcFirst } = part.frame;
  return addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row);
}

function deltaOf(match: Match): LoggedDelta {
  const { part, row, epoch, name } = match;
  const { frame, decoded } = part;
  const { columns, strings, timesUs, imported } = decoded;
  const advance = decoded.advance === undefined ? 1 : decoded.advance[row] >>> 0;
  const hasDeltas = isDeltas(frame.rowKind);
  const kind = columns.kind[row], timeUs = timesUs?.[row] ?? NaN;
  const isMove = frame.rowKind === ROW_KIND.structural &&
    (kind === STRUCTURAL.createPage || kind === STRUCTURAL.migratePage);
  const source = strings[columns.source[row]] ?? "", intent = strings[columns.intent[row]] ?? "";
  return {
    tick: frame.tick,
    hlc: hlcOf(match),
    page: columns.page[row] >>> 0,
    ...(name === "" ? {} : { name }),
    epoch,
    kind: kindOf(match),
    // Births have their size where deltas have their offset.
    offset: hasDeltas ? columns.offset[row] >>> 0 : 0,
    length: hasDeltas ? columns.length[row] >>> 0 : sizeOf(match),
    payload: payloadOf(part, row).slice(),
    ...(source === "" ? {} : { source }),
    ...(intent === "" ? {} : { intent }),
    ...(Number.isNaN(timeUs) ? {} : { timeUs }),
    ...(advance === 1 ? {} : { advance }),
    ...(isMove ? { shard: decoded.shards?.[row] ?? 0 } : {}),
    ...(imported === undefined ? {} : {
      imported: {
        id: importedId(imported, row),
        epoch: imported.epoch[row] >>> 0,
      },
    }),
    ...(frame.rowKind === ROW_KIND.data ? {} : { rowKind: ROW_KIND_NAMES[frame.rowKind] }),
    ...structureOf(match),
  };
}

/** What a row does, in words. */
function kindOf({ part: { frame, decoded }, row }: Match): string {
  const kind = decoded.columns.kind[row];
  if (isDeltas(frame.rowKind)) return kindName(kind);
  if (frame.rowKind === ROW_KIND.mark) return decoded.columns.offset[row] === 0 ? "unmark" : "mark";
  const names = frame.rowKind === ROW_KIND.rule ? RULE_ROW_NAMES : STRUCTURAL_NAMES;
  return names[kind] ?? `operation ${kind}`;
}

/** The size that a page is given. */
function sizeOf({ part: { frame, decoded }, row }: Match): number {
  const { columns } = decoded;
  const isPages = frame.rowKind === ROW_KIND.structural && !isEdgeRow(columns.kind[row]);
  return isPages ? columns.offset[row] >>> 0 : 0;
}

/** What a row says of a rule, an edge or a mark. */
function structureOf(
  { part: { frame, decoded }, row, rule }: Match,
): Pick<LoggedDelta, "rule" | "ruleNumber" | "from" | "edge" | "mark"> {
  const { columns, shards, rules, strings } = decoded, value = columns.offset[row] >>> 0;
  switch (frame.rowKind) {
    case ROW_KIND.derived: {
      const number = rules?.[row] ?? 0;
      const name = strings[columns.source[row]] ?? "";
      return { rule: name, ...(number === 0 ? {} : { ruleNumber: number >>> 0 }) };
    }
    case ROW_KIND.rule:
      return { ...(rule ? { rule } : {}), ruleNumber: value };
    case ROW_KIND.mark:
      return { mark: MARK_NAMES[columns.kind[row]] as MarkName };
    case ROW_KIND.structural:
      return isEdgeRow(columns.kind[row])
        ? { from: value, edge: EDGE_TYPES[shards?.[row] ?? 0] }
        : {};
    default:
      return {};
  }
}

function payloadOf({ lane, frame, decoded }: Part, row: number): Uint8Array {
  const start = decoded.columns.start[row];
  const length = payloadLength(lane.segment, frame, decoded, row);
  return lane.segment.bytes.subarray(start, start + length);
}

function damaged(storage: Storage, reason: string): MmsbError {
  return new MmsbError(
    "corrupt-log",
    `Cannot read all of ${storage.location} as it is damaged: ${reason}`,
    { values: { location: storage.location, reason } },
  );
}
