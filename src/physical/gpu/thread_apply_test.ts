import assert from "node:assert/strict";
import { type ApplyBackend, CPU_APPLY } from "../apply_backend.ts";
import { applyPages, applyRandomBatches, type Pages, testApply } from "../apply_conformance.ts";
import { DeltaBatch } from "../delta_batch.ts";
import { type GpuThread, openGpuThread } from "./gpu_thread.ts";
import { gpuMissing } from "./testdata/gpu_test.ts";
import { ThreadApply } from "./thread_apply.ts";

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/** Random batches of the whole test; a longer run sets more. */
const RUNS = Number(Deno.env.get("MMSB_APPLY_RUNS") ?? 80);

function testThread(name: string, body: () => void | Promise<void>): void {
  Deno.test({ name, ignore: missing !== undefined && !isRequired, fn: body });
}

/** A GPU back-end as a bus uses it: what has no kernel goes to the CPU. */
function withFallback(apply: ThreadApply): ApplyBackend {
  return {
    name: "gpu",
    apply: (columns, rows, shape, pages) =>
      (apply.refusal(shape) === undefined ? apply : CPU_APPLY).apply(columns, rows, shape, pages),
  };
}

async function withApply(
  pages: Pages,
  check: (apply: ThreadApply, thread: GpuThread) => void | Promise<void>,
  timeoutMs = 60_000,
): Promise<void> {
  await using thread = await openGpuThread({ timeoutMs });
  const apply = new ThreadApply(thread, pages.arena);
  try {
    await check(apply, thread);
  } finally {
    apply.end();
  }
}

// One thread, with its device, for all of them.
const keeper = missing === undefined ? await openGpuThread() : undefined;

testApply({
  name: "ThreadApply",
  with: (pages, check) => withApply(pages, (apply) => check(withFallback(apply))),
  runs: 0,
}, testThread);

testThread(
  `ThreadApply gives the bytes of the fold for ${RUNS} random batches, most of them on the GPU`,
  () => {
    const pages = applyPages();
    return withApply(pages, (apply, thread) => {
      const before = { ...thread.totals };
      applyRandomBatches(pages, withFallback(apply), { runs: RUNS });
      const { batches, rows, readBytes } = apply.counts;
      assert.ok(batches > RUNS / 2, `${batches} of ${RUNS} batches`);
      assert.ok(rows > batches && readBytes > 0);
      assert.equal(thread.totals.batches - before.batches, batches);
      assert.equal(thread.totals.rows - before.rows, rows);
      pages.checkInvariants();
    });
  },
);

testThread("ThreadApply takes large batches from where their columns stand", () => {
  const pages = applyPages(), twin = applyPages();
  return withApply(pages, (apply) => {
    const batch = new DeltaBatch({ rows: 20_000, payloadBytes: 20_000 * 24 });
    for (let i = 0; i < 20_000; i++) {
      const bytes = Uint8Array.of(i, i >> 8, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12).subarray(
        0,
        4 + i % 9,
      );
      batch.push(10 + i % 2, i * 37 % 65_000, bytes);
    }
    for (const [each, backend] of [[pages, apply], [twin, CPU_APPLY]] as const) {
      backend.apply(batch.kernel, batch.length, each.resolve(batch), each);
    }
    assert.deepEqual(pages.arena.region(0), twin.arena.region(0));
    assert.deepEqual([apply.counts.batches, apply.counts.rows], [1, 20_000]);
  });
});

testThread("ThreadApply refuses doubles, and leaves the pages as they were", () => {
  const pages = applyPages(), before = pages.copy();
  return withApply(pages, (apply) => {
    const batch = new DeltaBatch({ rows: 2, payloadBytes: 16 });
    batch.push(1, 0, Uint8Array.of(9));
    batch.combine(1, "f64", "add", 8, 1);
    const shape = pages.resolve(batch);
    assert.match(apply.refusal(shape) ?? "", /f64/);
    assert.throws(() => apply.apply(batch.kernel, 2, shape, pages), { code: "usage" });
    assert.deepEqual(pages.copy(), before);
    assert.equal(apply.counts.batches, 0);
  });
});

testThread(
  "ThreadApply leaves the pages as they were where the device is lost in the middle",
  () => {
    const pages = applyPages();
    return withApply(pages, async (apply, thread) => {
      const batch = new DeltaBatch({ rows: 100, payloadBytes: 400 });
      for (let i = 0; i < 100; i++) batch.push(1 + i % 5, i % 12, Uint8Array.of(i, 1, 2));
      const shape = pages.resolve(batch), before = pages.copy();
      const run = () => apply.apply(batch.kernel, 100, shape, pages);
      for (
        const message of [{ kind: "destroy", submits: 1 }, { kind: "throw" }, { kind: "exit" }]
      ) {
        const { generation } = thread;
        await thread.ask(message);
        assert.throws(run, { code: "gpu" }, message.kind);
        assert.deepEqual(pages.copy(), before, message.kind);
        await thread.waitBeforeTick();
        assert.ok(thread.isReady, thread.status.reason);
        if (message.kind !== "throw") assert.notEqual(thread.generation, generation);
      }
      run();
      CPU_APPLY.apply(batch.kernel, 100, shape, pages);
      const after = pages.copy();
      run();
      assert.deepEqual(pages.copy(), after, "a batch of sets twice is the same as once");
    });
  },
);

Deno.test("the GPU thread of these tests ends", async () => {
  await keeper?.close();
});
