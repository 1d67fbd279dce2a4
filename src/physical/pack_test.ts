import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import { PageStore } from "./page_store.ts";
import { sizeClassOf, sizeOfClass } from "./size_class.ts";

const LIMIT = 512 * 1024;
const SIZES = [1, 16, 60, 1000, 5000, 20_000, 40_000, 65_536];

/** A store, and what each of its pages should hold. */
class Twin {
  readonly store = new PageStore(LIMIT);
  readonly sizes = new Map<number, number>();
  #next = 1;

  create(size: number): boolean {
    try {
      const row = this.store.create(this.#next, { size, shard: 0, name: "" });
      assert.ok(this.store.view(row).every((byte) => byte === 0), "a new page is zero");
      this.store.table.setActive(row, true);
      this.store.view(row).fill(this.#next);
    } catch (error) {
      if (!(error instanceof MmsbError) || error.code !== "allocation") throw error;
      return false;
    }
    this.sizes.set(this.#next++, size);
    return true;
  }

  remove(page: number): void {
    this.store.remove(page);
    this.sizes.delete(page);
  }

  /** Bytes of slots that no page has. */
  get room(): number {
    let used = 0;
    for (const size of this.sizes.values()) used += sizeOfClass(sizeClassOf(size));
    return LIMIT - 65_536 - used;
  }

  check(): void {
    this.store.checkInvariants();
    for (const [page, size] of this.sizes) {
      const bytes = this.store.view(this.store.table.rowOf(page));
      assert.equal(bytes.length, size);
      assert.ok(bytes.every((byte) => byte === (page & 255)), `page ${page} has its bytes`);
    }
    for (const { live, pending, free, carved } of this.store.allocator.classes()) {
      assert.equal(live + pending + free, carved);
    }
  }
}

Deno.test("A store whose pages may be moved refuses a page only where there are not enough free bytes", () => {
  let packed = 0;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(3), fc.nat(1000), fc.nat(60)), { minLength: 20, maxLength: 30 }),
      (steps) => {
        const twin = new Twin();
        for (const [kind, a, count] of steps) {
          const pages = [...twin.sizes.keys()];
          if (kind === 0) pages.filter((page) => page % 3 === a % 3).forEach((p) => twin.remove(p));
          else {
            for (let i = 0; i < count; i++) {
              const size = SIZES[(a + i * kind) % SIZES.length];
              const slotBytes = sizeOfClass(sizeClassOf(size)), { room } = twin;
              if (twin.create(size)) continue;
              // Where they may not be moved, there may be room in pieces only.
              const { moves } = twin.store.table;
              twin.store.isMovable = true;
              assert.equal(twin.create(size), room >= slotBytes, `${size} bytes of ${room}`);
              twin.store.isMovable = false;
              if (twin.store.table.moves > moves && room >= slotBytes) packed++;
              if (room < slotBytes) break;
            }
          }
          twin.check();
        }
      },
    ),
    { numRuns: 12 },
  );
  assert.ok(packed > 3, `${packed} times pages were moved`);
});

Deno.test("PageStore.resize() of pages that may be moved takes the room that there is in pieces", () => {
  const twin = new Twin();
  while (twin.create(16_384));
  for (const page of [...twin.sizes.keys()]) if (page % 2 === 0) twin.remove(page);
  assert.throws(() => twin.store.resize(1, 40_000), { code: "allocation" });
  twin.store.isMovable = true;
  twin.store.resize(1, 40_000);
  twin.store.view(twin.store.table.rowOf(1)).fill(1);
  twin.sizes.set(1, 40_000);
  twin.check();
});

Deno.test("SlotAllocator gives what is left of a span, and the end of the arena, to other sizes", () => {
  const twin = new Twin();
  // One slot of each: the spans that they come from would be more than half of the arena.
  for (const size of [16, 32, 64, 128, 256, 512]) assert.ok(twin.create(size));
  while (twin.create(4096));
  assert.ok(twin.room < 6 * 4096, `${twin.room} bytes are left`);
  while (twin.create(16));
  assert.equal(twin.room, 0);
  twin.check();
});

Deno.test("SlotAllocator keeps what is left of spans in what is saved", () => {
  const twin = new Twin();
  // Twelve slots of 5 KiB in a span, and 4 KiB behind them.
  for (let i = 0; i < 30; i++) assert.ok(twin.create(5000));
  const other = new PageStore(LIMIT);
  other.restore(twin.store.image());
  other.checkInvariants();
  assert.equal(other.allocator.statistics().freeBytes, 2 * 4096);
  twin.check();
});
