/**
 * Explained lives: what an explanation has to know of pages beside their deltas: names, epochs in full,
 * and which pages a table has. Pages that are there answer by themselves; of others the log is asked.
 *
 * Cost: lookups; of a page that is gone its oldest rows are read, once an explanation.
 */

import { MmsbError } from "../base/mod.ts";
import { decodeBirth, type FrameRows, type LogIndex, SECTION, STRUCTURAL } from "../log/mod.ts";
import { EDGE, type PageStore } from "../physical/mod.ts";
import {
  directoriesFor,
  directoryOf,
  directoryStart,
  ENTRY_BYTES,
  ROOT_BYTES,
  ROOT_DIRECTORIES,
  ROOT_ENTRIES,
  ROOT_SELF,
  SCHEMA_KEY,
} from "../schema/mod.ts";
import { pageSteps } from "./page_past.ts";
import type { Past } from "./past.ts";
import { isDelta, type PlacedRow, readRows, RowFinder } from "./_explain_rows.ts";

/** Second byte of a table's schema. */
const TABLE_FORM = 2;

/** What is known of a page's birth. */
interface Birth {
  readonly name: string;
  readonly isTable: boolean;
  /** Whether its birth is in the log, and so all of its life. */
  readonly isLogged: boolean;
}

/** Lives of pages as one explanation needs them. */
export class Lives {
  readonly #past: Past;
  readonly #getIndex: () => LogIndex;
  /** The pages of the bus's tick; of an attached bus none, as they change. */
  readonly #store: PageStore | undefined;
  readonly #births = new Map<number, Birth>();
  readonly #tables = new Map<number, { tick: number; pages: readonly number[] | undefined }>();

  /** Of the pages of one log, whose index is asked for where it is needed. */
  constructor(past: Past, index: () => LogIndex, store: PageStore | undefined) {
    this.#past = past;
    this.#getIndex = index;
    this.#store = store;
  }

