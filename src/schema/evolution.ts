/**
 * Evolution: whether a schema may take the place of the one that is stored.
 *
 * Fields may be added at the end; they read as zero until they are set. Anything else would give
 * another meaning to bytes that are there, and is refused by the name of the first field that differs.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { typeName } from "./field_type.ts";
import type { Schema } from "./schema.ts";

/**
 * Compares a schema with the stored one.
 *
 * @param what What is opened, for messages: `"AAPL"`.
 * @param stored The schema that its bytes were written with.
 * @param wanted The schema that it is opened with.
 * @returns Fields that `wanted` adds at the end, 0 where they are equal.
 * @throws {MmsbError} `usage` for every other difference.
 */
export function addedFields(what: string, stored: Schema, wanted: Schema): number {
  if (stored.kind !== wanted.kind) {
    throw new MmsbError(
      "usage",
      `Cannot open ${what} as a ${wanted.kind}: it is a ${stored.kind}`,
      { values: { what, stored: stored.kind, wanted: wanted.kind } },
    );
  }
  const wantedNames = new Set(wanted.fields.map(({ name }) => name));
  const storedNames = new Set(stored.fields.map(({ name }) => name));
  for (const { index, name, type } of stored.fields) {
    const given = wanted.fields[index];
    if (given?.name === name) {
      if (typeName(given.type) === typeName(type)) continue;
      const is = typeName(type), wants = typeName(given.type);
      refuse(what, name, `field "${name}" is ${is} there and ${wants} here: give it a new name`);
    }
    if (!wantedNames.has(name)) {
      refuse(what, name, `field "${name}" is missing: fields can be added, not removed or renamed`);
    }
    if (given !== undefined && !storedNames.has(given.name)) {
      refuse(what, given.name, `field "${given.name}" is new before "${name}": add it at the end`);
    }
    refuse(what, name, `field "${name}" is field ${index} there: keep the order`);
  }
  return wanted.fields.length - stored.fields.length;
}

/** Whether a schema is the stored one, or that with fields added at the end. */
export function continues(stored: Schema, wanted: Schema): boolean {
  return stored.kind === wanted.kind && stored.fields.every(({ name, type }, index) => {
    const given = wanted.fields[index];
    return given?.name === name && typeName(given.type) === typeName(type);
  });
}

function refuse(what: string, field: string, reason: string): never {
  throw new MmsbError("usage", `Cannot open ${what} with this schema as ${reason}`, {
    values: { what, field },
  });
}
