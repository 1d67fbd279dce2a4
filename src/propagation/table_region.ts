/**
 * Table regions: which pages hold the rows of a table that rules read.
 *
 * A table counts as one vertex: its root page stands for it. What the root and the directory pages say
 * (`schema/table_layout.ts`) is read when a rule is bound and goes on being read as the table grows: an
 * append that makes new chunks changes the root, so nothing has to be looked for.
 *
 * Cost: a few words a chunk; a value some 10 ns.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import type { PageStore } from "../physical/mod.ts";
import {
  chunkOf,
  type ChunkPlan,
  chunkPlan,
  chunkRows,
  chunkStart,
  type ColumnArray,
  columnConstructor,
  decodeSchema,
  directoriesFor,
  directoryOf,
  directoryStart,
  ENTRY_WORDS,
  type Field,
  type Fields,
  type FieldType,
  readValue,
  ROOT_DIRECTORIES,
  ROOT_ENTRIES,
  ROOT_SELF,
  SCHEMA_KEY,
  TableSchema,
  typeName,
  type ValueOf,
  zeroValue,
} from "../schema/mod.ts";
import type { RuleTable } from "./rule.ts";

/** A column of a table, as far as it has pages. */
export interface RegionColumn {
  /** Number of the column. */
  readonly index: number;
  /** Its field. */
  readonly field: Field;
  /** How it is cut. */
  readonly plan: ChunkPlan;
  /** Rows, in the page table, of the pages that hold its chunks; 0 where none does. */
  readonly rows: number[];
}

/** Where a page stands in its table. */
export interface RegionChunk {
  /** The column. */
  readonly column: RegionColumn;
  /** Number of the chunk. */
  readonly chunk: number;
  /** First row of the table in it. */
  readonly first: number;
}

/** Whether a page is the root of a table. */
export function isTableRoot(store: PageStore, id: number): boolean {
  const bytes = store.metadataOf(id).get(SCHEMA_KEY);
  return bytes !== undefined && bytes[1] === 2;
}

/**
 * A table of a rule, typed by a schema.
 *
 * @throws {MmsbError} `usage` where the schema does not go with it.
 */
export function tableBySchema<F extends Fields>(
  table: RuleTable,
  schema: TableSchema<F>,
): RuleTable<F> {
  (table as TableRegion).checkSchema(schema as unknown as TableSchema);
  return table as unknown as RuleTable<F>;
}

/** The pages of one table. */
export class TableRegion implements RuleTable {
  /** Id of the root page. */
  readonly id: number;
  /** Row of the root page in the page table. */
  readonly rootRow: number;
  /** The stored schema as this tick will leave it, where it changes that; chunks of new columns come with it. */
  coming: Uint8Array | undefined;
  readonly #store: PageStore;
  #schema!: TableSchema;
  #schemaBytes: Uint8Array | undefined;
  readonly #columns: (RegionColumn | undefined)[] = [];
  readonly #chunks = new Map<number, RegionChunk>();
  /** Schemas that go with the table, whose columns never change. */
  readonly #fitting = new WeakSet<object>();
  /** Page table rows of the directory's entries and pages that are known. */
  readonly #known: number[] = [];
  readonly #directories: number[] = [];

  /** A table whose root is there. */
  constructor(store: PageStore, id: number) {
    this.#store = store;
    this.id = id;
    this.rootRow = store.table.rowOf(id);
    this.#readSchema();
  }

  /** Rows. */
  get length(): number {
    return this.#store.arena.doubles[this.#store.table.slot(this.rootRow) << 1];
  }

  /** Chunks that are known. */
  get known(): number {
    return this.#known.length;
  }

