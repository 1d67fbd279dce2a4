/**
 * Import of the older system's files: its log, its checkpoint, or both.
 *
 * A file is read twice: once to check all of it and to learn its pages, then to write them; so nothing
 * is written of a file that is wrong anywhere. Page N becomes a page named `imported:N`, in the order
 * of N. Old epochs may start at 0, repeat or fall, so a delta takes its page's next epoch here, and
 * its old id and epoch stay with its row.
 *
 * A page's size is that in the checkpoint, if one is given, else the longest mask of its deltas. A page
 * of a checkpoint gets one row with all its bytes, which stands for as many as its old epoch, so that
 * its epoch here is the old one. Where the old epoch is 0 and its bytes are not all zero, they need a
 * row all the same, and its epoch here is 1; where they are, it needs none.
 *
 * A checkpoint beside a log is true at its offset in it: where the deltas up to there lead to other
 * bytes (or there are none for a page), the page gets a row with those of the checkpoint, and the
 * deltas behind come after. That needs the pages in memory, as opening the directory will.
 *
 * Cost: two passes over each file; memory for a map of the pages, and for one tick of 4 MiB or one
 * delta.
 *
 * @module
 */

import { MmsbError, PAGE_ID_MAX, SHARDS_DEFAULT } from "../base/mod.ts";
import type { Metadata } from "../physical/mod.ts";
import type { ImportOptions, ImportReport } from "./import_options.ts";
import { type OldDelta, OldLogReader } from "./import_mmsblog.ts";
import { OLD_LOCATIONS, type OldPage, OldSnapshotReader } from "./import_mmsbsnap.ts";
import { applyDelta, pageRow, repairRow, rowOfDelta } from "./import_old_rows.ts";
import { type ImportSource, refuseImport } from "./import_source.ts";
import type { LogRow, RowColumns } from "./import_columns.ts";
import type { BuilderBirth, LogBuilder } from "./log_builder.ts";

/** What is known of an old page. */
interface PageKnown {
  /** Its id here. */
  id: number;
  size: number;
  epoch: number;
  metadata?: Metadata;
  location: number;
  /** The delta that reaches furthest, for the message where it leaves the page. */
  reach: { readonly last: number; readonly number: number; readonly offset: number };
}

/** The pages of old files, by their old ids. */
export type OldPages = Map<number | bigint, PageKnown>;

const NO_REACH = { last: 0, number: 0, offset: 0 };
/** Deltas between two words of progress. */
const PROGRESS_DELTAS = 4096;
/** A tick ends at so many rows or bytes. */
const TICK_ROWS = 65_536, TICK_BYTES = 4 * 1024 * 1024;
const BIRTH_ROWS = 8192;
/** Metadata that says where a page was, if not in the memory of the CPU. */
const LOCATION_KEY = "imported:location";

/** The files of one import. */
export interface OldFiles {
  /** The log. */
  readonly log?: ImportSource;
  /** The checkpoint. */
  readonly snapshot?: ImportSource;
}

/**
 * Checks old files whole, and learns their pages.
 *
 * @throws {MmsbError} `corrupt-log` where something is wrong, `limit` where something is too large,
 * `version` where a newer system wrote it.
 */
export function surveyOld(files: OldFiles, options: ImportOptions = {}): OldPages {
  const pages: OldPages = new Map();
  const { log, snapshot } = files, { progress = () => {} } = options;
  if (snapshot !== undefined) surveySnapshot(snapshot, pages, log === undefined, progress);
  const sized = new Set(pages.keys());
  if (log !== undefined) {
    surveyLog(log, pages, sized, progress);
  }
  if (pages.size > PAGE_ID_MAX) throw new MmsbError("limit", "Cannot import more than 2^32 pages");
  const order = [...pages.keys()].sort((a, b) => a < b ? -1 : 1);
  order.forEach((old, index) => pages.get(old)!.id = index + 1);
  return pages;
}

