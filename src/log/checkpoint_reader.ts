/**
 * Checkpoint reader: opens a checkpoint, checks it, and fills a store with its images.
 *
 * All of it is checked before it counts: header, table and footer when it is opened, each chunk when it
 * is read. What cannot be used is told by an `MmsbError` with the code `snapshot`; an older checkpoint, or the log
 * alone, may serve instead.
 *
 * Data that stands in the file as it is goes straight to the pages' slots, where they follow each other
 * as in the file; what was packed is unpacked on other threads meanwhile.
 *
 * Cost: 0.4 s a GB as it is (most of it the system's, for memory touched first), 0.5 s a GB and thread to unpack,
 * and 0.3 µs a page.
 *
 * @module
 */

import { crc32, MmsbError } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { type ChunkColumns, readChunkColumns } from "./_chunk_columns.ts";
import { ChunkPool, threadsFor } from "./_chunk_pool.ts";
import { unpackChunk } from "./_chunk_work.ts";
import { ImagePlacer } from "./_image_placer.ts";
import { nextTurn } from "./_platform.ts";
import { CHUNK_FORM } from "./checkpoint_form.ts";
import {
  checkOf,
  CHECKPOINT_FOLDER,
  CHECKPOINT_FOOTER_BYTES,
  CHECKPOINT_HEADER_BYTES,
  type CheckpointFooter,
  type CheckpointHeader,
  checkpointHeaderBytes,
  checkpointPath,
  checkpointTick,
  CHUNK_HEADER_BYTES,
  type ChunkEntry,
  type ChunkHeader,
  decodeCheckpointHeader,
  decodeFooter,
  decodeTable,
  readChunkHeader,
  tableBytes,
} from "./checkpoint_format.ts";
import type { StoreImages } from "./replay.ts";
import type { Storage, StorageFile } from "./storage.ts";
import { decodeStructure, installStructure, type StructureImage } from "./structure_image.ts";

/** Bytes of packed pages from which on other threads are worth starting. */
const THREAD_BYTES_MIN = 16 * 1024 * 1024;
/** Spans of memory up to which each is read by itself. */
const SPANS_MAX = 16;
/** Chunks that may wait for each thread. */
const WAITING_MAX = 3;
/** Room of a buffer, so that it can be used again. */
const BUFFER_BYTES = 1024 * 1024;
const DATA_FAULT = "a chunk's data does not match its checksum";
/** A header that says it is longer is wrong. */
const HEADER_BYTES_MAX = 16 * 1024;
const NO_STRUCTURE: StructureImage = {
  graphVersion: 0,
  nextRule: 1,
  sources: new Uint32Array(0),
  targets: new Uint32Array(0),
  types: new Uint8Array(0),
  bindings: [],
  marks: [],
};

/** Ticks of the checkpoints that have a name, newest first. */
export function listCheckpoints(storage: Storage): number[] {
  return storage.list(CHECKPOINT_FOLDER)
    .map(checkpointTick)
    .filter((tick) => tick !== undefined)
    .sort((a, b) => b - a);
}

/** A checkpoint whose header, table and footer are good. */
export class Checkpoint implements Disposable {
  /** Its file. */
  readonly path: string;
  /** Its header. */
  readonly header: CheckpointHeader;
  /** Its footer. */
  readonly footer: CheckpointFooter;
  /** Its chunks, in the order of the file. */
  readonly chunks: readonly ChunkEntry[];
  /** Pages that were there when the first image was made and died before their own was. */
  readonly gone: readonly number[];
  /** Edges, bindings and marks after its tick. */
  readonly structure: StructureImage;
  /** Bytes of the file. */
  readonly bytes: number;
  readonly #file: StorageFile;

  private constructor(
    file: StorageFile,
    parts: Around,
  ) {
    this.path = file.path;
    this.#file = file;
    this.header = parts.header;
    this.footer = parts.footer;
    this.chunks = parts.chunks;
    this.gone = parts.gone;
    this.structure = parts.structure;
    this.bytes = file.size();
  }

