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

import { StateBus } from "../bus/mod.ts";
import { auditLog, FileStorage, type LogAudit, type LogFault, verifyLog } from "../log/mod.ts";
import { runCycle } from "./_cycle.ts";
import { isFound, plantAll } from "./_planted.ts";
import { isFoundIn, plantCheckpoints, withCheckpoints } from "./_planted_checkpoints.ts";
import { sampleLog } from "./_sample_log.ts";
import { loadFlights, readFlights } from "./flights.ts";
import type { Measured, Validator, ValidatorContext } from "./validator.ts";

const RANDOM_LOGS = 200;
const RANDOM_LOGS_QUICK = 20;

/** The validator. */
export const integrityValidator: Validator = {
  id: 2,
  name: "Integrity",
  run: (context) =>
    context.directory === undefined ? runOwn(context) : runOn(context.directory, context),
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

  const inLog = plantAll(sample);
  const inCheckpoints = plantCheckpoints(
    await withCheckpoints(sample),
    await withCheckpoints(await sampleLog(seed + 1)),
  );
  const planted = [...inLog, ...inCheckpoints], missed: string[] = [];
  for (const fault of planted) {
    progress(`planted fault: ${fault.name}`);
    const isSeen = "expected" in fault ? isFound(fault, auditLog(fault.storage)) : isFoundIn(fault);
    if (!isSeen) missed.push(fault.name);
  }
  return {
    metrics: {
      validPercent: sums.validPercent,
      orphans: sums.orphans,
      plantedFound: 100 * (planted.length - missed.length) / planted.length,
    },
    samples: sums.deltas,
    durability: "group",
    notes: [
      `${text(sums.deltas)} deltas in ${text(logs + 2)} logs checked one by one, ${
        text(flights.deltas)
      } of them of 200,000 real flights`,
      `${text(planted.length - missed.length)} of ${text(planted.length)} planted faults found: ${
        text(inLog.length)
      } in logs, by name, file, byte and tick, and ${
        text(inCheckpoints.length)
      } in checkpoints, by file`,
      sums.alarms.length === 0
        ? "no alarm in a log without a fault"
        : `${text(sums.alarms.length)} alarms in logs without a fault`,
      ...(missed.length === 0 ? [] : [`not found: ${missed.join(", ")}`]),
      ...sums.alarms.slice(0, 5),
    ],
  };
}

/** Loads the flights into a directory of their own and checks its log. */
async function auditFlights(progress: (text: string) => void): Promise<LogAudit> {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-integrity-" });
  try {
    const flights = await readFlights();
    const bus = await StateBus.open({ dir, durability: "group" });
    for await (const step of loadFlights(bus, flights)) {
      progress(`${text(step.flights)} of ${text(flights.count)} flights loaded`);
    }
    await bus.close();
    return auditLog(new FileStorage(dir), { progress: (text) => progress(`flights, ${text}`) });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function runOn(directory: string, { progress }: ValidatorContext): Promise<Measured> {
  const audit = await verifyLog(directory, { progress });
  const damage = audit.problems.filter(({ kind }) => kind === "damage");
  const sums = new Sums();
  sums.add("log", { ...audit, problems: damage });
  const [first] = damage;
  return {
    metrics: {
      // A log without a delta has none that is wrong.
      validPercent: audit.deltas === 0 && damage.length === 0 ? 100 : sums.validPercent,
      orphans: audit.orphans,
    },
    samples: Math.max(1, audit.deltas),
    notes: [
      `${text(audit.deltas)} deltas in ${text(audit.ticks)} ticks, ${text(audit.frames)} frames, ${
        text(audit.pages)
      } pages checked one by one`,
      ...(audit.sequenceGaps === 0
        ? []
        : [`${text(audit.sequenceGaps)} sequence numbers left out, as refused batches do`]),
      ...(audit.checkpoints === 0 ? [] : [`${text(audit.checkpoints)} checkpoints are good`]),
      ...audit.problems.slice(0, 10).map(problemText),
      ...(audit.problems.length > 10 ? [`and ${audit.problems.length - 10} more problems`] : []),
    ],
    unmeasured: { plantedFound: "nothing is planted in a user's directory" },
    ...(first === undefined ? {} : {
      damage: `the log of ${JSON.stringify(directory)} is damaged in ${damage.length} place${
        damage.length === 1 ? "" : "s"
      }: ${problemText(first)}`,
    }),
  };
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
