/**
 * A count for each of 65,536 nodes, found without a search.
 *
 * A queue asks for the count of every node that a message names, so it must cost a load. One array for all ids would be
 * 512 KiB for a group of five; so there are 256 parts of 256 counts, made when the first of their nodes is seen.
 *
 * Cost: two loads a question; 2 KiB a part that is in use.
 */
const PART_NODES = 256;
const NONE = new Float64Array(PART_NODES);

/** Counts by node; 0 where none was set. What calls it has checked the node. */
export class NodeCounts {
  readonly #parts: Float64Array[] = Array.from({ length: 65_536 / PART_NODES }, () => NONE);

  /** The count of a node. */
  get(node: number): number {
    return this.#parts[node >>> 8][node & 0xff];
  }

  /** Sets it. */
  set(node: number, count: number): void {
    const part = this.#parts[node >>> 8];
    if (part === NONE) this.#parts[node >>> 8] = new Float64Array(PART_NODES);
    this.#parts[node >>> 8][node & 0xff] = count;
  }
}
