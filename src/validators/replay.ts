/**
 * Validator 1, replay: the same log gives the same bytes.
 *
 * Two workloads. Small ones, a thousand of them, each with another seed: random pages and deltas
 * through the public API, closed, opened again, compared with the live state and with the model,
 * which shares no code with the bus. And real data: a table of 200,000 flights, loaded by a process that
 * makes a checkpoint meanwhile and is killed halfway, and by another one that goes on from the checkpoint
 * and the log behind it; then replayed in every form there is. Each form must give the live bytes; rows,
 * column sums and totals must be those of the file, at the end and at two earlier ticks.
 *
 * In a user's directory it replays the log in every form; what the live state was is not known there.
 */

import { StateBus } from "../bus/mod.ts";
import { inspectLog, type LogInspection, type LogState, type SalvageRange } from "../log/mod.ts";
import { runCycle } from "./_cycle.ts";
import { FORMS, FROM_CHECKPOINT, IN_A_PROCESS, type Replayed, type ReplayTask } from "./_forms.ts";
import { type Acknowledged, type KilledLoad, loadWithKill } from "./_killed_load.ts";
import { rangeText } from "./_own_words.ts";
import { plantReplays } from "./_planted_replay.ts";
import { type BusState, digestOf, divergenceOf } from "./_state.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import {
  type ColumnSums,
  type Flights,
  type FlightsHolder,
  readFlights,
  sumsIn,
  unlikeFile,
} from "./flights.ts";
import { damagedLog, leftOutInMemory } from "./_own_state.ts";
import type { Measured, Validator, ValidatorContext } from "./validator.ts";

const CYCLES = 1000;
const CYCLES_QUICK = 50;

/** The validator. */
export const replayValidator: Validator = {
  id: 1,
  name: "Replay",
  run: (context) =>
    context.directory !== undefined
      ? runOn(context.directory, context)
      : context.bus === undefined
      ? runOwn(context)
      : Promise.resolve(leftOutInMemory("there is no log to be replayed")),
};

/** Sums of what several comparisons found. */
class Findings {
  squares = 0;
  readonly found: string[] = [];

  add(where: string, { value, found }: { value: number; found?: string }): void {
    this.squares += value * value;
    if (found !== undefined && this.found.length < 5) this.found.push(`${where}: ${found}`);
  }

  get divergence(): number {
    return Math.sqrt(this.squares);
  }
}

