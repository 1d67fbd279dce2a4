/**
 * Harness: ours and a peer on the same work, interleaved.
 *
 * Machines are noisy and drift, so a single time means nothing: both sides run in one process, in
 * the order A B B A, several rounds, and what is reported is the ratio of the medians with the spread
 * of the ratios of single rounds. Results are compared before a time counts.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** One side's run: does the work once and returns the seconds that count. */
export type Run = () => number | Promise<number>;

/** What came out of a subject. */
export interface Row {
  /** What was measured. */
  readonly subject: string;
  /** Ours, in words with its unit. */
  readonly ours: string;
  /** The peer, in words with its unit. */
  readonly peer: string;
  /** Ours against the peer, above 1: ours is faster; or the figure itself where there is no peer. */
  readonly ratio: number;
  /** Least and largest ratio of a single round. */
  readonly spread: readonly [number, number];
  /** What the project wants, in words. */
  readonly target: string;
  /** Whether it is met. */
  readonly met: boolean;
  /** Hash of the result, equal on both sides. */
  readonly hash: string;
  /** More of it in numbers, for `--json`. */
  readonly figures?: Readonly<Record<string, number | string | boolean>>;
}

/** Medians of both sides and the ratios of the rounds. */
export interface Measurement {
  /** Median seconds of ours. */
  readonly ours: number;
  /** Median seconds of the peer. */
  readonly peer: number;
  /** Median over rounds of the peer's seconds through ours: above 1, ours is faster. */
  readonly ratio: number;
  /** Least and largest ratio of a round. */
  readonly spread: readonly [number, number];
}

/**
 * Runs both sides in the order A B B A.
 *
 * @param ours Our side.
 * @param peer The other side.
 * @param rounds Rounds that count; each runs both sides twice.
 * @param warmUp Rounds before them.
 */
export async function interleave(
  ours: Run,
  peer: Run,
  rounds: number,
  warmUp = 2,
): Promise<Measurement> {
  const a: number[] = [], b: number[] = [], ratios: number[] = [];
  for (let round = -warmUp; round < rounds; round++) {
    const a1 = await ours(), b1 = await peer();
    const b2 = await peer(), a2 = await ours();
    if (round < 0) continue;
    a.push(a1, a2);
    b.push(b1, b2);
    ratios.push((b1 + b2) / (a1 + a2));
  }
  ratios.sort((x, y) => x - y);
  return {
    ours: median(a),
    peer: median(b),
    ratio: median(ratios),
    spread: [ratios[0], ratios[ratios.length - 1]],
  };
}

/** The middle of some numbers. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  return sorted.length & 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Seconds that a call takes. */
export function seconds(work: () => void): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

/** Millions a second, as text. */
export function millions(count: number, time: number): string {
  return `${(count / time / 1e6).toFixed(1)} M/s`;
}

/** FNV-1a over bytes as 8 hexadecimal digits: says that two results are equal, not more. */
export function hash(...parts: readonly Uint8Array[]): string {
  let value = 0x811c9dc5;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) value = Math.imul(value ^ part[i], 0x01000193);
  }
  return (value >>> 0).toString(16).padStart(8, "0");
}

/** Numbers from a seed: xorshift of 32 bits (Marsaglia, "Xorshift RNGs", 2003). */
export function numbers(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

let collector: (() => void) | undefined;

/** Runs the garbage collector, in a process that was started without a flag for it, too. */
export function collect(): void {
  if (collector === undefined) {
    setFlagsFromString("--expose-gc");
    collector = runInNewContext("gc") as () => void;
  }
  collector();
}
