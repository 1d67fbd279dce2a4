/**
 * Checkpoint format 1: what stands in a checkpoint, byte by byte.
 *
 * A checkpoint is one file, `checkpoints/TICK.ckpt`: images of all pages, copied while ticks went on,
 * each chunk of them between two ticks. It begins with a header, written first, and ends with a table
 * of its chunks and a footer, written last; it has its name only once all of it and the log up to its
 * tick are durable. All numbers are little endian, every part starts at a multiple of 8.
 *
 * Header, 64 bytes, then 32 bytes a lane:
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u32 | magic "MMCH" |
 * | 4 | u32 | CRC-32 of bytes 8 … header length |
 * | 8 | u16 | checkpoint format |
 * | 10 | u16 | number of lanes |
 * | 12 | u32 | header length, lanes included |
 * | 16 | u64 | first tick: the last one before the first image |
 * | 24 | u64 | largest HLC in it |
 * | 32 | u32 | next page id in it |
 * | 36 | u32 | shards of the directory |
 * | 40 | u32 | incarnation of the writer |
 * | 44 | … | zero |
 *
 * Lane, the place in the log from which it makes the images whole: u32 lane, u32 segment, u64 byte of
 * the segment, u64 position in the lane, u64 zero.
 *
 * Chunk, a header of 64 bytes, then columns, then data:
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u32 | magic "MMCC" |
 * | 4 | u32 | CRC-32 of bytes 8 … 64 |
 * | 8 | u32 | chunk length, a multiple of 8 |
 * | 12 | u32 | pages |
 * | 16 | u64 | tick at which the images were made |
 * | 24 | u32 | bytes of the columns, a multiple of 16 |
 * | 28 | u32 | form of the data: 0 as it is, 1 one zstd frame |
 * | 32 | u32 | bytes of the data |
 * | 36 | u32 | bytes that it takes here |
 * | 40 | u32 | CRC-32 of the columns |
 * | 44 | u32 | CRC-32 of the data as it stands here |
 * | 48 | … | zero |
 *
 * Columns: page id, size, low and high half of the epoch, shard; first u32 encoding and u32 length of
 * each (encodings as in a frame of the log, see `format.ts`), then they follow, each padded to 8. Then u32 count
 * and u32 bytes of the texts, and the texts: u32 index of the page in the chunk, u32 length, name and
 * metadata as in the birth of a page, padded to 8. Data: the bytes of the pages in the same order, each
 * padded to 16 (what the padding holds means nothing).
 *
 * Structure, right before the table, only where there is any: edges, bindings of rules and marks as they are
 * after the checkpoint's tick, see `structure_image.ts`; padded to 8.
 *
 * Table: 40 bytes a chunk, then u32 each the pages that were there when the first image was made and
 * died before their own was.
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u64 | first byte of the chunk |
 * | 8 | u64 | tick at which its images were made |
 * | 16 | u32 | its length |
 * | 20 | u32 | its header's CRC-32 |
 * | 24 | u32 | pages |
 * | 28 | u32 | smallest page id |
 * | 32 | u32 | largest page id |
 * | 36 | u32 | bytes of its columns |
 *
 * Footer, the last 64 bytes:
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u32 | magic "MMCF" |
 * | 4 | u32 | CRC-32 of bytes 8 … 64 |
 * | 8 | u16 | checkpoint format: 2 with a structure, so that who does not know it does not go without |
 * | 10 | u16 | zero |
 * | 12 | u32 | the header's CRC-32 |
 * | 16 | u64 | tick: the last one at which an image was made or a page found dead; the checkpoint is good from there on |
 * | 24 | u64 | first byte of the table |
 * | 32 | u32 | CRC-32 of the table |
 * | 36 | u32 | chunks |
 * | 40 | u32 | pages that died |
 * | 44 | u32 | pages |
 * | 48 | u64 | bytes of the pages |
 * | 56 | u32 | bytes of the structure, 0 where there is none |
 * | 60 | u32 | CRC-32 of the structure |
 *
 * @module
 */

import { crc32 } from "../base/mod.ts";
import { CHUNK_FORM } from "./checkpoint_form.ts";
import { setU64 } from "./frame_writer.ts";
import type { LogPlace } from "./meta.ts";

