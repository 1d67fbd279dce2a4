/**
 * Opening: finds out what a directory holds and recovers it, to write or only to read.
 *
 * Who writes holds the directory's lock and refuses damage of synced bytes. Who reads takes what is
 * whole, beside a writer that goes on meanwhile: from the writer's mapped file where that is wanted and
 * there is one, else from the log.
 *
 * Cost: the reading of the newest checkpoint and of the log after it; of a mapped file only its page
 * table.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import {
  beginningOf,
  beginWriting,
  checkUndamaged,
  closedEnd,
  type DirectoryMeta,
  finishSwitch,
  FORMAT,
  type LaneSet,
  META_PATH,
  readMeta,
  recover,
  recoverBeside,
  type Recovery,
  settledView,
  type Storage,
  writeMeta,
} from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { WorkerTeam } from "../propagation/mod.ts";
import { attach } from "./_attached.ts";
import { OpenedDevice } from "./_device.ts";
import type { BusPosition } from "./_inside.ts";
import type { Sending } from "./_sending.ts";
import { fillStore, identityOf, type OpenedImage, openImage, refused } from "./_mapped_image.ts";
import type { AttachedReader } from "./attached_reader.ts";
import { type ResolvedOptions, shardsOf } from "./options.ts";
import type { Past } from "./past.ts";
import type { OpenReport, WorkersReport } from "./reports.ts";

/** Readings of a directory that seems to change under the reader. */
const READINGS_MAX = 3;

/** What a bus is made of. */
export interface BusParts {
  /** The bus's options. */
  readonly options: ResolvedOptions;
  /** The mapped file to write to, or why there is none. */
  readonly opened?: OpenedImage;
  /** The mapped file to read. */
  readonly attached?: AttachedReader;
  /** The pages. */
  readonly store: PageStore;
  /** The directory; none in memory. */
  readonly storage?: Storage;
  /** The directory's metadata. */
  readonly meta?: DirectoryMeta;
  /** The log, where the bus writes one. */
  readonly writer?: LaneSet;
  /** Lets go of the directory's lock. */
  readonly unlock?: () => void;
  /** What reading the log found. */
  readonly recovery?: Recovery;
  /** The past that this is a state of. */
  readonly past?: Past;
  /** Where another bus stood that this one goes on for. */
  readonly position?: BusPosition;
  /** Threads beside this one, or why there are none. */
  readonly team?: WorkerTeam | { readonly reason: string };
  /** The GPU, or why there is none; absent where none was asked for. */
  readonly device?: OpenedDevice;
  /** Sends batches to the thread whose pages are read. */
  readonly sending?: Sending;
  /** What is wrong with the metadata of a directory that is only read. */
  readonly fault?: string;
}

/**
 * Opens what the options name.
 *
 * @throws {MmsbError} as `StateBus.open`; nothing stays locked then.
 */
export async function openParts(options: ResolvedOptions): Promise<BusParts> {
  const parts = await partsOfState(options);
  const { store, storage } = parts, { workers, pinWorkers: pin } = options;
  if (workers === 0 && options.device === "cpu") return parts;
  try {
    const team = workers === 0 ? undefined : await WorkerTeam.start(store, { workers, pin });
    const device = await OpenedDevice.open(options, store, storage);
    return { ...parts, team, device };
  } catch (error) {
    releaseParts(parts);
    throw error;
  }
}

async function partsOfState(options: ResolvedOptions): Promise<BusParts> {
  const { storage } = options;
  if (storage === undefined) {
    if (options.spill !== undefined) return { options, store: newStore(options) };
    const { store, opened } = fillStore(options, openImage(options, shardsOf(options)));
    return { options, store, opened };
  }
  return { options, ...await (options.readOnly ? partsToRead : partsToWrite)(storage, options) };
}

/** Lets go of what no bus could be made of. */
export function releaseParts({ opened, unlock, store, device }: Partial<BusParts>): void {
  opened?.image?.abandon();
  device?.close().catch(() => {});
  store?.close();
  unlock?.();
}

/** A store for pages as the options have it. */
export function newStore({ memoryLimitBytes, spill }: ResolvedOptions): PageStore {
  return new PageStore(memoryLimitBytes, undefined, spill);
}

/** What opening found, as the bus tells it. */
export function openReport(parts: BusParts): OpenReport {
  const { recovery, attached, fault, opened, team, device } = parts;
  return {
    tick: recovery?.tick ?? attached?.tick ?? 0,
    rows: recovery?.rows ?? 0,
    state: fault === undefined ? recovery?.end.state ?? "whole" : "damaged",
    reason: fault ?? recovery?.end.reason ?? "",
    ...(opened === undefined ? {} : { arena: opened.report }),
    ...(team === undefined ? {} : { workers: teamReport(team) }),
    ...(device === undefined ? {} : { device: device.report }),
    ...(recovery?.checkpoint === undefined ? {} : { checkpoint: recovery.checkpoint }),
    ...(recovery?.passedOver?.length ? { passedOver: recovery.passedOver } : {}),
  };
}

function teamReport(team: WorkerTeam | { readonly reason: string }): WorkersReport {
  if (!(team instanceof WorkerTeam)) return { count: 0, reason: team.reason };
  return { count: team.size, reason: team.pinning ?? "" };
}

/** Locks a directory, made where there is none, recovers it and opens a new segment. */
async function partsToWrite(
  storage: Storage,
  options: ResolvedOptions,
): Promise<Omit<BusParts, "options">> {
  storage.makeFolder("");
  const unlock = storage.lock();
  let opened: OpenedImage | undefined, store: PageStore | undefined;
  try {
    const known = readMeta(storage) ?? newDirectory(storage, options);
    checkShards(storage, options, known);
    const meta = finishSwitch(storage, known);
    const found = await stateToWrite(storage, meta, options);
    ({ opened, store } = found);
    const begun = beginWriting(storage, meta, found.recovery.end, options);
    return { storage, unlock, ...found, ...begun };
  } catch (error) {
    releaseParts({ opened, unlock, store });
    throw error;
  }
}

