/**
 * Mapped image of a bus: where it stands, whether it can be had, and whether an old one still counts.
 *
 * A bus with a directory keeps it as `DIR/arena`, or where `arenaDir` says, with a link from there, so
 * that readers need only the directory. A bus in memory has a file in `/dev/shm` whose name is taken
 * away at once: it dies with the process, however that ends. Where an image cannot be had the bus
 * works without, and says why.
 *
 * Taking an image over costs what reading names and counting rows costs, and replaying the log nothing;
 * a new one is filled by the replay, and costs its disk space.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { MmsbError } from "../base/mod.ts";
import type { DirectoryMeta, Storage } from "../log/mod.ts";
import {
  IMAGE_STATE,
  type ImageIdentity,
  MappedFile,
  MappedImage,
  mappingUnavailable,
  PageStore,
  type PublishedTick,
  stateBytes,
  uniqueFileName,
} from "../physical/mod.ts";
import type { ResolvedOptions } from "./options.ts";
import type { ArenaReport } from "./reports.ts";

/** Name of an image in its bus's directory. */
export const IMAGE_PATH = "arena";
/** Where images of buses in memory stand. */
const MEMORY_FOLDER = "/dev/shm";

/** An image that a bus writes to, or why there is none. */
export interface OpenedImage {
  /** The image. */
  readonly image?: BusImage;
  /** What the bus says of it. */
  readonly report: ArenaReport;
}

/** The image of one bus that writes. */
export class BusImage {
  /** The memory. */
  readonly image: MappedImage;
  /** Path under which readers are to find it; `undefined` where nobody is. */
  readonly #path: string | undefined;
  readonly #temporary: string | undefined;
  #isOpen = true;
  #isTicking = false;

  /** An image that stands at `temporary` until it is shown at `path`. */
  constructor(image: MappedImage, path?: string, temporary?: string) {
    this.image = image;
    this.#path = path;
    this.#temporary = temporary;
  }

