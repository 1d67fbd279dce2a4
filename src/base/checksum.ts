/**
 * The checksum of frames and checkpoints: CRC-32 as in zlib, gzip and PNG (ISO-HDLC polynomial).
 *
 * Why CRC-32: it finds every burst of damage up to 32 bits and misses others once in 2³², which is
 * what torn writes and flipped bits need; it is not a defence against somebody who wants to deceive.
 * Why `node:zlib`: its native code runs at several times the speed of a table in TypeScript, and
 * Deno, Node and Bun all have it.
 *
 * What it reads: a `Uint8Array` over an `ArrayBuffer` or a `SharedArrayBuffer`, growable or not,
 * whole or a part; the tests hold it to that. An empty array gives the seed. Other threads must not
 * write the bytes meanwhile: the result would be the checksum of no state that ever was.
 *
 * Cost: about 0.1 µs a call plus the bytes at memory speed; so one call a frame, never one a row.
 */

import { crc32 as zlibCrc32 } from "node:zlib";

/**
 * Computes the CRC-32 of bytes, or goes on with one: `crc32(b, crc32(a))` is the checksum of `a`
 * followed by `b`.
 *
 * @param bytes The bytes; any kind of buffer underneath.
 * @param seed The checksum so far, 0 … 2³² − 1; 0 at the start.
 * @returns The checksum, 0 … 2³² − 1.
 *
 * @example In one go and in two
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const bytes = new TextEncoder().encode("123456789");
 * assert.equal(crc32(bytes), 0xcbf43926);
 * assert.equal(crc32(bytes.subarray(4), crc32(bytes.subarray(0, 4))), 0xcbf43926);
 * ```
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed);
}
