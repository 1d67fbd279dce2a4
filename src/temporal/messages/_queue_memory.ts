/**
 * The shared memory of a temporal queue: made, and looked at by each thread.
 *
 * One `SharedArrayBuffer` holds all: a header with counters (`_queue_layout.ts`), the ready lists, the timer wheel, two hash tables, the
 * edges of waiting messages, blocks for long payloads, slots, and chunks of the lanes.
 *
 * Cost: 192 bytes a message, 40 to 48 bytes a remembered id and a message, 32 bytes a dependency that is waited for,
 * 64 bytes for each 60 bytes of payload past the first 20, and about 15 KiB.
 */
import { checkInteger, checkKeys, checkNumber } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { QUEUE_MESSAGES_MAX, QUEUE_PAYLOAD_BYTES_MAX } from "../../base/limits.ts";
import {
  BLOCK_COUNT,
  BLOCK_HEAD,
  BLOCK_WORDS,
  BLOCKS_AT,
  CAPACITY_AT,
  CHUNK_HEAD,
  EDGE_COUNT,
  EDGE_HEAD,
  EDGE_WORDS,
  EDGES_AT,
  FREE_COUNT,
  FREE_HEAD,
  GROUP_HEAD,
  GROUP_WORDS,
  MAGIC_AT,
  NEXT,
  PARTS_AT,
  RECORD_WORDS,
  REMEMBERED_AT,
  SLOT_WORDS,
  SPINS_AT,
  TIMES_AT,
} from "./_queue_layout.ts";
import { DEADLINE_CLASSES_US, type DeadlineBounds, deadlineBounds } from "./deadline_class.ts";
import type { TemporalQueueHandle, TemporalQueueSizes } from "./queue_types.ts";

const MAGIC = 0x54_51_32_0a;
const CAPACITY_DEFAULT = 65_536;

/** Records of a chunk at the most. */
const CHUNK_ROWS_MAX = 64;

/** Where the parts begin, and how many there are. */
interface Layout {
  /** Entries of the table of ids, an unused one before them. */
  readonly groups: number;
  readonly groupsAt: number;
  readonly groupBucketsAt: number;
  readonly groupBuckets: number;
  readonly awaitedAt: number;
  readonly awaitedBuckets: number;
  readonly edgesAt: number;
  readonly blocksAt: number;
  readonly slotsAt: number;
  /** A chunk's words are a power of two, and its address is a multiple of them. */
  readonly chunkWords: number;
  readonly chunks: number;
  readonly chunksAt: number;
  /** A word a chunk: the next one of its lane, or the next free one. */
  readonly chunkLinksAt: number;
  readonly words: number;
}

function layoutOf(capacity: number, remembered: number, blocks: number, edges: number): Layout {
  const groups = capacity + remembered;
  const groupBuckets = powerOfTwo(groups), awaitedBuckets = powerOfTwo(edges);
  const chunkRows = Math.min(CHUNK_ROWS_MAX, powerOfTwo(Math.ceil(capacity / 64), 4));
  const chunkWords = chunkRows * RECORD_WORDS, full = Math.ceil(capacity / chunkRows);
  // Twice the lanes, for their first and last chunks; a message without one takes a slot.
  const chunks = full + Math.min(full + 1, 64);
  const chunksAt = aligned(PARTS_AT, chunkWords);
  const slotsAt = aligned(chunksAt + chunks * chunkWords, SLOT_WORDS);
  const groupsAt = slotsAt + capacity * SLOT_WORDS;
  const blocksAt = aligned(groupsAt + (groups + 1) * GROUP_WORDS, BLOCK_WORDS);
  const edgesAt = blocksAt + blocks * BLOCK_WORDS;
  const chunkLinksAt = edgesAt + edges * EDGE_WORDS;
  const groupBucketsAt = aligned(chunkLinksAt + chunks, 16);
  const awaitedAt = groupBucketsAt + groupBuckets;
  const words = awaitedAt + awaitedBuckets;
  return {
    groups,
    groupsAt,
    groupBucketsAt,
    groupBuckets,
    awaitedAt,
    awaitedBuckets,
    edgesAt,
    blocksAt,
    slotsAt,
    chunkWords,
    chunks,
    chunksAt,
    chunkLinksAt,
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
    if (memory.byteLength < 4 * PARTS_AT || memory.growable) refuseHandle();
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
    fillParts(words, layout, capacity, blocks, dependencies);
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

/** Makes free lists of slots, ids, chunks, blocks and edges. */
function fillParts(
  words: Int32Array,
  layout: Layout,
  capacity: number,
  blocks: number,
  edges: number,
): void {
  const { slotsAt, groupsAt, groups, blocksAt, edgesAt, chunksAt, chunkWords } = layout;
  words[FREE_HEAD] = chain(words, slotsAt, capacity, SLOT_WORDS, NEXT);
  words[FREE_COUNT] = capacity;
  words[GROUP_HEAD] = chain(words, groupsAt + GROUP_WORDS, groups, GROUP_WORDS);
  words[BLOCK_HEAD] = chain(words, blocksAt, blocks, BLOCK_WORDS);
  words[BLOCK_COUNT] = blocks;
  words[EDGE_HEAD] = chain(words, edgesAt, edges, EDGE_WORDS);
  words[EDGE_COUNT] = edges;
  words[CHUNK_HEAD] = chunksAt;
  for (let i = 0; i + 1 < layout.chunks; i++) {
    words[layout.chunkLinksAt + i] = chunksAt + (i + 1) * chunkWords;
  }
}

/** Links parts by a word of theirs; gives the first, 0 where there are none. */
function chain(words: Int32Array, at: number, count: number, size: number, link = 0): number {
  for (let i = 0; i + 1 < count; i++) words[at + i * size + link] = at + (i + 1) * size;
  return count === 0 ? 0 : at;
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

function powerOfTwo(atLeast: number, smallest = 16): number {
  return 2 ** Math.ceil(Math.log2(Math.max(smallest, atLeast)));
}

function aligned(words: number, size: number): number {
  return Math.ceil(words / size) * size;
}
