/**
 * MMSBSNAP reader: a checkpoint of the older system, version 2.
 *
 * Little endian: "MMSBSNAP", u32 version, u32 number of pages, u64 offset in the log, then pages:
 * u64 id, u64 size, u32 epoch, i32 location, u32 length and metadata, u32 length and data.
 *
 * Cost: memory for the largest page, at most 17 MiB.
 *
 * @module
 */

import { equalBytes, METADATA_BYTES_MAX, PAGE_BYTES_MAX } from "../base/mod.ts";
import { decodeMetadata, type Metadata } from "../physical/mod.ts";
import {
  type ImportRefusal,
  type ImportSource,
  ImportWindow,
  refuseImport,
} from "./import_source.ts";

/** First bytes of the older checkpoint. */
export const OLD_SNAPSHOT_MAGIC: Uint8Array = new TextEncoder().encode("MMSBSNAP");
/** The version of it. */
export const OLD_SNAPSHOT_VERSION = 2;
const HEADER_BYTES = 24;
/** Bytes of a page without metadata and data. */
const PAGE_BYTES_LEAST = 32;
/** Where a page was, by number. */
export const OLD_LOCATIONS: readonly string[] = ["cpu", "gpu", "unified"];

/** One page of an older checkpoint; its data is good until the next one is read. */
export interface OldPage {
  /** Which page, from 1. */
  readonly number: number;
  /** First byte of it in the file. */
  readonly offset: number;
  /** Page id: a number, or a bigint where it is past 2^53. */
  readonly id: number | bigint;
  /** Bytes. */
  readonly size: number;
  /** Epoch. */
  readonly epoch: number;
  /** Location: 0 cpu, 1 gpu, 2 unified. */
  readonly location: number;
  /** Metadata. */
  readonly metadata: Metadata;
  /** The bytes. */
  readonly data: Uint8Array;
}

/** Reads the pages of an older checkpoint one after the other. */
export class OldSnapshotReader {
  /** Pages that it says it has. */
  readonly pages: number;
  /** Offset in the log at which it was made. */
  readonly logOffset: number;
  readonly #window: ImportWindow;
  readonly #ids = new Set<number | bigint>();
  #number = 0;

  /**
   * Reads the header.
   *
   * @throws {MmsbError} `corrupt-log` where it is none, `version` where it is another one.
   */
  constructor(source: ImportSource) {
    const window = this.#window = new ImportWindow(source);
    if (!window.has(HEADER_BYTES)) this.#refuse("magic", 0, "the file ends in its header");
    const at = window.skip(OLD_SNAPSHOT_MAGIC.length);
    if (!equalBytes(window.bytes(at, OLD_SNAPSHOT_MAGIC.length), OLD_SNAPSHOT_MAGIC)) {
      this.#refuse("magic", 0, "it is not MMSBSNAP");
    }
    const version = window.u32();
    if (version !== OLD_SNAPSHOT_VERSION) {
      const place = { offset: 8, number: 0, unit: "page", field: "version" };
      refuseImport(source, place, `version ${version} is not known, only 2`, { code: "version" });
    }
    this.pages = window.u32();
    this.logOffset = window.u32() + window.u32() * 2 ** 32;
    if (this.pages * PAGE_BYTES_LEAST > window.left) {
      this.#refuse(
        "page count",
        12,
        `it is ${this.pages} and ${window.left} bytes are left in the file`,
      );
    }
  }

  /**
   * The next page, `undefined` after the last.
   *
   * @throws {MmsbError} `corrupt-log` where it is cut or wrong, or bytes follow the last, `limit`
   * where it is larger than pages can be here.
   */
  next(): OldPage | undefined {
    const window = this.#window;
    window.mark();
    if (this.#number === this.pages) {
      if (window.left === 0) return undefined;
      this.#number++;
      this.#refuse("end", window.position, `${window.left} bytes follow the last page`);
    }
    this.#number++;
    const offset = window.position;
    const id = this.#u64("page id");
    if (this.#ids.has(id)) this.#refuse("page id", offset, `page ${id} was there before`);
    this.#ids.add(id);
    const size = Number(this.#u64("size"));
    if (size < 1 || size > PAGE_BYTES_MAX) {
      this.#refuse("size", offset + 8, `it is ${size}, pages have 1 byte to 16 MiB`, {
        code: "limit",
      });
    }
    const epoch = this.#u32("epoch"), location = this.#u32("location") | 0;
    if (OLD_LOCATIONS[location] === undefined) {
      this.#refuse("location", offset + 20, `it is ${location}, not 0, 1 or 2`);
    }
    const metadataAt = this.#part("metadata", METADATA_BYTES_MAX);
    const lengthAt = window.position;
    const dataAt = this.#part("data", PAGE_BYTES_MAX);
    if (dataAt.length !== size) {
      this.#refuse("data length", lengthAt, `it is ${dataAt.length}, the page has ${size} bytes`);
    }
    return {
      number: this.#number,
      offset,
      id,
      size,
      epoch,
      location,
      metadata: this.#metadata(metadataAt, lengthAt),
      data: window.bytes(dataAt.at, dataAt.length),
    };
  }

  #u32(field: string): number {
    if (!this.#window.has(4)) this.#cut(field);
    return this.#window.u32();
  }

  #u64(field: string): number | bigint {
    const low = this.#u32(field), high = this.#u32(field);
    return high < 2 ** 21 ? high * 2 ** 32 + low : BigInt(high) << 32n | BigInt(low);
  }

  #part(field: string, max: number): { at: number; length: number } {
    const place = this.#window.position;
    const length = this.#u32(`${field} length`);
    const { left } = this.#window;
    if (length > left) {
      this.#refuse(`${field} length`, place, `it is ${length} and ${left} bytes are left`);
    }
    if (length > max) {
      this.#refuse(`${field} length`, place, `it is ${length}, at most ${max} can be`, {
        code: "limit",
      });
    }
    if (!this.#window.has(length)) this.#cut(field);
    return { at: this.#window.skip(length), length };
  }

  #metadata({ at, length }: { at: number; length: number }, end: number): Metadata {
    try {
      return decodeMetadata(this.#window.bytes(at, length));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#refuse("metadata", end - length, reason, { cause });
    }
  }

  #cut(field: string): never {
    const { source, position } = this.#window;
    this.#refuse(field, position, `the file ends in it, at byte ${source.size}`);
  }

  #refuse(
    field: string,
    offset: number,
    reason: string,
    refusal: ImportRefusal = {},
  ): never {
    const place = { offset, number: this.#number, unit: "page", field };
    refuseImport(this.#window.source, place, reason, refusal);
  }
}
