/** Random schemas, and random values of their fields. */

import fc from "fast-check";
import { bytes, type Field, type FieldType, SCALAR_TYPES, TYPE_CODE, utf8 } from "./mod.ts";

/** Names that fields may have, in many alphabets. */
export const fieldName: fc.Arbitrary<string> = fc.string({ unit: "grapheme", maxLength: 12 })
  .filter(
    (name) =>
      name !== "" && name !== "__proto__" && !/^[0-9]/.test(name) && !/\p{Cc}/u.test(name) &&
      name.isWellFormed(),
  );

/** Any type. */
export const fieldType: fc.Arbitrary<FieldType> = fc.oneof(
  fc.constantFrom(...SCALAR_TYPES),
  fc.integer({ min: 1, max: 40 }).map(bytes),
  fc.integer({ min: 1, max: 40 }).map(utf8),
);

/** Fields of a schema with at most `max` of them. */
export function fieldsOf(max: number): fc.Arbitrary<Record<string, FieldType>> {
  return fc.uniqueArray(fc.tuple(fieldName, fieldType), {
    minLength: 1,
    maxLength: max,
    selector: ([name]) => name,
  }).map((entries) => Object.fromEntries(entries));
}

const INTEGERS: Readonly<Record<string, readonly [number, number]>> = {
  i8: [-128, 127],
  u8: [0, 255],
  i16: [-32_768, 32_767],
  u16: [0, 65_535],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
};

/** Values of a field. */
export function valueOf(field: Pick<Field, "type" | "code" | "bound">): fc.Arbitrary<unknown> {
  const { type, code, bound } = field;
  if (code === TYPE_CODE.bytes) return fc.uint8Array({ minLength: bound, maxLength: bound });
  if (code === TYPE_CODE.utf8) {
    return fc.string({ unit: "grapheme", maxLength: bound }).filter((text) =>
      text.isWellFormed() && new TextEncoder().encode(text).length <= bound
    );
  }
  switch (type) {
    case "i64":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case "u64":
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case "bool":
      return fc.boolean();
    case "f32":
      return fc.float();
    case "f64":
      return fc.double();
    default: {
      const [min, max] = INTEGERS[type as string];
      return fc.integer({ min, max });
    }
  }
}
