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
import { defineRule } from "../src/propagation/mod.ts";

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

/** What it may do besides, in workloads that are one operation shorter, since each of these ticks by itself. */
export const MOTIONS = [
  /** A page is born that a rule makes from another one. */
  "bind",
  /** An edge goes, or a page is born with an edge from another one. */
  "edge",
  /** A transaction reads a page, writes it and creates another one. */
  "transaction",
] as const;

/** One of {@linkcode OPERATIONS} or {@linkcode MOTIONS}. */
export type Operation = typeof OPERATIONS[number] | typeof MOTIONS[number];

/** All workloads of up to `length` operations, shortest first; then shorter ones with motions. */
export function* workloads(length: number): Generator<readonly Operation[]> {
  yield* upTo(length, OPERATIONS);
  for (const workload of upTo(length - 1, [...OPERATIONS, ...MOTIONS])) {
    if (workload.some((operation) => MOTIONS.some((motion) => motion === operation))) {
      yield workload;
    }
  }
}

function* upTo(length: number, alphabet: readonly Operation[]): Generator<Operation[]> {
  let longest: Operation[][] = [[]];
  for (let size = 1; size <= length; size++) {
    longest = longest.flatMap((start) => alphabet.map((operation) => [...start, operation]));
    yield* longest;
  }
}

/** The first word of its output is the sum of the first four of its input. */
const sumOfWords = defineRule({
  compute(ctx) {
    let sum = 0;
    for (let at = 0; at < 16; at += 4) sum += ctx.input(0).getInt32(at);
    ctx.output(0).setInt32(0, sum);
  },
});

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
  /** Pages whose deaths are staged. */
  #dying = new Set<number>();
  /** Input and output of the rule that is about to be bound. */
  #binding: readonly [number, number] | undefined;
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
    this.#dying.clear();
    const { rules } = this.model.structure;
    const derived = new Set([...rules.values()].flatMap(({ written }) => written));
    this.#live = [...this.model.state().keys()].filter((page) => !derived.has(page))
      .sort((a, b) => a - b);
    for (const { name, pages: [input, output] } of rules.values()) {
      this.#bus.rule(sumOfWords, { name, inputs: [input], outputs: [output] });
    }
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
      case "delete":
        return this.#delete();
      case "bind":
        return await this.#bind();
      case "edge":
        return await this.#edge();
      case "transaction":
        return await this.#transact(bytes(5));
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
    this.#born = [];
    this.#dying.clear();
    const report = await this.#bus!.tick();
    const expected = this.#tickModel();
    assert.equal(report.tick, expected.tick);
    assert.equal(report.rows, expected.rows);
    assert.equal(report.refused.length, expected.refused.length);
    const durable = report.durable.then(() => {
      if (this.#options.durability === "group") this.acknowledged = expected.tick;
    });
    durable.catch(() => {});
    return { durable };
  }

  /** Ticks the model, with what rules have made. */
  #tickModel(): ReturnType<Model["tick"]> {
    const bus = this.#bus!, { model } = this, state = model.state();
    for (const [input, output] of this.#rules) {
      if (bus.find(`made of ${input}`)?.id !== output) continue;
      const words = new Int32Array(bus.page(input).read(0, 16).buffer);
      const sum = words.reduce((sum, word) => sum + word | 0, 0), payload = bus.page(output).read();
      assert.equal(new Int32Array(payload.buffer)[0], sum, `page ${output} is made of ${input}`);
      const before = state.get(output)?.bytes ?? new Uint8Array(4);
      if (payload.every((byte, i) => byte === before[i])) continue;
      model.derive({ kind: "set", page: output, offset: 0, length: 4, payload });
    }
    return model.tick();
  }

  /** Inputs and outputs of the rules, of the one that is about to be bound too. */
  get #rules(): (readonly [number, number])[] {
    const bound = [...this.model.structure.rules.values()];
    const all = bound.map(({ pages: [input, output] }) => [input, output] as const);
    return this.#binding === undefined ? all : [...all, this.#binding];
  }

  #delete(): void {
    const page = this.#target(), { model } = this, deaths = new Set([page]);
    for (const dead of deaths) {
      for (const { source, target } of model.structure.edges) {
        if (source === dead) deaths.add(target);
      }
    }
    this.#bus!.page(page).delete({ cascade: true });
    this.#live = this.#live.filter((live) => !deaths.has(live));
    for (const dead of deaths) if (!this.#dying.has(dead)) model.deletePage(dead);
    for (const dead of deaths) this.#dying.add(dead);
  }

  /** Makes what waits a tick, so that what comes is one of its own. */
  async #settle(): Promise<void> {
    await (await this.tick()).durable;
  }

  async #bind(): Promise<void> {
    await this.#settle();
    const bus = this.#bus!, { model } = this;
    let input = this.#target();
    // A page has one made of it, and no more.
    if (bus.find(`made of ${input}`) !== undefined) {
      this.#create({ size: 16 });
      input = this.#target();
    }
    const name = `made of ${input}`, output = bus.createPage({ size: 4, name });
    model.createPage({ size: 4, name });
    bus.rule(sumOfWords, { name, inputs: [input], outputs: [output] });
    const edge = { kind: "edge", source: input, target: output.id, type: 0, adds: true } as const;
    model.change(edge);
    const pages = { inputs: [input], outputs: [output.id], state: [] };
    model.change({ kind: "bind", rule: model.structure.nextRule, name, ...pages });
    this.#binding = [input, output.id];
    await this.#settle();
    this.#binding = undefined;
  }

  async #edge(): Promise<void> {
    await this.#settle();
    const bus = this.#bus!, { model } = this;
    const derived = new Set(this.#rules.map(([, output]) => output));
    const known = model.structure.edges.find(({ target }) => !derived.has(target));
    if (known !== undefined) {
      bus.removeEdge(known.source, known.target, "data");
      model.change({ kind: "edge", ...known, adds: false });
    } else {
      const source = this.#target();
      this.#create({ size: 16 });
      const target = this.#target();
      bus.edge(source, target, "data");
      model.change({ kind: "edge", source, target, type: 0, adds: true });
    }
    await this.#settle();
  }

  async #transact(bytes: Uint8Array): Promise<void> {
    this.#target();
    await this.#settle();
    const page = this.#target(), { model } = this;
    await this.#bus!.transaction((tx) => {
      assert.equal(tx.epoch(page), model.state().get(page)!.epoch);
      tx.write(page, 1, bytes);
      this.#live.unshift(tx.createPage({ size: 16 }).id);
    }, { source: "teller" });
    model.write(page, 1, bytes, { source: "teller" });
    assert.equal(model.createPage({ size: 16 }), this.#live[0]);
    this.#tickModel();
    if (this.#options.durability === "group") this.acknowledged = model.ticks.length;
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

/** The model's states after 0, 1, 2 … ticks, the ids that are given out next, and the version of the graph. */
export function statesOf(
  model: Model,
): { readonly state: State; readonly nextId: number; readonly graphVersion: number }[] {
  return Array.from({ length: model.ticks.length + 1 }, (_, count) => {
    const before = Model.recover(model.ticks, count);
    return {
      state: before.state(),
      nextId: count === 0 ? 1 : model.ticks[count - 1].nextId,
      graphVersion: before.structure.version,
    };
  });
}
