/**
 * A directory as the tools for people look at it: read, never written, never locked, and perhaps
 * being written by another process while it is read.
 *
 * What is read of a live log can be inconsistent for a moment (a segment is read, and then the
 * writer goes on), and would look like damage. Real damage stays where it is, so what looks like
 * damage is read a second time, and only what both readings found counts.
 */

import { MmsbError } from "../base/mod.ts";
import { settledView } from "./compaction_switch.ts";
import { FileStorage } from "./file_storage.ts";
import { laneFolder } from "./format.ts";
import { type DirectoryMeta, META_PATH, readMeta } from "./meta.ts";
import { LOCK_PATH, type Storage } from "./storage.ts";

/** A directory's metadata, or why there is none. */
export interface MetaFound {
  /** The metadata. */
  readonly meta?: DirectoryMeta;
  /** What is wrong with it, in words. */
  readonly fault?: string;
}

/** Most readings of a log that another process is changing. */
const READINGS_MAX = 4;

/**
 * Opens a directory to look at it.
 *
 * @throws {MmsbError} `usage` where the folder is no data directory.
 */
export function openDirectory(directory: string): Storage {
  const storage = new FileStorage(directory);
  if (!storage.exists(META_PATH) && lanesOf(storage).length === 0) {
    throw new MmsbError(
      "usage",
      `Cannot read ${
        JSON.stringify(storage.location)
      } as it is no data directory: give the dir of a bus`,
      { values: { location: storage.location } },
    );
  }
  return settledView(storage);
}

/** Numbers of the lanes that have a folder. */
export function lanesOf(storage: Storage): number[] {
  return storage.list("")
    .map((name) => {
      const lane = Number(/^lane-(\d{2,3})$/.exec(name)?.[1] ?? NaN);
      return laneFolder(lane) === name ? lane : NaN;
    })
    .filter((lane) => !Number.isNaN(lane))
    .sort((a, b) => a - b);
}

/**
 * Reads the metadata, and goes on without it where it is lost.
 *
 * @throws {MmsbError} `version` where a newer MMSB wrote it, `io` where it cannot be read.
 */
export function findMeta(storage: Storage): MetaFound {
  try {
    const meta = readMeta(storage);
    return meta === undefined ? { fault: "it is missing" } : { meta };
  } catch (error) {
    if (!(error instanceof MmsbError) || error.code !== "corrupt-log") throw error;
    return { fault: error.message };
  }
}

/** The process that the lock file names: a writer that has the directory open, or was killed. */
export function holderOf(storage: Storage): number | undefined {
  const bytes = storage.exists(LOCK_PATH) ? storage.readAll(LOCK_PATH) : undefined;
  const digits = /^\d+/.exec(new TextDecoder().decode(bytes))?.[0];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * Reads a log again until what looks like damage is sure, or gone.
 *
 * @typeParam T What a reading gives.
 * @param read Reads everything anew.
 * @param damageOf The places of the damage that a reading found, as text; none where it is whole.
 * @returns The last reading, and the places that it shares with the one before.
 */
export function settle<T>(
  read: () => T,
  damageOf: (reading: T) => readonly string[],
): { reading: T; damage: ReadonlySet<string> } {
  let before: ReadonlySet<string> | undefined;
  for (let readings = 1;; readings++) {
    let reading: T;
    try {
      reading = read();
    } catch (error) {
      // A writer removes a prepared segment when it closes, and a torn one when it opens.
      if (readings < READINGS_MAX && isAbsence(error)) continue;
      throw error;
    }
    const found = damageOf(reading);
    if (found.length === 0) return { reading, damage: new Set() };
    const damage = new Set(found.filter((place) => before?.has(place)));
    if (before !== undefined && (damage.size > 0 || readings >= READINGS_MAX)) {
      return { reading, damage };
    }
    before = new Set(found);
  }
}

function isAbsence(error: unknown): boolean {
  return error instanceof MmsbError && error.code === "io" && error.values.systemCode === "ENOENT";
}
