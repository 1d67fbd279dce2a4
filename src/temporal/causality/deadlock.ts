/**
 * Deadlocks: how bad a cycle of waiting is, and whom to drop or to deliver so that the others go on.
 *
 * Severity is a number from 0 to 1 of three parts, each x / (x + half), so that each rises with x, is ½ where x is
 * the half, and none can hide the others:
 *
 * ```text
 * score = 0.2 · length / (length + 8)          participants that wait for one another
 *       + 0.5 · age    / (age + ageHalfUs)     since its last wait began; ageHalfUs is 10 s if left out
 *       + 0.3 · stuck  / (stuck + 16)          they, and all that wait for one of them
 *
 * low < 0.25 ≤ medium < 0.5 ≤ high < 0.75 ≤ critical
 * ```
 *
 * Age counts most, as a cycle that was there a moment ago may be about to end by a timeout, and one that has
 * stood for minutes will not. A clock that went back gives an age of 0.
 *
 * The victim of a cycle depends on its waits alone, never on the order in which they came; where two are equal,
 * the least id decides:
 *
 * | strategy               | done to          | victim                                              | ends all cycles |
 * | ---------------------- | ---------------- | --------------------------------------------------- | --------------- |
 * | `drop-oldest`          | dropped          | who has waited longest                              | yes             |
 * | `drop-newest`          | dropped          | who came last                                       | yes             |
 * | `drop-lowest-priority` | dropped          | lowest priority, of these who came last             | yes             |
 * | `force-delivery`       | delivered        | highest priority, of these who has waited longest   | yes             |
 * | `drop-all`             | dropped          | everybody in the cycle                              | yes             |
 * | `wait`                 | nothing          | nobody: a timeout or a late message may end it      | no              |
 *
 * Cost: O(length) a cycle.
 */

import type { WaitId } from "./wait_graph.ts";
import { compareIds } from "./_graph_waits.ts";

/** A wait: `waiter` cannot go on before `holder` has done something. */
export interface Wait {
  /** Who waits. */
  readonly waiter: WaitId;
  /** For whom. */
  readonly holder: WaitId;
  /** For what, a message or a lock; `undefined` where it was not said. */
  readonly resource: WaitId | undefined;
  /** Since when, in µs on the clock of who asks. */
  readonly sinceUs: number;
  /** Priority, higher is more urgent. */
  readonly priority: number;
}

/** What is done about a deadlock. */
export type DeadlockStrategy =
  | "drop-oldest"
  | "drop-newest"
  | "drop-lowest-priority"
  | "force-delivery"
  | "wait"
  | "drop-all";

/** All strategies. */
export const DEADLOCK_STRATEGIES: readonly DeadlockStrategy[] = Object.freeze([
  "drop-oldest",
  "drop-newest",
  "drop-lowest-priority",
  "force-delivery",
  "wait",
  "drop-all",
]);

/** A severity in a word. */
export type DeadlockLevel = "low" | "medium" | "high" | "critical";

/** How bad a cycle is; the formula stands at the head of `deadlock.ts` and in docs/causality.md. */
export interface DeadlockSeverity {
  /** From 0 to 1. */
  readonly score: number;
  /** The score in a word: low below 0.25, medium below 0.5, high below 0.75, critical. */
  readonly level: DeadlockLevel;
  /** How long the cycle stands, in µs. */
  readonly ageUs: number;
  /** Participants that cannot go on because of it: its own, and all that wait for one of them. */
  readonly stuck: number;
}

/** An elementary cycle: each participant waits for the next one, the last for the first. */
export interface WaitCycle {
  /** The participants, the least id first, each once. */
  readonly participants: readonly WaitId[];
  /** Its waits, in the order of the participants; of several between the same two all, the oldest first. */
  readonly waits: readonly Wait[];
  /** Since when it stands: since the last of its participants began to wait. */
  readonly sinceUs: number;
  /** How bad it is. */
  readonly severity: DeadlockSeverity;
}

/** One on whom a cycle is ended. */
export interface DeadlockVictim {
  /** The participant. */
  readonly id: WaitId;
  /** What is done to it. */
  readonly action: "drop" | "deliver";
  /** The cycle that this ends. */
  readonly cycle: readonly WaitId[];
  /** Since when it waits for the next one in the cycle. */
  readonly sinceUs: number;
  /** The highest priority of its waits for the next one. */
  readonly priority: number;
}

/** A participant of a cycle, as a strategy looks at it. */
export interface Candidate {
  readonly id: WaitId;
  /** The earliest of its waits for the next one. */
  readonly sinceUs: number;
  /** The highest priority of them. */
  readonly priority: number;
}

const LENGTH_HALF = 8, STUCK_HALF = 16;
const LENGTH_SHARE = 0.2, AGE_SHARE = 0.5, STUCK_SHARE = 0.3;

/** Age at which the part of the age is half of what it can be, where no number is given. */
export const AGE_HALF_US_DEFAULT = 10_000_000;

/** Severity of a cycle. */
export function severityOf(
  length: number,
  ageUs: number,
  stuck: number,
  ageHalfUs: number,
): DeadlockSeverity {
  const part = (x: number, half: number) => x / (x + half);
  const score = LENGTH_SHARE * part(length, LENGTH_HALF) + AGE_SHARE * part(ageUs, ageHalfUs) +
    STUCK_SHARE * part(stuck, STUCK_HALF);
  const level = score < 0.25 ? "low" : score < 0.5 ? "medium" : score < 0.75 ? "high" : "critical";
  return { score, level, ageUs, stuck };
}

/** The better of two candidates comes first. */
type Order = (a: Candidate, b: Candidate) => number;

const older: Order = (a, b) => a.sinceUs - b.sinceUs;
const newer: Order = (a, b) => b.sinceUs - a.sinceUs;

const ORDERS: Readonly<Partial<Record<DeadlockStrategy, Order>>> = {
  "drop-oldest": older,
  "drop-newest": newer,
  "drop-lowest-priority": (a, b) => a.priority - b.priority || newer(a, b),
  "force-delivery": (a, b) => b.priority - a.priority || older(a, b),
};

/** Whom a strategy chooses of a cycle, in the order in which it is done. */
export function victimsOf(
  strategy: DeadlockStrategy,
  candidates: readonly Candidate[],
): DeadlockVictim[] {
  if (strategy === "wait") return [];
  const order = ORDERS[strategy];
  const sorted = candidates.toSorted((a, b) =>
    (order === undefined ? 0 : order(a, b)) || compareIds(a.id, b.id)
  );
  const action = strategy === "force-delivery" ? "deliver" : "drop";
  const cycle = candidates.map(({ id }) => id);
  return sorted.slice(0, order === undefined ? sorted.length : 1)
    .map(({ id, sinceUs, priority }) => ({ id, action, cycle, sinceUs, priority }));
}
