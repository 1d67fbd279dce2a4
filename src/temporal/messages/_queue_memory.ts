/**
 * Where everything of a temporal queue lies in its shared memory.
 *
 * One `SharedArrayBuffer` holds all: a header with counters, the ready lists, the timer wheel, two hash tables, the
 * edges of waiting messages, blocks for long payloads, and a record a message. Addresses are word numbers
 * (words of 32 bits) from the start of the memory, so that following a link is one load; 0 is no
 * address, as the header lies there.
 *
 * Records and not columns: a message is linked, compared and copied as one, and lies in two cache lines. Batches outside
 * the queue are columns.
 *
 * Cost: 128 bytes a message and as many a remembered id, 32 bytes a dependency that is waited for,
 * 64 bytes for each 60 bytes of payload past the first 20, and about 15 KiB.
 */
import { checkInteger, checkKeys, checkNumber } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { QUEUE_MESSAGES_MAX, QUEUE_PAYLOAD_BYTES_MAX } from "../../base/limits.ts";
import { DEADLINE_CLASSES_US, type DeadlineBounds, deadlineBounds } from "./deadline_class.ts";
import type { TemporalQueueHandle, TemporalQueueSizes } from "./queue_types.ts";

// Header: what never changes.
const MAGIC_AT = 0;
const CAPACITY_AT = 1;
const REMEMBERED_AT = 2;
const BLOCKS_AT = 3;
const EDGES_AT = 4;
const SPINS_AT = 5;
/** As f64 words: dependency timeout, then the three bounds of the classes. */
const TIMES_AT = 8;

// Each word that threads fight over has a cache line pair of its own.
/** The lock: 0 free, 1 held, 2 held and somebody sleeps; the word behind it names the holder. */
export const LOCK = 32;
export const LOCK_HOLDER = 33;
export const ITEM_SIGNAL = 64;
export const ITEM_SLEEPERS = 65;
export const ROOM_SIGNAL = 96;
export const ROOM_SLEEPERS = 97;
export const CLOSED = 128;
export const HANDLES = 129;

// State under the lock.
/** Slots that hold no message, oldest first: those of delivered messages remember their id. */
export const FREE_HEAD = 160;
export const FREE_TAIL = 161;
export const FREE_COUNT = 162;
export const HELD_COUNT = 163;
export const WAITING_COUNT = 164;
export const READY_COUNT = 165;
/** Messages that a consumer copies out just now: delivered, their slot not free yet. */
export const TAKEN_COUNT = 166;
export const BLOCK_HEAD = 167;
export const BLOCK_COUNT = 168;
export const EDGE_HEAD = 169;
export const EDGE_COUNT = 170;
export const TIMER_COUNT = 171;
/** Bit b: ready list b holds something. */
export const READY_MASK = 172;
/** Ended messages that were noted in all, and how many of them were read. */
export const ENDED_WRITTEN = 173;
export const ENDED_READ = 174;

// Counters, as indices of f64 words.
export const PUSHED = 96;
export const DELIVERED = 97;
export const EXPIRED = 98;
export const TIMED_OUT = 99;
export const DUPLICATES = 100;
export const REFUSED = 101;
/** The queue's time in µs: the largest that any thread has seen. */
export const TIME_US = 102;
/** Another counter: messages that were dropped. */
export const DROPPED = 103;

/** Ready lists: four classes of four priorities. */
export const READY_LISTS = 16;
/** Sorted runs of a ready list. */
export const RUNS = 8;
/** Words of a ready list: heads of runs, tails of runs, root of the heap, mask of runs that hold something. */
export const READY_LIST_WORDS = 32;
export const READY_AT = 256;

export const WHEEL_LEVELS = 9;
/** A list a place, 64 places a level, then two words of occupancy a level. */
export const WHEEL_AT: number = READY_AT + READY_LISTS * READY_LIST_WORDS;
const WHEEL_WORDS = 608;

/** Ended messages that are kept for a reader; words of one. */
export const ENDED_KEPT = 256;
export const ENDED_WORDS = 8;
export const ENDED_AT: number = WHEEL_AT + WHEEL_WORDS;
const TABLES_AT = ENDED_AT + ENDED_KEPT * ENDED_WORDS;

