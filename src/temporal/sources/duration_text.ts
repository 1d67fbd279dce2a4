/** Spans of time for people: three digits at most, the unit that reads best. */

/** Units from large to small, in ns. */
const UNITS: readonly (readonly [string, number])[] = [
  ["days", 86_400e9],
  ["h", 3600e9],
  ["min", 60e9],
  ["s", 1e9],
  ["ms", 1e6],
  ["µs", 1e3],
  ["ns", 1],
];
/** From this many of a unit on it is used. */
const FROM: Readonly<Record<string, number>> = { days: 2, h: 2, min: 2 };

/**
 * A span of time as people read it.
 *
 * @param ns The span in ns.
 * @returns Text such as `12 ms`; `unknown` for NaN and infinities.
 *
 * @example Small and large
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(durationText(85_300), "85.3 µs");
 * equal(durationText(-12e6), "-12 ms");
 * equal(durationText(3600e9 * 5), "5 h");
 * equal(durationText(Infinity), "unknown");
 * ```
 */
export function durationText(ns: number): string {
  const size = Math.abs(ns);
  if (!Number.isFinite(ns)) return "unknown";
  for (const [name, unit] of UNITS) {
    // As it is shown: 999.96 µs is a millisecond.
    if (rounded(size / unit) >= (FROM[name] ?? 1)) {
      return `${ns < 0 ? "-" : ""}${rounded(size / unit)} ${name}`;
    }
  }
  return size < 0.01 ? "0 ns" : `${ns < 0 ? "-" : ""}${rounded(size)} ns`;
}

/** To three digits, and to whole numbers from 100 on. */
function rounded(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}
