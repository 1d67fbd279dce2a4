/**
 * What a clock says, in words for somebody who knows no clocks: a verdict, what it is made of, what to do.
 *
 * Lines are at most 100 columns; what comes from elsewhere (a server's name, a driver's) is escaped.
 */
import { type ClockStatus, durationText, type SelectorStatus } from "../temporal/sources/mod.ts";
import { escaped } from "./_log_text.ts";
import { timeText } from "./_values.ts";

const COLUMNS = 100;
const NAME_COLUMNS = 11;
const SECONDS_A_DAY = 86_400;

/** How good the time is, in one sentence, and what to do where it could be better. */
export interface ClockVerdict {
  /** The sentence. */
  readonly text: string;
  /** What to do; left out where nothing needs to be done. */
  readonly advice?: string;
}

/** What to say first. */
export function verdictOf(status: SelectorStatus): ClockVerdict {
  const { synchronised, errorNs, selected, kind, isDisputed } = status;
  const bound = durationText(errorNs);
  if (errorNs === Infinity) {
    return {
      text: `Nobody knows the time here now: ${selected} has none`,
      advice: "see mmsb clock sources for why each source is not used",
    };
  }
  if (!synchronised) {
    const who = kind === "system"
      ? "This machine's clock may be wrong by up to"
      : `The time of ${selected} may be wrong by up to`;
    const why = kind === "system"
      ? "and that is a guess: nobody vouches for it"
      : "and nobody vouches for it any more";
    return { text: `${who} ${bound}, ${why}`, advice: adviceOf(status) };
  }
  const dispute = isDisputed
    ? {
      text:
        `The sources of time contradict each other: ${selected} says that it is right to within ${bound}`,
      advice: "see mmsb clock sources, and name more servers, so that a majority can tell",
    }
    : undefined;
  if (dispute !== undefined) return dispute;
  return kind === "system" || kind === "daemon"
    ? { text: `This machine's clock is right to within ${bound}: ${keeperOf(kind, selected)} it` }
    : {
      text: `The time is known to within ${bound}, from ${selected}; ${
        Math.abs(status.offsetNs) <= errorNs
          ? "this machine's own clock agrees"
          : systemText(status)
      }`,
    };
}

function keeperOf(kind: ClockStatus["kind"], name: string): string {
  return kind === "system" ? "the kernel says that a time service keeps" : `${name} keeps`;
}

function adviceOf({ kind, sources }: SelectorStatus): string {
  if (kind !== "system") return "see mmsb clock sources for why";
  return sources.length > 1
    ? "let a time service keep it (chrony, systemd-timesyncd); see why the other sources are not used"
    : "let a time service keep it (chrony, systemd-timesyncd), or name servers with --sntp HOST";
}

/** How this machine's own clock stands to the time of another source. */
function systemText({ offsetNs }: ClockStatus): string {
  if (Number.isNaN(offsetNs)) return "this machine's own clock is not compared with it";
  const size = durationText(Math.abs(offsetNs));
  return `this machine's own clock is ${size} ${offsetNs > 0 ? "behind" : "ahead"}`;
}

/** The report of `mmsb clock status`. */
export function statusText(status: SelectorStatus, verdict: ClockVerdict): string {
  const { reason, errorNs, sources, notes, steps } = status;
  // A part of 0 tells nothing.
  const bound = status.bound.filter(({ ns }) => ns > 0);
  const others = sources.filter(({ state }) => state !== "selected");
  const lines = [
    ...wrapped("", verdict.text, 0),
    ...(verdict.advice === undefined ? [] : wrapped("→ ", verdict.advice, 2)),
    "",
    ...field("time", `${isoText(status.nowNs)}`),
    ...field("source", `${status.selected} (${KIND_TEXTS[status.kind]})`),
    ...(reason === undefined ? [] : field("why", reason)),
    ...field(
      "bound",
      errorNs === Infinity
        ? "none: it has no time"
        : `${durationText(errorNs)} either way${bound.length > 1 ? ", the sum of" : ":"}`,
    ),
    ...bound.flatMap(({ name, ns, meaning }) => part(durationText(ns), name, meaning)),
    ...field("offset", offsetText(status)),
    ...field("confirmed", ageText(status)),
    ...field("drift", driftText(status.driftPpm)),
    ...others.flatMap(({ name, status: { errorNs }, why }, index) =>
      field(index === 0 ? "others" : "", `${name}, ${boundText(errorNs)}: ${why}`)
    ),
    ...notes.flatMap((note, index) => field(index === 0 ? "not used" : "", note)),
    ...steps.flatMap(({ stepNs, timeNs, source }, index) =>
      field(
        index === 0 ? "steps" : "",
        `${isoText(timeNs)} by ${durationText(stepNs)}, to ${source}`,
      )
    ),
  ];
  return joined(lines);
}

