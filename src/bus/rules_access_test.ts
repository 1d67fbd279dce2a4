/** What rules read and write, type by type, and the events that edges of each type bring. */

import assert from "node:assert/strict";
import { defineRule } from "../propagation/mod.ts";
import { type BusEvent, StateBus } from "./mod.ts";

Deno.test("a rule reads and writes numbers of every type as a DataView has them, little endian", async () => {
  await using bus = await StateBus.open();
  const from = bus.createPage({ size: 64 }), to = bus.createPage({ size: 64 });
  bus.rule(
    defineRule({
      compute(ctx) {
        const input = ctx.input(0), output = ctx.output(0);
        output.setInt8(0, input.getInt8(0));
        output.setUint8(1, input.getUint8(1));
        output.setInt16(2, input.getInt16(2));
        output.setUint16(4, input.getUint16(4));
        output.setInt32(8, input.getInt32(8));
        output.setUint32(12, input.getUint32(12));
        output.setFloat32(16, input.getFloat32(16));
        output.setFloat64(24, input.getFloat64(24));
        output.setBigInt64(32, input.getBigInt64(32));
        output.setBigUint64(40, input.getBigUint64(40));
        // At odd places, too.
        output.setInt16(49, input.getInt16(49));
        output.setFloat64(53, input.getFloat64(53));
      },
    }),
    { name: "copy", inputs: [from], outputs: [to] },
  );
  const bytes = new Uint8Array(64), view = new DataView(bytes.buffer);
  const read: unknown[] = [];
  view.setInt8(0, -7);
  view.setUint8(1, 250);
  view.setInt16(2, -30_000, true);
  view.setUint16(4, 60_000, true);
  view.setInt32(8, -2_000_000_000, true);
  view.setUint32(12, 4_000_000_000, true);
  view.setFloat32(16, 1.5, true);
  view.setFloat64(24, Math.PI, true);
  view.setBigInt64(32, -(2n ** 62n) - 5n, true);
  view.setBigUint64(40, 2n ** 63n + 9n, true);
  view.setInt16(49, -12_345, true);
  view.setFloat64(53, -Math.E, true);
  bus.rule(
    defineRule({
      compute(ctx) {
        const input = ctx.input(0);
        read.push(
          input.getInt8(0),
          input.getUint8(1),
          input.getInt16(2),
          input.getUint16(4),
          input.getInt32(8),
          input.getUint32(12),
          input.getFloat32(16),
          input.getFloat64(24),
          input.getBigInt64(32),
          input.getBigUint64(40),
        );
      },
    }),
    { name: "look", inputs: [from], outputs: [bus.createPage({ size: 8 })] },
  );
  await bus.commit();
  read.length = 0;
  await bus.commit(() => from.write(0, bytes));
  assert.deepEqual(to.read(), bytes);
  assert.deepEqual(read, [
    -7,
    250,
    -30_000,
    60_000,
    -2_000_000_000,
    4_000_000_000,
    1.5,
    Math.PI,
    -(2n ** 62n) - 5n,
    2n ** 63n + 9n,
  ]);
});

Deno.test("edges of each type bring their events, for their target and with their tick", async () => {
  await using bus = await StateBus.open();
  const source = bus.createPage({ size: 8 });
  const [controlled, compiled, device] = [1, 2, 3].map(() => bus.createPage({ size: 8 }));
  bus.edge(source, controlled, "control");
  bus.edge(source, compiled, "compiler");
  bus.edge(source, device, "gpu");
  await bus.commit();
  const events: BusEvent[] = [];
  bus.on({
    kinds: ["page-stale", "page-invalidated", "compiler-invalidated", "gpu-sync-needed"],
    applied: true,
  }, (event) => events.push(event));
  const { tick } = await bus.commit(() => source.write(0, Uint8Array.of(1)));
  await new Promise((resolve) => setTimeout(resolve, 0));
  const told = events.map((event) => [event.kind, event.page]);
  assert(told.some(([kind, page]) => kind === "page-stale" && page === controlled.id));
  assert(told.some(([kind, page]) => kind === "compiler-invalidated" && page === compiled.id));
  assert(told.some(([kind, page]) => kind === "page-invalidated" && page === compiled.id));
  assert(told.some(([kind, page]) => kind === "gpu-sync-needed" && page === device.id));
  assert(events.every((event) => event.tick === tick));
  assert.equal(controlled.stale, true);
  assert.equal(compiled.invalidated, true);
  assert.equal(device.stale, false);
});
