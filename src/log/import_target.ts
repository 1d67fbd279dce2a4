/**
 * Import target: a new directory that is there whole or not at all.
 *
 * It is built beside its place under a temporary name, and gets its own name when it is closed and
 * durable; a failure, or a kill, leaves no directory of that name. What a killed run left under the
 * temporary name is removed by the next one.
 *
 * @module
 */

import { dirname, resolve } from "node:path";
import { MmsbError } from "../base/mod.ts";
import * as platform from "./_platform.ts";
import { FileStorage } from "./file_storage.ts";
import { laneFolder } from "./format.ts";
import { META_PATH } from "./meta.ts";
import { LOCK_PATH, temporaryPath } from "./storage.ts";

/**
 * Builds a directory.
 *
 * @typeParam T What building gives.
 * @param directory Its path; absent, or an empty folder.
 * @param build Builds it in a storage, and closes what it opened there.
 * @returns What `build` gave, when the directory has its name.
 * @throws {MmsbError} `usage` where something is there already, `locked` where another process
 * builds the same; what the system or `build` throws.
 */
export async function buildDirectory<T>(
  directory: string,
  build: (storage: FileStorage) => Promise<T>,
): Promise<T> {
  const target = resolve(directory), temporary = temporaryPath(target);
  checkTarget(target);
  const storage = new FileStorage(temporary);
  const isLeftOver = platform.pathKind(temporary) !== undefined;
  if (isLeftOver) checkLeftOver(temporary);
  storage.makeFolder("");
  const unlock = storage.lock();
  try {
    if (isLeftOver) clear(storage);
    const result = await build(storage);
    checkTarget(target);
    unlock();
    storage.remove(LOCK_PATH);
    storage.syncFolder("");
    platform.renameFile(temporary, target);
    platform.syncFolder(dirname(target));
    return result;
  } catch (error) {
    unlock();
    removeQuietly(temporary);
    throw error;
  }
}

/**
 * Refuses a target that has something in it.
 *
 * @throws {MmsbError} `usage` where it is a file or a folder that is not empty.
 */
export function checkTarget(directory: string): void {
  const target = resolve(directory), kind = platform.pathKind(target);
  if (kind === undefined) return;
  const what = kind === "file" ? "is a file" : "is not empty";
  if (kind === "folder" && platform.listFolder(target)?.length === 0) return;
  throw new MmsbError(
    "usage",
    `Cannot write to ${
      JSON.stringify(target)
    } as it ${what}: name a directory that is not there yet`,
    { values: { path: target } },
  );
}

/** Names that a run leaves behind. */
const LEFT_BEHIND = [LOCK_PATH, META_PATH, temporaryPath(META_PATH), laneFolder(0)];

function checkLeftOver(temporary: string): void {
  const isOurs = platform.pathKind(temporary) === "folder" &&
    platform.listFolder(temporary)!.every((name) => LEFT_BEHIND.includes(name));
  if (isOurs) return;
  throw new MmsbError(
    "usage",
    `Cannot write to ${
      JSON.stringify(temporary)
    }, where the directory is built, as something else is there: move it away`,
    { values: { path: temporary } },
  );
}

/** Removes what a killed run left; the lock is ours, so nobody writes there. */
function clear(storage: FileStorage): void {
  for (const name of storage.list(laneFolder(0))) storage.remove(`${laneFolder(0)}/${name}`);
  storage.remove(META_PATH);
  storage.remove(temporaryPath(META_PATH));
}

function removeQuietly(path: string): void {
  try {
    platform.removeFolder(path);
  } catch { /* The failure before this one is what must be heard of. */ }
}
