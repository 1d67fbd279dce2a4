/** The SNTP clock in simulated networks: its options, its honesty, its poll intervals, its steps. */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { ClockReading } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { SntpClock } from "./sntp_clock.ts";
import { type SntpClockOptions, sntpSettings } from "./sntp_options.ts";
import type { SntpTransport } from "./sntp_transport.ts";
import { SimulatedNetwork, type SimulatedServer } from "./testdata/simulated_network.ts";
import { measureSntpModel, SNTP_MODELS } from "./testdata/sntp_models.ts";

const SERVER = { baseMs: 10, forward: 0.3, queueMs: 0.2 };
const CRYSTAL = { driftPpm: 12, wanderPpm: 0.05 };
const networks = new WeakMap<SntpClock, SimulatedNetwork>();

function simulated(
  servers: readonly SimulatedServer[] = [SERVER],
  options: Partial<SntpClockOptions> = {},
  seed = 1,
) {
  const network = new SimulatedNetwork(servers, CRYSTAL, seed);
  const { surroundings } = network;
  // Between two syncs of its own, simulated time would fly: it waits for the end.
  const clock = new SntpClock({ servers: network.names, ...options }, {
    ...surroundings,
    sleep: (ms, signal, isIdle) =>
      isIdle
        ? new Promise((resolve) => signal.addEventListener("abort", () => resolve()))
        : surroundings.sleep?.(ms, signal, isIdle) ?? Promise.resolve(),
  });
  networks.set(clock, network);
  return { network, clock };
}

testClockSource({
  name: "SntpClock in a simulated network",
  make: () => simulated().clock,
  trueNs: (source) => networks.get(source)?.trueNs ?? 0n,
  pass: (source, ns) => networks.get(source)?.advance(ns),
}, (name, body) => Deno.test(name, body));

for (const model of SNTP_MODELS) {
  Deno.test(`SntpClock holds true time and is tight: ${model.name}`, async () => {
    const figures = await measureSntpModel(model);
    ok(figures.readings >= 9_900);
    ok(figures.contained >= 0.999, `${figures.contained} of the readings are within the bound`);
    if (model.isTightPossible) ok(figures.tightness >= 0.5, `${figures.tightness} of the bound`);
  });
}

Deno.test("SntpClock measures the drift, asks less often, and its bound grows less", async () => {
  const { network, clock } = simulated();
  await clock.sync();
  equal(clock.status().details.pollS, 16);
  ok(Number.isNaN(clock.status().driftPpm));
  for (let i = 0; i < 60; i++) {
    network.advance(Number(clock.status().details.pollS) * 1e9);
    await clock.sync();
  }
  const { driftPpm, details } = clock.status();
  ok(Math.abs(driftPpm - CRYSTAL.driftPpm) < 1, `${driftPpm} ppm`);
  ok(Number(details.rateUncertaintyPpm) < 3, `${details.rateUncertaintyPpm} ppm`);
  equal(details.pollS, 1024);
  equal(details.restarts, 0);
  ok(Math.abs(Number(details.lastStepNs)) < 5e6);
  await clock.close();
});

Deno.test("SntpClock starts over where the servers' time jumps, and says by how much", async () => {
  const server = { ...SERVER, errorMs: 0 };
  const { network, clock } = simulated([server]);
  for (let i = 0; i < 20; i++) {
    await clock.sync();
    network.advance(16e9);
  }
  server.errorMs = -3_600_000;
  await clock.sync();
  const { details, offsetNs } = clock.status();
  ok(Math.abs(Number(details.lastStepNs) + 3.6e12) < 1e8, `${details.lastStepNs}`);
  equal(details.restarts, 1);
  equal(details.pollS, 16);
  ok(offsetNs < -3.5e12);
  ok(Number.isNaN(clock.status().driftPpm));
  await clock.close();
});