function surveySnapshot(
  source: ImportSource,
  pages: OldPages,
  isAlone: boolean,
  progress: (text: string) => void,
): void {
  const reader = new OldSnapshotReader(source);
  for (let page = reader.next(); page !== undefined; page = reader.next()) {
    const { size, metadata, location } = page;
    pages.set(page.id, { id: 0, size, epoch: 0, metadata, location, reach: NO_REACH });
    if (isAlone) progress(`checking page ${page.number} of ${reader.pages}`);
  }
}

function surveyLog(
  source: ImportSource,
  pages: OldPages,
  sized: ReadonlySet<number | bigint>,
  progress: (text: string) => void,
): void {
  const reader = new OldLogReader(source);
  for (let delta = reader.next(); delta !== undefined; delta = reader.next()) {
    const { length } = delta.flags;
    let page = pages.get(delta.page);
    if (page === undefined) {
      page = { id: 0, size: 1, epoch: 0, location: 0, reach: NO_REACH };
      pages.set(delta.page, page);
    }
    if (delta.last > page.reach.last) {
      page.reach = { last: delta.last, number: delta.number, offset: delta.offset };
    }
    if (!sized.has(delta.page)) page.size = Math.max(page.size, length);
    if (delta.number % PROGRESS_DELTAS === 0) progress(`checking ${percent(delta, source)}`);
  }
  for (const [old, { size, reach }] of pages) {
    if (reach.last <= size) continue;
    const place = { offset: reach.offset, number: reach.number, unit: "frame", field: "flags" };
    refuseImport(source, place, `it sets byte ${reach.last - 1} of page ${old} of ${size} bytes`);
  }
}

/** Writes old files that were checked. */
export async function importOld(
  files: OldFiles,
  pages: OldPages,
  builder: LogBuilder,
  options: ImportOptions,
): Promise<ImportReport> {
  return await new OldImport(files, pages, builder, options).run();
}

class OldImport {
  readonly #files: OldFiles;
  readonly #pages: OldPages;
  readonly #builder: LogBuilder;
  readonly #progress: (text: string) => void;
  readonly #shards: number;
  /** The bytes of the pages, where a checkpoint is to be compared with them. */
  readonly #states: Map<number | bigint, Uint8Array> | undefined;
  #hlc: bigint;
  #rows: RowColumns | undefined;
  #sequence = 0;

  constructor(files: OldFiles, pages: OldPages, builder: LogBuilder, options: ImportOptions) {
    this.#files = files;
    this.#pages = pages;
    this.#builder = builder;
    this.#progress = options.progress ?? (() => {});
    this.#shards = options.shards ?? SHARDS_DEFAULT;
    this.#hlc = BigInt(options.nowUs ?? 1) << 12n;
    const isBoth = files.log !== undefined && files.snapshot !== undefined;
    this.#states = isBoth ? new Map() : undefined;
  }

  async run(): Promise<ImportReport> {
    const { log, snapshot } = this.#files;
    let frames = 0;
    if (this.#pages.size > 0) await this.#begin();
    if (log === undefined) {
      await this.#snapshot(snapshot!);
    } else {
      frames = await this.#log(log, snapshot);
    }
    await this.#flush();
    const form = log === undefined ? "MMSBSNAP 2" : `MMSBLOG1 ${new OldLogReader(log).version}`;
    return {
      form,
      frames,
      pages: this.#pages.size,
      deltas: this.#builder.deltas,
      ticks: this.#builder.tick,
      bytes: (log?.size ?? 0) + (snapshot?.size ?? 0),
    };
  }

  async #log(log: ImportSource, snapshot: ImportSource | undefined): Promise<number> {
    const reader = new OldLogReader(log);
    let frames = 0, before = snapshot;
    const dueAt = snapshot === undefined ? Infinity : new OldSnapshotReader(snapshot).logOffset;
    for (let delta = reader.next(); delta !== undefined; delta = reader.next()) {
      if (before !== undefined && delta.offset >= dueAt) {
        await this.#snapshot(before);
        before = undefined;
      }
      await this.#delta(delta);
      frames = delta.number;
      if (frames % PROGRESS_DELTAS === 0) this.#progress(`importing ${percent(delta, log)}`);
    }
    if (before !== undefined) await this.#snapshot(before);
    return frames;
  }

