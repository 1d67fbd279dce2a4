/**
 * A mapped file beside shared memory: a tick, opening after a clean close, and reading from another
 * mapping: `deno bench -A bench/mapped_bench.ts`.
 */

import { StateBus } from "../mod.ts";
import { filledBatch, PAGES, SEED } from "./_work.ts";

const PAGE_BYTES = 1024, TICKS = 16;
const batch = filledBatch(PAGE_BYTES, SEED);
const folder = Deno.makeTempDirSync();
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

function open(arena: "shared" | "mmap", dir?: string, readOnly = false): Promise<StateBus> {
  return StateBus.open({ arena, dir, readOnly, memoryLimitBytes: 2 ** 28 });
}

async function filled(arena: "shared" | "mmap", dir?: string): Promise<StateBus> {
  const bus = await open(arena, dir);
  for (let page = 0; page < PAGES; page++) bus.createPage({ size: PAGE_BYTES });
  await bus.commit();
  return bus;
}

async function tick(bus: StateBus): Promise<void> {
  const receipt = bus.submit(batch);
  await bus.tick();
  await receipt;
}

for (const arena of ["shared", "mmap"] as const) {
  const baseline = arena === "shared";
  const bus = await filled(arena);
  Deno.bench(`tick of 65,536 rows, ${arena}`, { group: "tick", baseline }, () => tick(bus));

  const dir = `${folder}/${arena}`;
  const logged = await filled(arena, dir);
  for (let i = 0; i < TICKS; i++) await tick(logged);
  await logged.close();
  const group = `open after ${TICKS} such ticks`;
  Deno.bench(`open, ${arena}`, { group, baseline, n: 10, warmup: 1 }, async (b) => {
    b.start();
    const opened = await open(arena, dir);
    b.end();
    await opened.close();
  });
}

const writer = await filled("mmap", `${folder}/writer`);
const reader = await open("mmap", `${folder}/writer`, true);
const own = writer.page(7), attached = reader.page(7), target = new Uint8Array(64);
Deno.bench("readInto 64 bytes, own page", { group: "read", baseline: true }, () => {
  own.readInto(target);
});
Deno.bench("readInto 64 bytes, attached page", { group: "read" }, () => {
  attached.readInto(target);
});
