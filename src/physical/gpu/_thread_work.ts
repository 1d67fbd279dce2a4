/**
 * The work of the GPU thread: jobs in the order of their numbers, questions between them, and a new device
 * where one was lost.
 *
 * A job is refused where it was written for another device than the present one: what it says of copies of
 * pages is no longer so. The result of a job in which the device was lost is never handed out, since a device
 * may go on giving bytes, which are then anything.
 */

import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { assert, MmsbError } from "../../base/mod.ts";
import { SharedArena } from "../arena.ts";
import * as channel from "./_channel.ts";
import { type JobMemory, JobReader, JobWriter } from "./_channel.ts";
import { Staging } from "./_staging.ts";
import { askEngine, doJob, forgetArena } from "./_gpu_jobs.ts";
import { DeviceLife } from "./_thread_device.ts";
import { strike } from "./_thread_faults.ts";
import { nextTurn, pauseMs } from "./_thread_turns.ts";
import { type GpuAsk, plainError, type ThreadNews, type ThreadStart } from "./_thread_words.ts";

const { JOB } = channel;

/** Milliseconds between two looks at the event loop where nothing is done: each costs 0.2 ms of a core. */
const LOOK_MS = 250;
/** News were counted when they were posted, but may still be on their way: milliseconds to wait for them. */
const ARRIVAL_WAITS_MAX = 5000;
/** Promises that may wait for the event loop: some kilobytes each. */
const UNSETTLED_MAX = 128;
/** Nobody changes this word. */
const NEVER = new Int32Array(new SharedArrayBuffer(4));

type Question = Extract<ThreadNews, { readonly kind: "ask" | "drop" }>;
type Ask = Extract<ThreadNews, { readonly kind: "ask" }>;

/** What one GPU thread does. */
export class ThreadWork implements JobMemory {
  readonly #control: Int32Array;
  readonly #port: MessagePort;
  readonly #life: DeviceLife;
  readonly #buffers = new Map<number, SharedArrayBuffer>();
  readonly #stagings = new WeakMap<SharedArrayBuffer, Staging>();
  readonly #arenas = new Map<number, SharedArena>();
  readonly #kept: Map<string, GpuAsk>;
  readonly #questions: Question[] = [];
  #news = 0;

  /** Of one life. */
  constructor(start: ThreadStart) {
    this.#control = new Int32Array(start.control);
    this.#port = start.port;
    this.#kept = new Map(start.kept);
    for (const [number, { buffer, limitBytes }] of start.arenas) {
      this.#arenas.set(number, new SharedArena(limitBytes, buffer));
    }
    this.#life = new DeviceLife(this.#control, start.trial, this.#kept);
  }

