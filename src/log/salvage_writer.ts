/**
 * Salvage writer: writes the ticks that are whole, and one in the place of each gap that says what the
 * lost ones did to the list of pages, as far as that is known.
 *
 * @module
 */

import { encodeMetadata, KIND_SET } from "../physical/mod.ts";
import { isRuleOrMark } from "./_tick_structure.ts";
import { decodeBirth, encodeBirth } from "./birth.ts";
import { isEdgeRow, ROW_KIND, ROW_KIND_NAMES, STRUCTURAL } from "./format.ts";
import { type FrameHeader, RowDecoder, type SegmentBytes } from "./frame_reader.ts";
import type { LogRow, RowColumns } from "./import_columns.ts";
import { type LogBuilder, structuralRow } from "./log_builder.ts";
import type { DirectoryMeta } from "./meta.ts";
import type { SalvageImages } from "./salvage_images.ts";
import { SalvagePages } from "./salvage_pages.ts";
import {
  decodedOr,
  type SalvageGap,
  type SalvagePlan,
  structuralRowOf,
  structuralRows,
  structureOfTick,
} from "./salvage_plan.ts";
import { SalvageStructure, type StructureFrame } from "./salvage_structure.ts";
import { type SalvagedTick, salvagedTicks } from "./salvage_ticks.ts";
import type { FoundTick } from "./salvage_walk.ts";
import type { Storage } from "./storage.ts";

const PROGRESS_TICKS = 256;

/** The checkpoints that a salvage uses. */
export interface SalvageCheckpoints {
  /** The one with which a log begins whose own beginning was dropped. */
  readonly begin: SalvageImages | undefined;
  /** A later one, behind what is lost. */
  readonly repair: SalvageImages | undefined;
}

/** Writes what can be saved. */
export class SalvageWriter {
  /** The pages. */
  readonly pages: SalvagePages = new SalvagePages();
  /** Ticks of the source that were written. */
  ticks = 0;
  /** What had to be guessed. */
  readonly notes: string[] = [];

  readonly #builder: LogBuilder;
  readonly #plan: SalvagePlan;
  readonly #progress: (text: string) => void;
  readonly #decoder = new RowDecoder();
  /** The checkpoint that is still to be used. */
  #images: SalvageImages | undefined;
  /** The one after it. */
  #repair: SalvageImages | undefined;
  readonly #structure = new SalvageStructure((page) => this.pages.has(page), this.notes);
  #incarnation = 1;
  #openSequence = 0;
  /** Pages that rules wrote in the tick at hand. */
  readonly #derived = new Set<number>();
  /** The rows that repair those. */
  #repairedDerived: RowColumns | undefined;
  /** Ticks up to here are merged: their deltas may be of rules that were unbound by then. */
  #horizon = 0;

  /**
   * Writes into `builder` what `plan` says, behind the checkpoint with which the log begins, if its
   * beginning was dropped, and repairs the pages by a later one, if there is one.
   */
  constructor(
    builder: LogBuilder,
    plan: SalvagePlan,
    { begin, repair }: SalvageCheckpoints,
    progress: (text: string) => void,
  ) {
    this.#builder = builder;
    this.#plan = plan;
    this.#images = begin ?? repair;
    this.#repair = begin === undefined ? undefined : repair;
    this.#progress = progress;
    if (repair === undefined) return;
    const { table } = repair.store;
    this.pages.repairBy((page, tick) => tick <= repair.tick && table.rowOf(page) !== 0);
  }