Deno.test("SntpClock takes the address of a name that answers, keeps it, and looks for another when it is silent", async () => {
  const dead = { ...SERVER, loss: 1 };
  const servers = [dead, { ...SERVER, loss: 0 }, { ...SERVER, loss: 1, errorMs: 1000 }];
  const network = new SimulatedNetwork(servers, CRYSTAL, 1);
  const resolved: string[] = [];
  const transport: SntpTransport = {
    ask: (ask) => network.ask(ask),
    resolve: (host) => {
      resolved.push(host);
      return Promise.resolve({ addresses: network.names });
    },
  };
  const clock = new SntpClock({ servers: ["time.example"] }, {
    ...network.surroundings,
    transport,
  });
  await clock.sync();
  await clock.sync();
  equal(clock.servers()[0].address, "10.0.0.2");
  deepEqual(resolved, ["time.example"]);
  servers[1].loss = 1;
  servers[2].loss = 0;
  await rejects(clock.sync(), { code: "clock", message: /no answer within/ });
  await clock.sync();
  equal(clock.servers()[0].address, "10.0.0.3");
  equal(clock.servers()[0].state, "selected");
  equal(clock.servers()[0].reach, 0b1101);
  deepEqual(resolved, ["time.example", "time.example"]);
  // The other server's answers are of no weight any more, though nothing but they tells that it is 1 s off.
  ok(Math.abs(Number(clock.status().details.lastStepNs) - 1e9) < 1e7);
  await clock.close();
});

Deno.test("SntpClock asks just behind a leap second that is announced", async () => {
  for (const [leaps, leap] of [[[1, 1, 0], "one second more"], [[2, 0, 0], "none"]] as const) {
    const network = new SimulatedNetwork(leaps.map((leap) => ({ ...SERVER, leap })), CRYSTAL, 1);
    network.advance(86_390e9); // the simulation begins at midnight
    const waits: number[] = [];
    const clock = new SntpClock({ servers: network.names, pollMinS: 64 }, {
      ...network.surroundings,
      sleep: (ms, signal, isIdle) => {
        if (isIdle) waits.push(ms / 1000);
        return isIdle
          ? new Promise((resolve) => signal.addEventListener("abort", () => resolve()))
          : network.surroundings.sleep?.(ms, signal, isIdle) ?? Promise.resolve();
      },
    });
    await clock.start();
    await Promise.resolve();
    equal(clock.status().details.leap, leap);
    if (leap === "none") equal(waits[0], 64);
    else ok(waits[0] > 8 && waits[0] <= 12, `${waits}`);
    // In between, the bound says that a second may have come.
    network.advance(8e9);
    ok(clock.errorUs() < 1e5);
    network.advance(3e9);
    equal(clock.errorUs() > 1e6, leap !== "none");
    await clock.close();
  }
});

Deno.test("SntpClock finds the time from a system clock that is years off, exactly", async () => {
  for (const wrongMs of [-Date.parse("2026-01-01"), 40 * 365 * 86_400_000]) {
    const network = new SimulatedNetwork([{ ...SERVER, queueMs: 0.001 }], CRYSTAL, 3);
    const wallMs = () => Number(network.trueNs) / 1e6 + wrongMs;
    const clock = new SntpClock({ servers: network.names }, { ...network.surroundings, wallMs });
    const reading = new ClockReading();
    for (let i = 0; i < 2; i++) {
      await clock.sync();
      clock.read(reading);
      const errorNs = Math.abs(Number(reading.ns - network.trueNs));
      ok(errorNs <= reading.errorNs && reading.errorNs < 6e6, `${errorNs} of ${reading.errorNs}`);
    }
    await clock.close();
  }
});

Deno.test("SntpClock whose counter stands still while the machine sleeps widens its bound by the sleep", async () => {
  for (const sleptNs of [60e9, 3600e9, 0.01e9, 0.001e9]) {
    const network = new SimulatedNetwork([SERVER], CRYSTAL, 5);
    let stoodStillNs = 0;
    const counter = { nowNs: () => network.nowNs() - stoodStillNs };
    const clock = new SntpClock({ servers: network.names }, {
      ...network.surroundings,
      counter,
      countsSleep: false,
    });
    const reading = new ClockReading();
    await clock.sync();
    network.advance(1e9);
    clock.read(reading);
    const usualNs = reading.errorNs;
    network.advance(sleptNs);
    stoodStillNs = sleptNs;
    clock.read(reading);
    if (sleptNs > 3e6) ok(Math.abs(Number(reading.ns - network.trueNs)) <= reading.errorNs);
    ok(sleptNs > 3e6 ? reading.errorNs > 0.999 * sleptNs : reading.errorNs < usualNs + 1e7);
    const { bound, errorNs } = clock.status();
    ok(Math.abs(bound.reduce((sum, { ns }) => sum + ns, 0) - errorNs) < 1e3);
    await clock.close();
  }
});

