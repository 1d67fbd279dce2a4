/**
 * Validator 8 on a user's data: what must hold of every state is asked of the last one and of some earlier ones,
 * and from one to the next.
 *
 * Of a state: the allocator and the page table, names, edges between living pages and no cycle (by an algorithm of
 * its own), bindings and marks on living pages. From state to state: no epoch goes back, and no byte changes
 * without its page's epoch. And the user's own invariants, of a module or of a live bus, each by its name.
 */

import { equalBytes, MmsbError, reasonOf } from "../base/mod.ts";
import { insideOf, type StateBus } from "../bus/mod.ts";
import type { GraphEdge } from "../graph/mod.ts";
import { FileStorage, horizonOf, readMeta } from "../log/mod.ts";
import { EDGE_TYPES, type PageStore } from "../physical/mod.ts";
import { text } from "./_figures.ts";
import { faultOf } from "./graph.ts";
import type { InvariantsVerdict } from "./_own_asked.ts";
import { damagedLog, lastTickOf } from "./_own_state.ts";
import { OWN_TIMEOUT_MS, runInThread } from "./_own_thread.ts";
import { someTicks, stateAt } from "./_own_ticks.ts";
import type { Measured, ValidatorContext } from "./validator.ts";

/** States that are looked at beside the last. */
const STATES = 6;
const STATES_QUICK = 2;
const NOT_HERE = {
  cycles: "cycles are random work, not a user's data",
  closingEdges: "no edge is tried on a user's data",
};

/** Checks a directory, and a bus that is writing it. */
export async function invariantsOf(
  directory: string,
  context: ValidatorContext,
): Promise<Measured> {
  const { quick, seed, bus, progress } = context;
  const damaged = await damagedLog(directory);
  if (damaged !== undefined) return damaged;
  const storage = new FileStorage(directory), last = await lastTickOf(directory, context);
  const horizon = horizonOf(storage, readMeta(storage));
  const count = quick ? STATES_QUICK : STATES;
  const ticks = [...someTicks(Math.max(1, horizon), last - 1, count, seed), last];
  const found: string[] = [], seen: number[] = [];
  let before: PageStore | undefined, pages = 0;
  for (const tick of ticks) {
    progress(`the state after tick ${tick}`);
    const store = stateOrNone(directory, tick);
    // A merged tick has no state of its own.
    if (store === undefined) continue;
    seen.push(tick);
    pages += store.table.size;
    found.push(...faultsOf(store).map((fault) => `after tick ${tick}: ${fault}`));
    if (before !== undefined) {
      found.push(...stepFaults(before, store).map((fault) => `up to tick ${tick}: ${fault}`));
    }
    before = store;
  }
  const asked = await askModule(directory, seen, last, context);
  const live = bus === undefined ? undefined : liveFaults(bus);
  found.push(...asked?.found ?? [], ...live?.found ?? []);
  return {
    metrics: { failures: found.length },
    samples: Math.max(1, pages),
    notes: [
      `${text(seen.length)} of ${text(last)} states looked at (ticks ${
        seen.join(", ")
      }; seed ${seed}): allocator, page table, names, edges and cycles, rules, marks; from one to the next epochs and bytes`,
      ...namesNote(asked?.names ?? [], asked?.asked ?? 0),
      ...live?.notes ?? [],
      ...found.slice(0, 10),
    ],
    unmeasured: {
      ...NOT_HERE,
      checks: `${text(seen.length)} states were looked at, which is not its work`,
    },
  };
}

/** Checks a bus in memory. */
export function invariantsOfBus(bus: StateBus): Measured {
  const { found, notes, pages } = liveFaults(bus);
  return {
    metrics: { failures: found.length },
    samples: Math.max(1, pages),
    notes: [...notes, ...found.slice(0, 10)],
    unmeasured: { ...NOT_HERE, checks: "one state was looked at" },
  };
}