  /** Works until the thread is told to end, or there is no device. */
  async run(): Promise<void> {
    const control = this.#control;
    if (!await this.#life.open()) return;
    for (;;) {
      const bell = Atomics.load(control, channel.W_BELL);
      if (Atomics.load(control, channel.W_STOP) !== 0) break;
      if (this.#life.isLost && !await this.#life.reopen()) break;
      this.#readNews();
      if (!await this.#step()) {
        if (Atomics.wait(control, channel.W_BELL, bell, LOOK_MS) === "timed-out") await nextTurn();
      }
    }
    await this.#life.close();
  }

  /** {@inheritDoc JobMemory.bufferOf} */
  bufferOf(number: number): SharedArrayBuffer {
    const buffer = this.#buffers.get(number);
    assert(buffer !== undefined, `memory ${number} was made known`);
    return buffer;
  }

  /** {@inheritDoc JobMemory.arenaOf} */
  arenaOf(number: number): SharedArena {
    const arena = this.#arenas.get(number);
    assert(arena !== undefined, `arena ${number} was made known`);
    arena.catchUp();
    return arena;
  }

  /** {@inheritDoc JobMemory.goesOn} */
  goesOn(): void {
    Atomics.add(this.#control, channel.W_PROGRESS, 1);
  }

  /** Does one thing, if there is one. */
  async #step(): Promise<boolean> {
    const slot = this.#nextJob();
    if (slot >= 0) {
      await this.#runJob(slot);
      return true;
    }
    const question = this.#questions.shift();
    if (question === undefined) return false;
    if (question.kind === "drop") this.#kept.delete(question.key);
    else await this.#answer(question);
    return true;
  }

  /** The slot of the job that was begun first, −1 where there is none. */
  #nextJob(): number {
    const control = this.#control;
    let first = -1, number = 0;
    for (let slot = 0; slot < channel.JOBS_MAX; slot++) {
      const at = channel.slotAt(slot);
      if (Atomics.load(control, at + channel.S_STATE) !== JOB.posted) continue;
      const other = control[at + channel.S_NUMBER];
      if (first >= 0 && (other - number | 0) > 0) continue;
      first = slot;
      number = other;
    }
    return first;
  }

  async #runJob(slot: number): Promise<void> {
    const control = this.#control, at = channel.slotAt(slot), stateAt = at + channel.S_STATE;
    // It may have been withdrawn.
    if (Atomics.compareExchange(control, stateAt, JOB.posted, JOB.running) !== JOB.posted) return;
    this.#readNews();
    const op = control[at + channel.S_OP], what = `do job ${op}`;
    const job = new JobReader(
      this.#stagingOf(control[at + channel.S_REQUEST]),
      control[at + channel.S_REQUEST_WORDS],
      this,
    );
    const result = new JobWriter(this.#stagingOf(control[at + channel.S_RESULT]));
    let state: number = JOB.done;
    try {
      const engine = this.#life.engineFor(control[at + channel.S_GENERATION]);
      const fault = strike(control);
      if (fault !== undefined) await fault;
      const work = doJob(op, engine, job, result);
      if (work !== undefined) await work;
      this.#life.check(what);
    } catch (error) {
      const cause = await this.#life.causeOf(what, error);
      state = JOB.failed;
      result.clear();
      result.json(plainError(what, cause));
    }
    control[at + channel.S_RESULT_WORDS] = result.length;
    Atomics.store(control, stateAt, state);
    this.#tell();
    // Where job follows job the loop has no time for timers, and promises pile up for ever.
    if (this.#life.unsettled > UNSETTLED_MAX) await pauseMs(0);
  }

  async #answer({ id, message, key }: Ask): Promise<void> {
    const what = `answer ${JSON.stringify(message.kind)}`;
    try {
      // Who asks can wait, so a device is opened for it.
      if (this.#life.isLost) await this.#life.reopen(true);
      const answer = await askEngine(this.#life.engine, message);
      if (key !== undefined) this.#kept.set(key, message);
      this.#life.notice();
      this.#port.postMessage({ id, answer });
    } catch (error) {
      const cause = await this.#life.causeOf(what, error);
      this.#port.postMessage({ id, error: plainError(what, cause) });
    }
    this.#tell();
  }

  /** Reads all news that were posted. */
  #readNews(): void {
    const posted = Atomics.load(this.#control, channel.W_NEWS);
    for (let waits = 0; this.#news < posted;) {
      const news = receiveMessageOnPort(this.#port)?.message as ThreadNews | undefined;
      if (news === undefined) {
        if (waits++ > ARRIVAL_WAITS_MAX) throw unheard();
        Atomics.wait(NEVER, 0, 0, 1);
        continue;
      }
      this.#news++;
      this.#take(news);
    }
  }

  #take(news: ThreadNews): void {
    switch (news.kind) {
      case "ask":
      case "drop":
        this.#questions.push(news);
        break;
      case "buffer":
        if (news.buffer === undefined) this.#buffers.delete(news.number);
        else this.#buffers.set(news.number, news.buffer);
        break;
      case "arena":
        this.#takeArena(news);
        break;
    }
  }

  #takeArena({ number, arena }: Extract<ThreadNews, { readonly kind: "arena" }>): void {
    if (arena !== undefined) {
      this.#arenas.set(number, new SharedArena(arena.limitBytes, arena.buffer));
      return;
    }
    this.#arenas.delete(number);
    if (!this.#life.isLost) forgetArena(this.#life.engine, number);
  }

  #stagingOf(number: number): Staging {
    const buffer = this.bufferOf(number);
    let staging = this.#stagings.get(buffer);
    if (staging === undefined) this.#stagings.set(buffer, staging = new Staging(buffer));
    return staging;
  }

  #tell(): void {
    Atomics.add(this.#control, channel.W_PROGRESS, 1);
    Atomics.notify(this.#control, channel.W_PROGRESS);
  }
}

function unheard(): MmsbError {
  return new MmsbError("worker", "Cannot go on with the GPU thread as its news never came");
}
