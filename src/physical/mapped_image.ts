/**
 * Mapped image: the state of one bus in a mapped file, from its writer's side.
 *
 * The file holds everything that pages are made of, so that another process can read them, and the
 * next writer can take them over as they stand. It is a copy of what the log says and never more: the
 * system writes it back in whatever order it likes, so it counts after a stop only if it was closed
 * cleanly (synced first, then marked) and agrees with the directory's metadata. Everything else is
 * thrown away and made from the log again.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { SPAN_BYTES } from "./arena.ts";
import { monotonicNowMs } from "../temporal/mod.ts";
import * as platform from "./_platform.ts";
import { MappedArena } from "./mapped_arena.ts";
import { IMAGE_STATE, type ImageIdentity, type PublishedTick } from "./mapped_control.ts";
import { DirectoryFollower, MappedDirectory } from "./mapped_directory.ts";
import { MappedFile } from "./mapped_file.ts";
import { CONTROL_BYTES, layoutOf } from "./mapped_layout.ts";
import { MappedParts } from "./mapped_parts.ts";
import type { FoundStore, PageMemory } from "./page_memory.ts";

/** What a new image is made for. */
export interface ImageOptions {
  /** Bytes that pages may take. */
  readonly limitBytes: number;
  /** Shards. */
  readonly shards: number;
}

/** Most milliseconds that a tick waits for readers that find no time between ticks. */
const QUIET_MS = 20;
/** Milliseconds for which readers are not waited for after one took longer. */
const DEAF_MS = 200;
const PAUSE_US = 50;

/** The writer's side of a mapped file. */
export class MappedImage implements PageMemory, Disposable {
  /** The pages' bytes. */
  readonly arena: MappedArena;
  /** The parts, of which the page table is made. */
  readonly table: MappedParts;
  /** Names and metadata. */
  readonly directory: MappedDirectory;
  /** What the file held already, where it was taken over. */
  readonly found: FoundStore | undefined;
  #deafUntilMs = -Infinity;

  private constructor(parts: MappedParts, found?: FoundStore) {
    this.table = parts;
    this.found = found;
    this.arena = new MappedArena(parts);
    this.directory = new MappedDirectory(parts);
  }

  /**
   * Makes an empty image in a file that does not exist yet. Readers leave it alone until
   * {@linkcode MappedImage.show}.
   *
   * @throws {MmsbError} `disk-full`, `read-only` or `io` where the system refuses, `locked`; no file
   * is left then.
   */
  static create(path: string, { limitBytes, shards }: ImageOptions): MappedImage {
    const layout = layoutOf(limitBytes - limitBytes % SPAN_BYTES);
    const file = MappedFile.create(path, layout.totalBytes);
    try {
      file.take(0, CONTROL_BYTES);
      if (!file.lock()) refuseLock(path);
      const parts = new MappedParts(file, layout, true);
      parts.control.initialise(layout.limitBytes, layout.totalBytes, shards);
      return new MappedImage(parts);
    } catch (error) {
      file.close();
      MappedFile.remove(path);
      throw error;
    }
  }