  get #index(): LogIndex {
    return this.#getIndex();
  }

  /** Whether a page is there now. */
  isThere(page: number): boolean {
    return this.#rowOf(page) !== 0;
  }

  /**
   * Throws where a page was not there after a tick, or had less than `size` bytes.
   *
   * @throws {MmsbError} `invalid-handle`, `out-of-bounds`.
   */
  checkThere(page: number, tick: number, size: number): void {
    if (new RowFinder(this.#index, tick).rows(page).newest === undefined || !this.isThere(page)) {
      const operations = this.#operations(page, tick);
      const isBorn = operations.includes(STRUCTURAL.createPage) ||
        this.#index.tickBase > 0 && this.#past.stateAtHorizon().table.rowOf(page) !== 0;
      if (!isBorn || operations.includes(STRUCTURAL.deletePage)) {
        const why = isBorn ? "it was deleted" : "it was not there yet, or never was";
        throw new MmsbError(
          "invalid-handle",
          `Cannot explain page ${page} as of tick ${tick}: ${why}`,
          { values: { page, tick } },
        );
      }
    }
    if (size === 0) return;
    const { length } = this.#past.pageAt(page, { tick }).bytes;
    if (size <= length) return;
    throw new MmsbError(
      "out-of-bounds",
      `Cannot explain bytes up to ${size} of page ${page}: it has ${length} bytes`,
      { values: { page, tick, size: length } },
    );
  }

  /** Its name. */
  nameOf(page: number): string {
    return this.isThere(page) ? this.#store!.nameOf(page) : this.#birthOf(page).name;
  }

  /** Whether its life begins in the log. */
  isLogged(page: number): boolean {
    return this.#index.tickBase === 0 || this.#birthOf(page).isLogged;
  }

  /** Its epoch after a row. */
  epochAfter(page: number, rows: FrameRows, row: number): number {
    if (!rows.frame.sections.has(SECTION.epoch)) {
      return this.#past.pageAt(page, { tick: rows.frame.tick }).epoch;
    }
    const low = rows.epoch(row), at = this.#rowOf(page);
    const known = at === 0 ? 0 : this.#store!.table.epoch(at);
    // Frames have the low half. Of a page that is gone it is all, if it had fewer than 2^32 deltas.
    if (known < 2 ** 32) return low;
    return known - (known % 2 ** 32 - low + 2 ** 32) % 2 ** 32;
  }

  /** Its epoch where the log has no delta of it up to a tick. */
  epochBefore(page: number, tick: number): number {
    if (this.isLogged(page)) return 0;
    const store = this.#past.stateAtHorizon(), row = store.table.rowOf(page);
    return row === 0 || tick < this.#past.horizon ? 0 : store.table.epoch(row);
  }

  /** The bindings at the horizon, where the log does not tell of earlier ones. */
  get bindingsBefore(): PageStore["bindings"] | undefined {
    return this.#index.tickBase === 0 ? undefined : this.#past.stateAtHorizon().bindings;
  }

  /** The bindings now. */
  get bindings(): PageStore["bindings"] | undefined {
    return this.#store?.bindings;
  }

  /**
   * All pages of a table, its root first; `undefined` of a page that is no table.
   *
   * @param tick A tick at which it was there.
   */
  pagesOfTable(root: number, tick: number): readonly number[] | undefined {
    // A table only grows; pages that came later have no earlier rows.
    const known = this.#tables.get(root);
    if (known !== undefined && (known.tick >= tick || this.isThere(root))) return known.pages;
    const pages = this.#pagesOfTable(root, tick);
    this.#tables.set(root, { tick, pages });
    return pages;
  }

  #pagesOfTable(root: number, tick: number): readonly number[] | undefined {
    const isTable = this.isThere(root)
      ? this.#store!.metadataOf(root).get(SCHEMA_KEY)?.[1] === TABLE_FORM
      : this.#birthOf(root).isTable;
    if (!isTable) return undefined;
    const head = this.#bytesOf(root, tick);
    if (head.byteLength < ROOT_BYTES || head.getUint32(ROOT_SELF, true) !== root) return undefined;
    const pages = [root], directories: DataView[] = [];
    const entries = head.getUint32(ROOT_ENTRIES, true);
    for (let at = 0; at < directoriesFor(entries); at++) {
      const page = head.getUint32(ROOT_DIRECTORIES + 4 * at, true);
      pages.push(page);
      directories.push(this.#bytesOf(page, tick));
    }
    for (let entry = 0; entry < entries; entry++) {
      const at = directoryOf(entry);
      const offset = (entry - directoryStart(at)) * ENTRY_BYTES;
      pages.push(directories[at].getUint32(offset + 8, true));
    }
    return pages;
  }

  #bytesOf(page: number, tick: number): DataView {
    const row = this.#rowOf(page);
    const bytes = row === 0
      ? this.#past.pageAt(page, { tick }).bytes
      : new Uint8Array(this.#store!.table.sizeOf(row));
    if (row !== 0) this.#store!.copyOut(row, 0, bytes, bytes.length);
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Sources of the data edges into a page in a tick, by id. */
  dataSources(page: number, tick: number): number[] {
    const sources = new Set<number>();
    if (!this.isLogged(page)) {
      const { edges, table } = this.#past.stateAtHorizon(), row = table.rowOf(page);
      for (let edge = row === 0 ? 0 : edges.firstIn(row); edge !== 0; edge = edges.nextIn(edge)) {
        if (edges.type(edge) === EDGE.data) sources.add(table.ids[edges.from(edge)]);
      }
    }
    const changes: { tick: number; adds: boolean; source: number }[] = [];
    readRows(this.#index, this.#structure(page, tick), ({ place }, rows) => {
      const operation = rows.kind(place.row), adds = operation === STRUCTURAL.addEdge;
      if (!adds && operation !== STRUCTURAL.removeEdge) return;
      if (rows.shard(place.row) !== EDGE.data) return;
      changes.push({ tick: place.tick, adds, source: rows.offset(place.row) });
    });
    // In a tick what is taken away goes first.
    changes.sort((a, b) => a.tick - b.tick || Number(a.adds) - Number(b.adds));
    for (const { adds, source } of changes) {
      if (adds) sources.add(source);
      else sources.delete(source);
    }
    return [...sources].filter((source) => !this.#isDead(source, tick)).sort((a, b) => a - b);
  }

  /** Whether a page was gone after a tick; its edges go with it. */
  #isDead(page: number, tick: number): boolean {
    return !this.isThere(page) && this.#operations(page, tick).includes(STRUCTURAL.deletePage);
  }

  /** What was done to a page's life up to a tick. */
  #operations(page: number, tick: number): number[] {
    const operations: number[] = [];
    readRows(this.#index, this.#structure(page, tick), ({ place }, rows) => {
      operations.push(rows.kind(place.row));
    });
    return operations;
  }

  #structure(page: number, tick: number): PlacedRow[] {
    const places: PlacedRow[] = [], rows = new RowFinder(this.#index, tick).rows(page);
    for (let at = 0, place = rows.at(0); place !== undefined; place = rows.at(++at)) {
      if (!isDelta(place)) places.push({ place });
    }
    return places;
  }

  #rowOf(page: number): number {
    return this.#store?.table.rowOf(page) ?? 0;
  }

  #birthOf(page: number): Birth {
    let birth = this.#births.get(page);
    if (birth === undefined) this.#births.set(page, birth = this.#readBirth(page));
    return birth;
  }

  #readBirth(page: number): Birth {
    const step = pageSteps(this.#index, page, this.#index.tickBase + 1, Infinity).next().value;
    if (step?.isStructural && step.rows.kind(step.row) === STRUCTURAL.createPage) {
      const start = step.rows.start(step.row), end = start + step.rows.length(step.row);
      const { name, metadata } = decodeBirth(step.rows.bytes.subarray(start, end));
      return { name, isTable: metadata.get(SCHEMA_KEY)?.[1] === TABLE_FORM, isLogged: true };
    }
    if (this.#index.tickBase === 0) return { name: "", isTable: false, isLogged: false };
    const store = this.#past.stateAtHorizon();
    if (store.table.rowOf(page) === 0) return { name: "", isTable: false, isLogged: false };
    return {
      name: store.nameOf(page),
      isTable: store.metadataOf(page).get(SCHEMA_KEY)?.[1] === TABLE_FORM,
      isLogged: false,
    };
  }
}
