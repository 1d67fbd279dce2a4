/**
 * Page jobs: copies of pages are made and brought into step, given up, or read back to be compared.
 *
 * One job has as many pages as are wanted. The GPU thread takes them in parts, so that a job of more pages than fit at a time
 * still does what it can: the parts that came first are evicted again, unless they are to stay.
 *
 * Cost: a wake-up of the GPU thread, some 40 µs, and what {@linkcode DevicePages} takes.
 */

import { MmsbError } from "../../base/mod.ts";
import type { JobReader, JobWriter } from "./_channel.ts";
import type { DevicePages } from "./device_pages.ts";
import { PAGE_JOB } from "./job_ops.ts";
import type { PageLocations, TakeOptions } from "./page_locations.ts";
import {
  HEAD_BYTES,
  HEAD_RANGES,
  HEAD_WORDS,
  type PageList,
  readPages,
  writePages,
} from "./page_list.ts";

const UPLOAD = 1, EVICT = 2, READ = 3;
/** Bytes of pages that are brought into step at a time. */
const PART_BYTES: number = 64 * 2 ** 20;
/** Most pages of a part. */
const PART_PAGES = 4096;

/** What of the GPU thread page jobs need; `GpuThread` has it, its tickets are `T`. */
export interface PageJobs<T> {
  /** Begins a job. */
  begin(op: number, write: (job: JobWriter) => void): T;
  /** Waits for it. */
  end<R>(ticket: T, read: (result: JobReader) => R): R;
}

/** What a job has sent. */
export interface PageTransfer {
  /** Pages that the job named. */
  readonly pages: number;
  /** Pages that something was sent for. */
  readonly uploads: number;
  /** Those that were sent whole. */
  readonly fullUploads: number;
  /** Bytes sent. */
  readonly bytes: number;
}

/**
 * Begins to bring copies of pages into step; while it runs, nobody writes these pages.
 *
 * @param thread The GPU thread.
 * @param arena Number of the arena there.
 * @param locations What is known of the pages.
 * @param rows Their rows; where pages may be spilled, these are held in memory.
 * @param options The records of a tick that runs.
 * @returns What {@linkcode endUpload} waits for.
 * @throws {MmsbError} `gpu` where the thread is not ready; the pages count as not in step then.
 */
export function beginUpload<T>(
  thread: PageJobs<T>,
  arena: number,
  locations: PageLocations,
  rows: ArrayLike<number>,
  options: Pick<TakeOptions, "log"> = {},
): T {
  return thread.begin(PAGE_JOB, (job) => {
    job.word(UPLOAD);
    job.word(arena);
    writePages(job, locations.take(rows, options));
  });
}

/**
 * Waits for what {@linkcode beginUpload} began.
 *
 * @throws {MmsbError} `limit`, `allocation` where they do not fit, `gpu` where the device or the thread fails. What was not brought
 * into step then is sent with the next job that names it.
 */
export function endUpload<T>(
  thread: PageJobs<T>,
  ticket: T,
  locations: PageLocations,
): PageTransfer {
  return thread.end(ticket, (result) => {
    const [pages, uploads, fullUploads] = result.words(), bytes = result.double();
    locations.evicted(result.words());
    return { pages, uploads, fullUploads, bytes };
  });
}

/** Brings copies of pages into step: {@linkcode beginUpload} and {@linkcode endUpload}. */
export function uploadPages<T>(
  thread: PageJobs<T>,
  arena: number,
  locations: PageLocations,
  rows: ArrayLike<number>,
  options: Pick<TakeOptions, "log"> = {},
): PageTransfer {
  return endUpload(thread, beginUpload(thread, arena, locations, rows, options), locations);
}

/**
 * Gives up the copies of all pages that {@linkcode PageLocations.drop} was told of.
 *
 * @throws {MmsbError} `gpu` where the device or the thread fails; its copies are gone then.
 */
