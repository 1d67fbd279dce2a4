/**
 * Inspect: what a log holds, summed up: ticks, rows by kind and source, bytes, pages and their last
 * epochs, times, lanes, and how it ends.
 *
 * It counts the ticks that recovery would keep, and nothing behind them: where a log is damaged, the
 * summary says where, and sums up what is whole.
 *
 * Cost: the log is read and decoded once, and each checkpoint read once.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import {
  decodeMetadata,
  type EdgeType,
  KIND_MASKED,
  kindName,
  type MarkName,
  maskedPayloadBytes,
} from "../physical/mod.ts";
import { basePages, baseStructure } from "./_base_pages.ts";
import { StructureCounts } from "./_structure_counts.ts";
import { mayHaveStructure } from "./_structure_ledger.ts";
import { decodeBirth } from "./birth.ts";
import { findMeta, holderOf, lanesOf, openDirectory, settle } from "./_directory.ts";
import { segmentNumbers } from "./_segment_files.ts";
import { checkpointPath } from "./checkpoint_format.ts";
import { Checkpoint, listCheckpoints } from "./checkpoint_reader.ts";
import { ROW_KIND, ROW_KIND_NAMES, segmentPath, STRUCTURAL } from "./format.ts";
import { type DecodedRows, type FrameHeader, RowDecoder } from "./frame_reader.ts";
import type { LaneTick } from "./lane_reader.ts";
import { type LogEnd, LogReader } from "./log_reader.ts";
import type { DirectoryMeta } from "./meta.ts";
import { horizonOf } from "./retention.ts";
import type { Storage } from "./storage.ts";

/** How a log ends, and where, if it does not end well. */
export interface LogState {
  /** `whole`; `torn`: a tail that the next open cuts; `damaged`: synced bytes are lost. */
  readonly state: "whole" | "torn" | "damaged";
  /** File in which the first bad byte stands, relative to the directory. */
  readonly file?: string;
  /** Its offset in the file. */
  readonly offset?: number;
  /** First tick that is not whole. */
  readonly tick?: number;
  /** What was found, in words. */
  readonly reason?: string;
}

/** A page and how far it has come. */
export interface LogPage {
  /** Its id. */
  readonly page: number;
  /** Its name, if it has one. */
  readonly name?: string;
  /** Its bytes. */
  readonly size: number;
  /** Its epoch after the last tick. */
  readonly epoch: number;
}

