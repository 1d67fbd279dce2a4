/**
 * Rules: an incremental group-by, a spreadsheet and a chain, a tick each:
 * `deno bench -A bench/propagation_bench.ts`.
 */

import { busGroups } from "./_subjects_propagation.ts";
import { busGraph, chains, layers } from "./_work_propagation.ts";

const group = "one tick";
const groups = await busGroups();
let value = 0;
Deno.bench("group-by of 200,000 rows, 1,000 changed", { group }, async () => {
  value++;
  for (let i = 0; i < 1000; i++) groups.items.set(i * 197, { value: (value + i) % 1000 });
  await groups.bus.tick();
});

const sheet = await busGraph(layers(1000, 10, 2), 16);
Deno.bench("spreadsheet of 10,000 formula cells, one changed", { group }, async () => {
  sheet.sources[0].write(0, new Uint8Array(Int32Array.of(++value).buffer));
  await sheet.bus.tick();
});
Deno.bench("spreadsheet of 10,000 formula cells, all changed", { group }, async () => {
  const bytes = new Uint8Array(Int32Array.of(++value).buffer);
  for (const source of sheet.sources) source.write(0, bytes);
  await sheet.bus.tick();
});

const chain = await busGraph(chains(1, 1000), 16);
Deno.bench("chain of 1,000 rules", { group, baseline: true }, async () => {
  chain.sources[0].write(0, new Uint8Array(Int32Array.of(++value).buffer));
  await chain.bus.tick();
});
