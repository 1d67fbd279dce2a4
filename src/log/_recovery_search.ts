/**
 * Where recovery begins: the newest checkpoint that can be used, or the whole log.
 *
 * A checkpoint can be used if all of it is good and the log makes its images whole, from its place up to its
 * tick. What cannot be used is passed over for an older one, and told. A good checkpoint is evidence as
 * well: the log was durable up to its tick before it got its name, so a log that ends earlier has lost
 * synced bytes, even where its own end looks torn.
 */

import { MmsbError } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import { checkpointPath } from "./checkpoint_format.ts";
import { Checkpoint, listCheckpoints } from "./checkpoint_reader.ts";
import { type LogEnd, LogReader } from "./log_reader.ts";
import { type DirectoryMeta, hasPlace, type LogBase, type LogPlace } from "./meta.ts";
import type { RecoveredCheckpoint, Recovery } from "./recovery.ts";
import { Replayer, ROOM_CODES, type StoreImages } from "./replay.ts";
import type { Storage } from "./storage.ts";

/** Looks for a beginning, and replays from there. */
export class RecoverySearch {
  readonly #storage: Storage;
  readonly #meta: DirectoryMeta | undefined;
  readonly #store: PageStore;
  readonly #tickMax: number;
  readonly #isNewest: boolean;
  readonly #passedOver: RecoveredCheckpoint[] = [];
  #error: MmsbError | undefined;
  #wasGone = false;
  /** Tick up to which the log was durable once, and what says so. */
  #sure = { tick: 0, path: "" };

  /** `isNewest`: begin with the newest checkpoint, not as early as can be. */
  constructor(
    storage: Storage,
    meta: DirectoryMeta | undefined,
    store: PageStore,
    tickMax: number,
    isNewest: boolean,
  ) {
    this.#storage = storage;
    this.#meta = meta;
    this.#store = store;
    this.#tickMax = tickMax;
    this.#isNewest = isNewest;
  }

