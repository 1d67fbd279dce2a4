/**
 * Lane writer: appends ticks to one lane and makes them durable.
 *
 * A segment written with zeros before it is used syncs faster, because a sync then changes no metadata;
 * but the zeros are as many bytes as the log, and a program that fills segments as fast as the disk takes
 * them pays for both (measured: 5 to 17 M deltas/s with zeros, in bursts, a steady 15 to 18 without). So
 * the next segment is prepared on another thread while this one fills, with zeros if it is small or the
 * log grows slowly, empty if not. Sizes start small and grow fourfold, so a small directory stays small. One sync serves all ticks that were
 * written before it began (group commit; Gawlick and Kinkade, "Varieties of concurrency control in
 * IMS/VS Fast Path", 1985): while it runs, later ticks are written and wait for the next.
 *
 * A failed write is wiped from the lane, durably, so that a refused tick cannot come back; a failed
 * sync is final, because what the system did with the bytes is not known.
 *
 * @module
 */

import { alignUp, assert, MmsbError, SEGMENT_BYTES_MAX } from "../base/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import { nextTurn } from "./_platform.ts";
import { laneFolder, SEGMENT_HEADER_BYTES, segmentPath } from "./format.ts";
import { FrameWriter, segmentHeader } from "./frame_writer.ts";
import { participantsOf } from "./log_reader.ts";
import type { LanePlace } from "./meta.ts";
import type { Storage, StorageFile } from "./storage.ts";

/** Where a writer begins. */
export interface LaneStart {
  /** Lane. */
  readonly lane: number;
  /** Number of the segment to begin with; the file must not exist yet. */
  readonly number: number;
  /** Position in the lane at which it begins. */
  readonly position: number;
  /** Incarnation of the writer. */
  readonly incarnation: number;
  /** Size of the first segment. */
  readonly segmentBytes?: number;
  /** Size up to which segments grow. */
  readonly segmentBytesMax?: number;
  /** Where the lane's last tick ends, if it has one. */
  readonly place?: LanePlace;
}

const SEGMENT_BYTES_START = 256 * 1024;
const SEGMENT_GROWTH = 4;
/** Bytes after which a writer that never waits lets other threads' results in. */
const TURN_BYTES = 1024 * 1024;
/** Full segments that may wait for a sync before one is begun for them. */
const UNSYNCED_FILES_MAX = 4;
/** Segments up to this size are always written with zeros, because that takes a moment only. */
const ZEROED_BYTES_MAX = 4 * 1024 * 1024;
/** Larger ones are, if the log grows by less than this, in bytes a millisecond. */
const ZEROED_RATE_MAX = 32 * 1024;
/** A mark always fits behind the last tick of a segment. */
const MARK_BYTES = 128;

/** Appends to one lane. */
export class LaneWriter {
  readonly #storage: Storage;
  readonly #lane: number;
  readonly #incarnation: number;
  readonly #bytesMax: number;
  #number: number;
  #start: number;
  #bytes: number;
  /** Bytes of the segment that were written with zeros before use. */
  #allocated: number;
  #file: StorageFile;
  #offset = 0;
  #synced: number;
  /** Files with bytes that are not known to be durable, each with the position behind its last. */
  #unsynced = new Map<StorageFile, number>();
  #prepared = 0;
  #prepareFailed = false;
  #preparing: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;
  #failure: MmsbError | undefined;
  #closed = false;
  #turnAt = 0;
  #place: LanePlace;
  #hasTicks: boolean;
  /** What the last append changed, so that it can be taken back. */
  #before: { readonly place: LanePlace; readonly hasTicks: boolean; readonly offset: number };
  #beganMs = monotonicNowMs();

