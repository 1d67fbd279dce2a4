/**
 * Comparisons: the same unit of work done several ways, for `deno bench`, for the smoke test and for the anchors.
 *
 * A comparison says how each of its sides is opened at a size, and what it does once. So one description of
 * the work is timed by Deno's harness ({@linkcode bench}), timed interleaved by the anchors
 * ({@linkcode besidePeer}), and done at a small size with a fixed seed by the smoke test
 * ({@linkcode resultOf}), which compares the hash of what came out with that of the other sides and with
 * the committed one: nothing is timed that was not done.
 *
 * Sides are opened when their first call comes, so that `--filter` pays only for what it runs, and are
 * closed when the next comparison begins. What is left when the process ends is a state in memory.
 */

import { hash, interleave, type Measurement } from "./_harness.ts";

/** What a side may tell of the part of its work that counts; all of it where it says nothing. */
export interface Stopwatch {
  /** From here on time counts. */
  start(): void;
  /** Up to here. */
  end(): void;
}

/** What came out: bytes, or a hash of them. */
export type Result = Uint8Array | string;

/** One way to do the work. */
export interface Side {
  /** Does it once. */
  run(watch: Stopwatch): void | Promise<void>;
  /** What stands after the runs so far; equal on all sides after as many runs. */
  result(): Result | Promise<Result>;
  /** Lets go of everything. */
  close?(): void | Promise<void>;
}

/** Where a side is opened. */
export interface Place {
  /** How large: what it counts, the comparison says in its name. */
  readonly size: number;
  /** Makes a folder, which is removed when the side is closed. */
  folder(): string;
}

/** Opens a side. */
export type OpenSide = (place: Place) => Side | Promise<Side>;

/** The same work done several ways. */
export interface Comparison {
  /** What is done once, in words that a stranger understands. */
  readonly unit: string;
  /** Size as benchmarked. */
  readonly size: number;
  /** Size of the smoke test. */
  readonly smokeSize: number;
  /** The sides by name, the baseline first. */
  readonly sides: Readonly<Record<string, OpenSide>>;
  /** Sides that leave something else behind, so that only the committed hash is compared. */
  readonly others?: readonly string[];
  /** Runs that Deno times; as many as half a second takes where left out. */
  readonly runs?: number;
}

/** A side that is open, with what must be cleaned up behind it. */
export class OpenedSide {
  /** What it does. */
  readonly side: Side;
  readonly #folders: string[];

  private constructor(side: Side, folders: string[]) {
    this.side = side;
    this.#folders = folders;
  }

  /** Opens a side at a size. */
  static async open(open: OpenSide, size: number): Promise<OpenedSide> {
    const folders: string[] = [];
    const folder = (): string => {
      const path = Deno.makeTempDirSync({ prefix: "mmsb-bench-" });
      folders.push(path);
      return path;
    };
    try {
      return new OpenedSide(await open({ size, folder }), folders);
    } catch (error) {
      removeAll(folders);
      throw error;
    }
  }

