/**
 * A profile as text: the functions that took the most time, those that allocated the most, each also by the delta.
 */

import type { Profile, ProfiledFunction } from "./profile.ts";

/** What a text says beside the profile. */
export interface ProfileTextOptions {
  /** The program, as it was given. */
  readonly program: string;
  /** Functions in each table. */
  readonly top: number;
  /** Shortens a place, such as a path below the working folder. */
  readonly shorten?: (place: string) => string;
}

const REASONS: Readonly<Record<Profile["reason"], string>> = {
  end: "ran to its end",
  exit: "ended by itself",
  signal: "was interrupted",
  time: "was ended",
};

/**
 * Writes a profile as text.
 *
 * @param profile The profile.
 * @param options How much of it, and whose it is.
 * @returns Lines, with a line break at the end.
 *
 * @example A program that did nothing
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const text = profileText({
 *   reason: "end",
 *   elapsedMs: 12,
 *   busyMs: 3,
 *   functions: [],
 *   allocatedBytes: 0,
 *   allocators: [],
 *   tally: { ticks: 0, rows: 0, derived: 0, phasesMs: {} },
 *   gc: { count: 0, totalMs: 0, maxMs: 0 },
 * }, { program: "nothing.ts", top: 5 });
 * assert.match(text, /^nothing.ts ran to its end after 12.0 ms, the main thread was busy for 3.0 ms$/m);
 * assert.match(text, /^No bus had a tick/m);
 * ```
 */
export function profileText(profile: Profile, options: ProfileTextOptions): string {
  const { program, top, shorten = (place) => place } = options;
  const { functions, allocators, busyMs, elapsedMs, allocatedBytes, tally, gc } = profile;
  const deltas = tally.rows + tally.derived;
  const table = (rows: readonly ProfiledFunction[], amount: Amount) =>
    tableOf(rows.slice(0, top), { amount, deltas, shorten });
  const lines = [
    "=== MMSB Profile ===",
    `${program} ${REASONS[profile.reason]} after ${time(elapsedMs)}, the main thread was busy for ${
      time(busyMs)
    }`,
    ...ticksText(profile, deltas),
    "",
    ...table(functions, {
      title: "Time by function, without what it called",
      text: time,
      a: nanoseconds,
    }),
    "",
    ...table(allocators, {
      title: "Allocated by function, garbage included",
      text: bytes,
      a: each,
    }),
    "",
    `Allocated in all: ${bytes(allocatedBytes)}. Garbage collection: ${
      gc.count === 0
        ? "none"
        : `${count(gc.count)} ${gc.count === 1 ? "pause" : "pauses"}, ${time(gc.totalMs)} in all, ${
          time(gc.maxMs)
        } at most`
    }.`,
    "Sampled on the main thread: a function with 100 samples is known to some 10 %.",
  ];
  return `${lines.join("\n")}\n`;
}

interface Amount {
  readonly title: string;
  readonly text: (amount: number) => string;
  /** By the delta. */
  readonly a: (amount: number, deltas: number) => string;
}

function ticksText({ tally, busyMs, allocatedBytes }: Profile, deltas: number): string[] {
  const { ticks, rows, derived, phasesMs } = tally;
  if (ticks === 0) return ["No bus had a tick, so nothing is told by the delta."];
  const all = Object.values(phasesMs).reduce((sum, ms) => sum + ms, 0);
  const phases = Object.entries(phasesMs).filter(([, ms]) => ms > 0).sort(([, a], [, b]) => b - a);
  const lines = [
    `${count(ticks)} ticks with ${count(rows)} deltas, and ${count(derived)} from rules: ${
      deltas === 0
        ? "nothing to tell by the delta"
        : `${nanoseconds(busyMs, deltas)} and ${
          each(allocatedBytes, deltas)
        } allocated a delta, all included`
    }`,
  ];
  if (all > 0) {
    lines.push(
      `${time(all)} inside ticks: ${
        phases.map(([phase, ms]) => `${phase} ${percent(ms / all)}`).join(", ")
      }`,
    );
  }
  return lines;
}

function tableOf(
  rows: readonly ProfiledFunction[],
  { amount: { title, text, a }, deltas, shorten }: {
    readonly amount: Amount;
    readonly deltas: number;
    readonly shorten: (place: string) => string;
  },
): string[] {
  if (rows.length === 0) return [`${title}: nothing was sampled`];
  const head = [title, "", "of all", deltas === 0 ? "" : "a delta", "samples", ""];
  const cells = rows.map(({ name, place, amount, share, samples }) => [
    name,
    text(amount),
    percent(share),
    deltas === 0 ? "" : a(amount, deltas),
    count(samples),
    shorten(place),
  ]);
  const widths = head.map((_, column) =>
    Math.max(...[head, ...cells].map((row) => row[column].length))
  );
  return [head, ...cells].map((row) =>
    row.map((cell, column) => {
      const isText = column === 0 || column === row.length - 1;
      return isText ? cell.padEnd(widths[column]) : cell.padStart(widths[column]);
    }).join("  ").trimEnd()
  );
}

function time(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function bytes(amount: number): string {
  if (amount < 1024) return `${Math.round(amount)} B`;
  return amount < 2 ** 20
    ? `${(amount / 1024).toFixed(1)} KiB`
    : `${(amount / 2 ** 20).toFixed(1)} MiB`;
}

function nanoseconds(ms: number, deltas: number): string {
  const ns = ms * 1e6 / deltas;
  return ns < 10_000 ? `${ns.toFixed(1)} ns` : `${(ns / 1000).toFixed(1)} µs`;
}

function each(amount: number, deltas: number): string {
  const each = amount / deltas;
  return each < 10 ? `${each.toFixed(3)} B` : bytes(each);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

function count(value: number): string {
  return value.toLocaleString("en");
}
