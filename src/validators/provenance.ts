/**
 * Validator 10, provenance: derived values resolved to their sources in a graph of a million deltas, now and
 * as of the past, and compared page by page with what the workload wrote down for itself.
 *
 * Cold means that nothing of a page's past is in memory: a bus opens the directory to read, has its log's
 * index, and is asked about one page. What the index of a log that was never asked about costs is told in
 * the notes; it is paid once in a log's life. Cached is the same question again. As of the past are
 * questions at ticks all over the log, with the frames in memory that those before left there.
 *
 * By the clock a question also lasts as long as other processes hold the processor, so a time is what this
 * process spent, all threads together, or the clock's where that is less; and it is that of the least
 * disturbed of three buses that are asked the same.
 */

import { cpuUsage } from "node:process";
import { StateBus } from "../bus/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { type ProvenancePlan, ProvenanceWork } from "./provenance_work.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import { provenanceOf } from "./_own_provenance.ts";
import { leftOutInMemory } from "./_own_state.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

const PLAN: Omit<ProvenancePlan, "seed"> = {
  sources: 16_384,
  layers: 31,
  width: 24,
  rows: 1000,
  deltas: 1_000_000,
};
const PLAN_QUICK: Omit<ProvenancePlan, "seed"> = { ...PLAN, sources: 2048, deltas: 60_000 };

/** Pages that are asked about cold, each time by a bus of its own. */
const COLD_PAGES = 2;
/** Times that each question is asked. */
const ROUNDS = 3;
/** Questions as of the past. */
const PAST_QUESTIONS = 16;

/** The validator. */
export const provenanceValidator: Validator = {
  id: 10,
  name: "Provenance",
  run: (context) =>
    context.directory !== undefined
      ? provenanceOf(context.directory, context)
      : context.bus !== undefined
      ? Promise.resolve(leftOutInMemory("it keeps no deltas that values could be traced to"))
      : runProvenance(context),
};

async function runProvenance({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-provenance-" });
  try {
    return await measureProvenance(dir, { ...(quick ? PLAN_QUICK : PLAN), seed }, progress);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** What was asked, how long it took, and what was wrong with the answers. */
class Questions {
  readonly cold = new Times();
  readonly cached = new Times();
  readonly past = new Times();
  /** What was wrong, by question. */
  readonly faults: string[] = [];
  /** Faults that were planted in the first explanation, and whether they were told. */
  planted: readonly PlantedResult[] = [];
  asked = 0;
  pages = 0;
  depth = 0;
  readonly #work: ProvenanceWork;

  constructor(work: ProvenanceWork) {
    this.#work = work;
  }

  /** Asks, and checks the answer; gives how long it took. */
  async ask(bus: StateBus, page: number, tick?: number): Promise<number> {
    const [ms, explanation] = await timed(() => bus.explain(page, { tick }));
    if (this.planted.length === 0) this.planted = this.#work.plantIn(explanation, page);
    const fault = this.#work.faultOf(explanation, page, explanation.tick);
    if (fault !== "") this.faults.push(`page ${page} as of tick ${explanation.tick}: ${fault}`);
    this.asked++;
    this.pages = Math.max(this.pages, explanation.pages);
    this.depth = Math.max(this.depth, explanation.depth);
    return ms;
  }
}

/** For each question the least time that it took. */
class Times {
  readonly #least = new Map<string, number>();

  note(question: string, ms: number): void {
    this.#least.set(question, Math.min(ms, this.#least.get(question) ?? Infinity));
  }

  /** From the smallest to the largest. */
  get sorted(): number[] {
    return [...this.#least.values()].sort((a, b) => a - b);
  }
}

/**
 * Does the work in a directory and measures it.
 *
 * @param dir An empty directory.
 * @param plan How much.
 * @param progress Told how far it is.
 */
export async function measureProvenance(
  dir: string,
  plan: ProvenancePlan,
  progress: (text: string) => void,
): Promise<Measured> {
  const work = await ProvenanceWork.begin(dir, plan), { bus } = work;
  const questions = new Questions(work);
  let firstMs: number;
  try {
    await work.write(progress);
    // The log's first question makes the index, and the bus that wrote stores it.
    firstMs = await questions.ask(bus, work.last.at(-1)!);
  } finally {
    await bus.close();
  }
  for (let round = 0; round < ROUNDS; round++) {
    progress(`asking about derived pages, ${round + 1} of ${ROUNDS}`);
    for (let at = 0; at < COLD_PAGES; at++) {
      await using reader = await StateBus.open({ dir, readOnly: true });
      await askCold(questions, reader, work.last[at]);
      if (at === 0) await askPast(questions, reader, work.last, plan.seed);
    }
  }
  return measuredOf(work, questions, firstMs);
}

async function askCold(questions: Questions, reader: StateBus, page: number): Promise<void> {
  // A look at the history of a page that nothing was made from brings the index in.
  await Array.fromAsync(reader.history(1, { limit: 1 }));
  questions.cold.note(`${page}`, await questions.ask(reader, page));
  questions.cached.note(`${page}`, await questions.ask(reader, page));
}

async function askPast(
  questions: Questions,
  reader: StateBus,
  pages: readonly number[],
  seed: number,
): Promise<void> {
  const random = new SeededRandom(seed);
  for (let at = 0; at < PAST_QUESTIONS; at++) {
    const page = pages[random.below(pages.length)];
    const tick = 3 + random.below(reader.tickNumber - 3);
    questions.past.note(`${at}`, await questions.ask(reader, page, tick));
  }
}

function measuredOf(work: ProvenanceWork, questions: Questions, firstMs: number): Measured {
  const { asked, faults, cold, cached, past, depth, pages } = questions;
  const planted = plantedResults(10, questions.planted);
  return {
    metrics: {
      coldMsMax: Math.max(...cold.sorted),
      depthMax: depth,
      cachedMsMax: Math.max(...cached.sorted),
      pastMsMax: Math.max(...past.sorted),
      resolvedPercent: 100 * (asked - faults.length) / asked,
      deltas: work.deltas,
      pagesMax: pages,
    },
    samples: asked,
    durability: "group",
    notes: [
      `${asked} questions in a graph of ${
        work.deltas.toLocaleString("en")
      } deltas; up to ${pages} pages each, ${depth} steps from the sources`,
      `the first question of the log, its index included: ${firstMs.toFixed(1)} ms`,
      `cold ${listed(cold)} ms; as of the past ${listed(past)} ms; cached ${listed(cached)} ms`,
      ...plantedNotes(planted),
      ...faults.slice(0, 3).map((fault) => `wrong: ${fault}`),
    ],
    planted,
  };
}

/** Smallest, median and largest. */
function listed({ sorted }: Times): string {
  const shown = [sorted[0], sorted[sorted.length >> 1], sorted[sorted.length - 1]];
  return shown.map((ms) => ms.toFixed(ms < 2 ? 2 : 1)).join(", ");
}

async function timed<T>(ask: () => Promise<T>): Promise<[ms: number, answer: T]> {
  const used = cpuUsage(), started = performance.now();
  const answer = await ask();
  const clockMs = performance.now() - started, { user, system } = cpuUsage(used);
  return [Math.min(clockMs, (user + system) / 1000), answer];
}
