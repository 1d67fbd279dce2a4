/**
 * The work of validator 8: cycles of 100 random deltas with structural changes, on a bus and on a model that is
 * plain maps and shares no code with it.
 *
 * Among the pages are accounts, between which money is moved in pairs of deltas, so that their sum is always 0; and a
 * page that a rule derives from them. The user's invariants say just that. Now and then a tick is tried that would break
 * one: it must be taken back as if it had never been.
 */

import { isMmsbError } from "../base/mod.ts";
import { type Invariant, type Page, StateBus } from "../bus/mod.ts";
import { MemoryStorage } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { DeltaBatch, EDGE_TYPES } from "../physical/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import {
  int,
  InvariantChecks,
  type InvariantModel,
  type ModelEdge,
  type ModelPage,
} from "./_invariant_checks.ts";
import { ReferenceGraph } from "./_reference_graph.ts";
import { openBus } from "./device_run.ts";
import type { PlantedResult } from "./validator.ts";

/** How much is done. */
export interface InvariantPlan {
  /** Cycles, each with a tick. */
  readonly cycles: number;
  /** Cycles from one check to the next. */
  readonly every: number;
  /** Seed of everything random. */
  readonly seed: number;
}

/** What was found. */
export interface InvariantOutcome {
  /** Cycles. */
  readonly cycles: number;
  /** Checks. */
  readonly checks: number;
  /** Rows that were applied. */
  readonly rows: number;
  /** Pages created. */
  readonly created: number;
  /** Pages deleted. */
  readonly deleted: number;
  /** Pages resized. */
  readonly resized: number;
  /** Edges added. */
  readonly added: number;
  /** Edges removed. */
  readonly removed: number;
  /** Edges that would have closed a cycle and were refused with one. */
  readonly closing: number;
  /** Ticks that would have broken an invariant and were taken back. */
  readonly violations: number;
  /** What was wrong, in words. */
  readonly failures: readonly string[];
  /** Faults that were planted at the end, and whether the checks told them. */
  readonly planted: readonly PlantedResult[];
}

const ROWS = 100;
const ACCOUNTS = 8;
const PAGES_MIN = 40;
const PAGES_MAX = 160;
const SIZE_MAX = 256;
/** Bytes that a row sets, at most. */
const SPAN_MAX = 40;
/** Cycles from one tick that would break an invariant to the next. */
const VIOLATION_EVERY = 25;
const SEGMENT_BYTES = 2 ** 17;
const OPTIONS = { memoryLimitBytes: 16 * 2 ** 20, durability: "group" } as const;

/** The sum of the squares of accounts, as a 32-bit integer. */
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

