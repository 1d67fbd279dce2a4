/**
 * Compaction switch: puts merged segments in the place of those that they stand for, so that a crash at
 * any moment leaves the old log or the new one.
 *
 * The merged segments are written whole under names of their own and synced. Then one replacement of
 * the metadata makes the new log count: it says where the log begins now and that a switch is
 * pending. From there on it is only carried out: each merged segment is copied to its real name, the
 * metadata forgets the switch, and what is not needed any more is removed. While a switch is pending, a
 * merged segment is read under its first name; opening for writing carries a pending switch out.
 *
 * A rename alone would not do: a crash may leave a file that was being renamed under neither name.
 *
 * Cost: the merged bytes are written twice.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { CHECKPOINT_FOLDER } from "./checkpoint_format.ts";
import { Checkpoint, listCheckpoints } from "./checkpoint_reader.ts";
import { laneFolder, segmentPath } from "./format.ts";
import { readSegmentHeader, segmentBytes } from "./frame_reader.ts";
import {
  type DirectoryMeta,
  hasPlace,
  type LogSwitch,
  META_PATH,
  metaOf,
  readMeta,
  writeMeta,
} from "./meta.ts";
import { parentFolder, type Storage } from "./storage.ts";

/** Bytes that are copied at one go. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** Readings of a directory whose beginning moves. */
const READINGS_MAX = 8;
const MERGED_NAME = /^merged-\d{6}\.(new|copy)$/;

/** Path of a merged segment before it gets its real name, and of a copy of it. */
export function mergedPath(lane: number, index: number, end: "new" | "copy" = "new"): string {
  return `${laneFolder(lane)}/merged-${String(index).padStart(6, "0")}.${end}`;
}

/** Removes what a compaction left that was cut off before its switch. */
export function removeMerged(storage: Storage, lane: number): void {
  const folder = laneFolder(lane);
  const left = storage.list(folder).filter((name) => MERGED_NAME.test(name));
  for (const name of left) storage.remove(`${folder}/${name}`);
  if (left.length > 0) storage.syncFolder(folder);
}

/**
 * Carries out a pending switch; the metadata says that it is pending, durably. Others go on meanwhile.
 *
 * @param storage The directory.
 * @param pending The switch.
 * @param settle Stores the metadata without it.
 * @param turn Lets others go on.
 */
export async function carryOut(
  storage: Storage,
  pending: LogSwitch,
  settle: () => void,
  turn: () => Promise<void>,
): Promise<void> {
  const { lane, first, count } = pending;
  for (let index = 0; index < count; index++) {
    const copy = mergedPath(lane, index, "copy");
    await copyFile(storage, mergedPath(lane, index), copy);
    storage.rename(copy, segmentPath(lane, first + index));
    await turn();
  }
  await storage.syncFolderAsync(laneFolder(lane));
  settle();
  await removeReplaced(storage, lane, first);
  for (const place of readMeta(storage)?.base?.lanes ?? []) {
    if (place.lane !== lane) await removeReplaced(storage, place.lane, place.segment);
  }
  for (const path of uselessCheckpoints(storage)) {
    await storage.removeAsync(path);
    await storage.syncFolderAsync(CHECKPOINT_FOLDER);
  }
}

/**
 * Carries out the switch that a crash cut off, if there is one, and removes what an earlier one left.
 *
 * @returns The metadata without the switch.
 * @throws {MmsbError} `corrupt-log` where a merged segment is lost; nothing is removed then.
 */
export function finishSwitch(storage: Storage, meta: DirectoryMeta): DirectoryMeta {
  const { pending, ...settled } = meta;
  if (pending !== undefined) {
    const { lane, first, count } = pending;
    const place = meta.base!.lanes.find((place) => place.lane === lane)!;
    let position = place.position - place.offset;
    for (let index = 0; index < count; index++) {
      const path = segmentPath(lane, first + index);
      const bytes = storage.readAll(mergedPath(lane, index));
      if (bytes !== undefined) storage.replace(path, bytes);
      position = endOfMerged(storage, path, mergedPath(lane, index), position);
    }
    writeMeta(storage, settled);
  }
  for (const { lane } of settled.lanes) removeMerged(storage, lane);
  const { base } = settled;
  // What was dropped behind a checkpoint may be on its way to an archive.
  if (base === undefined || base.tick > 0) return settled;
  for (const { lane, segment } of base.lanes) removeReplacedNow(storage, lane, segment);
  const useless = uselessCheckpoints(storage);
  for (const path of useless) storage.remove(path);
  if (useless.length > 0) storage.syncFolder(CHECKPOINT_FOLDER);
  return settled;
}

/** Position at which a merged segment under its real name ends; throws where it is none. */
function endOfMerged(storage: Storage, path: string, merged: string, position: number): number {
  const bytes = Uint8Array.from(storage.readAll(path) ?? []);
  const header = readSegmentHeader(segmentBytes(bytes.buffer, bytes.length), path);
  if (header !== "unused" && !("fault" in header) && header.position === position) {
    return position + bytes.length;
  }
  throw new MmsbError(
    "corrupt-log",
    `Cannot open ${storage.location} as "${merged}" is missing, which is to become "${path}": restore it from a copy, or salvage what is there`,
    { values: { location: storage.location, path: merged } },
  );
}

