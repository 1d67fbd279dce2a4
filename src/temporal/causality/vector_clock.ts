/**
 * Vector clocks: which of two events came first, or neither.
 *
 * A vector says of each node how many of its events are known. An event happened before another one exactly if
 * its vector is smaller in one entry and larger in none; if each has more somewhere, neither could know of the
 * other, and they are concurrent (Fidge, "Timestamps in message-passing systems that preserve the partial
 * ordering", 1988; Mattern, "Virtual time and global states of distributed systems", 1989). A timestamp, hybrid
 * or not, can only say the first half: of two concurrent events one has the smaller timestamp, too.
 *
 * Two forms, over the same columns (see `_causal_columns.ts`):
 *
 * | form | changes | for |
 * | --- | --- | --- |
 * | {@linkcode VectorTime} | never; each step makes a new one | what travels with a message or is kept |
 * | {@linkcode VectorClock} | in place, allocating only to grow | the clock of a node |
 *
 * Both are sparse: a node without an entry counts as 0, entries of 0 do not exist.
 *
 * **Leaving out nodes that have left** ({@linkcode VectorClock.prune}). A node that is left out counts as 0, so a vector
 * with it and one without it no longer compare as they should. It is sound when (1) the node never does anything again
 * under this id, (2) all who take part know the same, last count of it, and (3) from then on only vectors are
 * compared that were all pruned of it, or none. The first two are arguments of `prune`, which refuses where
 * the counts differ; the third is the caller's, and merging an old vector brings the entry back.
 *
 * Cost: 10 bytes an entry. With 10 nodes an increment is some 10 ns, a comparison or a merge some 20; `deno task anchors causal`.
 */
