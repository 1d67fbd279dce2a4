/**
 * Sharing: the bus's side of other threads that read it and send it batches.
 *
 * Each thread that sends has a ring of its own for batches and one for answers. The bus takes what waits
 * there before each tick, so a thread that sends never touches anything else, and one that dies in the
 * middle of sending leaves nothing behind.
 *
 * Cost: a look at each ring a tick.
 */

import { MmsbError } from "../base/mod.ts";
import { MailRing, type MailRingBuffers } from "../propagation/mod.ts";
import {
  type PageStore,
  type PublishedTick,
  SharedImage,
  type SharedImageBuffers,
} from "../physical/mod.ts";
import { errorJson, type MailedAnswer, packAnswer, unpackBatch } from "./_batch_mail.ts";
import type { TickEngine } from "./tick_engine.ts";

/** Threads that one handle lets send batches. */
const SEATS = 8;
/** Words of a seat. */
export const SEAT_TAKEN = 0, SEAT_CLOSED = 1;
/** Producers that are given a number get one from here on. */
const PRODUCER_FIRST = 65_536;

/** What `bus.share` gives: to be posted to another thread, for `StateBus.attach` there. */
export interface SharedBus {
  /** Says what it is; all else in it is for `StateBus.attach` alone. */
  readonly kind: "mmsb-shared-bus";
}

/** What a handle holds. */
export interface SharedParts extends SharedBus {
  /** The pages. */
  readonly image: SharedImageBuffers;
  /** Number for the next producer. */
  readonly producers: SharedArrayBuffer;
  /** Places for threads that send batches. */
  readonly seats: readonly SharedSeat[];
}

/** A place for a thread that sends batches. */
export interface SharedSeat {
  /** Whether it is taken, and whether the bus was closed. */
  readonly words: SharedArrayBuffer;
  /** Batches. */
  readonly batches: MailRingBuffers;
  /** What became of them. */
  readonly answers: MailRingBuffers;
}

/** What of its bus sharing needs. */
export interface SharingBus {
  /** The pages. */
  readonly store: PageStore;
  /** Shards. */
  readonly shards: number;
  /** Number of this opening of the directory. */
  readonly incarnation: number;
  /** The last tick. */
  readonly published: PublishedTick;
}

interface Seat {
  readonly words: Int32Array;
  readonly batches: MailRing;
  readonly answers: MailRing;
  /** Answers for which there was no room yet. */
  readonly waiting: Uint8Array[];
}

/** The threads that a bus was shared with. */
export class Sharing {
  /** What readers look at. */
  readonly image: SharedImage;
  readonly #seats: Seat[] = [];
  readonly #producers = new SharedArrayBuffer(8);

  /** Shares the pages of a bus. */
  constructor(bus: SharingBus) {
    this.image = new SharedImage(bus.store, bus.shards, bus.incarnation, bus.published);
    new Int32Array(this.#producers)[0] = PRODUCER_FIRST;
  }

  /** A handle for another thread, with places of its own. */
  handle(): SharedParts {
    const seats = Array.from({ length: SEATS }, () => {
      const seat: Seat = {
        words: new Int32Array(new SharedArrayBuffer(8)),
        batches: new MailRing(),
        answers: new MailRing(),
        waiting: [],
      };
      this.#seats.push(seat);
      return {
        words: seat.words.buffer as SharedArrayBuffer,
        batches: seat.batches.buffers,
        answers: seat.answers.buffers,
      };
    });
    return {
      kind: "mmsb-shared-bus",
      image: this.image.buffers,
      producers: this.#producers,
      seats,
    };
  }

  /** Queues what other threads have sent. */
  takeIn(engine: TickEngine): void {
    for (const seat of this.#seats) {
      this.#flush(seat);
      while (!seat.batches.isEmpty && engine.hasRoom) {
        const mailed = seat.batches.take(unpackBatch)!;
        const { number } = mailed;
        engine.submit(mailed.batch, mailed.producer).then(
          (receipt) => this.#answer(seat, { number, receipt }),
          (error) => this.#answer(seat, { number, error: errorJson(error) }),
        );
      }
    }
  }

  /** Tells all threads that the bus was closed: what they have sent and no tick took is refused. */
  close(): void {
    this.image.close();
    for (const seat of this.#seats) {
      this.#flush(seat);
      Atomics.store(seat.words, SEAT_CLOSED, 1);
      // An empty message wakes who waits for an answer.
      seat.answers.post(0, () => {});
    }
  }

  #answer(seat: Seat, answer: MailedAnswer): void {
    seat.waiting.push(packAnswer(answer));
    this.#flush(seat);
  }

  #flush({ answers, waiting }: Seat): void {
    while (waiting.length > 0) {
      const [oldest] = waiting;
      if (!answers.post(oldest.length, (bytes) => bytes.set(oldest))) return;
      waiting.shift();
    }
  }
}

/**
 * Checks what another thread was given.
 *
 * @throws {MmsbError} `usage` where it is no handle of a bus.
 */
export function checkShared(shared: unknown): SharedParts {
  const given = shared as Partial<SharedParts> | null | undefined;
  const isOne = typeof given === "object" && given !== null && given.kind === "mmsb-shared-bus" &&
    given.image?.control instanceof SharedArrayBuffer && Array.isArray(given.seats);
  if (isOne) return given as SharedParts;
  throw new MmsbError(
    "usage",
    "Cannot attach: give what bus.share() gave, as it came by a message",
  );
}
