/** The last round trips, in a ring of fixed size, and what they say. */

/** What a window of round trips says. */
export interface WindowFigures {
  /** Round trips asked for. */
  readonly asked: number;
  /** Those without an answer in time. */
  readonly lost: number;
  /** Smallest, ns. */
  readonly minNs: number;
  /** Half are smaller, ns. */
  readonly medianNs: number;
  /** 99 of 100 are smaller, ns. */
  readonly p99Ns: number;
  /** Largest, ns. */
  readonly maxNs: number;
  /** Mean difference of one and the next, ns. */
  readonly jitterNs: number;
  /** Standard deviation, ns. */
  readonly deviationNs: number;
  /** Mean, ns. */
  readonly meanNs: number;
}

/** A ring of round trips; a lost one is NaN. */
export class LatencyWindow {
  readonly #values: Float64Array;
  #count = 0;
  #next = 0;

  /** An empty one with so many places. */
  constructor(places: number) {
    this.#values = new Float64Array(places);
  }

  /** Takes a round trip in ns, NaN for a lost one; the oldest makes room. */
  push(ns: number): void {
    this.#values[this.#next] = ns;
    this.#next = (this.#next + 1) % this.#values.length;
    this.#count = Math.min(this.#count + 1, this.#values.length);
  }

  /** What they say; NaN where nothing was answered. */
  figures(): WindowFigures {
    const { length } = this.#values, asked = this.#count;
    const inOrder = Array.from(
      { length: asked },
      (_, index) => this.#values[(this.#next - asked + index + length) % length],
    ).filter((ns) => !Number.isNaN(ns));
    const sorted = inOrder.toSorted((a, b) => a - b), count = sorted.length;
    // By rank: the smallest value that so many of them do not exceed.
    const at = (part: number) =>
      count === 0 ? NaN : sorted[Math.max(0, Math.ceil(count * part) - 1)];
    const meanNs = sorted.reduce((sum, ns) => sum + ns, 0) / count;
    const squares = sorted.reduce((sum, ns) => sum + (ns - meanNs) ** 2, 0);
    const differences = inOrder.slice(1).map((ns, index) => Math.abs(ns - inOrder[index]));
    return {
      asked,
      lost: asked - count,
      minNs: at(0),
      medianNs: at(0.5),
      p99Ns: at(0.99),
      maxNs: at(1),
      jitterNs: differences.length === 0
        ? NaN
        : differences.reduce((sum, ns) => sum + ns, 0) / differences.length,
      deviationNs: count < 2 ? NaN : Math.sqrt(squares / (count - 1)),
      meanNs,
    };
  }
}
