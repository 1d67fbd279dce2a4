/** Words and figures of the page: times, exact figures, how far a figure is from its target. */

import { formatFigure } from "./figures.ts";
import type { MetricVerdict } from "./judge.ts";
import type { Comparison, Unit } from "./targets.ts";

/** A time in the one zone that all readers share, to the minute: `2026-11-22 12:18 UTC`. */
export function dateText(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** A figure with all the digits that a reader could want. */
export function exactText(value: number, unit: Unit): string {
  if (!Number.isFinite(value)) return String(value);
  const shown = Number(value.toPrecision(9));
  const digits = Number.isInteger(shown) && Math.abs(shown) < 1e15
    ? String(shown).replace(/\B(?=(\d{3})+$)/g, ",")
    : String(shown);
  return {
    number: digits,
    "%": `${digits}%`,
    "/sec": `${digits}/sec`,
    ms: `${digits} ms`,
    bytes: `${digits} B`,
  }[unit];
}

const COMPARISON_SIGNS: Readonly<Record<Comparison, string>> = {
  "<": "<",
  "<=": "≤",
  "==": "=",
  ">=": "≥",
  ">": ">",
};

/** A target or goal with its comparison, as people write it: `≥ 1M/sec`. */
export function limitText(comparison: Comparison, limit: string): string {
  return `${COMPARISON_SIGNS[comparison]} ${limit}`;
}

/** How long something took: `46.2 s`, `2 min 5 s`, `310 ms`. */
export function durationText(durationMs: number): string {
  if (durationMs < 1000) return formatFigure(durationMs, "ms");
  if (durationMs < 60_000) return `${(durationMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** A figure beside its target. */
export interface Margin {
  /** How many times better than the target, below 1 where it is worse. */
  readonly factor: number;
  /** The same in words. */
  readonly text: string;
}

/** How far a figure is from its target; nothing where either is no positive number. */
export function marginOf({ value, comparison, target }: MetricVerdict): Margin | undefined {
  if (value === undefined || !(value > 0 && target > 0 && Number.isFinite(value))) return undefined;
  const share = value / target;
  if (comparison === ">" || comparison === ">=") {
    return { factor: share, text: `${roundedText(share)}× the target` };
  }
  if (comparison === "==") return undefined;
  return { factor: 1 / share, text: `${roundedText(share * 100)}% of the limit` };
}

function roundedText(value: number): string {
  if (value >= 10_000 || value < 0.01) return value.toExponential(0);
  // 99.96 % of a limit is not all of it.
  for (let digits = 2; digits <= 6; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if ((rounded === 100) === (value === 100) && (rounded === 1) === (value === 1)) {
      return rounded.toLocaleString("en-US", { maximumFractionDigits: 6 });
    }
  }
  return String(value);
}

/** What a metric's name says where no target gives it a label: `maxMs` is `max`. */
export function labelOfName(name: string): string {
  return name.replace(/Ms$/, "").replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase();
}
