/**
 * Salvage structure: which edges, rules and marks of a damaged log can be kept.
 *
 * What does not fit any more, because a page or what stood before it is lost, is left out and named.
 *
 * @module
 */

import type { PageStore } from "../physical/mod.ts";
import { type StructureChange, StructureLedger, structureLogRow } from "./_structure_ledger.ts";
import { ROW_KIND } from "./format.ts";
import type { FrameHeader } from "./frame_reader.ts";
import type { LogRow } from "./import_columns.ts";

/** Losses that are named one by one. */
const NAMED_MAX = 1000;
/** Rows of one frame. */
const FRAME_ROWS_MAX = 8192;

/** Rows of one frame. */
export interface StructureFrame {
  /** Row kind. */
  readonly rowKind: number;
  /** The rows. */
  readonly rows: readonly LogRow[];
}

/** Edges, rules and marks of a log that is being salvaged. */
export class SalvageStructure {
  /** Rows that could not be kept. */
  lost = 0;
  readonly #ledger: StructureLedger;
  readonly #notes: string[];
  /** Rules that were bound when the tick began, where it changes that. */
  #before: ReadonlySet<number> = new Set();

  /**
   * Begins with nothing.
   *
   * @param lives Whether a page is there.
   * @param notes Where losses are named.
   */
  constructor(lives: (page: number) => boolean, notes: string[]) {
    this.#ledger = new StructureLedger(lives);
    this.#notes = notes;
  }

  /** Takes the rows of a tick; gives those of each frame that are kept, in order. */
  take(
    tick: number,
    rows: readonly { readonly frame: FrameHeader; readonly change: StructureChange }[],
  ): ReadonlyMap<FrameHeader, readonly LogRow[]> {
    const kept = new Set(this.#apply(tick, rows.map(({ change }) => change)));
    const frames = new Map<FrameHeader, LogRow[]>();
    for (const { frame, change } of rows) {
      if (!kept.has(change)) continue;
      const known = frames.get(frame);
      if (known === undefined) frames.set(frame, [structureLogRow(change)]);
      else known.push(structureLogRow(change));
    }
    return frames;
  }

  /** Takes rows that stand for lost ticks; gives the frames to be written. */
  frames(tick: number, changes: readonly StructureChange[]): StructureFrame[] {
    const kept = this.#apply(tick, changes), frames: StructureFrame[] = [];
    for (const rowKind of [ROW_KIND.structural, ROW_KIND.rule, ROW_KIND.mark]) {
      const rows = kept.filter((change) => change.rowKind === rowKind).map(structureLogRow);
      for (let first = 0; first < rows.length; first += FRAME_ROWS_MAX) {
        frames.push({ rowKind, rows: rows.slice(first, first + FRAME_ROWS_MAX) });
      }
    }
    return frames;
  }

  /** The frames that lead to the structure of a store. */
  framesTo(tick: number, store: PageStore): StructureFrame[] {
    return this.frames(tick, this.#ledger.rowsTo(store));
  }

  /** Takes the death of a page. */
  removePage(page: number): void {
    this.#ledger.removePage(page);
  }

  /** Whether rows of the tick at hand may be of a rule. */
  isBound(number: number): boolean {
    return this.#before.has(number) || this.#ledger.mayBeBound(number);
  }

  #apply(tick: number, changes: readonly StructureChange[]): StructureChange[] {
    const isRule = changes.some(({ rowKind }) => rowKind === ROW_KIND.rule);
    this.#before = isRule ? new Set(this.#ledger.numbers()) : new Set();
    return this.#ledger.apply(changes, (_, message) => {
      if (++this.lost <= NAMED_MAX) this.#notes.push(`tick ${tick}: ${message}: it is left out`);
    });
  }
}
