/**
 * A queue that gives messages in causal order: none before all that its sender had delivered when it was sent.
 *
 * A network delivers late, twice, in another order or not at all. This queue takes what comes, in any order, and gives each
 * message once, when the messages before it were given (Birman, Schiper, Stephenson, "Lightweight Causal and Atomic Group
 * Multicast", ACM TOCS 1991): it is the next of its sender, and no entry of its vector is above what is here.
 *
 * ```text
 * offer ──► next in order? ──yes──► settled ──► ready ──► take
 *                │                     ▲          │
 *                └──no──► waiting ─────┘◄─────────┘ wakes those that wait for (node, number)
 * ```
 *
 * - A message is *settled* when all that it depends on stands before it in the ready list; so a long run that one
 *   missing message held back costs one pass when it comes, in a loop, and `take` is a load.
 * - What is missing is known from what names it. {@linkcode CausalQueue.requests} says which of it to ask for now. The
 *   last message of a sender is named by nothing: let nodes tell each other their vectors now and then
 *   ({@linkcode CausalQueue.learn}).
 * - A message that never comes is overdue after a time; what then happens is stated by `onTimeout`.
 * - The hybrid clock moves when a message is offered, the vector when it is taken. So every later stamp of this node is after
 *   every message that came, and a time too far ahead is refused at the door, where nothing is changed yet.
 *
 * **Starting again.** A node goes on where it stopped if it opens its clock with the vector and the last timestamp that it
 * had: `new HybridCausalClock({ hlc, vector })` and `hlc.restore(last)`, written down as `encodeVector(clock.vector())` and
 * `hlc.peek()`, of a message that it takes together with what it does with it, of one that it sends before the network has it. What was held back
 * or not taken is missing again, and comes again. A node that has lost this takes another id: its old numbers are
 * known to others, who would take its next messages for duplicates; where one of them is named to it, it is told.
 *
 * **What it trusts.** Members of the group. A message of a liar can wait for what never was, and hold a place; it cannot
 * grow memory past the bounds, nor deliver out of order. With `onTimeout: "skip"` it can have messages declared lost
 * that its sender has yet to send, at most `aheadMax` ahead.
 *
 * Cost: some 150 ns a message in order and twice that out of order, with 10 nodes; nothing is allocated but when a
 * column grows. Waking looks at each entry of a message's vector once. `deno task anchors causal`.
 */
import { CAUSAL_REQUEST_RANGES_MAX } from "../../base/limits.ts";
import { requireNode } from "../check.ts";
import { SORTABLE_BYTES } from "../wire.ts";
import { CausalCore } from "./_causal_core.ts";
import { type Gap, Gaps } from "./_causal_gaps.ts";
import { loseOverdue, loseUpTo } from "./_causal_losses.ts";
import { type CausalSettings, causalSettings } from "./_causal_options.ts";
import { requireSequence, throwAhead, throwOwnSkip, throwTooLarge } from "./_causal_refusals.ts";
import type {
  CausalMessage,
  CausalOutcome,
  CausalQueueOptions,
  CausalQueueStats,
  MissingRange,
  OverdueRange,
} from "./causal_message.ts";
import { type HybridCausalClock, requireStamp } from "./hybrid_causal_clock.ts";
import { columnsOf, type Vector } from "./vector_clock.ts";
import { vectorBytes } from "./vector_clock_wire.ts";

/**
 * The causal queue of one node.
 *
 * @typeParam T What the messages carry.
 *
 * @example An answer that overtakes its question
 * ```ts
 * import { deepEqual, equal } from "node:assert/strict";
 * import { HybridLogicalClock } from "../hlc.ts";
 * import { HybridCausalClock } from "./hybrid_causal_clock.ts";
 *
 * const open = (node: number) =>
 *   new CausalQueue<string>({
 *     clock: new HybridCausalClock({ hlc: new HybridLogicalClock({ node, nowUs: () => 1_000_000 }) }),
 *   });
 * const alice = open(1), bob = open(2), carol = open(3);
 *
 * const question = alice.send("how much?");
 * bob.offer(question);
 * for (const { payload } of bob.deliverable()) equal(payload, "how much?");
 * const answer = bob.send("seven");
 *
 * equal(carol.offer(answer), "waiting");
 * deepEqual(carol.missing(), [{ node: 1, first: 1, last: 1 }]);
 * equal(carol.offer(question), "ready");
 * deepEqual([...carol.deliverable()].map(({ payload }) => payload), ["how much?", "seven"]);
 * equal(carol.offer(answer), "duplicate");
 * ```
 */
export class CausalQueue<T> {
  /** The clock of this node. */
  readonly clock: HybridCausalClock;
  readonly #settings: CausalSettings<T>;
  readonly #core: CausalCore<T>;
  #nowMs = 0;
  #sent = 0;
  #delivered = 0;
  #duplicates = 0;
  #full = 0;

