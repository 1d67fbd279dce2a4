import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../../base/mod.ts";
import { SharedArena } from "../arena.ts";
import { JOBS_MAX } from "./_channel.ts";
import { pauseMs } from "./_thread_turns.ts";
import { SharedThread, type SharedThreadOptions } from "./_thread_shared.ts";
import { GpuThread, type JobTicket, openGpuThread } from "./gpu_thread.ts";
import { gpuMissing } from "./testdata/gpu_test.ts";
import {
  ARENA_SUM,
  BUFFER_SUM,
  DOUBLE,
  ECHO,
  FAIL,
  GATE,
  GIVE,
  PAUSE,
  UNAWARE,
} from "./_thread_trial_test.ts";

const module = new URL("./_thread_trial_test.ts", import.meta.url).href;
const TIMEOUT_MS = 1000;

/** A thread of its own, with the handlers of tests. */
async function openTrial(
  { trial, ...options }: SharedThreadOptions = {},
  timeoutMs = 10 * TIMEOUT_MS,
): Promise<GpuThread> {
  const shared = new SharedThread({
    ...options,
    trial: { module, hasNoSelfTest: true, ...trial },
  });
  await shared.waitUntilStarted();
  return new GpuThread(shared.use(), timeoutMs);
}

const missing = await gpuMissing();
const isRequired = Deno.env.get("MMSB_TEST_GPU") === "required";

/** A test of a thread that has a device. */
function testThread(name: string, body: (context: Deno.TestContext) => Promise<void>): void {
  Deno.test({ name, ignore: missing !== undefined && !isRequired, fn: body });
}

function double(thread: GpuThread, submissions: number, words: readonly number[]): number[] {
  return thread.call(
    DOUBLE,
    (job) => {
      job.word(submissions);
      job.words(words.length).set(words);
    },
    (result) => [...new Int32Array(result.bytes().slice().buffer)],
  );
}

