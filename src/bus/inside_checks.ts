/**
 * Inside checks: what validators look at of a bus that its users need not: its pages' store, the storage of its log,
 * its invariants one by one; and buses for trying things that nobody keeps.
 *
 * @module
 */

import type { Storage } from "../log/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import type { Rule } from "../propagation/mod.ts";
import type { AskedInvariant } from "./_invariants.ts";
import { busAccess } from "./_inside.ts";
import { type RuleCode, type RuleHandle, ruleOf, type RuleOptions } from "./_rules.ts";
import { resolveOptions } from "./options.ts";
import type { StateBus } from "./state_bus.ts";

export { partsOf } from "./_rule_text.ts";

/** What of a bus is looked at. */
export interface CheckedInside {
  /** Its pages. */
  readonly store: PageStore;
  /** The byte store of its log; `undefined` for a bus in memory. */
  readonly storage: Storage | undefined;
  /** Asks all its invariants about the pages as they are. */
  askInvariants(): AskedInvariant[];
}

/** Looks inside a bus. */
export function insideOf(bus: StateBus): CheckedInside {
  const { store, options, askInvariants } = busAccess().inside(bus);
  return { store, storage: options.storage, askInvariants };
}

/** A bus in memory over pages of a state: what it does to them nobody keeps. */
export function busOver(store: PageStore, tick: number): StateBus {
  const position = { tick, hlc: 0n, rows: 0, refused: 0, sequences: new Map() };
  return busAccess().over(store, resolveOptions({}), position);
}

/** A bus that tells of rules that are bound, and binds none. */
export function bindRecording(
  bus: StateBus,
  note: (code: Rule | URL | string, binding: RuleOptions) => void,
): StateBus {
  const handle: RuleHandle = {
    name: "",
    number: 0,
    version: 0,
    fired: 0,
    level: 0,
    device: { on: "cpu", reason: "it is not bound" },
    ready: Promise.resolve(),
    unbind() {},
  };
  const rule = (code: RuleCode, binding: RuleOptions) => {
    note(ruleOf(code), binding);
    return { ...handle, name: binding.name };
  };
  return new Proxy(bus, {
    get(target, key) {
      if (key === "rule") return rule;
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