/** A log, summed up. */
export interface LogInspection {
  /** Format version; absent where the metadata is lost. */
  readonly format?: number;
  /** How often the directory was opened for writing; absent where the metadata is lost. */
  readonly incarnation?: number;
  /** Shards; absent where the metadata is lost. */
  readonly shards?: number;
  /** How the log ends. */
  readonly state: LogState;
  /** First and last whole tick; absent where there is none. */
  readonly ticks?: { readonly first: number; readonly last: number };
  /**
   * Ticks that the log has no more, as a later one stands for them: merged, or lost and given up by a
   * salvage; absent where there is none.
   */
  readonly missing?: {
    /** How many. */
    readonly ticks: number;
    /** The first runs of them; at most 16. */
    readonly gaps: readonly { readonly first: number; readonly last: number }[];
  };
  /** First and last hybrid logical timestamp; absent where there is none. */
  readonly hlc?: { readonly first: bigint; readonly last: bigint };
  /**
   * How far true time was from the timestamps of the ticks at most, in µs; absent where no tick tells. Least and most are
   * absent where it is unknown of every tick.
   */
  readonly clockErrorUs?: {
    readonly least?: number;
    readonly most?: number;
    /** Ticks of which it is unknown. */
    readonly unknown: number;
  };
  /** Deltas, derived ones included. */
  readonly deltas: number;
  /** Bytes of their payload. */
  readonly payloadBytes: number;
  /** Deltas by what they do (`set`, `add i32` …), the most frequent first. */
  readonly kinds: readonly { readonly kind: string; readonly deltas: number }[];
  /** Frames and rows by row kind (`data`, `structural`, `commit` …), in order of the kind's number. */
  readonly rows: readonly {
    readonly kind: string;
    readonly frames: number;
    readonly rows: number;
  }[];
  /** Pages that live after the last tick. */
  readonly pages: number;
  /** Their bytes. */
  readonly pageBytes: number;
  /** Pages that were ever born. */
  readonly pagesBorn: number;
  /** Edges between them, by type, where there are any. */
  readonly edges?: Readonly<Partial<Record<EdgeType, number>>>;
  /** Rules that are bound after the last tick, by number, where there are any. */
  readonly rules?: readonly {
    readonly number: number;
    readonly name: string;
    /** Deltas that it made. */
    readonly deltas: number;
  }[];
  /** Marked pages by mark, where there are any. */
  readonly marks?: Readonly<Partial<Record<MarkName, number>>>;
  /** The pages with the highest epochs, those first; at most 16, or as many as were asked for. */
  readonly epochs: readonly LogPage[];
  /** Lanes, by number. */
  readonly lanes: readonly {
    readonly lane: number;
    readonly segments: number;
    readonly frames: number;
    readonly bytes: number;
  }[];
  /** Checkpoints that can be opened, oldest first; notes tell of the others. */
  readonly checkpoints: readonly { readonly tick: number; readonly bytes: number }[];
  /** Sources, those with the most deltas first. */
  readonly sources: readonly {
    readonly source?: string;
    readonly deltas: number;
    readonly payloadBytes: number;
  }[];
  /** Remarks in one line each. */
  readonly notes: readonly string[];
}

/** Options of {@linkcode inspectLog}. */
export interface InspectOptions {
  /** Most pages that are named with their epochs. Default 16. */
  readonly pages?: number;
}

const PAGES_SHOWN_MAX = 16;
/** A bound that is not known, in a frame's header. */
const CLOCK_ERROR_UNKNOWN = 2 ** 32 - 1;
/** Runs of missing ticks that are named. */
const GAPS_SHOWN_MAX = 16;

/**
 * Makes sure that a folder is a bus's directory, whatever state it is in.
 *
 * @param directory The folder; it is only read.
 * @throws {MmsbError} `usage` where it is none.
 */
export function requireDirectory(directory: string): void {
  openDirectory(directory);
}

/**
 * Sums up the log of a directory, which may be in use.
 *
 * @param directory The directory; it is only read.
 * @param options How many pages to name.
 * @returns The summary.
 * @throws {MmsbError} `usage` where it is no data directory, `version` where a newer MMSB wrote it,
 * `io` where files cannot be read.
 */
export async function inspectLog(
  directory: string,
  options: InspectOptions = {},
): Promise<LogInspection> {
  const { pages = PAGES_SHOWN_MAX } = options;
  const storage = openDirectory(directory);
  await Promise.resolve();
  const { reading, damage } = settle(
    () => new Inspection(storage, pages).run(),
    ({ state }) => state.state === "damaged" ? [`${state.file} ${state.offset}`] : [],
  );
  const isDamaged = damage.size > 0;
  const holder = holderOf(storage);
  return {
    ...reading,
    // What moves from reading to reading is the end of what another process has written so far.
    ...(reading.state.state === "damaged" && !isDamaged ? { state: { state: "whole" } } : {}),
    notes: holder === undefined ? reading.notes : [
      ...reading.notes,
      `process ${holder} has the directory open, or was killed while it had`,
    ],
  };
}

/** The state of a log in the words of its reader. */
export function stateOf(end: LogEnd): LogState {
  if (end.state === "whole") return { state: "whole" };
  const lane = end.lanes.find((lane) => lane.state === end.state) ?? end.lanes[0];
  return {
    state: end.state,
    file: lane?.badPath ?? "",
    offset: lane?.badOffset ?? 0,
    tick: end.tick + 1,
    reason: lane?.state === end.state ? lane.reason : end.reason,
  };
}

