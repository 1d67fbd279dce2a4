import assert from "node:assert/strict";
import type { StressReport } from "./_report.ts";
import { verdicts } from "./stability.ts";

const SEED = 7;
const SUITE = new URL("./stability.ts", import.meta.url).pathname;

// In a process of its own: it counts files, threads and timers, and other tests run beside this one.
Deno.test(`stress stability, short form, seed ${SEED}: 100 cycles equal the model`, async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-stability-" });
  const file = `${folder}/report.json`, csv = `${folder}/samples.csv`;
  try {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        SUITE,
        "--scale",
        "0.01",
        "--seed",
        `${SEED}`,
        "--json",
        file,
        "--csv",
        csv,
      ],
      stdin: "null",
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const text = await Deno.readTextFile(file);
    const { reports: [report] } = JSON.parse(text) as { reports: StressReport[] };
    const [{ figures }] = report.steps;
    assert.equal(figures.cycles, 100);
    for (
      const what of [
        "births",
        "deaths",
        "edges",
        "cyclesRefused",
        "transactions",
        "events",
        "checks",
      ]
    ) {
      assert(figures[what] > 0, what);
    }
    assert.equal(report.samples!.at(-1)!.timers, 0);
    const [head, ...rows] = (await Deno.readTextFile(csv)).trim().split("\n");
    assert.equal(rows.length, report.samples!.length);
    assert.deepEqual(head.split(","), Object.keys(report.samples![0]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
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
    tickOwnMsP50: 0.3 + 0.01 * (i % 4),
    tickOwnMsP99: 3 + 0.3 * (i % 5),
    loopOwnMsP50: 0.1,
    othersPercent: 3 + i % 2,
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
  // What waits for a busy machine is longer by the clock, and not on the processor.
  const waits = verdicts(
    samples((share) => share > 0.5 ? { tickMsP50: 1.6, tickMsP99: 30, othersPercent: 80 } : {}),
  );
  assert.deepEqual(waits.failures, []);
  assert(waits.table.flat().includes("not judged: others took 4 and 80 % of the machine"));
  // An engine that compiles less and less is no leak.
  const compiles = samples((share) => ({ heapBytes: 16e6 + 6e6 * (1 - Math.exp(-6 * share)) }));
  assert.deepEqual(verdicts(compiles).failures, []);
  // In a run of few cycles most of what a cycle takes is code.
  const slow = samples((share) => ({ cycles: 100 * share, heapBytes: 14e6 + 2e6 * share }));
  assert.deepEqual(verdicts(slow).failures, []);
  const growing: Record<string, (share: number) => Partial<Record<string, number>>> = {
    "resident set": (share) => ({ residentBytes: 150e6 + 80e6 * share }),
    "heap after collection": (share) => ({ heapBytes: 16e6 + 30e6 * share }),
    "arena in use": (share) => ({ arenaBytes: 3e6 + 4e6 * share }),
    "folder, log dropped": (share) => ({ droppedLogBytes: 5e5 + 8e6 * share }),
    "tick by the clock, median": (share) => ({ tickMsP50: 0.4 + 0.4 * share }),
    "tick by the clock, 99th percentile": (share) => ({ tickMsP99: 4 + 40 * share }),
    "tick on a processor, median": (share) => ({ tickOwnMsP50: 0.3 + 0.3 * share }),
    "tick on a processor, 99th percentile": (share) => ({ tickOwnMsP99: 3 + 30 * share }),
    "open files": (share) => ({ files: 27 + Math.floor(10 * share) }),
    "threads": (share) => ({ workers: share > 0.6 ? 1 : 0 }),
    "timers": (share) => ({ timers: Math.floor(5 * share) }),
  };
  // 1 KiB a cycle in a run of 10,000: below what the whole run may grow, and a leak all the same.
  growing["heap, a cycle"] = (share) => ({ cycles: 1e4 * share, heapBytes: 16e6 + 1024e4 * share });
  growing["buffers, a cycle"] = (share) => ({
    cycles: 4e3 * share,
    externalBytes: 4e6 + 4e6 * share,
  });
  for (const [what, change] of Object.entries(growing)) {
    const { failures } = verdicts(samples(change));
    assert(
      failures.length === 1 && failures[0].startsWith(what),
      `${what}: ${failures.join("; ")}`,
    );
  }
});
