/**
 * Thread life: one GPU thread from its start to its end, as the coordinator sees it.
 *
 * Each life has a control block and memory of its own. So a thread that was given up, because a shader hangs, say,
 * may wake up again long after and writes into nothing that anybody looks at any more.
 *
 * Cost: 90 to 110 ms to start beside what the device takes, and 14 MB.
 */

import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { assert, MmsbError, reasonOf } from "../../base/mod.ts";
import { monotonicNowMs } from "../../temporal/mod.ts";
import * as channel from "./_channel.ts";
import { JobReader, JobWriter } from "./_channel.ts";
import { Staging } from "./_staging.ts";
import { pauseMs } from "./_thread_turns.ts";
import type {
  GpuAsk,
  ThreadAnswer,
  ThreadNews,
  ThreadReport,
  ThreadStart,
} from "./_thread_words.ts";

const { JOB, STATE } = channel;

/** Jobs after which memory that none of them named is taken back. */
const JOBS_KEPT = 16;
/** Milliseconds that a thread may take to end what it does. */
const END_MS_MAX = 2000;
/**
 * Milliseconds that the runtime may take, behind the exit of a thread, to unload the driver of its device: Deno 2.9 tells
 * of the exit first, and a process that ends meanwhile may end with SIGSEGV or a corrupted heap. It takes 5 ms where
 * the device was destroyed, 20 ms where the thread was terminated, and several times that on a busy machine.
 */
const UNLOAD_MS = 50, UNLOAD_TERMINATED_MS = 250;
const NO_REPORT: ThreadReport = { reason: "", openMs: 0, devicesLost: 0 };

/** A job under way. */
export interface JobTicket {
  /** Where it is run. */
  readonly life: ThreadLife;
  /** Its slot. */
  readonly slot: number;
  /** Its number. */
  readonly number: number;
  /** Its operation. */
  readonly op: number;
  /** Whether nobody waits for it any more. */
  isOver: boolean;
}

/** Room for a job; its memory is made when it is first used. */
interface Slot {
  request: Staging | undefined;
  result: Staging | undefined;
  ticket: JobTicket | undefined;
}

interface Question {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** One GPU thread. */
export class ThreadLife {
  /** The control block. */
  readonly control: Int32Array = new Int32Array(
    new SharedArrayBuffer(4 * channel.CONTROL_WORDS),
  );
  /** Settles when the thread has ended. */
  readonly gone: Promise<void>;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #slots: Slot[] = [];
  readonly #numbers = new Map<SharedArrayBuffer, { readonly number: number; job: number }>();
  readonly #questions = new Map<number, Question>();
  #lastBuffer = 0;
  #lastJob = 0;
  #lastQuestion = 0;
  #news = 0;
  #isGone = false;
  #goneMs = 0;
  #unloadMs = UNLOAD_MS;
  #over: string | undefined;
  #fault = "";
  #report: ThreadReport = NO_REPORT;
  #reportNumber = -1;

