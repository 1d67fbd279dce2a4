/**
 * Validator 10 on a user's directory: what `explain` says of its pages, derived ones and sources, now and as of earlier
 * ticks, compared with the log itself, which is gone through once without an index.
 *
 * Of each page in an explanation: the last tick that changed it, its epoch then, the rule or the source that did, and
 * that it was made from what its rule reads. The rows of tables are spread over many pages; of those only the tick is
 * looked at.
 *
 * Cost: some explanations, and a pass over the log; some numbers for each tick that changed a page that is named.
 */

import { cpuUsage } from "node:process";
import { type ExplainedPage, type Explanation, insideOf, StateBus } from "../bus/mod.ts";
import { FileStorage, isDeltas, LogReader, readMeta, RowDecoder } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import type { PageStore } from "../physical/mod.ts";
import { SCHEMA_KEY } from "../schema/mod.ts";
import { text } from "./_figures.ts";
import { damagedLog, lastTickOf } from "./_own_state.ts";
import type { Measured, ValidatorContext } from "./validator.ts";

const PAGES = 32;
const PAGES_QUICK = 8;
const PAST = 16;
const PAST_QUICK = 4;
/** Buses that are asked the same: a time is that of the least disturbed. */
const ROUNDS = 2;
/** Records of the log that are kept to compare with. */
const RECORDS_MAX = 4_000_000;

/** What the log says of a page: its ticks with rows, and the newest row of each. */
interface PageRecord {
  readonly ticks: number[];
  readonly epochs: number[];
  readonly rules: number[];
  readonly sources: string[];
}

/** One question and its answer. */
interface Answer {
  readonly page: number;
  readonly explanation: Explanation;
}

/** Explains pages of a directory and compares. */
export async function provenanceOf(
  directory: string,
  context: ValidatorContext,
): Promise<Measured> {
  const { quick, seed, progress } = context;
  const damaged = await damagedLog(directory);
  if (damaged !== undefined) return damaged;
  const last = await lastTickOf(directory, context);
  const times = new Times();
  let asked: Asked | undefined;
  for (let round = 0; round < ROUNDS; round++) {
    asked = await ask(directory, last, { quick, seed, progress, times });
    if (asked.answers.length === 0) {
      const leftOut = "it has no page, so there is nothing to explain";
      return { metrics: {}, samples: 1, leftOut };
    }
  }
  const { answers, derived, pages, tables } = asked!;
  progress("comparing with the log");
  const { records, complete } = scan(directory, last, answers, progress);
  const faults = complete ? answers.flatMap((answer) => faultIn(answer, records, asked!)) : [];
  const nodes = answers.reduce((sum, { explanation }) => sum + explanation.pages, 0);
  const depth = Math.max(...answers.map(({ explanation }) => explanation.depth));
  return {
    metrics: {
      ...times.metrics,
      depthMax: depth,
      ...(complete
        ? { resolvedPercent: 100 * (answers.length - faults.length) / answers.length }
        : {}),
    },
    samples: answers.length,
    notes: [
      `${text(answers.length)} questions about ${text(pages)} pages (${text(derived)} derived, ${
        text(tables)
      } tables; seed ${seed}), now and as of earlier ticks; ${
        text(nodes)
      } pages in their answers, up to ${depth} ${depth === 1 ? "step" : "steps"} from the sources`,
      ...(complete ? ["each compared with a pass over the log that uses no index"] : []),
      ...faults.slice(0, 5).map((fault) => `wrong: ${fault}`),
    ],
    unmeasured: complete ? {} : {
      resolvedPercent: `its pages have more than ${text(RECORDS_MAX)} changes to compare with`,
    },
  };
}

/** For each question the least time that it took. */
class Times {
  readonly #least = new Map<string, number>();

  note(kind: string, question: string, ms: number): void {
    const key = `${kind} ${question}`;
    this.#least.set(key, Math.min(ms, this.#least.get(key) ?? Infinity));
  }

  #max(kind: string): number {
    const times = [...this.#least].filter(([key]) => key.startsWith(kind)).map(([, ms]) => ms);
    return Math.max(0, ...times);
  }

  get metrics(): Record<string, number> {
    return {
      coldMsMax: this.#max("cold"),
      cachedMsMax: this.#max("cached"),
      pastMsMax: this.#max("past"),
    };
  }
}

