import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { TickReport } from "./reports.ts";
import { StateBus } from "./state_bus.ts";

Deno.test("the channel mmsb:tick tells every tick of every bus with its report, and none after", async () => {
  const told: TickReport[] = [];
  const listen = (message: unknown) => told.push(message as TickReport);
  subscribe("mmsb:tick", listen);
  await using first = await StateBus.open(), second = await StateBus.open();
  const page = first.createPage({ size: 16 });
  page.write(0, Uint8Array.of(1));
  const reports = [await first.tick(), await second.tick()];
  unsubscribe("mmsb:tick", listen);
  page.write(0, Uint8Array.of(2));
  await first.tick();
  assert.deepEqual(told, reports);
  assert.deepEqual(told.map(({ tick, rows }) => [tick, rows]), [[1, 1], [0, 0]]);
});
