/**
 * A twin for the tests of this folder: the bus and the model, given the same commands and compared
 * after each tick. Where the bus refuses a call, the model is not asked; where a tick refuses, both
 * must name the same batch, row and code.
 *
 * The ids of the two differ where a `commit` took its pages back, for the model cannot forget an id;
 * so the twin translates them and knows by itself which id must come next.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, type MmsbError, type MmsbErrorCode } from "../base/mod.ts";
import type { Storage } from "../log/mod.ts";
import { type CombineOp, type CombineType, difference, Model, type Row } from "../model/mod.ts";
import { combineKind, DeltaBatch } from "../physical/mod.ts";
import type {
  BatchReceipt,
  Durability,
  OpenOptions,
  Page,
  PageSnapshot,
  StateBus,
  TickReport,
} from "./mod.ts";
import { openLanes } from "./open_lanes.ts";

/** What may be wrong with a row. */
export type Flaw =
  | "none"
  | "past the end"
  | "huge offset"
  | "no page"
  | "stale epoch"
  | "no length"
  | "payload past the pool"
  | "unknown kind"
  | "unknown source"
  | "misaligned"
  | "mask past its span";

/** Flaws that a call of a page's method can have; the others need columns filled by hand. */
const FLAWS_OF_CALLS: readonly Flaw[] = ["none", "past the end", "huge offset", "stale epoch"];

/** A row before it is fitted into a page. */
export interface Draft {
  readonly page: number;
  readonly kind: "set" | "mask" | "combine";
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array;
  readonly type: CombineType;
  readonly op: CombineOp;
  readonly value: number;
  readonly source: string | undefined;
  readonly intent: string | undefined;
  readonly timeUs: number | undefined;
  readonly expects: boolean;
  readonly flaw: Flaw;
}

/** A command that stages something of the caller's own. */
export type StageCommand =
  | {
    readonly do: "create";
    readonly size: number;
    readonly name: string | undefined;
    readonly shard: number | undefined;
    readonly metadata: Readonly<Record<string, Uint8Array>> | undefined;
  }
  | { readonly do: "row"; readonly draft: Draft }
  | { readonly do: "delete"; readonly page: number }
  | {
    readonly do: "metadata";
    readonly page: number;
    readonly entries: Readonly<Record<string, Uint8Array>>;
  }
  | { readonly do: "resize"; readonly page: number; readonly size: number }
  | { readonly do: "migrate"; readonly page: number; readonly shard: number }
  | { readonly do: "clone"; readonly page: number; readonly name: string | undefined }
  | { readonly do: "restore"; readonly page: number; readonly snapshot: number };

/** A command to both. */
export type Command =
  | StageCommand
  | { readonly do: "submit"; readonly producer: number; readonly drafts: readonly Draft[] }
  | { readonly do: "tick" }
  | {
    readonly do: "commit";
    readonly stage: readonly StageCommand[];
    readonly throws: boolean;
  }
  | { readonly do: "history"; readonly page: number }
  | { readonly do: "snapshot"; readonly page: number }
  | { readonly do: "verify" }
  | { readonly do: "reopen" };

const SHARDS = 3;
const NAMES = ["a", "größe", "board", "x".repeat(300)];
const KEYS = ["unit", "é", "k"];
const bytes = (maxLength: number) => fc.uint8Array({ minLength: 1, maxLength });
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const entries = fc.dictionary(fc.constantFrom(...KEYS), fc.uint8Array({ maxLength: 8 }), {
  maxKeys: 3,
});
const good = { arbitrary: fc.constant<Flaw>("none"), weight: 30 };
const bad = fc.constantFrom<Flaw>(
  "past the end",
  "huge offset",
  "no page",
  "stale epoch",
  "no length",
  "payload past the pool",
  "unknown kind",
  "unknown source",
  "misaligned",
  "mask past its span",
);

