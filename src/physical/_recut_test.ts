import assert from "node:assert/strict";
import fc from "fast-check";
import { recut } from "./_recut.ts";
import { SIZE_CLASSES, sizeClassOf, sizeOfClass } from "./size_class.ts";

const REGION = 2 ** 26;

/** Every unit that slots cover, once. */
function unitsOf(free: readonly (readonly number[])[]): number[] {
  const units = free.flatMap((addresses, sizeClass) =>
    addresses.flatMap((address) =>
      Array.from({ length: sizeOfClass(sizeClass) / 16 }, (_, i) => address + i)
    )
  );
  return units.sort((a, b) => a - b);
}

/** The longest run of units that follow each other within a region. */
function longestRun(units: readonly number[]): number {
  let longest = 0, length = 0;
  units.forEach((unit, i) => {
    length = i > 0 && units[i - 1] === unit - 1 && unit % REGION !== 0 ? length + 1 : 1;
    longest = Math.max(longest, length);
  });
  return longest;
}

Deno.test("recut() covers the same bytes, and gives the wanted slot exactly where a run has room for it", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.boolean()), { maxLength: 40 }),
    fc.integer({ min: 1, max: 20_000 }),
    fc.constantFrom(4, REGION - 300),
    (pieces, wantedSize, first) => {
      const free: number[][] = Array.from({ length: SIZE_CLASSES }, () => []);
      let at = first;
      for (const [size, isFree] of pieces) {
        const sizeClass = sizeClassOf(size), units = sizeOfClass(sizeClass) / 16;
        if (Math.floor(at / REGION) !== Math.floor((at + units - 1) / REGION)) at = REGION;
        if (isFree) free[sizeClass].push(at);
        at += units;
      }
      const wanted = sizeClassOf(wantedSize), before = unitsOf(free);
      const result = recut(free, wanted);
      const hasRoom = longestRun(before) >= sizeOfClass(wanted) / 16;
      assert.equal(typeof result !== "number", hasRoom);
      if (typeof result === "number") return assert.equal(result, longestRun(before) * 16);
      assert.deepEqual(unitsOf(result), before);
      assert(result[wanted].length > 0);
      for (const [sizeClass, addresses] of result.entries()) {
        for (const address of addresses) {
          const last = address + sizeOfClass(sizeClass) / 16 - 1;
          assert.equal(Math.floor(address / REGION), Math.floor(last / REGION));
        }
      }
    },
  ));
});

Deno.test("recut() leaves runs that are too short as they are", () => {
  const free: number[][] = Array.from({ length: SIZE_CLASSES }, () => []);
  // Four slots of 64 bytes side by side, and two elsewhere.
  free[3].push(100, 104, 108, 112, 200, 204);
  const result = recut(free, sizeClassOf(256)) as number[][];
  assert.deepEqual(result[sizeClassOf(256)], [100]);
  assert.deepEqual(result[3], [200, 204]);
  assert.equal(recut(free, sizeClassOf(272)), 256);
});
