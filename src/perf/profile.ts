/**
 * Profiles: what a program spent its time and its allocations on, and how much of both a delta took.
 *
 * The engine samples the stack at even times and the allocations at even amounts, so every figure here is an
 * estimate: a function with 100 samples is known to some 10 %. The number of deltas is counted, not sampled.
 *
 * Deno takes the types out of a program before it runs, which moves lines; places are taken back to the source
 * by its source maps.
 */

import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";

/** What the program is told. */
export interface ProfileTask {
  /** Where to write the raw profile. */
  readonly file: string;
  /** Time between two samples, in microseconds. */
  readonly intervalUs: number;
  /** Bytes between two sampled allocations, on average. */
  readonly allocationBytes: number;
  /** Ends the program after so many seconds; it runs to its end if left out. */
  readonly seconds?: number;
}

/** Ticks of all buses of a program, added up. */
export interface TickTally {
  /** Ticks. */
  ticks: number;
  /** Deltas applied. */
  rows: number;
  /** Rows written by rules. */
  derived: number;
  /** Time by phase of a tick, in milliseconds. */
  phasesMs: Record<string, number>;
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  /** From 0. */
  readonly lineNumber: number;
  readonly columnNumber: number;
}

interface HeapNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  readonly children: readonly HeapNode[];
}

/** What the program wrote. */
export interface RawProfile {
  /** Why it ended. */
  readonly reason: "end" | "exit" | "signal" | "time";
  /** How long it was watched, in milliseconds. */
  readonly elapsedMs: number;
  /** Samples of the stack, in the form of the engine's `.cpuprofile` files. */
  readonly cpu: {
    readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
    readonly startTime: number;
    readonly endTime: number;
    readonly samples: readonly number[];
    readonly timeDeltas: readonly number[];
  };
  /** Sampled allocations. */
  readonly heap: {
    readonly head: HeapNode;
    readonly samples: readonly { readonly nodeId: number; readonly size: number }[];
  };
  /** Source maps by module. */
  readonly maps: Readonly<Record<string, string>>;
  /** The ticks. */
  readonly tally: TickTally;
  /** Each pause for garbage collection, in milliseconds. */
  readonly gcMs: readonly number[];
}

/** A function, and what it took by itself, without what it called. */
export interface ProfiledFunction {
  /** Its name; of one without, where it stands. */
  readonly name: string;
  /** Module and line, such as `file:///src/physical/apply.ts:88`; "" for parts of the engine. */
  readonly place: string;
  /** Milliseconds, or bytes. */
  readonly amount: number;
  /** Of all, from 0 to 1. */
  readonly share: number;
  /** Samples that the amount is known by. */
  readonly samples: number;
}

/** Pauses for garbage collection. */
export interface GarbageCollection {
  /** How many. */
  readonly count: number;
  /** All of them together, in milliseconds. */
  readonly totalMs: number;
  /** The longest, in milliseconds. */
  readonly maxMs: number;
}

/** What a profile says. */
export interface Profile {
  /** Why the program ended. */
  readonly reason: RawProfile["reason"];
  /** How long it was watched, in milliseconds. */
  readonly elapsedMs: number;
  /** Time in which the main thread did anything, in milliseconds. */
  readonly busyMs: number;
  /** Functions by their own time, the longest first. */
  readonly functions: readonly ProfiledFunction[];
  /** Bytes allocated, garbage included. */
  readonly allocatedBytes: number;
  /** Functions by what they allocated themselves, the most first. */
  readonly allocators: readonly ProfiledFunction[];
  /** Ticks of all buses. */
  readonly tally: TickTally;
  /** Pauses for garbage collection. */
  readonly gc: GarbageCollection;
}

/** The engine's name for time in which nothing ran. */
const IDLE = "(idle)";
const NATIVE = "native code, and the runtime itself";
const ENGINE_NAMES: Readonly<Record<string, string>> = {
  "(garbage collector)": "garbage collection",
  "(program)": NATIVE,
  "(V8 API)": NATIVE,
  "(IDLE_EXTERNAL)": NATIVE,
  "(EXTERNAL)": NATIVE,
  "(root)": "outside any function",
  "(PARSER)": "loading code: the parser",
  "(BYTECODE_COMPILER)": "loading code: the compiler",
  "(COMPILER)": "the optimizing compiler",
};