  /** Writes all of it. */
  async run(storage: Storage, meta: DirectoryMeta | undefined): Promise<void> {
    const base = meta?.base?.tick ?? 0;
    this.#horizon = meta?.base?.horizon ?? 0;
    // What was dropped before the log's beginning is no loss: the log goes on behind the checkpoint.
    const skipped = base > 0 && this.#images !== undefined ? this.#images.tick : 0;
    if (skipped > 0) {
      const gap = {
        ticks: { first: 1, last: skipped },
        births: new Map(),
        changes: [],
        structure: [],
      };
      await this.#bridge(gap, false);
    }
    for (const tick of salvagedTicks(storage, meta, () => {})) {
      if (tick.tick > this.#plan.tickMax) break;
      if (tick.tick <= skipped) continue;
      if (!tick.isWhole) {
        this.#miss(tick);
        continue;
      }
      const gap = this.#plan.gaps.get(tick.tick - tick.span);
      if (gap !== undefined) {
        this.pages.gaps.push(gap.ticks);
        await this.#bridge(gap);
      }
      await this.#write(tick);
      if (++this.ticks % PROGRESS_TICKS === 0) {
        this.#progress(`tick ${tick.tick} of ${this.#plan.lastTick} saved`);
      }
    }
    const { lastTick } = this.#plan;
    if (this.#images === undefined || this.#images.tick <= lastTick) return;
    const ticks = { first: lastTick + 1, last: this.#images.tick };
    this.pages.gaps.push(ticks);
    await this.#bridge({ ticks, births: new Map(), changes: [], structure: [] });
  }

  /** Counts the deltas of a tick that is lost. */
  #miss(tick: SalvagedTick): void {
    for (const lane of tick.lanes) {
      this.pages.deltasLost += lane.rowsLost;
      for (const frame of lane.frames.filter(isData)) {
        const decoded = decodedOr(() => this.#decoder.decode(lane.segment, frame, false));
        for (let row = 0; row < (decoded?.rows ?? 0); row++) {
          this.pages.miss(decoded!, row, tick.tick);
        }
      }
    }
    const lost = tick.lanes.flatMap((lane) => lane.framesLost.map((frame) => ({ lane, frame })));
    if (lost.length === 0) return;
    const rowsMax = tick.lanes.reduce((sum, lane) => sum + rowsOf(lane), 0);
    for (const { lane: { segment }, frame } of lost) this.#guess(segment, frame, rowsMax);
  }

  /** Notes what a frame that fails its checksum seems to say. */
  #guess(segment: SegmentBytes, frame: FrameHeader, rowsMax: number): void {
    if (frame.rowKind === ROW_KIND.commit) return;
    const isInside = isData(frame) && frame.at + frame.length <= segment.length;
    const decoded = isInside
      ? decodedOr(() => this.#decoder.decode(segment, frame, false))
      : undefined;
    if (decoded === undefined) {
      this.pages.rowsUnplaced += frame.rows;
      return;
    }
    for (let row = 0; row < decoded.rows; row++) {
      this.pages.guess(decoded, row, frame.tick, rowsMax);
    }
  }

  /** One tick in the place of those that are lost. */
  async #bridge(gap: SalvageGap, isLoss = true, repairs = true): Promise<void> {
    const images = this.#images, { first, last } = gap.ticks;
    const isDue = repairs && images !== undefined && last >= images.tick;
    const resizes = isDue && last > first ? this.#resizes(images, gap) : [];
    if (resizes.length > 0) {
      // Resizes come last in a tick, so they need one of their own before the bytes.
      const changes = [...gap.changes, ...resizes];
      await this.#bridge({ ...gap, ticks: { first, last: last - 1 }, changes }, isLoss, false);
      const structure: SalvageGap["structure"] = [];
      gap = { ticks: { first: last, last }, births: new Map(), changes: [], structure };
    }
    const imaged = images === undefined || gap.ticks.first > images.tick
      ? []
      : unborn(images, isLoss ? this.#plan.born : NO_PAGES);
    const births = [...gap.births.values(), ...imaged].filter(({ page }) => !this.pages.has(page))
      .map((row) => this.#bear(row, gap.ticks.first));
    const changes = gap.changes.filter((row) => this.pages.has(row.page));
    const repaired = isDue ? this.#repairs(images, gap.ticks.last, changes, isLoss) : undefined;
    // Where a checkpoint says what is there in the end, it counts.
    const structure = isDue
      ? this.#structure.framesTo(gap.ticks.last, images.store)
      : this.#structure.frames(gap.ticks.last, gap.structure);
    const rows = this.#builder.rows();
    const dead = new Set<number>();
    for (const row of births) rows.push(row);
    for (const row of changes) {
      if (dead.has(row.page)) continue;
      if (row.kind === STRUCTURAL.deletePage) dead.add(row.page);
      rows.push(row);
    }
    if (rows.rows === 0 && repaired === undefined && structure.length === 0) return;
    const graphVersion = isDue ? images.store.graphVersion : undefined;
    await this.#builder.begin({
      tick: gap.ticks.last,
      ...(graphVersion === undefined ? {} : { graphVersion }),
    });
    const hlc = this.#builder.hlcLast + 1n;
    this.#builder.frame(rows, { rowKind: ROW_KIND.structural, hlc });
    if (repaired !== undefined) {
      this.#builder.frame(repaired, {
        producer: 0,
        sequence: repaired.rows === 0 ? 0 : ++this.#openSequence,
        hlc: this.#later(0n),
      });
    }
    this.#writeStructure(structure);
    const nextPageId = births.reduce((next, { page }) => Math.max(next, page + 1), 1);
    const nextRule = isDue ? images.store.nextRule : 1;
    await this.#builder.commit(this.#later(0n), nextPageId, nextRule);
    for (const row of changes) this.#change(row);
  }

