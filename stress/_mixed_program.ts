/**
 * A program that uses a bus in every way at once, and a model beside it: maps of plain bytes that share no code with
 * the bus. The stability suite runs two of it for as long as it is told.
 *
 * A cycle is a tick: random deltas of a batch, births, deaths, other sizes, edges that are taken and edges that would close a
 * cycle, a struct, a table that is thrown away when it has grown, money that transactions move between accounts, a
 * rule over them that runs at once, one that runs in every eighth tick, one that comes and goes, batches that must be refused.
 * Subscriptions are renewed, another reader is attached, and what is looked at equals the model.
 *
 * Everything that it holds is bounded, so that what grows is the bus's.
 */

import assert from "node:assert/strict";
import {
  type BusEvent,
  type OpenOptions,
  type Page,
  type RuleHandle,
  StateBus,
  type Table,
} from "../src/bus/mod.ts";
import { SeededRandom } from "../src/log/seeded_random.ts";
import { DeltaBatch, EDGE_TYPES, type EdgeType } from "../src/physical/mod.ts";
import { defineRule } from "../src/propagation/mod.ts";
import { struct, table } from "../src/schema/mod.ts";
import { assertSameBytes } from "./_same.ts";

const ACCOUNTS = 8;
const PAGES_MIN = 60;
const PAGES_MAX = 200;
const SIZE_MAX = 2048;
const ROWS = 64;
const SPAN_MAX = 48;
const LATE_EVERY = 8;
const EDGES_MAX = 300;
const TABLE_ROWS_MAX = 2048;
const SEGMENT_BYTES = 2 ** 17;

const Counter = struct({ cycles: "u32", last: "i32", sum: "f64" });
const Readings = table({ key: "u32", value: "f64" });

const squares = defineRule({
  compute(ctx) {
    let sum = 0;
    for (let i = 0; i < ACCOUNTS; i++) {
      const cents = ctx.input(i).getInt32(0);
      sum = sum + Math.imul(cents, cents) | 0;
    }
    ctx.output(0).setInt32(0, sum);
  },
});

const copy = defineRule({
  compute(ctx) {
    ctx.output(0).setInt32(0, ctx.input(0).getInt32(0));
  },
});

const triple = defineRule({
  compute(ctx) {
    ctx.output(0).setInt32(0, Math.imul(3, ctx.input(0).getInt32(0)));
  },
});

/** Milliseconds that a tick took. */
export interface TickTime {
  /** By the clock. */
  readonly clockMs: number;
  /** On a processor, by this thread. */
  readonly ownMs: number;
}

interface ModelPage {
  bytes: Uint8Array<ArrayBuffer>;
  epoch: number;
}

/** What was done, counted. */
export interface MixedCounts {
  cycles: number;
  rows: number;
  births: number;
  deaths: number;
  resizes: number;
  edges: number;
  cyclesRefused: number;
  batchesRefused: number;
  transactions: number;
  rules: number;
  tableRows: number;
  events: number;
  openings: number;
  checkpoints: number;
  compactions: number;
  checks: number;
}

/** A bus in a directory, and its model. */
export class MixedProgram {
  readonly counts: MixedCounts = {
    cycles: 0,
    rows: 0,
    births: 0,
    deaths: 0,
    resizes: 0,
    edges: 0,
    cyclesRefused: 0,
    batchesRefused: 0,
    transactions: 0,
    rules: 0,
    tableRows: 0,
    events: 0,
    openings: 0,
    checkpoints: 0,
    compactions: 0,
    checks: 0,
  };
  readonly #dir: string;
  readonly #options: OpenOptions;
  readonly #random: SeededRandom;
  readonly #scratch = new Uint8Array(SPAN_MAX);
  readonly #pages = new Map<number, ModelPage>();
  readonly #edges = new Map<string, { from: number; to: number; type: EdgeType }>();
  readonly #money = new Int32Array(ACCOUNTS);
  #late = 0;
  #visitor = 0;
  #visited = -1;
  #counter = { cycles: 0, last: 0, sum: 0 };
  #readings: { key: number; value: number }[] = [];
  #generation = 0;
  #digest = "";
  #isBehind = false;
  #bus!: StateBus;
  #reader!: StateBus;
  #unsubscribe = (): void => {};
  #visitorRule: RuleHandle | undefined;
  #batch = new DeltaBatch({ rows: ROWS, payloadBytes: ROWS * SPAN_MAX });

