/**
 * Validator 7, memory: a million pages of 1 KiB, really there and every byte written, in what a GiB
 * holds; slots that come back clean, without growth, and without a pause.
 *
 * The growth of the resident set is measured in a process of its own that has done nothing before, from
 * before its bus is opened to when all pages are written: whatever the bus needs counts, page table,
 * batch and compiled code among it. Garbage is collected before each look, with V8's own hook: what its
 * young generation keeps for later is no memory of the bus, and would hide some 30 B a page.
 *
 * A pause is the whole of a tick that deletes, from the first `page.delete()` to its end, and so with
 * what the collector does meanwhile. It grows with the pages that one tick deletes (a µs each, where
 * they lie scattered over a GiB), so work that must not pause deletes some hundred a tick, as here.
 *
 * By the clock a tick also lasts as long as other processes hold the processor, so the longest pause is
 * taken from what this process spent on it, all threads together, or from the clock where that is less.
 * It is the longest tick of the least disturbed of five times that the same work is done: what belongs
 * to the work comes back each time. The median is by the clock alone, over all ticks: waiting for
 * anything would show there. The notes tell the longest by the clock.
 */

import type { MemoryOutcome, MemoryPlan } from "./_memory_measure.ts";
import type { ReclaimOutcome } from "./_memory_reclaim.ts";
import { DEATHS_A_TICK, MIXED_SIZES_TEXT, type Pause } from "./_memory_work.ts";
import { addToRun, deviceOfRun } from "./device_run.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import type { Measured, Validator, ValidatorContext } from "./validator.ts";

const PLAN: Omit<MemoryPlan, "seed"> = { pages: 1_000_000, mixedPages: 20_000, rounds: 20 };
const PLAN_QUICK: Omit<MemoryPlan, "seed"> = { pages: 100_000, mixedPages: 5000, rounds: 5 };

/** The validator. */
export const memoryValidator: Validator = {
  id: 7,
  name: "Memory",
  needsWorkload:
    "it fills memory with pages of its own: what yours take is asked of a running bus; see bus.memory()",
  run: runMemory,
};

