/**
 * Inside: what a pool does with a bus and nobody else may: note where it stands, make another bus
 * over the same pages, and end one so that whatever still points to it refuses.
 *
 * `StateBus` gives the access when it is loaded; it is no part of what the package exports, so a
 * caller's bus has no way round the log.
 *
 * @module
 */

import type { PageStore } from "../physical/mod.ts";
import type { AskedInvariant } from "./_invariants.ts";
import type { ResolvedOptions } from "./options.ts";
import type { StateBus } from "./state_bus.ts";
import type { EngineCounts } from "./tick_engine.ts";

/** Where a bus in memory stands, apart from its pages. */
export interface BusPosition extends EngineCounts {
  /** The last tick. */
  readonly tick: number;
  /** The last timestamp given. */
  readonly hlc: bigint;
}

/** What a pool sees of one bus. */
export interface BusInside {
  /** Its pages. */
  readonly store: PageStore;
  /** Its options. */
  readonly options: ResolvedOptions;
  /** Where it stood when this was asked for. */
  readonly position: BusPosition;
  /** Asks all its invariants about the pages as they are. */
  askInvariants(): AskedInvariant[];
  /** Ends it at once: what waits is refused, and it and its handles refuse with `message`. */
  end(message: string): void;
}

/** What `StateBus` gives. */
export interface BusAccess {
  /** Looks inside a bus. */
  inside(bus: StateBus): BusInside;
  /** Makes a bus in memory over pages that are there. */
  over(store: PageStore, options: ResolvedOptions, position: BusPosition): StateBus;
  /** Opens what checked options name. */
  open(options: ResolvedOptions): Promise<StateBus>;
}

let access: BusAccess | undefined;

/** Called once, by `StateBus`. */
export function giveAccess(given: BusAccess): void {
  access = given;
}

/** The access; there once `state_bus.ts` is loaded. */
export function busAccess(): BusAccess {
  return access!;
}
