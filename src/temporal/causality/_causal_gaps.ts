/**
 * The senders of which messages are missing, and when each is to be asked for again.
 *
 * A number that was seen (a later message of the sender, a message that depends on it, what another node says that it has)
 * proves that all up to it were sent. What of that is neither settled nor here is missing. It may just be on its
 * way, so the first request waits a little; each further one waits twice as long as the last, up to a bound, and begins
 * anew when something of that sender arrived. Per sender and not per message: a lost link loses many in a row.
 *
 * Cost: an object a sender with a gap; what is missing is worked out only for a request that is due.
 */
import { assert } from "../../base/assert.ts";
import { NodeCounts } from "./_causal_counts.ts";
import type { WaitingMessages } from "./_causal_waiting.ts";
import type { MissingRange } from "./causal_message.ts";

/** A sender of which something is missing. */
export interface Gap {
  readonly node: number;
  /** Largest number that is known to have been sent. */
  highest: number;
  /** What was known to be missing at `sinceMs` goes up to this number: that is what a timeout counts for. */
  windowLast: number;
  sinceMs: number;
  /** When it was last overdue and looked at. */
  triedMs: number;
  /** Whether the window was told to be overdue. */
  isReported: boolean;
  nextRequestMs: number;
  delayMs: number;
}

/** All gaps, by sender. */
export class Gaps {
  readonly #gaps = new Map<number, Gap>();
  /** Largest number noted of each sender, so that what is known already costs a load. */
  readonly #noted = new NodeCounts();
  readonly #requestAfterMs: number;
  readonly #requestEveryMsMax: number;

  constructor(requestAfterMs: number, requestEveryMsMax: number) {
    this.#requestAfterMs = requestAfterMs;
    this.#requestEveryMsMax = requestEveryMsMax;
  }

  /** How many senders there are. */
  get size(): number {
    return this.#gaps.size;
  }

  /** The gaps. */
  all(): IterableIterator<Gap> {
    return this.#gaps.values();
  }

  /** The gap of a sender. */
  of(node: number): Gap | undefined {
    return this.#gaps.get(node);
  }

  /** The largest number that was ever noted of a sender: up to it, it has a gap or all is settled. */
  noted(node: number): number {
    return this.#noted.get(node);
  }

  /** Notes that a message was sent that is not settled. */
  note(node: number, sequence: number, nowMs: number): void {
    this.#noted.set(node, Math.max(sequence, this.#noted.get(node)));
    const gap = this.#gaps.get(node);
    if (gap !== undefined) {
      if (sequence > gap.highest) gap.highest = sequence;
      return;
    }
    this.#gaps.set(node, {
      node,
      highest: sequence,
      windowLast: sequence,
      sinceMs: nowMs,
      triedMs: -Infinity,
      isReported: false,
      nextRequestMs: nowMs + this.#requestAfterMs,
      delayMs: this.#requestAfterMs,
    });
  }

  /** A message of a sender was settled: the gap may be closed, and if not the other end is alive. */
  settled(node: number, sequence: number): void {
    const gap = this.#gaps.get(node);
    if (gap === undefined) return;
    if (sequence >= gap.highest) this.#gaps.delete(node);
    else gap.delayMs = this.#requestAfterMs;
  }

  /** After a request: when the next one is due. */
  asked(gap: Gap, nowMs: number): void {
    gap.delayMs = Math.min(this.#requestEveryMsMax, Math.max(1, 2 * gap.delayMs));
    gap.nextRequestMs = nowMs + gap.delayMs;
  }

  /** What was missing at first is no longer: the time counts anew for what came to be missing since. */
  nextWindow(gap: Gap, nowMs: number): void {
    gap.windowLast = gap.highest;
    gap.sinceMs = nowMs;
    gap.isReported = false;
  }

  /** Gaps are open. */
  checkInvariants(settledOf: (node: number) => number): void {
    for (const { node, highest, windowLast } of this.#gaps.values()) {
      assert(highest > settledOf(node), "A gap ends above what is settled");
      assert(windowLast <= highest, "A window ends with its gap");
      assert(highest === this.#noted.get(node), "A gap ends with the largest number noted");
    }
  }
}

/** Numbers of the messages of some senders that wait here, rising. */
export function sequencesHere<T>(
  gaps: readonly Gap[],
  waiting: WaitingMessages<T>,
): Map<number, number[]> {
  const here = new Map<number, number[]>(gaps.map(({ node }) => [node, []]));
  waiting.forEach((_, { node, sequence }) => here.get(node)?.push(sequence));
  for (const sequences of here.values()) sequences.sort((a, b) => a - b);
  return here;
}

/** What is missing of some senders: above what is settled, up to what is known, less what waits here. */
export function missingRanges<T>(
  gaps: readonly Gap[],
  waiting: WaitingMessages<T>,
  settledOf: (node: number) => number,
  rangesMax = Infinity,
): MissingRange[] {
  const here = sequencesHere(gaps, waiting), ranges: MissingRange[] = [];
  for (const { node, highest } of gaps) {
    let first = settledOf(node) + 1, left = rangesMax;
    for (const sequence of here.get(node)!) {
      if (first < sequence && left-- > 0) ranges.push({ node, first, last: sequence - 1 });
      first = sequence + 1;
    }
    if (first <= highest && left > 0) ranges.push({ node, first, last: highest });
  }
  return ranges;
}