interface Asked {
  readonly answers: readonly Answer[];
  readonly store: PageStore;
  readonly pages: number;
  readonly derived: number;
  readonly tables: number;
  readonly horizon: number;
}

async function ask(
  directory: string,
  last: number,
  { quick, seed, progress, times }: Pick<ValidatorContext, "quick" | "seed" | "progress"> & {
    readonly times: Times;
  },
): Promise<Asked> {
  await using bus = await StateBus.open({ dir: directory, readOnly: true });
  const { store } = insideOf(bus), random = new SeededRandom(seed);
  const isThere = await thereAfter(bus, last);
  const pages = chosenPages(store, random, quick ? PAGES_QUICK : PAGES, isThere);
  const { horizon } = bus, answers: Answer[] = [];
  // A look at a history brings the index in.
  if (pages.length > 0) await Array.fromAsync(bus.history(pages[0], { limit: 1 }));
  const explain = async (kind: string, page: number, tick: number) => {
    const [ms, explanation] = await timed(() => bus.explain(page, { tick }));
    times.note(kind, `${page} ${tick}`, ms);
    return explanation;
  };
  for (const [index, page] of pages.entries()) {
    progress(`explaining page ${index + 1} of ${pages.length}`);
    const tick = Math.min(last, bus.tickNumber);
    answers.push({ page, explanation: await explain("cold", page, tick) });
    await explain("cached", page, tick);
  }
  const first = Math.max(1, horizon);
  for (let i = 0; i < (quick ? PAST_QUICK : PAST) && last > first && pages.length > 0; i++) {
    const page = pages[random.below(pages.length)], tick = first + random.below(last - first);
    const born = await bornBy(bus, page, tick);
    if (born) answers.push({ page, explanation: await explain("past", page, tick) });
  }
  const derived = pages.filter((page) => store.bindings.writerOf(page) !== undefined).length;
  const tables = pages.filter((page) => isTable(store, page)).length;
  return { answers, store, pages: pages.length, derived, tables, horizon };
}

/** Says which pages were there after a tick, where a directory that is being written has gone on since. */
async function thereAfter(bus: StateBus, tick: number): Promise<(page: number) => boolean> {
  if (bus.tickNumber <= tick) return () => true;
  await using past = await bus.at({ tick });
  const pages = new Set([...past.pages()].map(({ id }) => id));
  return (page) => pages.has(page);
}

/** Whether a page was there after a tick. */
async function bornBy(bus: StateBus, page: number, tick: number): Promise<boolean> {
  await using past = await bus.at({ tick });
  return insideOf(past).store.table.rowOf(page) !== 0;
}

/** Derived pages and sources, half and half where there are both; chunks of tables are no pages of their own. */
function chosenPages(
  store: PageStore,
  random: SeededRandom,
  count: number,
  isThere: (page: number) => boolean,
): number[] {
  const derived: number[] = [], sources: number[] = [];
  for (const row of store.table.rows()) {
    const id = store.table.ids[row];
    if (!isThere(id)) continue;
    if (store.bindings.writerOf(id) !== undefined) derived.push(id);
    else if (store.nameOf(id) !== "" || store.metadataOf(id).size > 0 || row < 4096) {
      sources.push(id);
    }
  }
  const some = (pages: number[], most: number) => {
    for (let i = 0; i < Math.min(most, pages.length); i++) {
      const other = i + random.below(pages.length - i);
      [pages[i], pages[other]] = [pages[other], pages[i]];
    }
    return pages.slice(0, most);
  };
  const half = Math.max(count >> 1, count - sources.length);
  const chosen = some(derived, half);
  return [...chosen, ...some(sources, count - chosen.length)];
}

function isTable(store: PageStore, page: number): boolean {
  return store.table.rowOf(page) !== 0 && store.metadataOf(page).get(SCHEMA_KEY)?.[1] === 2;
}