/** Drafts, one in many with a flaw. */
export const drafts: fc.Arbitrary<Draft> = fc.record({
  page: fc.nat(1000),
  kind: fc.constantFrom("set", "set", "mask", "combine"),
  offset: fc.nat(5000),
  length: fc.oneof(fc.nat(20), fc.nat(5000)),
  bytes: bytes(16),
  type: fc.constantFrom("i32", "u32", "f32", "f64"),
  op: fc.constantFrom("add", "min", "max", "or", "and", "xor"),
  value: fc.oneof(
    fc.integer(),
    fc.double(),
    fc.maxSafeInteger(),
    fc.constantFrom(NaN, Infinity, -0, 1.5, 2 ** 32 - 1),
  ),
  source: maybe(fc.constantFrom("feed-a", "feed-ß", "")),
  intent: maybe(fc.constantFrom("open", '{"why":1}')),
  timeUs: maybe(fc.integer({ min: -1000, max: 2 ** 45 })),
  expects: fc.boolean(),
  flaw: fc.oneof(good, { arbitrary: bad, weight: 1 }),
});

const stageCommands: fc.Arbitrary<StageCommand> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("create" as const),
      size: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 5000 })),
      name: maybe(fc.constantFrom(...NAMES)),
      shard: maybe(fc.nat(2)),
      metadata: maybe(entries),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("row" as const), draft: drafts }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), page: fc.nat(1000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("metadata" as const),
      page: fc.nat(1000),
      entries,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("resize" as const),
      page: fc.nat(1000),
      size: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 5000 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("migrate" as const),
      page: fc.nat(1000),
      shard: fc.nat(SHARDS),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("clone" as const),
      page: fc.nat(1000),
      name: maybe(fc.constantFrom(...NAMES)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("restore" as const),
      page: fc.nat(1000),
      snapshot: fc.nat(1000),
    }),
  },
);

const submits: fc.Arbitrary<Command> = fc.record({
  do: fc.constant("submit" as const),
  producer: fc.constantFrom(1, 2, 3, 4_294_967_295),
  drafts: fc.array(drafts, { minLength: 1, maxLength: 6 }),
});

/** Commands to both, ticks among them. */
export const commands: fc.Arbitrary<readonly Command[]> = fc.array(
  fc.oneof(
    { weight: 14, arbitrary: stageCommands as fc.Arbitrary<Command> },
    { weight: 5, arbitrary: submits },
    { weight: 5, arbitrary: fc.constant<Command>({ do: "tick" }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("commit" as const),
        stage: fc.array(stageCommands, { maxLength: 5 }),
        throws: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("history" as const), page: fc.nat(1000) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("snapshot" as const), page: fc.nat(1000) }),
    },
    { weight: 1, arbitrary: fc.constant<Command>({ do: "verify" }) },
    { weight: 1, arbitrary: fc.constant<Command>({ do: "reopen" }) },
  ),
  { maxLength: 60, size: "max" },
);

/** A clock that jumps back and stands still; its readings depend on nothing but their count. */
export function jumpingClock(): { nowUs(): number; errorUs(): number } {
  let readings = 0;
  return {
    nowUs: () => 1e12 + (readings++ * 7919 % 1000) * 1e6,
    errorUs: () => 250,
  };
}

interface Waiting {
  readonly receipt: Promise<BatchReceipt>;
  readonly producer: number;
  readonly sequence: number;
  readonly rows: number;
  readonly batch: DeltaBatch;
}

const NO_PAGE = 4_000_000_000;

/** The bus and the model. */
export class Twin {
  /** The bus; another object after `reopen`. */
  bus!: StateBus;
  /** The model. */
  model: Model = new Model({ shards: SHARDS });
  readonly #storage: Storage | undefined;
  readonly #options: OpenOptions;
  /** Lanes of the log, asked for with each opening. */
  #lanes: () => number = () => 1;
  #handles = new Map<number, Page>();
  #sizes = new Map<number, number>();
  #toModel = new Map<number, number>();
  #metadata = new Map<number, Map<string, Uint8Array>>();
  #stagedMetadata: [number, Map<string, Uint8Array>][] = [];
  #stagedSizes: [number, number][] = [];
  /** Rows of the open batch, as the model has them. */
  #stagedRows: Row[] = [];
  #snapshots: { snapshot: PageSnapshot; bytes: Uint8Array; metadata: Map<string, Uint8Array> }[] =
    [];
  #sequences = new Map<number, number>();
  #waiting: Waiting[] = [];
  #nextId = 1;
  #loggedNextId = 1;
  #hlcLast = 0n;

