/**
 * The file that a checkpoint is written to: appends in order, and syncs as it goes.
 *
 * Bytes are written and synced in steps, and only so many may wait for the disk. One sync of all at the
 * end would hold up those of the log for as long as it takes; and without a bound the system would
 * hold a checkpoint in memory that the disk has yet to take. What waits also says whether the disk has
 * enough to do, which decides whether packing costs any time.
 */

import type { Storage, StorageFile } from "./storage.ts";

/** Bytes that are worth a sync. */
const SYNC_BYTES = 8 * 1024 * 1024;
/** Bytes that are written while a sync runs, and so most that the next one has to do. */
const AHEAD_BYTES = 16 * 1024 * 1024;
/** Bytes that wait for the disk, below which it soon has nothing to do. */
const BUSY_BYTES = 12 * 1024 * 1024;

/** One file, from its first byte to its last. */
export class CheckpointFile {
  readonly #file: StorageFile;
  #end = 0;
  #written = 0;
  #durable = 0;
  /** Up to where the sync under way goes, or went. */
  #syncEnd = 0;
  #writing: Promise<void> = Promise.resolve();
  #syncing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** Makes the file, which must not be there. */
  constructor(storage: Storage, path: string) {
    this.#file = storage.open(path, "create");
  }

  /** Where the next bytes go. */
  get end(): number {
    return this.#end;
  }

  /** Whether the disk has enough to do. */
  get isBusy(): boolean {
    return this.#end - this.#durable >= BUSY_BYTES;
  }

  /** What waits for the disk: settles when a little more of it is durable; never rejects. */
  get progress(): Promise<void> | undefined {
    return this.#syncing;
  }

  /**
   * Writes behind what is there; one write at a time, in order.
   *
   * @returns Settles when the bytes are free again; rejects where this or an earlier step failed.
   */
  append(bytes: Uint8Array): Promise<void> {
    const at = this.#end;
    this.#end += bytes.length;
    const written = this.#writing.then(() => this.#write(bytes, at));
    this.#writing = written.catch((error) => this.#fail(error));
    return written;
  }

  /** Settles when all of it is durable; rejects where anything failed. */
  async finish(): Promise<void> {
    await this.settle();
    this.check();
    await this.#file.syncAsync();
  }

  /** Settles when nothing is under way; never rejects. */
  async settle(): Promise<void> {
    await this.#writing;
    await this.#syncing;
  }

  /** Throws what an earlier step failed with. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Closes the file. */
  close(): void {
    this.#file.close();
  }

  async #write(bytes: Uint8Array, at: number): Promise<void> {
    while (at + bytes.length - this.#syncEnd > AHEAD_BYTES && this.#syncing !== undefined) {
      await this.#syncing;
    }
    this.check();
    await this.#file.writeAsync(bytes, at);
    this.#written = at + bytes.length;
    this.#syncSome();
  }

  /** While one sync runs, what is written meanwhile waits for the next. */
  #syncSome(): void {
    const end = this.#written;
    if (end - this.#durable < SYNC_BYTES || this.#syncing !== undefined) return;
    if (this.#failure !== undefined) return;
    this.#syncEnd = end;
    this.#syncing = this.#file.syncAsync().then(
      () => void (this.#durable = end),
      (error) => this.#fail(error),
    ).finally(() => {
      this.#syncing = undefined;
      this.#syncSome();
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
  }
}
