/**
 * Log builder: writes the log of a new directory below the bus, tick by tick, as it is told to.
 *
 * The bus decides what a tick is, stamps it and checks it; what comes from elsewhere (an import, a
 * salvaged log) has all that already, and must keep it: tick numbers, times, epochs, sequences. So
 * this writes rows as they are given, and checks only what would make a log that cannot be read:
 * ticks and times that do not rise.
 *
 * Nothing is known of the directory until `close` has written its end; a builder that is given up
 * leaves files that nobody should open.
 *
 * Cost: that of writing the log itself, and one tick in memory.
 *
 * @module
 */

import { assert, MmsbError, SHARDS_DEFAULT } from "../base/mod.ts";
import { timestampHi, timestampLo } from "../temporal/mod.ts";
import { encodeBirth } from "./birth.ts";
import { FORMAT, ROW_KIND, SEGMENT_HEADER_BYTES, STRUCTURAL } from "./format.ts";
import { isDeltas } from "./frame_reader.ts";
import { FrameWriter } from "./frame_writer.ts";
import { type LogRow, RowColumns } from "./import_columns.ts";
import { LaneSet } from "./lane_set.ts";
import { participantsOf } from "./log_reader.ts";
import { type DirectoryMeta, writeMeta } from "./meta.ts";
import { endWriting, type SegmentSizes } from "./recovery.ts";
import type { Metadata } from "../physical/mod.ts";
import type { Storage } from "./storage.ts";

/** Options of {@linkcode LogBuilder}. */
export interface LogBuilderOptions extends SegmentSizes {
  /** Shards of the directory. Default 24. */
  readonly shards?: number;
  /** Incarnation that the first ticks have. Default 1. */
  readonly incarnation?: number;
}

/** What a tick begins with. */
export interface BuilderTick {
  /** Its number; where it is not the next one, it stands for those between as well. */
  readonly tick: number;
  /** Incarnation of its writer; never falls. Default: that of the tick before. */
  readonly incarnation?: number;
  /** Graph version. Default: that of the tick before. */
  readonly graphVersion?: number;
  /** Error bound of the clock in µs. Default 0. */
  readonly clockErrorUs?: number;
}

/** One frame of rows. */
export interface BuilderFrame {
  /** Row kind. Default data. */
  readonly rowKind?: number;
  /** Producer. Default 0. */
  readonly producer?: number;
  /** The producer's sequence number. Default 0. */
  readonly sequence?: number;
  /** Time of its first row; row i has this + i. */
  readonly hlc: bigint;
}

/** A page to be born. */
export interface BuilderBirth {
  /** Its id. */
  readonly page: number;
  /** Bytes. */
  readonly size: number;
  /** Shard. */
  readonly shard: number;
  /** Name, "" for none. */
  readonly name: string;
  /** Metadata. */
  readonly metadata?: Metadata;
}

const INLINE_LANES = participantsOf([0]);
const META_OF_NEW = { format: FORMAT, closed: null } as const;

/**
 * Writes the log of a new directory.
 *
 * @example A page, born and written to
 * ```ts
 * import assert from "node:assert/strict";
 * import { auditLog, MemoryStorage } from "./mod.ts";
 *
 * const storage = new MemoryStorage();
 * const builder = new LogBuilder(storage, { shards: 1 });
 * await builder.begin({ tick: 1 });
 * builder.births([{ page: 1, size: 4, shard: 0, name: "board" }], 4096n);
 * const rows = builder.rows();
 * rows.push({ page: 1, epoch: 1, kind: 0, offset: 0, length: 2, payload: Uint8Array.of(1, 2) });
 * builder.frame(rows, { producer: 1, sequence: 1, hlc: 4097n });
 * await builder.commit(4098n, 2);
 * await builder.close();
 * assert.deepEqual(auditLog(storage).problems, []);
 * ```
 */
export class LogBuilder {
  /** Last tick that was committed, 0 for none. */
  tick = 0;
  /** Rows of deltas written. */
  deltas = 0;

