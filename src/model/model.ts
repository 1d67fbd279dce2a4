/**
 * The obvious bus: pages, batches, ticks and their log as arrays, maps and plain objects. It is the
 * oracle that the real bus is tested against, so it shares no code with it, has no threads and
 * knows no trick; a tick costs a copy of each span it touches, and every copy is kept for history.
 */

import { MmsbError } from "../base/errors.ts";
import type { CombineOp, CombineType } from "./combine.ts";
import type {
  Batch,
  Change,
  Create,
  CreatePageOptions,
  HistoryEntry,
  Refusal,
  TickRecord,
  TickReport,
} from "./records.ts";
import { copyRow, faultOf, isNatural, lengthOf, spanAfter } from "./row.ts";
import type { Row, RowOptions } from "./row.ts";
import type { PageState, State } from "./state.ts";
import { Structure, type StructureStep } from "./structure.ts";

const PAGE_SIZE_MAX = 16 * 2 ** 20;

interface Page extends PageState {
  bytes: Uint8Array;
  epoch: number;
  shard: number;
  metadata: Readonly<Record<string, Uint8Array>>;
}

/** The oracle: see the head of the file. */
export class Model {
  /** Edges, rules and marks as the last tick left them. */
  readonly structure = new Structure();
  readonly #shards: number;
  readonly #pages = new Map<number, Page>();
  readonly #history = new Map<number, HistoryEntry[]>();
  readonly #ticks: TickRecord[] = [];
  readonly #lastSequence = new Map<number, number>();
  #nextId = 1;
  #openSequence = 1;
  #open = newOpen();
  #queue: Batch[] = [];

  /** An empty bus; `shards` is 24 where absent. */
  constructor({ shards = 24 }: { shards?: number } = {}) {
    this.#shards = shards;
  }

  /** The model after the first `count` ticks of a log, knowing nothing but that log. */
  static recover(
    ticks: readonly TickRecord[],
    count: number = ticks.length,
    options: { shards?: number } = {},
  ): Model {
    if (!isNatural(count) || count > ticks.length) {
      throw new MmsbError("usage", `Cannot recover ${count} ticks: the log has ${ticks.length}`, {
        values: { count, ticks: ticks.length },
      });
    }
    const model = new Model(options);
    for (const record of ticks.slice(0, count)) {
      for (const create of record.creates) model.#create(create);
      for (const { rows } of record.batches) {
        for (const row of rows) model.#apply(row, record.tick);
      }
      for (const row of record.derived ?? []) model.#apply(row, record.tick);
      for (const change of record.changes) model.#change(change);
      for (const step of record.structure ?? []) model.structure.apply(step);
      for (const id of record.deletes) model.#delete(id);
      model.#nextId = record.nextId;
      model.#ticks.push(record);
    }
    return model;
  }

  /** The log: every tick so far, oldest first; the records are not to be changed. */
  get ticks(): readonly TickRecord[] {
    return this.#ticks.slice();
  }

