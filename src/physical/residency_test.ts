/** Residency: pages go and come back with the bytes that they had, whatever the disk does. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { equalBytes, type MmsbError } from "../base/mod.ts";
import { SharedArena } from "./arena.ts";
import { TestDisk } from "./_test_disk_test.ts";
import { PageAges } from "./page_ages.ts";
import { PageStore, type SpillPlan } from "./page_store.ts";
import { PageTable } from "./page_table.ts";
import { ResidentSlots } from "./residency_slots.ts";
import { sizeClassOf, sizeOfClass } from "./size_class.ts";
import { SPILL_BLOCK_BYTES, SpillFile } from "./spill_file.ts";

function newStore(limitBytes: number, plan: Partial<SpillPlan> = {}) {
  const disk = new TestDisk();
  const store = new PageStore(limitBytes, undefined, { open: () => disk, ...plan });
  return { disk, store, residency: store.residency! };
}

/** Creates a page that is real, filled with what follows from its id. */
function addPage(store: PageStore, id: number, size: number): void {
  const row = store.create(id, { size, shard: 0, name: "" });
  store.table.setActive(row, true);
  store.view(row).set(bytesOf(id, size));
}

function bytesOf(id: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = id * 31 + i * 7 + (i >>> 8);
  return bytes;
}

function equalPage(actual: Uint8Array, id: number, size: number): void {
  assert.ok(equalBytes(actual, bytesOf(id, size)), `page ${id} has its bytes`);
}

function readPage(store: PageStore, id: number): Uint8Array {
  const row = store.table.rowOf(id), bytes = new Uint8Array(store.table.sizeOf(row));
  store.copyOut(row, 0, bytes, bytes.length);
  return bytes;
}

Deno.test("Residency gives every page back with its bytes", () => {
  const { store, residency, disk } = newStore(256 * 1024);
  const size = (id: number) => [16, 64, 100, 1000, 5000, 20_000][id % 6];
  for (let id = 1; id <= 600; id++) addPage(store, id, size(id));
  store.checkInvariants();
  assert.ok(residency.spilled > 200);
  // Looked at, they stay where they are.
  for (let id = 1; id <= 600; id++) {
    equalPage(store.view(store.table.rowOf(id)), id, size(id));
  }
  assert.equal(residency.statistics().returns, 0);
  for (const step of [1, 7, 11]) {
    for (let k = 0; k < 600; k++) {
      const id = 1 + (k * step) % 600;
      equalPage(readPage(store, id), id, size(id));
    }
    store.checkInvariants();
  }
  assert.ok(residency.statistics().returns > 1000);
  assert.ok(disk.bytes.length < 4 * residency.file.liveBytes, `${disk.bytes.length} B of file`);
  for (let id = 1; id <= 600; id++) store.remove(id);
  store.checkInvariants();
  assert.equal(residency.file.liveBytes, 0);
  store.close();
  assert.ok(disk.isClosed);
});

Deno.test("Residency moves what is left of runs that most has left", () => {
  const { store, residency, disk } = newStore(256 * 1024);
  for (let id = 1; id <= 3000; id++) addPage(store, id, 2000);
  const before = disk.bytes.length;
  for (let id = 1; id <= 3000; id++) if (id % 5 > 0) store.remove(id);
  for (let round = 0; round < 4; round++) {
    for (let id = 5; id <= 3000; id += 5) equalPage(readPage(store, id), id, 2000);
  }
  store.checkInvariants();
  assert.ok(residency.file.bytes < before / 2, `${residency.file.bytes} of ${before} bytes`);
});

Deno.test("Residency makes room of one size class from that of others", () => {
  const { store } = newStore(4 * 1024 * 1024);
  let id = 1;
  // Each fills the memory alone; what was there before has to go as a whole.
  for (const size of [64, 2 * 1024 * 1024, 16, 1024 * 1024, 4096, 3 * 1024 * 1024, 100]) {
    for (let bytes = 0; bytes < 5 * 1024 * 1024; bytes += size, id++) {
      if (size < 1000 && bytes > 200_000) break;
      addPage(store, id, size);
    }
    store.checkInvariants();
  }
  for (let k = 1; k < id; k += 17) {
    const size = store.table.sizeOf(store.table.rowOf(k));
    equalPage(readPage(store, k), k, size);
  }
  store.checkInvariants();
});

