/**
 * Log reader: the ticks of a directory in order, whole or not at all.
 *
 * A tick counts if its commit row is there in every lane that took part; what is kept is the longest
 * run of such ticks from the first. It reads all lanes side by side, whatever number of threads
 * wrote them. A tick that is missing while every lane goes on behind it is damage: what is torn off
 * a lane is its end. So is a tick that one lane lacks and another one shows to have been durable.
 *
 * @module
 */

import { LANES_MAX, toHex } from "../base/mod.ts";
import { FRAME_HEADER_BYTES, laneFolder } from "./format.ts";
import type { FrameHeader } from "./frame_reader.ts";
import { type LaneEnd, LaneReader, type LaneTick } from "./lane_reader.ts";
import type { DirectoryMeta, LogPlace } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** A tick over all lanes that took part; good until the next one is read. */
export interface LogTick {
  /** Tick. */
  readonly tick: number;
  /** Earlier ticks that it stands for beside itself, where it was merged. */
  readonly span: number;
  /** The lanes, in order. */
  readonly lanes: readonly LaneTick[];
}

/** What of a log to read. */
export interface LogReading {
  /** Last tick wanted: a reader of a log that is being written stops there. */
  readonly tickMax?: number;
  /** Where to begin. Default: where the log begins. */
  readonly start?: LogPlace;
}

/** How the whole ticks of a log end. */
export interface LogEnd {
  /** Last whole tick, 0 for none. */
  readonly tick: number;
  /** `whole`, `torn` (an unsynced tail was found) or `damaged` (synced bytes are lost). */
  readonly state: "whole" | "torn" | "damaged";
  /** Where each lane is to be cut so that just the whole ticks stay. */
  readonly lanes: readonly LaneEnd[];
  /** What was found, in words; "" where the log is whole. */
  readonly reason: string;
}

/** Reads the whole ticks of a directory. */
export class LogReader {
  readonly #readers: LaneReader[];
  readonly #heads: (LaneTick | undefined)[];
  readonly #kept: LaneEnd[];
  readonly #tickMax: number;
  #tick = 0;
  #started = false;
  #gap = "";
  /** The lane that goes on behind a missing tick, where no lane has ended before it. */
  #skipping: LaneEnd | undefined;
  /** What the lanes show of each other, where there are several. */
  readonly #proofs: LaneProof[] = [];
  /** Lanes that lack the tick at which the log ends. */
  #lacking: readonly number[] = [];

  /**
   * @param storage The directory.
   * @param meta Its metadata.
   * @param reading What of it to read. Default: all.
   */
  constructor(storage: Storage, meta: DirectoryMeta | undefined, reading: LogReading = {}) {
    const { tickMax = Infinity, start = meta?.base } = reading;
    this.#tickMax = tickMax;
    this.#tick = start?.tick ?? 0;
    const lanes = new Set(meta?.lanes.map((lane) => lane.lane));
    for (const name of storage.list("")) {
      const digits = /^lane-(\d{2,3})$/.exec(name)?.[1];
      if (Number(digits) < LANES_MAX && laneFolder(Number(digits)) === name) {
        lanes.add(Number(digits));
      }
    }
    const sorted = [...lanes].sort((a, b) => a - b);
    this.#readers = sorted.map((lane) => {
      const stated = meta?.lanes.find((known) => known.lane === lane);
      const known = stated && { ...stated, mayBeCut: meta?.closed === null };
      const place = start?.lanes.find((place) => place.lane === lane);
      const begin = place === undefined ? undefined : { ...place, tick: this.#tick };
      return new LaneReader(storage, lane, known, begin);
    });
    if (sorted.length > 1) this.#proofs = sorted.map(() => new LaneProof());
    this.#heads = sorted.map(() => undefined);
    this.#kept = [];
  }

  /** The next whole tick, or `undefined` at the end. */
  next(): LogTick | undefined {
    if (this.#gap !== "" || this.#tick >= this.#tickMax) return undefined;
    for (let i = 0; i < this.#readers.length; i++) {
      if (!this.#started || this.#heads[i]?.tick === this.#tick) {
        const head = this.#heads[i] = this.#readers[i].next();
        if (head !== undefined) this.#proofs[i]?.take(head);
      }
    }
    this.#started = true;
    const due = this.#tick + 1;
    const present = this.#heads.filter((head) =>
      head !== undefined && head.tick - head.span === due
    ) as LaneTick[];
    if (present.length === 0) {
      const ahead = this.#heads.find((head) => head !== undefined);
      if (ahead === undefined) return undefined;
      this.#gap = `tick ${due} is missing before tick ${ahead.tick}`;
      if (this.#readers.every((reader) => reader.end === undefined)) {
        this.#skipping = this.#endBefore(ahead);
      }
      return undefined;
    }
    const lanes = present.map((head) => head.lane);
    const { tick, span } = present[0];
    if (tick > this.#tickMax) return undefined;
    for (const head of present) {
      const frame = head.commitFrame;
      if (frame.participants !== participantsHex(lanes) || head.tick !== tick) {
        this.#gap = `tick ${tick} is not whole: not every lane that took part has it`;
        this.#lacking = lanesOfSet(frame.participants).filter((lane) => !lanes.includes(lane));
        return undefined;
      }
    }
    this.#tick = tick;
    for (const head of present) this.#keep(head);
    return { tick, span, lanes: present };
  }

  /** How the log ends; call it after {@linkcode LogReader.next} has given `undefined`. */
  end(): LogEnd {
    return this.#judge(this.#ended());
  }

  /**
   * A tick that is not whole was lost after it was synced if another lane shows so: all lanes are synced
   * together, so what one knew of itself to be durable it knew of the others up to the same tick.
   */
  #judge(end: LogEnd): LogEnd {
    if (end.state !== "torn" || this.#gap === "" || this.#proofs.length === 0) return end;
    this.#readers.forEach((reader, i) => {
      for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
        this.#proofs[i].take(tick);
      }
    });
    const durable = Math.max(...this.#proofs.map((proof) => proof.tick));
    if (durable <= end.tick) return end;
    const at = end.lanes.findIndex(({ lane }) => this.#lacking.includes(lane));
    const index = at >= 0 ? at : end.lanes.findIndex(({ lastTick }) => lastTick <= end.tick);
    const reason = `${this.#gap}, but ticks up to ${durable} were durable`;
    const lanes = end.lanes.map((lane, i) =>
      i === index ? { ...lane, state: "damaged" as const, reason } : lane
    );
    return { ...end, state: "damaged", lanes, reason };
  }

  #ended(): LogEnd {
    const ends = this.#readers.map((reader) => reader.end).filter((end) => end !== undefined);
    const damaged = ends.find((end) => end.state === "damaged") ?? this.#skipping;
    const torn = ends.find((end) => end.state === "torn");
    const state = damaged ? "damaged" : torn || this.#gap !== "" ? "torn" : "whole";
    const worst = damaged ?? torn;
    const lanes = this.#readers.map((reader, index) => {
      const end = reader.end, kept = this.#kept[index];
      if (this.#skipping?.lane === this.#laneOf(index)) return this.#skipping;
      // A lane that is ahead of the last whole tick is cut behind the last tick that is kept.
      if (end !== undefined && end.lastTick <= this.#tick) return end;
      return kept ?? { ...(end ?? NO_END), lane: this.#laneOf(index), offset: 0, position: 0 };
    });
    const where = worst === undefined
      ? ""
      : `${worst.reason} (${worst.badPath}, byte ${worst.badOffset})`;
    return { tick: this.#tick, state, lanes, reason: this.#gap || where };
  }

  #laneOf(index: number): number {
    return this.#heads[index]?.lane ?? this.#readers[index].end?.lane ?? 0;
  }

  /** The end of a lane that is whole, but lacks the tick before its next one. */
  #endBefore(head: LaneTick): LaneEnd {
    const kept = this.#kept[this.#heads.indexOf(head)] ?? { ...NO_END, lane: head.lane };
    const badOffset = (head.frames[0] ?? head.commitFrame).at;
    return { ...kept, state: "damaged", reason: this.#gap, badPath: head.path, badOffset };
  }

  #keep(head: LaneTick): void {
    const index = this.#heads.indexOf(head);
    const { commitFrame } = head;
    const offset = commitFrame.at + commitFrame.length;
    this.#kept[index] = {
      lane: head.lane,
      number: head.number,
      path: head.path,
      offset,
      position: head.position + offset,
      state: "torn",
      reason: "later ticks are not whole",
      badPath: head.path,
      badOffset: offset,
      lastTick: head.tick,
      synced: Math.max(this.#kept[index]?.synced ?? 0, commitFrame.syncedPosition),
    };
  }
}

