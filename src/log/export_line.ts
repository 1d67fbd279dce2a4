/**
 * Export lines: a log as JSON lines, one object a line, each with a `type`.
 *
 * | type | what it is | fields beside `tick` and `hlc` |
 * | --- | --- | --- |
 * | `header` | the first line; has no tick | `format` "mmsb-log", `version`, `canonical`, `shards`, `incarnation`, `horizon` |
 * | `birth` | a page is born | `page`, `shard`, `size`, `name`, `metadata` |
 * | `delta` | a delta | `page`, `epoch`, `kind`, `offset`, `length`, `payload`, `mask`, `producer`, `sequence`, `source`, `intent`, `timeUs`, `advance`, `derived`, `rule`, `imported` |
 * | `metadata` | a page's metadata is replaced | `page`, `metadata` |
 * | `resize` | a page gets another size | `page`, `size` |
 * | `migrate` | a page goes to another shard | `page`, `shard` |
 * | `edge` | an edge from page `from` to page `page` is added (`change` "add") or removed ("remove") | `page`, `from`, `edge`, `change` |
 * | `bind` | a rule is bound; `page` is its first output | `page`, `rule`, `binding` |
 * | `unbind` | a rule is unbound | `page`, `rule` |
 * | `mark` | a mark is set on a page (`set` true) or taken off | `page`, `mark`, `set` |
 * | `death` | a page is deleted | `page` |
 * | `commit` | the tick is whole | `incarnation`, `nextPageId`, `nextRule`, `graphVersion`, `clockErrorUs` |
 * | `end` | the last line; has no tick | `ticks`, `rows` |
 *
 * `hlc` is the 64-bit word in decimal digits, as text; `epoch` is the page's after the delta;
 * `payload` is base64 (of a masked delta, the packed bytes only); `mask` is base64 of the stored form
 * of a mask; `metadata` is an array of [key, base64]; `edge` is `data`, `control`, `gpu` or `compiler`; `rule`
 * is the rule's number and `binding` what the log says of it (`name`, `module`, `export`, `version`,
 * `inputs`, `outputs`, `state`, `params`, `mode`); `mark` is `stale`, `detached` or `invalidated`. What is
 * "none" (no name, source, time) or the usual value (`advance` 1, `graphVersion` 0, `nextRule` 1) is left
 * out. Edges, rules and marks change when the tick is whole, in whatever order its lines stand: what is
 * removed first, then what is added.
 *
 * The canonical form is what two logs of the same inputs have in common: rows are sorted by (tick,
 * shard, producer, sequence), those of rules behind the others by page, and there are no lanes, incarnations, times of this machine's clock,
 * numbers of sequences (they begin anew with each writer) and commits.
 *
 * @module
 */

import { compressMask, decompressMask, maskPopulation } from "../physical/mask.ts";
import { KIND_MASKED, kindName, type Metadata } from "../physical/mod.ts";
import type { BindingText } from "./binding.ts";

/** Name of the format in the header. */
export const EXPORT_FORMAT = "mmsb-log";
/** Version that is written, and the newest that can be read. */
export const EXPORT_VERSION = 1;
/** Name of the form, for reports. */
export const EXPORT_FORM = "JSON lines 1";

/** First line. */
export interface HeaderLine {
  /** Its type. */
  readonly type: "header";
  /** Always "mmsb-log". */
  readonly format: "mmsb-log";
  /** Version of the format. */
  readonly version: number;
  /** Whether it is the canonical form. */
  readonly canonical: boolean;
  /** Shards of the directory. */
  readonly shards: number;
  /** Number of the last writer; not in the canonical form. */
  readonly incarnation?: number;
  /** States before this tick cannot be had, as it stands for earlier ones; absent where all can. */
  readonly horizon?: number;
}

/** What all lines of rows have. */
export interface RowLine {
  /** Its tick. */
  readonly tick: number;
  /** Hybrid logical time as digits; not in the canonical form. */
  readonly hlc?: string;
  /** Page id. */
  readonly page: number;
}

/** Metadata as keys and base64. */
export type MetadataJson = readonly (readonly [string, string])[];

/** A page is born. */
export interface BirthLine extends RowLine {
  /** Its type. */
  readonly type: "birth";
  /** Shard. */
  readonly shard: number;
  /** Bytes. */
  readonly size: number;
  /** Name, if it has one. */
  readonly name?: string;
  /** Metadata, if it has any. */
  readonly metadata?: MetadataJson;
}

