import assert from "node:assert/strict";
import { ProvenanceWork } from "./provenance_work.ts";
import { measureProvenance } from "./provenance.ts";

const PLAN = { sources: 64, layers: 5, width: 6, rows: 40, deltas: 4000, seed: 3 };

Deno.test("measureProvenance() finds every answer as its record has it, and says how deep it went", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-provenance-" });
  try {
    const { metrics, samples } = await measureProvenance(dir, PLAN, () => {});
    assert.deepEqual([metrics.resolvedPercent, metrics.depthMax], [100, PLAN.layers]);
    assert(samples > 50 && metrics.deltas >= PLAN.deltas);
    assert(metrics.coldMsMax > 0 && metrics.pastMsMax > 0 && metrics.cachedMsMax > 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("ProvenanceWork.faultOf() finds a wrong epoch, source, parent, version, or page too few", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-provenance-" });
  const work = await ProvenanceWork.begin(dir, PLAN);
  try {
    await work.write(() => {});
    const page = work.last[0], last = work.bus.tickNumber;
    const right = await work.bus.explain(page, { tick: last });
    assert.equal(work.faultOf(right, page, last), "");
    const early = await work.bus.explain(page, { tick: last >> 1 });
    assert.notEqual(work.faultOf(early, page, last), "");
    const source = right.sources()[0], { root } = right;
    const rule = { ...root.rule!, version: root.rule!.version! + 1 };
    const changes = [
      [root, { epoch: root.epoch + 1 }, /epoch/],
      [root, { parents: root.parents.slice(1) }, /parents|missing/],
      [root, { rule }, /version/],
      [source, { deltas: [{ ...source.deltas[0], source: "nobody" }] }, /nobody/],
      [source, { end: "horizon" }, /ends/],
    ] as const;
    for (const [target, change, text] of changes) {
      const before = { ...target };
      Object.assign(target, change);
      assert.match(work.faultOf(right, page, last), text);
      Object.assign(target, before);
    }
    assert.equal(work.faultOf(right, page, last), "");
  } finally {
    await work.bus.close();
    await Deno.remove(dir, { recursive: true });
  }
});
