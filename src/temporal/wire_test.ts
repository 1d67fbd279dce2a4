import { deepEqual, equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { compareTimestamps, PHYSICAL_US_MAX, TIMESTAMP_MAX, timestampOf } from "./timestamp.ts";
import {
  decodeInteroperable,
  decodeSortable,
  decodeText,
  encodeInteroperable,
  encodeSortable,
  encodeText,
  INTEROPERABLE_BYTES,
  type NodeTimestamp,
  SORTABLE_BYTES,
  TEXT_CHARACTERS,
} from "./wire.ts";
import golden from "./testdata/golden_timestamps.json" with { type: "json" };

/** Timestamps and their forms, packed by another program. */
const GOLDEN = golden.golden.map((one) => ({ ...one, timestamp: BigInt(one.timestamp) }));

const stamps: fc.Arbitrary<NodeTimestamp> = fc.record({
  timestamp: fc.oneof(
    fc.bigInt(0n, TIMESTAMP_MAX),
    fc.bigInt(0n, 20_000n),
    fc.bigInt(timestampOf(1_767_225_600_000_000, 0), timestampOf(1_767_225_600_000_009, 0)),
  ),
  node: fc.oneof(fc.nat(65_535), fc.nat(2)),
});

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("encodeSortable(), encodeInteroperable() and encodeText() give the golden forms", () => {
  for (const { timestamp, node, physicalUs, logical, ...forms } of GOLDEN) {
    equal(timestamp, timestampOf(physicalUs, logical));
    equal(toHex(encodeSortable(timestamp, node)), forms.sortable);
    equal(toHex(encodeInteroperable(timestamp, node)), forms.interoperable);
    equal(encodeText(timestamp, node), forms.text);
  }
  equal(GOLDEN[0].timestamp, 0n);
  equal(GOLDEN[GOLDEN.length - 1].timestamp, TIMESTAMP_MAX);
});

Deno.test("decodeSortable(), decodeInteroperable() and decodeText() read the golden forms", () => {
  for (const { timestamp, node, sortable, interoperable, text } of GOLDEN) {
    deepEqual(decodeSortable(fromHex(sortable)), { timestamp, node });
    deepEqual(decodeInteroperable(fromHex(interoperable)), { timestamp, node });
    deepEqual(decodeText(text), { timestamp, node });
  }
});

Deno.test("decodeInteroperable() refuses the golden bytes that are no timestamp", () => {
  for (const { interoperable, why } of golden.refused) {
    throws(() => decodeInteroperable(fromHex(interoperable)), { code: "usage" }, why);
  }
});

Deno.test("All forms go round and have their fixed size", () => {
  fc.assert(fc.property(stamps, (stamp) => {
    const { timestamp, node } = stamp;
    const sortable = encodeSortable(timestamp, node);
    const interoperable = encodeInteroperable(timestamp, node);
    const text = encodeText(timestamp, node);
    deepEqual(decodeSortable(sortable), stamp);
    deepEqual(decodeInteroperable(interoperable), stamp);
    deepEqual(decodeText(text), stamp);
    equal(sortable.length, SORTABLE_BYTES);
    equal(interoperable.length, INTEROPERABLE_BYTES);
    equal(text.length, TEXT_CHARACTERS);
  }));
});

Deno.test("encodeSortable() and encodeText() sort as the timestamps do", () => {
  fc.assert(fc.property(stamps, stamps, (a, b) => {
    const order = compareTimestamps(a.timestamp, b.timestamp, a.node, b.node);
    const [aText, bText] = [encodeText(a.timestamp, a.node), encodeText(b.timestamp, b.node)];
    equal(aText < bText ? -1 : aText > bText ? 1 : 0, order);
    // Of equal length, hexadecimal text orders as the bytes do.
    const aHex = toHex(encodeSortable(a.timestamp, a.node));
    const bHex = toHex(encodeSortable(b.timestamp, b.node));
    equal(aHex < bHex ? -1 : aHex > bHex ? 1 : 0, order);
  }));
});

Deno.test("decodeSortable() reads from the middle of a buffer", () => {
  const buffer = new Uint8Array(32);
  buffer.set(encodeSortable(77n, 5), 11);
  deepEqual(decodeSortable(buffer.subarray(11, 21)), { timestamp: 77n, node: 5 });
});

Deno.test("Decoding refuses every other length", () => {
  for (let length = 0; length < 24; length++) {
    const bytes = new Uint8Array(length);
    if (length !== SORTABLE_BYTES) throws(() => decodeSortable(bytes), { code: "usage" });
    if (length !== INTEROPERABLE_BYTES) throws(() => decodeInteroperable(bytes), { code: "usage" });
  }
  throws(() => decodeSortable([] as unknown as Uint8Array), { code: "usage" });
  throws(() => decodeText(7 as unknown as string), { code: "usage" });
});

Deno.test("Encoding refuses a timestamp or a node out of range", () => {
  for (const encode of [encodeSortable, encodeInteroperable, encodeText]) {
    throws(() => encode(-1n), { code: "usage" });
    throws(() => encode(TIMESTAMP_MAX + 1n), { code: "usage" });
    throws(() => encode(0n, 65_536), { code: "usage" });
    throws(() => encode(0n, 0.5), { code: "usage" });
  }
});

function interoperable(ns: bigint, counter: bigint): Uint8Array {
  const bytes = new Uint8Array(INTEROPERABLE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, ns, true);
  view.setBigInt64(8, counter, true);
  return bytes;
}

Deno.test("decodeInteroperable() refuses what a timestamp cannot hold", () => {
  const lastNs = BigInt(PHYSICAL_US_MAX) * 1000n;
  for (const ns of [-1000n, lastNs + 1000n, 2n ** 63n - 808n, -(2n ** 63n)]) {
    throws(() => decodeInteroperable(interoperable(ns, 0n)), { code: "usage" });
    throws(() => decodeInteroperable(interoperable(ns, 0n), { subMicrosecond: "up" }), {
      code: "usage",
    });
  }
  for (const counter of [-1n, 4096n, 2n ** 63n - 1n]) {
    throws(() => decodeInteroperable(interoperable(0n, counter)), { code: "usage" });
  }
  throws(() => decodeInteroperable(interoperable(1001n, 0n)), { code: "usage" });
  throws(() => decodeInteroperable(interoperable(0n, 0n), { round: "up" } as never), {
    code: "usage",
  });
  throws(() => decodeInteroperable(interoperable(0n, 0n), { subMicrosecond: "down" as "up" }), {
    code: "usage",
  });
});

Deno.test("decodeInteroperable() rounding up is never earlier and keeps the order", () => {
  const decode = (ns: bigint, counter: bigint) =>
    decodeInteroperable(interoperable(ns, counter), { subMicrosecond: "up" }).timestamp;
  equal(decode(1001n, 7n), timestampOf(2, 0));
  equal(decode(2000n, 7n), timestampOf(2, 7));
  const times = fc.bigInt(0n, 5000n);
  const counters = fc.bigInt(0n, 3n);
  fc.assert(fc.property(times, counters, times, counters, (aNs, aCounter, bNs, bCounter) => {
    const [a, b] = [decode(aNs, aCounter), decode(bNs, bCounter)];
    equal((a >> 12n) * 1000n >= aNs, true);
    if (aNs < bNs || (aNs === bNs && aCounter < bCounter)) equal(a <= b, true);
  }));
});

Deno.test("decodeText() takes the one spelling only", () => {
  const refused = [
    "",
    "2026-01-01T00:00:00.000000Z-00F-0000",
    "2026-01-01T00:00:00.000000z-00f-0000",
    "2026-01-01 00:00:00.000000Z-00f-0000",
    "2026-01-01T00:00:00.000000+00:00-00f-0000",
    "2026-01-01T00:00:00.000Z-00f-0000",
    "2026-01-01T00:00:00.000000Z-00f-0000\n",
    " 2026-01-01T00:00:00.000000Z-00f-0000",
    "2026-02-30T00:00:00.000000Z-00f-0000",
    "2026-13-01T00:00:00.000000Z-00f-0000",
    "2026-01-01T24:00:00.000000Z-00f-0000",
    "2026-01-01T23:59:60.000000Z-00f-0000",
    "1969-12-31T23:59:59.999999Z-000-0000",
    "2112-09-17T23:53:47.370496Z-000-0000",
    "9999-12-31T23:59:59.999999Z-000-0000",
  ];
  for (const text of refused) throws(() => decodeText(text), { code: "usage" }, text);
});

Deno.test("decodeText() refuses or reads back exactly what it was given", () => {
  const one = encodeText(timestampOf(1_767_225_600_000_000, 9), 10);
  const edits = fc.tuple(fc.nat(one.length - 1), fc.constantFrom(..."0123456789afAZ-: T"));
  fc.assert(fc.property(edits, ([at, character]) => {
    const text = one.slice(0, at) + character + one.slice(at + 1);
    let decoded: NodeTimestamp;
    try {
      decoded = decodeText(text);
    } catch (error) {
      equal((error as { code: string }).code, "usage");
      return;
    }
    equal(encodeText(decoded.timestamp, decoded.node), text);
  }));
});
