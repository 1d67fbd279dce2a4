/** Images of a store: what is put back is what was there, in this store and in another one. */

import assert from "node:assert/strict";
import { MmsbError } from "../base/mod.ts";
import { PageStore, type StoreImage } from "./page_store.ts";

const LIMIT_BYTES = 2 ** 22;

/** A store with pages 1 to `count`, each full of its id, and holes where every third was. */
function storeOf(count: number): PageStore {
  const store = new PageStore(LIMIT_BYTES);
  for (let id = 1; id <= count; id++) {
    const birth = { size: 10 * id, shard: id % 3, name: id % 2 === 0 ? `page ${id}` : "" };
    const row = store.create(id, { ...birth, metadata: new Map([["id", Uint8Array.of(id)]]) });
    store.table.setActive(row, true);
    change(store, id, id);
  }
  for (let id = 3; id <= count; id += 3) store.remove(id);
  return store;
}

/** What a delta does to a page. */
function change(store: PageStore, id: number, byte: number): void {
  const row = store.table.rowOf(id);
  store.view(row).fill(byte);
  store.table.setEpoch(row, store.table.epoch(row) + 1);
}

function holds(store: PageStore, image: StoreImage): void {
  store.checkInvariants();
  assert.deepEqual(store.image(), image);
}

Deno.test("PageStore.restore() puts back changes, births, deaths, names and metadata", () => {
  const store = storeOf(20), image = store.image();
  for (let round = 0; round < 3; round++) {
    change(store, 5, 99);
    store.remove(8);
    store.create(21, { size: 80, shard: 0, name: "page 8" });
    store.setMetadata(5, new Map());
    store.table.markClean(store.table.rowOf(5));
    store.migrate(7, 2);
    assert.deepEqual(store.restore(image), { pages: 2, bytes: 130 });
    holds(store, image);
    // It is the image's own store again, though `holds` took another image.
    store.restore(image);
  }
});

Deno.test("PageStore.restore() puts back a page that was resized to and fro", () => {
  const store = storeOf(20), image = store.image();
  // Within its slot: bytes go, the epoch stays.
  store.resize(5, 49);
  store.resize(5, 50);
  assert.equal(store.view(store.table.rowOf(5))[49], 0);
  store.restore(image);
  holds(store, image);
  store.restore(image);
  store.resize(5, 5000);
  store.restore(image);
  holds(store, image);
});

Deno.test("PageStore.restore() fills another store, whatever that one holds", () => {
  const image = storeOf(20).image();
  for (const other of [new PageStore(LIMIT_BYTES), storeOf(3), storeOf(40)]) {
    other.restore(image);
    holds(other, image);
  }
});

Deno.test("PageStore.clear() leaves a store like a new one, and restore() brings all back", () => {
  const store = storeOf(20), image = store.image(), empty = new PageStore(LIMIT_BYTES).image();
  store.clear();
  holds(store, empty);
  assert.equal(store.find("page 2"), 0);
  for (let id = 1; id <= 20; id++) {
    const row = store.create(id, { size: 10 * id, shard: 0, name: "" });
    assert(store.view(row).every((byte) => byte === 0), `page ${id}`);
  }
  store.restore(image);
  holds(store, image);
});

Deno.test("PageStore.restore() of more than a store has room for changes nothing", () => {
  const big = new PageStore(LIMIT_BYTES);
  big.create(1, { size: 2 ** 21, shard: 0, name: "" });
  const small = new PageStore(2 ** 18), empty = small.image();
  small.create(1, { size: 16, shard: 0, name: "kept" });
  const before = small.image();
  assert.throws(() => small.restore(big.image()), (error) => {
    return error instanceof MmsbError && error.code === "allocation";
  });
  holds(small, before);
  small.restore(empty);
  holds(small, empty);
});

Deno.test("PageStore.restore() gives ids of many blocks their rows again", () => {
  const store = new PageStore(LIMIT_BYTES);
  const ids = [1, 65_535, 65_536, 200_000, 4_000_000_000];
  for (const id of ids) store.create(id, { size: 16, shard: 0, name: "" });
  const image = store.image();
  store.remove(65_536);
  store.create(70_000, { size: 16, shard: 0, name: "" });
  store.remove(200_000);
  store.restore(image);
  holds(store, image);
  assert(ids.every((id) => store.table.rowOf(id) > 0));
  assert.equal(store.table.rowOf(70_000), 0);
});
