/**
 * What a causal graph keeps of one node: its events in the order of their sequence, in columns.
 *
 * The events of a node are a chain, so the causal past of an event is a prefix of each node's chain, and
 * one number a node says which: its vector. Keeping a vector an event would be as many numbers as nodes; what is
 * kept is the log of what changed in it from one event of the node to the next (the idea of Singhal and
 * Kshemkalyani, "An efficient implementation of vector clocks", Information Processing Letters 43(1), 1992,
 * for messages), with a list a pair of nodes that says where in the log the changes of one entry are. The
 * entries of that list rise, so a binary search in it answers both questions: how much of another node an event knows,
 * and which event of this node was the first to know so much.
 *
 * Cost: 20 bytes an event, 10 more a parent on another node, 18 a changed entry; some 1.5 KB a node.
 * Asking is O(log n).
 */

/** Arrays that a column can be made of. */
type Values = Uint16Array | Uint32Array | Float64Array;

/** A column that grows. */
class Column<A extends Values> {
  values: A;
  length = 0;
  readonly #make: new (length: number) => A;

  constructor(make: new (length: number) => A) {
    this.#make = make;
    this.values = new make(4);
  }

  push(value: number): void {
    if (this.length === this.values.length) {
      const { values } = this;
      (this.values = new this.#make(2 * values.length)).set(values);
    }
    this.values[this.length++] = value;
  }

  /** Lets go of the first ones, and of room that is not needed any more. */
  dropFirst(count: number, less = 0): void {
    const kept = this.length - count;
    const values = new this.#make(Math.max(4, kept));
    for (let i = 0; i < kept; i++) values[i] = this.values[count + i] - less;
    this.values = values;
    this.length = kept;
  }
}

/** An event as it comes into a history: all of it was checked. */
export interface NewEvent {
  /** Upper half of its timestamp. */
  readonly hi: number;
  /** Lower half of its timestamp; 0 and 0 where it has none. */
  readonly lo: number;
  /** Edges on the longest way to it. */
  readonly depth: number;
  /** Its parents on other nodes: node and sequence by turns, sorted. */
  readonly parents: readonly number[];
  /** What its vector has more than that of the event before: entry by node. */
  readonly changes: ReadonlyMap<number, number>;
}

/** The events of one node. */
export class NodeHistory {
  /** The node. */
  readonly node: number;
  /** The sequence of what stands first in the columns. */
  #origin: number;
  /** How many in front of the columns were pruned. */
  #pruned = 0;
  readonly #hi = new Column(Uint32Array);
  readonly #lo = new Column(Uint32Array);
  readonly #depth = new Column(Uint32Array);
  /** Numbers of parents and of changes up to and with each event. */
  readonly #parentsEnd = new Column(Uint32Array);
  readonly #changesEnd = new Column(Uint32Array);
  readonly #parentNode = new Column(Uint16Array);
  readonly #parentSequence = new Column(Float64Array);
  /** The log: which entry changed, to what. */
  readonly #changeNode = new Column(Uint16Array);
  readonly #changeValue = new Column(Float64Array);
  /** For each other node where in the log its changes are. */
  readonly #pairs = new Map<number, number[]>();

  /** Makes one whose first event has the sequence `first`. */
  constructor(node: number, first: number) {
    this.node = node;
    this.#origin = first;
  }

  /** Sequence of the first event that is kept. */
  get first(): number {
    return this.#origin + this.#pruned;
  }

  /** Sequence of the last event; one less than `first` where there is none. */
  get last(): number {
    return this.#origin + this.#hi.length - 1;
  }

  /** Entries of the log. */
  get changeCount(): number {
    return this.#changeNode.length;
  }

  /** Nodes of which this one knows something. */
  get others(): Iterable<number> {
    return this.#pairs.keys();
  }

