/**
 * Shared image: the state of one bus for other threads of its process, from both sides.
 *
 * It is to threads what a mapped file is to processes, and reads the same: pages and page table as they
 * stand, a sequence that is odd while a tick is applied, names and metadata in two halves that grow. Readers
 * look at the sequence before and after and read again if a tick came between, so what they give out is of one
 * tick, slots that were freed and given out again included. A reader that finds no time between ticks asks
 * for quiet; the writer then waits a little before its next tick, and no more, so that neither starves.
 *
 * Cost: two atomic stores a tick for the writer, two atomic loads a reading; names and metadata once more.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import type { SharedArena } from "./arena.ts";
import {
  IMAGE_STATE,
  type ImageIdentity,
  MappedControl,
  type PublishedTick,
} from "./mapped_control.ts";
import { DirectoryFollower, type DirectoryParts, MappedDirectory } from "./mapped_directory.ts";
import { CONTROL_BYTES } from "./mapped_layout.ts";
import { PageStore } from "./page_store.ts";
import { memoryOf, type SharedPages, sharedPages } from "./shared_memory.ts";

/** Room for names and metadata, twice. */
const DIRECTORY_BYTES_MAX = 2 ** 28;
const SPINS = 200;
const PAUSE_MS = 0.05;
/** Most milliseconds that a tick waits for readers that find no time between ticks. */
const QUIET_MS = 20;
/** Milliseconds for which readers are not waited for after one took longer. */
const DEAF_MS = 200;

/** The buffers of an image; may be posted to other threads. */
export interface SharedImageBuffers {
  /** The pages. */
  readonly pages: SharedPages;
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** Halves of names and metadata. */
  readonly halves: readonly [SharedArrayBuffer, SharedArrayBuffer];
  /** Readers that ask for quiet. */
  readonly quiet: SharedArrayBuffer;
  /** Shards. */
  readonly shards: number;
}

/** The writer's side of a shared image. */
export class SharedImage {
  /** What other threads need. */
  readonly buffers: SharedImageBuffers;
  readonly #control: MappedControl;
  readonly #quiet: Int32Array;
  #isTicking = false;
  #deafUntilMs = -Infinity;

  /**
   * Shares a store.
   *
   * @param store The pages.
   * @param shards Shards.
   * @param incarnation Number of this opening of the directory.
   * @param published The last tick.
   * @throws {MmsbError} `usage` where the pages stand in a mapped file, `allocation` where memory is short.
   */
  constructor(store: PageStore, shards: number, incarnation: number, published: PublishedTick) {
    const pages = sharedPages(store);
    this.buffers = {
      pages,
      control: new SharedArrayBuffer(CONTROL_BYTES),
      halves: [newHalf(), newHalf()],
      quiet: new SharedArrayBuffer(8),
      shards,
    };
    this.#quiet = new Int32Array(this.buffers.quiet);
    const parts = new SharedParts(this.buffers);
    this.#control = parts.control;
    this.#control.initialise(pages.limitBytes, 0, shards);
    store.keepDirectory(new MappedDirectory(parts));
    this.#control.beginWriter(0, incarnation);
    this.#control.begin();
    this.#control.end(published);
    this.#control.state = IMAGE_STATE.live;
  }

  /** Readers wait from here on. */
  begin(): void {
    this.#giveQuiet();
    this.#isTicking = true;
    this.#control.begin();
  }

  /** Readers see the tick; nothing happens where none began. */
  end(published: PublishedTick): void {
    if (!this.#isTicking) return;
    this.#isTicking = false;
    this.#control.end(published);
  }

  /** Tells readers that nobody keeps it up any more; what they see stays. */
  close(): void {
    this.#control.state = IMAGE_STATE.clean;
  }

  #giveQuiet(): void {
    const quiet = this.#quiet;
    if (Atomics.load(quiet, 0) === 0) return;
    const started = monotonicNowMs();
    if (started < this.#deafUntilMs) return;
    for (let asked = Atomics.load(quiet, 0); asked !== 0; asked = Atomics.load(quiet, 0)) {
      const left = QUIET_MS - (monotonicNowMs() - started);
      if (left > 0) {
        Atomics.wait(quiet, 0, asked, left);
        continue;
      }
      this.#deafUntilMs = monotonicNowMs() + DEAF_MS;
      return;
    }
  }
}

/** A reader's side of a shared image. */
export class SharedImageReader {
  /** The pages; their bytes are the writer's. */
  readonly store: PageStore;
  readonly #arena: SharedArena;
  readonly #control: MappedControl;
  readonly #words: Int32Array;
  readonly #quiet: Int32Array;
  readonly #follower: DirectoryFollower;

