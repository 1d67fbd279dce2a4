import assert from "node:assert/strict";
import fc from "fast-check";
import { METADATA_BYTES_MAX } from "../base/mod.ts";
import { decodeMetadata, encodeMetadata, type MetadataInput } from "./metadata.ts";

const entries = fc.uniqueArray(
  fc.tuple(fc.string({ unit: "grapheme", maxLength: 12 }), fc.uint8Array({ maxLength: 20 })),
  { maxLength: 6, selector: ([key]) => key },
);

Deno.test("encodeMetadata() writes count, then keys and values with their lengths", () => {
  const golden = "02000000" + "04000000" + "6e616d65" + "02000000" + "0102" +
    "02000000" + "c3a9" + "00000000";
  const value = Uint8Array.of(1, 2), none = new Uint8Array(0);
  assert.equal(encodeMetadata({ name: value, é: none }).toHex(), golden);
  assert.equal(encodeMetadata(new Map([["name", value], ["é", none]])).toHex(), golden);
  assert.deepEqual([...decodeMetadata(Uint8Array.fromHex(golden))], [["name", value], [
    "é",
    none,
  ]]);
});

Deno.test("encodeMetadata() writes nothing where there are no entries", () => {
  assert.equal(encodeMetadata({}).length, 0);
  assert.equal(encodeMetadata(new Map()).length, 0);
  assert.equal(decodeMetadata(new Uint8Array(0)).size, 0);
});

Deno.test("decodeMetadata() gives back what was encoded, in order, from any buffer", () => {
  fc.assert(fc.property(entries, fc.nat(5), (entries, before) => {
    const bytes = encodeMetadata(new Map(entries));
    assert.deepEqual([...decodeMetadata(bytes)], entries);
    const shared = new Uint8Array(new SharedArrayBuffer(before + bytes.length + 3));
    shared.fill(0xee);
    shared.set(bytes, before);
    const decoded = decodeMetadata(shared.subarray(before, before + bytes.length));
    shared.fill(0);
    assert.deepEqual([...decoded], entries, "values are copies");
  }));
});

Deno.test("decodeMetadata() refuses every cut", () => {
  fc.assert(fc.property(entries, (entries) => {
    const bytes = encodeMetadata(new Map(entries));
    for (let end = 1; end < bytes.length; end++) {
      assert.throws(() => decodeMetadata(bytes.subarray(0, end)), { code: "corrupt-log" });
    }
    assert.throws(() => decodeMetadata(Uint8Array.of(...bytes, 0)), { code: "corrupt-log" });
  }));
});

Deno.test("decodeMetadata() refuses each flipped bit, or it stands for other metadata", () => {
  fc.assert(
    fc.property(entries, (entries) => {
      const bytes = encodeMetadata(new Map(entries));
      for (let bit = 0; bit < 8 * bytes.length; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3] ^= 1 << (bit & 7);
        let decoded: Map<string, Uint8Array>;
        try {
          decoded = decodeMetadata(flipped);
        } catch (error) {
          assert.equal((error as { code: string }).code, "corrupt-log");
          continue;
        }
        assert.deepEqual(encodeMetadata(decoded), flipped);
      }
    }),
    { numRuns: 40 },
  );
});

Deno.test("decodeMetadata() refuses each length and count that is not the right one", () => {
  const bytes = encodeMetadata({ ab: Uint8Array.of(1, 2, 3), c: Uint8Array.of(4) });
  const view = new DataView(bytes.buffer);
  for (const at of [0, 4, 10, 17, 22]) {
    const right = view.getUint32(at, true);
    const wrong = [0, right - 1, right + 1, right + 2 ** 31, 2 ** 32 - 1, bytes.length];
    for (const length of wrong.filter((length) => length !== right)) {
      view.setUint32(at, length, true);
      assert.throws(() => decodeMetadata(bytes), { code: "corrupt-log" }, `${length} at ${at}`);
    }
    view.setUint32(at, right, true);
  }
  assert.equal(decodeMetadata(bytes).size, 2);
});

Deno.test("decodeMetadata() refuses a key twice and a key that is not UTF-8", () => {
  const twice = "02000000" + "01000000" + "61" + "00000000" + "01000000" + "61" + "00000000";
  const broken = "01000000" + "01000000" + "ff" + "00000000";
  for (const hex of [twice, broken]) {
    assert.throws(() => decodeMetadata(Uint8Array.fromHex(hex)), { code: "corrupt-log" });
  }
});

Deno.test("encodeMetadata() keeps any key, those of objects too", () => {
  const value = Uint8Array.of(1);
  for (const key of ["", "__proto__", "constructor", "toString", "\ufeff", "\0", "😀"]) {
    const decoded = decodeMetadata(encodeMetadata(new Map([[key, value]])));
    assert.deepEqual([...decoded], [[key, value]]);
  }
});

Deno.test("encodeMetadata() refuses keys that are no text and values that are no bytes", () => {
  const bytes = Uint8Array.of(1);
  const bad: unknown[] = [
    null,
    undefined,
    "text",
    5,
    { a: "text" },
    { a: [1, 2] },
    { a: null },
    { a: bytes, b: undefined },
    { a: new Uint16Array(1) },
    { a: bytes.buffer },
    new Map([[5, bytes]]),
    new Map([[null, bytes]]),
    { "\ud800": bytes },
  ];
  for (const input of bad) {
    assert.throws(() => encodeMetadata(input as MetadataInput), { code: "usage" });
  }
});

Deno.test("encodeMetadata() takes what is exactly as large as allowed, and no byte more", () => {
  const key = "k".repeat(1024), room = METADATA_BYTES_MAX - 4 - 8 - 1024;
  assert.equal(encodeMetadata({ [key]: new Uint8Array(room) }).length, METADATA_BYTES_MAX);
  assert.throws(() => encodeMetadata({ [key]: new Uint8Array(room + 1) }), { code: "limit" });
  assert.throws(() => encodeMetadata({ [`${key}k`]: new Uint8Array(0) }), { code: "limit" });
  assert.throws(() => encodeMetadata({ ["é".repeat(513)]: new Uint8Array(0) }), { code: "limit" });
});
