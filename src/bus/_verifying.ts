/**
 * Verifying: replays a log into fresh memory and compares all bytes with the pages of a bus.
 *
 * Cost: the reading of the whole log that is there, and the memory of all pages once more.
 */

import { MmsbError } from "../base/mod.ts";
import { type DirectoryMeta, horizonOf, readSettled, recover, type Storage } from "../log/mod.ts";
import { PageStore, type SpillPlan } from "../physical/mod.ts";
import { compareStores } from "./compare.ts";
import type { OpenReport, VerifyReport } from "./reports.ts";

/** What is compared with the log. */
export interface Verified {
  /** The pages. */
  readonly store: PageStore;
  /** The bus's last tick. */
  readonly tick: number;
  /** Pages that are staged only. */
  readonly staged: readonly number[];
  /** The log as it was found when the bus was opened. */
  readonly state: OpenReport["state"];
  /** The directory. */
  readonly storage: Storage;
  /** Its metadata as it stands. */
  readonly meta: () => DirectoryMeta | undefined;
  /** Bytes that the replayed pages may take. */
  readonly memoryLimitBytes: number;
  /** Where those go for which there is no room. */
  readonly spill?: SpillPlan;
}

/**
 * Compares a bus's pages with what its log leads to.
 *
 * @throws {MmsbError} `corrupt-log` where the log cannot be replayed, `out-of-bounds` where it begins
 * after the bus's tick.
 */
export function verifyAgainstLog(bus: Verified): VerifyReport {
  return readSettled(bus.storage, bus.meta, (storage, meta) => {
    checkHorizon(horizonOf(storage, meta), bus.tick);
    return compareWith(bus, storage, meta);
  }, ({ ok }) => ok);
}

function compareWith(
  bus: Verified,
  storage: Storage,
  meta: DirectoryMeta | undefined,
): VerifyReport {
  const replayed = new PageStore(bus.memoryLimitBytes, undefined, bus.spill);
  try {
    return compareReplayed(bus, storage, meta, replayed);
  } finally {
    replayed.close();
  }
}

function compareReplayed(
  bus: Verified,
  storage: Storage,
  meta: DirectoryMeta | undefined,
  replayed: PageStore,
): VerifyReport {
  const { store, tick, staged, state } = bus;
  const recovery = recover(storage, meta, replayed, tick, "earliest");
  replayed.checkInvariants();
  const births = new Set(staged);
  const compared = compareStores(store, replayed);
  const missing = compared.missing.filter((page) => !births.has(page));
  const same = recovery.tick === tick && compared.divergence === 0 && missing.length === 0 &&
    compared.extra.length === 0 && compared.different.length === 0 &&
    compared.structure === undefined;
  const ok = same && state !== "damaged";
  return { tick, rows: recovery.rows, compared: { ...compared, missing, same }, state, ok };
}

/** A reader may stay at a tick that cannot be replayed any more. */
function checkHorizon(horizon: number, tick: number): void {
  if (tick >= horizon) return;
  throw new MmsbError(
    "out-of-bounds",
    `Cannot replay the log to tick ${tick}: ticks before ${horizon} were merged or dropped; open the bus again`,
    { values: { tick, horizon } },
  );
}