  async #delta(delta: OldDelta): Promise<void> {
    const page = this.#pages.get(delta.page);
    if (page === undefined || delta.last > page.size) {
      throw new MmsbError("io", "Cannot import a file that changes: import it again", {
        values: { path: this.#files.log!.name },
      });
    }
    page.epoch++;
    const { idLow, idHigh, timeUs, source, intent } = delta;
    const imported = { idLow, idHigh, epoch: delta.epoch };
    const about = { page: page.id, epoch: page.epoch, timeUs, source, intent, imported };
    await this.#push({ ...rowOfDelta(delta), ...about });
    if (this.#states !== undefined) applyDelta(this.#state(delta.page, page), delta);
  }

  /** Brings the pages to what the checkpoint says. */
  async #snapshot(source: ImportSource): Promise<void> {
    const reader = new OldSnapshotReader(source);
    for (let old = reader.next(); old !== undefined; old = reader.next()) {
      const page = this.#pages.get(old.id);
      if (page === undefined || page.size !== old.size) {
        throw new MmsbError("io", "Cannot import a file that changes: import it again", {
          values: { path: source.name },
        });
      }
      const row = this.#rowOf(old, page);
      if (row !== undefined) {
        page.epoch += row.advance ?? 1;
        await this.#push({ ...row, page: page.id, epoch: page.epoch });
      }
      this.#states?.set(old.id, old.data.slice());
      if (this.#states === undefined) this.#progress(`importing page ${old.number}`);
    }
  }

  #rowOf(old: OldPage, page: PageKnown): Omit<LogRow, "page"> | undefined {
    const imported = { idLow: 0, idHigh: 0, epoch: old.epoch };
    if (page.epoch === 0) return pageRow(old, imported);
    return repairRow(this.#state(old.id, page), old.data, imported);
  }

  #state(old: number | bigint, page: PageKnown): Uint8Array {
    let state = this.#states!.get(old);
    if (state === undefined) this.#states!.set(old, state = new Uint8Array(page.size));
    return state;
  }

  /** Begins the first tick: with it all pages are born. */
  async #begin(): Promise<void> {
    await this.#builder.begin({ tick: 1 });
    this.#rows = this.#builder.rows();
    let births: BuilderBirth[] = [];
    const bear = () => {
      this.#builder.births(births, this.#hlc);
      this.#hlc += BigInt(births.length);
      births = [];
    };
    for (const [old, page] of [...this.#pages].sort(([, a], [, b]) => a.id - b.id)) {
      const { id, size, metadata = new Map(), location } = page;
      const place = new TextEncoder().encode(OLD_LOCATIONS[location]);
      births.push({
        page: id,
        size,
        shard: (id - 1) % this.#shards,
        name: `imported:${old}`,
        metadata: location === 0 ? metadata : new Map([...metadata, [LOCATION_KEY, place]]),
      });
      if (births.length === BIRTH_ROWS) bear();
    }
    if (births.length > 0) bear();
  }

  async #push(row: LogRow): Promise<void> {
    const rows = this.#rows;
    if (rows !== undefined) {
      const bytes = rows.byteLength + row.payload.length;
      const isDone = rows.isFull || rows.rows >= TICK_ROWS || bytes > TICK_BYTES && rows.rows > 0;
      if (isDone) await this.#flush();
    }
    if (this.#rows === undefined) {
      await this.#builder.begin({ tick: this.#builder.tick + 1 });
      this.#rows = this.#builder.rows();
    }
    this.#rows.push(row);
  }

  async #flush(): Promise<void> {
    const rows = this.#rows;
    if (rows === undefined) return;
    this.#rows = undefined;
    if (rows.rows > 0) {
      this.#builder.frame(rows, { producer: 1, sequence: ++this.#sequence, hlc: this.#hlc });
    }
    this.#hlc += BigInt(rows.rows);
    await this.#builder.commit(this.#hlc++);
  }
}

function percent(delta: OldDelta, source: ImportSource): string {
  return `frame ${delta.number}, ${Math.floor(100 * delta.end / source.size)} %`;
}
