/**
 * Checkpoint writer: images of all pages in one file, made while ticks go on.
 *
 * Pages are copied in chunks, each between two ticks; packing and writing happens on other threads, and
 * a few chunks are under way at a time. So the images are of different ticks, and the log from the
 * first one on makes them whole. The file gets its name last: when all of it, and the log up to its last
 * image, are durable. Before that nothing knows of it, and what fails leaves nothing behind.
 *
 * Cost: this thread copies (0.3 s a GB of pages of 4 KiB); another one packs (some 2 s a GB where it
 * shrinks, 0.3 s where it does not); the disk takes what is left. Memory: 12 MiB, and 8 bytes a page.
 *
 * @module
 */

import { crc32, MmsbError } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { type BuiltChunk, CHUNK_BYTES, ChunkBuilder } from "./_chunk_builder.ts";
import { ChunkPool, threadsFor } from "./_chunk_pool.ts";
import type { PackedChunk } from "./_chunk_work.ts";
import {
  checkOf,
  CHECKPOINT_FOLDER,
  type CheckpointHeader,
  checkpointPath,
  CHUNK_HEADER_BYTES,
  type ChunkEntry,
  encodeCheckpointHeader,
  encodeFooter,
  encodeTable,
  writeChunkHeader,
} from "./checkpoint_format.ts";
import { type Storage, type StorageFile, temporaryPath } from "./storage.ts";

/** What a checkpoint is made of. */
export interface CheckpointSource {
  /** The pages. */
  readonly store: PageStore;
  /** What is known at the start, between two ticks. */
  readonly header: CheckpointHeader;
  /** The last tick, at any later moment. */
  tick(): number;
  /** Settles when the next pages may be copied, between two ticks; rejects where it is called off. */
  turn(): Promise<void>;
  /** Whether this thread has nothing else to do, so that it may help to pack. */
  isIdle(): boolean;
  /** Makes the log durable, up to where it is now. */
  syncLog(): Promise<void>;
}

/** A checkpoint that was made. */
export interface CheckpointReport {
  /** Tick from which on it is good: no image is younger. */
  readonly tick: number;
  /** The last tick before the first image; the log is needed from there on. */
  readonly tickFirst: number;
  /** Its file, relative to the directory. */
  readonly path: string;
  /** Pages. */
  readonly pages: number;
  /** Bytes of the pages. */
  readonly bytes: number;
  /** Bytes of the file. */
  readonly storedBytes: number;
}

/** Chunks under way at a time. */
const CHUNKS_MAX = 8;
/** Chunks for each thread from which on this one helps where it is idle. */
const HELP_FROM = 2;
/** Most bytes that it packs at once, so that a tick need not wait for long. */
const HELP_BYTES_MAX = 1024 * 1024;
/** Bytes that may wait for a sync: one large sync at the end would hold up those of the log. */
const SYNC_BYTES = 32 * 1024 * 1024;
/** Bytes of pages from which on another thread is worth starting. */
const THREAD_BYTES_MIN = 16 * 1024 * 1024;

/**
 * Makes a checkpoint. Call it between two ticks; they may go on while it runs.
 *
 * @returns What was made, durable.
 * @throws {MmsbError} what the storage says, or what called it off; the file is then gone, and nothing
 * else has changed.
 */
export async function writeCheckpoint(
  storage: Storage,
  source: CheckpointSource,
): Promise<CheckpointReport> {
  return await new CheckpointWriter(storage, source).run();
}

class CheckpointWriter {
  readonly #storage: Storage;
  readonly #source: CheckpointSource;
  readonly #builder: ChunkBuilder;
  readonly #header: Uint8Array;
  readonly #entries: ChunkEntry[] = [];
  /** For each chunk its pages, with the epochs of their images. */
  readonly #images: Pick<BuiltChunk, "ids" | "epochsLow">[] = [];
  readonly #free: Uint8Array[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #tick: number;
  #pageBytes = 0;
  #pages = 0;
  #end = 0;
  #syncedEnd = 0;
  #writing: Promise<void> = Promise.resolve();
  #syncing: Promise<void> | undefined;
  #failure: unknown;

  constructor(storage: Storage, source: CheckpointSource) {
    this.#storage = storage;
    this.#source = source;
    this.#tick = source.header.place.tick;
    this.#header = encodeCheckpointHeader(source.header);
    this.#builder = new ChunkBuilder(source.store);
  }

