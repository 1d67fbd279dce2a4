/**
 * `mmsb replay`: the state that a log leads to, at its end or at an earlier tick or time: its digest,
 * a page's bytes, or how it differs from another state.
 *
 * The directory is opened to read only, so nothing in it is changed, and it may be in use.
 *
 * Cost: opening the directory, and once more up to the moment that is asked for.
 */

import { formatBytes, toHex } from "../base/bytes.ts";
import { MmsbError } from "../base/errors.ts";
import { PAGE_ID_MAX } from "../base/limits.ts";
import type { Moment, Page, StateBus, StateDifference } from "../bus/mod.ts";
import { EXIT, type ExitCode, type Progress } from "../perf/mod.ts";
import type { Call, Command } from "./_command.ts";
import { counted, json, shown } from "./_log_text.ts";
import { requireFolder, writeStdout } from "./_platform.ts";
import { progressLine } from "./_progress.ts";
import { differenceJson, differenceText, hexDump } from "./_replay_text.ts";
import { integerOf, timeUsOf } from "./_values.ts";

/** Differences that are shown where no limit is given. */
const LIMIT_DEFAULT = 1000;

/**
 * The command `replay`.
 *
 * @returns The command.
 */
export function replayCommand(): Command {
  return {
    name: "replay",
    summary: "the state at the end of a log or earlier: digest, a page, differences",
    operands: ["DIR"],
    flags: {
      "to-tick": { value: "N", help: "the state after this tick; the last one if left out" },
      "to-time": {
        value: "TIME",
        help: "the state after the last tick at or before this ISO time",
      },
      page: { value: "PAGE", help: "show this page's bytes: digits are an id, all else is a name" },
      diff: { value: "DIR2", help: "show how the state of DIR2 differs, at the same tick or time" },
      "diff-tick": {
        value: "N",
        help: "show how the state after tick N differs, of DIR2 or of DIR",
      },
      limit: {
        value: "N",
        help: `at most so many differences, ${LIMIT_DEFAULT} if left out, 0 is all`,
      },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "The digest is SHA-256 over all pages: the same digest, the same state. With --diff or\n" +
      "--diff-tick the exit code is 1 where anything differs.",
      "A damaged log is replayed as far as it is whole, and the exit code is 3. States before the\n" +
      "horizon, whose ticks were dropped or merged, cannot be had, nor those after single ticks that\n" +
      "are not in the log, because they were lost: the message names the ticks beside.",
    ],
    examples: [
      'mmsb replay data/flights --to-tick 41 --page "totals 07h"',
      "mmsb replay data/flights --diff data/flights-copy",
      "mmsb replay data/flights --to-tick 40 --diff-tick 41 --json",
    ],
    run: replay,
  };
}

async function replay(call: Call): Promise<ExitCode> {
  const [directory] = call.operands;
  const asked = askedOf(call);
  await requireFolder("DIR", directory);
  if (asked.diff !== undefined) await requireFolder("--diff", asked.diff);
  const progress = progressLine();
  try {
    await using bus = await open(directory, progress);
    await using state = await at(directory, bus, asked.moment, progress);
    const page = asked.page === undefined ? undefined : pageOf(directory, state, asked.page);
    progress.update("making the digest");
    const digest = state.digest();
    const differences = await differencesOf(directory, bus, state, asked, progress);
    progress.clear();
    const metadata = await import("./_row_text.ts");
    report(call, { directory, bus, state, digest, page, metadata, ...differences });
    if (bus.opened.state === "damaged") throw damaged(directory, bus);
    return differences?.differences.length ? EXIT.failed : EXIT.done;
  } finally {
    progress.clear();
  }
}

interface Asked {
  readonly moment: Moment | undefined;
  readonly page: number | string | undefined;
  readonly diff: string | undefined;
  readonly diffTick: number | undefined;
  readonly limit: number;
}

function askedOf(call: Call): Asked {
  const max = Number.MAX_SAFE_INTEGER;
  const tick = integerOf("to-tick", call.text("to-tick"), 0, max);
  const time = timeUsOf("to-time", call.text("to-time"));
  if (tick !== undefined && time !== undefined) {
    throw new MmsbError("usage", "Cannot use both --to-tick and --to-time: give one of them");
  }
  const page = call.text("page");
  const isId = page !== undefined && /^\d+$/.test(page);
  const limit = integerOf("limit", call.text("limit"), 0, max) ?? LIMIT_DEFAULT;
  return {
    moment: tick !== undefined ? { tick } : time !== undefined ? { time } : undefined,
    page: isId ? integerOf("page", page, 1, PAGE_ID_MAX) : page,
    diff: call.text("diff"),
    diffTick: integerOf("diff-tick", call.text("diff-tick"), 0, max),
    limit: limit === 0 ? Infinity : limit,
  };
}

async function open(directory: string, progress: Progress): Promise<StateBus> {
  progress.update(`reading ${directory}`);
  const { StateBus } = await import("../bus/mod.ts");
  const { requireDirectory } = await import("../log/mod.ts");
  requireDirectory(directory);
  return await StateBus.open({ dir: directory, readOnly: true });
}

