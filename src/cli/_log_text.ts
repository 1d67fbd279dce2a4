/**
 * What the `log` commands print, as text and as JSON. Texts in a log come from anywhere: what could
 * steer a terminal is written as an escape.
 */

import { formatBytes, toHex } from "../base/bytes.ts";
import { durationText } from "../temporal/sources/duration_text.ts";
import { physicalUs } from "../temporal/timestamp.ts";
import { timeText } from "./_values.ts";
import type { LogDelta, LogEnding, LogSummary, LogVerification } from "./log_tools.ts";

/** Payload bytes that a line of text shows. */
const SHOWN_BYTES_MAX = 16;

/** Runs of missing ticks that the summary shows as text. */
const SHOWN_GAPS_MAX = 5;

/** The summary as lines of name and value. */
export function summaryText(directory: string, summary: LogSummary): string {
  const { ticks, hlc, lanes, checkpoints, sources, shards } = summary;
  const rows: [string, string][] = [
    ["directory", shown(directory)],
    ["state", stateText(summary.state)],
    [
      "format",
      shards === undefined
        ? "unknown, as meta.json cannot be used"
        : `${summary.format}, incarnation ${summary.incarnation}, ${counted(shards, "shard")}`,
    ],
    ["ticks", ticks === undefined ? "none" : `${ticks.first} to ${ticks.last}`],
    ...(summary.missing === undefined
      ? []
      : [["", missingText(summary.missing)] as [string, string]]),
    ["times", hlc === undefined ? "none" : `${hlcText(hlc.first)} to ${hlcText(hlc.last)}`],
    ...(summary.clockErrorUs === undefined
      ? []
      : [["", boundText(summary.clockErrorUs)] as [string, string]]),
    ["deltas", `${summary.deltas}, ${formatBytes(summary.payloadBytes)} of payload`],
    ...summary.kinds.map(({ kind, deltas }): [string, string] => ["", `${kind}: ${deltas}`]),
    ...summary.rows.map(({ kind, frames, rows }, index): [string, string] => [
      index === 0 ? "rows" : "",
      `${kind}: ${rows} in ${counted(frames, "frame")}`,
    ]),
    [
      "pages",
      `${summary.pages} live, ${formatBytes(summary.pageBytes)}; ${summary.pagesBorn} ${
        summary.pagesBorn === 1 ? "was" : "were"
      } born`,
    ],
    ...summary.epochs.map((page): [string, string] => [
      "",
      `page ${page.page}${
        page.name === undefined ? "" : ` ${shown(page.name)}`
      }: epoch ${page.epoch}`,
    ]),
    ...(summary.epochs.length < summary.pages
      ? [["", `and ${summary.pages - summary.epochs.length} more: --pages 0 names all`] as [
        string,
        string,
      ]]
      : []),
    ...structureLines(summary),
    ...lanes.map(({ lane, segments, frames, bytes }): [string, string] => [
      `lane ${lane}`,
      `${counted(segments, "segment")}, ${counted(frames, "frame")}, ${formatBytes(bytes)}`,
    ]),
    ...checkpoints.map(({ tick, bytes }): [string, string] => [
      "checkpoint",
      `tick ${tick}, ${formatBytes(bytes)}`,
    ]),
    ...sources.map(({ source, deltas, payloadBytes }): [string, string] => [
      "source",
      `${source === undefined ? "(none)" : shown(source)}: ${counted(deltas, "delta")}, ${
        formatBytes(payloadBytes)
      }`,
    ]),
    ...summary.notes.map((note): [string, string] => ["note", escaped(note)]),
  ];
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}

function missingText({ ticks, gaps }: NonNullable<LogSummary["missing"]>): string {
  const list = gaps.slice(0, SHOWN_GAPS_MAX)
    .map(({ first, last }) => first === last ? `${first}` : `${first} to ${last}`);
  const listed = gaps.slice(0, SHOWN_GAPS_MAX)
    .reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const more = listed < ticks ? ", …" : "";
  return `${counted(ticks, "tick")} not in the log (merged or lost): ${list.join(", ")}${more}`;
}

/** How a log ends, and where. */
export function stateText({ state, file = "", offset = 0, tick, reason = "" }: LogEnding): string {
  return state === "whole" ? state : `${state}: ${placeText(file, offset, tick, reason)}`;
}

/** Where something was found, and what; a reason that begins with its tick names it once. */
export function placeText(
  file: string,
  offset: number,
  tick: number | undefined,
  reason: string,
): string {
  const at = tick === undefined || /^tick \d/.test(reason) ? "" : `, tick ${tick}`;
  return `${shown(file)} at byte ${offset}${at}: ${escaped(reason)}`;
}

