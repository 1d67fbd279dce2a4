/**
 * Team members: the threads of a team, and the buffers that they know by numbers.
 *
 * A worker never returns to its event loop, so it is told of buffers by a port that it reads where a plan names
 * one that it does not know. Only as many take part as may work at one time, always the first ones: each
 * thread has to warm up to its work, and its caches too. The others sleep until one of those ends; whoever ends
 * without being told to is replaced.
 *
 * Cost: a worker takes 40 to 60 ms to start and 14 MB.
 */

import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { SharedPages } from "../../physical/mod.ts";
import { coreCount } from "./_platform.ts";
import * as words from "./_team_words.ts";

/** Plans after which a buffer that none of them named is taken back. */
const PLANS_KEPT = 64;
const RESTARTS_MAX = 16;

/** What threads are made of. */
export interface MembersOptions {
  /** The control block. */
  readonly control: Int32Array;
  /** Counts of all workers. */
  readonly counts: Float64Array;
  /** The pages. */
  readonly pages: SharedPages;
  /** Threads that work at one time. */
  readonly active: number;
  /** Whether each worker is to stay on a core. */
  readonly isPinned: boolean;
}

interface Member {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly gone: Promise<void>;
  hasEnded: boolean;
}

/** The threads of one team. */
export class TeamMembers {
  readonly #options: MembersOptions;
  readonly #control: Int32Array;
  readonly #members: Member[] = [];
  readonly #numbers = new Map<SharedArrayBuffer, { readonly number: number; plan: number }>();
  readonly #buffers = new Map<number, SharedArrayBuffer>();
  #lastBuffer = 0;
  #restarts = 0;
  #isClosed = false;

  /** Of nobody. */
  constructor(options: MembersOptions) {
    this.#options = options;
    this.#control = options.control;
  }

  /** Starts a worker by its number. */
  start(number: number): void {
    const { control, counts, pages, isPinned } = this.#options;
    const { port1, port2 } = new MessageChannel();
    const at = words.memberAt(number);
    Atomics.store(control, at, words.MEMBER.starting);
    const life = Atomics.add(control, at + words.M_LIFE, 1) + 1;
    const start: words.WorkerStart = {
      worker: number,
      life,
      control: control.buffer as SharedArrayBuffer,
      counts: counts.buffer as SharedArrayBuffer,
      pages,
      port: port2,
      core: isPinned ? number % coreCount() : undefined,
    };
    const worker = new Worker(moduleOf(), { workerData: start, transferList: [port2] });
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const member: Member = { worker, port: port1, gone, hasEnded: false };
    // Unheard, it would end the process; W_FAULT has it, and the exit comes after it.
    worker.on("error", () => {});
    worker.on("exit", () => {
      member.hasEnded = true;
      resolve();
      this.#replace(number, member);
    });
    this.#members[number] = member;
  }

  /**
   * Lets workers take part that have started since, as many as may.
   *
   * @returns How many have started.
   */
  join(): number {
    const control = this.#control;
    let started = 0, joined = 0;
    this.#members.forEach(({ hasEnded }, worker) => {
      if (hasEnded) return;
      const state = Atomics.load(control, words.memberAt(worker));
      if (state !== words.MEMBER.starting) started++;
      if (state === words.MEMBER.joined) joined++;
    });
    this.#members.forEach(({ port, hasEnded }, worker) => {
      const at = words.memberAt(worker);
      if (hasEnded || joined >= this.#options.active) return;
      if (Atomics.load(control, at) !== words.MEMBER.ready) return;
      for (const [number, buffer] of this.#buffers) port.postMessage({ number, buffer });
      Atomics.store(control, at, words.MEMBER.joined);
      Atomics.notify(control, at);
      joined++;
    });
    return started;
  }

  /** Starts another worker where one has ended that was not to. */
  #replace(number: number, member: Member): void {
    if (this.#isClosed || this.#members[number] !== member) return;
    member.port.close();
    if (this.#restarts++ < RESTARTS_MAX) this.start(number);
  }

  /** A buffer by its number. */
  bufferOf(number: number): SharedArrayBuffer {
    return this.#buffers.get(number)!;
  }

  /** The number by which workers know a buffer that a plan names. */
  numberOf(buffer: SharedArrayBuffer, plan: number): number {
    const known = this.#numbers.get(buffer);
    if (known !== undefined) {
      known.plan = plan;
      return known.number;
    }
    const number = ++this.#lastBuffer;
    this.#numbers.set(buffer, { number, plan });
    this.#buffers.set(number, buffer);
    this.#post({ number, buffer });
    return number;
  }

  /** Takes buffers back that have not been named for long: their batches may be gone. */
  forget(plan: number, kept: readonly (ArrayBufferLike | undefined)[]): void {
    if (this.#numbers.size <= PLANS_KEPT || plan % PLANS_KEPT !== 0) return;
    for (const [buffer, known] of this.#numbers) {
      if (known.plan > plan - PLANS_KEPT || kept.includes(buffer)) continue;
      this.#numbers.delete(buffer);
      this.#buffers.delete(known.number);
      this.#post({ number: known.number, buffer: undefined });
    }
  }

  /** Ends a worker, for tests of what comes then; settles when its thread is gone. */
  async kill(number: number): Promise<void> {
    const member = this.#members[number];
    await member.worker.terminate();
    await member.gone;
  }

  /** Ends all. */
  async close(): Promise<void> {
    const control = this.#control;
    this.#isClosed = true;
    Atomics.store(control, words.W_STOP, 1);
    Atomics.add(control, words.W_BELL, 1);
    Atomics.notify(control, words.W_BELL);
    for (let number = 0; number < this.#members.length; number++) {
      const at = words.memberAt(number);
      Atomics.store(control, at, words.MEMBER.ended);
      Atomics.notify(control, at);
    }
    await Promise.all(this.#members.map(async ({ worker, port, gone, hasEnded }) => {
      if (!hasEnded) void worker.terminate();
      await gone;
      port.close();
    }));
    this.#members.length = 0;
    this.#numbers.clear();
    this.#buffers.clear();
  }

  #post(news: words.BufferNews): void {
    this.#members.forEach(({ port, hasEnded }, number) => {
      const state = Atomics.load(this.#control, words.memberAt(number));
      if (!hasEnded && state === words.MEMBER.joined) port.postMessage(news);
    });
  }
}

/** The module that workers are made from. */
export function moduleOf(): URL {
  return new URL("./_worker.ts", import.meta.url);
}