  /**
   * Takes over an image that was closed cleanly, if it is just what is expected. From then on it is
   * no longer clean, durably.
   *
   * @returns `undefined`, and why, where it is not.
   */
  static adopt(
    path: string,
    { limitBytes }: ImageOptions,
    expected: ImageIdentity,
  ): MappedImage | { readonly reason: string } {
    let file: MappedFile;
    try {
      file = MappedFile.open(path, "write", CONTROL_BYTES);
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      return { reason: "there is none" };
    }
    const layout = layoutOf(limitBytes - limitBytes % SPAN_BYTES);
    const parts = new MappedParts(file, layout, true);
    try {
      const reason = misfit(parts, expected) ??
        (file.lock() ? undefined : "another process has its lock");
      const allocator = reason === undefined ? parts.control.saved() : undefined;
      if (allocator === undefined) {
        file.close();
        return { reason: reason ?? "its control block is damaged" };
      }
      parts.control.state = IMAGE_STATE.live;
      parts.syncControl();
      const { nextPageId } = parts.control.published;
      const records = new DirectoryFollower(parts).next()?.records ?? [];
      return new MappedImage(parts, { allocator, records, nextPageId });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Tells readers of the image at a path, whoever made it, that it is not kept up any more. */
  static retire(path: string): void {
    try {
      using file = new Closing(MappedFile.open(path, "write", CONTROL_BYTES));
      const { control } = new MappedParts(file.file, layoutOf(SPAN_BYTES), true);
      if (control.isKnown) control.state = IMAGE_STATE.retired;
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
    }
  }

  /** Lets readers see the image, at a tick. */
  show(incarnation: number, published: PublishedTick): void {
    const { control } = this.table;
    control.beginWriter(platform.processId(), incarnation);
    control.begin();
    control.end(published);
    control.state = IMAGE_STATE.live;
  }

  /** Readers wait from here on: a tick is about to change pages. */
  begin(): void {
    this.table.control.begin();
  }

  /**
   * Waits for readers that ask for it, because they found no time between ticks: a little, so that
   * neither they nor ticks starve. To be called before a tick.
   */
  giveQuiet(): void {
    if (!this.table.file.isAskedForQuiet()) return;
    const started = monotonicNowMs();
    if (started < this.#deafUntilMs) return;
    while (this.table.file.isAskedForQuiet()) {
      platform.pause(PAUSE_US);
      const now = monotonicNowMs();
      if (now - started < QUIET_MS) continue;
      this.#deafUntilMs = now + DEAF_MS;
      return;
    }
  }

  /** Readers see what the tick did. */
  end(published: PublishedTick): void {
    this.table.control.end(published);
  }

  /**
   * Syncs the image and marks it clean, so that the next writer may take it over.
   *
   * @throws {MmsbError} `io` where it cannot be synced; it is then not clean.
   */
  markClean(allocator: Uint8Array): void {
    const { control } = this.table;
    control.save(allocator);
    this.table.sync();
    control.state = IMAGE_STATE.clean;
    this.table.syncControl();
  }

  /** Says that the image does not hold all that the log has: nobody may take it over. */
  markPartial(): void {
    this.table.control.state = IMAGE_STATE.partial;
  }

  /** Gives up the file and its lock; views stay good. */
  close(): void {
    this.table.file.close();
  }

  /** Gives up the file, as {@linkcode MappedImage.close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes a mapped file at the end of a block. */
class Closing implements Disposable {
  readonly file: MappedFile;

  constructor(file: MappedFile) {
    this.file = file;
  }

  [Symbol.dispose](): void {
    this.file.close();
  }
}

/** What does not fit in an image that is to be taken over, in words. */
function misfit(parts: MappedParts, expected: ImageIdentity): string | undefined {
  const { control, layout, file } = parts;
  if (!control.isKnown) return "it is of another version";
  if (control.state === IMAGE_STATE.partial) {
    return "it has no edges, rules and marks, as the log has";
  }
  if (control.state !== IMAGE_STATE.clean) return "it was not closed cleanly";
  if (
    control.limitBytes !== layout.limitBytes || control.totalBytes !== layout.totalBytes ||
    file.buffer.byteLength !== layout.totalBytes
  ) return "it was made for another memoryLimitBytes";
  const { tick, hlc } = control.published;
  const fits = control.incarnation === expected.incarnation && control.shards === expected.shards &&
    tick === expected.tick && hlc === expected.hlc;
  return fits ? undefined : `it stands at tick ${tick}, another one than the log`;
}

function refuseLock(path: string): never {
  throw new MmsbError("locked", `Cannot lock ${JSON.stringify(path)}: another process has it`, {
    values: { path },
  });
}
