/**
 * GPU rules: the rules of a level that have a shader run on the device, while this thread runs the others.
 *
 * All shaders of a level are one job for the GPU thread, or a few where they write much. It reads the pages and writes into
 * memory of its own; what comes back is put into the pages here, in the order of the queue, with the old words in the
 * change log: waves, log, history and taking a tick back see writes as of any rule. So nothing is lost with a device:
 * whatever fails there, the twins of its rules run instead, and the tick goes on.
 *
 * In the first run of a rule on a device, and in others if it asks for that, its twin computes the first step too, and the
 * two must agree.
 *
 * Cost: some 50 µs a level for the round trip, changed ranges of inputs up, written pages down, 2 to 5 ns a word
 * for putting them.
 *
 * @module
 */

import { isMmsbError, type MmsbError } from "../../base/mod.ts";
import type { GpuThread, JobTicket } from "../../physical/gpu/gpu_thread.ts";
import type { PageLocations } from "../../physical/gpu/page_locations.ts";
import { RULE_JOB } from "../../physical/gpu/job_ops.ts";
import type { PageStore } from "../../physical/mod.ts";
import type { BoundRule, BoundRuleParts } from "../bound_rule.ts";
import type { ChangeLog } from "../change_log.ts";
import type { Firing } from "../firing.ts";
import { PLACE_WORDS, type RuleProgram } from "../program.ts";
import type { Rule } from "../rule.ts";
import { isTableRoot } from "../table_region.ts";
import type { LevelHelpers } from "../waves.ts";
import { orderTouched, type RunFailure, runOthers, type ShaderLevel } from "./_level_others.ts";
import { LevelRuns } from "./_level_runs.ts";
import { type RulePlan, RulePlans } from "./_rule_plans.ts";
import type { RuleDevice } from "./rule_shader.ts";
import type { PageCounts } from "./shader_layout.ts";

/** What the rules of a bus need of its device. */
export interface GpuRulesParts {
  /** The GPU thread. */
  readonly thread: GpuThread;
  /** The number by which it knows the pages. */
  readonly arena: number;
  /** Which pages have copies on the device. */
  readonly locations: PageLocations;
  /** `gpu`: every shader runs there. `auto`: those that are worth it. */
  readonly mode: "gpu" | "auto";
  /** Who runs rules without a shader, if not this thread alone. */
  readonly next?: LevelHelpers | undefined;
  /** Whether rules from modules have a time limit, which only threads of their own can keep: twins run on this one. */
  readonly limitsModules?: boolean;
}

/** What was run on the device. */
export interface GpuRulesStatistics {
  /** Runs of rules. */
  readonly runs: number;
  /** Steps of those. */
  readonly steps: number;
  /** Runs that were checked against the twin. */
  readonly checks: number;
  /** Runs of twins in the place of shaders whose device failed. */
  readonly twins: number;
  /** Bytes of pages that went to the device. */
  readonly uploadedBytes: number;
  /** Bytes that came back. */
  readonly readBytes: number;
}

/** Runs rules on a device. */
export class GpuRules implements LevelHelpers {
  readonly #store: PageStore;
  readonly #parts: GpuRulesParts;
  readonly #plans: RulePlans;
  readonly #counts = { runs: 0, steps: 0, checks: 0, twins: 0, uploadedBytes: 0, readBytes: 0 };
  #program: RuleProgram | undefined;
  /** Plans of the program's rules, by index. */
  #planOf: (RulePlan | undefined)[] = [];
  #hasShaders = false;
  #isClosed = false;

  /** Compiles nothing before a rule is bound. */
  constructor(store: PageStore, parts: GpuRulesParts) {
    this.#store = store;
    this.#parts = parts;
    this.#plans = new RulePlans(parts.thread, parts.mode);
  }

  /**
   * Has a rule's shader compiled, where it is to be run.
   *
   * @returns Settles when that is done; `undefined` where there is nothing to wait for.
   * @throws {MmsbError} `usage` where the shader names pages or parameters that the binding has not; the promise rejects where
   * it does not compile, or needs more than the device has.
   */
  prepare(name: string, rule: Rule, counts: PageCounts): Promise<void> | undefined {
    return this.#isClosed ? undefined : this.#plans.prepare(name, rule, counts);
  }