const NO_END: LaneEnd = {
  lane: 0,
  number: 0,
  path: "",
  offset: FRAME_HEADER_BYTES,
  position: 0,
  state: "torn",
  reason: "no tick of the lane is whole",
  badPath: "",
  badOffset: 0,
  lastTick: 0,
  synced: 0,
};

/**
 * The frames of a tick in the order of their rows' times, which is that in which they were applied: of several
 * lanes each has its part of a batch.
 *
 * @typeParam L What the tick has of a lane.
 * @param lanes The lanes that took part.
 */
export function framesOf<L extends Pick<LaneTick, "lane" | "frames">>(
  lanes: readonly L[],
): { readonly lane: L; readonly frame: FrameHeader }[] {
  const found = lanes.flatMap((lane) => lane.frames.map((frame) => ({ lane, frame })));
  if (lanes.length === 1) return found;
  return found.sort(({ frame: a }, { frame: b }) =>
    a.hlcFirst < b.hlcFirst ? -1 : a.hlcFirst > b.hlcFirst ? 1 : a.lane - b.lane
  );
}

/** Up to which tick a lane's own frames show the log to have been synced. */
export class LaneProof {
  /** The last tick that is shown to be durable, 0 for none. */
  tick = 0;
  /** Ticks that are not, each with the position of its end, in order. */
  readonly #open: { readonly tick: number; readonly end: number }[] = [];

  /** Takes the lane's next tick. */
  take({ tick, position, commitFrame }: Pick<LaneTick, "tick" | "position" | "commitFrame">): void {
    const { at, length, syncedPosition } = commitFrame;
    const open = this.#open;
    let done = 0;
    while (done < open.length && open[done].end <= syncedPosition) this.tick = open[done++].tick;
    if (done > 0) open.splice(0, done);
    open.push({ tick, end: position + at + length });
  }
}

/** The lanes of a set of 32 bytes in hexadecimal digits. */
export function lanesOfSet(hex: string): number[] {
  const lanes: number[] = [];
  for (let byte = 0; byte < 32; byte++) {
    const bits = parseInt(hex.slice(2 * byte, 2 * byte + 2), 16);
    for (let bit = 0; bit < 8; bit++) if (bits >>> bit & 1) lanes.push(8 * byte + bit);
  }
  return lanes;
}

/** The set of lanes as 32 bytes, one bit each. */
export function participantsOf(lanes: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(32);
  for (const lane of lanes) bytes[lane >>> 3] |= 1 << (lane & 7);
  return bytes;
}

/** The same as a frame's header gives it. */
export function participantsHex(lanes: readonly number[]): string {
  return toHex(participantsOf(lanes));
}
