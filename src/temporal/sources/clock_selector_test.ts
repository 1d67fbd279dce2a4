/** The selector over sources that do as they are told, and under a hybrid logical clock. */
import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { HybridLogicalClock } from "../hlc.ts";
import { ClockReading, type ClockSource } from "./clock_source.ts";
import type { ClockEvent, ClockEventStream } from "./clock_event.ts";
import { ClockSelector } from "./clock_selector.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { SimulatedClock } from "./simulated_clock.ts";
import { SntpClock } from "./sntp_clock.ts";
import { SystemClock } from "./system_clock.ts";
import { FakeSource, FakeTime, FakeTimer } from "./_selector_fakes_test.ts";
import { Chronyd, freePort, testWithChronyd } from "./testdata/chronyd.ts";

const US = 1e3, MS = 1e6;

/** A chain of three: a hardware clock, a daemon, the system that nobody vouches for. */
function chain(): {
  time: FakeTime;
  timer: FakeTimer;
  ptp: FakeSource;
  daemon: FakeSource;
  system: FakeSource;
  selector: ClockSelector;
  pass: (seconds: number) => void;
} {
  const time = new FakeTime(), timer = new FakeTimer();
  const ptp = new FakeSource(time, "ptp0", "ptp", 1 * US);
  const daemon = new FakeSource(time, "chrony", "daemon", 50 * US);
  const system = new FakeSource(time, "system", "system", 100 * MS);
  system.isSynchronised = false;
  const selector = new ClockSelector({ sources: [ptp, daemon, system], steady: time, timer });
  const pass = (seconds: number): void => {
    for (let second = 0; second < seconds; second++) {
      time.advanceS(1);
      selector.check();
    }
  };
  return { time, timer, ptp, daemon, system, selector, pass };
}

/** What waits in a stream. */
async function drain(events: ClockEventStream): Promise<ClockEvent[]> {
  const all: ClockEvent[] = [];
  while (events.buffered > 0) {
    const { value } = await events.next();
    if (value !== undefined) all.push(value);
  }
  return all;
}

Deno.test("ClockSelector fails over at the next look, says the step, and fails back when it was good for a while", async () => {
  const { ptp, daemon, selector, pass } = chain();
  const events = selector.events();
  equal(selector.selected, "ptp0");
  daemon.offsetNs = -30 * US;
  ptp.errorNs = Infinity;
  ptp.isSynchronised = false;
  // Between two looks the bound says it.
  equal(selector.errorUs(), Infinity);
  pass(1);
  equal(selector.selected, "chrony");
  equal(selector.kind, "daemon");
  const [lost, selected] = await drain(events);
  deepEqual([lost.kind, lost.source], ["lost", "ptp0"]);
  equal(lost.message, "ptp0 was lost: nobody answers");
  deepEqual([selected.kind, selected.source, selected.previous], ["selected", "chrony", "ptp0"]);
  // The lost one had no time, so nobody knows.
  equal(selected.stepNs, NaN);
  equal(selector.status().steps.at(-1)?.stepNs, NaN);

  ptp.errorNs = 1 * US;
  ptp.isSynchronised = true;
  daemon.errorNs = 100 * US;
  pass(30);
  equal(selector.selected, "chrony");
  equal(selector.status().sources[0].state, "waiting");
  pass(12);
  equal(selector.selected, "ptp0");
  const [recovered, back] = await drain(events);
  deepEqual([recovered.kind, recovered.source], ["recovered", "ptp0"]);
  equal(back.stepNs, 30 * US);
  match(
    back.message,
    /^Time comes from ptp0 now, not from chrony: its bound is 1 µs, that of chrony 100 µs; time steps ahead by 30 µs$/,
  );
  equal(back.timeNs, selector.status().nowNs - 1_000_000_000n);
  deepEqual(selector.status().steps.map(({ stepNs }) => stepNs), [NaN, 30 * US]);
  await selector.close();
});

Deno.test("ClockSelector changes between good sources only for one that is clearly better for a while", async () => {
  const { ptp, daemon, selector, pass } = chain();
  const states = () => selector.status().sources.map(({ state }) => state);
  deepEqual(states(), ["selected", "ready", "unsynchronised"]);
  ptp.errorNs = 80 * US;
  pass(60);
  equal(selector.selected, "ptp0", "smaller, but not by the factor");
  ptp.errorNs = 100 * US;
  pass(9);
  ptp.errorNs = 80 * US;
  pass(1);
  ptp.errorNs = 100 * US;
  pass(10);
  equal(selector.selected, "ptp0", "not for long enough without a break");
  pass(1);
  equal(selector.selected, "chrony");
  // Between equals the kind decides, after the same while.
  ptp.errorNs = daemon.errorNs;
  pass(11);
  equal(selector.selected, "ptp0");
  await selector.close();
});