/** Words of a record. */
export const SLOT_WORDS = 32;
// Words of a record, from its address.
export const STATE = 0;
export const HI = 1;
export const LO = 2;
/** Node in bits 0–15, priority 16–17, deadline class 18–19, run 20–23, producer 24–31. */
export const FLAGS = 3;
export const ID_HI = 4;
export const ID_LO = 5;
export const HASH_NEXT = 6;
/** Neighbours in a run, or siblings in a heap; the second also links free slots and taken ones. */
export const PREVIOUS = 7;
export const NEXT = 8;
export const CHILD = 9;
export const TIMER_PREVIOUS = 10;
export const TIMER_NEXT = 11;
/** Place in the wheel, from 1; 0 without a timer. */
export const TIMER_PLACE = 12;
/** First edge to a dependency that is not delivered yet. */
export const EDGE = 13;
export const DEPENDENCIES = 14;
export const PAYLOAD_BYTES = 15;
/** f64 words, so at half the address. */
export const SEQUENCE = 8;
export const FROM_US = 9;
export const UNTIL_US = 10;
export const ERROR_US = 11;
/** When the timer fires. */
export const TIMER_US = 12;
/** The first words of dependencies and payload lie in the record; the rest in blocks. */
export const INLINE = 26;
export const INLINE_WORDS = 5;
export const BLOCK = 31;

/** Words of a block, the first of which is the address of the next one. */
export const BLOCK_WORDS = 16;
/** Words of an edge. */
export const EDGE_WORDS = 8;

// States of a slot.
export const FREE = 0;
export const REMEMBERED = 1;
export const HELD = 2;
export const WAITING = 3;
export const READY = 4;

const MAGIC = 0x54_51_31_0a;
const CAPACITY_DEFAULT = 65_536;

/** Where the parts begin, and how many there are. */
interface Layout {
  readonly slots: number;
  readonly idsAt: number;
  readonly idBuckets: number;
  readonly awaitedAt: number;
  readonly awaitedBuckets: number;
  readonly edgesAt: number;
  readonly blocksAt: number;
  readonly slotsAt: number;
  readonly words: number;
}

function layoutOf(capacity: number, remembered: number, blocks: number, edges: number): Layout {
  const slots = capacity + remembered;
  const idBuckets = powerOfTwo(slots * 2), awaitedBuckets = powerOfTwo(edges);
  const idsAt = TABLES_AT;
  const awaitedAt = idsAt + idBuckets;
  const edgesAt = aligned(awaitedAt + awaitedBuckets);
  const blocksAt = edgesAt + aligned(edges * EDGE_WORDS);
  const slotsAt = blocksAt + aligned(blocks * BLOCK_WORDS);
  const words = slotsAt + slots * SLOT_WORDS;
  return {
    slots,
    idsAt,
    idBuckets,
    awaitedAt,
    awaitedBuckets,
    edgesAt,
    blocksAt,
    slotsAt,
    words,
  };
}

/** A queue's memory as this thread sees it. */
export class QueueMemory {
  readonly memory: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  /** The same without sign. */
  readonly u32: Uint32Array<SharedArrayBuffer>;
  /** The same as doubles. */
  readonly f64: Float64Array<SharedArrayBuffer>;
  readonly capacity: number;
  readonly remembered: number;
  readonly blocks: number;
  readonly edges: number;
  readonly spins: number;
  readonly dependencyTimeoutUs: number;
  readonly classesUs: DeadlineBounds;
  readonly layout: Layout;

  /** Takes a handle apart. */
  constructor(handle: TemporalQueueHandle) {
    const memory = handle?.memory;
    if (handle?.kind !== "temporal-queue" || !(memory instanceof SharedArrayBuffer)) refuseHandle();
    if (memory.byteLength < 4 * TABLES_AT || memory.growable) refuseHandle();
    this.memory = memory;
    this.words = new Int32Array(memory);
    this.u32 = new Uint32Array(memory);
    this.f64 = new Float64Array(memory);
    const { words } = this;
    if (words[MAGIC_AT] !== MAGIC) refuseHandle();
    this.capacity = words[CAPACITY_AT];
    this.remembered = words[REMEMBERED_AT];
    this.blocks = words[BLOCKS_AT];
    this.edges = words[EDGES_AT];
    this.spins = words[SPINS_AT];
    const [timeoutUs, first, second, third] = this.f64.subarray(TIMES_AT / 2, TIMES_AT / 2 + 4);
    this.dependencyTimeoutUs = timeoutUs;
    this.classesUs = [first, second, third];
    this.layout = layoutOf(this.capacity, this.remembered, this.blocks, this.edges);
    if (memory.byteLength !== 4 * this.layout.words) refuseHandle();
  }

