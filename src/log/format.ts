/**
 * Format 1: what stands in a segment, byte by byte.
 *
 * All numbers are little endian; every part starts at a multiple of 8, so that a reader lays typed
 * arrays over the file. A lane is a folder of segments `0000000001.log`, `0000000002.log` …; its
 * bytes are numbered through ("positions"): a segment's header states the position it starts at.
 *
 * Segment header, 64 bytes:
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u32 | magic "MMSG" |
 * | 4 | u32 | CRC-32 of bytes 8 … 64 |
 * | 8 | u16 | format |
 * | 10 | u16 | lane |
 * | 12 | u32 | segment number |
 * | 16 | u64 | position of the segment's first byte in the lane |
 * | 24 | u32 | incarnation of the writer |
 * | 28 | … | zero |
 *
 * Frame header, 128 bytes, then 8 bytes a section:
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u32 | magic "MMSF" |
 * | 4 | u32 | CRC-32 of bytes 8 … header length |
 * | 8 | u16 | format |
 * | 10 | u16 | header length, directory included |
 * | 12 | u32 | frame length, a multiple of 8 |
 * | 16 | u64 | tick |
 * | 24 | u16 | lane |
 * | 26 | u8 | row kind: 0 data, 1 structural, 2 derived, 3 rule, 4 mark, 5 commit |
 * | 27 | u8 | number of sections |
 * | 28 | u32 | rows |
 * | 32 | 32 bytes | lanes taking part in the tick, one bit each |
 * | 64 | u64 | graph version |
 * | 72 | u64 | HLC of the first row; row i has this + i |
 * | 80 | u64 | HLC of the last row |
 * | 88 | u32 | how far true time is from the tick's timestamps at most, µs; 2^32−1 unknown |
 * | 92 | u32 | producer |
 * | 96 | u64 | the producer's sequence number of the batch |
 * | 104 | u64 | position of the lane known to be synced when the frame was made |
 * | 112 | u32 | incarnation |
 * | 116 | u32 | CRC-32 of the body |
 * | 120 | u32 | index of the frame in its tick, on its lane |
 * | 124 | u32 | span: earlier ticks that a merged tick stands for beside itself, else 0 |
 *
 * Directory entry: u8 section, u8 encoding, u16 zero, u32 length. The sections follow in the order
 * of the directory, each padded with zeros to a multiple of 8. A column whose values are all 0 (for
 * times: all "none") has no section.
 *
 * Encodings of whole-number columns (all modulo 2^32): raw (u32 each), constant (u32 value), narrow8
 * and narrow16 (u32 base, then 4 unused bytes, then what is added to it in u8 or u16), delta (u32
 * first, i32 step). Of times: raw (f64), narrow32 (f64 base, then u32 added to it, 2^32−1 for none).
 *
 * @module
 */

/** Format written, and the newest one that can be read. */
export const FORMAT = 1;
/** "MMSG". */
export const SEGMENT_MAGIC = 0x47534d4d;
/** "MMSF". */
export const FRAME_MAGIC = 0x46534d4d;
/** Bytes of a segment header. */
export const SEGMENT_HEADER_BYTES = 64;
/** Bytes of a frame header without its directory. */
export const FRAME_HEADER_BYTES = 128;
/** Bytes of a directory entry. */
export const SECTION_ENTRY_BYTES = 8;
/** Most sections of one frame. */
export const SECTIONS_MAX = 32;

/** What the rows of a frame are. */
export const ROW_KIND = {
  /** Deltas from producers. */
  data: 0,
  /** Births and deaths of pages and edges, names, metadata. */
  structural: 1,
  /** Deltas computed by rules. */
  derived: 2,
  /** Bindings of rules. */
  rule: 3,
  /** Marks set on pages or taken off; without rows: the lane goes on in the next segment. */
  mark: 4,
  /** The tick is whole on this lane. */
  commit: 5,
} as const;

/** Names of the row kinds, by number. */
export const ROW_KIND_NAMES: readonly string[] = Object.keys(ROW_KIND);