  /** Checkpoints that may do, best first; each is the caller's to close. */
  *candidates(): Generator<Checkpoint> {
    const base = this.#meta?.base;
    if (!this.#isNewest && (base === undefined || base.tick === 0)) return;
    const ticks = listCheckpoints(this.#storage).filter((tick) => tick <= this.#tickMax);
    for (const tick of this.#isNewest ? ticks : ticks.reverse()) {
      let checkpoint: Checkpoint;
      try {
        checkpoint = Checkpoint.open(this.#storage, tick);
      } catch (error) {
        this.#note(tick, error);
        continue;
      }
      if (isWithin(checkpoint, base)) {
        if (tick > this.#sure.tick) this.#sure = { tick, path: checkpoint.path };
        yield checkpoint;
      } else {
        this.#note(tick, "the log that it needs was dropped or merged");
        checkpoint[Symbol.dispose]();
      }
    }
  }

  /**
   * Passes a checkpoint over.
   *
   * @throws what went wrong, where that says nothing of the checkpoint.
   */
  passOver(checkpoint: Checkpoint, error: unknown): void {
    this.#note(checkpoint.footer.tick, error);
    this.#store.clear();
  }

  /**
   * Replays the log over the images of a checkpoint.
   *
   * @throws {MmsbError} `snapshot` where the log does not make them whole.
   */
  over(checkpoint: Checkpoint, images: StoreImages): Recovery {
    const { header, footer, path, bytes } = checkpoint;
    const isWhole = header.place.tick === footer.tick;
    const replayer = new Replayer(this.#store, isWhole ? undefined : images);
    const reader = new LogReader(this.#storage, this.#meta, {
      tickMax: this.#tickMax,
      start: header.place,
    });
    const found = this.#replay(reader, replayer, header.hlcLast, header.place);
    if (found.tick < footer.tick) {
      throw new MmsbError(
        "snapshot",
        `Cannot use the checkpoint "${path}": the log after it ends at tick ${found.tick}: ${found.end.reason}`,
        { values: { path, tick: found.tick, fault: `the log ends at tick ${found.tick}` } },
      );
    }
    const { pages } = footer, { lanes } = header.place;
    return { ...found, checkpoint: { path, tick: footer.tick, pages, bytes, lanes } };
  }

  /**
   * Replays the whole log.
   *
   * @throws {MmsbError} `corrupt-log` where its beginning was dropped.
   */
  fromLog(): Recovery {
    const base = this.#meta?.base;
    if (base !== undefined && base.tick > 0) {
      // Where memory is short, another directory would not help.
      if (this.#error !== undefined && ROOM_CODES.includes(this.#error.code)) throw this.#error;
      refuseDropped(this.#storage, base, this.#passedOver, this.#wasGone);
    }
    const reader = new LogReader(this.#storage, this.#meta, { tickMax: this.#tickMax });
    return this.#replay(reader, new Replayer(this.#store), 0n, base);
  }

  #replay(
    reader: LogReader,
    replayer: Replayer,
    hlcFirst: bigint,
    start: LogPlace | undefined,
  ): Recovery {
    let hlcLast = hlcFirst;
    for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
      replayer.apply(tick);
      for (const lane of tick.lanes) {
        const last = lane.commitFrame.hlcLast;
        if (last > hlcLast) hlcLast = last;
      }
    }
    const end = this.#judge(durableBefore(reader.end(), start));
    const { rows } = replayer, passedOver = this.#passedOver;
    return { tick: end.tick, hlcLast, rows, end, checkpoint: undefined, passedOver };
  }

  /** A log that ends before a checkpoint's tick was longer once, durably. */
  #judge(end: LogEnd): LogEnd {
    const { tick, path } = this.#sure;
    if (end.tick >= tick || end.state === "damaged") return end;
    const reason = `it ends, but was durable up to tick ${tick} when "${path}" was made`;
    const lanes = end.lanes.map((lane) => ({ ...lane, state: "damaged" as const, reason }));
    return { ...end, state: "damaged", reason, lanes };
  }

  #note(tick: number, error: unknown): void {
    if (typeof error !== "string") {
      if (!(error instanceof MmsbError) || error.code === "version") throw error;
      this.#error = error;
      if (error.values.systemCode === "ENOENT") this.#wasGone = true;
    }
    const reason = error instanceof MmsbError ? error.message : String(error);
    this.#passedOver.push({ path: checkpointPath(tick), tick, reason });
  }
}

/** What is before the beginning is durable, and perhaps gone: nothing of it is to be made durable again. */
function durableBefore(end: LogEnd, start: LogPlace | undefined): LogEnd {
  if (start === undefined) return end;
  const lanes = end.lanes.map((lane) => {
    const place = start.lanes.find((place) => place.lane === lane.lane);
    return { ...lane, synced: Math.max(lane.synced, place?.position ?? 0) };
  });
  return { ...end, lanes };
}

/** Whether the log still has what a checkpoint needs: it begins at or before its place. */
function isWithin({ header, footer }: Checkpoint, base: LogBase | undefined): boolean {
  if (base === undefined || hasPlace(base, header.place.tick)) return true;
  // The checkpoint for which the beginning was dropped.
  return header.place.tick === base.tick && footer.tick === base.horizon;
}

function refuseDropped(
  storage: Storage,
  base: LogBase,
  passedOver: readonly RecoveredCheckpoint[],
  wasGone: boolean,
): never {
  const why = passedOver.map(({ reason }) => reason).join("; ") || "there is none";
  throw new MmsbError(
    "corrupt-log",
    `Cannot open ${storage.location} as its log up to tick ${base.tick} was dropped and no checkpoint can be used (${why}): restore a checkpoint from a copy`,
    {
      values: {
        location: storage.location,
        tick: base.tick,
        passedOver: passedOver.map(({ path }) => path),
        ...(wasGone ? { systemCode: "ENOENT" } : {}),
      },
    },
  );
}
