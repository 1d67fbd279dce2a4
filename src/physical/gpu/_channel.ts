/**
 * Channel: how jobs go to the GPU thread and results come back, as shared memory.
 *
 * A few words of control say which jobs there are and what became of them; both sides sleep on a word each. What a
 * job says, and what it gives, stands in staging memory, word for word. Memory that is not in the channel (arenas, columns of a batch) is named by numbers, and
 * reaches the thread once, by a port that it reads on the spot.
 *
 * Cost: some 40 µs from one sleeping thread to another, 6 µs where the other one is awake; nothing is copied but
 * what is written.
 */

import { alignUp, assert } from "../../base/mod.ts";
import type { SharedArena } from "../arena.ts";
import type { Staging } from "./_staging.ts";

// Words that change often stand on cache lines of their own.
/** Changes whenever there is something to do; the GPU thread sleeps on it. */
export const W_BELL = 0;
/** Changes whenever something was done; coordinators sleep on it. */
export const W_PROGRESS = 16;
/** One of {@linkcode STATE}. */
export const W_STATE = 32;
/** Number of the present device. */
export const W_GENERATION = 33;
/** Not 0 once the thread is to end. */
export const W_STOP = 34;
/** Odd while the report is written. */
export const W_REPORT = 35;
/** Bytes of the report. */
export const W_REPORT_BYTES = 36;
/** News that were posted so far. */
export const W_NEWS = 37;
const SLOT_AT = 48;
const SLOT_WORDS = 16;
/** Of a slot: one of {@linkcode JOB}. */
export const S_STATE = 0;
/** Of a slot: the job's number; jobs are run in the order of their numbers. */
export const S_NUMBER = 1;
/** Of a slot: the operation. */
export const S_OP = 2;
/** Of a slot: number of the memory in which the job stands, and words of it. */
export const S_REQUEST = 3, S_REQUEST_WORDS = 4;
/** Of a slot: number of the memory for the result, and words of it. */
export const S_RESULT = 5, S_RESULT_WORDS = 6;

/** Of a slot: number of the device that the job was written for. */
export const S_GENERATION = 7;

/** Jobs that may be under way at one time. */
export const JOBS_MAX = 4;
/** Bytes of a report. */
export const REPORT_BYTES_MAX = 65_536;
const REPORT_AT: number = SLOT_AT + JOBS_MAX * SLOT_WORDS;
/** Words of the control block. */
export const CONTROL_WORDS: number = REPORT_AT + REPORT_BYTES_MAX / 4;

/** Words of 16 bytes. */
const VIEW_WORDS = 4;

/** What the thread is doing. */
export const STATE = { starting: 0, ready: 1, none: 2, failed: 3, lost: 4, ended: 5 } as const;

/** What has become of a job. */
export const JOB = { free: 0, posted: 1, running: 2, done: 3, failed: 4 } as const;

/** Where a slot's words begin. */
export function slotAt(slot: number): number {
  return SLOT_AT + SLOT_WORDS * slot;
}

/** Bytes of the report in a control block. */
export function reportOf(control: Int32Array): Uint8Array {
  return new Uint8Array(control.buffer, 4 * REPORT_AT, REPORT_BYTES_MAX);
}

/** Writes what a job says, or what it gives: words and views one after the other. */
export class JobWriter {
  readonly #staging: Staging;
  readonly #numberOf: ((buffer: SharedArrayBuffer) => number) | undefined;
  #used = 0;

  /**
   * From the beginning of some memory on.
   *
   * @param staging The memory.
   * @param numberOf Numbers of memory that the reader knows; none where the reader knows none.
   */
  constructor(staging: Staging, numberOf?: (buffer: SharedArrayBuffer) => number) {
    this.#staging = staging;
    this.#numberOf = numberOf;
  }

  /** Words written. */
  get length(): number {
    return this.#used;
  }

  /** Forgets what was written. */
  clear(): void {
    this.#used = 0;
  }

  /** Adds an integer of 32 bits. */
  word(value: number): void {
    const at = this.#take(1, 1);
    this.#staging.words[at] = value;
  }

  /** Adds a number. */
  double(value: number): void {
    const at = this.#take(2, 2);
    new Float64Array(this.#staging.buffer, 4 * at, 1)[0] = value;
  }

  /** Adds text. */
  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.bytes(bytes.length).set(bytes);
  }

  /** Adds a value that JSON can say. */
  json(value: unknown): void {
    this.text(JSON.stringify(value ?? null));
  }

