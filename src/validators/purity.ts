/**
 * Validator 4, purity: rules and semirings give the same result again, in another thread and after unrelated
 * work; from changes as in full; and nothing is written that is not theirs.
 *
 * Each rule runs on a bus of its own through rounds of random changes, and what its output holds after each round is
 * compared between the forms: again, in full, among pages that live a life of their own, in another thread, on a bus
 * with workers that load it by its module. Meanwhile it is watched: the bytes of all pages that it must not write, its
 * inputs among them, its parameters, globals, clocks and sources of chance.
 *
 * A check that finds nothing proves nothing unless it can find something: rules and semirings with a planted fault each
 * must be found by the very same checks.
 */

import { isMmsbError } from "../base/mod.ts";
import type { Semiring } from "../physical/mod.ts";
import { text } from "./_figures.ts";
import { purityOf } from "./_own_purity.ts";
import { leftOutInMemory } from "./_own_state.ts";
import { type PurityAnswer, runElsewhere } from "./_purity_elsewhere.ts";
import { brokenLaw, columnOf, foldText, foldTextInParts } from "./_purity_folds.ts";
import {
  cleanGlobals,
  type PlantedRule,
  plantedRules,
  plantedSemirings,
  plantGlobal,
  PURE,
  SEMIRINGS,
} from "./_purity_subjects.ts";
import { SHADERS, WRONG_SHADERS } from "./_purity_shaders.ts";
import { SideEffectWatch } from "./_purity_watch.ts";
import { type PurityForm, type PuritySubject, runSubject } from "./_purity_work.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import { type DeviceRun, runAround } from "./device_run.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

const ROUNDS = 150;
const ROUNDS_QUICK = 30;
/** Rounds in which a planted fault must show. */
const ROUNDS_PLANTED = 25;
const AGAIN = 3;
const WORKERS = 2;

/** The validator. */
export const purityValidator: Validator = {
  id: 4,
  name: "Purity",
  run: (context) =>
    context.directory === undefined
      ? context.bus === undefined
        ? runPurity(context)
        : Promise.resolve(leftOutInMemory("it keeps no log of what its rules computed from what"))
      : purityOf(context.directory, context),
};

