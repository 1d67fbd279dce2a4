/**
 * Checks a user's rules against what their log says that they computed.
 *
 * Each rule that is bound now computes in full over the stored inputs and must write what is stored; where it does not,
 * as a rule may read its own output, the last tick that it wrote in is done again. And some ticks are done again for all
 * rules: in full, several times, with unrelated work in between, and from the changes. What differs is told by rule,
 * page and tick.
 *
 * Cost: a pass over the log, the replay of two states for each tick that is done again, and the runs.
 */

import { createHash } from "node:crypto";
import { equalBytes, MmsbError } from "../base/mod.ts";
import { decodeBinding, type Storage } from "../log/mod.ts";
import type { PageStore, RuleBinding } from "../physical/mod.ts";
import { isRule, type Rule } from "../propagation/mod.ts";
import { OwnFiring, type OwnRule, type OwnRun } from "./_own_firing.ts";
import { compareOnDevice, type DeviceVerdict } from "./_own_device.ts";
import { ruleTicks, stateAt } from "./_own_ticks.ts";
import { runAround } from "./device_run.ts";
import type { GivenRules } from "./validator.ts";

/** How much is to be done. */
export interface RulesPlan {
  /** Last tick of the log that counts. */
  readonly tickMax: number;
  /** Seed of what is chosen by chance. */
  readonly seed: number;
  /** How often each rule runs on the same inputs. */
  readonly runs: number;
  /** Ticks that are done again for all rules. */
  readonly ticks: number;
}

/** What was found; plain data, so that it can come from another thread. */
export interface RulesVerdict {
  /** Rules that the directory has bound. */
  bound: number;
  /** Those that were checked. */
  checked: number;
  /** Names of those that no code was given for. */
  readonly notGiven: string[];
  /** Those whose code has another version, in words. */
  readonly otherVersion: string[];
  /** Names of those whose outputs are stale, as the log says itself. */
  readonly stale: string[];
  /** Rules that were given and are not bound. */
  readonly unused: string[];
  /** Names of those that read what they write and of which no tick could be done again. */
  readonly unjudged: string[];
  /** Results that were compared. */
  compared: number;
  /** Those that agreed. */
  agreed: number;
  /** Runs from changes. */
  incremental: number;
  /** What did not agree, and what was done beside the work, in words. */
  readonly found: string[];
  /** Things done beside the work. */
  effects: number;
  /** Ticks that were done again, of how many in which rules wrote. */
  readonly again: number[];
  ticks: number;
  /** SHA-256 over all that came out, to compare threads by. */
  digest: string;
}

/** Told what is being done; the name of a rule while it runs. */
export type Tell = (text: string, rule?: string) => void;

/** Ticks that are done again for rules that read what they write. */
const AGAIN_MAX = 8;
/** Things found that are told. */
const FOUND_MAX = 20;

/** What a module gives: rules by the names of its exports, and by the names that they are bound by. */
export interface OwnModule {
  /** By name of the export. */
  readonly exported: GivenRules;
  /** By name of the rule; they come first. */
  readonly named: GivenRules;
}

/** The name by which the code for a stored binding is given, if it is: the rule's own, or that of its export. */
function nameOf({ name, payload }: RuleBinding, { named }: OwnModule): string {
  if (Object.hasOwn(named, name)) return name;
  const { module, export: key } = decodeBinding(payload);
  return module === null ? name : key;
}

/** The code for a stored binding, if it is given. */
function codeFor(binding: RuleBinding, given: OwnModule): Rule | undefined {
  const { exported, named } = given, own = nameOf(binding, given);
  if (Object.hasOwn(named, own)) return named[own];
  return Object.hasOwn(exported, own) ? exported[own] : undefined;
}

/** Checks rules. */
export function checkRules(
  storage: Storage,
  given: OwnModule,
  plan: RulesPlan,
  tell: Tell,
): RulesVerdict {
  return new RuleCheck(storage, given, plan, tell).run();
}

/**
 * Compares the rules in WGSL that are bound after the last tick with their twins, on the device of the run around the
 * caller; nothing where there is none.
 */
export async function checkOnDevice(
  storage: Storage,
  given: OwnModule,
  tickMax: number,
  tell: Tell,
): Promise<DeviceVerdict | undefined> {
  if (runAround()?.isCertain !== true) return undefined;
  const store = stateAt(storage, tickMax);
  const rules = store.bindings.list().flatMap((binding) => {
    const code = codeFor(binding, given);
    return code?.version === binding.version ? [{ binding, code }] : [];
  });
  return await compareOnDevice(store, rules, tell);
}

