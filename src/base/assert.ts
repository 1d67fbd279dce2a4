/**
 * Assertions and argument checks: two different things, in one place so that nobody mixes them.
 *
 * `assert` guards what only a bug of ours can break. It stays on in production: a bus that knows
 * that it is wrong must stop before it writes what it holds. It throws `MmsbAssertionError`, which
 * no caller is meant to handle.
 *
 * The `check…` functions guard what a caller gives us. They throw `MmsbError` with a code, the
 * argument's name and the value, and they refuse instead of converting: `"4"`, `4n`, `4.5` and
 * `NaN` are never an offset.
 *
 * Cost: a comparison or two. Checks stand at the public boundary, once a call or once a batch;
 * per-row loops are checked by columns.
 */

import { MmsbError, type MmsbErrorCode } from "./errors.ts";

/** Thrown by {@linkcode assert}: MMSB has broken its own rule, which is a bug to report. */
export class MmsbAssertionError extends Error {
  /** Always `"MmsbAssertionError"`. */
  override readonly name = "MmsbAssertionError";
}

/**
 * Stops where an internal rule is broken.
 *
 * @param condition What must hold.
 * @param message The rule, as a statement that is now false: `Rows are sorted by shard`.
 * @throws {MmsbAssertionError} Where it does not hold.
 *
 * @example A rule that holds
 * ```ts
 * assert(1 + 1 === 2, "Numbers add up");
 * ```
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) {
    throw new MmsbAssertionError(`Internal rule broken, please report it: ${message}`);
  }
}

/**
 * Checks that an argument is an integer in a range.
 *
 * @param name The argument's name, for the message.
 * @param value What the caller gave.
 * @param min Smallest value allowed, inclusive.
 * @param max Largest value allowed, inclusive; at most 2⁵³ − 1.
 * @param code Code where the integer is outside the range.
 * @returns The value, as a number; −0 becomes 0.
 * @throws {MmsbError} `usage` where it is no integer: NaN, infinite, a fraction, a string, a
 * bigint, nothing. `code` (`out-of-bounds` if left out) where it is outside the range.
 *
 * @example Check an offset
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(checkInteger("offset", 16, 0, 4096), 16);
 * assert.throws(() => checkInteger("offset", -1, 0, 4096), { code: "out-of-bounds" });
 * assert.throws(() => checkInteger("offset", "16", 0, 4096), { code: "usage" });
 * ```
 */
export function checkInteger(
  name: string,
  value: unknown,
  min: number,
  max: number,
  code: MmsbErrorCode = "out-of-bounds",
): number {
  if (!Number.isSafeInteger(value)) {
    throw new MmsbError("usage", `Cannot use ${quote(value)} as ${name}: give an integer`, {
      values: { name, value },
    });
  }
  const number = value as number;
  if (number < min || number > max) {
    throw new MmsbError(
      code,
      `Cannot use ${number} as ${name}: give an integer from ${min} to ${max}`,
      { values: { name, value, min, max } },
    );
  }
  return number + 0;
}

/**
 * Checks that an argument is a finite number in a range.
 *
 * @param name The argument's name, for the message.
 * @param value What the caller gave.
 * @param min Smallest value allowed, inclusive.
 * @param max Largest value allowed, inclusive.
 * @param code Code where the number is outside the range.
 * @returns The value.
 * @throws {MmsbError} `usage` where it is no finite number, `code` (`out-of-bounds` if left out)
 * where it is outside the range.
 */
export function checkNumber(
  name: string,
  value: unknown,
  min: number,
  max: number,
  code: MmsbErrorCode = "out-of-bounds",
): number {
  if (!Number.isFinite(value)) {
    throw new MmsbError("usage", `Cannot use ${quote(value)} as ${name}: give a finite number`, {
      values: { name, value },
    });
  }
  const number = value as number;
  if (number < min || number > max) {
    throw new MmsbError(
      code,
      `Cannot use ${number} as ${name}: give a number from ${min} to ${max}`,
      { values: { name, value, min, max } },
    );
  }
  return number;
}

