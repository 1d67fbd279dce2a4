/** The columns of a checkpoint's chunk, read back and checked. */

import { alignUp, MmsbError, PAGE_BYTES_MAX, PAGE_BYTES_MIN } from "../base/mod.ts";
import { type BirthText, decodeBirth } from "./birth.ts";
import { CHUNK_COLUMNS, IMAGE_ALIGN_BYTES } from "./checkpoint_format.ts";
import { readColumn } from "./column_codec.ts";

/** The pages of a chunk. */
export interface ChunkColumns {
  /** Pages. */
  readonly pages: number;
  /** Their ids. */
  readonly ids: Int32Array;
  /** Their bytes. */
  readonly sizes: Int32Array;
  /** Low halves of their epochs. */
  readonly low: Int32Array;
  /** High halves. */
  readonly high: Int32Array;
  /** Their shards. */
  readonly shards: Int32Array;
  /** Names and metadata, by place in the chunk, of those pages that have any. */
  readonly texts: ReadonlyMap<number, BirthText>;
}

/**
 * Reads columns whose checksum fits.
 *
 * @param buffer Their bytes, from 0 on.
 * @param bytes How many.
 * @param pages Pages of the chunk.
 * @param dataBytes Bytes that their data must have.
 * @throws {MmsbError} `snapshot` where they do not fit together.
 */
export function readChunkColumns(
  buffer: ArrayBuffer,
  bytes: number,
  pages: number,
  dataBytes: number,
): ChunkColumns {
  const view = new DataView(buffer, 0, bytes);
  const columns: Int32Array[] = [];
  let at = 8 * CHUNK_COLUMNS;
  for (let index = 0; index < CHUNK_COLUMNS; index++) {
    const encoding = view.getUint32(8 * index, true), length = view.getUint32(8 * index + 4, true);
    const column = new Int32Array(pages);
    if (at + length + 8 > bytes || !readColumn(encoding, buffer, at, length, pages, column)) {
      refuse();
    }
    columns.push(column);
    at += alignUp(length, 8);
  }
  const [ids, sizes, low, high, shards] = columns;
  const texts = readTexts(new Uint8Array(buffer, 0, bytes), view, at, pages);
  let dataEnd = 0;
  for (let i = 0; i < pages; i++) {
    if (sizes[i] < PAGE_BYTES_MIN || sizes[i] > PAGE_BYTES_MAX || high[i] >>> 0 >= 2 ** 21) {
      refuse();
    }
    if (ids[i] === 0 || shards[i] < 0 || shards[i] > 0xff) refuse();
    dataEnd += alignUp(sizes[i], IMAGE_ALIGN_BYTES);
  }
  if (dataEnd !== dataBytes) refuse();
  return { pages, ids, sizes, low, high, shards, texts };
}

function readTexts(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  pages: number,
): Map<number, BirthText> {
  const texts = new Map<number, BirthText>();
  const count = view.getUint32(start, true);
  let at = start + 8;
  for (let i = 0; i < count; i++) {
    if (at + 8 > bytes.length) refuse();
    const index = view.getUint32(at, true), length = view.getUint32(at + 4, true);
    at += 8;
    if (index >= pages || at + length > bytes.length) refuse();
    texts.set(index, decodeBirth(bytes.subarray(at, at + length)));
    at += alignUp(length, 8);
  }
  return texts;
}

function refuse(): never {
  throw new MmsbError("snapshot", "Cannot read a chunk: its columns do not fit together");
}
