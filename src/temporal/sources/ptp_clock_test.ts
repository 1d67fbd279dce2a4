/** Hardware clocks against a C library that has some: exact, slow, failing, lying, gone. */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  deviceClockId,
  PTP_CAPABILITIES,
  PTP_EXTENDED,
  PTP_OFFSET,
  PTP_PRECISE,
  readExtended,
  readOffset,
  readPrecise,
} from "./_ptp_codec.ts";
import { ClockReading } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { PtpClock, type PtpClockOptions } from "./ptp_clock.ts";
import type { SystemCalls } from "./system_calls.ts";

const NS_PER_S = 1_000_000_000n;
const ENODEV = 19, ENOTTY = 25, EPERM = 1, EINTR = 4, EINVAL = 22, ENOENT = 2;
/** True time at the start, in UTC. */
const START_NS = 1_790_000_000_000_000_000n;

/** A machine with one hardware clock, whose true time the test moves. */
class FakeMachine implements SystemCalls {
  readonly clocks = { realtime: 0, steady: 7, realtimeCoarse: 5, steadyCoarse: 6 };
  readonly timespec = new Uint32Array(new ArrayBuffer(16));
  /** True time since the start, in ns. */
  passedNs = 0n;
  /** Taken by each call, in ns. */
  callNs = 30n;
  /** Taken by reading the device, before and after the moment that it gives. */
  deviceNs: [bigint, bigint] = [300n, 300n];
  /** How fast the machine's oscillator runs, in ppm; and the device's. */
  rawPpm = 0;
  devicePpm = 0;
  /** The system's clock less true time, and the device's, in ns. */
  systemOffsetNs = 0n;
  deviceOffsetNs = 0n;
  taiOffsetS = 37;
  kernelTaiS = 37;
  hasPrecise = false;
  /** Errors to give, by call; the first is taken away by each call. */
  failures: Record<string, number[]> = {};
  /** Changes an answer of the device. */
  tamper: (view: DataView, request: number) => void = () => {};
  openFiles = 0;
  requests: number[] = [];

  /** Time that the raw counter slept through. */
  sleptNs = 0n;

  get trueNs(): bigint {
    return START_NS + this.passedNs;
  }

  clockGettime(clock: number): number {
    this.passedNs += this.callNs;
    const failed = this.failures[`clock ${clock}`]?.shift();
    if (failed !== undefined) return -failed;
    if (clock === 0 || clock === 5) return this.#put(this.trueNs + this.systemOffsetNs);
    if (clock === 4) return this.#put(this.#rawNs());
    if (clock === 7) return this.#put(5_000_000_000_000n + this.passedNs);
    if (clock === deviceClockId(9)) {
      const gone = this.failures.device?.shift();
      if (gone !== undefined) return -gone;
      this.passedNs += this.deviceNs[0];
      this.#put(this.#deviceTime());
      this.passedNs += this.deviceNs[1];
      return 0;
    }
    return -EINVAL;
  }

  clockGetres(): number {
    return this.#put(1n);
  }

  adjtimex(timex: Uint8Array<ArrayBuffer>): number {
    new DataView(timex.buffer).setInt32(160, this.kernelTaiS, true);
    return 0;
  }

  open(path: string): number {
    if (path !== "/dev/ptp3") return -ENOENT;
    const failed = this.failures.open?.shift();
    if (failed !== undefined) return -failed;
    this.openFiles++;
    return 9;
  }

  close(): number {
    this.openFiles--;
    return 0;
  }

