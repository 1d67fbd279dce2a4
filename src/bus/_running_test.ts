/** Tests of running: the pace under a clock that the test moves, and the real one from the outside. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import { FaultyStorage } from "../log/mod.ts";
import { type RunHost, Running } from "./_running.ts";
import type { TickReport } from "./reports.ts";
import { StateBus } from "./state_bus.ts";

/** A host whose time passes when the test says so; each tick takes as long as `tookMs` says. */
class SteeredHost implements RunHost {
  now = 0;
  over = false;
  readonly starts: number[] = [];
  tookMs: (tick: number) => number = () => 0;
  fail: (tick: number) => unknown = () => undefined;
  #timer: { readonly atMs: number; readonly call: () => void } | undefined;

  tick(): Promise<TickReport> {
    this.starts.push(this.now);
    this.now += this.tookMs(this.starts.length);
    const error = this.fail(this.starts.length);
    if (error !== undefined) return Promise.reject(error);
    return Promise.resolve({ tick: this.starts.length } as TickReport);
  }

  isOver(): boolean {
    return this.over;
  }

  nowMs(): number {
    return this.now;
  }

  after(delayMs: number, call: () => void): () => void {
    const timer = this.#timer = { atMs: this.now + delayMs, call };
    return () => {
      if (this.#timer === timer) this.#timer = undefined;
    };
  }

  /** Lets time pass until the timer rings, `lateMs` later than it should; gives whether there was one. */
  async ring(lateMs = 0): Promise<boolean> {
    const timer = this.#timer;
    if (timer === undefined) return false;
    this.#timer = undefined;
    this.now = Math.max(this.now, timer.atMs) + lateMs;
    timer.call();
    for (let i = 0; i < 10; i++) await Promise.resolve();
    return true;
  }
}

Deno.test("Running keeps its pace whatever timers and ticks take, and catches up at most one tick", async () => {
  const times = fc.array(fc.record({ late: fc.nat(30), took: fc.nat(60) }), { minLength: 5 });
  await fc.assert(fc.asyncProperty(times, async (steps) => {
    const host = new SteeredHost();
    host.tookMs = (tick) => steps[tick - 1].took;
    const run = new Running(host).start({ intervalMs: 10 });
    for (const { late } of steps) assert(await host.ring(late));
    const { ticks, skipped } = run;
    assert.equal(ticks, steps.length);
    // Every tick and every one that was left out has its own place on the grid.
    let place = 0;
    for (const [index, start] of host.starts.entries()) {
      place++;
      assert(start >= place * 10, `tick ${index} at ${start} before its place ${place}`);
      const end = start + steps[index].took;
      // A whole interval behind and more: those in between are left out.
      const behind = Math.floor((end - (place + 1) * 10) / 10);
      if (behind > 0) place += behind;
    }
    assert.equal(place, ticks + skipped);
    await run[Symbol.asyncDispose]();
  }));
});

Deno.test("Running ticks late once and goes on where its pace would be", async () => {
  const host = new SteeredHost();
  host.tookMs = (tick) => tick === 2 ? 37 : 1;
  const run = new Running(host).start({ intervalMs: 10 });
  for (let i = 0; i < 5; i++) await host.ring();
  assert.deepEqual([host.starts, run.skipped], [[10, 20, 57, 60, 70], 2]);
});

Deno.test("Running tells of errors and goes on, until the bus cannot tick", async () => {
  const host = new SteeredHost(), seen: unknown[] = [], ticks: number[] = [];
  host.fail = (tick) => tick === 2 ? new Error("two") : undefined;
  const run = new Running(host).start({
    intervalMs: 10,
    onTick: ({ tick }) => {
      ticks.push(tick);
      if (tick === 3) throw new Error("callback");
      return tick === 4 ? Promise.reject(new Error("later")) : undefined;
    },
    onError: (error) => {
      seen.push((error as Error).message);
      throw error;
    },
  });
  for (let i = 0; i < 4; i++) await host.ring();
  assert.deepEqual([seen, ticks, run.isRunning], [["two", "callback", "later"], [1, 3, 4], true]);
  host.over = true;
  host.fail = () => new MmsbError("read-only", "Cannot write");
  await host.ring();
  assert.equal(await host.ring(), false);
  const report = await run.done;
  assert.deepEqual([report.ticks, report.errors, run.isRunning], [5, 8, false]);
});

Deno.test("StateBus.run() and stop(): once at a time, stopped when the last tick is done", async () => {
  await using bus = await StateBus.open();
  assert.equal(await bus.stop(), undefined);
  const page = bus.createPage({ size: 8 });
  const reports: number[] = [];
  const run = bus.run({
    intervalMs: 1,
    onTick: ({ tick }) => {
      reports.push(tick);
      page.write(0, Uint8Array.of(tick));
    },
  });
  assert.throws(() => bus.run({ intervalMs: 1 }), { code: "usage" });
  while (run.ticks < 5) await new Promise((resolve) => setTimeout(resolve, 1));
  const report = await bus.stop();
  const tick = bus.tickNumber;
  assert.equal(report?.ticks, reports.length);
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual([bus.tickNumber, run.isRunning, report?.errors], [tick, false, 0]);
  {
    await using again = bus.run({ intervalMs: 1 });
    while (again.ticks < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await bus.run({ intervalMs: 1000 })[Symbol.asyncDispose]();
});

Deno.test("StateBus.run() is ended by close, also from inside, and by a log that fails for good", async () => {
  const bus = await StateBus.open();
  const run = bus.run({ intervalMs: 1, onTick: () => bus.close() });
  await run.done;
  await bus.close();
  assert.throws(() => bus.run({ intervalMs: 1 }), { code: "closed" });

  const storage = new FaultyStorage();
  const failing = await StateBus.open({ storage, durability: "always" });
  const page = failing.createPage({ size: 8 });
  await failing.tick();
  const errors: unknown[] = [];
  const doomed = failing.run({
    intervalMs: 1,
    onTick: () => {
      storage.failSyncs({ after: 0 });
      page.write(0, Uint8Array.of(1));
    },
    onError: (error) => errors.push((error as MmsbError).code),
  });
  const { ticks } = await doomed.done;
  assert.deepEqual([ticks, errors, failing.readOnly], [2, ["io"], true]);
  await failing.close();
});

Deno.test("StateBus.run() refuses wrong options by name", async () => {
  await using bus = await StateBus.open();
  const bad = (value: unknown) => value as never;
  for (const intervalMs of [0, -1, NaN, Infinity, "16", 16n, undefined, 1e9]) {
    assert.throws(() => bus.run({ intervalMs: bad(intervalMs) }), { name: "MmsbError" });
  }
  assert.throws(() => bus.run(bad(undefined)), { code: "usage" });
  assert.throws(() => bus.run(bad({ interval: 16 })), { code: "usage" });
  assert.throws(() => bus.run({ intervalMs: 1, onTick: bad(7) }), { code: "usage" });
  assert.throws(() => bus.run({ intervalMs: 1, onError: bad("x") }), { code: "usage" });
  assert.equal(await bus.stop(), undefined);
});
