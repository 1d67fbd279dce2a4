/**
 * Checkpoint writer: images of all pages in one file, made while ticks go on.
 *
 * Pages are copied in chunks, each between two ticks; packing and writing happens on other threads, and
 * a few chunks are under way at a time. So the images are of different ticks, and the log from the
 * first one on makes them whole. The file gets its name last: when all of it, and the log up to its last
 * image, are durable. Before that nothing knows of it, and what fails leaves nothing behind.
 *
 * Packing takes longer than a fast disk (1 MiB in 3.5 ms, and in 1 ms), so each chunk goes where there is
 * room: to a thread that packs if one has little to do, to the disk as it is if that has.
 *
 * Cost: this thread copies (0.5 s a GB of pages of 4 KiB), and is stopped for some 13 ms where another one
 * is started; the disk takes what is left. Memory: 12 MiB, up to 32 MiB that the system holds for the
 * disk, and 8 bytes a page.
 *
 * @module
 */

import { crc32, MmsbError } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { CheckpointFile } from "./_checkpoint_file.ts";
import { type BuiltChunk, CHUNK_BYTES, ChunkBuilder } from "./_chunk_builder.ts";
import { ChunkPool, threadsFor } from "./_chunk_pool.ts";
import { leaveChunk, packChunk, type PackedChunk } from "./_chunk_work.ts";
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
import { type Storage, temporaryPath } from "./storage.ts";
import {
  encodeStructure,
  hasStructure,
  type StructureImage,
  structureOf,
} from "./structure_image.ts";

/**
 * Which chunks are compressed: all that shrink, none, or, with `auto`, those that cost no time.
 */
export type CheckpointPacking = "auto" | "always" | "never";

/** What a checkpoint is made of. */
export interface CheckpointSource {
  /** The pages. */
  readonly store: PageStore;
  /** Which chunks are compressed. */
  readonly pack: CheckpointPacking;
  /** What is known at the start, between two ticks. */
  readonly header: CheckpointHeader;
  /** The last tick, at any later moment. */
  tick(): number;
  /** Settles when the next pages may be copied, between two ticks; rejects where it is called off. */
  turn(): Promise<void>;
  /** Whether no tick has run for a while, so that this thread may help to pack. */
  isIdle(): boolean;
  /** Makes the log durable, up to where it is now. */
  syncLog(): Promise<void>;
}

