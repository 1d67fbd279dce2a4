/**
 * Operations on whole pages: clone and restore as deltas of the bytes that differ.
 *
 * Both stage a page's way from the bytes that it has to the ones it is to have, in the smaller of two
 * forms: a row for each span, or one masked row. So a restore of a page that hardly changed costs the
 * log hardly anything, and both are in the page's history like any other write.
 *
 * Cost: a pass over both states at 8 bytes a step, and a copy of the bytes that differ.
 */

import { equalBytes, MmsbError } from "../base/mod.ts";
import {
  type DeltaBatch,
  type DeltaOptions,
  encodeMetadata,
  isMaskSmaller,
  KIND_MASKED,
  maskOfChanges,
  maskSpans,
  type Metadata,
  nextBit,
  packMasked,
  ROW_COST_BYTES,
  setBits,
} from "../physical/mod.ts";
import { continues, decodeSchema, SCHEMA_KEY } from "../schema/mod.ts";
import { checkBirth, stageBirth } from "./_births.ts";
import { deltaOptions } from "./_delta_options.ts";
import type { CloneOptions, Page, PageHost, WriteOptions } from "./page.ts";
import { PageSnapshot } from "./page_snapshot.ts";
import { atomically } from "./staging.ts";

/** Stages the birth of a page and the writes that make it hold the bytes of another one. */
export function clonePage(
  host: PageHost,
  metadata: Map<string, Uint8Array>,
  bytes: Uint8Array,
  options: CloneOptions,
): Page {
  refuseTable("clone", metadata);
  const { name, shard, source, intent } = options;
  const checked = checkBirth(host, { name, shard, metadata: options.metadata });
  const schema = metadata.get(SCHEMA_KEY);
  const given = checked.metadata === undefined ? metadata : new Map(checked.metadata);
  if (schema !== undefined) given.set(SCHEMA_KEY, schema);
  return atomically(host, () => {
    const { batch } = host.staging;
    const page = stageBirth(host, bytes.length, { ...checked, metadata: given });
    const mask = maskOfChanges(new Uint8Array(bytes.length), bytes);
    stageBytes(batch, page.id, mask, bytes, deltaOptions(batch, { source, intent }));
    return page;
  });
}

/** Stages what makes a page hold the bytes and the metadata of a snapshot. */
export function restorePage(
  host: PageHost,
  page: Page,
  live: Uint8Array,
  snapshot: PageSnapshot,
  options: WriteOptions,
): void {
  if (!(snapshot instanceof PageSnapshot)) {
    throw new MmsbError("usage", "Cannot restore a page: give a snapshot from page.snapshot()");
  }
  if (snapshot.size !== live.length) {
    throw new MmsbError(
      "out-of-bounds",
      `Cannot restore page ${page.id} of ${live.length} bytes from a snapshot of ${snapshot.size}: resize it and tick first`,
      { values: { page: page.id, size: live.length, snapshotSize: snapshot.size } },
    );
  }
  const { staging, store } = host;
  const current = staging.metadataOf(page.id) ?? store.metadataOf(page.id);
  const metadata = metadataToRestore(page.id, current, snapshot.metadata);
  const bytes = snapshot.bytes, mask = maskOfChanges(live, bytes);
  markStaged(staging.batch, page.id, mask);
  atomically(host, () => {
    stageBytes(staging.batch, page.id, mask, bytes, deltaOptions(staging.batch, options));
    if (!equalBytes(encodeMetadata(current), encodeMetadata(metadata))) {
      staging.setMetadata(page.id, metadata);
    }
  });
}

/** The metadata of a snapshot with the schema that the page has, which may have grown since. */
function metadataToRestore(
  page: number,
  current: Metadata,
  given: Map<string, Uint8Array>,
): Map<string, Uint8Array> {
  refuseTable("restore", current);
  refuseTable("restore", given);
  const schema = current.get(SCHEMA_KEY), older = given.get(SCHEMA_KEY);
  if (schema === undefined) return given;
  if (older === undefined || !continues(decodeSchema(older), decodeSchema(schema))) {
    throw new MmsbError(
      "usage",
      `Cannot restore page ${page} from this snapshot as its fields are others: give one of the same struct`,
      { values: { page } },
    );
  }
  return given.set(SCHEMA_KEY, schema);
}

/** Refuses what would tear a table apart, whose rows are in other pages than its root. */
export function refuseTable(what: string, metadata: Metadata): void {
  const schema = metadata.get(SCHEMA_KEY);
  if (schema === undefined || decodeSchema(schema).kind !== "table") return;
  throw new MmsbError(
    "usage",
    `Cannot ${what} the root page of a table by itself: use append, set and delete of its Table`,
  );
}

/** Adds the bytes that rows staged earlier change: what they leave there is not known. */
function markStaged(batch: DeltaBatch, page: number, mask: Uint8Array): void {
  const { columns, payload } = batch;
  for (const row of batch.rowsOf(page)) {
    const offset = columns.offset[row], length = columns.length[row];
    if (columns.kind[row] !== KIND_MASKED) {
      setBits(mask, offset, length);
      continue;
    }
    const start = columns.payloadStart[row], bits = payload.subarray(start, start + length);
    for (let bit = nextBit(bits, length, 0, 1); bit < length; bit = nextBit(bits, length, bit, 1)) {
      setBits(mask, offset + bit++, 1);
    }
  }
}

/** Stages the bytes that a mask names. */
function stageBytes(
  batch: DeltaBatch,
  page: number,
  mask: Uint8Array,
  bytes: Uint8Array,
  options: DeltaOptions | number,
): void {
  const spans = maskSpans(mask, bytes.length, ROW_COST_BYTES);
  if (spans.length === 0) return;
  if (!isMaskSmaller(spans)) {
    for (const { offset, length } of spans) {
      batch.push(page, offset, bytes.subarray(offset, offset + length), options);
    }
    return;
  }
  // A mask is cut at whole bytes, so that it need not be shifted.
  const last = spans[spans.length - 1];
  const first = spans[0].offset & ~7, end = last.offset + last.length;
  const some = mask.slice(first >>> 3, end + 7 >>> 3), span = bytes.subarray(first, end);
  batch.pushMasked(page, first, end - first, some, packMasked(span, some), options);
}
