/**
 * Attached image: the mapped file of a writer in another process, for reading.
 *
 * The mapping is read-only by the machine. Everything is read between two looks at the writer's
 * sequence and read again if a tick came between, so that what is given out is of one tick, and pages
 * that are half written are never seen. A reader leaves no trace in the file. The writer does not wait
 * for one, unless it asks, having found no time between ticks; then a few milliseconds and no more.
 *
 * A writer that dies takes its lock with it. If that happens between ticks, the last tick stays
 * readable; if in the middle of one, the pages are of no tick at all and reading is refused.
 *
 * Cost: two atomic loads and one atomic addition a reading; while a tick is applied, the rest of it.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import * as platform from "./_platform.ts";
import { SPAN_BYTES } from "./arena.ts";
import { MappedArena } from "./mapped_arena.ts";
import { IMAGE_STATE, type ImageIdentity, type PublishedTick } from "./mapped_control.ts";
import { DirectoryFollower } from "./mapped_directory.ts";
import { MappedFile } from "./mapped_file.ts";
import { CONTROL_BYTES, layoutOf } from "./mapped_layout.ts";
import { MappedParts } from "./mapped_parts.ts";
import { PageStore } from "./page_store.ts";

/** Looks at the sequence before the thread is given up for a while. */
const SPINS = 200;
const PAUSE_US = 50;
/** Pauses between two questions whether the writer lives. */
const PAUSES_A_QUESTION = 20;

/** A reader's view of a mapped file. */
export class AttachedImage {
  /** The pages, as of the last refreshing; its bytes are the writer's. */
  readonly store: PageStore;
  readonly #parts: MappedParts;
  readonly #arena: MappedArena;
  readonly #follower: DirectoryFollower;
  #growth: number;

  private constructor(parts: MappedParts) {
    this.#parts = parts;
    this.#growth = parts.control.growth;
    this.#arena = new MappedArena(parts);
    this.store = new PageStore(parts.layout.limitBytes, { arena: this.#arena, table: parts });
    this.#follower = new DirectoryFollower(parts);
  }

  /**
   * Attaches to the image at a path if a writer has it, or if it was closed cleanly.
   *
   * @returns Why not, where there is nothing to attach to.
   */
  static attach(path: string): AttachedImage | { readonly reason: string } {
    let file: MappedFile;
    try {
      file = MappedFile.open(path, "read", CONTROL_BYTES);
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      return { reason: `no writer keeps one there (${error.message})` };
    }
    const probe = new MappedParts(file, layoutOf(SPAN_BYTES), false).control;
    const reason = unreadable(file, probe);
    if (reason !== undefined) {
      file.close();
      return { reason };
    }
    return new AttachedImage(new MappedParts(file, layoutOf(probe.limitBytes), false));
  }

  /** Whether a writer has the image. */
  get isLive(): boolean {
    return this.#parts.control.state === IMAGE_STATE.live && this.#parts.file.isLocked();
  }

  /** Whether another image has taken its place, or is about to. */
  get isRetired(): boolean {
    return this.#parts.control.state === IMAGE_STATE.retired;
  }

  /** Whether it was closed cleanly. */
  get isClean(): boolean {
    return this.#parts.control.state === IMAGE_STATE.clean;
  }

  /** The last tick published; good only inside one reading. */
  get published(): PublishedTick {
    return this.#parts.control.published;
  }

  /** What a directory's metadata must say of the image where it was closed cleanly. */
  get identity(): ImageIdentity {
    const { incarnation, shards, published } = this.#parts.control;
    return { incarnation, shards, tick: published.tick, hlc: published.hlc };
  }

  /**
   * Begins a reading: waits for the end of a tick, and catches up with what has grown.
   *
   * @param waitMs Most milliseconds to wait.
   * @returns The sequence; `dead` where the writer died in the middle of a tick, `busy` where the tick
   * takes longer than that.
   */
  begin(waitMs: number): number | "dead" | "busy" {
    const { control } = this.#parts;
    let sequence = control.sequence;
    for (let spin = 0; (sequence & 1) !== 0 && spin < SPINS; spin++) sequence = control.sequence;
    if ((sequence & 1) !== 0) {
      const waited = this.#wait(waitMs);
      if (typeof waited !== "number") return waited;
      sequence = waited;
    }
    if (control.growth !== this.#growth) this.#refresh();
    return sequence;
  }

  /** Whether no tick came since the reading began, so that what was read is of one tick. */
  isStill(sequence: number): boolean {
    return this.#parts.control.isStill(sequence);
  }

  /** Asks the writer for a moment without a tick, or stops asking. */
  askForQuiet(asks: boolean): void {
    this.#parts.file.askForQuiet(asks);
  }

  /** Catches up with names and metadata. */
  follow(): void {
    const news = this.#follower.next();
    if (news !== undefined) this.store.learn(news.records, news.isNew);
  }

  /** Gives up the file; views stay good. */
  close(): void {
    this.#parts.file.close();
  }

  #wait(waitMs: number): number | "dead" | "busy" {
    const { control, file } = this.#parts;
    const started = monotonicNowMs();
    for (let pause = 0; pause === 0 || monotonicNowMs() - started < waitMs; pause++) {
      const isAsked = pause % PAUSES_A_QUESTION === 0;
      // Asked before the sequence is looked at: a writer that ended its tick and died is no dead tick.
      const isDead = isAsked && (this.isRetired || !file.isLocked());
      const { sequence } = control;
      if ((sequence & 1) === 0) return sequence;
      if (isDead) return "dead";
      platform.pause(PAUSE_US);
    }
    return "busy";
  }

  #refresh(): void {
    // Read first: what grows meanwhile is seen the next time.
    this.#growth = this.#parts.control.growth;
    this.#arena.refresh();
    this.store.table.refresh();
  }
}

/** Why an image cannot be read, in words. */
function unreadable(file: MappedFile, control: MappedParts["control"]): string | undefined {
  if (!control.isKnown) return "its image is of another version";
  const { totalBytes, limitBytes, state } = control;
  if (file.buffer.byteLength !== totalBytes || layoutOf(limitBytes).totalBytes !== totalBytes) {
    return "its image is damaged";
  }
  if (state === IMAGE_STATE.clean) return undefined;
  if (state !== IMAGE_STATE.live) return "its image is being made anew";
  return file.isLocked() ? undefined : "its writer died";
}
