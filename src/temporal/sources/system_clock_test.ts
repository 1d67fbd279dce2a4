/** The system's clock: this machine's, and one whose kernel says what the test wants. */
import { equal, match, ok, rejects, throws } from "node:assert/strict";
import { ClockReading } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { type SystemCalls, systemCalls } from "./system_calls.ts";
import { SystemClock, UNSYNCHRONISED_ERROR_NS } from "./system_clock.ts";

const runner = (name: string, body: () => Promise<void>) => Deno.test(name, body);

testClockSource({ name: "SystemClock", make: () => new SystemClock() }, runner);
testClockSource({
  name: "SystemClock without FFI",
  make: () => new SystemClock({ calls: null }),
}, runner);

/** A kernel that a test steers. */
class FakeKernel implements SystemCalls {
  readonly clocks = { realtime: 0, steady: 7, realtimeCoarse: 5, steadyCoarse: 6 };
  readonly timespec = new Uint32Array(4);
  realtimeNs = 1_767_225_600_000_000_000n;
  /** The two clocks as a library leaves them: made when time passes, so that reading them allocates nothing. */
  readonly #realtime = new Uint32Array(4);
  readonly #steady = new Uint32Array(4);
  #steadyNs = 5_000_000_000_000n;
  isAnswering = true;
  asked = 0;
  state = 0;
  status = 1;
  maxErrorUs = 1500;
  estimatedErrorUs = 200;
  offsetNs = -3000;
  frequencyPpm = -12;

  constructor() {
    this.pass(0n);
  }

  /** Time passes, for both clocks alike; before, somebody may set the one. */
  pass(ns: bigint, stepNs = 0n): void {
    this.realtimeNs += ns + stepNs;
    this.#steadyNs += ns;
    for (
      const [now, words] of [[this.realtimeNs, this.#realtime], [
        this.#steadyNs,
        this.#steady,
      ]] as const
    ) {
      const seconds = now / 1_000_000_000n;
      words[0] = Number(seconds & 0xffff_ffffn);
      words[1] = Number(seconds >> 32n);
      words[2] = Number(now % 1_000_000_000n);
    }
  }

  clockGettime(clock: number): number {
    if (!this.isAnswering) return -5;
    this.timespec.set(clock === 0 ? this.#realtime : this.#steady);
    return 0;
  }

  clockGetres(): number {
    return 0;
  }

  adjtimex(timex: Uint8Array<ArrayBuffer>): number {
    this.asked++;
    const view = new DataView(timex.buffer);
    equal(view.getUint32(0, true), 0, "Nothing of the kernel's clock is changed");
    const long = (at: number, value: number) => view.setBigInt64(at, BigInt(value), true);
    long(8, this.offsetNs);
    long(16, this.frequencyPpm * 65_536);
    long(24, this.maxErrorUs);
    long(32, this.estimatedErrorUs);
    view.setInt32(40, this.status | 0x2000, true);
    long(56, 1);
    long(64, 500 * 65_536);
    long(88, 10_000);
    view.setInt32(160, 37, true);
    return this.state;
  }

  open(): number {
    return -2;
  }

  ioctl(): number {
    return -9;
  }

  close(): number {
    return -9;
  }
}

testClockSource({
  name: "SystemClock over a kernel that is kept",
  make: () => new SystemClock({ calls: new FakeKernel() }),
}, runner);

Deno.test("SystemClock takes its bound from the kernel and lets it grow until it asks again", () => {
  const calls = new FakeKernel();
  const clock = new SystemClock({ calls });
  const reading = new ClockReading();
  clock.read(reading);
  equal(reading.ns, calls.realtimeNs);
  // 1.5 ms of the kernel, 3 µs of correction, 1 µs of precision, 500 ppm of a second that it may lack.
  equal(reading.errorNs, 1_500_000 + 3000 + 1000 + 500_000);
  equal(clock.isSynchronised, true);
  const { asked } = calls;
  calls.pass(500_000_000n);
  clock.read(reading);
  ok(Math.abs(reading.errorNs - 2_254_000) < 1);
  equal(calls.asked, asked);
  calls.maxErrorUs = 2000;
  calls.pass(600_000_000n);
  clock.read(reading);
  equal(calls.asked, asked + 1);
  ok(Math.abs(reading.errorNs - 2_504_000) < 1);
  const status = clock.status();
  equal(status.driftPpm, 12);
  equal(status.details.taiOffsetS, 37);
  equal(status.bound.length, 4);
});

Deno.test("SystemClock has 100 ms where the kernel says that nobody keeps its clock, or does not answer", async () => {
  const calls = new FakeKernel();
  calls.state = 5;
  const clock = new SystemClock({ calls });
  equal(clock.errorUs() * 1e3, UNSYNCHRONISED_ERROR_NS);
  equal(clock.isSynchronised, false);
  match(clock.status().reason!, /nobody keeps its clock/);
  await rejects(clock.sync(), { code: "clock" });
  calls.state = 0;
  await clock.sync();
  equal(clock.isSynchronised, true);
  calls.status = 0x40;
  await rejects(clock.sync(), { code: "clock" });
  calls.state = -1;
  calls.status = 1;
  await rejects(clock.sync(), { code: "clock" });
  equal(clock.errorUs() * 1e3, UNSYNCHRONISED_ERROR_NS);
  match(clock.status().reason!, /error 1\)/);
});

Deno.test("SystemClock notices when the clock is set, either way, and when not", () => {
  const calls = new FakeKernel();
  const clock = new SystemClock({ calls });
  for (let i = 0; i < 10; i++) {
    calls.pass(2_000_000_000n);
    clock.nowUs();
    clock.errorUs();
  }
  equal(clock.status().details.steps, 0);
  for (const [index, step] of [3_600_000_000_000n, -3_600_000_000_000n, -1_500_000n].entries()) {
    calls.pass(2_000_000_000n, step);
    clock.errorUs();
    const { steps, lastStepMs } = clock.status().details;
    equal(steps, index + 1);
    equal(lastStepMs, Number(step) / 1e6);
  }
});

Deno.test("SystemClock goes on with the runtime's time when the system's does not answer any more", () => {
  const calls = new FakeKernel();
  const clock = new SystemClock({ calls });
  calls.isAnswering = false;
  const reading = new ClockReading();
  clock.read(reading);
  ok(Math.abs(reading.us / 1e3 - Date.now()) < 10_000);
  ok(reading.errorNs >= UNSYNCHRONISED_ERROR_NS);
  ok(Math.abs(clock.nowUs() / 1e3 - Date.now()) < 10_000);
});

Deno.test("SystemClock agrees with the runtime's clock on this machine", () => {
  for (const calls of [systemCalls(), null]) {
    const before = Date.now();
    const ms = new SystemClock({ calls }).nowUs() / 1e3;
    // Both are counted from other moments, and a set clock may be between.
    ok(ms > before - 1000 && ms < Date.now() + 1000, `${ms} ms`);
  }
});

Deno.test("SystemClock refuses options that it does not know", () => {
  throws(() => new SystemClock({ call: null } as Record<string, null>), { code: "usage" });
  throws(() => new SystemClock({ name: 5 as unknown as string }), { code: "usage" });
});
