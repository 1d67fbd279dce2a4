/**
 * Explained values: what the fields of an explained page held when its tick was over.
 *
 * A delta has the words that changed and not the fields that they are part of, so the page itself is looked at: as it is
 * now where nothing came since, otherwise as the log makes it again. The schema is the one that is stored now, which
 * only ever gets more fields; of pages that are gone nothing is told.
 *
 * Cost: a copy of the page; where it has changed since, its rows up to that tick.
 */

import { EXPLAIN_NEAR_PAGES_MAX, isMmsbError } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import {
  decodeSchema,
  type Field,
  type ReadableArena,
  readValue,
  SCHEMA_KEY,
  zeroValue,
} from "../schema/mod.ts";
import type { ExplainedPage } from "./explanation.ts";
import type { Past } from "./past.ts";

type Valued = { -readonly [key in keyof ExplainedPage]: ExplainedPage[key] };

/** Fills in the values of the nearest pages that have a schema of a struct. */
export function addValues(
  pages: Iterable<ExplainedPage>,
  store: PageStore,
  past: Past | undefined,
): void {
  let left = EXPLAIN_NEAR_PAGES_MAX;
  for (const page of pages) {
    if (left-- === 0) return;
    const { id, epoch, tick } = page, row = store.table.rowOf(id);
    const schema = row === 0 ? undefined : store.metadataOf(id).get(SCHEMA_KEY);
    if (schema === undefined) continue;
    const { kind, fields } = decodeSchema(schema);
    const isAsThen = past === undefined || tick === undefined || store.table.epoch(row) === epoch;
    if (kind !== "struct" || !isAsThen && page.end === "horizon") continue;
    const bytes = epoch === 0
      ? new Uint8Array(0)
      : isAsThen
      ? liveBytes(store, row)
      : past.pageAt(id, { tick }).bytes;
    (page as Valued).value = valuesIn(bytes, fields);
  }
}

function liveBytes(store: PageStore, row: number): Uint8Array {
  const bytes = new Uint8Array(store.table.sizeOf(row));
  store.copyOut(row, 0, bytes, bytes.length);
  return bytes;
}

/** The fields of a struct's bytes; those that the page had no room for yet are zero. */
function valuesIn(bytes: Uint8Array, fields: readonly Field[]): Record<string, unknown> {
  const region = new Uint8Array(bytes.length + 15 & ~15);
  region.set(bytes);
  const arena: ReadableArena = {
    words: new Int32Array(region.buffer),
    doubles: new Float64Array(region.buffer),
    region: () => region,
  };
  return Object.fromEntries(fields.map((field) => {
    const isThere = field.offset + field.width <= bytes.length;
    return [field.name, isThere ? valueOf(field, arena) : zeroValue(field)];
  }));
}

/** Bytes that were written past the schema may be no text: that says nothing against the others. */
function valueOf(field: Field, arena: ReadableArena): unknown {
  try {
    return readValue(field, arena, 0, field.offset);
  } catch (error) {
    if (isMmsbError(error)) return undefined;
    throw error;
  }
}
