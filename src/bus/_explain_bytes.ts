/**
 * Explained bytes: the bytes of some deltas of a page before and after, from as few rows as will do.
 *
 * The rows of the page are walked back until all bytes that are shown were set by a row before the ones
 * that are shown, and only what those rows did to these bytes is kept; then it is done again from the
 * oldest row on. A byte is known once a row has set it, or where the page was born; folding a value into
 * a byte that is not known leaves it so.
 *
 * Cost: a small object and its bytes a row that touches a shown byte.
 */

import { type FrameRows, ROW_KIND, STRUCTURAL } from "../log/mod.ts";
import { combineElement, elementBytes, KIND_MASKED, KIND_SET } from "../physical/mod.ts";
import { copy } from "./page_past.ts";

/** A row as a place among those of its page: later ones are larger in tick, phase and number. */
interface Moment {
  readonly tick: number;
  /** 0 birth, 1 data, 2 derived, 3 what takes effect at the end of a tick. */
  readonly phase: number;
  readonly frame: number;
  readonly row: number;
}

interface Piece extends Moment {
  readonly kind: number;
  /** First shown byte that it touches. */
  readonly at: number;
  /** Bytes that it touches. */
  readonly length: number;
  /** Where the bytes set, or the operands, stand in the pool. */
  readonly start: number;
  /** Where it stands for each byte whether it is set; of masked deltas only, else −1. */
  readonly isSet: number;
}

interface Shown extends Moment {
  readonly at: number;
  readonly length: number;
  readonly isSet: boolean;
  before: Uint8Array | undefined;
  after: Uint8Array | undefined;
}

/** A birth, or what a page's new size leaves of it: all bytes from one on are zero. */
const ZERO = -1;

/** Bytes of many small pieces, in one array. */
export class BytePool {
  /** The bytes; another array when it has grown. */
  bytes = new Uint8Array(65_536);
  /** Bytes as they are worked out. */
  values = new Uint8Array(4096);
  /** For each of them whether it is known. */
  known = new Uint8Array(4096);
  #length = 0;

  /** Room for some bytes, all 0; gives the first. */
  take(length: number): number {
    const start = this.#length, end = start + length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.bytes.length));
      grown.set(this.bytes.subarray(0, start));
      this.bytes = grown;
    }
    this.#length = end;
    return start;
  }

  /** Makes so many values unknown. */
  forget(length: number): void {
    if (length > this.values.length) {
      this.values = new Uint8Array(2 * length);
      this.known = new Uint8Array(2 * length);
    }
    this.known.fill(0, 0, length);
    this.values.fill(0, 0, length);
  }
}

/** The shown bytes of one page. */
export class ShownBytes {
  readonly #pool: BytePool;
  readonly #shown: Shown[] = [];
  readonly #pieces: Piece[] = [];
  /** Spans of the page that are shown, aligned to 8 bytes, in order; and where each stands here. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #offsets: number[] = [];
  #length = 0;

  /** Keeps what rows say in a pool that others use too. */
  constructor(pool: BytePool) {
    this.#pool = pool;
  }

