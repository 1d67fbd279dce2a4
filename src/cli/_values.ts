/**
 * Values of flags: text to numbers and times, and times back to text. What is not exactly right is
 * refused with what to write: `Number("")` is 0 and `Date.parse` takes what no one meant.
 */

import { MmsbError } from "../base/errors.ts";

/** An integer in a range, from a flag's text; nothing where the flag is absent. */
export function integerOf(
  flag: string,
  text: string | undefined,
  min: number,
  max: number,
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    const isTick = flag.includes("tick");
    const most = max === Number.MAX_SAFE_INTEGER ? `${min} on` : `${min} to ${max}`;
    throw wrong(flag, text, `${isTick ? "it is no tick, " : ""}give an integer from ${most}`);
  }
  return value;
}

/** Integers from 1, set apart by commas, in order and each once; nothing where the flag is absent. */
export function idsOf(flag: string, text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined;
  const parts = text.split(",");
  if (!parts.every((part) => /^ *[1-9]\d{0,8} *$/.test(part))) {
    throw wrong(flag, text, "give numbers set apart by commas, such as 1,5");
  }
  return [...new Set(parts.map(Number))].toSorted((a, b) => a - b);
}

/** ISO 8601, as far as it can mean one moment only: a date, or a time with its offset. */
const TIME =
  /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?(Z|[+-]\d{2}:\d{2}))?$/;

/** A time in µs since the Unix epoch, from a flag's text; nothing where the flag is absent. */
export function timeUsOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, date, minute = "00:00", second = "00", fraction = "", offset = "Z"] = TIME.exec(text) ??
    [];
  // Whole seconds through Date, as it has no microseconds.
  const ms = Date.parse(`${date}T${minute}:${second}${offset}`);
  // `Date.parse` takes the 30th of February for the 2nd of March.
  const isDate = new Date(`${date}T00:00:00Z`).toJSON()?.startsWith(date ?? "?") ?? false;
  if (!Number.isFinite(ms) || !isDate || ms < 0) {
    throw wrong(
      flag,
      text,
      "give an ISO time with its offset, such as 2026-01-31 or 2026-01-31T08:15:00.000000Z",
    );
  }
  return ms * 1000 + Number(fraction.padEnd(6, "0"));
}

/** ISO time of µs since the Unix epoch, with six digits of a second. */
export function timeText(us: number): string {
  const micros = us % 1_000_000;
  const seconds = new Date((us - micros) / 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(micros).padStart(6, "0")}Z`;
}

function wrong(flag: string, text: string, advice: string): MmsbError {
  return new MmsbError("usage", `Cannot use ${JSON.stringify(text)} as --${flag}: ${advice}`, {
    values: { flag, text },
  });
}
