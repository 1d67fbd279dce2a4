import assert from "node:assert/strict";
import { type ApplyBackend, CPU_APPLY } from "../apply_backend.ts";
import {
  type Crossover,
  crossoverDevice,
  crossoverOf,
  crossoverText,
  forgetCrossovers,
  measureCrossover,
  readCrossover,
} from "./crossover.ts";
import { MmsbError } from "../../base/mod.ts";
import { openGpuThread } from "./gpu_thread.ts";
import { gpuMissing } from "./testdata/gpu_test.ts";

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/** A back-end that takes so long for a batch and a row besides what the CPU does. */
function slower(batchMs: number, repeats: (rows: number) => number): ApplyBackend {
  return {
    name: "gpu",
    apply(columns, rows, shape, pages) {
      const until = performance.now() + batchMs;
      for (let i = 0; i < repeats(rows); i++) CPU_APPLY.apply(columns, rows, shape, pages);
      while (performance.now() < until);
    },
  };
}

const STORED: Crossover = { rows: 4096, points: [{ rows: 4096, cpuMs: 1, gpuMs: 0.5 }] };
const DEVICE = { adapter: "one", driver: "2", runtime: "deno 3", measure: 1 };

Deno.test("measureCrossover() finds the size from which on another back-end is faster, or none", () => {
  // Nothing is done for many rows, and a millisecond more for few.
  const { rows, points } = measureCrossover(
    slower(0, (count) => count > 60_000 ? 0 : 10),
    undefined,
    {
      budgetMs: 3000,
    },
  );
  assert.equal(rows, 65_536, JSON.stringify(points));
  assert.deepEqual(points.slice(0, 4).map((point) => point.rows), [1024, 4096, 16_384, 65_536]);
  const never = measureCrossover(slower(20, () => 1), undefined, { budgetMs: 1 });
  assert.equal(never.rows, null);
  assert.equal(never.points.length, 1, "no size is begun when the time is spent");
});

Deno.test("measureCrossover() ends at a size that is too large, and says what fails", () => {
  const failing = (code: "limit" | "gpu", rowsMax: number): ApplyBackend => ({
    name: "gpu",
    apply(columns, rows, shape, pages) {
      if (rows > rowsMax) throw new MmsbError(code, "Cannot take so much: give less");
      CPU_APPLY.apply(columns, rows, shape, pages);
    },
  });
  const budget = { budgetMs: 10_000 };
  assert.equal(measureCrossover(failing("limit", 5000), undefined, budget).points.length, 2);
  assert.throws(() => measureCrossover(failing("limit", 1), undefined, budget), { code: "limit" });
  assert.throws(() => measureCrossover(failing("gpu", 5000), undefined, budget), { code: "gpu" });
});

Deno.test("readCrossover() takes what was stored of this device, and nothing else", () => {
  const text = JSON.stringify({ device: DEVICE, crossover: STORED });
  assert.deepEqual(readCrossover(text, DEVICE), STORED);
  const never = { ...STORED, rows: null };
  assert.deepEqual(
    readCrossover(JSON.stringify({ device: DEVICE, crossover: never }), DEVICE),
    never,
  );
  for (const key of ["adapter", "driver", "runtime"]) {
    assert.equal(readCrossover(text, { ...DEVICE, [key]: "other" }), undefined, key);
  }
  assert.equal(readCrossover(text, { ...DEVICE, measure: 2 }), undefined);
  for (let end = 0; end < text.length; end++) {
    assert.equal(readCrossover(text.slice(0, end), DEVICE), undefined, `${end} characters`);
  }
  const point = STORED.points[0];
  for (
    const bad of [
      undefined,
      null,
      7,
      [],
      {},
      { ...STORED, rows: "4096" },
      { ...STORED, rows: -1 },
      { ...STORED, rows: 1.5 },
      { ...STORED, points: [] },
      { ...STORED, points: null },
      { ...STORED, points: { length: 1 } },
      { ...STORED, points: [null] },
      { ...STORED, points: [{ ...point, cpuMs: -1 }] },
      { ...STORED, points: [{ ...point, gpuMs: "1" }] },
      { ...STORED, points: [{ ...point, rows: 0 }] },
      { ...STORED, points: Array(65).fill(point) },
    ]
  ) {
    const stored = JSON.stringify({ device: DEVICE, crossover: bad });
    assert.equal(readCrossover(stored, DEVICE), undefined, stored);
  }
});

Deno.test("crossoverText() says from where on, or how far it was tried", () => {
  assert.match(crossoverText(STORED), /^from 4096 rows of 16 bytes on \(4096 rows: GPU 0.50 ms/);
  assert.match(
    crossoverText({ ...STORED, rows: null }),
    /^at no size that was tried \(4096 rows: /,
  );
});

Deno.test({
  name:
    "crossoverOf() measures once a process, and again where a file is damaged or of another device",
  ignore: missing !== undefined && !isRequired,
  fn: async () => {
    await using thread = await openGpuThread({ timeoutMs: 60_000 });
    const options = { budgetMs: 20 };
    forgetCrossovers();
    const first = crossoverOf(thread, undefined, options);
    assert.ok(first.text !== undefined && first.crossover.points.length > 0);
    assert.equal(crossoverOf(thread, undefined, options).crossover, first.crossover);
    // The file counts where it is of this device.
    const device = crossoverDevice(thread);
    assert.ok(device.adapter !== "" && device.runtime.startsWith("deno "));
    const stored = JSON.stringify({ device, crossover: STORED });
    assert.deepEqual(crossoverOf(thread, stored, options), { crossover: STORED });
    for (const text of ["", "{", first.text.replace(device.adapter, "other"), stored.slice(1)]) {
      const { crossover, text: written } = crossoverOf(thread, text, options);
      assert.equal(crossover, first.crossover);
      assert.deepEqual(readCrossover(written!, device), crossover);
    }
    forgetCrossovers();
    const batches = thread.totals.batches;
    assert.notEqual(crossoverOf(thread, "{", options).crossover, first.crossover);
    assert.equal(thread.totals.batches, batches, "what measures is no batch of a bus");
  },
});
