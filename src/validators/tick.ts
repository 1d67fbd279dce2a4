/**
 * Validator 6, tick: full ticks with ingest, log, apply, propagate and publish.
 *
 * 10,000 pages, 1,000 of them derived by rules, 10,000 rows a tick, logged with group commit to a directory. A tick is
 * timed from the submission of its batch, whose columns were filled before, until it is applied; the ticks follow
 * one another without a pause, so syncs go on beside them. What comes out is compared with plain arrays: all
 * bytes, the epochs, how often rules ran; and once more after opening the directory again.
 */

import { type Page, StateBus } from "../bus/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { milliseconds, quantile, text, withFolder } from "./_figures.ts";
import {
  PAGE_BYTES,
  readsOf,
  sumInFull,
  sumOfChanges,
  TickBatch,
  TickModel,
  type TickPlan,
  WORDS,
} from "./_tick_work.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import { openBus } from "./device_run.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

const PLAN: Omit<TickPlan, "seed"> = {
  pages: 10_000,
  derived: 1000,
  rows: 10_000,
  warmUp: 100,
  ticks: 600,
};
const TICKS_QUICK = 60;
const MEMORY_BYTES = 64 * 2 ** 20;
const PHASES = ["ingest", "log", "apply", "propagate", "check", "publish"] as const;

/** The validator. */
export const tickValidator: Validator = {
  id: 6,
  name: "Tick",
  needsWorkload:
    "it times ticks of its own: how long yours took is not stored in their log; see bus.stats()",
  run: runTick,
};

