/**
 * Workloads: short lives of a directory, played on a bus and on the model at the same time.
 *
 * Nearly all faults of storage systems show within three operations (Mohan et al., "Finding
 * Crash-Consistency Bugs with Bounded Black-Box Crash Testing", OSDI 2018), so all workloads up to
 * that length, over an alphabet of operations that differ in what they write, are a test that can be
 * finished.
 */

import assert from "node:assert/strict";
import type { StateBus } from "../src/bus/mod.ts";
import { openLanes } from "../src/bus/open_lanes.ts";
import { FaultyStorage, type Storage, type StorageFile } from "../src/log/mod.ts";
import { Model, type State } from "../src/model/mod.ts";
import { DeltaBatch, SPAN_BYTES } from "../src/physical/mod.ts";

/** What a workload may do; each one is followed by at least one tick. */
export const OPERATIONS = [
  /** A page of 16 bytes is born. */
  "small",
  /** A page of 300 bytes with a name and metadata is born. */
  "large",
  /** Bytes of a page are set, with source, intent, time and the page's epoch; then every other one. */
  "write",
  /** A page dies. */
  "delete",
  /** One batch that is refused, and one that adds to a page. */
  "submit",
  /** What was done until now becomes a tick of its own. */
  "tick",
  /** The directory is closed and opened again; what was not ticked is forgotten. */
  "reopen",
  /** The process is killed and another one opens the directory; the system goes on. */
  "kill",
] as const;

/** One of {@linkcode OPERATIONS}. */
export type Operation = typeof OPERATIONS[number];

/** All workloads of up to `length` operations, shortest first. */
export function* workloads(length: number): Generator<readonly Operation[]> {
  let longest: Operation[][] = [[]];
  for (let size = 1; size <= length; size++) {
    longest = longest.flatMap((start) => OPERATIONS.map((operation) => [...start, operation]));
    yield* longest;
  }
}

/** Pages of a workload take this much at most. */
export const MEMORY_LIMIT_BYTES: number = 4 * SPAN_BYTES;

/** Segments that hold one tick at first and few later, and segments that hold a few. */
export const SEGMENT_SIZES: readonly number[] = [1024, 4096];

/** A faulty storage of processes that can be killed, and whose syncs wait while `held` is set. */
export class HeldStorage extends FaultyStorage {
  /** What syncs on other threads wait for. */
  held: Promise<void> | undefined;

  /** A killed process holds no lock. */
  override lock(): () => void {
    super.lock()();
    return () => {};
  }

  override open(path: string, mode: "read" | "write" | "create"): StorageFile {
    const file = super.open(path, mode);
    const syncAsync = file.syncAsync.bind(file);
    file.syncAsync = async () => {
      await this.held;
      return await syncAsync();
    };
    return file;
  }
}

/** What a bus of a workload may be told. */
export interface BusOptions {
  readonly durability?: "group" | "buffered";
  readonly readOnly?: boolean;
  readonly segmentBytesMax?: number;
  /** Lanes of the log. Default 1. */
  readonly lanes?: number;
}

/** Opens a bus with the sizes and the clock of the workloads. */
export function openBus(storage: Storage, options: BusOptions = {}): Promise<StateBus> {
  let now = 1_700_000_000_000_000;
  const { lanes = 1, ...others } = options;
  return openLanes({
    storage,
    segmentBytesMax: SEGMENT_SIZES[0],
    // A segment of each lane is written with zeros in every life: small ones, where there are many.
    ...(lanes > 1 ? { segmentBytes: SEGMENT_SIZES[0] } : {}),
    memoryLimitBytes: MEMORY_LIMIT_BYTES,
    clock: { nowUs: () => now += 10, errorUs: () => 5 },
    ...others,
  }, lanes);
}

/** A bus and the model, side by side. */
export class Play {
  /** Ticks that were acknowledged as durable. */
  acknowledged = 0;
  /** The model; its ticks are those of the bus. */
  model = new Model();
  readonly #storage: Storage;
  readonly #options: BusOptions;
  #bus: StateBus | undefined;
  #sequences = new Map<number, number>();
  #live: number[] = [];
  #born: number[] = [];
  #step = 0;

  /** With `group` every tick is waited for; with `buffered` nothing is synced but by closing. */
  constructor(storage: Storage, options: BusOptions) {
    this.#storage = storage;
    this.#options = options;
  }

