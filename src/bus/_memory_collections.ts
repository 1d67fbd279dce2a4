/**
 * Memory collections: how long V8's garbage collector stopped this thread.
 *
 * Deno 2.9 tells it by `GCProfiler` of `node:v8`, without a flag and without a permission: for each collection what
 * it was and what it took, the same figures as `--trace-gc` prints. `PerformanceObserver` takes `entryTypes: ["gc"]`
 * and is never called, and flags set while the program runs (`v8.setFlagsFromString`) bring no `gc` function. A
 * profiler sees its own thread only; another thread's collections do not stop this one.
 *
 * The profiler keeps four kilobytes of figures for each collection until it is read, so it is read from time to time, and
 * begun anew before the old one is ended, so that none is missed.
 *
 * Cost: 20 to 30 ms once, to load `node:v8`; then some 50 µs a collection, which takes 0.3 to 10 ms itself.
 */

import { DurationHistogram, type DurationSummary } from "../propagation/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";

/** Pauses that V8's garbage collector made in this thread. */
export interface CollectionPauses {
  /** The tick since which they are counted. */
  readonly sinceTick: number;
  /** All of them. */
  readonly all: DurationSummary;
  /** Of the young generation: short-lived objects. */
  readonly young: DurationSummary;
  /** Of the whole heap: final pauses of a collection, and steps of marking where V8 tells them. */
  readonly full: DurationSummary;
}

/** Milliseconds between two readings of a profiler. */
const READ_EVERY_MS = 100;
const NS_IN_MS = 1e6;

interface Profiler {
  start(): void;
  stop(): unknown;
}

/** Counts the pauses of this thread. */
export class CollectionWatch {
  readonly #newProfiler: () => Profiler;
  readonly #sinceTick: number;
  readonly #young = new DurationHistogram();
  readonly #full = new DurationHistogram();
  readonly #all = new DurationHistogram();
  #profiler: Profiler | undefined;
  #readMs = 0;

  private constructor(newProfiler: () => Profiler, sinceTick: number) {
    this.#newProfiler = newProfiler;
    this.#sinceTick = sinceTick;
    this.#begin();
  }

  /**
   * Begins to count.
   *
   * @param sinceTick The last tick.
   * @returns Why not, where this runtime does not tell of collections.
   */
  static async start(sinceTick: number): Promise<CollectionWatch | { readonly reason: string }> {
    try {
      const { GCProfiler } = await import("node:v8");
      return new CollectionWatch(() => new GCProfiler(), sinceTick);
    } catch (error) {
      return { reason: `this runtime has no GCProfiler (${String(error)})` };
    }
  }

  /** Reads the profiler, if it has not been read for a while. */
  afterTick(): void {
    if (monotonicNowMs() - this.#readMs >= READ_EVERY_MS) this.#read();
  }

  /** What was counted so far. */
  pauses(): CollectionPauses {
    this.#read();
    return {
      sinceTick: this.#sinceTick,
      all: this.#all.summary(),
      young: this.#young.summary(),
      full: this.#full.summary(),
    };
  }

  /** Counts no more. */
  stop(): void {
    this.#profiler?.stop();
    this.#profiler = undefined;
  }

  #begin(): void {
    const profiler = this.#newProfiler();
    profiler.start();
    this.#profiler = profiler;
    this.#readMs = monotonicNowMs();
  }

  #read(): void {
    const before = this.#profiler;
    if (before === undefined) return;
    this.#begin();
    for (const { kind, ms } of collectionsOf(before.stop())) {
      this.#all.record(ms);
      (kind === "Scavenge" || kind.startsWith("Minor") ? this.#young : this.#full).record(ms);
    }
  }
}

/** The collections that a profiler saw. */
function* collectionsOf(
  profile: unknown,
): Generator<{ readonly kind: string; readonly ms: number }> {
  const { statistics } = (profile ?? {}) as { statistics?: unknown };
  if (!Array.isArray(statistics)) return;
  for (const one of statistics) {
    const { gcType, cost } = (one ?? {}) as { gcType?: unknown; cost?: unknown };
    // Nanoseconds; a test holds them against what --trace-gc prints.
    if (typeof gcType === "string" && typeof cost === "number") {
      yield { kind: gcType, ms: cost / NS_IN_MS };
    }
  }
}
