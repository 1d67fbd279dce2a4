/**
 * Export: a log as JSON lines, whole or in the canonical form (see `export_line.ts`).
 *
 * It gives what recovery would keep. Damage ends it with an error, after all that is whole before it;
 * the last line is then missing, so that nobody takes a part for the whole.
 *
 * Of a log whose beginning was dropped behind a checkpoint, the first tick stands for all before it.
 *
 * Cost: an object a line; one tick at a time, and an entry of a map a page. The canonical form holds a
 * number a row of the tick besides.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { addTo, timestampHi, timestampLo } from "../temporal/mod.ts";
import { findMeta, openDirectory, settle } from "./_directory.ts";
import { checkExport, checkPlace } from "./_transfer_options.ts";
import { settledView } from "./compaction_switch.ts";
import { baseLines } from "./export_base.ts";
import { EXPORT_FORMAT, EXPORT_VERSION, type ExportLine } from "./export_line.ts";
import {
  bearPage,
  type ExportedPage,
  moveAndDelete,
  type Phase,
  rowsAsLogged,
  sortedRows,
  unknownPage,
} from "./export_order.ts";
import { birthLine, changeLine, deltaLine, type Part, stepOf } from "./export_rows.ts";
import { ROW_KIND, ROW_KIND_NAMES } from "./format.ts";
import { RowDecoder } from "./frame_reader.ts";
import { stateOf } from "./inspect.ts";
import { framesOf, LogReader, type LogTick } from "./log_reader.ts";
import type { DirectoryMeta } from "./meta.ts";
import { findImages, type SalvageImages } from "./salvage_images.ts";
import type { Storage } from "./storage.ts";

/** Options of an export. */
export interface ExportOptions {
  /** Whether to give the canonical form. Default false. */
  readonly canonical?: boolean;
  /** Told how far the work is, in words. */
  readonly progress?: (text: string) => void;
}

/** Ticks between two words of progress. */
const PROGRESS_TICKS = 256;

/**
 * Exports the log of a directory, which may be in use.
 *
 * @param directory The directory; it is only read.
 * @param options Which form, progress.
 * @returns The lines, as objects; one at a time is in memory.
 * @throws {MmsbError} `usage` where it is no data directory or options are wrong, `version` where a
 * newer MMSB wrote it, `corrupt-log` where damage ends the reading, `io` where files cannot be read.
 *
 * @example What a page was made of
 * ```ts
 * import assert from "node:assert/strict";
 * import { exportLog, StateBus } from "@mmsb/mmsb";
 *
 * const dir = await Deno.makeTempDir();
 * {
 *   await using bus = await StateBus.open({ dir });
 *   const page = bus.createPage({ size: 8 });
 *   await bus.commit(() => page.write(0, Uint8Array.of(7), { source: "feed-a" }));
 * }
 * const lines = await Array.fromAsync(exportLog(dir, { canonical: true }));
 * assert.deepEqual(lines.map(({ type }) => type), ["header", "birth", "delta", "end"]);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function* exportLog(
  directory: string,
  options: ExportOptions = {},
): AsyncGenerator<ExportLine> {
  checkPlace("directory", directory);
  checkExport(options);
  yield* exportStorage(openDirectory(directory), options);
}

/**
 * Exports the log of a storage.
 *
 * @param storage The storage; it is only read.
 * @param options Which form, progress.
 * @throws {MmsbError} as {@linkcode exportLog}.
 */
export function exportStorage(
  storage: Storage,
  options: ExportOptions = {},
): Generator<ExportLine> {
  return new Export(settledView(storage), options).run();
}

class Export {
  readonly #storage: Storage;
  readonly #canonical: boolean;
  readonly #progress: (text: string) => void;
  readonly #decoders: RowDecoder[] = [];
  readonly #pages = new Map<number, ExportedPage>();
  #ticks = 0;
  #rows = 0;

  constructor(storage: Storage, options: ExportOptions) {
    this.#storage = storage;
    this.#canonical = options.canonical ?? false;
    this.#progress = options.progress ?? (() => {});
  }

