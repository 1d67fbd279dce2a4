/**
 * Faults: the failures that are planned for a `FaultyStorage`, the room on its disk, and the count of
 * what was done. One object is shared by a storage and its open files.
 *
 * Cost: a few counters a call.
 */

import { checkInteger, MmsbError, type MmsbErrorCode } from "../base/mod.ts";
import type { DiskFile } from "./_disk.ts";
import { SeededRandom } from "./seeded_random.ts";

/** A plan of failures, for {@linkcode FaultyStorage.failWrites} and `failSyncs`. */
export interface FailurePlan {
  /** How many more calls succeed before the first that fails. */
  readonly after: number;
  /** How many calls then fail; 1 if left out, `Infinity` for a device that is gone. */
  readonly times?: number;
  /** The code of the error; `io` if left out. */
  readonly error?: MmsbErrorCode;
}

/** A plan of failing writes. */
export interface WriteFailurePlan extends FailurePlan {
  /** How many bytes a failing write leaves behind, at most its own; by chance if left out. */
  readonly prefix?: number;
}

/** The faults that are planned, and the count of what was done; shared by a storage and its files. */
export class Faults {
  readonly random: SeededRandom;
  writes = new Failures({ after: Infinity });
  syncs = new Failures({ after: Infinity });
  bytesLeft = Infinity;
  stepsLeft = Infinity;
  steps = 0;
  /** Changes so far: the next change's number. */
  changes = 0;
  #stopped = false;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  checkPower(action: string, path: string): void {
    if (this.#stopped) {
      throw failure("io", action, path, "the power is cut: look at what a crash leaves");
    }
  }

  step(action: string, path: string): void {
    if (this.stepsLeft === 0) this.#stopped = true;
    this.checkPower(action, path);
    this.stepsLeft--;
    this.steps++;
  }

  /** How many of a write's bytes are written, and the error that it then ends in, if any. */
  takeWrite(
    disk: DiskFile,
    path: string,
    position: number,
    size: number,
  ): { count: number; error: MmsbError | undefined } {
    let error = this.writes.take("write", path);
    let count = Math.max(0, Math.min(size, disk.roomEnd + this.bytesLeft - position));
    if (error !== undefined) {
      count = Math.min(count, this.writes.prefix ?? this.random.below(size + 1));
    } else if (count < size) {
      error = failure("disk-full", "write", path, "the disk is full: free some space");
    }
    const end = count === 0 ? 0 : position + count;
    this.bytesLeft -= Math.max(0, end - disk.roomEnd);
    disk.roomEnd = Math.max(disk.roomEnd, end);
    return { count, error };
  }

  /** Gives a file's room back, from a size on. */
  free(disk: DiskFile, size = 0): void {
    this.bytesLeft += Math.max(0, disk.roomEnd - size);
    disk.roomEnd = Math.min(disk.roomEnd, size);
  }
}

/** One plan of failures, on its way. */
export class Failures {
  readonly prefix: number | undefined;
  readonly #code: MmsbErrorCode;
  #after: number;
  #times: number;

  constructor({ after, times = 1, error = "io", prefix }: WriteFailurePlan) {
    this.#after = checkCount("after", after);
    this.#times = checkCount("times", times);
    this.#code = error;
    this.prefix = prefix === undefined ? undefined : checkCount("prefix", prefix);
  }

  /** Counts one call; the error that it ends in, if any. */
  take(action: string, path: string): MmsbError | undefined {
    if (this.#after > 0) {
      this.#after--;
      return undefined;
    }
    if (this.#times === 0) return undefined;
    this.#times--;
    return failure(this.#code, action, path, "a fault was asked for");
  }
}

/** Checks a count that may be without end. */
export function checkCount(name: string, value: number): number {
  return value === Infinity ? value : checkInteger(name, value, 0, Number.MAX_SAFE_INTEGER);
}

/** An error of a storage, about one path. */
export function failure(
  code: MmsbErrorCode,
  action: string,
  path: string,
  state: string,
): MmsbError {
  return new MmsbError(code, `Cannot ${action} ${JSON.stringify(path)} as ${state}`, {
    values: { path },
  });
}
