/** Golden bytes, there and back, one spelling, and random bytes. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../../base/errors.ts";
import { VectorClock, VectorTime } from "./vector_clock.ts";
import { decodeVectorTime, encodeVector, vectorBytes } from "./vector_clock_wire.ts";

const GOLDEN: readonly (readonly [[number, number][], string])[] = [
  [[], "0000"],
  [[[258, 5]], "0100 0201 0500000000000000"],
  [[[0, 1], [65_535, 2 ** 53 - 1]], "0200 0000 0100000000000000 ffff ffffffffffff1f00"],
  [[[1, 2 ** 32], [2, 0x0102_0304_0506]], "0200 0100 0000000001000000 0200 0605040302010000"],
];

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.replaceAll(" ", "").match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

Deno.test("encodeVector() and decodeVectorTime() give the golden form", () => {
  for (const [entries, hex] of GOLDEN) {
    const time = VectorTime.of(entries);
    deepEqual(encodeVector(time), fromHex(hex));
    deepEqual(encodeVector(new VectorClock(time)), fromHex(hex));
    deepEqual(decodeVectorTime(fromHex(hex)).entries(), entries);
    equal(vectorBytes(time), fromHex(hex).length);
  }
});

Deno.test("Vectors go there and back, from the middle of a buffer too", () => {
  const entries = fc.uniqueArray(
    fc.tuple(fc.nat(65_535), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
    { selector: ([node]) => node, maxLength: 100 },
  );
  fc.assert(fc.property(entries, fc.nat(9), (list, offset) => {
    const time = VectorTime.of(list), bytes = encodeVector(time);
    const buffer = new Uint8Array(bytes.length + 20);
    buffer.set(bytes, offset);
    const back = decodeVectorTime(buffer.subarray(offset, offset + bytes.length));
    deepEqual(back.entries(), time.entries());
    back.checkInvariants();
  }));
});

Deno.test("A vector of 65,535 nodes goes there and back", () => {
  const time = VectorTime.of(
    Array.from({ length: 65_535 }, (_, node) => [node, node + 1] as const),
  );
  equal(decodeVectorTime(encodeVector(time)).compare(time), "equal");
});

Deno.test("decodeVectorTime() refuses all that has another spelling", () => {
  const refused = {
    "nothing": "",
    "half a head": "01",
    "truncated": "0100 0201 05000000000000",
    "one entry of two": "0200 0201 0500000000000000",
    "bytes left over": "0100 0201 0500000000000000 00",
    "unsorted": "0200 0200 0100000000000000 0100 0100000000000000",
    "twice": "0200 0200 0100000000000000 0200 0100000000000000",
    "a count of 0": "0100 0200 0000000000000000",
    "a count below 0": "0100 0200 ffffffffffffffff",
    "a count of 2^53": "0100 0200 0000000000002000",
    "the smallest i64": "0100 0200 0000000000000080",
    "more entries than bytes": "ffff",
  };
  for (const [what, hex] of Object.entries(refused)) {
    throws(() => decodeVectorTime(fromHex(hex)), { code: "usage" }, what);
  }
  const two = fromHex("0200 0100 0100000000000000 0200 0100000000000000");
  throws(() => decodeVectorTime(two, { nodesMax: 1 }), { code: "limit" });
  equal(decodeVectorTime(two, { nodesMax: 2 }).size, 2);
  for (const nodesMax of [-1, 65_536, NaN, "2", 2n] as number[]) {
    throws(() => decodeVectorTime(two, { nodesMax }), { code: "usage" });
  }
  throws(() => decodeVectorTime(two, { max: 2 } as never), { code: "usage" });
  for (
    const bytes of [
      null,
      undefined,
      [0, 0],
      "0000",
      new ArrayBuffer(2),
    ] as unknown[] as Uint8Array[]
  ) {
    throws(() => decodeVectorTime(bytes), { code: "usage" });
  }
});

Deno.test("Random bytes are refused by name, or are the one spelling of a vector", () => {
  const entry = fc.tuple(fc.nat(3), fc.nat(2), fc.nat(33)).map(([lo, hi, top]) =>
    Uint8Array.of(lo, hi, lo, 0, 0, 0, 0, 0, top, 0)
  );
  const likely = fc.tuple(fc.nat(4), fc.array(entry, { maxLength: 4 })).map(([count, list]) =>
    Uint8Array.from([count, 0, ...list.flatMap((bytes) => [...bytes])])
  );
  let taken = 0;
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), likely), (bytes) => {
      try {
        deepEqual(encodeVector(decodeVectorTime(bytes)), bytes);
        taken++;
      } catch (error) {
        ok(isMmsbError(error, "usage"), String(error));
      }
    }),
    { numRuns: 5000 },
  );
  ok(taken > 50);
});
