/**
 * Salvage images: the state at one tick, from a checkpoint and the ticks that were made meanwhile.
 *
 * A damaged log with a good checkpoint behind the damage has lost history, but no state; and a log
 * whose beginning was dropped makes sense only over the checkpoint that it begins with.
 *
 * Cost: that of opening the checkpoint; the pages are in memory.
 *
 * @module
 */

import { MEMORY_LIMIT_BYTES_DEFAULT, MmsbError } from "../base/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { Checkpoint, listCheckpoints } from "./checkpoint_reader.ts";
import { LogReader } from "./log_reader.ts";
import type { DirectoryMeta } from "./meta.ts";
import { Replayer } from "./replay.ts";
import type { Storage } from "./storage.ts";

/** The state at one tick. */
export interface SalvageImages {
  /** The tick. */
  readonly tick: number;
  /** Time of the tick, or one shortly before. */
  readonly hlc: bigint;
  /** Incarnation of its writer. */
  readonly incarnation: number;
  /** The pages. */
  readonly store: PageStore;
}

/**
 * Finds a checkpoint that can be used.
 *
 * @param storage The directory.
 * @param meta Its metadata, where that can be read.
 * @param order Whether the newest is wanted or the oldest.
 * @param note Told why one cannot be used.
 */
export function findImages(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  order: "newest" | "oldest",
  note: (text: string) => void,
): SalvageImages | undefined {
  const ticks = listCheckpoints(storage);
  if (order === "oldest") ticks.reverse();
  for (const tick of ticks) {
    try {
      const images = loadImages(storage, meta, tick);
      if (images !== undefined) return images;
      note(
        `the checkpoint of tick ${tick} cannot be used as ticks are lost that were made meanwhile`,
      );
    } catch (error) {
      const isDamage = error instanceof MmsbError &&
        (error.code === "snapshot" || error.code === "corrupt-log");
      if (!isDamage) throw error;
      note(error.message);
    }
  }
  return undefined;
}

function loadImages(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  tick: number,
): SalvageImages | undefined {
  using checkpoint = Checkpoint.open(storage, tick);
  const { place, hlcLast, incarnation } = checkpoint.header;
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT);
  const images = checkpoint.load(store);
  let last = place.tick, hlc = hlcLast, newest = incarnation;
  if (last < images.tickLast) {
    const reader = new LogReader(storage, meta, { start: place, tickMax: images.tickLast });
    const replayer = new Replayer(store, images);
    for (let read = reader.next(); read !== undefined; read = reader.next()) {
      replayer.apply(read);
      last = read.tick;
      for (const { commitFrame } of read.lanes) {
        hlc = commitFrame.hlcLast;
        newest = commitFrame.incarnation;
      }
    }
  }
  return last < images.tickLast ? undefined : { tick: last, hlc, incarnation: newest, store };
}
