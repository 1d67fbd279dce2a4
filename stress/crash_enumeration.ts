/**
 * Crash enumeration: what every crash and every damage leaves of a short log, against the model.
 *
 * Each workload of up to three operations is played on a bus over a faulty storage and on the model.
 * Then, one after the other and each by itself:
 *
 * - the power fails: every subset of the unsynced writes survives, and every prefix of each one;
 * - the power fails after every single step of the storage;
 * - every file of the log is missing, or cut at every byte, and every bit of it is flipped: each of
 *   these before and after a clean close; and every bit of the directory's metadata is flipped.
 *
 * What is left must be the model's state after some whole tick: where the power failed, the last one
 * that was acknowledged or a later one; where bytes were damaged, the last one before the damage, and
 * that must be refused for writing if, and only if, anything left shows that the bytes were synced.
 *
 * Cost: some 20 µs a case.
 */

import assert from "node:assert/strict";
import { isMmsbError } from "../src/base/mod.ts";
import {
  type DirectoryMeta,
  type FaultyStorage,
  laneFolder,
  MemoryStorage,
  META_PATH,
  readMeta,
  type Storage,
  type UnsyncedChange,
} from "../src/log/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { Aftermath, type Outcome } from "./_aftermath.ts";
import { type FilePlace, Layout } from "./_layout.ts";
import {
  HeldStorage,
  MOTIONS,
  type Operation,
  Play,
  SEGMENT_SIZES,
  statesOf,
  workloads,
} from "./_workloads.ts";

/** How much of it is done. */
export interface EnumerationOptions {
  /** Operations of the longest workloads. */
  readonly operations?: number;
  /**
   * 1 for all. Below it, that share of the longest workloads, and of all one bit a byte, some of the
   * torn writes and some of the steps.
   */
  readonly scale?: number;
  /** Of what is left to chance. */
  readonly seed?: number;
  /**
   * Lanes of the log. Default 1. With several, damage is tried after a clean close only, where it must be
   * refused wherever it hits a tick.
   */
  readonly lanes?: number;
  /** Which part is done here, from 0, and of how many. */
  readonly part?: readonly [index: number, count: number];
}

/** What was tried. */
export interface EnumerationCounts {
  /** Workloads. */
  workloads: number;
  /** Crashes that kept a subset of the writes. */
  subsets: number;
  /** Crashes that tore writes. */
  torn: number;
  /** Crashes after a step. */
  steps: number;
  /** Files cut at a byte. */
  cuts: number;
  /** Bits flipped. */
  flips: number;
  /** Files missing. */
  missing: number;
  /** Bits of the metadata flipped. */
  metaFlips: number;
  /** Cases that had to be refused for writing. */
  refused: number;
  /** Directories opened, written to and opened again. */
  opened: number;
}

/** Subsets of up to this many writes are all tried. */
const SUBSET_WRITES_MAX = 10;
/** Below a scale of 1 that share of the workloads with rules, edges and transactions, whose logs are long. */
const MOTION_SHARE = 0.2;
/** Crashes by chance, a workload. */
const CHANCES = 16;

/**
 * Runs the enumeration.
 *
 * @throws {AssertionError} at the first case that is not as it must be; the message says which.
 */
export async function enumerateCrashes(
  options: EnumerationOptions = {},
): Promise<EnumerationCounts> {
  const { operations = 3, scale = 1, seed = 1, lanes = 1, part: [part, parts] = [0, 1] } = options;
  const random = new SeededRandom(seed);
  const counts: EnumerationCounts = {
    workloads: 0,
    subsets: 0,
    torn: 0,
    steps: 0,
    cuts: 0,
    flips: 0,
    missing: 0,
    metaFlips: 0,
    refused: 0,
    opened: 0,
  };
  let number = 0;
  for (const workload of workloads(operations)) {
    const longest = workload.length === operations && operations > 2;
    if (longest && !random.chance(scale)) continue;
    if (moves(workload) && scale < 1 && !random.chance(MOTION_SHARE)) continue;
    if (number++ % parts !== part) continue;
    const run = new WorkloadRun(workload, scale >= 1, seed + number, lanes, counts);
    try {
      await run.all();
    } catch (error) {
      throw new Error(`Workload ${workload.join(", ")} (seed ${seed}, ${lanes} lanes): ${error}`, {
        cause: error,
      });
    }
  }
  return counts;
}