interface Page {
  readonly name: string;
  size: number;
  epoch: number;
  /** Tick at which its image was made, where it is known from a checkpoint; else 0. */
  readonly imageTick: number;
}

interface Count {
  deltas: number;
  payloadBytes: number;
}

class Inspection {
  readonly #storage: Storage;
  readonly #pagesMax: number;
  readonly #decoder = new RowDecoder();
  readonly #pages = new Map<number, Page>();
  readonly #sources = new Map<string, Count>();
  readonly #kinds = new Float64Array(256);
  readonly #frames = new Map<number, { frames: number; rows: number }>();
  readonly #laneFrames = new Map<number, number>();
  #born = 0;
  #deltas = 0;
  #payloadBytes = 0;
  #first: { tick: number; hlc: bigint } | undefined;
  #last = { tick: 0, hlc: 0n };
  /** Least and largest bound of a tick, µs, and ticks of which it is unknown. */
  readonly #bounds = { least: Infinity, most: 0, unknown: 0 };
  #missing = 0;
  /** Pages that die at the end of the tick at hand. */
  #deaths: number[] = [];
  readonly #gaps: { first: number; last: number }[] = [];
  readonly #structure = new StructureCounts((page) => this.#pages.has(page));

  constructor(storage: Storage, pagesMax: number) {
    this.#storage = storage;
    this.#pagesMax = pagesMax;
  }