/** The state at a moment; the bus itself where that is its end. */
async function at(
  directory: string,
  bus: StateBus,
  moment: Moment | undefined,
  progress: Progress,
): Promise<StateBus> {
  if (moment === undefined || moment.tick === bus.tickNumber) return bus;
  const isBehind = bus.opened.state === "damaged" && (moment.tick ?? 0) > bus.tickNumber;
  if (isBehind) throw damaged(directory, bus);
  progress.update(`replaying ${moment.tick === undefined ? "" : `to tick ${moment.tick}`}`);
  return await bus.at(moment);
}

function pageOf(directory: string, state: StateBus, wanted: number | string): Page {
  const page = typeof wanted === "number"
    ? state.pages().find(({ id }) => id === wanted)
    : state.find(wanted);
  if (page !== undefined) return page;
  throw new MmsbError(
    "invalid-handle",
    `Cannot find ${
      typeof wanted === "number" ? `page ${wanted}` : `a page named ${JSON.stringify(wanted)}`
    } after tick ${state.tickNumber}: see mmsb log inspect ${shown(directory)} --pages 0`,
    { values: { page: wanted, tick: state.tickNumber } },
  );
}

interface Differences {
  readonly against: string;
  readonly differences: readonly StateDifference[];
  readonly isCut: boolean;
}

async function differencesOf(
  directory: string,
  bus: StateBus,
  state: StateBus,
  { diff, diffTick, moment, limit }: Asked,
  progress: Progress,
): Promise<Differences | undefined> {
  if (diff === undefined && diffTick === undefined) return undefined;
  const other = diff === undefined ? undefined : await open(diff, progress);
  try {
    const second = diffTick === undefined ? moment : { tick: diffTick };
    const compared = await at(diff ?? directory, other ?? bus, second, progress);
    progress.update("comparing");
    const differences: StateDifference[] = [];
    let isCut = false;
    try {
      for await (const one of bus.diff(state, compared)) {
        isCut = differences.length >= limit;
        if (isCut) break;
        differences.push(one);
      }
      const where = diff === undefined ? "" : `${shown(diff)}, `;
      return { against: `${where}tick ${compared.tickNumber}`, differences, isCut };
    } finally {
      if (compared !== bus) await compared.close();
    }
  } finally {
    await other?.close();
  }
}

interface Found extends Partial<Differences> {
  readonly directory: string;
  readonly bus: StateBus;
  readonly state: StateBus;
  readonly digest: string;
  readonly page: Page | undefined;
  readonly metadata: typeof import("./_row_text.ts");
}

function report(call: Call, found: Found): void {
  if (call.has("json")) writeStdout(json(jsonOf(found), 2));
  else for (const line of linesOf(found)) if (!writeStdout(`${line}\n`)) return;
}

function jsonOf(
  { directory, bus, state, digest, page, metadata, against, differences, isCut }: Found,
): object {
  const { pages, pageBytes } = state.stats();
  return {
    directory,
    state: bus.opened.state,
    ...(bus.opened.reason === "" ? {} : { reason: bus.opened.reason }),
    tick: state.tickNumber,
    tickLast: bus.tickNumber,
    horizon: bus.horizon,
    rows: state.opened.rows,
    pages,
    pageBytes,
    digest,
    ...(page === undefined ? {} : {
      page: {
        id: page.id,
        ...(page.name === "" ? {} : { name: page.name }),
        size: page.size,
        epoch: page.epoch,
        shard: page.shard,
        ...metadata.metadataJson(page.metadata),
        bytes: toHex(page.read()),
      },
    }),
    ...(differences === undefined ? {} : {
      against,
      same: differences.length === 0,
      isCut,
      differences: differences.map(differenceJson),
    }),
  };
}

function* linesOf(found: Found): Generator<string> {
  const { directory, bus, state, digest, page, metadata, against, differences, isCut } = found;
  const { pages, pageBytes } = state.stats();
  const { state: how, reason } = bus.opened;
  const name = (text: string) => text.padEnd(12);
  yield `${name("directory")}${shown(directory)}`;
  yield `${name("state")}${how === "whole" ? how : `${how}: ${shown(reason)}`}`;
  yield `${name("tick")}${state.tickNumber} of ${bus.tickNumber}`;
  if (bus.horizon > 0) yield `${name("horizon")}tick ${bus.horizon}`;
  yield `${name("rows")}${state.opened.rows} replayed`;
  yield `${name("pages")}${pages}, ${formatBytes(pageBytes)}`;
  yield `${name("digest")}${digest}`;
  if (page !== undefined) {
    const called = page.name === "" ? "" : ` ${shown(page.name)}`;
    yield `${name("page")}${page.id}${called}: ${page.size} bytes, epoch ${page.epoch}`;
    for (const [key, value] of page.metadata) {
      yield `${name("")}${metadata.metadataText(key, value)}`;
    }
    yield* hexDump(page.read());
  }
  if (differences === undefined) return;
  for (const one of differences) yield differenceText(one);
  const { length } = differences;
  const count = isCut ? `${length} or more differences` : counted(length, "difference");
  yield length === 0 ? `same as ${against}` : `${count} from ${against}`;
}

function damaged(directory: string, bus: StateBus): MmsbError {
  const { reason } = bus.opened, tick = bus.tickNumber;
  return new MmsbError(
    "corrupt-log",
    `Cannot replay ${JSON.stringify(directory)} past tick ${tick} as it is damaged: ${reason}; ` +
      "save what is whole behind it with mmsb log salvage DIR --to DIR2",
    { values: { directory, tick, reason } },
  );
}
