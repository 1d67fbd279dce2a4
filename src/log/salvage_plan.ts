/**
 * Salvage plan: what the lost ticks must have done to the list of pages, so that the ticks behind them
 * fit.
 *
 * Of a tick that is not whole, births, deaths and other changes of pages are taken where their frame
 * is: without a page's birth all its later deltas would be lost. And a page that is born with the name
 * of one that lives tells that this one was deleted in a tick that is lost. All that is put into one
 * tick in the place of those that are lost.
 *
 * Cost: a pass over the log that decodes births and deaths only; an entry of a map a page.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { mayHaveStructure, type StructureChange, structureChanges } from "./_structure_ledger.ts";
import { decodeBirth } from "./birth.ts";
import type { LogFault } from "./fault.ts";
import { isEdgeRow, ROW_KIND, STRUCTURAL } from "./format.ts";
import { type DecodedRows, type FrameHeader, RowDecoder } from "./frame_reader.ts";
import type { LogRow } from "./import_columns.ts";
import { structuralRow } from "./log_builder.ts";
import type { DirectoryMeta } from "./meta.ts";
import { type SalvagedTick, salvagedTicks } from "./salvage_ticks.ts";
import type { SalvageRange } from "./salvage_report.ts";
import type { FoundTick } from "./salvage_walk.ts";
import type { Storage } from "./storage.ts";

/** Ticks that are lost, and what is known of them. */
export interface SalvageGap {
  /** The ticks. */
  readonly ticks: SalvageRange;
  /** Births, by page. */
  readonly births: Map<number, LogRow>;
  /** Other changes of pages, in order. */
  changes: LogRow[];
  /** Changes of edges, rules and marks, in order. */
  readonly structure: readonly StructureChange[];
}

/** What is known before anything is written. */
export interface SalvagePlan {
  /** Gaps by the first tick behind each. */
  readonly gaps: ReadonlyMap<number, SalvageGap>;
  /** Last tick that counts. */
  readonly tickMax: number;
  /** Last tick that is whole, 0 for none. */
  readonly lastTick: number;
  /** Pages whose births were found. */
  readonly born: ReadonlySet<number>;
  /** Largest shard of a page. */
  readonly shardMax: number;
  /** All faults that were found. */
  readonly faults: readonly LogFault[];
  /** Ticks that are not whole behind the last one that is. */
  readonly tail: SalvageRange | undefined;
}

/** Faults that are kept. */
const FAULTS_MAX = 10_000;
const PROGRESS_TICKS = 1024;

/**
 * Looks through a directory.
 *
 * @param tickMax Last tick that counts.
 */
export function planSalvage(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  tickMax: number,
  progress: (text: string) => void,
): SalvagePlan {
  return new Planner(meta?.base?.tick ?? 0, progress).run(storage, meta, tickMax);
}

class Planner {
  readonly #progress: (text: string) => void;
  readonly #gaps = new Map<number, SalvageGap>();
  /** Names of pages that live. */
  readonly #names = new Map<number, string>();
  readonly #pagesByName = new Map<string, number>();
  readonly #decoder = new RowDecoder();
  readonly #born = new Set<number>();
  #lastTick: number;
  #gapLast: SalvageGap | undefined;
  #shardMax = 0;
  /** What is known of ticks that are not whole, until the next whole one. */
  #births = new Map<number, LogRow>();
  #changes: LogRow[] = [];
  #structure: StructureChange[] = [];
  #brokenFirst = 0;
  #brokenLast = 0;

  constructor(lastTick: number, progress: (text: string) => void) {
    this.#lastTick = lastTick;
    this.#progress = progress;
  }

