/**
 * Faults planted in checkpoints, one at a time, in a copy of a small directory with some of them. Each must
 * be found by the file's name: by the check, and by whoever opens the directory, to whom it must cost
 * nothing else, because the state is then made from the older checkpoint, or from the log.
 *
 * Some checkpoints are whole and another log's: only the check compares them with the log. And one fault is in
 * the log: the ticks after which a good checkpoint was made are gone. It knows that they were durable, so
 * the log must be called damaged.
 */

import type { Page, StateBus } from "../bus/mod.ts";
import {
  auditLog,
  Checkpoint,
  checkpointPath,
  laneFolder,
  listCheckpoints,
  MemoryStorage,
  readMeta,
  recover,
  segmentPath,
} from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { digestOf, stateOfStore } from "./_state.ts";
import { catalogueFault } from "./catalogue.ts";
import { openBus } from "./device_run.ts";

/** A fault in a checkpoint. */
export interface PlantedCheckpoint {
  /** The fault, by its id in the catalogue. */
  readonly id: string;
  /** What was done, as the catalogue says it. */
  readonly name: string;
  /** The directory that has it. */
  readonly storage: MemoryStorage;
  /** The file that must be named. */
  readonly path: string;
  /**
   * Who must find it. `both`: the check, and whoever opens the directory, who passes the checkpoint over.
   * `check`: only the check, which compares a checkpoint that is whole with the log. `opening`: whoever
   * opens, to whom the log is damaged.
   */
  readonly foundBy: "both" | "check" | "opening";
  /** SHA-256 of the state that must come out all the same, where the log is whole. */
  readonly digest: string | undefined;
}

const MEMORY_BYTES: number = 16 * 2 ** 20;
const TICKS_BETWEEN = 5;

/** A directory with three checkpoints, and ticks after each. */
export interface WithCheckpoints {
  /** After a clean close. */
  readonly closed: MemoryStorage;
  /** As a crash would have left it just before. */
  readonly crashed: MemoryStorage;
}

/** Whether a page is written by nobody but the sample's random batches. */
function isPlain({ name }: Page): boolean {
  return name === "" || name.startsWith("page ");
}

/**
 * Goes on with a copy of a log, and makes three checkpoints.
 *
 * @param change Something else that is done in the first tick.
 */
export async function withCheckpoints(
  sample: MemoryStorage,
  change: (bus: StateBus) => void = () => {},
): Promise<WithCheckpoints> {
  const closed = new MemoryStorage({ image: sample.image() });
  const bus = await openBus({ storage: closed, memoryLimitBytes: MEMORY_BYTES });
  for (let part = 0; part < 3; part++) {
    await bus.checkpoint();
    for (let tick = 0; tick < TICKS_BETWEEN; tick++) {
      await bus.commit(() => {
        for (const page of bus.pages()) {
          if (isPlain(page)) page.combine("u32", "add", 8, tick, { source: "later" });
        }
        if (part === 0 && tick === 0) change(bus);
      });
    }
  }
  const crashed = new MemoryStorage({ image: closed.image() });
  await bus.close();
  return { closed, crashed };
}

/** Directories whose checkpoints are whole, and none of this log's. */
export interface OtherCheckpoints {
  /** Of another log. */
  readonly log: WithCheckpoints;
  /** Of this log, but for one byte. */
  readonly byte: WithCheckpoints;
  /** Of this log, but for one edge. */
  readonly edge: WithCheckpoints;
}

/** Makes what {@linkcode plantCheckpoints} takes parts from. */
export async function otherCheckpoints(
  sample: MemoryStorage,
  other: MemoryStorage,
): Promise<OtherCheckpoints> {
  return {
    log: await withCheckpoints(other),
    byte: await withCheckpoints(sample, (bus) => {
      [...bus.pages()].find(isPlain)!.write(9, Uint8Array.of(0xa5));
    }),
    edge: await withCheckpoints(sample, (bus) => {
      const [from, to] = [...bus.pages()].filter(isPlain);
      bus.edge(from, to, "compiler");
    }),
  };
}