async function runPurity({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const rounds = quick ? ROUNDS_QUICK : ROUNDS;
  const { verdict, ...measured } = await measurePurity({ rounds, seed }, progress);
  const outcome = { verdict, planted: plantedResults(4, measured.planted) };
  return {
    metrics: purityMetrics(outcome),
    samples: verdict.compared,
    notes: notesOf(outcome),
    durability: "memory",
    planted: outcome.planted,
  };
}

/** What checks say of rules and semirings. */
export interface PurityVerdict {
  /** Results that were compared. */
  compared: number;
  /** Those that agreed. */
  agreed: number;
  /** What did not, and what was done beside the work, in words. */
  readonly found: string[];
  /** Things that were done beside the work. */
  effects: number;
  /** Runs that were watched. */
  runs: number;
  /** Those of them that did with changes. */
  incremental: number;
  /** Runs of rules in WGSL whose results were compared with their twins'. */
  shaders: number;
}

/** What was measured. */
export interface PurityOutcome {
  /** Of rules and semirings that are pure. */
  readonly verdict: PurityVerdict;
  /** Of those with a fault: whether it was found. */
  readonly planted: readonly PlantedResult[];
}

/** Does the work. */
export async function measurePurity(
  { rounds, seed }: { readonly rounds: number; readonly seed: number },
  progress: (text: string) => void,
  subjects: readonly PuritySubject[] = PURE,
  faulty: readonly PlantedRule[] = plantedRules(),
): Promise<PurityOutcome> {
  const verdict = newVerdict();
  progress("rules in another thread");
  const names = subjects.map(({ name }) => name);
  const elsewhere = await runElsewhere({ rules: names, rounds, seed });
  for (const subject of subjects) {
    progress(`rule ${subject.name}`);
    await checkRule(subject, { rounds, seed }, elsewhere, verdict);
  }
  for (const ring of SEMIRINGS) checkRing(ring, columnOf(ring, seed), verdict, elsewhere);
  const run = runAround();
  if (run?.isCertain) await checkShaders(run, { rounds, seed }, verdict, progress);
  progress("planted faults");
  return { verdict, planted: await plant(faulty, seed) };
}

/** Compares rules in WGSL with their twins, and looks whether those with a fault are found. */
async function checkShaders(
  run: DeviceRun,
  form: PurityForm,
  verdict: PurityVerdict,
  progress: (text: string) => void,
): Promise<void> {
  for (const subject of SHADERS) {
    progress(`rule ${subject.name}`);
    await checkShader(run, subject, form, verdict);
  }
  for (const { finds, ...subject } of WRONG_SHADERS) {
    progress(`rule ${subject.name}`);
    const found = newVerdict();
    await checkShader(run, subject, { ...form, rounds: ROUNDS_PLANTED }, found);
    const isFound = found.found.some((text) => finds.test(text));
    expect(`${subject.name} was not found: ${found.found.join(", ")}`, isFound, verdict);
  }
}

/** Runs a rule in WGSL on the GPU, again, among other pages, and its twin on the CPU. */
async function checkShader(
  run: DeviceRun,
  subject: PuritySubject,
  form: PurityForm,
  verdict: PurityVerdict,
): Promise<void> {
  const { name } = subject, onGpu = { ...form, device: "gpu" } as const;
  try {
    const expected = await runSubject(subject, { ...form, device: "cpu" });
    const compare = async (what: string, form: PurityForm) => {
      const before = run.counts.rules;
      compareAll(`${name}, ${what}`, expected, await runSubject(subject, form), verdict);
      expect(`${name}, ${what}: it never ran there`, run.counts.rules > before, verdict);
      verdict.shaders += run.counts.rules - before;
    };
    await compare("on the GPU", onGpu);
    await compare("on the GPU again", onGpu);
    await compare("on the GPU after unrelated work", { ...onGpu, unrelated: true });
    expect(`${name} has the same output in all rounds`, new Set(expected).size > 1, verdict);
  } catch (error) {
    if (!isMmsbError(error)) throw error;
    expect(`${name}: ${error.message}`, false, verdict);
  }
}

/** Looks whether each of the faulty is found, and by what it did. */
async function plant(rules: readonly PlantedRule[], seed: number): Promise<PlantedResult[]> {
  const form = { rounds: ROUNDS_PLANTED, seed }, planted: PlantedResult[] = [];
  const note = (id: string, finds: RegExp, { found }: PurityVerdict) => {
    planted.push({ id, found: found.some((text) => finds.test(text)) });
  };
  const loaded = rules.filter((rule) => rule.export !== undefined).map(({ name }) => name);
  const elsewhere = await runElsewhere({ rules: loaded, ...form });
  try {
    plantGlobal();
    for (const subject of rules) {
      const verdict = newVerdict();
      await checkRule(subject, form, elsewhere, verdict);
      note(subject.id, subject.finds, verdict);
    }
  } finally {
    cleanGlobals();
  }
  const column = columnOf(SEMIRINGS[0], seed);
  for (const { id, ring, finds } of plantedSemirings(column)) {
    const verdict = newVerdict();
    checkRing(ring, column, verdict);
    note(id, finds, verdict);
  }
  return planted;
}

function newVerdict(): PurityVerdict {
  return { compared: 0, agreed: 0, found: [], effects: 0, runs: 0, incremental: 0, shaders: 0 };
}

/** Runs a rule in all forms that it can be had in. */
async function checkRule(
  subject: PuritySubject,
  form: PurityForm,
  elsewhere: PurityAnswer,
  verdict: PurityVerdict,
): Promise<void> {
  const { name } = subject, watch = new SideEffectWatch(), watched = { ...form, watch };
  const hasChanges = subject.rule({ stranger: NONE, input: NONE }).fromDeltas !== undefined;
  try {
    const expected = await runSubject(subject, watched);
    const compare = (what: string, outputs: readonly string[] | undefined) =>
      compareAll(`${name}, ${what}`, expected, outputs ?? [], verdict);
    for (let time = 1; time <= AGAIN; time++) {
      compare("again", await runSubject(subject, watched));
    }
    compare("after unrelated work", await runSubject(subject, { ...watched, unrelated: true }));
    if (hasChanges) {
      compare("in full", await runSubject(subject, { ...watched, full: true }));
      expect(`${name} never did with changes`, watch.incremental > 0, verdict);
    }
    if (subject.export !== undefined) {
      compare("in another thread", elsewhere.outputs[name]);
      compare("with workers", await runSubject(subject, { ...form, workers: WORKERS }));
    }
    expect(`${name} has the same output in all rounds`, new Set(expected).size > 1, verdict);
  } catch (error) {
    if (!isMmsbError(error)) throw error;
    expect(`${name}: ${error.message}`, false, verdict);
  }
  verdict.effects += watch.effects.length;
  verdict.found.push(...[...new Set(watch.effects)].map((effect) => `${name}: ${effect}`));
  verdict.runs += watch.runs;
  verdict.incremental += watch.incremental;
}

const NONE = new Uint8Array(64);

function compareAll(
  what: string,
  expected: readonly string[],
  outputs: readonly string[],
  verdict: PurityVerdict,
): void {
  let wrong = 0;
  expected.forEach((output, round) => {
    verdict.compared++;
    if (output === outputs[round]) verdict.agreed++;
    else wrong++;
  });
  if (wrong > 0) verdict.found.push(`${what}: ${wrong} of ${expected.length} results differ`);
}

function expect(what: string, holds: boolean, verdict: PurityVerdict): void {
  verdict.compared++;
  if (holds) verdict.agreed++;
  else verdict.found.push(what);
}

/** Folds a column again and again, in parts, in another thread; and asks for the laws. */
function checkRing(
  ring: Semiring,
  column: Float64Array,
  verdict: PurityVerdict,
  elsewhere?: PurityAnswer,
): void {
  const before = column.slice(), { name } = ring, expected = foldText(ring, column);
  for (let time = 1; time <= AGAIN; time++) {
    expect(`${name}: folded again it differs`, foldText(ring, column) === expected, verdict);
  }
  const parts = foldTextInParts(ring, column);
  expect(`${name}: folded in parts it differs`, parts === expected, verdict);
  if (elsewhere !== undefined) {
    const isSame = elsewhere.folds[name] === expected;
    expect(`${name}: folded in another thread it differs`, isSame, verdict);
  }
  const law = brokenLaw(ring);
  expect(`${name}: ${law}`, law === undefined, verdict);
  if (column.every((value, i) => value === before[i])) return;
  verdict.effects++;
  verdict.found.push(`${name}: its column was written`);
}

/** The figures of an outcome. */
export function purityMetrics({ verdict, planted }: PurityOutcome): Record<string, number> {
  const found = planted.filter(({ found }) => found).length;
  return {
    sideEffects: verdict.effects,
    agreePercent: 100 * verdict.agreed / verdict.compared,
    plantedFound: 100 * found / planted.length,
  };
}

function shaderNotes({ shaders }: PurityVerdict): string[] {
  if (shaders === 0) return [];
  return [
    `${SHADERS.length} rules in WGSL ran ${
      text(shaders)
    } times on the GPU and gave what their twins on the CPU gave, byte for byte, or are named below; ${WRONG_SHADERS.length} with a fault were to be found`,
  ];
}

function notesOf({ verdict, planted }: PurityOutcome): string[] {
  return [
    `${text(PURE.length)} rules over pages and a table (${text(verdict.runs)} runs watched, ${
      text(verdict.incremental)
    } of them from changes) and ${text(SEMIRINGS.length)} semirings; ${
      text(verdict.compared)
    } results compared: ${AGAIN} times again, after unrelated work, in full, in another thread, on a bus with ${WORKERS} workers`,
    "around each run the bytes of all pages but its outputs were compared, its parameters and globals; clocks and chance were listened to",
    ...shaderNotes(verdict),
    ...plantedNotes(planted),
    ...verdict.found.slice(0, 5),
  ];
}
