/**
 * The entries of a vector in two columns: nodes, rising, and how many events of each are known.
 *
 * A vector clock has an entry for each node that ever did something; most have a few. Two sorted columns make
 * the three things that are done all day (raise one, join two, compare two) loops over typed arrays without an
 * allocation. A node that is not there counts as 0, and no entry is 0, so equal vectors are equal columns.
 *
 * Counts are numbers up to 2⁵³ − 1, where they stop being exact; what would pass that is refused.
 *
 * Cost: 10 bytes an entry; raising is a binary search, joining and comparing walk both once. Capacity doubles.
 */
import { assert } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { VECTOR_NODES_MAX } from "../../base/limits.ts";

/** Bits of {@linkcode Columns.compare}: the first has more somewhere, the second has. */
export const FIRST_MORE = 1;
/** See {@linkcode FIRST_MORE}. */
export const SECOND_MORE = 2;

/** Entries of a chunk that packed columns share, and the most that one of them takes of it. */
const CHUNK_ENTRIES = 512;
const PACKED_ENTRIES_MAX = 64;

let chunkNodes = new Uint16Array(CHUNK_ENTRIES);
let chunkCounts = new Float64Array(CHUNK_ENTRIES);
let chunkUsed = 0;

/** Sorted entries; what calls it has checked nodes and counts. */
export class Columns {
  /** Nodes, rising, from `start` on. */
  nodes: Uint16Array;
  /** Their counts, none of them 0. */
  counts: Float64Array;
  /** Place of the first entry: 0 but in packed columns, which are never changed. */
  readonly start: number;
  /** Entries in use. */
  size = 0;

  /** Takes arrays; what makes one is {@linkcode Columns.withRoom} or {@linkcode Columns.packed}. */
  constructor(nodes: Uint16Array, counts: Float64Array, start: number, size: number) {
    this.nodes = nodes;
    this.counts = counts;
    this.start = start;
    this.size = size;
  }

  /** Empty columns with room for some entries. */
  static withRoom(capacity: number): Columns {
    return new Columns(new Uint16Array(capacity), new Float64Array(capacity), 0, 0);
  }

  /** A copy that can be changed, with room for some more. */
  copy(more = 0): Columns {
    const copy = Columns.withRoom(this.size + more);
    copy.#fill(this);
    return copy;
  }

  /**
   * A copy that is never changed. Making an array costs some µs, hundreds of bytes, and work of the collector, so
   * small ones take a piece of a chunk that they share; the chunk goes when the last of them does.
   */
  packed(): Columns {
    const { size } = this;
    if (size > PACKED_ENTRIES_MAX) return this.copy();
    if (chunkUsed + size > CHUNK_ENTRIES) {
      chunkNodes = new Uint16Array(CHUNK_ENTRIES);
      chunkCounts = new Float64Array(CHUNK_ENTRIES);
      chunkUsed = 0;
    }
    const packed = new Columns(chunkNodes, chunkCounts, chunkUsed, 0);
    chunkUsed += size;
    packed.#fill(this);
    return packed;
  }

