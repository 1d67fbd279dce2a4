/**
 * What a clock says, in words for somebody who knows no clocks: a verdict, what it is made of, what to do.
 *
 * Lines are at most 100 columns; what comes from elsewhere (a server's name, a driver's) is escaped.
 */
import {
  type ClockStatus,
  durationText,
  type SelectorStatus,
  type SntpServerStatus,
} from "../temporal/sources/mod.ts";
import { field as fieldOf, wrapped } from "./_columns.ts";
import { escaped } from "./_log_text.ts";
import { timeText } from "./_values.ts";

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
  if (kind === "system" || kind === "daemon") {
    return {
      text: `This machine's clock is right to within ${bound}: ${keeperOf(kind, selected)} it`,
    };
  }
  const advice = kind === "sntp" ? adviceOnServers(status.servers ?? []) : undefined;
  return {
    text: `The time is known to within ${bound}, from ${selected}; ${
      Math.abs(status.offsetNs) <= errorNs ? "this machine's own clock agrees" : systemText(status)
    }`,
    ...(advice === undefined ? {} : { advice }),
  };
}

/** What to do about the servers of a time that is known. */
function adviceOnServers(servers: readonly SntpServerStatus[]): string | undefined {
  const wrong = servers.filter(({ state }) => state === "falseticker");
  if (wrong.length > 0) {
    return `leave out ${
      wrong.map(({ name }) => name).join(", ")
    }: most other servers contradict it`;
  }
  return servers.length < 3
    ? "name four servers or more: a wrong one cannot be told where so few are asked"
    : undefined;
}

function keeperOf(kind: ClockStatus["kind"], name: string): string {
  return kind === "system" ? "the kernel says that a time service keeps" : `${name} keeps`;
}

function adviceOf({ kind, sources, reason }: SelectorStatus): string {
  if (kind !== "system") return "see mmsb clock sources for why";
  // Perhaps a service does keep it: ask first.
  if (reason?.includes("--allow-ffi")) {
    return `run with --allow-ffi, so that the kernel can be asked whether somebody keeps it${
      sources.length > 1 ? "; see below why the others are not used" : ""
    }`;
  }
  return sources.length > 1
    ? "see below why the others are not used, and mmsb clock setup for what to do on this machine"
    : "mmsb clock setup says what to do on this machine; or name NTP servers with --sntp HOST";
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
    ...others.flatMap(({ name, status: { errorNs, servers }, why }, index) => {
      // The reason of each server stands below, each by itself.
      const short = servers === undefined ? why : why.replace(/ \(.*\)$/s, "");
      return field(index === 0 ? "others" : "", `${name}, ${boundText(errorNs)}: ${short}`);
    }),
    ...serversOf(status).flatMap((server, index) =>
      field(index === 0 ? "servers" : "", serverText(server))
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
  const lines = sources.flatMap(({ name, state, why, status: { errorNs, servers } }) => {
    const sign = state === "selected" ? "*" : state === "ready" ? "+" : "–";
    const bound = boundText(errorNs).padEnd(13);
    const short = servers === undefined ? why : why.replace(/ \(.*\)$/s, "");
    return [
      ...wrapped(
        `${sign} ${escaped(name).padEnd(width)}${bound}`,
        `${STATE_TEXTS[state]}: ${short}`,
        4,
      ),
      ...(servers ?? []).flatMap((server) =>
        wrapped(`    ${server.state === "selected" ? "*" : "–"} `, serverText(server), 8)
      ),
    ];
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

/** The servers that are asked, of whatever source. */
function serversOf({ sources }: SelectorStatus): readonly SntpServerStatus[] {
  return sources.flatMap(({ status }) => status.servers ?? []);
}

const SERVER_TEXTS: Readonly<Record<SntpServerStatus["state"], string>> = {
  new: "not asked yet",
  selected: "used",
  falseticker: "contradicted",
  refused: "not used",
  silent: "no answer",
  kiss: "does not want to be asked",
  unresolved: "not found",
};

/** How a server does. */
function serverText(server: SntpServerStatus): string {
  const { name, state, reason, stratum, offsetNs, delayNs } = server;
  const away = Number.isNaN(offsetNs)
    ? []
    : [`${durationText(Math.round(Math.abs(offsetNs)))} ${offsetNs < 0 ? "behind" : "ahead"}`];
  const facts = Number.isNaN(stratum)
    ? []
    : [`stratum ${stratum}`, ...away, `round trip ${durationText(delayNs)}`];
  const how = reason === "" ? SERVER_TEXTS[state] : `${SERVER_TEXTS[state]}: ${reason}`;
  // Why it is silent says that it is.
  return [name, state === "silent" ? reason : how, ...facts].join(", ");
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
  return fieldOf(name, text, NAME_COLUMNS);
}

function part(size: string, name: string, meaning: string): string[] {
  const indent = NAME_COLUMNS + 10;
  return wrapped(`${" ".repeat(NAME_COLUMNS)}${size.padEnd(10)}`, `${name}: ${meaning}`, indent);
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
