/** The apply kernels beside the bare loop: `deno bench -A bench/apply_bench.ts`. */

import { applyRows, PageStore, resolve } from "../src/physical/mod.ts";
import { bareApply, bareMemory, filledBatch, PAGES, ROWS, SEED, signed } from "./_work.ts";

for (const pageBytes of [4096, 64]) {
  const batch = filledBatch(pageBytes, SEED);
  const { page, offset, start, payload } = signed(batch);
  const words = bareMemory(pageBytes);
  const store = new PageStore(PAGES * pageBytes + 2 ** 24);
  for (let id = 1; id <= PAGES; id++) {
    store.table.setActive(store.create(id, { size: pageBytes, shard: 0, name: "" }), true);
  }
  const input = {
    columns: batch.kernel,
    rows: ROWS,
    payloadLength: batch.payloadLength,
    strings: 2,
  };
  const shape = resolve(input, store.table);
  const group = `65,536 rows of 16 bytes, ${pageBytes}-byte pages`;
  Deno.bench("bare loop", { group, baseline: true }, () => {
    bareApply(words, payload, page, offset, start, ROWS, pageBytes >> 2);
  });
  Deno.bench("apply", { group }, () => applyRows(batch.kernel, ROWS, shape, store.arena));
  Deno.bench("check", { group }, () => void resolve(input, store.table));
}
