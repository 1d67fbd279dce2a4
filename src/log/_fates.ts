/**
 * Fates: what of the undecided changes survives one crash, by plan or by chance.
 *
 * Chance is not even: some crashes keep most, some lose most, and a torn write loses scattered
 * pieces, a suffix or a prefix, because that is where the faults are. The same seed and the same
 * changes give the same crash.
 *
 * Cost: a few random numbers a change.
 */

import { checkOneOf } from "../base/mod.ts";
import {
  type CrashFates,
  describe,
  type FileChange,
  type NameChange,
  replay,
  type UnsyncedChange,
} from "./_disk.ts";
import { SeededRandom } from "./seeded_random.ts";
import type { StorageFile } from "./storage.ts";

/** What a disk writes whole: the smallest sector in use. */
const SECTOR_BYTES = 512;

/** Options of {@linkcode FaultyStorage.crash}. */
export interface CrashOptions {
  /** Of this crash; drawn from the storage's own seed if left out, so that each crash differs. */
  readonly seed?: number;
  /**
   * What of the unsynced survives: `some` by chance, `none`, or `all`, which is what a killed
   * process leaves to a system that lives on. `some` if left out.
   */
  readonly keep?: "some" | "none" | "all";
  /**
   * Where a write that survives by chance may be torn: at 512-byte `sector` boundaries, at any
   * `byte`, or `never`. `sector` if left out.
   */
  readonly tear?: "sector" | "byte" | "never";
  /**
   * The plan, in place of chance: whether a change survives, or how many of a write's first bytes
   * do. Asked in any order, and only about what may matter.
   */
  readonly survive?: (change: UnsyncedChange) => boolean | number;
}

/** Decides what of the undecided survives one crash. */
export class Fates implements CrashFates {
  readonly #options: CrashOptions;
  readonly #random: SeededRandom;
  /** Some crashes keep most, some lose most: the corners are where the faults are. */
  readonly #kept: number;

  constructor(options: CrashOptions, seed: number) {
    checkOneOf("keep", options.keep ?? "some", ["some", "none", "all"]);
    checkOneOf("tear", options.tear ?? "sector", ["sector", "byte", "never"]);
    this.#options = options;
    this.#random = new SeededRandom(seed);
    this.#kept = [0.1, 0.5, 0.9][this.#random.below(3)];
  }

  keeps(change: FileChange | NameChange): boolean {
    const { survive, keep = "some" } = this.#options;
    if (survive !== undefined) return Number(survive(describe(change))) > 0;
    return keep === "some" ? this.#random.chance(this.#kept) : keep === "all";
  }

  /** Writes what survives of a write. */
  write(target: StorageFile, change: FileChange): void {
    const { survive, keep = "some", tear = "sector" } = this.#options;
    const { bytes, position } = change;
    if (survive !== undefined) {
      const answer = survive(describe(change));
      const count = typeof answer === "number" ? answer : answer ? bytes.length : 0;
      target.write(bytes.subarray(0, Math.max(0, count)), position);
    } else if (keep !== "some" || tear === "never" || this.#random.chance(0.5)) {
      if (this.keeps(change)) replay(target, change);
    } else {
      for (const [start, end] of this.#pieces(position, bytes.length)) {
        target.write(bytes.subarray(start, end), position + start);
      }
    }
    if (survive === undefined && keep === "some") this.#growByChance(target, change);
  }

  /** The size may reach the disk without the bytes, which then read as zeros. */
  #growByChance(target: StorageFile, change: FileChange): void {
    const end = change.position + change.bytes.length;
    if (target.size() < end && this.#random.chance(0.5)) target.truncate(end);
  }

  /** The spans of a torn write that survive: scattered ones, a prefix or a suffix. */
  #pieces(position: number, length: number): [start: number, end: number][] {
    const cuts = this.#cuts(position, length);
    const spans = cuts.slice(1).map((end, i): [number, number] => [cuts[i], end]);
    const style = this.#random.below(3);
    const middle = this.#random.below(spans.length + 1);
    if (style === 0) return spans.filter(() => this.#random.chance(this.#kept));
    return style === 1 ? spans.slice(0, middle) : spans.slice(middle);
  }

  /** Where a write may be torn, from 0 to its length, in order. */
  #cuts(position: number, length: number): number[] {
    const cuts = new Set([0]);
    if (this.#options.tear === "byte") {
      const inner = Array.from({ length: 3 }, () => this.#random.below(length + 1));
      for (const cut of inner.sort((a, b) => a - b)) cuts.add(cut);
    } else {
      const first = SECTOR_BYTES - (position % SECTOR_BYTES);
      for (let cut = first; cut < length; cut += SECTOR_BYTES) cuts.add(cut);
    }
    return [...cuts.add(length)];
  }
}
