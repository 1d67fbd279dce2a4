/**
 * The thread that refreshes a time page: reads the steady counter, leaves the time that the source's anchor makes
 * of it, and sleeps until the next tick.
 *
 * It cannot promise when it wakes: the system may keep it waiting. So it measures its own gaps, and says for how long a time is good by
 * the largest of late, which fades over some hundred ticks. Who reads later than that asks elsewhere.
 *
 * The time that it leaves is the middle between now and the end of that while, as a reader comes anywhere between: the error of
 * being read late is then half as large as if it were all on one side.
 *
 * Where few read, waking up costs more than it saves; then it rests until a reader wants it.
 *
 * Cost: some 40 µs of a core a tick on a virtual machine, nearly all of it the system's for sleeping and waking.
 */
import { parentPort, workerData } from "node:worker_threads";
import { systemCalls, SystemSteadyCounter } from "./system_calls.ts";
import {
  ALIVE,
  OVER,
  RESTING,
  RUNNING,
  TimePage,
  W_ALIVE,
  W_READS,
  W_STATE,
} from "./_time_page.ts";

/** Gaps, in refreshes, that a time is good for: at least, as waking takes a while; at most, as longer ones are seen by readers. */
const GOOD_MIN = 1.25, GOOD_MAX = 8;
/** Part of the largest gap that fades with each tick; less than time advances, so that time does not go back by it. */
const FADING = 1 / 64;
/** Ticks after which it is seen whether it is worth it, and reads a ms below which it is not. */
const JUDGED_TICKS = 256, READS_PER_MS_MIN = 400;
/** What rounding adds, in µs. */
const ROUNDING_US = 1;

/** Leaves times until it is told to rest or to end. */
function run(page: TimePage, steady: SystemSteadyCounter, line: Float64Array): void {
  const { words, refreshMs } = page;
  const refreshNs = refreshMs * 1e6;
  let goodNs = GOOD_MIN * refreshNs;
  let last = steady.nowNs();
  let judged = last;
  Atomics.store(words, W_READS, 0);
  for (let ticks = 1; Atomics.load(words, W_STATE) === RUNNING; ticks++) {
    const now = steady.nowNs();
    const gap = Math.max(now - last, goodNs * (1 - FADING));
    goodNs = Math.min(Math.max(gap, GOOD_MIN * refreshNs), GOOD_MAX * refreshNs);
    last = now;
    page.line(now, line);
    const half = goodNs / 2e3;
    page.tick(line[0] + half, line[1] + half + ROUNDING_US, now, goodNs);
    if (ticks % JUDGED_TICKS === 0) {
      const reads = Atomics.exchange(words, W_READS, 0);
      if (reads < READS_PER_MS_MIN * (now - judged) / 1e6) {
        Atomics.compareExchange(words, W_STATE, RUNNING, RESTING);
      }
      judged = now;
    }
    Atomics.wait(words, W_STATE, RUNNING, refreshMs);
  }
  page.expire();
}

const page = new TimePage(workerData as SharedArrayBuffer);
try {
  const steady = new SystemSteadyCounter(systemCalls() ?? null, page.originS);
  if (steady.originS !== page.originS) throw new Error("its steady counter is not the page's");
  const line = new Float64Array(2);
  Atomics.store(page.words, W_ALIVE, 1);
  parentPort!.postMessage(ALIVE);
  while (Atomics.load(page.words, W_STATE) !== OVER) {
    run(page, steady, line);
    Atomics.wait(page.words, W_STATE, RESTING);
  }
} catch (error) {
  page.expire();
  Atomics.store(page.words, W_ALIVE, 2);
  // Told, not thrown: an error of a thread is printed, and what follows from it is only that readings cost more.
  parentPort!.postMessage((error as Error).message);
}
