import assert from "node:assert/strict";
import * as limits from "./limits.ts";

Deno.test("limits are positive safe integers", () => {
  const entries = Object.entries(limits);
  assert(entries.length >= 20);
  for (const [name, value] of entries) {
    assert(Number.isSafeInteger(value) && value > 0, name);
  }
});

Deno.test("limits say MIN, MAX or DEFAULT last, the unit before it", () => {
  for (const name of Object.keys(limits)) {
    assert.match(name, /^[A-Z]+(_[A-Z]+)*_(MIN|MAX|DEFAULT)$/);
  }
});

Deno.test("limits have defaults inside their bounds", () => {
  assert(limits.PAGE_BYTES_MIN <= limits.PAGE_BYTES_DEFAULT);
  assert(limits.PAGE_BYTES_DEFAULT <= limits.PAGE_BYTES_MAX);
  assert(limits.SHARDS_DEFAULT <= limits.SHARDS_MAX);
  assert(limits.MEMORY_LIMIT_BYTES_DEFAULT <= limits.MEMORY_LIMIT_BYTES_MAX);
  assert(limits.SEGMENT_BYTES_MIN <= limits.SEGMENT_BYTES_MAX);
});

Deno.test("limits fit the fields that they are stored in", () => {
  assert.equal(limits.PAGE_ID_MAX, 2 ** 32 - 1);
  assert.equal(limits.MEMORY_LIMIT_BYTES_MAX / 4, 2 ** 31, "31-bit indices of 32-bit words");
  assert.equal(limits.BATCH_ROWS_MAX, 2 ** 24);
  assert.equal(limits.TICK_ROWS_MAX, 2 ** 26);
  assert.equal(limits.STRING_BYTES_MAX, 2 ** 16 - 1, "16-bit length");
  assert.equal(limits.DICTIONARY_STRINGS_MAX, 2 ** 16, "16-bit reference");
  assert.equal(limits.LANES_MAX, 256, "bits in a frame's set of lanes");
  assert(limits.NAME_BYTES_MAX <= limits.STRING_BYTES_MAX);
  assert(limits.PAGE_BYTES_MAX <= limits.SEGMENT_BYTES_MAX, "a full page fits in a segment");
});
