/**
 * Rules of a bus: binding them to pages, binding them again after an opening, and fresh pages.
 *
 * A binding is staged as everything else: the next tick makes it real, with the edges from its inputs to
 * its outputs, and runs the rule. Opening a directory runs no code: the rules bound there are detached, their
 * outputs readable, until a program binds them again by name. The same binding with the same version goes on
 * where it was and computes nothing, unless inputs have changed in between.
 */

import {
  checkInteger,
  checkIterable,
  checkKeys,
  checkOneOf,
  checkType,
  encodeUtf8,
  isMmsbError,
  MmsbError,
  NAME_BYTES_MAX,
  reasonOf,
} from "../base/mod.ts";
import { bindingOf, encodeBinding } from "../log/mod.ts";
import { MARK, type RuleBinding } from "../physical/mod.ts";
import {
  BoundRule,
  CHANGED,
  checkShaderBinding,
  defineRule,
  isRule,
  NEEDS_FULL,
  type Rule,
  type RuleDevice,
  type RuleMode,
  type RuleShader,
  type RuleWorkers,
  STALE,
  type Waves,
} from "../propagation/mod.ts";
import type { GpuRules } from "../propagation/gpu/mod.ts";
import { type Region, regionId } from "./_edges.ts";
import { stageMissingEdge, unbindStaged, unstage, writersOf } from "./_rule_edges.ts";
import { checkParams } from "./_rule_params.ts";
import { type Checked, detachedRule, MODES, modeText, partsOf } from "./_rule_text.ts";
import type { PageHost } from "./page.ts";
import { atomically } from "./staging.ts";

/** An input of a rule that is not to wake it: the rule reads it, and is stale when it changes. */
export interface ControlInput {
  /** The page, struct, table or id. */
  readonly region: Region;
  /** `control`: stale until read; `data`: as any input. */
  readonly edge: "data" | "control";
}

/** A rule: what `defineRule` made, a rule with a shader as it would be given to it, or the URL of a module. */
export type RuleCode = Rule | URL | string | ShaderRule;

/** A rule with a shader, written where it is bound. */
export type ShaderRule = Omit<Rule, "version"> & {
  /** Version of the code. Default 1. */
  readonly version?: number;
  /** The shader. */
  readonly wgsl: RuleShader;
};

/** What binds a rule to its pages. */
export interface RuleOptions {
  /** Name of the rule; no other rule of the directory has it. */
  readonly name: string;
  /** What it reads: pages, structs, tables, ids. */
  readonly inputs: Iterable<Region | ControlInput>;
  /** What it writes: pages, structs, ids; no other rule and nobody else writes them. */
  readonly outputs: Iterable<Region>;
  /** Pages that it keeps what it likes in; nobody else reads them. */
  readonly state?: Iterable<Region>;
  /** Parameters: what JSON can say. Default null. */
  readonly params?: unknown;
  /**
   * When it runs: `immediate` (default) in the tick that changes its inputs; `deferred` in the next tick, or when
   * asked by `page.fresh()`; `batch` in ticks whose number is a multiple of `every`. Until then its outputs are
   * stale.
   */
  readonly mode?: RuleMode;
  /** For `batch`. */
  readonly every?: number;
  /** Whether numbers that are not finite are refused where it writes them. Default false. */
  readonly finite?: boolean;
  /** Name under which a module exports the rule. Default `default`. */
  readonly export?: string;
  /**
   * Whether the rule takes the place of one of that name, if one is bound: all of it, or, where anything is refused,
   * nothing. Default false: two rules of one name are refused.
   */
  readonly replace?: boolean;
}

/** A rule that was bound. */
export interface RuleHandle {
  /** Its name. */
  readonly name: string;
  /** Its number in the directory; 0 until its module is loaded. */
  readonly number: number;
  /** Version of its code; 0 until its module is loaded. */
  readonly version: number;
  /** Runs that counted, since it was bound in this process. */
  readonly fired: number;
  /** Longest way from a page that no rule writes: 1 for rules over sources. */
  readonly level: number;
  /** Where it runs now, and why: its shader on the device, or `compute`. */
  readonly device: RuleDevice;
  /**
   * Settles when the code is there; rejects where its module has no such rule, or its shader does not compile: the rule is
   * bound then, and `compute` runs. Ticks wait for it.
   */
  readonly ready: Promise<void>;
  /**
   * Stages ending the binding; the outputs are pages as any other then.
   *
   * @throws {MmsbError} `invalid-handle` where it has ended, `closed`, `read-only`.
   */
  unbind(): void;
}

