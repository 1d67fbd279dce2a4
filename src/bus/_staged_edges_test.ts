/** Tests of edges in the tick that brings them, or takes them away. */

import assert from "node:assert/strict";
import { MemoryStorage } from "../log/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22, segmentBytesMax: 65_536 };
const one = Uint8Array.of(1);

Deno.test("An edge counts in the tick that brings it, as a rule does", async () => {
  const storage = new MemoryStorage();
  await using bus = await StateBus.open({ ...SMALL, storage });
  const [source, stale, program, device, copy, plain] = Array.from(
    { length: 6 },
    () => bus.createPage({ size: 16 }),
  );
  const runs: number[] = [];
  const rule = defineRule({ compute: (ctx) => void runs.push(ctx.tick) });
  bus.rule(rule, { name: "copy", inputs: [plain], outputs: [copy] });
  await using events = bus.events({ kinds: ["gpu-sync-needed"] });
  bus.edge(source, stale, "control");
  bus.edge(source, program, "compiler");
  bus.edge(source, device, "gpu");
  await bus.commit(() => source.write(0, one));
  assert.deepEqual([stale.stale, program.invalidated], [true, true]);
  assert.equal((await events.next()).value?.page, device.id);
  await stale.fresh();
  assert.equal(stale.stale, false);
  // A data edge that is added wakes the rule of its target; one that goes does so no more.
  bus.edge(source, copy, "data");
  await bus.commit(() => source.write(1, one));
  await stale.fresh();
  bus.removeEdge(source, copy, "data");
  bus.removeEdge(source, stale, "control");
  await bus.commit(() => source.write(2, one));
  assert.deepEqual([runs.length, stale.stale], [2, false]);
  assert.equal((await bus.verify()).ok, true);
});

Deno.test("An edge whose tick fails, or which another batch brings, has no effect", async () => {
  await using bus = await StateBus.open(SMALL);
  const [source, target, bad, out] = Array.from({ length: 4 }, () => bus.createPage({ size: 16 }));
  const fails = defineRule({
    compute(ctx) {
      if (ctx.input(0).getUint8(0) !== 0) throw new Error("bad");
    },
  });
  bus.rule(fails, { name: "fails", inputs: [bad], outputs: [out] });
  await bus.tick();
  bus.edge(source, target, "control");
  source.write(0, one);
  bad.write(0, one);
  await assert.rejects(bus.tick(), { code: "rule" });
  await bus.commit(() => source.write(1, one));
  assert.deepEqual([target.stale, bus.graph.edgesOut(source)], [false, []]);
  // A transaction is a tick of its own: what is staged beside it waits.
  bus.edge(source, target, "control");
  await bus.transaction((tx) => tx.write(source, 0, Uint8Array.of(9)));
  assert.equal(target.stale, false);
  await bus.commit(() => source.write(1, Uint8Array.of(9)));
  assert.equal(target.stale, true);
});
