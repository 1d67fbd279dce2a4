/**
 * Wrong bytes: which byte of a damaged file is not what was written, and what it was.
 *
 * A checksum says more than that something is wrong. CRC-32 is linear: if one byte of what it covers is
 * another, the difference of the two checksums is that byte's difference, moved on by as many zero bytes as
 * follow it. Moved back byte by byte it shows the place and the value. In a frame of some kilobytes one place at
 * most fits; in one of 64 MiB a few may, and whoever asks tries each.
 *
 * So a flipped bit, the commonest damage of a disk and of a memory, is named to the byte. Where more than
 * one byte of a part is wrong nothing fits, and nothing is said.
 *
 * Cost: two table look-ups a byte of the part that does not fit.
 */

import { crc32, LANES_MAX } from "../base/mod.ts";
import {
  CHECKPOINT_FOOTER_BYTES,
  CHECKPOINT_HEADER_BYTES,
  CHECKPOINT_LANE_BYTES,
  CHUNK_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  META_PATH,
  metaOf,
  SECTION_ENTRY_BYTES,
  SECTIONS_MAX,
  SEGMENT_HEADER_BYTES,
  SEGMENT_MAGIC,
  type Storage,
} from "../log/mod.ts";

/** One byte that is not what was written. */
export interface WrongByte {
  /** File, relative to the directory. */
  readonly file: string;
  /** Its place in the file. */
  readonly offset: number;
  /** What stands there. */
  readonly found: number;
  /** What was written. */
  readonly written: number;
}

/** A part of a file with the checksum that covers it. */
interface CheckedPart {
  readonly from: number;
  readonly to: number;
  /** Where its checksum stands. */
  readonly checkAt: number;
}

/** Places that are looked at further; more of them mean that it was no single byte. */
const PLACES_MAX = 8;
/** A `meta.json` of more bytes is not searched. */
const META_BYTES_MAX = 4096;
const CHECKPOINT_MAGICS = { header: 0x48434d4d, chunk: 0x43434d4d, footer: 0x46434d4d };
const CHUNK_ENTRY_BYTES = 40;
const INDEX_MAGIC = 0x49534d4d;
const INDEX_HEADER_BYTES = 128;

/** CRC-32 of single bytes, reflected: what `crc32` works by. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb8_8320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});
/** The byte whose entry begins with these 8 bits: they are another's each. */
const BY_TOP = new Uint8Array(256);
TABLE.forEach((value, byte) => BY_TOP[value >>> 24] = byte);

/**
 * Bytes of a file each of which, put right, would make the part at fault fit its checksum.
 *
 * @param near Where the part that is at fault begins, as the check of the log says it.
 */
export function wrongBytes(storage: Storage, file: string, near = 0): WrongByte[] {
  const bytes = storage.readAll(file);
  if (bytes === undefined) return [];
  const found = file === META_PATH
    ? inMeta(bytes)
    : file.endsWith(".ckpt")
    ? inCheckpoint(bytes)
    : file.endsWith(".idx")
    ? inIndex(bytes)
    : file.endsWith(".log")
    ? inSegment(bytes, near)
    : [];
  return found.length > PLACES_MAX ? [] : found.map((place) => ({ file, ...place }));
}

type Place = Omit<WrongByte, "file">;

function inSegment(bytes: Uint8Array, at: number): Place[] {
  if (at < SEGMENT_HEADER_BYTES) {
    const part = { from: 8, to: SEGMENT_HEADER_BYTES, checkAt: 4 };
    return withMagic(bytes, 0, SEGMENT_MAGIC, part);
  }
  // The header's own length may be what is wrong.
  for (let sections = 0; sections <= SECTIONS_MAX; sections++) {
    const to = at + FRAME_HEADER_BYTES + SECTION_ENTRY_BYTES * sections;
    if (to > bytes.length) break;
    const header = { from: at + 8, to, checkAt: at + 4 };
    const view = viewOf(bytes);
    if (isGood(bytes, header) && view.getUint32(at, true) === FRAME_MAGIC) {
      const end = at + view.getUint32(at + 12, true);
      return end > bytes.length ? [] : placesIn(bytes, { from: to, to: end, checkAt: at + 116 });
    }
    const found = withMagic(bytes, at, FRAME_MAGIC, header).filter(({ offset, written }) => {
      const put = bytes.slice(at, to);
      put[offset - at] = written;
      return viewOf(put).getUint16(10, true) === to - at && put[27] === sections;
    });
    if (found.length > 0) return found;
  }
  return [];
}