  ioctl(file: number, request: number, argument: Uint8Array<ArrayBuffer>): number {
    equal(file, 9);
    this.requests.push(request);
    const failed = this.failures[request.toString(16)]?.shift() ?? this.failures.device?.shift();
    if (failed !== undefined) return -failed;
    const view = new DataView(argument.buffer);
    if (request === PTP_CAPABILITIES) {
      view.setInt32(0, 999_999_999, true);
      view.setInt32(24, this.hasPrecise ? 1 : 0, true);
    } else if (request === PTP_PRECISE) {
      if (!this.hasPrecise) return -95;
      this.#time(view, 0, this.#deviceTime());
      this.#time(view, 16, this.trueNs + this.systemOffsetNs);
      this.#time(view, 32, this.#rawNs());
    } else {
      const samples = view.getUint32(0, true);
      let at = 16;
      const system = () => {
        this.#time(view, at, this.trueNs + this.systemOffsetNs);
        at += 16;
      };
      if (request === PTP_OFFSET) system();
      for (let index = 0; index < samples; index++) {
        if (request === PTP_EXTENDED) system();
        this.passedNs += this.deviceNs[0] + BigInt(index % 3) * 100n;
        this.#time(view, at, this.#deviceTime());
        at += 16;
        this.passedNs += this.deviceNs[1];
        system();
      }
    }
    this.tamper(view, request);
    return 0;
  }

  #rawNs(): bigint {
    return 7_000_000_000_123n + this.passedNs - this.sleptNs +
      BigInt(Math.round(Number(this.passedNs) * this.rawPpm / 1e6));
  }

  #deviceTime(): bigint {
    return this.trueNs + this.deviceOffsetNs + BigInt(this.taiOffsetS) * NS_PER_S +
      BigInt(Math.round(Number(this.passedNs) * this.devicePpm / 1e6));
  }

  #put(ns: bigint): number {
    const seconds = ns / NS_PER_S;
    this.timespec[0] = Number(seconds & 0xffffffffn);
    this.timespec[1] = Number(seconds >> 32n);
    this.timespec[2] = Number(ns % NS_PER_S);
    this.timespec[3] = 0;
    return 0;
  }

  #time(view: DataView, at: number, ns: bigint): void {
    view.setBigInt64(at, ns / NS_PER_S, true);
    view.setUint32(at + 8, Number(ns % NS_PER_S), true);
  }
}

function open(machine: FakeMachine, options: PtpClockOptions = {}): PtpClock {
  return new PtpClock({ device: "/dev/ptp3", disciplined: true, calls: machine, ...options });
}

function requireTrue(clock: PtpClock, machine: FakeMachine, mostNs = Infinity): number {
  const reading = new ClockReading();
  const before = machine.trueNs;
  clock.read(reading);
  const away = Number(reading.ns - before), took = Number(machine.trueNs - before);
  ok(
    away >= -reading.errorNs - 1 && away <= reading.errorNs + took + 1,
    `${away} ± ${reading.errorNs}`,
  );
  ok(reading.errorNs <= mostNs, `${reading.errorNs} ns`);
  return reading.errorNs;
}

Deno.test("the codec reads bytes as Linux lays them out", () => {
  // Numbers and offsets as a C compiler gives them for linux/ptp_clock.h on x86-64.
  deepEqual([PTP_CAPABILITIES, PTP_OFFSET, PTP_PRECISE, PTP_EXTENDED], [
    ...[0x80503d01, 0x43403d05, 0xc0403d08, 0xc4c03d09],
  ]);
  equal(deviceClockId(0), -5);
  equal(deviceClockId(9), -77);
  const bytes = new Uint8Array(1216);
  const time = (at: number, text: string) => bytes.set(Uint8Array.fromHex(text), at);
  bytes[0] = 1;
  // 1,790,000,549 s and 5 ns of the device, between 500 and 700 ns of second 1,790,000,512.
  time(16, "803db16a00000000" + "f4010000" + "00000000");
  time(32, "a53db16a00000000" + "05000000" + "00000000");
  time(48, "803db16a00000000" + "bc020000" + "00000000");
  const view = new DataView(bytes.buffer);
  const expected = {
    systemSeconds: 1_790_000_512,
    systemNs: 600,
    deviceSeconds: 1_790_000_549,
    deviceNs: 5,
    widthNs: 100,
  };
  deepEqual(readExtended(view, 1), expected);
  deepEqual(readOffset(view, 1), expected);
  time(0, "a53db16a00000000" + "05000000" + "00000000");
  time(32, "0a00000000000000" + "07000000" + "00000000");
  deepEqual(readPrecise(view), {
    systemSeconds: 10,
    systemNs: 7,
    deviceSeconds: 1_790_000_549,
    deviceNs: 5,
    widthNs: 0,
  });
});

