/**
 * Structs in rules: the fields of a page by name, as a schema lays them out.
 *
 * A page of a rule is bytes; a schema says what stands where. What reads and writes by it is made once for a place in a
 * binding and a schema, and serves all runs and all rules, as the place's cursor does: a run makes nothing.
 *
 * Cost: a number some 10 ns beside the page's own get or set; bytes and text make an array or a string.
 *
 * @module
 */

import { decodeUtf8, MmsbError } from "../base/mod.ts";
import {
  checkScalar,
  encodeValue,
  type Field,
  type Fields,
  type RowOf,
  StructSchema,
  TYPE_CODE,
  typeName,
  UTF8_LENGTH_BYTES,
} from "../schema/mod.ts";
import type { RuleOutput, RulePage, RuleStruct, RuleStructOutput } from "./rule.ts";

/** What reads and writes one page by schemas. */
export class RuleStructs {
  readonly #page: RulePage;
  readonly #all = new WeakMap<StructSchema, StructFields<Fields>>();
  #last: StructFields<Fields> | undefined;

  /** Over a page, or over whatever page a cursor points at. */
  constructor(page: RulePage) {
    this.#page = page;
  }

  /**
   * The fields of a schema.
   *
   * @throws {MmsbError} `usage` for what is no schema of a struct.
   */
  of<F extends Fields>(schema: StructSchema<F>): RuleStructOutput<F> {
    const last = this.#last;
    const fields = last?.schema as unknown === schema ? last! : this.#find(schema);
    return fields as unknown as RuleStructOutput<F>;
  }

  #find(schema: unknown): StructFields<Fields> {
    if (!(schema instanceof StructSchema)) {
      throw new MmsbError("usage", "Cannot read a page by this: give what struct() made");
    }
    let fields = this.#all.get(schema);
    if (fields === undefined) {
      fields = new StructFields(this.#page, schema);
      this.#all.set(schema, fields);
    }
    return this.#last = fields;
  }
}

/** The fields of one schema in one page. A page that is not written has it as a {@linkcode RuleStruct}. */
class StructFields<F extends Fields> implements RuleStruct<F> {
  readonly schema: StructSchema<F>;
  readonly #page: RulePage;

  constructor(page: RulePage, schema: StructSchema<F>) {
    this.#page = page;
    this.schema = schema;
  }

  get<K extends keyof F & string>(name: K): RowOf<F>[K];
  get(): RowOf<F>;
  get(name?: string): unknown {
    if (name !== undefined) return read(this.#page, this.#field(name));
    const { fields } = this.schema;
    return Object.fromEntries(fields.map((field) => [field.name, read(this.#page, field)]));
  }

  set(values: string | object, value?: unknown): void {
    const page = this.#page as RuleOutput;
    if (page.set === undefined) {
      throw new MmsbError("usage", `Cannot write page ${page.id}: the rule only reads it`, {
        values: { page: page.id },
      });
    }
    if (typeof values === "string") {
      write(page, this.#field(values), value);
    } else {
      for (const [name, one] of Object.entries(values)) write(page, this.#field(name), one);
    }
  }

  #field(name: string): Field {
    const field = this.schema.field(name);
    if (field !== undefined) return field;
    const names = this.schema.fields.map(({ name }) => name).join(", ");
    throw new MmsbError("usage", `Cannot find "${String(name)}" in the struct: it has ${names}`, {
      values: { name },
    });
  }
}

function read(page: RulePage, field: Field): unknown {
  const { code, offset } = field;
  switch (code) {
    case TYPE_CODE.f64:
      return page.getFloat64(offset);
    case TYPE_CODE.f32:
      return page.getFloat32(offset);
    case TYPE_CODE.i32:
      return page.getInt32(offset);
    case TYPE_CODE.u32:
      return page.getUint32(offset);
    case TYPE_CODE.i16:
      return page.getInt16(offset);
    case TYPE_CODE.u16:
      return page.getUint16(offset);
    case TYPE_CODE.i8:
      return page.getInt8(offset);
    case TYPE_CODE.u8:
      return page.getUint8(offset);
    case TYPE_CODE.bool:
      return page.getUint8(offset) !== 0;
    case TYPE_CODE.i64:
      return page.getBigInt64(offset);
    case TYPE_CODE.u64:
      return page.getBigUint64(offset);
    case TYPE_CODE.bytes:
      return page.readInto(new Uint8Array(field.bound), offset);
    default:
      return readText(page, field);
  }
}

function readText(page: RulePage, field: Field): string {
  const { name, type, offset, bound } = field, length = page.getUint16(offset);
  if (length > bound) {
    throw new MmsbError(
      "usage",
      `Cannot read "${name}" as its length is ${length}: it was not written as ${typeName(type)}`,
      { values: { field: name, length, bound } },
    );
  }
  const bytes = page.readInto(new Uint8Array(length), offset + UTF8_LENGTH_BYTES);
  return decodeUtf8(`text of "${name}"`, bytes);
}

function write(page: RuleOutput, field: Field, value: unknown): void {
  const { code, offset } = field;
  switch (code) {
    case TYPE_CODE.f64:
      return page.setFloat64(offset, checkScalar(field, value) as number);
    case TYPE_CODE.f32:
      return page.setFloat32(offset, checkScalar(field, value) as number);
    case TYPE_CODE.i32:
    case TYPE_CODE.u32:
      return page.setInt32(offset, checkScalar(field, value) as number);
    case TYPE_CODE.i16:
    case TYPE_CODE.u16:
      return page.setInt16(offset, checkScalar(field, value) as number);
    case TYPE_CODE.i8:
    case TYPE_CODE.u8:
    case TYPE_CODE.bool:
      return page.setInt8(offset, checkScalar(field, value) as number);
    case TYPE_CODE.i64:
      return page.setBigInt64(offset, checkScalar(field, value) as bigint);
    case TYPE_CODE.u64:
      return page.setBigUint64(offset, checkScalar(field, value) as bigint);
    default:
      return page.set(offset, encodeValue(field, value));
  }
}