/** A number and what it counts. */
export function counted(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** One delta as one line; `done` says what a row did that is no delta. */
export function deltaText(delta: LogDelta, done?: string): string {
  const { payload, source, intent, name, timeUs, imported } = delta;
  const bytes = toHex(payload.subarray(0, SHOWN_BYTES_MAX)) +
    (payload.length > SHOWN_BYTES_MAX ? "…" : "");
  return [
    `tick ${delta.tick}`,
    hlcText(delta.hlc),
    `page ${delta.page}${name === undefined ? "" : ` ${shown(name)}`}`,
    `epoch ${delta.epoch}`,
    ...(done === undefined
      ? [`${delta.kind} ${delta.offset}+${delta.length}`, ...(bytes === "" ? [] : [bytes])]
      : [done]),
    ...(source === undefined ? [] : [
      `${delta.rowKind === "derived" ? "rule" : "source"}=${shown(source)}`,
    ]),
    ...(intent === undefined ? [] : [`intent=${shown(intent)}`]),
    ...(timeUs === undefined ? [] : [`time=${statedText(timeUs)}`]),
    ...(imported === undefined ? [] : [`imported=${imported.id} at epoch ${imported.epoch}`]),
  ].join("  ") + "\n";
}

/** Edges, rules and marks, where there are any. */
function structureLines({ edges, rules, marks }: LogSummary): [string, string][] {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");
  return [
    ...(edges === undefined ? [] : [["edges", list(edges)] as [string, string]]),
    ...(rules ?? []).map(({ number, name, deltas }, index): [string, string] => [
      index === 0 ? "rules" : "",
      `${shown(name)}, rule ${number}: ${counted(deltas, "delta")}`,
    ]),
    ...(marks === undefined ? [] : [["marks", list(marks)] as [string, string]]),
  ];
}

/** A delta for JSON, which has no 64-bit integers and no bytes: the word is its digits, the payload hex. */
export function deltaJson({ hlc, payload, ...rest }: LogDelta, done: object = {}): object {
  return { ...rest, hlc, time: hlcText(hlc), payload: toHex(payload), ...done };
}

/** Every problem on a line, and the outcome. */
export function verificationText(directory: string, outcome: LogVerification): string {
  const { frames, deltas, bytes, lastTick, problems } = outcome;
  const damage = problems.filter(({ kind }) => kind === "damage").length;
  return [
    ...problems.map(({ kind, file, offset, tick, message }) => {
      const place = placeText(file, offset, tick, message);
      return `${kind === "damage" ? "✗ damage" : "– torn tail"}: ${place}\n`;
    }),
    `${damage === 0 ? "✓ whole" : `✗ ${counted(damage, "damaged place")}`}: ${shown(directory)}, ${
      counted(frames, "frame")
    }, ${counted(deltas, "delta")}, ${formatBytes(bytes)}, last tick ${lastTick}\n`,
  ].join("");
}

/** How wrong the times may be. */
function boundText(
  { least, most, unknown }: NonNullable<LogSummary["clockErrorUs"]>,
): string {
  const inTicks = counted(unknown, "tick");
  if (least === undefined || most === undefined) {
    return `how far they are from true time is unknown in ${inTicks}`;
  }
  const [from, to] = [least, most].map((us) => durationText(us * 1000));
  const known = from === to ? from : `${from} to ${to}`;
  return `at most ${known} from true time${unknown === 0 ? "" : `, unknown in ${inTicks}`}`;
}

function hlcText(hlc: bigint): string {
  return timeText(physicalUs(hlc));
}

/** A time that a source stated: any double may stand there. */
function statedText(us: number): string {
  return Number.isSafeInteger(us) && us >= 0 && us < 2 ** 52 ? timeText(us) : `${us} µs`;
}

/** A text from outside on one line: in quotes where it has blanks or what could steer a terminal. */
export function shown(text: string): string {
  if (/^[^\s"\p{C}]+$/u.test(text)) return text;
  return escaped(JSON.stringify(text));
}

/** A sentence that may hold texts from outside, without what could steer a terminal. */
export function escaped(text: string): string {
  return text.replace(
    /[^\P{C}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** JSON on one line, or indented; 64-bit integers are their digits. */
export function json(value: object, indent?: number): string {
  const text = JSON.stringify(
    value,
    (_key, item) => typeof item === "bigint" ? String(item) : item,
    indent,
  );
  return `${text}\n`;
}