/** Of samples that the engine tells of without saying where. */
const UNKNOWN: CallFrame = {
  functionName: "(program)",
  url: "",
  lineNumber: -1,
  columnNumber: -1,
};

/** Adds amounts up by function. */
class Sums {
  readonly #sums = new Map<string, { frame: CallFrame; amount: number; samples: number }>();
  total = 0;

  add(frame: CallFrame, amount: number, samples: number): void {
    const key = `${nameOf(frame)}\n${frame.url}:${frame.lineNumber}:${frame.columnNumber}`;
    const sum = this.#sums.get(key);
    this.total += amount;
    if (sum === undefined) {
      this.#sums.set(key, { frame, amount, samples });
    } else {
      sum.amount += amount;
      sum.samples += samples;
    }
  }

  /** All functions, the largest first. */
  functions(places: Places): ProfiledFunction[] {
    return [...this.#sums.values()].sort((a, b) => b.amount - a.amount).map(
      ({ frame, amount, samples }) => ({
        name: nameOf(frame),
        place: places.of(frame),
        amount,
        share: this.total === 0 ? 0 : amount / this.total,
        samples,
      }),
    );
  }
}

/** Places in the source, by what the engine ran. */
class Places {
  readonly #texts: Readonly<Record<string, string>>;
  readonly #maps = new Map<string, TraceMap | undefined>();

  constructor(texts: Readonly<Record<string, string>>) {
    this.#texts = texts;
  }

  of({ url, lineNumber, columnNumber }: CallFrame): string {
    if (url === "") return "";
    const map = this.#mapOf(url);
    const found = map === undefined
      ? undefined
      : originalPositionFor(map, { line: lineNumber + 1, column: Math.max(0, columnNumber) });
    return `${url}:${found?.line ?? lineNumber + 1}`;
  }

  #mapOf(url: string): TraceMap | undefined {
    if (this.#maps.has(url)) return this.#maps.get(url);
    const [, text] = /^data:[^,]*;base64,(.*)$/s.exec(this.#texts[url] ?? "") ?? [];
    const map = text === undefined ? undefined : new TraceMap(decoded(text));
    this.#maps.set(url, map);
    return map;
  }
}

function decoded(base64: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(base64));
}

function nameOf({ functionName, url }: CallFrame): string {
  if (functionName !== "") return ENGINE_NAMES[functionName] ?? functionName;
  return url === ""
    ? "native code, and the runtime itself"
    : "(a module, or a function without a name)";
}

/**
 * Adds a raw profile up.
 *
 * @param raw What the program wrote.
 * @returns What it says.
 */
export function profileOf(raw: RawProfile): Profile {
  const places = new Places(raw.maps);
  const times = timesOf(raw), allocations = allocationsOf(raw), { gcMs } = raw;
  return {
    reason: raw.reason,
    elapsedMs: raw.elapsedMs,
    busyMs: times.total,
    functions: times.functions(places),
    allocatedBytes: allocations.total,
    allocators: allocations.functions(places),
    tally: raw.tally,
    gc: {
      count: gcMs.length,
      totalMs: gcMs.reduce((sum, ms) => sum + ms, 0),
      maxMs: gcMs.reduce((max, ms) => Math.max(max, ms), 0),
    },
  };
}

function timesOf({ cpu: { nodes, samples, timeDeltas, startTime, endTime } }: RawProfile): Sums {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const sums = new Sums();
  let at = startTime;
  for (let i = 0; i < samples.length; i++) {
    at += timeDeltas[i];
    // A sample stands for the time until the next one.
    const us = i + 1 < samples.length ? timeDeltas[i + 1] : endTime - at;
    const frame = frames.get(samples[i]) ?? UNKNOWN;
    if (frame.functionName !== IDLE) sums.add(frame, Math.max(0, us) / 1000, 1);
  }
  return sums;
}

function allocationsOf({ heap: { head, samples } }: RawProfile): Sums {
  const frames = new Map<number, CallFrame>();
  const rest = [head];
  for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
    frames.set(node.id, node.callFrame);
    rest.push(...node.children);
  }
  const sums = new Sums();
  for (const { nodeId, size } of samples) sums.add(frames.get(nodeId) ?? UNKNOWN, size, 1);
  return sums;
}