Deno.test("ClockSelector leaves a source that most others contradict, and stays where two contradict each other", async () => {
  const time = new FakeTime();
  const ptp = new FakeSource(time, "ptp0", "ptp", 1 * US);
  const daemon = new FakeSource(time, "chrony", "daemon", 50 * US);
  const sntp = new FakeSource(time, "sntp", "sntp", 200 * US);
  const options = { steady: time, timer: new FakeTimer() };
  const selector = new ClockSelector({ ...options, sources: [ptp, daemon, sntp] });
  const events = selector.events();
  ptp.offsetNs = 3.2e9;
  selector.check();
  equal(selector.selected, "chrony");
  const [lost, selected] = await drain(events);
  equal(lost.message, "ptp0 was lost: the others contradict it: it is 3.2 s ahead of chrony");
  equal(selected.stepNs, -3.2e9);
  equal(selector.status().sources[0].state, "false");

  // By hand it gives the time, and the selector says that nothing vouches for it.
  selector.use("ptp0");
  equal(selector.isSynchronised, false);
  match(selector.status().reason ?? "", /the others contradict it: it is 3.2 s ahead/);
  await selector.close();

  const pair = new ClockSelector({
    ...options,
    sources: [
      new FakeSource(time, "a", "sntp", 5 * MS),
      Object.assign(new FakeSource(time, "b", "sntp", 1 * MS), { offsetNs: 1e9 }),
    ],
  });
  equal(pair.selected, "b");
  equal(pair.status().isDisputed, true);
  await pair.close();
  await pair.close();
});

Deno.test("ClockSelector tells of a disagreement and its end once, and of a jump of the selected source", async () => {
  const { time, ptp, daemon, selector, pass } = chain();
  const events = selector.events();
  daemon.offsetNs = 1e9;
  pass(20);
  equal(selector.selected, "ptp0");
  daemon.offsetNs = 0;
  pass(1);
  deepEqual((await drain(events)).map(({ kind }) => kind), ["disagreement", "agreement"]);
  ptp.offsetNs = daemon.offsetNs = -3600e9;
  pass(3);
  const [step, ...rest] = await drain(events);
  deepEqual([step.kind, step.stepNs, rest.length], ["step", -3600e9, 0]);
  equal(step.message, "The time of ptp0 steps back by 60 min by itself");
  // What the bounds explain is no jump: neither growth nor a pause of the counter's owner.
  time.advanceS(86_400);
  ptp.offsetNs += 1.5 * US;
  pass(1);
  deepEqual(await drain(events), []);
  await selector.close();
});

Deno.test("ClockSelector.use() holds whatever happens, until auto()", async () => {
  const { ptp, daemon, selector, pass } = chain();
  const events = selector.events();
  selector.use("system");
  equal(selector.selected, "system");
  equal(selector.status().mode, "manual");
  equal(selector.isSynchronised, false);
  pass(100);
  equal(selector.selected, "system");
  selector.auto();
  selector.auto();
  equal(selector.selected, "ptp0");
  equal(selector.isSynchronised, true);
  const kinds = (await drain(events)).map(({ kind, source }) => `${kind} ${source}`);
  deepEqual(kinds, ["selected system", "manual system", "selected ptp0", "manual ptp0"]);
  throws(() => selector.use("ptp1"), {
    code: "usage",
    message: /no such source: give one of "ptp0", "chrony", "system"/,
  });
  throws(() => selector.use(7 as unknown as string), { code: "usage" });
  ptp.isSynchronised = daemon.isSynchronised = false;
  ptp.errorNs = daemon.errorNs = Infinity;
  pass(1);
  equal(selector.selected, "system");
  await selector.close();
});