  run(storage: Storage, meta: DirectoryMeta | undefined, tickMax: number): SalvagePlan {
    const faults: LogFault[] = [];
    const report = (fault: LogFault) => {
      if (faults.length < FAULTS_MAX) faults.push(fault);
    };
    let count = 0;
    for (const tick of salvagedTicks(storage, meta, report)) {
      if (tick.tick > tickMax) break;
      if (tick.isWhole) this.#whole(tick);
      else this.#broken(tick);
      if (++count % PROGRESS_TICKS === 0) this.#progress(`looking at tick ${tick.tick}`);
    }
    return {
      gaps: this.#gaps,
      tickMax,
      lastTick: this.#lastTick,
      born: this.#born,
      shardMax: this.#shardMax,
      faults,
      tail: this.#brokenLast > this.#lastTick
        ? { first: Math.max(this.#brokenFirst, this.#lastTick + 1), last: this.#brokenLast }
        : undefined,
    };
  }

  #whole(tick: SalvagedTick): void {
    const first = tick.tick - tick.span;
    if (first > this.#lastTick + 1) this.#closeGap(first);
    this.#births = new Map();
    this.#changes = [];
    this.#structure = [];
    this.#brokenFirst = this.#brokenLast = 0;
    const { births, changes } = this.#structuralOf(tick);
    for (const row of births.values()) this.#bear(row);
    for (const row of changes) this.#change(row);
    this.#lastTick = tick.tick;
  }

  #broken(tick: SalvagedTick): void {
    const { births, changes } = this.#structuralOf(tick);
    for (const [page, row] of births) this.#births.set(page, row);
    this.#changes.push(...changes);
    for (const lane of tick.lanes) {
      for (const { change } of structureOfTick(lane, this.#decoder)) this.#structure.push(change);
    }
    this.#brokenFirst ||= tick.tick;
    this.#brokenLast = tick.tick;
  }

  #closeGap(behind: number): void {
    const ticks = { first: this.#lastTick + 1, last: behind - 1 };
    const gap: SalvageGap = {
      ticks,
      births: this.#births,
      changes: this.#changes,
      structure: this.#structure,
    };
    this.#gaps.set(behind, gap);
    this.#gapLast = gap;
    for (const row of gap.births.values()) this.#bear(row);
    for (const row of gap.changes) this.#change(row);
  }

  #bear(row: LogRow): void {
    const name = decodedOr(() => decodeBirth(row.payload).name) ?? "";
    this.#born.add(row.page);
    this.#shardMax = Math.max(this.#shardMax, row.shard ?? 0);
    const other = name === "" ? undefined : this.#pagesByName.get(name);
    if (other !== undefined && other !== row.page) this.#mustHaveDied(other);
    this.#names.set(row.page, name);
    if (name !== "") this.#pagesByName.set(name, row.page);
  }

  #change(row: LogRow): void {
    if (row.kind === STRUCTURAL.deletePage) this.#forget(row.page);
  }

  /** A page whose name was given again: its death is in the last ticks that are lost. */
  #mustHaveDied(page: number): void {
    const gap = this.#gapLast;
    // Both of one gap: the first of the two cannot be had beside the second.
    if (gap !== undefined && !gap.births.delete(page)) {
      gap.changes.push(structuralRow(page, STRUCTURAL.deletePage));
    }
    this.#forget(page);
  }

  #forget(page: number): void {
    const name = this.#names.get(page);
    this.#names.delete(page);
    if (name !== undefined && this.#pagesByName.get(name) === page) this.#pagesByName.delete(name);
  }

  #structuralOf(tick: SalvagedTick): { births: Map<number, LogRow>; changes: LogRow[] } {
    const births = new Map<number, LogRow>(), changes: LogRow[] = [];
    for (const lane of tick.lanes) {
      for (const row of structuralRows(lane, this.#decoder)) {
        if (row.kind === STRUCTURAL.createPage) births.set(row.page, row);
        else if (!isEdgeRow(row.kind)) changes.push(row);
      }
    }
    return { births, changes };
  }
}

/** The structural rows of a tick on one lane; frames that cannot be decoded give none. */
export function structuralRows(lane: FoundTick, decoder: RowDecoder): LogRow[] {
  const rows: LogRow[] = [];
  for (const frame of lane.frames) {
    if (frame.rowKind !== ROW_KIND.structural) continue;
    const decoded = decodedOr(() => decoder.decode(lane.segment, frame));
    for (let row = 0; row < (decoded?.rows ?? 0); row++) {
      rows.push(structuralRowOf(lane, decoded!, row));
    }
  }
  return rows;
}

/** The rows of edges, rules and marks of a tick on one lane; frames that cannot be decoded give none. */
export function structureOfTick(
  lane: FoundTick,
  decoder: RowDecoder,
): { readonly frame: FrameHeader; readonly change: StructureChange }[] {
  return lane.frames.filter(mayHaveStructure).flatMap((frame) => {
    const decoded = decodedOr(() => decoder.decode(lane.segment, frame));
    if (decoded === undefined) return [];
    return structureChanges(lane.segment, frame, decoded).map((change) => ({ frame, change }));
  });
}

/** One structural row, with a copy of its payload. */
export function structuralRowOf(lane: FoundTick, decoded: DecodedRows, row: number): LogRow {
  const { columns, shards } = decoded;
  const start = columns.start[row], end = start + columns.length[row];
  const isInside = start >= 0 && end >= start && end <= decoded.payloadEnd;
  const payload = isInside ? lane.segment.bytes.slice(start, end) : new Uint8Array(0);
  return structuralRow(columns.page[row] >>> 0, columns.kind[row], {
    size: columns.offset[row] >>> 0,
    shard: shards?.[row] ?? 0,
    payload,
  });
}

/** What `read` gives, or nothing where it finds the log to be wrong. */
export function decodedOr<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof MmsbError && error.code === "corrupt-log") return undefined;
    throw error;
  }
}