  /**
   * Starts a thread.
   *
   * @param start What it is given, beside what is of this life.
   * @param onExit Called when it has ended, whyever.
   * @throws What the runtime throws where it starts no thread.
   */
  constructor(start: Omit<ThreadStart, "control" | "port">, onExit: (life: ThreadLife) => void) {
    const { port1, port2 } = new MessageChannel();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.gone = promise;
    this.#port = port1;
    this.control[channel.W_GENERATION] = start.generation;
    const data: ThreadStart = {
      ...start,
      control: this.control.buffer as SharedArrayBuffer,
      port: port2,
    };
    this.#worker = new Worker(moduleOf(), { workerData: data, transferList: [port2] });
    for (let slot = 0; slot < channel.JOBS_MAX; slot++) {
      this.#slots.push({ request: undefined, result: undefined, ticket: undefined });
    }
    port1.on("message", (answer: ThreadAnswer) => this.#take(answer));
    // Only a question that waits for its answer keeps the process alive.
    port1.unref();
    this.#worker.unref();
    // Unheard, it would end the process; the exit comes after it.
    this.#worker.on("error", (error: unknown) => this.#fault = reasonOf(error));
    this.#worker.on("exit", () => {
      this.#isGone = true;
      this.#goneMs = monotonicNowMs();
      // One that nobody asked to end has not destroyed its device.
      if (this.#over === undefined) this.#unloadMs = UNLOAD_TERMINATED_MS;
      this.end(this.#fault === "" ? "its thread ended" : `its thread failed: ${this.#fault}`);
      resolve();
      onExit(this);
    });
  }

  /** One of the channel's states. */
  get state(): number {
    return Atomics.load(this.control, channel.W_STATE);
  }

  /** Number of the present device. */
  get generation(): number {
    return Atomics.load(this.control, channel.W_GENERATION);
  }

  /** Whether jobs can be begun. */
  get isReady(): boolean {
    return this.#over === undefined && this.state === STATE.ready;
  }

  /** Why it is over, in words; `undefined` while it is not. */
  get over(): string | undefined {
    if (this.#over !== undefined) return this.#over;
    return this.state === STATE.ended ? "its thread ended" : undefined;
  }

  /** What the thread says of itself. */
  get report(): ThreadReport {
    const { control } = this;
    for (;;) {
      const number = Atomics.load(control, channel.W_REPORT);
      if (number === this.#reportNumber || (number & 1) !== 0) return this.#report;
      const bytes = channel.reportOf(control).slice(0, control[channel.W_REPORT_BYTES]);
      if (Atomics.load(control, channel.W_REPORT) !== number || bytes.length === 0) continue;
      this.#report = JSON.parse(new TextDecoder().decode(bytes)) as ThreadReport;
      this.#reportNumber = number;
      return this.#report;
    }
  }

  /** What it keeps for jobs: memory that the thread knows by number, and bytes of staging memory. */
  get memory(): { readonly known: number; readonly stagingBytes: number } {
    let stagingBytes = 0;
    for (const { request, result } of this.#slots) {
      stagingBytes += (request?.buffer.byteLength ?? 0) + (result?.buffer.byteLength ?? 0);
    }
    return { known: this.#numbers.size, stagingBytes };
  }

  /** Whether a job could be begun as far as slots go. */
  get hasRoom(): boolean {
    return this.#freeSlot() >= 0;
  }

  /** Writes a job and has it run. What `write` throws is thrown, and there is no job then. */
  begin(op: number, write: (job: JobWriter) => void): JobTicket {
    const { control, generation } = this, slot = this.#freeSlot(), number = ++this.#lastJob;
    assert(slot >= 0, "a slot is free");
    const ticket: JobTicket = { life: this, slot, number, op, isOver: false };
    const memory = this.#slots[slot], at = channel.slotAt(slot);
    const request = memory.request ??= new Staging(), result = memory.result ??= new Staging();
    const job = new JobWriter(request, (buffer) => this.#numberOf(buffer, number));
    memory.ticket = ticket;
    try {
      write(job);
    } catch (error) {
      memory.ticket = undefined;
      throw error;
    }
    control[at + channel.S_NUMBER] = number;
    control[at + channel.S_OP] = op;
    control[at + channel.S_GENERATION] = generation;
    control[at + channel.S_REQUEST] = this.#numberOf(request.buffer, number);
    control[at + channel.S_REQUEST_WORDS] = job.length;
    control[at + channel.S_RESULT] = this.#numberOf(result.buffer, number);
    control[at + channel.S_RESULT_WORDS] = 0;
    Atomics.store(control, at + channel.S_STATE, JOB.posted);
    this.#ring();
    if (number % JOBS_KEPT === 0) this.forget();
    return ticket;
  }

  /** What has become of a job. */
  stateOf({ slot }: JobTicket): number {
    return Atomics.load(this.control, channel.slotAt(slot) + channel.S_STATE);
  }

  /** What a job gave, or the error of one that failed. */
  resultOf({ slot }: JobTicket): JobReader {
    const words = this.control[channel.slotAt(slot) + channel.S_RESULT_WORDS];
    return new JobReader(this.#slots[slot].result!, words);
  }

  /** Frees the slot of a job that nobody waits for any more, as soon as it has been run. */
  free(ticket: JobTicket): void {
    ticket.isOver = true;
    const memory = this.#slots[ticket.slot], at = channel.slotAt(ticket.slot);
    if (memory.ticket !== ticket) return;
    // One that has not begun is withdrawn.
    const { posted, free } = JOB;
    Atomics.compareExchange(this.control, at + channel.S_STATE, posted, free);
    if (!isSettled(Atomics.load(this.control, at + channel.S_STATE))) return;
    memory.ticket = undefined;
    Atomics.store(this.control, at + channel.S_STATE, JOB.free);
    const { [at + channel.S_REQUEST_WORDS]: asked, [at + channel.S_RESULT_WORDS]: given } =
      this.control;
    if (memory.request?.isWasteful(asked)) memory.request = undefined;
    if (memory.result?.isWasteful(given)) memory.result = undefined;
  }

  /** Asks something; an answer comes when the jobs that were begun before are done. */
  ask(message: GpuAsk, key?: string): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = ++this.#lastQuestion;
    this.tell({ kind: "ask", id, message, key });
    this.#questions.set(id, { resolve, reject });
    this.#port.ref();
    return promise;
  }

  /** Tells the thread something; nothing happens once it is over. */
  tell(news: ThreadNews): void {
    if (this.#over !== undefined) return;
    this.#port.postMessage(news);
    Atomics.store(this.control, channel.W_NEWS, ++this.#news);
    this.#ring();
  }

  /**
   * Has the thread end what it does, then ends it. Nothing more happens here from now on.
   *
   * @param graceMs Milliseconds that it may take for that.
   */
  async close(graceMs: number = END_MS_MAX): Promise<void> {
    this.end("it was closed");
    if (!this.#isGone) await this.#untilGone(graceMs);
    const leftMs = this.#goneMs + this.#unloadMs - monotonicNowMs();
    if (leftMs > 0) await pauseMs(leftMs);
  }

  async #untilGone(graceMs: number): Promise<void> {
    this.#worker.ref();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([this.gone, late]);
    clearTimeout(timer);
    if (!this.#isGone) await this.terminate();
  }

  /** Ends the thread, whatever it does; Deno 2.9 says so of one that computes, and lets it go on. */
  async terminate(): Promise<void> {
    this.#unloadMs = UNLOAD_TERMINATED_MS;
    await this.#worker.terminate();
  }

  /** Refuses all that is under way. */
  end(reason: string): void {
    if (this.#over !== undefined) return;
    this.#over = reason;
    Atomics.store(this.control, channel.W_STOP, 1);
    this.#ring();
    Atomics.notify(this.control, channel.W_PROGRESS);
    const error = new MmsbError("gpu", `Cannot get an answer from the GPU: ${reason}`, {
      values: { reason },
    });
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
    this.#port.close();
  }

  #take({ id, answer, error }: ThreadAnswer): void {
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    if (this.#questions.size === 0) this.#port.unref();
    if (error === undefined) question?.resolve(answer);
    else question?.reject(MmsbError.fromJSON(error));
  }

  #freeSlot(): number {
    for (let slot = 0; slot < this.#slots.length; slot++) {
      const { ticket } = this.#slots[slot];
      if (ticket?.isOver) this.free(ticket);
      if (this.#slots[slot].ticket === undefined) return slot;
    }
    return -1;
  }

  #numberOf(buffer: SharedArrayBuffer, job: number): number {
    const known = this.#numbers.get(buffer);
    if (known !== undefined) {
      known.job = job;
      return known.number;
    }
    const number = ++this.#lastBuffer;
    this.#numbers.set(buffer, { number, job });
    this.tell({ kind: "buffer", number, buffer });
    return number;
  }

  /** Takes memory back that has not been named for long, or all where nothing is under way: its batch may be gone. */
  forget(): void {
    const isIdle = this.#slots.every(({ ticket }) => ticket === undefined);
    for (const [buffer, known] of this.#numbers) {
      if (!isIdle && known.job > this.#lastJob - JOBS_KEPT) continue;
      this.#numbers.delete(buffer);
      this.tell({ kind: "buffer", number: known.number, buffer: undefined });
    }
  }

  #ring(): void {
    Atomics.add(this.control, channel.W_BELL, 1);
    Atomics.notify(this.control, channel.W_BELL);
  }
}

/** Whether a job is over. */
export function isSettled(state: number): boolean {
  return state === JOB.done || state === JOB.failed || state === JOB.free;
}

/** The module that the thread is made from. */
export function moduleOf(): URL {
  return new URL("./_gpu_worker.ts", import.meta.url);
}
