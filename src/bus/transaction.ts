/**
 * Transaction: reads and writes that become real together, or not at all.
 *
 * Optimistic: nothing is locked. What it reads is noted with the page's epoch; its writes are staged in an open
 * batch of its own; committing compares the epochs with those of that moment and makes the batch a tick of its own,
 * without anything between the two. So those that commit form a series, in the order of their ticks, and each
 * has read what the ones before it left; there is no write skew. A page that was only written is not compared.
 *
 * While it runs, other ticks may come. Each call looks first whether what was read before still stands, so the
 * function never sees two pages of different times; where it does not, the call throws and the transaction is
 * run again.
 *
 * Cost: an entry a page read, the rows written, and a copy of each page that is read after it was written.
 *
 * @module
 */

import {
  checkInteger,
  checkType,
  MmsbError,
  PAGE_ID_MAX,
  TRANSACTION_READS_MAX,
} from "../base/mod.ts";
import type { CombineOperation, CombineType } from "../physical/mod.ts";
import {
  type ColumnsInput,
  type Field,
  type Fields,
  readValue,
  type RowOf,
  type StructSchema,
  type TableSchema,
  zeroValue,
} from "../schema/mod.ts";
import { type BirthOptions, checkBirth, stageBirth } from "./_births.ts";
import { type MutableHost, newHost } from "./_host.ts";
import { PageOverlay } from "./_page_overlay.ts";
import { refuseField } from "./_stored_schema.ts";
import type { Durability } from "./options.ts";
import { Page, type PageHost, type WriteOptions } from "./page.ts";
import type { PageOptions, TickReport } from "./reports.ts";
import type { Staging } from "./staging.ts";
import { createStruct, Struct } from "./struct.ts";
import { createTable, Table, tablePages, type TableSetOptions } from "./table.ts";

/** What the writes of a transaction say where they say nothing themselves. */
export interface TransactionDefaults {
  /** Who writes. */
  readonly source?: string;
  /** Why: free text or JSON. */
  readonly intent?: string;
}

/** Acknowledgement of a transaction. */
export interface TransactionReceipt {
  /** Its tick; of one that wrote nothing the last tick that it may have read. */
  readonly tick: number;
  /** Rows applied. */
  readonly rows: number;
  /** How durable that is. */
  readonly durability: Durability;
}

/** @ignore What a transaction needs of its bus. */
export interface TransactionBus {
  /** What handles of the bus share. */
  readonly host: PageHost;
  /** Where it stages; empty, and the next one's when it has ended. */
  readonly staging: Staging;
  /** The last tick. */
  tick(): number;
  /** Makes a staging a tick of its own at its turn, if `check` does not throw then. */
  run(staging: Staging, check: () => void): Promise<TickReport>;
  /** Settles when all ticks so far have the bus's durability. */
  durable(): Promise<{ readonly tick: number; readonly durability: Durability }>;
  /** Hears how it ended. */
  ended(transaction: Transaction, outcome: "committed" | "conflict" | "rolled-back"): void;
}

/** A page or what is kept in one. */
export type PageLike = number | { readonly id: number };

interface Seen {
  readonly epoch: number;
  readonly size: number;
}

type State = "open" | "committing" | "over";

/** Reads and writes that become real together; made by {@linkcode StateBus.begin}. */
export class Transaction implements AsyncDisposable {
  readonly #bus: TransactionBus;
  readonly #defaults: TransactionDefaults;
  readonly #staging: Staging;
  readonly #host: MutableHost;
  readonly #seen = new Map<number, Seen>();
  /** What names led to; 0 for no page. */
  readonly #names = new Map<string, number>();
  readonly #born = new Set<number>();
  readonly #overlays = new Map<number, PageOverlay>();
  readonly #pages = new Map<number, Page>();
  readonly #structs = new Map<Struct<Fields>, Struct<Fields>>();
  readonly #tables = new Map<number, Table<Fields>>();
  #tick: number;
  #state: State = "open";
  #reason: MmsbError | undefined;
  /** Whether something that it has read was found changed. */
  #isLost = false;
  /** Gives the intent of writes that state none, in place of the default one. */
  #intentOf: (() => string) | undefined;

