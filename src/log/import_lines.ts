/**
 * Import lines: the lines of a file as JSON objects, and their fields, checked.
 *
 * Whatever is wrong is refused with the line's number, its byte and the field, because a file of a
 * million lines is searched by those.
 *
 * Cost: a parse a line; memory for the longest line, at most 64 MiB.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, MmsbError } from "../base/mod.ts";
import { encodeMetadata, type Metadata } from "../physical/mod.ts";
import { fromBase64 } from "./export_line.ts";
import { type ImportSource, refuseImport } from "./import_source.ts";

/** Longest line: a page of 16 MiB in base64, its mask and texts fit. */
export const LINE_BYTES_MAX: number = 64 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const NEWLINE = 10;

/** A line of a source: an object with a `type`, whose fields are taken by name and kind. */
export class ImportLine {
  /** Which line, from 1. */
  readonly number: number;
  /** Its `type`. */
  readonly type: string;
  readonly #source: ImportSource;
  readonly #offset: number;
  readonly #values: Readonly<Record<string, unknown>>;

  /**
   * Reads a line.
   *
   * @throws {MmsbError} `corrupt-log` where it is no JSON object with a `type`.
   */
  constructor(source: ImportSource, number: number, offset: number, bytes: Uint8Array) {
    this.#source = source;
    this.number = number;
    this.#offset = offset;
    let value: unknown;
    try {
      value = JSON.parse(decodeUtf8("line", bytes, "corrupt-log"));
    } catch (cause) {
      this.refuse("line", "it is no JSON in UTF-8", cause);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.refuse("line", "it is no JSON object");
    }
    this.#values = value as Record<string, unknown>;
    this.type = this.text("type", 64);
  }

  /** Whether it has a field. */
  has(field: string): boolean {
    return Object.hasOwn(this.#values, field);
  }

  /** Refuses fields that nobody reads: a misspelt one must not be lost without a word. */
  only(fields: ReadonlySet<string>): void {
    for (const field of Object.keys(this.#values)) {
      if (!fields.has(field)) {
        this.refuse(field, `a ${this.type} line has no such field`);
      }
    }
  }

  /** An integer in a range. */
  integer(field: string, min: number, max: number): number {
    const value = this.#values[field];
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      this.refuse(field, `it is ${shown(value)}, not an integer from ${min} to ${max}`);
    }
    return value as number;
  }

  /** An integer in a range, or what stands for its absence. */
  integerOr(field: string, min: number, max: number, absent: number): number {
    return this.has(field) ? this.integer(field, min, max) : absent;
  }

  /** A finite number, if it is there. */
  numberOr(field: string): number | undefined {
    if (!this.has(field)) return undefined;
    const value = this.#values[field];
    if (!Number.isFinite(value)) this.refuse(field, `it is ${shown(value)}, not a number`);
    return value as number;
  }

  /** A boolean, `false` where it is absent. */
  boolean(field: string): boolean {
    const value = this.#values[field] ?? false;
    if (typeof value !== "boolean") this.refuse(field, `it is ${shown(value)}, not a boolean`);
    return value as boolean;
  }

  /** A text of so many bytes of UTF-8 at most. */
  text(field: string, bytesMax: number): string {
    const value = this.#values[field];
    if (typeof value !== "string") this.refuse(field, `it is ${shown(value)}, not a text`);
    try {
      encodeUtf8(field, value as string, bytesMax);
    } catch (cause) {
      this.refuse(field, `it is longer than ${bytesMax} bytes, or no Unicode`, cause);
    }
    return value as string;
  }

  /** A text, "" where it is absent. */
  textOr(field: string, bytesMax: number): string {
    return this.has(field) ? this.text(field, bytesMax) : "";
  }

  /** An unsigned 64-bit integer, written as digits. */
  digits(field: string, value: unknown = this.#values[field]): bigint {
    if (typeof value !== "string" || !/^\d{1,20}$/.test(value) || BigInt(value) >= 2n ** 64n) {
      this.refuse(field, `it is ${shown(value)}, not a whole number below 2^64 as text`);
    }
    return BigInt(value as string);
  }

  /** Bytes in base64. */
  bytes(field: string, value: unknown = this.#values[field]): Uint8Array {
    const bytes = typeof value === "string" ? fromBase64(value) : undefined;
    if (bytes === undefined) this.refuse(field, `it is ${shown(value)}, not base64`);
    return bytes;
  }

  /** Metadata, empty where it is absent. */
  metadata(): Metadata {
    const value = this.#values.metadata ?? [];
    const metadata = new Map<string, Uint8Array>();
    if (!Array.isArray(value)) this.refuse("metadata", "it is no array");
    for (const entry of value as unknown[]) {
      if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== "string") {
        this.refuse("metadata", "an entry is not [key, base64]");
      }
      const [key, text] = entry as [string, unknown];
      if (metadata.has(key)) this.refuse("metadata", `key ${shown(key)} is there twice`);
      metadata.set(key, this.bytes("metadata", text));
    }
    try {
      encodeMetadata(metadata);
    } catch (cause) {
      this.refuse("metadata", cause instanceof Error ? cause.message : String(cause), cause);
    }
    return metadata;
  }

  /** A part that is an object itself, if it is there. */
  part(field: string): Readonly<Record<string, unknown>> | undefined {
    if (!this.has(field)) return undefined;
    const value = this.#values[field];
    if (typeof value !== "object" || value === null) {
      this.refuse(field, `it is ${shown(value)}, not an object`);
    }
    return value as Record<string, unknown>;
  }

  /** Throws that the line is wrong. */
  refuse(field: string, reason: string, cause?: unknown): never {
    const isLimit = cause instanceof MmsbError && cause.code === "limit";
    refuseImport(
      this.#source,
      { offset: this.#offset, number: this.number, unit: "line", field },
      reason,
      { code: isLimit ? "limit" : "corrupt-log", cause },
    );
  }
}

/**
 * The lines of a source, one at a time.
 *
 * @throws {MmsbError} `corrupt-log` where one is no JSON object, `limit` where one is too long.
 */
export function* importLines(source: ImportSource): Generator<ImportLine> {
  let buffer = new Uint8Array(CHUNK_BYTES), first = 0, held = 0, number = 0;
  // Byte of the source at which the buffer begins, and how far it was searched.
  let start = 0, searched = 0;
  for (;;) {
    const end = buffer.subarray(0, held).indexOf(NEWLINE, searched);
    if (end >= 0) {
      yield new ImportLine(source, ++number, start + first, buffer.subarray(first, end));
      first = searched = end + 1;
      continue;
    }
    const rest = held - first;
    if (rest >= LINE_BYTES_MAX) {
      const place = { offset: start + first, number: number + 1, unit: "line", field: "line" };
      refuseImport(source, place, `it is longer than ${LINE_BYTES_MAX} bytes`, { code: "limit" });
    }
    if (rest > buffer.length / 2) {
      const larger = new Uint8Array(2 * buffer.length);
      larger.set(buffer.subarray(first, held));
      buffer = larger;
    } else {
      buffer.copyWithin(0, first, held);
    }
    start += first;
    first = 0;
    searched = held = rest;
    const read = source.read(buffer.subarray(held), start + held);
    if (read === 0) break;
    held += read;
  }
  if (held > first) {
    yield new ImportLine(source, ++number, start + first, buffer.subarray(first, held));
  }
}

/** Longest piece of a file that a message repeats, in characters. */
const SHOWN_CHARACTERS = 40;

function shown(value: unknown): string {
  if (value === undefined) return "absent";
  const text = JSON.stringify(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}
