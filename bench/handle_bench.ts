/** Single calls through a page handle: `deno bench -A bench/handle_bench.ts`. */

import { StateBus } from "../mod.ts";

const bus = await StateBus.open({ memoryLimitBytes: 2 ** 22 });
const page = bus.createPage({ size: 4096 });
await bus.tick();
const target = new Uint8Array(64), bytes = new Uint8Array(8);

Deno.bench(
  "readInto 64 bytes",
  { group: "read", baseline: true },
  () => void page.readInto(target, 64),
);
Deno.bench("read 64 bytes", { group: "read" }, () => void page.read(64, 64));
Deno.bench("view().slice 64 bytes", { group: "read" }, () => void page.view().slice(64, 128));
Deno.bench("write 8 bytes, tick every 1000", { group: "write" }, async (b) => {
  b.start();
  for (let i = 0; i < 1000; i++) page.write(i << 2 & 4080, bytes);
  b.end();
  await bus.tick();
});