  /** Page table rows of its pages, the root too. */
  rows(): number[] {
    return [this.rootRow, ...this.#directories, ...this.#known];
  }

  /** Where a page stands, `undefined` for the root and the directory. */
  chunkAt(row: number): RegionChunk | undefined {
    return this.#chunks.get(row);
  }

  /**
   * Learns of chunks that were made since.
   *
   * @param found Called for each new page of the table, with its row in the page table.
   */
  sync(found: (row: number) => void): void {
    const { arena, table } = this.#store, { words } = arena;
    const root = table.slot(this.rootRow) << 2;
    if (words[root + (ROOT_SELF >>> 2)] >>> 0 !== this.id) return;
    const entries = words[root + (ROOT_ENTRIES >>> 2)] >>> 0;
    const directories = directoriesFor(entries);
    const directoryRow = (index: number) =>
      table.rowOf(words[root + (ROOT_DIRECTORIES >>> 2) + index] >>> 0);
    for (let index = this.#directories.length; index < directories; index++) {
      this.#directories.push(directoryRow(index));
      found(this.#directories[index]);
    }
    for (let index = this.#known.length; index < entries; index++) {
      const directory = directoryOf(index);
      const base = table.slot(this.#directories[directory]) << 2;
      const at = base + (index - directoryStart(directory)) * ENTRY_WORDS;
      const column = this.#columnAt(words[at] >>> 0), chunk = words[at + 1] >>> 0;
      const row = table.rowOf(words[at + 2] >>> 0);
      while (column.rows.length <= chunk) column.rows.push(0);
      column.rows[chunk] = row;
      this.#chunks.set(row, { column, chunk, first: chunkStart(column.plan, chunk) });
      this.#known.push(row);
      found(row);
    }
  }

  /** Forgets chunks that a tick made which never was. */
  forget(known: number, lost: (row: number) => void): void {
    while (this.#known.length > known) {
      const row = this.#known.pop()!;
      const { column, chunk } = this.#chunks.get(row)!;
      column.rows[chunk] = 0;
      this.#chunks.delete(row);
      lost(row);
    }
    while (this.#directories.length > directoriesFor(known)) lost(this.#directories.pop()!);
    this.coming = undefined;
    this.#columns.length = Math.min(this.#columns.length, this.#readSchema().fields.length);
  }

  /**
   * A column by name.
   *
   * @throws {MmsbError} `usage` where there is none.
   */
  column(name: string): RegionColumn {
    const field = this.#schema.field(name) ?? this.#readSchema().field(name);
    if (field === undefined) {
      throw new MmsbError("usage", `Cannot find column "${name}" of table ${this.id}`, {
        values: { table: this.id, column: name },
      });
    }
    return this.#columnAt(field.index);
  }

  /**
   * Refuses a schema that does not go with the table: its columns must be there, with their types.
   *
   * @throws {MmsbError} `usage` where they are not.
   */
  checkSchema(schema: TableSchema): void {
    if (this.#fitting.has(schema)) return;
    if (!(schema instanceof TableSchema)) {
      throw new MmsbError("usage", "Cannot read a table by this: give what table() made");
    }
    for (const { name, type } of schema.fields) {
      const own = this.column(name).field, wanted = typeName(type);
      if (typeName(own.type) === wanted) continue;
      throw new MmsbError(
        "usage",
        `Cannot read column "${name}" of table ${this.id} as ${wanted}: it is ${
          typeName(own.type)
        }`,
        { values: { table: this.id, column: name, type: own.type } },
      );
    }
    this.#fitting.add(schema);
  }

  /** One value. */
  get(row: number, name: string): ValueOf<FieldType> {
    const column = this.column(name), { length } = this;
    if (!(Number.isInteger(row) && row >= 0 && row < length)) {
      throw new MmsbError("out-of-bounds", `Cannot find row ${row}: the table has ${length} rows`, {
        values: { table: this.id, row, length },
      });
    }
    const { field, plan, rows } = column;
    const chunk = chunkOf(plan, row), at = rows[chunk] ?? 0;
    const { table, arena } = this.#store;
    const first = chunkStart(plan, chunk);
    const value = at === 0
      ? zeroValue(field)
      : readValue(field, arena, table.slot(at), (row - first) * field.width);
    return value as ValueOf<FieldType>;
  }

  /** A column chunk by chunk. */
  chunks(name: string): readonly ColumnArray[] {
    const { field, plan, rows } = this.column(name), { length } = this;
    const kind = columnConstructor(field);
    if (kind === undefined) {
      throw new MmsbError("usage", `Cannot view column "${name}" as numbers: use get`, {
        values: { table: this.id, column: name },
      });
    }
    const { table, arena } = this.#store;
    const parts: ColumnArray[] = [];
    for (let first = 0, chunk = 0; first < length; chunk++) {
      const count = Math.min(length - first, chunkRows(plan, chunk)), at = rows[chunk] ?? 0;
      if (at === 0) {
        parts.push(new kind(count));
      } else {
        const bytes = arena.bytes(table.slot(at), count * field.width);
        parts.push(new kind(bytes.buffer, bytes.byteOffset, count));
      }
      first += count;
    }
    return parts;
  }

  #columnAt(index: number): RegionColumn {
    const known = this.#columns[index];
    if (known !== undefined) return known;
    const field = this.#schema.fields[index] ?? this.#readSchema().fields[index];
    while (this.#columns.length < index) this.#columns.push(undefined);
    const column = { index, field, plan: chunkPlan(field.width), rows: [] };
    this.#columns[index] = column;
    return column;
  }

  /** The schema as it is stored now: columns may have been added. */
  #readSchema(): TableSchema {
    const bytes = this.coming ?? this.#store.metadataOf(this.id).get(SCHEMA_KEY);
    if (bytes !== this.#schemaBytes || this.#schema === undefined) {
      const schema = bytes === undefined ? undefined : decodeSchema(bytes);
      if (!(schema instanceof TableSchema)) {
        throw new MmsbError("usage", `Cannot use page ${this.id} as a table: it is none`, {
          values: { page: this.id },
        });
      }
      this.#schema = schema;
      this.#schemaBytes = bytes;
    }
    return this.#schema;
  }
}
