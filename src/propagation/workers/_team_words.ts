/**
 * Team words: how a coordinator and its workers share out a tick, as words of shared memory.
 *
 * A plan lists the tick's batches. Checking is cut into blocks of rows, which are claimed from a cursor;
 * what follows goes batch by batch through each part of the shards, which one thread at a time has by its
 * lock. A plan of its own has the bodies of frames built, a batch each. Between plans the cursors stand far behind the last block and every part at its end, so a thread that
 * comes late finds nothing to do, whatever it still believes.
 */

/** Rows of a block: some 200 µs of work. A multiple of 8. */
export const BLOCK_ROWS = 32_768;
/** Batches of one plan. */
export const PLAN_BATCHES_MAX = 1024;
/** Parts of the shards. */
export const PARTS_MAX = 64;
/** Cursor between plans. */
export const CURSOR_PARKED: number = 2 ** 30;

// Words that change often stand on cache lines of their own.
/** Plans so far; workers sleep on it. */
export const W_BELL = 16;
/** Not 0: workers are to end. */
export const W_STOP = 17;
/** Next block to be checked. */
export const W_CURSOR = 32;
/** Changes whenever something can be done that could not before. */
export const W_PROGRESS = 48;
/** The last plan of which everything is done; the coordinator sleeps on it. */
export const W_FINISHED = 64;
/** Number of the plan that stands in the words below. */
export const W_PLAN = 80;
/** What is to be done, of {@linkcode WORK}. */
export const W_WORK = 81;
/** Batches. */
export const W_BATCHES = 82;
/** Parts. */
export const W_PARTS = 83;
/** Blocks. */
export const W_BLOCKS = 84;
/** Number of the buffer of {@linkcode orderBytes} bytes; 0 where there is one part. */
export const W_ORDER = 85;
/** Times that a thread may look for work before it sleeps. */
export const W_SPINS = 86;
/** Parts that are at their end. */
export const W_PARTS_DONE = 87;
/** 1 + number of a worker that failed. */
export const W_FAULT = 88;

/** Number of the buffer that bodies of frames are built in, and its units of 8 bytes. */
export const W_ROOM = 89, W_ROOM_UNITS = 90;
/** Next batch whose body is to be built. */
export const W_BUILD = 96;
/** Bodies that are done with; the coordinator sleeps on it. */
export const W_BUILT = 112;
/** Units of the room that are given out. */
export const W_ROOM_USED = 128;

const PART_WORDS = 16, PARTS_AT = 144;
/** Of a part: whether a thread has it. */
export const P_LOCK = 0;
/** Of a part: the next batch. */
export const P_NEXT = 1;
/** Of a part: 1 + number of the thread that took it first in this plan. */
export const P_OWNER = 2;

const BATCHES_AT: number = PARTS_AT + PARTS_MAX * PART_WORDS;
const BATCH_WORDS = 32;
/** Of a batch: number of its buffer. */
export const B_BUFFER = 0;
/** Rows there is room for. */
export const B_CAPACITY = 1;
/** Rows. */
export const B_ROWS = 2;
/** Bytes of the payload pool in use. */
export const B_PAYLOAD = 3;
/** Interned strings. */
export const B_STRINGS = 4;
/** Its first block. */
export const B_FIRST = 5;
/** Its blocks. */
export const B_BLOCKS = 6;
/** Blocks checked. */
export const B_CHECKED = 7;
/** What the blocks' surveys found, or-ed together. */
export const B_KINDS = 8, B_SOURCES = 9, B_DIFFERS = 10, B_FINDINGS = 11;
/** One of {@linkcode BATCH_STATE}. */
export const B_STATE = 12;
/** First byte and bytes of the payload pool in the buffer. */
export const B_POOL = 13, B_POOL_BYTES = 14;

/** First unit and bytes of its strings in the room; 0 bytes where there are none. */
export const B_TEXT = 15, B_TEXT_BYTES = 16;
/** One of {@linkcode BODY_STATE}. */
export const B_BODY = 17;
/** Of a body: first unit and bytes in the room, sections, checksum. */
export const B_BODY_AT = 18, B_BODY_BYTES = 19, B_BODY_SECTIONS = 20, B_BODY_CHECK = 21;

const MEMBER_WORDS = 2;
const MEMBERS_AT: number = BATCHES_AT + PLAN_BATCHES_MAX * BATCH_WORDS;

/** Words of the control block of a team of so many workers. */
export function teamWords(workers: number): number {
  return MEMBERS_AT + MEMBER_WORDS * workers;
}

/** Word of a worker: one of {@linkcode MEMBER}. */
export function memberAt(worker: number): number {
  return MEMBERS_AT + MEMBER_WORDS * worker;
}

/**
 * Where a worker stands. What is posted to a thread while it starts may be lost, so it is given the buffers
 * once it is `ready`, and takes no part in plans before it has `joined`. Not more of them join than there are cores;
 * the others sleep on this word until they take the place of one that ended.
 */
export const MEMBER = { starting: 0, ready: 1, joined: 2, ended: 3 } as const;

/** What a batch has come to. */
export const BATCH_STATE = { waiting: 0, accepted: 1, refused: 2 } as const;

/** What the body of a batch's frame has come to. */
export const BODY_STATE = { waiting: 0, built: 1, noRoom: 2 } as const;

/** What is to be done with a plan's batches, as bits. */
export const WORK = { check: 1, epochs: 2, noteEpochs: 4, apply: 8, build: 16 } as const;

/** Doubles of a worker's counts. */
export const COUNT_DOUBLES = 8;
/** Rows checked, rows put into their pages, tasks, ms at work, plans taken part in, rows of frames built. */
export const C_CHECKED = 0, C_APPLIED = 1, C_TASKS = 2, C_BUSY_MS = 3, C_PLANS = 4, C_BUILT = 5;

/** First word of a part. */
export function partAt(part: number): number {
  return PARTS_AT + part * PART_WORDS;
}

/** First word of a batch. */
export function batchAt(batch: number): number {
  return BATCHES_AT + batch * BATCH_WORDS;
}

/** Words in which blocks keep where the rows of each part begin, followed by the rows' order. */
export function orderWords(blocks: number, parts: number): number {
  return blocks * (parts + 1) + blocks * BLOCK_ROWS;
}

/**
 * Of a worker: number of the thread that it is now. A thread that sleeps may be ended by the system in name only,
 * and wake up again (so it is in Deno 2.9); it then finds another number here, and goes.
 */
export const M_LIFE = 1;

/** What a worker is given when it starts. */
export interface WorkerStart {
  /** Its number. */
  readonly worker: number;
  /** Number of the thread, among those that have been this worker. */
  readonly life: number;
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** Counts of all workers. */
  readonly counts: SharedArrayBuffer;
  /** The pages. */
  readonly pages: import("../../physical/mod.ts").SharedPages;
  /** Where buffers are announced. */
  readonly port: import("node:worker_threads").MessagePort;
  /** Core to stay on, if any. */
  readonly core: number | undefined;
}

/** A buffer that plans name by its number from now on; `undefined` takes it back. */
export interface BufferNews {
  /** Number. */
  readonly number: number;
  /** The buffer. */
  readonly buffer: SharedArrayBuffer | undefined;
}
