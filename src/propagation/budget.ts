/**
 * Budget: how much a tick takes on, so that it ends in time.
 *
 * A tick cannot be cut once it is sealed, so the budget acts before the seal: it says how many whole batches a
 * tick admits, by what the last ticks cost. Work beside the ticks (the slices of a checkpoint) asks it too, and
 * waits for the next tick where this one used the budget up.
 *
 * The cost of a tick is taken for `fixed + perUnit × units + perFiring × firings`. A unit is a row, or 64 bytes
 * of payload. The first two are a line through the last ticks by least squares with forgetting; its slope is held
 * by what it was before, as if by one more tick of a thousand units, so that a run of tiny ticks, which say
 * nothing about a row, does not move it. Firings are foreseen as so many a row as in the last ticks, and at most
 * one of each rule. A tick that took far longer than foreseen counts as eight times that: a pause of the system
 * moves the estimate little, and a lasting change within a few ticks.
 *
 * Cost: some twenty floating-point operations a tick, and one comparison a batch.
 *
 * @module
 */

/** What a tick cost. */
export interface TickCost {
  /** Rows. */
  readonly rows: number;
  /** Bytes of their payloads. */
  readonly bytes: number;
  /** Milliseconds of all phases but the waves. */
  readonly ownMs: number;
  /** Milliseconds of the waves. */
  readonly propagateMs: number;
  /** Rules that fired. */
  readonly fired: number;
  /** Rules that there are. */
  readonly rules: number;
}

/** How a budget is kept. */
export interface BudgetOptions {
  /** Milliseconds that a tick may take. */
  readonly budgetMs: number;
  /** Rows that a tick admits, whatever they cost; without it the cost is estimated. */
  readonly rowsMax?: number;
}

/** What is believed of a tick's cost. */
export interface CostEstimate {
  /** Milliseconds of a tick that does nothing. */
  readonly fixedMs: number;
  /** Nanoseconds of a row of up to 64 bytes. */
  readonly nsPerRow: number;
  /** Nanoseconds of one firing of a rule; 0 while none has fired. */
  readonly nsPerFiring: number;
}

const UNIT_BYTES = 64;
/** What a row is taken to cost before any was seen, in milliseconds. */
const UNIT_MS_START = 60e-6;
const UNIT_MS_MIN = 1e-6;
/** Weight of the slope as it was: that of one tick of so many units. */
const SLOPE_UNITS = 1000;
/** Share of what earlier ticks said that is kept with each tick. */
const KEPT = 0.8;
/** Times the estimate that a tick counts at most. */
const SURPRISE_MAX = 8;
/** A tick below this is never a surprise. */
const SURPRISE_MS_MIN = 1;
/** Ticks that went over their budget until work beside them may go on all the same. */
const YIELDED_TICKS_MAX = 4;
/** After so many milliseconds without a tick nothing has to wait for one. */
const IDLE_MS = 100;

/** Decides what a tick takes on. */
export class TickBudget {
  readonly #budgetMs: number;
  readonly #rowsMax: number | undefined;
  #unitMs = UNIT_MS_START;
  #fixedMs = 0;
  #firingMs = 0;
  #firingsPerRow = 0;
  #rules = 0;
  /** Sums over the last ticks, each weighted less the older it is. */
  #weight = 0;
  #units = 0;
  #unitsSquared = 0;
  #ms = 0;
  #unitsMs = 0;
  /** When the last tick ended, what it took, and what was done beside the ticks since. */
  #endedMs = -Infinity;
  #usedMs = 0;
  #besideMs = 0;
  #yieldedTicks = 0;

  /** Begins without knowing any tick. */
  constructor(options: BudgetOptions) {
    this.#budgetMs = options.budgetMs;
    this.#rowsMax = options.rowsMax;
  }

  /** What is believed of a tick's cost. */
  get estimate(): CostEstimate {
    return {
      fixedMs: this.#fixedMs,
      nsPerRow: this.#unitMs * 1e6,
      nsPerFiring: this.#firingMs * 1e6,
    };
  }

  /** Milliseconds that a tick of so much is expected to take. */
  expectedMs(rows: number, bytes: number): number {
    const firings = Math.min(this.#rules, this.#firingsPerRow * rows);
    return this.#fixedMs + this.#unitMs * unitsOf(rows, bytes) + this.#firingMs * firings;
  }

  /** Whether a tick of so much is expected to keep the budget. */
  fits(rows: number, bytes: number): boolean {
    if (this.#rowsMax !== undefined) return rows <= this.#rowsMax;
    return this.expectedMs(rows, bytes) <= this.#budgetMs;
  }

  /**
   * Learns from a tick that ran.
   *
   * @param cost What it cost.
   * @param endedMs When it ended.
   */
  learn(cost: TickCost, endedMs: number): void {
    this.#endedMs = endedMs;
    this.#usedMs = cost.ownMs + cost.propagateMs;
    this.#besideMs = 0;
    this.#yieldedTicks++;
    this.#learnFirings(cost);
    const units = unitsOf(cost.rows, cost.bytes);
    const expected = this.#fixedMs + this.#unitMs * units;
    const ms = Math.min(cost.ownMs, Math.max(SURPRISE_MS_MIN, SURPRISE_MAX * expected));
    this.#weight = this.#weight * KEPT + 1;
    this.#units = this.#units * KEPT + units;
    this.#unitsSquared = this.#unitsSquared * KEPT + units * units;
    this.#ms = this.#ms * KEPT + ms;
    this.#unitsMs = this.#unitsMs * KEPT + units * ms;
    this.#fit();
  }

  /** Whether work beside the ticks may go on now. */
  hasRoomBeside(nowMs: number): boolean {
    return nowMs - this.#endedMs >= IDLE_MS || this.#yieldedTicks > YIELDED_TICKS_MAX ||
      this.#usedMs + this.#besideMs < this.#budgetMs;
  }

  /** Counts work that was done beside the ticks. */
  noteBeside(ms: number): void {
    this.#besideMs += ms;
    this.#yieldedTicks = 0;
  }

  /** Milliseconds of work beside the ticks since the last one. */
  get besideMs(): number {
    return this.#besideMs;
  }

  /** The line through the last ticks, held by the slope that it had. */
  #fit(): void {
    const held = SLOPE_UNITS * SLOPE_UNITS;
    const s2 = this.#unitsSquared + held, t1 = this.#unitsMs + held * this.#unitMs;
    const determinant = this.#weight * s2 - this.#units * this.#units;
    let unitMs = (this.#weight * t1 - this.#units * this.#ms) / determinant;
    let fixedMs = (this.#ms - unitMs * this.#units) / this.#weight;
    if (fixedMs < 0) {
      fixedMs = 0;
      unitMs = t1 / s2;
    }
    this.#unitMs = Math.max(UNIT_MS_MIN, unitMs);
    this.#fixedMs = fixedMs;
  }

  #learnFirings({ rows, propagateMs, fired, rules }: TickCost): void {
    this.#rules = rules;
    if (rows === 0) return;
    this.#firingsPerRow += (fired / rows - this.#firingsPerRow) * (1 - KEPT) * 2;
    if (fired === 0) return;
    const firingMs = propagateMs / fired;
    if (this.#firingMs === 0) this.#firingMs = firingMs;
    else {
      const counted = Math.min(firingMs, SURPRISE_MAX * this.#firingMs);
      this.#firingMs += (counted - this.#firingMs) * (1 - KEPT) * 2;
    }
  }
}

function unitsOf(rows: number, bytes: number): number {
  return rows + bytes / UNIT_BYTES;
}
