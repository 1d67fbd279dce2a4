/**
 * Validator 2, integrity: every delta is well formed and traceable, and the check that says so can
 * find what it looks for.
 *
 * The check is `auditLog`, which is written apart from recovery and replay: checksums, frames and
 * ticks in order, sequences, births, epochs that rise by one, time that rises. It goes over random
 * logs, a log of everything there is, and 200,000 real flights, in which it must find nothing; and
 * over copies in which faults are planted, each of which it must find by its name and at its place.
 *
 * A fault planted in a checkpoint must be named with its file, by the check and by whoever opens the
 * directory, and must cost nothing but the time to begin with an older one.
 */

import {
  auditLog,
  FileStorage,
  type LogAudit,
  type LogFault,
  type MemoryStorage,
} from "../log/mod.ts";
import { runCycle } from "./_cycle.ts";
import { integrityOf } from "./_own_integrity.ts";
import { plantAll } from "./_planted.ts";
import {
  isFoundIn,
  otherCheckpoints,
  plantCheckpoints,
  withCheckpoints,
} from "./_planted_checkpoints.ts";
import { isFound } from "./_planted_fault.ts";
import { sampleLog } from "./_sample_log.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import { openBus } from "./device_run.ts";
import { loadFlights, readFlights } from "./flights.ts";
import { leftOutInMemory } from "./_own_state.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

const RANDOM_LOGS = 200;
const RANDOM_LOGS_QUICK = 20;

/** The validator. */
export const integrityValidator: Validator = {
  id: 2,
  name: "Integrity",
  run: (context) =>
    context.directory !== undefined
      ? integrityOf(context.directory, context)
      : context.bus === undefined
      ? runOwn(context)
      : Promise.resolve(leftOutInMemory("there is no log to be checked")),
};

/** Audits added up. */
class Sums {
  deltas = 0;
  valid = 0;
  orphans = 0;
  ticks = 0;
  readonly alarms: string[] = [];

  add(log: string, { deltas, validDeltas, orphans, ticks, problems }: LogAudit): void {
    this.deltas += deltas;
    this.valid += validDeltas;
    this.orphans += orphans;
    this.ticks += ticks;
    for (const problem of problems) this.alarms.push(`${log}: ${problemText(problem)}`);
  }

  /** Deltas without fault of all; a fault that is no delta's takes one off, so that none is hidden. */
  get validPercent(): number {
    const counted = this.alarms.length > 0 ? Math.min(this.valid, this.deltas - 1) : this.valid;
    return this.deltas === 0 ? 0 : 100 * counted / this.deltas;
  }
}

async function runOwn(context: ValidatorContext): Promise<Measured> {
  const { seed, progress } = context;
  const sums = new Sums();
  const logs = context.quick ? RANDOM_LOGS_QUICK : RANDOM_LOGS;
  for (let log = 1; log <= logs; log++) {
    if (log % 10 === 0) progress(`random log ${log} of ${logs}`);
    const { storage } = await runCycle(Math.imul(seed, 0x85eb_ca6b) + log | 0);
    sums.add(`random log ${log}`, auditLog(storage));
  }
  const sample = await sampleLog(seed);
  sums.add("sample log", auditLog(sample));
  const flights = await auditFlights(progress);
  sums.add("flights", flights);

  const planted = plantedResults(2, await plantFaults(sample, seed, progress));
  const found = planted.filter(({ found }) => found).length;
  return {
    metrics: {
      validPercent: sums.validPercent,
      orphans: sums.orphans,
      plantedFound: 100 * found / planted.length,
    },
    samples: sums.deltas,
    durability: "group",
    notes: [
      `${text(sums.deltas)} deltas in ${text(logs + 2)} logs checked one by one, ${
        text(flights.deltas)
      } of them of 200,000 real flights`,
      ...plantedNotes(planted),
      sums.alarms.length === 0
        ? "no alarm in a log without a fault"
        : `${text(sums.alarms.length)} alarms in logs without a fault`,
      ...sums.alarms.slice(0, 5),
    ],
    planted,
  };
}

/** Plants all that concerns logs and checkpoints in copies of a log. */
async function plantFaults(
  sample: MemoryStorage,
  seed: number,
  progress: (text: string) => void,
): Promise<PlantedResult[]> {
  const other = await sampleLog(seed + 1), results: PlantedResult[] = [];
  for (const fault of await plantAll(sample, other)) {
    progress(`planted fault: ${fault.name}`);
    results.push({ id: fault.id, found: isFound(fault, auditLog(fault.storage)) });
  }
  const good = await withCheckpoints(sample);
  for (const fault of plantCheckpoints(good, await otherCheckpoints(sample, other))) {
    progress(`planted fault: ${fault.name}`);
    results.push({ id: fault.id, found: isFoundIn(fault) });
  }
  return results;
}

/** Loads the flights into a directory of their own and checks its log. */
async function auditFlights(progress: (text: string) => void): Promise<LogAudit> {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-integrity-" });
  try {
    const flights = await readFlights();
    const bus = await openBus({ dir, durability: "group" });
    for await (const step of loadFlights(bus, flights)) {
      progress(`${text(step.flights)} of ${text(flights.count)} flights loaded`);
    }
    await bus.close();
    return auditLog(new FileStorage(dir), { progress: (text) => progress(`flights, ${text}`) });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function problemText({ kind, file, offset, tick, message }: LogFault): string {
  const what = kind === "torn" ? "a torn tail, which the next open cuts: " : "";
  return `${what}${file} at byte ${offset}${
    tick === undefined ? "" : `, tick ${tick}`
  }: ${message}`;
}

/** A number as people read it. */
function text(value: number): string {
  return value.toLocaleString("en");
}
