/**
 * A user's invariants asked about stored states: the last one, and some earlier ones.
 *
 * Cost: the replay of each state, and the invariants.
 */

import { MmsbError, reasonOf } from "../base/mod.ts";
import { StateBus } from "../bus/mod.ts";
import type { Storage } from "../log/mod.ts";
import type { OwnInvariants } from "./_own_module.ts";
import type { Tell } from "./_own_rules.ts";

/** What was found; plain data. */
export interface InvariantsVerdict {
  /** Names of the invariants. */
  readonly names: readonly string[];
  /** Times that one was asked. */
  asked: number;
  /** What did not hold, in words. */
  readonly found: string[];
}

/** Asks invariants about the states of some ticks. */
export async function checkInvariants(
  storage: Storage,
  invariants: OwnInvariants,
  ticks: readonly number[],
  tell: Tell,
): Promise<InvariantsVerdict> {
  const verdict: InvariantsVerdict = { names: Object.keys(invariants), asked: 0, found: [] };
  if (verdict.names.length === 0) return verdict;
  await using bus = await StateBus.open({ storage, readOnly: true });
  for (const tick of ticks) {
    if (tick === bus.tickNumber) ask(bus, tick);
    else {
      await using past = await bus.at({ tick });
      ask(past, tick);
    }
  }
  return verdict;

  function ask(state: StateBus, tick: number): void {
    for (const [name, check] of Object.entries(invariants)) {
      tell(`invariants after tick ${tick}`, name);
      verdict.asked++;
      const fault = faultOf(() => state.snapshot(check));
      if (fault !== undefined) {
        verdict.found.push(`invariant "${name}" does not hold after tick ${tick}: ${fault}`);
      }
    }
  }
}

function faultOf(ask: () => unknown): string | undefined {
  try {
    const result = ask();
    if (result === true) return undefined;
    return typeof result === "string" ? result : `it returned ${reasonOf(result)}`;
  } catch (error) {
    return error instanceof MmsbError ? error.message : reasonOf(error);
  }
}
