/**
 * MMSBLOG1 reader: the log of the older system, versions 1 and 2.
 *
 * Little endian: "MMSBLOG1", u32 version, then frames: u64 delta id, u64 page id, u32 epoch, u32
 * mask length and a byte a flag, u32 payload length and payload, u8 sparse, u64 time in ns, u32
 * source length and source, in version 2 u32 intent length and intent. A dense payload has a byte a
 * flag, a sparse one a byte a set flag; either way only flagged bytes are written.
 *
 * The format has no checksums, so everything that can be checked is: flags are 0 or 1, lengths agree
 * with each other and with the file, texts are UTF-8. A wrong payload byte cannot be found.
 *
 * Cost: a look at each flag, and an object a frame; memory for the largest frame, at most 33 MiB.
 *
 * @module
 */

import { decodeUtf8, equalBytes, PAGE_BYTES_MAX, STRING_BYTES_MAX } from "../base/mod.ts";
import { type OldPart, OldRecords } from "./_old_records.ts";
import { type ImportSource, refuseImport } from "./import_source.ts";

/** First bytes of the older log. */
export const OLD_LOG_MAGIC: Uint8Array = new TextEncoder().encode("MMSBLOG1");
/** Newest version of it. */
export const OLD_LOG_VERSION_MAX = 2;
/** Bytes before the first frame. */
const HEADER_BYTES = 12;

/** One frame of the older log; its bytes are good until the next one is read. */
export interface OldDelta {
  /** Which frame, from 1. */
  readonly number: number;
  /** First byte of the frame in the file. */
  readonly offset: number;
  /** First byte behind it. */
  readonly end: number;
  /** Low half of the delta's id. */
  readonly idLow: number;
  /** High half. */
  readonly idHigh: number;
  /** Page id: a number, or a bigint where it is past 2^53. */
  readonly page: number | bigint;
  /** Epoch. */
  readonly epoch: number;
  /** A byte a flag, 0 or 1. */
  readonly flags: Uint8Array;
  /** First flag that is set; the number of flags where none is. */
  readonly first: number;
  /** Behind the last flag that is set; 0 where none is. */
  readonly last: number;
  /** Flags that are set. */
  readonly set: number;
  /** Payload. */
  readonly payload: Uint8Array;
  /** Whether the payload has the flagged bytes only. */
  readonly sparse: boolean;
  /** Time in µs since the Unix epoch. */
  readonly timeUs: number;
  /** Source. */
  readonly source: string;
  /** Intent, "" for none. */
  readonly intent: string;
}

/** Reads the frames of an older log one after the other. */
export class OldLogReader {
  /** Version of the file. */
  readonly version: number;
  readonly #records: OldRecords;

  /**
   * Reads the header.
   *
   * @throws {MmsbError} `corrupt-log` where it is none, `version` where it is a newer one.
   */
  constructor(source: ImportSource) {
    const records: OldRecords = this.#records = new OldRecords(source, "frame");
    const { window } = records;
    if (!window.has(HEADER_BYTES)) records.refuse("magic", 0, "the file ends in it");
    const at = window.skip(OLD_LOG_MAGIC.length);
    if (!equalBytes(window.bytes(at, OLD_LOG_MAGIC.length), OLD_LOG_MAGIC)) {
      records.refuse("magic", 0, "it is not MMSBLOG1");
    }
    this.version = window.u32();
    if (this.version > OLD_LOG_VERSION_MAX) {
      refuseImport(
        source,
        { offset: 8, number: 0, unit: "frame", field: "version" },
        `version ${this.version} is not known, only 1 and 2`,
        { code: "version" },
      );
    }
    if (this.version === 0) records.refuse("version", 8, "there is no version 0");
  }

  /**
   * The next frame, `undefined` at the end of the file.
   *
   * @throws {MmsbError} `corrupt-log` where it is cut or wrong, `limit` where it is larger than pages
   * and texts can be here.
   */
  next(): OldDelta | undefined {
    const records = this.#records, { window } = records;
    window.mark();
    if (window.left === 0) return undefined;
    records.number++;
    const offset = window.position;
    const idLow = records.u32("delta id"), idHigh = records.u32("delta id");
    const page = records.u64("page id");
    const epoch = records.u32("epoch");
    const flagsAt = records.part("flags", PAGE_BYTES_MAX, { length: "mask length" });
    const flags = this.#flags(flagsAt);
    const payloadPlace = window.position;
    const payloadAt = records.part("payload", flagsAt.length, { limit: "the mask" });
    const sparse = this.#sparse();
    const expected = sparse ? flags.set : flagsAt.length;
    if (payloadAt.length !== expected) {
      const what = sparse ? `${flags.set} flags are set` : `there are ${flagsAt.length} flags`;
      const how = sparse ? "sparse" : "dense";
      records.refuse(
        "payload length",
        payloadPlace,
        `it is ${payloadAt.length}, the delta is ${how} and ${what}`,
      );
    }
    const timeUs = this.#timeUs();
    const source = this.#text("source");
    const intent = this.version === 1 ? "" : this.#text("intent");
    return {
      number: records.number,
      offset,
      end: window.position,
      idLow,
      idHigh,
      page,
      epoch,
      ...flags,
      flags: window.bytes(flagsAt.at, flagsAt.length),
      payload: window.bytes(payloadAt.at, payloadAt.length),
      sparse,
      timeUs,
      source,
      intent,
    };
  }

  /** Looks at each flag: a byte that is neither 0 nor 1 is a fault. */
  #flags({ at, length }: OldPart) {
    const flags = this.#records.window.bytes(at, length);
    let set = 0, first = length, last = 0, or = 0;
    for (let i = 0; i < length; i++) {
      const flag = flags[i];
      or |= flag;
      set += flag;
    }
    if (or > 1) {
      const bad = flags.findIndex((flag) => flag > 1);
      const place = this.#records.window.position - length + bad;
      this.#records.refuse("flags", place, `flag ${bad} is ${flags[bad]}, not 0 or 1`);
    }
    if (set > 0) {
      first = flags.indexOf(1);
      last = flags.lastIndexOf(1) + 1;
    }
    return { set, first, last };
  }

  #sparse(): boolean {
    const { position } = this.#records.window;
    if (!this.#records.window.has(1)) this.#records.cut("sparse");
    const byte = this.#records.window.u8();
    if (byte > 1) this.#records.refuse("sparse", position, `it is ${byte}, not 0 or 1`);
    return byte === 1;
  }

  #timeUs(): number {
    const low = this.#records.u32("time"), high = this.#records.u32("time");
    // Exact below 2^53 ns; above it in two steps, as a double has no room for the sum.
    if (high < 2 ** 21) return Math.floor((high * 2 ** 32 + low) / 1000);
    return Number((BigInt(high) << 32n | BigInt(low)) / 1000n);
  }

  #text(field: string): string {
    const { at, length } = this.#records.part(field, STRING_BYTES_MAX);
    const place = this.#records.window.position - length;
    try {
      return decodeUtf8(field, this.#records.window.bytes(at, length));
    } catch (cause) {
      this.#records.refuse(field, place, "it is not UTF-8", { cause });
    }
  }
}
