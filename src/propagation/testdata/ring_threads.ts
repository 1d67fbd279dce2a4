/** Rings between real threads: producers and consumers at random batch sizes, and what all of them saw compared. */

import assert from "node:assert/strict";
import { MpmcRing } from "../mpmc_ring.ts";
import { SpscRing } from "../spsc_ring.ts";
import type { RingReport, RingTask } from "./ring_worker.ts";

/** What to run. */
export interface RingRun {
  readonly kind: "spsc-ring" | "mpmc-ring";
  readonly producers: number;
  readonly consumers: number;
  readonly capacity: number;
  /** Items of a producer. */
  readonly count: number;
  readonly batchMax: number;
  readonly seed: number;
}

/** Runs it; gives the items that went through. Throws, with the seed, where one was lost, doubled or out of order. */
export async function runRing(run: RingRun): Promise<number> {
  const { kind, producers, consumers, capacity } = run;
  const ring = kind === "spsc-ring" ? SpscRing.create({ capacity }) : MpmcRing.create({ capacity });
  const workers: Worker[] = [];
  const start = (role: "push" | "pop", producer: number): Promise<RingReport> => {
    const worker = new Worker(new URL("./ring_worker.ts", import.meta.url), { type: "module" });
    workers.push(worker);
    const { promise, resolve, reject } = Promise.withResolvers<RingReport>();
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage(
      { ...run, handle: ring.share(), role, producer } satisfies RingTask & RingRun,
    );
    return promise;
  };
  try {
    const popping = Array.from({ length: consumers }, (_, index) => start("pop", index));
    const pushed = await Promise.all(
      Array.from({ length: producers }, (_, index) => start("push", index)),
    );
    ring.close();
    const popped = await Promise.all(popping);
    const words = `with seed ${run.seed}: ${JSON.stringify(run)}`;
    for (const { error } of [...pushed, ...popped]) assert.equal(error, undefined, words);
    assert.equal(total(popped, "items"), total(pushed, "items"), `Items lost or doubled ${words}`);
    assert.equal(total(popped, "sum"), total(pushed, "sum"), `Other items ${words}`);
    ring.checkInvariants();
    return total(popped, "items");
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

function total(reports: readonly RingReport[], key: "items" | "sum"): number {
  return reports.reduce((sum, report) => (sum + report[key]) >>> 0, 0);
}
