/**
 * The thread of a rule worker: sleeps until there are rules to run or code to load.
 *
 * It goes back to its event loop only to load code, so news reach it by a port that is read on the spot. It runs
 * what others have written, which may hang or bring it down; so it writes into nothing but its own buffers.
 */

import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { MmsbError } from "../../base/mod.ts";
import { isRule } from "../rule.ts";
import { endWhenGivenUp } from "./_giving_up.ts";
import { RuleTasks, writeError } from "./_rule_tasks.ts";
import * as words from "./_rule_words.ts";

/** News were posted before they are asked for, but may still be on their way: milliseconds to wait for them. */
const ARRIVAL_WAITS_MAX = 5000;
/** Nobody changes this word. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

type Code = Extract<words.RuleNews, { readonly kind: "code" }>;

class Inbox {
  readonly codes: Code[] = [];
  readonly #start: words.RuleWorkerStart;
  readonly #tasks: RuleTasks;

  constructor(start: words.RuleWorkerStart, tasks: RuleTasks) {
    this.#start = start;
    this.#tasks = tasks;
  }

  /** Reads what was posted until something has come. */
  waitFor(what: string, has: () => boolean): void {
    for (let waits = 0; !has(); waits++) {
      if (waits > ARRIVAL_WAITS_MAX) {
        throw new MmsbError("worker", `Cannot run rules as ${what} never came`);
      }
      if (waits > 0) Atomics.wait(NEVER, 0, 0, 1);
      this.#drain();
    }
  }

  #drain(): void {
    for (;;) {
      const news = receiveMessageOnPort(this.#start.port)?.message as words.RuleNews | undefined;
      if (news === undefined) return;
      if (news.kind === "code") this.codes.push(news);
      else this.#tasks.take(news);
    }
  }
}

/** Runs rules until the thread is given up. */
async function work(start: words.RuleWorkerStart): Promise<void> {
  const control = new Int32Array(start.control), area = new Int32Array(start.area);
  endWhenGivenUp(area);
  const tasks = new RuleTasks(start), inbox = new Inbox(start, tasks);
  let loaded = 0, seen = Atomics.load(control, words.W_BELL) - 1;
  Atomics.store(area, words.A_READY, 1);
  for (;;) {
    for (let spins = control[words.W_SPINS]; spins > 0; spins--) {
      if (Atomics.load(control, words.W_BELL) !== seen) break;
    }
    Atomics.wait(control, words.W_BELL, seen);
    if (Atomics.load(area, words.A_ENDED) !== 0) return;
    seen = Atomics.load(control, words.W_BELL);
    while (loaded < Atomics.load(control, words.W_CODES)) {
      inbox.waitFor("the code of a rule", () => inbox.codes.length > loaded);
      await load(inbox.codes[loaded], tasks, area, loaded);
      Atomics.store(area, words.A_LOADED, ++loaded);
    }
    tasks.run((part, number) => inbox.waitFor("a plan", () => tasks.has(part, number)));
  }
}

async function load(
  { url, name, version }: Code,
  tasks: RuleTasks,
  area: Int32Array,
  number: number,
): Promise<void> {
  try {
    const module = await import(url) as Record<string, unknown>;
    const rule = module[name];
    if (!isRule(rule)) {
      throw new MmsbError("usage", `Cannot find rule "${name}" in ${url} from a worker`);
    }
    if (rule.version !== version) {
      throw new MmsbError(
        "usage",
        `Cannot use version ${rule.version} of rule "${name}" in ${url} as this process has version ${version}`,
      );
    }
    tasks.add(rule);
  } catch (error) {
    tasks.add(undefined);
    writeError(area, error);
    Atomics.store(area, words.A_REFUSED, 1 + number);
  }
}

const start = workerData as words.RuleWorkerStart;
try {
  await work(start);
} finally {
  start.port.close();
}
