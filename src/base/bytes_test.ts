import assert from "node:assert/strict";
import fc from "fast-check";
import {
  alignUp,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  formatBytes,
  formatCount,
  formatRate,
  fromHex,
  toHex,
} from "./bytes.ts";

/** Gives the same bytes over shared memory, starting at an offset. */
function shared(bytes: Uint8Array, offset = 0): Uint8Array {
  const copy = new Uint8Array(new SharedArrayBuffer(offset + bytes.length), offset);
  copy.set(bytes);
  return copy;
}

Deno.test("encodeUtf8() and decodeUtf8() give every text back, from shared memory too", () => {
  const character = fc.integer({ min: 0, max: 0x10ffff })
    .filter((code) => code < 0xd800 || code > 0xdfff)
    .map((code) => String.fromCodePoint(code));
  fc.assert(fc.property(fc.string({ unit: character }), (text) => {
    const bytes = encodeUtf8("name", text, 1024);
    assert.equal(decodeUtf8("name", bytes), text);
    assert.equal(decodeUtf8("name", shared(bytes, 3)), text);
  }));
});

Deno.test("decodeUtf8() keeps a byte order mark", () => {
  assert.equal(decodeUtf8("name", encodeUtf8("name", "\ufeffa", 10)), "\ufeffa");
});

Deno.test("encodeUtf8() counts bytes, not characters", () => {
  assert.equal(encodeUtf8("name", "€€", 6).length, 6);
  for (const [text, bytes] of [["€€", 6], ["abcdef", 6], ["😀a", 5]] as const) {
    assert.throws(() => encodeUtf8("name", text, bytes - 1), (error) => {
      assert.deepEqual((error as { values: unknown }).values, {
        name: "name",
        bytes,
        bytesMax: bytes - 1,
      });
      return (error as { code: string }).code === "limit";
    });
  }
});

Deno.test("encodeUtf8() refuses half of a surrogate pair", () => {
  for (const text of ["\ud800", "a\udc00b", "\udc00\ud800"]) {
    assert.throws(() => encodeUtf8("name", text, 100), { code: "usage" });
  }
});

Deno.test("decodeUtf8() refuses broken bytes with the code asked for, and reads on after", () => {
  const broken = [[0xff], [0xc3], [0x80], [0xed, 0xa0, 0x80], [0xc0, 0x80], [
    0xf5,
    0x80,
    0x80,
    0x80,
  ]];
  for (const bytes of broken) {
    assert.throws(() => decodeUtf8("source", Uint8Array.from(bytes), "corrupt-log"), {
      code: "corrupt-log",
      message: "Cannot read the source: its bytes are not UTF-8",
    });
    assert.equal(decodeUtf8("source", Uint8Array.of(0x61)), "a");
  }
});

Deno.test("toHex() and fromHex() are inverse, and fromHex() takes either case", () => {
  assert.equal(toHex(Uint8Array.of(0, 15, 16, 255)), "000f10ff");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    const hex = toHex(bytes);
    assert.deepEqual(fromHex(hex), bytes);
    assert.deepEqual(fromHex(hex.toUpperCase()), bytes);
    assert.equal(toHex(shared(bytes)), hex);
  }));
});

Deno.test("fromHex() refuses an odd number of digits and other characters", () => {
  for (const hex of ["0", "0g", "0x00", " 00", "00 ", "-1", "00\n"]) {
    assert.throws(() => fromHex(hex), { code: "usage" }, JSON.stringify(hex));
  }
});

Deno.test("equalBytes() agrees with comparing hex, at every offset and over any buffer", () => {
  const bytes = fc.uint8Array({ minLength: 0, maxLength: 150 });
  fc.assert(fc.property(bytes, fc.nat(8), fc.nat(8), fc.nat(200), (a, offsetA, offsetB, flip) => {
    const left = shared(a, offsetA);
    const right = shared(a, offsetB);
    assert(equalBytes(left, right));
    assert(equalBytes(a, left));
    if (flip < a.length) {
      right[flip] ^= 1;
      assert(!equalBytes(left, right));
      assert(!equalBytes(right, a));
    }
    assert(!equalBytes(a, shared(Uint8Array.of(...a, 0))));
  }));
});

Deno.test("equalBytes() finds a difference at each place of a long array", () => {
  const a = new Uint8Array(131);
  for (let i = 0; i < a.length; i++) {
    const b = a.slice();
    b[i] = 0x80;
    assert(!equalBytes(a, b), `at ${i}`);
  }
});

Deno.test("alignUp() gives the smallest multiple that is not less, past 32 bits too", () => {
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 2 ** 50 }),
    fc.oneof(fc.constantFrom(1, 2, 4, 8, 16, 4096, 65536), fc.integer({ min: 1, max: 1000 })),
    (value, alignment) => {
      const aligned = alignUp(value, alignment);
      assert.equal(aligned % alignment, 0);
      assert(aligned >= value && aligned - value < alignment);
    },
  ));
});

Deno.test("alignUp() refuses what is no size", () => {
  for (const [value, alignment] of [[-1, 8], [0.5, 8], [NaN, 8], [8, 0], [8, -8], [8, 0.5]]) {
    assert.throws(() => alignUp(value, alignment), { name: "MmsbAssertionError" });
  }
});

Deno.test("formatBytes() writes three digits and the unit, at each edge", () => {
  const cases: [number, string][] = [
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [1024 ** 2 - 1, "1 MiB"],
    [10.25 * 1024, "10.3 KiB"],
    [64 * 1024 ** 2, "64 MiB"],
    [64 * 1024 ** 3, "64 GiB"],
    [5000 * 1024 ** 5, "5000 PiB"],
    [-2048, "-2 KiB"],
    [NaN, "NaN"],
    [Infinity, "Infinity"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

Deno.test("formatCount() and formatRate() write thousands as K, M, G", () => {
  const cases: [number, string][] = [
    [0, "0"],
    [0.25, "0.25"],
    [999, "999"],
    [999.6, "1K"],
    [1000, "1K"],
    [782_000, "782K"],
    [999_999, "1M"],
    [1_234_567, "1.23M"],
    [73e6, "73M"],
    [8e9, "8G"],
  ];
  for (const [count, text] of cases) {
    assert.equal(formatCount(count), text);
    assert.equal(formatRate(count), `${text}/s`);
    assert.equal(formatRate(count, "rows"), `${text} rows/s`);
  }
  assert.equal(formatRate(1.5 * 2 ** 30, "B"), "1.5 GiB/s");
});