  /** Adds the event that follows the last. */
  push(event: NewEvent): void {
    for (let i = 0; i < event.parents.length; i += 2) {
      this.#parentNode.push(event.parents[i]);
      this.#parentSequence.push(event.parents[i + 1]);
    }
    for (const [node, value] of event.changes) {
      const list = this.#pairs.get(node);
      if (list === undefined) this.#pairs.set(node, [this.#changeNode.length]);
      else list.push(this.#changeNode.length);
      this.#changeNode.push(node);
      this.#changeValue.push(value);
    }
    this.#hi.push(event.hi);
    this.#lo.push(event.lo);
    this.#depth.push(event.depth);
    this.#parentsEnd.push(this.#parentNode.length);
    this.#changesEnd.push(this.#changeNode.length);
  }

  /** Takes the last event back. Gives the entries that went with it. */
  pop(): number {
    const at = this.#hi.length - 1;
    this.#parentNode.length = this.#parentSequence.length = this.#start(this.#parentsEnd, at);
    const start = this.#start(this.#changesEnd, at);
    const entries = this.#changeNode.length - start;
    for (let i = this.#changeNode.length - 1; i >= start; i--) {
      const node = this.#changeNode.values[i], list = this.#pairs.get(node)!;
      list.pop();
      if (list.length === 0) this.#pairs.delete(node);
    }
    this.#changeNode.length = this.#changeValue.length = start;
    for (const column of [this.#hi, this.#lo, this.#depth, this.#parentsEnd, this.#changesEnd]) {
      column.length = at;
    }
    return entries;
  }

  /** Edges on the longest way to an event. */
  depthOf(sequence: number): number {
    return this.#depth.values[sequence - this.#origin];
  }

  /** Upper half of an event's timestamp. */
  hiOf(sequence: number): number {
    return this.#hi.values[sequence - this.#origin];
  }

  /** Lower half of an event's timestamp. */
  loOf(sequence: number): number {
    return this.#lo.values[sequence - this.#origin];
  }

  /** Parents of an event on other nodes: node and sequence by turns. */
  parentsOf(sequence: number): number[] {
    const at = sequence - this.#origin, parents: number[] = [];
    for (let i = this.#start(this.#parentsEnd, at); i < this.#parentsEnd.values[at]; i++) {
      parents.push(this.#parentNode.values[i], this.#parentSequence.values[i]);
    }
    return parents;
  }

  /** How much of another node an event knows: the sequence of the last event of it that is before; 0 for none. */
  knownAt(sequence: number, other: number): number {
    const list = this.#pairs.get(other);
    if (list === undefined) return 0;
    const end = this.#changesEnd.values[sequence - this.#origin];
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle] < end) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : this.#changeValue.values[list[low - 1]];
  }

  /** How much of another node the last event knows; 0 for nothing. */
  known(other: number): number {
    const list = this.#pairs.get(other);
    return list === undefined ? 0 : this.#changeValue.values[list[list.length - 1]];
  }

  /** Sequence of the first kept event that knows an event of another node; one behind the last where none does. */
  firstKnowing(other: number, sequence: number): number {
    const list = this.#pairs.get(other);
    if (list === undefined || this.known(other) < sequence) return this.last + 1;
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#changeValue.values[list[middle]] < sequence) low = middle + 1;
      else high = middle;
    }
    const change = list[low];
    let from = this.#pruned, to = this.#hi.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#changesEnd.values[middle] <= change) from = middle + 1;
      else to = middle;
    }
    return this.#origin + from;
  }

  /**
   * Calls `visit` with every entry that changed behind one event, up to and with another.
   *
   * @param after Sequence of the one; where it was pruned, all that is kept is visited.
   * @param upTo Sequence of the other.
   */
  eachChange(after: number, upTo: number, visit: (node: number, value: number) => void): void {
    const from = Math.max(after - this.#origin, this.#pruned - 1);
    const start = from < 0 ? 0 : this.#changesEnd.values[from];
    const end = this.#changesEnd.values[upTo - this.#origin];
    for (let i = start; i < end; i++) {
      visit(this.#changeNode.values[i], this.#changeValue.values[i]);
    }
  }

  /**
   * Lets go of all events up to and with one. Room is given back when half of it is not used.
   *
   * @returns Entries of the log that went.
   */
  prune(upTo: number): number {
    const before = this.changeCount;
    this.#pruned = Math.max(this.#pruned, upTo + 1 - this.#origin);
    if (2 * this.#pruned >= this.#hi.length) this.#compact();
    return before - this.changeCount;
  }

  #compact(): void {
    const dropped = this.#pruned;
    if (dropped === 0) return;
    const parents = this.#start(this.#parentsEnd, dropped);
    const changes = this.#start(this.#changesEnd, dropped);
    for (const column of [this.#hi, this.#lo, this.#depth]) column.dropFirst(dropped);
    this.#parentsEnd.dropFirst(dropped, parents);
    this.#changesEnd.dropFirst(dropped, changes);
    for (const column of [this.#parentNode, this.#parentSequence]) column.dropFirst(parents);
    for (const column of [this.#changeNode, this.#changeValue]) column.dropFirst(changes);
    for (const [node, list] of this.#pairs) {
      const kept = list.filter((at) => at >= changes).map((at) => at - changes);
      if (kept.length > 0) this.#pairs.set(node, kept);
      else this.#pairs.delete(node);
    }
    this.#origin += dropped;
    this.#pruned = 0;
  }

  /** Where in parents or changes those of the event at a place begin. */
  #start(ends: Column<Uint32Array>, at: number): number {
    return at === 0 ? 0 : ends.values[at - 1];
  }

  /** The rule that is broken, in words; `undefined` where all hold. */
  fault(): string | undefined {
    const length = this.#hi.length;
    const ends = [this.#parentsEnd, this.#changesEnd];
    if ([this.#lo, this.#depth, ...ends].some((column) => column.length !== length)) {
      return "columns are equally long";
    }
    if (this.#start(this.#parentsEnd, length) !== this.#parentNode.length) return "parents end";
    if (this.#start(this.#changesEnd, length) !== this.#changeNode.length) return "changes end";
    for (let at = Math.max(1, this.#pruned + 1); at < length; at++) {
      if (this.#depth.values[at] <= this.#depth.values[at - 1]) return "depths rise";
    }
    let listed = 0;
    for (const [node, list] of this.#pairs) {
      listed += list.length;
      for (let i = 0; i < list.length; i++) {
        if (this.#changeNode.values[list[i]] !== node) return "a list names its own changes";
        if (i === 0) continue;
        const { values } = this.#changeValue;
        if (values[list[i]] <= values[list[i - 1]]) return "the entries of a list rise";
      }
    }
    return listed === this.#changeNode.length ? undefined : "every change is in one list";
  }
}
