import assert from "node:assert/strict";
import { type PageBirth, PageStore } from "../physical/mod.ts";
import { compareStores } from "./mod.ts";

/** A store of pages by id, each with its bytes. */
function storeOf(pages: Readonly<Record<number, Partial<PageBirth> & { bytes?: number[] }>>) {
  const store = new PageStore(2 ** 18);
  for (const [id, { bytes = [0, 0, 0], ...birth }] of Object.entries(pages)) {
    const row = store.create(Number(id), { size: bytes.length, shard: 0, name: "", ...birth });
    store.view(row).set(bytes);
  }
  return store;
}

const NOTHING = { divergence: 0, missing: [], extra: [], different: [] };

Deno.test("compareStores() finds nothing in stores that are the same", () => {
  const metadata = new Map([["a", Uint8Array.of(1)]]);
  const make = () => storeOf({ 1: { bytes: [1, 2] }, 7: { name: "seven", metadata, shard: 3 } });
  assert.deepEqual(compareStores(make(), make()), { ...NOTHING, pages: 2, bytes: 5, same: true });
});

Deno.test("compareStores() takes the root of the squared byte differences", () => {
  const found = compareStores(
    storeOf({ 1: { bytes: [3, 10, 5] }, 2: { bytes: [9] } }),
    storeOf({ 1: { bytes: [0, 10, 9] }, 2: { bytes: [9] } }),
  );
  assert.deepEqual(found, { ...NOTHING, divergence: 5, pages: 2, bytes: 4, same: false });
});

Deno.test("compareStores() names pages that only one has, and pages that differ beside their bytes", () => {
  const a = storeOf({ 1: {}, 2: {}, 3: { bytes: [0, 0] }, 4: {}, 5: {}, 6: {}, 8: {} });
  const metadata = new Map([["a", Uint8Array.of(1)]]);
  const b = storeOf({
    2: { name: "b" },
    3: {},
    4: { shard: 1 },
    5: { metadata },
    6: {},
    8: {},
    9: {},
  });
  b.table.setEpoch(b.table.rowOf(6), 2 ** 32);
  const { missing, extra, different, same } = compareStores(a, b);
  assert.deepEqual({ missing, extra, different, same }, {
    missing: [1],
    extra: [9],
    different: [2, 3, 4, 5, 6],
    same: false,
  });
});

Deno.test("compareStores() compares metadata in their order", () => {
  const one = Uint8Array.of(1);
  const withMetadata = (...keys: string[]) =>
    storeOf({ 1: { metadata: new Map(keys.map((key) => [key, one])) } });
  assert.equal(compareStores(withMetadata("a", "b"), withMetadata("a", "b")).same, true);
  assert.deepEqual(compareStores(withMetadata("a", "b"), withMetadata("b", "a")).different, [1]);
  assert.deepEqual(compareStores(withMetadata("a", "b"), withMetadata("a", "c")).different, [1]);
});