Deno.test("the codec gives a comparison or a reason, whatever bytes a device leaves", () => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 1216, maxLength: 1216 }),
    fc.integer({ min: 1, max: 25 }),
    fc.boolean(),
    (bytes, samples, isSmall) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      view.setUint32(0, samples, true);
      for (let at = 16; isSmall && at < 1216; at += 16) {
        view.setUint32(at + 4, 0, true);
        view.setUint32(at + 8, view.getUint32(at + 8, true) % 1e9, true);
      }
      for (
        const read of [readExtended(view, samples), readOffset(view, samples), readPrecise(view)]
      ) {
        if (typeof read === "string") continue;
        ok(Object.values(read).every(Number.isFinite));
        ok(read.widthNs >= 0 && read.deviceNs < 1e9);
      }
    },
  ));
});

Deno.test("PtpClock's bound contains true time, however oscillators run and devices dawdle", async () => {
  await fc.assert(fc.asyncProperty(
    fc.record({
      rawPpm: fc.integer({ min: -80, max: 80 }),
      toDeviceNs: fc.integer({ min: 0, max: 20_000 }),
      fromDeviceNs: fc.integer({ min: 0, max: 20_000 }),
      systemOffsetNs: fc.bigInt({ min: -10_000_000_000n, max: 10_000_000_000n }),
      hasPrecise: fc.boolean(),
      lacks: fc.integer({ min: 0, max: 2 }),
      taiOffsetS: fc.constantFrom(0, 37),
    }),
    fc.array(
      fc.record({
        pause: fc.bigInt({ min: 1_000_000n, max: 1_500_000_000n }),
        // What the device shows is uneven, by no more than its kind is stated to be.
        uneven: fc.bigInt({ min: -1000n, max: 1000n }),
      }),
      { minLength: 3, maxLength: 30 },
    ),
    async (faults, looks) => {
      const machine = new FakeMachine();
      Object.assign(machine, faults);
      machine.deviceNs = [BigInt(faults.toDeviceNs), BigInt(faults.fromDeviceNs)];
      if (faults.lacks > 0) machine.failures[PTP_EXTENDED.toString(16)] = Array(99).fill(ENOTTY);
      if (faults.lacks > 1) machine.failures[PTP_OFFSET.toString(16)] = Array(99).fill(EINVAL);
      const clock = open(machine, { timescale: faults.taiOffsetS === 0 ? "utc" : "tai" });
      for (const { pause, uneven } of looks) {
        machine.deviceOffsetNs = uneven;
        await clock.sync();
        requireTrue(clock, machine);
        machine.passedNs += pause;
        requireTrue(clock, machine);
      }
      equal(clock.isSynchronised, true);
      await clock.close();
      equal(machine.openFiles, 0);
    },
  ));
});

Deno.test("PtpClock's bound is tight once its rate is known", async () => {
  const machine = new FakeMachine();
  machine.rawPpm = 40;
  const clock = open(machine);
  await clock.sync();
  for (let i = 0; i < 20; i++) {
    machine.passedNs += 250_000_000n;
    await clock.sync();
  }
  machine.passedNs += 250_000_000n;
  // 1 µs of an unknown make, 300 ns of reading, a quarter of a second at 1 ppm.
  const errorNs = requireTrue(clock, machine, 2500);
  machine.passedNs += 1_000_000_000n;
  ok(requireTrue(clock, machine) > errorNs + 1000, "Oscillators wander by 1 ppm");
  ok(Math.abs(clock.status().driftPpm - 40) < 0.5, `${clock.status().driftPpm}`);
  const status = clock.status();
  const sum = status.bound.reduce((sum, { ns }) => sum + ns, 0);
  ok(Math.abs(sum - status.errorNs) < 1);
  await clock.close();
});

