import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import {
  compressMask,
  decompressMask,
  MASK_FORM,
  maskBytes,
  maskOfChanges,
  maskPopulation,
  maskSpans,
  nextBit,
  packMasked,
  setBits,
} from "./mask.ts";

/** Flags as the obvious form of a mask. */
const flags: fc.Arbitrary<boolean[]> = fc.oneof(
  fc.array(fc.boolean(), { maxLength: 300, size: "max" }),
  // Runs, long ones among them.
  fc.array(fc.record({ set: fc.boolean(), count: fc.oneof(fc.nat(20), fc.nat(900)) }), {
    maxLength: 12,
    size: "max",
  }).map((runs) => runs.flatMap(({ set, count }) => new Array<boolean>(count).fill(set))),
  // Few bits far apart.
  fc.uniqueArray(fc.nat(4000), { maxLength: 40, size: "max" }).map((set) =>
    Array.from({ length: 4001 }, (_, bit) => set.includes(bit))
  ),
);

function maskOf(bits: readonly boolean[]): Uint8Array<ArrayBuffer> {
  const mask = new Uint8Array(maskBytes(bits.length));
  bits.forEach((bit, i) => mask[i >> 3] |= Number(bit) << i % 8);
  return mask;
}

Deno.test("compressMask() and decompressMask() give every mask back, in no more bytes than it has", () => {
  const forms = new Map<number, number>();
  fc.assert(
    fc.property(flags, (bits) => {
      const mask = maskOf(bits), stored = compressMask(mask, bits.length);
      assert.deepEqual(decompressMask(stored), { mask, length: bits.length });
      assert.ok(stored.length <= mask.length + 1 + 4);
      forms.set(stored[0], (forms.get(stored[0]) ?? 0) + 1);
    }),
    { numRuns: 500 },
  );
  // Each form was chosen now and then.
  for (const form of Object.values(MASK_FORM)) assert.ok(forms.get(form)! > 5, `form ${form}`);
});

Deno.test("compressMask() stores long runs in few bytes", () => {
  for (const run of [1, 127, 128, 200, 255, 256, 100_000, 16_777_216]) {
    const mask = new Uint8Array(maskBytes(run));
    setBits(mask, 0, run);
    const stored = compressMask(mask, run);
    assert.ok(stored.length <= 11, `run of ${run}`);
    assert.deepEqual(decompressMask(stored), { mask, length: run });
  }
  const between = maskOf([...Array(77).fill(false), ...Array(200).fill(true), false, false]);
  assert.equal(compressMask(between, 279).length, 1 + 2 + 1 + 2 + 1);
});

Deno.test("compressMask() refuses masks that are none", () => {
  assert.throws(() => compressMask(Uint8Array.of(0x08), 3), { code: "usage" });
  assert.throws(() => compressMask(Uint8Array.of(0, 0), 3), { code: "usage" });
  assert.throws(() => compressMask(new Uint8Array(0), 16_777_217), { code: "out-of-bounds" });
  assert.throws(() => compressMask(new Uint8Array(1), NaN), { code: "usage" });
  assert.throws(() => compressMask([1] as unknown as Uint8Array, 3), { code: "usage" });
});

