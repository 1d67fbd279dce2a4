/**
 * Sending: the side of a thread that sends batches to the bus of another one.
 *
 * Batches go through the thread's own ring in the order in which they were submitted; where it is full they
 * wait here, so none is ever lost. Receipts settle as answers come.
 *
 * Cost: a copy of the batch on each side.
 */

import { checkInteger, MmsbError, PRODUCER_BATCHES_MAX } from "../base/mod.ts";
import type { DeltaBatch } from "../physical/mod.ts";
import { MailRing } from "../propagation/mod.ts";
import { packBatch, unpackAnswer } from "./_batch_mail.ts";
import { SEAT_CLOSED, SEAT_TAKEN, type SharedParts } from "./_sharing.ts";
import type { BatchReceipt } from "./reports.ts";

const LOOK_MS = 1000;
const RETRY_MS = 5;

interface Sent {
  readonly batch: DeltaBatch;
  readonly resolve: (receipt: BatchReceipt) => void;
  readonly reject: (error: MmsbError) => void;
}

interface Waiting {
  readonly length: number;
  readonly write: (bytes: Uint8Array) => void;
}

interface Seat {
  readonly words: Int32Array;
  readonly batches: MailRing;
  readonly answers: MailRing;
}

/** Sends batches to the bus of another thread. */
export class Sending {
  readonly #shared: SharedParts;
  #producer: number;
  #seat: Seat | undefined;
  #number = 0;
  readonly #sent = new Map<number, Sent>();
  #waiting: Waiting[] = [];
  #isListening = false;
  #isClosed = false;

  /** Sends as a producer, with a number of its own where none is given. */
  constructor(shared: SharedParts, producer: number | undefined) {
    this.#shared = shared;
    this.#producer = producer ?? 0;
  }

  /**
   * Sends a batch that was checked to be one.
   *
   * @throws {MmsbError} `limit` where no place is left or the batch is too large for a message,
   * `memory-pressure` where too many wait for the bus to tick, `closed` where the bus was closed.
   */
  submit(batch: DeltaBatch, producer: number | undefined): Promise<BatchReceipt> {
    if (this.#sent.size >= PRODUCER_BATCHES_MAX) {
      throw new MmsbError(
        "memory-pressure",
        `Cannot send more than ${PRODUCER_BATCHES_MAX} batches before the bus ticks: await receipts first`,
        { values: { sent: this.#sent.size } },
      );
    }
    const seat = this.#seat ??= this.#sitDown();
    if (this.#isClosed || Atomics.load(seat.words, SEAT_CLOSED) !== 0) throw closedThere();
    const number = this.#number + 1 >>> 0;
    const packed = packBatch(number, this.#numberOf(producer), batch);
    if (this.#waiting.length > 0 || !seat.batches.post(packed.length, packed.write)) {
      this.#waiting.push(packed);
    }
    this.#number = number;
    batch.submitted = true;
    const { promise, resolve, reject } = Promise.withResolvers<BatchReceipt>();
    promise.catch(() => {});
    this.#sent.set(number, { batch, resolve, reject });
    if (!this.#isListening) void this.#listen(seat);
    return promise;
  }

  /** Gives the place back; what was sent goes on, and what waits here is refused. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#refuse(
      new MmsbError("closed", "Cannot hear of the batch: this thread left the bus before its tick"),
    );
  }

  #numberOf(producer: number | undefined): number {
    if (producer !== undefined) return producer;
    if (this.#producer === 0) {
      this.#producer = Atomics.add(new Int32Array(this.#shared.producers), 0, 1);
    }
    return this.#producer;
  }

  #sitDown(): Seat {
    for (const { words: buffer, batches, answers } of this.#shared.seats) {
      const words = new Int32Array(buffer);
      if (Atomics.compareExchange(words, SEAT_TAKEN, 0, 1) !== 0) continue;
      return { words, batches: new MailRing(batches), answers: new MailRing(answers) };
    }
    throw new MmsbError(
      "limit",
      `Cannot send batches from more than ${this.#shared.seats.length} threads with one handle: share the bus again`,
      { values: { seats: this.#shared.seats.length } },
    );
  }

  /** Hears of answers as long as any is to come. */
  async #listen(seat: Seat): Promise<void> {
    this.#isListening = true;
    try {
      while (this.#sent.size > 0) {
        this.#flush(seat);
        while (!seat.answers.isEmpty) seat.answers.take((bytes) => this.#settle(bytes));
        if (this.#sent.size === 0) return;
        if (Atomics.load(seat.words, SEAT_CLOSED) !== 0) return this.#refuse(closedThere());
        await seat.answers.whenPosted(this.#waiting.length > 0 ? RETRY_MS : LOOK_MS);
      }
    } finally {
      this.#isListening = false;
    }
  }

  #flush({ batches }: Seat): void {
    while (this.#waiting.length > 0) {
      const [oldest] = this.#waiting;
      if (!batches.post(oldest.length, oldest.write)) return;
      this.#waiting.shift();
    }
  }

  #settle(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const { number, receipt, error } = unpackAnswer(bytes), sent = this.#sent.get(number);
    if (sent === undefined) return;
    this.#sent.delete(number);
    sent.batch.submitted = false;
    if (receipt !== undefined) sent.resolve(receipt);
    else sent.reject(MmsbError.fromJSON(error!));
  }

  #refuse(error: MmsbError): void {
    this.#waiting = [];
    for (const [number, { batch, reject }] of this.#sent) {
      this.#sent.delete(number);
      batch.submitted = false;
      reject(error);
    }
  }
}

/** Checks the producer of a thread. */
export function checkProducer(producer: number | undefined): number | undefined {
  return producer === undefined ? undefined : checkInteger("producer", producer, 1, 0xffff_ffff);
}

function closedThere(): MmsbError {
  return new MmsbError("closed", "Cannot send the batch: its bus was closed");
}
