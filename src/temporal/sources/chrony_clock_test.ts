/** chronyd's time: from real daemons, from a responder that lies, and from random bytes. */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import {
  type ChronyTracking,
  decodeFloat,
  decodeLine,
  decodeReply,
  encodeRequest,
} from "./_chrony_packet.ts";
import { askChrony } from "./_chrony_ask.ts";
import { ChronyClock } from "./chrony_clock.ts";
import { ClockReading } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { systemCalls } from "./system_calls.ts";
import { Chronyd, testWithChronyd } from "./testdata/chronyd.ts";

/** A reply of chronyd 4.3, and what its own `chronyc -c` printed at that moment. */
const REPLY = Uint8Array.fromHex(
  "06020000002100050000000000000000deadbeef0000000000000000" +
    "7f0000017f0000010000000000000000000000000001000000090000000000006b0316d3" +
    "006de3b6dd64fbcfcec862b3d0ac05a8ecdd6cd4ea984f4df4b61ac0e0bf28dbdaa64d7704805908",
);
const SEQUENCE = 0xdeadbeef;
const LINE =
  "7F000001,127.0.0.1,9,1795364563.007201757,-0.000001171,-0.000000022,0.000000032,0.001,0.000,0.005,0.000005697,0.000001935,2.0,Normal\n";

function withByte(at: number, value: number): Uint8Array {
  const bytes = REPLY.slice();
  bytes[at] = value;
  return bytes;
}

Deno.test("decodeReply() reads a reply of chronyd 4.3, byte by byte", () => {
  const tracking = decodeReply(REPLY, SEQUENCE) as ChronyTracking;
  equal(tracking.reference, "127.0.0.1");
  equal(tracking.referenceId, 0x7f000001);
  equal(tracking.stratum, 9);
  equal(tracking.leap, 0);
  equal(Math.floor(tracking.referenceTimeS), 0x6b0316d3);
  const near = (value: number, expected: number, away: number) =>
    ok(Math.abs(value - expected) <= away, `${value}`);
  // What chronyc printed some ms later, with its rounding.
  near(tracking.lastOffsetS, 11e-9, 1e-9);
  near(tracking.skewPpm, 0.006, 5e-4);
  near(tracking.correctionS, -1.171e-6, 2e-8);
  near(tracking.rootDelayS, 5.697e-6, 1e-9);
  near(tracking.frequencyPpm, 0.001, 6e-4);
  near(tracking.updateIntervalS, 1, 0.05);
  near(tracking.rootDispersionS, 1e-6, 1e-6);
});

Deno.test("decodeFloat() follows the definition: coefficient · 2^(exponent − 25)", () => {
  fc.assert(fc.property(
    fc.integer({ min: -64, max: 63 }),
    fc.integer({ min: -(2 ** 24), max: 2 ** 24 - 1 }),
    (exponent, coefficient) => {
      const word = ((exponent & 0x7f) * 2 ** 25 + (coefficient & 0x1ffffff)) >>> 0;
      equal(decodeFloat(word), coefficient * 2 ** (exponent - 25) + 0);
    },
  ));
});

Deno.test("decodeReply() refuses what is no whole answer to the question, with a reason", () => {
  const refused: [Uint8Array, RegExp][] = [
    [REPLY.subarray(0, 19), /only 19 bytes/],
    [REPLY.subarray(0, 103), /103 bytes/],
    [new Uint8Array([...REPLY, 0]), /105 bytes/],
    [withByte(0, 5), /version 5/],
    [withByte(9, 18), /version/],
    [withByte(1, 1), /none to our question/],
    [withByte(5, 34), /none to our question/],
    [withByte(7, 6), /none to our question/],
    [withByte(16, 0), /none to our question/],
    [withByte(9, 2), /cmdallow/],
    [withByte(9, 3), /status 3/],
    [withByte(53, 17), /stratum/],
    [withByte(55, 4), /leap/],
  ];
  for (const [bytes, reason] of refused) match(String(decodeReply(bytes, SEQUENCE)), reason);
});

