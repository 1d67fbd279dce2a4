/**
 * Births as bytes: the payload of the structural row that creates a page.
 *
 * u32 length of the name, the name in UTF-8, then the metadata's byte form. A page with neither has
 * no payload at all, so a million plain pages cost a few bytes each in the log.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, MmsbError, NAME_BYTES_MAX } from "../base/mod.ts";
import { decodeMetadata, encodeMetadata, type Metadata } from "../physical/mod.ts";

/** Name and metadata of a page being born. */
export interface BirthText {
  /** Name, "" for none. */
  readonly name: string;
  /** Metadata. */
  readonly metadata: Metadata;
}

const EMPTY = new Uint8Array(0);
const PLAIN: BirthText = { name: "", metadata: new Map() };

/** The payload. */
export function encodeBirth(name: string, metadata: Metadata | undefined): Uint8Array {
  // An array a page, even an empty one, would cost a million pages hundreds of megabytes.
  if (name === "" && (metadata === undefined || metadata.size === 0)) return EMPTY;
  const encoded = encodeMetadata(metadata ?? new Map());
  const nameBytes = encodeUtf8("page name", name, NAME_BYTES_MAX);
  const bytes = new Uint8Array(4 + nameBytes.length + encoded.length);
  new DataView(bytes.buffer).setUint32(0, nameBytes.length, true);
  bytes.set(nameBytes, 4);
  bytes.set(encoded, 4 + nameBytes.length);
  return bytes;
}

/**
 * Reads the payload.
 *
 * @throws {MmsbError} `corrupt-log` where it is none.
 */
export function decodeBirth(bytes: Uint8Array): BirthText {
  if (bytes.length === 0) return PLAIN;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length < 4 ? Infinity : view.getUint32(0, true);
  if (4 + length > bytes.length) {
    throw new MmsbError("corrupt-log", "Cannot read the birth of a page: its name is cut", {
      values: { length: bytes.length },
    });
  }
  return {
    name: decodeUtf8("page name", bytes.subarray(4, 4 + length), "corrupt-log"),
    metadata: decodeMetadata(bytes.subarray(4 + length)),
  };
}
