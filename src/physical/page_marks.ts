/**
 * Page marks: what is known of a page beside its bytes. A page may be stale (its inputs are newer), detached (its
 * rule is not there) and invalidated (something that it was made from is gone), each by itself.
 *
 * Marks are part of the state: logged, kept in checkpoints, gone with their page.
 *
 * Cost: nothing while there is none; then some 40 bytes a marked page. Asking costs one lookup.
 *
 * @module
 */

import { assert } from "../base/mod.ts";

/** The marks, by name. */
export const MARK = {
  /** Its inputs changed since it was computed. */
  stale: 1,
  /** The rule that wrote it is not bound. */
  detached: 2,
  /** What it was made from was taken away. */
  invalidated: 3,
} as const;

/** Name of a mark. */
export type MarkName = "stale" | "detached" | "invalidated";

/** Number of a mark. */
export type Mark = typeof MARK[MarkName];

/** Names of the marks, by number; 0 is none. */
export const MARK_NAMES: readonly string[] = ["", ...Object.keys(MARK)];

/** A mark on a page. */
export interface PageMark {
  /** The page. */
  readonly page: number;
  /** The mark. */
  readonly mark: Mark;
}

/** Whether a number is a mark. */
export function isMark(mark: number): mark is Mark {
  return mark >= MARK.stale && mark <= MARK.invalidated;
}

/** The marks of one store. */
export class PageMarks {
  /** For each marked page one bit a mark. */
  #bits = new Map<number, number>();

  /** Number of marked pages. */
  get size(): number {
    return this.#bits.size;
  }

  /** Whether a page has a mark. */
  has(page: number, mark: Mark): boolean {
    return this.#bits.size !== 0 && ((this.#bits.get(page) ?? 0) & 1 << mark) !== 0;
  }

  /** Whether a page has any mark. */
  hasAny(page: number): boolean {
    return this.#bits.size !== 0 && this.#bits.has(page);
  }

  /** Sets a mark or takes it off; gives whether that changed anything. */
  set(page: number, mark: Mark, isSet: boolean): boolean {
    const before = this.#bits.get(page) ?? 0;
    const after = isSet ? before | 1 << mark : before & ~(1 << mark);
    if (after === before) return false;
    if (after === 0) this.#bits.delete(page);
    else this.#bits.set(page, after);
    return true;
  }

  /** Takes all marks off a page. */
  removePage(page: number): void {
    if (this.#bits.size !== 0) this.#bits.delete(page);
  }

  /** All marks, by page and number. */
  list(): PageMark[] {
    const marks: PageMark[] = [];
    for (const page of [...this.#bits.keys()].sort((a, b) => a - b)) {
      for (const mark of Object.values(MARK)) if (this.has(page, mark)) marks.push({ page, mark });
    }
    return marks;
  }

  /** Takes all marks off. */
  clear(): void {
    if (this.#bits.size !== 0) this.#bits = new Map();
  }

  /** All marks, to be given to {@linkcode PageMarks.restore}. */
  image(): ReadonlyMap<number, number> {
    return this.#bits.size === 0 ? NONE : new Map(this.#bits);
  }

  /** Puts the marks back to an image. */
  restore(image: ReadonlyMap<number, number>): void {
    if (this.#bits.size !== 0 || image.size !== 0) this.#bits = new Map(image);
  }

  /** Checks that marks are known ones, and that their pages are there. */
  checkInvariants(hasPage: (page: number) => boolean): void {
    for (const [page, bits] of this.#bits) {
      assert(hasPage(page), `marked page ${page} is there`);
      assert(bits !== 0 && (bits & ~0b1110) === 0, `page ${page} has marks that are known`);
    }
  }
}

const NONE: ReadonlyMap<number, number> = new Map();
