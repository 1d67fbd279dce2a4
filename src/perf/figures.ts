/**
 * Figures for people: `782K/sec`, `12.3 ms`, `1073 B`, three digits where three are enough.
 *
 * A rounded figure can tell another story than the one that was compared: 15.996 ms would be printed
 * as `16 ms` beside a target of `< 16 ms` that it met. So digits are added until the printed number
 * falls on the same side of its target as the measured one.
 */

import type { Unit } from "./targets.ts";

/** Digits where three tell the truth; an integer of the unit `number` is always given in full. */
const DIGITS_DEFAULT = 3;
/** A double is exact in this many. */
const DIGITS_MAX = 17;

/**
 * Formats a figure.
 *
 * @param value The figure.
 * @param unit What it counts.
 * @param isSame Whether a rounded figure tells the same as the exact one; always if left out.
 * @returns The text, with its unit.
 *
 * @example Rates, and a figure near its target
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.equal(formatFigure(782_345, "/sec"), "782K/sec");
 * assert.equal(formatFigure(15.996, "ms"), "16 ms");
 * assert.equal(formatFigure(15.996, "ms", (rounded) => rounded < 16), "15.996 ms");
 * ```
 */
export function formatFigure(
  value: number,
  unit: Unit,
  isSame: (rounded: number) => boolean = () => true,
): string {
  if (!Number.isFinite(value)) return String(value);
  if (unit === "bytes") return bytes(value, isSame);
  let rounded = value;
  if (!(unit === "number" && Number.isInteger(value))) {
    for (let digits = DIGITS_DEFAULT; digits <= DIGITS_MAX; digits++) {
      rounded = Number(value.toPrecision(digits));
      if (isSame(rounded)) break;
    }
  }
  switch (unit) {
    case "number":
      return plain(rounded);
    case "%":
      return `${plain(rounded)}%`;
    case "/sec":
      return `${compact(rounded)}/sec`;
    case "ms":
      return `${plain(rounded)} ms`;
  }
}

/** Thousands are set apart from five digits up: 1000, 10,000. */
function plain(value: number): string {
  const text = String(value);
  return /^-?\d{5,15}$/.test(text) ? text.replace(/\B(?=(\d{3})+$)/g, ",") : text;
}

function compact(value: number): string {
  for (const [factor, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "K"]] as const) {
    // Dividing a decimal by a power of ten leaves noise in the last digits.
    if (Math.abs(value) >= factor) return `${Number((value / factor).toPrecision(15))}${letter}`;
  }
  return plain(value);
}

/** Sizes up to 1 MiB in bytes, as targets a page are set in bytes; above in MiB and GiB. */
function bytes(value: number, isSame: (rounded: number) => boolean): string {
  const [factor, name] = value < 2 ** 20
    ? [1, "B"]
    : value < 2 ** 30
    ? [2 ** 20, "MiB"]
    : [2 ** 30, "GiB"];
  let digits = Math.max(DIGITS_DEFAULT, factor === 1 ? 4 : 0);
  if (factor === 1 && Number.isInteger(value)) digits = 7;
  for (; digits < DIGITS_MAX; digits++) {
    if (isSame(Number((value / factor).toPrecision(digits)) * factor)) break;
  }
  return `${plain(Number((value / factor).toPrecision(digits)))} ${name}`;
}
