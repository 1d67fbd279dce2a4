/**
 * `mmsb log inspect`, `query` and `verify`: what a log holds, some of its deltas, and whether it is
 * whole.
 *
 * This file reads the flags and writes the answers; reading the log itself is the work of the tools
 * that it is given ({@linkcode LogTools}).
 *
 * Cost: `query` holds one delta at a time.
 */

import { PAGE_ID_MAX } from "../base/limits.ts";
import { MmsbError } from "../base/errors.ts";
import { EXIT, type ExitCode } from "../perf/mod.ts";
import type { Call, Command, Flag } from "./_command.ts";
import {
  counted,
  deltaJson,
  deltaText,
  json,
  shown,
  stateText,
  summaryText,
  verificationText,
} from "./_log_text.ts";
import { requireFolder, writeStderr, writeStdout } from "./_platform.ts";
import { progressLine } from "./_progress.ts";
import { integerOf, timeUsOf } from "./_values.ts";
import type { LogQuery, LogSummary, LogTools, LogVerification } from "./log_tools.ts";

/** Deltas that `query` gives where no limit is. */
const LIMIT_DEFAULT = 1000;

/** Pages that `inspect` names where no number is given. */
const PAGES_DEFAULT = 16;

const JSON_FLAG: Flag = { help: "write JSON in place of text" };

const QUERY_FLAGS: Readonly<Record<string, Flag>> = {
  page: { value: "PAGE", help: "only of this page: digits are an id, all else is a name" },
  since: { value: "TIME", help: "only at or after this ISO time" },
  until: { value: "TIME", help: "only before this ISO time" },
  "tick-from": { value: "N", help: "only of this tick or later ones" },
  "tick-to": { value: "N", help: "only of this tick or earlier ones" },
  source: { value: "TEXT", help: "only of exactly this source" },
  intent: { value: "TEXT", help: "only of exactly this intent" },
  rule: { value: "NAME", help: "only what this rule made, and where it was bound" },
  rows: { value: "KIND", help: "only data, structural, derived, rule or mark rows" },
  limit: { value: "N", help: `at most so many, ${LIMIT_DEFAULT} if left out, 0 is all` },
  json: { help: "write JSON lines in place of text" },
};

/**
 * The commands of the group `log`.
 *
 * @param load Gives the tools that read a log; called once the call is known to be right.
 * @returns The commands.
 */
export function logCommands(load: () => Promise<LogTools>): readonly Command[] {
  return [
    {
      name: "log inspect",
      summary: "sum up a log: state, ticks, times, deltas, pages, lanes, sources",
      operands: ["DIR"],
      flags: {
        pages: {
          value: "N",
          help: `name so many pages, highest epochs first; ${PAGES_DEFAULT} if left out, 0 is all`,
        },
        json: JSON_FLAG,
      },
      details: [
        "Counts the ticks that are whole. A damaged log is summed up as far as it is whole, and the\n" +
        "exit code is 3. Ticks that were merged, or lost and given up by mmsb log salvage, are no\n" +
        "damage: they are counted and listed. A checkpoint that is damaged is told of in a note.",
      ],
      examples: ["mmsb log inspect data/flights", "mmsb log inspect data/flights --pages 0 --json"],
      run: (call) => inspect(call, load),
    },
    {
      name: "log query",
      summary: "list deltas by page, time, tick, source, intent or rule",
      operands: ["DIR"],
      flags: QUERY_FLAGS,
      details: [
        "Filters narrow each other. Times are ISO 8601: a date (its first moment in UTC), or a time\n" +
        "with Z or an offset. Births and deaths of pages are rows too: create, delete,\n" +
        "metadata, resize, migrate; and so are edges, rules and marks: add edge, remove edge,\n" +
        "bind, unbind, mark, unmark.",
        "Rows are given by tick; those of one tick by shard, and those of one shard as they were applied.",
        "Where the reading meets damage, all that is whole before is given, and the exit code is 3; a\n" +
        "reading that ends before it, by --limit or --tick-to, does not learn of it.",
      ],
      examples: [
        'mmsb log query data/flights --page "totals 07h" --limit 20',
        "mmsb log query data/flights --since 2026-01-31T08:15:00Z --json",
        "mmsb log query data/flights --tick-from 40 --tick-to 41",
      ],
      run: (call) => query(call, load),
    },
    {
      name: "log verify",
      summary: "read and check every byte of a log",
      operands: ["DIR"],
      flags: { json: JSON_FLAG },
      details: [
        "Checksums, segments, frames, ticks, times, sequences, births, spans and epochs are checked,\n" +
        "and every problem is named with its file, byte and tick; the directory is only read.",
        "A torn tail is what a crash leaves and the next open cuts: it is named, and exit stays 0.",
      ],
      examples: ["mmsb log verify data/flights", "mmsb log verify data/flights --json"],
      run: (call) => verify(call, load),
    },
  ];
}

async function inspect(call: Call, load: () => Promise<LogTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  const pages = integerOf("pages", call.text("pages"), 0, Number.MAX_SAFE_INTEGER) ?? PAGES_DEFAULT;
  await requireFolder("DIR", directory);
  const tools = await load();
  const summary = await tools.inspectLog(directory, { pages: pages === 0 ? Infinity : pages });
  writeStdout(call.has("json") ? json(summary, 2) : summaryText(directory, summary));
  if (summary.state.state !== "damaged") return EXIT.done;
  throw damaged(directory, stateText(summary.state));
}

