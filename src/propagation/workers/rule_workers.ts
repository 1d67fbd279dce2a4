/**
 * Rule workers: threads that run rules from modules, level by level, for one bus.
 *
 * They are others than those of the {@linkcode WorkerTeam}, since they run foreign code, which may hang or bring a
 * thread down. They read pages and write into buffers of their own; what their rules have changed is put into the
 * pages and the change log here, in the order in which this thread would have run them. So the log, the order of
 * the next level and the rule that is named where several fail are the same as without workers, and a thread that is
 * given up can do no more harm, whatever it goes on doing: Deno 2.9 ends a thread that computes in name only.
 *
 * Cost: a level costs 35 to 70 µs beside its rules, and a run some 100 ns for copies and for merging, so rules of
 * less than half a microsecond, and levels of less than a fifth of a millisecond, are better run here; what
 * runs take is learned from those that were shared. A thread takes 40 to 60 ms to
 * start, 14 MB, and a core while its rule hangs.
 *
 * @module
 */

import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { MmsbError } from "../../base/mod.ts";
import { type PageStore, type SharedPages, sharedPages } from "../../physical/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import { type BoundRule, NEEDS_FULL } from "../bound_rule.ts";
import type { ChangeLog } from "../change_log.ts";
import { type Firing, ruleError } from "../firing.ts";
import { PLACE_WORDS, type RuleProgram } from "../program.ts";
import type { LevelHelpers } from "../waves.ts";
import { coreCount } from "./_platform.ts";
import { OwnPages, putRuns } from "./_rule_merge.ts";
import { readError } from "./_rule_tasks.ts";
import * as words from "./_rule_words.ts";

const { PART } = words;

/** Milliseconds that a rule may take where nothing else was asked for. */
export const RULE_TIMEOUT_MS_DEFAULT = 5000;
/** Milliseconds of runs from which on a level is worth being shared, and what of a run is for copies and merging. */
const WORTH_MS = 0.2, SHARING_MS = 0.0004;
/** Bytes that a thread may keep of what the rules of one level have changed. */
const CHANGES_BYTES_MAX = 2 ** 30;
const CHANGES_BYTES = 65_536;
/** Chunks for each thread: what is left at the end of a level is small. */
const CHUNKS_EACH = 8;
/** This thread looks so often whether the others go on. */
const LOOK_MS = 20;
const START_MS_MAX = 30_000;
/** Threads that may be lost to rules which do not end. */
const LOST_MAX = 16;
const SPINS = 2000;

/** How rules are run on other threads. */
export interface RuleWorkersOptions {
  /** Threads. */
  readonly workers: number;
  /** Most milliseconds that a rule may take. Default {@linkcode RULE_TIMEOUT_MS_DEFAULT}. */
  readonly timeoutMs?: number;
  /** Whether all rules that can be are run on other threads, worth it or not. Default: where `timeoutMs` is given. */
  readonly isStrict?: boolean;
}

interface Member {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly area: Int32Array;
  readonly counts: Float64Array;
  readonly buffer: SharedArrayBuffer;
  changes: Int32Array;
  /** Whether it is told of all that there is. */
  hasJoined: boolean;
  hasEnded: boolean;
  /** Plan and place that it was last seen at, and since when. */
  seen: number;
  sinceMs: number;
}

interface Code {
  readonly url: string;
  readonly name: string;
  readonly version: number;
}

/** Rules of a level, by where they are to run. */
interface Level {
  readonly program: RuleProgram;
  readonly log: ChangeLog;
  readonly firing: Firing;
  /** Places in the queue of rules for workers. */
  readonly shared: number[];
  /** Places of those for this thread. */
  readonly own: number[];
}

/** What a rule of this thread has left in the list of pages touched. */
interface OwnRuns {
  /** For each rule where its pages end. */
  readonly ends: number[];
  /** The first that failed, if any: its place, and what the tick is refused with. */
  failure: { readonly place: number; readonly error: unknown } | undefined;
}