Deno.test("decodeReply() gives finite numbers or a reason, whatever bytes arrive", () => {
  const bytes = REPLY.slice();
  const random = new Uint32Array(26);
  const view = new DataView(bytes.buffer);
  let read = 0;
  for (let i = 0; i < 200_000; i++) {
    crypto.getRandomValues(random);
    bytes.set(REPLY);
    // Some bytes of the data, or all, or of the head as well.
    const from = i % 3 === 0 ? 0 : 28;
    for (let word = 0; word < 1 + random[25] % 18; word++) {
      const at = from + random[word] % (104 - from);
      bytes[at] = random[word] >>> 24;
    }
    if (i % 7 === 0) view.setUint32(68 + 4 * (random[24] % 9), random[23]);
    const length = i % 5 === 0 ? random[22] % 105 : 104;
    const tracking = decodeReply(bytes.subarray(0, length), SEQUENCE);
    if (typeof tracking === "string") continue;
    read++;
    requireFinite(tracking);
  }
  ok(read > 1000, `only ${read} were read`);
});

Deno.test("decodeLine() reads what chronyc prints and refuses the rest, with a reason", () => {
  const tracking = decodeLine(LINE) as ChronyTracking;
  equal(tracking.correctionS, -1.171e-6);
  equal(tracking.rootDispersionS, 1.935e-6);
  equal(tracking.updateIntervalS, 2);
  equal(tracking.leap, 0);
  const refused: [string, RegExp][] = [
    ["", /1 fields/],
    [LINE.slice(0, 60), /fields/],
    [LINE.replace("0.000005697", "nan"), /impossible/],
    [LINE.replace("0.000001935", "-1.0"), /root dispersion/],
    [LINE.replace("0.000001935", "inf"), /root dispersion/],
    [LINE.replace("0.005", "0x10"), /frequency/],
    [LINE.replace("0.005", ""), /frequency/],
    [LINE.replace("Normal", "Odd"), /leap/],
    [LINE.replace(",9,", ",9.5,"), /stratum/],
    [LINE.replace("7F000001", "zz"), /reference id/],
    ["506 Cannot talk to daemon", /1 fields/],
  ];
  for (const [line, reason] of refused) match(String(decodeLine(line)), reason);
});

Deno.test("decodeLine() gives finite numbers or a reason, whatever text arrives", () => {
  const field = fc.oneof(
    fc.string(),
    fc.double().map(String),
    fc.constantFrom("Normal", "1", "-0.5"),
  );
  fc.assert(fc.property(fc.array(field, { minLength: 12, maxLength: 15 }), (fields) => {
    const tracking = decodeLine(fields.join(","));
    if (typeof tracking !== "string") requireFinite(tracking);
  }));
});

function requireFinite(tracking: ChronyTracking): void {
  for (const [name, value] of Object.entries(tracking)) {
    if (name !== "reference") ok(Number.isFinite(value), `${name} is ${value}`);
  }
  ok(tracking.rootDispersionS >= 0 && tracking.skewPpm >= 0);
}

/** A daemon that follows another, both on loopback and neither touching the system's clock. */
function follower(server: Chronyd, ...lines: string[]): Promise<Chronyd> {
  return Chronyd.start({
    stratum: null,
    commandPort: true,
    lines: [`server ${server.host} port ${server.port} iburst minpoll -4 maxpoll -2`, ...lines],
  });
}

/** Asks until the daemon has synchronised, and measured often enough to know its oscillator. */
async function synchronised(clock: ChronyClock): Promise<void> {
  for (let i = 0; i < 200; i++) {
    await clock.sync().catch(() => {});
    if (clock.errorUs() < 5000) return;
    await sleep(50);
  }
  throw new Error(`The daemon does not synchronise: ${clock.status().reason}`);
}

