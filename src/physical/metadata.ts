/**
 * Page metadata: an ordered map from short strings to bytes, and its byte form.
 *
 * Byte form, little endian: u32 count, then for each entry u32 key length, key (UTF-8), u32 value
 * length, value. No entries is zero bytes. Setting a key that is there replaces its value and
 * keeps its place.
 *
 * @module
 */

import {
  checkBytes,
  checkType,
  decodeUtf8,
  encodeUtf8,
  METADATA_BYTES_MAX,
  MmsbError,
  NAME_BYTES_MAX,
} from "../base/mod.ts";

/** Page metadata in order of first insertion. */
export type Metadata = ReadonlyMap<string, Uint8Array>;

/** What callers may give: an object or a map. */
export type MetadataInput = Readonly<Record<string, Uint8Array>> | Metadata;

/**
 * The byte form.
 *
 * @throws {MmsbError} `usage` for keys that are no text or values that are no bytes, `limit` for a
 * key past 1,024 bytes or past 1 MiB in all.
 */
export function encodeMetadata(metadata: MetadataInput): Uint8Array {
  checkType("metadata", metadata, "object");
  const entries: [Uint8Array, Uint8Array][] = [];
  let size = 4;
  for (const [key, value] of metadata instanceof Map ? metadata : Object.entries(metadata)) {
    const keyBytes = encodeUtf8(
      "metadata key",
      checkType("metadata key", key, "string"),
      NAME_BYTES_MAX,
    );
    size += 8 + keyBytes.length + checkBytes(`metadata "${key}"`, value).length;
    entries.push([keyBytes, value]);
  }
  if (entries.length === 0) return new Uint8Array(0);
  if (size > METADATA_BYTES_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot store ${size} bytes of metadata: at most ${METADATA_BYTES_MAX} are allowed`,
      { values: { size, limit: METADATA_BYTES_MAX } },
    );
  }
  const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
  view.setUint32(0, entries.length, true);
  let at = 4;
  for (const entry of entries) {
    for (const part of entry) {
      view.setUint32(at, part.length, true);
      bytes.set(part, at + 4);
      at += 4 + part.length;
    }
  }
  return bytes;
}

/**
 * Reads the byte form.
 *
 * @throws {MmsbError} `corrupt-log` where the bytes are no such form; nothing of it is returned.
 */
export function decodeMetadata(bytes: Uint8Array): Map<string, Uint8Array> {
  const metadata = new Map<string, Uint8Array>();
  if (bytes.length === 0) return metadata;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const length = (): number => {
    if (at + 4 > bytes.length) refuse(at, bytes.length);
    at += 4;
    return view.getUint32(at - 4, true);
  };
  const part = (): Uint8Array => {
    const size = length();
    if (size > bytes.length - at) refuse(at, bytes.length);
    at += size;
    return bytes.slice(at - size, at);
  };
  const count = length();
  for (let index = 0; index < count; index++) {
    const key = decodeUtf8("metadata key", part(), "corrupt-log");
    if (metadata.has(key)) refuse(at, bytes.length);
    metadata.set(key, part());
  }
  if (at !== bytes.length) refuse(at, bytes.length);
  return metadata;
}

function refuse(offset: number, size: number): never {
  throw new MmsbError(
    "corrupt-log",
    `Cannot read metadata as it is cut or overlong: byte ${offset} of ${size}`,
    { values: { offset, size } },
  );
}
