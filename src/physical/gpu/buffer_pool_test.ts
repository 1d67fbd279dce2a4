/** Buffer pool: reuse, bounds and shortages, against a list, on a device whose memory is a number. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { BufferPool, SLAB_BYTES, slabBytesOf } from "./buffer_pool.ts";
import { MemoryDevice } from "./testdata/memory_device.ts";

const KIB = 1024;
const BYTES_MAX = 64 * KIB * KIB;

function smallDevice(memoryBytes: number): MemoryDevice {
  return new MemoryDevice(memoryBytes, 2 ** 23, BYTES_MAX);
}

Deno.test("slabBytesOf() gives the smallest slab, and wastes an eighth at most past the largest", () => {
  for (const slab of SLAB_BYTES) assert.equal(slabBytesOf(slab, BYTES_MAX), slab);
  assert.equal(slabBytesOf(1, BYTES_MAX), 4 * KIB);
  assert.equal(slabBytesOf(4 * KIB + 1, BYTES_MAX), 16 * KIB);
  assert.equal(slabBytesOf(BYTES_MAX - 1, BYTES_MAX), BYTES_MAX);
  fc.assert(fc.property(fc.integer({ min: 4 * KIB * KIB + 1, max: 2 ** 40 }), (bytes) => {
    const slab = slabBytesOf(bytes, 2 ** 50);
    assert(slab >= bytes && slab - bytes < bytes / 8 && slab % 4 === 0);
  }));
});

Deno.test("BufferPool gives out and takes back as a list does, whatever comes", async () => {
  const step = fc.record({
    kind: fc.constantFrom("acquire", "acquire", "acquire", "release", "release", "trim"),
    bytes: fc.constantFrom(1, 4096, 5000, 70_000, 5_300_000),
    usage: fc.constantFrom(0x80, 0x80, 0x8c),
    at: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60, size: "max" }),
      fc.constantFrom(2 ** 16, 2 ** 20, 2 ** 23, 2 ** 25),
      fc.constantFrom(2 ** 15, 2 ** 20, 2 ** 24),
      fc.constantFrom(2 ** 23, 2 ** 24, 2 ** 26),
      async (steps, limitBytes, cachedBytesMax, memoryBytes) => {
        const device = smallDevice(memoryBytes);
        const pool = new BufferPool(device, { limitBytes, cachedBytesMax });
        const live: GPUBuffer[] = [], cached: GPUBuffer[] = [];
        const sum = (buffers: GPUBuffer[]): number =>
          buffers.reduce((bytes, { size }) => bytes + size, 0);
        let hits = 0, misses = 0;
        for (const { kind, bytes, usage, at } of steps) {
          if (kind === "acquire") {
            const slab = slabBytesOf(bytes, BYTES_MAX);
            const found = cached.findLastIndex((b) => b.size === slab && b.usage === usage);
            if (found >= 0) {
              hits++;
              const [buffer] = cached.splice(found, 1);
              assert.equal(await pool.acquire(bytes, usage), buffer);
              live.push(buffer);
            } else if (sum(live) + slab > limitBytes) {
              await assert.rejects(pool.acquire(bytes, usage), { code: "limit" });
            } else {
              while (sum(live) + sum(cached) + slab > limitBytes) cached.shift();
              if (sum(live) + sum(cached) + slab > memoryBytes) cached.length = 0;
              if (sum(live) + slab > memoryBytes) {
                await assert.rejects(pool.acquire(bytes, usage), { code: "allocation" });
              } else {
                misses++;
                live.push(await pool.acquire(bytes, usage));
              }
            }
          } else if (kind === "release" && live.length > 0) {
            const [buffer] = live.splice(at % live.length, 1);
            cached.push(buffer);
            pool.release(buffer);
            while (sum(cached) > cachedBytesMax) cached.shift();
          } else if (kind === "trim") {
            const kept = [0, 4096, 9000, 40_000, 300_000][at % 5], before = sum(cached);
            while (sum(cached) > kept) cached.shift();
            assert.equal(pool.trim(kept), before - sum(cached));
          }
          pool.checkInvariants();
          assert.equal(device.usedBytes, sum(live) + sum(cached));
          const found = pool.statistics();
          assert.deepEqual(
            [found.hits, found.misses, found.live, found.cached],
            [hits, misses, live.length, cached.length],
          );
          assert.deepEqual([found.liveBytes, found.cachedBytes], [sum(live), sum(cached)]);
        }
        pool.close();
        assert.equal(device.usedBytes, 0);
      },
    ),
    { numRuns: 120 },
  );
});

Deno.test("BufferPool counts by slab", async () => {
  const pool = new BufferPool(smallDevice(2 ** 30));
  const small = await pool.acquire(100, 0x80);
  pool.release(small);
  assert.equal(pool.take(4096, 0x80), small);
  assert.equal(pool.take(4096, 0x80), undefined);
  await pool.acquire(8_000_000, 0x80);
  const { slabs, bytesMax } = pool.statistics();
  assert.deepEqual(slabs.map(({ slabBytes, hits, misses }) => [slabBytes, hits, misses]), [
    [4096, 1, 1],
    ...SLAB_BYTES.slice(1).map((slab) => [slab, 0, 0]),
    [0, 0, 1],
  ]);
  assert.equal(bytesMax, 4096 + slabs[6].liveBytes);
});

Deno.test("BufferPool keeps its limit while several buffers are made at a time", async () => {
  const pool = new BufferPool(smallDevice(2 ** 30), { limitBytes: 3 * 4096 });
  const made = await Promise.allSettled([1, 2, 3, 4].map((bytes) => pool.acquire(bytes, 0x80)));
  assert.deepEqual(made.map(({ status }) => status === "fulfilled"), [true, true, true, false]);
  pool.checkInvariants();
});

Deno.test("BufferPool refuses what cannot be, by code", async () => {
  const device = smallDevice(2 ** 30), pool = new BufferPool(device);
  for (const [bytes, usage] of [[2 ** 32, 8], [BYTES_MAX + 4, 8], [2 ** 23 + 4, 0x80]]) {
    await assert.rejects(pool.acquire(bytes, usage), { code: "limit" }, `${bytes}`);
  }
  for (const bytes of [0, -4, NaN, 1.5, "4", 4n, undefined]) {
    await assert.rejects(pool.acquire(bytes as number, 0x80), { code: "usage" }, String(bytes));
  }
  await assert.rejects(pool.acquire(4, 0), { code: "usage" });
  assert.throws(() => new BufferPool(device, { limitBytes: NaN }), { code: "usage" });
  assert.equal(device.made, 0);
  const buffer = await pool.acquire(4, 0x80);
  pool.release(buffer);
  assert.throws(() => pool.release(buffer));
  const pending = pool.acquire(70_000, 0x80), lent = await pool.acquire(4, 0x80);
  pool.close();
  pool.release(lent);
  await assert.rejects(pending, { code: "closed" });
  await assert.rejects(pool.acquire(4, 0x80), { code: "closed" });
  assert.equal(device.usedBytes, 0);
});