Deno.test("ClockSelector with no time left keeps its last source, and says so", async () => {
  const { ptp, daemon, system, selector, pass } = chain();
  for (const source of [daemon, system, ptp]) {
    source.isSynchronised = false;
    source.errorNs = Infinity;
    pass(1);
  }
  equal(selector.selected, "ptp0");
  equal(selector.isSynchronised, false);
  equal(selector.errorUs(), Infinity);
  deepEqual(selector.status().sources.map(({ state }) => state), ["selected", "silent", "silent"]);
  await rejects(() => selector.sync(), { code: "clock", message: /none of the sources/ });
  ptp.throws = true;
  pass(1);
  daemon.errorNs = NaN;
  pass(1);
  system.errorNs = 7;
  pass(1);
  equal(selector.selected, "system");
  await selector.close();
});

Deno.test("ClockSelector starts and closes its sources once, and waits for no one for ever", async () => {
  const { timer, ptp, daemon, selector } = chain();
  ptp.starting = new Promise(() => {});
  const starting = selector.start();
  equal(selector.start(), starting);
  const [[look, checkMs], [late, startMsMax]] = [...timer.calls];
  deepEqual([checkMs, startMsMax], [500, 3000]);
  let isStarted = false;
  starting.then(() => isStarted = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  equal(isStarted, false);
  late();
  await starting;
  deepEqual([...timer.calls.keys()], [look]);
  ptp.isSynchronised = false;
  look();
  equal(selector.selected, "chrony");

  const events = selector.events(), waiting = selector.events().next();
  await Promise.all([selector.close(), selector.close()]);
  deepEqual([ptp.starts, ptp.closes, daemon.closes, timer.calls.size], [1, 1, 1, 0]);
  equal((await waiting).done, true);
  equal((await events.next()).done, true);
  look();
  const reading = new ClockReading();
  selector.read(reading);
  equal(reading.errorNs, Infinity);
  equal(selector.isSynchronised, false);
  equal(selector.status().reason, "the selector is closed");
  await selector.start();
  for (const call of [() => selector.check(), () => selector.use("ptp0"), () => selector.auto()]) {
    throws(call, { code: "closed" });
  }
  throws(() => selector.events(), { code: "closed" });
  await rejects(() => selector.sync(), { code: "closed" });
});

Deno.test("ClockSelector calls nobody false because the machine paused in the middle of a reading", async () => {
  const { time, ptp, daemon, selector } = chain();
  for (const isBefore of [true, false]) {
    for (const source of [ptp, daemon]) {
      const read = source.read.bind(source);
      source.read = (out) => {
        if (isBefore) time.advanceS(1);
        read(out);
        if (!isBefore) time.advanceS(1);
      };
      selector.check();
      source.read = read;
      equal(selector.status().isDisputed, false);
      equal(selector.selected, "ptp0");
      deepEqual(selector.status().steps, []);
    }
  }
  await selector.close();
});

Deno.test("ClockSelector closes while a source never ends its start", async () => {
  const time = new FakeTime(), slow = new FakeSource(time, "slow", "sntp", 1 * MS);
  slow.starting = new Promise(() => {});
  const selector = new ClockSelector({ sources: [slow], steady: time });
  const starting = selector.start();
  await selector.close();
  await starting;
});

Deno.test("ClockSelector.open() takes what the machine has, and says what it has not", async () => {
  await using selector = await ClockSelector.open({ kinds: ["system", "sntp"] });
  equal(selector.selected, "system");
  const { notes, steps, sources } = selector.status();
  deepEqual([steps, sources.length], [[], 1]);
  ok(notes.includes("No NTP server is asked, as none was named"));
  await rejects(ClockSelector.open({ kinds: [] }), { code: "clock", message: /no source/ });
  await rejects(ClockSelector.open({ kinds: ["gps"] as never }), { code: "usage" });
  await rejects(ClockSelector.open({ sntp: ["a:b"] }), { code: "usage" });
  await rejects(ClockSelector.open({ sntp: 7 as never }), { code: "usage" });
  await rejects(ClockSelector.open({ sntp: ["a"], sources: [] }), { code: "usage" });
  await rejects(ClockSelector.open({ servers: ["a"] } as never), { code: "usage" });
  for (const wrong of [{ findMs: 1 }, { findMs: NaN }, { chronyPort: 0 }, { chronyPort: "x" }]) {
    await rejects(ClockSelector.open(wrong as never), { name: "MmsbError" });
  }
});

Deno.test("ClockSelector.status() says how the selected source stands to the system's clock", async () => {
  const { time, ptp, system, selector, pass } = chain();
  system.offsetNs = -835 * US;
  ptp.offsetNs = 1 * US;
  pass(1);
  equal(selector.status().offsetNs, 836 * US);
  equal(time.ns, 1e9);
  await selector.close();
});

Deno.test("ClockSelector.events() keeps the newest where nobody reads, and ends for who leaves", async () => {
  const { ptp, selector, pass } = chain();
  const few = selector.events({ buffer: 3 });
  for (let round = 0; round < 5; round++) {
    ptp.isSynchronised = round % 2 === 1;
    pass(1);
  }
  equal(few.buffered, 3);
  ok(few.lost > 0);
  for await (const { kind } of few) {
    ok(["lost", "recovered", "selected"].includes(kind));
    break;
  }
  equal((await few.next()).done, true);
  throws(() => selector.events({ buffer: 0 }), { code: "limit" });
  throws(() => selector.events({ places: 3 } as never), { code: "usage" });
  await selector.close();
});

Deno.test("ClockSelector refuses wrong options", () => {
  const time = new FakeTime();
  const source = new FakeSource(time, "a", "system", 1);
  const wrong: readonly [Record<string, unknown> | undefined, RegExp][] = [
    [undefined, /options of ClockSelector/],
    [{}, /give an array of 1 to 32 sources/],
    [{ sources: [] }, /give an array of 1 to 32/],
    [{ sources: [null] }, /as source: give an object/],
    [{ sources: [{ name: "x" }] }, /as read of source "x": give a function/],
    [{ sources: [source, source] }, /two sources with the name "a"/],
    [{ sources: [source], checkMs: NaN }, /as checkMs/],
    [{ sources: [source], checkMs: 1n }, /as checkMs/],
    [{ sources: [source], betterFactor: 0.5 }, /as betterFactor/],
    [{ sources: [source], holdMs: -1 }, /as holdMs/],
    [{ sources: [source], failBackMs: Infinity }, /as failBackMs/],
    [{ sources: [source], startMsMax: "1" }, /as startMsMax/],
    [{ sources: [source], steady: {} }, /as steady.nowNs/],
    [{ sources: [source], timer: null }, /as timer/],
    [{ sources: [source], notes: 7 }, /notes: give an array/],
    [{ sources: [source], interval: 7 }, /option "interval"/],
  ];
  for (const [options, message] of wrong) {
    throws(() => new ClockSelector(options as never), { name: "MmsbError", message });
  }
});

Deno.test("a HybridLogicalClock over a selector strictly increases while sources jump, vanish and return", () => {
  const step = fc.record({
    passedMs: fc.integer({ min: 0, max: 20_000 }),
    source: fc.integer({ min: 0, max: 2 }),
    act: fc.constantFrom("jump", "lose", "return", "use", "auto", "nothing"),
    jumpMs: fc.integer({ min: -3_600_000, max: 3_600_000 }),
  });
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 1e6 }),
    fc.array(step, { minLength: 1, maxLength: 40 }),
    (seed, steps) => {
      const sources = [0, 1, 2].map((index) =>
        new SimulatedClock({ seed: seed + index, name: `c${index}`, skewPpm: index * 20 })
      );
      const { steady } = sources[0];
      const selector = new ClockSelector({ sources, steady, timer: new FakeTimer() });
      const clock = new HybridLogicalClock({ nowUs: () => selector.nowUs() });
      let last = clock.nowBigint();
      for (const { passedMs, source, act, jumpMs } of steps) {
        for (const one of sources) one.advance(passedMs * 1e6);
        if (act === "jump") sources[source].jump(jumpMs * 1e6);
        else if (act === "use") selector.use(`c${source}`);
        else if (act === "auto") selector.auto();
        else if (act !== "nothing") sources[source].isLost = act === "lose";
        for (let stamp = 0; stamp < 3; stamp++) {
          const next = clock.nowBigint();
          ok(next > last, `${next} follows ${last}`);
          last = next;
        }
        selector.check();
      }
    },
  ));
});