/** What one healthy thread does. */
const STEPS: Readonly<Record<string, (thread: GpuThread) => void | Promise<void>>> = {
  "jobs go to the GPU thread, and their results come back within one call": (thread) => {
    assert.deepEqual([thread.status.state, thread.status.reason, thread.isReady], [
      "ready",
      "",
      true,
    ]);
    assert.equal(typeof thread.status.adapter?.name, "string");
    const words = [1, -2, 2 ** 31 - 1], bytes = [1, 2, 3, 4, 5];
    const answer = thread.call(ECHO, (job) => {
      job.word(-5);
      job.text("ä 😀");
      job.double(-0.1);
      job.words(3).set(words);
      job.bytes(5).set(bytes);
    }, (result) => {
      const [word, text, number] = [result.word(), result.text(), result.double()];
      return [word, text, number, [...result.words()], [...result.bytes()], result.hasMore];
    });
    assert.deepEqual(answer, [-5, "ä 😀", -0.1, words, bytes, false]);
    assert.deepEqual(double(thread, 3, [1, 5, 7]), [8, 40, 56]);
  },
  "jobs are done in the order in which they were begun, several under way": (thread) => {
    const gate = new SharedArrayBuffer(8);
    for (let round = 0; round < 20; round++) {
      new Int32Array(gate).fill(0);
      const tickets = Array.from({ length: JOBS_MAX }, (_, order) =>
        thread.begin(GATE, (job) => {
          job.buffer(gate);
          job.word(order);
        }));
      assert.throws(() => thread.begin(ECHO, () => {}), { code: "gpu", message: /too many/ });
      assert.equal(tickets.some((ticket) => thread.isDone(ticket)), false);
      Atomics.store(new Int32Array(gate), 0, 1);
      Atomics.notify(new Int32Array(gate), 0);
      // Asked for in another order.
      for (const order of [2, 0, 3, 1]) {
        const came = thread.end(tickets[order], (result) => [result.word(), result.word()]);
        assert.deepEqual(came, [order, order]);
        assert.throws(() => thread.end(tickets[order], () => {}), { code: "usage" });
      }
    }
  },
  "a job reads arenas that grow, and memory of its caller": (thread) => {
    const arena = new SharedArena(2 ** 24), number = thread.register(arena);
    const sum = () =>
      thread.call(ARENA_SUM, (job) => {
        job.word(number);
        job.word(arena.words.length);
      }, (result) => result.word());
    arena.words[5] = 7;
    assert.equal(sum(), 7);
    arena.grow(2 ** 22);
    arena.words[arena.words.length - 1] = 11;
    assert.equal(sum(), 18);
    for (let i = 0; i < 200; i++) {
      const buffer = new SharedArrayBuffer(64);
      new Int32Array(buffer).fill(i);
      const result = thread.call(
        BUFFER_SUM,
        (job) => job.buffer(buffer),
        (result) => result.word(),
      );
      assert.equal(result, 16 * i);
    }
    thread.unregister(number);
    assert.throws(sum, { code: "gpu", message: /arena \d was made known/ });
  },
  "what a handler throws is thrown to the caller, and the next job is done": (thread) => {
    const before = thread.totals.failures;
    const fail = (how: string) => thread.call(FAIL, (job) => job.text(how), () => {});
    assert.throws(() => fail("mmsb"), { code: "limit", message: "Cannot do so much: do less" });
    assert.throws(() => fail("type"), { code: "gpu", message: /job 105 .* x is not a function/ });
    assert.throws(() => fail("huge"), { code: "usage", message: /^x{2000}…$/ });
    assert.throws(() => fail("value"), { code: "gpu", message: /no error at all/ });
    assert.throws(() => fail("read too far"), { code: "gpu", message: /read as it was written/ });
    assert.throws(() => thread.call(7777, () => {}, () => {}), { code: "usage", message: /7777/ });
    const oops = new RangeError("in write");
    assert.throws(() => {
      thread.begin(ECHO, () => {
        throw oops;
      });
    }, oops);
    assert.throws(() =>
      thread.call(GIVE, (job) => job.word(1), () => {
        throw oops;
      }), oops);
    for (let i = 0; i < 2 * JOBS_MAX; i++) {
      assert.throws(() =>
        thread.begin(ECHO, () => {
          throw oops;
        }), oops);
    }
    // None of them has kept its slot.
    for (let i = 0; i < 2 * JOBS_MAX; i++) assert.deepEqual(double(thread, 1, [i]), [2 * i]);
    assert.equal(thread.totals.failures - before, 6);
    assert.equal(thread.status.state, "ready");
  },
  "questions are answered between jobs, in their order": async (thread) => {
    const value = { list: [1, 2n, new Uint8Array(3)], text: "ä" };
    assert.deepEqual(await thread.ask({ kind: "echo", value }), value);
    const late = thread.ask({ kind: "pause", ms: 30 });
    const both = Promise.all([late, thread.ask({ kind: "echo", value: 1 })]);
    // A job does not wait for the answers, only for its turn.
    assert.deepEqual(double(thread, 1, [2]), [4]);
    assert.deepEqual(await both, [undefined, 1]);
    await assert.rejects(thread.ask({ kind: "fail" }), { code: "usage", values: { n: 1 } });
    await assert.rejects(thread.ask({ kind: "nothing" }), { code: "usage", message: /"nothing"/ });
    await assert.rejects(thread.ask({ kind: "echo", value: () => 1 }), { code: "usage" });
    await assert.rejects(thread.ask({ kind: "function" }), { code: "gpu" });
    assert.equal(await thread.ask({ kind: "echo", value: 2 }), 2);
  },
};

testThread("a GPU thread", async (context) => {
  await using thread = await openTrial();
  for (const [name, step] of Object.entries(STEPS)) {
    await context.step(name, () => step(thread));
  }
});

testThread("memory for jobs grows with them, and is given back after long waste", async () => {
  const shared = new SharedThread({ trial: { module, hasNoSelfTest: true } });
  await shared.waitUntilStarted();
  await using thread = new GpuThread(shared.use(), 10 * TIMEOUT_MS);
  for (const words of [1, 100_000, 1, 8_000_000, 3]) {
    const length = thread.call(GIVE, (job) => job.word(words), (result) => {
      const given = result.words();
      assert.equal(given[words - 1], 7);
      return given.length;
    });
    assert.equal(length, words);
  }
  const big = thread.begin(GIVE, (job) => job.words(6_000_000)[0] = 5);
  thread.end(big, (result) => assert.equal(result.words().length, 6_000_000));
  const limit = { code: "limit", message: /1073741824; split/ };
  assert.throws(() => thread.begin(ECHO, (job) => void job.words(2 ** 28 + 1)), limit);
  assert.throws(() => thread.call(GIVE, (job) => job.word(2 ** 28), () => {}), limit);
  assert.ok(shared.memory.stagingBytes > 40_000_000);
  for (let i = 0; i < 200; i++) {
    thread.call(BUFFER_SUM, (job) => job.buffer(new SharedArrayBuffer(64)), () => {});
  }
  const { known, stagingBytes } = shared.memory;
  assert.ok(stagingBytes < 1_000_000 && known < 50, `${stagingBytes} bytes, ${known} known`);
  thread.unregister(thread.register(new SharedArena(2 ** 16)));
  assert.equal(shared.memory.known, 0);
});

