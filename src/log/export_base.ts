/**
 * Export base: the lines of one tick that stands for all that was dropped before a log's beginning, made
 * of the checkpoint that the log begins with.
 *
 * @module
 */

import { EDGE_TYPES, KIND_MASKED, KIND_SET, MARK_NAMES, type PageStore } from "../physical/mod.ts";
import { decodeBinding } from "./binding.ts";
import {
  bytesJson,
  type EdgeLine,
  type ExportLine,
  type MarkLine,
  metadataJson,
  type RuleLine,
} from "./export_line.ts";
import type { SalvageImages } from "./salvage_images.ts";
import { edgesOf } from "./structure_image.ts";

/** Most rows that one row can stand for. */
const ADVANCE_MAX = 2 ** 32 - 1;

/** Births of all pages, and the rows that bring them to their bytes and epochs. */
export function* baseLines(images: SalvageImages, canonical: boolean): Generator<ExportLine> {
  const { store, tick } = images;
  const { table } = store;
  const rows = [...table.rows()].sort((a, b) => {
    const byShard = canonical ? table.shards[a] - table.shards[b] : 0;
    return byShard || table.ids[a] - table.ids[b];
  });
  const groups = canonical ? [...Map.groupBy(rows, (row) => table.shards[row]).values()] : [rows];
  const steps = rows.reduce((sum, row) => sum + Math.ceil(table.epoch(row) / ADVANCE_MAX), 0);
  const structure = structureLines(store);
  let hlc = images.hlc - BigInt(rows.length + steps + structure.length);
  const aboutPage = (page: number) => ({
    tick,
    ...(canonical ? {} : { hlc: String(hlc++) }),
    page,
  });
  const about = (row: number) => aboutPage(table.ids[row]);
  for (const group of groups) {
    for (const row of group) {
      const page = table.ids[row];
      const name = store.nameOf(page), metadata = store.metadataOf(page);
      yield {
        type: "birth",
        ...about(row),
        shard: table.shards[row],
        size: table.sizeOf(row),
        ...(name === "" ? {} : { name }),
        ...(metadata.size === 0 ? {} : { metadata: metadataJson(metadata) }),
      };
    }
    for (const row of group) {
      for (let epoch = 0; epoch < table.epoch(row);) {
        const advance = Math.min(ADVANCE_MAX, table.epoch(row) - epoch);
        epoch += advance;
        yield {
          type: "delta",
          ...about(row),
          producer: 0,
          ...(canonical ? {} : { sequence: 1 }),
          epoch,
          ...bytesOf(store.view(row)),
          ...(advance === 1 ? {} : { advance }),
        };
      }
    }
    const shard = canonical ? table.shards[group[0]] : undefined;
    for (const { page, ...line } of structure) {
      if (shard !== undefined && table.shards[table.rowOf(page)] !== shard) continue;
      yield { ...line, ...aboutPage(page) } as ExportLine;
    }
  }
  if (canonical) return;
  const { nextPageId, nextRule, graphVersion } = store;
  yield {
    type: "commit",
    tick,
    hlc: String(hlc),
    incarnation: images.incarnation,
    nextPageId,
    ...(nextRule === 1 ? {} : { nextRule }),
    ...(graphVersion === 0 ? {} : { graphVersion }),
  };
}

type StructureLine = EdgeLine | RuleLine | MarkLine;

/** The lines of edges, rules and marks, by page; without the tick and time. */
function structureLines(store: PageStore): Omit<StructureLine, "tick" | "hlc">[] {
  const edges = edgesOf(store).map(({ source, target, type }) => ({
    type: "edge" as const,
    page: target,
    from: source,
    edge: EDGE_TYPES[type],
    change: "add" as const,
  }));
  const rules = store.bindings.list().map(({ page, number, payload }) => ({
    type: "bind" as const,
    page,
    rule: number,
    binding: decodeBinding(payload),
  }));
  const marks = store.marks.list().map(({ page, mark }) => ({
    type: "mark" as const,
    page,
    mark: MARK_NAMES[mark],
    set: true,
  }));
  return [...edges, ...rules, ...marks].sort((a, b) => a.page - b.page);
}

/** The span of a page that is not zero; a mask without bits where all of it is. */
function bytesOf(view: Uint8Array) {
  const bytes = Uint8Array.from(view);
  const offset = bytes.findIndex((byte) => byte !== 0);
  if (offset < 0) return { offset: 0, length: 1, ...bytesJson(KIND_MASKED, 1, new Uint8Array(1)) };
  const span = bytes.subarray(offset, bytes.findLastIndex((byte) => byte !== 0) + 1);
  return { offset, length: span.length, ...bytesJson(KIND_SET, span.length, span) };
}
