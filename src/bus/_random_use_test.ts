/** Random use of a bus in memory, and whether two buses stand at the very same place. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { table } from "../schema/mod.ts";
import { busAccess } from "./_inside.ts";
import { type BusStatistics, compareStores, type StateBus } from "./mod.ts";

/** One step of random use; numbers choose among the pages there are. */
export type Step =
  | { readonly do: "create"; readonly size: number; readonly name: string; readonly byte: number }
  | { readonly do: "write"; readonly page: number; readonly at: number; readonly byte: number }
  | { readonly do: "submit"; readonly page: number; readonly producer: number }
  | { readonly do: "metadata"; readonly page: number; readonly byte: number }
  | { readonly do: "delete"; readonly page: number }
  | { readonly do: "resize"; readonly page: number; readonly size: number }
  | { readonly do: "migrate"; readonly page: number; readonly shard: number }
  | { readonly do: "append"; readonly rows: number; readonly byte: number }
  | { readonly do: "stale"; readonly page: number }
  | { readonly do: "tick" }
  | { readonly do: "reset" };

const page = fc.nat(30), byte = fc.integer({ min: 1, max: 255 });

/** Steps, ticks among them. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant("create" as const),
      size: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(1024, 4096, 70_000)),
      name: fc.constantFrom("", "", "a", "b", "c"),
      byte,
    }),
    fc.record({ do: fc.constant("write" as const), page, at: fc.nat(100_000), byte }),
    fc.record({
      do: fc.constant("submit" as const),
      page,
      producer: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({ do: fc.constant("metadata" as const), page, byte }),
    fc.record({ do: fc.constant("delete" as const), page }),
    fc.record({
      do: fc.constant("resize" as const),
      page,
      size: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constant(5000)),
    }),
    fc.record({ do: fc.constant("migrate" as const), page, shard: fc.nat(3) }),
    fc.record({ do: fc.constant("append" as const), rows: fc.integer({ min: 1, max: 400 }), byte }),
    fc.record({ do: fc.constant("stale" as const), page }),
    { arbitrary: fc.record({ do: fc.constant("tick" as const) }), weight: 3 },
    fc.record({ do: fc.constant("reset" as const) }),
  ),
  { maxLength: 40 },
);

const SCHEMA = table({ value: "u8" });

/** Takes steps on a bus; what a bus refuses, it refuses. */
export async function use(bus: StateBus, taken: readonly Step[]): Promise<void> {
  for (const step of taken) {
    try {
      await take(bus, step);
    } catch (error) {
      if (!isMmsbError(error)) throw error;
    }
  }
}

async function take(bus: StateBus, step: Step): Promise<void> {
  // Not those of the table, which only the table may change.
  const pages = [...bus.pages()].filter(({ metadata }) => metadata.has("own"));
  const page = "page" in step ? pages[step.page % Math.max(1, pages.length)] : undefined;
  switch (step.do) {
    case "create":
      bus.createPage({ size: step.size, name: step.name, metadata: { own: new Uint8Array() } })
        .write(step.size - 1, Uint8Array.of(step.byte));
      break;
    case "write":
      page?.write(step.at % page.size, Uint8Array.of(step.byte));
      break;
    case "submit": {
      const batch = new DeltaBatch({ rows: 1, payloadBytes: 8 });
      batch.push(page?.id ?? 1000, 0, Uint8Array.of(step.producer));
      bus.submit(batch, { producer: step.producer }).catch(() => {});
      break;
    }
    case "metadata":
      page?.setMetadata({ note: Uint8Array.of(step.byte) });
      break;
    case "delete":
      page?.delete();
      break;
    case "resize":
      page?.resize(step.size);
      break;
    case "migrate":
      page?.migrate({ shard: step.shard });
      break;
    case "append":
      bus.createTable(SCHEMA, { name: "table" })
        .append({ value: new Uint8Array(step.rows).fill(step.byte) });
      break;
    case "stale":
      page?.write(0, Uint8Array.of(1), { expectedEpoch: 1000 });
      break;
    case "reset":
      bus.reset();
      break;
    case "tick":
      await bus.tick();
  }
}

/** Claims that two buses stand at the same place: pages, rows, slots, counters, time. */
export function assertSamePlace(actual: StateBus, expected: StateBus): void {
  const [a, b] = [actual, expected].map((bus) => busAccess().inside(bus));
  a.store.checkInvariants();
  const { same, ...difference } = compareStores(b.store, a.store);
  assert(same, JSON.stringify(difference));
  assert.deepEqual(a.position, b.position);
  assert.equal(a.store.nextPageId, b.store.nextPageId);
  assert.deepEqual(a.store.table.image(), b.store.table.image());
  assert.deepEqual(a.store.allocator.image(), b.store.allocator.image());
  assert.deepEqual(timeless(actual.stats()), timeless(expected.stats()));
  const names = (bus: StateBus) =>
    [...bus.pages()].map(({ id, name }) => [name, bus.find(name)?.id ?? id]);
  assert.deepEqual(names(actual), names(expected));
}

/** What stands, without what it took to get there. */
function timeless(stats: BusStatistics): Partial<BusStatistics> {
  const { phases: _phases, ticks: _ticks, cost: _cost, ...counts } = stats;
  return counts;
}
