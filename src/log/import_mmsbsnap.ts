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
import { type OldPart, OldRecords } from "./_old_records.ts";
import { type ImportSource, refuseImport } from "./import_source.ts";

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
  readonly #records: OldRecords;
  readonly #ids = new Set<number | bigint>();

  /**
   * Reads the header.
   *
   * @throws {MmsbError} `corrupt-log` where it is none, `version` where it is another one.
   */
  constructor(source: ImportSource) {
    const records: OldRecords = this.#records = new OldRecords(source, "page");
    const { window } = records;
    if (!window.has(HEADER_BYTES)) records.refuse("magic", 0, "the file ends in its header");
    const at = window.skip(OLD_SNAPSHOT_MAGIC.length);
    if (!equalBytes(window.bytes(at, OLD_SNAPSHOT_MAGIC.length), OLD_SNAPSHOT_MAGIC)) {
      records.refuse("magic", 0, "it is not MMSBSNAP");
    }
    const version = window.u32();
    if (version !== OLD_SNAPSHOT_VERSION) {
      const place = { offset: 8, number: 0, unit: "page", field: "version" };
      refuseImport(source, place, `version ${version} is not known, only 2`, { code: "version" });
    }
    this.pages = window.u32();
    this.logOffset = window.u32() + window.u32() * 2 ** 32;
    if (this.pages * PAGE_BYTES_LEAST > window.left) {
      records.refuse(
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
    const records = this.#records, { window } = records;
    window.mark();
    if (records.number === this.pages) {
      if (window.left === 0) return undefined;
      records.number++;
      records.refuse("end", window.position, `${window.left} bytes follow the last page`);
    }
    records.number++;
    const offset = window.position;
    const id = records.u64("page id");
    if (this.#ids.has(id)) records.refuse("page id", offset, `page ${id} was there before`);
    this.#ids.add(id);
    const size = Number(records.u64("size"));
    if (size < 1 || size > PAGE_BYTES_MAX) {
      records.refuse("size", offset + 8, `it is ${size}, pages have 1 byte to 16 MiB`, {
        code: "limit",
      });
    }
    const epoch = records.u32("epoch"), location = records.u32("location") | 0;
    if (OLD_LOCATIONS[location] === undefined) {
      records.refuse("location", offset + 20, `it is ${location}, not 0, 1 or 2`);
    }
    const metadataAt = records.part("metadata", METADATA_BYTES_MAX);
    const lengthAt = window.position;
    const dataAt = records.part("data", PAGE_BYTES_MAX);
    if (dataAt.length !== size) {
      records.refuse("data length", lengthAt, `it is ${dataAt.length}, the page has ${size} bytes`);
    }
    return {
      number: records.number,
      offset,
      id,
      size,
      epoch,
      location,
      metadata: this.#metadata(metadataAt, lengthAt),
      data: window.bytes(dataAt.at, dataAt.length),
    };
  }

  #metadata({ at, length }: OldPart, end: number): Metadata {
    try {
      return decodeMetadata(this.#records.window.bytes(at, length));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#records.refuse("metadata", end - length, reason, { cause });
    }
  }
}
