/**
 * Checkpoint audit: whether every checkpoint is whole, and leads to the state that the log leads to.
 *
 * Cost: each checkpoint is read once; and if there is one, the log is replayed once, with the memory of
 * two states.
 *
 * @module
 */

import { equalBytes, MEMORY_LIMIT_BYTES_DEFAULT, MmsbError } from "../base/mod.ts";
import { encodeMetadata, PageStore } from "../physical/mod.ts";
import { checkpointPath } from "./checkpoint_format.ts";
import { Checkpoint, listCheckpoints } from "./checkpoint_reader.ts";
import { LogReader, type LogTick } from "./log_reader.ts";
import { type DirectoryMeta, hasPlace, type LogBase } from "./meta.ts";
import { Replayer } from "./replay.ts";
import type { Storage } from "./storage.ts";
import { structureDifference } from "./structure_image.ts";

/** Told of a checkpoint that is wrong: its path, its tick, and what was found. */
export type CheckpointSink = (path: string, tick: number, message: string) => void;

/** Checks all checkpoints of a directory; gives the number of those that are good. */
export function auditCheckpoints(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  sink: CheckpointSink,
): number {
  const good: number[] = [];
  for (const tick of listCheckpoints(storage).reverse()) {
    try {
      using checkpoint = Checkpoint.open(storage, tick);
      checkpoint.check();
      // A crash may leave one whose part of the log was merged or dropped: nobody uses it.
      if (isNeeded(checkpoint, meta?.base)) good.push(tick);
    } catch (error) {
      // A writer may have removed it meanwhile.
      const path = checkpointPath(tick);
      if (!(error instanceof MmsbError)) throw error;
      if (storage.exists(path)) sink(path, tick, error.message);
    }
  }
  return good.length === 0 ? 0 : good.length - compareWithLog(storage, meta, good, sink);
}

function isNeeded({ header, footer }: Checkpoint, base: LogBase | undefined): boolean {
  const { tick } = header.place;
  return hasPlace(base, tick) || tick === base?.tick && footer.tick === base.horizon;
}

/** A state that a replay takes forward. */
interface Replay {
  readonly store: PageStore;
  readonly reader: LogReader;
  readonly replayer: Replayer;
  /** A tick that was read and not yet wanted. */
  ahead: LogTick | undefined;
  tick: number;
}

/** Compares good checkpoints with the log, oldest first; gives the number of those that differ. */
function compareWithLog(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  ticks: readonly number[],
  sink: CheckpointSink,
): number {
  let log: Replay | undefined, wrong = 0;
  if ((meta?.base?.tick ?? 0) === 0) log = replayOf(new LogReader(storage, meta), 0);
  for (const tick of ticks) {
    let found: Replay;
    try {
      found = overCheckpoint(storage, meta, tick);
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      sink(checkpointPath(tick), tick, error.message);
      wrong++;
      continue;
    }
    try {
      if (log !== undefined && goForward(log, tick)) {
        const page = firstDifference(log.store, found.store);
        const what = page !== undefined
          ? `page ${page} is`
          : structureDifference(log.store, found.store);
        if (what !== undefined) {
          sink(checkpointPath(tick), tick, `${what} not as the log has it at tick ${tick}`);
          wrong++;
        }
      } else {
        const reason = log === undefined ? undefined : endBefore(log);
        if (reason !== undefined) {
          sink(
            checkpointPath(tick),
            tick,
            `the log ends at tick ${log!.tick}, before it: ${reason}`,
          );
          wrong++;
        }
        log = found;
      }
    } catch (error) {
      // What is wrong with the log itself is told by those who check it.
      if (!(error instanceof MmsbError)) throw error;
      log = undefined;
    }
  }
  return wrong;
}

function overCheckpoint(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  tick: number,
): Replay {
  using checkpoint = Checkpoint.open(storage, tick);
  const { place } = checkpoint.header;
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT);
  const images = checkpoint.load(store);
  const replay: Replay = {
    store,
    reader: new LogReader(storage, meta, { start: place }),
    replayer: new Replayer(store, images),
    ahead: undefined,
    tick: place.tick,
  };
  if (goForward(replay, tick)) return replay;
  // The log was durable up to there before the checkpoint got its name.
  const { path } = checkpoint, { reason } = replay.reader.end();
  throw new MmsbError(
    "snapshot",
    `Cannot use "${path}": the log after it ends at tick ${replay.tick}: ${reason}`,
    { values: { path, tick: replay.tick } },
  );
}

function replayOf(reader: LogReader, tick: number): Replay {
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT);
  return { store, reader, replayer: new Replayer(store), ahead: undefined, tick };
}

/** Replays up to a tick; says whether the log has a state of just that tick. */
function goForward(replay: Replay, tick: number): boolean {
  while (replay.tick < tick) {
    const next = replay.ahead ?? replay.reader.next();
    replay.ahead = next;
    if (next === undefined || next.tick > tick) return false;
    replay.replayer.apply(next);
    replay.tick = next.tick;
    replay.ahead = undefined;
  }
  return replay.tick === tick;
}

/** How a log ends that does not go on; nothing where it is damaged, which others tell. */
function endBefore({ reader, ahead }: Replay): string | undefined {
  if (ahead !== undefined) return undefined;
  const { state, reason } = reader.end();
  return state === "damaged" ? undefined : reason;
}

/** The first page that two states do not share. */
function firstDifference(a: PageStore, b: PageStore): number | undefined {
  for (const row of b.table.rows()) {
    if (a.table.rowOf(b.table.ids[row]) === 0) return b.table.ids[row];
  }
  for (const row of a.table.rows()) {
    const page = a.table.ids[row], other = b.table.rowOf(page);
    const isSame = other !== 0 && a.table.sizeOf(row) === b.table.sizeOf(other) &&
      a.table.epoch(row) === b.table.epoch(other) &&
      a.table.shards[row] === b.table.shards[other] && a.nameOf(page) === b.nameOf(page) &&
      equalBytes(encodeMetadata(a.metadataOf(page)), encodeMetadata(b.metadataOf(page))) &&
      equalBytes(a.view(row), b.view(other));
    if (!isSame) return page;
  }
  return undefined;
}
