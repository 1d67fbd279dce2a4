/**
 * Table handle: many rows, column by column, in pages that ticks change and the log keeps.
 *
 * Rows are appended in columns and read as columns: a scan is a loop over typed arrays that lie in the
 * pages themselves. A row has a number for ever; rows are changed in place and never removed.
 *
 * Cost: an append copies the columns once into the open batch; `get` of a number some 30 ns, `row` some
 * 45 ns a column, a scan what the typed array costs (`deno task anchors table`).
 *
 * @module
 */

import { checkKeys, checkType, MmsbError } from "../base/mod.ts";
import type { PageState } from "../physical/mod.ts";
import {
  chunkOf,
  chunkRows,
  chunkStart,
  type ColumnArray,
  columnConstructor,
  type ColumnOf,
  type ColumnsInput,
  encodeColumn,
  encodeValue,
  type Field,
  type Fields,
  type NumericKey,
  ROOT_BYTES,
  type RowOf,
  TableSchema,
  typeName,
  zeroValue,
} from "../schema/mod.ts";
import { type BirthOptions, stageBirth } from "./_births.ts";
import { deltaOptions } from "./_delta_options.ts";
import { deathsWith } from "./_edges.ts";
import { createTyped, openTyped, reading, refuseField, StoredSchema } from "./_stored_schema.ts";
import { stageRoot, TableCore } from "./_typed_table.ts";
import type { Page, PageHost, WriteOptions } from "./page.ts";
import { atomically } from "./staging.ts";

/** What a set of single values may say beside them; a table's values have no epoch of their own. */
export type TableSetOptions = Omit<WriteOptions, "expectedEpoch">;

const SET_KEYS = ["source", "intent", "timeUs"];

/** A handle of one table. */
export class Table<F extends Fields> {
  /** Its root page, which counts the rows. */
  readonly page: Page;
  /** Its schema. */
  readonly schema: TableSchema<F>;
  readonly #host: PageHost;
  #ownCore: TableCore;
  /** Tick of another process that the core was read at. */
  #tick = -1;
  readonly #stored: StoredSchema;

  /** @ignore Made by the bus. */
  constructor(host: PageHost, page: Page, schema: TableSchema<F>, shard?: number) {
    this.#host = host;
    this.page = page;
    this.schema = schema;
    this.#stored = new StoredSchema(host, page.id, schema);
    this.#ownCore = coreOf(host, page.id, shard);
    this.#ownCore.follow();
  }

  /** Id of the root page. */
  get id(): number {
    return this.page.id;
  }

  /** The table's name, "" for none. */
  get name(): string {
    return this.page.name;
  }

  /** The root page's epoch, which every append raises. */
  get epoch(): number {
    return this.page.epoch;
  }

  /** The root page's state. */
  get state(): PageState {
    return this.page.state;
  }

