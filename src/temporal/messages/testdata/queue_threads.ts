/** A queue between real threads: what producers pushed and consumers popped, compared. */

import assert from "node:assert/strict";
import { TemporalQueue } from "../temporal_queue.ts";
import type { QueueReport, QueueTask } from "./queue_worker.ts";

/** What to run. */
export interface QueueRun {
  readonly producers: number;
  readonly consumers: number;
  readonly capacity: number;
  readonly count: number;
  readonly batchMax: number;
  readonly priorities: number;
  readonly isMixed: boolean;
}

/** Runs it; throws where a message was lost, doubled, changed or, for one producer's, out of order. */
export async function runQueue(run: QueueRun): Promise<void> {
  const { producers, consumers, capacity } = run;
  // A dependency that was delivered and forgotten before it is named would be waited for without end.
  const remembered = producers * run.count;
  const queue = TemporalQueue.create({ nowUs: () => 1_000_000, capacity, remembered });
  const workers: Worker[] = [];
  const start = (role: "push" | "pop", node: number): Promise<QueueReport> => {
    const worker = new Worker(new URL("./queue_worker.ts", import.meta.url), { type: "module" });
    workers.push(worker);
    const { promise, resolve, reject } = Promise.withResolvers<QueueReport>();
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
    };
    worker.postMessage(
      { ...run, handle: queue.share(), role, node } satisfies QueueTask & QueueRun,
    );
    return promise;
  };
  try {
    const popping = Array.from({ length: consumers }, (_, index) => start("pop", index));
    const pushed = await Promise.all(
      Array.from({ length: producers }, (_, index) => start("push", index)),
    );
    queue.close();
    const popped = await Promise.all(popping);
    for (const { error } of [...pushed, ...popped]) assert.equal(error, undefined);
    assert.equal(total(popped, "count"), total(pushed, "count"), "Messages lost or doubled");
    assert.equal(total(popped, "sum"), total(pushed, "sum"), "Other messages came out");
    assert.equal(total(popped, "disorders"), 0, "Messages of a sender overtook each other");
    queue.checkInvariants();
    const stats = queue.stats();
    assert.equal(stats.delivered, producers * run.count);
    assert.equal(stats.pushed, stats.delivered);
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

function total(reports: readonly QueueReport[], key: "count" | "sum" | "disorders"): number {
  return reports.reduce((sum, report) => (sum + report[key]) | 0, 0);
}