/** A checkpoint that was made. */
export interface CheckpointReport {
  /** Tick from which on it is good: no image is younger, and no page died later without one. */
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
/** Chunks for each thread that are packed or wait for it. */
const PACKING_MAX = 2;
/** Most bytes that this thread packs at once, so that a tick need not wait for long. */
const HELP_BYTES_MAX = 1024 * 1024;
/** Bytes of pages from which on another thread is worth starting. */
const THREAD_BYTES_MIN = 16 * 1024 * 1024;

const NOTHING = new Uint8Array(0);

/** Who packs a chunk: another thread, this one, or nobody. */
type Packer = "beside" | "here" | "nobody";

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
  readonly #isSmall: boolean;
  readonly #threads: number;
  readonly #entries: ChunkEntry[] = [];
  /** For each chunk its pages, with the epochs of their images. */
  readonly #images: Pick<BuiltChunk, "ids" | "epochsLow">[] = [];
  readonly #free: Uint8Array[] = [];
  readonly #underWay = new Set<Promise<void>>();
  /** Chunks that other threads have. */
  #packing = 0;
  #tick: number;
  /** Edges, bindings and marks, copied with the last pages. */
  #structure: StructureImage | undefined;
  #pageBytes = 0;
  #pages = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(storage: Storage, source: CheckpointSource) {
    this.#storage = storage;
    this.#source = source;
    this.#tick = source.header.place.tick;
    this.#header = encodeCheckpointHeader(source.header);
    this.#builder = new ChunkBuilder(source.store);
    this.#copyStructure();
    const { liveBytes } = source.store.allocator.statistics();
    this.#isSmall = liveBytes < THREAD_BYTES_MIN;
    this.#threads = source.pack === "never" ? 0 : threadsFor(liveBytes, THREAD_BYTES_MIN);
  }

  async run(): Promise<CheckpointReport> {
    const storage = this.#storage;
    if (!storage.exists(CHECKPOINT_FOLDER)) storage.makeFolder(CHECKPOINT_FOLDER);
    const temporary = temporaryPath(checkpointPath(this.#tick));
    await storage.removeAsync(temporary);
    const pool = new ChunkPool();
    let storedBytes: number;
    try {
      const file = new CheckpointFile(storage, temporary);
      try {
        await this.#startThreads(pool);
        await this.#write(file, pool);
        storedBytes = file.end;
      } finally {
        pool.close();
        file.close();
      }
      const path = await this.#name(temporary);
      await this.#markClean();
      return {
        tick: this.#tick,
        tickFirst: this.#source.header.place.tick,
        path,
        pages: this.#pages,
        bytes: this.#pageBytes,
        storedBytes,
      };
    } catch (error) {
      await storage.removeAsync(temporary).catch(() => {});
      throw error;
    }
  }

  /** One by one, as each is a pause. */
  async #startThreads(pool: ChunkPool): Promise<void> {
    for (let thread = 0; thread < this.#threads; thread++) {
      await this.#source.turn();
      if (!pool.grow()) return;
    }
  }

  async #write(file: CheckpointFile, pool: ChunkPool): Promise<void> {
    // What fails is told by whatever is written next, at the latest by `finish`.
    file.append(this.#header).catch(() => {});
    try {
      await this.#copy(file, pool);
    } catch (error) {
      this.#failure ??= { error };
    }
    await Promise.all(this.#underWay);
    await file.settle();
    if (this.#failure !== undefined) throw this.#failure.error;
    const structure = this.#structure === undefined ? NOTHING : encodeStructure(this.#structure);
    if (structure.length > 0) file.append(structure).catch(() => {});
    const table = encodeTable(this.#entries, this.#builder.gone), tableAt = file.end;
    file.append(table).catch(() => {});
    await file.append(encodeFooter({
      headerCheck: checkOf(this.#header),
      tick: this.#tick,
      tableAt,
      tableCheck: crc32(table),
      chunks: this.#entries.length,
      gone: this.#builder.gone.length,
      pages: this.#pages,
      pageBytes: this.#pageBytes,
      structureBytes: structure.length,
      structureCheck: crc32(structure),
    }));
    await file.finish();
    await this.#source.syncLog();
  }

  /** Copies all pages, chunk by chunk, while earlier chunks are packed and written. */
  async #copy(file: CheckpointFile, pool: ChunkPool): Promise<void> {
    while (!this.#builder.isDone && this.#failure === undefined) {
      file.check();
      const packer = this.#choosePacker(file, pool);
      if (packer === undefined) {
        await Promise.race([...this.#underWay, ...(file.progress ? [file.progress] : [])]);
        continue;
      }
      await this.#source.turn();
      const tick = this.#source.tick();
      const chunk = this.#builder.build((bytes) => this.#take(bytes));
      // Where there is none, the last pages died: up to this tick the log speaks of pages without images.
      this.#tick = tick;
      this.#copyStructure();
      if (chunk === undefined) return;
      const done = this.#finish(file, pool, chunk, packer, tick)
        .catch((error) => void (this.#failure ??= { error }))
        .finally(() => void this.#underWay.delete(done));
      this.#underWay.add(done);
    }
  }

  /** Copies the structure where all pages have been copied, so that both are good from the same tick on. */
  #copyStructure(): void {
    const { store } = this.#source;
    if (this.#builder.isDone && hasStructure(store)) this.#structure = structureOf(store);
  }

  /**
   * Who packs the next chunk; `undefined` where it has to wait. Other threads pack as much as they can.
   * Where they have enough to do, a chunk waits for them if all are to be packed or the disk has
   * enough to do as well, and goes to the disk as it is if not: so packing never makes a checkpoint
   * slower than the disk.
   */
  #choosePacker(file: CheckpointFile, pool: ChunkPool): Packer | undefined {
    if (this.#underWay.size >= CHUNKS_MAX) return undefined;
    const { pack } = this.#source;
    if (pack === "never") return file.isBusy ? undefined : "nobody";
    if (this.#packing < PACKING_MAX * pool.threads) return "beside";
    if (this.#isSmall || pack === "always") {
      if (pool.threads === 0 || this.#source.isIdle()) return "here";
      return undefined;
    }
    return file.isBusy ? undefined : "nobody";
  }

  /** Packs and writes a chunk. */
  async #finish(
    file: CheckpointFile,
    pool: ChunkPool,
    chunk: BuiltChunk,
    packer: Packer,
    tick: number,
  ): Promise<void> {
    const dataAt = CHUNK_HEADER_BYTES + chunk.columnBytes;
    const data = chunk.buffer.subarray(dataAt, dataAt + chunk.dataBytes);
    const packed = await this.#pack(pool, data, packer);
    const bytes = this.#seal(file, chunk, packed, tick);
    await file.append(chunk.buffer.subarray(0, bytes));
    if (chunk.buffer.length === CHUNK_BYTES) this.#free.push(chunk.buffer);
  }

  async #pack(pool: ChunkPool, data: Uint8Array, packer: Packer): Promise<PackedChunk> {
    if (packer === "nobody") return leaveChunk(data);
    if (packer === "here" && data.length <= HELP_BYTES_MAX) return packChunk(data);
    this.#packing++;
    try {
      return await pool.pack(data);
    } finally {
      this.#packing--;
    }
  }

  /** Writes a packed chunk's header and notes it in the table; gives its length. */
  #seal(file: CheckpointFile, chunk: BuiltChunk, packed: PackedChunk, tick: number): number {
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
    this.#entries.push({ at: file.end, tick, bytes, check, columnBytes, pages, idMin, idMax });
    this.#images.push(chunk);
    this.#pages += pages;
    this.#pageBytes += chunk.pageBytes;
    return bytes;
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