/** A bus and its model. */
export class InvariantCycles {
  readonly #checks = new InvariantChecks();
  readonly #planted: PlantedResult[] = [];
  readonly #bus: StateBus;
  readonly #storage: MemoryStorage;
  readonly #scratch = new Uint8Array(SPAN_MAX);
  readonly #random: SeededRandom;
  readonly #model = new Map<number, ModelPage>();
  readonly #graph = new ReferenceGraph();
  #edges: ModelEdge[] = [];
  /** Pages that may be written, resized and deleted. */
  #free: number[] = [];
  readonly #accounts: Page[];
  readonly #derived: Page;
  readonly #invariants: Invariant[];
  readonly #counts = {
    cycles: 0,
    checks: 0,
    rows: 0,
    created: 0,
    deleted: 0,
    resized: 0,
    added: 0,
    removed: 0,
    closing: 0,
    violations: 0,
  };

  private constructor(bus: StateBus, storage: MemoryStorage, seed: number) {
    this.#bus = bus;
    this.#storage = storage;
    this.#random = new SeededRandom(seed);
    this.#accounts = Array.from({ length: ACCOUNTS }, () => this.#birth(4));
    this.#derived = this.#birth(4);
    bus.rule(squares, {
      name: "squares of the accounts",
      inputs: this.#accounts,
      outputs: [this.#derived],
    });
    for (const { id } of this.#accounts) {
      this.#link({ from: id, to: this.#derived.id, type: "data" });
    }
    this.#invariants = [
      bus.invariant("no money is made or lost", () => this.#sum() === 0),
      bus.invariant("the squares are those of the accounts", () => {
        const { squares, derived } = this.#squares();
        return derived === squares || `${derived} in place of ${squares}`;
      }),
    ];
  }

  /** A bus with some pages. */
  static async open(seed: number): Promise<InvariantCycles> {
    const storage = new MemoryStorage();
    const bus = await openBus({
      ...OPTIONS,
      storage,
      // So that a replay of the log takes no longer at the end than at the beginning.
      checkpoints: { keep: 1, log: "drop" },
      segmentBytes: SEGMENT_BYTES,
      segmentBytesMax: SEGMENT_BYTES,
    });
    const cycles = new InvariantCycles(bus, storage, seed);
    for (let i = 0; i < PAGES_MIN; i++) cycles.#create();
    await bus.tick();
    return cycles;
  }

  /** Does a cycle: a tick with random deltas, and some structural changes. */
  async run(): Promise<void> {
    const random = this.#random, bus = this.#bus;
    this.#counts.cycles++;
    if (this.#counts.cycles % VIOLATION_EVERY === 0) await this.#tryViolation();
    if (this.#free.length < PAGES_MAX && random.chance(0.3)) this.#create();
    for (let i = 0; i < 3; i++) this.#tryEdge();
    if (random.chance(0.5)) this.#tryClosing();
    if (this.#edges.length > 2 * PAGES_MAX || random.chance(0.3)) this.#unlink();
    // Deaths and sizes come into force at the end of the tick: its rows still find the old pages.
    const dead = this.#free.length > PAGES_MIN && random.chance(0.25) ? this.#delete() : [];
    const resized = random.chance(0.2) ? this.#resize(dead) : undefined;
    const batch = this.#fill(dead);
    const receipt = bus.submit(batch);
    const { refused } = await bus.tick();
    if (refused.length > 0) this.failures.push(`cycle ${this.#counts.cycles}: ${refused[0].error}`);
    await receipt;
    this.#derive();
    resized?.();
    for (const id of dead) this.#forget(id);
  }

  /** Everything that must hold. */
  async check(): Promise<void> {
    this.#counts.checks++;
    const before = this.failures.length;
    this.#checks.checkPages(this.#bus, this.#now());
    this.#checks.checkGraph(this.#bus.graph, this.#now());
    this.#checkInvariants();
    const { ok } = await this.#bus.verify();
    this.#checks.expect("bus.verify()", ok, true);
    if (this.failures.length > before) {
      this.failures.push(`so it was after cycle ${this.#counts.cycles}`);
    }
    await this.#bus.checkpoint();
  }

  /** Closes the bus, looks at what its log leads to; gives what was found. */
  async end(): Promise<InvariantOutcome> {
    await this.#bus.close();
    await using again = await StateBus.open({ ...OPTIONS, storage: this.#storage, readOnly: true });
    this.#checks.checkPages(again, this.#now());
    this.#checks.checkGraph(again.graph, this.#now());
    return { ...this.#counts, failures: this.failures, planted: this.#planted };
  }

  /** What was wrong, in words. */
  get failures(): string[] {
    return this.#checks.failures;
  }

  /** What the bus must hold now. */
  #now(): InvariantModel {
    return { pages: this.#model, edges: this.#edges };
  }

  /** Plants what the checks must tell, one thing at a time, and takes it back. */
  async plant(): Promise<void> {
    const bus = this.#bus, { graph } = bus, id = this.#free[0], account = this.#accounts[0];
    const turn = (page: Page) => {
      const live = page.view() as unknown as Uint8Array;
      live[0] ^= 1;
      return () => void (live[0] ^= 1);
    };
    const pages = () => this.#checks.checkPages(bus, this.#now());
    const { epoch } = bus.page(id);
    await this.#mustTell("invariant-byte", `bytes of page ${id} are`, pages, turn(bus.page(id)));
    this.#checks.seenEpochs.set(id, epoch + 5);
    const back = `epoch of page ${id} went back`;
    await this.#mustTell(
      "invariant-epoch",
      back,
      pages,
      () => this.#checks.seenEpochs.set(id, epoch),
    );
    this.#model.set(0, { bytes: new Uint8Array(1), epoch: 0 });
    const lost = "the number of pages is";
    await this.#mustTell("invariant-page-lost", lost, pages, () => this.#model.delete(0));
    this.#edges.push({ from: id, to: account.id, type: "gpu" });
    const edges = () => this.#checks.checkGraph(graph, this.#now());
    await this.#mustTell("invariant-edge-lost", "edges that are missing is 1", edges, () => {
      this.#edges.pop();
    });
    const [edge] = graph.edges(), round = { from: edge.to, to: edge.from, type: edge.type };
    await this.#mustTell("invariant-cycle", "whether the graph has levels is false", () => {
      const closed = { edges: () => [...graph.edges(), round], check: () => graph.check() };
      this.#checks.checkGraph(closed, this.#now());
    });
    const money = "the sum of all accounts is";
    const invariants = () => this.#checkInvariants();
    await this.#mustTell("invariant-user", money, invariants, turn(account));
    const log = async () => this.#checks.expect("bus.verify()", (await bus.verify()).ok, true);
    await this.#mustTell("invariant-log", "bus.verify() is false", log, turn(bus.page(id)));
  }

  /** Looks whether a check tells what was planted, then takes that back. */
  async #mustTell(
    id: string,
    words: string,
    check: () => void | Promise<void>,
    undo: () => unknown = () => {},
  ): Promise<void> {
    const before = this.failures.length;
    await check();
    const found = this.failures.splice(before).some((failure) => failure.startsWith(words));
    undo();
    this.#planted.push({ id, found });
  }

  #checkInvariants(): void {
    this.#checks.expect("the sum of all accounts", this.#sum(), 0);
    const { squares, derived } = this.#squares();
    this.#checks.expect("the squares", derived, squares);
    const [money, sums] = this.#invariants;
    this.#checks.expect(
      "violations of the first invariant",
      money.violated,
      this.#counts.violations,
    );
    this.#checks.expect("violations of the second invariant", sums.violated, 0);
    const asked = this.#counts.cycles + this.#counts.violations;
    if (money.checked < asked) {
      this.failures.push(`the first invariant was asked ${money.checked} times in ${asked} ticks`);
    }
  }

  #sum(): number {
    return this.#accounts.reduce((sum, account) => sum + int(account.read()) | 0, 0);
  }

  #squares(): { squares: number; derived: number } {
    const squares = this.#accounts.reduce((sum, account) => {
      const cents = int(account.read());
      return sum + Math.imul(cents, cents) | 0;
    }, 0);
    return { squares, derived: int(this.#derived.read()) };
  }

  #birth(size: number): Page {
    const page = this.#bus.createPage({ size });
    this.#model.set(page.id, { bytes: new Uint8Array(size), epoch: 0 });
    return page;
  }

  #create(): void {
    this.#free.push(this.#birth(4 + this.#random.below(SIZE_MAX - 4)).id);
    this.#counts.created++;
  }

  /** A page with all that depends on it, if that is not too much; gives the ids. */
  #delete(): number[] {
    for (let tries = 0; tries < 5; tries++) {
      const id = this.#pick(this.#free), dead = [id, ...this.#graph.reach(id)];
      if (dead.length > 5) continue;
      this.#bus.page(id).delete({ cascade: dead.length > 1 });
      this.#counts.deleted += dead.length;
      return dead;
    }
    return [];
  }

  #forget(id: number): void {
    this.#model.delete(id);
    this.#checks.seenEpochs.delete(id);
    this.#free = this.#free.filter((page) => page !== id);
    this.#graph.removeVertex(id);
    this.#edges = this.#edges.filter(({ from, to }) => from !== id && to !== id);
  }

  /** Leading bytes stay, new ones are zero; gives what to do once the tick is done. */
  #resize(dead: readonly number[]): (() => void) | undefined {
    const id = this.#pick(this.#free), size = 4 + this.#random.below(SIZE_MAX - 4);
    if (dead.includes(id) || this.#model.get(id)!.bytes.length === size) return undefined;
    this.#bus.page(id).resize(size);
    this.#counts.resized++;
    return () => {
      const model = this.#model.get(id)!, bytes = new Uint8Array(size);
      bytes.set(model.bytes.subarray(0, size));
      model.bytes = bytes;
    };
  }

  /** An edge between any two pages: accepted if and only if it closes no cycle. */
  #tryEdge(): void {
    const edge = {
      from: this.#pick(this.#free),
      to: this.#pick(this.#free),
      type: EDGE_TYPES[this.#random.below(4)],
    };
    const { from, to, type } = edge;
    if (from === to) return;
    if (
      this.#edges.some((other) => other.from === from && other.to === to && other.type === type)
    ) {
      return;
    }
    this.#add(edge);
  }

  /** An edge back along a way that is there. */
  #tryClosing(): void {
    if (this.#edges.length === 0) return;
    const { from, to } = this.#edges[this.#random.below(this.#edges.length)];
    const ends = [to, ...this.#graph.reach(to)];
    this.#add({ from: ends[this.#random.below(ends.length)], to: from, type: "compiler" });
  }

  #add(edge: ModelEdge): void {
    const { from, to, type } = edge, closes = this.#graph.reach(to).has(from);
    try {
      this.#bus.edge(from, to, type);
    } catch (error) {
      if (!closes) this.failures.push(`edge ${from} → ${to}, which closes no cycle: ${error}`);
      else if (!isMmsbError(error) || error.code !== "cycle") {
        this.failures.push(`edge ${from} → ${to}, which closes a cycle: ${error}`);
      } else if (!this.#graph.isCycle(error.values.cycle, from, to)) {
        this.failures.push(`edge ${from} → ${to}: what was named is no cycle`);
      } else this.#counts.closing++;
      return;
    }
    if (closes) this.failures.push(`edge ${from} → ${to} closes a cycle and was accepted`);
    this.#link(edge);
    this.#counts.added++;
  }

  #link(edge: ModelEdge): void {
    this.#edges.push(edge);
    this.#graph.add(edge.from, edge.to);
  }

  #unlink(): void {
    const own = this.#edges.filter(({ to }) => to !== this.#derived.id);
    if (own.length === 0) return;
    const edge = own[this.#random.below(own.length)];
    this.#bus.removeEdge(edge.from, edge.to, edge.type);
    this.#edges = this.#edges.filter((other) => other !== edge);
    this.#graph.remove(edge.from, edge.to);
    this.#counts.removed++;
  }

  /** Money from nowhere: the tick must be taken back. */
  async #tryViolation(): Promise<void> {
    const account = this.#accounts[this.#random.below(ACCOUNTS)], { tickNumber } = this.#bus;
    this.#counts.violations++;
    try {
      await this.#bus.commit(() => account.combine("i32", "add", 0, 1));
      this.failures.push("a tick that makes money was accepted");
      this.#model.get(account.id)!.epoch++;
    } catch (error) {
      if (!isMmsbError(error) || error.code !== "rule") this.failures.push(`${error}`);
    }
    this.#checks.expect("the tick after one that was taken back", this.#bus.tickNumber, tickNumber);
  }

  /** Rows for the bus and the model: bytes anywhere, money in pairs. */
  #fill(dead: readonly number[]): DeltaBatch {
    const random = this.#random;
    const batch = new DeltaBatch({ rows: ROWS, payloadBytes: 64 * ROWS });
    const pages = this.#free.filter((id) => !dead.includes(id) || random.chance(0.5));
    const source = batch.source("validate");
    for (let row = 0; row < ROWS; row += 2) {
      if (random.chance(0.2)) {
        const cents = random.below(1000), [a, b] = [this.#account(), this.#account()];
        this.#combine(batch, a, cents, source);
        this.#combine(batch, b, -cents, source);
        continue;
      }
      for (let i = 0; i < 2; i++) this.#set(batch, this.#pick(pages), source);
    }
    this.#counts.rows += ROWS;
    return batch;
  }

  #account(): Page {
    return this.#accounts[this.#random.below(ACCOUNTS)];
  }

  #combine(batch: DeltaBatch, { id }: Page, cents: number, source: number): void {
    const model = this.#model.get(id)!;
    batch.combine(id, "i32", "add", 0, cents, { source });
    new DataView(model.bytes.buffer).setInt32(0, int(model.bytes) + cents | 0, true);
    model.epoch++;
  }

  #set(batch: DeltaBatch, id: number, source: number): void {
    const model = this.#model.get(id)!, random = this.#random;
    const offset = random.below(model.bytes.length);
    const length = 1 + random.below(Math.min(SPAN_MAX, model.bytes.length - offset));
    const bytes = this.#scratch.subarray(0, length);
    for (let i = 0; i < length; i++) bytes[i] = random.next();
    batch.push(id, offset, bytes, source);
    model.bytes.set(bytes, offset);
    model.epoch++;
  }

  /** What the rule does: a row if and only if the number changes. */
  #derive(): void {
    const model = this.#model.get(this.#derived.id)!, old = int(model.bytes);
    let sum = 0;
    for (const { id } of this.#accounts) {
      const cents = int(this.#model.get(id)!.bytes);
      sum = sum + Math.imul(cents, cents) | 0;
    }
    if (sum === old) return;
    new DataView(model.bytes.buffer).setInt32(0, sum, true);
    model.epoch++;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.below(items.length)];
  }
}