function moves(workload: readonly Operation[]): boolean {
  return workload.some((operation) => MOTIONS.some((motion) => motion === operation));
}

/** All cases of one workload. */
class WorkloadRun {
  readonly #workload: readonly Operation[];
  readonly #segmentBytesMax: number;
  readonly #thorough: boolean;
  readonly #seed: number;
  readonly #lanes: number;
  readonly #counts: EnumerationCounts;

  constructor(
    workload: readonly Operation[],
    thorough: boolean,
    seed: number,
    lanes: number,
    counts: EnumerationCounts,
  ) {
    this.#workload = workload;
    this.#segmentBytesMax = SEGMENT_SIZES[seed % SEGMENT_SIZES.length];
    this.#thorough = thorough;
    this.#seed = seed;
    this.#lanes = lanes;
    this.#counts = counts;
  }

  async all(): Promise<void> {
    this.#counts.workloads++;
    await this.#crashes("buffered");
    const steps = await this.#crashes("group");
    await this.#stops(steps);
  }

  #play(storage: Storage, durability: "group" | "buffered"): Play {
    const segmentBytesMax = this.#segmentBytesMax;
    return new Play(storage, { durability, segmentBytesMax, lanes: this.#lanes });
  }

  /** Plays the workload; the power fails before the last tick is synced; then damage. */
  async #crashes(durability: "group" | "buffered"): Promise<number> {
    const storage = new HeldStorage({ seed: this.#seed });
    const play = this.#play(storage, durability);
    await play.open();
    for (const operation of this.#workload) await play.do(operation);
    const { promise, resolve } = Promise.withResolvers<void>();
    storage.held = promise;
    const { durable } = await play.tick();
    const after = new Aftermath(statesOf(play.model), this.#lanes);
    const ticks = play.model.ticks.length;
    await after.learn(new MemoryStorage({ image: storage.image() }), ticks);
    await this.#subsets(storage, after, play.acknowledged, ticks);
    resolve();
    await durable;
    if (durability === "group") {
      assert.equal(play.acknowledged, ticks);
      if (this.#lanes > 1) {
        await this.#damagesOfLanes(new MemoryStorage({ image: storage.image() }), after, false);
      } else await this.#damages(new MemoryStorage({ image: storage.image() }), after);
    }
    await play.close();
    const closed = storage.crash({ keep: "none" });
    const afterClose = new Aftermath(statesOf(play.model), this.#lanes);
    await afterClose.learn(closed, ticks);
    if (durability === "group" && this.#lanes === 1) await this.#damages(closed, afterClose);
    else if (durability === "group") await this.#damagesOfLanes(closed, afterClose, true);
    this.#counts.opened += after.opened + afterClose.opened;
    return storage.steps;
  }

  // Crashes.

  async #subsets(
    storage: FaultyStorage,
    after: Aftermath,
    acknowledged: number,
    ticks: number,
  ): Promise<void> {
    const changes = storage.unsynced(), random = new SeededRandom(this.#seed);
    const judge = async (crash: MemoryStorage, what: () => string) => {
      const outcome = after.quick(crash, readMeta(crash), "crash");
      if (outcome.tick < acknowledged || outcome.tick > ticks || outcome.state === "damaged") {
        const { tick, state } = outcome;
        assert.fail(`${what()}: ${state} after tick ${tick}, ${acknowledged} were acknowledged`);
      }
      await after.goWholeWayOnce(crash, outcome, what());
    };
    const all = changes.length <= SUBSET_WRITES_MAX;
    for (let i = 0; i < 2 ** Math.min(changes.length, SUBSET_WRITES_MAX); i++) {
      const kept = new Set<number>();
      for (const [bit, { number }] of changes.entries()) {
        if (all ? i & 1 << bit : random.chance(0.5)) kept.add(number);
      }
      this.#counts.subsets++;
      const crash = storage.crash({ survive: ({ number }) => kept.has(number) });
      await judge(crash, () => `changes ${[...kept].join()} of ${changes.length} survive`);
    }
    for (const torn of changes) {
      if (torn.kind !== "write") continue;
      for (let size = 1; size < torn.size; size += this.#thorough ? 1 : 13) {
        for (const others of [true, false]) {
          this.#counts.torn++;
          const survive = (change: UnsyncedChange) => change.number === torn.number ? size : others;
          const what = `${size} bytes of change ${torn.number} and ${others ? "all" : "no"} others`;
          await judge(storage.crash({ survive }), () => what);
        }
      }
    }
    for (let chance = 0; chance < CHANCES; chance++) {
      this.#counts.torn++;
      const fate = { seed: this.#seed * CHANCES + chance, tear: chance & 1 ? "byte" : "sector" };
      const crash = storage.crash(fate as { seed: number; tear: "byte" | "sector" });
      await judge(crash, () => `crash ${JSON.stringify(fate)}`);
    }
  }

  /** The power fails after each step of the workload and of the close that follows. */
  async #stops(steps: number): Promise<void> {
    const model = this.#play(new HeldStorage(), "group");
    await this.#live(model);
    const states = statesOf(model.model);
    const stride = this.#thorough ? 1 : 7;
    for (let after = this.#seed % stride; after <= steps; after += stride) {
      const storage = new HeldStorage({ seed: this.#seed });
      storage.stop({ after });
      const play = this.#play(storage, "group");
      await this.#live(play).catch((error) => assert(isMmsbError(error, "io"), String(error)));
      const judge = new Aftermath(states, this.#lanes);
      for (const keep of ["none", "all", "some"] as const) {
        this.#counts.steps++;
        const what = `crash after step ${after}, keep ${keep}`;
        const crash = storage.crash({ keep, tear: "byte", seed: after });
        const outcome = judge.replay(crash, readMeta(crash), what);
        assert(outcome.tick >= play.acknowledged, `${what}: ${play.acknowledged} acknowledged`);
        assert.notEqual(outcome.state, "damaged", what);
        if (keep === "some") await judge.goWholeWay(crash, outcome, what);
      }
      this.#counts.opened += judge.opened;
    }
  }

  async #live(play: Play): Promise<void> {
    await play.open();
    for (const operation of this.#workload) await play.do(operation);
    await (await play.tick()).durable;
    await play.close();
  }

  // Damage.

  async #damages(storage: MemoryStorage, after: Aftermath): Promise<void> {
    const meta = readMeta(storage)!, layout = new Layout(storage, meta);
    for (const file of layout.files) {
      await this.#cuts(storage, meta, layout, file, after);
      await this.#flips(storage, meta, layout, file, after);
      await this.#missing(storage, meta, layout, file, after);
    }
    this.#metaFlips(storage);
  }

  /**
   * Every file of every lane is missing, cut, or has bits flipped. What is left is a prefix of the ticks; after
   * a clean close the loss of any tick must be refused.
   */
  async #damagesOfLanes(
    storage: MemoryStorage,
    after: Aftermath,
    isClosed: boolean,
  ): Promise<void> {
    const meta = readMeta(storage)!, { tick: last } = after.quick(storage, meta, "undamaged");
    const judge = async (what: () => string) => {
      let outcome: Outcome;
      try {
        outcome = after.quick(storage, meta, "damage");
      } catch (error) {
        throw new Error(`${what()}: ${error}`, { cause: error });
      }
      const { tick, state } = outcome;
      if (state === "damaged") this.#counts.refused++;
      assert(
        tick === last || !isClosed || state === "damaged",
        `${what()}: ${state} after ${tick}`,
      );
      await after.goWholeWayOnce(storage, outcome, what());
    };
    const stride = this.#thorough ? 1 : 5;
    for (const { lane } of meta.lanes) {
      for (
        const path of storage.list(laneFolder(lane)).map((name) => `${laneFolder(lane)}/${name}`)
      ) {
        const bytes = storage.readAll(path)!.slice(), file = storage.open(path, "write");
        const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
        for (let at = this.#seed % stride; at < end; at += stride) {
          this.#counts.flips++;
          file.write(Uint8Array.of(bytes[at] ^ 1 << (at + this.#seed) % 8), at);
          await judge(() => `a bit of byte ${at} of ${path} is flipped`);
          file.write(bytes.subarray(at, at + 1), at);
          this.#counts.cuts++;
          file.truncate(at);
          await judge(() => `${path} is cut at ${at}`);
          file.write(bytes.subarray(at), at);
        }
        file.close();
        this.#counts.missing++;
        storage.remove(path);
        await judge(() => `${path} is missing`);
        storage.replace(path, bytes);
      }
    }
  }

  async #cuts(
    storage: MemoryStorage,
    meta: DirectoryMeta,
    layout: Layout,
    place: FilePlace,
    after: Aftermath,
  ): Promise<void> {
    const file = storage.open(place.path, "write"), bytes = storage.readAll(place.path)!;
    for (const at of this.#bytes(place)) {
      this.#counts.cuts++;
      file.truncate(at);
      const what = () => `${place.path} is cut at ${at}`;
      await this.#judge(storage, meta, layout.expect(place, at, place.size), after, what);
      file.write(bytes.subarray(at), at);
    }
    file.close();
  }

  async #flips(
    storage: MemoryStorage,
    meta: DirectoryMeta,
    layout: Layout,
    place: FilePlace,
    after: Aftermath,
  ): Promise<void> {
    const file = storage.open(place.path, "write"), bytes = storage.readAll(place.path)!;
    for (const at of this.#bytes(place)) {
      const expected = layout.expect(place, at, at + 1);
      for (let bit = 0; bit < 8; bit++) {
        if (!this.#thorough && bit !== (at + this.#seed) % 8) continue;
        this.#counts.flips++;
        file.write(Uint8Array.of(bytes[at] ^ 1 << bit), at);
        const what = () => `bit ${bit} of byte ${at} of ${place.path} is flipped`;
        await this.#judge(storage, meta, expected, after, what);
      }
      file.write(bytes.subarray(at, at + 1), at);
    }
    file.close();
  }

  /** The bytes of a file that are tried: all that were written, and some of the zeros behind. */
  *#bytes(place: FilePlace): Generator<number> {
    for (let at = 0; at < place.end; at++) yield at;
    for (let at = place.end; at < place.size; at += 1 + Math.floor((at - place.end) / 4)) yield at;
  }

  async #missing(
    storage: MemoryStorage,
    meta: DirectoryMeta,
    layout: Layout,
    place: FilePlace,
    after: Aftermath,
  ): Promise<void> {
    this.#counts.missing++;
    const copy = storage.clone();
    copy.remove(place.path);
    const what = () => `${place.path} is missing`;
    await this.#judge(copy, meta, layout.expectWithout(place), after, what);
  }

  async #judge(
    storage: MemoryStorage,
    meta: DirectoryMeta,
    expected: { readonly tick: number; readonly refused: boolean | undefined },
    after: Aftermath,
    what: () => string,
  ): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = after.quick(storage, meta, "damage");
    } catch (error) {
      throw new Error(`${what()}: ${error}`, { cause: error });
    }
    const refused = outcome.state === "damaged";
    if (outcome.tick !== expected.tick || refused !== (expected.refused ?? refused)) {
      assert.fail(
        `${what()}: ${outcome.state} after tick ${outcome.tick}, expected tick ${expected.tick}, ` +
          `${expected.refused ? "" : "not "}refused`,
      );
    }
    if (refused) this.#counts.refused++;
    await after.goWholeWayOnce(storage, outcome, what());
  }

  #metaFlips(storage: MemoryStorage): void {
    const bytes = storage.readAll(META_PATH)!;
    for (let bit = this.#thorough ? 0 : this.#seed % 8; bit < 8 * bytes.length;) {
      this.#counts.metaFlips++;
      bytes[bit >> 3] ^= 1 << bit % 8;
      const copy = new MemoryStorage();
      copy.replace(META_PATH, bytes);
      assert.throws(
        () => readMeta(copy),
        (error) => isMmsbError(error, "corrupt-log") || isMmsbError(error, "version"),
        `bit ${bit} of ${META_PATH} is flipped`,
      );
      bytes[bit >> 3] ^= 1 << bit % 8;
      bit += this.#thorough ? 1 : 8;
    }
  }
}