  /** Rows as of the last tick. */
  get length(): number {
    this.#host.checkOpen();
    return reading(this.#host, () => this.#core.length);
  }

  /** Rows with those that are staged: the number that the next appended row gets. */
  get stagedLength(): number {
    this.#host.checkOpen();
    return reading(this.#host, () => this.#core.stagedLength);
  }

  /**
   * Stages rows behind all others; the next tick makes them real.
   *
   * @param columns All columns, of the same length: a typed array of the column's own kind (copied as
   * it is), or any array of values (each checked).
   * @param options Source, intent, time; `expectedEpoch` is that of the root page, which refuses the
   * batch if somebody else appended since.
   * @returns The number of the first new row.
   * @throws {MmsbError} `usage` for columns that are missing, unknown, of different length or of wrong
   * values, `out-of-bounds` and `limit` as for {@linkcode Struct.set}; `limit` for more rows than a
   * table or the open batch holds, `allocation` where memory is short; `invalid-handle`, `closed`,
   * `read-only`. Nothing is staged then.
   *
   * @example Rows in bulk and one by one
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, table } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const flights = bus.createTable(table({ delay: "i16", distance: "u16" }), { name: "flights" });
   * flights.append({ delay: Int16Array.of(5, -2), distance: Uint16Array.of(405, 370) });
   * flights.append({ delay: [30], distance: [2475] }, { source: "bts" });
   * assert.deepEqual([flights.length, flights.stagedLength], [0, 3]);
   * await bus.tick();
   * assert.deepEqual(flights.row(2), { delay: 30, distance: 2475 });
   * ```
   */
  append(columns: ColumnsInput<F>, options?: WriteOptions): number {
    this.#host.checkWritable();
    const { count, bytes } = this.#encode(columns);
    return this.#staged(() => {
      if (count === 0) return this.#core.stagedLength;
      if (this.#isShort()) this.#stored.stage();
      return this.#core.append(this.schema.fields, bytes, count, options);
    });
  }

  /**
   * Stages new values in one row.
   *
   * @param row Number of the row; it may be one that is only staged.
   * @param values The columns to set. None is fine, and stages nothing.
   * @param options Source, intent, time.
   * @throws {MmsbError} as {@linkcode Table.append}; `out-of-bounds` for a row that there is not.
   *
   * @example Correct a value
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, table } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const flights = bus.createTable(table({ delay: "i16", hour: "u8" }));
   * await bus.commit(() => flights.append({ delay: [5], hour: [6] }));
   * await bus.commit(() => flights.set(0, { delay: -3 }, { intent: "correction" }));
   * assert.deepEqual(flights.row(0), { delay: -3, hour: 6 });
   * ```
   */
  set(row: number, values: Partial<RowOf<F>>, options?: TableSetOptions): void {
    this.#host.checkWritable();
    checkKeys("set", options, SET_KEYS);
    const given = Object.entries(checkType("values", values, "object")).map(([name, value]) => {
      const field = this.#field(name);
      return { field, bytes: encodeValue(field, value).slice() };
    });
    this.#staged(() => {
      this.#checkRow(row, this.#core.stagedLength);
      const { batch } = this.#host.staging;
      const delta = options === undefined ? 0 : deltaOptions(batch, options);
      for (const { field, bytes } of given) {
        if (field.index >= this.#stored.count && this.#isShort()) this.#stored.stage();
        this.#core.write(field, row, bytes, delta);
      }
    });
  }

  /**
   * One value, as of the last tick.
   *
   * @param row Number of the row.
   * @param name Name of the column.
   * @throws {MmsbError} `usage` where there is no such column or the row is no integer,
   * `out-of-bounds` where there is no such row, `invalid-handle`, `closed`.
   */
  get<K extends keyof F & string>(row: number, name: K): RowOf<F>[K] {
    this.#host.checkOpen();
    const field = this.schema.field(name);
    if (field === undefined) refuseField(this.schema, name);
    const { attached } = this.#host;
    const value = attached === undefined
      ? this.#value(field, row)
      : attached.read(() => this.#value(field, row));
    return value as RowOf<F>[K];
  }

  /**
   * One row as a plain object, as of the last tick.
   *
   * @param row Number of the row.
   * @throws {MmsbError} as {@linkcode Table.get}.
   */
  row(row: number): RowOf<F> {
    this.#host.checkOpen();
    return reading(this.#host, () => {
      const values: Record<string, unknown> = {};
      for (const field of this.schema.fields) values[field.name] = this.#value(field, row);
      return values as RowOf<F>;
    });
  }

  /**
   * A column chunk by chunk, as of the last tick: typed arrays over the live bytes, in row order. They
   * are to be read only, as bytes set through them would bypass the log (`bus.verify` finds them), and
   * they change with later ticks. The rows are those that there are when the walk begins. The chunks of
   * an added column from before it was added are zeros that are not live.
   *
   * @param name Name of a column of numbers or bools (bytes of 0 and 1).
   * @throws {MmsbError} `usage` for columns of bytes and text, and those that there are not;
   * `invalid-handle`, `closed`.
   *
   * @example Sum a column
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus, table } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const flights = bus.createTable(table({ delay: "i16" }));
   * await bus.commit(() => flights.append({ delay: Int16Array.from({ length: 1000 }, (_, i) => i) }));
   * let sum = 0;
   * for (const chunk of flights.column("delay")) { for (let i = 0; i < chunk.length; i++) sum += chunk[i]; }
   * assert.equal(sum, 499_500);
   * ```
   */
  column<K extends NumericKey<F>>(name: K): Generator<ColumnOf<F[K]>> {
    this.#host.checkOpen();
    const field = this.#numeric(name);
    const length = reading(this.#host, () => this.#core.length);
    return this.#chunks(field, 0, length) as Generator<ColumnOf<F[K]>>;
  }

  /**
   * Copies values of a column.
   *
   * @param target A typed array of the column's kind.
   * @param name Name of a column of numbers or bools.
   * @param from First row. Default 0.
   * @returns The number of values copied: the length of the target, or less where the rows end.
   * @throws {MmsbError} as {@linkcode Table.column}; `usage` for a target of another kind,
   * `out-of-bounds` where `from` is past the rows.
   */
  columnInto<K extends NumericKey<F>>(target: ColumnOf<F[K]>, name: K, from = 0): number {
    this.#host.checkOpen();
    const field = this.#numeric(name), kind = columnConstructor(field)!;
    if (!ArrayBuffer.isView(target) || !((target as unknown) instanceof kind)) {
      throw new MmsbError(
        "usage",
        `Cannot copy "${name}" into this target as it is ${
          typeName(field.type)
        }: give a ${kind.name}`,
        { values: { name } },
      );
    }
    return reading(this.#host, () => {
      const { length } = this.#core;
      if (from !== length) this.#checkRow(from, length);
      const end = Math.min(length, from + target.length);
      let copied = 0;
      for (const part of this.#chunks(field, from, end)) {
        (target as Uint8Array).set(part as Uint8Array, copied);
        copied += part.length;
      }
      return copied;
    });
  }

