/** Queries of a log by index: the same answers as without one, also where the log is damaged. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type DeltaQuery,
  FileStorage,
  inspectLog,
  type LoggedDelta,
  queryLog,
} from "../log/mod.ts";
import { live, pasts } from "./_past_test.ts";
import { type Page, StateBus } from "./mod.ts";

async function answer(
  dir: string,
  query: DeltaQuery,
): Promise<{ rows: LoggedDelta[]; code: string }> {
  const rows: LoggedDelta[] = [];
  try {
    for await (const row of queryLog(dir, query)) rows.push(row);
    return { rows, code: "" };
  } catch (error) {
    return { rows, code: (error as { code: string }).code };
  }
}

Deno.test("queryLog() of a page by index gives what it gives without", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-query-index-" });
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(pasts, fc.nat(40), fc.nat(100_000), async (steps, from, seed) => {
      const dir = `${folder}/${runs++}`;
      const { bus } = await live(steps, new FileStorage(dir));
      await bus.commit(() => bus.createPage({ size: 4, name: "named" }).write(0, Uint8Array.of(1)));
      // A look at the past stores the indices.
      await Array.fromAsync(bus.history(1));
      await bus.close();
      const lane = `${dir}/lane-00`;
      const names = [...Deno.readDirSync(lane)].map(({ name }) => name);
      const queries: DeltaQuery[] = [
        ...[1, 2, 3, 9999, "named", "nobody"].map((page) => ({ page })),
        { page: 1, tickFrom: from, tickTo: from + 5 },
        { page: 2, source: "feed-1" },
        { page: 1, untilUs: 1_800_000_000_050_000 },
      ];
      const log = `${lane}/${names.filter((name) => name.endsWith(".log"))[0]}`;
      for (const flips of [false, true]) {
        if (flips) {
          const bytes = Deno.readFileSync(log);
          const used = bytes.findLastIndex((byte) => byte !== 0);
          bytes[64 + seed % (used - 64)] ^= 1;
          Deno.writeFileSync(log, bytes);
        }
        const byIndex: Awaited<ReturnType<typeof answer>>[] = [];
        for (const query of queries) byIndex.push(await answer(dir, query));
        for (const name of names) {
          if (name.endsWith(".idx")) Deno.renameSync(`${lane}/${name}`, `${lane}/${name}.away`);
        }
        for (const [at, query] of queries.entries()) {
          const scanned = await answer(dir, query), found = byIndex[at];
          // By index a query may get further: it looks at fewer ticks that can be damaged.
          if (flips) assert.deepEqual(found.rows.slice(0, scanned.rows.length), scanned.rows);
          else assert.deepEqual(found, scanned);
        }
        for (const name of names) {
          if (name.endsWith(".idx")) Deno.renameSync(`${lane}/${name}.away`, `${lane}/${name}`);
        }
      }
    }),
    { numRuns: 6 },
  );
  await Deno.remove(folder, { recursive: true });
});

Deno.test("queryLog() of a log whose beginning was dropped gives the rows that are left, as of a whole one", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-query-dropped-" });
  try {
    for (const log of ["keep", "drop"] as const) {
      const sizes = { segmentBytes: 65_536, segmentBytesMax: 65_536 };
      const checkpoints = { keep: 1, log };
      await using bus = await StateBus.open({ dir: `${folder}/${log}`, ...sizes, checkpoints });
      // They are copied first, some at a time.
      for (let i = 0; i < 24; i++) bus.createPage({ size: 2 ** 18, shard: 1 });
      const pages = ["a", "b", "c"].map((name) => bus.createPage({ size: 64, name, shard: 1 }));
      let writes = 0;
      const write = async (of: Page[]) => {
        const source = `s${writes}`, bytes = new Uint8Array(64).fill(++writes);
        await bus.commit(() => {
          for (const page of of) page.write(0, bytes, { source });
        });
      };
      while (writes < 300) await write(pages);
      // The image of some ticks: a page dies in it, and one is born.
      const stored = bus.checkpoint();
      await write(pages);
      await bus.commit(() => pages[2].delete());
      const late = bus.createPage({ size: 64, name: "d", shard: 0 });
      while (writes < 310) await write([pages[1], late, pages[0]]);
      await stored;
      while (writes < 1000) await write([pages[1], late, pages[0]]);
      // A look at the past stores the indices.
      await Array.fromAsync(bus.history(pages[0].id));
    }
    const { ticks } = await inspectLog(`${folder}/drop`);
    assert.ok(ticks!.first > 1, "nothing was dropped");
    const base = { tickFrom: ticks!.first };
    const plain = ({ hlc: _, ...row }: LoggedDelta) => row;
    const queries: DeltaQuery[] = [
      {},
      { source: "s305" },
      { page: "a" },
      { page: 26 },
      { page: "d", tickFrom: 310 },
    ];
    for (const query of queries) {
      const kept = await answer(`${folder}/keep`, { ...base, ...query });
      const left = await answer(`${folder}/drop`, query);
      assert.ok(left.rows.length > 0);
      // The name of a page that died while the image was made went with its birth.
      const isNamed = ({ page }: { page: number }) => page !== 27;
      assert.deepEqual(left.rows.map(plain).filter(isNamed), kept.rows.map(plain).filter(isNamed));
      assert.equal(left.rows.length, kept.rows.length);
    }
    assert.equal((await answer(`${folder}/drop`, { page: "nobody" })).code, "invalid-handle");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
