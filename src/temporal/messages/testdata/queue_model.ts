/** The obvious queue: an array of messages, looked through from end to end at each step. */

import { deadlineClass } from "../deadline_class.ts";
import type { TemporalMessage } from "../message.ts";
import type { PushOutcome } from "../message_batch.ts";

interface Entry {
  readonly message: TemporalMessage;
  /** When it could have been delivered but for its dependencies. */
  readonly waitsFromUs: number;
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
    const entry = { message, waitsFromUs: Math.max(this.nowUs, message.validFromUs) };
    this.entries.push(entry);
    return this.stateOf(entry);
  }

  stateOf(entry: Entry): "held" | "waiting" | "ready" {
    if (entry.message.validFromUs > this.nowUs) return "held";
    return this.#isMet(entry) ? "ready" : "waiting";
  }

  pop(): TemporalMessage | undefined {
    const ready = this.entries.filter((entry) => this.stateOf(entry) === "ready");
    ready.sort((a, b) => this.#compare(a.message, b.message));
    if (ready.length === 0) return undefined;
    const [{ message }] = ready;
    this.entries = this.entries.filter((entry) => entry.message !== message);
    this.delivered.push(message.id);
    return message;
  }

  #isMet({ message }: Entry): boolean {
    return message.dependencies.every((id) => this.delivered.includes(id));
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