  /**
   * Opens the checkpoint of a tick.
   *
   * @throws {MmsbError} `snapshot` where it cannot be used, `io` where it cannot be read.
   */
  static open(storage: Storage, tick: number): Checkpoint {
    const file = storage.open(checkpointPath(tick), "read");
    try {
      return new Checkpoint(file, readAround(file, tick));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  /**
   * Fills an empty store with the images. Edges, bindings and marks come with them where they are of one
   * tick; else the replay puts them in, when it has come to the last image.
   *
   * @returns What a replay of the log over them must know.
   * @throws {MmsbError} `snapshot` where a chunk is damaged, `allocation` or `limit` where there is no
   * room; the store is then to be cleared.
   */
  load(store: PageStore): StoreImages {
    const placer = new ImagePlacer(store);
    this.#tighten(store);
    for (const entry of this.chunks) this.#place(placer, entry);
    return this.#finish(placer);
  }

  /** Has pages stand close together where they may need all the room that there is. */
  #tighten({ allocator, arena }: PageStore): void {
    allocator.isTight = this.footer.pageBytes > arena.limitBytes / 2;
  }

  /** The same, with other threads to help. */
  async loadBeside(store: PageStore): Promise<StoreImages> {
    // Threads fill pages that were made before, which would have to stay in memory until then.
    if (store.residency !== undefined) return this.load(store);
    const pool = new ChunkPool(), placer = new ImagePlacer(store);
    this.#tighten(store);
    const underWay = new Set<Promise<void>>(), free: Uint8Array[] = [];
    try {
      const threads = threadsFor(this.footer.pageBytes, THREAD_BYTES_MIN);
      for (const entry of this.chunks) {
        const chunk = this.#head(entry);
        const slots = placer.create(chunk.columns, chunk.tick);
        const isPacked = chunk.form === CHUNK_FORM.zstd;
        if (isPacked && pool.threads < threads) pool.grow();
        if (isPacked && underWay.size < WAITING_MAX * pool.threads) {
          const done = this.#unpack(pool, placer, chunk, slots, free)
            .finally(() => void underWay.delete(done));
          done.catch(() => {});
          underWay.add(done);
          continue;
        }
        // Where the others have enough to do, this thread helps, and then hears what they have done.
        this.#placeData(placer, chunk, slots);
        if (underWay.size > 0) await nextTurn();
      }
      await Promise.all(underWay);
      return this.#finish(placer);
    } finally {
      // Others may write to the store's memory until they are done.
      await Promise.allSettled(underWay);
      pool.close();
    }
  }

  /** Unpacks a chunk on another thread: to its pages, where they follow each other in shared memory. */
  async #unpack(
    pool: ChunkPool,
    placer: ImagePlacer,
    chunk: OpenChunk,
    slots: Uint32Array,
    free: Uint8Array[],
  ): Promise<void> {
    const stored = take(free, chunk.storedBytes);
    this.#read(stored, chunk.dataAt);
    const spans = placer.spans(chunk.columns, slots);
    const isDirect = spans.length === 1 && spans[0].buffer instanceof SharedArrayBuffer;
    const target = isDirect ? spans[0] : take(free, chunk.dataBytes);
    this.#accept(await pool.unpack(stored, chunk.dataCheck, target));
    free.push(stored);
    if (isDirect) return;
    placer.fill(chunk.columns, slots, target);
    free.push(target);
  }

  /**
   * Checks every chunk without filling a store.
   *
   * @throws {MmsbError} `snapshot` where one is damaged.
   */
  check(): void {
    for (const entry of this.chunks) {
      const chunk = this.#head(entry);
      const stored = new Uint8Array(chunk.storedBytes);
      this.#read(stored, chunk.dataAt);
      if (chunk.form === CHUNK_FORM.zstd) {
        this.#accept(unpackChunk(stored, chunk.dataCheck, new Uint8Array(chunk.dataBytes)));
      } else if (crc32(stored) !== chunk.dataCheck) this.#refuse(DATA_FAULT);
    }
  }

  #place(placer: ImagePlacer, entry: ChunkEntry): void {
    const chunk = this.#head(entry);
    if (placer.store.residency !== undefined) {
      return placer.place(chunk.columns, chunk.tick, this.#dataOf(chunk));
    }
    this.#placeData(placer, chunk, placer.create(chunk.columns, chunk.tick));
  }

  /** Reads and places a chunk's data on this thread. */
  #placeData(placer: ImagePlacer, chunk: OpenChunk, slots: Uint32Array): void {
    if (chunk.form === CHUNK_FORM.raw) {
      const spans = placer.spans(chunk.columns, slots);
      if (spans.length <= SPANS_MAX) {
        let check = 0, at = chunk.dataAt;
        for (const span of spans) {
          this.#read(span, at);
          check = crc32(span, check);
          at += span.length;
        }
        if (check !== chunk.dataCheck) this.#refuse(DATA_FAULT);
        return;
      }
    }
    placer.fill(chunk.columns, slots, this.#dataOf(chunk));
  }