/** Checkpoint format written. */
export const CHECKPOINT_FORMAT = 1;
/** Checkpoint format of those that have a structure, and the newest one that can be read. */
export const CHECKPOINT_FORMAT_MAX = 2;
/** Folder of the checkpoints. */
export const CHECKPOINT_FOLDER = "checkpoints";
/** Bytes of a header without its lanes. */
export const CHECKPOINT_HEADER_BYTES = 64;
/** Bytes of one lane in the header. */
export const CHECKPOINT_LANE_BYTES = 32;
/** Bytes of a chunk's header. */
export const CHUNK_HEADER_BYTES = 64;
/** Bytes of a chunk in the table. */
export const CHUNK_ENTRY_BYTES = 40;
/** Bytes of the footer. */
export const CHECKPOINT_FOOTER_BYTES = 64;
/** Columns of a chunk. */
export const CHUNK_COLUMNS = 5;
/** Pages start at multiples of this in a chunk's data, as their slots do in memory. */
export const IMAGE_ALIGN_BYTES = 16;

const HEADER_MAGIC = 0x48434d4d;
const CHUNK_MAGIC = 0x43434d4d;
const FOOTER_MAGIC = 0x46434d4d;

/** What a checkpoint's header holds. */
export interface CheckpointHeader {
  /** Where the log makes the images whole; its tick is the last before the first image. */
  readonly place: LogPlace;
  /** Largest HLC in that tick. */
  readonly hlcLast: bigint;
  /** Next page id then. */
  readonly nextPageId: number;
  /** Shards of the directory. */
  readonly shards: number;
  /** Incarnation of the writer. */
  readonly incarnation: number;
}

/** What a chunk's header holds. */
export interface ChunkHeader {
  /** Length of the chunk. */
  readonly bytes: number;
  /** Pages. */
  readonly pages: number;
  /** Tick at which the images were made. */
  readonly tick: number;
  /** Bytes of the columns. */
  readonly columnBytes: number;
  /** One of {@linkcode CHUNK_FORM}. */
  readonly form: number;
  /** Bytes of the data. */
  readonly dataBytes: number;
  /** Bytes that the data takes in the file. */
  readonly storedBytes: number;
  /** CRC-32 of the columns. */
  readonly columnCheck: number;
  /** CRC-32 of the data as stored. */
  readonly dataCheck: number;
}

/** A chunk in the table. */
export interface ChunkEntry {
  /** First byte in the file. */
  readonly at: number;
  /** Tick at which its images were made. */
  readonly tick: number;
  /** Length. */
  readonly bytes: number;
  /** CRC-32 of its header. */
  readonly check: number;
  /** Bytes of its columns. */
  readonly columnBytes: number;
  /** Pages. */
  readonly pages: number;
  /** Smallest page id. */
  readonly idMin: number;
  /** Largest page id. */
  readonly idMax: number;
}

/** What a checkpoint's footer holds. */
export interface CheckpointFooter {
  /** CRC-32 of the header. */
  readonly headerCheck: number;
  /** Tick from which on the checkpoint is good. */
  readonly tick: number;
  /** First byte of the table. */
  readonly tableAt: number;
  /** CRC-32 of the table. */
  readonly tableCheck: number;
  /** Chunks. */
  readonly chunks: number;
  /** Pages that died before their images were made. */
  readonly gone: number;
  /** Pages. */
  readonly pages: number;
  /** Bytes of the pages. */
  readonly pageBytes: number;
  /** Bytes of the structure, which ends where the table begins. */
  readonly structureBytes: number;
  /** CRC-32 of the structure. */
  readonly structureCheck: number;
}

/** Path of the checkpoint that is good from a tick on. */
export function checkpointPath(tick: number): string {
  return `${CHECKPOINT_FOLDER}/${String(tick).padStart(12, "0")}.ckpt`;
}

/** Tick of the checkpoint that has a name, `undefined` for other names. */
export function checkpointTick(name: string): number | undefined {
  const digits = /^(\d{12,16})\.ckpt$/.exec(name)?.[1];
  const tick = Number(digits);
  return digits !== undefined && checkpointPath(tick).endsWith(`/${name}`) ? tick : undefined;
}

/** The header's bytes. */
export function encodeCheckpointHeader(header: CheckpointHeader): Uint8Array {
  const { place, hlcLast, nextPageId, shards, incarnation } = header;
  const length = CHECKPOINT_HEADER_BYTES + CHECKPOINT_LANE_BYTES * place.lanes.length;
  const bytes = new Uint8Array(length), view = new DataView(bytes.buffer);
  view.setUint16(8, CHECKPOINT_FORMAT, true);
  view.setUint16(10, place.lanes.length, true);
  view.setUint32(12, length, true);
  setU64(view, 16, place.tick);
  view.setBigUint64(24, hlcLast, true);
  view.setUint32(32, nextPageId, true);
  view.setUint32(36, shards, true);
  view.setUint32(40, incarnation, true);
  place.lanes.forEach(({ lane, segment, offset, position }, index) => {
    const at = CHECKPOINT_HEADER_BYTES + CHECKPOINT_LANE_BYTES * index;
    view.setUint32(at, lane, true);
    view.setUint32(at + 4, segment, true);
    setU64(view, at + 8, offset);
    setU64(view, at + 16, position);
  });
  return sealed(bytes, HEADER_MAGIC);
}

