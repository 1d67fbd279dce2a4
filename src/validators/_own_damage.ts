/**
 * What is damaged in a user's directory, told so that somebody who has never seen its format knows what
 * happened: the file and the byte, the ticks and pages concerned by their names, and what can still be saved.
 *
 * The check of the log says which part is at fault. If a single byte accounts for it, that byte is put right in
 * a copy in memory and the log is checked again: where that is whole, the byte is certain. What a salvage would save is
 * found by doing one into nothing; which ticks and pages a place concerns, `_own_concerned.ts` finds out.
 *
 * Cost: nothing where nothing is wrong; else some passes over the log.
 */

import { MmsbError } from "../base/mod.ts";
import {
  auditLog,
  decodeIndex,
  type LogAudit,
  type LogFault,
  META_PATH,
  type SalvageReport,
  salvageStorage,
  type Storage,
} from "../log/mod.ts";
import { corrected, type WrongByte, wrongBytes } from "./_own_bytes.ts";
import { aboutByte, aboutPart, type Concerned } from "./_own_concerned.ts";
import { SinkStorage } from "./_own_sink.ts";

/** One place that is damaged. */
export interface DamagedPlace extends Concerned {
  /** File, relative to the directory. */
  readonly file: string;
  /** The byte, or where it is not known the part that it is in. */
  readonly offset: number;
  /** What was found, in words. */
  readonly found: string;
  /** The byte, where one accounts for all. */
  readonly byte?: WrongByte;
}

/** All that is damaged. */
export interface DamageAccount {
  /** The places, in the order of the log. */
  readonly places: readonly DamagedPlace[];
  /** More places that were not looked at. */
  readonly more: number;
  /** What a salvage would do; absent where the log itself is whole, or none can be done. */
  readonly salvage?: SalvageReport;
}

/** Places that are told one by one. */
const PLACES_MAX = 8;
/** Checks of the whole log that are made to be certain of a byte. */
const AUDITS_MAX = 8;
/** Behind a lost tick these are to be expected. */
const FOLLOWING: ReadonlySet<string> = new Set(["sequence", "tick-missing", "epoch", "time"]);

/**
 * Checks a log that may not even say its own format any more.
 *
 * @returns The audit; of a log whose metadata has a wrong byte in its format that of the log as it was written, with the
 * metadata as a problem.
 * @throws {MmsbError} `version` where a newer MMSB wrote it.
 */
export async function auditOwn(
  storage: Storage,
  audit: () => Promise<LogAudit>,
): Promise<LogAudit> {
  try {
    return await audit();
  } catch (error) {
    if (!(error instanceof MmsbError) || error.code !== "version") throw error;
    const bytes = wrongBytes(storage, META_PATH);
    if (bytes.length === 0) throw error;
    const found = auditLog(corrected(storage, bytes.slice(0, 1)));
    const message = "it says another format than the log has, and its checksum does not fit";
    const fault = { kind: "damage", fault: "meta", file: META_PATH, offset: 0, message } as const;
    return { ...found, problems: [fault, ...found.problems] };
  }
}

/** Damaged indexes of segments: they are made again where they are wrong, and lose nothing. */
export function indexFaults(storage: Storage): { damaged: DamagedPlace[]; unusable: string[] } {
  const damaged: DamagedPlace[] = [], unusable: string[] = [];
  for (const folder of storage.list("").filter((name) => /^lane-\d+$/.test(name))) {
    for (const name of storage.list(folder).filter((name) => name.endsWith(".idx"))) {
      const file = `${folder}/${name}`, bytes = storage.readAll(file);
      if (bytes === undefined || decodeIndex(Uint8Array.from(bytes)) !== undefined) continue;
      const [byte, ...others] = wrongBytes(storage, file);
      // Indexes are written without a sync: one that is torn is as a crash may leave it.
      if (byte === undefined || others.length > 0) unusable.push(file);
      else {
        const found = "an index does not match its checksum", { offset } = byte;
        const part = "the index of a segment, which is made again from it";
        damaged.push({ file, offset, found, byte, part, pages: [] });
      }
    }
  }
  return { damaged, unusable };
}

/**
 * Finds out what damage concerns.
 *
 * @param storage The directory; it is only read.
 * @param audit What the check found.
 */
export async function accountFor(
  storage: Storage,
  { problems }: LogAudit,
  progress: (text: string) => void,
): Promise<DamageAccount> {
  const bytes = certainBytes(storage, problems, progress);
  const whole = corrected(storage, [...bytes.values()]);
  const roots = rootsOf(problems);
  const isLog = problems.some(({ fault }) => fault !== "checkpoint");
  progress("what could be saved");
  const salvage = isLog ? await dryRun(storage) : undefined;
  const places: DamagedPlace[] = [];
  for (const problem of distinct(roots).slice(0, PLACES_MAX)) {
    const byte = bytes.get(problem), { file, message: found } = problem;
    const offset = byte?.offset ?? problem.offset;
    progress(`what is at byte ${offset} of ${file}`);
    const about = byte === undefined
      ? aboutPart(storage, problem, salvage)
      : aboutByte(whole, byte, problem);
    places.push({ file, offset, found, ...(byte === undefined ? {} : { byte }), ...about });
  }
  // A byte that was wrong explains what else did not fit.
  const told = bytes.size > 0 && bytes.size < places.length && isClean(whole)
    ? places.filter(({ byte }) => byte !== undefined)
    : places;
  return {
    places: told,
    more: told === places ? distinct(roots).length - places.length : 0,
    ...(salvage === undefined ? {} : { salvage }),
  };
}

/** What does not only follow from something that is lost before it. */
function rootsOf(problems: readonly LogFault[]): readonly LogFault[] {
  const roots = problems.filter(({ fault }) => !FOLLOWING.has(fault));
  return roots.length > 0 ? roots : problems;
}

function distinct(problems: readonly LogFault[]): LogFault[] {
  const known = new Set<string>();
  return problems.filter(({ file, offset }) => {
    const place = `${file} ${offset}`;
    return !known.has(place) && known.add(place);
  });
}

/** For each problem that one byte accounts for that byte: with it put right, the problem is gone. */
function certainBytes(
  storage: Storage,
  problems: readonly LogFault[],
  progress: (text: string) => void,
): Map<LogFault, WrongByte> {
  const bytes = new Map<LogFault, WrongByte>();
  let audits = 0, left = new Set(problems.map(({ file, offset }) => `${file} ${offset}`));
  for (const problem of distinct(problems)) {
    const place = `${problem.file} ${problem.offset}`;
    if (!left.has(place)) continue;
    for (const byte of wrongBytes(storage, problem.file, problem.offset)) {
      if (++audits > AUDITS_MAX) return bytes;
      progress(`is it byte ${byte.offset} of ${byte.file}?`);
      const now = problemsOf(corrected(storage, [...bytes.values(), byte]));
      if (now === undefined || now.has(place)) continue;
      bytes.set(problem, byte);
      left = now;
      break;
    }
  }
  return bytes;
}

function problemsOf(storage: Storage): Set<string> | undefined {
  try {
    const { problems } = auditLog(storage);
    return new Set(problems.map(({ file, offset }) => `${file} ${offset}`));
  } catch (error) {
    if (error instanceof MmsbError) return undefined;
    throw error;
  }
}

function isClean(storage: Storage): boolean {
  return problemsOf(storage)?.size === 0;
}

async function dryRun(storage: Storage): Promise<SalvageReport | undefined> {
  try {
    return await salvageStorage(storage, new SinkStorage());
  } catch (error) {
    if (error instanceof MmsbError) return undefined;
    throw error;
  }
}