  /** Adds words, which the caller fills in; the view stays good whatever is added after it. */
  words(count: number): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.#staging.buffer, this.#view(count, 4), count);
  }

  /** Adds unsigned words, which the caller fills in. */
  unsigned(count: number): Uint32Array<SharedArrayBuffer> {
    return new Uint32Array(this.#staging.buffer, this.#view(count, 4), count);
  }

  /** Adds floats, which the caller fills in. */
  floats(count: number): Float32Array<SharedArrayBuffer> {
    return new Float32Array(this.#staging.buffer, this.#view(count, 4), count);
  }

  /** Adds doubles, which the caller fills in. */
  doubles(count: number): Float64Array<SharedArrayBuffer> {
    return new Float64Array(this.#staging.buffer, this.#view(count, 8), count);
  }

  /** Adds bytes, which the caller fills in; up to 3 more are there, so that words cover them. */
  bytes(count: number): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.#staging.buffer, this.#view(count, 1), count);
  }

  /** Adds memory of the caller, which is not copied and must not change before the job is done. */
  buffer(buffer: SharedArrayBuffer): void {
    assert(this.#numberOf !== undefined, "only jobs name memory");
    this.word(this.#numberOf(buffer));
  }

  #view(count: number, elementBytes: number): number {
    assert(Number.isSafeInteger(count) && count >= 0, "a view has a length");
    this.word(count);
    return 4 * this.#take(Math.ceil(count * elementBytes / 4), VIEW_WORDS);
  }

  #take(words: number, alignment: number): number {
    const at = alignUp(this.#used, alignment), end = at + words;
    this.#staging.reserve(end);
    this.#used = end;
    return at;
  }
}

/** What a reader knows besides the words. */
export interface JobMemory {
  /** Memory by its number. */
  bufferOf(number: number): SharedArrayBuffer;
  /** An arena by its number. */
  arenaOf(number: number): SharedArena;
  /** Says that the job goes on. */
  goesOn(): void;
}

/** Reads what a {@linkcode JobWriter} wrote, in the same order. Views are good until the job has ended. */
export class JobReader {
  readonly #staging: Staging;
  readonly #length: number;
  readonly #memory: JobMemory | undefined;
  #used = 0;

  /**
   * From the beginning of some memory on.
   *
   * @param staging The memory.
   * @param length Words that were written.
   * @param memory Memory that numbers name; none for results.
   */
  constructor(staging: Staging, length: number, memory?: JobMemory) {
    this.#staging = staging;
    this.#length = length;
    this.#memory = memory;
  }

  /** Whether something is left. */
  get hasMore(): boolean {
    return this.#used < this.#length;
  }

  /** The next integer. */
  word(): number {
    return this.#staging.words[this.#take(1, 1)];
  }

  /** The next number. */
  double(): number {
    return new Float64Array(this.#staging.buffer, 4 * this.#take(2, 2), 1)[0];
  }

  /** The next text. */
  text(): string {
    // The engine decodes no shared memory.
    return new TextDecoder().decode(this.bytes().slice());
  }

  /** The next value in JSON. */
  json(): unknown {
    return JSON.parse(this.text());
  }

  /** The next words. */
  words(): Int32Array<SharedArrayBuffer> {
    const count = this.word();
    return new Int32Array(this.#staging.buffer, this.#view(count, 4), count);
  }

  /** The next unsigned words. */
  unsigned(): Uint32Array<SharedArrayBuffer> {
    const count = this.word();
    return new Uint32Array(this.#staging.buffer, this.#view(count, 4), count);
  }

  /** The next floats. */
  floats(): Float32Array<SharedArrayBuffer> {
    const count = this.word();
    return new Float32Array(this.#staging.buffer, this.#view(count, 4), count);
  }

  /** The next doubles. */
  doubles(): Float64Array<SharedArrayBuffer> {
    const count = this.word();
    return new Float64Array(this.#staging.buffer, this.#view(count, 8), count);
  }

  /** The next bytes. */
  bytes(): Uint8Array<SharedArrayBuffer> {
    const count = this.word();
    return new Uint8Array(this.#staging.buffer, this.#view(count, 1), count);
  }

  /** The next memory of the caller. */
  buffer(): SharedArrayBuffer {
    return this.#others.bufferOf(this.word());
  }

  /** An arena by the number that it was registered with, as long as it is now. */
  arena(number: number): SharedArena {
    return this.#others.arenaOf(number);
  }

  /** Says that a long job goes on, so that nobody gives it up. */
  goesOn(): void {
    this.#memory?.goesOn();
  }

  get #others(): JobMemory {
    assert(this.#memory !== undefined, "only jobs name memory");
    return this.#memory;
  }

  #view(count: number, elementBytes: number): number {
    assert(count >= 0, "a view has a length");
    return 4 * this.#take(Math.ceil(count * elementBytes / 4), VIEW_WORDS);
  }

  #take(words: number, alignment: number): number {
    const at = alignUp(this.#used, alignment);
    this.#used = at + words;
    assert(this.#used <= this.#length, "a job is read as it was written");
    return at;
  }
}
