import assert from "node:assert/strict";
import { MmsbError } from "../base/mod.ts";
import { type ApplyBackend, type BatchShape, CPU_APPLY, PageStore } from "../physical/mod.ts";
import { DeltaBatch, resolve } from "../physical/mod.ts";
import { DeviceApply, type DeviceBackend } from "./_device_apply.ts";

const PAGE = 1;

/** A back-end that does what it is told to do. */
class Told implements DeviceBackend {
  readonly name = "gpu";
  isReady = true;
  error: unknown;
  calls = 0;
  against: string | undefined;

  refusal(): string | undefined {
    return this.against;
  }

  apply(...rows: Parameters<ApplyBackend["apply"]>): void {
    this.calls++;
    if (this.error !== undefined) throw this.error;
    CPU_APPLY.apply(...rows);
  }
}

class Trial {
  readonly store = new PageStore(1 << 20);
  readonly told = new Told();
  readonly apply: DeviceApply;
  #value = 0;

  constructor(rowsMin = 1) {
    this.apply = new DeviceApply(this.told, rowsMin);
    this.store.table.setActive(this.store.create(PAGE, { size: 64, shard: 0, name: "" }), true);
  }

  batch(rows = 4): { batch: DeltaBatch; shape: BatchShape } {
    const batch = new DeltaBatch({ rows, payloadBytes: 4 * rows });
    this.#value++;
    for (let i = 0; i < rows; i++) {
      batch.push(PAGE, 4 * (i % 16), Uint8Array.of(this.#value, 0, 0, 0));
    }
    const { kernel: columns, payloadLength } = batch;
    return {
      batch,
      shape: resolve({ columns, rows, payloadLength, strings: 1 }, this.store.table),
    };
  }

  /** Applies a batch; whoever did it, it stands in the page. */
  run(rows = 4): void {
    const { batch, shape } = this.batch(rows);
    this.apply.apply(batch.kernel, batch.length, shape, this.store);
    assert.equal(this.store.arena.words[this.store.table.slot(1) << 2], this.#value);
  }

  get counted(): unknown {
    const { gpu, cpu, reasons, failures } = this.apply.counts;
    return [gpu.batches, cpu.batches, Object.fromEntries(reasons), failures];
  }
}

Deno.test("DeviceApply has the device do what it can, and counts rows", () => {
  const trial = new Trial();
  trial.run(4);
  trial.run(8);
  assert.deepEqual(trial.counted, [2, 0, {}, 0]);
  assert.equal(trial.apply.counts.gpu.rows, 12);
});

Deno.test("DeviceApply has the CPU do what is too small, has no kernel, or finds no device", () => {
  const trial = new Trial(8);
  trial.run(7);
  trial.run(8);
  trial.told.against = "f64";
  trial.run(8);
  trial.told.isReady = false;
  trial.run(8);
  assert.deepEqual(trial.counted, [
    1,
    3,
    { "below the crossover": 1, "f64": 1, "no device": 1 },
    0,
  ]);
  assert.equal(trial.apply.takes(7, trial.batch(7).shape), false);
  assert.equal(trial.apply.counts.cpu.batches, 4, "the caller has the CPU do it");
});

Deno.test("DeviceApply has the CPU do what the device failed at, and leaves it alone after three times", () => {
  const trial = new Trial();
  trial.told.error = new MmsbError("gpu", "Cannot go on: gone");
  trial.run();
  trial.run();
  trial.told.error = undefined;
  trial.run();
  assert.deepEqual(trial.counted, [1, 2, { "the device failed": 2 }, 2]);
  trial.told.error = new TypeError("a fault of ours");
  for (let i = 0; i < 5; i++) trial.run();
  const calls = trial.told.calls;
  trial.told.error = undefined;
  trial.run();
  assert.equal(trial.told.calls, calls, "it is left alone");
  assert.match(trial.apply.givenUp ?? "", /3 times in a row: a fault of ours/);
  assert.deepEqual(trial.counted, [1, 8, { "the device failed": 5, "given up": 3 }, 5]);
});

Deno.test("DeviceApply goes on with the device after batches that were too large for it", () => {
  const trial = new Trial();
  for (const code of ["limit", "allocation"] as const) {
    trial.told.error = new MmsbError(code, "Cannot take so much: give less");
    for (let i = 0; i < 4; i++) trial.run();
  }
  assert.equal(trial.apply.givenUp, undefined);
  assert.deepEqual(trial.counted, [0, 8, { "too large": 8 }, 8]);
});
