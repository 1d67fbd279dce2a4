/**
 * The messages that can be taken, in an order in which all that one depends on stands before it.
 *
 * A ring that doubles when it is full and is given back when it is empty after it had grown large. Cost: a store and a
 * load; nothing is allocated in between.
 */
import { assert } from "../../base/assert.ts";
import type { CausalMessage } from "./causal_message.ts";

const CAPACITY_MIN = 64;
const CAPACITY_KEPT = 4096;

/** First in, first out. */
export class ReadyMessages<T> {
  #messages: (CausalMessage<T> | undefined)[] = new Array(CAPACITY_MIN).fill(undefined);
  #bytes = new Float64Array(CAPACITY_MIN);
  #first = 0;
  #count = 0;
  #byteCount = 0;

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Their bytes. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /** Adds one at the end. */
  push(message: CausalMessage<T>, bytes: number): void {
    if (this.#count === this.#messages.length) this.#resize(2 * this.#count);
    const place = (this.#first + this.#count++) & (this.#messages.length - 1);
    this.#messages[place] = message;
    this.#bytes[place] = bytes;
    this.#byteCount += bytes;
  }

  /** The one at a place from the front. */
  at(index: number): CausalMessage<T> {
    return this.#messages[(this.#first + index) & (this.#messages.length - 1)]!;
  }

  /** Takes the first one. */
  shift(): CausalMessage<T> {
    const place = this.#first, message = this.#messages[place]!;
    this.#messages[place] = undefined;
    this.#byteCount -= this.#bytes[place];
    this.#first = (place + 1) & (this.#messages.length - 1);
    if (--this.#count === 0 && this.#messages.length > CAPACITY_KEPT) this.#resize(CAPACITY_MIN);
    return message;
  }

  /** The counts agree with what is held. */
  checkInvariants(): void {
    let bytes = 0;
    for (let i = 0; i < this.#messages.length; i++) {
      const place = (this.#first + i) & (this.#messages.length - 1);
      assert((this.#messages[place] !== undefined) === i < this.#count, "Ready messages are dense");
      if (i < this.#count) bytes += this.#bytes[place];
    }
    assert(bytes === this.#byteCount, "The bytes of ready messages are counted");
  }

  #resize(capacity: number): void {
    const messages: (CausalMessage<T> | undefined)[] = new Array(capacity).fill(undefined);
    const bytes = new Float64Array(capacity), mask = this.#messages.length - 1;
    for (let i = 0; i < this.#count; i++) {
      messages[i] = this.#messages[(this.#first + i) & mask];
      bytes[i] = this.#bytes[(this.#first + i) & mask];
    }
    this.#messages = messages;
    this.#bytes = bytes;
    this.#first = 0;
  }
}
