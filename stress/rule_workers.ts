/**
 * Rule workers: one random program of pages, edges, rules, deltas, deletions, refused batches and failing rules comes to
 * the same bytes and the same canonical export with 0, 1, 2 and 8 workers, and in a directory whose process is
 * killed with SIGKILL at random moments and goes on with another number of workers each time.
 *
 * Cost: some 10 to 30 ms a tick.
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type OpenOptions, StateBus } from "../src/bus/mod.ts";
import { RuleTicks } from "../src/bus/testdata/random_rule_ticks.ts";
import { exportStorage, FileStorage, MemoryStorage, type Storage } from "../src/log/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";

/** What is run. */
export interface RuleWorkersRun {
  /** 1 for programs of 1,000 ticks. */
  readonly scale: number;
  /** Of the program and of the moments of the kills. */
  readonly seed: number;
}

/** What was done. */
export interface RuleWorkersCounts {
  /** Ticks of the program. */
  ticks: number;
  /** Lines of its canonical export. */
  lines: number;
  /** Rows that rules made. */
  derived: number;
  /** Processes killed. */
  kills: number;
}

const TICKS = 1000;
const WORKERS: readonly number[] = [0, 1, 2, 8];
const KILLS = 6;

/** Options of all buses here: what a tick takes on does not depend on time. */
export function ruleTicksOptions(workers: number): OpenOptions {
  const limits = workers > 0 ? { ruleTimeoutMs: 60_000 } : {};
  return { workers, durability: "group", tickBudgetMs: 3_600_000, ...limits };
}

interface End {
  readonly digest: string;
  readonly log: string;
  readonly lines: number;
  readonly derived: number;
}

/**
 * Runs one program in all ways.
 *
 * @throws {Error} where two of them come to different ends.
 */
export async function runRuleWorkers({ scale, seed }: RuleWorkersRun): Promise<RuleWorkersCounts> {
  const ticks = Math.max(4, Math.round(TICKS * scale));
  let first: End | undefined, reference: Storage | undefined;
  for (const workers of WORKERS) {
    const storage = new MemoryStorage();
    const bus = await StateBus.open({ storage, ...ruleTicksOptions(workers) });
    await new RuleTicks(seed).run(bus, ticks);
    const digest = bus.digest();
    await bus.close();
    const end = endOf(storage, digest);
    first ??= end;
    reference ??= storage;
    assertSame(end, first, storage, reference, `${workers} workers`);
  }
  const dir = await Deno.makeTempDir();
  try {
    const kills = await runKilled(dir, ticks, seed);
    const bus = await StateBus.open({ dir, readOnly: true });
    const digest = bus.digest();
    await bus.close();
    const killed = new FileStorage(dir);
    assertSame(endOf(killed, digest), first!, killed, reference!, "processes that are killed");
    return { ticks, lines: first!.lines, derived: first!.derived, kills };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function endOf(storage: Storage, digest: string): End {
  const hash = createHash("sha256");
  let lines = 0, derived = 0;
  for (const line of exportStorage(storage, { canonical: true })) {
    lines++;
    if (line.type === "delta" && line.derived === true) derived++;
    hash.update(JSON.stringify(line));
  }
  return { digest, log: hash.digest("hex"), lines, derived };
}

/** Throws where two ends differ, with the first line of their logs that does. */
function assertSame(end: End, first: End, storage: Storage, reference: Storage, who: string): void {
  if (end.digest === first.digest && end.log === first.log) return;
  const lines = exportStorage(storage, { canonical: true })[Symbol.iterator]();
  for (const expected of exportStorage(reference, { canonical: true })) {
    assert.deepEqual(lines.next().value, expected, `the log of ${who} is that of one thread`);
  }
  assert.deepEqual(end, first, `${who} come to the same end as one thread`);
}

/** Has processes go on with the program until it is done, and kills all but the last; gives how many. */
async function runKilled(dir: string, ticks: number, seed: number): Promise<number> {
  const random = new SeededRandom(seed);
  let kills = 0;
  for (let round = 0;; round++) {
    const workers = WORKERS[(seed + round) % WORKERS.length];
    const child = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", new URL("./_rule_child.ts", import.meta.url).pathname],
        ...[dir, `${workers}`, `${seed}`, `${ticks}`],
      ],
      stdout: "piped",
    }).spawn();
    const left = kills < KILLS ? random.below(Math.ceil(2 * ticks / KILLS)) : Infinity;
    let seen = 0, hasEnded = false, rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of child.stdout) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      seen += lines.length;
      hasEnded ||= lines.includes("end");
      if (seen > left && !hasEnded) {
        try {
          child.kill("SIGKILL");
        } catch {
          // It has ended by itself.
        }
      }
    }
    const { success } = await child.status;
    if (success) return kills;
    assert(seen > left, "a process ends only where it is killed, or is done");
    kills++;
  }
}