  *run(): Generator<ExportLine> {
    const { meta, fault } = findMeta(this.#storage);
    if (meta === undefined) throw damaged(this.#storage, fault!);
    const { shards, incarnation } = meta;
    const canonical = this.#canonical;
    const images = this.#images(meta);
    const horizon = images?.tick ?? meta.base?.horizon ?? 0;
    yield {
      type: "header",
      format: EXPORT_FORMAT,
      version: EXPORT_VERSION,
      canonical,
      shards,
      ...(canonical ? {} : { incarnation }),
      ...(horizon === 0 ? {} : { horizon }),
    };
    if (images !== undefined) yield* this.#base(images);
    const reader = new LogReader(this.#storage, meta);
    for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
      if (tick.tick <= (images?.tick ?? 0)) continue;
      const before = this.#rows;
      yield* this.#tick(tick);
      // A tick without rows cannot be seen in the canonical form.
      if (!canonical || this.#rows > before) this.#ticks++;
      if (this.#ticks % PROGRESS_TICKS === 0) {
        this.#progress(`tick ${tick.tick}, ${this.#rows} rows exported`);
      }
    }
    this.#checkEnd();
    yield { type: "end", ticks: this.#ticks, rows: this.#rows };
  }

  /** The state that a log begins with, if its earlier ticks were dropped. */
  #images(meta: DirectoryMeta): SalvageImages | undefined {
    if ((meta.base?.tick ?? 0) === 0) return undefined;
    const reasons: string[] = [];
    const images = findImages(this.#storage, meta, "oldest", (text) => reasons.push(text));
    if (images !== undefined) return images;
    const why = reasons.length === 0 ? "there is no checkpoint" : reasons.join("; ");
    throw damaged(this.#storage, `its beginning was dropped, and ${why}`);
  }

  *#base(images: SalvageImages): Generator<ExportLine> {
    for (const line of baseLines(images, this.#canonical)) {
      if (line.type === "birth") this.#pages.set(line.page, { shard: line.shard, epoch: 0 });
      if (line.type === "delta") this.#pages.get(line.page)!.epoch = line.epoch;
      if (line.type !== "commit") this.#rows++;
      yield line;
    }
    // A state without pages cannot be seen in the canonical form.
    if (!this.#canonical || this.#rows > 0) this.#ticks++;
  }

  /** Throws where the log is damaged behind what was given. */
  #checkEnd(): void {
    const { reading, damage } = settle(() => {
      const { meta, fault } = findMeta(this.#storage);
      if (fault !== undefined) throw damaged(this.#storage, fault);
      const reader = new LogReader(this.#storage, meta);
      while (reader.next() !== undefined);
      return stateOf(reader.end());
    }, (state) => state.state === "damaged" ? [`${state.file} ${state.offset}`] : []);
    if (damage.size === 0) return;
    const { tick, reason, file, offset } = reading;
    throw damaged(this.#storage, `tick ${tick}: ${reason} (${file}, byte ${offset})`);
  }

  *#tick(tick: LogTick): Generator<ExportLine> {
    try {
      const parts = this.#parts(tick);
      const rows = this.#canonical ? sortedRows(parts, this.#pages) : rowsAsLogged(parts);
      for (const [part, row, phase] of rows) yield this.#line(part, row, phase);
      moveAndDelete(parts, this.#pages);
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      throw damaged(this.#storage, error.message);
    }
    if (this.#canonical) return;
    const [{ commitFrame, commit }] = tick.lanes;
    const hlc = tick.lanes.map((lane) => lane.commitFrame.hlcLast)
      .reduce((max, next) => next > max ? next : max);
    const { incarnation, graphVersion, clockErrorUs } = commitFrame;
    const nextRule = Math.max(...tick.lanes.map((lane) => lane.commit.nextRule));
    yield {
      type: "commit",
      tick: tick.tick,
      hlc: String(hlc),
      incarnation,
      nextPageId: Math.max(...tick.lanes.map((lane) => lane.commit.nextPageId), commit.nextPageId),
      ...(nextRule === 1 ? {} : { nextRule }),
      ...(graphVersion === 0 ? {} : { graphVersion }),
      ...(clockErrorUs === 0 ? {} : { clockErrorUs }),
    };
  }

  /** The frames of a tick, each with a decoder of its own, as all are looked at side by side. */
  #parts(tick: LogTick): Part[] {
    const parts: Part[] = [];
    for (const { lane, frame } of framesOf(tick.lanes)) {
      if (frame.rowKind >= ROW_KIND.commit) {
        const kind = ROW_KIND_NAMES[frame.rowKind] ?? frame.rowKind;
        throw new MmsbError("version", `rows of kind ${kind} cannot be exported yet`);
      }
      const decoder = this.#decoders[parts.length] ??= new RowDecoder();
      parts.push({ lane, frame, decoded: decoder.decode(lane.segment, frame) });
    }
    return parts;
  }

  #line(part: Part, row: number, phase: Phase): ExportLine {
    const { frame, decoded } = part;
    const { hlcFirst } = frame;
    const page = decoded.columns.page[row] >>> 0;
    const hlc = this.#canonical ? {} : {
      hlc: String(addTo(timestampHi(hlcFirst), timestampLo(hlcFirst), row)),
    };
    const about = { tick: frame.tick, ...hlc, page };
    this.#rows++;
    if (phase === "births") {
      // The canonical form knows its births beforehand.
      const { shard } = this.#canonical ? this.#pages.get(page)! : bearPage(this.#pages, part, row);
      return birthLine(part, row, about, shard);
    }
    const known = this.#pages.get(page);
    if (known === undefined) throw unknownPage(page);
    if (phase === "deltas" || phase === "derived") {
      known.epoch += stepOf(decoded, row);
      return deltaLine(part, row, about, known.epoch, this.#canonical);
    }
    return changeLine(part, row, about);
  }
}

function damaged(storage: Storage, reason: string): MmsbError {
  return new MmsbError(
    "corrupt-log",
    `Cannot export all of ${storage.location} as it is damaged: ${reason}; salvage it first`,
    { values: { location: storage.location, reason } },
  );
}
