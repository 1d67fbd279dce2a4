/** The C library of this machine, where there is one, and the counters over it. */
import { equal, match, ok } from "node:assert/strict";
import {
  steadyCounter,
  type SystemCalls,
  systemCalls,
  systemCallsMissing,
  SystemSteadyCounter,
  timespecSeconds,
} from "./system_calls.ts";

const calls = systemCalls();
const onlyWithCalls = { ignore: calls === undefined };

Deno.test("systemCalls() is there, or says why not", () => {
  if (calls === undefined) match(systemCallsMissing()!, /\w/);
  else equal(systemCallsMissing(), undefined);
  equal(systemCalls(), calls);
});

Deno.test({
  ...onlyWithCalls,
  name: "systemCalls() tells the time, and the clocks' resolutions",
  fn: () => {
    const { clocks, timespec } = calls!;
    equal(calls!.clockGettime(clocks.realtime), 0);
    ok(Math.abs(timespecSeconds(timespec) - Date.now() / 1e3) < 5);
    ok(timespec[2] < 1e9);
    equal(calls!.clockGetres(clocks.steady), 0);
    ok(timespec[0] === 0 && timespec[2] >= 1);
  },
});

Deno.test({
  ...onlyWithCalls,
  name: "systemCalls() gives the negative error number, and never throws",
  fn: () => {
    const EBADF = 9, ENOENT = 2, EINVAL = 22;
    equal(calls!.clockGettime(99), -EINVAL);
    if (Deno.build.os !== "linux") return;
    equal(calls!.open("/dev/ptp-is-not-here", 0), -ENOENT);
    equal(calls!.open("/dev/null\0", 0), -ENOENT);
    equal(calls!.ioctl(-1, 0x8050_3d01, new Uint8Array(80)), -EBADF);
    equal(calls!.close(-1), -EBADF);
    const file = calls!.open("/dev/null", 0);
    ok(file >= 0);
    equal(calls!.close(file), 0);
  },
});

Deno.test("timespecSeconds() reads both words, also of a time before 1970", () => {
  equal(timespecSeconds(Uint32Array.of(5, 1, 0, 0)), 2 ** 32 + 5);
  equal(timespecSeconds(Uint32Array.of(0xffff_ffff, 0xffff_ffff, 0, 0)), -1);
});

Deno.test("SystemSteadyCounter counts up from near 0, the same for the same origin", () => {
  for (
    const counter of [new SystemSteadyCounter(), new SystemSteadyCounter(null), steadyCounter()]
  ) {
    let last = counter.nowNs();
    for (let i = 0; i < 10_000; i++) {
      const now = counter.nowNs();
      ok(now >= last && now < 2 ** 53);
      last = now;
    }
  }
  equal(new SystemSteadyCounter(null).originS, undefined);
  const { originS } = steadyCounter();
  if (originS === undefined) return;
  const other = new SystemSteadyCounter(calls, originS);
  const before = steadyCounter().nowNs();
  const between = other.nowNs();
  ok(before <= between && between <= steadyCounter().nowNs());
});

Deno.test("SystemSteadyCounter stands still where the system does not answer any more", () => {
  let error = 0;
  const fake: SystemCalls = {
    clocks: { realtime: 0, steady: 7, realtimeCoarse: undefined, steadyCoarse: undefined },
    timespec: Uint32Array.of(100, 0, 5, 0),
    clockGettime: () => error,
    clockGetres: () => 0,
    adjtimex: () => -38,
    open: () => -2,
    ioctl: () => -9,
    close: () => -9,
  };
  const counter = new SystemSteadyCounter(fake, 90);
  equal(counter.nowNs(), 10_000_000_005);
  error = -5;
  fake.timespec[0] = 7;
  equal(counter.nowNs(), 10_000_000_005);
});
