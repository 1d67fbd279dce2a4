/**
 * Rule words: how the thread of a bus hands the rules of one level to others, as words of shared memory.
 *
 * A plan lists rules, cut into chunks that are claimed from a cursor in their order. The cursor carries the number
 * of the plan, so a thread that comes late can claim nothing of the next one. What a thread has to say stands in an
 * area of its own, which nobody looks at any more once the thread was given up: it may hang, or wake up again
 * long after, and does no harm.
 */

// Words that change often stand on cache lines of their own.
/** Changes whenever there is something to look at; threads sleep on it. */
export const W_BELL = 16;
/** Changes whenever a chunk is done; the thread of the bus sleeps on it. */
export const W_PROGRESS = 32;
/** Low half: the next chunk; high half: the plan, as {@linkcode cursorOf}. */
export const W_CURSOR = 48;
/** The plan of which no more chunks are to be claimed. */
export const W_HALT = 64;
/** Number of the plan that stands in the words below. */
export const W_PLAN = 80;
/** Rules of the plan. */
export const W_COUNT = 81;
/** Chunks. */
export const W_CHUNKS = 82;
/** Rules of a chunk. */
export const W_CHUNK = 83;
/** Numbers of what the plan works on, by {@linkcode PART}. */
export const W_PARTS = 84;
/** Codes that were posted so far. */
export const W_CODES = 88;
/** Times that a thread may look at the bell before it sleeps. */
export const W_SPINS = 89;
/** Double of the tick, as an index of doubles. */
export const D_TICK = 45;
/** Words of the control block. */
export const CONTROL_WORDS = 96;

/** Most chunks of a plan. */
export const CHUNKS_MAX = 1024;

/** Of a thread's area: not 0 where the thread was given up. */
export const A_ENDED = 0;
/** Of a thread's area: 1 once it reads what is posted to it. */
export const A_READY = 1;
/** Of a thread's area: codes that it has loaded, or tried to. */
export const A_LOADED = 2;
/** Of a thread's area: 1 + the first code that could not be loaded; its error stands in the text. */
export const A_REFUSED = 3;
/** Of a thread's area: runs so far, and the milliseconds that they took; as indices of doubles. */
export const D_RUNS = 4, D_BUSY_MS = 5;
/** Of a thread's area: the plan of the words below. */
export const A_PLAN = 16;
/** Of a thread's area: chunks done. */
export const A_CHUNKS = 17;
/** Of a thread's area: place in the plan of the rule that runs, −1 while none does. */
export const A_PLACE = 18;
/** Of a thread's area: 1 + place of a rule that failed; its error stands in the text. */
export const A_FAILED = 19;
/** Of a thread's area: bytes of the text. */
export const A_TEXT_BYTES = 20;
/** Of a thread's area: for each chunk done its number, and where what it changed begins and ends. */
export const A_LIST = 32;
/** Bytes that a text may have. */
export const TEXT_BYTES_MAX = 16_384;
const TEXT_AT: number = A_LIST + 3 * CHUNKS_MAX;
/** Words of an area. */
export const AREA_WORDS: number = TEXT_AT + TEXT_BYTES_MAX / 4;

/** What a plan works on, which is posted to each thread when it changes. */
export const PART = { program: 0, rules: 1, words: 2, heads: 3 } as const;

/** The cursor of a plan. */
export function cursorOf(plan: number, chunk: number): number {
  return (plan & 0x7fff) << 16 | chunk;
}

/** The text of an area. */
export function textOf(area: Int32Array): Uint8Array {
  return new Uint8Array(area.buffer, 4 * TEXT_AT, TEXT_BYTES_MAX);
}

/** What a thread is given when it starts. */
export interface RuleWorkerStart {
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** The thread's area. */
  readonly area: SharedArrayBuffer;
  /** What its rules change. */
  readonly changes: SharedArrayBuffer;
  /** The pages. */
  readonly pages: import("../../physical/mod.ts").SharedPages;
  /** Where news come. */
  readonly port: import("node:worker_threads").MessagePort;
}

/** What is posted to a thread. */
export type RuleNews =
  /** Code to be loaded; the first has number 0. */
  | {
    readonly kind: "code";
    readonly url: string;
    readonly name: string;
    readonly version: number;
  }
  /** The program of the plans to come. */
  | {
    readonly kind: "program";
    readonly number: number;
    /** The program's image, which each thread copies: its flags are its own. */
    readonly image: Int32Array;
    /** For each rule the number of the rule in its directory. */
    readonly numbers: Int32Array;
    /** For each rule 1 + its code, 0 where it is not for workers. */
    readonly codes: Int32Array;
    /** Parameters of rules that have some, by number of the rule in its directory, since the last program. */
    readonly params: readonly (readonly [number, unknown])[];
  }
  /** A buffer of the plans to come. */
  | {
    readonly kind: "buffer";
    /** One of {@linkcode PART}. */
    readonly part: number;
    readonly number: number;
    readonly buffer: SharedArrayBuffer;
  };
