/**
 * A byte store that fails as disks do, on request: it crashes, tears, forgets, fills up, refuses
 * and rots. The crash tests of every layer run on it.
 *
 * What it models. A program sees the store as if all was well (the page cache: a `MemoryStorage`).
 * Beside it stands the disk: of each file the durable bytes and a journal of the changes since, of
 * each name the file that it durably leads to and a journal of creations, renames and removals. A
 * sync makes the journal's changes durable; a crash decides for each of the others whether it
 * reached the disk, and a write may reach it in part. Changes are replayed in the order in which
 * they were made, each with its own fate, which gives every outcome of reordering too: bytes that
 * two writes share end as before, as the first or as the second wrote them.
 *
 * What it assumes, as disks and file systems do: nothing reaches the disk but what was written; a
 * synced byte stays; a rename of one name is whole. What it does not assume: that writes reach the
 * disk in order, whole sectors aside (see `tear`), that a grown file's bytes are there when its
 * size is, that a file's sync keeps its name, that a rename takes both names along at once, or that
 * a failed sync can be made good: its changes stay undecided for ever, even when a later sync
 * succeeds (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020;
 * Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
 *
 * A `crash` does not end the store: it gives the disk of a machine that lost power now, and may be
 * asked for many times, with different fates.
 *
 * Cost: each write is copied twice, into the cache and into the journal, and once more by a sync.
 */

import { checkBytes, checkInteger, checkKeys, type MmsbError } from "../base/mod.ts";
import { describe, DiskFile, DiskName, type FileChange, NONE, replay } from "./_disk.ts";
import type { UnsyncedChange } from "./_disk.ts";
import { type CrashOptions, Fates } from "./_fates.ts";
import { checkCount, failure, Failures, Faults } from "./_faults.ts";
import type { FailurePlan, WriteFailurePlan } from "./_faults.ts";
import { MemoryStorage } from "./memory_storage.ts";
import {
  checkPath,
  checkUsable,
  LOCK_PATH,
  parentFolder,
  type Storage,
  type StorageFile,
  temporaryPath,
} from "./storage.ts";

export type { CrashOptions, FailurePlan, UnsyncedChange, WriteFailurePlan };

/** `allocate` writes zeros in pieces of this size, so that small files have several steps too. */
const ALLOCATE_PIECE_BYTES = 16 * 1024;

/** Options of {@linkcode FaultyStorage}. */
export interface FaultyStorageOptions {
  /** Of all that is left to chance; 0 if left out. */
  readonly seed?: number;
  /** Files to start with, all durable. */
  readonly image?: ReadonlyMap<string, Uint8Array>;
}

/**
 * A {@linkcode Storage} in memory with faults on request.
 *
 * @example A crash keeps what was synced, and loses the rest where the plan says so
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const storage = new FaultyStorage({ seed: 7 });
 * const file = storage.open("a", "create");
 * storage.syncFolder("");
 * file.write(Uint8Array.of(1, 2), 0);
 * file.sync();
 * file.write(Uint8Array.of(3, 4), 2);
 *
 * assert.deepEqual([...storage.crash({ keep: "none" }).readAll("a")!], [1, 2]);
 * assert.deepEqual([...storage.crash({ survive: () => 1 }).readAll("a")!], [1, 2, 3]);
 * ```
 *
 * @example The disk is full
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const storage = new FaultyStorage();
 * const file = storage.open("a", "create");
 * storage.fillUp({ bytesLeft: 1 });
 * assert.throws(() => file.write(Uint8Array.of(1, 2), 0), { code: "disk-full" });
 * assert.equal(file.size(), 1);
 * ```
 */
export class FaultyStorage implements Storage {
  /** Always `"faulty"`. */
  readonly kind = "faulty";
  /** Always `"faulty"`. */
  readonly location = "faulty";
  readonly #cache: MemoryStorage;
  readonly #faults: Faults;
  readonly #names = new Map<string, DiskName>();
  readonly #folders = new Set<string>();
  readonly #allocating = new Set<string>();

  /**
   * Makes a store without faults.
   *
   * @param options Its seed and what it holds.
   */
  constructor(options: FaultyStorageOptions = {}) {
    checkKeys("FaultyStorage", options, ["seed", "image"]);
    this.#faults = new Faults(options.seed ?? 0);
    this.#cache = new MemoryStorage({ image: options.image ?? new Map() });
    for (const [path, bytes] of options.image ?? []) {
      this.#folders.add(parentFolder(path));
      this.#names.set(path, new DiskName(new DiskFile(bytes)));
    }
  }

