/**
 * The rule by which a selector chooses: no clocks, no timers, no names, so that a model can be run beside it.
 *
 * ```text
 * tier 2  has a time, is vouched for, no majority calls it false
 * tier 1  has a time that nobody vouches for now: it was good before, so its bound went on growing, or it is the system's
 * tier 0  has no time, is a falseticker, or has a time for which nobody ever vouched, whatever bound it states
 * ```
 *
 * A source of a better tier than the selected one takes over at once. Within a tier a challenger must be better
 * for a while: its bound smaller by a factor, or not larger and its kind earlier in the chain. One that was lost
 * challenges again when it has been good for a while; it is taken sooner only where no other of its tier is left.
 * While the sources contradict each other without a majority, a good one that is selected stays.
 */
import type { ClockKind } from "./clock_source.ts";
import { type Candidate, vote } from "./_selector_vote.ts";

/** What the rule goes by. */
export interface RuleSettings {
  /** By how much smaller a challenger's bound must be. */
  readonly betterFactor: number;
  /** For how long, in ns. */
  readonly holdNs: number;
  /** For how long a source that was lost must be good before it challenges, in ns. */
  readonly failBackNs: number;
}

/** How one source stands. */
export interface Standing {
  /** 2 good, 1 has a time of use, 0 none. */
  tier: 0 | 1 | 2;
  /** Whether a majority calls it false. */
  isFalse: boolean;
  /** Whether it was good at any time. */
  wasGood: boolean;
  /** Whether it was lost after it had been good, and has not been good for long enough since. */
  isOnProbation: boolean;
  /** Since when it is good, in ns of the steady counter; NaN where it is not. */
  goodSinceNs: number;
  /** Since when it has been better than the selected one, in ns of the steady counter; NaN where it is not. */
  betterSinceNs: number;
}

/** The order of the chain: earlier wins between equals. */
const CHAIN: readonly ClockKind[] = ["ptp", "daemon", "sntp", "system", "simulated"];

/** Chooses among sources, time after time. */
export class SelectionRule {
  /** How each source stands, by its place. */
  readonly standings: Standing[] = [];
  /** The place of the selected one; −1 before the first choice. */
  selected = -1;
  /** The place of the one that somebody chose by hand; −1 for none. */
  manual = -1;
  /** Whether the sources contradict each other and no majority says who is right. */
  isDisputed = false;
  readonly #settings: RuleSettings;

  /** Nothing is selected yet. */
  constructor(count: number, settings: RuleSettings) {
    this.#settings = settings;
    for (let index = 0; index < count; index++) this.add();
  }

  /** There is one source more, behind the others. */
  add(): void {
    this.standings.push({
      tier: 0,
      isFalse: false,
      wasGood: false,
      isOnProbation: false,
      goodSinceNs: NaN,
      betterSinceNs: NaN,
    });
  }

  /**
   * Looks at the sources and chooses; the choice is in `selected`.
   *
   * @param nowNs The steady counter.
   * @param candidates The sources at this moment, by place.
   * @param settles Whether to choose the best one now, as at the start, with no regard to how long it was better.
   */
  decide(nowNs: number, candidates: readonly Candidate[], settles = false): void {
    this.#judge(nowNs, candidates);
    if (this.manual >= 0) this.#forget();
    const chosen = this.manual >= 0 ? this.manual : this.#choose(nowNs, candidates, settles);
    if (chosen === this.selected) return;
    this.selected = chosen;
    this.#forget();
  }

  /** Who is better, and for how long, is asked anew. */
  #forget(): void {
    for (const standing of this.standings) standing.betterSinceNs = NaN;
  }

  #judge(nowNs: number, candidates: readonly Candidate[]): void {
    candidates.forEach((candidate, index) => {
      const { kind, hasTime, isSynchronised } = candidate;
      // What the system's clock states while nobody keeps it is a guess.
      const wasKept = this.standings[index].wasGood && kind !== "system";
      candidate.isHeard = hasTime && (isSynchronised || wasKept);
    });
    const { isDisputed, falsetickers } = vote(candidates);
    this.isDisputed = isDisputed;
    candidates.forEach(({ kind, hasTime, isSynchronised }, index) => {
      const standing = this.standings[index];
      standing.isFalse = falsetickers.has(index);
      const isOfUse = standing.wasGood || kind === "system";
      standing.tier = !hasTime || standing.isFalse ? 0 : isSynchronised ? 2 : isOfUse ? 1 : 0;
      if (standing.tier < 2) {
        standing.goodSinceNs = NaN;
        standing.isOnProbation = standing.wasGood;
        return;
      }
      if (Number.isNaN(standing.goodSinceNs)) standing.goodSinceNs = nowNs;
      standing.wasGood = true;
      if (nowNs - standing.goodSinceNs >= this.#settings.failBackNs) standing.isOnProbation = false;
    });
  }

  #choose(nowNs: number, candidates: readonly Candidate[], settles: boolean): number {
    const { standings, selected } = this;
    const best = Math.max(...standings.map(({ tier }) => tier));
    const tier = selected < 0 ? 0 : standings[selected].tier;
    if (selected < 0 || tier < best) return this.#first(candidates, best);
    if (best === 0 || this.isDisputed && tier === 2) {
      this.#forget();
      return selected;
    }

    let chosen = selected;
    standings.forEach((standing, index) => {
      const isChallenger = standing.tier === best && index !== selected &&
        (best < 2 || !standing.isOnProbation) &&
        this.#isBetter(candidates[index], candidates[selected]);
      if (!isChallenger) {
        standing.betterSinceNs = NaN;
        return;
      }
      if (Number.isNaN(standing.betterSinceNs)) standing.betterSinceNs = nowNs;
      if (!settles && nowNs - standing.betterSinceNs < this.#settings.holdNs) return;
      if (chosen === selected || order(candidates[index], candidates[chosen]) < 0) chosen = index;
    });
    return chosen;
  }

  /** The best of a tier, of those on probation only where there is no other. */
  #first(candidates: readonly Candidate[], tier: number): number {
    const there = [...candidates.keys()].filter((index) => this.standings[index].tier === tier);
    const proven = there.filter((index) => !this.standings[index].isOnProbation);
    const some = tier === 2 && proven.length > 0 ? proven : there;
    return some.toSorted((a, b) => order(candidates[a], candidates[b]) || a - b)[0];
  }

  #isBetter(challenger: Candidate, selected: Candidate): boolean {
    if (challenger.errorNs * this.#settings.betterFactor <= selected.errorNs) return true;
    return challenger.errorNs <= selected.errorNs && rank(challenger) < rank(selected);
  }
}

/** Below 0 where the first comes first: smaller bound, then the chain. */
function order(a: Candidate, b: Candidate): number {
  return a.errorNs < b.errorNs ? -1 : a.errorNs > b.errorNs ? 1 : rank(a) - rank(b);
}

function rank({ kind }: Candidate): number {
  return CHAIN.indexOf(kind);
}