export function evictPages<T>(thread: PageJobs<T>, arena: number, locations: PageLocations): void {
  const ticket = thread.begin(PAGE_JOB, (job) => {
    job.word(EVICT);
    job.word(arena);
    writePages(job, locations.take([]));
  });
  thread.end(ticket, (result) => locations.evicted(result.words()));
}

/**
 * Reads copies back, to compare them with their pages.
 *
 * @param rows Rows of pages.
 * @returns For each row the bytes of its copy, as many as the page has rounded up to a multiple of 4; none where there is no copy, or none whose
 * bytes are known.
 * @throws {MmsbError} `gpu` where the device or the thread fails; `limit` where it is more than 1 GiB.
 */
export function readCopies<T>(
  thread: PageJobs<T>,
  arena: number,
  rows: ArrayLike<number>,
): (Uint8Array | undefined)[] {
  const ticket = thread.begin(PAGE_JOB, (job) => {
    job.word(READ);
    job.word(arena);
    job.words(rows.length).set(rows);
  });
  return thread.end(
    ticket,
    (result) =>
      Array.from(rows, () => result.word() === 0 ? undefined : new Uint8Array(result.bytes())),
  );
}

/** Does page jobs in the GPU thread. */
export async function pageJob(
  { pages }: { readonly pages: DevicePages },
  job: JobReader,
  result: JobWriter,
): Promise<void> {
  const op = job.word(), arena = job.word();
  if (op === UPLOAD) {
    await upload(pages, arena, job, result);
  } else if (op === EVICT) {
    const lease = await pages.use(arena, job.arena(arena), readPages(job));
    lease.release();
    writeEvicted(pages, arena, result);
  } else if (op === READ) {
    for (const row of job.words()) {
      const bytes = await pages.read(arena, row);
      result.word(bytes === undefined ? 0 : 1);
      if (bytes !== undefined) result.bytes(bytes.length).set(bytes);
      job.goesOn();
    }
  } else {
    throw new MmsbError("usage", `Cannot do page job ${op}: there is none`, { values: { op } });
  }
}

/** An arena is gone, and all copies of its pages. */
export function pagesGone({ pages }: { readonly pages: DevicePages }, arena: number): void {
  pages.dropArena(arena);
}

async function upload(
  pages: DevicePages,
  arena: number,
  job: JobReader,
  result: JobWriter,
): Promise<void> {
  const list = readPages(job), memory = job.arena(arena);
  let uploads = 0, full = 0, bytes = 0;
  for (const part of partsOf(list)) {
    const lease = await pages.use(arena, memory, part);
    uploads += lease.upload.pages;
    full += lease.upload.full;
    bytes += lease.upload.bytes;
    lease.release();
    job.goesOn();
  }
  result.words(3).set([list.count, uploads, full]);
  result.double(bytes);
  writeEvicted(pages, arena, result);
}

function writeEvicted(pages: DevicePages, arena: number, result: JobWriter): void {
  const evicted = pages.takeEvicted(arena);
  result.words(evicted.length).set(evicted);
}

/** Cuts a list into such as fit on the device beside each other. */
function* partsOf(list: PageList): Generator<PageList> {
  const { count, heads, ranges, gone } = list;
  let first = 0, range = 0, isFirst = true;
  while (first < count || isFirst) {
    let end = first, bytes = 0, rangeCount = 0;
    while (end < count && end - first < PART_PAGES && (end === first || bytes < PART_BYTES)) {
      bytes += heads[HEAD_WORDS * end + HEAD_BYTES];
      rangeCount += heads[HEAD_WORDS * end + HEAD_RANGES];
      end++;
    }
    yield {
      count: end - first,
      heads: heads.subarray(HEAD_WORDS * first, HEAD_WORDS * end),
      rangeCount,
      ranges: ranges.subarray(2 * range, 2 * (range + rangeCount)),
      gone: isFirst ? gone : gone.subarray(0, 0),
    };
    isFirst = false;
    range += rangeCount;
    first = end;
  }
}