async function query(call: Call, load: () => Promise<LogTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  const filters = queryOf(call);
  const limit = integerOf("limit", call.text("limit"), 0, Number.MAX_SAFE_INTEGER) ?? LIMIT_DEFAULT;
  await requireFolder("DIR", directory);
  const asJson = call.has("json");
  const tools = await load();
  const { rowJson, rowText } = await import("./_row_text.ts");
  let count = 0;
  for await (const delta of tools.queryLog(directory, filters)) {
    // One more than the limit was read, to know that there is more.
    if (limit > 0 && count === limit) {
      writeStderr(`mmsb: stopped after ${counted(limit, "row")}: write --limit 0 for all\n`);
      break;
    }
    const text = asJson ? json(deltaJson(delta, rowJson(delta))) : deltaText(delta, rowText(delta));
    if (!writeStdout(text)) break;
    count++;
  }
  const { tickFrom, tickTo } = filters;
  if (count === 0 && (tickFrom !== undefined || tickTo !== undefined)) {
    const note = outsideOf(await tools.inspectLog(directory), filters);
    if (note !== undefined) writeStderr(`mmsb: no rows: ${note}\n`);
  }
  return EXIT.done;
}

/** Why a range of ticks has nothing, where it lies outside of the log. */
function outsideOf({ ticks }: LogSummary, { tickFrom = 0, tickTo = Infinity }: LogQuery) {
  if (ticks === undefined) return "the log has no tick";
  if (tickFrom > ticks.last) return `the last tick of the log is ${ticks.last}`;
  if (tickTo >= ticks.first) return undefined;
  const before = ticks.first === 1 ? "" : ", earlier ones were dropped, merged or lost";
  return `the first tick of the log is ${ticks.first}${before}`;
}

async function verify(call: Call, load: () => Promise<LogTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  await requireFolder("DIR", directory);
  const progress = progressLine();
  const tools = await load();
  const outcome = await tools.verifyLog(directory, { progress: (text) => progress.update(text) })
    .finally(() => progress.clear());
  const isDamaged = outcome.problems.some(({ kind }) => kind === "damage");
  writeStdout(
    call.has("json")
      ? json({ ok: !isDamaged, ...outcome }, 2)
      : verificationText(directory, outcome),
  );
  if (!isDamaged) return EXIT.done;
  const files = checkpointsOnly(outcome);
  if (files !== undefined) throw damagedCheckpoints(directory, files, outcome);
  const { length } = outcome.problems;
  throw damaged(directory, `${length === 1 ? "1 problem was" : `${length} problems were`} found`);
}

/** The files of the checkpoints that are damaged, where nothing else is. */
function checkpointsOnly({ problems }: LogVerification): string[] | undefined {
  const damage = problems.filter(({ kind }) => kind === "damage");
  if (damage.some(({ fault }) => fault !== "checkpoint")) return undefined;
  return [...new Set(damage.map(({ file }) => file))];
}

function damagedCheckpoints(
  directory: string,
  files: readonly string[],
  { tickBase, checkpoints }: LogVerification,
): MmsbError {
  const names = files.map(shown).join(", "), count = counted(files.length, "checkpoint");
  // A log whose beginning was dropped needs one of them.
  const isNeeded = tickBase > 0 && checkpoints === 0;
  const advice = isNeeded
    ? `ticks up to ${tickBase} are in no other place, so restore the file from a backup, or save what is whole with mmsb log salvage DIR --to DIR2`
    : "delete the file, nothing is lost with it";
  return new MmsbError(
    "corrupt-log",
    `Cannot use ${count} of ${
      JSON.stringify(directory)
    } (${names}), while the log is whole: ${advice}`,
    { values: { directory, files } },
  );
}

function damaged(directory: string, found: string): MmsbError {
  return new MmsbError(
    "corrupt-log",
    `Cannot trust all of the log of ${
      JSON.stringify(directory)
    } (${found}): restore the file from a backup, or save what is whole with mmsb log salvage DIR --to DIR2`,
    { values: { directory, found } },
  );
}

const ROW_KINDS = ["data", "structural", "derived", "rule", "mark"];

function rowKindsOf(kind: string | undefined): string[] | undefined {
  if (kind === undefined || ROW_KINDS.includes(kind)) return kind === undefined ? kind : [kind];
  throw new MmsbError("usage", `Cannot query --rows ${kind}: write ${ROW_KINDS.join(", ")}`, {
    values: { rows: kind },
  });
}

function queryOf(call: Call): LogQuery {
  const page = call.text("page");
  const isId = page !== undefined && /^\d+$/.test(page);
  const ticks = [0, Number.MAX_SAFE_INTEGER] as const;
  const filters: LogQuery = {
    page: isId ? integerOf("page", page, 1, PAGE_ID_MAX) : page,
    sinceUs: timeUsOf("since", call.text("since")),
    untilUs: timeUsOf("until", call.text("until")),
    tickFrom: integerOf("tick-from", call.text("tick-from"), ...ticks),
    tickTo: integerOf("tick-to", call.text("tick-to"), ...ticks),
    source: call.text("source"),
    intent: call.text("intent"),
    rule: call.text("rule"),
    rowKinds: rowKindsOf(call.text("rows")),
  };
  const { sinceUs = 0, untilUs = Infinity, tickFrom = 0, tickTo = Infinity } = filters;
  if (sinceUs >= untilUs || tickFrom > tickTo) {
    const [first, last] = sinceUs >= untilUs ? ["since", "until"] : ["tick-from", "tick-to"];
    throw new MmsbError(
      "usage",
      `Cannot query from --${first} ${call.text(first)} to --${last} ${
        call.text(last)
      } as that is no time at all: swap them`,
      { values: { ...filters } },
    );
  }
  return filters;
}
