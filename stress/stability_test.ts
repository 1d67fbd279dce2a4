import assert from "node:assert/strict";
import { runStability, verdicts } from "./stability.ts";

const SEED = 7;

Deno.test(`stress stability, short form, seed ${SEED}: 100 cycles equal the model`, async () => {
  const report = await runStability({ scale: 0.01, seed: SEED, minutes: 0, progress: () => {} });
  const [{ figures }] = report.steps;
  assert.equal(figures.cycles, 100);
  for (
    const what of ["births", "deaths", "edges", "cyclesRefused", "transactions", "events", "checks"]
  ) {
    assert(figures[what] > 0, what);
  }
  assert.equal(report.samples!.at(-1)!.timers, 0);
});

/** Samples of a run of an hour with a little noise, changed as a test likes. */
function samples(
  change: (share: number) => Partial<Record<string, number>>,
): Parameters<typeof verdicts>[0] {
  return Array.from({ length: 60 }, (_, i) => ({
    minutes: i,
    cycles: 1000 * i,
    residentBytes: 150e6 + 1e6 * (i * 7 % 5),
    heapBytes: 16e6 + 1e5 * (i * 3 % 4),
    externalBytes: 4e6,
    arenaBytes: 3e6,
    bookkeepingBytes: 5e5,
    droppedLogBytes: 5e5 + 1e5 * (i % 3),
    mergedLogBytes: 2e5,
    files: 27,
    workers: 0,
    timers: 0,
    tickMsP50: 0.4 + 0.01 * (i % 4),
    tickMsP99: 4 + 0.3 * (i % 5),
    loopMsP50: 0.1,
    ...change(i / 60),
  }));
}

Deno.test("verdicts() passes what is flat, and names each thing that grows", () => {
  assert.deepEqual(verdicts(samples(() => ({}))).failures, []);
  // A machine that became busy slows the loop beside the ticks as well.
  const busy = samples((share) =>
    share > 0.5 ? { tickMsP50: 0.8, tickMsP99: 8, loopMsP50: 0.2 } : {}
  );
  assert.deepEqual(verdicts(busy).failures, []);
  const growing: Record<string, (share: number) => Partial<Record<string, number>>> = {
    "resident set": (share) => ({ residentBytes: 150e6 + 80e6 * share }),
    "heap after collection": (share) => ({ heapBytes: 16e6 + 30e6 * share }),
    "arena in use": (share) => ({ arenaBytes: 3e6 + 4e6 * share }),
    "folder, log dropped": (share) => ({ droppedLogBytes: 5e5 + 8e6 * share }),
    "tick, median": (share) => ({ tickMsP50: 0.4 + 0.4 * share }),
    "tick, 99th percentile": (share) => ({ tickMsP99: 4 + 40 * share }),
    "open files": (share) => ({ files: 27 + Math.floor(10 * share) }),
    "threads": (share) => ({ workers: share > 0.6 ? 1 : 0 }),
    "timers": (share) => ({ timers: Math.floor(5 * share) }),
  };
  for (const [what, change] of Object.entries(growing)) {
    const { failures } = verdicts(samples(change));
    assert(
      failures.length === 1 && failures[0].startsWith(what),
      `${what}: ${failures.join("; ")}`,
    );
  }
});
