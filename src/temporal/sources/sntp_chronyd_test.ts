/** An SNTP client against real servers: chronyd on loopback, right, wrong, unsynchronised, silent, and far away. */
import { equal, match, ok, rejects } from "node:assert/strict";
import { testClockSource } from "./clock_source_conformance.ts";
import { SntpClock } from "./sntp_clock.ts";
import { Chronyd, chronydPath, testWithChronyd } from "./testdata/chronyd.ts";
import { Relay } from "./testdata/lying_responder.ts";
import { chanceOf } from "./testdata/simulated_network.ts";
import { compareWithTrueTime } from "./testdata/true_time.ts";

let shared: Chronyd | undefined;

/** The conformance suite wants a test a criterion; they share a server. */
if (chronydPath !== undefined) {
  Deno.test.beforeAll(async () => {
    shared = await Chronyd.start();
  });
  Deno.test.afterAll(async () => await shared?.[Symbol.asyncDispose]());
}
testClockSource({
  name: "SntpClock of a chronyd",
  make: () => new SntpClock({ servers: [shared?.address ?? ""] }),
}, (name, body) => testWithChronyd(name, body));

testWithChronyd(
  "SntpClock agrees with chronyd within its own bound, in 10,000 readings",
  async () => {
    await using server = await Chronyd.start();
    const began = performance.now();
    const clock = new SntpClock({ servers: [server.address] });
    await clock.sync();
    const firstMs = performance.now() - began;
    ok(firstMs < 500, `the first sync took ${firstMs} ms`);
    const figures = await compareWithTrueTime(clock, { syncs: 50, readings: 200 });
    const { details, offsetNs, errorNs } = clock.status();
    ok(Number(details.lastSyncMs) < 500);
    // The server serves this machine's own clock, and two readings of both are a µs apart at most.
    if (figures !== undefined) ok(Math.abs(offsetNs) <= errorNs + 1000, `${offsetNs} ± ${errorNs}`);
    await clock.close();
    if (figures === undefined) return; // no FFI
    ok(figures.contained >= 0.999, `${figures.contained} of the readings are within the bound`);
    ok(figures.boundUs < 20_000, `a bound of ${figures.boundUs} µs on loopback`);
  },
);

testWithChronyd("SntpClock names a falseticker, and two against one win", async () => {
  await using right = await Chronyd.start();
  await using alsoRight = await Chronyd.start({ host: "::1" });
  await using wrong = await Chronyd.start({ stratum: 1 });
  await wrong.setOffset(-3);
  const clock = new SntpClock({ servers: [wrong.address, right.address, alsoRight.address] });
  await clock.sync();
  const [first, second, third] = clock.servers();
  equal(first.state, "falseticker");
  match(first.reason, /majority/);
  ok(first.offsetNs < -2e9 && first.offsetNs > -4e9, `${first.offsetNs}`);
  equal(second.state, "selected");
  equal(third.state, "selected");
  const figures = await compareWithTrueTime(clock, { syncs: 5, readings: 20 });
  equal(figures?.contained ?? 1, 1);
  await clock.close();

  const two = new SntpClock({ servers: [wrong.address, right.address] });
  await rejects(two.sync(), /no majority/);
  equal(two.isSynchronised, false);
  equal(two.errorUs(), Infinity);
  await two.close();
});

testWithChronyd(
  "SntpClock refuses an unsynchronised chronyd, and does without a silent one",
  async () => {
    await using right = await Chronyd.start();
    await using lost = await Chronyd.start({ stratum: null });
    await using silent = await Chronyd.start();
    silent.pause();
    const clock = new SntpClock({
      servers: [right.address, lost.address, silent.address],
      timeoutMs: 300,
    });
    await clock.sync();
    equal(clock.servers().map(({ state }) => state).join(), "selected,refused,silent");
    match(clock.servers()[1].reason, /not synchronised/);
    await clock.close();
    const alone = new SntpClock({ servers: [silent.address], timeoutMs: 200 });
    await rejects(alone.sync(), /no answer within 200 ms/);
    silent.resume();
    await alone.sync();
    equal(alone.servers()[0].state, "selected");
    await alone.close();
  },
);

testWithChronyd(
  "SntpClock is content with what a chronyd that limits its rate answers",
  async () => {
    await using server = await Chronyd.start({ lines: ["ratelimit interval 12 burst 6 leak 4"] });
    const clock = new SntpClock({ servers: [server.address], timeoutMs: 100, samples: 8 });
    await clock.sync();
    equal(clock.servers()[0].state, "selected");
    await clock.close();
  },
);

testWithChronyd("SntpClock obeys the kiss of death RATE of a chronyd", async (test) => {
  const server = await Chronyd.start({ lines: ["ratelimit interval 12 burst 1 leak 4 kod 1"] })
    .catch(() => undefined);
  await test.step({
    name: server === undefined ? "skipped: this chronyd has no `ratelimit … kod`" : "RATE",
    ignore: server === undefined,
    async fn(): Promise<void> {
      const clock = new SntpClock({ servers: [server?.address ?? ""], timeoutMs: 100, samples: 8 });
      await clock.sync().catch(() => {});
      match(clock.servers()[0].reason, /RATE/);
      await clock.close();
    },
  });
  await server?.[Symbol.asyncDispose]();
});

testWithChronyd("SntpClock keeps its bound over asymmetric, lossy paths that reorder", async () => {
  await using server = await Chronyd.start();
  const paths = [
    { thereMs: 15, backMs: 1 },
    { thereMs: 1, backMs: 15, jitterMs: 10 },
    { thereMs: 4, backMs: 4, jitterMs: 20, loss: 0.2 },
  ];
  for (const [i, path] of paths.entries()) {
    await using relay = await Relay.open(server.port, path, chanceOf(i + 1));
    const clock = new SntpClock({ servers: [relay.address], samples: 8, timeoutMs: 200 });
    await clock.sync();
    const figures = await compareWithTrueTime(clock, { syncs: 3, readings: 50 });
    const [{ delayNs }] = clock.servers();
    ok(delayNs >= 8e6, `a delay of ${delayNs} ns`);
    equal(figures?.contained ?? 1, 1);
    // A path of 15 ms there and 1 ms back makes an error of 7 ms: without the bound nobody would know.
    if (i === 0) ok((figures?.tightness ?? 1) > 0.5, `${figures?.tightness}`);
    await clock.close();
  }
});
