/**
 * Small helpers for bytes: text to UTF-8 and back, hex, equality, alignment, and sizes for people.
 *
 * Why not the platform's own: these refuse where the platform repairs. A lone surrogate or a broken
 * byte sequence would be replaced by U+FFFD without a word, and a name would come back from the log
 * as another name.
 *
 * Cost: one pass over the bytes; `equalBytes` compares four bytes at a time where it can. Nothing
 * here is on the per-delta path.
 */

import { assert } from "./assert.ts";
import { MmsbError, type MmsbErrorCode } from "./errors.ts";

const encoder = new TextEncoder();
// A byte order mark is content here: without `ignoreBOM` decoding would drop it.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Encodes text as UTF-8.
 *
 * @param name What the text is, for the message.
 * @param text The text.
 * @param bytesMax Most bytes allowed.
 * @returns The bytes.
 * @throws {MmsbError} `limit` where there are more bytes, `usage` where the text holds half of a
 * surrogate pair.
 */
export function encodeUtf8(name: string, text: string, bytesMax: number): Uint8Array<ArrayBuffer> {
  if (!text.isWellFormed()) {
    throw new MmsbError("usage", `Cannot use the ${name}: it holds half of a surrogate pair`, {
      values: { name, text },
    });
  }
  // Each UTF-16 unit gives at least one byte, so a text too long is refused before it is encoded.
  const bytes = text.length > bytesMax ? undefined : encoder.encode(text);
  if (bytes === undefined || bytes.length > bytesMax) {
    throw new MmsbError(
      "limit",
      `Cannot use the ${name} as it is too long: at most ${bytesMax} bytes of UTF-8 are allowed`,
      { values: { name, bytes: bytes?.length ?? encoder.encode(text).length, bytesMax } },
    );
  }
  return bytes;
}

/**
 * Decodes UTF-8, and refuses bytes that are none.
 *
 * @param name What the text is, for the message.
 * @param bytes The bytes; any kind of buffer underneath.
 * @param code Code of the error: `corrupt-log` where the bytes come from a log.
 * @returns The text.
 * @throws {MmsbError} `code` (`usage` if left out) where the bytes are no UTF-8.
 *
 * @example There and back
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(decodeUtf8("name", encodeUtf8("name", "größe", 1024)), "größe");
 * assert.throws(() => decodeUtf8("name", Uint8Array.of(0xff)), { code: "usage" });
 * ```
 */
export function decodeUtf8(
  name: string,
  bytes: Uint8Array,
  code: MmsbErrorCode = "usage",
): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new MmsbError(code, `Cannot read the ${name}: its bytes are not UTF-8`, {
      values: { name, bytes },
      cause,
    });
  }
}

const HEX_DIGITS = "0123456789abcdef";

/**
 * Writes bytes as lower-case hex digits, two a byte.
 *
 * @param bytes The bytes.
 * @returns The digits.
 */
export function toHex(bytes: Uint8Array): string {
  let hex = "";
  for (let i = 0; i < bytes.length; i++) {
    hex += HEX_DIGITS[bytes[i] >> 4] + HEX_DIGITS[bytes[i] & 15];
  }
  return hex;
}

/**
 * Reads bytes from hex digits, of either case, two a byte.
 *
 * @param hex The digits, without spaces.
 * @returns The bytes.
 * @throws {MmsbError} `usage` where the number of digits is odd or a character is no digit.
 *
 * @example There and back
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(toHex(fromHex("00FF10")), "00ff10");
 * ```
 */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(hex)) {
    throw new MmsbError("usage", "Cannot read hex: give two digits 0-9, a-f for each byte", {
      values: { hex: hex.slice(0, 64), length: hex.length },
    });
  }
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/**
 * Puts pieces of bytes behind one another.
 *
 * @param parts The pieces.
 * @returns A copy of them all.
 *
 * @example Three pieces
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const parts = [Uint8Array.of(1), Uint8Array.of(), Uint8Array.of(2, 3)];
 * assert.deepEqual(joinBytes(parts), Uint8Array.of(1, 2, 3));
 * ```
 */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Below this many bytes two views for comparing words cost more than they save. */