  /** Stages a create in the open batch and returns the page's id. */
  createPage({ size = 4096, name, metadata = {}, shard }: CreatePageOptions = {}): number {
    if (!isNatural(size) || size < 1 || size > PAGE_SIZE_MAX) {
      throw new MmsbError("usage", `Cannot create a page of ${size} bytes: use 1 byte to 16 MiB`, {
        values: { size },
      });
    }
    if (shard !== undefined && !(isNatural(shard) && shard < this.#shards)) {
      throw new MmsbError("usage", `Cannot use shard ${shard}: there are ${this.#shards}`, {
        values: { shard, shards: this.#shards },
      });
    }
    const taken = [...this.#pages.values(), ...this.#open.creates];
    if (name !== undefined && taken.some((page) => page.name === name)) {
      throw new MmsbError("usage", `Cannot name two pages "${name}": choose another name`, {
        values: { name },
      });
    }
    const id = this.#nextId++;
    shard ??= (id - 1) % this.#shards;
    this.#open.creates.push({ id, size, name, metadata: copyMetadata(metadata), shard });
    return id;
  }

  /** Stages a delete of a live or staged page in the open batch. */
  deletePage(id: number): void {
    const known = this.#pages.has(id) || this.#open.creates.some((create) => create.id === id);
    if (!known || this.#open.deletes.includes(id)) {
      throw new MmsbError("invalid-handle", `Cannot delete page ${id}: it is unknown or deleted`, {
        values: { page: id },
      });
    }
    this.#open.deletes.push(id);
  }

  /** Stages another size of a live or staged page, in the open batch. */
  resizePage(page: number, size: number): void {
    this.#checkChangeable(page);
    if (!isNatural(size) || size < 1 || size > PAGE_SIZE_MAX) {
      throw new MmsbError("out-of-bounds", `Cannot give a page ${size} bytes`, {
        values: { page, size },
      });
    }
    this.#open.changes.push({ page, size });
  }

  /** Stages another shard of a live or staged page, in the open batch. */
  migratePage(page: number, shard: number): void {
    this.#checkChangeable(page);
    if (!isNatural(shard) || shard >= this.#shards) {
      throw new MmsbError("out-of-bounds", `Cannot use shard ${shard}`, {
        values: { page, shard },
      });
    }
    this.#open.changes.push({ page, shard });
  }

  /** Stages metadata in place of all that a live or staged page has. */
  setMetadata(page: number, metadata: Readonly<Record<string, Uint8Array>>): void {
    this.#open.changes.push({ page, metadata: copyMetadata(metadata) });
  }

  /** Stages a row that sets a span. */
  write(page: number, offset: number, bytes: Uint8Array, options: RowOptions = {}): void {
    this.#stage({ ...options, kind: "set", page, offset, length: bytes.length, payload: bytes });
  }

  /** Stages a row that sets the masked bytes of a span. */
  writeMasked(
    page: number,
    offset: number,
    length: number,
    mask: Uint8Array,
    payload: Uint8Array,
    options: RowOptions = {},
  ): void {
    this.#stage({ ...options, kind: "mask", page, offset, length, mask, payload });
  }

  /** Stages a row that combines a number into the page. */
  combine(
    page: number,
    type: CombineType,
    op: CombineOp,
    offset: number,
    value: number,
    options: RowOptions = {},
  ): void {
    this.#stage({ ...options, kind: "combine", page, type, op, offset, value });
  }

  /** Stages a change of edges, rules or marks; it must fit when its tick is whole. */
  change(step: StructureStep): void {
    this.#open.structure.push(step);
  }

  /** Stages a row that a rule makes in this tick, behind all that was submitted. */
  derive(row: Row): void {
    this.#open.derived.push(copyRow(row));
  }

  /** Queues a producer's batch for the next tick; a producer's sequence never repeats or falls behind a tick. */
  submit(
    rows: readonly Row[],
    { producer, sequence }: { producer: number; sequence: number },
  ): void {
    const queued = this.#queue.some((batch) =>
      batch.producer === producer && batch.sequence === sequence
    );
    const late = sequence <= (this.#lastSequence.get(producer) ?? -1);
    if (!isNatural(producer) || producer < 1 || !isNatural(sequence) || queued || late) {
      throw new MmsbError("usage", `Cannot submit batch ${sequence} of producer ${producer}`, {
        values: { producer, sequence },
      });
    }
    this.#queue.push({ producer, sequence, rows: rows.map(copyRow) });
  }

  /** Accepts or refuses every waiting batch, and logs what was accepted as one tick. */
  tick(): TickReport {
    const tick = this.#ticks.length + 1;
    const open = this.#open;
    const queue = this.#queue.sort((a, b) => a.producer - b.producer || a.sequence - b.sequence);
    this.#open = newOpen();
    this.#queue = [];
    const batches: Batch[] = [];
    const refused: Refusal[] = [];

    for (const create of open.creates) this.#create(create);
    const { length } = [
      ...open.creates,
      ...open.rows,
      ...open.changes,
      ...open.deletes,
      ...open.structure,
    ];
    if (length > 0) {
      queue.unshift({ producer: 0, sequence: this.#openSequence++, rows: open.rows });
    }
    for (const batch of queue) {
      this.#lastSequence.set(batch.producer, batch.sequence);
      // Nothing of the batch is applied before all of it is checked.
      const faults = batch.rows.map((row) => faultOf(row, this.#pages.get(row.page)));
      const row = faults.findIndex((fault) => fault !== undefined);
      if (row >= 0) {
        const { producer, sequence } = batch;
        refused.push({ producer, sequence, row, code: faults[row]! });
        if (producer === 0) this.#takeBack(open);
      } else if (batch.rows.length > 0) {
        for (const row of batch.rows) this.#apply(row, tick);
        batches.push(batch);
      }
    }
    const { creates, deletes, derived, structure } = open;
    for (const row of derived) this.#apply(row, tick);
    // Of several changes of one page the last one counts, and of a page that is deleted none.
    const changes = open.changes.filter((change, index) => {
      const later = open.changes.slice(index + 1);
      const key = change.size !== undefined
        ? "size"
        : change.shard !== undefined
        ? "shard"
        : "metadata";
      return !deletes.includes(change.page) &&
        !later.some((other) => other.page === change.page && other[key] !== undefined);
    });
    for (const change of changes) this.#change(change);
    for (const step of structure) this.#step(step);
    for (const id of deletes) this.#delete(id);

    const changed = creates.length + batches.length + changes.length + deletes.length;
    if (changed + derived.length + structure.length === 0) {
      return { tick: tick - 1, rows: 0, refused };
    }
    this.#ticks.push({
      tick,
      nextId: this.#nextId,
      creates,
      batches,
      ...(derived.length === 0 ? {} : { derived }),
      ...(structure.length === 0 ? {} : { structure }),
      changes,
      deletes,
    });
    return { tick, rows: batches.reduce((sum, batch) => sum + batch.rows.length, 0), refused };
  }

  /** The deltas of a page, oldest first; a deleted page keeps its history. */
  history(id: number): HistoryEntry[] {
    const entries = this.#history.get(id);
    if (entries === undefined) {
      throw new MmsbError("invalid-handle", `Cannot read the history of page ${id}: no such page`, {
        values: { page: id },
      });
    }
    return structuredClone(entries);
  }

  /** A copy of all live pages, as the last tick left them. */
  state(): State {
    const state = new Map<number, PageState>();
    for (const [id, page] of this.#pages) {
      const { bytes, metadata } = page;
      state.set(id, {
        ...page,
        bytes: new Uint8Array(bytes),
        metadata: copyMetadata(metadata),
      });
    }
    return state;
  }

  /** Takes a step at the end of a tick. */
  #step(step: StructureStep): void {
    const fault = this.structure.faultOf(step, (page) => this.#pages.has(page));
    if (fault !== undefined) {
      throw new MmsbError("usage", `Cannot change the graph: ${fault}`, { values: { fault } });
    }
    this.structure.apply(step);
  }

  #delete(id: number): void {
    this.#pages.delete(id);
    this.structure.removePage(id);
  }

  #stage(row: Row): void {
    this.#open.rows.push(copyRow(row));
  }

  #create({ id, size, name, metadata, shard }: Create): void {
    this.#pages.set(id, { bytes: new Uint8Array(size), epoch: 0, name, metadata, shard });
    this.#history.set(id, []);
  }

  #checkChangeable(id: number): void {
    const known = this.#pages.has(id) || this.#open.creates.some((create) => create.id === id);
    if (!known || this.#open.deletes.includes(id)) {
      throw new MmsbError("invalid-handle", `Cannot change page ${id}: it is unknown or deleted`, {
        values: { page: id },
      });
    }
  }

  #change({ page: id, size, shard, metadata }: Change): void {
    const page = this.#pages.get(id)!;
    if (shard !== undefined) page.shard = shard;
    if (metadata !== undefined) page.metadata = metadata;
    if (size === undefined) return;
    const bytes = new Uint8Array(size);
    bytes.set(page.bytes.subarray(0, size));
    page.bytes = bytes;
  }

  /** Undoes the creates of a refused open batch, and forgets its changes and deletes. */
  #takeBack(open: ReturnType<typeof newOpen>): void {
    for (const { id } of open.creates) {
      this.#pages.delete(id);
      this.#history.delete(id);
    }
    open.creates = [];
    open.changes = [];
    open.deletes = [];
    open.structure = [];
    open.derived = [];
  }

  #apply(row: Row, tick: number): void {
    const page = this.#pages.get(row.page)!;
    const { offset, source, intent, time } = row;
    const before = page.bytes.slice(offset, offset + lengthOf(row));
    const after = spanAfter(row, before);
    page.bytes.set(after, offset);
    page.epoch += row.advance ?? 1;
    const entry = { tick, offset, before, after, source, intent, time, epoch: page.epoch };
    this.#history.get(row.page)!.push(entry);
  }
}

function newOpen() {
  return {
    creates: [] as Create[],
    rows: [] as Row[],
    changes: [] as Change[],
    deletes: [] as number[],
    structure: [] as StructureStep[],
    derived: [] as Row[],
  };
}

function copyMetadata(
  metadata: Readonly<Record<string, Uint8Array>>,
): Record<string, Uint8Array> {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, bytes]) => [key, new Uint8Array(bytes)]),
  );
}
