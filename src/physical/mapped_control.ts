/**
 * Mapped control: the block at the start of a mapped file that says what the rest is, and when it may
 * be believed.
 *
 * Readers follow a sequence: it is odd while a tick is being applied, and even, and two more, when it
 * is done. Who finds the same even number before and after reading has read one tick; who does not
 * reads again (a sequence lock: Lameter, "Effective synchronization on Linux/NUMA systems", 2005).
 * Readers write nothing, so they cost the writer nothing, however many there are.
 *
 * The block is written through `Atomics`, which the engine allows on memory of any kind; only waiting
 * is refused. Between the sequence and what it guards stands a fence, as processors other than x86
 * may move plain reads and writes past it.
 *
 * @module
 */

import { crc32 } from "../base/mod.ts";
import { CONTROL_BYTES, GROWING_PARTS, type GrowingPart, IMAGE_FORMAT } from "./mapped_layout.ts";

/** `building`: not for readers yet. `live`: a writer has it. `clean`: closed, and synced. `retired`: replaced. */
export const IMAGE_STATE = { building: 1, live: 2, clean: 3, retired: 4, partial: 5 } as const;

const MAGIC = 0x4153_4d4d, MAGIC_2 = 0x414e_4552;
// 32-bit words. What readers look at each time stands on one cache line.
const WORD_MAGIC = 0, WORD_MAGIC_2 = 1, WORD_FORMAT = 2, WORD_SHARDS = 3;
const WORD_SEQUENCE = 16, WORD_STATE = 17, WORD_GROWTH = 18, WORD_DIRECTORY = 19;
const WORD_DIRECTORY_LENGTHS = 20, WORD_INCARNATION = 22, WORD_WRITER = 23;
const WORD_CHECK = 26;
// 64-bit words.
const DOUBLE_LIMIT = 2, DOUBLE_TOTAL = 3, DOUBLE_TICK = 12, DOUBLE_NEXT_PAGE = 14, BIG_HLC = 15;
const DOUBLE_ROWS = 16, DOUBLE_SAVED_LENGTH = 17, DOUBLE_LENGTHS = 18;
/** Byte at which the state of the slot allocator is kept by a clean close. */
const SAVED_AT = 1024;

/** What a tick leaves in the control block. */
export interface PublishedTick {
  /** Tick. */
  readonly tick: number;
  /** Its hybrid logical timestamp. */
  readonly hlc: bigint;
  /** The next page id. */
  readonly nextPageId: number;
  /** Rows applied since the writer opened. */
  readonly rows: number;
}

/** What a clean close must agree with the directory's metadata in. */
export interface ImageIdentity {
  /** Number of the opening that wrote it. */
  readonly incarnation: number;
  /** Shards. */
  readonly shards: number;
  /** Last tick. */
  readonly tick: number;
  /** Its timestamp. */
  readonly hlc: bigint;
}

/** A word of this thread's own, for fences. */
const FENCE = new Int32Array(new SharedArrayBuffer(4));

/** No read or write moves past this: an atomic change both releases and acquires. */
function fence(): void {
  Atomics.add(FENCE, 0, 0);
}

/** The control block of one mapping. */
export class MappedControl {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #bigs: BigInt64Array;
  readonly #bytes: Uint8Array;

  /** Looks at the beginning of a buffer. */
  constructor(buffer: ArrayBufferLike) {
    this.#words = new Int32Array(buffer, 0, CONTROL_BYTES / 4);
    this.#doubles = new Float64Array(buffer, 0, CONTROL_BYTES / 8);
    this.#bigs = new BigInt64Array(buffer, 0, CONTROL_BYTES / 8);
    this.#bytes = new Uint8Array(buffer, 0, CONTROL_BYTES);
  }