  run(): LogInspection {
    const { meta, fault } = findMeta(this.#storage);
    const reader = new LogReader(this.#storage, meta);
    this.#begin(meta);
    let state: LogState | undefined;
    for (let tick = reader.next(); tick !== undefined && !state; tick = reader.next()) {
      for (const lane of tick.lanes) state ??= this.#lane(lane);
      this.#endTick();
      if (tick.span > 0) this.#gap(tick.tick - tick.span, tick.tick - 1);
    }
    state ??= stateOf(reader.end());
    const lanes = laneNumbers(this.#storage, meta).map((lane) => this.#laneSize(lane));
    const horizon = horizonOf(this.#storage, meta);
    const { checkpoints, notes } = checkpointsOf(this.#storage);
    return {
      ...(meta === undefined
        ? {}
        : { format: meta.format, incarnation: meta.incarnation, shards: meta.shards }),
      state: fault === undefined || state.state === "damaged"
        ? state
        : { state: "damaged", file: "meta.json", offset: 0, reason: fault },
      ...this.#range(),
      ...(this.#missing === 0 ? {} : { missing: { ticks: this.#missing, gaps: this.#gaps } }),
      deltas: this.#deltas,
      payloadBytes: this.#payloadBytes,
      kinds: this.#kindCounts(),
      rows: [...this.#frames].sort(([a], [b]) => a - b).map(([kind, count]) => ({
        kind: ROW_KIND_NAMES[kind] ?? `kind ${kind}`,
        ...count,
      })),
      pages: this.#pages.size,
      pageBytes: [...this.#pages.values()].reduce((sum, page) => sum + page.size, 0),
      pagesBorn: this.#born,
      ...this.#structure.summary(),
      epochs: this.#highest(),
      lanes,
      checkpoints,
      sources: [...this.#sources].sort(([, a], [, b]) => b.deltas - a.deltas)
        .map(([source, count]) => source === "" ? count : { source, ...count }),
      notes: [
        ...(horizon === 0
          ? []
          : [`states before tick ${horizon} are gone: their ticks were merged or dropped`]),
        ...notes,
      ],
    };
  }

  /** Where the log's beginning was dropped, its checkpoint tells of the pages before. */
  #begin(meta: DirectoryMeta | undefined): void {
    for (const { page, name, size, epoch, imageTick } of basePages(this.#storage, meta)) {
      this.#pages.set(page, { name, size, epoch, imageTick });
    }
    const structure = baseStructure(this.#storage, meta);
    if (structure !== undefined) this.#structure.begin(structure.tick, structure.image);
  }

  #gap(first: number, last: number): void {
    this.#missing += last - first + 1;
    if (this.#gaps.length < GAPS_SHOWN_MAX) this.#gaps.push({ first, last });
  }

  /** Counts a tick on one lane; gives the state where its rows cannot be read. */
  #lane(lane: LaneTick): LogState | undefined {
    const { commitFrame } = lane;
    for (const frame of [...lane.frames, commitFrame]) {
      try {
        this.#frame(lane, frame);
      } catch (error) {
        if (!(error instanceof MmsbError)) throw error;
        const { tick } = lane, { message: reason } = error;
        return { state: "damaged", file: lane.path, offset: frame.at, tick, reason };
      }
    }
    this.#first ??= { tick: lane.tick, hlc: lane.frames[0]?.hlcFirst ?? commitFrame.hlcFirst };
    const hlc = commitFrame.hlcLast > this.#last.hlc ? commitFrame.hlcLast : this.#last.hlc;
    this.#bound(commitFrame.clockErrorUs, lane.tick);
    this.#last = { tick: lane.tick, hlc };
    return undefined;
  }

  #bound(errorUs: number, tick: number): void {
    const bounds = this.#bounds;
    // All lanes of a tick say the same, and what was imported may say nothing.
    if (errorUs === 0 || tick === this.#last.tick) return;
    if (errorUs === CLOCK_ERROR_UNKNOWN) {
      bounds.unknown++;
    } else {
      bounds.least = Math.min(bounds.least, errorUs);
      bounds.most = Math.max(bounds.most, errorUs);
    }
  }

  #frame(lane: LaneTick, frame: FrameHeader): void {
    if (frame.rowKind === ROW_KIND.structural) {
      this.#structural(lane, this.#decoder.decode(lane.segment, frame));
    } else if (frame.rowKind === ROW_KIND.data || frame.rowKind === ROW_KIND.derived) {
      this.#data(this.#decoder.decode(lane.segment, frame), frame.tick);
    }
    if (mayHaveStructure(frame) || frame.rowKind === ROW_KIND.derived) {
      this.#structure.take(lane, frame, this.#decoder.decode(lane.segment, frame));
    }
    const count = this.#frames.get(frame.rowKind) ?? { frames: 0, rows: 0 };
    count.frames++;
    count.rows += frame.rows;
    this.#frames.set(frame.rowKind, count);
    this.#laneFrames.set(lane.lane, (this.#laneFrames.get(lane.lane) ?? 0) + 1);
  }

  #structural(lane: LaneTick, decoded: DecodedRows): void {
    const { columns } = decoded;
    const sizes: [page: number, size: number][] = [];
    for (let row = 0; row < decoded.rows; row++) {
      const page = columns.page[row] >>> 0, operation = columns.kind[row];
      const bytes = lane.segment.bytes.subarray(
        columns.start[row],
        columns.start[row] + columns.length[row],
      );
      if (operation === STRUCTURAL.createPage) {
        const { name } = decodeBirth(bytes);
        this.#pages.set(page, { name, size: columns.offset[row] >>> 0, epoch: 0, imageTick: 0 });
        this.#born++;
      } else if (operation === STRUCTURAL.deletePage) {
        this.#deaths.push(page);
      } else if (operation === STRUCTURAL.setMetadata) {
        decodeMetadata(bytes);
      } else if (operation === STRUCTURAL.resizePage) {
        sizes.push([page, columns.offset[row] >>> 0]);
      }
    }
    for (const [id, size] of sizes) {
      const page = this.#pages.get(id);
      if (page !== undefined) page.size = size;
    }
  }

  /** Edges, rules and marks change before pages are gone. */
  #endTick(): void {
    this.#structure.endTick(this.#deaths);
    for (const page of this.#deaths) this.#pages.delete(page);
    this.#deaths = [];
  }

  #data(decoded: DecodedRows, tick: number): void {
    const { columns, rows, strings, advance } = decoded;
    const counts: Count[] = strings.map(() => ({ deltas: 0, payloadBytes: 0 }));
    for (let row = 0; row < rows; row++) {
      const kind = columns.kind[row], length = columns.length[row] >>> 0;
      const bytes = kind === KIND_MASKED
        ? maskedPayloadBytes(columns.payloadBytes, columns.start[row], length)
        : length;
      this.#kinds[kind]++;
      this.#payloadBytes += bytes;
      const count = counts[columns.source[row]] ?? counts[0];
      count.deltas++;
      count.payloadBytes += bytes;
      const page = this.#pages.get(columns.page[row] >>> 0);
      if (page !== undefined && tick > page.imageTick) {
        page.epoch += advance === undefined ? 1 : advance[row] >>> 0;
      }
    }
    this.#deltas += rows;
    counts.forEach(({ deltas, payloadBytes }, index) => {
      if (deltas === 0) return;
      const sum = this.#sources.get(strings[index]) ?? { deltas: 0, payloadBytes: 0 };
      sum.deltas += deltas;
      sum.payloadBytes += payloadBytes;
      this.#sources.set(strings[index], sum);
    });
  }

  #range(): Pick<LogInspection, "ticks" | "hlc" | "clockErrorUs"> {
    if (this.#first === undefined) return {};
    const { least, most, unknown } = this.#bounds;
    const known = most > 0 ? { least, most } : {};
    return {
      ticks: { first: this.#first.tick, last: this.#last.tick },
      hlc: { first: this.#first.hlc, last: this.#last.hlc },
      ...(most > 0 || unknown > 0 ? { clockErrorUs: { ...known, unknown } } : {}),
    };
  }

  #kindCounts(): LogInspection["kinds"] {
    return [...this.#kinds]
      .map((deltas, kind) => ({ kind: kindName(kind), deltas }))
      .filter(({ deltas }) => deltas > 0)
      .sort((a, b) => b.deltas - a.deltas);
  }

  #highest(): LogPage[] {
    return [...this.#pages]
      .sort(([idA, a], [idB, b]) => b.epoch - a.epoch || idA - idB)
      .slice(0, this.#pagesMax)
      .map(([page, { name, size, epoch }]) => ({
        page,
        ...(name === "" ? {} : { name }),
        size,
        epoch,
      }));
  }

  #laneSize(lane: number): LogInspection["lanes"][number] {
    let segments = 0, bytes = 0;
    for (const number of segmentNumbers(this.#storage, lane)) {
      const file = this.#storage.open(segmentPath(lane, number), "read");
      bytes += file.size();
      segments++;
      file.close();
    }
    return { lane, segments, frames: this.#laneFrames.get(lane) ?? 0, bytes };
  }
}

/** The checkpoints that can be opened, and a note on each whose bytes are not right. */
function checkpointsOf(storage: Storage): Pick<LogInspection, "checkpoints" | "notes"> {
  const checkpoints: { tick: number; bytes: number }[] = [], notes: string[] = [];
  for (const tick of listCheckpoints(storage).reverse()) {
    try {
      using checkpoint = Checkpoint.open(storage, tick);
      checkpoints.push({ tick, bytes: checkpoint.bytes });
      checkpoint.check();
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      // A writer may have removed it meanwhile.
      if (!storage.exists(checkpointPath(tick))) continue;
      notes.push(`a checkpoint is damaged, see mmsb log verify: ${error.message}`);
    }
  }
  return { checkpoints, notes };
}

function laneNumbers(storage: Storage, meta: DirectoryMeta | undefined): number[] {
  return [...new Set([...lanesOf(storage), ...(meta?.lanes ?? []).map(({ lane }) => lane)])]
    .sort((a, b) => a - b);
}