testThread("a job that hangs is given up, and the next thread works", async () => {
  for (const fault of ["hang", "spin"]) {
    await using thread = await openTrial({}, 100);
    await thread.keep("a", { kind: "mark", name: "a" });
    const { generation } = thread,
      arena = new SharedArena(2 ** 20),
      number = thread.register(arena);
    await thread.ask({ kind: fault });
    const others = [1, 2].map((value) => thread.begin(GIVE, (job) => job.word(value)));
    const question = thread.ask({ kind: "echo", value: 1 });
    question.catch(() => {});
    assert.throws(() => thread.end(others[0], () => {}), { code: "gpu", message: /in 100 ms/ });
    assert.throws(() => thread.end(others[1], () => {}), { code: "gpu" });
    assert.throws(() => double(thread, 1, [1]), { code: "gpu", message: /being opened/ });
    assert.deepEqual([thread.isReady, thread.status.state], [false, "starting"]);
    await assert.rejects(question, { code: "gpu" });
    await thread.waitBeforeTick();
    assert.equal(thread.waitBeforeTick(), undefined);
    assert.deepEqual([thread.status.state, thread.status.threadsLost], ["ready", 1]);
    assert.notEqual(thread.generation, generation);
    assert.deepEqual(await thread.ask({ kind: "marks" }), ["mark a"]);
    arena.words[0] = 3;
    const sum = thread.call(ARENA_SUM, (job) => {
      job.word(number);
      job.word(1);
    }, (result) => result.word());
    assert.equal(sum, 3);
  }
});

testThread("a job that says that it goes on is not given up", async () => {
  await using thread = await openTrial({}, 200);
  const pause = (goesOn: boolean) =>
    thread.call(PAUSE, (job) => {
      job.word(8);
      job.word(50);
      job.word(goesOn ? 1 : 0);
    }, () => true);
  assert.equal(pause(true), true);
  assert.throws(() => pause(false), { code: "gpu", message: /in 200 ms/ });
});

testThread("a thread that ends or is ended is replaced", async () => {
  const shared = new SharedThread({ trial: { module, hasNoSelfTest: true } });
  await shared.waitUntilStarted();
  await using thread = new GpuThread(shared.use(), TIMEOUT_MS);
  await thread.ask({ kind: "exit" });
  assert.throws(() => double(thread, 1, [1]), { code: "gpu", message: /its thread ended/ });
  await thread.waitBeforeTick();
  assert.deepEqual(double(thread, 1, [1]), [2]);
  const ticket = thread.begin(PAUSE, (job) => {
    job.word(100);
    job.word(50);
    job.word(0);
  });
  await shared.kill();
  assert.deepEqual([thread.status.state, thread.status.threadsLost], ["starting", 2]);
  assert.throws(() => thread.end(ticket, () => {}), { code: "gpu", message: /its thread ended/ });
  await thread.waitBeforeTick();
  assert.deepEqual(double(thread, 1, [4]), [8]);
  assert.equal(thread.status.threadsLost, 2);
});

