/**
 * Timestamps outside a process: three encodings, each for one purpose.
 *
 * | form | size | for | order of the encoded form |
 * | --- | --- | --- | --- |
 * | sortable | 10 bytes | keys, subjects, our own messages | bytes sort as the timestamps do |
 * | interoperable | 18 bytes | systems with a clock in ns and a wide counter | none |
 * | text | 36 characters | logs, URLs, people | text sorts as the timestamps do |
 *
 * ```text
 * sortable        0        8   10      big-endian
 *                 │ word   │node│
 * interoperable   0        8        16   18      little-endian
 *                 │ ns i64 │ lg i64 │node│
 * text            2026-01-01T00:00:00.000000Z-000-0000
 *                 RFC 3339 with µs            │lg │node, lower-case hex
 * ```
 *
 * All have a fixed size and one spelling for one timestamp: what does not encode back to the very
 * same bytes is refused, so that equal timestamps are equal keys.
 *
 * Cost: objects and bigints are made; this is for edges. Batches go as columns, not through here.
 */
import { checkBytes, checkInteger, checkKeys, checkOneOf, checkType } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { requireNode, requireTimestamp } from "./check.ts";
import { logical, LOGICAL_MAX, PHYSICAL_US_MAX, physicalUs, timestampOf } from "./timestamp.ts";

/** Bytes of the sortable form. */
export const SORTABLE_BYTES = 10;

/** Bytes of the interoperable form. */
export const INTEROPERABLE_BYTES = 18;

/** Characters of the text form. */
export const TEXT_CHARACTERS = 36;

/** A timestamp together with the node that gave it: totally ordered by (timestamp, node). */
export interface NodeTimestamp {
  /** The 64-bit word. */
  readonly timestamp: bigint;
  /** Node id, 0 to 65535. */
  readonly node: number;
}

/** Options of {@linkcode decodeInteroperable}. */
export interface DecodeInteroperableOptions {
  /**
   * What to do with a time that is not a whole number of µs, which this timestamp cannot hold.
   * `"refuse"` (if left out) throws; `"up"` takes the next µs with the counter 0, so that the
   * result is never earlier than what was sent and the order is kept, though different times
   * within one µs become equal.
   */
  readonly subMicrosecond?: "refuse" | "up";
}

/**
 * Encodes a timestamp so that the order of the bytes is the order of the timestamps.
 *
 * @param timestamp The 64-bit word.
 * @param node Node id, 0 to 65535; 0 if left out.
 * @returns 10 new bytes: the word big-endian, then the node big-endian.
 * @throws {MmsbError} `usage` if an argument is out of range.
 *
 * @example The layout
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual(
 *   encodeSortable(0x0123_4567_89ab_cdefn, 0x1020),
 *   Uint8Array.of(0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x10, 0x20),
 * );
 * ```
 */
export function encodeSortable(timestamp: bigint, node = 0): Uint8Array<ArrayBuffer> {
  requireTimestamp(timestamp);
  requireNode(node);
  const bytes = new Uint8Array(SORTABLE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, timestamp);
  view.setUint16(8, node);
  return bytes;
}

/**
 * Decodes {@linkcode encodeSortable}. Every 10 bytes are a timestamp.
 *
 * @param bytes 10 bytes.
 * @returns The timestamp and its node.
 * @throws {MmsbError} `usage` if there are not exactly 10 bytes.
 *
 * @example There and back
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual(decodeSortable(encodeSortable(42n, 7)), { timestamp: 42n, node: 7 });
 * ```
 */
export function decodeSortable(bytes: Uint8Array): NodeTimestamp {
  const view = viewOf(bytes, SORTABLE_BYTES, "sortable");
  return { timestamp: view.getBigUint64(0), node: view.getUint16(8) };
}

/**
 * Encodes a timestamp for systems that keep physical time in ns and the counter in a word of its
 * own.
 *
 * @param timestamp The 64-bit word.
 * @param node Node id, 0 to 65535; 0 if left out.
 * @returns 18 new bytes, little-endian: i64 ns since the Unix epoch, i64 counter, u16 node.
 * @throws {MmsbError} `usage` if an argument is out of range.
 *
 * @example One µs, counter 2, node 3
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual(
 *   [...encodeInteroperable((1n << 12n) + 2n, 3)],
 *   [0xe8, 3, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0],
 * );
 * ```
 */
export function encodeInteroperable(timestamp: bigint, node = 0): Uint8Array<ArrayBuffer> {
  requireTimestamp(timestamp);
  requireNode(node);
  const bytes = new Uint8Array(INTEROPERABLE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, (timestamp >> 12n) * 1000n, true);
  view.setBigInt64(8, timestamp & 0xfffn, true);
  view.setUint16(16, node, true);
  return bytes;
}