function trueNs(): bigint {
  const calls = systemCalls()!;
  calls.clockGettime(calls.clocks.realtime);
  return BigInt(calls.timespec[0]) * 1_000_000_000n + BigInt(calls.timespec[2]);
}

testWithChronyd(
  "ChronyClock follows a real chronyd within its bound, by socket and by chronyc alike",
  async () => {
    await using server = await Chronyd.start({ stratum: 3 });
    await using daemon = await follower(server);
    const options = { port: daemon.commandPort!, pollMs: 50 };
    const bySocket = new ChronyClock({ ...options, via: "socket" });
    const byProgram = new ChronyClock({ ...options, via: "chronyc" });
    const withoutFfi = new ChronyClock({ ...options, calls: null });
    const reading = new ClockReading();
    try {
      await synchronised(bySocket);
      await synchronised(byProgram);
      for (const clock of [bySocket, byProgram, withoutFfi]) {
        await clock.start();
        equal(clock.isSynchronised, true);
        for (let i = 0; i < 20; i++) {
          const before = trueNs();
          clock.read(reading);
          const after = trueNs();
          const errorNs = BigInt(Math.ceil(reading.errorNs));
          ok(reading.ns + errorNs >= before && reading.ns - errorNs <= after);
          ok(reading.errorNs < 5e6, `${reading.errorNs} ns`);
        }
        const status = clock.status();
        equal(status.details.stratum, 4);
        equal(status.details.reference, "127.0.0.1");
        equal(status.reason, undefined);
        const sum = status.bound.reduce((sum, { ns }) => sum + ns, 0);
        ok(Math.abs(sum - status.errorNs) < 1);
      }
      equal(bySocket.status().details.via, "socket");
      equal(byProgram.status().details.via, "chronyc");
      // Both forms of the same daemon's words have the same signs.
      ok(Math.abs(bySocket.status().driftPpm - byProgram.status().driftPpm) < 5);
    } finally {
      for (const clock of [bySocket, byProgram, withoutFfi]) await clock.close();
    }
  },
);

testWithChronyd(
  "ChronyClock refuses a chronyd that is not synchronised, or only to itself",
  async () => {
    await using lonely = await Chronyd.start({ stratum: null, commandPort: true });
    await using local = await Chronyd.start({ stratum: 3, commandPort: true });
    for (
      const [daemon, reason] of [[lonely, /not synchronised/], [local, /its own clock/]] as const
    ) {
      const clock = new ChronyClock({ port: daemon.commandPort! });
      await rejects(clock.sync(), { code: "clock", message: reason });
      equal(clock.isSynchronised, false);
      equal(clock.errorUs(), Infinity);
      match(clock.status().reason ?? "", reason);
      await clock.close();
    }
  },
);

testWithChronyd(
  "ChronyClock is stale when the daemon falls silent, its bound grows, and it comes back",
  async () => {
    await using server = await Chronyd.start({ stratum: 3 });
    await using daemon = await follower(server);
    const clock = new ChronyClock({
      port: daemon.commandPort!,
      staleMs: 150,
      timeoutMs: 60,
      via: "socket",
    });
    try {
      await synchronised(clock);
      const before = leastErrorUs(clock);
      daemon.pause();
      await rejects(clock.sync(), { code: "clock", message: /nothing answers/ });
      equal(clock.isSynchronised, true, "One lost answer is no outage");
      await sleep(200);
      equal(clock.isSynchronised, false);
      match(clock.status().reason ?? "", /nothing answers/);
      ok(leastErrorUs(clock) > before);
      daemon.resume();
      await synchronised(clock);
      equal(clock.isSynchronised, true);
      equal(clock.status().reason, undefined);
    } finally {
      await clock.close();
    }
  },
);

/** The bound without what an interruption in the middle of a reading adds. */
function leastErrorUs(clock: ChronyClock): number {
  return Math.min(...Array.from({ length: 50 }, () => clock.errorUs()));
}