  /** Where a rule runs, and why. */
  deviceOf(rule: BoundRule): RuleDevice {
    const plan = this.#isClosed ? undefined : this.#plans.of(rule);
    if (plan === undefined) return { on: "cpu", reason: "it has no shader" };
    const found = this.#plans.deviceOf(plan);
    const refusal = found.on === "cpu"
      ? undefined
      : this.#isLimited(rule)
      ? "ruleTimeoutMs is given: rules from modules run on threads, which can be ended"
      : pageRefusal(this.#store, rule.parts);
    return refusal === undefined ? found : { on: "cpu", reason: refusal };
  }

  /** What was run on the device so far. */
  statistics(): GpuRulesStatistics {
    return { ...this.#counts };
  }

  /** {@inheritDoc LevelHelpers.run} */
  run(program: RuleProgram, log: ChangeLog, firing: Firing, start: number, end: number): boolean {
    const { next, thread } = this.#parts;
    if (!this.#isClosed && thread.isReady) {
      if (this.#program !== program) this.#adopt(program);
      const places = this.#hasShaders ? this.#choose(program, start, end) : [];
      if (places.length > 0) {
        this.#runLevel({ program, log, firing, start, end, places });
        return true;
      }
    }
    return next?.run(program, log, firing, start, end) ?? false;
  }

  /** Ends it; rules run their twins from here on. A second call does nothing more. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#planOf = [];
    this.#program = undefined;
    await this.#plans.close();
  }

  /** Finds the rules of a program that have a shader, read no table and have no time limit. */
  #adopt(program: RuleProgram): void {
    const { rules, tables, image } = program;
    this.#program = program;
    this.#planOf = [];
    this.#hasShaders = false;
    for (let index = 1; index < rules.length; index++) {
      const plan = this.#plans.of(rules[index]);
      if (plan?.code === undefined || this.#isLimited(rules[index])) continue;
      let readsTable = false;
      for (let at = program.inputStart(index); at < program.inputEnd(index); at += PLACE_WORDS) {
        if (tables.has(image[at])) readsTable = true;
      }
      if (readsTable) continue;
      this.#planOf[index] = plan;
      this.#hasShaders = true;
    }
  }

  /** Whether a rule may have to be ended. */
  #isLimited({ parts: { module } }: BoundRule): boolean {
    return this.#parts.limitsModules === true && module !== undefined && module !== null;
  }

  /** Places in the queue of the rules that the device runs. */
  #choose(program: RuleProgram, start: number, end: number): number[] {
    const { image } = program, places: number[] = [];
    for (let place = start; place < end; place++) {
      const plan = this.#planOf[image[place]];
      if (plan === undefined || !this.#plans.canRun(plan)) continue;
      if (hasWords(program, image[place])) places.push(place);
    }
    return places;
  }

  #runLevel(level: ShaderLevel): void {
    const { log, firing } = level, before = log.count;
    const runs = new LevelRuns(this.#store, this.#parts, level, this.#planOf, this.#counts);
    let ticket = this.#begin(runs, 0), failure: RunFailure | undefined;
    try {
      runs.runTwins(0);
      failure = runOthers(level, this.#parts.next);
      for (let job = 0; job < runs.jobs; job++) {
        if (job > 0) {
          ticket = this.#begin(runs, job);
          runs.runTwins(job);
        }
        const ending = ticket;
        ticket = undefined;
        const failed = this.#end(runs, job, ending);
        if (failed !== undefined && failed.place < (failure?.place ?? Infinity)) failure = failed;
      }
    } finally {
      if (ticket !== undefined) this.#parts.thread.discard(ticket);
      // What is thrown from here on is said of others.
      firing.at = 0;
    }
    if (failure !== undefined) throw failure.error;
    orderTouched(level, before);
  }

  /** Begins a job; `undefined` where that cannot be, and the twins are to run. */
  #begin(runs: LevelRuns, job: number): JobTicket | undefined {
    try {
      return this.#parts.thread.begin(RULE_JOB, (writer) => runs.write(job, writer));
    } catch (error) {
      if (!isMmsbError(error)) throw error;
      runs.fail(job, error);
      return undefined;
    }
  }

  /** Ends a job: what it has written is in the pages then, or what the twins have. */
  #end(
    runs: LevelRuns,
    job: number,
    ticket: JobTicket | undefined,
  ): RunFailure | undefined {
    if (ticket === undefined) return runs.runOnCpu(job);
    let hasResult = false;
    try {
      return this.#parts.thread.end(ticket, (result) => {
        hasResult = true;
        return runs.put(job, result);
      });
    } catch (error) {
      if (hasResult || !isMmsbError(error)) throw error;
      runs.fail(job, error as MmsbError);
      return runs.runOnCpu(job);
    }
  }
}

/** Why the pages of a rule are none for a shader, if they are not. */
function pageRefusal(store: PageStore, parts: BoundRuleParts): string | undefined {
  const { inputIds, outputIds, stateIds } = parts, { table } = store;
  for (const page of inputIds) {
    if (isTableRoot(store, page)) return `input ${page} is a table, which a shader cannot read`;
  }
  for (const page of [...inputIds, ...outputIds, ...stateIds]) {
    const row = table.rowOf(page), bytes = row === 0 ? 0 : table.sizeOf(row);
    if (bytes % 4 !== 0) return `page ${page} has ${bytes} bytes, which are no whole words`;
  }
  return undefined;
}

/** Whether all pages of a rule are whole words. */
function hasWords(program: RuleProgram, rule: number): boolean {
  const { image } = program;
  let or = 0;
  for (let at = program.inputStart(rule); at < program.inputEnd(rule); at += PLACE_WORDS) {
    or |= image[at + 2];
  }
  for (let at = program.writtenStart(rule); at < program.writtenEnd(rule); at += PLACE_WORDS) {
    or |= image[at + 2];
  }
  return (or & 3) === 0;
}
