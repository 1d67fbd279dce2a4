/**
 * Page fold: the deltas of one page folded together, whatever is known of what was there before.
 *
 * Each byte is in one of four states: nothing is known of it; its value is known; its value is known
 * and was written since the last layer; or it belongs to an element that waits with an operand and a
 * combining operation for a value that is not known. A row that does not fit (another operation on a
 * waiting element, a set of a part of one, a second float add, which depends on the order) ends a
 * layer: what was gathered is given out in full, and the row begins the next one. So the bytes are
 * the same as if all rows had been applied one by one, in every case.
 *
 * Cost: 2 bytes of scratch a byte of the largest span; a few ns a byte that a row touches.
 */

import { combineElement } from "./combine.ts";
import { elementBytes, KIND_MASKED, KIND_SET } from "./kind.ts";
import { type MaskSpan, nextBit, ROW_COST_BYTES } from "./mask.ts";

/** Nothing is known of the byte; with a base of zeros, it is zero. */
const NONE = 0;
/** The byte's value is known, and was given out with an earlier layer. */
const KNOWN = 1;
/** The byte was written in this layer. Larger states are kinds of waiting elements. */
const WRITTEN = 2;
const ADD_F32 = 0x31, ADD_F64 = 0x41;

/** A layer whose rows lie in so many times their own bytes is looked at as one span. */
const DENSE = 16;
/** Spans remembered before those that touch are united. */
const TOUCHED_MAX = 4096;

/** What a layer came to. */
export interface Layer {
  /** Bytes that were written, as runs in order; those close together joined over known bytes. */
  readonly written: readonly MaskSpan[];
  /** Elements that wait for a value: their kind, in runs. */
  readonly waiting: readonly (MaskSpan & { readonly kind: number })[];
}

/** Folds rows of one page after the other. */
export class PageFold {
  /** Values of known bytes and operands of waiting elements, by offset in the page. */
  values: Uint8Array = new Uint8Array(0);
  #state = new Uint8Array(0);
  #zeros = false;
  #waitingBytes = 0;
  /** Offset and end of each row of this layer, and of all layers. */
  #layer: number[] = [];
  #touched: number[] = [];
  #touchedMax = TOUCHED_MAX;
  /** Least offset, largest end and sum of lengths of the layer's rows. */
  #low = Infinity;
  #high = 0;
  #sum = 0;