/** Reads a header; a text says what is wrong with it. */
export function decodeCheckpointHeader(bytes: Uint8Array): CheckpointHeader | string {
  const fault = partFault(bytes, HEADER_MAGIC, CHECKPOINT_HEADER_BYTES, "header");
  if (fault !== undefined) return fault;
  const view = viewOf(bytes), count = view.getUint16(10, true);
  if (bytes.length !== CHECKPOINT_HEADER_BYTES + CHECKPOINT_LANE_BYTES * count) {
    return "its header is cut";
  }
  const lanes = Array.from({ length: count }, (_, index) => {
    const at = CHECKPOINT_HEADER_BYTES + CHECKPOINT_LANE_BYTES * index;
    return {
      lane: view.getUint32(at, true),
      segment: view.getUint32(at + 4, true),
      offset: u64(view, at + 8),
      position: u64(view, at + 16),
    };
  });
  return {
    place: { tick: u64(view, 16), lanes },
    hlcLast: view.getBigUint64(24, true),
    nextPageId: view.getUint32(32, true),
    shards: view.getUint32(36, true),
    incarnation: view.getUint32(40, true),
  };
}

/** Length of a header whose first bytes are at hand. */
export function checkpointHeaderBytes(bytes: Uint8Array): number {
  return viewOf(bytes).getUint32(12, true);
}

/** Writes a chunk's header in its place; gives its checksum. */
export function writeChunkHeader(target: Uint8Array, header: ChunkHeader): number {
  const view = viewOf(target);
  target.fill(0, 0, CHUNK_HEADER_BYTES);
  view.setUint32(8, header.bytes, true);
  view.setUint32(12, header.pages, true);
  setU64(view, 16, header.tick);
  view.setUint32(24, header.columnBytes, true);
  view.setUint32(28, header.form, true);
  view.setUint32(32, header.dataBytes, true);
  view.setUint32(36, header.storedBytes, true);
  view.setUint32(40, header.columnCheck, true);
  view.setUint32(44, header.dataCheck, true);
  sealed(target.subarray(0, CHUNK_HEADER_BYTES), CHUNK_MAGIC);
  return view.getUint32(4, true);
}

/** Reads the header of a chunk that the table names; a text says what is wrong with it. */
export function readChunkHeader(bytes: Uint8Array, entry: ChunkEntry): ChunkHeader | string {
  const header = bytes.subarray(0, CHUNK_HEADER_BYTES);
  const fault = partFault(header, CHUNK_MAGIC, CHUNK_HEADER_BYTES, "chunk");
  if (fault !== undefined) return fault;
  const view = viewOf(bytes);
  const chunk: ChunkHeader = {
    bytes: view.getUint32(8, true),
    pages: view.getUint32(12, true),
    tick: u64(view, 16),
    columnBytes: view.getUint32(24, true),
    form: view.getUint32(28, true),
    dataBytes: view.getUint32(32, true),
    storedBytes: view.getUint32(36, true),
    columnCheck: view.getUint32(40, true),
    dataCheck: view.getUint32(44, true),
  };
  const fits = view.getUint32(4, true) === entry.check && chunk.bytes === entry.bytes &&
    chunk.pages === entry.pages && chunk.tick === entry.tick &&
    chunk.columnBytes === entry.columnBytes && chunk.columnBytes % IMAGE_ALIGN_BYTES === 0 &&
    CHUNK_HEADER_BYTES + chunk.columnBytes + chunk.storedBytes <= chunk.bytes &&
    (chunk.form === CHUNK_FORM.zstd ||
      chunk.form === CHUNK_FORM.raw && chunk.storedBytes === chunk.dataBytes);
  return fits ? chunk : "a chunk is not the one that its table names";
}

/** The table's bytes. */
export function encodeTable(chunks: readonly ChunkEntry[], gone: readonly number[]): Uint8Array {
  const goneAt = CHUNK_ENTRY_BYTES * chunks.length;
  const bytes = new Uint8Array(goneAt + 8 * Math.ceil(gone.length / 2));
  const view = new DataView(bytes.buffer);
  chunks.forEach((chunk, index) => {
    const at = CHUNK_ENTRY_BYTES * index;
    setU64(view, at, chunk.at);
    setU64(view, at + 8, chunk.tick);
    view.setUint32(at + 16, chunk.bytes, true);
    view.setUint32(at + 20, chunk.check, true);
    view.setUint32(at + 24, chunk.pages, true);
    view.setUint32(at + 28, chunk.idMin, true);
    view.setUint32(at + 32, chunk.idMax, true);
    view.setUint32(at + 36, chunk.columnBytes, true);
  });
  gone.forEach((id, index) => view.setUint32(goneAt + 4 * index, id, true));
  return bytes;
}

