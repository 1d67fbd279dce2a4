/**
 * A user's module with rules and invariants, loaded and told apart.
 *
 * It may export rules, as a module does that a bus binds by its URL; `rules`, which says by what names they are
 * bound: an object `{ name: rule }`, or a function that is given a bus and binds them there as the program itself does;
 * and `invariants`, an object `{ name: check }`.
 *
 * Cost: what the module's own code does when it is loaded. So it is loaded in a thread of its own, which can be ended.
 */

import { MmsbError, reasonOf } from "../base/mod.ts";
import { bindRecording, type Snapshot, type StateBus } from "../bus/mod.ts";
import { isRule, type Rule } from "../propagation/mod.ts";
import { checkGiven, type OwnModule } from "./_own_rules.ts";

/** What must hold. */
export type OwnInvariants = Readonly<Record<string, (at: Snapshot) => unknown>>;

/** What a module gives. */
export interface LoadedModule extends OwnModule {
  /** Invariants by name. */
  readonly invariants: OwnInvariants;
}

/**
 * Loads a module.
 *
 * @param open Opens a bus over the pages as they are, for a module that binds its rules itself.
 * @throws {MmsbError} `usage` where it cannot be loaded or exports nothing of use.
 */
export async function loadOwnModule(
  url: string,
  open: () => Promise<StateBus>,
): Promise<LoadedModule> {
  let module: Record<string, unknown>;
  try {
    module = await import(url);
  } catch (cause) {
    throw unusable(url, oneLine(reasonOf(cause)));
  }
  const { rules, invariants = {}, ...others } = module;
  const exported: Record<string, Rule> = {};
  for (const [name, value] of Object.entries(others)) if (isRule(value)) exported[name] = value;
  const named = typeof rules === "function"
    ? await recorded(url, rules as (bus: StateBus) => unknown, open)
    : rules === undefined
    ? {}
    : checkGiven(rules);
  for (const [name, check] of Object.entries(checkObject(url, invariants))) {
    if (typeof check === "function") continue;
    throw unusable(url, `its invariant "${name}" is no function`);
  }
  const count = Object.keys({ ...exported, ...named, ...invariants as object }).length;
  if (count === 0) {
    throw unusable(
      url,
      'it exports no rules and no invariants: export what defineRule gives, "rules" or "invariants"',
    );
  }
  return { exported, named, invariants: invariants as OwnInvariants };
}

/** Has a module bind its rules to a bus that notes them. */
async function recorded(
  url: string,
  bind: (bus: StateBus) => unknown,
  open: () => Promise<StateBus>,
): Promise<Record<string, Rule>> {
  const named: Record<string, Rule> = {}, modules: Promise<void>[] = [];
  await using bus = await open();
  const recording = bindRecording(bus, (code, { name, export: key = "default" }) => {
    if (isRule(code)) {
      named[name] = code;
      return;
    }
    modules.push(
      import(String(code)).then((module) => {
        const rule: unknown = module[key];
        if (isRule(rule)) named[name] = rule;
      }),
    );
  });
  try {
    await bind(recording);
    await Promise.all(modules);
  } catch (cause) {
    throw unusable(url, `its function "rules" failed: ${oneLine(reasonOf(cause))}`);
  }
  return named;
}

function checkObject(url: string, value: unknown): object {
  if (typeof value === "object" && value !== null) return value;
  throw unusable(url, 'its export "invariants" is no object: export { name: check }');
}

function oneLine(text: string): string {
  return text.split("\n")[0];
}

function unusable(url: string, reason: string): MmsbError {
  return new MmsbError("usage", `Cannot use the rules of ${url}: ${reason}`, { values: { url } });
}
