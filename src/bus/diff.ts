/**
 * Diff: what leads from one state to another, page by page and span by span.
 *
 * A generator, because two states can differ in gigabytes: it holds one span at a time. Pages come in
 * order of id. Spans that differ are joined over gaps of a few equal bytes, so that a number of which
 * three bytes changed is one span, and cut where they get long.
 *
 * Cost: a comparison of all bytes, in blocks where they are equal; some ns a byte where they differ.
 *
 * @module
 */

import { equalBytes } from "../base/mod.ts";
import { encodeMetadata, type PageStore } from "../physical/mod.ts";

/** One difference between two states. */
export type StateDifference =
  | PageDifference
  | SpanDifference;

/** A page that is there in one state only, or is not the same beside its bytes. */
export interface PageDifference {
  /**
   * `born`: only in the second state; `deleted`: only in the first; `changed`: size, epoch, shard,
   * name or metadata differ.
   */
  readonly kind: "born" | "deleted" | "changed";
  /** Page. */
  readonly page: number;
  /** What it is in the first state. */
  readonly before?: PageFacts;
  /** What it is in the second. */
  readonly after?: PageFacts;
}

/** What a page is beside its bytes. */
export interface PageFacts {
  /** Bytes. */
  readonly size: number;
  /** Epoch. */
  readonly epoch: number;
  /** Shard. */
  readonly shard: number;
  /** Name, "" for none. */
  readonly name: string;
  /** Metadata. */
  readonly metadata: ReadonlyMap<string, Uint8Array>;
}

/** Bytes that differ in a page that both states have. */
export interface SpanDifference {
  /** Always `bytes`. */
  readonly kind: "bytes";
  /** Page. */
  readonly page: number;
  /** First byte. */
  readonly offset: number;
  /** Bytes in the first state; fewer than after where the page ended before. */
  readonly before: Uint8Array;
  /** Bytes in the second state. */
  readonly after: Uint8Array;
}

/** Equal bytes up to which two spans are one. */
const GAP_BYTES_MAX = 7;
/** Bytes that are compared at once. */
const BLOCK_BYTES = 4096;
/** Bytes of one span, at most. */
const SPAN_BYTES_MAX = 64 * 1024;

/** What leads from one state to another. */
export function* diffStores(first: PageStore, second: PageStore): Generator<StateDifference> {
  const before = idsOf(first), after = idsOf(second);
  for (let i = 0, k = 0; i < before.length || k < after.length;) {
    const page = Math.min(before[i] ?? Infinity, after[k] ?? Infinity);
    const inFirst = before[i] === page, inSecond = after[k] === page;
    if (inFirst) i++;
    if (inSecond) k++;
    if (!inSecond) yield { kind: "deleted", page, before: factsOf(first, page) };
    else if (!inFirst) {
      yield { kind: "born", page, after: factsOf(second, page) };
      yield* spans(page, new Uint8Array(0), bytesOf(second, page), true);
    } else yield* pageDifferences(first, second, page);
  }
}

function* pageDifferences(
  first: PageStore,
  second: PageStore,
  page: number,
): Generator<StateDifference> {
  const before = factsOf(first, page), after = factsOf(second, page);
  const same = before.size === after.size && before.epoch === after.epoch &&
    before.shard === after.shard && before.name === after.name &&
    equalBytes(encodeMetadata(before.metadata), encodeMetadata(after.metadata));
  if (!same) yield { kind: "changed", page, before, after };
  yield* spans(page, bytesOf(first, page), bytesOf(second, page), false);
}

/** Spans that differ; of a page that is new, those that are not zero. */
function* spans(
  page: number,
  before: Uint8Array,
  after: Uint8Array,
  isNew: boolean,
): Generator<SpanDifference> {
  const length = isNew ? after.length : Math.max(before.length, after.length);
  const isSame = (at: number) => {
    const old = isNew ? 0 : before[at];
    return old === after[at];
  };
  for (let at = 0; at < length;) {
    const block = at + BLOCK_BYTES;
    if (at % BLOCK_BYTES === 0 && block <= before.length && block <= after.length) {
      if (equalBytes(before.subarray(at, block), after.subarray(at, block))) {
        at = block;
        continue;
      }
    }
    if (isSame(at)) {
      at++;
      continue;
    }
    const offset = at, limit = Math.min(length, offset + SPAN_BYTES_MAX);
    let end = at + 1;
    for (let k = end; k < limit && k <= end + GAP_BYTES_MAX; k++) if (!isSame(k)) end = k + 1;
    yield {
      kind: "bytes",
      page,
      offset,
      before: before.slice(offset, end),
      after: after.slice(offset, end),
    };
    at = end;
  }
}

function idsOf({ table }: PageStore): Uint32Array {
  const ids = new Uint32Array(table.size);
  let count = 0;
  for (const row of table.rows()) if (table.isActive(row)) ids[count++] = table.ids[row];
  return ids.subarray(0, count).sort();
}

function bytesOf(store: PageStore, page: number): Uint8Array {
  return store.view(store.table.rowOf(page));
}

function factsOf(store: PageStore, page: number): PageFacts {
  const { table } = store, row = table.rowOf(page);
  return {
    size: table.sizeOf(row),
    epoch: table.epoch(row),
    shard: table.shards[row],
    name: store.nameOf(page),
    metadata: store.metadataOf(page),
  };
}