/** Reads a table whose checksum fits. */
export function decodeTable(
  bytes: Uint8Array,
  footer: CheckpointFooter,
): { readonly chunks: ChunkEntry[]; readonly gone: number[] } {
  const view = viewOf(bytes), goneAt = CHUNK_ENTRY_BYTES * footer.chunks;
  const chunks = Array.from({ length: footer.chunks }, (_, index) => {
    const at = CHUNK_ENTRY_BYTES * index;
    return {
      at: u64(view, at),
      tick: u64(view, at + 8),
      bytes: view.getUint32(at + 16, true),
      check: view.getUint32(at + 20, true),
      pages: view.getUint32(at + 24, true),
      idMin: view.getUint32(at + 28, true),
      idMax: view.getUint32(at + 32, true),
      columnBytes: view.getUint32(at + 36, true),
    };
  });
  const gone = Array.from(
    { length: footer.gone },
    (_, index) => view.getUint32(goneAt + 4 * index, true),
  );
  return { chunks, gone };
}

/** Bytes of a table. */
export function tableBytes({ chunks, gone }: CheckpointFooter): number {
  return CHUNK_ENTRY_BYTES * chunks + 8 * Math.ceil(gone / 2);
}

/** The footer's bytes. */
export function encodeFooter(footer: CheckpointFooter): Uint8Array {
  const bytes = new Uint8Array(CHECKPOINT_FOOTER_BYTES), view = new DataView(bytes.buffer);
  const hasStructure = footer.structureBytes > 0;
  view.setUint16(8, hasStructure ? CHECKPOINT_FORMAT_MAX : CHECKPOINT_FORMAT, true);
  view.setUint32(12, footer.headerCheck, true);
  setU64(view, 16, footer.tick);
  setU64(view, 24, footer.tableAt);
  view.setUint32(32, footer.tableCheck, true);
  view.setUint32(36, footer.chunks, true);
  view.setUint32(40, footer.gone, true);
  view.setUint32(44, footer.pages, true);
  setU64(view, 48, footer.pageBytes);
  view.setUint32(56, footer.structureBytes, true);
  view.setUint32(60, footer.structureCheck, true);
  return sealed(bytes, FOOTER_MAGIC);
}

/** Reads a footer; a text says what is wrong with it. */
export function decodeFooter(bytes: Uint8Array): CheckpointFooter | string {
  const fault = partFault(bytes, FOOTER_MAGIC, CHECKPOINT_FOOTER_BYTES, "footer");
  if (fault !== undefined) return fault;
  const view = viewOf(bytes);
  return {
    headerCheck: view.getUint32(12, true),
    tick: u64(view, 16),
    tableAt: u64(view, 24),
    tableCheck: view.getUint32(32, true),
    chunks: view.getUint32(36, true),
    gone: view.getUint32(40, true),
    pages: view.getUint32(44, true),
    pageBytes: u64(view, 48),
    structureBytes: view.getUint32(56, true),
    structureCheck: view.getUint32(60, true),
  };
}

/** The checksum in a part's first bytes. */
export function checkOf(part: Uint8Array): number {
  return viewOf(part).getUint32(4, true);
}

function sealed(bytes: Uint8Array, magic: number): Uint8Array {
  const view = viewOf(bytes);
  view.setUint32(0, magic, true);
  view.setUint32(4, crc32(bytes.subarray(8)), true);
  return bytes;
}

/** What is wrong with a part by itself. Where the format is newer, nothing else is looked at. */
function partFault(
  bytes: Uint8Array,
  magic: number,
  length: number,
  name: string,
): string | undefined {
  if (bytes.length < length) return `its ${name} is cut`;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== magic) return `its ${name} is not there`;
  const format = view.getUint16(8, true);
  if (magic !== CHUNK_MAGIC && format > CHECKPOINT_FORMAT_MAX) {
    return `its format is ${format}: this MMSB knows up to ${CHECKPOINT_FORMAT_MAX}, use a newer one`;
  }
  const isWhole = view.getUint32(4, true) === crc32(bytes.subarray(8));
  return isWhole ? undefined : `its ${name} does not match its checksum`;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function u64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}
