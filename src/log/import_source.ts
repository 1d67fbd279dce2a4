/**
 * Import source: a file from elsewhere, read from its first byte to its last through a window.
 *
 * What is imported may be larger than memory and may lie: so only as much of it is in memory as the
 * record at hand needs, and each length is held against what is left of the file, and against a
 * limit, before anything is allocated for it.
 *
 * Cost: one read of at least 1 MiB at a time; the bytes of a record are moved once where it crosses
 * the window's end.
 *
 * @module
 */

import { basename } from "node:path";
import { MmsbError } from "../base/mod.ts";
import * as platform from "./_platform.ts";

/** Bytes to be read in order, as often as wanted. */
export interface ImportSource {
  /** What it is called in messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Reads at a position; fewer bytes than `target` has only at the end. */
  read(target: Uint8Array, position: number): number;
  /** Lets go of it; a second call does nothing. */
  close(): void;
}

/**
 * A file to import.
 *
 * @param path Its path.
 * @returns The source; close it.
 * @throws {MmsbError} `io` where it cannot be opened.
 */
export function fileSource(path: string): ImportSource {
  const handle = platform.openHandle(path, "read");
  let isOpen = true;
  try {
    return {
      name: path,
      size: platform.handleSize(handle, path),
      read: (target, position) => platform.readAt(handle, path, target, position),
      close: () => {
        if (isOpen) platform.closeHandle(handle);
        isOpen = false;
      },
    };
  } catch (error) {
    platform.closeHandle(handle);
    throw error;
  }
}

/**
 * Bytes in memory to import.
 *
 * @param name What they are called in messages.
 * @param bytes The bytes.
 */
export function bytesSource(name: string, bytes: Uint8Array): ImportSource {
  return {
    name,
    size: bytes.length,
    read: (target, position) => {
      const some = bytes.subarray(position, position + target.length);
      target.set(some);
      return some.length;
    },
    close: () => {},
  };
}

/** Where in a source a fault is. */
export interface ImportPlace {
  /** First byte of what is wrong. */
  readonly offset: number;
  /** Which frame, page or line, counted from 1; 0 for the file's header. */
  readonly number: number;
  /** What is counted: `frame`, `page`, `line`. */
  readonly unit: string;
  /** The part that is wrong: `mask length`, `flags`, `payload`. */
  readonly field: string;
}

/** What else a refusal says. */
export interface ImportRefusal {
  /** Its code. Default `corrupt-log`. */
  readonly code?: "corrupt-log" | "limit" | "version";
  /** The error underneath. */
  readonly cause?: unknown;
}

/** Throws that a source cannot be imported, with the place and the reason. */
export function refuseImport(
  source: ImportSource,
  place: ImportPlace,
  reason: string,
  { code = "corrupt-log", cause }: ImportRefusal = {},
): never {
  const { offset, number, unit, field } = place;
  const where = number === 0 ? "its header" : `${unit} ${number}`;
  throw new MmsbError(
    code,
    `Cannot import ${
      JSON.stringify(basename(source.name))
    } as ${where} is wrong at byte ${offset}, ${field}: ${reason}; nothing was imported`,
    {
      values: {
        path: source.name,
        offset,
        [unit]: number,
        field,
        reason,
      },
      cause,
    },
  );
}

/** Bytes read at once, at least. */
const CHUNK_BYTES = 1024 * 1024;

/**
 * A window that moves over a source. A record starts at the mark; what was read since stays where it
 * is, relative to the mark, until the next one.
 */
export class ImportWindow {
  /** The source. */
  readonly source: ImportSource;
  /** Byte of the source at which the record began. */
  start = 0;
  #buffer = new Uint8Array(CHUNK_BYTES);
  #view = new DataView(this.#buffer.buffer);
  /** Byte of the buffer at which the record began. */
  #first = 0;
  /** Next byte, counted from the record's first. */
  #at = 0;
  /** End of what the buffer holds. */
  #end = 0;

  /** Begins at the source's first byte. */
  constructor(source: ImportSource) {
    this.source = source;
  }

  /** Byte of the source that comes next. */
  get position(): number {
    return this.start + this.#at;
  }

  /** Bytes of the source from there to its end. */
  get left(): number {
    return this.source.size - this.position;
  }

  /** Begins a record at the next byte. */
  mark(): void {
    this.start += this.#at;
    this.#first += this.#at;
    this.#at = 0;
  }

  /** Reads a u8; {@linkcode ImportWindow.has} was asked. */
  u8(): number {
    return this.#buffer[this.#step(1)];
  }

  /** Reads a u32. */
  u32(): number {
    return this.#view.getUint32(this.#step(4), true);
  }

  /** Passes over bytes; gives where they begin, counted from the record's first. */
  skip(count: number): number {
    return this.#step(count) - this.#first;
  }

  /** Bytes of the record; good until the next one, or until more of it is asked for. */
  bytes(offset: number, count: number): Uint8Array {
    return this.#buffer.subarray(this.#first + offset, this.#first + offset + count);
  }

  /** Whether so many bytes come next; they are then in memory. */
  has(count: number): boolean {
    const end = this.#first + this.#at + count;
    if (end <= this.#end) return true;
    if (count > this.left) return false;
    this.#fill(this.#at + count);
    return this.#first + this.#at + count <= this.#end;
  }

  #step(count: number): number {
    const at = this.#first + this.#at;
    this.#at += count;
    return at;
  }

  /** Reads on until the record has `needed` bytes, or the source ends. */
  #fill(needed: number): void {
    const held = this.#end - this.#first;
    if (this.#first + needed > this.#buffer.length) {
      const room = needed <= this.#buffer.length ? this.#buffer : larger(this.#buffer, needed);
      if (room === this.#buffer) room.copyWithin(0, this.#first, this.#end);
      else room.set(this.#buffer.subarray(this.#first, this.#end));
      this.#buffer = room;
      this.#view = new DataView(room.buffer);
      this.#first = 0;
      this.#end = held;
    }
    const target = this.#buffer.subarray(this.#end);
    this.#end += this.source.read(target, this.start + held);
  }
}

function larger(buffer: Uint8Array, needed: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Math.max(needed, Math.min(2 * buffer.length, needed + CHUNK_BYTES)));
}