  /** Fills the block of a new file. */
  initialise(limitBytes: number, totalBytes: number, shards: number): void {
    this.#doubles[DOUBLE_LIMIT] = limitBytes;
    this.#doubles[DOUBLE_TOTAL] = totalBytes;
    this.#words[WORD_SHARDS] = shards;
    this.#words[WORD_FORMAT] = IMAGE_FORMAT;
    this.#words[WORD_MAGIC_2] = MAGIC_2;
    this.state = IMAGE_STATE.building;
    Atomics.store(this.#words, WORD_MAGIC, MAGIC);
  }

  /** Whether this is a mapped file that this version can read. */
  get isKnown(): boolean {
    return Atomics.load(this.#words, WORD_MAGIC) === MAGIC &&
      this.#words[WORD_MAGIC_2] === MAGIC_2 && this.#words[WORD_FORMAT] === IMAGE_FORMAT;
  }

  /** Bytes that pages may take. */
  get limitBytes(): number {
    return this.#doubles[DOUBLE_LIMIT];
  }

  /** Bytes of the whole file. */
  get totalBytes(): number {
    return this.#doubles[DOUBLE_TOTAL];
  }

  /** Shards. */
  get shards(): number {
    return this.#words[WORD_SHARDS];
  }

  /** One of {@linkcode IMAGE_STATE}. */
  get state(): number {
    return Atomics.load(this.#words, WORD_STATE);
  }

  set state(state: number) {
    Atomics.store(this.#words, WORD_STATE, state);
  }

  /** The sequence: odd while a tick is being applied. */
  get sequence(): number {
    return Atomics.load(this.#words, WORD_SEQUENCE);
  }

  /** Whether the sequence is still what it was when reading began. */
  isStill(sequence: number): boolean {
    fence();
    return Atomics.load(this.#words, WORD_SEQUENCE) === sequence;
  }

  /** Changes whenever a part has become longer. */
  get growth(): number {
    return Atomics.load(this.#words, WORD_GROWTH);
  }

  /** Number of this opening of the directory by a writer. */
  get incarnation(): number {
    return this.#words[WORD_INCARNATION];
  }

  /** Process id of the writer. */
  get writer(): number {
    return this.#words[WORD_WRITER];
  }

  /** Notes who writes from now on. */
  beginWriter(writer: number, incarnation: number): void {
    this.#words[WORD_WRITER] = writer;
    this.#words[WORD_INCARNATION] = incarnation;
  }

  /** The last tick published; good only between equal sequences. */
  get published(): PublishedTick {
    return {
      tick: this.#doubles[DOUBLE_TICK],
      hlc: this.#bigs[BIG_HLC],
      nextPageId: this.#doubles[DOUBLE_NEXT_PAGE],
      rows: this.#doubles[DOUBLE_ROWS],
    };
  }

  /** The last tick alone. */
  get tick(): number {
    return this.#doubles[DOUBLE_TICK];
  }

  /** Readers wait from here on. */
  begin(): void {
    Atomics.store(this.#words, WORD_SEQUENCE, this.#words[WORD_SEQUENCE] | 1);
    fence();
  }

  /** Readers see the tick. */
  end({ tick, hlc, nextPageId, rows }: PublishedTick): void {
    this.#doubles[DOUBLE_TICK] = tick;
    this.#bigs[BIG_HLC] = hlc;
    this.#doubles[DOUBLE_NEXT_PAGE] = nextPageId;
    this.#doubles[DOUBLE_ROWS] = rows;
    fence();
    Atomics.store(this.#words, WORD_SEQUENCE, (this.#words[WORD_SEQUENCE] | 1) + 1 | 0);
  }

  /** Bytes of a part that may be read and written. */
  length(part: GrowingPart): number {
    return this.#doubles[DOUBLE_LENGTHS + GROWING_PARTS.indexOf(part)];
  }

  /** Notes that a part has become longer. */
  setLength(part: GrowingPart, bytes: number): void {
    this.#doubles[DOUBLE_LENGTHS + GROWING_PARTS.indexOf(part)] = bytes;
    Atomics.add(this.#words, WORD_GROWTH, 1);
  }

  /** How often names and metadata have moved to the other half; its lowest bit says which it is. */
  get directory(): number {
    return Atomics.load(this.#words, WORD_DIRECTORY);
  }

  /** Bytes of a half that hold whole records. */
  directoryLength(half: number): number {
    return Atomics.load(this.#words, WORD_DIRECTORY_LENGTHS + half);
  }

  /** Publishes whole records of a half. */
  setDirectoryLength(half: number, bytes: number): void {
    Atomics.store(this.#words, WORD_DIRECTORY_LENGTHS + half, bytes);
  }

  /** Moves to the other half. */
  turnDirectory(): void {
    Atomics.add(this.#words, WORD_DIRECTORY, 1);
  }

  /** Keeps the allocator's state, so that the image can be taken over as it stands. */
  save(allocator: Uint8Array): void {
    this.#bytes.set(allocator, SAVED_AT);
    this.#doubles[DOUBLE_SAVED_LENGTH] = allocator.length;
    this.#words[WORD_CHECK] = 0;
    this.#words[WORD_CHECK] = this.#check();
  }

  /** The allocator's state as it was kept; `undefined` where the block is not whole. */
  saved(): Uint8Array | undefined {
    const length = this.#doubles[DOUBLE_SAVED_LENGTH];
    if (this.#words[WORD_CHECK] !== this.#check()) return undefined;
    return this.#bytes.slice(SAVED_AT, SAVED_AT + length);
  }

  /** Checksum of all that a clean close leaves, without the checksum and the state. */
  #check(): number {
    const copy = this.#bytes.slice();
    const words = new Int32Array(copy.buffer);
    words[WORD_CHECK] = 0;
    words[WORD_STATE] = 0;
    return crc32(copy) | 0;
  }
}

/** The bytes that set the state in a file which is not mapped, and where they stand. */
export function stateBytes(
  state: number,
): { readonly bytes: Uint8Array; readonly position: number } {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, state, true);
  return { bytes, position: 4 * WORD_STATE };
}