  /** Lets readers find it. */
  show(incarnation: number, published: PublishedTick): void {
    this.image.show(incarnation, published);
    if (this.#temporary === undefined) return;
    try {
      MappedFile.rename(this.#temporary, this.#path!);
    } catch (error) {
      // Without the name there are no readers and nothing to take over; the bus works all the same.
      if (!(error instanceof MmsbError)) throw error;
      MappedFile.remove(this.#temporary);
    }
  }

  /** Readers wait from here on. */
  begin(): void {
    if (!this.#isOpen) return;
    if (this.#path !== undefined) this.image.giveQuiet();
    this.#isTicking = true;
    this.image.begin();
  }

  /** Readers see the tick; nothing happens where none began. */
  end(published: PublishedTick): void {
    if (!this.#isTicking) return;
    this.#isTicking = false;
    this.image.end(published);
  }

  /** Gives it up as something that nobody will take over. */
  abandon(): void {
    this.#isOpen = false;
    if (this.#temporary !== undefined) MappedFile.remove(this.#temporary);
    this.image.close();
  }

  /**
   * Closes it so that the next writer can take it over.
   *
   * @param published Where it stands.
   * @param allocator What the slot allocator keeps outside.
   * @param isWhole Whether the image has all of the state: edges, rules and marks stand in the log alone.
   */
  close(published: PublishedTick, allocator: Uint8Array, isWhole: boolean): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    try {
      this.image.begin();
      this.image.end(published);
      if (!isWhole) this.image.markPartial();
      else if (this.#path !== undefined) this.image.markClean(allocator);
    } catch (error) {
      // The log has everything; an image that is not clean is made again.
      if (!(error instanceof MmsbError)) throw error;
    } finally {
      this.image.close();
    }
  }
}

/**
 * Finds or makes the image of a bus that writes, if its options ask for one.
 *
 * @param options The bus's options.
 * @param shards Its shards.
 * @param identity What an image must be to be taken over; none where it cannot.
 */
export function openImage(
  options: ResolvedOptions,
  shards: number,
  identity?: ImageIdentity,
): OpenedImage | undefined {
  const place = placeOf(options);
  if (options.arena !== "mmap") {
    if (options.storage !== undefined) retireStored(options.storage);
    return undefined;
  }
  const unavailable = mappingUnavailable();
  if (unavailable !== undefined) {
    if (options.storage !== undefined) retireStored(options.storage);
    return refused(unavailable);
  }
  const wanted = { limitBytes: options.memoryLimitBytes, shards };
  try {
    if (place === undefined) return anonymous(options, wanted);
    const found = identity === undefined
      ? { reason: "the directory has no clean close to take one over from" }
      : MappedImage.adopt(place.path, wanted, identity);
    if (found instanceof MappedImage) {
      return {
        image: new BusImage(found, place.path),
        report: { kind: "mmap", adopted: true, reason: "" },
      };
    }
    MappedImage.retire(place.link ?? place.path);
    const temporary = `${place.path}.new`;
    MappedFile.remove(temporary);
    const image = MappedImage.create(temporary, wanted);
    if (place.link !== undefined) link(place.path, place.link);
    return {
      image: new BusImage(image, place.path, temporary),
      report: { kind: "mmap", adopted: false, reason: `made from the log: ${found.reason}` },
    };
  } catch (error) {
    if (!(error instanceof MmsbError)) throw error;
    return refused(error.message);
  }
}

/**
 * Makes the store of a bus over its image and fills it; without the image where that has no room.
 *
 * @param fill Fills the store, if it is not filled already.
 */
export function fillStore(
  options: ResolvedOptions,
  opened: OpenedImage | undefined,
): { readonly store: PageStore; readonly opened?: OpenedImage };
export function fillStore<T>(
  options: ResolvedOptions,
  opened: OpenedImage | undefined,
  fill: (store: PageStore, isFilled: boolean) => T,
): { readonly store: PageStore; readonly opened?: OpenedImage; readonly value: T };
export function fillStore<T>(
  options: ResolvedOptions,
  opened: OpenedImage | undefined,
  fill?: (store: PageStore, isFilled: boolean) => T,
): { readonly store: PageStore; readonly opened?: OpenedImage; readonly value?: T } {
  const image = opened?.image;
  try {
    const store = new PageStore(options.memoryLimitBytes, image?.image);
    return { store, opened, value: fill?.(store, image?.image.found !== undefined) };
  } catch (error) {
    image?.abandon();
    const isRoom = error instanceof MmsbError && ["disk-full", "limit"].includes(error.code);
    if (image === undefined || !isRoom) throw error;
    return fillStore(options, refused(error.message), fill!);
  }
}

/** What a bus says that does without. */
export function refused(reason: string): OpenedImage {
  return { report: { kind: "shared", adopted: false, reason } };
}

/** What an image must be to stand for a directory that was closed cleanly. */
export function identityOf(
  meta: DirectoryMeta | undefined,
  shards: number,
): ImageIdentity | undefined {
  if (meta === undefined || meta.closed === null || meta.incarnation === 0) return undefined;
  const { incarnation, closed } = meta;
  return { incarnation, shards, tick: closed.tick, hlc: BigInt(closed.hlc) };
}

/** Path at which readers look for the image of a directory. */
export function imagePath(storage: Storage): string {
  return join(storage.location, IMAGE_PATH);
}

function anonymous(
  { arenaDir = MEMORY_FOLDER }: ResolvedOptions,
  wanted: { readonly limitBytes: number; readonly shards: number },
): OpenedImage {
  const path = join(resolve(arenaDir), uniqueFileName());
  const image = MappedImage.create(path, wanted);
  MappedFile.remove(path);
  return {
    image: new BusImage(image),
    report: { kind: "mmap", adopted: false, reason: "" },
  };
}

interface ImagePlace {
  /** Where the file stands. */
  readonly path: string;
  /** Where a link to it stands, if it is elsewhere. */
  readonly link?: string;
}

function placeOf({ storage, arenaDir }: ResolvedOptions): ImagePlace | undefined {
  if (storage === undefined || storage.kind !== "files") return undefined;
  const path = imagePath(storage);
  if (arenaDir === undefined) return { path };
  const name = createHash("sha256").update(storage.location).digest("hex").slice(0, 16);
  return { path: join(resolve(arenaDir), `mmsb-${name}.arena`), link: path };
}

function link(path: string, name: string): void {
  MappedFile.remove(`${name}.new`);
  MappedFile.link(path, `${name}.new`);
  MappedFile.rename(`${name}.new`, name);
}

/** Tells readers of an image, without mapping it, that it is not kept up any more; and removes it. */
function retireStored(storage: Storage): void {
  if (storage.kind !== "files" || !storage.exists(IMAGE_PATH)) return;
  const { bytes, position } = stateBytes(IMAGE_STATE.retired);
  try {
    const file = storage.open(IMAGE_PATH, "write");
    try {
      if (file.size() >= position + bytes.length) file.write(bytes, position);
    } finally {
      file.close();
    }
    storage.remove(IMAGE_PATH);
  } catch (error) {
    // What cannot be opened is no image: a folder, say. It is in nobody's way.
    if (!(error instanceof MmsbError)) throw error;
  }
}
