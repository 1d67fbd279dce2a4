/**
 * The obvious provenance: the whole log is read into a list of every page's deltas, and a question is
 * answered by looking through the lists. The oracle of the provenance that is found by index.
 *
 * @module
 */

import {
  decodeBinding,
  decodeBirth,
  type DirectoryMeta,
  LogReader,
  ROW_KIND,
  RowDecoder,
  RULE_ROW,
  type Storage,
  STRUCTURAL,
} from "../log/mod.ts";
import { kindName } from "../physical/mod.ts";
import { combine, type CombineOp, type CombineType } from "./combine.ts";

/** One delta. */
export interface ScannedRow {
  /** Tick. */
  readonly tick: number;
  /** Epoch after it. */
  readonly epoch: number;
  /** What it did. */
  readonly kind: string;
  /** Source. */
  readonly source: string;
  /** Intent. */
  readonly intent: string;
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** Bytes before. */
  readonly before: Uint8Array;
  /** Bytes after. */
  readonly after: Uint8Array;
  /** Whether a rule made it. */
  readonly isDerived: boolean;
  /** Number of that rule. */
  readonly rule: number;
  /** Graph version of its frame. */
  readonly graphVersion: number;
}

/** All that is known of a page. */
export interface ScannedPage {
  /** Name. */
  readonly name: string;
  /** Tick of its birth. */
  readonly born: number;
  /** Tick of its death, `Infinity` while it lives. */
  died: number;
  /** Its bytes. */
  bytes: Uint8Array;
  /** Its deltas. */
  readonly rows: ScannedRow[];
}

/** A binding. */
export interface ScannedRule {
  /** Name. */
  readonly name: string;
  /** Version. */
  readonly version: number;
  /** Pages that it reads. */
  readonly inputs: readonly number[];
}

/** A page of an answer; `parents` are keys of others. */
export interface ScannedNode {
  /** Page. */
  readonly id: number;
  /** Tick that last changed it, 0 for none. */
  readonly tick: number;
  /** Epoch then. */
  readonly epoch: number;
  /** Name. */
  readonly name: string;
  /** Steps from the root. */
  readonly depth: number;
  /** Rule, of a derived page. */
  readonly rule: (ScannedRule & { readonly number: number }) | undefined;
  /** Graph version, of a derived page. */
  readonly graphVersion: number | undefined;
  /** Deltas: the newest first; of a derived page those of its tick. */
  readonly deltas: readonly ScannedRow[];
  /** Pages that it was made from. */
  readonly parents: readonly string[];
}

/** All pages and rules of one log. */
export class ScannedLog {
  /** Pages, by id. */
  readonly pages = new Map<number, ScannedPage>();
  /** Rules that were ever bound, by number. */
  readonly rules = new Map<number, ScannedRule>();