async function runMemory({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const outcome = await measureElsewhere({ ...(quick ? PLAN_QUICK : PLAN), seed }, progress);
  const planted = plantedResults(7, outcome.planted);
  return {
    metrics: metricsOf(outcome),
    samples: outcome.created,
    notes: [...notesOf(outcome), ...plantedNotes(planted)],
    planted,
  };
}

/** The figures of an outcome. */
export function metricsOf(outcome: MemoryOutcome): Record<string, number> {
  const { pages, residentBytes, dataBytes, bookkeepingBytes } = outcome;
  return {
    bytesPerPage: residentBytes / pages,
    pauseMsMax: Math.min(...outcome.pauses.map((pauses) => longest(pauses, "ownMs"))),
    pauseMsMedian: quantile(clockMsOf(outcome), 0.5),
    dataBytesPerPage: dataBytes / pages,
    bookkeepingBytesPerPage: bookkeepingBytes / pages,
    totalBytes: residentBytes,
    pages,
    fragmentation: 100 * outcome.fragmentation,
    reclaimMsMax: longest(outcome.reclaim.slices, "ownMs"),
    coldPagesWrong: outcome.reclaim.coldPagesWrong,
    slotsUnknown: outcome.reclaim.slotsUnknown,
    ...(outcome.reclaim.collections === undefined
      ? {}
      : { collectionMsMax: outcome.reclaim.collections.all.maxMs }),
    regrownBytes: outcome.regrownBytes,
    wrongPages: outcome.wrongPages,
    wrongReuses: outcome.wrongReuses,
  };
}

function notesOf(outcome: MemoryOutcome): string[] {
  const { pages, bookkeepingBytes, created, deleted, residentRegrownBytes, mixedBytes } = outcome;
  const clockMs = clockMsOf(outcome);
  const times = (by: keyof Pause) => {
    return outcome.pauses.map((pauses) => longest(pauses, by).toFixed(2)).join(", ");
  };
  return [
    `${
      text(pages)
    } pages of 1 KiB in a process of its own, every byte written through ticks and read back`,
    `the page table has ${
      (bookkeepingBytes / pages).toFixed(1)
    } B a page; deleting an eighth of the pages and creating as many again, ${outcome.pauses.length} times, grew the process by ${
      mebibytes(residentRegrownBytes)
    } more`,
    `${text(clockMs.length)} ticks deleted up to ${DEATHS_A_TICK} pages each: median ${
      quantile(clockMs, 0.5).toFixed(2)
    } ms, 99th percentile ${quantile(clockMs, 0.99).toFixed(2)} ms by the clock`,
    `longest pause in each of ${outcome.pauses.length} runs: ${
      times("ownMs")
    } ms of this process's own time, ${
      times("clockMs")
    } ms by the clock (the shortest of the first is judged)`,
    `longest pause while pages of mixed sizes churn: ${
      longest(outcome.mixedPauses, "ownMs").toFixed(2)
    } ms (not judged: it happens once)`,
    `churn: ${text(created)} pages created and ${
      text(deleted)
    } deleted in all; pages of ${MIXED_SIZES_TEXT} (${mebibytes(mixedBytes)}) leave ${
      (100 * outcome.fragmentation).toFixed(1)
    } % of their room unused, and ${
      (100 * outcome.internalFragmentation).toFixed(1)
    } % behind pages in their slots`,
    ...reclaimNotes(outcome.reclaim),
  ];
}

function reclaimNotes({ pages, stageMs, tickMs, slices, collections, reason }: ReclaimOutcome) {
  const ownMs = slices.map(({ ownMs }) => ownMs).sort((a, b) => a - b);
  const clockMs = slices.map(({ clockMs }) => clockMs).sort((a, b) => a - b);
  return [
    `${text(pages)} pages deleted in one tick: staged in ${stageMs.toFixed(0)} ms, the tick took ${
      tickMs.toFixed(0)
    } ms, their room came back in ${slices.length} slices of ${
      quantile(ownMs, 0.99).toFixed(2)
    } ms (99th percentile) and at most ${
      quantile(ownMs, 1).toFixed(2)
    } ms of this process's own time, ${quantile(clockMs, 1).toFixed(2)} ms by the clock`,
    collections === undefined
      ? `pauses of garbage collection are not known: ${reason}`
      : `garbage collection apart, meanwhile: ${collections.all.count} pauses, median ${
        collections.all.p50Ms.toFixed(2)
      } ms, longest ${collections.all.maxMs.toFixed(2)} ms, ${
        collections.all.totalMs.toFixed(0)
      } ms in all (of the whole heap: ${collections.full.count}, longest ${
        collections.full.maxMs.toFixed(2)
      } ms)`,
  ];
}

const PROCESS = new URL("./_memory_process.ts", import.meta.url).href;

/**
 * Measures in a fresh process of this runtime.
 *
 * @param plan What to do.
 * @param progress Told how far it is.
 * @param entry What to run in place of `_memory_process.ts`, for tests that plant a fault.
 */
export async function measureElsewhere(
  plan: MemoryPlan,
  progress: (text: string) => void,
  entry = PROCESS,
): Promise<MemoryOutcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-prompt", "--v8-flags=--expose-gc"],
      ...[entry, JSON.stringify(plan), deviceOfRun()],
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said = new Response(child.stderr).text();
  let rest = "", outcome: MemoryOutcome | undefined;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const told = JSON.parse(line);
      if (told.progress !== undefined) progress(told.progress);
      outcome = told.outcome ?? outcome;
      addToRun(told.counts);
    }
  }
  const { code } = await child.status;
  if (code !== 0 || outcome === undefined) {
    throw new Error(`the measuring process ended with ${code}: ${(await said).trim()}`);
  }
  await said;
  return outcome;
}

/** All pauses by the clock, in order. */
function clockMsOf({ pauses, mixedPauses }: MemoryOutcome): number[] {
  return [...pauses.flat(), ...mixedPauses].map(({ clockMs }) => clockMs).sort((a, b) => a - b);
}

function longest(pauses: readonly Pause[], by: keyof Pause): number {
  return pauses.reduce((longest, pause) => Math.max(longest, pause[by]), 0);
}

/** Of sorted numbers. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(share * (sorted.length - 1))];
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** A number as people read it. */
function text(value: number): string {
  return value.toLocaleString("en");
}