testWithChronyd("chronyd says the same by its port and by chronyc", async () => {
  await using server = await Chronyd.start({ stratum: 3 });
  await using daemon = await follower(server);
  const address = { port: daemon.commandPort!, chronyc: "chronyc", timeoutMs: 1000 };
  const ask = async (via: "socket" | "chronyc") =>
    (await askChrony({ ...address, via })).tracking as ChronyTracking;
  for (let tries = 0;; tries++) {
    const before = await ask("socket"), line = await ask("chronyc"), after = await ask("socket");
    const isSteady = before.referenceTimeS === after.referenceTimeS && before.leap === 0;
    if (!isSteady && tries < 200) {
      await sleep(20);
      continue;
    }
    // Dispersion and correction go on between the questions; the rest is as it was.
    for (const [name, value] of Object.entries(line)) {
      if (typeof value !== "number" || /^(correctionS|rootDispersionS)$/.test(name)) continue;
      const exact = before[name as keyof ChronyTracking] as number;
      const away = /Ppm$/.test(name) ? 6e-4 : name === "updateIntervalS" ? 0.06 : 1e-6;
      ok(Math.abs(value - exact) <= away + Math.abs(exact) * 1e-6, `${name}: ${value}, ${exact}`);
    }
    ok(line.rootDispersionS >= before.rootDispersionS - 1e-9);
    ok(line.rootDispersionS <= after.rootDispersionS + 1e-9);
    return;
  }
});

/** A responder on loopback that answers as it is told. */
async function responder(
  answer: (request: Uint8Array, socket: Socket, port: number) => void,
): Promise<
  { port: number } & AsyncDisposable
> {
  const socket = createSocket("udp4");
  socket.bind({ address: "127.0.0.1", port: 0 });
  await once(socket, "listening");
  socket.on("message", (message, remote) => answer(message, socket, remote.port));
  return {
    port: socket.address().port,
    [Symbol.asyncDispose]: () => new Promise((closed) => socket.close(() => closed())),
  };
}

function replyTo(request: Uint8Array, change: (view: DataView) => void = () => {}): Uint8Array {
  const bytes = REPLY.slice();
  bytes.set(request.subarray(8, 12), 16);
  const view = new DataView(bytes.buffer);
  // Measured just now.
  view.setUint32(56, 0);
  view.setUint32(60, Math.floor(Date.now() / 1000));
  change(view);
  return bytes;
}

Deno.test("ChronyClock takes the right answer among wrong ones, and no wrong one alone", async () => {
  let isHonest = true;
  await using server = await responder((request, socket, port) => {
    deepEqual(request.length, 104);
    const send = (bytes: Uint8Array) => socket.send(bytes, port, "127.0.0.1");
    send(new Uint8Array(3));
    send(replyTo(request).subarray(0, 80));
    send(replyTo(request, (view) => view.setUint32(16, 1)));
    send(replyTo(request, (view) => view.setUint16(52, 99)));
    if (isHonest) send(replyTo(request));
  });
  const clock = new ChronyClock({ port: server.port, via: "socket", timeoutMs: 100 });
  await clock.sync();
  equal(clock.isSynchronised, true);
  isHonest = false;
  await rejects(clock.sync(), { code: "clock", message: /stratum is impossible/ });
  equal(clock.status().failures, 1);
  await clock.close();
});