Deno.test("Residency keeps pages that are used, and has others go", () => {
  const { store, residency } = newStore(1024 * 1024);
  for (let id = 1; id <= 3800; id++) {
    addPage(store, id, 1024);
    for (const hot of [1, 2, 3]) if (hot < id) readPage(store, hot);
  }
  const { returns, evictions } = residency.statistics();
  assert.ok(evictions > 2500 && returns < 20, `${returns} returns`);
  // What is not used for some ticks goes before it has to.
  const cold = newStore(1024 * 1024, { coldAfterTicks: 3 });
  for (let id = 1; id <= 1000; id++) addPage(cold.store, id, 1024);
  const before = cold.residency.spilled;
  for (let tick = 1; tick <= 3; tick++) {
    cold.store.ages!.advance(tick);
    for (let id = 1; id <= 500; id++) readPage(cold.store, id);
    cold.residency.maintain();
    if (tick < 3) assert.equal(cold.residency.spilled, before);
  }
  assert.ok(cold.residency.spilled > before);
  for (let id = 1; id <= 500; id++) {
    assert.ok(!cold.store.table.isSpilled(cold.store.table.rowOf(id)));
  }
  cold.store.checkInvariants();
});

Deno.test("Residency refuses where all that is in memory is in use, and says by whom", () => {
  const { store, residency } = newStore(128 * 1024);
  for (let id = 1; id <= 40; id++) addPage(store, id, 4096);
  residency.beginTick();
  const ids = Int32Array.from({ length: 40 }, (_, i) => i + 1);
  assert.throws(() => residency.holdPages(ids, 40), (error: MmsbError) => {
    assert.equal(error.code, "memory-pressure");
    assert.equal(error.values.heldBytes, 31 * 4096);
    return true;
  });
  // Nobody holds them any more, so as many as there is room for can be held.
  residency.holdPages(ids, 20);
  residency.endTick();
  store.checkInvariants();
  for (let id = 1; id <= 31; id++) store.liveView(store.table.rowOf(id));
  assert.throws(() => readPage(store, 40), { code: "memory-pressure" });
  assert.throws(() => addPage(store, 41, 16), (error: MmsbError) => {
    assert.equal(error.values.viewedBytes, 31 * 4096);
    return error.code === "memory-pressure";
  });
  store.checkInvariants();
  store.remove(1);
  equalPage(readPage(store, 40), 40, 4096);
  store.checkInvariants();
});

Deno.test("Residency loses nothing where the disk is full or cannot be read", () => {
  const { store, residency, disk } = newStore(256 * 1024);
  for (let id = 1; id <= 100; id++) addPage(store, id, 4096);
  disk.writesLeft = 0;
  let id = 101;
  assert.throws(() => {
    for (; id < 200; id++) addPage(store, id, 4096);
  }, { code: "disk-full", message: /nothing is lost/ });
  store.checkInvariants();
  const { evictions } = residency.statistics();
  disk.writesLeft = Infinity;
  for (; id < 200; id++) addPage(store, id, 4096);
  assert.ok(residency.statistics().evictions > evictions);
  disk.readsFail = true;
  const gone = Array.from({ length: 199 }, (_, i) => i + 1)
    .find((id) => store.table.isSpilled(store.table.rowOf(id)))!;
  assert.throws(() => readPage(store, gone), (error: MmsbError) => {
    assert.equal(error.values.page, gone);
    return error.code === "io" && /try again/.test(error.message);
  });
  store.checkInvariants();
  disk.readsFail = false;
  for (let id = 1; id < 200; id++) equalPage(readPage(store, id), id, 4096);
});

Deno.test("Residency never gives the bytes of a damaged file", () => {
  const { store, disk } = newStore(256 * 1024);
  for (let id = 1; id <= 100; id++) addPage(store, id, 4096);
  const row = store.table.rowOf(1), good = disk.bytes.slice();
  assert.ok(store.table.isSpilled(row));
  disk.bytes.forEach((byte, i) => i % 4096 === 77 ? disk.bytes[i] = byte ^ 4 : 0);
  for (const look of [() => readPage(store, 1), () => store.view(row)]) {
    assert.throws(look, (error: MmsbError) => {
      assert.deepEqual([error.code, error.values.page], ["checksum", 1]);
      return /close the bus and open it again/.test(error.message);
    });
  }
  disk.bytes = disk.bytes.slice(0, 10);
  assert.throws(() => readPage(store, 1), { code: "checksum" });
  disk.bytes = good;
  equalPage(readPage(store, 1), 1, 4096);
  store.checkInvariants();
});

Deno.test("PageStore.image() and restore() put back pages that are not in memory", () => {
  const { store } = newStore(128 * 1024);
  for (let id = 1; id <= 100; id++) addPage(store, id, 3000 + id);
  const image = store.image();
  store.checkInvariants();
  for (let id = 1; id <= 100; id += 3) store.remove(id);
  for (let id = 101; id <= 150; id++) addPage(store, id, 64);
  const other = newStore(128 * 1024).store;
  for (const target of [store, other]) {
    target.restore(image);
    target.checkInvariants();
    assert.equal(target.table.size, 100);
    for (let id = 1; id <= 100; id++) {
      equalPage(readPage(target, id), id, 3000 + id);
    }
  }
  store.clear();
  store.checkInvariants();
  addPage(store, 1, 16);
  equalPage(readPage(store, 1), 1, 16);
});

