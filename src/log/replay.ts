/**
 * Replay: put the ticks of a log into a page store. No rule ever runs here.
 *
 * Births come first in a tick; edges, rules and marks change when it commits; deaths come last. Every row is checked as if it
 * were new (its page is there, its span inside), and the epochs it leads to must be those that the
 * log carries: a lost or doubled frame cannot pass.
 *
 * Over the images of a checkpoint, which were copied while ticks went on, only that is replayed which
 * came after each page's image; whatever the image already holds is passed over. Edges, rules and marks
 * are there from the last of these ticks on, as the checkpoint has them.
 *
 * Cost: some 30 ns a row of 16 bytes over 65,536 pages of 4 KiB, half of it cache misses.
 *
 * @module
 */

import { MmsbError, type MmsbErrorCode, PAGE_BYTES_MAX, PAGE_BYTES_MIN } from "../base/mod.ts";
import {
  ANY_STRINGS,
  applyRows,
  decodeMetadata,
  type KernelColumns,
  type PageStore,
  raiseEpochsAs,
  type Residency,
  resolve,
} from "../physical/mod.ts";
import { EdgeOrder } from "./_edge_order.ts";
import { isRuleOrMark, payloadOf, type RowPlace, TickStructure } from "./_tick_structure.ts";
import { decodeBirth } from "./birth.ts";
import { isEdgeRow, ROW_KIND, STRUCTURAL } from "./format.ts";
import { type DecodedRows, type FrameHeader, RowDecoder } from "./frame_reader.ts";
import type { LaneTick } from "./lane_reader.ts";
import type { LogTick } from "./log_reader.ts";
import { installStructure, type StructureImage } from "./structure_image.ts";

/** The images that a store was filled with before a replay: what they already hold is not replayed. */
export interface StoreImages {
  /** Last tick at which an image was made: later ticks are replayed whole. */
  readonly tickLast: number;
  /** Tick at which a page's image was made, `undefined` for a page without one. */
  tickOf(page: number): number | undefined;
  /** Whether a page was there when the first image was made and died before its own was. */
  isGone(page: number): boolean;
  /** Edges, bindings and marks as they are after `tickLast`. */
  readonly structure: StructureImage;
}

/** What is said where there is no room for a page, or where one that was spilled cannot be had back. */
export const ROOM_CODES: readonly MmsbErrorCode[] = [
  "allocation",
  "memory-pressure",
  "disk-full",
  "read-only",
  "io",
  "checksum",
];

/** What a tick does when its rows are applied. */
interface TickEnd {
  readonly changes: (() => void)[];
  readonly structure: TickStructure;
  readonly deaths: Set<number>;
}

/** Replays ticks into one store. */
export class Replayer {
  /** The store. */
  readonly store: PageStore;
  /** Rows applied so far. */
  rows = 0;
  readonly #decoder = new RowDecoder();
  readonly #images: StoreImages | undefined;
  readonly #order: EdgeOrder;

  /**
   * Replays into `store`.
   *
   * @param store The store.
   * @param images The images that it was filled with, if it is not empty.
   */
  constructor(store: PageStore, images?: StoreImages) {
    this.store = store;
    this.#images = images;
    this.#order = new EdgeOrder(store.edges);
    if (store.edges.size > 0) this.#order.place([...store.edges.edges()]);
  }

  /**
   * Applies one tick.
   *
   * @throws {MmsbError} `corrupt-log` where a row does not fit the pages; the store is then good for
   * nothing but to be looked at.
   */
  apply(tick: LogTick): void {
    const { store } = this;
    store.isMovable = !store.isSeen;
    if (store.ages !== undefined) store.ages.tick = tick.tick >>> 0;
    try {
      this.#tick(tick);
    } finally {
      store.isMovable = false;
    }
  }