/** All planted faults, each in a copy. */
export function plantCheckpoints(
  { closed, crashed }: WithCheckpoints,
  others: OtherCheckpoints,
): PlantedCheckpoint[] {
  const [newest, older] = listCheckpoints(closed), path = checkpointPath(newest);
  const { digest } = recovered(closed);
  using checkpoint = Checkpoint.open(closed, newest);
  const { chunks: [chunk], footer, bytes } = checkpoint;
  const plant = (id: string, edit: (file: Uint8Array<ArrayBuffer>) => Uint8Array) => {
    const image = closed.image(), name = catalogueFault(id).title;
    image.set(path, edit(image.get(path)!).slice());
    const storage = new MemoryStorage({ image });
    return { id, name, storage, path, foundBy: "both" as const, digest };
  };
  const flip = (id: string, at: number) =>
    plant(id, (file) => {
      file[at] ^= 0x10;
      return file;
    });
  const whole = (id: string, from: WithCheckpoints) => ({
    ...plant(id, () => from.closed.readAll(path)!),
    foundBy: "check" as const,
  });
  return [
    flip("checkpoint-header", 17),
    flip("checkpoint-place", 66),
    flip("checkpoint-chunk-header", chunk.at + 17),
    flip("checkpoint-columns", chunk.at + 65),
    flip("checkpoint-pages", chunk.at + chunk.bytes - 12),
    // Behind the magic of a chunk stands its checksum.
    flip("checkpoint-checksum", chunk.at + 4),
    flip("checkpoint-table", footer.tableAt + 9),
    flip("checkpoint-footer", bytes - 48),
    plant("checkpoint-cut", (file) => file.subarray(0, file.length - 8)),
    plant("checkpoint-empty", () => new Uint8Array(0)),
    plant("checkpoint-stale", () => closed.readAll(checkpointPath(older))!),
    whole("checkpoint-of-another-log", others.log),
    whole("checkpoint-bytes", others.byte),
    whole("checkpoint-edges", others.edge),
    logBehind(crashed),
  ];
}

/** Whether a fault is found by its file's name, and costs nothing else. */
export function isFoundIn({ storage, path, foundBy, digest }: PlantedCheckpoint): boolean {
  if (foundBy !== "opening") {
    const isNamed = auditLog(storage).problems.some(({ kind, fault, file }) => {
      return kind === "damage" && fault === "checkpoint" && file === path;
    });
    if (!isNamed || foundBy === "check") return isNamed;
  }
  const found = recovered(storage);
  if (foundBy === "opening") {
    return found.end.state === "damaged" && found.end.reason.includes(path);
  }
  const isNamed = found.passedOver?.some((one) => one.path === path && one.reason) ?? false;
  return isNamed && found.end.state === "whole" && found.digest === digest;
}

/** Recovers a directory into fresh memory. */
function recovered(storage: MemoryStorage) {
  const store = new PageStore(MEMORY_BYTES);
  const recovery = recover(storage, readMeta(storage), store);
  return { ...recovery, digest: digestOf(stateOfStore(store)) };
}

/** A log that ends where the older checkpoint begins, with nothing in it to tell that there was more. */
function logBehind(crashed: MemoryStorage): PlantedCheckpoint {
  const image = crashed.image(), [, older] = listCheckpoints(crashed);
  using checkpoint = Checkpoint.open(crashed, older);
  const [{ segment, offset }] = checkpoint.header.place.lanes;
  const cut = segmentPath(0, segment);
  image.set(cut, image.get(cut)!.slice(0, offset));
  for (const path of image.keys()) {
    if (path.startsWith(laneFolder(0)) && path > cut) image.delete(path);
  }
  const id = "log-behind-checkpoint", name = catalogueFault(id).title;
  return {
    id,
    name,
    storage: new MemoryStorage({ image }),
    path: cut,
    foundBy: "opening",
    digest: undefined,
  };
}
