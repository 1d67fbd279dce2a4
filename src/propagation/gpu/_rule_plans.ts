/**
 * Rule plans: for each rule with a shader whether it runs on the device, and if not, why.
 *
 * Shaders are compiled by the GPU thread, once for each text, and again for each new device; a rule without a compiled
 * shader runs its twin. What decides is known when the rule is bound (the mode, the adapter, the number of
 * invocations), so that the same program takes the same way each time, but for what fails on the way.
 *
 * Cost: a compilation a text, 1 to 100 ms; a look at each rule whenever rules or edges have changed.
 */

import { isMmsbError, MmsbError, reasonOf } from "../../base/mod.ts";
import type { GpuThread } from "../../physical/gpu/gpu_thread.ts";
import type { RuleAsk } from "../../physical/gpu/rule_job.ts";
import type { BoundRule, BoundRuleParts } from "../bound_rule.ts";
import { type RuleTwins, twinsOf } from "../rule.ts";
import type { Rule } from "../rule.ts";
import type { CheckedShader, RuleDevice } from "./rule_shader.ts";
import { layShader, type PageCounts, paramWords, type ShaderLayout } from "./shader_layout.ts";

/** Invocations of a run, all steps together, from which on `auto` takes the device. */
export const SHADER_RUN_MIN = 131_072;
/** Devices that are lost in a row by a shader before it is left alone: some drivers lose theirs by one that they cannot do. */
export const SHADER_LOSSES_MAX = 3;

/** A text that was given to the compiler. */
export interface ShaderCode {
  /** The number that jobs call it by. */
  readonly number: number;
  /** What the compiler is given. */
  readonly ask: RuleAsk;
  /** Whether it can be run, is being compiled, or cannot be. */
  state: "compiling" | "ready" | "refused";
  /** Why it cannot be run. */
  error: MmsbError | undefined;
  /** Times in a row that the device was lost while this was compiled, or run. */
  losses: number;
  /** Settles with the compiler. */
  done: Promise<void>;
}

/** A rule with a shader, as it is run. */
export interface RulePlan {
  /** Both forms. */
  readonly twins: RuleTwins;
  /** What is bound where. */
  readonly layout: ShaderLayout;
  /** Its parameters. */
  readonly params: Int32Array;
  /** The shader, where it is worth a device. */
  readonly code: ShaderCode | undefined;
  /** Why it runs where it does, where that does not change. */
  readonly reason: string;
  /** Why it is not run on the device any more, if it is not. */
  failure: string | undefined;
  /** The device on which a failure holds; 0: on all. */
  failedOn: number;
  /** Runs on the device. */
  runs: number;
  /** The device on which its first run was checked against the twin. */
  checkedOn: number;
  /** For each page that it writes the blocks that changed lately. */
  readonly changed: number[];
}

/** Numbers of shaders; buses of one thread share its GPU thread. */
let nextNumber = 1;

/** Plans of one bus. */
export class RulePlans {
  readonly #thread: GpuThread;
  readonly #mode: "gpu" | "auto";
  /** By text and entry. */
  readonly #codes = new Map<string, ShaderCode>();
  readonly #plans = new WeakMap<BoundRule, RulePlan>();
  readonly #busy = new Set<Promise<void>>();

  /** For rules that may run on a thread's device. */
  constructor(thread: GpuThread, mode: "gpu" | "auto") {
    this.#thread = thread;
    this.#mode = mode;
  }

  /**
   * Has a rule's shader compiled, where it is to be run.
   *
   * @returns Settles when that is done; `undefined` where there is nothing to wait for.
   * @throws {MmsbError} `usage` where the shader names pages or parameters that the binding has not; the promise rejects where
   * it does not compile, or needs more than the device has.
   */
  prepare(name: string, rule: Rule, counts: PageCounts): Promise<void> | undefined {
    const twins = twinsOf(rule);
    if (twins === undefined) return undefined;
    const layout = layShader(name, twins.shader, counts);
    const code = this.#codeOf(name, twins.shader, layout);
    if (code === undefined) return undefined;
    return code.done.then(() => {
      if (isOfShader(code.error)) throw code.error;
    });
  }

  /** The plan of a rule that is bound; `undefined` where it has no shader. */
  of(bound: BoundRule): RulePlan | undefined {
    if (bound.rule?.wgsl === undefined) return undefined;
    const known = this.#plans.get(bound);
    if (known !== undefined) return known;
    const twins = twinsOf(bound.rule);
    if (twins === undefined) return undefined;
    const { name, params } = bound.parts, { shader } = twins;
    const layout = layShader(name, shader, countsOf(bound.parts));
    const plan: RulePlan = {
      twins,
      layout,
      params: paramWords(name, shader, params),
      code: this.#codeOf(name, shader, layout),
      reason: this.#reasonOf(shader),
      failure: undefined,
      failedOn: 0,
      runs: 0,
      checkedOn: 0,
      changed: [],
    };
    this.#plans.set(bound, plan);
    return plan;
  }

