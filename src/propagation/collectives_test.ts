/** Barriers and groups: in every order of steps, between real threads, and broken. */

import assert from "node:assert/strict";
import { SharedGroup } from "./collectives.ts";
import { SharedBarrier } from "./shared_barrier.ts";
import { explore } from "./testdata/interleavings.ts";

Deno.test("SharedBarrier lets nobody into a phase before all are there, in every order of steps", () => {
  const handle = SharedBarrier.create({ participants: 2 }).share();
  const thread = () => {
    const barrier = SharedBarrier.attach(handle);
    return [barrier.arrive(), barrier.arrive(), barrier.arrive()];
  };
  const { states } = explore({
    memory: handle.memory,
    threads: [thread, thread],
    check: (results) => assert.deepEqual(results, [[1, 2, 3], [1, 2, 3]]),
  });
  assert.ok(states > 100);
});

Deno.test("SharedBarrier with three threads loses nobody, in every order of steps", () => {
  const handle = SharedBarrier.create({ participants: 3 }).share();
  const thread = () => {
    const barrier = SharedBarrier.attach(handle);
    return [barrier.arrive(), barrier.arrive()];
  };
  explore({
    memory: handle.memory,
    threads: [thread, thread, thread],
    check: (results) => assert.deepEqual(results, [[1, 2], [1, 2], [1, 2]]),
  });
});

Deno.test("SharedBarrier broken by time or by another thread lets nobody sleep on, in every order", () => {
  const handle = SharedBarrier.create({ participants: 2 }).share();
  const arrive = (timeoutMs?: number) => () => {
    try {
      return SharedBarrier.attach(handle).arrive({ timeoutMs });
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return (error as Error & { code: string }).code;
    }
  };
  explore({
    memory: handle.memory,
    threads: [arrive(1e9), arrive(), () => SharedBarrier.attach(handle).break()],
    check: (results) => assert.ok(results.slice(0, 2).every((it) => it === 1 || it === "worker")),
  });
});

Deno.test("SharedBarrier.arrive() without the others breaks it after its time", async () => {
  const barrier = SharedBarrier.create({ participants: 2 });
  const first = SharedBarrier.attach(barrier.share()).arriveAsync();
  await assert.rejects(
    barrier.arriveAsync({ timeoutMs: 0 }).then(() => barrier.arriveAsync({ timeoutMs: 2 })),
    {
      code: "worker",
    },
  );
  assert.equal(await first.catch(() => 1), 1);
  assert.equal(barrier.broken, true);
  assert.throws(() => barrier.arrive(), { code: "worker" });
});

Deno.test("Barriers and groups refuse what cannot be", () => {
  assert.throws(() => SharedBarrier.create({ participants: 0 }), { code: "limit" });
  assert.throws(() => SharedBarrier.create({ participants: 1.5 }), { code: "usage" });
  assert.throws(() => SharedBarrier.attach({} as never), { code: "usage" });
  assert.throws(() => SharedGroup.create({ participants: 2, length: 0 }), { code: "limit" });
  const handle = SharedGroup.create({ participants: 1 });
  assert.throws(() => SharedGroup.attach(handle, 1), { code: "out-of-bounds" });
  assert.throws(() => SharedGroup.attach({} as never, 0), { code: "usage" });
  const group = SharedGroup.attach(handle, 0);
  assert.throws(() => group.allReduce("mean" as "sum", [1]), { code: "usage" });
  assert.throws(() => group.allReduce("sum", [1, 2]), { code: "out-of-bounds" });
  assert.throws(() => group.allReduce("sum", ["1"] as never), { code: "usage" });
  assert.throws(() => group.allGather(undefined as never), { code: "usage" });
  assert.deepEqual(group.allGather([7]), Float64Array.of(7));
});

Deno.test("SharedGroup gives three threads the same results to the bit", async () => {
  const calls = 400, participants = 3;
  const handle = SharedGroup.create({ participants, length: 2 });
  const workers: Worker[] = [];
  try {
    const results = await Promise.all(Array.from({ length: participants }, (_, rank) => {
      const worker = new Worker(new URL("./testdata/group_worker.ts", import.meta.url), {
        type: "module",
      });
      workers.push(worker);
      worker.postMessage({ handle, rank, calls });
      return new Promise<number[][]>((resolve) => worker.onmessage = ({ data }) => resolve(data));
    }));
    const how = [
      (a: number, b: number) => a + b,
      (a: number, b: number) => a * b,
      Math.min,
      Math.max,
    ];
    const expected = Array.from({ length: calls }, (_, call) => {
      const own = [0, 1, 2].map((rank) => [rank + call, 1 / (1 + rank + call)]);
      return [
        own.reduce((a, b) => a.map((value, i) => how[call % 4](value, b[i]))),
        own.flat(),
      ];
    }).flat();
    for (const result of results) assert.deepEqual(result, expected);
  } finally {
    for (const worker of workers) worker.terminate();
  }
});