  /** Looks at the image of another thread. */
  constructor(buffers: SharedImageBuffers) {
    const memory = memoryOf(buffers.pages);
    this.#arena = memory.arena;
    this.store = new PageStore(buffers.pages.limitBytes, memory);
    const parts = new SharedParts(buffers);
    this.#control = parts.control;
    this.#words = new Int32Array(buffers.control);
    this.#quiet = new Int32Array(buffers.quiet);
    this.#follower = new DirectoryFollower(parts);
  }

  /** Whether the bus is open. */
  get isLive(): boolean {
    return this.#control.state === IMAGE_STATE.live;
  }

  /** Whether another image has taken its place: never. */
  get isRetired(): boolean {
    return false;
  }

  /** The last tick published; good only inside one reading. */
  get published(): PublishedTick {
    return this.#control.published;
  }

  /** Which opening of which state it is. */
  get identity(): ImageIdentity {
    const { incarnation, shards, published } = this.#control;
    return { incarnation, shards, tick: published.tick, hlc: published.hlc };
  }

  /**
   * Begins a reading: waits for the end of a tick, and catches up with what has grown.
   *
   * @param waitMs Most milliseconds to wait.
   * @returns The sequence; `busy` where the tick takes longer than that.
   */
  begin(waitMs: number): number | "dead" | "busy" {
    const control = this.#control;
    let sequence = control.sequence;
    for (let spin = 0; (sequence & 1) !== 0 && spin < SPINS; spin++) sequence = control.sequence;
    if ((sequence & 1) !== 0) {
      const started = monotonicNowMs();
      for (sequence = control.sequence; (sequence & 1) !== 0; sequence = control.sequence) {
        if (monotonicNowMs() - started > waitMs) return "busy";
        // Nobody changes the first word: this only sleeps.
        Atomics.wait(this.#words, 0, this.#words[0], PAUSE_MS);
      }
    }
    this.#arena.catchUp();
    this.store.table.catchUp();
    return sequence;
  }

  /** Whether no tick came since the reading began, so that what was read is of one tick. */
  isStill(sequence: number): boolean {
    return this.#control.isStill(sequence);
  }

  /** Asks the writer for a moment without a tick, or stops asking. */
  askForQuiet(asks: boolean): void {
    Atomics.add(this.#quiet, 0, asks ? 1 : -1);
    if (!asks) Atomics.notify(this.#quiet, 0);
  }

  /** Catches up with names and metadata. */
  follow(): void {
    const news = this.#follower.next();
    if (news !== undefined) this.store.learn(news.records, news.isNew);
  }

  /** Does nothing: memory goes with who looks at it. */
  close(): void {}
}

/** Halves and control block in shared memory. */
class SharedParts implements DirectoryParts {
  readonly control: MappedControl;
  readonly layout = {
    parts: {
      directory0: { bytesMax: DIRECTORY_BYTES_MAX },
      directory1: { bytesMax: DIRECTORY_BYTES_MAX },
    },
  };
  readonly #halves: SharedImageBuffers["halves"];

  constructor({ control, halves }: SharedImageBuffers) {
    this.control = new MappedControl(control);
    this.#halves = halves;
  }

  bytes(half: "directory0" | "directory1", offset: number, length: number): Uint8Array {
    return new Uint8Array(this.#halves[half === "directory0" ? 0 : 1], offset, length);
  }

  grow(half: "directory0" | "directory1", bytes: number): void {
    if (bytes <= this.control.length(half)) return;
    try {
      this.#halves[half === "directory0" ? 0 : 1].grow(bytes);
    } catch (cause) {
      throw new MmsbError("allocation", "Cannot keep names for other threads: free memory", {
        values: { bytes },
        cause,
      });
    }
    this.control.setLength(half, bytes);
  }
}

function newHalf(): SharedArrayBuffer {
  return new SharedArrayBuffer(0, { maxByteLength: DIRECTORY_BYTES_MAX });
}
