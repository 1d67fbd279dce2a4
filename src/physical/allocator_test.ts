import assert from "node:assert/strict";
import fc from "fast-check";
import { SlotAllocator } from "./allocator.ts";
import { ADDRESS_BYTES, REGION_BYTES, SharedArena, SPAN_BYTES } from "./arena.ts";
import { SIZE_CLASSES, sizeClassOf, sizeOfClass } from "./size_class.ts";

const MIB = 2 ** 20;

function isFilled(bytes: Uint8Array, value: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== value) return false;
  return true;
}

/** An allocator beside the obvious one: a set of live slots, and the slots that wait by class. */
class Twin {
  readonly arena: SharedArena;
  readonly allocator: SlotAllocator;
  readonly live: { address: number; size: number; mark: number }[] = [];
  readonly waiting: number[][] = Array.from({ length: SIZE_CLASSES }, () => []);
  allocations = 0;
  frees = 0;

  constructor(limitBytes: number) {
    this.arena = new SharedArena(limitBytes);
    this.allocator = new SlotAllocator(this.arena);
  }

  allocate(size: number): void {
    const sizeClass = sizeClassOf(size), slotBytes = sizeOfClass(sizeClass);
    const reused = this.waiting[sizeClass].pop();
    const address = this.allocator.allocate(size);
    if (reused !== undefined) assert.equal(address, reused, "the slot freed last is taken first");
    const slot = this.arena.bytes(address, slotBytes);
    assert.ok(isFilled(slot, 0), "a slot comes zeroed");
    const mark = this.allocations++ % 255 + 1;
    slot.fill(mark);
    this.live.push({ address, size, mark });
  }

  free(pick: number): void {
    if (this.live.length === 0) return;
    const [{ address, size }] = this.live.splice(pick % this.live.length, 1);
    this.allocator.free(address, size);
    this.waiting[sizeClassOf(size)].push(address);
    this.frees++;
  }

  check(): void {
    this.allocator.checkInvariants();
    this.arena.checkInvariants();
    const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
    const liveBytes = sum(this.live.map(({ size }) => sizeOfClass(sizeClassOf(size))));
    const { carvedBytes, fragmentation, ...counts } = this.allocator.statistics();
    assert.deepEqual(counts, {
      allocations: this.allocations,
      frees: this.frees,
      live: this.live.length,
      liveBytes,
      freeBytes: sum(this.waiting.map((slots, index) => slots.length * sizeOfClass(index))),
    });
    assert.ok(carvedBytes % ADDRESS_BYTES === 0 && carvedBytes <= this.arena.byteLength);
    assert.equal(fragmentation, carvedBytes === 0 ? 0 : 1 - liveBytes / carvedBytes);
  }

  /** Every slot keeps its mark, stands in one region, and no two share a byte. */
  checkSlots(): void {
    let end = SPAN_BYTES;
    for (const { address, size, mark } of this.live.toSorted((a, b) => a.address - b.address)) {
      const start = address * ADDRESS_BYTES, slotBytes = sizeOfClass(sizeClassOf(size));
      assert.ok(start >= end, `slot ${address} starts before ${end}`);
      end = start + slotBytes;
      assert.equal(Math.floor(start / REGION_BYTES), Math.floor((end - 1) / REGION_BYTES));
      assert.ok(isFilled(this.arena.bytes(address, slotBytes), mark));
      if (slotBytes % 64 === 0) assert.equal(start % 64, 0);
    }
  }
}

Deno.test("SlotAllocator gives zeroed slots that never overlap, as a set of slots would", () => {
  const size = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 300 }) },
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 9000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 200_000 }) },
    { weight: 2, arbitrary: fc.constantFrom(1, 16, 17, 64, 128, 129, 1024, 4096, 65_536, 65_537) },
  );
  const step = fc.oneof(
    { weight: 3, arbitrary: size.map((size) => (twin: Twin) => twin.allocate(size)) },
    { weight: 2, arbitrary: fc.nat().map((pick) => (twin: Twin) => twin.free(pick)) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
      const twin = new Twin(64 * MIB);
      for (const run of steps) {
        run(twin);
        twin.check();
      }
      twin.checkSlots();
    }),
    { numRuns: 60 },
  );
});

Deno.test("SlotAllocator gives and takes slots of each class to 1 MiB, at both of its ends", () => {
  const twin = new Twin(512 * MIB);
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 60; index++) {
      twin.allocate(index === 0 ? 1 : sizeOfClass(index - 1) + 1);
      twin.allocate(sizeOfClass(index));
    }
    twin.check();
    twin.checkSlots();
    while (twin.live.length > 0) twin.free(7919);
    twin.check();
  }
});

Deno.test("SlotAllocator.allocate() refuses when the arena is full, and goes on after a free", () => {
  const twin = new Twin(2 * SPAN_BYTES);
  for (let i = 0; i < SPAN_BYTES / 4096; i++) twin.allocate(4096);
  twin.check();
  for (const size of [1, 16, 4096, 4097, 16 * MIB]) {
    assert.throws(() => twin.allocator.allocate(size), { code: "allocation" }, `${size} bytes`);
    twin.check();
  }
  twin.free(5);
  twin.check();
  twin.allocate(4000);
  assert.throws(() => twin.allocator.allocate(4096), { code: "allocation" });
  twin.check();
  twin.checkSlots();
});

