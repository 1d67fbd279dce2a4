/**
 * The disk of a `FaultyStorage`: what is durable, and what was done since and may be lost.
 *
 * Of each file it holds the durable bytes and a journal of the changes since, of each name the file
 * that it durably leads to and a journal of creations, renames and removals. A journal's changes are
 * done again in the order in which they were made, each with its own fate, which gives every outcome
 * of reordering too.
 *
 * Cost: a journaled write holds a copy of its bytes until a sync replays it.
 */

import { MemoryStorage } from "./memory_storage.ts";
import type { StorageFile } from "./storage.ts";

/** A change that a crash may lose, or the failed sync of which leaves it undecided. */
export interface UnsyncedChange {
  /** Counts the changes of one storage, from 0, in the order in which they were made. */
  readonly number: number;
  /** `write` and `truncate` change a file, the others a name. */
  readonly kind: "write" | "truncate" | "create" | "rename" | "remove";
  /** The path, as it was then; of a rename, the new one (the old one has a `remove`). */
  readonly path: string;
  /** Where a write starts; 0 for other kinds. */
  readonly position: number;
  /** Bytes of a write; the new size of a `truncate`; 0 for names. */
  readonly size: number;
}

/**
 * What becomes of a change: `unsynced` ones may still be synced, `lost` ones met a failed sync and
 * can no longer be, `durable` ones survive any crash.
 */
export type Fate = "unsynced" | "lost" | "durable";

/** A change of a file's bytes. */
export interface FileChange {
  readonly number: number;
  readonly kind: "write" | "truncate" | "flip";
  readonly path: string;
  readonly position: number;
  readonly size: number;
  readonly bytes: Uint8Array;
  fate: Fate;
}

/** A change of what a name leads to. */
export interface NameChange {
  readonly number: number;
  readonly kind: "create" | "rename" | "remove";
  readonly path: string;
  readonly position: 0;
  readonly size: 0;
  /** What the name leads to from here on. */
  readonly disk: DiskFile | undefined;
  fate: Fate;
}

/** No bytes. */
export const NONE = new Uint8Array(0);

/** Gives the unsynced changes numbered below `before` their fate. */
function settle(changes: readonly (FileChange | NameChange)[], fate: Fate, before: number): void {
  for (const change of changes) {
    if (change.number < before && change.fate === "unsynced") change.fate = fate;
  }
}

/** How many changes at the journal's start are durable, so that nothing undecided precedes them. */
function durableCount(changes: readonly (FileChange | NameChange)[]): number {
  const undecided = changes.findIndex((change) => change.fate !== "durable");
  return undecided < 0 ? changes.length : undecided;
}

/** A change as a test is told of it. */
export function describe(change: FileChange | NameChange): UnsyncedChange {
  const { number, kind, path, position, size } = change;
  // A flip is durable from the start, so it is never described.
  return { number, kind: kind as UnsyncedChange["kind"], path, position, size };
}

/** Does a change again, on another copy of the file. */
export function replay(file: StorageFile, change: FileChange): void {
  if (change.kind === "write") file.write(change.bytes, change.position);
  else if (change.kind === "truncate") file.truncate(change.size);
  else {
    const byte = new Uint8Array(1);
    const position = Math.floor(change.position / 8);
    if (file.read(byte, position) === 0) return;
    byte[0] ^= 1 << (change.position % 8);
    file.write(byte, position);
  }
}

/** What a name durably leads to, and what it was made to lead to since. */
export class DiskName {
  durable: DiskFile | undefined;
  readonly changes: NameChange[] = [];

  constructor(durable: DiskFile | undefined) {
    this.durable = durable;
  }

  settle(fate: Fate, before: number): void {
    settle(this.changes, fate, before);
    for (const change of this.changes.splice(0, durableCount(this.changes))) {
      this.durable = change.disk;
    }
  }
}

/** What decides which undecided changes a crash leaves. */
export interface CrashFates {
  /** Whether a change that is whole or not at all survives. */
  keeps(change: FileChange | NameChange): boolean;
  /** Writes what survives of a write. */
  write(target: StorageFile, change: FileChange): void;
}

/** A file's durable bytes, and what was done to it since. */
export class DiskFile {
  readonly changes: FileChange[] = [];
  /** End of what was written, and so takes room; growing by `truncate` takes none. */
  roomEnd: number;
  readonly #durable: StorageFile;

  constructor(bytes: Uint8Array = NONE) {
    this.roomEnd = bytes.length;
    this.#durable = new MemoryStorage().open("durable", "create");
    this.#durable.write(bytes, 0);
  }

  settle(fate: Fate, before: number): void {
    settle(this.changes, fate, before);
    for (const change of this.changes.splice(0, durableCount(this.changes))) {
      replay(this.#durable, change);
    }
  }

  /** Writes what survives a crash to an empty file. */
  survive(target: StorageFile, fates: CrashFates): void {
    const bytes = new Uint8Array(this.#durable.size());
    this.#durable.read(bytes, 0);
    target.write(bytes, 0);
    for (const change of this.changes) {
      if (change.fate === "durable") replay(target, change);
      else if (change.kind === "write") fates.write(target, change);
      else if (fates.keeps(change)) replay(target, change);
    }
    target.close();
  }
}
