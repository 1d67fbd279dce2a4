import { deepEqual, equal, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  addTo,
  addToHi,
  addToLo,
  compare,
  compareTimestamps,
  logical,
  NODE_MAX,
  PHYSICAL_US_MAX,
  physicalUs,
  physicalUsOfHalves,
  TIMESTAMP_MAX,
  timestampFromHalves,
  timestampHi,
  timestampLo,
  timestampOf,
} from "./timestamp.ts";

const u32 = fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 1, 0x7fff_ffff, 2 ** 31, 2 ** 32 - 1));
const words = fc.tuple(u32, u32).map(([hi, lo]) => timestampFromHalves(hi, lo));
const nodes = fc.nat(NODE_MAX);

Deno.test("timestampOf() and its parts go round", () => {
  fc.assert(fc.property(fc.nat(PHYSICAL_US_MAX), fc.nat(4095), (us, counter) => {
    const timestamp = timestampOf(us, counter);
    equal(timestamp, BigInt(us) * 4096n + BigInt(counter));
    equal(physicalUs(timestamp), us);
    equal(logical(timestamp), counter);
    equal(physicalUsOfHalves(timestampHi(timestamp), timestampLo(timestamp)), us);
  }));
});

Deno.test("timestampOf() spans exactly 64 bits", () => {
  equal(timestampOf(0, 0), 0n);
  equal(timestampOf(PHYSICAL_US_MAX, 4095), TIMESTAMP_MAX);
});

Deno.test("timestampOf() refuses parts out of range", () => {
  for (const us of [-1, 0.5, NaN, Infinity, 2 ** 52]) {
    throws(() => timestampOf(us, 0), { code: "usage" });
  }
  for (const counter of [-1, 0.5, NaN, 4096]) {
    throws(() => timestampOf(0, counter), { code: "usage" });
  }
});

Deno.test("physicalUs() and its like refuse what is no 64-bit word", () => {
  for (const read of [physicalUs, logical, timestampHi, timestampLo]) {
    throws(() => read(-1n), { code: "usage" });
    throws(() => read(TIMESTAMP_MAX + 1n), { code: "usage" });
    throws(() => read(5 as unknown as bigint), { code: "usage" });
  }
});

Deno.test("timestampFromHalves() joins what timestampHi() and timestampLo() split", () => {
  fc.assert(fc.property(words, (word) => {
    equal(timestampFromHalves(timestampHi(word), timestampLo(word)), word);
  }));
});

Deno.test("addTo() adds as 64-bit numbers do", () => {
  fc.assert(fc.property(u32, u32, u32, (hi, lo, count) => {
    const sum = timestampFromHalves(hi, lo) + BigInt(count);
    if (sum > TIMESTAMP_MAX) {
      throws(() => addTo(hi, lo, count), { code: "limit" });
      equal(addToHi(hi, lo, count), 2 ** 32);
    } else {
      equal(addTo(hi, lo, count), sum);
      equal(timestampFromHalves(addToHi(hi, lo, count), addToLo(lo, count)), sum);
    }
  }));
});

Deno.test("addTo() refuses a count that is no u32", () => {
  for (const count of [-1, 0.5, NaN, 2 ** 32]) {
    throws(() => addTo(0, 0, count), { code: "usage" });
  }
});

Deno.test("compare() and compareTimestamps() order by word, then node", () => {
  const near = fc.tuple(fc.nat(2), fc.nat(2)).map(([hi, lo]) => timestampFromHalves(hi, lo));
  const any = fc.oneof(words, near);
  fc.assert(fc.property(any, nodes, any, nodes, (a, aNode, b, bNode) => {
    const [aKey, bKey] = [a * 65_536n + BigInt(aNode), b * 65_536n + BigInt(bNode)];
    const expected = aKey < bKey ? -1 : aKey > bKey ? 1 : 0;
    equal(compareTimestamps(a, b, aNode, bNode), expected);
    equal(
      compare(timestampHi(a), timestampLo(a), aNode, timestampHi(b), timestampLo(b), bNode),
      expected,
    );
  }));
});

Deno.test("compareTimestamps() sorts, and refuses nodes and words out of range", () => {
  const sorted = [9n, TIMESTAMP_MAX, 0n, 10n].sort((a, b) => compareTimestamps(a, b));
  deepEqual(sorted, [0n, 9n, 10n, TIMESTAMP_MAX]);
  throws(() => compareTimestamps(0n, -1n), { code: "usage" });
  throws(() => compareTimestamps(0n, 0n, 0, 65_536), { code: "usage" });
});
