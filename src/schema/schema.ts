/**
 * Schemas: the fields of a struct, the columns of a table, and where they stand.
 *
 * A struct's field stands at the next multiple of its alignment behind the field before it, so what
 * is added at the end moves nothing that is there; the struct ends with its last field. A table has
 * no rows in memory, only columns, so its columns have widths and no offsets.
 *
 * @module
 */

import {
  alignUp,
  checkType,
  encodeUtf8,
  FIELD_NAME_BYTES_MAX,
  FIELDS_MAX,
  MmsbError,
  PAGE_BYTES_MAX,
} from "../base/mod.ts";
import { type FieldType, typeParts, type ValueOf } from "./field_type.ts";

/** Names and types of fields, in order. */
export type Fields = Readonly<Record<string, FieldType>>;

/** The plain object that a struct's value, or a table's row, is. */
export type RowOf<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> };

/** One field, laid out. */
export interface Field {
  /** Name. */
  readonly name: string;
  /** Place among the fields. */
  readonly index: number;
  /** Type. */
  readonly type: FieldType;
  /** Code of the type. */
  readonly code: number;
  /** Length of fixed bytes, bound of text, otherwise 0. */
  readonly bound: number;
  /** Bytes of a value. */
  readonly width: number;
  /** First byte in a struct; 0 for the columns of a table. */
  readonly offset: number;
}

/** Whether a schema is of a struct or a table. */
export type SchemaKind = "struct" | "table";

/** What structs and tables have in common. */
export interface Schema {
  /** What it describes. */
  readonly kind: SchemaKind;
  /** The fields in order. */
  readonly fields: readonly Field[];
}

/** Schema of a struct; made by {@linkcode struct}. */
export class StructSchema<F extends Fields = Fields> implements Schema {
  /** Always `struct`. */
  readonly kind = "struct";
  /** The names and types that it was made from. */
  readonly definition: F;
  /** The fields in order. */
  readonly fields: readonly Field[];
  /** Bytes of a value. */
  readonly byteLength: number;
  readonly #byName: ReadonlyMap<string, Field>;

  /** @ignore Made by {@linkcode struct}. */
  constructor(definition: F) {
    const { copy, fields } = layOut<F>("struct", definition);
    this.definition = copy;
    this.fields = fields;
    const last = fields[fields.length - 1];
    this.byteLength = last.offset + last.width;
    if (this.byteLength > PAGE_BYTES_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot make a struct of ${this.byteLength} bytes: at most ${PAGE_BYTES_MAX} fit in a page`,
        { values: { bytes: this.byteLength, bytesMax: PAGE_BYTES_MAX } },
      );
    }
    this.#byName = new Map(fields.map((field) => [field.name, field]));
  }

  /** The field of a name, `undefined` where there is none. */
  field(name: string): Field | undefined {
    return this.#byName.get(name);
  }
}

/** Schema of a table; made by {@linkcode table}. */
export class TableSchema<F extends Fields = Fields> implements Schema {
  /** Always `table`. */
  readonly kind = "table";
  /** The names and types that it was made from. */
  readonly definition: F;
  /** The columns in order. */
  readonly fields: readonly Field[];
  readonly #byName: ReadonlyMap<string, Field>;

  /** @ignore Made by {@linkcode table}. */
  constructor(definition: F) {
    const { copy, fields } = layOut<F>("table", definition);
    this.definition = copy;
    this.fields = fields;
    this.#byName = new Map(fields.map((field) => [field.name, field]));
  }

  /** The column of a name, `undefined` where there is none. */
  field(name: string): Field | undefined {
    return this.#byName.get(name);
  }
}

/**
 * Makes the schema of a struct: one value of named fields in one page.
 *
 * @typeParam F Names and types of the fields.
 * @param fields Names and types, in order: `i8` to `u64`, `f32`, `f64`, `bool`,
 * {@linkcode bytes}, {@linkcode utf8}. 64-bit integers are bigints.
 * @returns The schema, for `bus.create`.
 * @throws {MmsbError} `usage` for no fields, names that are none, unknown types; `limit` for more
 * than 1,024 fields, names past 255 bytes or a struct past 16 MiB.
 *
 * @example A quote
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus, struct } from "@mmsb/mmsb";
 *
 * const Quote = struct({ bid: "f64", ask: "f64", size: "u32" });
 * await using bus = await StateBus.open();
 * const aapl = bus.create(Quote, { name: "AAPL" });
 * await bus.commit(() => aapl.set({ bid: 187.2 }, { source: "feed-a" }));
 * assert.deepEqual(aapl.get(), { bid: 187.2, ask: 0, size: 0 });
 * ```
 */
export function struct<const F extends Fields>(fields: F): StructSchema<F> {
  return new StructSchema(fields);
}

/**
 * Makes the schema of a table: many rows, held column by column.
 *
 * @typeParam F Names and types of the columns.
 * @param columns Names and types, as for {@linkcode struct}.
 * @returns The schema, for `bus.createTable`.
 * @throws {MmsbError} as {@linkcode struct}.
 *
 * @example Flights
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus, table } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open();
 * const flights = bus.createTable(table({ delay: "i16", hour: "u8" }), { name: "flights" });
 * await bus.commit(() => flights.append({ delay: Int16Array.of(5, -2), hour: [6, 7] }));
 * assert.equal(flights.length, 2);
 * assert.deepEqual(flights.row(1), { delay: -2, hour: 7 });
 * ```
 */
export function table<const F extends Fields>(columns: F): TableSchema<F> {
  return new TableSchema(columns);
}

/** Checks names and types and gives each field its place. */
function layOut<F extends Fields>(
  kind: SchemaKind,
  definition: F,
): { copy: F; fields: readonly Field[] } {
  const entries = Object.entries(checkType(`fields of a ${kind}`, definition, "object"));
  if (entries.length === 0) {
    throw new MmsbError("usage", `Cannot make a ${kind} without fields: name at least one`);
  }
  if (entries.length > FIELDS_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot make a ${kind} of ${entries.length} fields: at most ${FIELDS_MAX} are allowed`,
      { values: { fields: entries.length, fieldsMax: FIELDS_MAX } },
    );
  }
  let end = 0;
  const fields = entries.map(([name, type], index): Field => {
    checkName(name);
    const { code, bound, width, alignment } = typeParts(`field "${name}"`, type);
    const offset = kind === "struct" ? alignUp(end, alignment) : 0;
    end = offset + width;
    const frozen = typeof type === "object" ? Object.freeze({ ...type as object }) : type;
    return Object.freeze(
      { name, index, type: frozen as FieldType, code, bound, width, offset },
    );
  });
  const copy = Object.fromEntries(fields.map(({ name, type }) => [name, type]));
  return { copy: Object.freeze(copy) as F, fields: Object.freeze(fields) };
}

/**
 * A name that begins with a digit could be an array index, which JavaScript puts before all other
 * keys, so that fields would not stay in the order in which they are written.
 */
function checkName(name: string): void {
  encodeUtf8("name of a field", name, FIELD_NAME_BYTES_MAX);
  const reason = name === ""
    ? "it is empty"
    : /^[0-9]/.test(name)
    ? "it begins with a digit"
    : /\p{Cc}/u.test(name)
    ? "it holds a control character"
    : name === "__proto__"
    ? "JavaScript uses it"
    : undefined;
  if (reason === undefined) return;
  throw new MmsbError("usage", `Cannot name a field ${JSON.stringify(name)} as ${reason}`, {
    values: { name },
  });
}