  private constructor(
    storage: Storage | undefined,
    durability: Durability,
    more: Partial<OpenOptions>,
  ) {
    this.#storage = storage;
    this.#options = {
      storage,
      durability,
      shards: SHARDS,
      memoryLimitBytes: 2 ** 22,
      clock: jumpingClock(),
      segmentBytesMax: 4096,
      ...more,
    };
  }

  /** Opens a bus over a storage, or in memory, with more options if need be. */
  static async open(
    storage?: Storage,
    durability: Durability = "memory",
    more: Partial<OpenOptions> = {},
    lanes: () => number = () => 1,
  ): Promise<Twin> {
    const twin = new Twin(storage, durability, more);
    twin.#lanes = lanes;
    twin.bus = await openLanes(twin.#options, lanes());
    return twin;
  }

  /** Gives one command to both. */
  async run(command: Command): Promise<void> {
    switch (command.do) {
      case "submit":
        return this.#submit(command.producer, command.drafts);
      case "tick":
        return await this.tick(() => this.bus.tick());
      case "commit":
        return await this.#commit(command);
      case "history":
        return await this.#compareHistory(this.#pick(command.page));
      case "snapshot":
        return this.#snapshot(this.#pick(command.page));
      case "verify":
        return await this.verify();
      case "reopen":
        return this.#storage === undefined ? undefined : await this.reopen();
      default:
        return this.#stage(command, true);
    }
  }

  /** Ticks both by `call`, and compares all that can be seen. */
  async tick(call: () => Promise<TickReport>): Promise<void> {
    const before = this.bus.tickNumber;
    const outcome: { report?: TickReport; error?: MmsbError } = await call().then(
      (report) => ({ report }),
      (error) => ({ error }),
    );
    // Only now, as a `commit` stages first.
    const expected = this.model.tick();
    const openRefusal = expected.refused.find(({ producer }) => producer === 0);
    const { report, error } = outcome;
    if (openRefusal === undefined) {
      assert(report !== undefined, error);
      const { tick, rows, refused, durable, hlc } = report;
      assert.deepEqual(
        { tick, rows, refused: refused.map(refusalOf) },
        { tick: expected.tick, rows: expected.rows, refused: expected.refused },
      );
      const { durability } = this.#options;
      assert.deepEqual(await durable, { tick: expected.tick, durability });
      if (expected.tick > before) this.#checkStamp(hlc);
    } else {
      const { row, code } = openRefusal;
      assert.deepEqual({ code: error?.code, row: error?.values.row }, { code, row }, error);
    }
    assert.equal(this.bus.tickNumber, expected.tick);
    if (openRefusal === undefined) {
      for (const [id, metadata] of this.#stagedMetadata) this.#metadata.set(id, metadata);
      for (const [id, size] of this.#stagedSizes) this.#sizes.set(id, size);
    }
    this.#forgetStaged();
    if (expected.tick > before) this.#loggedNextId = this.#nextId;
    await this.#settle(expected);
    this.compare();
  }

  /** Compares the pages. */
  compare(): void {
    const state = new Map<number, ReturnType<typeof contentOf>>();
    for (const page of this.bus.pages()) {
      assert.equal(page.state, "active");
      assert.equal(this.bus.page(page.id).epoch, page.epoch);
      if (page.name !== "") assert.equal(this.bus.find(page.name)?.id, page.id);
      assert.deepEqual([...page.metadata], [...this.#metadata.get(page.id)!], "in this order");
      state.set(this.#toModel.get(page.id)!, contentOf(page));
    }
    assert.equal(this.bus.stats().pages, state.size);
    assert.equal(this.bus.stats().staged, 0);
    assert.equal(this.bus.stats().queued, 0);
    const expected = this.model.state();
    assert.equal(difference(expected, state), undefined);
    for (const [id, page] of this.#handles) {
      const live = expected.has(this.#toModel.get(id) ?? 0);
      assert.equal(page.state, live ? "active" : "deleted");
      if (!live) assert.throws(() => page.read(), { code: "invalid-handle" });
    }
  }

  /** Lets the bus check itself against its log. */
  async verify(): Promise<void> {
    const report = await this.bus.verify();
    assert.equal(report.ok, true, JSON.stringify(report));
    assert.equal(report.tick, this.bus.tickNumber);
    assert.equal(report.compared?.divergence, this.#storage === undefined ? undefined : 0);
  }

  /** Closes the bus and opens it again; what was not ticked is forgotten. */
  async reopen(): Promise<void> {
    await this.bus.close();
    for (const { receipt } of this.#waiting.splice(0)) {
      await assert.rejects(receipt, { code: "closed" });
    }
    this.model = Model.recover(this.model.ticks, undefined, { shards: SHARDS });
    this.#forgetStaged();
    this.#sequences.clear();
    this.#nextId = this.#loggedNextId;
    for (const id of [...this.#toModel.keys()]) {
      if (id >= this.#nextId) this.#toModel.delete(id);
    }
    this.bus = await openLanes(this.#options, this.#lanes());
    const rows = this.model.ticks.flatMap(({ batches }) => batches.flatMap(({ rows }) => rows));
    assert.deepEqual(this.bus.opened, {
      tick: this.model.ticks.length,
      // A mapped file is taken over without replaying anything.
      rows: this.bus.opened.arena?.adopted ? 0 : rows.length,
      state: "whole",
      reason: this.bus.opened.reason,
      ...(this.#options.arena === undefined ? {} : { arena: this.bus.opened.arena }),
    });
    this.#handles = new Map([...this.bus.pages()].map((page) => [page.id, page]));
    this.compare();
  }

  /** Compares the histories of all pages that ever were. */
  async compareHistories(): Promise<void> {
    for (const id of this.#toModel.keys()) await this.#compareHistory(id);
  }

  #stage(command: StageCommand, both: boolean): void {
    switch (command.do) {
      case "create":
        return this.#create(command, both);
      case "row":
        return this.#row(command.draft, both);
      case "delete":
        return this.#delete(command.page, both);
      case "metadata":
        return this.#setMetadata(command.page, command.entries, both);
      case "resize":
        return this.#change(command.page, both, {
          call: (page) => page.resize(command.size),
          model: (id) => this.model.resizePage(id, command.size),
          then: (page) => this.#stagedSizes.push([page.id, command.size]),
        });
      case "migrate":
        return this.#change(command.page, both, {
          call: (page) => page.migrate({ shard: command.shard }),
          model: (id) => this.model.migratePage(id, command.shard),
          then: () => {},
        });
      case "clone":
        return this.#clone(command.page, command.name, both);
      case "restore":
        return this.#restore(command, both);
    }
  }

  #create(command: StageCommand & { do: "create" }, both: boolean): void {
    const { size, name, shard, metadata } = command;
    const staged = this.bus.stats();
    let page: Page;
    try {
      page = this.bus.createPage({ size, name, shard, metadata });
    } catch (error) {
      assert(isMmsbError(error, "usage") && name !== undefined, String(error));
      assert.deepEqual(this.bus.stats(), staged);
      if (both) assert.throws(() => this.model.createPage({ size, name }), { code: "usage" });
      return;
    }
    assert.equal(page.id, this.#nextId++);
    assert.equal(page.state, "allocated");
    assert.equal(page.shard, shard ?? (page.id - 1) % SHARDS);
    assert.deepEqual(page.read(), new Uint8Array(size));
    this.#handles.set(page.id, page);
    this.#sizes.set(page.id, size);
    this.#metadata.set(page.id, new Map(Object.entries(metadata ?? {})));
    if (!both) return;
    const id = this.model.createPage({ size, name, metadata, shard: page.shard });
    this.#toModel.set(page.id, id);
  }

  #row(draft: Draft, both: boolean): void {
    const flaw = FLAWS_OF_CALLS.includes(draft.flaw) ? draft.flaw : "none";
    const id = this.#pick(draft.page);
    const page = this.#handles.get(id);
    if (page === undefined) return;
    const row = this.#fit({ ...draft, flaw }, id);
    const { offset, source, intent, expectedEpoch } = row;
    const options = { source, intent, expectedEpoch, timeUs: draft.timeUs };
    const refusal: MmsbErrorCode | undefined = page.state === "deleted"
      ? "invalid-handle"
      : flaw === "past the end" || flaw === "huge offset"
      ? "out-of-bounds"
      : undefined;
    this.#attempt(refusal, () => {
      if (row.kind === "set") page.write(offset, row.payload, options);
      else if (row.kind === "mask") {
        page.writeMasked(offset, row.length, row.mask, row.payload, options);
      } else page.combine(row.type, row.op, offset, row.value, options);
    });
    if (!both || refusal !== undefined) return;
    this.#modelRow(row);
  }

  /** Stages a row in the model. */
  #modelRow(row: Row): void {
    const { offset, source, intent, expectedEpoch } = row;
    this.#stagedRows.push(row);
    const rest = { source, intent, expectedEpoch, time: row.time };
    if (row.kind === "set") this.model.write(row.page, offset, row.payload, rest);
    else if (row.kind === "mask") {
      this.model.writeMasked(row.page, offset, row.length, row.mask, row.payload, rest);
    } else this.model.combine(row.page, row.type, row.op, offset, row.value, rest);
  }

  #delete(pick: number, both: boolean): void {
    const page = this.#handles.get(this.#pick(pick));
    if (page === undefined) return;
    const gone = page.state === "deleted";
    let twice = false;
    if (both) {
      try {
        this.model.deletePage(this.#toModel.get(page.id) ?? NO_PAGE);
      } catch (error) {
        assert(isMmsbError(error, "invalid-handle"));
        twice = true;
      }
      assert(twice || !gone);
      this.#attempt(twice ? "invalid-handle" : undefined, () => page.delete());
      return;
    }
    try {
      page.delete();
    } catch (error) {
      assert(isMmsbError(error, "invalid-handle"));
    }
  }

  #setMetadata(
    pick: number,
    entries: Readonly<Record<string, Uint8Array>>,
    both: boolean,
  ): void {
    const page = this.#handles.get(this.#pick(pick));
    if (page === undefined) return;
    const refusal = page.state === "deleted" ? "invalid-handle" : undefined;
    this.#attempt(refusal, () => page.setMetadata(entries));
    if (refusal !== undefined || !both) return;
    const staged = this.#stagedMetadata.findLast(([id]) => id === page.id)?.[1];
    const merged = new Map(staged ?? this.#metadata.get(page.id));
    for (const [key, value] of Object.entries(entries)) merged.set(key, value);
    this.#stageMetadata(page.id, merged);
  }

  /** Resizes or migrates; the model says whether it is refused. */
  #change(pick: number, both: boolean, how: {
    readonly call: (page: Page) => void;
    readonly model: (id: number) => void;
    readonly then: (page: Page) => void;
  }): void {
    const page = this.#handles.get(this.#pick(pick));
    if (page === undefined) return;
    if (!both) {
      try {
        how.call(page);
      } catch (error) {
        assert(isMmsbError(error, "invalid-handle") || isMmsbError(error, "out-of-bounds"));
      }
      return;
    }
    let refusal: MmsbErrorCode | undefined;
    try {
      how.model(this.#toModel.get(page.id) ?? NO_PAGE);
    } catch (error) {
      assert(isMmsbError(error));
      refusal = error.code;
    }
    this.#attempt(refusal, () => how.call(page));
    if (refusal === undefined) how.then(page);
  }

  #clone(pick: number, name: string | undefined, both: boolean): void {
    const page = this.#handles.get(this.#pick(pick));
    if (page === undefined) return;
    if (page.state === "deleted") {
      return this.#attempt("invalid-handle", () => page.clone({ name }));
    }
    const staged = this.bus.stats();
    let clone: Page;
    try {
      clone = page.clone({ name, source: "clone" });
    } catch (error) {
      assert(isMmsbError(error, "usage") && name !== undefined, String(error));
      assert.deepEqual(this.bus.stats(), staged);
      return;
    }
    const bytes = page.read(), metadata = new Map(this.#metadata.get(page.id));
    assert.equal(clone.id, this.#nextId++);
    this.#handles.set(clone.id, clone);
    this.#sizes.set(clone.id, bytes.length);
    this.#metadata.set(clone.id, metadata);
    if (!both) return;
    const { shard } = clone, size = bytes.length;
    const options = { size, name, shard, metadata: Object.fromEntries(metadata) };
    const id = this.model.createPage(options);
    this.#toModel.set(clone.id, id);
    const flags = [...bytes].map((byte) => byte !== 0);
    for (const row of rowsOfFlags(id, flags, bytes)) this.#modelRow({ ...row, source: "clone" });
  }

  #snapshot(id: number): void {
    const page = this.#handles.get(id);
    if (page === undefined) return;
    if (page.state === "deleted") {
      return this.#attempt("invalid-handle", () => page.snapshot());
    }
    const snapshot = page.snapshot(), { name, size, epoch } = page;
    assert.deepEqual(
      [snapshot.id, snapshot.name, snapshot.size, snapshot.epoch, snapshot.bytes],
      [id, name, size, epoch, page.read()],
    );
    snapshot.bytes.fill(1);
    this.#snapshots.push({ snapshot, bytes: page.read(), metadata: page.metadata });
  }

  #restore(command: StageCommand & { do: "restore" }, both: boolean): void {
    const page = this.#handles.get(this.#pick(command.page));
    if (page === undefined || this.#snapshots.length === 0) return;
    const { snapshot, bytes, metadata } =
      this.#snapshots[command.snapshot % this.#snapshots.length];
    assert.deepEqual([snapshot.bytes, snapshot.metadata], [bytes, metadata]);
    const refusal = page.state === "deleted"
      ? "invalid-handle"
      : bytes.length !== page.size
      ? "out-of-bounds"
      : undefined;
    this.#attempt(refusal, () => page.restore(snapshot, { intent: "undo" }));
    if (refusal !== undefined || !both) return;
    const id = this.#toModel.get(page.id)!;
    const live = page.read(), flags = [...bytes].map((byte, at) => byte !== live[at]);
    for (const row of this.#stagedRows.filter((row) => row.page === id)) {
      for (let i = 0; i < lengthOf(row); i++) {
        if (row.kind !== "mask" || row.mask[i >> 3] >> i % 8 & 1) flags[row.offset + i] = true;
      }
    }
    for (const row of rowsOfFlags(id, flags, bytes)) this.#modelRow({ ...row, intent: "undo" });
    const staged = this.#stagedMetadata.findLast(([id]) => id === page.id)?.[1] ??
      this.#metadata.get(page.id)!;
    const same = JSON.stringify([...staged].map(([key, value]) => [key, [...value]])) ===
      JSON.stringify([...metadata].map(([key, value]) => [key, [...value]]));
    if (!same) this.#stageMetadata(page.id, metadata);
  }

  #stageMetadata(id: number, metadata: Map<string, Uint8Array>): void {
    this.#stagedMetadata.push([id, metadata]);
    this.model.setMetadata(this.#toModel.get(id)!, Object.fromEntries(metadata));
  }

  #forgetStaged(): void {
    this.#stagedMetadata = [];
    this.#stagedSizes = [];
    this.#stagedRows = [];
  }

  /** Calls, and expects the refusal, which must leave nothing behind. */
  #attempt(refusal: MmsbErrorCode | undefined, call: () => void): void {
    if (refusal === undefined) return call();
    const before = this.bus.stats();
    assert.throws(call, { code: refusal });
    assert.deepEqual(this.bus.stats(), before);
  }

  #submit(producer: number, drafts: readonly Draft[]): void {
    if (this.#handles.size === 0) return;
    const rows = drafts.map((draft) => this.#fit(draft, this.#pick(draft.page)));
    const batch = new DeltaBatch({ rows: 4, payloadBytes: 64, growable: true });
    rows.forEach((row, index) => push(batch, this.#busId(row, drafts[index]), row, drafts[index]));
    // By hand only when the batch grows no more, as growing makes new columns.
    rows.forEach((row, index) => spoil(batch, index, row, drafts[index].flaw));
    const receipt = this.bus.submit(batch, { producer });
    const sequence = (this.#sequences.get(producer) ?? 0) + 1;
    this.#sequences.set(producer, sequence);
    this.model.submit(rows, { producer, sequence });
    this.#waiting.push({ receipt, producer, sequence, rows: rows.length, batch });
    assert.equal(this.bus.stats().queued, this.#waiting.length);
    assert.throws(() => this.bus.submit(batch, { producer }), { code: "usage" });
  }

  async #commit(command: Command & { do: "commit" }): Promise<void> {
    const { stage, throws } = command;
    if (!throws) {
      await this.tick(() =>
        this.bus.commit(() => {
          for (const one of stage) this.#stage(one, true);
        })
      );
      return;
    }
    const before = this.bus.stats();
    const reason = new Error("taken back");
    await assert.rejects(
      this.bus.commit(() => {
        for (const one of stage) this.#stage(one, false);
        throw reason;
      }),
      (error) => error === reason,
    );
    const { staged, pages, pageBytes, tick } = this.bus.stats();
    assert.deepEqual(
      { staged, pages, pageBytes, tick },
      {
        staged: before.staged,
        pages: before.pages,
        pageBytes: before.pageBytes,
        tick: before.tick,
      },
    );
  }

  async #settle(expected: ReturnType<Model["tick"]>): Promise<void> {
    for (const { receipt, producer, sequence, rows, batch } of this.#waiting.splice(0)) {
      const refusal = expected.refused.find((one) =>
        one.producer === producer && one.sequence === sequence
      );
      if (refusal === undefined) {
        const { durability } = this.#options;
        const { tick } = expected;
        assert.deepEqual(await receipt, { tick, durability, rows, producer, sequence });
      } else {
        const error = await receipt.then(() => assert.fail("the batch is refused"), (e) => e);
        const { row, code } = refusal;
        assert.deepEqual({ code: error.code, row: error.values.row }, { code, row }, error.message);
      }
      batch.clear();
    }
  }

  async #compareHistory(id: number): Promise<void> {
    const modelId = this.#toModel.get(id) ?? 0;
    const isLogged = this.model.ticks.some(({ creates }) =>
      creates.some((create) => create.id === modelId)
    );
    if (!isLogged) return;
    const found: unknown[] = [];
    let hlcLast = 0n;
    const read = async () => {
      for await (
        const { hlc, rule, kind, timeUs, advance, length, ...entry } of this.bus.history(id)
      ) {
        assert(hlc > hlcLast && rule === undefined && kind !== "" && advance === 1);
        assert.equal(length, Math.max(entry.before.length, entry.after.length));
        hlcLast = hlc;
        found.push({ ...entry, time: timeUs === undefined ? undefined : BigInt(timeUs) });
      }
    };
    if (this.#storage === undefined) return assert.rejects(read, { code: "usage" });
    await read();
    const expected = this.model.history(modelId).map(({ source = "", intent = "", ...rest }) => {
      return { ...rest, source, intent };
    });
    assert.deepEqual(found, expected);
  }

  #checkStamp(hlc: bigint): void {
    assert(hlc > this.#hlcLast, `${hlc} is later than ${this.#hlcLast}`);
    this.#hlcLast = hlc;
  }

  /** An id that was given out, dead or alive. */
  #pick(index: number): number {
    const ids = [...this.#handles.keys()];
    return ids.length === 0 ? NO_PAGE : ids[index % ids.length];
  }

  #busId(row: Row, draft: Draft): number {
    return row.page === NO_PAGE && draft.flaw === "no page" ? NO_PAGE : this.#pick(draft.page);
  }

  /** Fits a draft into a page, with its flaw; the row speaks the model's ids. */
  #fit(draft: Draft, id: number): Row {
    const size = this.#sizes.get(id) ?? 1;
    const page = draft.flaw === "no page" ? NO_PAGE : this.#toModel.get(id) ?? NO_PAGE;
    const { source, intent, timeUs } = draft;
    const epoch = this.model.state().get(page)?.epoch ?? 0;
    const expectedEpoch = draft.flaw === "stale epoch"
      ? epoch + 1
      : draft.expects
      ? epoch
      : undefined;
    const time = timeUs === undefined ? undefined : BigInt(timeUs);
    const options = { page, source, intent, expectedEpoch, time };
    const width = draft.type === "f64" ? 8 : 4;
    if (draft.kind === "combine" && size >= width) {
      const offset = draft.offset % (size - width + 1);
      const isFloat = draft.type.startsWith("f");
      return {
        ...options,
        kind: "combine",
        type: draft.type,
        op: isFloat && !["add", "min", "max"].includes(draft.op) ? "add" : draft.op,
        offset: moved(offset - offset % width, size, draft.flaw),
        value: isFloat || Number.isSafeInteger(draft.value) ? draft.value : 7,
      };
    }
    const offset = draft.offset % size, length = 1 + draft.length % (size - offset);
    const place = { ...options, offset: moved(offset, size, draft.flaw), length };
    if (draft.kind !== "mask") {
      return { ...place, kind: "set", payload: repeated(draft.bytes, length) };
    }
    const mask = repeated(draft.bytes, length + 7 >>> 3);
    if (length % 8 !== 0) mask[mask.length - 1] &= (1 << length % 8) - 1;
    let set = 0;
    for (const byte of mask) for (let bit = 0; bit < 8; bit++) set += byte >> bit & 1;
    return { ...place, kind: "mask", mask, payload: repeated(draft.bytes.toReversed(), set) };
  }
}

/** The rows that bring the flagged bytes: spans with gaps of at most 16 bytes, or one masked row. */
function rowsOfFlags(page: number, flags: readonly boolean[], bytes: Uint8Array): Row[] {
  const set = flags.flatMap((flag, at) => flag ? [at] : []);
  const firsts = set.filter((at, i) => i === 0 || at - set[i - 1] > 17);
  if (firsts.length === 0) return [];
  const spans = firsts.map((offset, i) => {
    const end = set.findLast((at) => at < (firsts[i + 1] ?? Infinity))! + 1;
    return { offset, length: end - offset };
  });
  const end = set.at(-1)! + 1;
  if (Math.ceil((end - set[0]) / 8) >= 16 * (spans.length - 1)) {
    return spans.map(({ offset, length }) => {
      return { kind: "set", page, offset, length, payload: bytes.slice(offset, offset + length) };
    });
  }
  const offset = set[0] - set[0] % 8, mask = new Uint8Array(Math.ceil((end - offset) / 8));
  for (const at of set) mask[at - offset >> 3] |= 1 << (at - offset) % 8;
  const payload = Uint8Array.from(set, (at) => bytes[at]);
  return [{ kind: "mask", page, offset, length: end - offset, mask, payload }];
}

function lengthOf(row: Row): number {
  return row.kind === "combine" ? row.type === "f64" ? 8 : 4 : row.length;
}

function contentOf(page: Page) {
  const { epoch, shard } = page;
  const name = page.name === "" ? undefined : page.name;
  return { bytes: page.read(), epoch, name, shard, metadata: Object.fromEntries(page.metadata) };
}

function refusalOf(refused: { producer: number; sequence: number; error: MmsbError }) {
  const { producer, sequence, error } = refused;
  return { producer, sequence, row: error.values.row, code: error.code };
}

function moved(offset: number, size: number, flaw: Flaw): number {
  if (flaw === "past the end") return size - size % 8 + 8;
  return flaw === "huge offset" ? 0xffff_fff8 : offset;
}

function repeated(bytes: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => bytes[i % bytes.length] + (i / 16 | 0));
}