class RuleCheck {
  readonly #storage: Storage;
  readonly #given: OwnModule;
  readonly #plan: RulesPlan;
  readonly #tell: Tell;
  readonly #hash = createHash("sha256");
  readonly #verdict: RulesVerdict = {
    bound: 0,
    checked: 0,
    notGiven: [],
    otherVersion: [],
    stale: [],
    unused: [],
    unjudged: [],
    compared: 0,
    agreed: 0,
    incremental: 0,
    found: [],
    effects: 0,
    again: [],
    ticks: 0,
    digest: "",
  };

  constructor(storage: Storage, given: OwnModule, plan: RulesPlan, tell: Tell) {
    this.#storage = storage;
    this.#given = given;
    this.#plan = plan;
    this.#tell = tell;
  }

  run(): RulesVerdict {
    const { tickMax, seed, ticks: sample } = this.#plan, verdict = this.#verdict;
    const ticks = ruleTicks(this.#storage, { tickMax, seed, sample, progress: this.#tell });
    verdict.ticks = ticks.derived;
    const store = stateAt(this.#storage, tickMax);
    const rules = this.#match(store);
    verdict.checked = rules.length;
    if (rules.length > 0) {
      const later = this.#now(store, rules, ticks.last);
      const again = new Map<number, Set<string> | undefined>(
        ticks.sample.map((tick) => [tick, undefined]),
      );
      for (const { binding } of later) {
        const tick = ticks.lastOf.get(binding.number);
        const isThere = tick !== undefined && tick - 1 >= ticks.horizon;
        const isFull = again.size >= this.#plan.ticks + AGAIN_MAX;
        if (!isThere || !again.has(tick) && isFull) verdict.unjudged.push(binding.name);
        else if (!again.has(tick)) again.set(tick, new Set([binding.name]));
        else again.get(tick)?.add(binding.name);
      }
      for (const [tick, names] of [...again].sort(([a], [b]) => a - b)) this.#again(tick, names);
    }
    verdict.digest = this.#hash.digest("hex");
    return verdict;
  }

  /** The rules that are bound and given, with the same version. */
  #match(store: PageStore): OwnRule[] {
    const verdict = this.#verdict, rules: OwnRule[] = [], used = new Set<string>();
    for (const binding of store.bindings.list()) {
      verdict.bound++;
      const code = codeFor(binding, this.#given), { name, version } = binding;
      if (code === undefined) {
        verdict.notGiven.push(name);
        continue;
      }
      used.add(nameOf(binding, this.#given));
      if (code.version === version) rules.push({ binding, code });
      else {verdict.otherVersion.push(
          `"${name}": version ${code.version} is given, ${version} is bound`,
        );}
    }
    const { named, exported } = this.#given;
    for (const name of new Set([...Object.keys(named), ...Object.keys(exported)])) {
      if (!used.has(name)) verdict.unused.push(name);
    }
    return rules;
  }

  /** All rules over the last state; gives those that did not write what stands there. */
  #now(store: PageStore, rules: readonly OwnRule[], tick: number): OwnRule[] {
    const firing = new OwnFiring(store, rules, tick), later: OwnRule[] = [];
    for (const [index, rule] of rules.entries()) {
      const { name } = rule.binding;
      if (firing.isStale(index)) {
        this.#verdict.stale.push(name);
        continue;
      }
      this.#tell(`rule ${index + 1} of ${rules.length}`, name);
      const runs = this.#runs(() => firing.now(index));
      if (runs.some(({ failure }) => failure !== undefined)) {
        this.#compare(rule, tick, runs, firing);
      } else if (!this.#isSame(rule, tick, runs)) continue;
      else if (firing.isStored(rule, runs[0].outputs!)) this.#compare(rule, tick, runs, firing);
      else later.push(rule);
    }
    this.#heed(firing);
    return later;
  }

  /** Does a tick again, for all rules or some. */
  #again(tick: number, names: ReadonlySet<string> | undefined): void {
    this.#tell(`doing tick ${tick} again`);
    const before = stateAt(this.#storage, tick - 1), after = stateAt(this.#storage, tick);
    const rules = after.bindings.list().flatMap((binding) => {
      const code = codeFor(binding, this.#given);
      const isAsked = names === undefined || names.has(binding.name);
      return code?.version === binding.version && isAsked ? [{ binding, code }] : [];
    });
    const firing = new OwnFiring(after, rules, tick);
    this.#verdict.again.push(tick);
    for (const [index, rule] of rules.entries()) {
      const { number, name } = rule.binding;
      if (firing.isStale(index)) continue;
      const wasBound = before.bindings.get(number) !== undefined;
      if (wasBound && !firing.hasChanges(index, before) && names === undefined) continue;
      this.#tell(`doing tick ${tick} again`, name);
      const runs = this.#runs(() => firing.again(index, before, true));
      if (runs.length === 0) continue;
      this.#compare(rule, tick, runs, firing);
      const isImmediate = decodeBinding(rule.binding.payload).mode.startsWith("immediate");
      if (!wasBound || !isImmediate || !firing.isIncremental(index)) continue;
      if (!firing.hasChanges(index, before)) continue;
      const fromChanges = this.#runs(() => firing.again(index, before, false));
      this.#verdict.incremental += fromChanges.length;
      this.#compare(rule, tick, fromChanges, firing, "from changes ");
    }
    this.#heed(firing);
  }

  /** Runs a few times, with other work in between. */
  #runs(run: () => OwnRun | undefined): OwnRun[] {
    const runs: OwnRun[] = [];
    for (let time = 0; time < this.#plan.runs; time++) {
      const one = run();
      if (one === undefined) return [];
      runs.push(one);
      // Objects of other shapes, and a collection now and then.
      Array.from({ length: 200 }, (_, i) => ({ [`k${(i + time) % 7}`]: i }));
    }
    return runs;
  }

  /** Whether all runs came to the same; if not, that is told. */
  #isSame(rule: OwnRule, tick: number, runs: readonly OwnRun[], how = ""): boolean {
    const differ = runs.findIndex(({ outputs }) => !equalBytes(outputs!, runs[0].outputs!));
    if (differ < 0) return true;
    this.#verdict.compared += runs.length;
    this.#verdict.agreed += differ;
    this.#find(rule, tick, `${how}run again on the same inputs it writes something else`);
    return false;
  }

  #compare(
    rule: OwnRule,
    tick: number,
    runs: readonly OwnRun[],
    firing: OwnFiring,
    how = "",
  ): void {
    const verdict = this.#verdict, [{ failure }] = runs;
    const failed = runs.find((run) => run.failure !== undefined);
    if (failed !== undefined) {
      verdict.compared += runs.length;
      this.#find(rule, tick, `${how}it fails: ${failed.failure ?? failure}`);
      return;
    }
    if (!this.#isSame(rule, tick, runs, how)) return;
    verdict.compared += runs.length;
    const outputs = runs[0].outputs!;
    this.#hash.update(rule.binding.name).update(outputs);
    if (firing.isStored(rule, outputs)) {
      verdict.agreed += runs.length;
      return;
    }
    const stored = firing.storedBy(rule);
    const at = outputs.findIndex((byte, i) => byte !== stored[i]);
    this.#find(rule, tick, `${how}it computes other bytes than are stored, first at byte ${at}`);
  }

  #find({ binding: { name, page } }: OwnRule, tick: number, what: string): void {
    if (this.#verdict.found.length >= FOUND_MAX) return;
    this.#verdict.found.push(`rule "${name}" of page ${page}, tick ${tick}: ${what}`);
  }

  /** Takes note of what rules did beside their work. */
  #heed({ watch }: OwnFiring): void {
    this.#verdict.effects += watch.effects.length;
    for (const effect of new Set(watch.effects)) {
      const line = `a rule did something beside its work: ${effect}`;
      if (!this.#verdict.found.includes(line)) this.#verdict.found.push(line);
    }
  }
}

/**
 * Checks what a program gives as rules.
 *
 * @throws {MmsbError} `usage` where something is none.
 */
export function checkGiven(rules: unknown): GivenRules {
  if (typeof rules !== "object" || rules === null) {
    throw new MmsbError(
      "usage",
      "Cannot use the rules that are given: give an object, { name: rule }",
    );
  }
  for (const [name, rule] of Object.entries(rules)) {
    if (isRule(rule)) continue;
    throw new MmsbError(
      "usage",
      `Cannot use "${name}" as a rule: give what defineRule gives`,
      { values: { rule: name } },
    );
  }
  return rules as GivenRules;
}
