/**
 * Log tail: the ticks of all lanes from a place on, whole or not at all, also while they are written.
 *
 * A tick is given once every lane that took part in it has its commit row; until then the lanes that
 * are ahead wait. See {@linkcode LaneTail} for what it costs.
 *
 * @module
 */

import { LANES_MAX, MmsbError } from "../base/mod.ts";
import { laneFolder } from "./format.ts";
import type { LaneTick } from "./lane_reader.ts";
import { lanesOfSet, type LogTick } from "./log_reader.ts";
import { type DirectoryMeta, type LanePlace, type LogPlace, readMeta } from "./meta.ts";
import type { Storage } from "./storage.ts";
import { LaneTail, type TailFault, type TailLimit } from "./tail.ts";

/** How far to read. */
export interface LogLimit extends Pick<TailLimit, "tickMax"> {
  /** Position of a lane behind which no tick may end. Default: wherever the bytes end. */
  readonly positionMax?: (lane: number) => number;
}

/** Reads the whole ticks of a directory from a place on. */
export class LogTail {
  readonly #storage: Storage;
  readonly #meta: DirectoryMeta | undefined;
  readonly #start: LogPlace | undefined;
  readonly #lanes = new Map<number, LaneTail>();
  readonly #heads = new Map<number, LaneTick>();
  readonly #places = new Map<number, LanePlace>();
  #tick: number;
  #gap: TailFault | undefined;

  /**
   * Stands at a place; nothing is read yet.
   *
   * @param storage The directory.
   * @param meta Its metadata.
   * @param start Where to begin. Default: where the log begins.
   */
  constructor(storage: Storage, meta: DirectoryMeta | undefined, start = meta?.base as LogPlace) {
    this.#storage = storage;
    this.#meta = meta;
    this.#start = start;
    this.#tick = start?.tick ?? 0;
    for (const place of start?.lanes ?? []) this.#places.set(place.lane, place);
    this.#findLanes();
  }

  /** The last tick given, or the last before the place where it began. */
  get tick(): number {
    return this.#tick;
  }

  /** Where the last tick given ends. */
  get place(): LogPlace {
    return { tick: this.#tick, lanes: [...this.#places.values()] };
  }

  /** Why it cannot go on, though the log does. */
  get fault(): TailFault | undefined {
    if (this.#gap !== undefined) return this.#gap;
    for (const lane of this.#lanes.values()) if (lane.fault !== undefined) return lane.fault;
    return undefined;
  }

  /**
   * The next whole tick, if there is one yet; its bytes are good until the next call.
   *
   * @param limit How far to read.
   * @throws {MmsbError} `out-of-bounds` where the ticks behind its place were merged or dropped since,
   * `version` for a newer format, `io` where a file cannot be read.
   */
  next(limit: LogLimit = {}): LogTick | undefined {
    try {
      const found = this.#next(limit);
      if (found === undefined && this.fault !== undefined) this.#checkThere();
      return found;
    } catch (error) {
      this.#checkThere();
      throw error;
    }
  }

  #next({ tickMax, positionMax }: LogLimit): LogTick | undefined {
    if (this.#gap !== undefined || this.#tick >= (tickMax ?? Infinity)) return undefined;
    for (let looks = 0; looks < 2; looks++) {
      // A look at a lane that rests is an opened file, so none is looked at that the tick needs not.
      let found = this.#whole();
      for (const [lane, tail] of this.#lanes) {
        if (found !== undefined) return found;
        if (this.#heads.has(lane)) continue;
        const head = tail.next({ tickMax, positionMax: positionMax?.(lane) });
        if (head === undefined) continue;
        this.#heads.set(lane, head);
        found = this.#whole();
      }
      if (found !== undefined) return found;
      // A lane may have begun meanwhile.
      if (this.#findLanes() === 0) break;
    }
    return undefined;
  }

  /** Gives the memory back that was needed to read, until it reads again. */
  release(): void {
    for (const lane of this.#lanes.values()) lane.release();
  }

  /** What looks damaged may be gone, because the log begins later now. */
  #checkThere(): void {
    let base: DirectoryMeta["base"];
    try {
      base = readMeta(this.#storage)?.base;
    } catch {
      return;
    }
    // Of dropped ticks the log has those behind its beginning; of merged ones it has the last.
    const begin = base === undefined || base.tick > 0 ? base?.tick ?? 0 : base.horizon;
    if (this.#tick >= begin) return;
    const tick = this.#tick + 1, horizon = base!.horizon;
    throw new MmsbError(
      "out-of-bounds",
      `Cannot go on from tick ${tick}: ticks up to ${begin} were merged or dropped meanwhile; begin with tick ${
        begin + 1
      }, or open the bus again`,
      { values: { tick, horizon, location: this.#storage.location } },
    );
  }

  #whole(): LogTick | undefined {
    const due = this.#tick + 1;
    const heads = [...this.#heads.values()];
    const first = heads.find((head) => head.tick - head.span === due);
    if (first === undefined) {
      if (heads.length > 0 && heads.length === this.#lanes.size) this.#gap = gapOf(heads[0], due);
      return undefined;
    }
    const lanes: LaneTick[] = [];
    for (const lane of lanesOfSet(first.commitFrame.participants)) {
      const head = this.#heads.get(lane);
      if (head?.tick !== first.tick) return undefined;
      lanes.push(head);
    }
    for (const { lane } of lanes) {
      this.#heads.delete(lane);
      this.#places.set(lane, this.#lanes.get(lane)!.place);
    }
    this.#tick = first.tick;
    return { tick: first.tick, span: first.span, lanes };
  }

  /** Takes up the lanes that are there; gives how many are new. */
  #findLanes(): number {
    const before = this.#lanes.size;
    const numbers = new Set(this.#meta?.lanes.map(({ lane }) => lane));
    for (const place of this.#start?.lanes ?? []) numbers.add(place.lane);
    for (const name of this.#storage.list("")) {
      const lane = Number(/^lane-(\d{2,3})$/.exec(name)?.[1] ?? NaN);
      if (lane < LANES_MAX && laneFolder(lane) === name) numbers.add(lane);
    }
    for (const lane of [...numbers].sort((a, b) => a - b)) {
      if (this.#lanes.has(lane)) continue;
      const place = this.#start?.lanes.find((place) => place.lane === lane);
      const begin = place && { ...place, tick: this.#start!.tick };
      this.#lanes.set(lane, new LaneTail(this.#storage, lane, begin));
    }
    return this.#lanes.size - before;
  }
}

function gapOf(head: LaneTick, due: number): TailFault {
  const offset = (head.frames[0] ?? head.commitFrame).at;
  return { path: head.path, offset, reason: `tick ${due} is missing before tick ${head.tick}` };
}