  /** Opens the bus. */
  async open(): Promise<void> {
    this.#bus = await openBus(this.#storage, this.#options);
    assert.equal(this.#bus.opened.tick, this.model.ticks.length);
    this.#sequences = new Map();
    this.#born = [];
    this.#live = [...this.model.state().keys()].sort((a, b) => a - b);
  }

  /** Closes the bus. */
  async close(): Promise<void> {
    await this.#bus!.close();
    this.acknowledged = this.model.ticks.length;
  }

  /** Does one operation. */
  async do(operation: Operation): Promise<void> {
    this.#step++;
    const bus = this.#bus!, { model } = this, seed = 16 * this.#step;
    const bytes = (count: number) => Uint8Array.from({ length: count }, (_, i) => seed + i);
    switch (operation) {
      case "small":
        return this.#create({ size: 16 });
      case "large":
        return this.#create({
          size: 300,
          name: `page ${this.#step}`,
          metadata: { about: bytes(3) },
        });
      case "write": {
        const page = this.#target();
        const options = { source: "feed", intent: `step ${this.#step}` };
        const expectedEpoch = this.#epochOf(page);
        bus.page(page).write(3, bytes(5), { ...options, timeUs: seed, expectedEpoch });
        model.write(page, 3, bytes(5), { ...options, expectedEpoch });
        const mask = Uint8Array.of(0x55, 1);
        bus.page(page).writeMasked(2, 9, mask, bytes(5));
        return model.writeMasked(page, 2, 9, mask, bytes(5));
      }
      case "delete": {
        const page = this.#target();
        this.#live.pop();
        bus.page(page).delete();
        return model.deletePage(page);
      }
      case "submit":
        return this.#submit(seed);
      case "tick":
        return await (await this.tick()).durable;
      case "reopen":
        await this.close();
        return await this.#openAgain();
      case "kill":
        // What the process had given to the system goes on: here, a segment that is being made.
        for (let turn = 0; turn < 20; turn++) await undefined;
        return await this.#openAgain();
    }
  }

  /** Ticks both; gives a promise of what is acknowledged, in an object so that it is not awaited. */
  async tick(): Promise<{ durable: Promise<void> }> {
    const expected = this.model.tick();
    this.#born = [];
    const report = await this.#bus!.tick();
    assert.equal(report.tick, expected.tick);
    assert.equal(report.rows, expected.rows);
    assert.equal(report.refused.length, expected.refused.length);
    const durable = report.durable.then(() => {
      if (this.#options.durability === "group") this.acknowledged = expected.tick;
    });
    durable.catch(() => {});
    return { durable };
  }

  /** The next process: it finds every tick, and has made it durable once it can write. */
  async #openAgain(): Promise<void> {
    this.model = Model.recover(this.model.ticks);
    await this.open();
    this.acknowledged = this.model.ticks.length;
  }

  #create(options: { size: number; name?: string; metadata?: Record<string, Uint8Array> }): void {
    const page = this.#bus!.createPage(options);
    assert.equal(page.id, this.model.createPage(options));
    this.#live.push(page.id);
    this.#born.push(page.id);
  }

  /** The newest page that is not about to die; a small one is born if there is none. */
  #target(): number {
    if (this.#live.length === 0) this.#create({ size: 16 });
    return this.#live[this.#live.length - 1];
  }

  #epochOf(page: number): number {
    return this.#born.includes(page) ? 0 : this.model.state().get(page)!.epoch;
  }

  #submit(seed: number): void {
    const page = this.#target();
    const bad = new DeltaBatch({ rows: 2, payloadBytes: 16 });
    bad.push(page, 0, Uint8Array.of(9));
    bad.push(page, 999, Uint8Array.of(9));
    const good = new DeltaBatch({ rows: 1, payloadBytes: 8 });
    good.combine(page, "u32", "add", 4, seed, { source: good.source("producer 2") });
    this.#send(bad, 1);
    this.#send(good, 2);
    const set = { kind: "set", page, length: 1, payload: Uint8Array.of(9) } as const;
    this.model.submit([{ ...set, offset: 0 }, { ...set, offset: 999 }], {
      producer: 1,
      sequence: this.#sequences.get(1)!,
    });
    const add = { kind: "combine", type: "u32", op: "add" } as const;
    this.model.submit([{ ...add, page, offset: 4, value: seed, source: "producer 2" }], {
      producer: 2,
      sequence: this.#sequences.get(2)!,
    });
  }

  #send(batch: DeltaBatch, producer: number): void {
    this.#sequences.set(producer, (this.#sequences.get(producer) ?? 0) + 1);
    this.#bus!.submit(batch, { producer });
  }
}

/** The model's states after 0, 1, 2 … ticks, and the ids that are given out next. */
export function statesOf(model: Model): { readonly state: State; readonly nextId: number }[] {
  return Array.from({ length: model.ticks.length + 1 }, (_, count) => ({
    state: Model.recover(model.ticks, count).state(),
    nextId: count === 0 ? 1 : model.ticks[count - 1].nextId,
  }));
}