  /** The rows that give pages the sizes that a checkpoint says, where theirs are others. */
  #resizes({ store }: SalvageImages, { births, changes }: SalvageGap): LogRow[] {
    const sizes = new Map(this.pages.ids().map((id) => [id, this.pages.at(id)!.size]));
    for (const [id, { offset }] of births) sizes.set(id, offset);
    for (const { page, kind, offset } of changes) {
      if (kind === STRUCTURAL.resizePage) sizes.set(page, offset);
    }
    const rows: LogRow[] = [];
    for (const [id, known] of sizes) {
      const row = store.table.rowOf(id), size = row === 0 ? known : store.table.sizeOf(row);
      if (size !== known) rows.push(structuralRow(id, STRUCTURAL.resizePage, { size }));
    }
    return rows;
  }

  /** The rows that bring the pages to what a checkpoint says; deaths and the like go to `changes`. */
  #repairs(
    images: SalvageImages,
    tick: number,
    changes: LogRow[],
    isLoss: boolean,
  ): RowColumns {
    this.#images = this.#repair;
    this.#repair = undefined;
    const { store } = images, rows = this.#builder.rows();
    this.#repairedDerived = this.#builder.rows();
    const dead = new Set(
      changes.filter(({ kind }) => kind === STRUCTURAL.deletePage).map(({ page }) => page),
    );
    for (const id of this.pages.ids()) {
      const row = store.table.rowOf(id), known = this.pages.at(id)!;
      if (row === 0) {
        if (!dead.has(id)) changes.push(structuralRow(id, STRUCTURAL.deletePage));
        continue;
      }
      const epoch = store.table.epoch(row), metadata = store.metadataOf(id);
      const size = store.table.sizeOf(row);
      if (size !== known.size) {
        changes.push(structuralRow(id, STRUCTURAL.resizePage, { size }));
        if (size > known.size) {
          this.notes.push(`page ${id} lost its bytes from ${known.size} on, to which it had grown`);
        }
      }
      if (metadata.size > 0) {
        const payload = encodeMetadata(metadata);
        changes.push(structuralRow(id, STRUCTURAL.setMetadata, { payload }));
      }
      if (epoch <= known.epoch) continue;
      const bytes = store.view(row).slice(0, known.size);
      for (const step of stepsOf(epoch - known.epoch)) {
        const before: number = this.pages.at(id)!.epoch;
        if (isLoss) this.pages.repair(id, before + step, tick);
        else this.pages.adopt(id, before + step, tick);
        const span = { page: id, epoch: before + step, kind: KIND_SET, offset: 0, payload: bytes };
        // Behind the page's own rows of this tick: those of rules are applied last.
        const target = this.#derived.has(id) ? this.#repairedDerived : rows;
        target.push({ ...span, length: bytes.length, advance: step, source: REPAIR_SOURCE });
      }
    }
    return rows;
  }

  async #write(tick: SalvagedTick): Promise<void> {
    const lanes = tick.lanes;
    const commits = lanes.map(({ commit }) => commit!);
    const [{ frame: { incarnation, graphVersion, clockErrorUs } }] = commits;
    if (incarnation > this.#incarnation) this.#openSequence = 0;
    this.#incarnation = Math.max(this.#incarnation, incarnation);
    await this.#builder.begin({
      tick: tick.tick,
      incarnation: this.#incarnation,
      graphVersion,
      clockErrorUs,
    });
    const births = this.#births(tick);
    const changes: LogRow[] = [];
    const structure = this.#structure.take(
      tick.tick,
      lanes.flatMap((lane) => structureOfTick(lane, this.#decoder)),
    );
    const frames = lanes.flatMap((lane) => lane.frames.map((frame) => ({ lane, frame })))
      .sort((a, b) => a.frame.hlcFirst < b.frame.hlcFirst ? -1 : 1);
    for (const parts of batchesOf(frames)) {
      const [{ frame }] = parts;
      if (isRuleOrMark(frame)) this.#rules(frame, structure.get(frame) ?? []);
      else this.#frame(parts, births, changes, structure.get(frame) ?? []);
    }
    const images = this.#images;
    if (images !== undefined && images.tick === tick.tick) this.#repairTick(images, changes);
    this.#derived.clear();
    for (const row of changes) this.#change(row);
    const hlc = commits.map(({ frame }) => frame.hlcLast).reduce((a, b) => a > b ? a : b);
    const nextPageId = Math.max(...commits.map((commit) => commit.nextPageId));
    const nextRule = Math.max(...commits.map((commit) => commit.nextRule));
    await this.#builder.commit(this.#later(hlc), nextPageId, nextRule);
  }

  /** Takes a resize or death, at the end of its tick. */
  #change(row: LogRow): void {
    this.pages.change(row);
    if (row.kind === STRUCTURAL.deletePage) this.#structure.removePage(row.page);
  }

  #writeStructure(frames: readonly StructureFrame[]): void {
    for (const { rowKind, rows } of frames) {
      const columns = this.#builder.rows();
      for (const row of rows) columns.push(row);
      this.#builder.frame(columns, { rowKind, hlc: this.#later(0n) });
    }
  }

  /** A frame of rules or marks. */
  #rules({ rowKind, hlcFirst }: FrameHeader, rows: readonly LogRow[]): void {
    const columns = this.#builder.rows();
    for (const row of rows) columns.push(row);
    this.#builder.frame(columns, { rowKind, hlc: this.#later(hlcFirst) });
  }

  /** Adds to the tick of a checkpoint what brings the pages to its state. */
  #repairTick(images: SalvageImages, changes: LogRow[]): void {
    const own = changes.length;
    const repairs = this.#repairs(images, images.tick, changes, true);
    const more = this.#builder.rows();
    for (const row of changes.slice(own)) more.push(row);
    this.#builder.frame(repairs, {
      producer: 0,
      sequence: repairs.rows === 0 ? 0 : ++this.#openSequence,
      hlc: this.#later(0n),
    });
    const rowKind = ROW_KIND.derived;
    this.#builder.frame(this.#repairedDerived!, { rowKind, hlc: this.#later(0n) });
    this.#builder.frame(more, { rowKind: ROW_KIND.structural, hlc: this.#later(0n) });
    this.#writeStructure(this.#structure.framesTo(images.tick, images.store));
  }

  /** The births of a tick, by page, as they are to be written. */
  #births(tick: SalvagedTick): Map<number, LogRow> {
    const births = new Map<number, LogRow>();
    for (const lane of tick.lanes) {
      for (const row of structuralRows(lane, this.#decoder)) {
        if (row.kind !== STRUCTURAL.createPage || this.pages.has(row.page)) continue;
        births.set(row.page, this.#bear(row, tick.tick));
      }
    }
    return births;
  }

  #frame(
    parts: readonly FoundFrame[],
    births: ReadonlyMap<number, LogRow>,
    changes: LogRow[],
    edges: readonly LogRow[],
  ): void {
    const [{ frame }] = parts, rows = this.#builder.rows();
    const isStructural = frame.rowKind === ROW_KIND.structural;
    if (!isStructural && !isData(frame)) {
      const kind = ROW_KIND_NAMES[frame.rowKind] ?? `kind ${frame.rowKind}`;
      this.notes.push(`a frame of ${kind} rows of tick ${frame.tick} was left out`);
      return;
    }
    let isDecoded = false;
    for (const { lane, frame } of parts) {
      const decoded = decodedOr(() => this.#decoder.decode(lane.segment, frame));
      if (decoded === undefined) {
        if (!isStructural) this.pages.deltasLost += frame.rows;
        continue;
      }
      isDecoded = true;
      for (let row = 0; row < decoded.rows; row++) {
        const kept = isStructural
          ? this.#structural(structuralRowOf(lane, decoded, row), births, changes)
          : this.pages.delta(lane, decoded, row);
        if (kept === undefined) continue;
        rows.push(this.#withRule(kept, frame.tick));
        if (frame.rowKind === ROW_KIND.derived) this.#derived.add(kept.page);
      }
    }
    if (!isDecoded) return;
    for (const edge of edges) rows.push(edge);
    const { rowKind, producer, hlcFirst } = frame;
    const sequence = rows.rows === 0 ? 0 : this.#sequenceOf(frame);
    this.#builder.frame(rows, { rowKind, producer, sequence, hlc: this.#later(hlcFirst) });
  }

  #structural(
    row: LogRow,
    births: ReadonlyMap<number, LogRow>,
    changes: LogRow[],
  ): LogRow | undefined {
    if (row.kind === STRUCTURAL.createPage) return births.get(row.page);
    if (!this.pages.has(row.page) || isEdgeRow(row.kind)) return undefined;
    changes.push(row);
    return row;
  }

  /** A delta of a rule whose binding is lost is that of a rule nobody knows. */
  #withRule(row: LogRow, tick: number): LogRow {
    if (row.rule === undefined || row.rule === 0 || tick <= this.#horizon) return row;
    return this.#structure.isBound(row.rule) ? row : { ...row, rule: 0 };
  }

  /** Takes a birth; the name is left out where a page that lives has it and no death can be inferred. */
  #bear(row: LogRow, tick: number): LogRow {
    const birth = decodedOr(() => decodeBirth(row.payload));
    const isTaken = birth !== undefined && this.pages.hasName(birth.name);
    const name = birth === undefined || isTaken ? "" : birth.name;
    this.pages.bear(row.page, row.offset, name, tick);
    if (birth !== undefined && !isTaken) return row;
    this.notes.push(`page ${row.page} lost its name${isTaken ? `, which another page has` : ""}`);
    const payload = encodeBirth("", birth?.metadata);
    return { ...row, payload, length: payload.length };
  }

  /** The open batch's numbers have no gaps; those of others may. */
  #sequenceOf({ producer, sequence, rowKind }: FrameHeader): number {
    const isOpen = producer === 0 && sequence !== 0 && rowKind === ROW_KIND.data;
    return isOpen ? ++this.#openSequence : sequence;
  }

  /** A time, or the next one where it does not come after the last. */
  #later(hlc: bigint): bigint {
    const { hlcLast } = this.#builder;
    return hlc > hlcLast ? hlc : hlcLast + 1n;
  }
}

