/**
 * Invariants: what a user says must hold after every tick, asked before the tick is logged.
 *
 * A tick that would break one never was: it is taken back like one whose log cannot be written, and says
 * which invariant it broke and what that returned. An invariant returns `true` where it holds; whatever else it
 * returns, and nothing at all, is a violation, so that one that forgets to answer is found by the first tick.
 *
 * Cost: that of the functions, plus keeping what the tick overwrites until they have answered.
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  encodeUtf8,
  INVARIANTS_MAX,
  MmsbError,
  NAME_BYTES_MAX,
  reasonOf,
} from "../base/mod.ts";
import { runSnapshot, type Snapshot, type SnapshotHost } from "./snapshot.ts";
import type { Page } from "./page.ts";

/** Options of an invariant. */
export interface InvariantOptions {
  /** Ask it after ticks whose number is a multiple of this only. Default 1. */
  readonly every?: number;
}

/** An invariant that is being kept. */
export interface Invariant {
  /** Its name. */
  readonly name: string;
  /** How often it was asked. */
  readonly checked: number;
  /** How often it did not hold. */
  readonly violated: number;
  /** Asks it no more. */
  remove(): void;
}

/** What a tick asks before it is logged. */
export interface TickChecks {
  /** Whether there is anything to ask after a tick. */
  isDue(tick: number): boolean;
  /**
   * Asks it.
   *
   * @throws {MmsbError} `rule` where something does not hold.
   */
  run(tick: number): void;
}

/** How an invariant was answered that was asked by itself. */
export interface AskedInvariant {
  /** Its name. */
  readonly name: string;
  /** Why it does not hold; `undefined` where it does. */
  readonly fault: string | undefined;
}

/** What of their bus invariants need. */
export interface CheckedBus extends Omit<SnapshotHost, "tickNumber"> {
  /** Whether a page is one of this bus. */
  owns(page: Page): boolean;
}

interface Kept {
  readonly name: string;
  readonly check: (at: Snapshot) => unknown;
  readonly every: number;
  checked: number;
  violated: number;
}

const KEYS = ["every"];

/** The invariants of one bus. */
export class Invariants implements TickChecks {
  readonly #bus: CheckedBus;
  readonly #kept = new Map<string, Kept>();

  /** There are none yet. */
  constructor(bus: CheckedBus) {
    this.#bus = bus;
  }

  /**
   * Adds one.
   *
   * @throws {MmsbError} `usage` for wrong arguments and a name that is taken, `limit` for too many.
   */
  add(name: string, check: (at: Snapshot) => unknown, options: InvariantOptions): Invariant {
    encodeUtf8("name", checkType("name", name, "string"), NAME_BYTES_MAX);
    checkType("check", check, "function");
    checkKeys("invariant", options, KEYS);
    const every = checkInteger("every", options.every ?? 1, 1, Number.MAX_SAFE_INTEGER);
    if (name === "" || this.#kept.has(name)) {
      throw new MmsbError(
        "usage",
        name === ""
          ? "Cannot keep an invariant without a name: say what must hold"
          : `Cannot keep two invariants named "${name}": remove the other one first`,
        { values: { name } },
      );
    }
    if (this.#kept.size >= INVARIANTS_MAX) {
      throw new MmsbError("limit", `Cannot keep more than ${INVARIANTS_MAX} invariants`, {
        values: { invariants: this.#kept.size },
      });
    }
    const kept: Kept = { name, check, every, checked: 0, violated: 0 };
    this.#kept.set(name, kept);
    return {
      name,
      get checked() {
        return kept.checked;
      },
      get violated() {
        return kept.violated;
      },
      remove: () => {
        if (this.#kept.get(name) === kept) this.#kept.delete(name);
      },
    };
  }

  /** Whether one is to be asked after a tick. */
  isDue(tick: number): boolean {
    if (this.#kept.size === 0) return false;
    for (const { every } of this.#kept.values()) if (tick % every === 0) return true;
    return false;
  }

  /**
   * Asks those that are to be asked after a tick.
   *
   * @throws {MmsbError} `rule`, naming the first that does not hold and what it returned or threw.
   */
  run(tick: number): void {
    const host = this.#hostAt(tick);
    for (const kept of this.#kept.values()) {
      if (tick % kept.every !== 0) continue;
      kept.checked++;
      let result: unknown, cause: unknown, reason: string;
      try {
        result = runSnapshot(host, (page) => this.#bus.owns(page), kept.check);
        if (result === true) continue;
        reason = typeof result === "string" ? result : `it returned ${reasonOf(result)}`;
      } catch (error) {
        cause = error;
        reason = reasonOf(error);
      }
      kept.violated++;
      throw violation(kept.name, tick, reason, result, cause);
    }
  }

  /** Asks all of them about the pages as they are, whatever tick they are due in; nothing is thrown. */
  ask(tick: number): AskedInvariant[] {
    const host = this.#hostAt(tick);
    return [...this.#kept.values()].map(({ name, check }) => {
      try {
        const result = runSnapshot(host, (page) => this.#bus.owns(page), check);
        if (result === true) return { name, fault: undefined };
        return {
          name,
          fault: typeof result === "string" ? result : `it returned ${reasonOf(result)}`,
        };
      } catch (error) {
        return { name, fault: reasonOf(error) };
      }
    });
  }

  #hostAt(tickNumber: number): SnapshotHost {
    return {
      tickNumber,
      page: (id) => this.#bus.page(id),
      find: (name) => this.#bus.find(name),
    };
  }
}

function violation(
  name: string,
  tick: number,
  reason: string,
  result: unknown,
  cause: unknown,
): MmsbError {
  return new MmsbError(
    "rule",
    `Cannot make tick ${tick} real as invariant "${name}" does not hold after it: ${reason}; the tick was taken back`,
    { values: { invariant: name, tick, result }, cause },
  );
}
