/**
 * What is damaged in a user's directory, told so that somebody who has never seen its format knows what
 * happened: the file and the byte, the ticks and pages concerned by their names, and what can still be saved.
 *
 * The check of the log says which part is at fault. If a single byte accounts for it, that byte is put right in
 * a copy in memory and the log is checked again: where that is whole, the byte is certain, and the tick and its pages
 * are read from the log as it was written. Otherwise they are those that a salvage finds missing, and those that the
 * segment's index names. What a salvage would save is found by doing one into nothing.
 *
 * Cost: nothing where nothing is wrong; else some passes over the log.
 */

import { MEMORY_LIMIT_BYTES_DEFAULT, MmsbError } from "../base/mod.ts";
import {
  auditLog,
  Checkpoint,
  decodeIndex,
  findIndex,
  findSummary,
  type FrameHeader,
  isDeltas,
  type LogAudit,
  type LogFault,
  LogReader,
  META_PATH,
  metaOf,
  readFrameHeader,
  recover,
  ROW_KIND_NAMES,
  RowDecoder,
  type SalvageRange,
  type SalvageReport,
  salvageStorage,
  SEGMENT_HEADER_BYTES,
  segmentBytes,
  type Storage,
} from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { corrected, type WrongByte, wrongBytes } from "./_own_bytes.ts";
import { SinkStorage } from "./_own_sink.ts";

/** A page that damage concerns. */
export interface ConcernedPage {
  /** Its id. */
  readonly page: number;
  /** Its name, "" for none. */
  readonly name: string;
}

/** One place that is damaged. */
export interface DamagedPlace {
  /** File, relative to the directory. */
  readonly file: string;
  /** The byte, or where it is not known the part that it is in. */
  readonly offset: number;
  /** What was found, in words. */
  readonly found: string;
  /** The byte, where one accounts for all. */
  readonly byte?: WrongByte;
  /** Ticks that it concerns; absent where none is known. */
  readonly ticks?: SalvageRange;
  /** Pages that it concerns. */
  readonly pages: readonly ConcernedPage[];
  /** What the part is, in words. */
  readonly part?: string;
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
const NO_PAGES: readonly ConcernedPage[] = [];

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
        damaged.push({ file, offset, found, byte, part, pages: NO_PAGES });
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

type About = Pick<DamagedPlace, "ticks" | "pages" | "part">;

/** What a byte is part of, read from the log as it was written. */
function aboutByte(whole: Storage, { file, offset }: WrongByte, problem: LogFault): About {
  if (file === META_PATH) {
    return { pages: NO_PAGES, part: "what the directory says of itself; no page is stored in it" };
  }
  if (problem.fault === "checkpoint") return aboutCheckpoint(whole, offset, problem);
  const frame = frameAt(whole, file, offset);
  if (frame === undefined) {
    return { pages: NO_PAGES, part: "the header of the segment; no delta is stored in it" };
  }
  const kind = ROW_KIND_NAMES[frame.rowKind] ?? "unknown";
  const inHeader = offset < frame.at + frame.headerLength ? "the header of " : "";
  const { rows } = frame, what = isDeltas(frame.rowKind) ? "delta" : "row";
  const part = `${inHeader}the frame at byte ${frame.at}: ${rows} ${kind} ${what}${
    rows === 1 ? "" : "s"
  } of tick ${frame.tick}`;
  const ticks = { first: frame.tick - frame.span, last: frame.tick };
  return { ticks, pages: pagesOfTick(whole, frame.tick), part };
}

function aboutCheckpoint(whole: Storage, offset: number, { tick = 0 }: LogFault): About {
  const ticks = { first: tick, last: tick };
  try {
    using checkpoint = Checkpoint.open(whole, tick);
    const chunk = checkpoint.chunks.find(({ at, bytes }) => offset >= at && offset < at + bytes);
    if (chunk === undefined) return { ticks, pages: NO_PAGES, part: "what lies around the images" };
    const { idMin, idMax, pages } = chunk, names = namesAt(whole, tick);
    const part = `images of ${pages} pages, ids ${idMin} to ${idMax}, of tick ${chunk.tick}`;
    const concerned = [...names].filter(([page]) => page >= idMin && page <= idMax);
    return { ticks, part, pages: concerned.map(([page, name]) => ({ page, name })) };
  } catch (error) {
    if (error instanceof MmsbError) return { ticks, pages: NO_PAGES };
    throw error;
  }
}

/** The frame that a byte stands in. */
function frameAt(storage: Storage, file: string, offset: number): FrameHeader | undefined {
  const bytes = storage.readAll(file);
  if (bytes === undefined || offset < SEGMENT_HEADER_BYTES) return undefined;
  const copy = Uint8Array.from(bytes), segment = segmentBytes(copy.buffer, copy.length);
  for (let at = SEGMENT_HEADER_BYTES; at < copy.length;) {
    const frame = readFrameHeader(segment, at, file);
    if ("fault" in frame) return undefined;
    if (offset < at + frame.length) return frame;
    at += frame.length;
  }
  return undefined;
}

/** Pages that a tick had rows of. */
function pagesOfTick(storage: Storage, wanted: number): ConcernedPage[] {
  const meta = metaOf(storage.readAll(META_PATH)), decoder = new RowDecoder();
  const reader = new LogReader(storage, meta, { tickMax: wanted }), pages = new Set<number>();
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    if (tick.tick !== wanted) continue;
    for (const { frames, segment } of tick.lanes) {
      for (const frame of frames) {
        const { columns, rows } = decoder.decode(segment, frame, false);
        for (let row = 0; row < rows; row++) pages.add(columns.page[row] >>> 0);
      }
    }
  }
  return named([...pages], namesAt(storage, wanted));
}