  /** Where a rule runs now. */
  deviceOf(plan: RulePlan): RuleDevice {
    const { status } = this.#thread, { code, failure, failedOn, reason } = plan;
    const cpu = (reason: string): RuleDevice => ({ on: "cpu", reason });
    if (code === undefined) return cpu(reason);
    if (failure !== undefined && (failedOn === 0 || failedOn === status.generation)) {
      return cpu(failure);
    }
    if (code.losses >= SHADER_LOSSES_MAX) {
      return cpu(`the device was lost ${code.losses} times in a row while it compiled or ran this`);
    }
    if (status.state !== "ready") return cpu(status.reason || `the device is ${status.state}`);
    if (code.error !== undefined) return cpu(code.error.message);
    if (code.state === "compiling") return cpu("its shader is being compiled");
    return { on: "gpu", reason };
  }

  /** Whether a rule can be run on the device now. */
  canRun({ code, failure, failedOn }: RulePlan): boolean {
    if (code === undefined) return false;
    // A device that was not there is there now.
    if (isOpen(code)) this.#compile(code);
    if (code.state !== "ready" || code.losses >= SHADER_LOSSES_MAX) return false;
    return failure === undefined || failedOn !== 0 && failedOn !== this.#thread.generation;
  }

  /** Has nobody compile the shaders any more. */
  async close(): Promise<void> {
    const numbers = [...this.#codes.values()].map(({ number }) => number);
    for (const number of numbers) this.#thread.drop(keyOf(number));
    this.#codes.clear();
    if (numbers.length === 0 || !this.#thread.isReady) return;
    // The device is used by others, who have no use for them.
    const ended = this.#thread.ask({ kind: "rule-end", numbers }).catch(() => {});
    // A compiler may take minutes, and cannot be interrupted: the answer comes behind it, or never.
    if (this.#busy.size === 0) await ended;
  }

  /** The code of a shader that is worth a device, which is compiled if nobody has asked for that. */
  #codeOf(name: string, shader: CheckedShader, layout: ShaderLayout): ShaderCode | undefined {
    if (!this.#isWorth(shader)) return undefined;
    const key = `${shader.entry} ${layout.text}`;
    let code = this.#codes.get(key);
    if (code === undefined) {
      const number = nextNumber++, ask = askOf(number, name, shader, layout);
      code = { number, ask, state: "refused", error: undefined, losses: 0, done: NOTHING };
      this.#codes.set(key, code);
    }
    if (isOpen(code)) this.#compile(code);
    return code;
  }

  #compile(code: ShaderCode): void {
    const { label } = code.ask;
    code.state = "compiling";
    code.error = undefined;
    const done: Promise<void> = this.#thread.keep(keyOf(code.number), code.ask).then(
      () => {
        code.state = "ready";
      },
      (error) => {
        code.state = "refused";
        if (isMmsbError(error) && error.values.isLost === true) code.losses++;
        code.error = isMmsbError(error)
          ? error
          : new MmsbError("gpu", `Cannot compile shader "${label}": ${reasonOf(error)}`, {
            cause: error,
          });
      },
    ).finally(() => this.#busy.delete(done));
    code.done = done;
    this.#busy.add(done);
  }

  #isWorth({ threads: [x, y, z], steps }: CheckedShader): boolean {
    if (this.#mode === "gpu") return true;
    return !this.#isSoftware && x * y * z * steps >= SHADER_RUN_MIN;
  }

  #reasonOf(shader: CheckedShader): string {
    if (this.#mode === "gpu") return 'the bus was opened with device "gpu"';
    if (this.#isSoftware) return 'the adapter is software, which device "auto" does not use';
    const [x, y, z] = shader.threads, count = x * y * z * shader.steps;
    return `${count} invocations a run, and device "auto" takes ${SHADER_RUN_MIN} and more`;
  }

  get #isSoftware(): boolean {
    return this.#thread.status.adapter?.isSoftware ?? false;
  }
}

const NOTHING: Promise<void> = Promise.resolve();

/** What a shader is kept by, for later devices. */
export function keyOf(number: number): string {
  return `rule ${number}`;
}

/** Whether another device may compile what one did not. */
function isOpen({ state, error, losses }: ShaderCode): boolean {
  return state === "refused" && losses < SHADER_LOSSES_MAX && !isOfShader(error);
}

/** Whether it is the shader that is wrong, and not the device. */
function isOfShader(error: MmsbError | undefined): error is MmsbError {
  return error?.code === "usage" || error?.code === "limit";
}

/** How many pages a binding has. */
export function countsOf(parts: BoundRuleParts): PageCounts {
  const { inputIds, outputIds, stateIds } = parts;
  return { inputs: inputIds.length, outputs: outputIds.length, state: stateIds.length };
}

function askOf(
  number: number,
  label: string,
  { entry, workgroup, groups, names }: CheckedShader,
  { text, lines, places, tick, params }: ShaderLayout,
): RuleAsk {
  const access: ("read" | "write" | "uniform")[] = places.map(({ role }) =>
    role === "output" || role === "state" ? "write" : "read"
  );
  // What nobody writes is its own copy.
  const copyOf = places.map(({ role, index }) =>
    role === "previous" && names.has(`output${index}`)
      ? places.findIndex((place) => place.role === "output" && place.index === index)
      : -1
  );
  if (tick >= 0) access.push("uniform");
  if (params >= 0) access.push("uniform");
  return {
    kind: "rule",
    number,
    label,
    text,
    lines,
    entry,
    access,
    copyOf,
    tick,
    params,
    workgroup: [...workgroup],
    groups: [...groups],
  };
}