Deno.test("the runtime's timer looks by itself, and does not keep the process alive", async () => {
  const module = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-lock",
      `
      import { ClockSelector } from ${module("./clock_selector.ts")};
      import { SimulatedClock } from ${module("./simulated_clock.ts")};
      const clocks = [new SimulatedClock({ name: "a" }), new SimulatedClock({ name: "b" })];
      const selector = new ClockSelector({ sources: clocks, checkMs: 10 });
      await selector.start();
      clocks[0].isLost = true;
      for (let wait = 0; selector.selected !== "b" && wait < 500; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      console.log(selector.selected);
    `,
    ],
    signal: AbortSignal.timeout(20_000),
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  equal(code, 0, text(stderr));
  equal(text(stdout), "b\n");
});

Deno.test("ClockSelector is a ClockSource that others can take", async () => {
  const { selector } = chain();
  const source: ClockSource = selector;
  const reading = new ClockReading();
  source.read(reading);
  equal(reading.errorNs, 1 * US);
  equal(source.nowUs(), reading.us);
  const status = source.status();
  equal(status.bound.reduce((sum, { ns }) => sum + ns, 0), status.errorNs);
  await using _same = selector;
});

testClockSource({
  name: "ClockSelector over the system's clock",
  make: () => new ClockSelector({ sources: [new SystemClock()] }),
}, (name, body) => Deno.test(name, body));