/** What a section holds. */
export const SECTION = {
  /** Page id. */
  page: 1,
  /** First byte of the span; for births the size of the page, for edges the source, for rules the number. */
  offset: 2,
  /** Bytes of the span; for structural rows of the payload. */
  length: 3,
  /** First byte of the row's payload in the payload section. */
  start: 4,
  /** Kind of the delta; for structural and rule rows the operation, for marks the mark. */
  kind: 5,
  /** Source, an index into the strings. */
  source: 6,
  /** Intent, an index into the strings. */
  intent: 7,
  /** Low 32 bits of the page's epoch after the row. */
  epoch: 8,
  /** Rows that a merged row stands for; 1 without this section. */
  advance: 9,
  /** Shard; of births. Type; of edges. */
  shard: 10,
  /** Times stated by sources, µs since the Unix epoch. */
  timeUs: 11,
  /** Number of the rule that made the row. */
  rule: 12,
  /** Low half of the id that the delta had in the log it was imported from. */
  importedIdLow: 13,
  /** High half of it. */
  importedIdHigh: 14,
  /** Epoch that the delta had there. */
  importedEpoch: 15,
  /** Strings: u32 count, then u32 length and UTF-8 of each. */
  strings: 32,
  /** Start of each shard's rows, where they are sorted by shard. */
  shards: 33,
  /** Payload pool. */
  payload: 34,
  /** Commit: u32 frames and u32 digest of the tick on this lane, f64 rows, u32 next page id, u32 next rule. */
  commit: 40,
} as const;

/** How a column is stored. */
export const ENCODING = {
  /** Each value in full. */
  raw: 0,
  /** One value for all rows. */
  constant: 1,
  /** Base and u8 each. */
  narrow8: 2,
  /** Base and u16 each. */
  narrow16: 3,
  /** First value and a constant step. */
  delta: 4,
  /** Base and u32 each, of doubles. */
  narrow32: 5,
} as const;

/** Operations of structural rows. */
export const STRUCTURAL = {
  /** A page is born: offset = size, payload = name and metadata. */
  createPage: 1,
  /** A page dies at the end of the tick. */
  deletePage: 2,
  /** A page's metadata is replaced: payload. */
  setMetadata: 3,
  /** An edge to the page is added: offset = source, shard = type. */
  addEdge: 4,
  /** An edge to the page is removed: offset = source, shard = type. */
  removeEdge: 5,
  /** A page gets another size at the end of the tick: offset = size. */
  resizePage: 6,
  /** A page goes to another shard at the end of the tick: shard. */
  migratePage: 7,
} as const;

/** Whether a structural row is of an edge. */
export function isEdgeRow(operation: number): boolean {
  return operation === STRUCTURAL.addEdge || operation === STRUCTURAL.removeEdge;
}

/** Operations of rule rows: page = first output, offset = number of the rule. */
export const RULE_ROW = {
  /** A rule is bound: payload = its binding. */
  bind: 1,
  /** A rule is unbound. */
  unbind: 2,
} as const;

/** Words for the operations on rules. */
export const RULE_ROW_NAMES: Readonly<Record<number, string>> = {
  [RULE_ROW.bind]: "bind",
  [RULE_ROW.unbind]: "unbind",
};

/** Words for the operations, as queries and histories give them. */
export const STRUCTURAL_NAMES: Readonly<Record<number, string>> = {
  [STRUCTURAL.createPage]: "create",
  [STRUCTURAL.deletePage]: "delete",
  [STRUCTURAL.setMetadata]: "metadata",
  [STRUCTURAL.addEdge]: "add edge",
  [STRUCTURAL.removeEdge]: "remove edge",
  [STRUCTURAL.resizePage]: "resize",
  [STRUCTURAL.migratePage]: "migrate",
};

/** Path of a lane's folder. */
export function laneFolder(lane: number): string {
  return `lane-${String(lane).padStart(2, "0")}`;
}

/** Path of a segment. */
export function segmentPath(lane: number, number: number): string {
  return `${laneFolder(lane)}/${String(number).padStart(10, "0")}.log`;
}
