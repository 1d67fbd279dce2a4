/**
 * A thread that reads a page of time as fast as it can until the page is closed, and counts readings that cannot be. The
 * test leaves times in the page whose bound follows from the time, so half of one and half of another shows.
 */
import { parentPort, workerData } from "node:worker_threads";
import { CachedClock } from "../cached_clock.ts";
import { ClockReading } from "../clock_source.ts";

/** What the test sends. */
export interface ReaderTask {
  /** The page. */
  readonly page: SharedArrayBuffer;
  /** The page's first time, µs. */
  readonly baseUs: number;
  /** Takes how many times each reader has seen. */
  readonly seen: Int32Array;
  /** Number of this reader. */
  readonly reader: number;
}

/** What comes back. */
export interface ReaderReport {
  /** Readings that cannot be. */
  readonly torn: number;
  /** The first of them, in words. */
  readonly first: string;
  /** Times that were not the one before. */
  readonly times: number;
}

/** µs from time to time, and the bound of a time, µs. */
export const STEP_US = 1000.25;
/** The bound of a time, in µs. */
export function boundOf(time: number): number {
  return 1 + time % 1000;
}

function read({ page, baseUs, seen, reader }: ReaderTask): ReaderReport {
  const clock = CachedClock.attach(page);
  const reading = new ClockReading();
  let torn = 0, times = 0, first = "", last = baseUs;
  for (;;) {
    clock.read(reading);
    if (reading.errorNs === Infinity) return { torn, times, first };
    if (reading.us !== last) Atomics.store(seen, reader, ++times);
    const time = Math.round((reading.us - baseUs) / STEP_US);
    const isWhole = reading.us === baseUs + time * STEP_US && reading.us >= last &&
      Math.abs(reading.errorNs / 1e3 - boundOf(time)) < 1e-6;
    if (!isWhole && torn++ === 0) {
      first = `time ${time} with ${reading.errorNs} ns, after ${last} µs`;
    }
    last = reading.us;
  }
}

if (parentPort !== null) {
  parentPort.postMessage("ready");
  parentPort.postMessage(read(workerData as ReaderTask));
}