/** What of its bus binding needs. */
export interface RuleHost {
  /** The handles' host. */
  readonly host: PageHost;
  /** The waves. */
  readonly waves: Waves;
  /** Threads that run rules from modules, if there are any. */
  readonly workers?: RuleWorkers;
  /** What runs shaders of rules, if anything does. */
  readonly gpu?: GpuRules;
  /** Why nothing does. */
  readonly gpuReason?: string;
}

const KEYS = [
  "name",
  "inputs",
  "outputs",
  "state",
  "params",
  "mode",
  "every",
  "finite",
  "export",
  "replace",
];
const EVERY_MAX = 1_000_000;

/** The rules of one bus. */
export class Rules {
  readonly #bus: RuleHost;
  /** Modules that are being loaded. */
  readonly #loading = new Set<Promise<void>>();
  /** Settles with the last of them. */
  #last: Promise<void> = Promise.resolve();
  /** What was wrong with one, until a tick says so. */
  #failed: MmsbError | undefined;
  /** Numbers below are given out, those of refused batches too; the store knows of ticks only. */
  #nextRule = 1;

  /** Knows the rules that are stored, none of which has its code yet. */
  constructor(bus: RuleHost) {
    this.#bus = bus;
    const { host: { store }, waves } = bus;
    for (const binding of store.bindings.list()) waves.add(detachedRule(binding, store));
  }