function inCheckpoint(bytes: Uint8Array): Place[] {
  if (bytes.length < CHECKPOINT_HEADER_BYTES + CHECKPOINT_FOOTER_BYTES) return [];
  const view = viewOf(bytes), footerAt = bytes.length - CHECKPOINT_FOOTER_BYTES;
  const magics = CHECKPOINT_MAGICS, header = inCheckpointHeader(bytes);
  if (header.length > 0) return header;
  const footer = withMagic(bytes, footerAt, magics.footer, {
    from: footerAt + 8,
    to: bytes.length,
    checkAt: footerAt + 4,
  });
  if (footer.length > 0) return footer;
  const tableAt = Number(view.getBigUint64(footerAt + 24, true));
  const structure = view.getUint32(footerAt + 56, true), found: Place[] = [];
  const look = (part: CheckedPart) => found.push(...placesIn(bytes, part));
  look({ from: tableAt, to: footerAt, checkAt: footerAt + 32 });
  if (structure > 0) look({ from: tableAt - structure, to: tableAt, checkAt: footerAt + 60 });
  if (found.length > 0) return found;
  for (let chunk = 0; chunk < view.getUint32(footerAt + 36, true); chunk++) {
    const entry = tableAt + CHUNK_ENTRY_BYTES * chunk;
    // What says how many there are may be wrong, too.
    if (entry + CHUNK_ENTRY_BYTES > footerAt) break;
    const at = Number(view.getBigUint64(entry, true));
    if (at + CHUNK_HEADER_BYTES > tableAt) continue;
    const head = { from: at + 8, to: at + CHUNK_HEADER_BYTES, checkAt: at + 4 };
    const inHead = withMagic(bytes, at, magics.chunk, head);
    found.push(...inHead);
    if (inHead.length > 0) continue;
    const columnsAt = at + CHUNK_HEADER_BYTES, dataAt = columnsAt + view.getUint32(at + 24, true);
    look({ from: columnsAt, to: dataAt, checkAt: at + 40 });
    look({ from: dataAt, to: dataAt + view.getUint32(at + 36, true), checkAt: at + 44 });
  }
  return found;
}

/** The number of lanes, and with it the header's length, may be what is wrong. */
function inCheckpointHeader(bytes: Uint8Array): Place[] {
  for (let lanes = 0; lanes <= LANES_MAX; lanes++) {
    const to = CHECKPOINT_HEADER_BYTES + CHECKPOINT_LANE_BYTES * lanes;
    if (to > bytes.length) break;
    const part = { from: 8, to, checkAt: 4 };
    const places = withMagic(bytes, 0, CHECKPOINT_MAGICS.header, part);
    const found = places.filter(({ offset, written }) => {
      const put = bytes.slice(0, to);
      put[offset] = written;
      return viewOf(put).getUint16(10, true) === lanes && viewOf(put).getUint32(12, true) === to;
    });
    if (found.length > 0) return found;
    if (viewOf(bytes).getUint32(0, true) === CHECKPOINT_MAGICS.header && isGood(bytes, part)) break;
  }
  return [];
}

function inIndex(bytes: Uint8Array): Place[] {
  if (bytes.length < INDEX_HEADER_BYTES) return [];
  const header = { from: 8, to: INDEX_HEADER_BYTES, checkAt: 4 };
  const found = withMagic(bytes, 0, INDEX_MAGIC, header);
  if (found.length > 0) return found;
  return placesIn(bytes, { from: INDEX_HEADER_BYTES, to: bytes.length, checkAt: 12 });
}

