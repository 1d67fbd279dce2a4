/** The obvious queue: an array of messages, looked through from end to end at each step. */

import { deadlineClass } from "../deadline_class.ts";
import type { TemporalMessage } from "../message.ts";
import type { PushOutcome } from "../message_batch.ts";

interface Entry {
  readonly message: TemporalMessage;
  /** When it could have been delivered but for its dependencies. */
  readonly waitsFromUs: number;
  /** Dependencies for which it waits no longer, though they were not delivered. */
  readonly letGo: Set<bigint>;
}

/** What a queue must do. */
export class QueueModel {
  nowUs = 0;
  entries: Entry[] = [];
  readonly delivered: bigint[] = [];
  readonly ended: string[] = [];
  pushed = 0;
  expired = 0;
  timedOut = 0;
  dropped = 0;
  duplicates = 0;
  readonly #capacity: number;
  readonly #timeoutUs: number;

  constructor(capacity: number, timeoutUs: number) {
    this.#capacity = capacity;
    this.#timeoutUs = timeoutUs;
  }

  /** Goes on to a time, each µs on its own where something is there. */
  advance(nowUs: number): void {
    this.nowUs = Math.max(this.nowUs, nowUs);
    this.entries = this.entries.filter((entry) => {
      const { message } = entry;
      const outAtUs = this.#isMet(entry) ? Infinity : entry.waitsFromUs + this.#timeoutUs;
      const overAtUs = message.validUntilUs + 1;
      if (Math.min(outAtUs, overAtUs) > this.nowUs) return true;
      if (overAtUs <= outAtUs) this.expired++;
      else this.timedOut++;
      this.ended.push(`${message.id} ${overAtUs <= outAtUs ? "expired" : "timed-out"}`);
      return false;
    });
  }

  /** Undefined: there is no room. */
  push(message: TemporalMessage): PushOutcome | undefined {
    if (this.entries.length >= this.#capacity) return undefined;
    const isThere = this.entries.some((entry) => entry.message.id === message.id);
    if (isThere || this.delivered.includes(message.id)) {
      this.duplicates++;
      return "duplicate";
    }
    this.pushed++;
    if (message.validUntilUs < this.nowUs) {
      this.expired++;
      this.ended.push(`${message.id} expired`);
      return "expired";
    }
    const waitsFromUs = Math.max(this.nowUs, message.validFromUs);
    const entry = { message, waitsFromUs, letGo: new Set<bigint>() };
    this.entries.push(entry);
    return this.stateOf(entry);
  }

  stateOf(entry: Entry): "held" | "waiting" | "ready" {
    if (entry.message.validFromUs > this.nowUs) return "held";
    return this.#isMet(entry) ? "ready" : "waiting";
  }

  first(): TemporalMessage | undefined {
    const ready = this.entries.filter((entry) => this.stateOf(entry) === "ready");
    ready.sort((a, b) => this.#compare(a.message, b.message));
    return ready[0]?.message;
  }

  pop(): TemporalMessage | undefined {
    const message = this.first();
    if (message === undefined) return undefined;
    this.entries = this.entries.filter((entry) => entry.message !== message);
    this.delivered.push(message.id);
    return message;
  }

  drop(id: bigint): boolean {
    const kept = this.entries.filter((entry) => entry.message.id !== id);
    if (kept.length === this.entries.length) return false;
    this.entries = kept;
    this.dropped++;
    this.ended.push(`${id} dropped`);
    for (const { letGo } of kept) letGo.add(id);
    return true;
  }

  release(id: bigint): boolean {
    const entry = this.entries.find((one) => one.message.id === id);
    if (entry === undefined || this.#isMet(entry)) return false;
    for (const dependency of entry.message.dependencies) entry.letGo.add(dependency);
    return true;
  }

  /** What each message still waits for. */
  waiting(): string[] {
    return this.entries.filter((entry) => !this.#isMet(entry)).map((entry) =>
      `${entry.message.id} for ${this.#needs(entry).sort()}`
    );
  }

  #isMet(entry: Entry): boolean {
    return this.#needs(entry).length === 0;
  }

  #needs({ message, letGo }: Entry): bigint[] {
    return [...new Set(message.dependencies)]
      .filter((id) => !letGo.has(id) && !this.delivered.includes(id));
  }

  #compare(a: TemporalMessage, b: TemporalMessage): number {
    return deadlineClass(a.validUntilUs, this.nowUs, CLASSES_US) -
        deadlineClass(b.validUntilUs, this.nowUs, CLASSES_US) ||
      b.priority - a.priority || Number(a.timestamp - b.timestamp) || a.sequence - b.sequence ||
      a.node - b.node || Number(a.id - b.id);
  }
}

/** Bounds small enough that random windows meet all classes. */
export const CLASSES_US: [number, number, number] = [10, 100, 1000];