Deno.test("SntpClock does the same from the same seed", async () => {
  const times = [];
  for (let i = 0; i < 2; i++) {
    const { network, clock } = simulated([SERVER, { ...SERVER, errorMs: 400 }, SERVER], {}, 7);
    await clock.sync();
    network.advance(1e9);
    await clock.sync();
    times.push([clock.status(), clock.servers()]);
    await clock.close();
  }
  deepEqual(times[0], times[1]);
});

Deno.test("SntpClock names who contradicts whom where there is no majority", async () => {
  const { clock } = simulated([SERVER, { ...SERVER, errorMs: 100 }]);
  const error = await clock.sync().catch((error) => error);
  match(error.message, /no majority.*10\.0\.0\.1:123.*10\.0\.0\.2:123/);
  equal(clock.isSynchronised, false);
  await clock.close();
});

Deno.test("sntpSettings() reads servers in all forms", () => {
  const { servers, name } = sntpSettings({
    servers: [
      "time.example",
      "10.0.0.1:1123",
      "[::1]:99",
      "::1",
      "[fe80::1]",
      { host: "a.b" },
      { host: "a.b", port: 5 },
    ],
  });
  deepEqual(servers.map(({ host, port }) => `${host} ${port}`), [
    "time.example 123",
    "10.0.0.1 1123",
    "::1 99",
    "::1 123",
    "fe80::1 123",
    "a.b 123",
    "a.b 5",
  ]);
  equal(name, "sntp time.example and 6 more");
});

Deno.test("SntpClock refuses wrong options with a name and what to give", () => {
  const many = Array.from({ length: 17 }, (_, i) => `10.0.0.${i}`);
  const cases: [unknown, RegExp][] = [
    [undefined, /options of SntpClock/],
    [null, /options of SntpClock/],
    [{}, /servers: give an array/],
    [{ servers: [] }, /without servers/],
    [{ servers: 5 }, /servers/],
    [{ servers: many }, /17 servers/],
    [{ servers: ["a", "A"] }, /twice/],
    [{ servers: [""] }, /as a server/],
    [{ servers: ["a:0"] }, /as a server/],
    [{ servers: ["a:65536"] }, /as a server/],
    [{ servers: ["a b"] }, /as a server/],
    [{ servers: ["http://a"] }, /as a server/],
    [{ servers: ["[a]:1"] }, /as a server/],
    [{ servers: [5] }, /5 as server/],
    [{ servers: [null] }, /null as server/],
    [{ servers: [{ host: "a", port: 1n }] }, /port/],
    [{ servers: [{ host: "a", port: NaN }] }, /port/],
    [{ servers: [{ host: 7 }] }, /host/],
    [{ servers: [{ host: "a", prot: 7 }] }, /"prot"/],
    [{ servers: ["a"], samples: 0 }, /samples/],
    [{ servers: ["a"], samples: 9 }, /samples/],
    [{ servers: ["a"], gapMs: -1 }, /gapMs/],
    [{ servers: ["a"], timeoutMs: Infinity }, /timeoutMs/],
    [{ servers: ["a"], pollMinS: 0 }, /pollMinS/],
    [{ servers: ["a"], pollMinS: 64, pollMaxS: 32 }, /pollMaxS/],
    [{ servers: ["a"], unknownDriftPpm: "50" }, /unknownDriftPpm/],
    [{ servers: ["a"], rootDistanceMsMax: NaN }, /rootDistanceMsMax/],
    [{ servers: ["a"], name: 5 }, /name/],
    [{ servers: ["a"], server: "b" }, /"server"/],
  ];
  for (const [options, message] of cases) {
    throws(() => new SntpClock(options as SntpClockOptions), { name: "MmsbError", message });
  }
});
