/**
 * Random numbers from a seed, so that a fault or a crash found once can be had again.
 *
 * The generator is splitmix32 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
 * Generators", OOPSLA 2014, in its 32-bit form): a Weyl sequence through a mixing function. Its
 * period of 2³² is plenty for choosing faults; it is not for secrets.
 *
 * Cost: a few nanoseconds a number, no allocation.
 */

/**
 * A stream of random numbers that depends on its seed alone.
 *
 * @example The same seed, the same numbers
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(new SeededRandom(7).below(1000), new SeededRandom(7).below(1000));
 * ```
 */
export class SeededRandom {
  #state: number;

  /**
   * Starts a stream.
   *
   * @param seed Any number; its low 32 bits count.
   */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /**
   * Draws a number.
   *
   * @returns An integer from 0 to 2³² − 1.
   */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /**
   * Draws a number below a bound.
   *
   * @param bound The bound, at least 1.
   * @returns An integer from 0 to `bound` − 1.
   */
  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound);
  }

  /**
   * Draws a yes or no.
   *
   * @param probability Of `true`, from 0 to 1.
   * @returns Whether it happens.
   */
  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }
}
