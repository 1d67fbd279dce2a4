/**
 * Upsert plans: a predicate decides, at the seal, which writes are made, and the log says that it did.
 *
 * A plan needs no retry: it is asked when its tick is about to be sealed, on the pages as the last tick left them,
 * and its writes are that tick. So what it looked at is what it changes, whoever writes besides. Every delta of it
 * has as its intent, in JSON, the plan's name, what the predicate said and the parameters.
 *
 * Cost: that of a tick, and nothing where there is nothing to write.
 */

import { checkKeys, checkType, MmsbError } from "../base/mod.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Transaction, TransactionReceipt } from "./transaction.ts";

/** What to look at and what to write then. */
export interface UpsertPlan<P = unknown> {
  /** Its name, for the intent of its deltas. */
  readonly name: string;
  /** What it depends on beside the pages; JSON, and a part of the intent. */
  readonly params?: P;
  /** Decides on the pages as the last tick left them; it must only read. */
  readonly where: (at: Snapshot, params: P) => boolean;
  /** Writes where the predicate held, without waiting for anything. Default: nothing. */
  readonly update?: (tx: Transaction, params: P) => void;
  /** Writes where it did not. Default: nothing. */
  readonly insert?: (tx: Transaction, params: P) => void;
  /** Who writes. */
  readonly source?: string;
}

/** What came of a plan. */
export interface UpsertReceipt extends TransactionReceipt {
  /** What the predicate said. */
  readonly held: boolean;
}

/** What of its bus a plan needs. */
export interface UpsertBus {
  /** Runs a function on a snapshot. */
  snapshot<T>(look: (at: Snapshot) => T): T;
  /** Begins a transaction whose writes are decided at its turn. */
  begin(source: string | undefined): Transaction;
}

const KEYS = ["name", "params", "where", "update", "insert", "source"];

/**
 * Runs a plan.
 *
 * @throws {MmsbError} as `StateBus.upsert`.
 */
export async function runUpsert<P>(bus: UpsertBus, plan: UpsertPlan<P>): Promise<UpsertReceipt> {
  checkType("plan", plan, "object");
  checkKeys("upsert", plan, KEYS);
  const { name, where, update, insert, source } = plan;
  const params = plan.params as P;
  if (checkType("name", name, "string") === "") {
    throw new MmsbError("usage", "Cannot upsert without a name: it says in the log what was meant");
  }
  checkType("where", where, "function");
  if (update !== undefined) checkType("update", update, "function");
  if (insert !== undefined) checkType("insert", insert, "function");
  if (source !== undefined) checkType("source", source, "string");
  const intents = [false, true].map((held) => intentOf(name, held, params));
  const tx = bus.begin(source);
  let held = false;
  const receipt = await tx.decideAndCommit(() => {
    const answer: unknown = bus.snapshot((at) => where(at, params));
    if (typeof answer !== "boolean") {
      throw new MmsbError(
        "usage",
        `Cannot decide upsert "${name}": its predicate must return true or false`,
        { values: { name } },
      );
    }
    held = answer;
    const result: unknown = (held ? update : insert)?.(tx, params);
    if (!(result instanceof Promise)) return;
    result.catch(() => {});
    throw new MmsbError(
      "usage",
      `Cannot write asynchronously in upsert "${name}": await first, then upsert`,
      { values: { name } },
    );
  }, () => intents[held ? 1 : 0]);
  return { ...receipt, held };
}

function intentOf(name: string, held: boolean, params: unknown): string {
  try {
    return JSON.stringify({ upsert: name, held, params });
  } catch (cause) {
    throw new MmsbError(
      "usage",
      `Cannot upsert "${name}" as its params are no JSON: give plain values`,
      { values: { name }, cause },
    );
  }
}
