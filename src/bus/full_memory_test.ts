/** Full memory: a directory opens under the limit under which it was written, however its pages came to stand there. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import { busAccess } from "./_inside.ts";
import type { OpenOptions } from "./options.ts";
import { StateBus } from "./state_bus.ts";

const LIMIT = 512 * 1024;
const SIZES = [1, 60, 1000, 5000, 12_000, 20_000, 40_000, 65_536];

/** Does something that there may be no room for. */
async function ifRoom(change: () => unknown): Promise<boolean> {
  try {
    await change();
    return true;
  } catch (error) {
    if (!(error instanceof MmsbError) || error.code !== "allocation") throw error;
    return false;
  }
}

/** Fills a bus to its limit and changes it there; gives how often it had no room. */
async function churn(bus: StateBus, steps: readonly [number, number, number][]): Promise<number> {
  let refused = 0;
  for (const [kind, a, b] of steps) {
    const pages = [...bus.pages()];
    if (kind < 2 || pages.length === 0) {
      const size = SIZES[a % SIZES.length], most = Math.min(400, LIMIT / size);
      for (let left = 1 + b % most; left > 0; left--) {
        if (await ifRoom(() => bus.createPage({ size }).write(size - 1, Uint8Array.of(a)))) {
          continue;
        }
        refused++;
        break;
      }
      await bus.commit(() => {});
    } else if (kind === 2) {
      await bus.commit(() => pages.forEach((page, i) => (i * a) % 7 < b % 6 && page.delete()));
    } else {
      await ifRoom(() => bus.commit(() => pages[a % pages.length].resize(SIZES[b % SIZES.length])));
    }
  }
  return refused;
}

Deno.test("StateBus.open() has room for what was written under the same limit", async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(3), fc.nat(1000), fc.nat(1000)), { minLength: 30, maxLength: 40 }),
      async (steps) => {
        const dir = await Deno.makeTempDir();
        const options: OpenOptions = { dir, memoryLimitBytes: LIMIT, durability: "buffered" };
        try {
          let digest: string, tick: number;
          {
            await using bus = await StateBus.open(options);
            refused += await churn(bus, steps);
            ({ tickNumber: tick } = bus);
            digest = bus.digest();
            assert.equal((await bus.verify()).ok, true);
          }
          for (const makesCheckpoint of [true, false]) {
            await using bus = await StateBus.open(options);
            assert.equal(bus.digest(), digest);
            busAccess().inside(bus).store.checkInvariants();
            await using past = await bus.at({ tick: Math.floor(tick / 2) });
            assert.equal(past.tickNumber, Math.floor(tick / 2));
            if (makesCheckpoint) await bus.checkpoint();
            else assert.equal(bus.opened.checkpoint?.tick, tick);
          }
        } finally {
          await Deno.remove(dir, { recursive: true });
        }
      },
    ),
    { numRuns: 8 },
  );
  assert.ok(refused > 8, `${refused} pages were refused`);
});

Deno.test("StateBus.refresh() never moves pages whose live bytes were given out", async () => {
  const dir = await Deno.makeTempDir();
  const options: OpenOptions = { dir, memoryLimitBytes: LIMIT, durability: "buffered" };
  for (const isSeen of [true, false]) {
    await using bus = await StateBus.open({ ...options, dir: `${dir}/${isSeen}` });
    const pages = await bus.commit(() => {}).then(() =>
      Array.from({ length: 28 }, () => bus.createPage({ size: 16_384 }))
    );
    await bus.commit(() => pages.forEach((page, i) => page.write(0, Uint8Array.of(i))));
    const { dir: _, ...small } = options;
    await using reader = await StateBus.open({
      ...small,
      dir: `${dir}/${isSeen}`,
      durability: undefined,
      readOnly: true,
    });
    const read = reader.page(pages[27].id), view = isSeen ? read.view() : undefined;
    // Room in pieces of 16 KiB; the writer's own is behind its pages, as it opens again.
    await bus.commit(() => pages.forEach((page, i) => i % 2 === 0 && page.delete()));
    await bus.close();
    await using again = await StateBus.open({
      ...options,
      dir: `${dir}/${isSeen}`,
      memoryLimitBytes: 2 * LIMIT,
    });
    const large = again.createPage({ size: 40_000 });
    await again.commit(() => large.write(0, Uint8Array.of(5)));
    if (isSeen) await assert.rejects(reader.refresh(), { code: "allocation" });
    else {
      await reader.refresh();
      assert.equal(reader.page(large.id).read(0, 1)[0], 5);
      assert.equal(read.read(0, 1)[0], 27);
    }
    assert.equal(view === undefined ? 27 : view.at(0), 27);
  }
  await Deno.remove(dir, { recursive: true });
});
