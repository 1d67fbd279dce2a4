/**
 * Attached reader: what a bus reads that looks at another process's pages.
 *
 * Every reading is of one tick: it is done again if a tick came between. When the writer is replaced
 * by another one the reader goes over to its image by itself; handles name pages by id, so they stay
 * good. A reader never changes anything.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { AttachedImage, mappingUnavailable, type PageStore } from "../physical/mod.ts";
import { monotonicNowMs } from "../temporal/mod.ts";

/** Most milliseconds that one reading tries to find a moment without a tick. */
const PATIENCE_MS = 1000;
/** Readings after which the writer is asked for a moment without a tick. */
const TRIES_UNASKED = 8;
/** Milliseconds between two looks for another image. */
const LOOK_MS = 5;

/** An image as a reader uses it: of another process, or of another thread. */
export type ReadImage = Pick<
  AttachedImage,
  | "store"
  | "isLive"
  | "isRetired"
  | "published"
  | "identity"
  | "begin"
  | "isStill"
  | "askForQuiet"
  | "follow"
  | "close"
>;

/** Reads the image at a path, and whatever takes its place. */
export class AttachedReader {
  readonly #path: string | undefined;
  readonly #fits: (image: AttachedImage) => boolean;
  #image: ReadImage;
  #lookedMs = -Infinity;
  #isReading = false;

  private constructor(
    path: string | undefined,
    image: ReadImage,
    fits: (image: AttachedImage) => boolean,
  ) {
    this.#path = path;
    this.#fits = fits;
    this.#image = image;
  }

  /**
   * Attaches to the image at a path.
   *
   * @param path Where it stands.
   * @param fits Whether an image that no writer has may be read: whether the log says the same.
   * @returns Why not, where it cannot be read.
   */
  static open(
    path: string,
    fits: (image: AttachedImage) => boolean,
  ): AttachedReader | { readonly reason: string } {
    const unavailable = mappingUnavailable();
    if (unavailable !== undefined) return { reason: unavailable };
    const image = AttachedImage.attach(path);
    if ("reason" in image) return image;
    if (image.isClean && !fits(image)) {
      image.close();
      return { reason: "its image is not the state of the log" };
    }
    const reader = new AttachedReader(path, image, fits);
    const began = image.begin(PATIENCE_MS);
    if (typeof began === "number") return reader;
    image.close();
    return { reason: `its writer ${began === "dead" ? "died in" : "does not end"} a tick` };
  }

  /** Reads the image of another thread, whose place no other one takes. */
  static over(image: ReadImage): AttachedReader {
    return new AttachedReader(undefined, image, () => false);
  }

  /** The pages as they were last looked at; outside {@linkcode AttachedReader.read} of no one tick. */
  get store(): PageStore {
    return this.#image.store;
  }

  /** The pages with all names and rows of the last tick. */
  caughtUp(): PageStore {
    return this.read((store) => store);
  }

  /** Whether a writer keeps the pages up. */
  get isLive(): boolean {
    if (this.#image.isRetired) this.#attachAgain();
    return this.#image.isLive;
  }

  /** The last tick. */
  get tick(): number {
    return this.read(() => this.#image.published.tick);
  }

  /** Number of the writer's opening of the directory. */
  get incarnation(): number {
    return this.#image.identity.incarnation;
  }

  /** The last tick and its timestamp; only inside {@linkcode AttachedReader.read}. */
  get published(): ReadImage["published"] {
    return this.#image.published;
  }

  /**
   * Runs `look` on the pages as one tick left them: again, if a tick came meanwhile.
   *
   * @throws {MmsbError} what `look` throws; `closed` where the writer died in the middle of a tick and
   * no other one came, `transaction-conflict` where ticks leave no time to read.
   */
  read<T>(look: (store: PageStore) => T): T {
    // A reading inside a reading is part of it.
    if (this.#isReading) return look(this.#image.store);
    const asked: ReadImage[] = [];
    try {
      return this.#read(look, asked);
    } finally {
      asked[0]?.askForQuiet(false);
    }
  }

  #read<T>(look: (store: PageStore) => T, asked: ReadImage[]): T {
    let started = 0;
    for (let tries = 0;; tries++) {
      const sequence = this.#begin();
      const image = this.#image;
      let value: T | undefined, error: unknown, failed = false;
      this.#isReading = true;
      try {
        image.follow();
        value = look(image.store);
      } catch (thrown) {
        // Half a tick may look like anything; only what a whole one says counts.
        failed = true;
        error = thrown;
      } finally {
        this.#isReading = false;
      }
      if (image.isStill(sequence)) {
        if (failed) throw error;
        return value as T;
      }
      if (tries < TRIES_UNASKED) continue;
      if (asked.length === 0) {
        started = monotonicNowMs();
        image.askForQuiet(true);
        asked.push(image);
      }
      if (monotonicNowMs() - started > PATIENCE_MS) {
        throw new MmsbError(
          "transaction-conflict",
          "Cannot read all of it at one tick as the writer ticks meanwhile: read less at once",
          { values: { tries, tick: image.published.tick } },
        );
      }
    }
  }

  /** Gives up the image; views stay good. */
  close(): void {
    this.#image.close();
  }

  #begin(): number {
    if (this.#image.isRetired) this.#attachAgain();
    let began = this.#image.begin(PATIENCE_MS);
    if (began === "dead" && this.#attachAgain()) began = this.#image.begin(PATIENCE_MS);
    if (typeof began === "number") return began;
    throw began === "dead"
      ? new MmsbError(
        "closed",
        "Cannot read as the writer died in the middle of a tick: open the bus again to read its log, or start a writer",
        { values: { path: this.#path } },
      )
      : new MmsbError(
        "transaction-conflict",
        `Cannot read as the writer has been in one tick for ${PATIENCE_MS} ms: try again`,
        { values: { path: this.#path } },
      );
  }

  /** Goes over to the image that has taken this one's place, if there is one. */
  #attachAgain(): boolean {
    if (this.#path === undefined) return false;
    const now = monotonicNowMs();
    if (now - this.#lookedMs < LOOK_MS) return false;
    this.#lookedMs = now;
    const found = AttachedImage.attach(this.#path);
    if ("reason" in found) return false;
    if (found.isClean && !this.#fits(found)) {
      found.close();
      return false;
    }
    this.#image.close();
    this.#image = found;
    return true;
  }
}