  /**
   * Stages deleting the table with all its pages at the end of the next tick.
   *
   * @param options As of {@linkcode Page.delete}.
   * @throws {MmsbError} `invalid-handle` where it is deleted already, or about to be; `usage` where other
   * pages depend on it.
   */
  delete(options: { readonly cascade?: boolean } = {}): void {
    this.#host.checkWritable();
    checkKeys("delete", options, ["cascade"]);
    const { cascade = false } = options;
    checkType("cascade", cascade, "boolean");
    this.#staged(() => {
      const deaths = deathsWith(this.#host, this.id, this.#core.pages(), cascade);
      for (const page of deaths) this.#host.staging.deaths.add(page);
    });
  }

  /** @ignore Where a value stands; for transactions, which read what they wrote. */
  placeOf(field: Field, row: number): { readonly page: number; readonly offset: number } {
    return this.#core.placeOf(field, row);
  }

  /** @ignore Checks that root, directory and chunks agree; for tests. */
  checkInvariants(): void {
    this.#core.checkInvariants(this.schema.fields);
  }

  /** @ignore Stages the longer schema; called by the bus. */
  evolve(): void {
    this.#stored.stage();
  }

  #isShort(): boolean {
    const { length } = this.schema.fields;
    return this.#stored.count < length && this.#stored.refresh() < length;
  }

  /** All or none of what `stage` stages; nothing for a table that is about to be deleted. */
  #staged<T>(stage: () => T): T {
    this.#host.checkWritable();
    if (this.#host.staging.deaths.has(this.id)) {
      throw new MmsbError(
        "invalid-handle",
        `Cannot change the table of page ${this.id} as its deletion is staged`,
        { values: { page: this.id } },
      );
    }
    return atomically(this.#host, stage);
  }

  #encode(columns: unknown): { count: number; bytes: Uint8Array[] } {
    const given = checkType("columns", columns, "object") as Record<string, unknown>;
    for (const name of Object.keys(given)) this.#field(name);
    let count = -1;
    const bytes = this.schema.fields.map((field) => {
      const { name, width } = field;
      if (given[name] === undefined) {
        throw new MmsbError("usage", `Cannot append rows without "${name}": give all columns`, {
          values: { column: name },
        });
      }
      const encoded = encodeColumn(field, given[name]), rows = encoded.length / width;
      if (count < 0) count = rows;
      if (rows !== count) {
        throw new MmsbError(
          "usage",
          `Cannot append ${rows} values of "${name}" beside ${count} of "${
            this.schema.fields[0].name
          }": columns must be of the same length`,
          { values: { column: name, rows, expected: count } },
        );
      }
      return encoded;
    });
    return { count, bytes };
  }

  #field(name: string): Field {
    return this.schema.field(name) ?? refuseField(this.schema, name);
  }

  #numeric(name: string): Field {
    const field = this.#field(name);
    if (columnConstructor(field) !== undefined) return field;
    throw new MmsbError(
      "usage",
      `Cannot view column "${name}" as an array of numbers: it is ${
        typeName(field.type)
      }; use get or row`,
      { values: { column: name } },
    );
  }

  #checkRow(row: unknown, length: number): void {
    if (Number.isSafeInteger(row) && row as number >= 0 && row as number < length) return;
    const isRow = Number.isSafeInteger(row);
    throw new MmsbError(
      isRow ? "out-of-bounds" : "usage",
      isRow
        ? `Cannot find row ${row}: the table has ${length} rows`
        : `Cannot use a ${typeof row} as row that is no whole number: give 0 to ${length - 1}`,
      { values: { row, length } },
    );
  }

  #value(field: Field, row: number): unknown {
    if (field.index >= this.#stored.count && field.index >= this.#stored.refresh()) {
      this.#checkRow(row, this.#core.length);
      return zeroValue(field);
    }
    const value = this.#core.value(field, row);
    if (value === undefined) this.#checkRow(row, this.#core.length);
    return value;
  }

  /** Typed arrays of the rows from `first` up to `end`, chunk by chunk. */
  *#chunks(field: Field, first: number, end: number): Generator<ColumnArray> {
    const { attached } = this.#host;
    const plan = reading(this.#host, () => this.#core.planOf(field));
    for (let row = first; row < end;) {
      this.#host.checkOpen();
      const chunk = chunkOf(plan, row), start = chunkStart(plan, chunk), from = row - start;
      const rows = Math.min(end - start, chunkRows(plan, chunk)) - from;
      // What another process writes must be copied while it is whole, and what may be spilled while it is there.
      yield attached !== undefined
        ? attached.read(() => this.#part(field, chunk, from, rows).slice())
        : this.#host.store.residency === undefined
        ? this.#part(field, chunk, from, rows)
        : this.#part(field, chunk, from, rows).slice();
      row += rows;
    }
  }

  /** Rows of one chunk as a typed array over its page. */
  #part(field: Field, chunk: number, from: number, rows: number): ColumnArray {
    const kind = columnConstructor(field)!;
    const isStored = field.index < this.#stored.count || field.index < this.#stored.refresh();
    const slot = isStored ? this.#core.chunkSlot(field, chunk) : 0;
    if (slot === 0) return new kind(rows);
    const offset = from * field.width;
    this.#host.store.isSeen = true;
    const page = this.#host.store.arena.bytes(slot, offset + rows * field.width);
    return new kind(page.buffer, page.byteOffset + offset, rows);
  }

  /** Where the rows are; of another process, where they are at its last tick. */
  get #core(): TableCore {
    const { attached } = this.#host;
    if (attached !== undefined && attached.published.tick !== this.#tick) {
      this.#ownCore = new TableCore(this.#host, this.id);
      this.#tick = attached.published.tick;
    }
    return this.#ownCore;
  }
}

