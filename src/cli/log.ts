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
import { EXIT, type ExitCode, Progress } from "../perf/mod.ts";
import type { Call, Command, Flag } from "./_command.ts";
import {
  deltaJson,
  deltaText,
  json,
  stateText,
  summaryText,
  verificationText,
} from "./_log_text.ts";
import {
  requireFolder,
  stderrIsTerminal,
  terminalColumns,
  writeStderr,
  writeStdout,
} from "./_platform.ts";
import { integerOf, timeUsOf } from "./_values.ts";
import type { LogQuery, LogTools } from "./log_tools.ts";

/** Deltas that `query` gives where no limit is. */
const LIMIT_DEFAULT = 1000;

const JSON_FLAG: Flag = { help: "write JSON in place of text" };

const QUERY_FLAGS: Readonly<Record<string, Flag>> = {
  page: { value: "PAGE", help: "only of this page: digits are an id, all else is a name" },
  since: { value: "TIME", help: "only at or after this ISO time" },
  until: { value: "TIME", help: "only before this ISO time" },
  "tick-from": { value: "N", help: "only of this tick or later ones" },
  "tick-to": { value: "N", help: "only of this tick or earlier ones" },
  source: { value: "TEXT", help: "only of exactly this source" },
  intent: { value: "TEXT", help: "only of exactly this intent" },
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
      flags: { json: JSON_FLAG },
      details: [
        "Counts the ticks that are whole. A damaged log is summed up as far as it is whole, and the\n" +
        "exit code is 3.",
      ],
      examples: ["mmsb log inspect ./data", "mmsb log inspect ./data --json"],
      run: (call) => inspect(call, load),
    },
    {
      name: "log query",
      summary: "list deltas by page, time, tick, source or intent",
      operands: ["DIR"],
      flags: QUERY_FLAGS,
      details: [
        "Filters narrow each other. Times are ISO 8601: a date (its first moment in UTC), or a time\n" +
        "with Z or an offset. Births and deaths of pages are rows too: create, delete, metadata.",
        "Where the log is damaged, all that is whole before is given, and the exit code is 3.",
      ],
      examples: [
        "mmsb log query ./data --page board --limit 20",
        "mmsb log query ./data --since 2026-01-31T08:15:00Z --source feed-a --json",
        "mmsb log query ./data --tick-from 40 --tick-to 41",
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
      examples: ["mmsb log verify ./data", "mmsb log verify ./data --json"],
      run: (call) => verify(call, load),
    },
  ];
}

async function inspect(call: Call, load: () => Promise<LogTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  await requireFolder("DIR", directory);
  const summary = await (await load()).inspectLog(directory);
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
  let count = 0;
  for await (const delta of (await load()).queryLog(directory, filters)) {
    // One more than the limit was read, to know that there is more.
    if (limit > 0 && count === limit) {
      writeStderr(`mmsb: stopped after ${limit} deltas: write --limit 0 for all\n`);
      break;
    }
    if (!writeStdout(asJson ? json(deltaJson(delta)) : deltaText(delta))) break;
    count++;
  }
  return EXIT.done;
}

async function verify(call: Call, load: () => Promise<LogTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  await requireFolder("DIR", directory);
  const progress = new Progress({
    write: writeStderr,
    terminal: stderrIsTerminal(),
    columns: terminalColumns,
  });
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
  throw damaged(directory, `${outcome.problems.length} problems were found`);
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
