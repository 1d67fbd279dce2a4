/**
 * Mapped directory: names and metadata of pages, as readers in other processes follow them.
 *
 * Records are only ever appended, so what a reader has read stays true and it goes on from there. A
 * record says a page's name and metadata at its birth, or its metadata later. Deaths need no record:
 * the page table tells. What no longer counts is left out when a half is more than half dead: the live
 * records go to the other half, and readers that see the turn begin again.
 *
 * Record: u32 bytes of the record, u32 page, u32 (bytes of the name × 2, plus 1 for a birth), u32 bytes of
 * the metadata, name, metadata in its byte form, each filled up to a multiple of 4.
 *
 * Cost: 16 bytes, name and metadata for each page that has one; nothing for pages that have none.
 *
 * @module
 */

import { alignUp, MmsbError } from "../base/mod.ts";
import type { MappedControl } from "./mapped_control.ts";
import { decodeMetadata, encodeMetadata, type Metadata } from "./metadata.ts";

/** What a page is called, and what it carries. */
export interface DirectoryRecord {
  /** Page. */
  readonly page: number;
  /** Its name, "" for none; `undefined` where only the metadata has changed. */
  readonly name: string | undefined;
  /** Its metadata. */
  readonly metadata: Metadata;
}

/** Where records stand: two halves that grow, and a control block. */
export interface DirectoryParts {
  /** The control block. */
  readonly control: MappedControl;
  /** How long the halves may become. */
  readonly layout: {
    readonly parts: Readonly<Record<"directory0" | "directory1", { readonly bytesMax: number }>>;
  };
  /** Bytes of a half, from one of its bytes on. */
  bytes(half: "directory0" | "directory1", offset: number, length: number): Uint8Array;
  /** Makes a half longer. */
  grow(half: "directory0" | "directory1", bytes: number): void;
}

/** Keeps names and metadata where other processes see them. */
export interface PageDirectory {
  /**
   * Makes sure that records can be added without being refused.
   *
   * @param records What is to be added.
   * @param live All that counts now, for tidying up.
   * @throws {MmsbError} `disk-full`, or `limit` where there are too many; nothing is changed then.
   */
  reserve(records: readonly DirectoryRecord[], live: () => Iterable<DirectoryRecord>): void;
  /** Adds a record for which there is room. */
  add(record: DirectoryRecord): void;
  /** Replaces all records. */
  rewrite(live: Iterable<DirectoryRecord>): void;
}

const HEAD_BYTES = 16;
const BIRTH = 1;
/** Below this, dead records are not worth tidying up. */
const TIDY_BYTES_MIN = 2 ** 20;
const GROW_BYTES_MIN = 2 ** 16;
const GROW_BYTES_MAX = 2 ** 24;
const HALVES = ["directory0", "directory1"] as const;

/** The writer's side. */
export class MappedDirectory implements PageDirectory {
  readonly #parts: DirectoryParts;
  readonly #control: MappedControl;
  /** Bytes in use after the last tidying. */
  #tidied: number;

  /** Writes to the halves of a mapped file, or of shared memory. */
  constructor(parts: DirectoryParts) {
    this.#parts = parts;
    this.#control = parts.control;
    this.#tidied = this.#control.directoryLength(this.#half);
  }

