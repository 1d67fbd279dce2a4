/** Edges, rules and marks as part of a bus's state: digest, differences, the past, files. */

import assert from "node:assert/strict";
import { bindingOf, encodeBinding, MemoryStorage } from "../log/mod.ts";
import { MARK, PageStore } from "../physical/mod.ts";
import { compareStores } from "./compare.ts";
import { diffStores } from "./diff.ts";
import { digestOfStore } from "./digest.ts";
import { StateBus } from "./mod.ts";

/** A store with three pages, and what `change` does to it. */
function storeWith(change: (store: PageStore) => void = () => {}): PageStore {
  const store = new PageStore(2 ** 20);
  for (const id of [1, 2, 3]) {
    store.table.setActive(store.create(id, { size: 8, shard: 0, name: "" }), true);
  }
  change(store);
  return store;
}

function bind(store: PageStore): void {
  const code = { module: null, export: "", version: 1, params: null, mode: "immediate" };
  const payload = encodeBinding({ name: "mid", ...code, inputs: [1], outputs: [2], state: [] });
  store.bindings.add(bindingOf(1, payload));
  store.nextRule = 2;
}

const CHANGES: readonly (readonly [string, (store: PageStore) => void, object])[] = [
  [
    "an edge",
    (store) => void store.edges.add(store.table.rowOf(1), store.table.rowOf(3), 1),
    { kind: "edge-added", page: 3, source: 1, edge: "control" },
  ],
  ["a rule", bind, { kind: "bound", page: 2, rule: "mid", number: 1 }],
  [
    "a mark",
    (store) => void store.marks.set(2, MARK.detached, true),
    { kind: "marked", page: 2, mark: "detached" },
  ],
];

for (const [what, change, difference] of CHANGES) {
  Deno.test(`digest, diff and compare know ${what}`, () => {
    const plain = storeWith(), changed = storeWith(change);
    changed.checkInvariants();
    assert.notEqual(digestOfStore(plain), digestOfStore(changed));
    assert.equal(digestOfStore(changed), digestOfStore(storeWith(change)));
    assert.deepEqual([...diffStores(plain, changed)], [difference]);
    const [back] = [...diffStores(changed, plain)];
    assert.match(back.kind, /removed|unbound|unmarked/);
    assert.deepEqual([...diffStores(changed, storeWith(change))], []);
    assert.equal(compareStores(plain, changed).same, false);
    assert.match(compareStores(plain, changed).structure!, /not alike/);
    assert.equal(compareStores(changed, storeWith(change)).same, true);
    // An image puts it all back, and a page takes its own along.
    const image = changed.image();
    const again = storeWith();
    again.restore(image);
    assert.equal(digestOfStore(again), digestOfStore(changed));
    assert.equal(again.graphVersion, changed.graphVersion);
    for (const id of [1, 2, 3]) again.remove(id);
    again.checkInvariants();
    assert.deepEqual([again.edges.size, again.bindings.size, again.marks.size], [0, 0, 0]);
    changed.clear();
    assert.deepEqual([changed.graphVersion, changed.nextRule, changed.marks.size], [0, 1, 0]);
  });
}

Deno.test("edges live through checkpoints, a dropped log, closing and the past", async () => {
  const storage = new MemoryStorage();
  const options = { storage, checkpoints: { keep: 1, log: "drop" as const }, shards: 2 };
  const digests = new Map<number, string>();
  {
    await using bus = await StateBus.open(options);
    const pages = Array.from({ length: 6 }, () => bus.createPage({ size: 16 }));
    await bus.commit(() => pages[0].write(0, Uint8Array.of(1)));
    for (let i = 0; i < 5; i++) {
      await bus.commit(() => {
        bus.edge(pages[i], pages[i + 1], "data");
        pages[i].write(1, Uint8Array.of(i));
      });
      digests.set(bus.tickNumber, bus.digest());
      if (i === 2) await bus.checkpoint();
    }
    await bus.commit(() => bus.removeEdge(pages[0], pages[1], "data"));
    digests.set(bus.tickNumber, bus.digest());
    assert.equal(new Set(digests.values()).size, digests.size);
    assert.equal((await bus.verify()).ok, true);
    const last = bus.tickNumber;
    for (const [tick, digest] of digests) {
      if (tick < bus.horizon) continue;
      await using past = await bus.at({ tick });
      assert.equal(past.digest(), digest, `tick ${tick} of ${last}`);
    }
    const found = [];
    for await (const one of bus.diff({ tick: last - 1 }, { tick: last })) found.push(one.kind);
    assert.deepEqual(found, ["edge-removed"]);
  }
  await using bus = await StateBus.open(options);
  assert.equal(bus.digest(), digests.get(bus.tickNumber));
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("a mapped file is not taken over where the log has edges", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  const dir = await Deno.makeTempDir();
  try {
    const options = { dir, arena: "mmap" as const, shards: 1 };
    let digest = "";
    {
      await using bus = await StateBus.open(options);
      const [one, other] = [bus.createPage({ size: 8 }), bus.createPage({ size: 8 })];
      await bus.commit(() => bus.edge(one, other, "data"));
      digest = bus.digest();
    }
    await using bus = await StateBus.open(options);
    assert.equal(bus.digest(), digest);
    const { arena } = bus.opened;
    assert.equal(arena?.adopted, false);
    assert.match(arena?.reason ?? "", /it has no edges, rules and marks/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
