/**
 * A model checker for code that shares memory: runs the real code, not a model of it, through every order in which
 * its threads' atomic steps can fall.
 *
 * A thread's program is a plain function that uses the code under test. What such a function does next depends on nothing
 * but the values that its accesses to shared memory have given so far. So each thread is a tree: a node is one
 * sequence of such values and knows the access that comes next. A node is found by running the function from its start with
 * `Atomics` and `Int32Array` replaced by ones that answer from the sequence and stop the function at the first
 * access behind it. Once the tree is known, exploring is a search over states made of numbers: the words of memory, a
 * node a thread, and who sleeps where. The code under test pays nothing for it.
 *
 * A step is an atomic access and the plain ones behind it up to the next atomic one. That is enough if no two threads touch a
 * word plainly with nothing between them that orders it (a data race), and that is checked in every state: a program without
 * races behaves as its interleavings do (the guarantee of the language's memory model for such programs). An index
 * published before its data is such a race.
 *
 * Found: results that the caller refuses, states in which nobody can go on and somebody has not finished (a lost
 * wake-up, a deadlock), data races, words used both ways, and more states than allowed (a loop without an end).
 *
 * Cost: some hundred thousand states a second, 16 bytes a state.
 */

type Real = Int32Array<SharedArrayBuffer>;

interface Access {
  readonly kind:
    | "read"
    | "write"
    | "load"
    | "store"
    | "add"
    | "sub"
    | "or"
    | "exchange"
    | "compareExchange"
    | "wait"
    | "notify";
  /** Word of the memory. */
  readonly at: number;
  readonly a: number;
  readonly b: number;
}

interface Node {
  readonly id: number;
  readonly parent: Node | undefined;
  /** What the parent's access gave. */
  readonly answer: number;
  readonly children: Map<number, Node>;
  /** What comes next; nothing: the program has returned. */
  readonly access: Access | undefined;
  readonly result: unknown;
  /** Plain accesses since the last atomic one: read, written. */
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

/** What is to be explored. */
export interface Scenario {
  /** The memory as the threads find it. */
  readonly memory: SharedArrayBuffer;
  /** The threads' programs: attach, use, and return what came of it. */
  readonly threads: readonly (() => unknown)[];
  /** Throws where the results of all threads together are wrong. */
  readonly check: (results: readonly unknown[]) => void;
  /** Most states; 3,000,000 if left out. */
  readonly statesMax?: number;
}

/** What an exploration came to. */
export interface Exploration {
  readonly states: number;
  /** Different sets of results. */
  readonly outcomes: number;
  /** Different states in which all threads have finished. */
  readonly ends: number;
  /** Whether every order was met; false where a bound ended it before. */
  readonly complete: boolean;
}

/** Where an exploration ends without a verdict on what it has not met. */
export interface ExplorationBound {
  /** Most states. */
  readonly states: number;
  /** Whether its time is up; asked now and then. */
  readonly isOver: () => boolean;
  /** Number from 0 to below 1: so that what is met lies scattered over all orders, and not in one corner. */
  readonly random: () => number;
}

/** States between two looks at the time. */
const LOOK_EVERY = 1024;
/** How often a bounded exploration goes on from somewhere else. */
const SCATTER = 0.05;

/** An order of steps in which the code is wrong; the message lists them. */
export class InterleavingError extends Error {
  /** Always `"InterleavingError"`. */
  override readonly name = "InterleavingError";
}

/** Thrown through the code under test to stop it. */
const STOP = Symbol("stop");

const WAIT_ANSWERS = ["ok", "not-equal", "timed-out"];
const ATOMIC_KINDS = ["load", "store", "add", "sub", "or", "exchange", "compareExchange"] as const;

/** Runs programs with answers prepared. */
class Replayer {
  readonly #memory: SharedArrayBuffer;
  #answers: readonly number[] = [];
  #cursor = 0;
  #next: Access | undefined;

  constructor(memory: SharedArrayBuffer) {
    this.#memory = memory;
  }