/** The types that {@linkcode checkType} tells apart, by the word that `typeof` gives. */
export interface CheckedTypes {
  /** `typeof` says `"bigint"`. */
  readonly bigint: bigint;
  /** `typeof` says `"boolean"`. */
  readonly boolean: boolean;
  /** `typeof` says `"function"`. */
  readonly function: (...args: never[]) => unknown;
  /** `typeof` says `"object"`, and it is not `null`. */
  readonly object: object;
  /** `typeof` says `"string"`. */
  readonly string: string;
}

/**
 * Checks an argument's type, by `typeof`; `null` is no object.
 *
 * @typeParam T The type's word.
 * @param name The argument's name, for the message.
 * @param value What the caller gave.
 * @param type The type that it must have; for numbers see {@linkcode checkInteger}.
 * @returns The value, typed.
 * @throws {MmsbError} `usage` where it has another type.
 */
export function checkType<T extends keyof CheckedTypes>(
  name: string,
  value: unknown,
  type: T,
): CheckedTypes[T] {
  if (typeof value !== type || value === null) {
    throw new MmsbError(
      "usage",
      `Cannot use ${quote(value)} as ${name}: give ${type === "object" ? "an" : "a"} ${type}`,
      {
        values: { name, value },
      },
    );
  }
  return value as CheckedTypes[T];
}

/**
 * Whether a value is a `Uint8Array`. A proxy of one, or an object made with its prototype, is an instance
 * of it too and fails in its first method; only a real one is a view.
 */
export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && ArrayBuffer.isView(value);
}

/**
 * Checks that an argument is a `Uint8Array`, over any kind of buffer.
 *
 * @param name The argument's name, for the message.
 * @param value What the caller gave.
 * @returns The value, typed.
 * @throws {MmsbError} `usage` where it is something else: another array, a buffer, a string.
 */
export function checkBytes(name: string, value: unknown): Uint8Array {
  if (!isBytes(value)) {
    throw new MmsbError("usage", `Cannot use ${quote(value)} as ${name}: give a Uint8Array`, {
      values: { name, value },
    });
  }
  return value;
}

/**
 * Checks that an argument can be walked with `for … of`.
 *
 * @typeParam T What it gives.
 * @param name The argument's name, for the message.
 * @param value What the caller gave.
 * @returns The value.
 * @throws {MmsbError} `usage` where it cannot.
 */
export function checkIterable<T>(name: string, value: Iterable<T>): Iterable<T> {
  if (typeof value?.[Symbol.iterator] === "function") return value;
  throw new MmsbError("usage", `Cannot use ${quote(value)} as ${name}: give an array`, {
    values: { name, value },
  });
}

/**
 * Checks that an argument is one of a few words.
 *
 * @typeParam T The union of the words.
 * @param name The argument's name, for the message.
 * @param value What the caller gave.
 * @param choices The words.
 * @returns The value, typed.
 * @throws {MmsbError} `usage` where it is none of them; the message lists them.
 */
export function checkOneOf<T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  if (!choices.includes(value as T)) {
    throw new MmsbError(
      "usage",
      `Cannot use ${quote(value)} as ${name}: give one of ${choices.map(quote).join(", ")}`,
      { values: { name, value, choices } },
    );
  }
  return value as T;
}

/**
 * Checks that an options object has no key that nobody reads: a misspelt option must not be
 * silently without effect.
 *
 * @param name What the options are for, for the message: `StateBus.open`.
 * @param options The options; `undefined` is an empty object.
 * @param keys The keys that are read.
 * @throws {MmsbError} `usage` where it is no object or has another key; the message lists the keys.
 */
export function checkKeys(name: string, options: unknown, keys: readonly string[]): void {
  if (options === undefined) return;
  for (const key of Object.keys(checkType(`options of ${name}`, options, "object"))) {
    if (!keys.includes(key)) {
      throw new MmsbError(
        "usage",
        `Cannot use option ${quote(key)} of ${name}: the options are ${keys.join(", ")}`,
        { values: { name, key, keys } },
      );
    }
  }
}

/** Longest piece of a caller's text that a message repeats, in characters. */
const QUOTED_CHARACTERS_MAX = 60;

function quote(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value.length > QUOTED_CHARACTERS_MAX
        ? `${JSON.stringify(value.slice(0, QUOTED_CHARACTERS_MAX))}…`
        : JSON.stringify(value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "object":
      return value === null ? "null" : `an object (${value.constructor?.name ?? "no prototype"})`;
    default:
      return String(value);
  }
}
