/** Logs with a past, for the tests of this folder: random ticks over small segments and many openings. */

import fc from "fast-check";
import { MemoryStorage, type Storage } from "../log/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import { type OpenOptions, StateBus } from "./mod.ts";

/** Small memory and segments. */
export const SMALL: OpenOptions = {
  memoryLimitBytes: 2 ** 21,
  segmentBytes: 2048,
  segmentBytesMax: 4096,
};

/** One thing that happens in a tick. */
export type Deed = readonly [
  what:
    | "create"
    | "write"
    | "add"
    | "mask"
    | "delete"
    | "resize"
    | "metadata"
    | "migrate"
    | "batch",
  page: number,
  value: number,
];

/** What happens between two ticks; `reopens` closes the bus after it. */
export interface Step {
  readonly deeds: readonly Deed[];
  readonly reopens: boolean;
}

/** Random pasts. */
export const pasts: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    deeds: fc.array(
      fc.tuple(
        fc.constantFrom(
          "create",
          "write",
          "write",
          "write",
          "add",
          "add",
          "mask",
          "delete",
          "resize",
          "metadata",
          "migrate",
          "batch",
        ),
        fc.nat(7),
        fc.nat(255),
      ),
      { minLength: 1, maxLength: 6 },
    ),
    reopens: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
  }),
  { minLength: 3, maxLength: 40 },
);

/** What a log led to, tick by tick. */
export interface Lived {
  readonly storage: Storage;
  /** The open bus; close it. */
  readonly bus: StateBus;
  /** Digest of the state after each tick; tick 0 is the first. */
  readonly digests: readonly string[];
  /** Time of each tick's commit in µs; tick 0 has 0. */
  readonly times: readonly number[];
}

/** A clock that a test moves on. */
export function steppedClock(): { nowUs(): number; errorUs(): number } {
  let us = 1_800_000_000_000_000;
  return { nowUs: () => us += 1000, errorUs: () => 1 };
}

/** Lives a past. */
export async function live(
  steps: readonly Step[],
  storage: Storage = new MemoryStorage(),
): Promise<Lived> {
  const clock = steppedClock();
  const open = () => StateBus.open({ ...SMALL, storage, clock });
  let bus = await open();
  const digests = [bus.digest()], times = [0];
  for (const { deeds, reopens } of steps) {
    for (const deed of deeds) act(bus, deed);
    const { tick, hlc, durable } = await bus.tick();
    await durable;
    if (tick === digests.length) {
      digests.push(bus.digest());
      times.push(Number(hlc >> 12n));
    }
    if (reopens) {
      await bus.close();
      bus = await open();
    }
  }
  return { storage, bus, digests, times };
}

function act(bus: StateBus, [what, number, value]: Deed): void {
  const pages = [...bus.pages()].sort((a, b) => a.id - b.id);
  const page = pages[number % Math.max(1, pages.length)];
  if (what === "create" || page === undefined) {
    if (pages.length < 8) bus.createPage({ size: 8 + value });
    return;
  }
  if (page.state !== "active") return;
  const at = 8 * (value % Math.max(1, page.size >> 3));
  const source = `feed-${value % 3}`;
  try {
    if (what === "write") {
      page.write(page.size - 1, Uint8Array.of(value), { source, timeUs: value });
    }
    if (what === "add") page.combine("f64", "add", at, value, { source, intent: "sum" });
    if (what === "mask") page.writeMasked(at, 3, Uint8Array.of(5), Uint8Array.of(value, 1));
    if (what === "delete" && value < 60) page.delete();
    if (what === "resize") page.resize(8 + value);
    if (what === "metadata") page.setMetadata({ value: Uint8Array.of(value) });
    if (what === "migrate") page.migrate({ shard: value % bus.shards });
    if (what === "batch") {
      const batch = new DeltaBatch({ rows: 4, payloadBytes: 64 });
      for (let i = 0; i < 4; i++) batch.combine(page.id, "u32", "xor", 4, value + i);
      bus.submit(batch).catch(() => {});
    }
  } catch (error) {
    // What a page refuses while it is being resized or deleted is not the matter here.
    if (!(error instanceof Error)) throw error;
  }
}
