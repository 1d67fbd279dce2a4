/**
 * `mmsb clock status`, `sources`, `watch`: what time it is here, how wrong that may be, and who says so.
 *
 * Nothing on the machine is changed, and no server is asked that was not named.
 *
 * Cost: 0.3 s to look for the sources, and the first syncs.
 */
import { MmsbError } from "../base/errors.ts";
import { EXIT, type ExitCode } from "../perf/mod.ts";
import type { ClockKind, ClockSelector } from "../temporal/sources/mod.ts";
import type { Call, Command, Flag } from "./_command.ts";
import { clockSetupCommand } from "./clock_setup.ts";
import { json } from "./_log_text.ts";
import { writeStderr, writeStdout } from "./_platform.ts";
import { integerOf } from "./_values.ts";

/** Version of the form of `--json`. */
const CLOCK_FORMAT = 1;
const KINDS = ["ptp", "daemon", "sntp", "system"] as const;
const INTERVAL_MS = 1000;

const SOURCE_FLAGS: Readonly<Record<string, Flag>> = {
  sntp: {
    value: "HOST[:PORT]",
    help: "also ask this NTP server; give it once for each, four or more tell a wrong one",
    repeats: true,
  },
  sources: { value: "KINDS", help: `look only for these kinds: ${KINDS.join(",")}` },
};

/**
 * The commands of the group `clock`.
 *
 * @returns The commands.
 */
export function clockCommands(): readonly Command[] {
  return [statusCommand(), sourcesCommand(), watchCommand(), clockSetupCommand()];
}

function statusCommand(): Command {
  return {
    name: "clock status",
    summary: "what time it is here, how wrong that may be, and why",
    operands: [],
    flags: {
      ...SOURCE_FLAGS,
      "max-error": {
        value: "MS",
        help: "exit 1 where the bound is above MS, or nobody vouches for it",
      },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "The bound says how far true time may be away, either way. Its parts are listed with what they mean.\n" +
      "Nobody is asked over the network but the servers named; the machine's clock is not touched.",
      "A machine without a time service is no error: without --max-error the exit code is 0.",
      "JSON: names end in their unit; nowNs is a string of digits; null is what nobody knows, and as\n" +
      "errorNs that there is no time at all. docs/clocks.md explains each line.",
    ],
    examples: [
      "mmsb clock status",
      "mmsb clock status --sntp time1.example --sntp time2.example --max-error 10",
      "mmsb clock status --sources daemon,system --json",
    ],
    run: status,
  };
}

function sourcesCommand(): Command {
  return {
    name: "clock sources",
    summary: "all sources of time of this machine, and why each is used or not",
    operands: [],
    flags: { ...SOURCE_FLAGS, json: { help: "write JSON in place of text" } },
    details: [
      "The one with the smallest bound gives the time, of those that somebody vouches for and that most\n" +
      "others do not contradict.",
    ],
    examples: [
      "mmsb clock sources",
      "mmsb clock sources --sntp time1.example --sntp time2.example",
    ],
    run: sources,
  };
}

function watchCommand(): Command {
  return {
    name: "clock watch",
    summary: "source, bound and offset again and again, and what happens in between",
    operands: [],
    flags: {
      ...SOURCE_FLAGS,
      interval: { value: "MS", help: `milliseconds between two lines, ${INTERVAL_MS} if left out` },
      count: { value: "N", help: "end after N lines; Ctrl-C ends it, too" },
      json: { help: "write a line of JSON for each" },
    },
    details: [
      "bound: how far true time may be away, either way. It grows until the source is asked again.\n" +
      "offset: how far this machine's own clock is behind or ahead of the source.",
      "At the end it says how small and how large the bound was, and how often time stepped.",
    ],
    examples: [
      "mmsb clock watch --count 60",
      "mmsb clock watch --sntp time1.example --interval 5000",
    ],
    run: watch,
  };
}

async function status(call: Call): Promise<ExitCode> {
  const maxErrorMs = millisecondsOf("max-error", call.text("max-error"));
  await using clock = await openClock(call);
  const { statusText, verdictOf } = await import("./_clock_text.ts");
  const status = clock.status(), verdict = verdictOf(status);
  const isWithin = maxErrorMs === undefined ||
    status.synchronised && status.errorNs <= maxErrorMs * 1e6;
  if (call.has("json")) {
    const { text, advice } = verdict;
    writeStdout(json({
      kind: "mmsb-clock-status",
      format: CLOCK_FORMAT,
      ok: isWithin,
      verdict: text,
      ...(advice === undefined ? {} : { advice }),
      maxErrorMs: maxErrorMs ?? null,
      status,
    }, 2));
  } else writeStdout(statusText(status, verdict));
  if (isWithin) return EXIT.done;
  writeStderr(
    `mmsb: clock: ${
      status.synchronised ? "The bound" : "Nobody vouches for the time, so the bound"
    } is not within the ${maxErrorMs} ms of --max-error\n`,
  );
  return EXIT.failed;
}

async function sources(call: Call): Promise<ExitCode> {
  await using clock = await openClock(call);
  const status = clock.status();
  if (call.has("json")) {
    const { selected, isDisputed, sources, notes } = status;
    const form = { kind: "mmsb-clock-sources", format: CLOCK_FORMAT };
    writeStdout(json({ ...form, selected, isDisputed, sources, notes }, 2));
  } else {
    const { sourcesText } = await import("./_clock_text.ts");
    writeStdout(sourcesText(status));
  }
  return EXIT.done;
}

async function watch(call: Call): Promise<ExitCode> {
  const intervalMs = integerOf("interval", call.text("interval"), 10, 3_600_000) ?? INTERVAL_MS;
  const count = integerOf("count", call.text("count"), 1, Number.MAX_SAFE_INTEGER);
  await using clock = await openClock(call);
  const { watchClock } = await import("./_clock_watch.ts");
  await watchClock(clock, { intervalMs, count: count ?? Infinity, isJson: call.has("json") });
  return EXIT.done;
}

async function openClock(call: Call): Promise<ClockSelector> {
  const kinds = kindsOf(call.text("sources")), sntp = call.texts("sntp");
  if (sntp.length > 0 && !kinds.includes("sntp")) {
    throw new MmsbError(
      "usage",
      "Cannot ask the servers of --sntp where --sources leaves sntp out",
    );
  }
  if (sntp.length === 0 && kinds.length === 1 && kinds[0] === "sntp") {
    throw new MmsbError(
      "usage",
      "Cannot use only sntp without a server: name some with --sntp HOST",
    );
  }
  const { ClockSelector } = await import("../temporal/sources/mod.ts");
  return await ClockSelector.open({ sntp, kinds });
}

function kindsOf(text: string | undefined): readonly Exclude<ClockKind, "simulated">[] {
  if (text === undefined) return KINDS;
  return text.split(",").map((word) => {
    const kind = KINDS.find((kind) => kind === word);
    if (kind !== undefined) return kind;
    throw new MmsbError(
      "usage",
      `Cannot use ${JSON.stringify(word)} in --sources: give some of ${KINDS.join(",")}`,
      { values: { sources: text } },
    );
  });
}

function millisecondsOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN;
  if (value > 0) return value;
  throw new MmsbError(
    "usage",
    `Cannot use ${JSON.stringify(text)} as --${flag}: give milliseconds, such as 10 or 0.5`,
    { values: { flag, text } },
  );
}
