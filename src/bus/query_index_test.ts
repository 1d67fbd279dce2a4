/** Queries of a log by index: the same answers as without one, also where the log is damaged. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type DeltaQuery, FileStorage, type LoggedDelta, queryLog } from "../log/mod.ts";
import { live, pasts } from "./_past_test.ts";

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
