/**
 * `mmsb clock watch`: a line now and then, events in between, a summary at the end.
 *
 * Lines begin with the time by the selected source, so that a step of it shows.
 */
import type { ClockEvent, ClockSelector } from "../temporal/sources/mod.ts";
import { durationText } from "../temporal/sources/mod.ts";
import { boundText, isoText } from "./_clock_text.ts";
import { counted, escaped, json } from "./_log_text.ts";
import { onInterrupt, writeStdout } from "./_platform.ts";

const TIME_COLUMNS = 29, SOURCE_COLUMNS = 28;

/** How to watch. */
export interface WatchOptions {
  /** Milliseconds between two lines. */
  readonly intervalMs: number;
  /** Lines; Infinity for no end. */
  readonly count: number;
  /** Whether each line is JSON. */
  readonly isJson: boolean;
}

/** What the summary says. */
interface Sums {
  lines: number;
  errorNsMin: number;
  errorNsMax: number;
  switches: number;
  stepNsMax: number;
}

/** Watches a clock until it is enough, somebody interrupts, or nobody reads any more. */
export async function watchClock(clock: ClockSelector, options: WatchOptions): Promise<void> {
  const { intervalMs, count, isJson } = options;
  const sums: Sums = { lines: 0, errorNsMin: Infinity, errorNsMax: 0, switches: 0, stepNsMax: 0 };
  const over = Promise.withResolvers<void>();
  let isOver = false;
  const end = (): void => {
    isOver = true;
    over.resolve();
  };
  using _interrupt = onInterrupt(end);
  const write = (text: string): void => {
    if (!isOver && !writeStdout(text)) end();
  };
  const events = clock.events();
  const telling = tell(events, (event) => {
    if (event.kind === "selected") sums.switches++;
    if (Math.abs(event.stepNs) > Math.abs(sums.stepNsMax)) sums.stepNsMax = event.stepNs;
    write(isJson ? json({ ...event, what: event.kind, kind: "event" }) : eventText(event));
  });
  if (!isJson) {
    write(
      `${"time".padEnd(TIME_COLUMNS)}${"source".padEnd(SOURCE_COLUMNS)}${
        "bound".padEnd(13)
      }offset\n`,
    );
  }
  while (!isOver) {
    write(sample(clock, sums, isJson));
    if (sums.lines >= count) break;
    await wait(intervalMs, over.promise);
  }
  await events.return?.();
  await telling;
  isOver = false;
  write(isJson ? json({ kind: "summary", ...sums }) : summaryText(sums));
}

async function tell(events: AsyncIterable<ClockEvent>, call: (event: ClockEvent) => void) {
  for await (const event of events) call(event);
}

function sample(clock: ClockSelector, sums: Sums, isJson: boolean): string {
  const { nowNs, errorNs, offsetNs, selected, synchronised, kind } = clock.status();
  sums.lines++;
  sums.errorNsMin = Math.min(sums.errorNsMin, errorNs);
  sums.errorNsMax = Math.max(sums.errorNsMax, errorNs);
  if (isJson) return json({ kind: "reading", nowNs, selected, synchronised, errorNs, offsetNs });
  const isOwn = kind === "system" || kind === "daemon";
  const offset = isOwn
    ? "none"
    : Number.isNaN(offsetNs)
    ? "unknown"
    : `${durationText(Math.abs(offsetNs))} ${offsetNs > 0 ? "behind" : "ahead"}`;
  const name = escaped(selected);
  const source = (name.length < SOURCE_COLUMNS ? name : `${name.slice(0, SOURCE_COLUMNS - 2)}…`)
    .padEnd(SOURCE_COLUMNS);
  return `${isoText(nowNs).padEnd(TIME_COLUMNS)}${source}${boundText(errorNs).padEnd(13)}${offset}${
    synchronised ? "" : ", nobody vouches"
  }\n`;
}

function eventText({ kind, timeNs, message }: ClockEvent): string {
  return `${isoText(timeNs).padEnd(TIME_COLUMNS)}${kind === "lost" ? "!" : "·"} ${
    escaped(message)
  }\n`;
}

function summaryText({ lines, errorNsMin, errorNsMax, switches, stepNsMax }: Sums): string {
  const bounds = errorNsMin === errorNsMax
    ? boundText(errorNsMax)
    : `${boundText(errorNsMin)} to ${boundText(errorNsMax)}`;
  const steps = stepNsMax === 0
    ? "no step of time"
    : `largest step of time ${durationText(stepNsMax)}`;
  return `\n${counted(lines, "line")}, bound ${bounds}, ${
    counted(switches, "change")
  } of source, ${steps}\n`;
}

async function wait(ms: number, over: Promise<void>): Promise<void> {
  const passed = Promise.withResolvers<void>();
  const timer = setTimeout(passed.resolve, ms);
  await Promise.race([passed.promise, over]);
  clearTimeout(timer);
}
