/** The marked time of day: steps are seen, large ones at once, small ones a little later, and slewing is none. */
import { equal, ok } from "node:assert/strict";
import { MarkedRealtime } from "./_chrony_realtime.ts";
import type { SystemCalls } from "./system_calls.ts";

/** A machine with a time of day that can be set and a counter that cannot. */
function machine() {
  const clocks = { realtime: 0, steady: 7, realtimeCoarse: undefined, steadyCoarse: undefined };
  const timespec = new Uint32Array(new ArrayBuffer(16));
  const state = { passedNs: 0, setNs: 0, counterReads: 0 };
  const fails = () => -38;
  const calls: SystemCalls = {
    clocks,
    timespec,
    clockGettime(clock) {
      if (clock === clocks.steady) state.counterReads++;
      const ns = state.passedNs + (clock === clocks.realtime ? state.setNs : 0) + 5e8;
      timespec[0] = 1_790_000_000 + Math.floor(ns / 1e9);
      timespec[2] = ns - Math.floor(ns / 1e9) * 1e9;
      return 0;
    },
    clockGetres: fails,
    adjtimex: fails,
    open: fails,
    ioctl: fails,
    close: fails,
  };
  return { state, calls };
}

for (const stepNs of [3.6e12, -3.6e12, 1e6, -1e6, 150_000]) {
  Deno.test(`MarkedRealtime sees a step of ${stepNs / 1e6} ms at the next reading`, () => {
    const { state, calls } = machine();
    const realtime = new MarkedRealtime(calls);
    realtime.read();
    state.passedNs += 50_000;
    realtime.read();
    equal(realtime.steppedNs, 0);
    equal(realtime.passedNs, 50_000);
    state.setNs += stepNs;
    realtime.read();
    equal(realtime.steppedNs, Math.abs(stepNs));
    equal(realtime.passedNs, 50_000);
    realtime.mark();
    realtime.read();
    equal(realtime.steppedNs, 0);
    equal(realtime.passedNs, 0);
  });
}

Deno.test("MarkedRealtime sees a step below 0.1 ms once 0.1 ms have passed", () => {
  const { state, calls } = machine();
  const realtime = new MarkedRealtime(calls);
  realtime.read();
  state.setNs += 40_000;
  realtime.read();
  ok(realtime.steppedNs <= 40_000);
  state.passedNs += 100_000;
  realtime.read();
  equal(realtime.steppedNs, 40_000);
  equal(realtime.passedNs, 100_000);
});

Deno.test("MarkedRealtime reads its counter once for many readings in a row", () => {
  const { state, calls } = machine();
  const realtime = new MarkedRealtime(calls);
  realtime.read();
  const before = state.counterReads;
  for (let i = 0; i < 1000; i++) {
    state.passedNs += 50;
    realtime.read();
    equal(realtime.passedNs, (i + 1) * 50);
  }
  ok(state.counterReads - before <= 1);
});