  /** Runs a program as far as the answers go; gives the access that comes next, or what it returned. */
  run(program: () => unknown, answers: readonly number[]): { access?: Access; result?: unknown } {
    this.#answers = answers;
    this.#cursor = 0;
    this.#next = undefined;
    const real = { Atomics: globalThis.Atomics, Int32Array: globalThis.Int32Array };
    Object.assign(globalThis, { Atomics: this.#atomics(), Int32Array: this.#arrays() });
    try {
      return { result: program() };
    } catch (error) {
      if (error !== STOP) throw error;
      return { access: this.#next };
    } finally {
      Object.assign(globalThis, real);
    }
  }

  #answer(kind: Access["kind"], array: Real, index: number, a = 0, b = 0): number {
    if (this.#cursor < this.#answers.length) return this.#answers[this.#cursor++];
    // What runs while the stop unwinds (a `finally`) has not happened yet either.
    this.#next ??= { kind, at: array.byteOffset / 4 + index, a, b };
    throw STOP;
  }

  #atomics(): object {
    const wait = (array: Real, index: number, value: number, timeout = Infinity): string =>
      WAIT_ANSWERS[this.#answer("wait", array, index, value, timeout === Infinity ? 0 : 1)];
    const notify = (array: Real, index: number, count = Infinity): number =>
      this.#answer("notify", array, index, Math.min(count, 1000));
    const calls = ATOMIC_KINDS.map((kind) => [
      kind,
      (array: Real, index: number, a = 0, b = 0): number => {
        const answer = this.#answer(kind, array, index, a | 0, b | 0);
        return kind === "store" ? a : answer;
      },
    ]);
    return { ...Object.fromEntries(calls), wait, notify };
  }

  /** `Int32Array`, whose instances over the memory report each access. */
  #arrays(): typeof Int32Array {
    return new Proxy(Int32Array, {
      construct: (target, args): object => {
        const array = Reflect.construct(target, args);
        return array.buffer === this.#memory ? this.#watched(array as Real) : array;
      },
    });
  }

  #watched(array: Real): Real {
    const read = (index: number): number => this.#answer("read", array, index);
    const write = (index: number, value: number): void => {
      this.#answer("write", array, index, value | 0);
    };
    return new Proxy(array, {
      get: (target, key): unknown => {
        if (typeof key === "string" && /^\d+$/.test(key)) return read(Number(key));
        if (key === "subarray") {
          return (from: number, to: number) =>
            Int32Array.from({ length: to - from }, (_, i) => read(from + i));
        }
        if (key === "set") {
          return (source: ArrayLike<number>, at = 0) => {
            for (let i = 0; i < source.length; i++) write(at + i, source[i]);
          };
        }
        return Reflect.get(target, key, target);
      },
      set: (_target, key, value): boolean => {
        write(Number(key), value);
        return true;
      },
    });
  }
}

/** A state and how it was reached. */
interface State {
  /** Words that are ever written; a node a thread; a thread's place among those asleep on its word, or woken. */
  readonly data: Int32Array;
  readonly parent: State | undefined;
  /** The thread that went, the node it went from, and the answer. */
  readonly thread: number;
  readonly node: Node | undefined;
  readonly answer: number;
}

/** Place of a thread that was woken and has not gone on yet. */
const WOKEN = -1;

/** Answer of a wait that goes to sleep, in a trace. */
const SLEEPS = -2;

/** A word that was not known to be written: begin again with a place for it. */
class NewWord {}

/**
 * Explores every interleaving of a scenario, or as many as a bound allows; throws {@linkcode InterleavingError} at the first
 * that is wrong.
 */
export function explore(scenario: Scenario, bound?: ExplorationBound): Exploration {
  const explorer = new Explorer(scenario, bound);
  for (;;) {
    try {
      return explorer.run();
    } catch (error) {
      if (!(error instanceof NewWord)) throw error;
    }
  }
}

class Explorer {
  readonly #scenario: Scenario;
  readonly #replayer: Replayer;
  readonly #initial: Int32Array;
  readonly #threads: number;
  readonly #nodes: Node[] = [];
  readonly #roots: Node[];
  /** Where a word of the memory stands in a state. */
  readonly #places = new Map<number, number>();
  /** How each word is used: 1 plainly, 2 by atomics. */
  readonly #uses = new Map<number, number>();
  #seen = new Hashes();
  #outcomes = new Set<string>();
  #open: State[] = [];
  readonly #bound: ExplorationBound | undefined;
  #ends = 0;

  constructor(scenario: Scenario, bound?: ExplorationBound) {
    this.#scenario = scenario;
    this.#bound = bound;
    this.#replayer = new Replayer(scenario.memory);
    this.#initial = new Int32Array(scenario.memory).slice();
    this.#threads = scenario.threads.length;
    this.#roots = scenario.threads.map((_, thread) => this.#node(thread, undefined, 0));
  }