  /** Closes it and removes its folders. */
  async close(): Promise<void> {
    try {
      await this.side.close?.();
    } finally {
      removeAll(this.#folders.splice(0));
    }
  }

  /** The same at the end of the process, where nobody can wait: workers end, folders go. */
  abandon(): void {
    Promise.resolve(this.side.close?.()).catch(() => {});
    removeAll(this.#folders.splice(0));
  }
}

function removeAll(folders: readonly string[]): void {
  for (const folder of folders) Deno.removeSync(folder, { recursive: true });
}

/** Sides that are open in this process, of the comparison that runs now. */
const opened = new Map<OpenSide, OpenedSide>();
let current: Comparison | undefined;

async function closeOthers(comparison: Comparison): Promise<void> {
  if (current === comparison) return;
  current = comparison;
  const before = [...opened.values()];
  opened.clear();
  for (const side of before) await side.close();
}

/**
 * Hands comparisons to `deno bench`, each as a group whose first side is the baseline.
 *
 * @returns The comparisons, for a bench file to export: the smoke test does them all.
 */
export function bench(...comparisons: readonly Comparison[]): readonly Comparison[] {
  for (const comparison of comparisons) {
    const { unit: group, runs } = comparison;
    const times = runs === undefined ? {} : { n: runs, warmup: 1 };
    Object.entries(comparison.sides).forEach(([name, open], index) => {
      Deno.bench({ name, group, baseline: index === 0, ...times, fn: callOf(comparison, open) });
    });
  }
  addEventListener("unload", () => {
    for (const side of opened.values()) side.abandon();
  });
  return comparisons;
}

/** An async function, as Deno waits for nothing else. */
function callOf(
  comparison: Comparison,
  open: OpenSide,
): (watch: Deno.BenchContext) => Promise<void> {
  let side: Side | undefined;
  return async (watch) => {
    // Deno warms up before it counts, so the call that opens is never timed.
    if (side === undefined) {
      await closeOthers(comparison);
      const made = await OpenedSide.open(open, comparison.size);
      opened.set(open, made);
      side = made.side;
    }
    await side.run(watch);
  };
}

/** Runs of the smoke test: the second finds what the first has left behind. */
const SMOKE_RUNS = 3;

/**
 * Does the work of each side some times at the small size.
 *
 * @returns The hash that all sides came to; of sides that differ by design one after the other.
 * @throws {Error} Where a side came to another result, or did nothing: all that it leaves is as before.
 */
export async function resultOf(comparison: Comparison): Promise<string> {
  const { sides, others = [] } = comparison, found = new Map<string, string>();
  for (const [name, open] of Object.entries(sides)) {
    const opened = await OpenedSide.open(open, comparison.smokeSize), { side } = opened;
    try {
      const watch = new CheckedWatch();
      for (let run = 0; run < SMOKE_RUNS; run++) {
        await side.run(watch);
        watch.check(comparison.unit, name);
      }
      const result = await side.result();
      found.set(name, typeof result === "string" ? result : hash(result));
    } finally {
      await opened.close();
    }
  }
  const [[first, expected], ...rest] = [...found].filter(([name]) => !others.includes(name));
  for (const [name, result] of rest) {
    if (result === expected) continue;
    throw new Error(`${comparison.unit}: ${name} came to ${result}, ${first} to ${expected}`);
  }
  return [expected, ...others.map((name) => found.get(name)!)].map(shortened).join(" ");
}

/** Eight digits in place of what can be long. */
function shortened(result: string): string {
  return hash(new TextEncoder().encode(result));
}

/** Sees that a side starts and ends its time once a run, or leaves it to the harness. */
class CheckedWatch implements Stopwatch {
  #starts = 0;
  #ends = 0;

  start(): void {
    this.#starts++;
  }

  end(): void {
    this.#ends++;
  }

  check(unit: string, name: string): void {
    if (this.#starts > 1 || this.#starts !== this.#ends) {
      throw new Error(`${unit}: ${name} started ${this.#starts} times, ended ${this.#ends} times`);
    }
    this.#starts = this.#ends = 0;
  }
}

/** Measures the time between start and end, or of the whole run. */
class TimingWatch implements Stopwatch {
  #started = 0;
  #seconds = 0;

  start(): void {
    this.#started = performance.now();
  }

  end(): void {
    this.#seconds = (performance.now() - this.#started) / 1000;
  }

  async time(side: Side): Promise<number> {
    this.#seconds = NaN;
    const start = performance.now();
    await side.run(this);
    return Number.isNaN(this.#seconds) ? (performance.now() - start) / 1000 : this.#seconds;
  }
}

/** What a comparison of two sides gave. */
export interface Compared extends Measurement {
  /** Hash of the result, or what differs. */
  readonly hash: string;
  /** Whether both came to the same. */
  readonly same: boolean;
}

/**
 * Times two sides of a comparison, interleaved, at their full size.
 *
 * @param ours Name of our side.
 * @param peer Name of the other.
 */
export async function besidePeer(
  comparison: Comparison,
  ours: string,
  peer: string,
  rounds: number,
): Promise<Compared> {
  const { sides, size } = comparison, watch = new TimingWatch();
  const a = await OpenedSide.open(sides[ours], size);
  try {
    const b = await OpenedSide.open(sides[peer], size);
    try {
      const measured = await interleave(() => watch.time(a.side), () => watch.time(b.side), rounds);
      const [one, other] = [await a.side.result(), await b.side.result()].map((result) =>
        typeof result === "string" ? result : hash(result)
      );
      const same = one === other;
      return { ...measured, same, hash: same ? one : `${one} differs from ${other}` };
    } finally {
      await b.close();
    }
  } finally {
    await a.close();
  }
}
