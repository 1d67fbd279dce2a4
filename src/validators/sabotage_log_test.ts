/** No validator passes without its work: 1 (replay) and 2 (integrity) over a bus and a log from which something is taken away. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { Checkpoint } from "../log/checkpoint_reader.ts";
import { RowDecoder } from "../log/frame_reader.ts";
import { LogReader } from "../log/log_reader.ts";
import { auditLog, ROW_KIND } from "../log/mod.ts";
import { Replayer } from "../log/replay.ts";
import { withFolder } from "./_figures.ts";
import { loadWithKill } from "./_killed_load.ts";
import { plantAll } from "./_planted.ts";
import { isFound } from "./_planted_fault.ts";
import { assertFails, sabotaged } from "./_sabotage_test.ts";
import { sampleLog } from "./_sample_log.ts";
import { readFlights } from "./flights.ts";
import { integrityValidator } from "./integrity.ts";
import { measureCycles, replayValidator } from "./replay.ts";

const CONTEXT = { quick: true, seed: 1, progress: () => {} };
const CYCLES = 12;

async function cycles() {
  return { metrics: await measureCycles(CYCLES, CONTEXT) };
}

Deno.test("validator 1 fails by its divergence where a replay drops a tick, a byte or an epoch", async () => {
  assert.deepEqual(await cycles(), { metrics: { divergence: 0, cycles: CYCLES } });
  const faults: ((
    this: Replayer,
    apply: Replayer["apply"],
    ...given: Parameters<Replayer["apply"]>
  ) => void)[] = [
    // The third tick's bytes are there, but for one bit.
    function (apply, tick) {
      apply.call(this, tick);
      const [row] = this.store.table.rows();
      if (tick.tick === 3 && row !== undefined) this.store.view(row)[0] ^= 1;
    },
    // Nothing that was deleted goes.
    function (apply, tick) {
      const { remove } = this.store;
      this.store.remove = () => {};
      apply.call(this, tick);
      this.store.remove = remove;
    },
  ];
  for (const fault of faults) {
    await assertFails(
      1,
      "divergence",
      () =>
        sabotaged(Replayer.prototype, "apply", (apply) =>
          function (this: Replayer, tick) {
            fault.call(this, apply, tick);
          }, cycles),
    );
  }
});

Deno.test("validator 1 fails by its divergence where bus and log agree on what was never submitted", async () => {
  await assertFails(1, "divergence", () => {
    let count = 0;
    return sabotaged(
      StateBus.prototype,
      "submit",
      (submit) =>
        function (this: StateBus, batch, options) {
          if (++count % 5 === 0 && batch.payloadLength > 0) batch.payload[0] ^= 1;
          return submit.call(this, batch, options);
        },
      cycles,
    );
  });
});

Deno.test("validator 1 fails by acknowledged ticks that are lost", async () => {
  const flights = await readFlights();
  await withFolder("sabotage", async (folder) => {
    await assertFails(1, "lostTicks", async () => {
      const { lostTicks } = await sabotaged(
        LogReader.prototype,
        "next",
        (next) =>
          function (this: LogReader) {
            const tick = next.call(this);
            return tick !== undefined && tick.tick > 3 ? undefined : tick;
          },
        () => loadWithKill(folder, flights, () => {}),
      );
      return { metrics: { lostTicks } };
    });
  });
});

Deno.test("validator 1 fails where a checkpoint leads elsewhere than the log", async () => {
  await withFolder("sabotage", async (directory) => {
    {
      await using bus = await StateBus.open({ dir: directory });
      const page = bus.createPage({ size: 64 });
      await bus.commit(() => page.write(0, Uint8Array.of(1, 2, 3)));
      await bus.checkpoint();
    }
    for (const metric of ["formsAgreed", "divergence"]) {
      await assertFails(
        1,
        metric,
        () =>
          sabotaged(Checkpoint.prototype, "load", (load) =>
            function (this: Checkpoint, store) {
              const images = load.call(this, store);
              store.view(store.table.rowOf(1))[63] ^= 1;
              return images;
            }, () => replayValidator.run({ ...CONTEXT, directory })),
      );
    }
  });
});

Deno.test("validator 2 fails where its check looks at no delta, or at no rule", async () => {
  const faults = await plantAll(await sampleLog(2), await sampleLog(3));
  /** Rows of one kind are there, and nobody looks at them. */
  const unread = (rowKind: number) =>
    sabotaged(RowDecoder.prototype, "decode", (decode) =>
      function (this: RowDecoder, ...given) {
        const decoded = decode.apply(this, given);
        return given[1].rowKind === rowKind ? { ...decoded, rows: 0 } : decoded;
      }, () => Promise.resolve(faults.filter((fault) => isFound(fault, auditLog(fault.storage)))));
  const { data, rule } = ROW_KIND;
  for (const [rowKind, missed] of [[data, "epoch-gap"], [rule, "binding-dead"]] as const) {
    const found = await unread(rowKind);
    assert(found.every(({ id }) => id !== missed) && found.length > 40, missed);
    const plantedFound = 100 * found.length / faults.length;
    await assertFails(2, "plantedFound", () => Promise.resolve({ metrics: { plantedFound } }));
  }
});

Deno.test("validator 2 fails by its figures where deltas have no page, or are none", async () => {
  const planted = await plantAll(await sampleLog(2), await sampleLog(3));
  const metrics = { "page-dead": "orphans", "epoch-gap": "validPercent", "page-unborn": "orphans" };
  for (const [id, metric] of Object.entries(metrics)) {
    await withFolder("sabotage", async (directory) => {
      const { storage } = planted.find((fault) => fault.id === id)!;
      await Deno.mkdir(`${directory}/lane-00`);
      for (const [path, bytes] of storage.image()) {
        await Deno.writeFile(`${directory}/${path}`, bytes);
      }
      const context = { ...CONTEXT, directory };
      await assertFails(2, metric, async () => {
        const { metrics } = await integrityValidator.run(context);
        return { metrics };
      });
      await assertFails(2, /\.log\b.* byte \d+/, () => integrityValidator.run(context));
    });
  }
});