/**
 * Decodes {@linkcode encodeInteroperable}, and what other systems write in that form.
 *
 * @param bytes 18 bytes.
 * @param options What to do with a fraction of a µs.
 * @returns The timestamp and its node.
 * @throws {MmsbError} `usage` if there are not exactly 18 bytes, if the time is before 1970 or
 * past 52 bits of µs, if the counter is not 0 to 4095, or if the time has a fraction of a µs that
 * the options do not allow.
 *
 * @example There and back
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual(decodeInteroperable(encodeInteroperable(42n, 7)), { timestamp: 42n, node: 7 });
 * ```
 */
export function decodeInteroperable(
  bytes: Uint8Array,
  options: DecodeInteroperableOptions = {},
): NodeTimestamp {
  checkKeys("decodeInteroperable", options, ["subMicrosecond"]);
  const { subMicrosecond = "refuse" } = options;
  checkOneOf("subMicrosecond", subMicrosecond, ["refuse", "up"]);
  const view = viewOf(bytes, INTEROPERABLE_BYTES, "interoperable");
  const ns = view.getBigInt64(0, true);
  const counter = view.getBigInt64(8, true);
  const fractionNs = ns % 1000n;
  if (fractionNs !== 0n && subMicrosecond !== "up") {
    throw new MmsbError(
      "usage",
      `Cannot decode ${ns} ns as timestamps count whole microseconds: ` +
        'have the sender round up, or decode with subMicrosecond "up"',
      { values: { ns } },
    );
  }
  const us = fractionNs > 0n ? ns / 1000n + 1n : ns / 1000n;
  if (ns < 0n || us > BigInt(PHYSICAL_US_MAX)) {
    throw new MmsbError(
      "usage",
      `Cannot decode ${ns} ns: timestamps lie from 1970 to ${PHYSICAL_US_MAX} µs after it`,
      { values: { ns } },
    );
  }
  if (counter < 0n || counter > BigInt(LOGICAL_MAX)) {
    throw new MmsbError(
      "usage",
      `Cannot decode counter ${counter}: the logical part lies from 0 to ${LOGICAL_MAX}`,
      { values: { counter } },
    );
  }
  const timestamp = (us << 12n) | (fractionNs > 0n ? 0n : counter);
  return { timestamp, node: view.getUint16(16, true) };
}

/**
 * Encodes a timestamp as text that sorts as the timestamps do, by code units.
 *
 * @param timestamp The 64-bit word.
 * @param node Node id, 0 to 65535; 0 if left out.
 * @returns 36 ASCII characters: UTC as RFC 3339 with µs, `-`, the counter as 3 hex digits, `-`,
 * the node as 4.
 * @throws {MmsbError} `usage` if an argument is out of range.
 *
 * @example A readable timestamp
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(
 *   encodeText((1_767_225_600_000_001n << 12n) + 15n, 42),
 *   "2026-01-01T00:00:00.000001Z-00f-002a",
 * );
 * ```
 */
export function encodeText(timestamp: bigint, node = 0): string {
  const us = physicalUs(timestamp);
  const counter = logical(timestamp);
  requireNode(node);
  const toMs = new Date(Math.floor(us / 1000)).toISOString().slice(0, 23);
  const belowMs = String(us % 1000).padStart(3, "0");
  return `${toMs}${belowMs}Z-${hex(counter, 3)}-${hex(node, 4)}`;
}

/**
 * Decodes {@linkcode encodeText}. Only the one spelling is taken: upper case, another offset than
 * `Z`, a missing digit, 30 February and leap seconds are refused.
 *
 * @param text 36 characters.
 * @returns The timestamp and its node.
 * @throws {MmsbError} `usage` if it is no such text.
 *
 * @example There and back
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * deepEqual(decodeText("1970-01-01T00:00:00.000000Z-02a-0007"), { timestamp: 42n, node: 7 });
 * ```
 */
export function decodeText(text: string): NodeTimestamp {
  checkType("timestamp text", text, "string");
  const match = TEXT_PATTERN.exec(text);
  const ms = match === null ? NaN : Date.parse(`${match[1]}Z`);
  if (match !== null && ms >= 0) {
    const us = ms * 1000 + Number(match[2]);
    const node = parseInt(match[4], 16);
    if (us <= PHYSICAL_US_MAX) {
      const timestamp = timestampOf(us, parseInt(match[3], 16));
      // Date.parse takes 30 February for 2 March and 24:00 for the next day; the way back tells.
      if (encodeText(timestamp, node) === text) return { timestamp, node };
    }
  }
  throw new MmsbError(
    "usage",
    `Cannot decode ${JSON.stringify(text.slice(0, 60))} as a timestamp: ` +
      'write it as "2026-01-01T00:00:00.000000Z-000-0000", from 1970 to 2112',
    { values: { text: text.slice(0, 60) } },
  );
}

const TEXT_PATTERN =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})(\d{3})Z-([0-9a-f]{3})-([0-9a-f]{4})$/;

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

function viewOf(bytes: Uint8Array, size: number, form: string): DataView {
  checkBytes("timestamp bytes", bytes);
  checkInteger(`length of a timestamp in ${form} form`, bytes.length, size, size, "usage");
  return new DataView(bytes.buffer, bytes.byteOffset, size);
}
