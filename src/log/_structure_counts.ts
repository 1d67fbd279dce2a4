/**
 * Structure counts: how many edges, rules and marks a log leads to, for those who sum it up.
 */

import { EDGE_TYPES, type EdgeType, MARK_NAMES, type MarkName } from "../physical/mod.ts";
import {
  mayHaveStructure,
  type StructureChange,
  structureChanges,
  StructureLedger,
} from "./_structure_ledger.ts";
import { ROW_KIND } from "./format.ts";
import type { DecodedRows, FrameHeader } from "./frame_reader.ts";
import type { LaneTick } from "./lane_reader.ts";
import type { StructureImage } from "./structure_image.ts";
import { bindRow, edgeRow, markRow, type StructureRow } from "./structure_rows.ts";

/** What is counted; nothing stands for none. */
export interface StructureSummary {
  /** Edges by type. */
  readonly edges?: Partial<Record<EdgeType, number>>;
  /** Rules by number. */
  readonly rules?: readonly { number: number; name: string; deltas: number }[];
  /** Marked pages by mark. */
  readonly marks?: Partial<Record<MarkName, number>>;
}

/** Counts edges, rules and marks. */
export class StructureCounts {
  readonly #ledger: StructureLedger;
  readonly #deltas = new Map<number, number>();
  #changes: StructureChange[] = [];
  /** Up to this tick, what the log says is in the image that the counting began with. */
  #begin = 0;
  #image: StructureImage | undefined;
  #tick = 0;

  /** @param lives Whether a page is there. */
  constructor(lives: (page: number) => boolean) {
    this.#ledger = new StructureLedger(lives);
  }

  /** Begins with the structure that a checkpoint has after a tick. */
  begin(tick: number, image: StructureImage): void {
    this.#begin = tick;
    this.#image = image;
  }

  /** Takes a frame of the tick at hand. */
  take(lane: LaneTick, frame: FrameHeader, decoded: DecodedRows): void {
    this.#tick = frame.tick;
    if (frame.rowKind === ROW_KIND.derived) {
      for (const rule of decoded.rules ?? []) {
        this.#deltas.set(rule >>> 0, (this.#deltas.get(rule >>> 0) ?? 0) + 1);
      }
    } else if (mayHaveStructure(frame) && frame.tick > this.#begin) {
      for (const change of structureChanges(lane.segment, frame, decoded)) {
        this.#changes.push(change);
      }
    }
  }

  /** Ends a tick: what does not fit is not counted. */
  endTick(deaths: readonly number[]): void {
    if (this.#tick > this.#begin) this.#install();
    if (this.#changes.length > 0) this.#ledger.apply(this.#changes, () => {});
    for (const page of deaths) this.#ledger.removePage(page);
    this.#changes = [];
  }

  /** The counts. */
  summary(): StructureSummary {
    this.#install();
    const { edges, bindings, marks } = this.#ledger.contents();
    const rules = bindings.map(({ number, name }) => {
      return { number, name, deltas: this.#deltas.get(number) ?? 0 };
    });
    return {
      ...(edges.length === 0 ? {} : { edges: counts(edges, EDGE_TYPES) }),
      ...(rules.length === 0 ? {} : { rules }),
      ...(marks.length === 0 ? {} : { marks: counts(marks, MARK_NAMES as MarkName[]) }),
    };
  }

  #install(): void {
    const image = this.#image;
    if (image === undefined) return;
    this.#image = undefined;
    const rows: [number, StructureRow][] = [
      ...Array.from(image.sources, (source, i): [number, StructureRow] => [
        ROW_KIND.structural,
        edgeRow(source, image.targets[i], image.types[i], true),
      ]),
      ...image.bindings.map((binding): [number, StructureRow] => [ROW_KIND.rule, bindRow(binding)]),
      ...image.marks.map(({ page, mark }): [number, StructureRow] => [
        ROW_KIND.mark,
        markRow(page, mark, true),
      ]),
    ];
    const changes = rows.map(([rowKind, { page, operation, size, shard, payload }]) => {
      return { rowKind, page, operation, value: size, type: shard, payload };
    });
    this.#ledger.apply(changes, () => {});
  }
}

/** How often each name stands, in the order of the names. */
function counts<T extends string>(
  numbers: readonly number[],
  names: readonly T[],
): Partial<Record<T, number>> {
  const found: Partial<Record<T, number>> = {};
  names.forEach((name, number) => {
    const count = numbers.filter((one) => one === number).length;
    if (count > 0) found[name] = count;
  });
  return found;
}
