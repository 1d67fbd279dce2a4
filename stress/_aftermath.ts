/**
 * Aftermath: what is left of a workload's directory, judged against the model.
 *
 * The quick way reads the log and compares the bytes of each tick that is handed out with those that
 * were written; as replay is a function of these bytes alone, the state follows. The whole way opens
 * a bus, compares every page with the model, goes on writing and opens once more.
 */

import assert from "node:assert/strict";
import { equalBytes, isMmsbError } from "../src/base/mod.ts";
import type { StateBus } from "../src/bus/mod.ts";
import {
  type DirectoryMeta,
  LogReader,
  MemoryStorage,
  readMeta,
  recover,
  type Storage,
} from "../src/log/mod.ts";
import { difference, type PageState, type State } from "../src/model/mod.ts";
import { PageStore } from "../src/physical/mod.ts";
import { MEMORY_LIMIT_BYTES, openBus } from "./_workloads.ts";

/** How a log ended, and after which tick. */
export interface Outcome {
  readonly tick: number;
  readonly state: "whole" | "torn" | "damaged";
}

/** The model after some ticks. */
export interface ModelState {
  readonly state: State;
  readonly nextId: number;
  readonly graphVersion: number;
}

/** Judges what is left of one workload. */
export class Aftermath {
  /** Directories that were opened the whole way. */
  opened = 0;
  readonly #states: readonly ModelState[];
  readonly #lanes: number;
  readonly #seen = new Set<string>();
  #ticks: readonly Uint8Array[] = [];

  /** `states`: the model after 0, 1, 2 … ticks; `lanes`: lanes with which it is opened again, and then one less. */
  constructor(states: readonly ModelState[], lanes = 1) {
    this.#states = states;
    this.#lanes = lanes;
  }

  /** Takes the ticks of an undamaged directory for those that were written, once they are proven. */
  async learn(storage: Storage, ticks: number): Promise<void> {
    const meta = readMeta(storage);
    const reader = new LogReader(storage, meta), found: Uint8Array[] = [];
    for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
      found.push(bytesOf(tick));
    }
    assert.equal(found.length, ticks, "all ticks are in the log");
    this.#ticks = found;
    await this.goWholeWay(storage, { tick: ticks, state: reader.end().state }, "undamaged");
  }

  /** Reads a log; the state it leads to is that of the model. */
  quick(storage: Storage, meta: DirectoryMeta | undefined, what: string): Outcome {
    const reader = new LogReader(storage, meta);
    let known = true;
    for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
      const written = this.#ticks[tick.tick - 1];
      known = known && written !== undefined && equalBytes(bytesOf(tick), written);
    }
    const { tick, state } = reader.end();
    // Bytes that nobody wrote: then only the pages can tell.
    if (!known) this.replay(storage, meta, what);
    return { tick, state };
  }

  /** Recovers and compares every page with the model. */
  replay(storage: Storage, meta: DirectoryMeta | undefined, what: string): Outcome {
    const store = new PageStore(MEMORY_LIMIT_BYTES);
    const { tick, end } = recover(storage, meta, store);
    this.#same(tick, stateOfStore(store), store.graphVersion, what, store.nextPageId);
    return { tick, state: end.state };
  }

  /** Goes the whole way for outcomes that were not seen before. */
  async goWholeWayOnce(storage: Storage, outcome: Outcome, what: string): Promise<void> {
    const key = `${outcome.tick} ${outcome.state}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    await this.goWholeWay(storage, outcome, what);
  }

  /** Opens a copy as a bus, to read and to write, and checks what it then holds. */
  async goWholeWay(storage: Storage, { tick, state }: Outcome, what: string): Promise<void> {
    this.opened++;
    const copy = copyOf(storage);
    if (readMeta(copy) !== undefined) {
      const reading = await openBus(copy, { readOnly: true });
      assert.deepEqual([reading.opened.tick, reading.opened.state], [tick, state], what);
      this.#same(tick, stateOfBus(reading), reading.graph.version, what);
      await reading.close();
    }
    const before = copy.image();
    let bus: StateBus;
    try {
      bus = await openBus(copy, { lanes: this.#lanes });
    } catch (error) {
      assert(state === "damaged" && isMmsbError(error, "corrupt-log"), `${what}: ${error}`);
      assert.deepEqual([...copy.image()], [...before], `${what}: refused, and nothing is changed`);
      return;
    }
    assert.notEqual(state, "damaged", `${what}: damage was not refused`);
    assert.equal(bus.opened.tick, tick, what);
    this.#same(tick, stateOfBus(bus), bus.graph.version, what);
    const page = bus.createPage({ size: 8 });
    assert.equal(page.id, this.#states[tick].nextId, `${what}: ids go on`);
    await bus.commit(() => page.write(0, Uint8Array.of(1)));
    await bus.close();
    const again = await openBus(copy, { lanes: Math.max(1, this.#lanes - 1) });
    assert.deepEqual([again.opened.tick, again.opened.state], [tick + 1, "whole"], what);
    assert.deepEqual([...again.page(page.id).read(0, 2)], [1, 0], what);
    assert((await again.verify()).ok, what);
    again.page(page.id).delete();
    await again.commit();
    this.#same(tick, stateOfBus(again), again.graph.version, what);
    await again.close();
  }

  #same(tick: number, state: State, version: number, what: string, nextId?: number): void {
    const expected = this.#states[tick];
    assert(expected !== undefined, `${what}: there was no tick ${tick}`);
    assert.equal(difference(expected.state, state), undefined, `${what}: after tick ${tick}`);
    assert.equal(version, expected.graphVersion, `${what}: version of the graph`);
    if (nextId !== undefined) assert.equal(nextId, expected.nextId, `${what}: next page id`);
  }
}

/** A storage of its own with the same files. */
export function copyOf(storage: Storage): MemoryStorage {
  assert(storage instanceof MemoryStorage);
  return storage.clone();
}

type LogTick = NonNullable<ReturnType<LogReader["next"]>>;
type LaneTick = LogTick["lanes"][number];

/** The bytes of a tick in all its lanes, one after the other. */
function bytesOf({ lanes }: LogTick): Uint8Array {
  const parts = lanes.map(({ segment, frames, commitFrame }: LaneTick) =>
    segment.bytes.subarray((frames[0] ?? commitFrame).at, commitFrame.at + commitFrame.length)
  );
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}

function stateOfBus(bus: StateBus): State {
  const state = new Map<number, PageState>();
  for (const page of bus.pages()) {
    const { epoch, shard, metadata, name } = page;
    const entry = { bytes: page.read(), epoch, shard, metadata: Object.fromEntries(metadata) };
    state.set(page.id, { ...entry, name: name === "" ? undefined : name });
  }
  return state;
}

function stateOfStore(store: PageStore): State {
  const { table } = store;
  const state = new Map<number, PageState>();
  for (const row of table.rows()) {
    const id = table.ids[row], name = store.nameOf(id);
    state.set(id, {
      bytes: store.view(row),
      epoch: table.epoch(row),
      shard: table.shards[row],
      metadata: Object.fromEntries(store.metadataOf(id)),
      name: name === "" ? undefined : name,
    });
  }
  return state;
}