Deno.test("SlotAllocator.allocate() says what to do when the arena is full", () => {
  const allocator = new SlotAllocator(new SharedArena(SPAN_BYTES));
  assert.throws(() => allocator.allocate(10), {
    code: "allocation",
    message:
      "Cannot allocate 16 bytes as the arena is full: its limit is 65536 bytes; delete pages, or open the bus with a larger memoryLimitBytes or with spill",
    values: { bytes: 16, limitBytes: 65_536 },
  });
  assert.deepEqual(allocator.statistics(), {
    allocations: 0,
    frees: 0,
    live: 0,
    liveBytes: 0,
    freeBytes: 0,
    carvedBytes: 0,
    fragmentation: 0,
  });
});

Deno.test("SlotAllocator never lays a slot over the edge of a region", () => {
  const arena = new SharedArena(2 * REGION_BYTES + 64 * MIB + SPAN_BYTES);
  const allocator = new SlotAllocator(arena);
  const region = REGION_BYTES / ADDRESS_BYTES, slot = 16 * MIB / ADDRESS_BYTES;
  const addresses = Array.from({ length: 130 }, () => allocator.allocate(16 * MIB));
  addresses.forEach((address, index) => {
    // The first 64 KiB stand for "none", so one slot fewer fits into region 0.
    const expected = index < 63
      ? SPAN_BYTES / ADDRESS_BYTES + index * slot
      : region + (index - 63) * slot;
    assert.equal(address, expected);
  });
  // The last region is cut short by the limit: a fourth slot.
  assert.equal(allocator.allocate(16 * MIB), 2 * region + 3 * slot);
  assert.throws(() => allocator.allocate(16 * MIB), { code: "allocation" });
  // Smaller ones find room before the first edge, where no large one fitted, and one span at the end.
  for (let k = 0; k < 15; k++) {
    const address = allocator.allocate(MIB), last = address + MIB / ADDRESS_BYTES - 1;
    assert.equal(Math.floor(last / region), 0);
    assert.ok(address >= SPAN_BYTES / ADDRESS_BYTES + 63 * slot);
  }
  assert.throws(() => allocator.allocate(MIB), { code: "allocation" });
  const spans = Array.from({ length: 16 }, () => allocator.allocate(SPAN_BYTES));
  assert.equal(Math.max(...spans), 2 * region + 4 * slot);
  assert.throws(() => allocator.allocate(1), { code: "allocation" });
  allocator.checkInvariants();
  assert.equal(allocator.statistics().fragmentation, 0);
});

Deno.test("SlotAllocator.checkInvariants() finds a slot that was freed twice", () => {
  const allocator = new SlotAllocator(new SharedArena(MIB));
  const [a, b] = [allocator.allocate(40), allocator.allocate(40)];
  allocator.free(a, 40);
  allocator.free(b, 40);
  allocator.checkInvariants();
  allocator.free(a, 40);
  assert.throws(() => allocator.checkInvariants(), { name: "MmsbAssertionError" });
});

/** Allocates slots of a size until the arena is full; marks each. */
function fill(arena: SharedArena, allocator: SlotAllocator, size: number, mark: number): number[] {
  const addresses: number[] = [];
  try {
    for (;;) {
      const address = allocator.allocate(size), bytes = arena.bytes(address, size);
      assert(isFilled(bytes, 0), "a slot comes zeroed");
      bytes.fill(mark);
      addresses.push(address);
    }
  } catch (error) {
    assert.equal((error as { code?: string }).code, "allocation");
  }
  return addresses;
}

Deno.test("SlotAllocator gives all room from one size class to another and back where the arena is full", () => {
  const arena = new SharedArena(4 * MIB), allocator = new SlotAllocator(arena);
  for (const size of [64, 4096, 80, MIB, 16, 100_000, 64]) {
    const addresses = fill(arena, allocator, size, 1);
    const slotBytes = sizeOfClass(sizeClassOf(size));
    // The first span is nobody's, and the end of each span may be too short for a slot.
    const spans = Math.ceil(4 * MIB / Math.max(SPAN_BYTES, slotBytes));
    const lost = SPAN_BYTES + spans * (SPAN_BYTES % slotBytes) + 2 * slotBytes;
    assert(addresses.length * slotBytes > 4 * MIB - lost, `${size} bytes`);
    allocator.checkInvariants();
    for (const address of addresses) allocator.retire(address, size);
  }
});

Deno.test("SlotAllocator cuts free room anew under random use of a full arena, and touches no slot in use", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 40_000 }), fc.nat(), fc.boolean()), {
        minLength: 50,
        maxLength: 200,
      }),
      (steps) => {
        const arena = new SharedArena(SPAN_BYTES * 8), allocator = new SlotAllocator(arena);
        const live: { address: number; size: number; mark: number }[] = [];
        let number = 0;
        for (const [size, pick, retires] of steps) {
          try {
            const address = allocator.allocate(size), mark = ++number % 255 + 1;
            assert(isFilled(arena.bytes(address, sizeOfClass(sizeClassOf(size))), 0));
            arena.bytes(address, size).fill(mark);
            live.push({ address, size, mark });
          } catch (error) {
            assert.equal((error as { code?: string }).code, "allocation");
            for (let i = 0; i < 1 + pick % 5 && live.length > 0; i++) {
              const [{ address, size }] = live.splice((pick + i) % live.length, 1);
              if (retires) allocator.retire(address, size);
              else allocator.free(address, size);
            }
          }
          allocator.checkInvariants();
          for (const { address, size, mark } of live) {
            assert(isFilled(arena.bytes(address, size), mark), "a slot in use keeps its bytes");
          }
        }
        const { address, size } = live[0] ?? { address: 0, size: 0 };
        if (address !== 0) allocator.free(address, size);
        const saved = allocator.save(), { freeBytes } = allocator.statistics();
        const other = new SlotAllocator(arena);
        other.load(saved);
        other.checkInvariants();
        assert.equal(other.statistics().freeBytes, freeBytes);
      },
    ),
    { numRuns: 60 },
  );
});