Deno.test("PtpClock takes the best way that device and kernel have", async () => {
  const ways: [Record<string, number[]>, boolean, string][] = [
    [{}, true, "precise"],
    [{}, false, "extended"],
    [{ [PTP_EXTENDED.toString(16)]: [ENOTTY] }, false, "offset"],
    [
      { [PTP_EXTENDED.toString(16)]: [ENOTTY], [PTP_OFFSET.toString(16)]: [EINVAL] },
      false,
      "gettime",
    ],
  ];
  for (const [failures, hasPrecise, method] of ways) {
    const machine = new FakeMachine();
    Object.assign(machine, { failures, hasPrecise });
    const clock = open(machine);
    await clock.sync();
    equal(clock.status().details.method, method);
    requireTrue(clock, machine);
    await clock.close();
  }
});

Deno.test("PtpClock refuses with a reason, keeps its old time, and comes back", async () => {
  const cases: [Partial<FakeMachine>, RegExp][] = [
    [{ failures: { device: [ENODEV] } }, /gone/],
    [{ failures: { open: [EPERM] } }, /mmsb clock setup/],
    [{ failures: { device: [ENOTTY, ENOTTY, ENOTTY] } }, /no hardware clock/],
    [{ failures: { device: [EINTR, EINTR, EINTR] } }, /error 4/],
    [{ failures: { device: [77] } }, /error 77/],
    [
      { tamper: (view, request) => request === PTP_EXTENDED && view.setUint32(0, 0, true) },
      /number of samples/,
    ],
    [
      { tamper: (view, request) => request === PTP_EXTENDED && view.setUint32(0, 99, true) },
      /number of samples/,
    ],
    [
      { tamper: (view, request) => request === PTP_EXTENDED && view.setUint32(40, 1e9, true) },
      /cannot be/,
    ],
    [
      { tamper: (view, request) => request === PTP_EXTENDED && view.setUint32(32, 1.7e9, true) },
      /jumps/,
    ],
    [
      { tamper: (view, request) => request === PTP_EXTENDED && view.setUint32(80, 1, true) },
      /backward/,
    ],
    [{ taiOffsetS: -1_790_000_000 }, /nobody has set it/],
    [{ kernelTaiS: 0 }, /TAI/],
    [{ taiOffsetS: 0 }, /37 s away/],
  ];
  for (const [fault, reason] of cases) {
    // From the start, and after it has worked.
    for (const worked of [false, true]) {
      const machine = new FakeMachine();
      const whole = { ...machine, failures: {}, tamper: () => {} };
      const clock = open(machine);
      if (worked) await clock.sync();
      if (worked && fault.failures?.open) machine.failures.device = [ENODEV];
      if (worked && fault.failures?.open) await clock.sync().catch(() => {});
      Object.assign(machine, structuredCloneOf(fault));
      await rejects(clock.sync(), { code: "clock", message: reason });
      equal(clock.isSynchronised, false);
      equal(clock.errorUs() < Infinity, worked);
      match(clock.status().reason ?? "", reason);
      Object.assign(machine, {
        failures: whole.failures,
        tamper: whole.tamper,
        taiOffsetS: 37,
        kernelTaiS: 37,
      });
      await clock.sync();
      equal(clock.isSynchronised, true);
      requireTrue(clock, machine);
      await clock.close();
      equal(machine.openFiles, 0, "Each file is closed");
    }
  }
});

function structuredCloneOf(fault: Partial<FakeMachine>): Partial<FakeMachine> {
  return "failures" in fault ? { failures: structuredClone(fault.failures) } : fault;
}

Deno.test("PtpClock goes on after a signal, a step of the device and a step of the system's clock", async () => {
  const machine = new FakeMachine();
  machine.failures.device = [EINTR, EINTR];
  const clock = open(machine);
  await clock.sync();
  for (let i = 0; i < 5; i++) {
    machine.passedNs += 250_000_000n;
    await clock.sync();
  }
  machine.systemOffsetNs = 3_600_000_000_000n;
  machine.passedNs += 250_000_000n;
  requireTrue(clock, machine);
  await clock.sync();
  requireTrue(clock, machine);
  // The daemon sets the device to what is true only now.
  machine.deviceOffsetNs = -5_000_000n;
  await clock.sync();
  equal(clock.status().details.steps, 1);
  machine.deviceOffsetNs = 0n;
  machine.passedNs += 250_000_000n;
  await clock.sync();
  equal(clock.status().details.steps, 2);
  requireTrue(clock, machine);
  await clock.close();
});

