/**
 * Every benchmark does its work once at a small size with a fixed seed: all sides come to the same result, and
 * to the committed one in `_hashes.json`. `deno test -A bench/smoke_test.ts -- --accept` writes that
 * file anew, where a workload was changed on purpose.
 */

import assert from "node:assert/strict";
import { type Comparison, resultOf, type Side } from "./_comparison.ts";
import hashes from "./_hashes.json" with { type: "json" };

const FOLDER = new URL(".", import.meta.url);
const committed: Readonly<Record<string, string>> = hashes;
const accepted: Record<string, string> = {};
const accepts = Deno.args.includes("--accept");

async function comparisonsOf(file: string): Promise<readonly Comparison[]> {
  const { default: comparisons } = await import(`${FOLDER}${file}`);
  assert.ok(Array.isArray(comparisons), `${file} exports what it compares as its default`);
  return comparisons;
}

const files = [...Deno.readDirSync(FOLDER)].map(({ name }) => name)
  .filter((name) => name.endsWith("_bench.ts")).sort();
const all: Comparison[] = [];
for (const file of files) {
  for (const comparison of await comparisonsOf(file)) {
    all.push(comparison);
    Deno.test(`${file}: ${comparison.unit}`, async () => {
      const result = await resultOf(comparison);
      accepted[comparison.unit] = result;
      if (!accepts) assert.equal(result, committed[comparison.unit]);
    });
  }
}

Deno.test("every committed hash belongs to a benchmark, every benchmark has a baseline", () => {
  const units = all.map(({ unit }) => unit);
  assert.equal(new Set(units).size, units.length, "two benchmarks have one name");
  if (!accepts) assert.deepEqual(Object.keys(committed).sort(), units.sort());
  for (const { sides, others = [] } of all) {
    assert.ok(Object.keys(sides).length - others.length >= 1);
    for (const other of others) assert.ok(other in sides);
  }
});

Deno.test("a side that does not do its work fails, whichever it is", async () => {
  const [sample] = await comparisonsOf("submit_bench.ts");
  for (const name of Object.keys(sample.sides)) {
    const idle = async (...place: Parameters<typeof sample.sides[string]>): Promise<Side> => {
      return { ...await sample.sides[name](...place), run: () => {} };
    };
    const planted = { ...sample, sides: { ...sample.sides, [name]: idle } };
    await assert.rejects(resultOf(planted), /came to/, name);
  }
  const alone = Object.entries(sample.sides).slice(0, 1);
  const idle: Side = { run: () => {}, result: () => new Uint8Array(sample.smokeSize) };
  const planted = { ...sample, sides: { [alone[0][0]]: () => idle } };
  assert.notEqual(await resultOf(planted), committed[sample.unit]);
});

if (accepts) {
  Deno.test("the hashes are written", () => {
    // With --filter some have not run.
    const kept = Object.entries({ ...committed, ...accepted })
      .filter(([unit]) => all.some((comparison) => comparison.unit === unit));
    const sorted = Object.fromEntries(kept.sort(([a], [b]) => a < b ? -1 : 1));
    Deno.writeTextFileSync(
      new URL("_hashes.json", FOLDER),
      `${JSON.stringify(sorted, null, 2)}\n`,
    );
  });
}
