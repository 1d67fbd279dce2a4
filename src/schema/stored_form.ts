/**
 * Stored form: a schema as bytes, kept in the metadata of its page.
 *
 * | at | type | meaning |
 * | --- | --- | --- |
 * | 0 | u8 | version of this form, 1 |
 * | 1 | u8 | 1 struct, 2 table |
 * | 2 | u16 | number of fields |
 * | 4 | … | the fields |
 *
 * Each field: u8 code of its type, u8 length of its name, u16 length of fixed bytes or bound of text
 * (else 0), the name in UTF-8. Little endian; the layout follows from the fields, so it is not stored. One
 * schema has one form, and bytes that are not the form of any schema are refused.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, FIELD_NAME_BYTES_MAX, MmsbError } from "../base/mod.ts";
import { type FieldType, typeOfCode } from "./field_type.ts";
import { type Schema, StructSchema, TableSchema } from "./schema.ts";

/** Key of the metadata that a schema is kept under; only the bus sets it. */
export const SCHEMA_KEY = "mmsb.schema";

const VERSION = 1;
const HEADER_BYTES = 4;
const FIELD_HEADER_BYTES = 4;
const KIND_STRUCT = 1;
const KIND_TABLE = 2;

/** The byte form. */
export function encodeSchema(schema: Schema): Uint8Array<ArrayBuffer> {
  const names = schema.fields.map(({ name }) =>
    encodeUtf8("name of a field", name, FIELD_NAME_BYTES_MAX)
  );
  const size = names.reduce((sum, name) => sum + FIELD_HEADER_BYTES + name.length, HEADER_BYTES);
  const bytes = new Uint8Array(size), view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, schema.kind === "struct" ? KIND_STRUCT : KIND_TABLE);
  view.setUint16(2, schema.fields.length, true);
  let at = HEADER_BYTES;
  schema.fields.forEach(({ code, bound }, index) => {
    view.setUint8(at, code);
    view.setUint8(at + 1, names[index].length);
    view.setUint16(at + 2, bound, true);
    bytes.set(names[index], at + FIELD_HEADER_BYTES);
    at += FIELD_HEADER_BYTES + names[index].length;
  });
  return bytes;
}

/**
 * Reads the byte form.
 *
 * @throws {MmsbError} `version` for a newer form, `corrupt-log` for bytes that are none.
 */
export function decodeSchema(bytes: Uint8Array): StructSchema | TableSchema {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length > 0 && bytes[0] > VERSION) {
    throw new MmsbError(
      "version",
      `Cannot read a schema of form ${bytes[0]} as this version knows form ${VERSION}: update MMSB`,
      { values: { form: bytes[0] } },
    );
  }
  if (bytes.length < HEADER_BYTES || bytes[0] !== VERSION) refuse(0, bytes.length);
  const kind = bytes[1], count = view.getUint16(2, true);
  if (kind !== KIND_STRUCT && kind !== KIND_TABLE) refuse(1, bytes.length);
  const entries: [string, FieldType][] = [];
  let at = HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    if (at + FIELD_HEADER_BYTES > bytes.length) refuse(at, bytes.length);
    const type = typeOfCode(bytes[at], view.getUint16(at + 2, true));
    const end = at + FIELD_HEADER_BYTES + bytes[at + 1];
    if (type === undefined || end > bytes.length) refuse(at, bytes.length);
    const name = bytes.subarray(at + FIELD_HEADER_BYTES, end);
    entries.push([decodeUtf8("name of a field", name, "corrupt-log"), type]);
    at = end;
  }
  const fields = Object.fromEntries(entries);
  if (at !== bytes.length || Object.keys(fields).length !== count) refuse(at, bytes.length);
  try {
    return kind === KIND_STRUCT ? new StructSchema(fields) : new TableSchema(fields);
  } catch (cause) {
    throw new MmsbError("corrupt-log", "Cannot read a schema: its fields are not of any schema", {
      values: { bytes: bytes.length },
      cause,
    });
  }
}

function refuse(offset: number, size: number): never {
  throw new MmsbError(
    "corrupt-log",
    `Cannot read a schema as its bytes are none: byte ${offset} of ${size}`,
    { values: { offset, size } },
  );
}