testClockSource({
  name: "ClockSelector over simulated clocks",
  make: () => {
    const sources = [1, 2, 3].map((seed) =>
      new SimulatedClock({ seed, name: `c${seed}`, skewPpm: 10 * seed })
    );
    return new Steered(sources);
  },
  trueNs: (selector) => selector.clocks[0].trueNs,
  pass: (selector, ns) => {
    for (const clock of selector.clocks) clock.advance(ns);
    selector.check();
  },
}, (name, body) => Deno.test(name, body));

class Steered extends ClockSelector {
  readonly clocks: readonly SimulatedClock[];

  constructor(clocks: readonly SimulatedClock[]) {
    super({ sources: clocks, steady: clocks[0].steady, timer: new FakeTimer() });
    this.clocks = clocks;
  }
}

Deno.test("ClockSelector over a source that breaks its word and throws: no time until the next look, then the others", async () => {
  const { ptp, selector, pass } = chain();
  const reading = new ClockReading();
  const fail = () => {
    throw new Error("the device burnt");
  };
  Object.assign(ptp, { read: fail, nowUs: fail, errorUs: fail, status: fail });
  selector.read(reading);
  deepEqual([reading.errorNs, selector.errorUs()], [Infinity, Infinity]);
  ok(reading.ns > 1_700_000_000_000_000_000n && selector.nowUs() > 1.7e15);
  const { synchronised, reason } = selector.status();
  deepEqual([synchronised, reason], [false, "it fails: the device burnt"]);
  pass(1);
  equal(selector.selected, "chrony");
  match(selector.status().sources[0].why, /the device burnt/);
  await selector.close();
});

testWithChronyd("ClockSelector.open() finds a daemon that is started after it", async () => {
  const chronyPort = await freePort();
  const find = { kinds: ["daemon", "system"], chronyPort, findMs: 100 } as const;
  await using selector = await ClockSelector.open(find);
  const names = () => selector.status().sources.map(({ name }) => name);
  deepEqual(names(), ["system"]);
  match(selector.status().notes.join(), /No time daemon is asked, as nothing answers/);
  await using _chronyd = await Chronyd.start({ commandPort: chronyPort });
  for (let tries = 0; tries < 500 && names().length < 2; tries++) await sleep(10);
  deepEqual(names(), ["system", "chrony"]);
  deepEqual(selector.status().notes, []);
  // It serves its own clock, and is not synchronised to anybody.
  match(selector.status().sources[1].why, /follows nobody|was never asked/);
});

Deno.test("ClockSelector does not believe a liar when those who had outvoted it fall silent", async () => {
  const time = new FakeTime(), timer = new FakeTimer();
  const honest = ["a", "b", "c"].map((name) => new FakeSource(time, name, "sntp", 5 * MS));
  const liar = new FakeSource(time, "liar", "ptp", 1 * US);
  const clock = new ClockSelector({ sources: [...honest, liar], steady: time, timer });
  liar.offsetNs = 3600e9;
  clock.check();
  equal(clock.selected, "a");
  for (const source of honest) source.isSynchronised = false;
  clock.check();
  equal(clock.selected, "a");
  equal(clock.status().sources[3].state, "false");
  // One that has no time any more is no witness.
  for (const source of honest.slice(1)) source.errorNs = Infinity;
  clock.check();
  equal(clock.selected, "liar");
  equal(clock.status().isDisputed, true);
  await clock.close();
});

Deno.test("ClockSelector.open() and SntpClock take a list of servers, not a text of one", async () => {
  const text = "time.example" as unknown as string[];
  const refused = { code: "usage", message: /^Cannot use "time\.example" as .*: give an array/ };
  await rejects(ClockSelector.open({ sntp: text }), refused);
  throws(() => new SntpClock({ servers: text }), refused);
});
