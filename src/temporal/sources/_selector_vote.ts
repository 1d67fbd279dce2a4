/**
 * Which sources tell the truth, by a vote: each says between which two moments true time lies, and where most of them
 * meet, it lies. A source whose interval meets no such place is a falseticker. After K. A. Marzullo, "Maintaining the
 * time in a distributed system" (1984), and RFC 5905 11.2.1.
 *
 * A vote needs more than half of those who vote. Two that contradict each other have none, nor have three of which
 * one agrees with both others: then nobody is called false, and the vote is disputed.
 *
 * The system's clock and the daemon that sets it are one witness, not two: with a daemon there, the system's clock
 * is judged and does not vote.
 *
 * A source that was good and that nobody vouches for any more is heard as long as it has a time: its bound has gone on growing.
 * Else a liar that the others had outvoted would be believed as soon as they fall silent.
 *
 * Cost: n² comparisons for n sources; there are a handful.
 */
import type { ClockKind } from "./clock_source.ts";

/** One source as the vote and the rule of selection see it, all at one moment. */
export interface Candidate {
  /** Where its time comes from. */
  readonly kind: ClockKind;
  /** Whether it has a time: its bound is a number, and not Infinity. */
  hasTime: boolean;
  /** Whether somebody vouches for it. */
  isSynchronised: boolean;
  /** Whether its interval counts in the vote; the rule says it, as it knows who was good before. */
  isHeard: boolean;
  /** Earliest moment that true time can be by it, in ns from any moment that all share. */
  low: number;
  /** Latest moment that true time can be by it. */
  high: number;
  /** The bound that it states, in ns. */
  errorNs: number;
}

/** What the vote says. */
export interface Vote {
  /** Whether those who vote contradict each other and no majority says who is right. */
  readonly isDisputed: boolean;
  /** Places of those that a majority calls false. */
  readonly falsetickers: ReadonlySet<number>;
}

const AGREED: Vote = { isDisputed: false, falsetickers: new Set() };
const DISPUTED: Vote = { isDisputed: true, falsetickers: new Set() };

/**
 * Holds the vote.
 *
 * @param candidates The sources.
 * @returns Who is false, and whether it is disputed.
 */
export function vote(candidates: readonly Candidate[]): Vote {
  const heard = candidates.filter(({ isHeard }) => isHeard);
  const hasDaemon = heard.some(({ kind }) => kind === "daemon");
  const voters = heard.filter(({ kind }) => !(hasDaemon && kind === "system"));
  if (voters.length === 0) return AGREED;

  // A place where most meet begins where one of them begins.
  let most = 0;
  let regions: { low: number; high: number }[] = [];
  for (const low of new Set(voters.map(({ low }) => low))) {
    const there = voters.filter((voter) => voter.low <= low && low <= voter.high);
    if (there.length < most) continue;
    if (there.length > most) regions = [];
    most = there.length;
    regions.push({ low, high: Math.min(...there.map(({ high }) => high)) });
  }
  if (most * 2 <= voters.length || regions.length > 1) return DISPUTED;

  const [region] = regions;
  const falsetickers = new Set<number>();
  candidates.forEach((candidate, index) => {
    const isAway = candidate.low > region.high || candidate.high < region.low;
    if (candidate.isHeard && isAway) falsetickers.add(index);
  });
  return falsetickers.size === 0 ? AGREED : { isDisputed: false, falsetickers };
}