  private constructor(dir: string, options: OpenOptions, seed: number) {
    this.#dir = dir;
    this.#options = {
      dir,
      memoryLimitBytes: 16 * 2 ** 20,
      segmentBytes: SEGMENT_BYTES,
      segmentBytesMax: SEGMENT_BYTES,
      tickBudgetMs: 3_600_000,
      ...options,
    };
    this.#random = new SeededRandom(seed);
  }

  /** A new directory with some pages. */
  static async open(dir: string, options: OpenOptions, seed: number): Promise<MixedProgram> {
    const program = new MixedProgram(dir, options, seed);
    await program.#open();
    const bus = program.#bus;
    for (let i = 0; i < ACCOUNTS; i++) bus.createPage({ size: 4, name: `account ${i}` });
    for (const name of ["squares", "late", "visitor"]) bus.createPage({ size: 4, name });
    bus.create(Counter, { name: "counter" });
    program.#bind();
    program.#newTable();
    for (let i = 0; i < PAGES_MIN; i++) program.#birth();
    await bus.commit();
    return program;
  }

  /** The bus, as it is open now. */
  get bus(): StateBus {
    return this.#bus;
  }

  /**
   * One cycle.
   *
   * @param usedMs Milliseconds that this thread spent on a processor so far.
   * @returns The milliseconds that its tick took until it was applied, by the clock and on a processor.
   */
  async cycle(usedMs: () => number = () => 0): Promise<TickTime> {
    const random = this.#random, bus = this.#bus, counts = this.counts;
    counts.cycles++;
    if (this.#pages.size < PAGES_MAX && random.chance(0.4)) this.#birth();
    this.#change(random);
    const dead = this.#pages.size > PAGES_MIN && random.chance(0.35)
      ? this.#death()
      : new Set<number>();
    const resized = random.chance(0.15) ? this.#resize(dead) : undefined;
    const { cycles, sum } = this.#counter;
    this.#counter = { cycles: cycles + 1, last: random.below(1000) - 500, sum: sum + 0.5 };
    bus.struct(Counter, "counter").set(this.#counter, { source: "counter" });
    if (random.chance(0.3)) this.#read();
    const receipt = bus.submit(this.#fill(dead, resized));
    const used = usedMs(), start = performance.now();
    const report = await bus.tick();
    const clockMs = performance.now() - start, ownMs = usedMs() - used;
    assert.deepEqual(report.refused, [], "batches refused");
    await report.durable;
    await receipt;
    this.#ticked();
    for (const id of dead) this.#forget(id);
    if (random.chance(0.3)) await this.#transact(random);
    if (random.chance(0.02)) await this.#visit();
    if (random.chance(0.05)) await this.#tryBadBatch();
    if (random.chance(0.1)) this.#look();
    if (counts.cycles % 50 === 0) this.#subscribe();
    return { clockMs, ownMs };
  }

  /** A checkpoint, or old ticks merged: what keeps the directory small. */
  async maintain(kind: "checkpoint" | "compact"): Promise<void> {
    if (kind === "checkpoint") {
      await this.#bus.checkpoint();
      this.counts.checkpoints++;
    } else {
      await this.#bus.compact();
      this.counts.compactions++;
    }
  }

  /** Closes the bus and opens it again. */
  async reopen(): Promise<void> {
    await this.pause();
    await this.resume();
  }

  /** Closes the bus for now. */
  async pause(): Promise<void> {
    this.#digest = this.#bus.digest();
    this.#isBehind = this.#find("late").stale;
    await this.close();
  }

  /** Opens it again: what comes back must be what was there. */
  async resume(): Promise<void> {
    await this.#open();
    assert.equal(this.#bus.digest(), this.#digest, "the state after closing and opening");
    this.#bind();
    await this.#commit();
    // A rule that is behind when it is bound again runs at once.
    if (this.#isBehind) this.#late = this.#money[0];
  }

  /** Closes the bus. */
  async close(): Promise<void> {
    this.#unsubscribe();
    await this.#reader.close();
    await this.#bus.close();
  }

  /** Compares everything with the model, and the log with the bus. */
  async check(): Promise<void> {
    this.counts.checks++;
    const bus = this.#bus;
    for (const [id, { bytes, epoch }] of this.#pages) {
      const page = bus.page(id);
      assert.equal(page.epoch, epoch, `epoch of page ${id}`);
      assertSameBytes(page.read(), bytes, `page ${id}`);
    }
    // A table has pages for its columns and directories, named after it.
    const ofTable = [...bus.pages()].filter(({ name }) => name.startsWith("readings "));
    const others = ACCOUNTS + 4 + ofTable.length;
    assert.equal(bus.stats().pages, this.#pages.size + others, "number of pages");
    this.#money.forEach((cents, i) => assert.equal(int(this.#find(`account ${i}`)), cents));
    assert.equal(this.#money.reduce((sum, cents) => sum + cents, 0), 0, "money in all");
    const sum = this.#money.reduce((sum, cents) => sum + Math.imul(cents, cents) | 0, 0);
    assert.equal(int(this.#find("squares")), sum, "what the rule made at once");
    assert.equal(int(this.#find("late")), this.#late, "what the late rule made");
    assert.equal(
      int(this.#find("visitor")),
      this.#visitor,
      "what the rule made that comes and goes",
    );
    assert.deepEqual(bus.struct(Counter, "counter").get(), this.#counter);
    const readings = this.#table();
    assert.equal(readings.length, this.#readings.length, "rows of the table");
    this.#readings.forEach((row, i) => assert.deepEqual(readings.row(i), row, `row ${i}`));
    const found = [...this.#pages.keys()].flatMap((id) => bus.graph.edgesOut(bus.page(id)));
    const keys = found.map(({ from, to, type }) => keyOf(from, to, type));
    assert.deepEqual(keys.sort(), [...this.#edges.keys()].sort(), "edges");
    assert.equal(bus.graph.check().ok, true, "the graph has no cycle");
    assert.equal((await bus.verify()).ok, true, "the log replayed");
    assert.equal(this.#reader.tickNumber, bus.tickNumber, "tick of the attached reader");
    await using past = await bus.at({ tick: bus.tickNumber });
    assert.equal(past.digest(), bus.digest(), "the last tick asked of the log");
  }

  async #open(): Promise<void> {
    this.#bus = await StateBus.open(this.#options);
    this.#reader = StateBus.attach(this.#bus.share());
    this.#visitorRule = undefined;
    this.counts.openings++;
    this.#subscribe();
  }

  /** Binds the rules, those also that a directory opened again has. */
  #bind(): void {
    const bus = this.#bus;
    const accounts = this.#money.map((_, i) => i);
    const inputs = Array.from(accounts, (i) => this.#find(`account ${i}`));
    bus.rule(squares, { name: "squares", inputs, outputs: [this.#find("squares")] });
    const late = { mode: "batch", every: LATE_EVERY } as const;
    bus.rule(copy, { name: "late", inputs: [inputs[0]], outputs: [this.#find("late")], ...late });
    if (this.#visited >= 0) this.#bindVisitor();
  }

  #bindVisitor(): void {
    this.#visitorRule = this.#bus.rule(triple, {
      name: "visitor",
      inputs: [this.#find(`account ${this.#visited}`)],
      outputs: [this.#find("visitor")],
    });
  }

  /** A rule is bound, or let go. */
  async #visit(): Promise<void> {
    this.counts.rules++;
    if (this.#visited >= 0) {
      this.#visitorRule!.unbind();
      this.#visited = -1;
    } else {
      this.#visited = this.#random.below(ACCOUNTS);
      this.#bindVisitor();
    }
    await this.#commit();
  }

  #find(name: string): Page {
    const page = this.#bus.find(name);
    assert(page !== undefined, `page ${name} is there`);
    return page;
  }

  /** A tick of its own. */
  async #commit(stage?: () => void): Promise<void> {
    await this.#bus.commit(stage);
    this.#ticked();
  }

  /** What rules make in a tick. */
  #ticked(): void {
    if (this.#bus.tickNumber % LATE_EVERY === 0) this.#late = this.#money[0];
    if (this.#visited >= 0) this.#visitor = Math.imul(3, this.#money[this.#visited]);
  }

  #birth(): void {
    const size = 4 * (1 + this.#random.below(SIZE_MAX / 4));
    const isNamed = this.#random.chance(0.3);
    const page = this.#bus.createPage({
      size,
      ...isNamed ? { name: `page ${this.counts.births}` } : {},
    });
    this.#pages.set(page.id, { bytes: new Uint8Array(size), epoch: 0 });
    this.counts.births++;
  }

  /** Stages the death of a page and of all that depend on it. */
  #death(): Set<number> {
    const first = this.#pick(), dead = new Set([first]);
    for (const id of dead) {
      for (const { from, to } of this.#edges.values()) if (from === id) dead.add(to);
    }
    const page = this.#bus.page(first);
    if (dead.size > 1) assert.throws(() => page.delete(), { code: "usage" });
    // So many at once that the program would run out of pages: leave it.
    if (this.#pages.size - dead.size < PAGES_MIN / 2) return new Set();
    page.delete({ cascade: true });
    return dead;
  }

  #forget(id: number): void {
    this.#pages.delete(id);
    for (const [key, { from, to }] of this.#edges) {
      if (from === id || to === id) this.#edges.delete(key);
    }
    this.counts.deaths++;
  }

  #resize(dead: ReadonlySet<number>): number | undefined {
    const id = this.#pick(), model = this.#pages.get(id)!;
    if (dead.has(id) || model.epoch === 0) return undefined;
    const size = 4 * (1 + this.#random.below(SIZE_MAX / 4));
    this.#bus.page(id).resize(size);
    const bytes = new Uint8Array(size);
    bytes.set(model.bytes.subarray(0, size));
    model.bytes = bytes;
    this.counts.resizes++;
    return id;
  }

  /** Edges and the table. */
  #change(random: SeededRandom): void {
    const bus = this.#bus;
    const [from, to] = [this.#pick(), this.#pick()].sort((a, b) => a - b);
    const type = EDGE_TYPES[random.below(EDGE_TYPES.length)], key = keyOf(from, to, type);
    if (from !== to && !this.#edges.has(key) && this.#edges.size < EDGES_MAX) {
      bus.edge(from, to, type);
      this.#edges.set(key, { from, to, type });
      this.counts.edges++;
      assert.throws(() => bus.edge(to, from, type), { code: "cycle" });
      this.counts.cyclesRefused++;
    }
    if (this.#edges.size > EDGES_MAX / 2 || random.chance(0.2)) {
      const [old] = this.#edges.values();
      if (old !== undefined) {
        bus.removeEdge(old.from, old.to, old.type);
        this.#edges.delete(keyOf(old.from, old.to, old.type));
      }
    }
    if (random.chance(0.3)) this.#changeTable(random);
  }

  #changeTable(random: SeededRandom): void {
    if (this.#readings.length > TABLE_ROWS_MAX) {
      this.#table().delete();
      this.#newTable();
    }
    const rows = 1 + random.below(40);
    const key = Uint32Array.from({ length: rows }, () => random.next());
    const value = Float64Array.from(key, (each) => each / 3);
    const readings = this.#table(), first = this.#readings.length;
    readings.append({ key, value }, { source: "readings" });
    for (let i = 0; i < rows; i++) this.#readings.push({ key: key[i], value: value[i] });
    this.counts.tableRows += rows;
    if (first === 0) return;
    const row = random.below(first), changed = random.below(1000);
    readings.set(row, { value: changed });
    this.#readings[row].value = changed;
  }

  #table(): Table<{ key: "u32"; value: "f64" }> {
    return this.#bus.table(Readings, `readings ${this.#generation}`);
  }

  #newTable(): void {
    this.#generation++;
    this.#readings = [];
    this.#bus.createTable(Readings, { name: `readings ${this.#generation}` });
  }

  /** Fills the batch with rows for pages that stay as they are in this tick. */
  #fill(dead: ReadonlySet<number>, resized: number | undefined): DeltaBatch {
    const random = this.#random, scratch = this.#scratch, batch = this.#batch;
    batch.clear();
    const ids = [...this.#pages.keys()].filter((id) => !dead.has(id) && id !== resized);
    const source = batch.source("stability");
    while (batch.length < ROWS) {
      const id = ids[random.below(ids.length)], model = this.#pages.get(id)!, { bytes } = model;
      const choice = random.below(10);
      if (choice < 6) {
        const length = 1 + random.below(Math.min(SPAN_MAX, bytes.length));
        const offset = random.below(bytes.length - length + 1), span = scratch.subarray(0, length);
        for (let i = 0; i < length; i++) span[i] = random.next();
        batch.push(id, offset, span, source);
        bytes.set(span, offset);
      } else if (choice < 8) {
        const length = Math.min(8, bytes.length), offset = random.below(bytes.length - length + 1);
        const mask = random.next() & (2 ** length - 1) | 1;
        const packed = scratch.subarray(0, bits(mask));
        for (let i = 0; i < packed.length; i++) packed[i] = random.next();
        batch.pushMasked(id, offset, length, Uint8Array.of(mask), packed, source);
        let at = 0;
        for (let i = 0; i < length; i++) {
          if ((mask >>> i & 1) === 1) bytes[offset + i] = packed[at++];
        }
      } else {
        const offset = 4 * random.below(bytes.length >>> 2), value = random.next();
        batch.combine(id, "u32", "add", offset, value, source);
        const view = new DataView(bytes.buffer);
        view.setUint32(offset, view.getUint32(offset, true) + value, true);
      }
      model.epoch++;
    }
    this.counts.rows += ROWS;
    return batch;
  }

  /** Money from one account to another; sometimes somebody else is faster. */
  async #transact(random: SeededRandom): Promise<void> {
    const from = random.below(ACCOUNTS), to = (from + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
    const cents = 1 + random.below(100), bus = this.#bus;
    const [a, b] = [this.#find(`account ${from}`), this.#find(`account ${to}`)];
    if (random.chance(0.2)) {
      const late = bus.begin();
      late.write(a, 0, late.read(a));
      await this.#move(a, b, from, to, cents);
      await assert.rejects(late.commit(), { code: "transaction-conflict" });
      return;
    }
    await bus.transaction((tx) => {
      const view = (page: Page) => new DataView(tx.read(page).buffer).getInt32(0, true);
      tx.write(a, 0, intBytes(view(a) - cents), { source: "teller" });
      tx.write(b, 0, intBytes(view(b) + cents), { source: "teller" });
    });
    this.#moved(from, to, cents);
  }

  async #move(a: Page, b: Page, from: number, to: number, cents: number): Promise<void> {
    await this.#bus.commit(() => {
      a.combine("i32", "add", 0, -cents);
      b.combine("i32", "add", 0, cents);
    });
    this.#moved(from, to, cents);
  }

  #moved(from: number, to: number, cents: number): void {
    this.counts.transactions++;
    this.#money[from] -= cents;
    this.#money[to] += cents;
    this.#ticked();
  }

  /** A batch with one bad row among good ones: none of them counts. */
  async #tryBadBatch(): Promise<void> {
    const id = this.#pick(), { bytes } = this.#pages.get(id)!;
    const batch = new DeltaBatch({ rows: 2, payloadBytes: 64 });
    batch.push(id, 0, Uint8Array.of(1));
    batch.push(id, bytes.length, Uint8Array.of(2));
    const receipt = this.#bus.submit(batch);
    const { refused } = await this.#bus.tick();
    assert.equal(refused.length, 1);
    await assert.rejects(receipt, { code: "out-of-bounds" });
    this.counts.batchesRefused++;
    this.#ticked();
  }

  /** Looks at some pages in one tick, here and from an attached reader. */
  #look(): void {
    const ids = Array.from({ length: 4 }, () => this.#pick());
    const here = this.#bus.snapshot((at) => ids.map((id) => at.read(id)));
    const there = this.#reader.snapshot((at) => ids.map((id) => at.read(id)));
    ids.forEach((id, i) => {
      assertSameBytes(here[i], this.#pages.get(id)!.bytes, `page ${id} in a snapshot`);
      assertSameBytes(there[i], here[i], `page ${id} from the attached reader`);
    });
  }

  /** Reads some of what is asked often. */
  #read(): void {
    const id = this.#pick();
    assert.equal(this.#bus.page(id).id, id);
    this.#bus.graph.descendants(this.#bus.page(id));
  }

  #subscribe(): void {
    this.#unsubscribe();
    const count = (_: BusEvent) => void this.counts.events++;
    this.#unsubscribe = this.#bus.on({ kinds: ["page-changed", "page-deleted"] }, count);
  }

  /** A free page that a tick has made real. */
  #pick(): number {
    const ids = [...this.#pages.keys()];
    for (;;) {
      const id = ids[this.#random.below(ids.length)];
      if (this.#bus.page(id).state !== "allocated") return id;
    }
  }
}

function keyOf(from: number, to: number, type: string): string {
  return `${from} ${to} ${type}`;
}

function int(page: Page): number {
  return new DataView(page.read().buffer).getInt32(0, true);
}

function intBytes(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer);
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