  #fill({ nodes, counts, start, size }: Columns): void {
    const ownNodes = this.nodes, ownCounts = this.counts, ownStart = this.start;
    for (let i = 0; i < size; i++) {
      ownNodes[ownStart + i] = nodes[start + i];
      ownCounts[ownStart + i] = counts[start + i];
    }
    this.size = size;
  }

  /** Place of the first node that is not smaller. */
  place(node: number): number {
    const { nodes } = this;
    let low = this.start, high = low + this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (nodes[middle] < node) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The count of a node, 0 where it has none. */
  get(node: number): number {
    const place = this.place(node);
    return place < this.start + this.size && this.nodes[place] === node ? this.counts[place] : 0;
  }

  /** Refuses one more for a node where counts or room end; changes nothing. */
  requireIncrement(node: number): void {
    const count = this.get(node);
    if (count === Number.MAX_SAFE_INTEGER) throwOverflow(node);
    if (count === 0 && this.size === VECTOR_NODES_MAX) throwFull(this.size + 1);
  }

  /** One more for a node; gives its new count. */
  increment(node: number): number {
    const place = this.place(node);
    if (place === this.size || this.nodes[place] !== node) {
      this.#insert(place, node, 1);
      return 1;
    }
    const count = this.counts[place];
    if (count === Number.MAX_SAFE_INTEGER) throwOverflow(node);
    return this.counts[place] = count + 1;
  }

  /** Raises a node to a count; says whether that changed anything. */
  raise(node: number, count: number): boolean {
    const place = this.place(node);
    if (place === this.size || this.nodes[place] !== node) {
      if (count === 0) return false;
      this.#insert(place, node, count);
      return true;
    }
    if (this.counts[place] >= count) return false;
    this.counts[place] = count;
    return true;
  }

  /** Makes this the join of both: of each node the larger count. Says whether it changed. */
  merge(other: Columns): boolean {
    this.requireRoom(other);
    const { nodes, counts, size } = this;
    const { nodes: otherNodes, counts: otherCounts } = other;
    const otherEnd = other.start + other.size;
    let missing = 0, changed = false;
    for (let i = 0, j = other.start; j < otherEnd; j++) {
      const node = otherNodes[j];
      while (i < size && nodes[i] < node) i++;
      if (i === size || nodes[i] !== node) {
        missing++;
      } else if (counts[i] < otherCounts[j]) {
        counts[i] = otherCounts[j];
        changed = true;
      }
    }
    if (missing === 0) return changed;
    this.#mergeMissing(other, missing);
    return true;
  }

  /** Refuses another's nodes where there is no room for both; changes nothing. */
  requireRoom(other: Columns): void {
    if (this.size + other.size <= VECTOR_NODES_MAX) return;
    let union = this.size;
    for (let j = 0; j < other.size; j++) {
      union += this.get(other.nodes[other.start + j]) === 0 ? 1 : 0;
    }
    if (union > VECTOR_NODES_MAX) throwFull(union);
  }

  /** Where the two differ: bits, 0 if they are equal. */
  compare(other: Columns): number {
    const { nodes, counts } = this;
    const { nodes: otherNodes, counts: otherCounts } = other;
    let i = this.start, j = other.start, bits = 0;
    const end = i + this.size, otherEnd = j + other.size;
    while (i < end && j < otherEnd) {
      const node = nodes[i], otherNode = otherNodes[j];
      if (node === otherNode) {
        const count = counts[i++], otherCount = otherCounts[j++];
        if (count > otherCount) bits |= FIRST_MORE;
        else if (count < otherCount) bits |= SECOND_MORE;
      } else if (node < otherNode) {
        bits |= FIRST_MORE;
        i++;
      } else {
        bits |= SECOND_MORE;
        j++;
      }
      if (bits === (FIRST_MORE | SECOND_MORE)) return bits;
    }
    if (i < end) bits |= FIRST_MORE;
    if (j < otherEnd) bits |= SECOND_MORE;
    return bits;
  }

  /** Takes out the nodes for which a test says so; gives how many. */
  remove(isOut: (node: number, count: number) => boolean): number {
    const { nodes, counts, size } = this;
    let kept = 0;
    for (let i = 0; i < size; i++) {
      if (isOut(nodes[i], counts[i])) continue;
      nodes[kept] = nodes[i];
      counts[kept++] = counts[i];
    }
    this.size = kept;
    return size - kept;
  }

  /** Nodes rise, no count is 0, all are exact. */
  checkInvariants(): void {
    const { nodes, counts, start } = this, end = start + this.size;
    assert(end <= nodes.length && nodes.length === counts.length, "A vector's columns fit");
    for (let i = start; i < end; i++) {
      assert(i === start || nodes[i - 1] < nodes[i], "Nodes of a vector rise");
      assert(Number.isSafeInteger(counts[i]) && counts[i] > 0, "Counts of a vector are 1 or more");
    }
  }

  #insert(place: number, node: number, count: number): void {
    const { size } = this;
    if (size === VECTOR_NODES_MAX) throwFull(size + 1);
    if (size === this.nodes.length) this.#grow(size + 1);
    this.nodes.copyWithin(place + 1, place, size);
    this.counts.copyWithin(place + 1, place, size);
    this.nodes[place] = node;
    this.counts[place] = count;
    this.size = size + 1;
  }

  /** Puts in what only the other has, from the end on, so that each entry moves once. */
  #mergeMissing(other: Columns, missing: number): void {
    const size = this.size + missing;
    if (size > this.nodes.length) this.#grow(size);
    const { nodes, counts } = this;
    let i = this.size - 1, to = size - 1;
    for (let j = other.start + other.size - 1; j >= other.start; j--) {
      const node = other.nodes[j];
      while (i >= 0 && nodes[i] > node) {
        nodes[to] = nodes[i];
        counts[to--] = counts[i--];
      }
      if (i >= 0 && nodes[i] === node) continue;
      nodes[to] = node;
      counts[to--] = other.counts[j];
    }
    this.size = size;
  }

  #grow(size: number): void {
    const capacity = Math.min(VECTOR_NODES_MAX, Math.max(4, size, 2 * this.nodes.length));
    const nodes = new Uint16Array(capacity), counts = new Float64Array(capacity);
    nodes.set(this.nodes.subarray(0, this.size));
    counts.set(this.counts.subarray(0, this.size));
    this.nodes = nodes;
    this.counts = counts;
  }
}

function throwOverflow(node: number): never {
  throw new MmsbError(
    "limit",
    `Cannot count further for node ${node} as its count is 2^53 - 1: give it another node id`,
    { values: { node, count: Number.MAX_SAFE_INTEGER } },
  );
}

function throwFull(size: number): never {
  throw new MmsbError(
    "limit",
    `Cannot hold ${size} nodes in one vector: ${VECTOR_NODES_MAX} fit, so prune those that have left`,
    { values: { size, max: VECTOR_NODES_MAX } },
  );
}