async function runTick({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const plan = { ...PLAN, ticks: quick ? TICKS_QUICK : PLAN.ticks, seed };
  const outcome = await measureTicks(plan, progress);
  const planted = plantedResults(6, [...outcome.planted, await plantLostRule(seed)]);
  return {
    metrics: tickMetrics(outcome),
    samples: outcome.ms.length,
    notes: [...notesOf(plan, outcome), ...plantedNotes(planted)],
    durability: "group",
    planted,
  };
}

/** What was measured. */
export interface TickOutcome {
  /** Milliseconds of each tick. */
  readonly ms: readonly number[];
  /** Mean milliseconds of each phase, as the bus tells them. */
  readonly phasesMs: Readonly<Record<typeof PHASES[number], number>>;
  /** Milliseconds from the last tick until all are on the disk. */
  readonly durableMs: number;
  /** Rows that rules made. */
  readonly derivedRows: number;
  /** Rules that ran, and those that should have. */
  readonly fired: readonly [bus: number, model: number];
  /** Ticks that did not take their whole batch. */
  readonly carriedOver: number;
  /** Pages unlike the model's, live and after opening again. */
  readonly wrongPages: number;
  /** Faults that were planted in the pages once they were compared. */
  readonly planted: readonly PlantedResult[];
}

/** Does the work. */
export async function measureTicks(
  plan: TickPlan,
  progress: (text: string) => void,
): Promise<TickOutcome> {
  const reads = readsOf(plan), model = new TickModel(plan, reads);
  return await withFolder("tick", async (dir) => {
    const options = { dir, memoryLimitBytes: MEMORY_BYTES, durability: "group" } as const;
    let measured: Omit<TickOutcome, "wrongPages" | "planted">, wrongPages: number;
    let planted: PlantedResult[];
    {
      await using bus = await openBus(options);
      const pages = await bindAll(bus, plan, reads);
      measured = await timeTicks(bus, plan, { pages, model }, progress);
      model.derive();
      wrongPages = wrongIn(bus, plan, pages[0].id, model);
      planted = plantBytes(pages, plan, () => {
        return wrongIn(bus, plan, pages[0].id, model) === wrongPages + 1;
      });
    }
    progress("comparing with the log");
    await using again = await StateBus.open({ ...options, readOnly: true });
    return { ...measured, planted, wrongPages: wrongPages + wrongIn(again, plan, 1, model) };
  });
}

/** Turns a bit of a source and of a derived page, without a delta: each must be seen as one page more. */
function plantBytes(
  pages: readonly Page[],
  plan: TickPlan,
  isSeen: () => boolean,
): PlantedResult[] {
  const places = { "tick-source-byte": 0, "tick-derived-byte": plan.pages - 1 };
  return Object.entries(places).map(([id, index]) => {
    const live = pages[index].view() as unknown as Uint8Array;
    live[PAGE_BYTES - 1] ^= 1;
    const found = isSeen();
    live[PAGE_BYTES - 1] ^= 1;
    return { id, found };
  });
}

/** Does a small part of the work with one rule fewer: runs and pages must both be seen to be wrong. */
async function plantLostRule(seed: number): Promise<PlantedResult> {
  const plan = { pages: 200, derived: 100, rows: 100, warmUp: 0, ticks: 5, seed };
  const reads = readsOf(plan), model = new TickModel(plan, reads);
  await using bus = await openBus({ memoryLimitBytes: MEMORY_BYTES });
  const pages = await bindAll(bus, plan, reads, 0);
  const { fired: [ran, due] } = await timeTicks(bus, plan, { pages, model }, () => {});
  model.derive();
  const found = ran < due && wrongIn(bus, plan, pages[0].id, model) > 0;
  return { id: "tick-rule-lost", found };
}

async function bindAll(
  bus: StateBus,
  { pages: count, derived }: TickPlan,
  reads: readonly (readonly number[])[],
  leftOut?: number,
): Promise<Page[]> {
  const pages = Array.from({ length: count }, () => bus.createPage({ size: PAGE_BYTES }));
  await bus.tick();
  reads.forEach((inputs, i) => {
    if (i === leftOut) return;
    bus.rule(i % 2 === 0 ? sumInFull : sumOfChanges, {
      name: `sum ${i}`,
      inputs: inputs.map((input) => pages[input]),
      outputs: [pages[count - derived + i]],
      params: inputs.length,
    });
  });
  await bus.tick();
  return pages;
}

async function timeTicks(
  bus: StateBus,
  plan: TickPlan,
  { pages, model }: { pages: readonly Page[]; model: TickModel },
  progress: (text: string) => void,
): Promise<Omit<TickOutcome, "wrongPages" | "planted">> {
  const random = new SeededRandom(~plan.seed), first = pages[0].id;
  const batches = [new TickBatch(plan, random), new TickBatch(plan, random)];
  const free: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  const ms: number[] = [], phasesMs = Object.fromEntries(PHASES.map((phase) => [phase, 0]));
  let fired = 0, derivedRows = 0, carriedOver = 0;
  for (let tick = 0; tick < plan.warmUp + plan.ticks; tick++) {
    if (tick % 50 === 0) progress(`tick ${text(tick)} of ${text(plan.warmUp + plan.ticks)}`);
    const filled = batches[tick & 1];
    await free[tick & 1];
    filled.fill(first);
    model.add(filled.batch, first);
    const started = performance.now();
    free[tick & 1] = bus.submit(filled.batch);
    const report = await bus.tick();
    const spent = performance.now() - started;
    fired += report.fired;
    derivedRows += report.derived;
    if (report.rows !== plan.rows) carriedOver++;
    if (tick < plan.warmUp) continue;
    ms.push(spent);
    for (const phase of PHASES) phasesMs[phase] += report.phasesMs[phase] / plan.ticks;
  }
  const ended = performance.now();
  await Promise.all(free);
  return {
    ms,
    phasesMs: phasesMs as TickOutcome["phasesMs"],
    durableMs: performance.now() - ended,
    derivedRows,
    fired: [fired, model.fired],
    carriedOver,
  };
}

/** Pages with other bytes than the model's, and sources with another number of rows. */
function wrongIn(bus: StateBus, plan: TickPlan, first: number, model: TickModel): number {
  const bytes = new Uint8Array(PAGE_BYTES), found = new Int32Array(bytes.buffer);
  let wrong = 0;
  for (let index = 0; index < plan.pages; index++) {
    const page = bus.page(first + index), isSource = index < plan.pages - plan.derived;
    page.readInto(bytes);
    let bits = isSource ? page.epoch ^ model.epochs[index] : 0;
    for (let word = 0; word < WORDS; word++) {
      bits |= found[word] ^ model.words[index * WORDS + word];
    }
    if (bits !== 0) wrong++;
  }
  return wrong;
}

/** The figures of an outcome. */
export function tickMetrics(
  { ms, fired, carriedOver, wrongPages }: TickOutcome,
): Record<string, number> {
  return {
    meanMs: ms.reduce((sum, one) => sum + one, 0) / ms.length,
    p99Ms: quantile(ms, 0.99),
    ticks: ms.length,
    wrongRuns: Math.abs(fired[0] - fired[1]) + carriedOver,
    wrongPages,
    p50Ms: quantile(ms, 0.5),
    maxMs: Math.max(...ms),
  };
}

function notesOf(plan: TickPlan, outcome: TickOutcome): string[] {
  const { ms, phasesMs, durableMs, derivedRows, fired, wrongPages } = outcome;
  const phases = PHASES.map((phase) => `${phase} ${phasesMs[phase].toFixed(2)}`).join(", ");
  return [
    `${text(plan.pages)} pages of ${PAGE_BYTES} bytes, ${
      text(plan.derived)
    } of them derived in three levels from 1 to 25 pages each, ${
      text(plan.rows)
    } deltas of 16 bytes a tick, group commit to a directory; ${
      text(plan.warmUp)
    } ticks before the ${text(ms.length)} measured ones`,
    `median ${milliseconds(quantile(ms, 0.5))}, 99th percentile ${
      milliseconds(quantile(ms, 0.99))
    }, longest ${milliseconds(Math.max(...ms))}; on average ${phases} ms`,
    `${text(fired[0])} runs of rules (${text(fired[1])} by the model) made ${
      text(derivedRows)
    } rows; all on the disk ${milliseconds(durableMs)} after the last tick`,
    `${text(wrongPages)} pages unlike plain arrays, live and after opening the directory again`,
  ];
}