async function runOwn(context: ValidatorContext): Promise<Measured> {
  const findings = new Findings();
  const cycles = await runCycles(context, findings);
  const folder = await Deno.makeTempDir({ prefix: "mmsb-replay-" });
  try {
    const flights = await readFlights();
    const load = await loadWithKill(folder, flights, context.progress);
    const { directory, found, foundOverCheckpoint, lostTicks, live } = load;
    findings.add("after the kill", divergenceOf(found.state!, foundOverCheckpoint.state!));
    const forms = await runForms({ directory, tick: Infinity }, live, findings, context);
    const file = await compareWithFile(load, flights, context);
    context.progress("replaying logs with planted faults");
    const planted = plantedResults(1, await plantReplays(`${folder}/planted`, context.seed));
    return {
      metrics: {
        divergence: findings.divergence,
        cycles: cycles.count,
        formsAgreed: forms.agreed.length,
        lostTicks,
        wrongTotals: file.wrong.totals,
        wrongSums: file.wrong.sums,
        wrongRows: file.wrong.rows,
      },
      samples: cycles.deltas + forms.first.rows,
      durability: "group",
      notes: [
        `${text(cycles.count)} random logs, ${text(cycles.deltas)} deltas, ${
          text(cycles.refused)
        } batches refused: live bus, reopened bus and model ${
          cycles.isAlike ? "alike" : "are NOT alike"
        }`,
        `a table of ${
          text(flights.count)
        } real flights (U.S. Bureau of Transportation Statistics): ${
          text(forms.first.rows)
        } deltas in ${text(forms.first.tick)} ticks`,
        ...killNotes(load),
        ...file.notes,
        `live state equal to the replay ${forms.agreed.join(", ")}`,
        ...plantedNotes(planted),
        ...findings.found,
      ],
      planted,
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function killNotes(load: KilledLoad): string[] {
  const { acknowledged, found, foundOverCheckpoint, checkpoint: [first, last], opened } = load;
  return [
    `checkpoint of tick ${text(foundOverCheckpoint.checkpoint ?? 0)}, made ${
      last > first ? `while ticks ${text(first)} to ${text(last)} went on` : "between two ticks"
    }`,
    `loader killed (SIGKILL) with tick ${text(acknowledged.tick)} acknowledged: ${
      text(found.tick)
    } ticks found; a second process replayed ${text(opened.rows)} of their ${
      text(found.rows)
    } deltas over the checkpoint, and loaded the rest`,
  ];
}

/** Rows, sums and totals beside the file's: as they are, and as of two ticks before and after the checkpoint. */
async function compareWithFile(
  { directory, earlier, acknowledged }: KilledLoad & { readonly directory: string },
  flights: Flights,
  { progress }: ValidatorContext,
) {
  const wrong = { sums: 0, totals: 0, rows: 0 };
  const notes: string[] = [];
  const compare = (when: string, bus: FlightsHolder, count: number) => {
    const unlike = unlikeFile(bus, flights, count);
    wrong.sums += unlike.sums;
    wrong.totals += unlike.totals;
    wrong.rows += unlike.rows;
    const isLike = unlike.sums + unlike.totals + unlike.rows === 0;
    notes.push(
      `${when}: ${sumsText(sumsIn(bus))}; rows, sums and hourly totals ${
        isLike ? "equal" : "are NOT"
      } those of the file's first ${text(count)} flights`,
    );
  };
  await using bus = await StateBus.open({ dir: directory, readOnly: true });
  const travel = async ({ tick, flights: count }: Acknowledged) => {
    progress(`going back to tick ${tick}`);
    await using past = await bus.at({ tick });
    compare(`as of tick ${text(tick)}`, past, count);
  };
  await travel(earlier);
  await travel(acknowledged);
  progress("comparing with the file");
  compare("at the end", bus, flights.count);
  return { wrong, notes };
}

function sumsText({ rows, delay, distance }: ColumnSums): string {
  return `${text(rows)} rows, ${text(delay)} minutes of delay, ${text(distance)} miles`;
}

/** The small logs alone, so many of them: the figures that they give. */
export async function measureCycles(
  count: number,
  context: ValidatorContext,
): Promise<{ readonly divergence: number; readonly cycles: number }> {
  const findings = new Findings(), cycles = await runCycles(context, findings, count);
  return { divergence: findings.divergence, cycles: cycles.count };
}

async function runCycles(
  context: ValidatorContext,
  findings: Findings,
  count = context.quick ? CYCLES_QUICK : CYCLES,
) {
  let deltas = 0, refused = 0;
  for (let cycle = 1; cycle <= count; cycle++) {
    if (cycle % 10 === 0) context.progress(`cycle ${cycle} of ${count}`);
    const outcome = await runCycle(seedOf(context.seed, cycle));
    findings.add(`cycle ${cycle}, reopened`, outcome.reopened);
    findings.add(`cycle ${cycle}, model`, outcome.model);
    const [byBus, byModel] = outcome.refused;
    if (byBus !== byModel) {
      const message = `the bus refused ${byBus} batches, the model ${byModel}`;
      findings.add(`cycle ${cycle}`, { value: Infinity, found: message });
    }
    deltas += outcome.deltas;
    refused += byBus;
  }
  return { count, deltas, refused, isAlike: findings.divergence === 0 };
}

/** Replays in all forms and compares each with what it should give. */
async function runForms(
  task: ReplayTask,
  expected: BusState | undefined,
  findings: Findings,
  context: ValidatorContext,
) {
  const agreed: string[] = [], mayRun = expected !== undefined || await mayStart();
  let first: Replayed | undefined, tick = task.tick, uncarried = 0, hasCheckpoint = true;
  let reference = expected, digest = expected === undefined ? undefined : digestOf(expected);
  for (const [name, run] of Object.entries(FORMS)) {
    if (name === IN_A_PROCESS && !mayRun) continue;
    context.progress(`replaying ${name}`);
    const replayed = await run({ ...task, tick });
    if (first === undefined) {
      first = replayed;
      tick = replayed.tick;
    }
    reference ??= replayed.state;
    digest ??= replayed.digest;
    if (replayed.state === undefined) uncarried++;
    else findings.add(name, divergenceOf(reference!, replayed.state));
    if (name === FROM_CHECKPOINT && replayed.checkpoint === undefined) {
      hasCheckpoint = false;
      continue;
    }
    const isEqual = replayed.digest === digest;
    const isSame = replayed.state === undefined ||
      divergenceOf(reference!, replayed.state).value === 0;
    if (isEqual && isSame && replayed.tick === tick) agreed.push(name);
    // No bytes to measure by: any difference at all is as bad as can be.
    else if (isSame) findings.add(name, { value: Infinity, found: "its SHA-256 is another" });
  }
  return { agreed, first: first!, uncarried, hasCheckpoint, mayRun };
}

async function runOn(directory: string, context: ValidatorContext): Promise<Measured> {
  context.progress("reading the log");
  const damaged = await damagedLog(directory);
  if (damaged !== undefined) return damaged;
  const { state, ticks, pages, missing } = await inspectLog(directory);
  const findings = new Findings();
  const task = { directory, tick: ticks?.last ?? 0 };
  const forms = await runForms(task, undefined, findings, context);
  const { hasCheckpoint, mayRun } = forms, isAll = hasCheckpoint && mayRun;
  return {
    metrics: {
      divergence: findings.divergence,
      ...(isAll ? { formsAgreed: forms.agreed.length } : {}),
    },
    // A directory without a delta has been replayed all the same.
    samples: Math.max(1, forms.first.rows),
    notes: [
      `${text(forms.first.rows)} deltas up to tick ${forms.first.tick}, ${text(pages)} pages`,
      ...(missing === undefined ? [] : [missingText(missing)]),
      `the same state in the replay ${forms.agreed.join(", ")}`,
      ...(forms.uncarried > 0
        ? [`pages too large to be carried: ${forms.uncarried} forms compared by SHA-256 alone`]
        : []),
      ...(state.state === "torn" ? [tornText(state)] : []),
      ...(hasCheckpoint ? [] : ["no checkpoint: nothing to replay from one"]),
      ...(mayRun ? [] : ["not in another process: that needs --allow-run"]),
      ...findings.found,
    ],
    unmeasured: {
      cycles: "cycles are made of random logs, not of a user's",
      lostTicks: "nothing is killed on a user's directory",
      wrongTotals: "it holds no flights",
      wrongSums: "it holds no flights",
      wrongRows: "it holds no flights",
      ...(isAll ? {} : {
        formsAgreed: `${forms.agreed.length} did, and ${
          hasCheckpoint ? "another process needs --allow-run" : "it has no checkpoint for another"
        }`,
      }),
    },
  };
}

/** Ticks that a whole log has no more. */
function missingText({ ticks, gaps }: NonNullable<LogInspection["missing"]>): string {
  const shown = gaps.slice(0, 8), more = gaps.length > shown.length || ticks > ticksIn(shown);
  return `not in the log, as they were merged, or lost and given up by a salvage: ${
    ticks === 1 ? "" : `${text(ticks)} ticks, `
  }${shown.map((gap) => rangeText("tick", gap)).join(", ")}${more ? ", …" : ""}`;
}

function ticksIn(ranges: readonly SalvageRange[]): number {
  return ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
}

/** A torn tail in words. */
export function tornText({ file, offset, reason }: LogState): string {
  return `a torn tail, which the next open cuts: ${file} at byte ${offset}: ${reason}`;
}

/** Whether another process may be started; nobody is asked at a prompt. */
async function mayStart(): Promise<boolean> {
  try {
    const { state } = await Deno.permissions.query({ name: "run", command: Deno.execPath() });
    return state === "granted";
  } catch {
    return false;
  }
}

/** A number as people read it. */
function text(value: number): string {
  return value.toLocaleString("en");
}

/** Seeds of neighbouring runs share no cycle. */
function seedOf(seed: number, cycle: number): number {
  return Math.imul(seed, 0x9e37_79b1) + cycle | 0;
}