/** The report of `mmsb clock sources`. */
export function sourcesText(status: SelectorStatus): string {
  const { sources, notes } = status;
  const width = Math.max(6, ...sources.map(({ name }) => escaped(name).length)) + 2;
  const lines = sources.flatMap(({ name, state, why, status: { errorNs } }) => {
    const sign = state === "selected" ? "*" : state === "ready" ? "+" : "–";
    const bound = boundText(errorNs).padEnd(13);
    return wrapped(
      `${sign} ${escaped(name).padEnd(width)}${bound}`,
      `${STATE_TEXTS[state]}: ${why}`,
      4,
    );
  });
  const away = notes.flatMap((note) => wrapped("– ", note, 4));
  const legend = "* gives the time, + could, – cannot";
  return joined([...lines, ...away, "", legend]);
}

const KIND_TEXTS: Readonly<Record<ClockStatus["kind"], string>> = {
  ptp: "a hardware clock",
  daemon: "the time service that keeps this machine's clock",
  sntp: "servers asked over the network",
  system: "this machine's own clock",
  simulated: "a simulation",
};

const STATE_TEXTS: Readonly<Record<SelectorStatus["sources"][number]["state"], string>> = {
  selected: "used",
  ready: "not used",
  waiting: "not used",
  false: "wrong",
  unsynchronised: "not used",
  silent: "no time",
};

/** A bound, or that there is none. */
export function boundText(errorNs: number): string {
  return errorNs < Infinity ? `± ${durationText(errorNs)}` : "no time";
}

/** A time in ns as ISO 8601, to µs. */
export function isoText(timeNs: bigint): string {
  const us = Number(timeNs / 1000n);
  // What is no date of ours is no time at all.
  return us >= 0 && us < 253_402_300_800e6 ? timeText(us) : `${timeNs} ns since 1970`;
}

function offsetText(status: SelectorStatus): string {
  const { kind, offsetNs } = status;
  return kind === "system" || kind === "daemon"
    ? "none: it is this machine's own clock"
    : Number.isNaN(offsetNs)
    ? "unknown"
    : systemText(status);
}

function ageText({ lastSyncAgeS }: ClockStatus): string {
  return lastSyncAgeS < Infinity ? `${durationText(lastSyncAgeS * 1e9)} ago` : "never";
}

function driftText(driftPpm: number): string {
  if (Number.isNaN(driftPpm)) return "unknown";
  const aDay = durationText(Math.abs(driftPpm) * 1e3 * SECONDS_A_DAY);
  const ppm = Number(Math.abs(driftPpm).toPrecision(3));
  return `the oscillator runs ${ppm} ppm ${
    driftPpm < 0 ? "slow" : "fast"
  }: ${aDay} a day if nobody put it right`;
}

function field(name: string, text: string): string[] {
  return wrapped(name.padEnd(NAME_COLUMNS), text, NAME_COLUMNS);
}

function part(size: string, name: string, meaning: string): string[] {
  const indent = NAME_COLUMNS + 10;
  return wrapped(`${" ".repeat(NAME_COLUMNS)}${size.padEnd(10)}`, `${name}: ${meaning}`, indent);
}

/** Words behind a beginning, in lines that are not too long. */
function wrapped(start: string, text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = start, isEmpty = true;
  for (const word of escaped(text).split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = " ".repeat(indent);
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
