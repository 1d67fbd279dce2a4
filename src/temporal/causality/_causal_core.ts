/**
 * What a causal queue holds, and how a message comes from waiting to ready.
 *
 * Of each node one count says up to where its messages are *settled*: ready, taken or lost. A message whose vector names
 * nothing above that (its sender's entry may be the next) is settled itself and goes to the end of the ready
 * list, so what it depends on stands before it there. Each one that is settled wakes those that waited for it, in
 * a loop over the ready list and not by recursion.
 *
 * The rules are here and work on what was checked; calls, clocks and refusals of a caller are `causal_queue.ts`.
 *
 * Cost: a look at each entry of a vector when its message comes, and once more for one that waits.
 */
import { assert } from "../../base/assert.ts";
import type { AwaitedCounts } from "./_causal_awaited.ts";
import type { Columns } from "./_causal_columns.ts";
import { NodeCounts } from "./_causal_counts.ts";
import { type Gap, type Gaps, missingRanges } from "./_causal_gaps.ts";
import { ReadyMessages } from "./_causal_ready.ts";
import { throwAhead, throwContradicts, throwOwn } from "./_causal_refusals.ts";
import { NO_SLOT, WaitingMessages } from "./_causal_waiting.ts";
import type { CausalMessage, MissingRange } from "./causal_message.ts";
import type { HybridCausalClock } from "./hybrid_causal_clock.ts";
import { columnsOf } from "./vector_clock.ts";

/** The messages of a causal queue. */
export class CausalCore<T> {
  readonly ready: ReadyMessages<T> = new ReadyMessages();
  readonly waiting: WaitingMessages<T> = new WaitingMessages();
  readonly gaps: Gaps;
  readonly #clock: HybridCausalClock;
  readonly #aheadMax: number;
  readonly #settled = new NodeCounts();
  /** What the clock last said that this node has sent. */
  #sentBefore = 0;
  #lost = 0;
  /** While losses are applied: what is waited for. */
  #awaited: AwaitedCounts | undefined;

  constructor(clock: HybridCausalClock, aheadMax: number, gaps: Gaps) {
    this.#clock = clock;
    this.#aheadMax = aheadMax;
    this.gaps = gaps;
    for (const [node, count] of clock.vector().entries()) this.#settled.set(node, count);
  }

  /** How many messages were declared lost. */
  get lost(): number {
    return this.#lost;
  }

  /** Up to which number the messages of a node are settled; of this node, were sent. */
  settledOf(node: number): number {
    return node === this.#clock.node ? this.#clock.sent : this.#settled.get(node);
  }

  /** Whether a message is settled or waits here. */
  isKnown(node: number, sequence: number): boolean {
    return sequence <= this.settledOf(node) ||
      (this.waiting.count > 0 && this.waiting.has(node, sequence));
  }

