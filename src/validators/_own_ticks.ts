/**
 * A log gone through once: which rule wrote in which ticks, and some ticks of all that are looked at more closely.
 *
 * Cost: a pass over the log, of which only the frames of rules are decoded; a few numbers a rule.
 */

import {
  horizonOf,
  LogReader,
  readMeta,
  recover,
  ROW_KIND,
  RowDecoder,
  type Storage,
} from "../log/mod.ts";
import { MEMORY_LIMIT_BYTES_DEFAULT, MmsbError } from "../base/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";

/** What was found. */
export interface RuleTicks {
  /** First tick whose state can be had. */
  readonly horizon: number;
  /** Last tick. */
  readonly last: number;
  /** Ticks of the log. */
  readonly ticks: number;
  /** Ticks in which any rule wrote. */
  readonly derived: number;
  /** By number of the rule the last tick in which it wrote. */
  readonly lastOf: ReadonlyMap<number, number>;
  /** Some of the ticks in which rules wrote, in order. */
  readonly sample: readonly number[];
}

const PROGRESS_TICKS = 1024;

/** Goes through a log up to a tick. */
export function ruleTicks(
  storage: Storage,
  { tickMax, seed, sample, progress }: {
    readonly tickMax: number;
    readonly seed: number;
    readonly sample: number;
    readonly progress: (text: string) => void;
  },
): RuleTicks {
  const meta = readMeta(storage), horizon = horizonOf(storage, meta);
  const reader = new LogReader(storage, meta, { tickMax }), decoder = new RowDecoder();
  const random = new SeededRandom(seed), chosen: number[] = [], lastOf = new Map<number, number>();
  let last = 0, ticks = 0, derived = 0;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    last = tick.tick;
    if (++ticks % PROGRESS_TICKS === 0) progress(`looking at tick ${last}`);
    let isDerived = false;
    for (const { frames, segment } of tick.lanes) {
      for (const frame of frames) {
        if (frame.rowKind !== ROW_KIND.derived) continue;
        const { rules } = decoder.decode(segment, frame);
        for (const rule of new Set(rules)) lastOf.set(rule >>> 0, last);
        isDerived = true;
      }
    }
    // The state before it is needed as well, and a merged tick has none.
    if (!isDerived || last - 1 < horizon || tick.span > 0) continue;
    derived++;
    if (chosen.length < sample) chosen.push(last);
    else {
      const place = random.below(derived);
      if (place < sample) chosen[place] = last;
    }
  }
  return { horizon, last, ticks, derived, lastOf, sample: chosen.sort((a, b) => a - b) };
}

/**
 * The state of a tick.
 *
 * @throws {MmsbError} `out-of-bounds` where it cannot be had.
 */
export function stateAt(storage: Storage, tick: number): PageStore {
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT);
  const { tick: reached } = recover(storage, readMeta(storage), store, tick);
  if (reached === tick || tick === Infinity) return store;
  throw new MmsbError("out-of-bounds", `Cannot replay tick ${tick}: the log leads to ${reached}`, {
    values: { tick, reached },
  });
}

/** Numbers from a range, spread over it by chance, each once, in order. */
export function someTicks(first: number, last: number, count: number, seed: number): number[] {
  if (last - first + 1 <= count) {
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
  }
  const random = new SeededRandom(seed), chosen = new Set<number>();
  while (chosen.size < count) chosen.add(first + random.below(last - first + 1));
  return [...chosen].sort((a, b) => a - b);
}