/** The cores of the tables of each bus that have handles, by root page. */
const cores = new WeakMap<PageHost, Map<number, TableCore>>();
/** Number of cores from which those of tables that are gone are dropped. */
const CORES_SWEEP_MIN = 64;

/** All handles of a table share its core, so that they agree about what is staged. */
function coreOf(host: PageHost, root: number, shard: number | undefined): TableCore {
  let known = cores.get(host);
  if (known === undefined) cores.set(host, known = new Map());
  let core = known.get(root);
  if (core === undefined) {
    const isPowerOfTwo = (known.size & known.size - 1) === 0;
    if (known.size >= CORES_SWEEP_MIN && isPowerOfTwo) {
      for (const id of known.keys()) if (host.store.table.rowOf(id) === 0) known.delete(id);
    }
    core = new TableCore(host, root, shard);
    known.set(root, core);
  }
  return core;
}

/** All pages of the table with a root page, those that are staged too. */
export function tablePages(host: PageHost, root: number): number[] {
  return coreOf(host, root, undefined).pages();
}

/** Creates a table, or opens the one of that name. */
export function createTable<F extends Fields>(
  host: PageHost,
  schema: TableSchema<F>,
  options: BirthOptions,
): Table<F> {
  host.checkWritable();
  checkSchema(schema);
  return createTyped(host, {
    method: "createTable",
    schema,
    open: (page) => new Table(host, page, schema),
    bear: (birth) => {
      const root = stageBirth(host, ROOT_BYTES, birth);
      stageRoot(host, root.id, birth.shard);
      return new Table(host, root, schema, birth.shard);
    },
  }, options);
}

/** Opens the table of a name. */
export function openTable<F extends Fields>(
  host: PageHost,
  schema: TableSchema<F>,
  name: string,
): Table<F> {
  host.checkOpen();
  checkSchema(schema);
  const open = (page: Page): Table<F> => new Table(host, page, schema);
  return openTyped(host, { schema, open }, name);
}

function checkSchema(schema: unknown): void {
  if (schema instanceof TableSchema) return;
  throw new MmsbError(
    "usage",
    "Cannot use this as the schema of a table: make one with table({ … }); structs have create",
  );
}