testThread("a device destroyed in mid-job fails that job, and another is opened", async () => {
  await using thread = await openTrial();
  for (const raw of [false, true]) {
    await thread.keep("b", { kind: "mark", name: "b" });
    const { generation } = thread, { devicesLost } = thread.status;
    assert.deepEqual(double(thread, 2, [3]), [12]);
    await thread.ask({ kind: "destroy", submits: 2, raw });
    const first = thread.begin(DOUBLE, (job) => {
      job.word(4);
      job.words(1)[0] = 1;
    });
    // Written for the device that will be gone.
    const second = thread.begin(ECHO, () => {});
    assert.throws(() => thread.end(first, () => {}), { code: "gpu", message: /gone/ });
    assert.throws(() => thread.end(second, () => {}), { code: "gpu", message: /gone|before/ });
    await thread.waitBeforeTick();
    assert.deepEqual([thread.status.state, thread.isReady], ["ready", true]);
    assert.equal(thread.status.devicesLost, devicesLost + 1);
    assert.notEqual(thread.generation, generation);
    assert.deepEqual(await thread.ask({ kind: "marks" }), ["mark b"]);
    assert.deepEqual(double(thread, 2, [3]), [12]);
  }
  const unaware = () => thread.call(UNAWARE, () => {}, (result) => result.word());
  assert.throws(unaware, { code: "gpu", message: /gone/ });
  assert.equal(thread.status.threadsLost, 0);
  thread.drop("b");
  await thread.ask({ kind: "destroy" });
  assert.equal(thread.isReady, false);
  assert.deepEqual(await thread.ask({ kind: "marks" }), []);
});

testThread(
  "a device that cannot be opened again leaves its callers to the CPU until it can",
  async () => {
    await using thread = await openTrial({ trial: { failedOpenings: 1 } });
    await thread.ask({ kind: "destroy" });
    await thread.waitBeforeTick();
    const { state, reason } = thread.status;
    assert.deepEqual([state, thread.isReady], ["lost", false]);
    assert.match(reason, /destroyed; another one cannot be opened/);
    assert.throws(() => double(thread, 1, [1]), { code: "gpu", message: /destroyed/ });
    // Who asks can wait, so it is tried again for that.
    assert.equal(await thread.ask({ kind: "echo", value: 3 }), 3);
    assert.deepEqual([thread.status.state, double(thread, 1, [2])], ["ready", [4]]);
  },
);

testThread("closing ends what is under way, and nothing is left behind", async () => {
  const thread = await openTrial({}, TIMEOUT_MS);
  const tickets = [1, 2].map(() =>
    thread.begin(PAUSE, (job) => {
      job.word(1);
      job.word(20);
      job.word(0);
    })
  );
  const question = thread.ask({ kind: "echo" });
  question.catch(() => {});
  const closing = thread.close();
  assert.throws(() => thread.end(tickets[0], () => {}), { code: "closed" });
  assert.throws(() => thread.begin(ECHO, () => {}), { code: "closed" });
  assert.throws(() => thread.register(new SharedArena(2 ** 16)), { code: "closed" });
  await assert.rejects(thread.ask({ kind: "echo" }), { code: "closed" });
  await assert.rejects(question, { code: "gpu", message: /closed/ });
  await Promise.all([closing, thread.close()]);
  assert.deepEqual([thread.status.state, thread.isReady], ["closed", false]);
  assert.equal(thread.waitBeforeTick(), undefined);
});

testThread(
  "users of one thread see nothing of each other but that jobs take their turns",
  async () => {
    const shared = new SharedThread({ trial: { module, hasNoSelfTest: true } });
    await shared.waitUntilStarted();
    await using first = new GpuThread(shared.use(), TIMEOUT_MS);
    const second = new GpuThread(shared.use(), TIMEOUT_MS), arena = new SharedArena(2 ** 16);
    const number = second.register(arena);
    const sum = () =>
      first.call(ARENA_SUM, (job) => {
        job.word(number);
        job.word(1);
      }, (result) => result.word());
    assert.equal(sum(), 0);
    for (let i = 0; i < JOBS_MAX; i++) {
      second.begin(PAUSE, (job) => {
        job.word(1);
        job.word(5);
        job.word(0);
      });
    }
    assert.throws(sum, { code: "gpu", message: /too many/ });
    await second.close();
    assert.deepEqual([first.isReady, second.isReady], [true, false]);
    // What was under way is nobody's, and the arena is gone with its owner.
    await first.ask({ kind: "echo" });
    assert.throws(sum, { code: "gpu", message: /arena/ });
    assert.deepEqual(double(first, 1, [3]), [6]);
  },
);