  #tick(tick: LogTick): void {
    const end: TickEnd = { changes: [], structure: new TickStructure(), deaths: new Set() };
    const isOver = this.#images !== undefined && tick.tick <= this.#images.tickLast;
    const images = isOver ? this.#images : undefined;
    for (const lane of tick.lanes) {
      for (const frame of lane.frames) {
        if (frame.rowKind === ROW_KIND.structural || isRuleOrMark(frame)) {
          this.#structural(lane, frame, end, images);
        }
      }
    }
    // A page that gets its rule in this tick may have deltas of its own on another lane.
    for (const kind of [ROW_KIND.data, ROW_KIND.derived]) {
      for (const lane of tick.lanes) {
        for (const frame of lane.frames) {
          if (frame.rowKind === kind) this.#data(lane, frame, images);
        }
      }
    }
    const { store } = this;
    for (const change of end.changes) {
      change();
      // A page that gets another size is held.
      store.residency?.endTick();
    }
    if (images === undefined) end.structure.apply(store, this.#order, refuseAt);
    for (const page of end.deaths) store.remove(page);
    for (const lane of tick.lanes) {
      store.nextPageId = Math.max(store.nextPageId, lane.commit.nextPageId);
      store.nextRule = Math.max(store.nextRule, lane.commit.nextRule);
      // Counted as well; merged ticks, and ticks saved from damage, skip some.
      if (images === undefined) {
        store.graphVersion = Math.max(store.graphVersion, lane.commitFrame.graphVersion);
      }
    }
    if (images !== undefined && tick.tick === images.tickLast) {
      installStructure(store, images.structure);
      this.#order.place([...store.edges.edges()]);
    }
  }

  #data(lane: LaneTick, frame: FrameHeader, images: StoreImages | undefined): void {
    if (frame.rows === 0) return;
    const decoded = this.#decoder.decode(lane.segment, frame, false);
    const { columns, advance } = decoded;
    const rows = images === undefined
      ? decoded.rows
      : keepNewer(columns, decoded.rows, advance, frame.tick, images);
    const { store } = this;
    this.rows += rows;
    try {
      if (store.residency === undefined) this.#apply(decoded, rows);
      else this.#applyHeld(decoded, rows, store.residency);
    } catch (cause) {
      refuse(lane, frame, cause);
    }
  }

  #apply({ columns, advance, payloadEnd }: DecodedRows, rows: number): void {
    const { table, arena } = this.store;
    const input = { columns, rows, payloadLength: payloadEnd, strings: ANY_STRINGS };
    const shape = resolve(input, table);
    if (!raiseEpochsAs(columns, rows, table.epochs, advance)) {
      throw new MmsbError("corrupt-log", "the epochs in the log do not follow from its rows");
    }
    applyRows(columns, rows, shape, arena);
  }

  /** The same where pages may be spilled: as many rows at a time as there is room for their pages. */
  #applyHeld(decoded: DecodedRows, rows: number, residency: Residency): void {
    const { columns, advance } = decoded;
    try {
      for (let first = 0; first < rows;) {
        const end = residency.holdSome(columns.page, first, rows);
        for (let row = first; first > 0 && row < end; row++) {
          moveRow(columns, advance, row, row - first);
        }
        this.#apply(decoded, end - first);
        residency.endTick();
        first = end;
      }
    } finally {
      residency.endTick();
    }
  }

  #structural(
    lane: LaneTick,
    frame: FrameHeader,
    end: TickEnd,
    images: StoreImages | undefined,
  ): void {
    const decoded = this.#decoder.decode(lane.segment, frame);
    try {
      for (let row = 0; row < decoded.rows; row++) {
        if (frame.rowKind !== ROW_KIND.structural || isEdgeRow(decoded.columns.kind[row])) {
          if (images === undefined) end.structure.take({ lane, frame }, decoded, row);
          continue;
        }
        const page = decoded.columns.page[row] >>> 0;
        if (images !== undefined && isHeld(images, page, frame.tick)) continue;
        this.#structuralRow({ lane, frame }, decoded, row, end);
      }
    } catch (cause) {
      refuse(lane, frame, cause);
    }
  }

  #structuralRow(place: RowPlace, decoded: DecodedRows, row: number, end: TickEnd): void {
    const { store } = this;
    const page = decoded.columns.page[row] >>> 0, operation = decoded.columns.kind[row];
    const size = decoded.columns.offset[row] >>> 0, shard = decoded.shards?.[row] ?? 0;
    const tableRow = store.table.rowOf(page);
    const isNew = operation === STRUCTURAL.createPage;
    if (isNew ? tableRow !== 0 || page === 0 : tableRow === 0 || end.deaths.has(page)) {
      throw new MmsbError(
        "corrupt-log",
        `page ${page} ${isNew ? "is born twice" : "is not there"}`,
      );
    }
    const later = (change: () => void) => end.changes.push(change);
    if (isNew) {
      const birth = decodeBirth(payloadOf(place, decoded, row));
      store.table.setActive(store.create(page, { size, shard, ...birth }), true);
    } else if (operation === STRUCTURAL.deletePage) {
      end.deaths.add(page);
    } else if (operation === STRUCTURAL.setMetadata) {
      const metadata = decodeMetadata(payloadOf(place, decoded, row));
      later(() => store.setMetadata(page, metadata));
    } else if (operation === STRUCTURAL.resizePage) {
      if (size < PAGE_BYTES_MIN || size > PAGE_BYTES_MAX) {
        throw new MmsbError("corrupt-log", `page ${page} cannot have ${size} bytes`);
      }
      later(() => store.resize(page, size));
    } else if (operation === STRUCTURAL.migratePage) {
      later(() => store.migrate(page, shard));
    } else {
      throw new MmsbError("corrupt-log", `structural operation ${operation} is not known`);
    }
  }
}

