/**
 * Past bindings: what a rule was, by its number, also when it is not bound any more.
 *
 * A number is given out once, so what it meant never changes. The index says which frames of the log hold
 * bindings; those are read when a number is asked for that the bus does not know, and only once.
 *
 * Cost: one look at the kinds of all frames, a byte each, and reading the frames that bind rules; a
 * binding that is known is a lookup.
 */

import {
  type BindingText,
  decodeBinding,
  type FrameRows,
  type IndexedSegment,
  type LogIndex,
  ROW_KIND,
  RULE_ROW,
} from "../log/mod.ts";

/** Frames that are read at once. */
const FRAMES_AT_ONCE = 64;

/** The bindings that one log tells of. */
export class PastBindings {
  readonly #index: LogIndex;
  readonly #payloads = new Map<number, Uint8Array>();
  readonly #texts = new Map<number, BindingText>();
  /** The last tick that was looked at. */
  #tick: number;

  /** Nothing is read yet. */
  constructor(index: LogIndex) {
    this.#index = index;
    this.#tick = index.tickBase;
  }

  /**
   * What a number meant; `undefined` where the log does not say.
   *
   * @throws {MmsbError} `corrupt-log` where the log is damaged.
   */
  find(number: number): BindingText | undefined {
    if (!this.#payloads.has(number) && this.#tick < this.#index.tick) this.#look();
    const payload = this.#payloads.get(number);
    if (payload === undefined) return undefined;
    let text = this.#texts.get(number);
    if (text === undefined) this.#texts.set(number, text = decodeBinding(payload));
    return text;
  }

  #look(): void {
    const index = this.#index;
    for (const lane of index.lanes) {
      for (const segment of index.segments(lane, this.#tick + 1)) this.#lookInto(segment);
    }
    this.#tick = index.tick;
  }

  #lookInto(segment: IndexedSegment): void {
    const { frameKinds, frameTicks, ticks } = segment.columns;
    let frames: number[] = [];
    const read = () => {
      for (const rows of this.#index.frames.load(segment, frames)) this.#take(rows);
      frames = [];
    };
    let frame = frameKinds.indexOf(ROW_KIND.rule);
    for (; frame >= 0; frame = frameKinds.indexOf(ROW_KIND.rule, frame + 1)) {
      if (ticks[frameTicks[frame]] <= this.#tick) continue;
      frames.push(frame);
      if (frames.length >= FRAMES_AT_ONCE) read();
    }
    if (frames.length > 0) read();
  }

  #take(rows: FrameRows): void {
    for (let row = 0; row < rows.frame.rows; row++) {
      if (rows.kind(row) !== RULE_ROW.bind) continue;
      const start = rows.start(row);
      this.#payloads.set(rows.offset(row), rows.bytes.slice(start, start + rows.length(row)));
    }
  }
}
