/**
 * Vectors outside a process.
 *
 * ```text
 * 0        2        4                12       14
 * │ n u16  │node u16│ count i64      │node u16│ count i64 …    little-endian, n entries, 2 + 10 n bytes
 * ```
 *
 * Little-endian as in the 18-byte form of a timestamp (`wire.ts`), which has the same integers for the same
 * systems; a vector has no order that bytes could keep, so nothing speaks for the other.
 *
 * Each vector has one spelling: nodes rise, no count is 0. What does not encode back to the very same bytes is
 * refused, as are counts below 0 and above 2⁵³ − 1, which no number holds exactly, and bytes that are left over.
 *
 * Cost: some 10 ns an entry.
 */
import { checkBytes, checkInteger, checkKeys } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { VECTOR_NODES_MAX } from "../../base/limits.ts";
import { Columns } from "./_causal_columns.ts";
import { columnsOf, timeOfColumns, type Vector, type VectorTime } from "./vector_clock.ts";

const HEAD_BYTES = 2;
const ENTRY_BYTES = 10;
const WORD = 2 ** 32;
const SCRATCH_ENTRIES_MAX = 1024;

/** Counts have 53 bits, so the upper word has 21. */
const COUNT_HI_MAX = 2 ** 21 - 1;

/** Options of {@linkcode decodeVectorTime}. */
export interface DecodeVectorOptions {
  /** Most entries that are taken, 0 to 65535; 65535 if left out. */
  readonly nodesMax?: number;
}

/**
 * How long a vector is outside.
 *
 * @param vector The vector.
 * @returns Bytes of {@linkcode encodeVector}.
 * @throws {MmsbError} `usage` if it is no vector.
 */
export function vectorBytes(vector: Vector): number {
  return HEAD_BYTES + ENTRY_BYTES * columnsOf(vector).size;
}

/**
 * Encodes a vector.
 *
 * @param vector The vector, of either form.
 * @returns 2 + 10 × entries new bytes, little-endian: u16 entries, then for each, by rising node, u16 node and i64 count.
 * @throws {MmsbError} `usage` if it is no vector.
 *
 * @example Node 258 has counted to 5
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { VectorTime } from "./vector_clock.ts";
 *
 * deepEqual(
 *   [...encodeVector(VectorTime.of([[258, 5]]))],
 *   [1, 0, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0],
 * );
 * ```
 */
export function encodeVector(vector: Vector): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(vectorBytes(vector));
  writeVector(bytes, 0, vector);
  return bytes;
}

/** Writes a vector into bytes that are long enough; gives where it ends. */
export function writeVector(bytes: Uint8Array, start: number, vector: Vector): number {
  const { nodes, counts, start: first, size } = columnsOf(vector);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint16(start, size, true);
  let at = start + HEAD_BYTES;
  for (let i = first; i < first + size; i++, at += ENTRY_BYTES) {
    view.setUint16(at, nodes[i], true);
    view.setUint32(at + 2, counts[i] % WORD, true);
    view.setUint32(at + 6, Math.floor(counts[i] / WORD), true);
  }
  return at;
}

/**
 * Decodes {@linkcode encodeVector}.
 *
 * @param bytes A vector and nothing else.
 * @param options How many entries are taken.
 * @returns The vector.
 * @throws {MmsbError} `usage` if the bytes are no `Uint8Array`, are too few or too many, if the nodes do not rise, or
 * if a count is not 1 to 2⁵³ − 1; `limit` above `nodesMax`.
 *
 * @example There and back
 * ```ts
 * import { equal } from "node:assert/strict";
 * import { VectorTime } from "./vector_clock.ts";
 *
 * const time = VectorTime.of([[1, 2], [3, 4]]);
 *
 * equal(decodeVectorTime(encodeVector(time)).compare(time), "equal");
 * ```
 */
export function decodeVectorTime(
  bytes: Uint8Array,
  options: DecodeVectorOptions = {},
): VectorTime {
  checkBytes("bytes of a vector", bytes);
  const nodesMax = nodesMaxOf("decodeVectorTime", options);
  const vector = readVector(bytes, 0, nodesMax);
  const end = vectorBytes(vector);
  if (end !== bytes.length) throwRefused(`its ${end} bytes are followed by others`, end);
  return vector;
}

/** Reads the options of a decoder. */
export function nodesMaxOf(name: string, options: DecodeVectorOptions): number {
  checkKeys(name, options, ["nodesMax"]);
  const { nodesMax = VECTOR_NODES_MAX } = options;
  return checkInteger("nodesMax", nodesMax, 0, VECTOR_NODES_MAX, "usage");
}

/** Reads the vector that begins at a place; what follows it is the caller's. */
export function readVector(bytes: Uint8Array, start: number, nodesMax: number): VectorTime {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < start + HEAD_BYTES) throwRefused("it is truncated", bytes.length);
  const size = view.getUint16(start, true);
  if (size > nodesMax) {
    throw new MmsbError(
      "limit",
      `Cannot decode a vector of ${size} entries: at most ${nodesMax} are allowed here`,
      { values: { size, nodesMax } },
    );
  }
  let at = start + HEAD_BYTES;
  if (bytes.length < at + size * ENTRY_BYTES) throwRefused("it is truncated", bytes.length);
  const columns = scratchOf(size);
  let last = -1;
  for (let i = 0; i < size; i++, at += ENTRY_BYTES) {
    const node = view.getUint16(at, true);
    const lo = view.getUint32(at + 2, true), hi = view.getUint32(at + 6, true);
    if (node === last) throwRefused(`node ${node} is there twice`, at);
    if (node < last) throwRefused(`node ${node} comes after node ${last}`, at);
    if (hi > COUNT_HI_MAX || (hi | lo) === 0) {
      throwRefused(`the count of node ${node} is not 1 to 2^53 - 1`, at);
    }
    columns.nodes[i] = last = node;
    columns.counts[i] = hi * WORD + lo;
  }
  columns.size = size;
  return timeOfColumns(columns);
}

let scratch = Columns.withRoom(64);

/** Columns to read into, which are then copied: see {@linkcode Columns.packed}. */
function scratchOf(size: number): Columns {
  if (scratch.nodes.length >= size) return scratch;
  return size > SCRATCH_ENTRIES_MAX ? Columns.withRoom(size) : (scratch = Columns.withRoom(size));
}

function throwRefused(why: string, offset: number): never {
  throw new MmsbError(
    "usage",
    `Cannot decode a vector as ${why}: give the bytes that encodeVector made`,
    { values: { offset } },
  );
}