  /** Steps taken so far: writes, truncates, syncs, creations, renames, removals, folder syncs. */
  get steps(): number {
    return this.#faults.steps;
  }

  list(folder: string): string[] {
    this.#faults.checkPower("list folder", folder);
    return this.#cache.list(folder);
  }

  makeFolder(folder: string): void {
    this.#faults.step("make folder", folder);
    this.#cache.makeFolder(folder);
    this.#folders.add(folder);
  }

  exists(path: string): boolean {
    this.#faults.checkPower("look at", path);
    return this.#cache.exists(path);
  }

  open(path: string, mode: "read" | "write" | "create"): StorageFile {
    if (mode === "create") this.#faults.step("create", path);
    else this.#faults.checkPower("open", path);
    const cached = this.#cache.open(path, mode);
    if (mode === "create") this.#setName("create", path, new DiskFile());
    return new File(cached, this.#disk(path), this.#faults, mode !== "read");
  }

  async allocate(path: string, size: number): Promise<void> {
    for (const _ of this.#allocation(path, size)) await undefined;
  }

  allocateNow(path: string, size: number): void {
    for (const _ of this.#allocation(path, size));
  }

  readAll(path: string): Uint8Array | undefined {
    this.#faults.checkPower("read", path);
    return this.#cache.readAll(path);
  }

  replace(path: string, bytes: Uint8Array): void {
    checkBytes("bytes", bytes);
    const temporary = temporaryPath(checkPath(path));
    this.remove(temporary);
    const file = this.open(temporary, "create");
    try {
      file.write(bytes, 0);
      file.sync();
      this.#rename(temporary, path);
    } catch (error) {
      this.#removeQuietly(temporary);
      throw error;
    } finally {
      file.close();
    }
    this.syncFolder(parentFolder(path));
  }

  remove(path: string): void {
    this.#faults.checkPower("remove", path);
    if (!this.#cache.exists(path)) return;
    this.#faults.step("remove", path);
    this.#cache.remove(path);
    this.#faults.free(this.#disk(path));
    this.#setName("remove", path, undefined);
  }

  async removeAsync(path: string): Promise<void> {
    this.remove(path);
  }

  rename(source: string, target: string): void {
    this.#faults.checkPower("rename", checkPath(source));
    const isFile = this.#cache.exists(source) && this.#names.has(source);
    if (isFile && source === checkPath(target)) return;
    this.#rename(source, target);
  }

  syncFolder(folder: string): void {
    this.#faults.step("sync folder", folder);
    this.#cache.syncFolder(folder);
    const error = this.#faults.syncs.take("sync folder", folder);
    for (const [path, name] of this.#names) {
      if (parentFolder(path) !== folder) continue;
      name.settle(error === undefined ? "durable" : "lost", this.#faults.changes);
      if (name.changes.length === 0 && name.durable === undefined) this.#names.delete(path);
    }
    if (error !== undefined) throw error;
  }

  async syncFolderAsync(folder: string): Promise<void> {
    this.syncFolder(folder);
  }

  lock(): () => void {
    this.#faults.checkPower("lock", this.location);
    if (!this.#cache.exists(LOCK_PATH)) this.open(LOCK_PATH, "create").close();
    return this.#cache.lock();
  }

  /**
   * What is on the disk after the power fails now. The store itself goes on as if nothing was.
   *
   * @param options The fate of what is not durable.
   * @returns A store in memory with what survived; the lock is free.
   */
  crash(options: CrashOptions = {}): MemoryStorage {
    checkKeys("crash", options, ["seed", "keep", "tear", "survive"]);
    const fates = new Fates(options, options.seed ?? this.#faults.random.next());
    const survivors = new MemoryStorage();
    for (const folder of this.#folders) survivors.makeFolder(folder);
    for (const [path, name] of this.#names) {
      let disk = name.durable;
      for (const change of name.changes) {
        if (change.fate === "durable" || fates.keeps(change)) disk = change.disk;
      }
      if (disk !== undefined) disk.survive(survivors.open(path, "create"), fates);
    }
    return survivors;
  }

  /**
   * Every change that a crash now may lose, in the order in which they were made: what a test
   * enumerates to try every crash.
   *
   * @returns The changes of names, and of files that a name leads to or may lead to.
   */
  unsynced(): UnsyncedChange[] {
    const found = new Map<number, UnsyncedChange>();
    for (const name of this.#names.values()) {
      const disks = [name.durable, ...name.changes.map((change) => change.disk)];
      const journals = [name.changes, ...disks.map((disk) => disk?.changes ?? [])];
      for (const change of journals.flat()) {
        if (change.fate !== "durable") found.set(change.number, describe(change));
      }
    }
    return [...found.values()].sort((a, b) => a.number - b.number);
  }

  /**
   * Makes writes fail: `write`, `truncate` and the writes inside `replace` and `allocate`. A
   * failing write leaves a prefix behind, a failing truncate nothing.
   *
   * @param plan Which, how often and how; it takes the place of an earlier plan.
   */
  failWrites(plan: WriteFailurePlan): void {
    checkKeys("failWrites", plan, ["after", "times", "error", "prefix"]);
    this.#faults.writes = new Failures(plan);
  }

  /**
   * Makes syncs fail, those of files and of folders. What a failing sync should have made durable
   * may or may not be after a crash, whatever later syncs say.
   *
   * @param plan Which, how often and how; it takes the place of an earlier plan.
   */
  failSyncs(plan: FailurePlan): void {
    checkKeys("failSyncs", plan, ["after", "times", "error"]);
    this.#faults.syncs = new Failures(plan);
  }

  /**
   * Bounds the room. A write that needs more fails with `disk-full` and leaves the prefix that
   * fits; a write inside what was written before needs none; removing and cutting give it back.
   *
   * @param options The room left, in bytes; `Infinity` for a disk without end.
   */
  fillUp(options: { readonly bytesLeft: number }): void {
    checkKeys("fillUp", options, ["bytesLeft"]);
    this.#faults.bytesLeft = checkCount("bytesLeft", options.bytesLeft);
  }

  /**
   * Cuts the power after some more steps: every later call but `close` and unlocking fails with
   * `io`, and what is on the disk stays as it is. A test that tries each count from 0 to
   * {@linkcode FaultyStorage.steps} crashes between any two steps.
   *
   * @param options How many more steps are taken.
   */
  stop(options: { readonly after: number }): void {
    checkKeys("stop", options, ["after"]);
    this.#faults.stepsLeft = checkCount("after", options.after);
  }

  /**
   * Flips one bit of a file, on the disk and for its readers, as a medium does that rots.
   *
   * @param path The file.
   * @param bit The bit: 8 times the byte's position, plus 0 for its lowest bit to 7.
   */
  flip(path: string, bit: number): void {
    const size = this.#cache.open(path, "read").size();
    checkInteger("bit", bit, 0, 8 * size - 1);
    this.#damage(path, "flip", bit);
  }

  /**
   * Cuts a file, durably, as a copy does that broke off.
   *
   * @param path The file.
   * @param size Its new size, in bytes; at most the one that it has.
   */
  cut(path: string, size: number): void {
    checkInteger("size", size, 0, this.#cache.open(path, "read").size());
    this.#damage(path, "truncate", size);
  }

  /**
   * All files as a program sees them now, synced or not.
   *
   * @returns A copy of each file's bytes, by path, in order of the paths.
   */
  image(): Map<string, Uint8Array<ArrayBuffer>> {
    return this.#cache.image();
  }

  /** The steps of an allocation, as `FileStorage` takes them; it yields where others may come in. */
  *#allocation(path: string, size: number): Generator<void> {
    checkInteger("size", size, 0, Number.MAX_SAFE_INTEGER, "usage");
    const temporary = temporaryPath(checkPath(path));
    this.#refuseExisting(path);
    if (this.#allocating.has(path)) throw existsError(path);
    this.remove(temporary);
    const file = this.open(temporary, "create");
    this.#allocating.add(path);
    try {
      for (let position = 0; position < size; position += ALLOCATE_PIECE_BYTES) {
        file.write(new Uint8Array(Math.min(ALLOCATE_PIECE_BYTES, size - position)), position);
        yield;
      }
      file.sync();
      this.#refuseExisting(path);
      this.#rename(temporary, path);
    } catch (error) {
      this.#removeQuietly(temporary);
      throw error;
    } finally {
      this.#allocating.delete(path);
      file.close();
    }
    this.syncFolder(parentFolder(path));
  }

  #refuseExisting(path: string): void {
    if (this.exists(path)) throw existsError(path);
  }

  #rename(source: string, target: string): void {
    this.#faults.step("rename to", target);
    const disk = this.#disk(source);
    const replaced = this.#cache.exists(target) ? this.#disk(target) : undefined;
    this.#cache.rename(source, target);
    if (replaced !== undefined) this.#faults.free(replaced);
    this.#setName("rename", target, disk);
    this.#setName("remove", source, undefined);
  }

  #removeQuietly(path: string): void {
    try {
      this.remove(path);
    } catch { /* The name is temporary, so it may stay. */ }
  }

  #setName(kind: "create" | "rename" | "remove", path: string, disk: DiskFile | undefined): void {
    const name = this.#names.get(path) ?? new DiskName(undefined);
    this.#names.set(path, name);
    const number = this.#faults.changes++;
    name.changes.push({ number, kind, path, position: 0, size: 0, fate: "unsynced", disk });
  }

  /** The disk's side of the file that a path leads to now. */
  #disk(path: string): DiskFile {
    const name = this.#names.get(path);
    const last = name?.changes.at(-1);
    return (last === undefined ? name?.durable : last.disk)!;
  }

  #damage(path: string, kind: "flip" | "truncate", amount: number): void {
    const cached = this.#cache.open(path, "write");
    const disk = this.#disk(path);
    const number = this.#faults.changes++;
    const position = kind === "flip" ? amount : 0;
    const size = kind === "flip" ? 0 : amount;
    const change: FileChange = { number, kind, path, position, size, fate: "durable", bytes: NONE };
    replay(cached, change);
    disk.changes.push(change);
  }
}

class File implements StorageFile {
  readonly path: string;
  readonly #cached: StorageFile;
  readonly #disk: DiskFile;
  readonly #faults: Faults;
  readonly #writable: boolean;
  #open = true;

  constructor(cached: StorageFile, disk: DiskFile, faults: Faults, writable: boolean) {
    this.path = cached.path;
    this.#cached = cached;
    this.#disk = disk;
    this.#faults = faults;
    this.#writable = writable;
  }

  size(): number {
    checkUsable(this.path, this.#open);
    this.#faults.checkPower("read the size of", this.path);
    return this.#cached.size();
  }

  read(target: Uint8Array, position: number): number {
    checkUsable(this.path, this.#open);
    this.#faults.checkPower("read", this.path);
    return this.#cached.read(target, position);
  }

  write(bytes: Uint8Array, position: number): void {
    checkUsable(this.path, this.#open, this.#writable);
    checkBytes("bytes", bytes);
    checkInteger("position", position, 0, Number.MAX_SAFE_INTEGER, "usage");
    this.#faults.step("write", this.path);
    const { count, error } = this.#faults.takeWrite(
      this.#disk,
      this.path,
      position,
      bytes.length,
    );
    if (count > 0) {
      const written = bytes.slice(0, count);
      this.#cached.write(written, position);
      this.#journal("write", position, count, written);
    }
    if (error !== undefined) throw error;
  }

  async writeAsync(bytes: Uint8Array, position: number): Promise<void> {
    this.write(bytes, position);
    // Whoever called goes on first, so that its next steps meet a write under way.
    await undefined;
    this.#faults.checkPower("write", this.path);
  }

  truncate(size: number): void {
    checkUsable(this.path, this.#open, this.#writable);
    checkInteger("size", size, 0, Number.MAX_SAFE_INTEGER, "usage");
    this.#faults.step("change the size of", this.path);
    const error = this.#faults.writes.take("change the size of", this.path);
    if (error !== undefined) throw error;
    this.#cached.truncate(size);
    this.#faults.free(this.#disk, size);
    this.#journal("truncate", 0, size, NONE);
  }

  sync(): void {
    checkUsable(this.path, this.#open, this.#writable);
    this.#faults.step("sync", this.path);
    const error = this.#faults.syncs.take("sync", this.path);
    this.#disk.settle(error === undefined ? "durable" : "lost", this.#faults.changes);
    if (error !== undefined) throw error;
  }

  async syncAsync(): Promise<void> {
    checkUsable(this.path, this.#open, this.#writable);
    this.#faults.step("sync", this.path);
    const before = this.#faults.changes;
    const error = this.#faults.syncs.take("sync", this.path);
    // Whoever called goes on first, so that its next writes meet a sync under way.
    await undefined;
    this.#faults.checkPower("sync", this.path);
    this.#disk.settle(error === undefined ? "durable" : "lost", before);
    if (error !== undefined) throw error;
  }

  close(): void {
    this.#open = false;
    this.#cached.close();
  }

  #journal(
    kind: "write" | "truncate",
    position: number,
    size: number,
    bytes: Uint8Array,
  ): void {
    const number = this.#faults.changes++;
    this.#disk.changes.push({
      number,
      kind,
      path: this.path,
      position,
      size,
      bytes,
      fate: "unsynced",
    });
  }
}

function existsError(path: string): MmsbError {
  return failure("io", "create", path, "it exists already: use another name, or remove it");
}