  /** @ignore Made by the bus. */
  constructor(bus: TransactionBus, defaults: TransactionDefaults) {
    const { host } = bus;
    this.#bus = bus;
    this.#defaults = defaults;
    this.#staging = bus.staging;
    this.#tick = bus.tick();
    this.#host = newHost({
      store: host.store,
      staging: this.#staging,
      shards: host.shards,
      order: host.order,
      tablePages: (root) => tablePages(this.#host, root),
      canWrite: () => host.canWrite(),
      checkOpen: () => this.#checkOpen(),
      checkWritable: () => {
        this.#checkOpen();
        host.checkWritable();
      },
    });
  }

  /** Whether it can still be used. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Rows that it has written. */
  get rows(): number {
    return this.#staging.batch.length;
  }

  /** @ignore Pages that it has created and no tick has made real. */
  get births(): readonly number[] {
    return this.#staging.births;
  }

  /**
   * A copy of a page's bytes: as the last tick left them, with what this transaction wrote.
   *
   * @param page Handle or id.
   * @param offset First byte. Default 0.
   * @param length Bytes. Default: to the end.
   * @throws {MmsbError} as {@linkcode Page.read}; `transaction-conflict` where what was read before has
   * changed, `usage` where the transaction is over.
   */
  read(page: PageLike, offset?: number, length?: number): Uint8Array<ArrayBuffer> {
    const id = this.#see(page);
    const overlay = this.#overlay(id);
    if (overlay === undefined) return this.#page(id).read(offset, length);
    const { bytes } = overlay, size = bytes.length;
    const first = checkInteger("offset", offset ?? 0, 0, size);
    const count = checkInteger("length", length ?? size - first, 0, size - first);
    return bytes.slice(first, first + count);
  }

  /**
   * Copies bytes of a page into `target`, as many as it holds.
   *
   * @throws {MmsbError} as {@linkcode Transaction.read}.
   */
  readInto<T extends Uint8Array>(page: PageLike, target: T, offset = 0): T {
    const id = this.#see(page);
    if (this.#overlay(id) === undefined) return this.#page(id).readInto(target, offset);
    // The handle checks the target and the span.
    this.#page(id).readInto(target, offset);
    target.set(this.read(id, offset, target.length));
    return target;
  }

  /** A page's epoch as the last tick left it. It counts as read. */
  epoch(page: PageLike): number {
    return this.#page(this.#see(page)).epoch;
  }

  /** The page of a name, `undefined` where there is none. That counts as read, too. */
  find(name: string): Page | undefined {
    this.#checkOpen();
    checkType("name", name, "string");
    const known = this.#host.store.find(name);
    if (!this.#born.has(known)) {
      const id = this.#activeNamed(name);
      if (!this.#names.has(name)) this.#checkReads();
      this.#names.set(name, id);
      if (id === 0) return undefined;
    }
    return new Page(this.#bus.host, known, this.#host.store.table.rowOf(known));
  }

  /**
   * Writes bytes of a page.
   *
   * @throws {MmsbError} as {@linkcode Page.write}; `transaction-conflict` and `usage` as
   * {@linkcode Transaction.read}.
   */
  write(page: PageLike, offset: number, bytes: Uint8Array, options?: WriteOptions): void {
    this.#page(this.#idOf(page)).write(offset, bytes, this.#with(options));
  }

  /** Writes those bytes of a span whose bit in a mask is set, as {@linkcode Page.writeMasked} does. */
  writeMasked(
    page: PageLike,
    offset: number,
    length: number,
    mask: Uint8Array,
    packed: Uint8Array,
    options?: WriteOptions,
  ): void {
    const handle = this.#page(this.#idOf(page));
    handle.writeMasked(offset, length, mask, packed, this.#with(options));
  }

  /** Folds a value into what is there, as {@linkcode Page.combine} does. */
  combine(
    page: PageLike,
    type: CombineType,
    operation: CombineOperation,
    offset: number,
    value: number,
    options?: WriteOptions,
  ): void {
    this.#page(this.#idOf(page)).combine(type, operation, offset, value, this.#with(options));
  }

  /** Deletes a page, as {@linkcode Page.delete} does. */
  delete(page: PageLike, options: { readonly cascade?: boolean } = {}): void {
    this.#page(this.#see(page)).delete(options);
  }

  /**
   * Creates a page.
   *
   * @returns Its handle; it can be used outside once the transaction has committed.
   * @throws {MmsbError} as {@linkcode StateBus.createPage}; `transaction-conflict` where another
   * transaction or the open batch is about to create a page of that name.
   */
  createPage(options: PageOptions = {}): Page {
    checkType("options of createPage", options, "object");
    const { size = 4096, ...birth } = options;
    this.#checkName(birth.name);
    const checked = checkBirth(this.#host, birth);
    return this.#outside(stageBirth(this.#host, checkInteger("size", size, 1, 2 ** 24), checked));
  }

  /** Creates a struct, or opens the one of that name, as {@linkcode StateBus.create} does. */
  create<F extends Fields>(schema: StructSchema<F>, options: BirthOptions = {}): Struct<F> {
    this.#checkName(options?.name);
    const { page } = createStruct(this.#host, schema, options);
    return new Struct(this.#bus.host, this.#outside(page), schema);
  }

  /** Creates a table, or opens the one of that name, as {@linkcode StateBus.createTable} does. */
  createTable<F extends Fields>(schema: TableSchema<F>, options: BirthOptions = {}): Table<F> {
    this.#checkName(options?.name);
    const own = createTable(this.#host, schema, options);
    this.#tables.set(own.id, own as unknown as Table<Fields>);
    return new Table(this.#bus.host, this.#outside(own.page), schema, options.shard);
  }

  /** The value of one field of a struct, with what this transaction wrote. */
  get<F extends Fields, K extends keyof F & string>(struct: Struct<F>, name: K): RowOf<F>[K];
  /** All fields of a struct, with what this transaction wrote. */
  get<F extends Fields>(struct: Struct<F>): RowOf<F>;
  get<F extends Fields>(struct: Struct<F>, name?: string): unknown {
    checkHandle(struct, Struct, "struct");
    const { schema } = struct, id = this.#see(struct);
    if (name !== undefined) {
      const field = schema.field(name);
      if (field === undefined) refuseField(schema, name);
      return this.#field(id, field, field.offset);
    }
    const fields = schema.fields.map((field) => [field.name, this.#field(id, field, field.offset)]);
    return Object.fromEntries(fields);
  }

  /**
   * Sets fields of a struct.
   *
   * @throws {MmsbError} as {@linkcode Struct.set}.
   */
  set<F extends Fields>(
    struct: Struct<F>,
    values: Partial<RowOf<F>>,
    options?: WriteOptions,
  ): void {
    checkHandle(struct, Struct, "struct");
    const key = struct as unknown as Struct<Fields>;
    let own = this.#structs.get(key) as unknown as Struct<F> | undefined;
    if (own === undefined) {
      own = new Struct(this.#host, this.#page(this.#idOf(struct)), struct.schema);
      this.#structs.set(key, own as unknown as Struct<Fields>);
    }
    own.set(values, this.#with(options));
  }

  /** Rows of a table, those that this transaction appended included. */
  length<F extends Fields>(table: Table<F>): number {
    checkHandle(table, Table, "table");
    this.#see(table);
    return this.#table(table).stagedLength;
  }

  /**
   * One row of a table, with what this transaction wrote.
   *
   * @throws {MmsbError} as {@linkcode Table.row}.
   */
  row<F extends Fields>(table: Table<F>, row: number): RowOf<F> {
    const length = this.length(table);
    checkInteger("row", row, 0, length - 1);
    const values = table.schema.fields.map((field) => {
      const { page, offset } = this.#table(table).placeOf(field, row);
      return [field.name, page === 0 ? zeroValue(field) : this.#field(page, field, offset)];
    });
    return Object.fromEntries(values) as RowOf<F>;
  }

  /**
   * Sets columns of a row of a table.
   *
   * @throws {MmsbError} as {@linkcode Table.set}.
   */
  setRow<F extends Fields>(
    table: Table<F>,
    row: number,
    values: Partial<RowOf<F>>,
    options?: TableSetOptions,
  ): void {
    // The root says which rows there are.
    this.length(table);
    this.#table(table).set(row, values, this.#with(options));
  }

  /**
   * Adds rows to a table.
   *
   * @returns The number of the first new row.
   * @throws {MmsbError} as {@linkcode Table.append}.
   */
  append<F extends Fields>(
    table: Table<F>,
    columns: ColumnsInput<F>,
    options?: WriteOptions,
  ): number {
    this.length(table);
    return this.#table(table).append(columns, this.#with(options));
  }

  /**
   * Makes it all real: compares what was read, runs a tick of its own, and waits for the bus's durability.
   *
   * @throws {MmsbError} `transaction-conflict` where something that was read has changed, with its page
   * and both epochs; the refusal of its writes (`stale-epoch`, `allocation` …); `disk-full` or `io` where
   * the log cannot be written; `usage` where it is over, `closed`, `read-only`. Nothing is applied then.
   */
  async commit(): Promise<TransactionReceipt> {
    this.#checkState();
    this.#state = "committing";
    const isRead = this.#staging.isEmpty;
    const rows = this.#staging.batch.length;
    try {
      const check = () => {
        if (this.#reason !== undefined) throw this.#reason;
        this.#checkReads();
      };
      if (isRead) check();
      const report = isRead ? undefined : await this.#bus.run(this.#staging, check);
      this.#over("committed");
      const { tick, durability } = await (report?.durable ?? this.#bus.durable());
      return { tick: report?.tick ?? tick, rows, durability };
    } catch (error) {
      const isConflict = error instanceof MmsbError && error.code === "transaction-conflict";
      this.#over(isConflict ? "conflict" : "rolled-back");
      throw error;
    }
  }

  /**
   * @ignore Decides at its turn what to write, and commits; for upsert plans.
   *
   * @param decide Writes, without waiting for anything.
   * @param intentOf The intent of writes that state none, asked for each.
   */
  async decideAndCommit(decide: () => void, intentOf: () => string): Promise<TransactionReceipt> {
    this.#intentOf = intentOf;
    let rows = 0, isEmpty = false;
    try {
      const report = await this.#bus.run(this.#staging, () => {
        this.#checkOpen();
        decide();
        this.#checkOpen();
        rows = this.#staging.batch.length;
        isEmpty = this.#staging.isEmpty;
        // Only now: what is decided is read and written through it.
        this.#state = "committing";
      });
      this.#over("committed");
      const { tick, durability } = await (isEmpty ? this.#bus.durable() : report.durable);
      return { tick, rows, durability };
    } catch (error) {
      this.#over("rolled-back");
      throw error;
    }
  }

  /** Forgets it all. Nothing happens where it is over. */
  rollback(): void {
    if (this.#state === "open") this.#over(this.#isLost ? "conflict" : "rolled-back");
  }

  /** Rolls it back, unless it was committed. */
  [Symbol.asyncDispose](): Promise<void> {
    this.rollback();
    return Promise.resolve();
  }

  /** @ignore Ends it from outside: the bus is closed or reset, or its time is up. */
  end(reason: MmsbError): void {
    this.#reason ??= reason;
    if (this.#state === "open") this.#over("rolled-back");
  }

  #over(outcome: "committed" | "conflict" | "rolled-back"): void {
    if (this.#state === "over") return;
    this.#state = "over";
    const { store } = this.#host;
    for (const page of this.#staging.births) if (store.table.rowOf(page) !== 0) store.remove(page);
    this.#staging.clear();
    for (const known of [this.#seen, this.#names, this.#overlays, this.#pages]) known.clear();
    this.#structs.clear();
    this.#tables.clear();
    this.#bus.ended(this, outcome);
  }

  #checkState(): void {
    if (this.#state !== "open") {
      if (this.#reason !== undefined) throw this.#reason;
      throw new MmsbError(
        "usage",
        this.#state === "committing"
          ? "Cannot use a transaction while it commits: do it before"
          : "Cannot use a transaction that is over: begin another one",
      );
    }
    this.#bus.host.checkOpen();
  }

  /** Throws where it cannot go on, as it is over or what it read has changed. */
  #checkOpen(): void {
    this.#checkState();
    const tick = this.#bus.tick();
    if (tick === this.#tick) return;
    this.#checkReads();
    this.#tick = tick;
  }

  /** Throws where something that was read is not any more what it was. */
  #checkReads(): void {
    const { table } = this.#host.store;
    for (const [page, { epoch, size }] of this.#seen) {
      const row = table.rowOf(page);
      if (row !== 0 && table.epoch(row) === epoch && table.sizeOf(row) === size) continue;
      this.#isLost = true;
      throw conflict(page, { epoch, size }, row === 0 ? undefined : table.epoch(row));
    }
    for (const [name, id] of this.#names) {
      if (this.#activeNamed(name) === id) continue;
      this.#isLost = true;
      throw nameConflict(name, id, this.#activeNamed(name));
    }
  }

  /** The page that the last tick knows by a name, 0 for none. */
  #activeNamed(name: string): number {
    const { store } = this.#host, id = store.find(name);
    return id !== 0 && store.table.isActive(store.table.rowOf(id)) ? id : 0;
  }

  #idOf(page: PageLike): number {
    this.#checkOpen();
    if (typeof page !== "object" || page === null) {
      return checkInteger("page id", page, 1, PAGE_ID_MAX);
    }
    const handle = page instanceof Page
      ? page
      : page instanceof Struct || page instanceof Table
      ? page.page
      : undefined;
    if (handle === undefined || !handle.isOf(this.#bus.host) && !handle.isOf(this.#host)) {
      throw new MmsbError(
        "usage",
        handle === undefined
          ? "Cannot use this as a page: give a handle or an id"
          : `Cannot use page ${handle.id} of another bus in this transaction: give its id`,
        { values: { page: handle?.id } },
      );
    }
    return handle.id;
  }

  /** The handle of a page in this transaction. */
  #page(id: number): Page {
    const known = this.#pages.get(id);
    if (known !== undefined) return known;
    const { table } = this.#host.store, row = table.rowOf(id);
    if (row === 0 || !table.isActive(row) && !this.#born.has(id)) {
      throw new MmsbError(
        "invalid-handle",
        `Cannot use page ${id} in a transaction: it was deleted, or no tick has made it real yet`,
        { values: { page: id } },
      );
    }
    const page = new Page(this.#host, id, row);
    this.#pages.set(id, page);
    return page;
  }

  /** Notes that a page is read. */
  #see(page: PageLike): number {
    const id = this.#idOf(page);
    if (this.#seen.has(id) || this.#born.has(id)) return id;
    if (this.#seen.size >= TRANSACTION_READS_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot read more than ${TRANSACTION_READS_MAX} pages in one transaction: split it`,
        { values: { pages: this.#seen.size } },
      );
    }
    const { epoch, size } = this.#page(id);
    this.#seen.set(id, { epoch, size });
    return id;
  }

  /** The page as its writes will leave it, `undefined` where it has none. */
  #overlay(id: number): PageOverlay | undefined {
    const { batch } = this.#staging;
    let overlay = this.#overlays.get(id);
    if (overlay === undefined) {
      if (batch.length === 0 || !batch.columns.page.subarray(0, batch.length).includes(id)) {
        return undefined;
      }
      overlay = new PageOverlay(id, this.#page(id).read());
      this.#overlays.set(id, overlay);
    }
    overlay.follow(batch);
    return overlay;
  }

  #field(page: number, field: Field, offset: number): unknown {
    this.#see(page);
    if (offset + field.width > this.#page(page).size) return zeroValue(field);
    const bytes = new Uint8Array(field.width + 7 & ~7);
    bytes.set(this.read(page, offset, field.width));
    const words = new Int32Array(bytes.buffer), doubles = new Float64Array(bytes.buffer);
    return readValue(field, { words, doubles, region: () => bytes }, 0, 0);
  }

  #table<F extends Fields>(table: Table<F>): Table<F> {
    const id = this.#idOf(table);
    let own = this.#tables.get(id) as unknown as Table<F> | undefined;
    if (own === undefined) {
      own = new Table(this.#host, this.#page(id), table.schema);
      this.#tables.set(id, own as unknown as Table<Fields>);
    }
    return own;
  }

  /** Makes the handle of a page that was created here one of the bus. */
  #outside({ id }: Page): Page {
    const { table } = this.#host.store, row = table.rowOf(id);
    if (table.isActive(row)) this.#see(id);
    else this.#born.add(id);
    return new Page(this.#bus.host, id, row);
  }

  /** A name that somebody else is about to give to a page may be free or taken at the end. */
  #checkName(name: string | undefined): void {
    this.#checkOpen();
    if (typeof name !== "string" || name === "") return;
    const { store } = this.#host, id = store.find(name);
    if (id === 0 || this.#born.has(id) || store.table.isActive(store.table.rowOf(id))) return;
    this.#isLost = true;
    throw nameConflict(name, 0, id);
  }

  #with<O extends WriteOptions | TableSetOptions>(options: O | undefined): O | undefined {
    const { source } = this.#defaults, intent = this.#intentOf?.() ?? this.#defaults.intent;
    if (source === undefined && intent === undefined) return options;
    if (options === undefined) return { source, intent } as O;
    return typeof options === "object" && options !== null
      ? { source, intent, ...options }
      : options;
  }
}

function checkHandle(
  value: unknown,
  kind: typeof Struct | typeof Table,
  name: "struct" | "table",
): void {
  if (value instanceof kind) return;
  throw new MmsbError("usage", `Cannot use this as a ${name}: give a handle of one`);
}

function conflict(page: number, read: Seen, epoch: number | undefined): MmsbError {
  const { epoch: readEpoch, size } = read;
  return new MmsbError(
    "transaction-conflict",
    epoch === undefined
      ? `Cannot commit as page ${page} was deleted after epoch ${readEpoch} of it was read: run the transaction again`
      : epoch === readEpoch
      ? `Cannot commit as page ${page} had ${size} bytes when it was read and has another size now: run the transaction again`
      : `Cannot commit as page ${page} was read at epoch ${readEpoch} and is at epoch ${epoch} now: run the transaction again`,
    { values: { page, readEpoch, epoch } },
  );
}

function nameConflict(name: string, readPage: number, page: number): MmsbError {
  return new MmsbError(
    "transaction-conflict",
    `Cannot commit as the page named "${name}" was another one, or none, when it was looked for: run the transaction again`,
    { values: { name, readPage, page } },
  );
}