  run(): Exploration {
    const { statesMax = 3_000_000 } = this.#scenario, bound = this.#bound;
    this.#ends = 0;
    this.#seen = new Hashes();
    this.#outcomes = new Set();
    this.#open = [];
    const data = new Int32Array(this.#places.size + 2 * this.#threads);
    for (const [at, place] of this.#places) data[place] = this.#initial[at];
    const start = { data, parent: undefined, thread: -1, node: undefined, answer: 0 };
    this.#roots.forEach((root, thread) => this.#settle(start, thread, root));
    this.#add(start);
    let expanded = 0;
    for (let next = this.#take(); next !== undefined; next = this.#take()) {
      if (bound === undefined && this.#seen.size > statesMax) {
        this.#fail(next, `More than ${statesMax} states: a loop, or too large a scenario`);
      }
      if (bound !== undefined && ++expanded % LOOK_EVERY === 0) {
        if (this.#seen.size >= bound.states || bound.isOver()) return this.#found(false);
      }
      this.#expand(next);
    }
    return this.#found(true);
  }

  #found(complete: boolean): Exploration {
    return {
      states: this.#seen.size,
      outcomes: this.#outcomes.size,
      ends: this.#ends,
      complete,
    };
  }

  /** The newest state that is to be gone on from; with a bound, now and then any other. */
  #take(): State | undefined {
    const open = this.#open, bound = this.#bound;
    if (bound !== undefined && open.length > 1 && bound.random() < SCATTER) {
      const at = Math.floor(bound.random() * open.length), last = open.length - 1;
      [open[at], open[last]] = [open[last], open[at]];
    }
    return open.pop();
  }

  #expand(state: State): void {
    const threads = this.#threads;
    let going = 0, left = 0;
    for (let thread = 0; thread < threads; thread++) {
      const node = this.#nodeOf(state, thread);
      if (node.access === undefined) continue;
      left++;
      const place = state.data[this.#places.size + threads + thread];
      if (place === 0) this.#atomic(state, thread, node, node.access);
      else if (place === WOKEN) this.#go(state, thread, node, 0);
      else if (node.access.b === 1) this.#go(state, thread, node, 2);
      else continue;
      going++;
    }
    if (left === 0) this.#finish(state);
    else if (going === 0) {
      this.#fail(state, `Nobody can go on, and ${left} threads have not finished`);
    }
  }

  #finish(state: State): void {
    this.#ends++;
    const results = this.#roots.map((_, thread) => this.#nodeOf(state, thread).result);
    const key = JSON.stringify(results);
    if (this.#outcomes.has(key)) return;
    this.#outcomes.add(key);
    try {
      this.#scenario.check(results);
    } catch (error) {
      this.#fail(state, `Wrong results ${key}: ${(error as Error).message}`);
    }
  }

  /** One atomic access. */
  #atomic(state: State, thread: number, node: Node, access: Access): void {
    const { kind, at, a, b } = access;
    this.#use(state, at, 2);
    if (kind === "notify") return this.#notify(state, thread, node, access);
    const was = this.#read(state.data, at);
    if (kind === "wait") {
      if (was !== a) return this.#go(state, thread, node, 1);
      const next = this.#next(state, thread, node, SLEEPS);
      next.data[this.#places.size + this.#threads + thread] = 1 + this.#sleepers(state, at).length;
      return this.#add(next);
    }
    const value = written(kind, was, a, b);
    this.#go(state, thread, node, was, value === was ? undefined : value);
  }

  #notify(state: State, thread: number, node: Node, { at, a }: Access): void {
    const sleepers = this.#sleepers(state, at);
    const count = Math.min(a, sleepers.length);
    const next = this.#next(state, thread, node, count);
    sleepers.forEach((sleeper, index) => {
      next.data[this.#places.size + this.#threads + sleeper] = index < count
        ? WOKEN
        : index - count + 1;
    });
    this.#settle(next, thread, this.#node(thread, node, count));
    this.#add(next);
  }

  /** The threads asleep on a word, first come first. */
  #sleepers(state: State, at: number): number[] {
    const base = this.#places.size + this.#threads;
    return this.#roots.map((_, thread) => thread)
      .filter((t) => state.data[base + t] > 0 && this.#nodeOf(state, t).access?.at === at)
      .sort((x, y) => state.data[base + x] - state.data[base + y]);
  }

  /** Gives a thread's access its answer, and runs the thread up to its next atomic one. */
  #go(state: State, thread: number, node: Node, answer: number, value?: number): void {
    const next = this.#next(state, thread, node, answer);
    const asleepAt = this.#places.size + this.#threads;
    const place = next.data[asleepAt + thread];
    if (place > 0) {
      // Time is up for a sleeper: those behind it move up.
      for (const other of this.#sleepers(state, node.access!.at)) {
        if (next.data[asleepAt + other] > place) next.data[asleepAt + other]--;
      }
    }
    next.data[asleepAt + thread] = 0;
    if (value !== undefined) next.data[this.#place(node.access!.at)] = value;
    this.#settle(next, thread, this.#node(thread, node, answer));
    this.#add(next);
  }

  #next(state: State, thread: number, node: Node, answer: number): State {
    return { data: state.data.slice(), parent: state, thread, node, answer };
  }