const EQUAL_WORDS_BYTES_MIN = 64;

/**
 * Tells whether two byte arrays hold the same bytes. Not in constant time: not for secrets.
 *
 * @param a One array.
 * @param b The other.
 * @returns Whether lengths and bytes are equal.
 */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let i = 0;
  if (a.length >= EQUAL_WORDS_BYTES_MIN && a.byteOffset % 4 === 0 && b.byteOffset % 4 === 0) {
    const words = a.length >>> 2;
    const wordsA = new Uint32Array(a.buffer, a.byteOffset, words);
    const wordsB = new Uint32Array(b.buffer, b.byteOffset, words);
    for (let w = 0; w < words; w++) if (wordsA[w] !== wordsB[w]) return false;
    i = words * 4;
  }
  for (; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Rounds up to the next multiple.
 *
 * @param value A whole number, 0 or more; may be past 2³².
 * @param alignment The multiple, 1 or more.
 * @returns The smallest multiple of `alignment` that is at least `value`.
 *
 * @example Eight-byte alignment
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(alignUp(13, 8), 16);
 * assert.equal(alignUp(16, 8), 16);
 * ```
 */
export function alignUp(value: number, alignment: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, "A value to align is a whole number");
  assert(Number.isSafeInteger(alignment) && alignment >= 1, "An alignment is a whole number");
  const rest = value % alignment;
  return rest === 0 ? value : value + (alignment - rest);
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const COUNT_UNITS = ["", "K", "M", "G", "T", "P"];

/**
 * Writes a number of bytes for people, in powers of 1024 and three digits.
 *
 * @param bytes The number.
 * @returns Number and unit: `1.5 MiB`.
 *
 * @example Some sizes
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(formatBytes(512), "512 B");
 * assert.equal(formatBytes(1.5 * 2 ** 20), "1.5 MiB");
 * ```
 */
export function formatBytes(bytes: number): string {
  const { digits, unit } = scale(bytes, 1024, BYTE_UNITS);
  return `${digits} ${unit}`.trimEnd();
}

/**
 * Writes a count for people, in powers of 1000 and three digits.
 *
 * @param count The number.
 * @returns Number and unit without a space: `782K`.
 */
export function formatCount(count: number): string {
  const { digits, unit } = scale(count, 1000, COUNT_UNITS);
  return `${digits}${unit}`;
}

/**
 * Writes a rate for people: bytes a second in powers of 1024, anything else in powers of 1000.
 *
 * @param perSecond The number for each second.
 * @param unit What is counted; `"B"` for bytes, nothing for a bare count.
 * @returns The rate: `1.5 GiB/s`, `782K/s`, `1.2M deltas/s`.
 *
 * @example Some rates
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(formatRate(782_000), "782K/s");
 * assert.equal(formatRate(1_200_000, "deltas"), "1.2M deltas/s");
 * assert.equal(formatRate(3 * 2 ** 30, "B"), "3 GiB/s");
 * ```
 */
export function formatRate(perSecond: number, unit = ""): string {
  if (unit === "B") return `${formatBytes(perSecond)}/s`;
  return `${formatCount(perSecond)}${unit === "" ? "" : ` ${unit}`}/s`;
}

function scale(
  value: number,
  base: number,
  units: readonly string[],
): { digits: string; unit: string } {
  if (!Number.isFinite(value)) return { digits: String(value), unit: "" };
  let scaled = value;
  let index = 0;
  // Judged after rounding to three digits, so that 999.9 KiB is 1000 KiB and never "1e+3 KiB".
  while (index < units.length - 1 && Math.abs(round(scaled)) >= base) {
    scaled /= base;
    index++;
  }
  return { digits: String(round(scaled)), unit: units[index] };
}

/** Three significant digits, but whole numbers whole: 1000 to 1023 KiB keep all four. */
function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