function push(batch: DeltaBatch, page: number, row: Row, draft: Draft): void {
  const options = {
    source: row.source === undefined ? 0 : batch.source(row.source),
    intent: row.intent === undefined ? 0 : batch.intent(row.intent),
    expectedEpoch: row.expectedEpoch,
    timeUs: draft.timeUs,
  };
  if (row.kind === "set") batch.push(page, row.offset, row.payload, options);
  else if (row.kind === "mask") {
    batch.pushMasked(page, row.offset, row.length, row.mask, row.payload, options);
  } else batch.combine(page, row.type, row.op, row.offset, row.value, options);
}

/** Makes columns disagree, and the model's row as wrong in the same place. */
function spoil(batch: DeltaBatch, index: number, row: Row, flaw: Flaw): void {
  const { columns } = batch;
  const wrong = row as { -readonly [key in keyof Row]: Row[key] } & { length: number };
  const disagree = () => {
    const length = columns.length[index], payload = new Uint8Array(length + 1);
    Object.assign(wrong, { kind: "set", length, payload });
  };
  switch (flaw) {
    case "no length":
      disagree();
      columns.length[index] = wrong.length = 0;
      return;
    case "payload past the pool":
      columns.payloadStart[index] = batch.payloadLength + 4;
      return disagree();
    case "unknown kind":
      columns.kind[index] = 0x50;
      return disagree();
    case "unknown source":
      columns.source[index] = batch.strings.length;
      return disagree();
    case "misaligned":
      if (row.kind !== "combine") return;
      columns.kind[index] = combineKind(row.type, row.op);
      columns.offset[index] = wrong.offset = row.offset + 1;
      return;
    case "mask past its span": {
      if (row.kind !== "mask" || row.length % 8 === 0) return;
      const last = row.mask.length - 1;
      batch.payload[columns.payloadStart[index] + last] |= 0x80;
      row.mask[last] |= 0x80;
      return;
    }
  }
}
