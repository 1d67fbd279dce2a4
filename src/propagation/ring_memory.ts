/**
 * The shared memory of a ring: one `SharedArrayBuffer` that says by itself what it holds, so that the handle
 * sent to another thread is that buffer and a word.
 *
 * Words that different threads write lie 128 bytes apart: a cache line is 64 bytes, and processors fetch
 * lines in pairs. A line that one thread writes and another reads travels between their cores (40 to 100 ns a
 * time), so what is written seldom (who sleeps) stands apart from what is written with every item.
 *
 * Positions count items and wrap at 2³¹; the top bit of the tail says that the ring is closed. With it there,
 * claiming a place and finding the ring open are one atomic step: no item can slip in behind the close.
 *
 * Cost: 640 bytes for the control words, 4 bytes a word of an item, 4 bytes an item more in a ring for many threads.
 */

import { checkInteger, checkKeys } from "../base/assert.ts";
import { MmsbError } from "../base/errors.ts";
import { RING_ITEM_WORDS_MAX, RING_WORDS_MAX } from "../base/limits.ts";

/** Position of the next item to push, and {@linkcode CLOSED}; written by producers. */
export const TAIL = 32;

/** Position of the next item to pop; written by consumers. */
export const HEAD = 64;

/** Whether consumers sleep until there is an item: a flag, or their number. */
export const ITEM_WANTED = 96;

/** What sleeping consumers of a ring for many threads look at. */
export const ITEM_SIGNAL = 97;

/** Whether producers sleep until there is room: a flag, or their number. */
export const ROOM_WANTED = 128;

/** What sleeping producers of a ring for many threads look at. */
export const ROOM_SIGNAL = 129;

/** Words before the items. */
export const CONTROL_WORDS = 160;

/** Bits of a position; differences of positions are taken modulo 2³¹ by the same mask. */
export const POSITION = 0x7fff_ffff;

/** Bit of the tail of a closed ring: the sign. */
export const CLOSED = -0x8000_0000;

/** "MRNG" in the first word. */
const MAGIC = 0x474e_524d;

const KIND = 1;
const CAPACITY = 2;
const ITEM_WORDS = 3;
const SPINS = 4;

/** The kinds of rings, by what their handles say. */
export type RingKind = "spsc-ring" | "mpmc-ring";

const KINDS: readonly RingKind[] = ["spsc-ring", "mpmc-ring"];

/** How to make a ring. */
export interface RingOptions {
  /** Most items that the ring holds: a power of two, at least 2. */
  readonly capacity: number;
  /** 32-bit words of an item; 1 if left out. */
  readonly itemWords?: number;
  /**
   * Looks at the ring before a blocking call goes to sleep, with a short pause between them. Worth it only where
   * there are no more threads than cores: otherwise the thread waited for may need this core. 0 if left out.
   */
  readonly spins?: number;
}

/**
 * What another thread needs to attach a ring: plain, sent with `postMessage`, never copied (the
 * memory is shared).
 */
export interface RingHandle {
  /** Which kind of ring. */
  readonly kind: RingKind;
  /** Its memory. */
  readonly memory: SharedArrayBuffer;
}

/** A ring's memory as this thread sees it. */
export interface RingMemory {
  readonly memory: SharedArrayBuffer;
  readonly capacity: number;
  readonly itemWords: number;
  readonly spins: number;
  /** Control words. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** A sequence number an item; none in a ring for two threads. */
  readonly sequences: Int32Array<SharedArrayBuffer>;
  /** The items' words. */
  readonly data: Int32Array<SharedArrayBuffer>;
}

/** Makes the memory of an empty ring. */
export function createRingMemory(kind: RingKind, options: RingOptions): SharedArrayBuffer {
  const name = kind === "spsc-ring" ? "SpscRing" : "MpmcRing";
  checkKeys(name, options, ["capacity", "itemWords", "spins"]);
  const { capacity, itemWords = 1, spins = 0 } = options ?? {};
  checkInteger("itemWords", itemWords, 1, RING_ITEM_WORDS_MAX, "limit");
  checkInteger("capacity", capacity, 2, RING_WORDS_MAX, "limit");
  checkInteger("spins", spins, 0, 1_000_000, "limit");
  if ((capacity & (capacity - 1)) !== 0) {
    throw new MmsbError("usage", `Cannot make a ring of ${capacity} items: give a power of two`, {
      values: { capacity },
    });
  }
  const sequences = kind === "mpmc-ring" ? capacity : 0;
  const items = capacity * itemWords;
  if (items > RING_WORDS_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot make a ring of ${items} words: give at most ${RING_WORDS_MAX}`,
      { values: { capacity, itemWords, wordsMax: RING_WORDS_MAX } },
    );
  }
  let memory: SharedArrayBuffer;
  try {
    memory = new SharedArrayBuffer(4 * (CONTROL_WORDS + alignedSequences(sequences) + items));
  } catch (cause) {
    throw new MmsbError("allocation", `Cannot get memory for a ring of ${items} words`, {
      values: { capacity, itemWords },
      cause,
    });
  }
  const words = new Int32Array(memory);
  words[KIND] = KINDS.indexOf(kind);
  words[CAPACITY] = capacity;
  words[ITEM_WORDS] = itemWords;
  words[SPINS] = spins;
  for (let i = 0; i < sequences; i++) words[CONTROL_WORDS + i] = i;
  words[0] = MAGIC;
  return memory;
}

/** Takes a handle from another thread apart. */
export function ringMemoryOf(kind: RingKind, handle: RingHandle): RingMemory {
  const memory = handle?.memory;
  if (handle?.kind !== kind || !(memory instanceof SharedArrayBuffer)) refuseHandle(kind);
  if (memory.byteLength < 4 * CONTROL_WORDS || memory.growable) refuseHandle(kind);
  const header = new Int32Array(memory, 0, CONTROL_WORDS);
  const capacity = header[CAPACITY], itemWords = header[ITEM_WORDS];
  const sequences = kind === "mpmc-ring" ? capacity : 0;
  const dataAt = CONTROL_WORDS + alignedSequences(sequences);
  if (
    header[0] !== MAGIC || header[KIND] !== KINDS.indexOf(kind) ||
    memory.byteLength !== 4 * (dataAt + capacity * itemWords)
  ) refuseHandle(kind);
  return {
    memory,
    capacity,
    itemWords,
    spins: header[SPINS],
    words: new Int32Array(memory, 0, CONTROL_WORDS),
    sequences: new Int32Array(memory, 4 * CONTROL_WORDS, sequences),
    data: new Int32Array(memory, 4 * dataAt, capacity * itemWords),
  };
}

function refuseHandle(kind: RingKind): never {
  throw new MmsbError(
    "usage",
    `Cannot attach a ring: give the handle that share() of a ring of kind "${kind}" gave`,
    { values: { kind } },
  );
}

/** Items begin on a line of their own. */
function alignedSequences(count: number): number {
  return (count + 31) & ~31;
}