  /**
   * Begins a page.
   *
   * @param zeros Whether it is known to be zero; otherwise nothing is known of it.
   */
  begin(zeros: boolean): void {
    for (let i = 0; i < this.#touched.length; i += 2) {
      this.values.fill(0, this.#touched[i], this.#touched[i + 1]);
      this.#state.fill(NONE, this.#touched[i], this.#touched[i + 1]);
    }
    this.#touched.length = 0;
    this.#zeros = zeros;
    this.#beginLayer();
  }

  /** Whether a byte's value is known. */
  isKnown(offset: number): boolean {
    const state = this.#state[offset] ?? NONE;
    return state === KNOWN || state === WRITTEN || state === NONE && this.#zeros;
  }

  /** Rows of this layer. */
  get rows(): number {
    return this.#layer.length / 2;
  }

  /**
   * Folds a row that was checked.
   *
   * @param kind Its kind.
   * @param offset First byte of its span.
   * @param length Bytes of its span.
   * @param payload Where its payload is.
   * @param start First byte of it there.
   * @returns Whether it fits this layer; if not, nothing has changed, and it fits the next one.
   */
  fold(kind: number, offset: number, length: number, payload: Uint8Array, start: number): boolean {
    this.#grow(offset + length);
    if (kind === KIND_SET) {
      if (this.#cuts(offset, offset + length)) return false;
      this.#write(offset, length, payload, start);
    } else if (kind === KIND_MASKED) {
      if (!this.#masked(offset, length, payload, start)) return false;
    } else if (!this.#combine(normalized(kind), offset, length, payload, start)) {
      return false;
    }
    this.#layer.push(offset, offset + length);
    this.#low = Math.min(this.#low, offset);
    this.#high = Math.max(this.#high, offset + length);
    this.#sum += length;
    return true;
  }

  /** Ends the layer: what it came to; the values stay until the next row. */
  end(): Layer {
    const written: { offset: number; length: number }[] = [];
    const waiting: { offset: number; length: number; kind: number }[] = [];
    const state = this.#state;
    for (const [from, to] of this.#spans()) {
      for (let at = from; at < to;) {
        const kind = state[at];
        let end = at + 1;
        while (end < to && state[end] === kind) end++;
        if (kind === WRITTEN) {
          const last = written.at(-1);
          const gap = last === undefined ? Infinity : at - last.offset - last.length;
          // Over known zeros two runs may be one row; otherwise nobody knows what stands between.
          if (gap === 0 || this.#zeros && gap <= ROW_COST_BYTES) last!.length += gap + end - at;
          else written.push({ offset: at, length: end - at });
        } else if (kind > WRITTEN) {
          const last = waiting.at(-1);
          const isNext = last?.kind === kind && last.offset + last.length === at;
          if (isNext) last.length += end - at;
          else waiting.push({ offset: at, length: end - at, kind });
        }
        at = end;
      }
    }
    return { written, waiting };
  }

  /** Begins the next layer: what was written is known, what waited is not. */
  next(): void {
    const state = this.#state;
    for (const [from, to] of this.#spans()) {
      for (let at = from; at < to; at++) {
        if (state[at] === WRITTEN) state[at] = KNOWN;
        else if (state[at] > WRITTEN) state[at] = NONE;
      }
      this.#touched.push(from, to);
    }
    if (this.#touched.length > this.#touchedMax) {
      this.#touched = united(this.#touched).flat();
      this.#touchedMax = Math.max(TOUCHED_MAX, 2 * this.#touched.length);
    }
    this.#beginLayer();
  }

  #beginLayer(): void {
    this.#layer.length = 0;
    this.#low = Infinity;
    this.#high = this.#sum = this.#waitingBytes = 0;
  }

  /** Spans that hold all that this layer's rows touched. */
  #spans(): readonly (readonly [from: number, to: number])[] {
    if (this.#sum === 0) return [];
    // Sorting the rows costs more than looking at a few bytes between them.
    const isDense = this.#high - this.#low <= DENSE * this.#sum;
    return isDense ? [[this.#low, this.#high]] : united(this.#layer);
  }

  #grow(end: number): void {
    if (end <= this.values.length) return;
    const size = Math.max(end, 2 * this.values.length, 4096);
    const values = new Uint8Array(size), state = new Uint8Array(size);
    values.set(this.values);
    state.set(this.#state);
    this.values = values;
    this.#state = state;
  }

  /** Whether a span would overwrite a part of a waiting element. */
  #cuts(from: number, to: number): boolean {
    if (this.#waitingBytes === 0) return false;
    const state = this.#state;
    const first = state[from], last = state[to - 1];
    return first > WRITTEN && from % elementBytes(first) !== 0 ||
      last > WRITTEN && to % elementBytes(last) !== 0;
  }

  #write(offset: number, length: number, payload: Uint8Array, start: number): void {
    if (this.#waitingBytes > 0) this.#forgetWaiting(offset, offset + length);
    if (length <= 32) {
      for (let i = 0; i < length; i++) {
        this.values[offset + i] = payload[start + i];
        this.#state[offset + i] = WRITTEN;
      }
    } else {
      this.values.set(payload.subarray(start, start + length), offset);
      this.#state.fill(WRITTEN, offset, offset + length);
    }
  }

  #forgetWaiting(from: number, to: number): void {
    for (let at = from; at < to; at++) if (this.#state[at] > WRITTEN) this.#waitingBytes--;
  }

  #masked(offset: number, length: number, payload: Uint8Array, start: number): boolean {
    const mask = payload.subarray(start, start + (length + 7 >>> 3));
    const runs: number[] = [];
    for (let bit = nextBit(mask, length, 0, 1); bit < length;) {
      const end = nextBit(mask, length, bit, 0);
      if (this.#cuts(offset + bit, offset + end)) return false;
      runs.push(bit, end);
      bit = nextBit(mask, length, end, 1);
    }
    let from = start + mask.length;
    for (let i = 0; i < runs.length; i += 2) {
      const count = runs[i + 1] - runs[i];
      this.#write(offset + runs[i], count, payload, from);
      from += count;
    }
    return true;
  }

  #combine(
    kind: number,
    offset: number,
    length: number,
    payload: Uint8Array,
    start: number,
  ): boolean {
    const width = elementBytes(kind);
    for (let at = offset; at < offset + length; at += width) {
      if (this.#meets(kind, at, width) === "conflict") return false;
    }
    for (let at = offset; at < offset + length; at += width) {
      const from = start + at - offset;
      const met = this.#meets(kind, at, width);
      if (met === "unknown") {
        for (let i = 0; i < width; i++) this.values[at + i] = payload[from + i];
        this.#state.fill(kind, at, at + width);
        this.#waitingBytes += width;
      } else {
        combineElement(kind, this.values, at, payload, from);
        if (met === "known") this.#state.fill(WRITTEN, at, at + width);
      }
    }
    return true;
  }

  /** What an operand meets at an element. */
  #meets(kind: number, at: number, width: number): "known" | "unknown" | "same" | "conflict" {
    const state = this.#state;
    // A waiting element of this kind fills the element: both stand at multiples of their width.
    if (state[at] === kind) return kind === ADD_F32 || kind === ADD_F64 ? "conflict" : "same";
    let known = 0, written = 0;
    for (let i = 0; i < width; i++) {
      const here = state[at + i];
      if (here > WRITTEN) return "conflict";
      if (here === WRITTEN) written++;
      if (here !== NONE || this.#zeros) known++;
    }
    if (known === width) return "known";
    // Bytes written in this layer must be given out before an operation on the rest of the element.
    return written > 0 ? "conflict" : "unknown";
  }
}

/** Add and the bit operations do the same to i32 and u32. */
function normalized(kind: number): number {
  const operation = kind & 15;
  return kind >>> 4 === 2 && operation !== 2 && operation !== 3 ? 0x10 | operation : kind;
}

/** Spans given as offset and end, sorted, those that touch united. */
function united(spans: readonly number[]): [from: number, to: number][] {
  if (spans.length === 2) return [[spans[0], spans[1]]];
  const starts = Array.from({ length: spans.length / 2 }, (_, i) => 2 * i)
    .sort((a, b) => spans[a] - spans[b]);
  const result: [number, number][] = [];
  for (const i of starts) {
    const last = result.at(-1);
    if (last !== undefined && spans[i] <= last[1]) last[1] = Math.max(last[1], spans[i + 1]);
    else result.push([spans[i], spans[i + 1]]);
  }
  return result;
}