  readonly #storage: Storage;
  readonly #sizes: SegmentSizes;
  readonly #frames = new FrameWriter();
  /** Columns that no tick holds; a frame refers to its own until the tick is written. */
  readonly #free: RowColumns[] = [];
  #used: RowColumns[] = [];
  #meta: DirectoryMeta;
  #writer: LaneSet | undefined;
  #begun: Required<BuilderTick> | undefined;
  #hlcLast = 0n;
  #nextPageId = 1;
  #nextRule = 1;
  #graphVersion = 0;

  /**
   * Makes the directory's folder and metadata.
   *
   * @param storage Where it goes; empty.
   * @param options Shards and sizes of segments.
   * @throws {MmsbError} `disk-full`, `read-only` or `io` where it cannot be made.
   */
  constructor(storage: Storage, options: LogBuilderOptions = {}) {
    const { shards = SHARDS_DEFAULT, incarnation = 1, ...sizes } = options;
    this.#storage = storage;
    this.#sizes = sizes;
    this.#meta = { ...META_OF_NEW, shards, incarnation, lanes: [] };
    storage.makeFolder("");
    writeMeta(storage, this.#meta);
  }

  /** The time that was given last. */
  get hlcLast(): bigint {
    return this.#hlcLast;
  }

  /**
   * Begins a tick.
   *
   * @throws {MmsbError} `usage` where its number or incarnation does not rise.
   */
  async begin(head: BuilderTick): Promise<void> {
    const { incarnation = this.#meta.incarnation, clockErrorUs = 0 } = head;
    const { graphVersion = this.#graphVersion } = head;
    assert(this.#begun === undefined, "a tick begins when the one before was committed");
    if (head.tick <= this.tick || incarnation < this.#meta.incarnation) {
      throw new MmsbError(
        "usage",
        `Cannot write tick ${head.tick} of incarnation ${incarnation} after tick ${this.tick} of ${this.#meta.incarnation}: both must rise`,
        { values: { tick: head.tick, incarnation, tickLast: this.tick } },
      );
    }
    if (this.#writer === undefined || incarnation > this.#meta.incarnation) {
      await this.#open(incarnation);
    }
    this.#begun = { tick: head.tick, incarnation, graphVersion, clockErrorUs };
    this.#graphVersion = graphVersion;
    this.#frames.begin({
      ...this.#begun,
      lane: 0,
      participants: INLINE_LANES,
      syncedPosition: this.#writer!.syncedPosition,
      span: head.tick - this.tick - 1,
    });
  }

  /** Empty columns for a frame of this tick. */
  rows(): RowColumns {
    const rows = this.#free.pop() ?? new RowColumns();
    rows.clear();
    return rows;
  }

  /** Adds a frame; its columns are not to be changed any more. Nothing is written without rows. */
  frame(rows: RowColumns, about: BuilderFrame): void {
    assert(this.#begun !== undefined, "a frame belongs to a tick");
    this.#used.push(rows);
    if (rows.rows === 0) return;
    const { rowKind = ROW_KIND.data, producer = 0, sequence = 0, hlc } = about;
    this.#stamp(hlc, rows.rows);
    const hasDeltas = isDeltas(rowKind);
    if (hasDeltas) this.deltas += rows.rows;
    const columns = rows.frame();
    if (rowKind === ROW_KIND.rule) {
      for (const number of columns.columns.offset.subarray(0, rows.rows)) {
        this.#nextRule = Math.max(this.#nextRule, (number >>> 0) + 1);
      }
    }
    this.#frames.addRows({
      ...columns,
      rowKind,
      producer,
      sequence,
      hlcHi: timestampHi(hlc),
      hlcLo: timestampLo(hlc),
      epochs: hasDeltas,
    });
  }

  /** Adds a frame of births. */
  births(pages: readonly BuilderBirth[], hlc: bigint): void {
    const rows = this.rows();
    for (const { page, size, shard, name, metadata } of pages) {
      const payload = encodeBirth(name, metadata);
      rows.push(structuralRow(page, STRUCTURAL.createPage, { size, shard, payload }));
      this.#nextPageId = Math.max(this.#nextPageId, page + 1);
    }
    this.frame(rows, { rowKind: ROW_KIND.structural, hlc });
  }

  /** Makes the tick whole and writes it. */
  async commit(hlc: bigint, nextPageId = 0, nextRule = 1): Promise<void> {
    assert(this.#begun !== undefined, "a commit belongs to a tick");
    this.#stamp(hlc, 1);
    this.#nextPageId = Math.max(this.#nextPageId, nextPageId);
    this.#nextRule = Math.max(this.#nextRule, nextRule);
    const { hi, lo } = { hi: timestampHi(hlc), lo: timestampLo(hlc) };
    this.#frames.addCommit(hi, lo, this.#nextPageId, this.#nextRule);
    await this.#writer!.reserve([this.#frames.byteLength]);
    this.#writer!.append([this.#frames.finish()]);
    this.tick = this.#begun.tick;
    this.#begun = undefined;
    this.#free.push(...this.#used.splice(0, COLUMNS_KEPT));
    this.#used = [];
  }

  /**
   * Makes all durable and records the end.
   *
   * @param last What else the directory says: the number of the last writer, where it wrote no tick,
   * and the tick before which states are gone, as it stands for earlier ones.
   * @throws {MmsbError} where the last sync fails.
   */
  async close(
    last: { readonly incarnation?: number; readonly horizon?: number } = {},
  ): Promise<void> {
    const { incarnation = 0, horizon = 0 } = last;
    if (this.#writer === undefined) await this.#open(this.#meta.incarnation);
    const writer = this.#writer!;
    const start = { lane: 0, segment: 1, offset: SEGMENT_HEADER_BYTES };
    const place = { ...start, position: SEGMENT_HEADER_BYTES };
    const meta = {
      ...this.#meta,
      incarnation: Math.max(incarnation, this.#meta.incarnation),
      ...(horizon === 0 ? {} : { base: { tick: 0, horizon, lanes: [place] } }),
    };
    await endWriting(this.#storage, meta, writer, this.tick, this.#hlcLast);
    if (writer.failure !== undefined) throw writer.failure;
  }

  /** Lets go of the files, after a failure. */
  async abandon(): Promise<void> {
    await this.#writer?.abandon();
  }

  /** Begins a segment with a new incarnation, as a writer that opens the directory again would. */
  async #open(incarnation: number): Promise<void> {
    const before = this.#writer;
    await before?.close();
    if (before?.failure !== undefined) throw before.failure;
    const number = (before?.segmentOf(0) ?? 0) + 1, position = before?.position ?? 0;
    const start = { lane: 0, number, position, incarnation, ...this.#sizes };
    this.#writer = new LaneSet(this.#storage, [start]);
    this.#meta = {
      ...this.#meta,
      incarnation,
      lanes: [{ lane: 0, segment: number, position }],
    };
    writeMeta(this.#storage, this.#meta);
  }

  #stamp(hlc: bigint, rows: number): void {
    if (hlc <= this.#hlcLast) {
      throw new MmsbError(
        "usage",
        `Cannot write a row of time ${hlc} after one of time ${this.#hlcLast}: times must rise`,
        { values: { hlc: String(hlc), hlcLast: String(this.#hlcLast) } },
      );
    }
    this.#hlcLast = hlc + BigInt(rows - 1);
  }
}

/** Columns that are kept from tick to tick. */
const COLUMNS_KEPT = 16;
const EMPTY = new Uint8Array(0);

/** A structural row, or one of a rule or mark: an operation on a page. */
export function structuralRow(
  page: number,
  operation: number,
  { size = 0, shard = 0, payload = EMPTY }: {
    readonly size?: number;
    readonly shard?: number;
    readonly payload?: Uint8Array;
  } = {},
): LogRow {
  return { page, kind: operation, offset: size, shard, length: payload.length, payload };
}