/** A delta. */
export interface DeltaLine extends RowLine {
  /** Its type. */
  readonly type: "delta";
  /** Producer of its batch. */
  readonly producer: number;
  /** The producer's number of the batch; not in the canonical form. */
  readonly sequence?: number;
  /** The page's epoch after it. */
  readonly epoch: number;
  /** What it does: `set`, `masked`, `add f64` … */
  readonly kind: string;
  /** First byte in the page. */
  readonly offset: number;
  /** Bytes of its span. */
  readonly length: number;
  /** The stored form of its mask, base64; of masked deltas. */
  readonly mask?: string;
  /** Bytes or operands, base64; of masked deltas the packed bytes. */
  readonly payload: string;
  /** Who made it. */
  readonly source?: string;
  /** Why. */
  readonly intent?: string;
  /** The source's own time in µs since the Unix epoch. */
  readonly timeUs?: number;
  /** Deltas that it stands for, if not 1. */
  readonly advance?: number;
  /** Whether a rule made it. */
  readonly derived?: true;
  /** Number of that rule, where it is known. */
  readonly rule?: number;
  /** The id and epoch that it had in the log it was imported from. */
  readonly imported?: { readonly id: string; readonly epoch: number };
}

/** A change of a page at the end of its tick. */
export interface ChangeLine extends RowLine {
  /** Its type. */
  readonly type: "metadata" | "resize" | "migrate" | "death";
  /** Metadata, if it has any. */
  readonly metadata?: MetadataJson;
  /** Bytes. */
  readonly size?: number;
  /** Shard. */
  readonly shard?: number;
}

/** An edge is added or removed. */
export interface EdgeLine extends RowLine {
  /** Its type; `page` is the edge's target. */
  readonly type: "edge";
  /** Id of the page that it leads from. */
  readonly from: number;
  /** Type of the edge. */
  readonly edge: string;
  /** What becomes of it. */
  readonly change: "add" | "remove";
}

/** A rule is bound or unbound. */
export interface RuleLine extends RowLine {
  /** Its type; `page` is the rule's first output. */
  readonly type: "bind" | "unbind";
  /** Number of the rule. */
  readonly rule: number;
  /** What it is bound to; of `bind`. */
  readonly binding?: BindingText;
}

/** A mark is set on a page or taken off. */
export interface MarkLine extends RowLine {
  /** Its type. */
  readonly type: "mark";
  /** Name of the mark. */
  readonly mark: string;
  /** Whether it is set. */
  readonly set: boolean;
}

/** The tick is whole. */
export interface CommitLine {
  /** Its type. */
  readonly type: "commit";
  /** Its tick. */
  readonly tick: number;
  /** Hybrid logical time as digits. */
  readonly hlc: string;
  /** Number of its writer. */
  readonly incarnation: number;
  /** The next page id to be given out. */
  readonly nextPageId: number;
  /** The next number of a rule to be given out, if not 1. */
  readonly nextRule?: number;
  /** Graph version, if not 0. */
  readonly graphVersion?: number;
  /** Error bound of the clock in µs, if not 0. */
  readonly clockErrorUs?: number;
}

/** Last line. */
export interface EndLine {
  /** Its type. */
  readonly type: "end";
  /** Ticks in the file. */
  readonly ticks: number;
  /** Lines of births, deltas and changes in the file. */
  readonly rows: number;
}

/** A line. */
export type ExportLine =
  | HeaderLine
  | BirthLine
  | DeltaLine
  | ChangeLine
  | EdgeLine
  | RuleLine
  | MarkLine
  | CommitLine
  | EndLine;

/** Bytes as base64, with padding. */
export function toBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/** Bytes of base64; `undefined` where it is none, or not written as `toBase64` writes. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (/\s/.test(text)) return undefined;
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return undefined;
  }
}

/** Metadata for a line. */
export function metadataJson(metadata: Metadata): MetadataJson {
  return [...metadata].map(([key, value]) => [key, toBase64(value)] as const);
}

/** What of a line says which bytes a delta changes, and how. */
export function bytesJson(
  kind: number,
  length: number,
  payload: Uint8Array,
): Pick<DeltaLine, "kind" | "mask" | "payload"> {
  if (kind !== KIND_MASKED) return { kind: kindName(kind), payload: toBase64(payload) };
  const maskBytes = length + 7 >>> 3;
  return {
    kind: kindName(kind),
    mask: toBase64(compressMask(payload.slice(0, maskBytes), length)),
    payload: toBase64(payload.subarray(maskBytes)),
  };
}

/**
 * The payload of a masked delta as a log has it, from a line's mask and bytes.
 *
 * @returns The payload, or what is wrong: the field and the reason.
 */
export function maskedPayload(
  mask: Uint8Array,
  packed: Uint8Array,
  length: number,
): Uint8Array | { readonly field: string; readonly reason: string } {
  let stored: ReturnType<typeof decompressMask>;
  try {
    stored = decompressMask(mask);
  } catch (error) {
    return { field: "mask", reason: error instanceof Error ? error.message : String(error) };
  }
  if (stored.length !== length) {
    return { field: "mask", reason: `it is for ${stored.length} bytes, the span has ${length}` };
  }
  const set = maskPopulation(stored.mask);
  if (set !== packed.length) {
    return { field: "payload", reason: `it has ${packed.length} bytes, the mask ${set} set bits` };
  }
  const payload = new Uint8Array(stored.mask.length + packed.length);
  payload.set(stored.mask);
  payload.set(packed, stored.mask.length);
  return payload;
}