/** The state of a directory for writing: taken over from a mapped file, or recovered. */
async function stateToWrite(
  storage: Storage,
  meta: DirectoryMeta,
  options: ResolvedOptions,
): Promise<
  { readonly store: PageStore; readonly recovery: Recovery; readonly opened?: OpenedImage }
> {
  if (options.arena !== "mmap") {
    // Tells who reads an earlier writer's mapped file.
    openImage(options, meta.shards);
    const store = newStore(options);
    try {
      const recovery = await recoverBeside(storage, meta, store);
      checkUndamaged(storage, recovery.end);
      return { store, recovery };
    } catch (error) {
      store.close();
      throw error;
    }
  }
  const end = closedEnd(storage, meta);
  const identity = end === undefined ? undefined : identityOf(meta, meta.shards);
  const { store, opened, value: recovery } = fillStore(
    options,
    openImage(options, meta.shards, identity),
    (store, isFilled) => {
      if (isFilled) return { tick: end!.tick, hlcLast: identity!.hlc, rows: 0, end: end! };
      const found = recover(storage, meta, store);
      checkUndamaged(storage, found.end);
      return found;
    },
  );
  return { store, recovery, opened };
}

/** Attaches to a directory's mapped file where that is wanted and there is one; else reads its log. */
function partsToRead(storage: Storage, options: ResolvedOptions): Omit<BusParts, "options"> {
  if (options.arena !== "mmap") return readStable(storage, options);
  const attached = attach(storage);
  if ("reason" in attached) {
    return { ...readStable(storage, options), opened: refused(attached.reason) };
  }
  const { meta, fault } = readMetaToRead(storage);
  if (meta !== undefined) checkShards(storage, options, meta);
  const report = { kind: "mmap", adopted: true, reason: "" } as const;
  return { store: attached.store, storage, meta, attached, fault, opened: { report } };
}

/**
 * Reads a directory that another process may be writing: segments grow and appear while they are read,
 * which can look like damage. Damage stays where it is, so it counts if a second reading ends at the same
 * tick; a reading that gets further shows that the end was only being written.
 */
function readStable(storage: Storage, options: ResolvedOptions): Omit<BusParts, "options"> {
  const view = settledView(storage);
  let tickBefore = -1, beganAt = "";
  for (let attempt = 1;; attempt++) {
    let begins = "", store: PageStore | undefined, isTaken = false;
    try {
      const { meta, fault } = readMetaToRead(view);
      if (meta !== undefined) checkShards(storage, options, meta);
      begins = beginningOf(meta);
      store = newStore(options);
      const found = recover(view, meta, store);
      const { state, tick } = found.end;
      if (state !== "damaged" || tick === tickBefore && begins === beganAt) {
        isTaken = true;
        return { store, storage: view, meta, recovery: found, fault };
      }
      if (attempt >= READINGS_MAX && tickBefore >= 0 && begins === beganAt) {
        const end = { ...found.end, state: "torn" as const, reason: "the log is being written" };
        isTaken = true;
        return { store, storage: view, meta, recovery: { ...found, end }, fault };
      }
      [tickBefore, beganAt] = [tick, begins];
    } catch (error) {
      // A prepared segment may be gone between the listing and the opening, or early ones merged.
      const isGone = error instanceof MmsbError && error.values.systemCode === "ENOENT";
      const hasMoved = begins !== "" && begins !== beginningOf(readMetaToRead(view).meta);
      if (!isGone && !hasMoved || attempt >= 4 * READINGS_MAX) throw error;
    } finally {
      if (!isTaken) store?.close();
    }
  }
}

/** Metadata for reading only: where it is lost or damaged the segments speak for themselves. */
function readMetaToRead(storage: Storage): { meta?: DirectoryMeta; fault?: string } {
  try {
    const meta = readMeta(storage);
    if (meta !== undefined) return { meta };
  } catch (error) {
    if (!(error instanceof MmsbError) || error.code !== "corrupt-log") throw error;
    return { fault: error.message };
  }
  const hasLanes = storage.list("").some((name) => name.startsWith("lane-"));
  if (!hasLanes) refuseNoDirectory(storage);
  return { fault: `"${META_PATH}" is missing in ${storage.location}` };
}

function refuseNoDirectory(storage: Storage): never {
  throw new MmsbError("io", `Cannot open ${storage.location} to read: there is no MMSB directory`, {
    values: { location: storage.location },
  });
}

function checkShards(storage: Storage, { shards }: ResolvedOptions, meta: DirectoryMeta): void {
  if (shards === undefined || shards === meta.shards) return;
  throw new MmsbError(
    "usage",
    `Cannot open ${storage.location} with ${shards} shards: it was made with ${meta.shards}`,
    { values: { shards, directoryShards: meta.shards } },
  );
}

function newDirectory(storage: Storage, options: ResolvedOptions): DirectoryMeta {
  const foreign = storage.list("").filter((name) => name.startsWith("lane-"));
  if (foreign.length > 0) {
    throw new MmsbError(
      "corrupt-log",
      `Cannot open ${storage.location} as "meta.json" is missing beside ${
        foreign[0]
      }: restore it from a copy`,
      { values: { location: storage.location, path: "meta.json" } },
    );
  }
  const meta: DirectoryMeta = {
    format: FORMAT,
    shards: shardsOf(options),
    incarnation: 0,
    lanes: [],
    closed: null,
  };
  writeMeta(storage, meta);
  return meta;
}