Deno.test("ResidentSlots gives out each byte once, zeroed, and takes whole spans back", () => {
  const arena = fc.record({ size: fc.integer({ min: 1, max: 200_000 }), drop: fc.nat() });
  fc.assert(
    fc.property(fc.array(arena, { maxLength: 150 }), (steps) => {
      const arena = new SharedArena(1024 * 1024), slots = new ResidentSlots(arena);
      const live: { address: number; size: number }[] = [];
      for (const { size, drop } of steps) {
        if (drop % 3 === 0 && live.length > 0) {
          const [{ address, size }] = live.splice(drop % live.length, 1);
          slots.free(address, size);
        } else {
          try {
            const address = slots.allocate(size), bytes = arena.bytes(address, size);
            assert.ok(bytes.every((byte) => byte === 0));
            bytes.fill(1 + drop % 255);
            live.push({ address, size });
          } catch (error) {
            assert.equal((error as MmsbError).code, "allocation");
            assert.ok(!slots.hasRoom(sizeClassOf(size)));
          }
        }
        slots.checkInvariants();
      }
      const sorted = live.sort((a, b) => a.address - b.address);
      for (let i = 1; i < sorted.length; i++) {
        const end = sorted[i - 1].address + sizeOfClass(sizeClassOf(sorted[i - 1].size)) / 16;
        assert.ok(sorted[i].address >= end);
      }
      for (const { address, size } of live) slots.free(address, size);
      slots.checkInvariants();
      assert.equal(slots.freeUnits, slots.units - 1);
      assert.deepEqual([slots.statistics().live, slots.statistics().carvedBytes], [0, 0]);
    }),
    { numRuns: 40 },
  );
});

Deno.test("SpillFile keeps what was written, reuses room and is cut", () => {
  const disk = new TestDisk(), file = new SpillFile(disk);
  const pages = new Map<number, { place: number; bytes: Uint8Array }>();
  let row = 1;
  for (let round = 0; round < 200; round++) {
    const count = 1 + round * 7 % 40, bytes = bytesOf(round, 160 * count);
    const rows = Int32Array.from({ length: count }, () => row++);
    let place = file.write(bytes, rows);
    for (const [i, row] of rows.entries()) {
      pages.set(row, { place, bytes: bytes.subarray(160 * i, 160 * i + 160) });
      place += 10;
    }
    for (const [row, { place, bytes }] of pages) {
      if ((row * 2654435761 >>> 0) % 7 > 1 && pages.size < 500) continue;
      const read = new Uint8Array(160);
      assert.ok(file.read(place, read));
      assert.deepEqual(read, bytes);
      file.release(place, 160);
      pages.delete(row);
    }
    file.checkInvariants();
  }
  assert.ok(file.bytes < 2 ** 20);
  for (const { place } of pages.values()) file.release(place, 160);
  assert.equal(file.liveBytes, 0);
  file.checkInvariants();
  const large = file.write(new Uint8Array(3 * 2 ** 20), Int32Array.of(1));
  file.release(large, 3 * 2 ** 20);
  file.trim();
  assert.equal(file.bytes, 0);
  assert.equal(disk.bytes.length, 0);
  const small = new SpillFile(new TestDisk(), 4 * SPILL_BLOCK_BYTES);
  small.write(new Uint8Array(4 * SPILL_BLOCK_BYTES), Int32Array.of(1));
  assert.throws(() => small.write(new Uint8Array(16), Int32Array.of(2)), {
    code: "memory-pressure",
    message: /spill\.limitBytes/,
  });
});

Deno.test("PageAges tell the tick that wrote a page, within a round", () => {
  const table = new PageTable(5000), ages = new PageAges(table, 10);
  for (let id = 1; id <= 2000; id++) {
    const row = table.add(id, id, 16, 0);
    ages.begin(row);
  }
  assert.equal(ages.advance(11, 500), false);
  table.setEpoch(table.rowOf(7), 1);
  for (const tick of [12, 13]) ages.advance(tick, 500);
  assert.equal(ages.advance(14, 10_000), true);
  assert.deepEqual([7, 8, 1999].map((id) => ages.ageOf(table.rowOf(id))), [4, 4, 4]);
  assert.equal(ages.advance(15, 10_000), true);
  ages.touch(table.rowOf(9));
  assert.deepEqual([7, 8, 9].map((id) => ages.ageOf(table.rowOf(id))), [0, 5, 0]);
  assert.deepEqual(ages.byAge([1, 5]).map(({ pages }) => pages), [2, 0, 1998]);
  ages.checkInvariants();
});
