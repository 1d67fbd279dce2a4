/**
 * Tick meter: what the ticks of a bus took, phase by phase, and how much they did.
 *
 * Cost: a histogram a phase, and one value recorded in each a tick.
 *
 * @module
 */

import { DurationHistogram, type DurationSummary } from "./histogram.ts";

/** Name of a phase of a tick. */
export type TickPhase =
  | "ingest"
  | "log"
  | "apply"
  | "propagate"
  | "check"
  | "publish"
  | "maintain";

/** The phases of a tick, in their order. */
export const TICK_PHASES: readonly TickPhase[] = [
  "ingest",
  "log",
  "apply",
  "propagate",
  "check",
  "publish",
  "maintain",
];

/** What the ticks of a bus took, in one object a phase; `tick` is all but `maintain` together. */
export type PhaseStatistics = Readonly<Record<TickPhase | "tick", DurationSummary>>;

/** What the ticks of a bus did. */
export interface TickStatistics {
  /** Ticks that applied something. */
  readonly ticks: number;
  /** Rows that they applied, derived ones not counted. */
  readonly rows: number;
  /** Rows a second of the time that ticks took. */
  readonly rowsPerSecond: number;
  /** Ticks that took longer than their budget. */
  readonly overBudget: number;
  /** Ticks that left batches for the next one. */
  readonly carriedOverTicks: number;
  /** Batches that the last tick left for the next one. */
  readonly carriedOverBatches: number;
  /** Their rows. */
  readonly carriedOverRows: number;
}

/** What one tick tells the meter. */
export interface MeteredTick {
  /** Milliseconds of each phase. */
  readonly phasesMs: Readonly<Record<TickPhase, number>>;
  /** Milliseconds of all phases that are the tick's own. */
  readonly elapsedMs: number;
  /** Rows applied. */
  readonly rows: number;
  /** Milliseconds above the budget. */
  readonly overBudgetMs: number;
  /** Batches left for the next tick. */
  readonly carriedOver: number;
  /** Their rows. */
  readonly carriedOverRows: number;
}

/** Counts ticks. */
export class TickMeter {
  readonly #phases: readonly DurationHistogram[] = TICK_PHASES.map(() => new DurationHistogram());
  readonly #whole = new DurationHistogram();
  #rows = 0;
  #overBudget = 0;
  #carriedOverTicks = 0;
  #carriedOverBatches = 0;
  #carriedOverRows = 0;

  /** Counts one tick. */
  record(tick: MeteredTick): void {
    for (let i = 0; i < TICK_PHASES.length; i++) {
      this.#phases[i].record(tick.phasesMs[TICK_PHASES[i]]);
    }
    this.#whole.record(tick.elapsedMs);
    this.#rows += tick.rows;
    if (tick.overBudgetMs > 0) this.#overBudget++;
    if (tick.carriedOver > 0) this.#carriedOverTicks++;
    this.#carriedOverBatches = tick.carriedOver;
    this.#carriedOverRows = tick.carriedOverRows;
  }

  /** How long the phases took. */
  phases(): PhaseStatistics {
    const phases = TICK_PHASES.map((phase, i) => [phase, this.#phases[i].summary()]);
    return Object.fromEntries([...phases, ["tick", this.#whole.summary()]]) as PhaseStatistics;
  }

  /** How much they did. */
  statistics(): TickStatistics {
    const { count, totalMs } = this.#whole.summary();
    return {
      ticks: count,
      rows: this.#rows,
      rowsPerSecond: totalMs > 0 ? this.#rows / totalMs * 1000 : 0,
      overBudget: this.#overBudget,
      carriedOverTicks: this.#carriedOverTicks,
      carriedOverBatches: this.#carriedOverBatches,
      carriedOverRows: this.#carriedOverRows,
    };
  }
}
