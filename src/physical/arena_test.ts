import assert from "node:assert/strict";
import { ARENA_BYTES_MAX, REGION_BYTES, SharedArena, SPAN_BYTES } from "./arena.ts";
import { testArena } from "./arena_conformance.ts";

testArena(
  { name: "SharedArena", with: (limitBytes, check) => check(new SharedArena(limitBytes)) },
  (name, body) => Deno.test(name, body),
);

/** Runs `body` where the system's shared buffers behave as those of `faulty`. */
function withBuffers(faulty: typeof SharedArrayBuffer, body: () => void): void {
  const whole = globalThis.SharedArrayBuffer;
  globalThis.SharedArrayBuffer = faulty;
  try {
    body();
  } finally {
    globalThis.SharedArrayBuffer = whole;
  }
}

Deno.test("SharedArena refuses limits that are none", () => {
  for (const bad of ["65536", 65_536n, NaN, 65_536.5, Infinity, undefined, null, {}]) {
    assert.throws(() => new SharedArena(bad as number), { code: "usage" });
  }
  for (const bad of [-1, 0, SPAN_BYTES - 1, ARENA_BYTES_MAX + 1, 2 ** 53 - 1]) {
    assert.throws(() => new SharedArena(bad), { code: "limit" });
  }
});

Deno.test("SharedArena rounds its limit down to whole spans", () => {
  assert.equal(new SharedArena(SPAN_BYTES).limitBytes, SPAN_BYTES);
  assert.equal(new SharedArena(2 * SPAN_BYTES - 1).limitBytes, SPAN_BYTES);
  assert.throws(() => new SharedArena(2 * SPAN_BYTES - 1).grow(SPAN_BYTES + 1), {
    code: "allocation",
  });
});

Deno.test("SharedArena reaches its last byte at 8 GiB, by words, doubles, regions and views", () => {
  const arena = new SharedArena(ARENA_BYTES_MAX);
  arena.grow(REGION_BYTES + 1);
  arena.checkInvariants();
  assert.ok(arena.byteLength < 2 * REGION_BYTES, "growth past some size is not by doubling");
  assert.equal(arena.region(0).length, REGION_BYTES);
  assert.equal(arena.region(1).length, arena.byteLength - REGION_BYTES);
  arena.grow(ARENA_BYTES_MAX);
  arena.checkInvariants();
  for (const start of [REGION_BYTES, 2 ** 31, 2 ** 32, ARENA_BYTES_MAX - 16]) {
    arena.words[start / 4] = 0x0102_0304;
    arena.doubles[start / 8 + 1] = -1;
    const expected = [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf];
    assert.deepEqual([...arena.bytes(start / 16, 16)], expected);
    const region = arena.region(Math.floor(start / REGION_BYTES));
    const first = start % REGION_BYTES;
    assert.deepEqual([...region.subarray(first, first + 16)], expected);
  }
  assert.equal(arena.region(8), undefined);
});

Deno.test("SharedArena reports room that the system does not reserve", () => {
  class Refusing extends SharedArrayBuffer {
    constructor() {
      super(0);
      throw new RangeError("Array buffer allocation failed");
    }
  }
  withBuffers(Refusing as unknown as typeof SharedArrayBuffer, () => {
    assert.throws(() => new SharedArena(SPAN_BYTES + 1), (error: Error & { code?: string }) => {
      assert.equal(error.code, "allocation");
      assert.ok(error.cause instanceof RangeError);
      return true;
    });
  });
});

Deno.test("SharedArena.grow() that the system refuses leaves the arena as it was", () => {
  class Stiff extends SharedArrayBuffer {
    override grow(): never {
      throw new RangeError("SharedArrayBuffer.prototype.grow failed");
    }
  }
  withBuffers(Stiff, () => {
    const arena = new SharedArena(16 * SPAN_BYTES), { words } = arena;
    arena.words[9] = 9;
    assert.throws(() => arena.grow(SPAN_BYTES + 1), { code: "allocation" });
    arena.checkInvariants();
    assert.equal(arena.words, words);
    assert.equal(arena.words[9], 9);
    arena.grow(SPAN_BYTES);
  });
});