Deno.test("ChronyClock's bound is the sum of chrony's words, and a step of the clock widens it at once", async () => {
  await using server = await responder((request, socket, port) => {
    const words = [1.5e-3, -2.5e-4, 0, 10, 0.5, 2, 0.02, 0.004, 16];
    const bytes = replyTo(
      request,
      (view) => words.forEach((value, index) => view.setUint32(68 + 4 * index, chronyFloat(value))),
    );
    socket.send(bytes, port, "127.0.0.1");
  });
  const calls = systemCalls()!;
  let stepS = 0;
  const stepped = {
    ...calls,
    clockGettime(clock: number) {
      const result = calls.clockGettime(clock);
      if (clock === calls.clocks.realtime) calls.timespec[0] += stepS;
      return result;
    },
  };
  const clock = new ChronyClock({ port: server.port, via: "socket", calls: stepped });
  await clock.sync();
  const base = 1.5e6 + 2.5e5 + 4e6 + 1e7;
  const parts = Object.fromEntries(clock.status().bound.map(({ name, ns }) => [name, ns]));
  ok(Math.abs(parts["correction under way"] - 1.5e6) < 1);
  ok(Math.abs(parts["last offset"] - 2.5e5) < 1);
  ok(Math.abs(parts["root dispersion"] - 4e6) < 1);
  ok(Math.abs(parts["root delay / 2"] - 1e7) < 1);
  // Skew 2, residual 0.5, 1 that chrony allows, 10 that perhaps nobody corrects.
  const before = clock.errorUs() * 1e3, started = performance.now();
  ok(before >= base && before < base + 1e6);
  await sleep(100);
  const grownNs = clock.errorUs() * 1e3 - before;
  const passedNs = (performance.now() - started) * 1e6;
  ok(grownNs > 0.5 * 13.5e-6 * passedNs, `${grownNs}`);
  stepS = 3600;
  ok(clock.errorUs() > 3.6e9, "An hour's step");
  equal(clock.status().bound.some(({ name, ns }) => name === "steps" && ns > 3.59e12), true);
  stepS = -3600;
  ok(clock.errorUs() > 3.59e9);
  await clock.close();
});

Deno.test("ChronyClock keeps a step that chronyd knows nothing of until it has measured again", async () => {
  let measuredS = Math.floor(Date.now() / 1000), correctionS = 0, lastOffsetS = 0, stepS = 0;
  await using server = await responder((request, socket, port) => {
    const bytes = replyTo(request, (view) => {
      view.setUint32(60, measuredS);
      [correctionS, lastOffsetS, 0, 0, 0, 0, 0, 0, 16].forEach((value, index) =>
        view.setUint32(68 + 4 * index, chronyFloat(value))
      );
    });
    socket.send(bytes, port, "127.0.0.1");
  });
  const calls = systemCalls()!;
  const stepped = {
    ...calls,
    clockGettime(clock: number) {
      const result = calls.clockGettime(clock);
      if (clock === calls.clocks.realtime) calls.timespec[0] += stepS;
      return result;
    },
  };
  const clock = new ChronyClock({
    port: server.port,
    via: "socket",
    calls: stepped,
    timeoutMs: 5000,
  });
  await clock.sync();
  equal(clock.isSynchronised, true);
  stepS = 5;
  equal(clock.isSynchronised, false, "at once");
  for (let asked = 0; asked < 3; asked++) {
    await clock.sync();
    ok(leastErrorUs(clock) > 4.9e6, "chronyd answers, and has not measured");
    equal(clock.isSynchronised, false);
    match(clock.status().reason ?? "", /somebody has set/);
    const { bound, errorNs } = clock.status();
    ok(Math.abs(bound.reduce((sum, { ns }) => sum + ns, 0) - errorNs) < 1e3);
  }
  measuredS++;
  await clock.sync();
  ok(leastErrorUs(clock) < 1e5);
  equal(clock.isSynchronised, true);
  // What chronyd sets itself is no surprise: it was to be corrected, or was just found.
  correctionS = 2;
  await clock.sync();
  stepS += 2;
  correctionS = 0;
  await clock.sync();
  ok(leastErrorUs(clock) < 1e5, `${leastErrorUs(clock)}`);
  stepS -= 3;
  lastOffsetS = 3;
  measuredS++;
  await clock.sync();
  ok(leastErrorUs(clock) < 3.1e6);
  equal(clock.isSynchronised, true);
  await clock.close();
});