import { checkInteger, checkIterable, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { requireNode } from "../check.ts";
import { Columns, FIRST_MORE } from "./_causal_columns.ts";

/** How two vectors stand: the first is equal to, before or after the second, or neither. */
export type VectorOrder = "equal" | "before" | "after" | "concurrent";

const ORDERS: readonly VectorOrder[] = ["equal", "after", "before", "concurrent"];

/** The columns of a vector, for the files of this folder. */
export let columnsOf: (vector: Vector) => Columns;

/** Makes the vector time that has these columns, which nobody else may change. */
let timeOf: (columns: Columns) => VectorTime;

let setColumns: (vector: Vector, columns: Columns) => void;

const NONE = Columns.withRoom(0);

/** What both forms of a vector can be asked. */
export abstract class Vector {
  #columns = NONE;

  static {
    columnsOf = (vector) => {
      if (typeof vector !== "object" || vector === null || !(#columns in vector)) {
        throwNoVector(vector);
      }
      return vector.#columns;
    };
    setColumns = (vector, columns) => {
      vector.#columns = columns;
    };
  }

  /** Nodes that have a count. */
  get size(): number {
    return this.#columns.size;
  }

  /**
   * The count of a node.
   *
   * @param node Its id, 0 to 65535.
   * @returns How many of its events are known; 0 where none is.
   * @throws {MmsbError} `usage` if `node` is no node id.
   */
  get(node: number): number {
    requireNode(node);
    return this.#columns.get(node);
  }

  /**
   * How this stands to another vector. Allocates nothing.
   *
   * @param other The other one, of either form.
   * @returns `"before"` where this happened before the other.
   * @throws {MmsbError} `usage` if `other` is no vector.
   *
   * @example Neither knew of the other
   * ```ts
   * import { equal } from "node:assert/strict";
   *
   * const left = VectorTime.of([[1, 2], [2, 1]]);
   *
   * equal(left.compare(VectorTime.of([[1, 2], [2, 2]])), "before");
   * equal(left.compare(VectorTime.of([[1, 1], [2, 2]])), "concurrent");
   * ```
   */
  compare(other: Vector): VectorOrder {
    return ORDERS[this.#columns.compare(columnsOf(other))];
  }

  /**
   * Whether another vector knows all that this one knows: it is equal or after.
   *
   * @param other The other one.
   * @returns True if no count here is larger than there.
   * @throws {MmsbError} `usage` if `other` is no vector.
   */
  isDominatedBy(other: Vector): boolean {
    return (this.#columns.compare(columnsOf(other)) & FIRST_MORE) === 0;
  }

  /**
   * The entries, by rising node, as they are now.
   *
   * @returns Pairs of node and count.
   */
  entries(): [node: number, count: number][] {
    const { nodes, counts, start, size } = this.#columns;
    return Array.from({ length: size }, (_, i) => [nodes[start + i], counts[start + i]]);
  }

  /** The entries as JSON has them: an array of pairs, by rising node. */
  toJSON(): [node: number, count: number][] {
    return this.entries();
  }

  /**
   * Checks what must always hold; tests call it after every step.
   *
   * @throws {MmsbAssertionError} If the vector contradicts itself.
   */
  checkInvariants(): void {
    this.#columns.checkInvariants();
  }
}

/**
 * A vector that never changes: the time of one event.
 *
 * @example Steps that make new ones
 * ```ts
 * import { deepEqual, equal } from "node:assert/strict";
 *
 * const sent = VectorTime.EMPTY.increment(7);
 * const answered = sent.merge(VectorTime.of([[2, 5]])).increment(2);
 *
 * deepEqual(answered.entries(), [[2, 6], [7, 1]]);
 * equal(sent.compare(answered), "before");
 * ```
 */
export class VectorTime extends Vector {
  /** The time at which nothing has happened. */
  static readonly EMPTY: VectorTime = new VectorTime();

  static {
    timeOf = (columns) => {
      const time = new VectorTime();
      setColumns(time, columns);
      return time;
    };
  }

  private constructor() {
    super();
  }

  /**
   * Makes a time from its entries, in any order.
   *
   * @param entries Pairs of node and count; a count of 0 is no entry.
   * @returns The time.
   * @throws {MmsbError} `usage` if a node is no node id, a count is no whole number from 0 to 2⁵³ − 1, or a node is
   * there twice; `limit` above 65,535 entries.
   */
  static of(entries: Iterable<readonly [node: number, count: number]>): VectorTime {
    const columns = Columns.withRoom(4), seen = new Set<number>();
    for (const entry of checkIterable("entries", entries)) {
      const [node, count] = checkIterable("entry", entry);
      requireNode(node);
      checkInteger("count", count, 0, Number.MAX_SAFE_INTEGER, "usage");
      if (seen.has(node)) throwTwice(node);
      seen.add(node);
      columns.raise(node, count);
    }
    return timeOf(columns.packed());
  }

  /**
   * The time after one more event of a node.
   *
   * @param node The node.
   * @returns A new time.
   * @throws {MmsbError} `usage` if `node` is no node id; `limit` at a count of 2⁵³ − 1 or a 65,536th node.
   */
  increment(node: number): VectorTime {
    requireNode(node);
    const columns = columnsOf(this).copy(1);
    columns.increment(node);
    return timeOf(columns.packed());
  }

  /**
   * The time that knows what either knows: of each node the larger count.
   *
   * @param other The other one.
   * @returns A new time, or this one where the other adds nothing.
   * @throws {MmsbError} `usage` if `other` is no vector; `limit` if both together have more than 65,535 nodes.
   */
  merge(other: Vector): VectorTime {
    const added = columnsOf(other), own = columnsOf(this);
    if ((added.compare(own) & FIRST_MORE) === 0) return this;
    const columns = own.copy();
    columns.merge(added);
    return timeOf(columns.packed());
  }

  /**
   * The time without nodes that have left; see {@linkcode VectorClock.prune} for when that is sound.
   *
   * @param left The nodes that have left.
   * @param participants The vectors of all who take part.
   * @returns A new time.
   * @throws {MmsbError} As {@linkcode VectorClock.prune}.
   */
  prune(left: Iterable<number>, participants: Iterable<Vector>): VectorTime {
    const columns = columnsOf(this).copy();
    pruneColumns(columns, left, participants);
    return timeOf(columns.packed());
  }
}

/**
 * The vector clock of a node: changes in place.
 *
 * @example Two nodes and a message
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const a = new VectorClock(), b = new VectorClock();
 * a.increment(1);
 * const sent = a.snapshot();
 * b.increment(2);
 * equal(b.compare(sent), "concurrent");
 *
 * b.merge(sent);
 * b.increment(2);
 * equal(b.compare(sent), "after");
 * ```
 */
export class VectorClock extends Vector {
  readonly #columns = Columns.withRoom(4);

  /**
   * Starts a clock.
   *
   * @param initial What is known already; nothing if left out.
   * @throws {MmsbError} `usage` if `initial` is no vector.
   */
  constructor(initial: Vector = VectorTime.EMPTY) {
    super();
    setColumns(this, this.#columns);
    this.#columns.merge(columnsOf(initial));
  }

  /**
   * One more event of a node.
   *
   * @param node The node.
   * @returns Its count, from 1.
   * @throws {MmsbError} `usage` if `node` is no node id; `limit` at a count of 2⁵³ − 1 or a 65,536th node. The
   * clock is then as before.
   */
  increment(node: number): number {
    requireNode(node);
    return this.#columns.increment(node);
  }

  /**
   * Raises the count of a node; never lowers it.
   *
   * @param node The node.
   * @param count How many of its events are known at least.
   * @returns Whether that was news.
   * @throws {MmsbError} `usage` if `node` is no node id or `count` no whole number from 0 to 2⁵³ − 1; `limit` at a
   * 65,536th node.
   */
  raise(node: number, count: number): boolean {
    requireNode(node);
    checkInteger("count", count, 0, Number.MAX_SAFE_INTEGER, "usage");
    return this.#columns.raise(node, count);
  }

  /**
   * Learns all that another vector knows: of each node the larger count.
   *
   * @param other The other one.
   * @returns Whether anything was news.
   * @throws {MmsbError} `usage` if `other` is no vector; `limit` if both together have more than 65,535 nodes. The
   * clock is then as before.
   */
  merge(other: Vector): boolean {
    return this.#columns.merge(columnsOf(other));
  }

  /**
   * What is known now, as a value that does not change.
   *
   * @returns A copy.
   */
  snapshot(): VectorTime {
    return timeOf(this.#columns.packed());
  }

  /**
   * Leaves out nodes that have left for good. All who take part must know the same count of such a node: as long as
   * one lacks an event of it, that one still needs the entry. See the head of this file for what remains to be kept.
   *
   * @param left The nodes that have left; one without an entry is passed over.
   * @param participants The vectors of all others who take part, at least one.
   * @returns How many entries are gone.
   * @throws {MmsbError} `usage` if there is no participant, or one of them knows another count of such a node than
   * this clock: nothing is then pruned.
   *
   * @example Node 9 has left
   * ```ts
   * import { equal, throws } from "node:assert/strict";
   *
   * const clock = new VectorClock(VectorTime.of([[1, 3], [9, 40]]));
   *
   * throws(() => clock.prune([9], [VectorTime.of([[1, 3], [9, 39]])]), { code: "usage" });
   * equal(clock.prune([9], [VectorTime.of([[1, 2], [9, 40]])]), 1);
   * equal(clock.get(9), 0);
   * ```
   */
  prune(left: Iterable<number>, participants: Iterable<Vector>): number {
    return pruneColumns(this.#columns, left, participants);
  }
}

function pruneColumns(
  columns: Columns,
  left: Iterable<number>,
  participants: Iterable<Vector>,
): number {
  const nodes = new Set(checkIterable("nodes that have left", left));
  const others = [...checkIterable("participants", participants)].map(columnsOf);
  if (others.length === 0) {
    throw new MmsbError(
      "usage",
      "Cannot prune without the vectors of those who take part: give them all",
    );
  }
  for (const node of nodes) {
    requireNode(node);
    const count = columns.get(node);
    const differs = count === 0 ? undefined : others.find((other) => other.get(node) !== count);
    if (differs !== undefined) throwNotStable(node, count, differs.get(node));
  }
  return columns.remove((node) => nodes.has(node));
}

function throwNotStable(node: number, count: number, other: number): never {
  throw new MmsbError(
    "usage",
    `Cannot prune node ${node} as this vector knows ${count} of its events and another ${other}: ` +
      "prune it when all know the same",
    { values: { node, count, other } },
  );
}

function throwTwice(node: number): never {
  throw new MmsbError("usage", `Cannot take node ${node} twice: give one count a node`, {
    values: { node },
  });
}

function throwNoVector(value: unknown): never {
  checkType("vector", value, "object");
  throw new MmsbError(
    "usage",
    "Cannot use this object as a vector: give a VectorTime or a VectorClock",
    { values: { value } },
  );
}

/** Makes a time of columns that are checked, for the files of this folder. */
export function timeOfColumns(columns: Columns): VectorTime {
  return timeOf(columns.packed());
}
