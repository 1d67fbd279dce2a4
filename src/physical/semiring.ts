/**
 * Semirings: two operations with neutral elements, and folds over columns with them.
 *
 * A combining delta folds with one operation (`plus`); a path, a flow or a rule folds with both.
 * Tropical (min, +) answers "cheapest", boolean (or, and) "reachable" (Golan, "Semirings and their
 * applications", 1999). A user registers others under a name; what they promise (associative,
 * commutative plus; zero absorbs) can be checked on samples with {@linkcode checkSemiring}.
 *
 * @module
 */

import { checkInteger, checkIterable, checkType, MmsbError } from "../base/mod.ts";

/** A semiring over numbers. */
export interface Semiring {
  /** Its name. */
  readonly name: string;
  /** Neutral element of {@linkcode Semiring.plus}; absorbs in {@linkcode Semiring.times}. */
  readonly zero: number;
  /** Neutral element of {@linkcode Semiring.times}. */
  readonly one: number;
  /** Associative and commutative. */
  plus(a: number, b: number): number;
  /** Associative, and distributes over plus. */
  times(a: number, b: number): number;
}

/** (min, +): zero is +∞, one is 0. */
export const tropical: Semiring = {
  name: "tropical",
  zero: Infinity,
  one: 0,
  plus: (a, b) => Math.min(a, b),
  times: (a, b) => a + b,
};

/** (or, and) over 0 and 1; every other number counts as 1. */
export const boolean: Semiring = {
  name: "boolean",
  zero: 0,
  one: 1,
  plus: (a, b) => a !== 0 || b !== 0 ? 1 : 0,
  times: (a, b) => a !== 0 && b !== 0 ? 1 : 0,
};

const registered = new Map<string, Semiring>([["tropical", tropical], ["boolean", boolean]]);

/**
 * Makes a semiring known by its name.
 *
 * @throws {MmsbError} `usage` where it is no semiring or the name is taken.
 */
export function registerSemiring(semiring: Semiring): void {
  checkType("semiring", semiring, "object");
  checkType("name of the semiring", semiring.name, "string");
  checkNeutral("zero", semiring.zero);
  checkNeutral("one", semiring.one);
  checkType("plus of the semiring", semiring.plus, "function");
  checkType("times of the semiring", semiring.times, "function");
  if (registered.has(semiring.name)) {
    throw new MmsbError("usage", `Cannot register semiring "${semiring.name}": the name is taken`, {
      values: { name: semiring.name },
    });
  }
  registered.set(semiring.name, semiring);
}

/** Infinities are neutral elements too. */
function checkNeutral(name: string, value: unknown): void {
  if (typeof value === "number" && !Number.isNaN(value)) return;
  throw new MmsbError("usage", `Cannot use the ${name} of the semiring: give a number`, {
    values: { name, value },
  });
}

/**
 * The semiring of a name.
 *
 * @throws {MmsbError} `usage` where there is none.
 */
export function semiring(name: string): Semiring {
  checkType("name", name, "string");
  const found = registered.get(name);
  if (found === undefined) {
    throw new MmsbError(
      "usage",
      `Cannot find semiring "${name}": registered are ${[...registered.keys()].join(", ")}`,
      { values: { name } },
    );
  }
  return found;
}

/** Sum and product of a column. */
export interface Accumulated {
  /** All values folded with plus, from zero. */
  readonly sum: number;
  /** All values folded with times, from one. */
  readonly product: number;
}

/** Refuses a semiring and a column that are none. */
function checkFold(ring: Semiring, column: ArrayLike<number>): void {
  checkType("semiring", ring, "object");
  checkType("plus of the semiring", ring.plus, "function");
  checkType("times of the semiring", ring.times, "function");
  checkNeutral("zero", ring.zero);
  checkNeutral("one", ring.one);
  const { length } = checkType("column", column, "object") as ArrayLike<number>;
  checkInteger("length of the column", length, 0, Number.MAX_SAFE_INTEGER);
}

/**
 * Folds a column with plus, from zero.
 *
 * @throws {MmsbError} `usage` for what is no semiring or no column.
 */
export function foldSum(ring: Semiring, column: ArrayLike<number>): number {
  checkFold(ring, column);
  let sum = ring.zero;
  for (let i = 0; i < column.length; i++) sum = ring.plus(sum, column[i]);
  return sum;
}

/**
 * Folds a column with times, from one.
 *
 * @throws {MmsbError} as {@linkcode foldSum}.
 */
export function foldProduct(ring: Semiring, column: ArrayLike<number>): number {
  checkFold(ring, column);
  let product = ring.one;
  for (let i = 0; i < column.length; i++) product = ring.times(product, column[i]);
  return product;
}

/**
 * Folds a column both ways in one pass.
 *
 * @throws {MmsbError} as {@linkcode foldSum}.
 *
 * @example The cheapest step, and the cost of all
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(accumulate(tropical, [3, 1, 2]), { sum: 1, product: 6 });
 * ```
 */
export function accumulate(ring: Semiring, column: ArrayLike<number>): Accumulated {
  checkFold(ring, column);
  let sum = ring.zero, product = ring.one;
  for (let i = 0; i < column.length; i++) {
    sum = ring.plus(sum, column[i]);
    product = ring.times(product, column[i]);
  }
  return { sum, product };
}

/**
 * Checks the laws of a semiring on samples.
 *
 * @returns The first law that fails, in words, or `undefined`.
 * @throws {MmsbError} as {@linkcode foldSum}.
 */
export function checkSemiring(ring: Semiring, samples: readonly number[]): string | undefined {
  checkFold(ring, samples);
  checkIterable("samples", samples);
  const { zero, one } = ring;
  const plus = (a: number, b: number) => ring.plus(a, b);
  const times = (a: number, b: number) => ring.times(a, b);
  for (const a of samples) {
    if (!Object.is(plus(a, zero), a)) return `${a} plus zero is ${plus(a, zero)}`;
    if (!Object.is(times(a, one), a)) return `${a} times one is ${times(a, one)}`;
    if (!Object.is(times(one, a), a)) return `one times ${a} is ${times(one, a)}`;
    if (!Object.is(times(a, zero), zero)) return `${a} times zero is ${times(a, zero)}`;
    if (!Object.is(times(zero, a), zero)) return `zero times ${a} is ${times(zero, a)}`;
    for (const b of samples) {
      if (!Object.is(plus(a, b), plus(b, a))) return `${a} plus ${b} depends on the order`;
      for (const c of samples) {
        const grouped = `of ${a}, ${b}, ${c} depends on the grouping`;
        if (!Object.is(plus(plus(a, b), c), plus(a, plus(b, c)))) return `plus ${grouped}`;
        if (!Object.is(times(times(a, b), c), times(a, times(b, c)))) return `times ${grouped}`;
        const left = Object.is(times(a, plus(b, c)), plus(times(a, b), times(a, c)));
        const right = Object.is(times(plus(b, c), a), plus(times(b, a), times(c, a)));
        if (!left || !right) return `times does not distribute over plus: ${a}, ${b}, ${c}`;
      }
    }
  }
  return undefined;
}