  /**
   * Shows a delta, before any row is taken.
   *
   * @param rows Its frame.
   * @param row Its row.
   * @param offset First byte shown.
   * @param length Bytes shown.
   */
  show(rows: FrameRows, row: number, offset: number, length: number): void {
    this.#shown.push({
      ...momentOf(rows, row),
      at: offset,
      length,
      isSet: rows.kind(row) === KIND_SET,
      before: undefined,
      after: undefined,
    });
  }

  /** Lays out what is shown; then rows may come, in any order, the shown ones among them. */
  layOut(): void {
    const spans = this.#shown
      .map(({ at, length }) => [at & ~7, at + length + 7 & ~7])
      .sort((a, b) => a[0] - b[0]);
    for (const [start, end] of spans) {
      const last = this.#ends.length - 1;
      if (last >= 0 && start <= this.#ends[last]) {
        this.#ends[last] = Math.max(this.#ends[last], end);
      } else {
        this.#starts.push(start);
        this.#ends.push(end);
      }
    }
    this.#starts.forEach((start, span) => {
      this.#offsets.push(this.#length);
      this.#length += this.#ends[span] - start;
    });
  }

  /** Takes what a row did to the shown bytes. */
  take(rows: FrameRows, row: number): void {
    const { rowKind } = rows.frame, kind = rows.kind(row);
    if (rowKind === ROW_KIND.structural) {
      const isBirth = kind === STRUCTURAL.createPage;
      if (!isBirth && kind !== STRUCTURAL.resizePage) return;
      this.#zeroFrom(momentOf(rows, row), isBirth ? 0 : rows.offset(row));
      return;
    }
    const offset = rows.offset(row), end = offset + rows.length(row);
    for (let span = 0; span < this.#starts.length; span++) {
      const from = Math.max(offset, this.#starts[span]), to = Math.min(end, this.#ends[span]);
      if (from < to) this.#piece(rows, row, kind, span, from, to);
    }
  }

  #piece(
    rows: FrameRows,
    row: number,
    kind: number,
    span: number,
    from: number,
    to: number,
  ): void {
    const first = rows.start(row), offset = rows.offset(row), { bytes } = rows;
    const at = this.#offsets[span] + from - this.#starts[span], length = to - from;
    const start = this.#pool.take(length), pool = this.#pool;
    let isSet = -1;
    if (kind !== KIND_MASKED) copy(bytes, first + from - offset, pool.bytes, start, length);
    else {
      isSet = pool.take(length);
      let next = first + (rows.length(row) + 7 >>> 3);
      for (let byte = offset; byte < to; byte++) {
        const bit = byte - offset;
        if ((bytes[first + (bit >>> 3)] >>> (bit & 7) & 1) === 0) continue;
        if (byte >= from) {
          pool.bytes[start + byte - from] = bytes[next];
          pool.bytes[isSet + byte - from] = 1;
        }
        next++;
      }
    }
    this.#pieces.push({ ...momentOf(rows, row), kind, at, length, start, isSet });
  }

  #zeroFrom(moment: Moment, size: number): void {
    for (let span = 0; span < this.#starts.length; span++) {
      const from = Math.max(size, this.#starts[span]), length = this.#ends[span] - from;
      if (length <= 0) continue;
      const at = this.#offsets[span] + from - this.#starts[span];
      this.#pieces.push({ ...moment, kind: ZERO, at, length, start: 0, isSet: -1 });
    }
  }

  /**
   * Works the shown bytes out from what has come.
   *
   * @param isLast Whether no more rows will come: then what is known of them counts.
   * @returns Whether all is known.
   */
  settle(isLast: boolean): boolean {
    const steps = this.#pieces.sort(byMoment), shown = this.#shown.sort(byMoment);
    const pool = this.#pool;
    pool.forget(this.#length);
    let step = 0, isWhole = true;
    for (const delta of shown) {
      while (step < steps.length && byMoment(steps[step], delta) < 0) apply(steps[step++], pool);
      delta.before = this.#cut(delta);
      while (step < steps.length && byMoment(steps[step], delta) === 0) apply(steps[step++], pool);
      isWhole &&= delta.before !== undefined;
      if (!isWhole && !isLast) return false;
      // A delta that sets its bytes says itself what stood there after it.
      if (!delta.isSet) delta.after = this.#cut(delta);
    }
    return isWhole;
  }

  /** What was found of the shown deltas, newest first. */
  found(): readonly Pick<Shown, "before" | "after">[] {
    return this.#shown.sort((a, b) => byMoment(b, a));
  }

  #cut({ at, length }: Shown): Uint8Array | undefined {
    const { values, known } = this.#pool;
    let span = this.#starts.length - 1;
    while (this.#starts[span] > at) span--;
    const from = this.#offsets[span] + at - this.#starts[span];
    for (let i = from; i < from + length; i++) if (known[i] === 0) return undefined;
    return values.slice(from, from + length);
  }
}

function apply({ kind, at, length, start, isSet }: Piece, pool: BytePool): void {
  const { bytes, values, known } = pool;
  if (kind === KIND_MASKED) {
    for (let i = 0; i < length; i++) {
      if (bytes[isSet + i] === 0) continue;
      values[at + i] = bytes[start + i];
      known[at + i] = 1;
    }
  } else if (kind === ZERO) {
    values.fill(0, at, at + length);
    known.fill(1, at, at + length);
  } else if (kind === KIND_SET) {
    copy(bytes, start, values, at, length);
    for (let i = at; i < at + length; i++) known[i] = 1;
  } else {
    const width = elementBytes(kind);
    for (let i = 0; i < length; i += width) combineElement(kind, values, at + i, bytes, start + i);
  }
}

function momentOf(rows: FrameRows, row: number): Moment {
  const { tick, index: frame, rowKind } = rows.frame;
  let phase = rowKind === ROW_KIND.derived ? 2 : 1;
  if (rowKind === ROW_KIND.structural) phase = rows.kind(row) === STRUCTURAL.createPage ? 0 : 3;
  return { tick, phase, frame, row };
}

function byMoment(a: Moment, b: Moment): number {
  return a.tick - b.tick || a.phase - b.phase || a.frame - b.frame || a.row - b.row;
}
