/**
 * Salvage ticks: what was found on all lanes, tick by tick.
 *
 * @module
 */

import { lanesOf } from "./_directory.ts";
import type { LogFault } from "./fault.ts";
import { participantsHex } from "./log_reader.ts";
import type { DirectoryMeta } from "./meta.ts";
import { type FoundTick, SalvageWalk } from "./salvage_walk.ts";
import type { Storage } from "./storage.ts";

/** A tick as it was found; its bytes are good until the next one is asked for. */
export interface SalvagedTick {
  /** Tick. */
  readonly tick: number;
  /** Earlier ticks that it stands for beside itself. */
  readonly span: number;
  /** What was found of it, lane by lane. */
  readonly lanes: readonly FoundTick[];
  /** Whether all of it is there. */
  readonly isWhole: boolean;
}

/**
 * Finds the ticks of a directory, in order.
 *
 * @param storage The directory; it is only read.
 * @param meta Its metadata, where that can be read.
 * @param report Told of every fault.
 */
export function* salvagedTicks(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  report: (fault: LogFault) => void,
): Generator<SalvagedTick> {
  const walks = lanesOf(storage).map((lane) => {
    const begin = meta?.base?.lanes.find((place) => place.lane === lane);
    return new SalvageWalk(storage, lane, begin, report).ticks();
  });
  const heads = walks.map((walk) => walk.next().value as FoundTick | undefined);
  for (;;) {
    const present = heads.filter((head) => head !== undefined);
    if (present.length === 0) return;
    const tick = Math.min(...present.map((head) => head.tick));
    const lanes = present.filter((head) => head.tick === tick);
    yield tickOf(tick, lanes, report);
    heads.forEach((head, index) => {
      if (head?.tick === tick) heads[index] = walks[index].next().value as FoundTick | undefined;
    });
  }
}

function tickOf(
  tick: number,
  lanes: readonly FoundTick[],
  report: (fault: LogFault) => void,
): SalvagedTick {
  const present = participantsHex(lanes.map(({ lane }) => lane));
  const committed = lanes.filter(({ commit }) => commit !== undefined);
  const isWhole = committed.length === lanes.length &&
    committed.every(({ commit }) => commit!.frame.participants === present);
  if (!isWhole && committed.length === lanes.length) {
    const [{ commit, lane }] = committed;
    const message = `lane ${lane} has tick ${tick}, another lane that took part in it has not`;
    const file = `lane ${lane}`;
    report({ kind: "damage", fault: "commit", file, offset: commit!.frame.at, tick, message });
  }
  const span = Math.max(0, ...committed.map(({ commit }) => commit!.frame.span));
  return { tick, span, lanes, isWhole };
}
