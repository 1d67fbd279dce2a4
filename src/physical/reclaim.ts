/**
 * Retired slots: slots of deleted pages that are not on the allocator's free stacks yet.
 *
 * A free slot is linked through its own first word, so to free one is to touch its memory: where a million
 * scattered pages die in one tick, that is a million cache misses and two atomic operations each, 1.2 of
 * the 1.9 s that such a tick took. A retired slot is only noted, in a list of its size class, and moves to its free
 * stack later, some at a time. Until then it is as good as free: whoever allocates takes retired slots
 * first, so that nothing is cut from the arena that would not have been cut otherwise, and no arena is full because
 * of what waits here.
 *
 * Only for the thread that retires; other threads see slots when they are on the free stacks.
 *
 * Cost: 4 bytes a slot that waits, in blocks that go when they are empty; a few ns a call.
 *
 * @module
 */

import { RowStack } from "./_row_stack.ts";
import { SIZE_CLASSES, sizeOfClass } from "./size_class.ts";

/** Slots that wait, by size class. */
export class RetiredSlots {
  #lists: (RowStack | undefined)[] = [];
  #count = 0;
  #bytes = 0;

  /** Slots that wait. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of these slots. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Slots of a size class that wait. */
  countOf(sizeClass: number): number {
    return this.#lists[sizeClass]?.length ?? 0;
  }

  /** Notes a slot. */
  push(address: number, sizeClass: number): void {
    (this.#lists[sizeClass] ??= new RowStack()).push(address);
    this.#count++;
    this.#bytes += sizeOfClass(sizeClass);
  }

  /** Takes the slot of a size class that was noted last; 0 where there is none. */
  pop(sizeClass: number): number {
    if (this.#count === 0) return 0;
    const address = this.#lists[sizeClass]?.pop();
    if (address === undefined) return 0;
    this.#count--;
    this.#bytes -= sizeOfClass(sizeClass);
    // An address is below 2^32, and the list holds it in 32 bits.
    return address >>> 0;
  }

  /**
   * Takes some slots of one size class.
   *
   * @param target Where they go; as many as fit.
   * @returns Their class and how many there are; 0 where none waits.
   */
  take(target: Uint32Array): { readonly sizeClass: number; readonly count: number } {
    for (let sizeClass = 0; sizeClass < SIZE_CLASSES && this.#count > 0; sizeClass++) {
      if (this.countOf(sizeClass) === 0) continue;
      let count = 0;
      while (count < target.length) {
        const address = this.pop(sizeClass);
        if (address === 0) break;
        target[count++] = address;
      }
      return { sizeClass, count };
    }
    return { sizeClass: 0, count: 0 };
  }

  /** The slots of a size class, the one noted last at the end. */
  list(sizeClass: number): Uint32Array {
    return Uint32Array.from(this.#lists[sizeClass]?.toArray() ?? [], (address) => address >>> 0);
  }

  /** Forgets all of them: the allocator was put somewhere else. */
  clear(): void {
    if (this.#count === 0) return;
    this.#lists = [];
    this.#count = this.#bytes = 0;
  }
}