  /**
   * Begins a segment.
   *
   * @throws {MmsbError} `disk-full`, `read-only` or `io` where it cannot be made.
   */
  constructor(storage: Storage, start: LaneStart) {
    this.#storage = storage;
    this.#lane = start.lane;
    this.#incarnation = start.incarnation;
    this.#bytesMax = start.segmentBytesMax ?? SEGMENT_BYTES_MAX;
    this.#number = start.number;
    this.#start = start.position;
    this.#synced = start.position;
    this.#place = start.place ?? {
      lane: start.lane,
      segment: start.number,
      offset: SEGMENT_HEADER_BYTES,
      position: start.position + SEGMENT_HEADER_BYTES,
    };
    this.#hasTicks = start.place !== undefined;
    this.#before = { place: this.#place, hasTicks: this.#hasTicks, offset: 0 };
    this.#bytes = Math.min(this.#bytesMax, start.segmentBytes ?? SEGMENT_BYTES_START);
    storage.makeFolder(laneFolder(start.lane));
    this.#file = this.#create(this.#number, this.#bytes);
    this.#allocated = this.#file.size();
  }

  /** Position of the next byte in the lane. */
  get position(): number {
    return this.#start + this.#offset;
  }

  /** Position up to which the lane is known to be durable. */
  get syncedPosition(): number {
    return this.#synced;
  }

  /** Where the last tick ends: reading may begin there. */
  get place(): LanePlace {
    return this.#place;
  }

  /** Whether the lane has a tick; without one it has no place at which a reader could begin. */
  get hasTicks(): boolean {
    return this.#hasTicks;
  }

  /** Number of the segment being written. */
  get segment(): number {
    return this.#number;
  }

  /** What made the lane unusable, if anything did. */
  get failure(): MmsbError | undefined {
    return this.#failure;
  }

  /**
   * Makes sure that a tick of about `bytes` bytes can be appended without waiting.
   *
   * @returns `undefined` if it can; otherwise a promise of the next segment.
   */
  reserve(bytes: number): Promise<void> | undefined {
    this.#checkUsable();
    const end = this.#offset + bytes + MARK_BYTES;
    const prepares = this.#prepared !== 0 || this.#preparing !== undefined || this.#prepareFailed;
    if (
      !prepares && this.#offset > SEGMENT_HEADER_BYTES &&
      end > Math.min(this.#bytes, SEGMENT_BYTES_START) / 8
    ) {
      this.#prepare(bytes);
    }
    if (end <= this.#bytes || this.#offset <= SEGMENT_HEADER_BYTES) return this.#turn();
    if (this.#prepared !== 0) return void this.#roll();
    return (this.#preparing ?? Promise.resolve()).then(() => {
      if (this.#offset + bytes + MARK_BYTES > this.#bytes) this.#roll();
    });
  }

  /** A program that ticks without a pause would never hear that a sync or a segment is done. */
  #turn(): Promise<void> | undefined {
    const isWaiting = this.#preparing !== undefined || this.#syncing !== undefined;
    if (!isWaiting || this.position - this.#turnAt < TURN_BYTES) return undefined;
    this.#turnAt = this.position;
    return nextTurn();
  }

  /**
   * Appends one tick.
   *
   * @param parts Its bytes, one after the other; they may come as they are made.
   * @throws {MmsbError} what the storage says, or `parts`; the tick is then not in the lane.
   */
  append(parts: Iterable<Uint8Array>): void {
    const before = { place: this.#place, hasTicks: this.#hasTicks, offset: this.#offset };
    this.#append(parts);
    this.#before = before;
    this.#hasTicks = true;
    this.#place = {
      lane: this.#lane,
      segment: this.#number,
      offset: this.#offset,
      position: this.position,
    };
  }

  /**
   * Takes the tick back that was appended last, durably, as another lane could not have its part of it.
   * Nothing may have been appended or reserved since. Where it cannot be done the lane is unusable.
   *
   * @param cause Why.
   */
  takeBack(cause: unknown): void {
    const { place, hasTicks, offset } = this.#before;
    this.#wipe(offset, this.#offset, cause);
    this.#unsynced.set(this.#file, this.position);
    this.#place = place;
    this.#hasTicks = hasTicks;
  }

  #append(parts: Iterable<Uint8Array>): void {
    this.#checkUsable();
    const first = this.#offset;
    // Where the write that fails would have ended.
    let end = first + SEGMENT_HEADER_BYTES;
    try {
      if (first === 0) {
        const header = segmentHeader(this.#lane, this.#number, this.#start, this.#incarnation);
        this.#write(header);
      }
      for (const part of parts) {
        end = this.#offset + part.length;
        this.#write(part);
      }
      this.#unsynced.set(this.#file, this.position);
    } catch (error) {
      this.#wipe(first, end, error);
      throw error;
    }
  }

  /** Promises that all that was appended is durable; one sync serves many calls. */
  sync(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#nextSync !== undefined) return this.#nextSync;
    if (this.#syncing === undefined) {
      this.#syncing = this.#runSync();
      return this.#syncing;
    }
    this.#nextSync = this.#syncing.then(() => {
      this.#nextSync = undefined;
      this.#syncing = this.#runSync();
      return this.#syncing;
    });
    return this.#nextSync;
  }

  /** Makes all that was appended durable before it returns. */
  syncNow(): void {
    this.#checkUsable();
    const position = this.position;
    try {
      for (const file of this.#unsynced.keys()) file.sync();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#settleSync(position);
  }

  /**
   * Ends the lane: waits for what is under way, syncs, and cuts what was prepared and not used.
   *
   * @throws {MmsbError} where the last sync fails.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#preparing;
    await this.#nextSync?.catch(() => {});
    await this.#syncing?.catch(() => {});
    this.#closed = true;
    try {
      if (this.#failure !== undefined) return;
      if (this.#prepared !== 0) {
        this.#storage.remove(segmentPath(this.#lane, this.#prepared));
      }
      this.#file.truncate(this.#offset);
      this.#unsynced.set(this.#file, this.position);
      for (const file of this.#unsynced.keys()) file.sync();
      this.#storage.syncFolder(laneFolder(this.#lane));
      this.#synced = this.position;
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#closeFiles();
    }
  }

  /**
   * Lets go of the files without syncing, after a failure.
   *
   * @returns When nothing of this writer touches the directory any more; until then it is to be
   * kept locked.
   */
  async abandon(): Promise<void> {
    this.#closed = true;
    this.#closeFiles();
    await this.#preparing;
  }

  async #runSync(): Promise<void> {
    const position = this.position;
    const files = [...this.#unsynced.keys()];
    try {
      await Promise.all(files.map((file) => file.syncAsync()));
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#syncing = undefined;
    }
    if (this.#failure !== undefined) throw this.#failure;
    this.#settleSync(position);
  }

  /** Notes a sync that began when the lane stood at `position`. */
  #settleSync(position: number): void {
    this.#synced = Math.max(this.#synced, position);
    for (const [file, end] of this.#unsynced) {
      // A file that was written to while it was synced, and then rolled over, needs another sync.
      if (end > position) continue;
      this.#unsynced.delete(file);
      if (file !== this.#file) file.close();
    }
  }

  #closeFiles(): void {
    this.#file.close();
    for (const file of this.#unsynced.keys()) file.close();
  }

  #write(bytes: Uint8Array): void {
    this.#file.write(bytes, this.#offset);
    this.#offset += bytes.length;
  }

  /** Takes a half-written tick back: its first frame must not be found by any later reader. */
  #wipe(first: number, end: number, cause: unknown): void {
    this.#offset = first;
    try {
      if (this.#file.size() > this.#allocated) {
        this.#file.truncate(Math.max(first, this.#allocated));
      }
      const zeros = Math.min(end, this.#allocated) - first;
      if (zeros > 0) this.#file.write(new Uint8Array(zeros), first);
      this.#file.sync();
    } catch {
      this.#fail(cause);
    }
  }

  #fail(error: unknown): MmsbError {
    this.#failure ??= error instanceof MmsbError ? error : new MmsbError(
      "io",
      `Cannot keep lane ${this.#lane} durable: open the directory again to recover it`,
      { values: { lane: this.#lane }, cause: error },
    );
    return this.#failure;
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    assert(!this.#closed, "a closed lane is not written");
  }

  #roll(): void {
    const writer = new FrameWriter();
    writer.begin({
      tick: 0,
      lane: this.#lane,
      participants: participantsOf([this.#lane]),
      incarnation: this.#incarnation,
      graphVersion: 0,
      clockErrorUs: 0,
      syncedPosition: this.#synced,
    });
    writer.addMark();
    const next = this.#number + 1, bytes = this.#bytesOfNext(0);
    const path = segmentPath(this.#lane, next);
    // A preparation that failed in its last step, the sync of the folder, leaves the file.
    if (this.#prepared === 0 && this.#storage.exists(path)) this.#storage.remove(path);
    const file = this.#prepared === 0
      ? this.#create(next, this.#zerosOf(bytes))
      : this.#storage.open(path, "write");
    this.#prepared = next;
    try {
      this.#append(writer.finish());
    } catch (error) {
      file.close();
      throw error;
    }
    this.#start += this.#offset;
    this.#offset = 0;
    this.#number = next;
    this.#allocated = file.size();
    this.#bytes = Math.max(bytes, this.#allocated);
    this.#file = file;
    this.#prepared = 0;
    this.#prepareFailed = false;
    this.#beganMs = monotonicNowMs();
    // Where nobody asks for syncs, full segments would keep their handles until the end.
    if (this.#unsynced.size > UNSYNCED_FILES_MAX) this.sync().catch(() => {});
  }

  #bytesOfNext(needed: number): number {
    return Math.max(
      Math.min(this.#bytesMax, this.#bytes * SEGMENT_GROWTH),
      alignUp(needed + SEGMENT_HEADER_BYTES + MARK_BYTES, 4096),
    );
  }

  /** Zeros to write into the next segment: all or none. */
  #zerosOf(bytes: number): number {
    if (bytes <= ZEROED_BYTES_MAX) return bytes;
    const rate = this.#offset / (monotonicNowMs() - this.#beganMs);
    return rate <= ZEROED_RATE_MAX ? bytes : 0;
  }

  /** Prepares the next segment on another thread; where that fails, rolling tries again itself. */
  #prepare(needed: number): void {
    const number = this.#number + 1;
    this.#preparing = this.#storage
      .allocate(segmentPath(this.#lane, number), this.#zerosOf(this.#bytesOfNext(needed)))
      .then(() => void (this.#prepared = number), () => void (this.#prepareFailed = true))
      .finally(() => void (this.#preparing = undefined));
  }

  /** Makes a segment; on a disk too full for all of it, one that grows as it is written. */
  #create(number: number, bytes: number): StorageFile {
    const path = segmentPath(this.#lane, number);
    try {
      this.#storage.allocateNow(path, bytes);
      return this.#storage.open(path, "write");
    } catch (error) {
      if (!(error instanceof MmsbError) || error.code !== "disk-full") throw error;
      if (this.#storage.exists(path)) this.#storage.remove(path);
      const file = this.#storage.open(path, "create");
      this.#storage.syncFolder(laneFolder(this.#lane));
      return file;
    }
  }
}
