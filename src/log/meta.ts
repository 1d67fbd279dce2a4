/**
 * Directory metadata: `meta.json`, what must be known before a lane is read.
 *
 * It is replaced whole (temporary name, sync, rename, folder sync), at three moments only: when the
 * directory is made, when a writer begins (a new incarnation, stored before the first new write, so
 * that frames of an earlier one behind a cut never count), and at a clean close (where each lane
 * ends, so that afterwards nothing is ambiguous). It ends with a checksum over the rest, because a
 * wrong digit in it would be believed.
 *
 * @module
 */

import { crc32, decodeUtf8, MmsbError, SHARDS_MAX } from "../base/mod.ts";
import { FORMAT } from "./format.ts";
import type { Storage } from "./storage.ts";

/** Path of the metadata. */
export const META_PATH = "meta.json";

/** One lane as the directory knows it. */
export interface LaneMeta {
  /** Lane. */
  readonly lane: number;
  /** Segment that the writer began with; durable. */
  readonly segment: number;
  /** Position up to which the lane was synced when this was written. */
  readonly position: number;
}

/** A place in a lane between two ticks. */
export interface LanePlace {
  /** Lane. */
  readonly lane: number;
  /** Segment; it has at least a header. */
  readonly segment: number;
  /** Byte of the segment. */
  readonly offset: number;
  /** The same as a position in the lane. */
  readonly position: number;
}

/** A place in the log between two ticks: where reading may begin. */
export interface LogPlace {
  /** The last tick before it. */
  readonly tick: number;
  /** The places in the lanes; a lane that is not named began later. */
  readonly lanes: readonly LanePlace[];
}

/** Where a log begins, once earlier ticks were dropped or merged. */
export interface LogBase extends LogPlace {
  /** States before this tick cannot be had: their ticks were dropped, or merged into one. */
  readonly horizon: number;
}

/** Merged segments that are to take the place of others. */
export interface LogSwitch {
  /** Lane. */
  readonly lane: number;
  /** Number of the first merged segment. */
  readonly first: number;
  /** How many there are. */
  readonly count: number;
}

/** What `meta.json` holds. */
export interface DirectoryMeta {
  /** Format of the directory. */
  readonly format: number;
  /** Number of shards, fixed when the directory is made. */
  readonly shards: number;
  /** Number of the newest writer, from 1. */
  readonly incarnation: number;
  /** The lanes. */
  readonly lanes: readonly LaneMeta[];
  /** Whether the last writer closed the directory; its last tick and HLC as text. */
  readonly closed: { readonly tick: number; readonly hlc: string } | null;
  /** Where the log begins; absent where it begins with tick 1. */
  readonly base?: LogBase;
  /** Merged segments that may not have their real names yet; absent where all have. */
  readonly pending?: LogSwitch;
}

/**
 * Whether a log still has the place behind a tick. Of merged ticks only the last one's state can be had,
 * and its place is another one now.
 *
 * @param base Where the log begins.
 * @param tick The tick.
 */
export function hasPlace(base: LogBase | undefined, tick: number): boolean {
  return base === undefined || tick > base.horizon || base.tick > 0 && tick === base.horizon;
}

/**
 * Reads the metadata.
 *
 * @returns `undefined` where there is none.
 * @throws {MmsbError} `version` where a newer MMSB wrote it, `corrupt-log` where it cannot be read.
 */
export function readMeta(storage: Storage): DirectoryMeta | undefined {
  return metaOf(storage.readAll(META_PATH), storage.location);
}

/**
 * Metadata from the bytes of its file.
 *
 * @param location The directory, for the error.
 * @throws {MmsbError} as {@linkcode readMeta}.
 */
export function metaOf(
  bytes: Uint8Array | undefined,
  location = "the directory",
): DirectoryMeta | undefined {
  if (bytes === undefined) return undefined;
  let stored: DirectoryMeta & { readonly check?: unknown };
  try {
    stored = JSON.parse(decodeUtf8(META_PATH, bytes, "corrupt-log"));
  } catch (cause) {
    throw new MmsbError(
      "corrupt-log",
      `Cannot read "${META_PATH}" in ${location}: it is no JSON; restore it from a copy, or save what is whole with mmsb log salvage`,
      { values: { path: META_PATH, location }, cause },
    );
  }
  const format = stored?.format;
  if (Number.isInteger(format) && format > FORMAT) {
    throw new MmsbError(
      "version",
      `Cannot open ${location} as its format is ${format}: this MMSB knows up to ${FORMAT}, use a newer one`,
      { values: { path: META_PATH, location, format, formatMax: FORMAT } },
    );
  }
  const { check, ...meta } = stored ?? {};
  const field = wrongField(meta) ?? (check === checkOf(meta) ? undefined : "check");
  if (field !== undefined) {
    throw new MmsbError(
      "corrupt-log",
      `Cannot use "${META_PATH}" in ${location} as "${field}" is wrong: restore it from a copy, or save what is whole with mmsb log salvage`,
      { values: { path: META_PATH, location, field } },
    );
  }
  return meta;
}

/** Stores the metadata, atomically and durably. */
export function writeMeta(storage: Storage, meta: DirectoryMeta): void {
  const { format, shards, incarnation, lanes, closed, base, pending } = meta;
  const fields = {
    format,
    shards,
    incarnation,
    lanes,
    closed,
    ...(base === undefined ? {} : { base }),
    ...(pending === undefined ? {} : { pending }),
  };
  const text = JSON.stringify({ ...fields, check: checkOf(fields) }, null, 2);
  storage.replace(META_PATH, new TextEncoder().encode(text + "\n"));
}

/** CRC-32 of the metadata as JSON without spaces. */
function checkOf(meta: DirectoryMeta): string {
  return crc32(new TextEncoder().encode(JSON.stringify(meta))).toString(16).padStart(8, "0");
}

function wrongField(meta: DirectoryMeta): string | undefined {
  const count = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (meta === null || typeof meta !== "object" || meta.format !== FORMAT) return "format";
  if (!count(meta.shards) || meta.shards < 1 || meta.shards > SHARDS_MAX) return "shards";
  if (!count(meta.incarnation)) return "incarnation";
  if (!Array.isArray(meta.lanes)) return "lanes";
  for (const lane of meta.lanes) {
    if (!count(lane?.lane) || !count(lane.segment) || !count(lane.position)) return "lanes";
  }
  const { closed, base, pending } = meta;
  const closedFits = closed === null || typeof closed === "object" && count(closed.tick) &&
      typeof closed.hlc === "string" && /^\d+$/.test(closed.hlc);
  if (!closedFits) return "closed";
  if (pending !== undefined) {
    const isSwitch = pending !== null && typeof pending === "object" && base !== undefined;
    if (!isSwitch || !count(pending.lane) || !count(pending.first) || !count(pending.count)) {
      return "pending";
    }
  }
  if (base === undefined) return undefined;
  const baseFits = base !== null && typeof base === "object" && count(base.tick) &&
    count(base.horizon) && Array.isArray(base.lanes) &&
    base.lanes.every((place) =>
      count(place?.lane) && count(place.segment) && count(place.offset) && count(place.position)
    );
  return baseFits ? undefined : "base";
}