  /** Makes the plain accesses that come next in a thread. */
  #settle(state: State, thread: number, from: Node): void {
    let node = from;
    while (node.access?.kind === "read" || node.access?.kind === "write") {
      const { kind, at, a } = node.access;
      this.#use(state, at, 1);
      for (let other = 0; other < this.#threads; other++) {
        if (other === thread) continue;
        const { reads, writes } = this.#nodeOf(state, other);
        if (writes.includes(at) || (kind === "write" && reads.includes(at))) {
          this.#fail(state, `Data race on word ${at} between threads ${thread} and ${other}`);
        }
      }
      const answer = kind === "read" ? this.#read(state.data, at) : 0;
      if (kind === "write") state.data[this.#place(at)] = a;
      node = this.#node(thread, node, answer);
    }
    state.data[this.#places.size + thread] = node.id;
  }

  #read(data: Int32Array, at: number): number {
    const place = this.#places.get(at);
    return place === undefined ? this.#initial[at] : data[place];
  }

  #place(at: number): number {
    const place = this.#places.get(at);
    if (place !== undefined) return place;
    this.#places.set(at, this.#places.size);
    throw new NewWord();
  }

  #use(state: State, at: number, use: number): void {
    const known = this.#uses.get(at) ?? 0;
    if (known === use) return;
    this.#uses.set(at, known | use);
    if (known !== 0) this.#fail(state, `Word ${at} is used both plainly and by atomics`);
  }

  #nodeOf(state: State, thread: number): Node {
    return this.#nodes[state.data[this.#places.size + thread]];
  }

  #add(state: State): void {
    if (this.#seen.add(state.data)) this.#open.push(state);
  }

  #node(thread: number, parent: Node | undefined, answer: number): Node {
    const known = parent?.children.get(answer);
    if (known !== undefined) return known;
    const answers: number[] = [];
    let last = answer;
    for (let at = parent; at !== undefined; at = at.parent) {
      answers.push(last);
      last = at.answer;
    }
    const { access, result } = this.#replayer.run(
      this.#scenario.threads[thread],
      answers.reverse(),
    );
    const before = parent?.access;
    const isPlain = before?.kind === "read" || before?.kind === "write";
    const reads = isPlain ? parent!.reads : [], writes = isPlain ? parent!.writes : [];
    const node: Node = {
      id: this.#nodes.length,
      parent,
      answer,
      children: new Map(),
      access,
      result,
      reads: before?.kind === "read" ? [...reads, before.at] : reads,
      writes: before?.kind === "write" ? [...writes, before.at] : writes,
    };
    this.#nodes.push(node);
    parent?.children.set(answer, node);
    return node;
  }

  #fail(state: State, message: string): never {
    const steps: string[] = [];
    for (let at: State | undefined = state; at?.node !== undefined; at = at.parent) {
      const { kind, at: word, a, b } = at.node.access!;
      const answer = at.answer === SLEEPS ? "sleeps" : at.answer;
      steps.push(`thread ${at.thread}: ${kind} word ${word} (${a}, ${b}) → ${answer}`);
    }
    throw new InterleavingError([message, ...steps.reverse()].join("\n"));
  }
}

/**
 * States met, by 64 bits of hash each: two different ones of ten million fall together with a probability of 3
 * in a million.
 */
class Hashes {
  size = 0;
  #table = new Uint32Array(2 << 16);

  /** Adds a state; says whether it is new. */
  add(data: Int32Array): boolean {
    let a = 0x9e3779b9, b = 0x85ebca6b;
    for (let i = 0; i < data.length; i++) {
      a = Math.imul(a ^ data[i], 0xcc9e2d51);
      a ^= a >>> 15;
      b = Math.imul(b + data[i], 0x1b873593) ^ (a >>> 7);
      b ^= b >>> 13;
    }
    a = Math.imul(a ^ (b >>> 16), 0x2c1b3c6d);
    a ^= a >>> 12;
    const isNew = insert(this.#table, a >>> 0, (b >>> 0) || 1);
    if (isNew && ++this.size * 4 > this.#table.length) this.#grow();
    return isNew;
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Uint32Array(old.length * 2);
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] !== 0) insert(this.#table, old[i], old[i + 1]);
    }
  }
}

function insert(table: Uint32Array, a: number, b: number): boolean {
  const mask = table.length - 1;
  for (let i = (a * 2) & mask;; i = (i + 2) & mask) {
    if (table[i + 1] === 0) {
      table[i] = a;
      table[i + 1] = b;
      return true;
    }
    if (table[i] === a && table[i + 1] === b) return false;
  }
}

/** What a word is after an atomic access. */
function written(kind: Access["kind"], was: number, a: number, b: number): number {
  switch (kind) {
    case "store":
    case "exchange":
      return a;
    case "add":
      return (was + a) | 0;
    case "sub":
      return (was - a) | 0;
    case "or":
      return was | a;
    case "compareExchange":
      return was === a ? b : was;
    default:
      return was;
  }
}
