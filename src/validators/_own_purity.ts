/**
 * Validator 4 on a user's directory: the rules that the user gives, run over what their log says that they computed.
 *
 * The rules of a module run in a thread of their own, twice, each time in a new one that loads the module anew; what
 * came out must be the same. Rules that a program gives itself run where the program runs.
 */

import { FileStorage } from "../log/mod.ts";
import { text } from "./_figures.ts";
import { checkOnDevice, checkRules, type RulesPlan, type RulesVerdict } from "./_own_rules.ts";
import { damagedLog, lastTickOf } from "./_own_state.ts";
import type { DeviceVerdict } from "./_own_device.ts";
import { OWN_TIMEOUT_MS, runInThread } from "./_own_thread.ts";
import { deviceOfRun } from "./device_run.ts";
import type { Measured, ValidatorContext } from "./validator.ts";

const TICKS = 8;
const TICKS_QUICK = 3;
const RUNS = 3;
/** Names that are told of a list. */
const NAMED = 5;

/** Checks the rules that are given for a directory. */
export async function purityOf(directory: string, context: ValidatorContext): Promise<Measured> {
  const { rules: module, givenRules, quick, seed, ruleRuns = RUNS, progress } = context;
  const damaged = await damagedLog(directory);
  if (damaged !== undefined) return damaged;
  const tickMax = await lastTickOf(directory, context);
  const plan = { tickMax, seed, runs: ruleRuns, ticks: quick ? TICKS_QUICK : TICKS };
  if (module === undefined) {
    const named = givenRules ?? {}, given = { exported: {}, named };
    const storage = new FileStorage(directory);
    const verdict = checkRules(storage, given, plan, progress);
    addDevice(verdict, await checkOnDevice(storage, given, tickMax, progress));
    return measuredOf(verdict, plan, givenRules === undefined ? "none" : "here", context);
  }
  const timeoutMs = context.ruleTimeoutMs ?? OWN_TIMEOUT_MS;
  const task = { what: "rules", directory, module, plan, ticks: [] } as const;
  const withDevice = { ...task, device: deviceOfRun() };
  const { rules: first, onDevice } = await runInThread(withDevice, { timeoutMs, progress });
  addDevice(first!, onDevice);
  if (first!.checked === 0) return measuredOf(first!, plan, "threads", context);
  const { rules: second } = await runInThread(task, {
    timeoutMs,
    progress: (text) => progress(`in another thread, ${text}`),
  });
  first!.compared++;
  if (first!.digest === second!.digest) first!.agreed++;
  else first!.found.push("in another thread the rules write something else");
  return measuredOf(first!, plan, "threads", context);
}

/** Adds what the device gave to what was found. */
function addDevice(verdict: RulesVerdict, onDevice: DeviceVerdict | undefined): void {
  if (onDevice === undefined) return;
  verdict.compared += onDevice.compared;
  verdict.agreed += onDevice.agreed;
  verdict.found.push(...onDevice.found);
}

function measuredOf(
  verdict: RulesVerdict,
  { runs }: RulesPlan,
  where: "none" | "here" | "threads",
  { bus, seed }: ValidatorContext,
): Measured {
  const { bound, checked, compared, agreed, effects, found, ticks, again } = verdict;
  const notes = remarks(verdict);
  const give = bus === undefined
    ? "give the module that has them with --rules MODULE"
    : "give them as { rules: { name: rule } }";
  if (bound === 0) return left(`no rule is bound in it, so there is none to check`, []);
  if (where === "none") {
    return left(`it has ${counted(bound, "rule")}, whose code is not in the data: ${give}`, []);
  }
  if (compared === 0) return left(`none of its ${counted(bound, "rule")} could be checked`, notes);
  return {
    metrics: { sideEffects: effects, agreePercent: 100 * agreed / compared },
    samples: compared,
    notes: [
      `${text(checked)} of ${counted(bound, "rule")} checked; ${
        text(compared)
      } results compared with what is stored, each rule ${runs} times, after unrelated work${
        where === "threads" ? ", and in another thread" : ", in this thread alone"
      }`,
      `over the last state, and once more ${
        again.length === 0
          ? "no tick"
          : `${text(again.length)} of ${text(ticks)} ticks in which rules wrote (seed ${seed})`
      }; ${text(verdict.incremental)} runs from changes`,
      ...notes,
      ...found.slice(0, 10),
    ],
    unmeasured: { plantedFound: "nothing is planted among a user's rules" },
  };

  function left(leftOut: string, notes: readonly string[]): Measured {
    return { metrics: {}, samples: 1, leftOut, notes };
  }
}

function remarks(verdict: RulesVerdict): string[] {
  const { notGiven, otherVersion, stale, unused, unjudged } = verdict;
  const line = (what: string, names: readonly string[]) =>
    names.length === 0 ? [] : [`${what}: ${listed(names)}`];
  return [
    ...line("no code was given for", quoted(notGiven)),
    ...line("another version was given, so it was not run", otherVersion),
    ...line("not checked now, as the log says that its outputs are stale", quoted(stale)),
    ...line("reads what it writes, and no tick of it could be done again", quoted(unjudged)),
    ...line("given, but no rule of that name is bound", quoted(unused)),
  ];
}

function quoted(names: readonly string[]): string[] {
  return names.map((name) => JSON.stringify(name));
}

function listed(names: readonly string[]): string {
  const more = names.length - NAMED;
  return `${names.slice(0, NAMED).join(", ")}${more > 0 ? ` and ${text(more)} more` : ""}`;
}

function counted(count: number, noun: string): string {
  return `${text(count)} ${noun}${count === 1 ? "" : "s"}`;
}