Deno.test("PtpClock's bound holds a step of the system's clock in the middle of a comparison", async () => {
  const machine = new FakeMachine();
  machine.tamper = (_, request) => {
    if (request === PTP_EXTENDED) machine.systemOffsetNs += 1_000_000n;
  };
  const clock = open(machine);
  await clock.sync();
  ok(requireTrue(clock, machine) > 500_000);
  await clock.close();
});

Deno.test("PtpClock is stale when nobody compares it, and a card's clock needs a word", async () => {
  const machine = new FakeMachine();
  const clock = open(machine, { staleMs: 1000 });
  await clock.sync();
  machine.passedNs += 900_000_000n;
  equal(clock.isSynchronised, true);
  const before = clock.errorUs();
  machine.passedNs += 10_000_000_000n;
  equal(clock.isSynchronised, false);
  match(clock.status().reason ?? "", /too long/);
  ok(clock.errorUs() > before);
  await clock.close();

  const card = open(machine, { disciplined: undefined });
  await card.sync();
  equal(card.isSynchronised, false);
  match(card.status().reason ?? "", /ptp4l/);
  ok(card.errorUs() < 10);
  await card.close();
});

Deno.test("PtpClock's bound holds the time that the machine slept, and no step of the system's clock", async () => {
  const machine = new FakeMachine();
  const clock = open(machine);
  await clock.sync();
  machine.systemOffsetNs = -3_600_000_000_000n;
  requireTrue(clock, machine, 50_000);
  machine.passedNs += 8_000_000_000n;
  machine.sleptNs = 8_000_000_000n;
  ok(requireTrue(clock, machine) > 7.9e9);
  await clock.sync();
  requireTrue(clock, machine, 50_000);
  await clock.close();
});

Deno.test("PtpClock without a library or with wrong options says so", async () => {
  const clock = new PtpClock({ calls: null });
  await rejects(clock.sync(), { code: "clock", message: /calls into the system/ });
  equal(clock.errorUs(), Infinity);
  await clock.close();
  throws(() => new PtpClock({ samples: 26 }), { code: "out-of-bounds" });
  throws(() => new PtpClock({ samples: 0 }), { code: "out-of-bounds" });
  throws(() => new PtpClock({ pollMs: NaN }), { code: "usage" });
  throws(() => new PtpClock({ device: 3 as unknown as string }), { code: "usage" });
  throws(() => new PtpClock({ timescale: "gps" as "tai" }), { code: "usage" });
  throws(() => new PtpClock({ devise: "x" } as object), { code: "usage" });
});

/** A machine on which time passes only where a test says so; it then answers without allocating, so that what the clock allocates shows. */
class StillMachine extends FakeMachine {
  readonly #kept = new Map<number, Uint32Array>();
  #keptAt = -1n;

  override callNs = 0n;

  override clockGettime(clock: number): number {
    if (this.passedNs !== this.#keptAt) this.#kept.clear();
    const kept = this.#kept.get(clock);
    if (kept !== undefined) {
      this.timespec.set(kept);
      return 0;
    }
    const result = super.clockGettime(clock);
    this.#keptAt = this.passedNs;
    if (result === 0) this.#kept.set(clock, this.timespec.slice());
    return result;
  }
}

const machines = new WeakMap<PtpClock, FakeMachine>();
testClockSource({
  name: "PtpClock",
  make: () => {
    const machine = new StillMachine();
    const clock = open(machine, { pollMs: 3_600_000 });
    machines.set(clock, machine);
    return clock;
  },
  trueNs: (clock) => machines.get(clock)!.trueNs,
  pass: (clock, ns) => void (machines.get(clock)!.passedNs += BigInt(ns)),
}, (name, body) => Deno.test(name, body));