  /**
   * Opens the queue.
   *
   * @param options The clock, the bounds and the times.
   * @throws {MmsbError} `usage` if an option is unknown or out of its range.
   */
  constructor(options: CausalQueueOptions<T>) {
    this.#settings = causalSettings(options);
    this.clock = options.clock;
    const { aheadMax, requestAfterMs, requestEveryMsMax } = this.#settings;
    this.#core = new CausalCore(
      this.clock,
      aheadMax,
      new Gaps(requestAfterMs, requestEveryMsMax),
    );
    this.#nowMs = this.#now();
  }

  /**
   * Sends a message to all others: stamps it. At this node it counts as delivered; `take` does not give it.
   *
   * @param payload What it says.
   * @returns The message, for the network. Keep it for those who will ask for it again.
   * @throws {MmsbError} `limit` at the end of timestamps or counts. Nothing is then changed.
   */
  send(payload: T): CausalMessage<T> {
    const { node, hi, lo, vector } = this.clock.send();
    this.#sent++;
    return { node, sequence: vector.get(node), hi, lo, vector, payload };
  }

  /**
   * Takes a message in that came.
   *
   * @param message The message. It is kept as it is, so nobody may change it.
   * @returns What became of it.
   * @throws {MmsbError} `usage` if it is no message, contradicts itself, or names a message of this node that was never sent;
   * `limit` if its time or a count is too far ahead, or it alone is larger than all room. Nothing is then changed.
   */
  offer(message: CausalMessage<T>): CausalOutcome {
    requireStamp(message);
    requireSequence(message.sequence);
    const { node, sequence } = message;
    const columns = columnsOf(message.vector), core = this.#core;
    const unmet = core.examine(message, columns);
    if (core.isKnown(node, sequence)) {
      this.#duplicates++;
      return "duplicate";
    }
    const bytes = this.#bytesOf(message);
    if (!this.#hasRoom(unmet === -1 ? core.ready : core.waiting, bytes)) {
      core.noteMissing(columns, this.#now);
      this.#full++;
      return "full";
    }
    this.clock.hlc.update(message.hi, message.lo);
    if (unmet === -1) {
      core.settle(message, bytes);
      return "ready";
    }
    core.hold(message, columns, unmet, bytes);
    core.noteMissing(columns, this.#now);
    return "waiting";
  }

  /**
   * Takes the next message in causal order.
   *
   * @returns The message, or nothing where none is ready.
   */
  take(): CausalMessage<T> | undefined {
    const { ready } = this.#core;
    if (ready.count === 0) return undefined;
    const message = ready.at(0);
    this.clock.deliver(message.node, message.sequence);
    // Only behind a loss can a message know more than the messages before it.
    if (this.#core.lost > 0) this.#deliverAll(message);
    this.#delivered++;
    return ready.shift();
  }

  /**
   * Takes all that is ready, one after the other, and what becomes ready meanwhile.
   *
   * @returns An iterator; a loop that ends early leaves the rest.
   */
  *deliverable(): Generator<CausalMessage<T>, void, undefined> {
    for (let message = this.take(); message !== undefined; message = this.take()) yield message;
  }

  /**
   * Learns what another node has sent or delivered, so that what is missing here is noticed, also where nothing
   * that comes names it.
   *
   * @param vector The other's vector ({@linkcode HybridCausalClock.vector}).
   * @throws {MmsbError} `usage` if it is no vector, or names a message of this node that was never sent.
   */
  learn(vector: Vector): void {
    const columns = columnsOf(vector);
    this.#core.requireSent(columns.get(this.clock.node));
    this.#core.noteMissing(columns, this.#now);
  }

  /**
   * The messages that are held back. It looks at all of them: for finding out what is wrong.
   *
   * @returns The messages, in no order.
   */
  waiting(): CausalMessage<T>[] {
    const held: CausalMessage<T>[] = [];
    this.#core.waiting.forEach((_, message) => held.push(message));
    return held;
  }

  /**
   * All that is known to be missing.
   *
   * @returns Ranges, of one sender by rising number.
   */
  missing(): MissingRange[] {
    return this.#core.missingOf([...this.#core.gaps.all()]);
  }

  /**
   * What to ask for now. A range is due some time after it was noticed, and then after twice that time each time.
   *
   * @returns Ranges, of a sender at most 64, the first ones; each sender that is due counts as asked.
   */
  requests(): MissingRange[] {
    const { gaps } = this.#core;
    if (gaps.size === 0) return [];
    const now = this.#now();
    const due = [...gaps.all()].filter((gap) => gap.nextRequestMs <= now);
    if (due.length === 0) return [];
    for (const gap of due) gaps.asked(gap, now);
    return this.#core.missingOf(due, CAUSAL_REQUEST_RANGES_MAX);
  }

  /**
   * What is overdue now: known to be missing for longer than `timeoutMs`. By `onTimeout` it is only told, once, or declared lost,
   * in which case there may be messages to take.
   *
   * @returns Ranges that were not told before.
   */
  expire(): OverdueRange[] {
    const { gaps } = this.#core, { onTimeout, timeoutMs } = this.#settings;
    if (gaps.size === 0) return [];
    const now = this.#now();
    this.#renewWindows(now);
    const due = [...gaps.all()].filter((gap) => !gap.isReported && now - gap.sinceMs >= timeoutMs);
    if (due.length === 0) return [];
    for (const gap of due) gap.triedMs = now;
    if (onTimeout === "report") return this.#report(due);
    // Without a time to wait, what was noticed later is overdue, too.
    const found = loseOverdue(
      this.#core,
      due,
      ({ windowLast, highest }) => timeoutMs === 0 ? highest : windowLast,
    );
    this.#renewWindows(now);
    return found;
  }

  /**
   * Declares messages lost: they are not waited for any longer, and are refused as duplicates if they come. Those of them that
   * wait here are dropped. For a sender that is known to be gone, and for messages that wait for each other,
   * which only a faulty sender makes.
   *
   * @param node The sender, not this node.
   * @param last The number up to which they are lost.
   * @returns How many messages were not settled before and are now lost.
   * @throws {MmsbError} `usage` if an argument is out of its range; `limit` if `last` is further ahead than `aheadMax`.
   */
  skip(node: number, last: number): number {
    requireNode(node);
    requireSequence(last);
    if (node === this.clock.node) throwOwnSkip(node);
    const settled = this.#core.settledOf(node), { aheadMax } = this.#settings;
    if (last - settled > aheadMax) throwAhead(node, last, settled, aheadMax);
    return loseUpTo(this.#core, node, last);
  }

  /**
   * When {@linkcode CausalQueue.requests} or {@linkcode CausalQueue.expire} next have something to say, for a timer.
   *
   * @returns A time of the steady clock, in ms; Infinity while nothing is missing.
   */
  nextDueMs(): number {
    let due = Infinity;
    for (const gap of this.#core.gaps.all()) {
      due = Math.min(due, gap.nextRequestMs);
      if (gap.isReported) continue;
      // Where nothing could be lost as it is another sender's turn, not at once again.
      const again = gap.triedMs + Math.max(1, this.#settings.requestEveryMsMax);
      due = Math.min(due, Math.max(gap.sinceMs + this.#settings.timeoutMs, again));
    }
    return due;
  }

  /**
   * What the queue did and holds.
   *
   * @returns Counts since it was opened, and what is here now.
   */
  stats(): CausalQueueStats {
    const { ready, waiting, gaps, lost } = this.#core;
    return {
      sent: this.#sent,
      delivered: this.#delivered,
      duplicates: this.#duplicates,
      full: this.#full,
      lost,
      localEvents: this.clock.localEvents,
      waiting: waiting.count,
      ready: ready.count,
      bytes: ready.byteCount + waiting.byteCount,
      gaps: gaps.size,
    };
  }

  /**
   * Checks what must always hold; tests call it after every step.
   *
   * @throws {MmsbAssertionError} If the queue contradicts itself.
   */
  checkInvariants(): void {
    this.clock.checkInvariants();
    this.#core.checkInvariants();
  }

  #report(due: readonly Gap[]): OverdueRange[] {
    const gaps = new Map(due.map((gap) => [gap.node, gap])), found: OverdueRange[] = [];
    for (const gap of due) gap.isReported = true;
    for (const { node, first, last } of this.#core.missingOf(due)) {
      const { windowLast, sinceMs } = gaps.get(node)!, end = Math.min(last, windowLast);
      if (first <= end) found.push({ node, first, last: end, sinceMs, lost: false });
    }
    return found;
  }

  #renewWindows(now: number): void {
    const { gaps } = this.#core;
    for (const gap of gaps.all()) {
      if (gap.windowLast <= this.#core.settledOf(gap.node)) gaps.nextWindow(gap, now);
    }
  }

  /** What a loss has brought into the vectors of later messages counts as delivered. */
  #deliverAll({ vector }: CausalMessage<T>): void {
    const { nodes, counts, start, size } = columnsOf(vector), { clock } = this;
    for (let i = start; i < start + size; i++) {
      if (nodes[i] !== clock.node) clock.deliver(nodes[i], counts[i]);
    }
  }

  #hasRoom(place: { count: number; byteCount: number }, bytes: number): boolean {
    const { pendingMax, pendingBytesMax } = this.#settings;
    if (bytes <= pendingBytesMax) {
      return place.count < pendingMax && place.byteCount + bytes <= pendingBytesMax;
    }
    throwTooLarge(bytes, pendingBytesMax);
  }

  #bytesOf({ vector, payload }: CausalMessage<T>): number {
    return SORTABLE_BYTES + vectorBytes(vector) + this.#settings.bytesOf(payload);
  }

  readonly #now = (): number => {
    const now = this.#settings.monotonicMs();
    // A clock that goes back or fails only makes a request come later.
    if (Number.isFinite(now) && now > this.#nowMs) this.#nowMs = now;
    return this.#nowMs;
  };
}
