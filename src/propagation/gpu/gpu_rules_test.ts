import assert from "node:assert/strict";
import { openGpuThread } from "../../physical/gpu/gpu_thread.ts";
import { PageLocations } from "../../physical/gpu/page_locations.ts";
import { gpuMissing } from "../../physical/gpu/testdata/gpu_test.ts";
import { PageStore, type SharedArena } from "../../physical/mod.ts";
import { BoundRule } from "../bound_rule.ts";
import { defineRule } from "../rule.ts";
import { Waves } from "../waves.ts";
import { GpuRules } from "./gpu_rules.ts";

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/** Counts the runs of its twin. */
function counting(counts: { twin: number }) {
  return defineRule({
    wgsl: {
      code: `@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
        output0[id.x] = id.x + tick;
      }`,
      threads: 8,
    },
    compute(ctx) {
      counts.twin++;
      for (let at = 0; at < 8; at++) ctx.output(0).setUint32(4 * at, at + ctx.tick);
    },
  });
}

Deno.test({
  name: "GpuRules.run() gives a shader up that hangs, for good, and other failures for one device",
  ignore: missing !== undefined && !isRequired,
  fn: async () => {
    await using thread = await openGpuThread({ timeoutMs: 1500 });
    const store = new PageStore(2 ** 20), [input, output] = [1, 2];
    for (const page of [input, output]) store.create(page, { size: 32, shard: 0, name: "" });
    const locations = new PageLocations(store.table), arena = store.arena as SharedArena;
    const number = thread.register(arena);
    const rules = new GpuRules(store, { thread, arena: number, locations, mode: "gpu" });
    const waves = new Waves(store), counts = { twin: 0 }, rule = counting(counts);
    waves.helpers = rules;
    const bound = new BoundRule({
      number: 1,
      name: "rule",
      inputIds: [input],
      outputIds: [output],
      stateIds: [],
      params: null,
      mode: "immediate",
      every: 1,
      finite: false,
    }, rule);
    waves.add(bound);
    await rules.prepare("rule", rule, { inputs: 1, outputs: 1, state: 0 });
    let ticks = 0;
    const tick = () => {
      bound.flags |= 1;
      waves.request(bound);
      waves.begin(++ticks);
      waves.propagate();
      locations.endTick({ log: waves.log, isCommitted: true, isComplete: true });
      waves.commit();
      assert.deepEqual([...store.view(store.table.rowOf(output)).subarray(0, 5)], [
        ticks,
        0,
        0,
        0,
        1 + ticks,
      ]);
      return [counts.twin, rules.statistics().twins, rules.deviceOf(bound).on];
    };
    assert.deepEqual(tick(), [1, 0, "gpu"], "the first run is checked");
    assert.deepEqual(tick(), [1, 0, "gpu"]);
    await thread.ask({ kind: "throw" });
    assert.deepEqual(tick(), [2, 1, "gpu"], "a device that fails once is tried again");
    assert.deepEqual(tick(), [2, 1, "gpu"]);
    await thread.ask({ kind: "hang" });
    assert.deepEqual(tick().slice(0, 2), [3, 2]);
    await thread.waitBeforeTick();
    assert.equal(thread.isReady, true);
    assert.match(rules.deviceOf(bound).reason, /was given up: .* in 1500 ms/);
    assert.deepEqual(tick(), [4, 2, "cpu"]);
    await rules.close();
    assert.deepEqual(tick(), [5, 2, "cpu"]);
    thread.unregister(number);
  },
});