  /**
   * Binds a rule.
   *
   * @throws {MmsbError} as `StateBus.rule`.
   */
  bind(given: RuleCode, options: RuleOptions): RuleHandle {
    const { host } = this.#bus, code = ruleOf(given);
    host.checkWritable();
    if (host.attached !== undefined) {
      throw new MmsbError(
        "read-only",
        "Cannot bind a rule on an attached bus: bind it at the writer",
      );
    }
    const checked = this.#check(options);
    if (isRule(code)) {
      const compiled = this.#prepare(code, checked);
      const handle = new BoundHandle(this.#bus, checked.name, compiled ?? Promise.resolve());
      handle.bound = this.#stage(code, null, checked);
      if (compiled !== undefined) this.#track(compiled, checked.name);
      return handle;
    }
    const url = moduleUrl(code), before = this.#last;
    const handle = new BoundHandle(
      this.#bus,
      checked.name,
      this.#load(url, checked).then(async (rule) => {
        await this.#bus.workers?.load(url, checked.export, rule.version);
        // Numbers of rules must not depend on whose module is there first.
        await before;
        host.checkWritable();
        const compiled = this.#prepare(rule, checked);
        handle.bound = this.#stage(rule, url, checked);
        await compiled;
      }),
    );
    this.#last = handle.ready.catch(() => {});
    this.#track(handle.ready, checked.name);
    return handle;
  }

  /**
   * Has a stale page brought up to date, with all stale pages that it is made from.
   *
   * @throws {MmsbError} `usage` where the rule that writes it has no code here; what the tick throws.
   */
  async fresh(page: number, tick: () => Promise<unknown>): Promise<void> {
    const { host, waves } = this.#bus, { store } = host;
    host.checkWritable();
    const first = waves.writerOf(store.table.rowOf(page));
    if (first === undefined) {
      waves.confirm(page);
    } else if (first.rule === undefined) {
      throw new MmsbError(
        "usage",
        `Cannot bring page ${page} up to date as rule "${first.name}" is detached: bind it first`,
        { values: { page, rule: first.name } },
      );
    } else {
      const asked = new Set([first]);
      for (const rule of asked) {
        waves.request(rule);
        for (const input of rule.parts.inputIds) {
          const writer = waves.writerOf(store.table.rowOf(input));
          if (writer?.rule !== undefined && (writer.flags & STALE) !== 0) asked.add(writer);
        }
      }
    }
    await tick();
  }

  /** What a tick must wait for: modules. */
  waitBeforeTick(): Promise<void> | undefined {
    if (this.#failed !== undefined) {
      const failed = this.#failed;
      this.#failed = undefined;
      throw failed;
    }
    if (this.#loading.size === 0) return undefined;
    return Promise.allSettled(this.#loading).then(() => {});
  }

  #track(ready: Promise<void>, name: string): void {
    const done: Promise<void> = ready.catch((cause) => {
      this.#failed ??= isMmsbError(cause) ? cause as MmsbError : new MmsbError(
        "rule",
        `Cannot load rule "${name}": ${reasonOf(cause)}`,
        { values: { rule: name }, cause },
      );
    }).finally(() => this.#loading.delete(done));
    this.#loading.add(done);
  }

  /** Checks what a shader needs of the binding, and has it compiled where it is to be run. */
  #prepare(
    rule: Rule,
    { name, inputs, outputs, state, params }: Checked,
  ): Promise<void> | undefined {
    if (rule.wgsl === undefined) return undefined;
    const counts = { inputs: inputs.length, outputs: outputs.length, state: state.length };
    checkShaderBinding(name, rule, counts, params);
    const compiled = this.#bus.gpu?.prepare(name, rule, counts);
    compiled?.catch(() => {});
    return compiled;
  }

  async #load(url: string, { name: rule, export: name }: Checked): Promise<Rule> {
    let module: Record<string, unknown>;
    try {
      module = await import(url);
    } catch (cause) {
      throw new MmsbError("rule", `Cannot load rule "${rule}" from ${url}: ${reasonOf(cause)}`, {
        values: { rule, module: url, export: name },
        cause,
      });
    }
    const code = module[name];
    if (isRule(code)) return code;
    throw new MmsbError(
      "usage",
      `Cannot bind "${name}" of ${url} as it is no rule: export what defineRule gives`,
      { values: { rule, module: url, export: name } },
    );
  }

  #check(options: RuleOptions): Checked {
    const { host } = this.#bus;
    checkType("binding", options, "object");
    checkKeys("rule", options, KEYS);
    const { name, params = null, mode = "immediate", every = 1, finite = false } = options;
    encodeUtf8("name", checkType("name", name, "string"), NAME_BYTES_MAX);
    checkOneOf("mode", mode, MODES);
    checkType("finite", finite, "boolean");
    const replace = checkType("replace", options.replace ?? false, "boolean");
    checkParams(name, params);
    checkInteger("every", every, 1, EVERY_MAX);
    const pages = (what: string, regions: Iterable<Region>) =>
      [...checkIterable(what, regions)].map((region) => regionId(host, what, region));
    const inputs = [...checkIterable("inputs", options.inputs)].map((input) => {
      const isControl = typeof input === "object" && input !== null && "region" in input;
      const edge = isControl ? checkOneOf("edge", input.edge, ["data", "control"]) : "data";
      return { page: regionId(host, "inputs", isControl ? input.region : input as Region), edge };
    });
    const outputs = pages("outputs", options.outputs), state = pages("state", options.state ?? []);
    const exported = checkType("export", options.export ?? "default", "string");
    return { name, inputs, outputs, state, params, mode, every, finite, export: exported, replace };
  }

  /** Stages a binding, or finds that it is there already. */
  #stage(rule: Rule, module: string | null, checked: Checked): BoundRule {
    const { host, waves } = this.#bus, { store, staging } = host;
    const { name, inputs, outputs, state, params } = checked;
    const payload = encodeBinding({
      name,
      module,
      export: module === null ? "" : checked.export,
      version: rule.version,
      inputs: inputs.map(({ page }) => page),
      outputs,
      state,
      params,
      mode: modeText(checked),
    });
    const staged = staging.rules.find(name), stored = store.bindings.find(name);
    const old = stored === undefined || staging.rules.isLeaving(stored.number) ? staged : stored;
    const known = old === undefined || old === staged ? undefined : waves.rule(old.number);
    const isRunning = staged !== undefined || known?.rule !== undefined;
    if (isRunning && !checked.replace) {
      throw new MmsbError(
        "usage",
        `Cannot bind two rules named "${name}": unbind the other first, or set replace`,
        { values: { rule: name } },
      );
    }
    this.#checkPages(checked, old?.number);
    if (known !== undefined && sameBytes(old!.payload, payload)) {
      if (known.rule === undefined) {
        const isStale = outputs.some((page) => store.marks.has(page, MARK.stale));
        known.flags = isStale ? NEEDS_FULL | CHANGED | STALE : 0;
        if (isStale) waves.request(known);
      }
      waves.attach(known, rule);
      return known;
    }
    return atomically(host, () => {
      if (staged !== undefined) unbindStaged(host, staged.number);
      else if (old !== undefined) unstage(host, old);
      for (const { page, edge } of inputs) {
        for (const output of outputs) stageMissingEdge(host, page, output, edge);
      }
      const number = Math.max(this.#nextRule, store.nextRule);
      this.#nextRule = number + 1;
      const binding = bindingOf(number, payload);
      const bound = new BoundRule(partsOf(binding), rule);
      staging.rules.bind({ binding, bound });
      staging.effects.push({ undo: () => void staging.rules.cancel(number) });
      return bound;
    });
  }

  /** Refuses pages that another rule writes, and regions that a rule cannot have there. */
  #checkPages({ name, inputs, outputs, state }: Checked, old: number | undefined): void {
    const { host: { store, staging }, waves } = this.#bus;
    const refuse = (page: number, reason: string, other?: string): never => {
      throw new MmsbError("usage", `Cannot bind rule "${name}" to page ${page} as ${reason}`, {
        values: { rule: name, page, ...(other === undefined ? {} : { other }) },
      });
    };
    // Bindings are asked for and not the waves, which would lay out all rules anew for each.
    const stays = ({ number }: RuleBinding) => number !== old && !staging.rules.isLeaving(number);
    const isInput = new Set(inputs.map(({ page }) => page));
    for (const page of [...outputs, ...state]) {
      const other = writersOf(this.#bus.host, page).find(stays);
      if (other !== undefined) {
        refuse(page, `rule "${other.name}" writes it: unbind that first`, other.name);
      }
      if (waves.isTable(page)) refuse(page, "it is a table, which rules can only read");
    }
    for (const page of outputs) if (isInput.has(page)) refuseOwnInput(name, page);
    for (const page of state) {
      if (isInput.has(page)) refuse(page, "it is state and an input: state can be read as it is");
      for (const bindings of [store.bindings.of(page), staging.rules.of(page)]) {
        for (const other of bindings) {
          if (!stays(other) || !other.inputs.includes(page)) continue;
          refuse(page, `rule "${other.name}" reads it`, other.name);
        }
      }
    }
    for (const page of isInput) {
      const other = writersOf(this.#bus.host, page).find(stays);
      if (other?.state.includes(page)) {
        refuse(page, `it is state of rule "${other.name}"`, other.name);
      }
    }
  }
}