Deno.test("ChronyClock's bound grows by the drift that a daemon sees and does not correct", async () => {
  const started = performance.now();
  let drifts = true;
  let lastS = 0;
  await using server = await responder((request, socket, port) => {
    if (drifts) lastS = 300e-6 * (performance.now() - started) / 1e3;
    const words = [lastS, 0, 0, 400, 0, 0, 0, 0, 16];
    const bytes = replyTo(
      request,
      (view) => words.forEach((value, index) => view.setUint32(68 + 4 * index, chronyFloat(value))),
    );
    socket.send(bytes, port, "127.0.0.1");
  });
  const clock = new ChronyClock({ port: server.port, via: "socket" });
  const driftPpm = () => clock.status().details.uncorrectedDriftPpm as number;
  await clock.sync();
  equal(Math.round(driftPpm()), 400, "Nothing is known yet: all of its frequency");
  const before = leastErrorUs(clock);
  await sleep(200);
  ok(leastErrorUs(clock) > before + 0.5 * 400e-6 * 200e3, "It grows by all of it");
  await clock.sync();
  ok(Math.abs(driftPpm() - 300) < 90, `${driftPpm()} ppm`);
  drifts = false;
  await clock.sync();
  await sleep(50);
  await clock.sync();
  equal(driftPpm(), 0);
  await clock.close();
});

/** A number in chrony's form, by trying exponents. */
function chronyFloat(value: number): number {
  for (let exponent = -64; exponent < 64; exponent++) {
    const coefficient = Math.round(value / 2 ** (exponent - 25));
    if (Math.abs(coefficient) < 2 ** 24) {
      return ((exponent & 0x7f) * 2 ** 25 + (coefficient & 0x1ffffff)) >>> 0;
    }
  }
  throw new Error(`${value} has no form`);
}

Deno.test("ChronyClock without a daemon says what is missing, and closes cleanly in the middle of a question", async () => {
  await using silent = await responder(() => {});
  const clock = new ChronyClock({
    port: silent.port,
    timeoutMs: 30,
    chronyc: "chronyc-that-is-not-there",
  });
  await rejects(clock.sync(), { code: "clock", message: /nothing answers .* there is no chronyc/ });
  match(clock.status().reason ?? "", /systemd-timesyncd/);
  const pending = clock.sync();
  await clock.close();
  await rejects(pending, { code: "closed" });
  await rejects(clock.sync(), { code: "closed" });
  throws(() => new ChronyClock({ port: 0 }), { code: "out-of-bounds" });
  throws(() => new ChronyClock({ port: "323" as unknown as number }), { code: "usage" });
  throws(() => new ChronyClock({ pollMs: NaN }), { code: "usage" });
  throws(() => new ChronyClock({ prot: 1 } as object), { code: "usage" });
  throws(() => new ChronyClock({ via: "udp" as "socket" }), { code: "usage" });
});

Deno.test("encodeRequest() is as long as the reply, so that it cannot be used to send more", () => {
  const request = encodeRequest(0x01020304);
  deepEqual([...request.subarray(0, 12)], [6, 1, 0, 0, 0, 33, 0, 0, 1, 2, 3, 4]);
  equal(request.length, 104);
});

testWithChronyd("ChronyClock conforms", async (test) => {
  await using server = await Chronyd.start({ stratum: 3 });
  await using daemon = await follower(server);
  const first = new ChronyClock({ port: daemon.commandPort! });
  await synchronised(first);
  await first.close();
  const steps: [string, () => Promise<void>][] = [];
  testClockSource({
    name: "ChronyClock",
    make: () => new ChronyClock({ port: daemon.commandPort!, via: "socket", pollMs: 1000 }),
    trueNs,
  }, (name, body) => steps.push([name, body]));
  ok(steps.length > 5);
  for (const [name, body] of steps) await test.step(name, body);
});
