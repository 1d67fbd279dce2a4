import assert from "node:assert/strict";
import fc from "fast-check";
import { crc32 } from "./checksum.ts";

/** The definition, bit by bit: the oracle. */
function crc32BitByBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

Deno.test("crc32() gives the published check values", () => {
  assert.equal(crc32(encode("")), 0);
  assert.equal(crc32(encode("123456789")), 0xcbf43926);
  assert.equal(crc32(encode("The quick brown fox jumps over the lazy dog")), 0x414fa339);
  assert.equal(crc32(new Uint8Array(32)), 0x190a55ad);
});

Deno.test("crc32() agrees with the definition bit by bit, and is unsigned", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    const crc = crc32(bytes);
    assert.equal(crc, crc32BitByBit(bytes));
    assert(crc >= 0 && crc <= 0xffffffff);
  }));
});

Deno.test("crc32() goes on from a seed at every cut", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
    assert.equal(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut))), crc32(bytes));
  }));
});

Deno.test("crc32() reads every kind of buffer, and only the view's part of it", () => {
  const text = encode("123456789");
  const kinds: [string, ArrayBufferLike][] = [
    ["plain", new ArrayBuffer(64)],
    ["resizable", new ArrayBuffer(64, { maxByteLength: 128 })],
    ["shared", new SharedArrayBuffer(64)],
    ["growable shared", new SharedArrayBuffer(64, { maxByteLength: 128 })],
  ];
  for (const [kind, buffer] of kinds) {
    for (let offset = 0; offset < 9; offset++) {
      new Uint8Array(buffer).fill(0xaa);
      const view = new Uint8Array(buffer, offset, text.length);
      view.set(text);
      assert.equal(crc32(view), 0xcbf43926, `${kind} at ${offset}`);
    }
  }
  const growable = kinds[3][1] as SharedArrayBuffer;
  const tracking = new Uint8Array(growable).fill(0);
  growable.grow(128);
  assert.equal(crc32(tracking), crc32(new Uint8Array(128)), "a view that tracks the length");
});

Deno.test("crc32() finds every single flipped bit and every byte moved", () => {
  const bytes = encode("MMSB keeps what it was given");
  const crc = crc32(bytes);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = bytes.slice();
    copy[bit >> 3] ^= 1 << (bit & 7);
    assert.notEqual(crc32(copy), crc);
  }
  assert.notEqual(crc32(bytes.slice().reverse()), crc);
});

Deno.test("crc32() refuses a seed that is no unsigned 32-bit integer", () => {
  for (const seed of [-1, 2 ** 32, 0.5, NaN]) {
    assert.throws(() => crc32(encode("a"), seed), RangeError);
  }
});
