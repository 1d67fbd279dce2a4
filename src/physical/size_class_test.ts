import assert from "node:assert/strict";
import { SIZE_CLASSES, sizeClassOf, sizeOfClass } from "./size_class.ts";

const PAGE_BYTES_MAX = 2 ** 24;

Deno.test("sizeOfClass() steps by 16 bytes up to 128, then by a quarter of each doubling", () => {
  const sizes: number[] = [];
  for (let size = 16; size <= 128; size += 16) sizes.push(size);
  for (let doubling = 128; doubling < PAGE_BYTES_MAX; doubling *= 2) {
    for (const quarters of [5, 6, 7, 8]) sizes.push(doubling * quarters / 4);
  }
  assert.deepEqual(Array.from({ length: SIZE_CLASSES }, (_, index) => sizeOfClass(index)), sizes);
  assert.ok(sizes.every((size) => size % 16 === 0));
  for (let power = 16; power <= PAGE_BYTES_MAX; power *= 2) assert.ok(sizes.includes(power));
});

Deno.test("sizeClassOf() is the smallest class that holds the size, for every size", () => {
  let index = 0, slot = sizeOfClass(0), bad = 0;
  for (let size = 1; size <= PAGE_BYTES_MAX; size++) {
    if (size > slot) slot = sizeOfClass(++index);
    if (sizeClassOf(size) !== index) bad ||= size;
  }
  assert.equal(bad, 0, "first size in a wrong class");
  assert.equal(index, SIZE_CLASSES - 1);
  assert.equal(slot, PAGE_BYTES_MAX);
});

Deno.test("sizeOfClass() wastes at most a quarter of the page past 128 bytes", () => {
  for (let index = 8; index < SIZE_CLASSES; index++) {
    const smallest = sizeOfClass(index - 1) + 1;
    assert.ok(sizeOfClass(index) < 1.25 * smallest, `class ${index}`);
  }
});