/** Tries them all: its checksum is over what it says, not over its bytes. */
function inMeta(bytes: Uint8Array): Place[] {
  if (bytes.length > META_BYTES_MAX || isMeta(bytes)) return [];
  const copy = bytes.slice(), found: Place[] = [];
  for (let offset = 0; offset < copy.length; offset++) {
    const before = copy[offset];
    // What it is written with: printable ASCII, and line breaks.
    for (const written of [10, ...Array.from({ length: 95 }, (_, code) => 32 + code)]) {
      copy[offset] = written;
      if (written === before || !isMeta(copy)) continue;
      const place = { offset, found: before, written };
      // Of spaces and line breaks, that which the writer sets.
      if (isAsWritten(copy)) return [place];
      found.push(place);
    }
    copy[offset] = before;
  }
  return found;
}

function isAsWritten(bytes: Uint8Array): boolean {
  const text = new TextDecoder().decode(bytes);
  return `${JSON.stringify(JSON.parse(text), null, 2)}\n` === text;
}

function isMeta(bytes: Uint8Array): boolean {
  try {
    return metaOf(bytes) !== undefined;
  } catch {
    return false;
  }
}

/** A part behind four bytes that say what it is, which its checksum does not cover. */
function withMagic(bytes: Uint8Array, at: number, magic: number, part: CheckedPart): Place[] {
  const places: Place[] = [];
  for (let i = 0; i < 4; i++) {
    const written = magic >>> (8 * i) & 0xff, found = bytes[at + i];
    if (found !== written) places.push({ offset: at + i, found, written });
  }
  if (places.length === 0) return placesIn(bytes, part);
  return places.length === 1 && isGood(bytes, part) ? places : [];
}

function isGood(bytes: Uint8Array, { from, to, checkAt }: CheckedPart): boolean {
  return crc32(bytes.subarray(from, to)) === viewOf(bytes).getUint32(checkAt, true);
}

/** Single bytes that account for a checksum that does not fit; none where it fits. */
function placesIn(bytes: Uint8Array, { from, to, checkAt }: CheckedPart): Place[] {
  if (from < 0 || from > to || to > bytes.length || checkAt + 4 > bytes.length) return [];
  const stored = viewOf(bytes).getUint32(checkAt, true);
  let difference = (crc32(bytes.subarray(from, to)) ^ stored) >>> 0;
  if (difference === 0) return [];
  const places: Place[] = [];
  const add = (offset: number, change: number) => {
    places.push({ offset, found: bytes[offset], written: bytes[offset] ^ change });
  };
  // The checksum itself may be what is wrong.
  for (let i = 0; i < 4; i++) {
    if ((difference & ~(0xff << (8 * i))) === 0) add(checkAt + i, difference >>> (8 * i) & 0xff);
  }
  for (let offset = to - 1; offset >= from && places.length <= PLACES_MAX; offset--) {
    const byte = BY_TOP[difference >>> 24];
    if (TABLE[byte] === difference) add(offset, byte);
    difference = ((difference ^ TABLE[byte]) << 8 | byte) >>> 0;
  }
  return places;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A directory as it is with some bytes put right. It is only to be read.
 *
 * @param storage The directory.
 * @param bytes The bytes.
 */
export function corrected(storage: Storage, bytes: readonly WrongByte[]): Storage {
  const put = (file: string, target: Uint8Array, position: number) => {
    for (const { file: other, offset, written } of bytes) {
      const at = offset - position;
      if (other === file && at >= 0 && at < target.length) target[at] = written;
    }
  };
  const own: Readonly<Record<PropertyKey, unknown>> = {
    readAll(file: string) {
      const all = storage.readAll(file)?.slice();
      if (all !== undefined) put(file, all, 0);
      return all;
    },
    open(file: string, mode: "read") {
      const opened = storage.open(file, mode);
      const read = (target: Uint8Array, position: number) => {
        const count = opened.read(target, position);
        put(file, target.subarray(0, count), position);
        return count;
      };
      return overriding(opened, { read });
    },
  };
  return overriding(storage, own);
}

function overriding<T extends object>(target: T, own: Readonly<Record<PropertyKey, unknown>>): T {
  return new Proxy(target, {
    get(from, key) {
      if (Object.hasOwn(own, key)) return own[key];
      const value = Reflect.get(from, key, from);
      return typeof value === "function" ? value.bind(from) : value;
    },
  });
}