function liveFaults(bus: StateBus): { found: string[]; notes: string[]; pages: number } {
  const { store, askInvariants } = insideOf(bus), asked = askInvariants();
  const found = faultsOf(store).map((fault) => `in memory: ${fault}`);
  for (const { name, fault } of asked) {
    if (fault !== undefined) found.push(`invariant "${name}" does not hold: ${fault}`);
  }
  const tick = bus.tickNumber, pages = store.table.size;
  return {
    found,
    pages,
    notes: [
      `the bus's own memory after tick ${tick}: ${text(pages)} pages`,
      ...namesNote(asked.map(({ name }) => name), asked.length),
    ],
  };
}

function namesNote(names: readonly string[], asked: number): string[] {
  if (names.length === 0) return [];
  const shown = names.slice(0, 10).map((name) => JSON.stringify(name)).join(", ");
  return [
    `${text(names.length)} invariant${names.length === 1 ? "" : "s"} of the user's asked ${
      text(asked)
    } times: ${shown}`,
  ];
}

async function askModule(
  directory: string,
  ticks: readonly number[],
  tickMax: number,
  { rules: module, ruleTimeoutMs: timeoutMs = OWN_TIMEOUT_MS, seed, progress }: ValidatorContext,
): Promise<InvariantsVerdict | undefined> {
  if (module === undefined) return undefined;
  const plan = { tickMax, seed, runs: 1, ticks: 0 };
  const task = { what: "invariants", directory, module, plan, ticks } as const;
  return (await runInThread(task, { timeoutMs, progress })).invariants;
}

function stateOrNone(directory: string, tick: number): PageStore | undefined {
  try {
    return stateAt(new FileStorage(directory), tick);
  } catch (error) {
    if (error instanceof MmsbError && error.code === "out-of-bounds") return undefined;
    throw error;
  }
}

/** What is wrong with a state, in words. */
function faultsOf(store: PageStore): string[] {
  const faults: string[] = [], pages = new Set<number>(), names = new Map<string, number>();
  try {
    store.checkInvariants();
  } catch (error) {
    faults.push(reasonOf(error));
  }
  for (const row of store.table.rows()) {
    const id = store.table.ids[row], name = store.nameOf(id);
    pages.add(id);
    const other = name === "" ? undefined : names.get(name);
    if (other !== undefined) faults.push(`pages ${other} and ${id} have the name "${name}"`);
    names.set(name, id);
  }
  const edges: GraphEdge[] = [];
  for (const edge of store.edges.edges()) {
    if (store.edges.isStaged(edge)) continue;
    const from = store.table.ids[store.edges.from(edge)],
      to = store.table.ids[store.edges.to(edge)];
    edges.push({ from, to, type: EDGE_TYPES[store.edges.type(edge)] });
  }
  const fault = faultOf(edges, pages);
  if (fault !== undefined) faults.push(fault);
  for (const { name, inputs, outputs, state } of store.bindings.list()) {
    const missing = [...inputs, ...outputs, ...state].find((page) => !pages.has(page));
    if (missing !== undefined) {
      faults.push(`rule "${name}" is bound to page ${missing}, which is not there`);
    }
  }
  return faults;
}

/** What cannot be between two states. */
function stepFaults(before: PageStore, after: PageStore): string[] {
  const faults: string[] = [];
  for (const row of after.table.rows()) {
    const id = after.table.ids[row], old = before.table.rowOf(id);
    if (old === 0) continue;
    const epoch = after.table.epoch(row), epochBefore = before.table.epoch(old);
    if (epoch < epochBefore) {
      faults.push(`page ${id} goes from epoch ${epochBefore} back to ${epoch}`);
    }
    const isSameSize = before.table.sizeOf(old) === after.table.sizeOf(row);
    if (epoch === epochBefore && isSameSize && !equalBytes(before.view(old), after.view(row))) {
      faults.push(`page ${id} has other bytes at the same epoch ${epoch}`);
    }
    if (faults.length >= 20) break;
  }
  if (after.graphVersion < before.graphVersion) {
    faults.push(`the graph goes from version ${before.graphVersion} back to ${after.graphVersion}`);
  }
  return faults;
}
