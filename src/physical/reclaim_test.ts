/** Retired slots, and the allocator that holds them, against a set of slots. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { SlotAllocator } from "./allocator.ts";
import { SharedArena } from "./arena.ts";
import { RetiredSlots } from "./reclaim.ts";
import { sizeClassOf, sizeOfClass } from "./size_class.ts";

const LIMIT_BYTES = 4 * 2 ** 20;

Deno.test("RetiredSlots gives back what was noted last, class by class, and counts", () => {
  const retired = new RetiredSlots();
  assert.equal(retired.pop(3), 0);
  retired.push(16, 3);
  retired.push(2 ** 29, 3);
  retired.push(48, 5);
  assert.deepEqual([retired.count, retired.bytes], [3, 2 * sizeOfClass(3) + sizeOfClass(5)]);
  assert.deepEqual([...retired.list(3)], [16, 2 ** 29]);
  assert.equal(retired.pop(3), 2 ** 29);
  const target = new Uint32Array(8);
  assert.deepEqual(retired.take(target), { sizeClass: 3, count: 1 });
  assert.equal(target[0], 16);
  assert.deepEqual(retired.take(target), { sizeClass: 5, count: 1 });
  assert.deepEqual(retired.take(target), { sizeClass: 0, count: 0 });
  retired.push(80, 0);
  retired.clear();
  assert.deepEqual([retired.count, retired.bytes, retired.countOf(0)], [0, 0, 0]);
});

type Step =
  | { readonly kind: "allocate"; readonly size: number }
  | { readonly kind: "retire" | "free"; readonly at: number }
  | { readonly kind: "reclaim"; readonly slots: number }
  | { readonly kind: "image" | "save" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("allocate"),
      size: fc.integer({ min: 1, max: 9000 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom("retire", "free"), at: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("reclaim"), slots: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("image", "save") }) },
) as fc.Arbitrary<Step>;

Deno.test("SlotAllocator with retired slots gives each slot to one, zeroed, and cuts none that it need not", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
    const arena = new SharedArena(LIMIT_BYTES);
    let allocator = new SlotAllocator(arena);
    const live: { readonly address: number; readonly size: number }[] = [];
    /** By size class: slots that nobody has, waiting or not. */
    const unused = new Map<number, number>();
    for (const one of steps) {
      if (one.kind === "allocate") {
        const sizeClass = sizeClassOf(one.size), before = allocator.statistics().carvedBytes;
        const carvedBefore = carvedOf(allocator, sizeClass);
        const address = allocator.allocate(one.size);
        const bytes = arena.bytes(address, one.size) as Uint8Array;
        assert(bytes.every((byte) => byte === 0), "a slot comes zeroed");
        bytes.fill(0xff);
        const had = unused.get(sizeClass) ?? 0;
        assert.equal(carvedOf(allocator, sizeClass) - carvedBefore, had > 0 ? 0 : 1);
        if (had > 0) assert.equal(allocator.statistics().carvedBytes, before);
        unused.set(sizeClass, Math.max(0, had - 1));
        live.push({ address, size: one.size });
      } else if (one.kind === "retire" || one.kind === "free") {
        if (live.length === 0) continue;
        const [{ address, size }] = live.splice(one.at % live.length, 1);
        const waiting = allocator.pendingSlots;
        allocator[one.kind](address, size);
        assert.equal(allocator.pendingSlots, waiting + (one.kind === "retire" ? 1 : 0));
        const sizeClass = sizeClassOf(size);
        unused.set(sizeClass, (unused.get(sizeClass) ?? 0) + 1);
      } else if (one.kind === "reclaim") {
        const waiting = allocator.pendingSlots;
        assert.equal(allocator.reclaim(one.slots), Math.min(waiting, one.slots));
      } else if (one.kind === "image") {
        allocator.restore(allocator.image());
        assert.equal(allocator.pendingSlots, 0);
      } else {
        const saved = allocator.save();
        allocator = new SlotAllocator(arena);
        allocator.load(saved);
      }
      allocator.checkInvariants();
      const statistics = allocator.statistics();
      assert.equal(statistics.live, live.length);
      for (const { live: has, pending, free, carved } of allocator.classes()) {
        assert.equal(has + pending + free, carved);
      }
      for (const { address, size } of live) {
        assert.equal(arena.bytes(address, size)[size - 1], 0xff);
      }
    }
  }));
});

function carvedOf(allocator: SlotAllocator, sizeClass: number): number {
  const slotBytes = sizeOfClass(sizeClass);
  return allocator.classes().find((one) => one.slotBytes === slotBytes)?.carved ?? 0;
}