/** What users of a thread do, one after the other; numbers choose among the jobs under way. */
const anyProgram = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constant("begin"), value: fc.nat(1000) }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("end"), value: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("discard"), value: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("turn"), value: fc.nat() }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constantFrom("throw", "destroy", "exit"),
        value: fc.constant(0),
      }),
    },
  ),
  { maxLength: 30 },
);

testThread(
  "whatever is begun, ended, discarded and lost, results are right or refused",
  async () => {
    await using thread = await openTrial({ lostMax: Infinity });
    let results = 0;
    await fc.assert(
      fc.asyncProperty(anyProgram, async (program) => {
        const tickets: { ticket: JobTicket; value: number }[] = [];
        let faults = 0;
        const end = (at: number) => {
          const [{ ticket, value }] = tickets.splice(at, 1);
          try {
            assert.equal(thread.end(ticket, (result) => result.words().length), value);
            results++;
          } catch (error) {
            assert.ok(isMmsbError(error, "gpu"), `${error}`);
            assert.ok(faults > 0, "a job is refused only where there was a fault");
          }
        };
        for (const { kind, value } of program) {
          if (kind === "begin") {
            if (tickets.length === JOBS_MAX || !thread.isReady) continue;
            const ticket = thread.begin(GIVE, (job) => job.word(value));
            tickets.push({ ticket, value });
          } else if (kind === "turn") {
            await pauseMs(value % 3);
          } else if (kind === "end") {
            if (tickets.length > 0) end(value % tickets.length);
          } else if (kind === "discard") {
            if (tickets.length > 0) {
              thread.discard(tickets.splice(value % tickets.length, 1)[0].ticket);
            }
          } else if (kind !== "destroy" || thread.status.devicesLost < 10) {
            faults++;
            // One before may have ended the thread.
            await thread.ask({ kind }).catch((error) => assert.ok(isMmsbError(error, "gpu")));
          }
        }
        while (tickets.length > 0) end(0);
        // What was armed and did not strike does now; one fault may hide another.
        for (let i = 0; i < 3; i++) {
          try {
            await thread.waitBeforeTick();
            double(thread, 1, [1]);
          } catch (error) {
            assert.ok(faults > 0 && isMmsbError(error, "gpu"), `${error}`);
          }
        }
        await thread.waitBeforeTick();
        assert.equal(thread.status.state, "ready", thread.status.reason);
        for (let i = 0; i < 2 * JOBS_MAX; i++) assert.deepEqual(double(thread, 1, [i]), [2 * i]);
      }),
      { numRuns: 8 },
    );
    assert.ok(results > 0);
  },
);

testThread("a thread may be closed whatever it is doing", async () => {
  for (const ms of [undefined, 0, 20, 100]) {
    const shared = new SharedThread({ trial: { module, hasNoSelfTest: true } });
    if (ms !== undefined) await pauseMs(ms);
    await shared.close();
    assert.deepEqual([shared.status.state, shared.isReady], ["closed", false]);
  }
  const lost = await openTrial({}, 50);
  await lost.ask({ kind: "hang" });
  assert.throws(() => double(lost, 1, [1]), { code: "gpu" });
  await lost.close();
});

/** Closes a thread that ends by itself and one that is terminated, and prints how many threads each has left. */
const CLOSINGS = `
const { SharedThread } = await import(Deno.args[0]);
const left = [];
for (const isKilled of [false, true]) {
  const shared = new SharedThread({ trial: { hasNoSelfTest: true } });
  await shared.waitUntilStarted();
  const killed = isKilled ? shared.kill() : undefined;
  await shared.close();
  await killed;
  const tasks = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => "/proc/self/task/" + name + "/comm");
  left.push(tasks.filter((task) => {
    try {
      return Deno.readTextFileSync(task).startsWith("worker-");
    } catch {
      return false;
    }
  }).length);
}
console.log(JSON.stringify(left));`;

Deno.test({
  name: "behind close() the thread is gone with its driver, so that the process may end",
  ignore: Deno.build.os !== "linux" || missing !== undefined && !isRequired,
  fn: async () => {
    const shared = new URL("./_thread_shared.ts", import.meta.url).href;
    const outputs: string[] = [];
    // The runtime does not say when it has unloaded the driver, so close() waits; on a busy machine that may be too short.
    while (outputs.length < 4 && outputs.at(-1) !== "[0,0]") {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["eval", "--no-check", CLOSINGS, shared],
        stderr: "null",
      });
      const { success, stdout } = await child.output();
      outputs.push(success ? new TextDecoder().decode(stdout).trim() : "the process crashed");
    }
    assert.equal(outputs.at(-1), "[0,0]", outputs.join(", "));
  },
});