/** Replays what ticks do to edges, rules and marks, for those who replay the rest themselves. */
export class StructureReplayer {
  readonly #store: PageStore;
  readonly #order: EdgeOrder;
  readonly #decoder = new RowDecoder();

  /** Replays into `store`. */
  constructor(store: PageStore) {
    this.#store = store;
    this.#order = new EdgeOrder(store.edges);
    if (store.edges.size > 0) this.#order.place([...store.edges.edges()]);
  }

  /**
   * Applies the edges, rules and marks of one tick, between its changes of pages and their deaths.
   *
   * @throws {MmsbError} `corrupt-log` where a row does not fit.
   */
  apply(tick: LogTick): void {
    const structure = new TickStructure();
    for (const lane of tick.lanes) {
      for (const frame of lane.frames) {
        const isStructural = frame.rowKind === ROW_KIND.structural;
        if (!isStructural && !isRuleOrMark(frame)) continue;
        const decoded = this.#decoder.decode(lane.segment, frame);
        for (let row = 0; row < decoded.rows; row++) {
          if (isStructural && !isEdgeRow(decoded.columns.kind[row])) continue;
          structure.take({ lane, frame }, decoded, row);
        }
      }
    }
    structure.apply(this.#store, this.#order, refuseAt);
  }
}

/** Whether the image of a page, or its absence, already holds what a tick did to it. */
function isHeld(images: StoreImages, page: number, tick: number): boolean {
  const imageTick = images.tickOf(page);
  return imageTick === undefined ? images.isGone(page) : imageTick >= tick;
}

/** Moves the rows that no image holds to the front, in order; gives their number. */
function keepNewer(
  columns: KernelColumns,
  rows: number,
  advance: Int32Array | undefined,
  tick: number,
  images: StoreImages,
): number {
  let kept = 0;
  for (let row = 0; row < rows; row++) {
    if (isHeld(images, columns.page[row] >>> 0, tick)) continue;
    if (kept !== row) moveRow(columns, advance, row, kept);
    kept++;
  }
  return kept;
}

function moveRow(
  columns: KernelColumns,
  advance: Int32Array | undefined,
  source: number,
  target: number,
): void {
  columns.page[target] = columns.page[source];
  columns.offset[target] = columns.offset[source];
  columns.length[target] = columns.length[source];
  columns.start[target] = columns.start[source];
  columns.kind[target] = columns.kind[source];
  columns.epoch[target] = columns.epoch[source];
  if (advance !== undefined) advance[target] = advance[source];
}

function refuseAt({ lane, frame }: RowPlace, cause: unknown): never {
  refuse(lane, frame, cause);
}

function refuse(lane: LaneTick, frame: FrameHeader, cause: unknown): never {
  // These say nothing of the log.
  if (cause instanceof MmsbError && ROOM_CODES.includes(cause.code)) throw cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new MmsbError(
    "corrupt-log",
    `Cannot replay tick ${frame.tick} from "${lane.path}", byte ${frame.at}: ${reason}`,
    { values: { tick: frame.tick, path: lane.path, offset: frame.at }, cause },
  );
}