function refuseOwnInput(rule: string, page: number): never {
  throw new MmsbError(
    "cycle",
    `Cannot bind rule "${rule}" as its output, page ${page}, is its input too: it may read its output as it is, or keep state`,
    { values: { rule, page, cycle: [page] } },
  );
}

class BoundHandle implements RuleHandle {
  readonly name: string;
  readonly ready: Promise<void>;
  bound: BoundRule | undefined;
  readonly #bus: RuleHost;

  constructor(bus: RuleHost, name: string, ready: Promise<void>) {
    this.#bus = bus;
    this.name = name;
    this.ready = ready;
  }

  get number(): number {
    return this.bound?.number ?? 0;
  }

  get version(): number {
    return this.bound?.rule?.version ?? 0;
  }

  get fired(): number {
    return this.bound?.fired ?? 0;
  }

  get level(): number {
    return this.bound?.level ?? 0;
  }

  get device(): RuleDevice {
    const { gpu, gpuReason = "the bus has no device" } = this.#bus, { bound } = this;
    if (bound === undefined) return { on: "cpu", reason: "its code is not there yet" };
    if (bound.rule !== undefined && bound.rule.wgsl === undefined) return NO_SHADER;
    return gpu?.deviceOf(bound) ?? { on: "cpu", reason: gpuReason };
  }

  unbind(): void {
    const { host } = this.#bus, { store, staging } = host;
    host.checkWritable();
    const number = this.number, binding = store.bindings.get(number);
    const isStaged = staging.rules.find(this.name)?.number === number && number !== 0;
    if (!isStaged && (binding === undefined || staging.rules.isLeaving(number))) {
      throw new MmsbError("invalid-handle", `Cannot unbind rule "${this.name}": it is not bound`, {
        values: { rule: this.name },
      });
    }
    atomically(host, () => {
      if (isStaged) unbindStaged(host, number);
      else unstage(host, binding!);
    });
  }
}

const NO_SHADER: RuleDevice = Object.freeze({ on: "cpu", reason: "it has no shader" });

/** A rule that was written in place is defined here; what is none is refused as the URL that it is not. */
export function ruleOf(given: RuleCode): Rule | URL | string {
  const isPlace = typeof given === "object" && given !== null && !isRule(given) && "wgsl" in given;
  return isPlace ? defineRule(given) : given as Rule | URL | string;
}

function moduleUrl(code: unknown): string {
  if (code instanceof URL) return code.href;
  if (typeof code === "string" && URL.canParse(code)) return new URL(code).href;
  throw new MmsbError(
    "usage",
    "Cannot bind this as a rule: give what defineRule made, or the URL of a module that exports it",
  );
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