  async run(): Promise<CheckpointReport> {
    const storage = this.#storage;
    if (!storage.exists(CHECKPOINT_FOLDER)) storage.makeFolder(CHECKPOINT_FOLDER);
    const temporary = temporaryPath(checkpointPath(this.#tick));
    await storage.removeAsync(temporary);
    const { liveBytes } = this.#source.store.allocator.statistics();
    const pool = new ChunkPool(threadsFor(liveBytes, THREAD_BYTES_MIN));
    try {
      const file = storage.open(temporary, "create");
      try {
        await this.#write(file, pool);
      } finally {
        pool.close();
        file.close();
      }
      const path = await this.#name(temporary);
      await this.#markClean();
      const { tick: tickFirst } = this.#source.header.place;
      const [tick, pages, bytes, storedBytes] = [
        this.#tick,
        this.#pages,
        this.#pageBytes,
        this.#end,
      ];
      return { tick, tickFirst, path, pages, bytes, storedBytes };
    } catch (error) {
      await storage.removeAsync(temporary).catch(() => {});
      throw error;
    }
  }

  async #write(file: StorageFile, pool: ChunkPool): Promise<void> {
    this.#append(file, this.#header);
    try {
      await this.#copy(file, pool);
    } catch (error) {
      this.#failure ??= error;
    }
    await Promise.all(this.#underWay);
    await this.#writing;
    await this.#syncing;
    if (this.#failure !== undefined) throw this.#failure;
    const table = encodeTable(this.#entries, this.#builder.gone), tableAt = this.#end;
    this.#append(file, table);
    this.#append(
      file,
      encodeFooter({
        headerCheck: checkOf(this.#header),
        tick: this.#tick,
        tableAt,
        tableCheck: crc32(table),
        chunks: this.#entries.length,
        gone: this.#builder.gone.length,
        pages: this.#pages,
        pageBytes: this.#pageBytes,
      }),
    );
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
    await file.syncAsync();
    await this.#source.syncLog();
  }

  /** Copies all pages, chunk by chunk, while earlier chunks are packed and written. */
  async #copy(file: StorageFile, pool: ChunkPool): Promise<void> {
    while (!this.#builder.isDone && this.#failure === undefined) {
      if (this.#underWay.size >= CHUNKS_MAX) {
        await Promise.race(this.#underWay);
        continue;
      }
      await this.#source.turn();
      const tick = this.#source.tick();
      const chunk = this.#builder.build((bytes) => this.#take(bytes));
      if (chunk === undefined) return;
      this.#tick = tick;
      const done = this.#finish(file, pool, chunk, tick).catch((error) => {
        this.#failure ??= error;
      }).finally(() => void this.#underWay.delete(done));
      this.#underWay.add(done);
    }
  }

  /** Packs and writes a chunk. */
  async #finish(
    file: StorageFile,
    pool: ChunkPool,
    chunk: BuiltChunk,
    tick: number,
  ): Promise<void> {
    const dataAt = CHUNK_HEADER_BYTES + chunk.columnBytes;
    const data = chunk.buffer.subarray(dataAt, dataAt + chunk.dataBytes);
    const helps = this.#underWay.size >= HELP_FROM * pool.threads && this.#source.isIdle();
    const packed = await pool.pack(data, helps && data.length <= HELP_BYTES_MAX);
    const bytes = this.#seal(chunk, packed, tick);
    await this.#append(file, chunk.buffer.subarray(0, bytes));
    if (chunk.buffer.length === CHUNK_BYTES) this.#free.push(chunk.buffer);
  }

  /** Writes a packed chunk's header and notes it in the table; gives its length. */
  #seal(chunk: BuiltChunk, packed: PackedChunk, tick: number): number {
    const { buffer, ids, columnBytes, dataBytes } = chunk;
    const end = CHUNK_HEADER_BYTES + columnBytes + packed.storedBytes;
    const bytes = end + 7 - (end + 7) % 8;
    buffer.fill(0, end, bytes);
    const check = writeChunkHeader(buffer, {
      bytes,
      pages: ids.length,
      tick,
      columnBytes,
      form: packed.form,
      dataBytes,
      storedBytes: packed.storedBytes,
      columnCheck: chunk.columnCheck,
      dataCheck: packed.check,
    });
    let idMin = ids[0], idMax = ids[0];
    for (const id of ids) {
      idMin = Math.min(idMin, id);
      idMax = Math.max(idMax, id);
    }
    const pages = ids.length;
    this.#entries.push({ at: this.#end, tick, bytes, check, columnBytes, pages, idMin, idMax });
    this.#images.push(chunk);
    this.#pages += pages;
    this.#pageBytes += chunk.pageBytes;
    return bytes;
  }

  /** Writes behind what is there; one write at a time, in order. */
  #append(file: StorageFile, bytes: Uint8Array): Promise<void> {
    const at = this.#end;
    this.#end += bytes.length;
    const written = this.#writing.then(async () => {
      if (this.#failure !== undefined) return;
      await file.writeAsync(bytes, at);
      this.#syncSome(file, at + bytes.length);
    });
    this.#writing = written.catch((error) => void (this.#failure ??= error));
    return this.#writing;
  }

  #syncSome(file: StorageFile, end: number): void {
    if (end - this.#syncedEnd < SYNC_BYTES || this.#syncing !== undefined) return;
    this.#syncedEnd = end;
    this.#syncing = file.syncAsync()
      .catch((error) => void (this.#failure ??= error))
      .finally(() => void (this.#syncing = undefined));
  }

  /** Shared memory for a chunk: one that is free, or new. */
  #take(bytes: number): Uint8Array {
    // A chunk ends at a multiple of 8.
    if (bytes + 8 > CHUNK_BYTES) return new Uint8Array(new SharedArrayBuffer(bytes + 8));
    return this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(CHUNK_BYTES));
  }

  /** Gives the file its name, durably. */
  async #name(temporary: string): Promise<string> {
    const path = checkpointPath(this.#tick);
    this.#storage.rename(temporary, path);
    try {
      await this.#storage.syncFolderAsync(CHECKPOINT_FOLDER);
    } catch (error) {
      // What is not durable must not be taken for a checkpoint that others can be dropped for.
      await this.#storage.removeAsync(path).catch(() => {});
      throw error;
    }
    return path;
  }

  /** Marks the pages clean that have not changed since their images were made. */
  async #markClean(): Promise<void> {
    const { table } = this.#source.store;
    for (const { ids, epochsLow } of this.#images) {
      try {
        await this.#source.turn();
      } catch (error) {
        // The bus is being closed: the marks die with it, the checkpoint is there.
        if (error instanceof MmsbError) return;
        throw error;
      }
      for (let i = 0; i < ids.length; i++) {
        const row = table.rowOf(ids[i]);
        if (row !== 0) table.markClean(row, epochsLow[i]);
      }
    }
  }
}