Deno.test("decompressMask() refuses what is no stored mask and never gives a part of it", () => {
  const refused: readonly [string, readonly number[]][] = [
    ["nothing", []],
    ["an unknown form", [3, 8, 0]],
    ["a cut length", [0, 0x80]],
    ["a length past the largest page", [0, 0x81, 0x80, 0x80, 0x08, 0]],
    ["a length that never ends", [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ["a number longer than it need be", [0, 0x88, 0x00, 1]],
    ["a cut mask", [0, 9, 1]],
    ["a bit past the end", [0, 3, 0x08]],
    ["bytes behind it", [0, 3, 0x07, 0]],
    ["a run past the end", [1, 3, 4]],
    ["runs that end early", [1, 9, 1, 2]],
    ["an empty run", [1, 9, 1, 0, 8]],
    ["an empty set run", [1, 9, 0, 0, 9]],
    ["more set bits than bits", [2, 3, 4, 0]],
    ["gaps too wide", [2, 3, 1, 26, 0, 0, 0, 0]],
    ["a gap past the end", [2, 3, 1, 2, 3]],
    ["a bit behind the gaps", [2, 9, 1, 2, 0x07]],
    ["gaps that are cut", [2, 200, 1, 9, 8, 255]],
  ];
  for (const [what, bytes] of refused) {
    assert.throws(() => decompressMask(Uint8Array.from(bytes)), { code: "compression" }, what);
  }
  assert.throws(() => decompressMask("x" as unknown as Uint8Array), { code: "usage" });
  fc.assert(fc.property(flags, fc.nat(), fc.integer({ min: 1, max: 255 }), (bits, at, flip) => {
    const stored = compressMask(maskOf(bits), bits.length);
    const cut = stored.subarray(0, at % stored.length);
    assert.throws(() => decompressMask(cut), { code: "compression" });
    stored[at % stored.length] ^= flip;
    try {
      const { mask, length } = decompressMask(stored);
      // What it takes for one must be one: whole, with no bits past its end.
      assert.equal(mask.length, maskBytes(length));
      compressMask(mask, length);
    } catch (error) {
      assert.ok(isMmsbError(error, "compression"), String(error));
    }
  }));
});

Deno.test("maskOfChanges() sets the bit of each byte that differs, wherever the bytes lie", () => {
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 70 }),
    fc.array(fc.tuple(fc.nat(), fc.nat(255))),
    fc.nat(7),
    fc.nat(7),
    (before, changes, shiftA, shiftB) => {
      const place = (shift: number) => {
        const room = new Uint8Array(before.length + shift);
        room.set(before, shift);
        return room.subarray(shift);
      };
      const a = place(shiftA), b = place(shiftB);
      for (const [at, value] of changes) if (b.length > 0) b[at % b.length] = value;
      const expected = [...a].map((byte, i) => byte !== b[i]);
      const mask = maskOfChanges(a, b);
      assert.deepEqual(mask, maskOf(expected));
      const set = [...b].filter((_, i) => expected[i]);
      assert.equal(maskPopulation(mask), set.length);
      assert.deepEqual([...packMasked(b, mask)], set);
    },
  ));
  assert.throws(() => maskOfChanges(new Uint8Array(2), new Uint8Array(3)), { code: "usage" });
});

Deno.test("maskSpans(), nextBit(), maskPopulation() and setBits() agree with flags", () => {
  fc.assert(fc.property(flags, fc.nat(5), fc.nat(), (bits, gapMax, seed) => {
    const mask = maskOf(bits), { length } = bits;
    const covered = new Array<boolean>(length).fill(false);
    let end = -1;
    for (const span of maskSpans(mask, length, gapMax)) {
      assert.ok(span.length > 0 && (end < 0 || span.offset - end > gapMax));
      assert.ok(bits[span.offset] && bits[span.offset + span.length - 1]);
      end = span.offset + span.length;
      covered.fill(true, span.offset, end);
    }
    // Filling gaps of at most `gapMax` bits between set ones gives the same.
    const expected = bits.map((bit, i) => {
      if (bit) return true;
      const left = bits.lastIndexOf(true, i), right = bits.indexOf(true, i);
      return left >= 0 && right >= 0 && right - left - 1 <= gapMax;
    });
    assert.deepEqual(covered, expected);
    const from = length === 0 ? 0 : seed % length;
    for (const value of [0, 1] as const) {
      const found = bits.indexOf(value === 1, from);
      assert.equal(nextBit(mask, length, from, value), found < 0 ? length : found);
    }
    assert.equal(maskPopulation(mask), bits.filter((bit) => bit).length);
    const rebuilt = new Uint8Array(mask.length);
    for (const { offset, length } of maskSpans(mask, bits.length)) setBits(rebuilt, offset, length);
    assert.deepEqual(rebuilt, mask);
  }));
});

Deno.test("masks are refused where they are none or do not fit", () => {
  const any = (value: unknown) => value as Uint8Array;
  const proxy = new Proxy(new Uint8Array(1), {}), bytes = new Uint8Array(8);
  for (const mask of [undefined, null, "a", [1], {}, new Uint16Array(1), proxy].map(any)) {
    assert.throws(() => maskPopulation(mask), { code: "usage" });
    assert.throws(() => maskSpans(mask, 8), { code: "usage" });
    assert.throws(() => packMasked(bytes, mask), { code: "usage" });
    assert.throws(() => packMasked(mask, Uint8Array.of(1)), { code: "usage" });
  }
  for (const mask of [new Uint8Array(0), new Uint8Array(2)]) {
    assert.throws(() => packMasked(bytes, mask), { code: "usage" });
  }
  assert.throws(() => packMasked(new Uint8Array(3), Uint8Array.of(0x10)), { code: "usage" });
  for (const length of [-1, 9]) {
    assert.throws(() => maskSpans(Uint8Array.of(255), length), { code: "out-of-bounds" });
  }
  assert.throws(() => maskSpans(Uint8Array.of(255), NaN), { code: "usage" });
});
