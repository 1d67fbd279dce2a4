/**
 * Segment index builder: the index of a segment that is still being written, or was never indexed.
 *
 * It takes the segment's ticks one by one and can be asked at any time; at the end of the segment it
 * gives the index that is kept.
 *
 * Cost: each row is noted, and sorted at the end; 40 bytes of memory a tick beside the rows.
 *
 * @module
 */

import { readColumn } from "./column_codec.ts";
import { GrowingRows } from "./_page_rows.ts";
import { ROW_KIND, SECTION } from "./format.ts";
import type { FrameHeader } from "./frame_reader.ts";
import type { LaneTick } from "./lane_reader.ts";
import {
  decodeIndex,
  encodeIndex,
  type SegmentColumns,
  type SegmentIndex,
  type SegmentSummary,
} from "./segment_index.ts";

/** Makes the index of one segment. */
export class SegmentIndexBuilder {
  readonly #rows = new GrowingRows();
  readonly #ticks: number[] = [];
  readonly #tickHlcs: bigint[] = [];
  readonly #tickAts: number[] = [];
  readonly #frameAts: number[] = [];
  readonly #frameLengths: number[] = [];
  readonly #frameRows: number[] = [];
  readonly #frameTicks: number[] = [];
  readonly #frameKinds: number[] = [];
  #scratch = new Int32Array(1024);
  #summary: SegmentSummary;
  #columns: SegmentColumns | undefined;

  /**
   * Begins before a tick.
   *
   * @param tick The first tick, which is not added yet.
   * @param tickBefore The last tick before it.
   */
  constructor(tick: LaneTick, tickBefore: number) {
    const first = (tick.frames[0] ?? tick.commitFrame).at;
    this.#summary = {
      lane: tick.lane,
      number: tick.number,
      incarnation: tick.commitFrame.incarnation,
      position: tick.position,
      first,
      end: first,
      lastAt: first,
      lastCheck: 0,
      tickBefore,
      tickLast: tickBefore,
      hlcFirst: tick.commitFrame.hlcLast,
      hlcLast: 0n,
    };
  }

  /** The segment as far as it is indexed. */
  get summary(): SegmentSummary {
    return this.#summary;
  }

  /** Adds a tick. */
  add(tick: LaneTick): void {
    const { commitFrame } = tick;
    for (const frame of tick.frames) {
      if (frame.rowKind !== ROW_KIND.commit && frame.rows > 0) this.#addFrame(tick, frame);
    }
    this.#ticks.push(tick.tick);
    this.#tickHlcs.push(commitFrame.hlcLast);
    this.#tickAts.push((tick.frames[0] ?? commitFrame).at);
    const { hlcFirst, hlcLast } = this.#summary, hlc = commitFrame.hlcLast;
    this.#summary = {
      ...this.#summary,
      end: commitFrame.at + commitFrame.length,
      lastAt: commitFrame.at,
      lastCheck: commitFrame.check,
      tickLast: tick.tick,
      hlcFirst: hlc < hlcFirst ? hlc : hlcFirst,
      hlcLast: hlc > hlcLast ? hlc : hlcLast,
    };
    this.#columns = undefined;
  }

  #addFrame(tick: LaneTick, frame: FrameHeader): void {
    if (frame.rows > this.#scratch.length) this.#scratch = new Int32Array(frame.rows);
    const pages = this.#scratch;
    const section = frame.sections.get(SECTION.page);
    // A column that is damaged under whole checksums is found, and named, where it is read.
    const isRead = section !== undefined &&
      readColumn(
        section.encoding,
        tick.segment.buffer,
        section.at,
        section.length,
        frame.rows,
        pages,
      );
    if (!isRead) pages.fill(0, 0, frame.rows);
    this.#frameAts.push(frame.at);
    this.#frameLengths.push(frame.length);
    this.#frameRows.push(this.#rows.length);
    this.#frameTicks.push(this.#ticks.length);
    this.#frameKinds.push(frame.rowKind);
    this.#rows.add(pages, frame.rows);
  }

  /** Ticks and frames so far. */
  get columns(): SegmentColumns {
    return this.#columns ??= {
      ticks: Float64Array.from(this.#ticks),
      tickHlcs: BigUint64Array.from(this.#tickHlcs),
      tickAts: Uint32Array.from(this.#tickAts),
      frameAts: Uint32Array.from(this.#frameAts),
      frameLengths: Uint32Array.from(this.#frameLengths),
      frameRows: Uint32Array.from(this.#frameRows),
      frameTicks: Uint32Array.from(this.#frameTicks),
      frameKinds: Uint8Array.from(this.#frameKinds),
    };
  }

  /** Rows of a page so far, in order. */
  rowsOf(page: number): Uint32Array {
    return this.#rows.find(page);
  }

  /** The index, as the bytes of its file and as it is asked. */
  finish(): { readonly bytes: Uint8Array<ArrayBuffer>; readonly index: SegmentIndex } {
    const bytes = encodeIndex(this.#summary, this.columns, this.#rows.finish());
    return { bytes, index: decodeIndex(bytes)! };
  }
}