  /** Makes the memory of an empty queue. */
  static create(sizes: TemporalQueueSizes): QueueMemory {
    const { capacity = CAPACITY_DEFAULT, remembered = capacity, dependencies = capacity } = sizes;
    checkInteger("capacity", capacity, 1, QUEUE_MESSAGES_MAX, "limit");
    checkInteger("remembered", remembered, 0, QUEUE_MESSAGES_MAX, "limit");
    checkInteger("dependencies", dependencies, 0, QUEUE_MESSAGES_MAX, "limit");
    const { payloadBytes = 64 * capacity, spins = 100 } = sizes;
    checkInteger("payloadBytes", payloadBytes, 0, QUEUE_PAYLOAD_BYTES_MAX, "limit");
    checkInteger("spins", spins, 0, 1_000_000, "limit");
    const { dependencyTimeoutUs = Infinity, classesUs = DEADLINE_CLASSES_US } = sizes;
    if (dependencyTimeoutUs !== Infinity) {
      checkNumber("dependencyTimeoutUs", dependencyTimeoutUs, 1, 2 ** 52, "usage");
    }
    const bounds = deadlineBounds(classesUs);
    const blocks = Math.ceil(payloadBytes / (4 * (BLOCK_WORDS - 1)));
    const layout = layoutOf(capacity, remembered, blocks, dependencies);
    const memory = memoryOf(layout.words);
    const words = new Int32Array(memory);
    words[CAPACITY_AT] = capacity;
    words[REMEMBERED_AT] = remembered;
    words[BLOCKS_AT] = blocks;
    words[EDGES_AT] = dependencies;
    words[SPINS_AT] = spins;
    const times = new Float64Array(memory, 4 * TIMES_AT, 4);
    times[0] = Math.ceil(dependencyTimeoutUs);
    times.set(bounds, 1);
    chain(words, layout.slotsAt, layout.slots, SLOT_WORDS, NEXT);
    words[FREE_HEAD] = layout.slotsAt;
    words[FREE_TAIL] = layout.slotsAt + (layout.slots - 1) * SLOT_WORDS;
    words[FREE_COUNT] = layout.slots;
    chain(words, layout.blocksAt, blocks, BLOCK_WORDS, 0);
    words[BLOCK_HEAD] = blocks === 0 ? 0 : layout.blocksAt;
    words[BLOCK_COUNT] = blocks;
    chain(words, layout.edgesAt, dependencies, EDGE_WORDS, 0);
    words[EDGE_HEAD] = dependencies === 0 ? 0 : layout.edgesAt;
    words[EDGE_COUNT] = dependencies;
    words[MAGIC_AT] = MAGIC;
    return new QueueMemory({ kind: "temporal-queue", memory });
  }
}

/** Options that {@linkcode QueueMemory.create} reads. */
export function checkSizes(name: string, options: unknown, others: readonly string[]): void {
  checkKeys(name, options, [
    "capacity",
    "payloadBytes",
    "dependencies",
    "remembered",
    "dependencyTimeoutUs",
    "classesUs",
    "spins",
    ...others,
  ]);
}

function chain(words: Int32Array, at: number, count: number, size: number, link: number): void {
  for (let i = 0; i + 1 < count; i++) words[at + i * size + link] = at + (i + 1) * size;
}

function memoryOf(words: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(4 * words);
  } catch (cause) {
    throw new MmsbError("allocation", `Cannot get memory for a queue of ${4 * words} bytes`, {
      values: { bytes: 4 * words },
      cause,
    });
  }
}

function refuseHandle(): never {
  throw new MmsbError(
    "usage",
    "Cannot attach a queue: give the handle that share() of a TemporalQueue gave",
  );
}

function powerOfTwo(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(16, atLeast)));
}

function aligned(words: number): number {
  return Math.ceil(words / SLOT_WORDS) * SLOT_WORDS;
}
