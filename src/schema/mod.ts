/**
 * Types over bytes: schemas of structs and tables, their layout, stored form and evolution, and the
 * codecs of their values. Pages come in only where the bus puts a schema to use.
 *
 * ```ts
 * import { decodeSchema, encodeSchema, struct, utf8 } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const Quote = struct({ ticker: utf8(8), bid: "f64" });
 * assert.deepEqual(decodeSchema(encodeSchema(Quote)).fields, Quote.fields);
 * ```
 *
 * @module
 */

export * from "./chunks.ts";
export * from "./codec.ts";
export * from "./columns.ts";
export * from "./evolution.ts";
export * from "./field_type.ts";
export * from "./schema.ts";
export * from "./stored_form.ts";
export * from "./table_layout.ts";
