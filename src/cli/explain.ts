/**
 * `mmsb explain`: what the value of a page came from, down to the sources, now or as of a tick or time.
 *
 * The directory is opened to read only, so nothing in it is changed, and it may be in use.
 *
 * Cost: opening the directory, and reading the rows of the pages that are shown.
 */

import { MmsbError } from "../base/errors.ts";
import { EXPLAIN_DELTAS_MAX, EXPLAIN_DEPTH_MAX, EXPLAIN_ROWS_MAX } from "../base/limits.ts";
import type { ExplainOptions, Explanation, StateBus } from "../bus/mod.ts";
import { EXIT, type ExitCode } from "../perf/mod.ts";
import type { Call, Command } from "./_command.ts";
import { json, shown } from "./_log_text.ts";
import { requireFolder, writeStdout } from "./_platform.ts";
import { progressLine } from "./_progress.ts";
import { integerOf, timeUsOf } from "./_values.ts";

/**
 * The command `explain`.
 *
 * @returns The command.
 */
export function explainCommand(): Command {
  return {
    name: "explain",
    summary: "what a page's value came from: deltas, rules, parents, down to the sources",
    operands: ["DIR", "PAGE"],
    flags: {
      tick: { value: "N", help: "as of this tick; the last one if left out" },
      time: { value: "TIME", help: "as of the last tick at or before this ISO time" },
      depth: {
        value: "N",
        help:
          `at most so many steps from the page, 1 to ${EXPLAIN_DEPTH_MAX}, which is the default`,
      },
      deltas: { value: "N", help: "show at most so many deltas of each page, 3 if left out" },
      span: { value: "OFFSET+LENGTH", help: "only these bytes of the page, as in 16+8" },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "PAGE is an id if it is digits, else a name. Each page is shown as the last tick that changed it\n" +
      "left it, with the deltas that it got or the rule that made it and all pages that the rule read,\n" +
      "as they were then. A struct has its fields, a delta its bytes before and after, newest first; a ?\n" +
      `stands for bytes that would take the reading of more than ${
        EXPLAIN_ROWS_MAX.toLocaleString("en")
      } rows.`,
      "A branch that ends before its sources says why: the depth asked for, or the horizon, before\n" +
      "which ticks were dropped or merged.",
    ],
    examples: [
      "mmsb explain data/board alert",
      'mmsb explain data/board "mid AAPL" --tick 41 --depth 2',
      'mmsb explain data/flights "totals 07h" --span 16+8 --json',
    ],
    run: explain,
  };
}

async function explain(call: Call): Promise<ExitCode> {
  const [directory, wanted] = call.operands;
  const options = optionsOf(call);
  await requireFolder("DIR", directory);
  const progress = progressLine();
  try {
    progress.update(`reading ${directory}`);
    const { StateBus } = await import("../bus/mod.ts");
    const { requireDirectory } = await import("../log/mod.ts");
    requireDirectory(directory);
    await using bus = await StateBus.open({ dir: directory, readOnly: true });
    progress.update("looking back");
    const explanation = await bus.explain(await idOf(directory, bus, wanted, options), options);
    progress.clear();
    report(call, bus, explanation);
    if (bus.opened.state === "damaged") throw damaged(directory, bus);
    return EXIT.done;
  } finally {
    progress.clear();
  }
}

function optionsOf(call: Call): ExplainOptions {
  const max = Number.MAX_SAFE_INTEGER;
  const tick = integerOf("tick", call.text("tick"), 0, max);
  const time = timeUsOf("time", call.text("time"));
  if (tick !== undefined && time !== undefined) {
    throw new MmsbError("usage", "Cannot use both --tick and --time: give one of them");
  }
  return {
    tick,
    time,
    depth: integerOf("depth", call.text("depth"), 1, EXPLAIN_DEPTH_MAX),
    deltas: integerOf("deltas", call.text("deltas"), 0, EXPLAIN_DELTAS_MAX),
    values: true,
    ...spanOf(call.text("span")),
  };
}

function spanOf(text: string | undefined): Pick<ExplainOptions, "offset" | "length"> {
  if (text === undefined) return {};
  const [, offset, length] = /^(\d+)\+(\d+)$/.exec(text) ?? [];
  if (offset !== undefined) return { offset: Number(offset), length: Number(length) };
  throw new MmsbError(
    "usage",
    `Cannot use --span ${JSON.stringify(text)}: give the first byte and a length, as in 16+8`,
    { values: { span: text } },
  );
}

/** A name is looked for among the pages of the moment that is asked about: it may mean another now. */
async function idOf(
  directory: string,
  bus: StateBus,
  wanted: string,
  { tick, time }: ExplainOptions,
): Promise<number> {
  if (/^\d+$/.test(wanted)) return Number(wanted);
  const isNow = tick === undefined && time === undefined;
  const id = isNow ? bus.find(wanted)?.id : await idAt(bus, wanted, tick, time);
  if (id !== undefined) return id;
  throw new MmsbError(
    "invalid-handle",
    `Cannot find a page named ${JSON.stringify(wanted)}${
      isNow ? "" : " then"
    }: see mmsb log inspect ${shown(directory)} --pages 0`,
    { values: { page: wanted } },
  );
}

async function idAt(
  bus: StateBus,
  name: string,
  tick: number | undefined,
  time: Date | string | number | undefined,
): Promise<number | undefined> {
  const moment = tick === undefined ? { time } : { tick }, now = bus.find(name)?.id;
  try {
    if (now !== undefined) bus.pageAt(now, moment);
    if (now !== undefined) return now;
  } catch (error) {
    if (!(error instanceof MmsbError) || error.code !== "invalid-handle") throw error;
  }
  await using past = await bus.at(moment);
  return past.find(name)?.id;
}

function report(call: Call, bus: StateBus, explanation: Explanation): void {
  if (call.has("json")) {
    writeStdout(json({ ...explanation.toJSON(), tickLast: bus.tickNumber }, 2));
    return;
  }
  for (const line of explanation.toText().split("\n")) if (!writeStdout(`${line}\n`)) return;
}

function damaged(directory: string, bus: StateBus): MmsbError {
  const { reason } = bus.opened, tick = bus.tickNumber;
  return new MmsbError(
    "corrupt-log",
    `Cannot explain anything of ${
      JSON.stringify(directory)
    } past tick ${tick} as it is damaged: ${reason}; ` +
      "save what is whole behind it with mmsb log salvage DIR --to DIR2",
    { values: { directory, tick, reason } },
  );
}
