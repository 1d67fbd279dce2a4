/**
 * One cycle of the replay validator: random pages and deltas through the public API of a bus with a
 * log in memory, the same ones through the model, and at the end three states that must be one: the
 * live bus's, that of the bus opened again, and the model's.
 *
 * The model shares no code with the bus. Refusals are part of the work: a batch with a bad row must
 * leave no trace in any of the three.
 *
 * Cost: 3 to 5 ms a cycle, most of it opening and closing.
 */

import { DURABILITIES, type Page, StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { Model, type Row, type RowOptions } from "../model/mod.ts";
import { type CombineOperation, type CombineType, DeltaBatch } from "../physical/mod.ts";
import {
  type BusState,
  type Divergence,
  divergenceOf,
  metadataBytes,
  stateOfBus,
} from "./_state.ts";
import { openBus } from "./device_run.ts";

/** What a cycle did. */
export interface CycleOutcome {
  /** The live bus beside the one opened again. */
  readonly reopened: Divergence;
  /** The model beside the bus opened again. */
  readonly model: Divergence;
  /** Ticks. */
  readonly ticks: number;
  /** Deltas applied. */
  readonly deltas: number;
  /** Batches refused, by the bus and by the model. */
  readonly refused: readonly [bus: number, model: number];
  /** What the log stands in. */
  readonly storage: MemoryStorage;
}

const MEMORY_BYTES = 16 * 2 ** 20;
const SEGMENT_BYTES = 64 * 1024;
const TICK_BUDGET_MS = 3_600_000;
const SOURCES = ["", "feed-a", "feed-b", "ünïcode \u2028"];
const INTENTS = ["", "open", '{"why":1}'];
const TYPES: readonly CombineType[] = ["i32", "u32", "f32", "f64"];
const INTEGER_OPERATIONS: readonly CombineOperation[] = ["add", "min", "max", "or", "and", "xor"];
const DOUBLES = [0, -0, 1.5, -2.25, 1e308, -1e-308, NaN, Infinity, -Infinity];

/**
 * Runs one cycle.
 *
 * @param seed What it does depends on this alone.
 * @param mayRefuse Whether some batches have a bad row.
 */
export async function runCycle(seed: number, mayRefuse = true): Promise<CycleOutcome> {
  const cycle = new Cycle(new SeededRandom(seed), mayRefuse);
  return await cycle.run();
}

class Cycle {
  readonly #random: SeededRandom;
  readonly #badChance: number;
  readonly #storage = new MemoryStorage();
  #model = new Model();
  readonly #sequences = new Map<number, number>();
  /** Metadata set after birth, which the model has not. */
  readonly #notes = new Map<number, Uint8Array>();
  #pages: { readonly id: number; readonly size: number }[] = [];
  #names = 0;
  #deltas = 0;
  #refused = 0;
  #modelRefused = 0;

  constructor(random: SeededRandom, mayRefuse: boolean) {
    this.#random = random;
    this.#badChance = mayRefuse ? 0.08 : 0;
  }

  async run(): Promise<CycleOutcome> {
    const random = this.#random;
    let bus = await this.#open();
    const ticks = 2 + random.below(5);
    for (let tick = 0; tick < ticks; tick++) {
      await this.#tick(bus);
      if (random.chance(0.15)) {
        await bus.close();
        bus = await this.#open();
        // It too knows only its log now: ids that a refused batch used up, and sequences, are gone.
        this.#model = Model.recover(this.#model.ticks);
        this.#sequences.clear();
      }
    }
    const live = stateOfBus(bus);
    await bus.close();
    const again = await StateBus.open({
      storage: this.#storage,
      memoryLimitBytes: MEMORY_BYTES,
      readOnly: true,
    });
    const reopened = stateOfBus(again);
    const { tickNumber } = again;
    await again.close();
    return {
      reopened: divergenceOf(live, reopened),
      model: divergenceOf(stateOfModel(this.#model, this.#notes), reopened),
      ticks: tickNumber,
      deltas: this.#deltas,
      refused: [this.#refused, this.#modelRefused],
      storage: this.#storage,
    };
  }

  #open(): Promise<StateBus> {
    return openBus({
      storage: this.#storage,
      memoryLimitBytes: MEMORY_BYTES,
      segmentBytes: SEGMENT_BYTES,
      durability: DURABILITIES[1 + this.#random.below(3)],
      // A tick takes all that waits, however slow the device is: so does the model's.
      tickBudgetMs: TICK_BUDGET_MS,
    });
  }

  async #tick(bus: StateBus): Promise<void> {
    const random = this.#random;
    const births = this.#pages.length === 0 ? 1 + random.below(6) : random.below(3);
    const born = this.#births(bus, births);
    const known = [...this.#pages, ...born];
    for (let left = random.below(8); left > 0; left--) {
      this.#write(bus.page(pick(random, known).id));
    }
    const dead = new Set<number>();
    if (this.#pages.length > 1 && random.chance(0.2)) {
      const { id } = pick(random, this.#pages);
      bus.page(id).delete();
      this.#model.deletePage(id);
      dead.add(id);
    }
    for (let left = random.below(4); left > 0; left--) this.#submit(bus, known);
    const noted = random.chance(0.2) ? pick(random, known).id : 0, note = bytesOf(random, 3);
    if (noted !== 0) bus.page(noted).setMetadata({ note });
    const modelled = this.#model.tick();
    this.#modelRefused += modelled.refused.length;
    const isOpenRefused = modelled.refused.some(({ producer }) => producer === 0);
    try {
      const { rows, refused } = await bus.tick();
      this.#deltas += rows;
      this.#refused += refused.length;
    } catch {
      // The refusal of the caller's own batch is thrown; the others' are counted from the model,
      // whose state the bus's must equal.
      this.#deltas += modelled.rows;
      this.#refused += isOpenRefused ? modelled.refused.length : Infinity;
    }
    if (noted !== 0 && !isOpenRefused) this.#notes.set(noted, note);
    this.#pages = isOpenRefused ? this.#pages : known.filter(({ id }) => !dead.has(id));
  }

  #births(bus: StateBus, count: number): { id: number; size: number }[] {
    const random = this.#random;
    return Array.from({ length: count }, () => {
      const size = random.chance(0.1) ? 1 + random.below(5000) : 1 + random.below(200);
      const name = random.chance(0.4) ? `page ${this.#names++}` : undefined;
      const metadata: Record<string, Uint8Array> = {};
      if (random.chance(0.3)) metadata.unit = bytesOf(random, random.below(9));
      const shard = random.chance(0.2) ? random.below(24) : undefined;
      const { id } = bus.createPage({ size, name, metadata, shard });
      this.#model.createPage({ size, name, metadata, shard });
      return { id, size };
    });
  }

  /** One write through the handle of a page, and the same in the model. */
  #write(page: Page): void {
    const { id } = page;
    const row = this.#row({ id, size: page.size }, page.epoch);
    const { source, intent, expectedEpoch } = row;
    const options = { source, intent, expectedEpoch };
    if (row.kind === "set") {
      page.write(row.offset, row.payload, options);
      this.#model.write(id, row.offset, row.payload, options);
    } else if (row.kind === "mask") {
      page.writeMasked(row.offset, row.length, row.mask, row.payload, options);
      this.#model.writeMasked(id, row.offset, row.length, row.mask, row.payload, options);
    } else {
      page.combine(row.type, row.op, row.offset, row.value, options);
      this.#model.combine(id, row.type, row.op, row.offset, row.value, options);
    }
  }

  /** A batch of some producer, perhaps with one bad row. */
  #submit(bus: StateBus, known: readonly { id: number; size: number }[]): void {
    const random = this.#random;
    const producer = 1 + random.below(3);
    const rows = Array.from({ length: 1 + random.below(20) }, () => {
      const { id, size } = pick(random, known);
      return this.#row({ id, size }, bus.page(id).epoch);
    });
    if (random.chance(this.#badChance)) {
      const index = random.below(rows.length);
      const [row] = rows.splice(index, 1);
      rows.splice(index, 0, { ...row, page: 1_000_000 });
    }
    const batch = new DeltaBatch({ rows: 4, payloadBytes: 64, growable: true });
    for (const row of rows) addRow(batch, row);
    bus.submit(batch, { producer });
    const sequence = (this.#sequences.get(producer) ?? 0) + 1;
    this.#sequences.set(producer, sequence);
    this.#model.submit(rows, { producer, sequence });
  }

  /** A random row for a page. */
  #row(page: { id: number; size: number }, epoch: number): Row {
    const random = this.#random;
    const options: RowOptions = {
      source: pick(random, SOURCES),
      intent: pick(random, INTENTS),
      ...(random.chance(0.1) ? { expectedEpoch: epoch } : {}),
      // A stale one: the batch is refused.
      ...(random.chance(this.#badChance / 10) ? { expectedEpoch: epoch + 7 } : {}),
    };
    const offset = random.below(page.size);
    const length = 1 + random.below(Math.min(40, page.size - offset));
    const kind = random.below(3);
    if (kind === 0) {
      const payload = bytesOf(random, length);
      return { ...options, kind: "set", page: page.id, offset, length, payload };
    }
    if (kind === 1) {
      const mask = bytesOf(random, Math.ceil(length / 8));
      if (length % 8 !== 0) mask[mask.length - 1] &= 0xff >>> 8 - length % 8;
      const payload = bytesOf(random, setBits(mask));
      return { ...options, kind: "mask", page: page.id, offset, length, mask, payload };
    }
    const type = pick(random, TYPES), width = type === "f64" ? 8 : 4;
    if (page.size < width) {
      const payload = bytesOf(random, 1);
      return { ...options, kind: "set", page: page.id, offset, length: 1, payload };
    }
    const isFloat = type === "f32" || type === "f64";
    const op = INTEGER_OPERATIONS[random.below(isFloat ? 3 : 6)];
    const value = isFloat ? pick(random, DOUBLES) : random.next() - 2 ** 31;
    const element = width * random.below(Math.floor(page.size / width));
    return { ...options, kind: "combine", page: page.id, type, op, offset: element, value };
  }
}

function addRow(batch: DeltaBatch, row: Row): void {
  const options = {
    source: batch.source(row.source ?? ""),
    intent: batch.intent(row.intent ?? ""),
    expectedEpoch: row.expectedEpoch,
  };
  if (row.kind === "set") batch.push(row.page, row.offset, row.payload, options);
  else if (row.kind === "mask") {
    batch.pushMasked(row.page, row.offset, row.length, row.mask, row.payload, options);
  } else batch.combine(row.page, row.type, row.op, row.offset, row.value, options);
}

function stateOfModel(model: Model, notes: ReadonlyMap<number, Uint8Array>): BusState {
  return new Map(
    [...model.state()].map(([id, { bytes, epoch, shard, name = "", metadata }]) => {
      const note = notes.get(id);
      const all = note === undefined ? metadata : { ...metadata, note };
      return [id, { bytes, epoch, shard, name, metadata: metadataBytes(all) }];
    }),
  );
}

function pick<T>(random: SeededRandom, items: readonly T[]): T {
  return items[random.below(items.length)];
}

function bytesOf(random: SeededRandom, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => random.below(256));
}

function setBits(mask: Uint8Array): number {
  let count = 0;
  for (const byte of mask) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}
