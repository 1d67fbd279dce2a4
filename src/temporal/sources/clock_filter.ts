/**
 * What one server has said lately: eight stages, as the clock filter of RFC 5905 section 10 has, each one burst of
 * questions.
 *
 * RFC 5905 takes the sample of the shortest round trip, as it was held up least. Here all samples are used, as intervals:
 *
 * ```text
 * true time − counter   lies in   [offset − delay / 2 − root,  offset + delay / 2 + root]
 * ```
 *
 * The lower end is where the answer took no time, the upper one where the question took none. True time lies in all of
 * these intervals, so it lies in what they have in common: its lower end comes from the quickest answer, its upper one from
 * the quickest question, and they may be of different samples. It is never wider than that of the shortest round trip.
 * Older stages are moved along the oscillator's rate and widened by what that may be wrong by.
 *
 * Where a new stage has nothing in common with the older ones, a clock was set: the older ones are forgotten.
 *
 * The rate is that of a robust line through the middles of the stages. The constant asymmetry of one server's path does not
 * disturb it, so each server has a line of its own.
 *
 * Cost: a few additions a stage; the line some 0.1 ms a sync.
 */
import type { SntpSample } from "./sntp_check.ts";
import { fitRobustLine, type RobustLine } from "./robust_line.ts";

/** Stages, as in RFC 5905. */
const STAGES_MAX = 8;

/** Points of the line. */
const POINTS_MAX = 32;

/** A crystal wanders with the temperature, so what is older says little of its rate now, s. */
const SPAN_S_MAX = 7200;

/** Below so many points, and so many seconds, nothing is said about the rate. */
const POINTS_MIN = 8;
const SPAN_S_MIN = 16;

/** One end of an interval, and where it comes from. */
export interface FilterEdge {
  /** Where it is: true time less the counter, ns. */
  readonly ns: number;
  /** The sample that puts it there. */
  readonly sample: SntpSample;
  /** How much of it is for the age of the sample and the length of the exchange, ns. */
  readonly agedNs: number;
}

/** Where true time less the counter lies. */
export interface FilterInterval {
  /** Its lower end. */
  readonly low: FilterEdge;
  /** Its upper end. */
  readonly high: FilterEdge;
}

interface Stage extends FilterInterval {
  readonly steadyNs: number;
  /** The sample of the shortest round trip. */
  readonly best: SntpSample;
}

/** How the counter runs: what is to be added to it a unit of time, and how wrong that may be. */
export interface FilterRate {
  /** Parts per million of time that the counter runs slow. */
  readonly ratePpm: number;
  /** What that may be wrong by. */
  readonly growthPpm: number;
}

/** The filter of one server. */
export class ClockFilter {
  /** Newest first. */
  #stages: Stage[] = [];
  readonly #seconds: number[] = [];
  readonly #offsets: number[] = [];
  #fit: RobustLine | undefined;
  #restarts = 0;

  /** Whether it has said nothing. */
  get isEmpty(): boolean {
    return this.#stages.length === 0;
  }

  /** The newest burst's sample of the shortest round trip. */
  get newest(): SntpSample | undefined {
    return this.#stages[0]?.best;
  }

  /** How often older stages were forgotten as a newer one contradicted them. */
  get restarts(): number {
    return this.#restarts;
  }

  /** The line through its offsets, ns over seconds; undefined while they are too few. */
  get fit(): RobustLine | undefined {
    return this.#fit;
  }

  /** Root of the mean square of what offsets differ from the newest by (RFC 5905 section 10), ns. */
  get jitterNs(): number {
    const [newest, ...older] = this.#stages.map(({ low, high }) => (low.ns + high.ns) / 2);
    if (older.length === 0) return 0;
    const squares = older.reduce((sum, offset) => sum + (offset - newest) ** 2, 0);
    return Math.sqrt(squares / older.length);
  }