/** Threads that run rules from modules. */
export class RuleWorkers implements LevelHelpers {
  readonly #store: PageStore;
  readonly #pages: SharedPages;
  readonly #size: number;
  readonly #timeoutMs: number;
  readonly #isStrict: boolean;
  readonly #control = new Int32Array(new SharedArrayBuffer(4 * words.CONTROL_WORDS));
  readonly #ticks = new Float64Array(this.#control.buffer);
  #members: Member[] = [];
  readonly #codes: Code[] = [];
  readonly #codeOf = new Map<string, number>();
  readonly #loads = new Map<string, Promise<void>>();
  readonly #ruleCodes = new WeakMap<BoundRule, number>();
  readonly #params = new Map<number, unknown>();
  /** News of the present program and buffers, for threads that join. */
  readonly #current: (words.RuleNews & { readonly number: number })[] = [];
  #program: RuleProgram | undefined;
  #programCodes: Int32Array = new Int32Array(1);
  #numbers: Int32Array = new Int32Array(1);
  #hasShared = false;
  /** The page table's, when the threads were told of the program. */
  #moves = -1;
  #rules: Int32Array = new Int32Array(new SharedArrayBuffer(4096));
  #plan = 0;
  #lost = 0;
  /** Milliseconds of a run, of late; negative before the first. */
  #runMs = -1;
  /** Threads and code that are on their way. */
  readonly #pending = new Set<Promise<void>>();
  #isClosed = false;

  /** Starts no thread before there is a rule for it. */
  constructor(store: PageStore, options: RuleWorkersOptions) {
    this.#store = store;
    this.#pages = sharedPages(store);
    this.#size = Math.max(1, Math.min(options.workers, coreCount()));
    this.#timeoutMs = options.timeoutMs ?? RULE_TIMEOUT_MS_DEFAULT;
    this.#isStrict = options.isStrict ?? options.timeoutMs !== undefined;
    this.#control[words.W_SPINS] = this.#size < coreCount() ? SPINS : 0;
  }

