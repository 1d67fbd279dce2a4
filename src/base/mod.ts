/**
 * What every other layer stands on: errors with codes, limits, assertions and argument checks,
 * the checksum, retry, and byte helpers. It imports nothing of ours.
 *
 * ```ts
 * import { checkInteger, crc32, encodeUtf8, NAME_BYTES_MAX } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const name = encodeUtf8("name", "board", NAME_BYTES_MAX);
 * assert.equal(name.length, checkInteger("length", 5, 0, NAME_BYTES_MAX));
 * assert.equal(crc32(name).toString(16), "58562b47");
 * ```
 *
 * @module
 */

export * from "./assert.ts";
export * from "./bytes.ts";
export * from "./checksum.ts";
export * from "./errors.ts";
export * from "./limits.ts";
export * from "./retry.ts";