  /** Reads a chunk's data, unpacked. */
  #dataOf(chunk: OpenChunk): Uint8Array {
    const stored = new Uint8Array(chunk.storedBytes);
    this.#read(stored, chunk.dataAt);
    let data = stored;
    if (chunk.form === CHUNK_FORM.zstd) {
      data = new Uint8Array(chunk.dataBytes);
      this.#accept(unpackChunk(stored, chunk.dataCheck, data));
    } else if (crc32(stored) !== chunk.dataCheck) this.#refuse(DATA_FAULT);
    return data;
  }

  /** Reads a chunk's header and columns. */
  #head(entry: ChunkEntry): OpenChunk {
    const dataAt = CHUNK_HEADER_BYTES + entry.columnBytes;
    if (dataAt > entry.bytes) this.#refuse("a chunk is not the one that its table names");
    const head = new Uint8Array(dataAt);
    this.#read(head, entry.at);
    const header = readChunkHeader(head, entry);
    if (typeof header === "string") this.#refuse(header);
    const bytes = head.slice(CHUNK_HEADER_BYTES);
    if (crc32(bytes) !== header.columnCheck) {
      this.#refuse("a chunk's columns do not match their checksum");
    }
    const columns = readChunkColumns(bytes.buffer, bytes.length, header.pages, header.dataBytes);
    return { ...header, columns, dataAt: entry.at + dataAt };
  }

  #finish(placer: ImagePlacer): StoreImages {
    const { header, footer, structure } = this;
    placer.store.allocator.isTight = false;
    if (placer.pages !== footer.pages) this.#refuse("its pages are not as many as it says");
    placer.store.nextPageId = Math.max(placer.store.nextPageId, header.nextPageId);
    if (header.place.tick === footer.tick) installStructure(placer.store, structure);
    const gone = new Set(this.gone);
    return {
      tickLast: footer.tick,
      tickOf: (page) => placer.tickOf(page),
      isGone: (page) => gone.has(page),
      structure,
    };
  }

  #read(target: Uint8Array, at: number): void {
    if (this.#file.read(target, at) < target.length) this.#refuse("it is cut");
  }

  #accept(fault: string | undefined): void {
    if (fault !== undefined) this.#refuse(fault);
  }

  #refuse(fault: string): never {
    refuse(this.path, fault);
  }
}

/** What stands around the chunks of a checkpoint. */
type Around = Pick<Checkpoint, "header" | "footer" | "chunks" | "gone" | "structure">;

interface OpenChunk extends ChunkHeader {
  readonly columns: ChunkColumns;
  /** First byte of the data in the file. */
  readonly dataAt: number;
}

/** Reads what stands around the chunks. */
function readAround(
  file: StorageFile,
  tick: number,
): Around {
  const { path } = file, size = file.size();
  const read = (at: number, bytes: number): Uint8Array => {
    const target = new Uint8Array(bytes);
    if (at < 0 || at + bytes > size || file.read(target, at) < bytes) refuse(path, "it is cut");
    return target;
  };
  const good = <T>(part: T | string): T => typeof part === "string" ? refuse(path, part) : part;
  const start = read(0, CHECKPOINT_HEADER_BYTES);
  const headerBytes = checkpointHeaderBytes(start);
  if (headerBytes > HEADER_BYTES_MAX) refuse(path, "its header is not there");
  const bytes = read(0, Math.max(headerBytes, CHECKPOINT_HEADER_BYTES));
  const header = good(decodeCheckpointHeader(bytes));
  const footer = good(decodeFooter(read(size - CHECKPOINT_FOOTER_BYTES, CHECKPOINT_FOOTER_BYTES)));
  const fits = footer.headerCheck === checkOf(bytes) && footer.tick === tick &&
    header.place.tick <= tick &&
    footer.tableAt + tableBytes(footer) + CHECKPOINT_FOOTER_BYTES === size;
  if (!fits) refuse(path, "its header, footer and name do not fit together");
  const table = read(footer.tableAt, tableBytes(footer));
  if (crc32(table) !== footer.tableCheck) refuse(path, "its table does not match its checksum");
  const { chunks, gone } = decodeTable(table, footer);
  const structureAt = footer.tableAt - footer.structureBytes;
  let structure = NO_STRUCTURE;
  if (footer.structureBytes > 0) {
    const bytes = read(structureAt, footer.structureBytes);
    if (crc32(bytes) !== footer.structureCheck) {
      refuse(path, "its structure does not match its checksum");
    }
    structure = decodeStructure(bytes);
  }
  for (const chunk of chunks) {
    if (chunk.at + chunk.bytes > structureAt || chunk.tick > tick) {
      refuse(path, "its table names a chunk that cannot be");
    }
  }
  return { header, footer, chunks, gone, structure };
}

function take(free: Uint8Array[], bytes: number): Uint8Array {
  const index = free.findIndex((buffer) => buffer.buffer.byteLength >= bytes);
  if (index < 0) {
    return new Uint8Array(new SharedArrayBuffer(Math.max(bytes, BUFFER_BYTES)), 0, bytes);
  }
  return new Uint8Array(free.splice(index, 1)[0].buffer, 0, bytes);
}

function refuse(path: string, fault: string): never {
  throw new MmsbError("snapshot", `Cannot use the checkpoint "${path}": ${fault}`, {
    values: { path, fault },
  });
}
