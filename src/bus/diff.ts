/**
 * Diff: what leads from one state to another, page by page and span by span.
 *
 * A generator, because two states can differ in gigabytes: it holds one span at a time. Pages come in
 * order of id, then edges, rules and marks. Spans that differ are joined over gaps of a few equal bytes, so that a number of which
 * three bytes changed is one span, and cut where they get long.
 *
 * Cost: a comparison of all bytes, in blocks where they are equal; some ns a byte where they differ.
 *
 * @module
 */

import { equalBytes } from "../base/mod.ts";
import { byTarget, edgesOf, type EdgeText } from "../log/mod.ts";
import {
  EDGE_TYPES,
  type EdgeType,
  encodeMetadata,
  MARK_NAMES,
  type MarkName,
  type PageStore,
  type RuleBinding,
} from "../physical/mod.ts";

/** One difference between two states. */
export type StateDifference =
  | PageDifference
  | SpanDifference
  | StructureDifference;

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

/** An edge, a rule or a mark that is there in one state only. */
export interface StructureDifference {
  /** What leads from the first state to the second. */
  readonly kind: "edge-added" | "edge-removed" | "bound" | "unbound" | "marked" | "unmarked";
  /** Target of the edge, first output of the rule, marked page. */
  readonly page: number;
  /** Page that the edge leads from. */
  readonly source?: number;
  /** Type of the edge. */
  readonly edge?: EdgeType;
  /** Name of the rule. */
  readonly rule?: string;
  /** Number of the rule. */
  readonly number?: number;
  /** The mark. */
  readonly mark?: MarkName;
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
  yield* edgeDifferences(edgesOf(first), edgesOf(second));
  yield* ruleDifferences(first, second);
  for (const { page, mark } of first.marks.list()) {
    if (!second.marks.has(page, mark)) yield { kind: "unmarked", page, mark: nameOfMark(mark) };
  }
  for (const { page, mark } of second.marks.list()) {
    if (!first.marks.has(page, mark)) yield { kind: "marked", page, mark: nameOfMark(mark) };
  }
}

function* edgeDifferences(
  before: readonly EdgeText[],
  after: readonly EdgeText[],
): Generator<StructureDifference> {
  for (let i = 0, k = 0; i < before.length || k < after.length;) {
    const order = before[i] === undefined
      ? 1
      : after[k] === undefined
      ? -1
      : byTarget(before[i], after[k]);
    const { source, target: page, type } = order <= 0 ? before[i] : after[k];
    if (order <= 0) i++;
    if (order >= 0) k++;
    if (order === 0) continue;
    const kind = order < 0 ? "edge-removed" : "edge-added";
    yield { kind, page, source, edge: EDGE_TYPES[type] };
  }
}

function* ruleDifferences(first: PageStore, second: PageStore): Generator<StructureDifference> {
  const about = ({ page, name, number }: RuleBinding) => ({ page, rule: name, number });
  const isIn = ({ bindings }: PageStore, { number, payload }: RuleBinding) => {
    const other = bindings.get(number);
    return other !== undefined && equalBytes(other.payload, payload);
  };
  for (const binding of first.bindings.list()) {
    if (!isIn(second, binding)) yield { kind: "unbound", ...about(binding) };
  }
  for (const binding of second.bindings.list()) {
    if (!isIn(first, binding)) yield { kind: "bound", ...about(binding) };
  }
}

function nameOfMark(mark: number): MarkName {
  return MARK_NAMES[mark] as MarkName;
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