/** Goes through the log and notes what it says of the pages that answers name. */
function scan(
  directory: string,
  tickMax: number,
  answers: readonly Answer[],
  progress: (text: string) => void,
): { records: Map<number, PageRecord>; complete: boolean } {
  const records = new Map<number, PageRecord>();
  for (const { explanation } of answers) {
    for (const { id } of explanation) {
      if (!records.has(id)) records.set(id, { ticks: [], epochs: [], rules: [], sources: [] });
    }
  }
  const storage = new FileStorage(directory), decoder = new RowDecoder();
  const reader = new LogReader(storage, readMeta(storage), { tickMax });
  let count = 0, ticks = 0;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    if (++ticks % 1024 === 0) progress(`comparing with the log, tick ${tick.tick}`);
    for (const lane of tick.lanes) {
      for (const frame of lane.frames) {
        if (!isDeltas(frame.rowKind)) continue;
        const { columns, rows, rules, strings } = decoder.decode(lane.segment, frame);
        for (let row = 0; row < rows; row++) {
          const record = records.get(columns.page[row] >>> 0);
          if (record === undefined) continue;
          const last = record.ticks.length - 1;
          const at = record.ticks[last] === tick.tick ? last : last + 1;
          if (at > last && ++count > RECORDS_MAX) return { records, complete: false };
          record.ticks[at] = tick.tick;
          record.epochs[at] = columns.epoch[row] >>> 0;
          record.rules[at] = rules === undefined ? 0 : rules[row] >>> 0;
          record.sources[at] = strings[columns.source[row]] ?? "";
        }
      }
    }
  }
  return { records, complete: true };
}

/** What is wrong with an answer, if anything: the first thing. */
function faultIn(
  { page, explanation }: Answer,
  records: ReadonlyMap<number, PageRecord>,
  asked: Asked,
): string[] {
  const seen = new Set<ExplainedPage>();
  const open = [{ node: explanation.root, asOf: explanation.tick }];
  for (const { node, asOf } of open) {
    if (seen.has(node)) continue;
    seen.add(node);
    const fault = nodeFault(node, asOf, records, asked);
    if (fault !== undefined) {
      return [`page ${page} as of tick ${explanation.tick}: page ${node.id} in it: ${fault}`];
    }
    for (const parent of node.parents) open.push({ node: parent, asOf: node.tick ?? asOf });
  }
  return seen.size === explanation.pages ? [] : [
    `page ${page} as of tick ${explanation.tick}: ${seen.size} of ${explanation.pages} pages are linked`,
  ];
}

function nodeFault(
  node: ExplainedPage,
  asOf: number,
  records: ReadonlyMap<number, PageRecord>,
  { store, horizon }: Asked,
): string | undefined {
  const { id, tick = 0, epoch, kind, rule, parents, deltas } = node;
  if (tick > asOf) return `tick ${tick} comes after tick ${asOf}`;
  // What was merged or dropped is in no row any more.
  if (node.end === "horizon" || horizon > 0 && tick <= horizon || isTable(store, id)) {
    return undefined;
  }
  const { ticks, epochs, rules, sources } = records.get(id)!;
  let at = ticks.length - 1;
  while (at >= 0 && ticks[at] > asOf) at--;
  const changed = at < 0 ? 0 : ticks[at];
  if (changed !== tick) return `tick ${tick}, and the log's last row of it is of tick ${changed}`;
  if (at < 0) {
    return kind === "unwritten" ? undefined : `it is ${kind}, and the log has no row of it`;
  }
  if (epoch % 2 ** 32 !== epochs[at]) return `epoch ${epoch}, and in the log ${epochs[at]}`;
  if (rules[at] === 0) {
    if (kind !== "source") return `it is ${kind}, and no rule's in the log`;
    const source = deltas[0]?.source;
    return source === undefined || source === sources[at]
      ? undefined
      : `by "${source}", and in the log by "${sources[at]}"`;
  }
  if (rule?.number !== rules[at]) return `by rule ${rule?.number}, and in the log by ${rules[at]}`;
  const binding = store.bindings.get(rules[at]);
  const inputs = new Set(binding?.inputs ?? rule.inputs);
  if (node.end !== undefined) return undefined;
  const isAll = parents.length === inputs.size && parents.every((parent) => inputs.has(parent.id));
  return isAll ? undefined : `made from ${parents.map((parent) => parent.id)}, not ${[...inputs]}`;
}

async function timed<T>(question: () => Promise<T>): Promise<[ms: number, answer: T]> {
  const used = cpuUsage(), started = performance.now();
  const answer = await question();
  const clockMs = performance.now() - started, { user, system } = cpuUsage(used);
  return [Math.min(clockMs, (user + system) / 1000), answer];
}