  /**
   * Takes the samples of one burst.
   *
   * @param samples At least one.
   * @param rate How the counter runs.
   * @returns Why they are not taken; undefined if they are.
   */
  add(samples: readonly SntpSample[], rate: FilterRate): string | undefined {
    const steadyNs = Math.max(...samples.map((sample) => sample.steadyNs));
    const common = intervalAt(samples.map(stageOf), steadyNs, rate);
    if (common === undefined) return "its clock jumped between its answers";
    const best = samples.reduce((a, b) => b.delayNs < a.delayNs ? b : a);
    const before = this.interval(steadyNs, rate);
    if (
      before !== undefined && (before.low.ns > common.high.ns || before.high.ns < common.low.ns)
    ) {
      this.clear();
      this.#restarts++;
    }
    this.#stages = [{ ...common, steadyNs, best }, ...this.#stages].slice(0, STAGES_MAX);
    this.#seconds.push(steadyNs / 1e9);
    this.#offsets.push((common.low.ns + common.high.ns) / 2);
    while (this.#hasOldPoint()) {
      this.#seconds.shift();
      this.#offsets.shift();
    }
    this.#fit = this.#fitted();
    return undefined;
  }

  /**
   * What all stages have in common at a moment.
   *
   * @param steadyNs The moment, by the counter.
   * @param rate How the counter runs.
   * @returns The interval; undefined if there is none.
   */
  interval(steadyNs: number, rate: FilterRate): FilterInterval | undefined {
    // An older stage that a better known rate has moved away says nothing any more: the newer ones count.
    for (let count = this.#stages.length; count > 0; count--) {
      const found = intervalAt(this.#stages.slice(0, count), steadyNs, rate);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Moves all offsets, as counter and time are counted from elsewhere. */
  shift(ns: number): void {
    const moved = (edge: FilterEdge): FilterEdge => ({ ...edge, ns: edge.ns + ns });
    this.#stages = this.#stages.map((stage) => ({
      ...stage,
      low: moved(stage.low),
      high: moved(stage.high),
      best: { ...stage.best, offsetNs: stage.best.offsetNs + ns },
    }));
    for (let i = 0; i < this.#offsets.length; i++) this.#offsets[i] += ns;
  }

  /** Forgets all. */
  clear(): void {
    this.#stages = [];
    this.#seconds.length = 0;
    this.#offsets.length = 0;
    this.#fit = undefined;
  }

  #hasOldPoint(): boolean {
    const count = this.#seconds.length;
    return count > POINTS_MAX ||
      count > POINTS_MIN && this.#seconds[count - 1] - this.#seconds[0] > SPAN_S_MAX;
  }

  #fitted(): RobustLine | undefined {
    const count = this.#seconds.length;
    if (count < POINTS_MIN || this.#seconds[count - 1] - this.#seconds[0] < SPAN_S_MIN) {
      return undefined;
    }
    // From the first point on, so that large numbers do not eat small differences.
    const first = this.#seconds[0], offset = this.#offsets[0];
    return fitRobustLine(
      this.#seconds.map((s) => s - first),
      this.#offsets.map((ns) => ns - offset),
    );
  }
}

/** A single sample as a stage. */
function stageOf(sample: SntpSample): Stage {
  const half = sample.delayNs / 2 + sample.rootNs;
  return {
    steadyNs: sample.steadyNs,
    low: { ns: sample.offsetNs - half, sample, agedNs: 0 },
    high: { ns: sample.offsetNs + half, sample, agedNs: 0 },
    best: sample,
  };
}

/** What stages have in common at a moment; undefined if nothing. */
function intervalAt(
  stages: readonly Stage[],
  steadyNs: number,
  { ratePpm, growthPpm }: FilterRate,
): FilterInterval | undefined {
  let low: FilterEdge | undefined, high: FilterEdge | undefined;
  for (const stage of stages) {
    const ageNs = steadyNs - stage.steadyNs;
    const movedNs = ageNs * ratePpm * 1e-6;
    // While an exchange is on its way the counter runs wrong as well.
    const lowGrowth = (Math.abs(ageNs) + stage.low.sample.delayNs) * growthPpm * 1e-6;
    const highGrowth = (Math.abs(ageNs) + stage.high.sample.delayNs) * growthPpm * 1e-6;
    const lowNs = stage.low.ns + movedNs - lowGrowth;
    const highNs = stage.high.ns + movedNs + highGrowth;
    if (low === undefined || lowNs > low.ns) {
      low = { ns: lowNs, sample: stage.low.sample, agedNs: stage.low.agedNs + lowGrowth };
    }
    if (high === undefined || highNs < high.ns) {
      high = { ns: highNs, sample: stage.high.sample, agedNs: stage.high.agedNs + highGrowth };
    }
  }
  return low === undefined || high === undefined || low.ns > high.ns ? undefined : { low, high };
}