/** Names of the pages that lived after a tick, as far as they can be had. */
function namesAt(storage: Storage, tick: number): Map<number, string> {
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT), names = new Map<number, string>();
  try {
    recover(storage, metaOf(storage.readAll(META_PATH)), store, tick);
  } catch (error) {
    // What was replayed until then has its names.
    if (!(error instanceof MmsbError)) throw error;
  }
  for (const row of store.table.rows()) {
    const id = store.table.ids[row];
    names.set(id, store.nameOf(id));
  }
  return names;
}

function named(pages: readonly number[], names: ReadonlyMap<number, string>): ConcernedPage[] {
  return pages.toSorted((a, b) => a - b).map((page) => ({ page, name: names.get(page) ?? "" }));
}

/** What is known of a part of which more than a byte is wrong. */
function aboutPart(
  storage: Storage,
  { file, offset, tick, fault }: LogFault,
  salvage: SalvageReport | undefined,
): About {
  if (fault === "checkpoint") {
    return {
      pages: NO_PAGES,
      ...(tick === undefined ? {} : { ticks: { first: tick, last: tick } }),
    };
  }
  const lost = salvage?.ticksLost ?? [];
  const at = tick === undefined
    ? lost[0]
    : lost.find(({ first, last }) => first <= tick && tick <= last) ?? { first: tick, last: tick };
  if (at === undefined) return { pages: NO_PAGES };
  const hurt = (salvage?.pagesHurt ?? []).filter(({ ticks }) => {
    return ticks.first <= at.last && ticks.last >= at.first;
  });
  const gone = (salvage?.pagesLost ?? []).map(({ page }) => page);
  const names = safeNames(storage);
  for (const { page, name = "" } of hurt) names.set(page, name);
  const indexed = pagesInIndex(storage, file, offset, at, names.keys());
  const pages = new Set([...hurt.map(({ page }) => page), ...gone, ...indexed]);
  return { ticks: at, pages: named([...pages], names) };
}

function safeNames(storage: Storage): Map<number, string> {
  try {
    return namesAt(storage, Infinity);
  } catch (error) {
    if (error instanceof MmsbError) return new Map();
    throw error;
  }
}

/** Pages with rows in some ticks of a segment, if its index is there and can be believed. */
function pagesInIndex(
  storage: Storage,
  file: string,
  offset: number,
  { first, last }: SalvageRange,
  known: Iterable<number>,
): number[] {
  const [, lane, number] = /^lane-(\d+)\/(\d+)\.log$/.exec(file) ?? [];
  if (lane === undefined || !storage.exists(file)) return [];
  const summary = findSummary(storage, Number(lane), Number(number));
  const index = summary === undefined ? undefined : findIndex(storage, summary);
  if (index === undefined) return [];
  const { frameAts, frameRows, frameTicks, ticks } = index;
  const isIn = (frame: number) => {
    const tick = ticks[frameTicks[frame]];
    return tick >= first && tick <= last || frameAts[frame] === offset;
  };
  const pages: number[] = [];
  for (const page of known) {
    const isConcerned = index.rowsOf(page).some((row) => {
      let frame = frameRows.length - 1;
      while (frame > 0 && frameRows[frame] > row) frame--;
      return isIn(frame);
    });
    if (isConcerned) pages.push(page);
  }
  return pages;
}
