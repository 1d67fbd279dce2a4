/**
 * No false alarm: logs of everything that the bus writes, of many seeds, in which the check must find nothing: rules, edges,
 * tables, transactions, checkpoints, compaction, several lanes, workers, and logs as a crash leaves them.
 */

import assert from "node:assert/strict";
import { type OpenOptions, StateBus } from "../bus/mod.ts";
import { openLanes } from "../bus/open_lanes.ts";
import { auditLog, MemoryStorage } from "../log/mod.ts";
import { SeededRandom } from "../log/seeded_random.ts";
import { defineRule } from "../propagation/mod.ts";
import { table } from "../schema/mod.ts";
import { runCycle } from "./_cycle.ts";
import { withCheckpoints } from "./_planted_checkpoints.ts";
import { sampleLog } from "./_sample_log.ts";

const ROWS = table({ key: "u8", value: "i32" });
const OPTIONS: OpenOptions = {
  memoryLimitBytes: 2 ** 23,
  segmentBytes: 2 ** 15,
  segmentBytesMax: 2 ** 15,
  durability: "group",
};

const sum = defineRule({
  compute: (ctx) => ctx.output(0).setInt32(0, ctx.input(0).getInt32(0) + ctx.input(1).getInt32(0)),
});

/** Does some of everything, with what happens to the log in between. */
async function richLog(seed: number, lanes: number, workers: number): Promise<MemoryStorage> {
  const storage = new MemoryStorage(), random = new SeededRandom(seed);
  for (let life = 0; life < 2; life++) {
    const options = { ...OPTIONS, storage, workers };
    const bus = lanes > 1 ? await openLanes(options, lanes) : await StateBus.open(options);
    if (life === 0) await build(bus);
    const pages = ["a", "b", "c"].map((name) => bus.find(name)!), rows = bus.table(ROWS, "rows");
    bus.rule(sum, { name: "sum", inputs: [pages[0], pages[1]], outputs: [bus.find("sum")!] });
    for (let tick = 0; tick < 12; tick++) {
      await bus.commit(() => {
        pages[random.below(3)].combine("i32", "add", 4 * random.below(4), random.below(100));
        rows.append({ key: [tick], value: [random.below(1000)] });
        if (random.chance(0.3)) rows.set(random.below(rows.length), { value: tick });
        if (random.chance(0.3)) bus.createPage({ size: 1 + random.below(100) });
      });
      await transact(bus, random);
      if (random.chance(0.15)) await bus.checkpoint();
      if (lanes === 1 && random.chance(0.1)) await bus.compact();
    }
    // Every other life ends as a crash ends it.
    if (seed % 2 === 0 && life === 1) {
      const image = storage.image();
      await bus.close();
      return new MemoryStorage({ image });
    }
    await bus.close();
  }
  return storage;
}

async function build(bus: StateBus): Promise<void> {
  for (const name of ["a", "b", "c", "sum"]) bus.createPage({ size: 64, name });
  bus.createTable(ROWS, { name: "rows" });
  await bus.commit(() => bus.edge(bus.find("sum")!, bus.find("c")!, "control"));
}

/** Two that want the same page: one of them may have to do it again. */
async function transact(bus: StateBus, random: SeededRandom): Promise<void> {
  const page = bus.find("b")!;
  const one = bus.begin();
  one.write(page, 8, Uint8Array.of(random.below(256)));
  await one.commit().catch(() => {});
}

Deno.test("auditLog() finds nothing in logs of rules, edges, tables, transactions, checkpoints and compaction", async () => {
  for (let seed = 1; seed <= 24; seed++) {
    assert.deepEqual(auditLog(await richLog(seed, 1, 0)).problems, [], `seed ${seed}`);
  }
});

Deno.test("auditLog() finds nothing in logs of several lanes, and of workers", async () => {
  for (let seed = 100; seed < 108; seed++) {
    const lanes = 2 + seed % 3, storage = await richLog(seed, lanes, 0);
    assert.deepEqual(auditLog(storage).problems, [], `seed ${seed}`);
  }
  assert.deepEqual(auditLog(await richLog(200, 1, 2)).problems, []);
});

Deno.test("auditLog() finds nothing in samples and random logs of many seeds", async () => {
  for (let seed = 10; seed < 18; seed++) {
    const { closed, crashed } = await withCheckpoints(await sampleLog(seed));
    for (const storage of [closed, crashed]) {
      assert.deepEqual(auditLog(storage).problems, [], `sample ${seed}`);
    }
  }
  for (let seed = 7000; seed < 7200; seed++) {
    const { storage } = await runCycle(seed);
    assert.deepEqual(auditLog(storage).problems, [], `seed ${seed}`);
  }
});
