/** Export and import of what a bus wrote: the same log, and the same state, there and back. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  bytesSource,
  exportStorage,
  MemoryStorage,
  prepareImport,
  readMeta,
  recover,
  type Storage,
} from "../log/mod.ts";
import { combineKind, DeltaBatch, KIND_MASKED, KIND_SET, PageStore } from "../physical/mod.ts";
import { compareStores } from "./compare.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 20 };

/** A clock that the test moves. */
function steadyClock() {
  let now = 1_700_000_000_000_000;
  return { nowUs: () => now += 10, errorUs: () => 5 };
}

function textOf(storage: Storage, canonical = false): string {
  return [...exportStorage(storage, { canonical })].map((line) => JSON.stringify(line) + "\n")
    .join("");
}

async function importText(text: string): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const source = bytesSource("export.jsonl", new TextEncoder().encode(text));
  await prepareImport(source, undefined, { nowUs: 1 })(storage);
  return storage;
}

function storeOf(storage: Storage): PageStore {
  const store = new PageStore(SMALL.memoryLimitBytes);
  recover(storage, readMeta(storage), store);
  return store;
}

type Step =
  | { readonly do: "create"; readonly size: number; readonly named: boolean }
  | { readonly do: "write"; readonly page: number; readonly at: number; readonly kind: number }
  | { readonly do: "metadata" | "delete" | "resize" | "migrate"; readonly page: number }
  | { readonly do: "submit"; readonly producer: number; readonly rows: number }
  | { readonly do: "tick" }
  | { readonly do: "reopen" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("create" as const),
    size: fc.integer({ min: 16, max: 100 }),
    named: fc.boolean(),
  }),
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("write" as const),
      page: fc.nat(7),
      at: fc.nat(7),
      kind: fc.constantFrom(KIND_SET, KIND_MASKED, combineKind("i32", "add")),
    }),
  },
  fc.record({
    do: fc.constantFrom(
      "metadata" as const,
      "delete" as const,
      "resize" as const,
      "migrate" as const,
    ),
    page: fc.nat(7),
  }),
  fc.record({
    do: fc.constant("submit" as const),
    producer: fc.integer({ min: 1, max: 3 }),
    rows: fc.integer({ min: 1, max: 4 }),
  }),
  { weight: 3, arbitrary: fc.constant({ do: "tick" as const }) },
  fc.constant({ do: "reopen" as const }),
);

/** Most runs are to have pages to work on. */
const steps: fc.Arbitrary<Step[]> = fc.array(step, { maxLength: 40, size: "max" }).map((later) => [
  { do: "create", size: 16, named: true },
  { do: "create", size: 40, named: false },
  { do: "tick" },
  ...later,
]);

/** Does the steps; where it may, it closes the bus and opens it again. */
async function written(
  steps: readonly Step[],
  { segmentBytes, reopens }: { segmentBytes?: number; reopens: boolean },
): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const clock = steadyClock();
  const options = { ...SMALL, storage, clock, segmentBytes, segmentBytesMax: segmentBytes };
  let bus = await StateBus.open(options);
  let pages: number[] = [], created: number[] = [], count = 0;
  const end = async () => {
    await bus.tick();
    pages.push(...created);
    created = [];
  };
  for (const one of steps) {
    const page = "page" in one ? pages[one.page % Math.max(1, pages.length)] : undefined;
    if (one.do === "create") {
      const name = one.named ? `page ${count}` : "";
      const metadata = { first: Uint8Array.of(count++) };
      created.push(bus.createPage({ size: one.size, name, metadata }).id);
    } else if (one.do === "tick") {
      await end();
    } else if (one.do === "reopen") {
      await end();
      if (!reopens) continue;
      await bus.close();
      bus = await StateBus.open(options);
    } else if (one.do === "submit" && pages.length > 0) {
      const batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
      const source = batch.source(`feed ${one.producer}`), timeUs = 1000 + count;
      for (let row = 0; row < one.rows; row++) {
        const options = row === 0 ? { source, timeUs } : source;
        batch.push(pages[row % pages.length], row, Uint8Array.of(count++ & 255), options);
      }
      bus.submit(batch, { producer: one.producer }).catch(() => {});
    } else if (page !== undefined) {
      change(bus, page, one, count++);
      if (one.do === "delete") pages = pages.filter((id) => id !== page);
    }
  }
  await end();
  await bus.close();
  return storage;
}

function change(bus: StateBus, id: number, one: Step, count: number): void {
  const page = bus.page(id), source = `source ${count % 3}`, intent = count % 2 ? "why" : "";
  if (one.do === "write" && one.kind === KIND_SET) {
    page.write(one.at, Uint8Array.of(count & 255, 3), { source, intent });
  } else if (one.do === "write" && one.kind === KIND_MASKED) {
    page.writeMasked(one.at, 5, Uint8Array.of(0b10101), Uint8Array.of(1, 2, count & 255));
  } else if (one.do === "write") {
    page.combine("i32", "add", 4, count, { source, timeUs: count });
  } else if (one.do === "metadata") {
    page.setMetadata({ second: Uint8Array.of(count & 255) });
  } else if (one.do === "resize") {
    page.resize(16 + count % 100);
  } else if (one.do === "migrate") {
    page.migrate({ shard: count % bus.shards });
  } else if (one.do === "delete") {
    page.delete();
  }
}

Deno.test("an export leads to the same log and state, and to the same export again", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const storage = await written(steps, { reopens: true });
      const text = textOf(storage);
      const copy = await importText(text);
      assert.equal(textOf(copy), text);
      assert.equal(compareStores(storeOf(storage), storeOf(copy)).same, true);
      await using bus = await StateBus.open({ ...SMALL, storage: copy });
      assert.equal((await bus.verify()).ok, true);
    }),
    { numRuns: 40 },
  );
});

Deno.test("the canonical export is the same for any segments and openings, and after import", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (steps) => {
      const storage = await written(steps, { reopens: false });
      const text = textOf(storage, true);
      const other = await written(steps, { reopens: true, segmentBytes: 2 ** 16 });
      assert.equal(textOf(other, true), text);
      const copy = await importText(text);
      assert.equal(textOf(copy, true), text);
      assert.equal(compareStores(storeOf(storage), storeOf(copy)).same, true);
      assert.equal(textOf(await importText(textOf(other)), true), text);
    }),
    { numRuns: 40 },
  );
});
