/**
 * Export base: the lines of one tick that stands for all that was dropped before a log's beginning, made
 * of the checkpoint that the log begins with.
 *
 * @module
 */

import { KIND_MASKED, KIND_SET } from "../physical/mod.ts";
import { bytesJson, type ExportLine, metadataJson } from "./export_line.ts";
import type { SalvageImages } from "./salvage_images.ts";

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
  let hlc = images.hlc - BigInt(rows.length + steps);
  const about = (row: number) => ({
    tick,
    ...(canonical ? {} : { hlc: String(hlc++) }),
    page: table.ids[row],
  });
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
  }
  if (canonical) return;
  const { nextPageId } = store;
  yield { type: "commit", tick, hlc: String(hlc), incarnation: images.incarnation, nextPageId };
}

/** The span of a page that is not zero; a mask without bits where all of it is. */
function bytesOf(view: Uint8Array) {
  const bytes = Uint8Array.from(view);
  const offset = bytes.findIndex((byte) => byte !== 0);
  if (offset < 0) return { offset: 0, length: 1, ...bytesJson(KIND_MASKED, 1, new Uint8Array(1)) };
  const span = bytes.subarray(offset, bytes.findLastIndex((byte) => byte !== 0) + 1);
  return { offset, length: span.length, ...bytesJson(KIND_SET, span.length, span) };
}
