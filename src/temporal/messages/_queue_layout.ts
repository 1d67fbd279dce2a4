/**
 * Where everything of a temporal queue lies in its shared memory: word numbers of the header and of a record.
 *
 * Addresses are word numbers (words of 32 bits) from the start of the memory, so that following a link is one load; 0 is no
 * address, as the header lies there.
 *
 * A message stands in a record. Its first 16 words, one cache line, hold all of a plain message (no window, nothing to wait for);
 * records of plain messages lie behind each other in lanes (`_lanes.ts`) and have no more. The others have 32 words in a slot:
 * links, a timer, a window and edges follow. Batches outside the queue are columns.
 *
 * Cost: none; numbers.
 */

// Header: what never changes.
export const MAGIC_AT = 0;
export const CAPACITY_AT = 1;
export const REMEMBERED_AT = 2;
export const BLOCKS_AT = 3;
export const EDGES_AT = 4;
export const SPINS_AT = 5;
/** As f64 words: dependency timeout, then the three bounds of the classes. */
export const TIMES_AT = 8;

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
/** Slots that hold no message. */
export const FREE_HEAD = 160;
export const FREE_COUNT = 161;
export const HELD_COUNT = 162;
export const WAITING_COUNT = 163;
/** Messages that may be delivered: in the ready lists and in the lanes. */
export const READY_COUNT = 164;
export const BLOCK_HEAD = 165;
export const BLOCK_COUNT = 166;
/** Blocks whose words a consumer copies out just now: of delivered messages, and not free yet. */
export const BLOCKS_TAKEN = 167;
export const EDGE_HEAD = 168;
export const EDGE_COUNT = 169;
export const TIMER_COUNT = 170;
/** Bit b: ready list b holds something. */
export const READY_MASK = 171;
/** Bit b: lane b holds something. */
export const LANE_MASK = 172;
export const CHUNK_HEAD = 173;
/** Free entries of the table of ids, and entries with delivered ids: by their last delivery, the oldest first. */
export const GROUP_HEAD = 174;
export const OLDEST_GROUP = 175;
export const NEWEST_GROUP = 176;
/** Ended messages that were noted in all, and how many of them were read. */
export const ENDED_WRITTEN = 177;
export const ENDED_READ = 178;

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

/** Lanes: eight a priority, the highest first. */
export const LANES = 32;
/** Words of a lane: its first record, its last one. */
export const LANE_WORDS = 2;
export const LANES_AT = 208;

/** Ready lists: four classes of four priorities. */
export const READY_LISTS = 16;
/** Sorted runs of a ready list. */
export const RUNS = 8;
/** Words of a ready list: heads of runs, tails of runs, root of the heap, mask of runs that hold something. */
export const READY_LIST_WORDS = 32;
export const READY_AT: number = LANES_AT + 80;

export const WHEEL_LEVELS = 9;
/** A list a place, 64 places a level, then two words of occupancy a level. */
export const WHEEL_AT: number = READY_AT + READY_LISTS * READY_LIST_WORDS;
const WHEEL_WORDS = 608;

/** Ended messages that are kept for a reader; words of one. */
export const ENDED_KEPT = 256;
export const ENDED_WORDS = 8;
export const ENDED_AT: number = WHEEL_AT + WHEEL_WORDS;
/** The first word after the header. */
export const PARTS_AT: number = ENDED_AT + ENDED_KEPT * ENDED_WORDS;

/** Words of a plain message's record, and of a slot. */
export const RECORD_WORDS = 16;
export const SLOT_WORDS = 32;
// Words of a record, from its address.
/** Node in bits 0–15, priority 16–17, deadline class 18–19, run 20–23, producer 24–26. */
export const FLAGS = 0;
export const HI = 1;
export const LO = 2;
export const ID_HI = 3;
export const ID_LO = 4;
export const PAYLOAD_BYTES = 5;
/** f64 words, so at half the address. */
export const SEQUENCE = 3;
export const ERROR_US = 4;
/** The first words of dependencies and payload lie in the record; the rest in blocks. */
export const INLINE = 10;
export const INLINE_WORDS = 5;
export const BLOCK = 15;
// Words that only slots have.
export const STATE = 16;
/** Neighbours in a run, or siblings in a heap; the second also links free slots. */
export const PREVIOUS = 17;
export const NEXT = 18;
export const CHILD = 19;
export const TIMER_PREVIOUS = 20;
export const TIMER_NEXT = 21;
/** Place in the wheel, from 1; 0 without a timer. */
export const TIMER_PLACE = 22;
/** First edge to a dependency that is not delivered yet. */
export const EDGE = 23;
export const DEPENDENCIES = 24;
/** f64 words, so at half the address. */
export const FROM_US = 13;
export const UNTIL_US = 14;
/** When the timer fires. */
export const TIMER_US = 15;

/** Words of a block, the first of which is the address of the next one. */
export const BLOCK_WORDS = 16;
/** Words of an edge. */
export const EDGE_WORDS = 8;
/** Words of an entry of the table of ids. */
export const GROUP_WORDS = 8;

// States of a slot.
export const FREE = 0;
export const HELD = 1;
export const WAITING = 2;
export const READY = 3;
