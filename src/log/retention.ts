/**
 * Retention: which checkpoints and which part of the log are kept.
 *
 * The newest checkpoints are kept, and the log from the place of the oldest of them on. Order matters,
 * because a crash may come between any two steps: a checkpoint is removed only when a newer one is
 * durable, and when the log is stored as beginning with one that stays; where the log begins is stored
 * before a segment goes; so what is lost in the middle is only files that nobody needs, and the next
 * opening takes them away.
 *
 * @module
 */

import { CHECKPOINT_FOLDER, checkpointPath } from "./checkpoint_format.ts";
import { Checkpoint, listCheckpoints } from "./checkpoint_reader.ts";
import { laneFolder } from "./format.ts";
import { type DirectoryMeta, hasPlace, type LogBase, writeMeta } from "./meta.ts";
import { type Storage, TEMPORARY_SUFFIX } from "./storage.ts";

/** What becomes of the log before the oldest kept checkpoint. */
export type LogRetention = "keep" | "drop" | "archive";

/** What is kept. */
export interface Retention {
  /** Checkpoints, at least 1. */
  readonly keep: number;
  /** What becomes of the log before the oldest of them. */
  readonly log: LogRetention;
  /** Folder of the directory to which segments go. */
  readonly archiveDir: string;
}

/**
 * Removes checkpoints beyond those to be kept. Call it only when the newest one was made by this
 * process, so that all names are durable.
 */
export async function removeCheckpoints(storage: Storage, keep: number): Promise<void> {
  const old = listCheckpoints(storage).slice(keep);
  for (const tick of old) await storage.removeAsync(checkpointPath(tick));
  if (old.length > 0) await storage.syncFolderAsync(CHECKPOINT_FOLDER);
}

/**
 * Where the log may begin: at the place of the oldest good checkpoint of those that are kept.
 *
 * @param keep How many of the newest are.
 * @returns `undefined` where nothing can be dropped.
 */
export function laterBase(
  storage: Storage,
  meta: DirectoryMeta,
  keep: number,
): LogBase | undefined {
  const { base } = meta;
  // Merged segments on their way to their names: where the log begins is about to change.
  if (meta.pending !== undefined) return undefined;
  for (const tick of listCheckpoints(storage).slice(0, keep).reverse()) {
    const found = openQuietly(storage, tick);
    if (found === undefined) continue;
    using checkpoint = found;
    const { place } = checkpoint.header;
    if (place.tick === base?.tick && tick === base.horizon) return undefined;
    if (place.tick === 0 || !hasPlace(base, place.tick)) continue;
    return { ...place, horizon: tick };
  }
  return undefined;
}

/**
 * The first tick whose state can be had; 0 where all can. Where the log's beginning was dropped that takes
 * a checkpoint, and those that are not needed go before the metadata says so.
 */
export function horizonOf(storage: Storage, meta: DirectoryMeta | undefined): number {
  const { tick = 0, horizon = 0 } = meta?.base ?? {};
  if (tick === 0) return horizon;
  return listCheckpoints(storage).findLast((tick) => tick >= horizon) ?? horizon;
}

/** Stores where the log begins; what is before it may go from then on. */
export function storeBase(storage: Storage, meta: DirectoryMeta, base: LogBase): DirectoryMeta {
  const next = { ...meta, base };
  writeMeta(storage, next);
  return next;
}

/** Drops or archives the segments before the log's beginning, and removes what a crash left. */
export async function removeBefore(
  storage: Storage,
  base: LogBase | undefined,
  { log, archiveDir }: Retention,
): Promise<void> {
  if (log === "keep" || base === undefined) return;
  for (const { lane, segment } of base.lanes) {
    const folder = laneFolder(lane);
    const old = storage.list(folder).filter((name) => segmentNumber(name) < segment);
    if (old.length === 0) continue;
    const target = `${archiveDir}/${folder}`;
    if (log === "archive" && !storage.exists(target)) storage.makeFolder(target);
    for (const name of old) {
      const path = `${folder}/${name}`;
      if (log === "archive") storage.rename(path, `${target}/${name}`);
      else await storage.removeAsync(path);
    }
    // The new names first: at no moment is a segment durably nowhere.
    if (log === "archive") await storage.syncFolderAsync(target);
    await storage.syncFolderAsync(folder);
  }
}

/** Removes checkpoints that were never finished. */
export async function removeUnfinished(storage: Storage): Promise<void> {
  for (const name of storage.list(CHECKPOINT_FOLDER)) {
    if (name.endsWith(TEMPORARY_SUFFIX)) await storage.removeAsync(`${CHECKPOINT_FOLDER}/${name}`);
  }
}

/** Number of the segment that a file belongs to; past all others for files of other kinds. */
function segmentNumber(name: string): number {
  return Number(/^(\d{10})\./.exec(name)?.[1] ?? Infinity);
}

function openQuietly(storage: Storage, tick: number): Checkpoint | undefined {
  try {
    return Checkpoint.open(storage, tick);
  } catch {
    // It is as good as not there: the next one decides.
    return undefined;
  }
}