/** Checkpoints that begin at a place that is merged now. */
function uselessCheckpoints(storage: Storage): string[] {
  const { base } = readMeta(storage) ?? {};
  return listCheckpoints(storage).flatMap((tick) => {
    try {
      using checkpoint = Checkpoint.open(storage, tick);
      return hasPlace(base, checkpoint.header.place.tick) ? [] : [checkpoint.path];
    } catch (error) {
      // Whoever opens it says what is wrong with it.
      if (error instanceof MmsbError) return [];
      throw error;
    }
  });
}

async function copyFile(storage: Storage, source: string, target: string): Promise<void> {
  storage.remove(target);
  const from = storage.open(source, "read");
  try {
    const to = storage.open(target, "create");
    try {
      const size = from.size(), piece = new Uint8Array(Math.min(size, PIECE_BYTES));
      for (let at = 0; at < size; at += piece.length) {
        const bytes = piece.subarray(0, size - at);
        from.read(bytes, at);
        await to.writeAsync(bytes, at);
      }
      await to.syncAsync();
    } finally {
      to.close();
    }
  } finally {
    from.close();
  }
}

/** Names of a lane's files that the log does not need if it begins with segment `first`. */
function replacedNames(storage: Storage, lane: number, first: number): string[] {
  return storage.list(laneFolder(lane)).filter((name) => {
    const digits = /^(\d{10})\.(log|idx)$/.exec(name)?.[1];
    return digits !== undefined && Number(digits) < first;
  });
}

async function removeReplaced(storage: Storage, lane: number, first: number): Promise<void> {
  const folder = laneFolder(lane);
  const merged = storage.list(folder).filter((name) => MERGED_NAME.test(name));
  for (const name of [...replacedNames(storage, lane, first), ...merged]) {
    await storage.removeAsync(`${folder}/${name}`);
  }
  await storage.syncFolderAsync(folder);
}

function removeReplacedNow(storage: Storage, lane: number, first: number): void {
  const names = replacedNames(storage, lane, first);
  for (const name of names) storage.remove(`${laneFolder(lane)}/${name}`);
  if (names.length > 0) storage.syncFolder(laneFolder(lane));
}

/**
 * A directory as its metadata means it: while a switch is pending, merged segments are read under the
 * names that they were written under. Whoever reads the metadata again through it reads the segments as
 * that means them.
 *
 * @param storage The directory; it is only read.
 * @param meta Its metadata. Default: what it holds.
 */
export function settledView(
  storage: Storage,
  meta: DirectoryMeta | null | undefined = quietMeta(storage),
): Storage {
  let merged = mergedNames(meta);
  const place = (path: string) => {
    const other = merged.get(path);
    return other !== undefined && storage.exists(other) ? other : path;
  };
  const readAll = (path: string) => {
    const bytes = storage.readAll(place(path));
    if (path === META_PATH) merged = mergedNames(quietMeta(storage, bytes));
    return bytes;
  };
  const list = (folder: string) => {
    const names = new Set(storage.list(folder));
    for (const path of merged.keys()) {
      if (parentFolder(path) === folder) names.add(path.slice(folder.length + 1));
    }
    return [...names].sort();
  };
  const open = (path: string, mode: "read") => storage.open(place(path), mode);
  const exists = (path: string) => storage.exists(place(path));
  const own: Readonly<Record<PropertyKey, unknown>> = { open, readAll, exists, list };
  return new Proxy(storage, {
    get(target, key) {
      if (Object.hasOwn(own, key)) return own[key];
      const value = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Metadata; none where it cannot be read, as whoever needs it says so. */
function quietMeta(
  storage: Storage,
  bytes = storage.readAll(META_PATH),
): DirectoryMeta | undefined {
  try {
    return metaOf(bytes);
  } catch (error) {
    if (!(error instanceof MmsbError)) throw error;
    return undefined;
  }
}

/** Where the segments of a pending switch are read, by the names that they are to get. */
function mergedNames(meta: DirectoryMeta | null | undefined): ReadonlyMap<string, string> {
  const { lane, first, count } = meta?.pending ?? { lane: 0, first: 0, count: 0 };
  return new Map(
    Array.from({ length: count }, (_, i) => [segmentPath(lane, first + i), mergedPath(lane, i)]),
  );
}

/**
 * Reads a directory whose early ticks another process may be merging or dropping: what is read while
 * they go can look like damage, so where it fails and the log begins elsewhere now it is read again.
 *
 * @typeParam T What a reading gives.
 * @param storage The directory.
 * @param metaOf Its metadata as it stands.
 * @param read Reads all that it needs anew.
 * @param isGood Whether a reading may be believed at once. Default: all that do not throw.
 */
export function readSettled<T>(
  storage: Storage,
  metaOf: () => DirectoryMeta | undefined,
  read: (storage: Storage, meta: DirectoryMeta | undefined) => T,
  isGood: (reading: T) => boolean = () => true,
): T {
  for (let readings = 1;; readings++) {
    const meta = metaOf(), isLast = readings >= READINGS_MAX;
    const hasMoved = () => beginningOf(metaOf()) !== beginningOf(meta);
    try {
      const reading = read(settledView(storage, meta ?? null), meta);
      if (isGood(reading) || isLast || !hasMoved()) return reading;
    } catch (error) {
      if (!(error instanceof MmsbError) || isLast || !hasMoved()) throw error;
    }
  }
}

/** Where a log begins, and where its beginning is read, as text to be compared. */
export function beginningOf(meta: DirectoryMeta | undefined): string {
  return JSON.stringify([meta?.base ?? null, meta?.pending ?? null]);
}