  get #half(): number {
    return this.#control.directory & 1;
  }

  /** {@inheritDoc PageDirectory.reserve} */
  reserve(records: readonly DirectoryRecord[], live: () => Iterable<DirectoryRecord>): void {
    let bytes = 0;
    for (const record of records) bytes += encode(record).length;
    const length = this.#control.directoryLength(this.#half);
    if (length + bytes <= this.#control.length(HALVES[this.#half])) return;
    if (length > 2 * this.#tidied + TIDY_BYTES_MIN) {
      this.#turn(live(), bytes);
    } else {
      this.#take(this.#half, length + bytes);
    }
  }

  /** {@inheritDoc PageDirectory.add} */
  add(record: DirectoryRecord): void {
    const half = this.#half, at = this.#control.directoryLength(half), bytes = encode(record);
    this.#parts.bytes(HALVES[half], at, bytes.length).set(bytes);
    this.#control.setDirectoryLength(half, at + bytes.length);
  }

  /** {@inheritDoc PageDirectory.rewrite} */
  rewrite(live: Iterable<DirectoryRecord>): void {
    this.#turn(live, 0);
  }

  /** Writes all that counts to the other half, with room for some bytes more, and moves there. */
  #turn(live: Iterable<DirectoryRecord>, room: number): void {
    const half = 1 - this.#half;
    let at = 0;
    for (const record of live) {
      const bytes = encode(record);
      this.#take(half, at + bytes.length);
      this.#parts.bytes(HALVES[half], at, bytes.length).set(bytes);
      at += bytes.length;
    }
    this.#take(half, at + room);
    this.#control.setDirectoryLength(half, at);
    this.#control.turnDirectory();
    this.#tidied = at;
  }

  #take(half: number, bytes: number): void {
    const has = this.#control.length(HALVES[half]);
    if (bytes <= has) return;
    const { bytesMax } = this.#parts.layout.parts[HALVES[half]];
    if (bytes > bytesMax) {
      throw new MmsbError(
        "limit",
        `Cannot keep more than ${bytesMax} bytes of names and metadata in a mapped file: use arena "shared", or fewer`,
        { values: { bytes, bytesMax } },
      );
    }
    const step = Math.min(Math.max(has, GROW_BYTES_MIN), GROW_BYTES_MAX);
    this.#parts.grow(HALVES[half], Math.min(bytesMax, Math.max(bytes, has + step)));
  }
}

/** The reader's side: follows the records from where it stopped. */
export class DirectoryFollower {
  readonly #parts: DirectoryParts;
  #turns = -1;
  #at = 0;

  /** Begins before the first record. */
  constructor(parts: DirectoryParts) {
    this.#parts = parts;
  }

  /**
   * The records since the last call.
   *
   * @returns `isNew` where they replace all earlier ones; `undefined` where nothing was added.
   */
  next(): { readonly isNew: boolean; readonly records: DirectoryRecord[] } | undefined {
    const { control } = this.#parts;
    for (;;) {
      const turns = control.directory, half = turns & 1;
      const end = control.directoryLength(half);
      const isNew = turns !== this.#turns, start = isNew ? 0 : this.#at;
      if (!isNew && start === end) return undefined;
      // The half may be written over while it is read, and then its end is of another time.
      const copy = end > start
        ? this.#parts.bytes(HALVES[half], start, end - start).slice()
        : new Uint8Array(0);
      if (control.directory !== turns) continue;
      const records = decodeAll(copy);
      this.#turns = turns;
      this.#at = end;
      return { isNew, records };
    }
  }
}

function encode({ page, name, metadata }: DirectoryRecord): Uint8Array {
  const text = name === undefined || name === ""
    ? new Uint8Array(0)
    : new TextEncoder().encode(name);
  const entries = encodeMetadata(metadata);
  const nameBytes = alignUp(text.length, 4);
  const bytes = new Uint8Array(HEAD_BYTES + nameBytes + alignUp(entries.length, 4));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, page, true);
  view.setUint32(8, text.length * 2 + (name === undefined ? 0 : BIRTH), true);
  view.setUint32(12, entries.length, true);
  bytes.set(text, HEAD_BYTES);
  bytes.set(entries, HEAD_BYTES + nameBytes);
  return bytes;
}

function decodeAll(bytes: Uint8Array): DirectoryRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // A byte order mark at its beginning is part of a name.
  const text = new TextDecoder("utf-8", { ignoreBOM: true });
  const records: DirectoryRecord[] = [];
  for (let at = 0; at < bytes.length; at += view.getUint32(at, true)) {
    const second = view.getUint32(at + 8, true), nameLength = second >>> 1;
    const entries = at + HEAD_BYTES + alignUp(nameLength, 4);
    records.push({
      page: view.getUint32(at + 4, true),
      name: (second & BIRTH) === 0
        ? undefined
        : text.decode(bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + nameLength)),
      metadata: decodeMetadata(bytes.subarray(entries, entries + view.getUint32(at + 12, true))),
    });
  }
  return records;
}