testThread("what was kept is asked again of each device, until it is dropped", async () => {
  await using thread = await openTrial();
  const next = async () => {
    await thread.ask({ kind: "destroy" });
    return await thread.ask({ kind: "marks" });
  };
  await thread.keep("a", { kind: "mark", name: "a" });
  await thread.keep("a", { kind: "mark", name: "other a" });
  await thread.keep("b", { kind: "mark", name: "b" });
  await assert.rejects(thread.keep("c", { kind: "fail" }), { code: "usage" });
  assert.deepEqual(await next(), ["mark other a", "mark b"]);
  const late = thread.keep("d", { kind: "mark", name: "d" });
  thread.drop("d");
  thread.drop("a");
  thread.drop("never kept");
  await late;
  assert.deepEqual(await next(), ["mark b"]);
  await thread.ask({ kind: "exit" });
  assert.throws(() => double(thread, 1, [1]), { code: "gpu" });
  assert.deepEqual(await thread.ask({ kind: "marks" }), ["mark b"]);
});

testThread("a thread that answers no question in time is given up", async () => {
  await using thread = await openTrial();
  const first = thread.ask({ kind: "pause", ms: 60_000 }, { timeoutMs: 50 });
  const second = thread.ask({ kind: "echo", value: 1 });
  second.catch(() => {});
  await assert.rejects(first, { code: "gpu", message: /did not answer "pause" in 50 ms/ });
  await assert.rejects(second, { code: "gpu", message: /did not answer "pause"/ });
  assert.equal(await thread.ask({ kind: "echo", value: 2 }), 2);
  assert.equal(thread.status.threadsLost, 1);
});

testThread("those who open the thread share it, and the last one ends it", async () => {
  const [first, second] = await Promise.all([openGpuThread(), openGpuThread({ timeoutMs: 5000 })]);
  assert.equal(first.status.state, "ready", first.status.reason);
  assert.equal(first.status.selfTest?.passed, true);
  assert.equal(first.totals, second.totals);
  const arenas = [first, second].map((thread) => thread.register(new SharedArena(2 ** 16)));
  assert.notEqual(arenas[0], arenas[1]);
  await first.close();
  assert.deepEqual([first.status.state, second.status.state], ["closed", "ready"]);
  const third = await openGpuThread();
  assert.equal(third.totals, second.totals);
  await Promise.all([second.close(), third.close()]);
  const fourth = await openGpuThread();
  assert.notEqual(fourth.totals, third.totals);
  await fourth.close();
});

Deno.test("without an adapter the thread says so, and refuses jobs with code gpu", async () => {
  await using thread = await openTrial({ trial: { hasNoGpu: true } });
  assert.equal(thread.status.state, "none");
  assert.match(thread.status.reason, /WebGPU|adapter/);
  assert.equal(thread.waitBeforeTick(), undefined);
  assert.throws(() => thread.begin(ECHO, () => {}), (error) => isMmsbError(error, "gpu"));
  await assert.rejects(thread.ask({ kind: "echo" }), { code: "gpu" });
  assert.equal(thread.status.threadsLost, 0);
});

Deno.test("a thread that starts too slowly or not at all is given up, a few times", async () => {
  await using slow = await openTrial({ trial: { slowMs: 60_000 }, startMs: 20, lostMax: 1 });
  assert.equal(slow.status.state, "failed");
  assert.match(slow.status.reason, /^2 of its threads were lost.* in 20 ms/);
  assert.throws(() => slow.begin(ECHO, () => {}), { code: "gpu", message: /2 of its threads/ });
});

Deno.test("openGpuThread refuses options that are none", async () => {
  for (const timeoutMs of [0, -1, NaN, 1.5, "7", 2 ** 31]) {
    await assert.rejects(
      openGpuThread({ timeoutMs: timeoutMs as number }),
      (error) => isMmsbError(error),
    );
  }
  await assert.rejects(openGpuThread({ timeout: 7 } as never), { code: "usage" });
});