  /** Refuses more messages of this node than it sent. */
  requireSent(count: number): void {
    if (count <= this.#sentBefore) return;
    this.#sentBefore = this.#clock.sent;
    if (count > this.#sentBefore) throwOwn(count, this.#sentBefore, this.#clock.node);
  }

  /** Looks at all entries, refuses what cannot be, and gives the place of the last that is not met, or −1. Which one is waited for does not matter. */
  examine({ node: sender, sequence }: CausalMessage<T>, columns: Columns): number {
    const { nodes, counts, start, size } = columns, own = this.#clock.node;
    let unmet = -1, named = 0;
    for (let i = start + size - 1; i >= start; i--) {
      const node = nodes[i], count = counts[i];
      if (node === sender) named = count;
      if (node === own) {
        this.requireSent(count);
        continue;
      }
      const ahead = count - this.#settled.get(node);
      if (ahead <= 0 || (ahead === 1 && node === sender)) continue;
      if (ahead > this.#aheadMax) throwAhead(node, count, count - ahead, this.#aheadMax);
      if (unmet === -1) unmet = i;
    }
    if (named !== sequence) throwContradicts(sender, sequence, named);
    return unmet;
  }

  /** Takes in a message that waits for nothing, and what waited for it. */
  settle(message: CausalMessage<T>, bytes: number): void {
    this.#settle(message, bytes);
    if (this.waiting.count > 0) this.#cascade(this.ready.count - 1);
  }

  /** Takes in a message that waits for the entry at a place of its vector. */
  hold(message: CausalMessage<T>, columns: Columns, place: number, bytes: number): void {
    this.#wait(this.waiting.add(message, bytes), message, columns, place);
  }

  /** Notes all that a vector says was sent and that is not settled. */
  noteMissing({ nodes, counts, start, size }: Columns, nowMs: () => number): void {
    const { gaps } = this;
    for (let i = start; i < start + size; i++) {
      const node = nodes[i], count = counts[i];
      if (count <= gaps.noted(node)) continue;
      const settled = this.settledOf(node);
      if (count > settled) gaps.note(node, Math.min(count, settled + this.#aheadMax), nowMs());
    }
  }

  /** What is missing of some senders. */
  missingOf(gaps: readonly Gap[], rangesMax?: number): MissingRange[] {
    return missingRanges(gaps, this.waiting, (node) => this.settledOf(node), rangesMax);
  }

  /** Takes all messages of a sender up to a number as settled, none of which waits here, and wakes what waited for them. */
  lose(node: number, last: number, awaited: AwaitedCounts): void {
    const { waiting } = this, start = this.ready.count;
    this.#lost += last - this.settledOf(node);
    this.#settled.set(node, last);
    this.gaps.settled(node, last);
    this.#awaited = awaited;
    for (let count = awaited.shift(node, last); count > 0; count = awaited.shift(node, last)) {
      this.#lookAgain(waiting.wake(node, count));
    }
    this.#cascade(start);
    this.#awaited = undefined;
  }

  /** Checks what must always hold. */
  checkInvariants(): void {
    const settledOf = (node: number) => this.settledOf(node);
    this.ready.checkInvariants();
    this.waiting.checkInvariants((node, count) => count <= settledOf(node));
    this.waiting.forEach((_, { node, sequence }) => {
      assert(sequence > settledOf(node), "A waiting message is not settled");
      assert((this.gaps.of(node)?.highest ?? 0) >= sequence, "A waiting message is known of");
    });
    this.gaps.checkInvariants(settledOf);
    for (const [node, count] of this.#clock.vector().entries()) {
      assert(count <= settledOf(node), "What was delivered is settled");
    }
  }

  #nextUnmet({ node: sender }: CausalMessage<T>, columns: Columns, place: number): number {
    const { nodes, counts, start } = columns, own = this.#clock.node;
    for (let i = place; i >= start; i--) {
      const node = nodes[i], ahead = counts[i] - this.#settled.get(node);
      if (ahead > (node === sender ? 1 : 0) && node !== own) return i;
    }
    return -1;
  }

  #settle(message: CausalMessage<T>, bytes: number): void {
    const { node, sequence } = message;
    this.#settled.set(node, sequence);
    this.ready.push(message, bytes);
    if (this.gaps.size > 0) this.gaps.settled(node, sequence);
  }

  /** Wakes what waits for the ready messages from a place on; those become ready messages themselves. */
  #cascade(start: number): void {
    const { ready, waiting } = this;
    for (let i = start; i < ready.count && waiting.count > 0; i++) {
      const { node, sequence } = ready.at(i);
      this.#lookAgain(waiting.wake(node, sequence));
    }
    waiting.shrink();
  }

  #lookAgain(woken: number): void {
    const { waiting } = this;
    for (let slot = woken; slot !== NO_SLOT;) {
      const next = waiting.next(slot), message = waiting.message(slot);
      const columns = columnsOf(message.vector);
      const unmet = this.#nextUnmet(message, columns, waiting.place(slot));
      if (unmet === -1) {
        const bytes = waiting.bytes(slot);
        waiting.remove(slot);
        this.#settle(message, bytes);
      } else {
        this.#wait(slot, message, columns, unmet);
      }
      slot = next;
    }
  }

  #wait(slot: number, { node: sender }: CausalMessage<T>, columns: Columns, place: number): void {
    const node = columns.nodes[place], named = columns.counts[place];
    const count = node === sender ? named - 1 : named;
    this.waiting.wait(slot, node, count, place);
    this.#awaited?.add(node, count);
  }
}