  /** Reads a log that has its beginning. */
  constructor(storage: Storage, meta: DirectoryMeta | undefined) {
    const reader = new LogReader(storage, meta), decoder = new RowDecoder();
    for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
      const ends: (() => void)[] = [];
      for (const { frames, segment } of tick.lanes) {
        for (const frame of frames) {
          const { rowKind, graphVersion } = frame;
          if (rowKind === ROW_KIND.mark || rowKind === ROW_KIND.commit) continue;
          const { columns, rows, strings, rules } = decoder.decode(segment, frame);
          for (let row = 0; row < rows; row++) {
            const page = columns.page[row] >>> 0, offset = columns.offset[row] >>> 0;
            const length = columns.length[row] >>> 0, start = columns.start[row];
            const kind = columns.kind[row], { bytes } = segment;
            if (rowKind === ROW_KIND.structural) {
              const payload = bytes.subarray(start, start + length);
              this.#live(tick.tick, page, kind, offset, payload, ends);
            } else if (rowKind === ROW_KIND.rule) {
              if (kind !== RULE_ROW.bind) continue;
              this.rules.set(offset, decodeBinding(bytes.slice(start, start + length)));
            } else {
              const known = this.pages.get(page)!;
              const before = known.bytes.slice(offset, offset + length);
              change(known.bytes, kindName(kind), offset, length, bytes, start);
              known.rows.push({
                tick: tick.tick,
                epoch: known.rows.length + 1,
                kind: kindName(kind),
                source: strings[columns.source[row]] ?? "",
                intent: strings[columns.intent[row]] ?? "",
                offset,
                length,
                before,
                after: known.bytes.slice(offset, offset + length),
                isDerived: rowKind === ROW_KIND.derived,
                rule: rules?.[row] ?? 0,
                graphVersion,
              });
            }
          }
        }
      }
      for (const end of ends) end();
    }
  }

  #live(
    tick: number,
    page: number,
    operation: number,
    size: number,
    payload: Uint8Array,
    ends: (() => void)[],
  ): void {
    if (operation === STRUCTURAL.createPage) {
      const { name } = decodeBirth(payload), bytes = new Uint8Array(size);
      this.pages.set(page, { name, born: tick, died: Infinity, bytes, rows: [] });
    } else if (operation === STRUCTURAL.deletePage) {
      ends.push(() => this.pages.get(page)!.died = tick);
    } else if (operation === STRUCTURAL.resizePage) {
      ends.push(() => {
        const bytes = new Uint8Array(size), known = this.pages.get(page)!;
        bytes.set(known.bytes.subarray(0, size));
        known.bytes = bytes;
      });
    }
  }

  /** The pages behind one page, by "id at tick", the nearest first. */
  explain(root: number, asOf: number, depthMax: number): Map<string, ScannedNode> {
    const found = new Map<string, ScannedNode>();
    const open = [{ id: root, asOf, depth: 0 }];
    for (const { id, asOf, depth } of open) {
      const page = this.pages.get(id)!, rows = page.rows.filter(({ tick }) => tick <= asOf);
      const last = rows.at(-1), key = `${id} at ${last?.tick ?? 0}`;
      if (found.has(key)) continue;
      const rule = last?.isDerived ? this.rules.get(last.rule) : undefined;
      const inputs = [...new Set(rule?.inputs ?? [])].filter((input) => input !== id);
      const isCut = depth === depthMax;
      const shown = last?.isDerived
        ? rows.filter(({ tick, isDerived }) => tick === last.tick && isDerived)
        : rows;
      found.set(key, {
        id,
        tick: last?.tick ?? 0,
        epoch: last?.epoch ?? 0,
        name: page.name,
        depth,
        rule: rule && { ...rule, number: last!.rule },
        graphVersion: last?.isDerived ? last.graphVersion : undefined,
        deltas: shown.toReversed(),
        parents: isCut ? [] : inputs.map((input) => this.#keyOf(input, last!.tick)),
      });
      if (isCut) continue;
      for (const input of inputs) open.push({ id: input, asOf: last!.tick, depth: depth + 1 });
    }
    return found;
  }

  #keyOf(id: number, asOf: number): string {
    const tick = this.pages.get(id)!.rows.findLast(({ tick }) => tick <= asOf)?.tick ?? 0;
    return `${id} at ${tick}`;
  }
}

/** Applies a delta byte by byte. */
function change(
  target: Uint8Array,
  kind: string,
  offset: number,
  length: number,
  payload: Uint8Array,
  start: number,
): void {
  if (kind === "set") {
    for (let i = 0; i < length; i++) target[offset + i] = payload[start + i];
    return;
  }
  if (kind === "masked") {
    let next = start + Math.ceil(length / 8);
    for (let i = 0; i < length; i++) {
      if (payload[start + (i >> 3)] >> (i & 7) & 1) target[offset + i] = payload[next++];
    }
    return;
  }
  const [op, type] = kind.split(" ") as [CombineOp, CombineType];
  const width = type === "f64" ? 8 : 4;
  for (let i = 0; i < length; i += width) {
    const view = new DataView(payload.buffer, payload.byteOffset + start + i, width);
    const value = { i32: () => view.getInt32(0, true), u32: () => view.getUint32(0, true) };
    const float = { f32: () => view.getFloat32(0, true), f64: () => view.getFloat64(0, true) };
    const number = { ...value, ...float }[type]();
    const after = combine(type, op, target.slice(offset + i, offset + i + width), number);
    target.set(after, offset + i);
  }
}