  /** Settles when the threads and the code that are on their way are there; `undefined` where none are. */
  waitBeforeTick(): Promise<void> | undefined {
    if (this.#pending.size === 0) return undefined;
    return Promise.allSettled(this.#pending).then(() => {});
  }

  /** Whether all rules that can be are run on these threads, worth it or not. */
  get isStrict(): boolean {
    return this.#isStrict;
  }

  /** Runs of each thread so far. */
  get runs(): number[] {
    return this.#members.map(({ counts }) => counts[words.D_RUNS]);
  }

  /**
   * Has all threads load a rule, which this thread has loaded already.
   *
   * @throws {MmsbError} `worker` where threads cannot be started, and what loading throws there.
   */
  async load(url: string, name: string, version: number): Promise<void> {
    if (this.#isClosed) return;
    const key = keyOf(url, name);
    let loading = this.#loads.get(key);
    if (loading === undefined) {
      loading = this.#track(this.#load(url, name, version));
      this.#loads.set(key, loading);
    }
    await loading;
  }

  async #load(url: string, name: string, version: number): Promise<void> {
    await this.#startAll();
    if (this.#isClosed) return;
    const code = { url, name, version }, number = this.#codes.push(code);
    this.#control[words.W_CODES] = number;
    for (const member of this.#members) if (member.hasJoined) post(member, codeNews(code));
    this.#ring();
    await Promise.all(this.#members.map(async (member) => {
      await this.#untilLoaded(member, number);
      if (member.area[words.A_REFUSED] === number) throw readError(member.area);
    }));
    this.#codeOf.set(keyOf(url, name), number);
    // Programs that were made before do not know it.
    this.#program = undefined;
  }

  /** {@inheritDoc LevelHelpers.run} */
  run(program: RuleProgram, log: ChangeLog, firing: Firing, start: number, end: number): boolean {
    if (this.#codes.length === 0 || this.#isClosed) return false;
    if (this.#program !== program) this.#adopt(program);
    if (!this.#hasShared) return false;
    if (this.#moves !== this.#store.table.moves) this.#tell(program, []);
    const { image } = program, codes = this.#programCodes, shared: number[] = [];
    if (!this.#isStrict && !this.#isWorth(end - start)) return false;
    for (let i = start; i < end; i++) if (codes[image[i]] !== 0) shared.push(i);
    if (shared.length === 0 || !this.#isStrict && !this.#isWorth(shared.length)) return false;
    if (!this.#canRun()) return false;
    const own: number[] = [];
    for (let i = start; i < end; i++) if (codes[image[i]] === 0) own.push(i);
    this.#runLevel({ program, log, firing, shared, own });
    return true;
  }

  /** Ends a thread, for tests of what comes then; settles when it is said to be gone. */
  async kill(worker: number): Promise<void> {
    await this.#members[worker].worker.terminate();
  }

  /** Ends all threads. A second call does nothing more. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.waitBeforeTick();
    const members = this.#members.splice(0);
    for (const { area } of members) Atomics.store(area, words.A_ENDED, 1);
    this.#ring();
    await Promise.all(members.map(async ({ worker, port, hasEnded }) => {
      if (!hasEnded) await worker.terminate();
      port.close();
    }));
  }

  /** Whether so many runs are; the first ones are, to learn what a run takes. */
  #isWorth(runs: number): boolean {
    return this.#runMs < 0 ? runs > 1 : runs * (this.#runMs - SHARING_MS) >= WORTH_MS;
  }

  #canRun(): boolean {
    const codes = this.#codes.length;
    for (const { area, hasJoined, hasEnded } of this.#members) {
      if (hasJoined && !hasEnded && Atomics.load(area, words.A_LOADED) >= codes) return true;
    }
    if (!this.#isStrict) return false;
    throw new MmsbError(
      "worker",
      "Cannot run rules as their workers are gone: tick again, or open the bus again",
      { values: { workers: this.#size, lost: this.#lost } },
    );
  }

  /** Finds which rules of a program can be run by others: those from modules that read no table. */
  #adopt(program: RuleProgram): void {
    const { rules, tables } = program, count = rules.length;
    const codes = new Int32Array(new SharedArrayBuffer(4 * count));
    const numbers = new Int32Array(new SharedArrayBuffer(4 * count));
    const params: [number, unknown][] = [];
    this.#hasShared = false;
    for (let index = 1; index < count; index++) {
      const rule = rules[index];
      const code = this.#codeOfRule(rule);
      if (code === 0 || tables.size > 0 && readsTable(program, index)) continue;
      const { number } = rule;
      codes[index] = code;
      numbers[index] = number;
      this.#hasShared = true;
      if (rule.parts.params === null || this.#params.has(number)) continue;
      params.push([number, rule.parts.params]);
      this.#params.set(number, rule.parts.params);
    }
    this.#program = program;
    this.#programCodes = codes;
    this.#numbers = numbers;
    if (!this.#hasShared) return;
    this.#tell(program, params);
    if (this.#params.size > 2 * count) {
      const known = new Set(numbers);
      for (const rule of this.#params.keys()) if (!known.has(rule)) this.#params.delete(rule);
    }
  }

  /** Has the threads copy the program: its rules, and where their pages are. */
  #tell({ image }: RuleProgram, params: readonly (readonly [number, unknown])[]): void {
    const number = ++this.#control[words.W_PARTS + PART.program];
    const numbers = this.#numbers, codes = this.#programCodes;
    this.#moves = this.#store.table.moves;
    this.#announce(PART.program, { kind: "program", number, image, numbers, codes, params });
  }

  /** The code of a rule from a module that threads have loaded, from 1; 0 for others. */
  #codeOfRule(rule: BoundRule): number {
    const { module, export: name = "default" } = rule.parts;
    if (rule.rule === undefined || module === undefined || module === null) return 0;
    const known = this.#ruleCodes.get(rule);
    if (known !== undefined) return known;
    const code = this.#codeOf.get(keyOf(module, name)) ?? 0;
    if (code !== 0) this.#ruleCodes.set(rule, code);
    return code;
  }

  #runLevel(level: Level): void {
    const { log, shared } = level, before = log.count;
    this.#write(level);
    this.#ring();
    let own: OwnRuns = { ends: [], failure: undefined };
    try {
      own = this.#runOwn(level);
      // What is thrown from here on is said of others.
      level.firing.at = 0;
      this.#await(level);
      this.#throwFirst(level, own);
    } finally {
      // Whatever is left of the plan is nobody's any more.
      Atomics.store(this.#control, words.W_CURSOR, words.cursorOf(this.#plan, 0xffff));
    }
    this.#learn(shared.length);
    this.#merge(level, own, before);
  }

  /** Puts what all runs have changed into the pages and the log, in the order of the queue. */
  #merge({ log, shared, own }: Level, { ends }: OwnRuns, before: number): void {
    const list = this.#list();
    let changed = 0;
    for (let at = 0; at < list.length; at += 3) changed += list[at + 2] - list[at + 1];
    // Nothing may fail from here on: the list of pages touched is not whole in between.
    log.reserve(2 * changed);
    const runs = new OwnPages(log, own, ends, before);
    for (let at = 0; at < list.length; at += 3) {
      const changes = this.#changesOf(list[at]);
      if (own.length === 0) putRuns(this.#store, log, changes, list[at + 1], list[at + 2]);
      else runs.putAmong(this.#store, changes, list[at + 1], list[at + 2], shared);
    }
    runs.addBefore(Infinity);
  }

  /** Writes the plan of a level; the flags of its rules are taken as a run on this thread takes them. */
  #write({ program: { image }, log, firing, shared }: Level): void {
    const control = this.#control, count = shared.length;
    if (count > this.#rules.length) {
      this.#rules = new Int32Array(new SharedArrayBuffer(4 * 2 ** Math.ceil(Math.log2(count))));
    }
    for (let i = 0; i < count; i++) {
      const rule = image[shared[i]], flagsAt = rule << 4 | 8, flags = image[flagsAt] & 0xff;
      this.#rules[i] = rule << 1 | ((flags & NEEDS_FULL) !== 0 ? 1 : 0);
      if (flags === 0) continue;
      firing.taken.set(rule, flags);
      image[flagsAt] ^= flags;
    }
    this.#nameBuffer(PART.rules, this.#rules);
    this.#nameBuffer(PART.words, log.words);
    this.#nameBuffer(PART.heads, log.heads);
    const plan = ++this.#plan;
    const chunk = Math.ceil(count / Math.min(words.CHUNKS_MAX, this.#size * CHUNKS_EACH));
    control[words.W_COUNT] = count;
    control[words.W_CHUNK] = chunk;
    control[words.W_CHUNKS] = Math.ceil(count / chunk);
    this.#ticks[words.D_TICK] = firing.tick;
    Atomics.store(control, words.W_PLAN, plan);
    Atomics.store(control, words.W_CURSOR, words.cursorOf(plan, 0));
  }

  /** Runs the rules that are this thread's, up to the first that fails. */
  #runOwn({ program: { image }, log, firing, own }: Level): OwnRuns {
    const runs: OwnRuns = { ends: [], failure: undefined };
    for (const place of own) {
      try {
        firing.fire(image[place]);
      } catch (thrown) {
        runs.failure = { place, error: firing.failed(thrown) };
        break;
      }
      runs.ends.push(log.count);
    }
    return runs;
  }

  /** Sleeps until all chunks that were claimed are done, and all are claimed or a rule has failed. */
  #await(level: Level): void {
    const control = this.#control, chunks = control[words.W_CHUNKS], plan = this.#plan;
    let spins = control[words.W_SPINS], changedMs = monotonicNowMs(), last = -1;
    for (;;) {
      const progress = Atomics.load(control, words.W_PROGRESS);
      let done = 0, failed = 0;
      for (const { area } of this.#members) {
        if (Atomics.load(area, words.A_PLAN) !== plan) continue;
        done += Atomics.load(area, words.A_CHUNKS);
        if (Atomics.load(area, words.A_FAILED) !== 0) failed++;
      }
      if (done === chunks) return;
      const claimed = Math.min(chunks, Atomics.load(control, words.W_CURSOR) & 0xffff);
      const isHalted = Atomics.load(control, words.W_HALT) === plan;
      if (failed > 0 && isHalted && done + failed >= claimed) return;
      if (spins-- > 0) continue;
      const nowMs = monotonicNowMs();
      if (progress !== last) {
        last = progress;
        changedMs = nowMs;
      }
      this.#watch(level, nowMs);
      if (nowMs - changedMs > this.#timeoutMs + 10 * LOOK_MS) this.#giveUpAll(changedMs);
      Atomics.wait(control, words.W_PROGRESS, progress, LOOK_MS);
    }
  }

  /** Gives threads up whose rule takes too long. */
  #watch({ program, shared, firing }: Level, nowMs: number): void {
    for (const member of this.#members) {
      const { area } = member, plan = Atomics.load(area, words.A_PLAN);
      const place = Atomics.load(area, words.A_PLACE),
        seen = place < 0 ? -1 : plan * 2 ** 20 + place;
      if (member.seen !== seen) {
        member.seen = seen;
        member.sinceMs = nowMs;
      }
      if (place < 0 || nowMs - member.sinceMs <= this.#timeoutMs) continue;
      this.#giveUp(member);
      if (plan !== this.#plan) continue;
      Atomics.store(this.#control, words.W_HALT, this.#plan);
      const { name, parts } = program.rules[program.image[shared[place]]];
      const page = parts.outputIds[0], timeoutMs = this.#timeoutMs;
      throw new MmsbError(
        "worker",
        `Cannot finish tick ${firing.tick} as the worker of rule "${name}" of page ${page} did not end it in ${timeoutMs} ms`,
        { values: { rule: name, page, tick: firing.tick, timeoutMs } },
      );
    }
  }

  #giveUpAll(changedMs: number): never {
    Atomics.store(this.#control, words.W_HALT, this.#plan);
    for (const member of [...this.#members]) this.#giveUp(member);
    throw new MmsbError("worker", "Cannot run rules as their workers do not answer: tick again", {
      values: { workers: this.#size, silentMs: Math.round(monotonicNowMs() - changedMs) },
    });
  }

  /** Throws what a tick is refused with where rules have failed: of the first one in the queue. */
  #throwFirst({ program, shared, firing }: Level, { failure }: OwnRuns): void {
    let first: Member | undefined, place = Infinity;
    for (const member of this.#members) {
      const { area } = member, failed = area[words.A_FAILED];
      if (area[words.A_PLAN] !== this.#plan || failed === 0) continue;
      if (shared[failed - 1] >= place) continue;
      place = shared[failed - 1];
      first = member;
    }
    if (failure !== undefined && failure.place < place) throw failure.error;
    if (first === undefined) return;
    const { name, parts } = program.rules[program.image[place]];
    throw ruleError(name, parts.outputIds[0], firing.tick, readError(first.area));
  }

  /** For each chunk in turn the member that has run it, and where what it changed begins and ends. */
  #list(): Int32Array {
    const list = new Int32Array(3 * this.#control[words.W_CHUNKS]);
    this.#members.forEach(({ area }, index) => {
      if (area[words.A_PLAN] !== this.#plan) return;
      for (let i = 0; i < area[words.A_CHUNKS]; i++) {
        const from = words.A_LIST + 3 * i, to = 3 * area[from];
        list[to] = index;
        list[to + 1] = area[from + 1];
        list[to + 2] = area[from + 2];
      }
    });
    return list;
  }

  #changesOf(index: number): Int32Array {
    const member = this.#members[index], { buffer } = member;
    if (member.changes.byteLength !== buffer.byteLength) {
      member.changes = new Int32Array(buffer, 0, buffer.byteLength >> 2);
    }
    return member.changes;
  }

  /** Learns what a run takes. */
  #learn(runs: number): void {
    let busyMs = 0;
    for (const { counts, area } of this.#members) {
      if (area[words.A_PLAN] === this.#plan) busyMs += counts[words.D_BUSY_MS];
      counts[words.D_BUSY_MS] = 0;
    }
    const runMs = busyMs / runs;
    // The first runs are slow, as their code is not compiled yet.
    const isFaster = this.#runMs < 0 || runMs < this.#runMs;
    this.#runMs = isFaster ? runMs : 0.75 * this.#runMs + 0.25 * runMs;
  }

  /** Gives a thread up, and starts another in its place. */
  #giveUp(member: Member): void {
    this.#lost++;
    this.#drop(member);
    this.#replace();
  }

  #drop(member: Member): void {
    Atomics.store(member.area, words.A_ENDED, 1);
    this.#members = this.#members.filter((other) => other !== member);
    void member.worker.terminate();
    this.#ring();
  }

  #replace(): void {
    if (this.#isClosed || this.#lost > LOST_MAX) return;
    void this.#track(this.#startAll()).catch(() => {});
  }

  async #track(work: Promise<void>): Promise<void> {
    this.#pending.add(work);
    try {
      await work;
    } finally {
      this.#pending.delete(work);
    }
  }

  /** Starts the threads that are missing, and waits until they have loaded what the others have. */
  async #startAll(): Promise<void> {
    while (this.#members.length < this.#size && !this.#isClosed) {
      const started: Promise<unknown>[] = [];
      while (this.#members.length < this.#size && !this.#isClosed) {
        const member = this.#start();
        started.push(
          this.#join(member).catch((error) => {
            this.#drop(member);
            return error;
          }),
        );
        // Starting one stops this thread for a while; others are let in between.
        await nextTurn();
      }
      const error = (await Promise.all(started)).find((error) => error !== undefined);
      if (error !== undefined && !this.#isClosed && ++this.#lost > LOST_MAX) throw error;
    }
  }

  #start(): Member {
    const { port1, port2 } = new MessageChannel();
    const area = new SharedArrayBuffer(4 * words.AREA_WORDS);
    const buffer = new SharedArrayBuffer(CHANGES_BYTES, { maxByteLength: CHANGES_BYTES_MAX });
    const start: words.RuleWorkerStart = {
      control: this.#control.buffer as SharedArrayBuffer,
      area,
      changes: buffer,
      pages: this.#pages,
      port: port2,
    };
    const worker = new Worker(moduleOf(), { workerData: start, transferList: [port2] });
    const member: Member = {
      worker,
      port: port1,
      area: new Int32Array(area),
      counts: new Float64Array(area),
      buffer,
      changes: new Int32Array(buffer, 0, buffer.byteLength >> 2),
      hasJoined: false,
      hasEnded: false,
      seen: -1,
      sinceMs: 0,
    };
    member.area[words.A_PLACE] = -1;
    // Unheard, it would end the process; the exit comes after it.
    worker.on("error", () => {});
    worker.on("exit", () => {
      member.hasEnded = true;
      port1.close();
      // One that has not joined is started again by who waits for it.
      if (member.hasJoined && this.#members.includes(member)) this.#giveUp(member);
    });
    this.#members.push(member);
    return member;
  }

  /** Tells a thread what it has to know, once it listens. */
  async #join(member: Member): Promise<void> {
    await this.#until(member, () => Atomics.load(member.area, words.A_READY) !== 0);
    for (const code of this.#codes) post(member, codeNews(code));
    for (const news of this.#current) {
      post(member, news.kind === "program" ? { ...news, params: [...this.#params] } : news);
    }
    member.hasJoined = true;
    this.#ring();
    await this.#untilLoaded(member, this.#codes.length);
  }

  async #untilLoaded(member: Member, codes: number): Promise<void> {
    await this.#until(member, () => Atomics.load(member.area, words.A_LOADED) >= codes);
  }

  async #until(member: Member, is: () => boolean): Promise<void> {
    const beganMs = monotonicNowMs();
    while (!is()) {
      if (member.hasEnded || monotonicNowMs() - beganMs > START_MS_MAX) {
        throw new MmsbError("worker", "Cannot start a worker for rules: it does not answer");
      }
      await nextTurn();
    }
  }

  /** Has a plan name a buffer. */
  #nameBuffer(part: number, { buffer }: Int32Array): void {
    const current = this.#current[part];
    if (current?.kind === "buffer" && current.buffer === buffer) return;
    const number = ++this.#control[words.W_PARTS + part];
    this.#announce(part, { kind: "buffer", part, number, buffer: buffer as SharedArrayBuffer });
  }

  #announce(part: number, news: words.RuleNews & { readonly number: number }): void {
    this.#current[part] = news;
    for (const member of this.#members) if (member.hasJoined) post(member, news);
  }

  /** Wakes all threads. */
  #ring(): void {
    Atomics.add(this.#control, words.W_BELL, 1);
    Atomics.notify(this.#control, words.W_BELL);
  }
}

function post({ port, hasEnded }: Member, news: words.RuleNews): void {
  if (!hasEnded) port.postMessage(news);
}

function codeNews(code: Code): words.RuleNews {
  return { kind: "code", ...code };
}

function keyOf(url: string, name: string): string {
  return `${name} ${url}`;
}

function readsTable(program: RuleProgram, rule: number): boolean {
  const { image, tables } = program;
  for (let i = program.inputStart(rule); i < program.inputEnd(rule); i += PLACE_WORDS) {
    if (tables.has(image[i])) return true;
  }
  return false;
}

function moduleOf(): URL {
  return new URL("./_rule_worker.ts", import.meta.url);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