/** A frame, and what the tick has of its lane. */
interface FoundFrame {
  readonly lane: FoundTick;
  readonly frame: FrameHeader;
}

/** Frames that follow each other and are parts of one batch in several lanes, together. */
function batchesOf(frames: readonly FoundFrame[]): FoundFrame[][] {
  const batches: FoundFrame[][] = [];
  for (const found of frames) {
    const before = batches.at(-1)?.at(-1)?.frame, { frame } = found;
    const isPart = before !== undefined && isData(frame) && before.lane !== frame.lane &&
      before.rowKind === frame.rowKind && before.producer === frame.producer &&
      before.sequence === frame.sequence;
    if (isPart) batches[batches.length - 1].push(found);
    else batches.push([found]);
  }
  return batches;
}

const NO_PAGES: ReadonlySet<number> = new Set();

/** Births of the pages of a checkpoint whose own are lost. */
function unborn({ store }: SalvageImages, born: ReadonlySet<number>): LogRow[] {
  const rows: LogRow[] = [];
  for (const row of store.table.rows()) {
    const page = store.table.ids[row];
    if (born.has(page)) continue;
    const payload = encodeBirth(store.nameOf(page), store.metadataOf(page));
    const about = { size: store.table.sizeOf(row), shard: store.table.shards[row], payload };
    rows.push(structuralRow(page, STRUCTURAL.createPage, about));
  }
  return rows.sort((a, b) => a.page - b.page);
}

/** A difference of epochs as steps that a row can stand for. */
function* stepsOf(epochs: number): Generator<number> {
  for (let left = epochs; left > 0; left -= ADVANCE_MAX) yield Math.min(left, ADVANCE_MAX);
}

/** Who made the rows that repair pages. */
const REPAIR_SOURCE = "mmsb log salvage";
/** Most rows that one row can stand for. */
const ADVANCE_MAX = 2 ** 32 - 1;

/** Deltas of a tick on one lane, those of lost frames counted in. */
function rowsOf({ frames, rowsLost }: FoundTick): number {
  return frames.filter(isData).reduce((sum, { rows }) => sum + rows, rowsLost);
}

function isData({ rowKind }: FrameHeader): boolean {
  return rowKind === ROW_KIND.data || rowKind === ROW_KIND.derived;
}
