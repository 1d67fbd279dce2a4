/** The cached page: against its source, with threads that read it, without a ticker, and with one that is stopped. */
import { equal, match, ok, rejects, throws } from "node:assert/strict";
import { on } from "node:events";
import { Worker } from "node:worker_threads";
import { boundOf, type ReaderReport, type ReaderTask, STEP_US } from "./testdata/page_reader.ts";
import { CachedClock } from "./cached_clock.ts";
import { ClockReading } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { SimulatedClock } from "./simulated_clock.ts";
import { SystemSteadyCounter } from "./system_calls.ts";
import { SystemClock } from "./system_clock.ts";
import { OVER, TimePage, W_STATE } from "./_time_page.ts";

testClockSource({
  name: "CachedClock",
  make: () => new CachedClock(new SystemClock()),
  instances: 4,
}, (name, body) => Deno.test(name, body));

/** Reads until the page is what answers; a machine that is busy needs a while to wake the ticker. */
async function warm(clock: CachedClock): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    const before = clock.status().details.readsFromPage as number;
    for (let read = 0; read < 20_000; read++) clock.nowUs();
    if ((clock.status().details.readsFromPage as number) > before + 10_000) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`The ticker does not run: ${JSON.stringify(clock.status().details)}`);
}

Deno.test("CachedClock states intervals that the source's time was in while it was read", async () => {
  const clock = new CachedClock(new SystemClock());
  const precise = new SystemClock();
  const before = new ClockReading(), cached = new ClockReading(), after = new ClockReading();
  await clock.start();
  await warm(clock);
  let outside = 0;
  const reads = 200_000;
  for (let i = 0; i < reads; i++) {
    precise.read(before);
    clock.read(cached);
    precise.read(after);
    // Both have the bound that the kernel gives; what is left is what the page adds.
    const boundUs = (cached.errorNs - before.errorNs) / 1e3 + 1;
    if (cached.us + boundUs < before.us || cached.us - boundUs > after.us) outside++;
  }
  const { readsFromPage, latePages } = clock.status().details;
  await clock.close();
  ok(readsFromPage as number > reads / 2, `${readsFromPage} readings from the page`);
  // One in a thousand may be outside: readings between a pause of all threads and the next look at the page's age.
  ok(
    outside <= reads / 1000,
    `${outside} of ${reads} readings are outside, ${latePages} pages late`,
  );
});

Deno.test("CachedClock never shows a torn time to two threads that read while another writes", async () => {
  const steady = new SystemSteadyCounter();
  if (steady.originS === undefined) return;
  const page = TimePage.make(steady.originS, 1, "system");
  const baseUs = 1_767_225_600_000_000;
  page.anchor(steady.nowNs(), baseUs, 1, true);
  page.tick(baseUs, boundOf(0), steady.nowNs(), 1e12);
  const never = new Int32Array(new SharedArrayBuffer(4));
  const seen = new Int32Array(new SharedArrayBuffer(8));
  const readers = [0, 1].map((reader) => {
    const workerData: ReaderTask = { page: page.memory, baseUs, seen, reader };
    return new Worker(new URL("./testdata/page_reader.ts", import.meta.url), { workerData });
  });
  const messages = readers.map((reader) => on(reader, "message"));
  for (const message of messages) await message.next();
  // As often as a ticker could, until both have seen many times; what follows shows if they have not.
  const end = steady.nowNs() + 2e10;
  for (let time = 1; Math.min(...seen) < 500 && steady.nowNs() < end; time++) {
    Atomics.wait(never, 0, 0, 0.1);
    page.tick(baseUs + time * STEP_US, boundOf(time), steady.nowNs(), 1e12);
  }
  Atomics.store(page.words, W_STATE, OVER);
  page.expire();
  for (const message of messages) {
    const report = (await message.next()).value![0] as ReaderReport;
    equal(report.torn, 0, `${report.torn} torn, the first: ${report.first}`);
    ok(report.times >= 500, `${report.times} times`);
  }
  for (const reader of readers) await reader.terminate();
});

Deno.test("CachedClock goes on for a thread that does nothing but read", async () => {
  const clock = new CachedClock(new SystemClock(), { refreshMs: 0.5 });
  await clock.start();
  await warm(clock);
  const steady = new SystemSteadyCounter();
  const end = steady.nowNs() + 2e10;
  let times = 0, last = 0;
  // A compiler that held the page's counter in a register would never leave the inner loop.
  for (; times < 50 && steady.nowNs() < end; times++) {
    let us = last;
    for (let reads = 0; us === last && reads < 1e9; reads++) us = clock.nowUs();
    last = us;
  }
  equal(times, 50);
  await clock.close();
});

Deno.test("CachedClock goes to its source while few read, and to the page when many do", async () => {
  const clock = new CachedClock(new SystemClock());
  match(clock.status().details.ticker as string, /not started/);
  await clock.start();
  match(clock.status().details.ticker as string, /resting/);
  for (let i = 0; i < 100; i++) clock.nowUs();
  equal(clock.status().details.readsFromPage, 0);
  await warm(clock);
  equal(clock.status().details.ticker, "running");
  await clock.close();
});

Deno.test("CachedClock trusts a page for 32 readings at most once its ticker stands still", () => {
  const steady = new SystemSteadyCounter();
  if (steady.originS === undefined) return;
  const page = TimePage.make(steady.originS, 1, "system");
  const clock = CachedClock.attach(page.memory);
  const reading = new ClockReading();
  clock.read(reading);
  equal(reading.errorNs, Infinity, "Nobody has left a time yet");
  // Where the anchor's time begins, a minute from the page's, tells which of the two a reading is from.
  const anchorUs = 1_767_225_600_000_000, pageUs = anchorUs + 60_000_000;
  page.anchor(steady.nowNs(), anchorUs, 5, true);
  for (let round = 0; round < 50; round++) {
    page.tick(pageUs, 700, steady.nowNs(), 1e9);
    clock.read(reading);
    equal(reading.us, pageUs);
    equal(reading.errorNs, 700_000);
    // A tick that is good for nothing: as if it were read too late.
    page.tick(pageUs, 700, steady.nowNs() - 2e9, 1e9);
    equal(clock.nowUs() < pageUs, true, "A new tick is looked at before it is trusted");
  }
  page.tick(pageUs, 700, steady.nowNs(), 2e6);
  clock.read(reading);
  for (const until = steady.nowNs() + 3e6; steady.nowNs() < until;);
  let stale = 0;
  for (let i = 0; i < 100; i++) if (clock.nowUs() >= pageUs) stale++;
  ok(stale < 32, `${stale} readings of a page that is too old`);
  ok(clock.nowUs() < anchorUs + 60_000_000);
  ok(clock.errorUs() < 1e5);
});

Deno.test("CachedClock says so when its ticker's thread fails, and reads its source", async () => {
  const clock = new CachedClock(new SystemClock());
  // A page that counts from another second than the ticker finds.
  new Float64Array(clock.share(), 64, 1)[0] = NaN;
  await clock.start();
  match(clock.status().details.ticker as string, /none, because the ticker's thread failed/);
  ok(Math.abs(clock.nowUs() / 1e3 - Date.now()) < 1000);
  await clock.close();
});

Deno.test("CachedClock rests again when nobody reads", async () => {
  const clock = new CachedClock(new SystemClock(), { refreshMs: 0.1 });
  await clock.start();
  await warm(clock);
  for (let i = 0; i < 500 && clock.status().details.ticker === "running"; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  match(clock.status().details.ticker as string, /resting/);
  // The page's last time is old, and no reader takes it.
  const before = Date.now() - 50, us = clock.nowUs();
  ok(us / 1e3 >= before);
  await clock.close();
});

Deno.test("CachedClock follows its source: a jump, an outage, a time that is lost", async () => {
  const source = new SimulatedClock({ errorNsMax: 1e6 });
  const clock = new CachedClock(source);
  await clock.start();
  await warm(clock);
  source.jump(-3.6e12);
  source.isReachable = false;
  await until(() => Math.abs(clock.nowUs() - source.nowUs()) < 30e6);
  await until(() => clock.errorUs() > 3.5e9);
  equal(clock.isSynchronised, false);
  source.isLost = true;
  await until(() => clock.errorUs() === Infinity && clock.status().bound.length === 0);
  await clock.close();
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  ok(condition());
}

Deno.test("CachedClock works without FFI and without the right to start a thread, and says so", async () => {
  const program = `
    import { CachedClock } from ${JSON.stringify(new URL("./cached_clock.ts", import.meta.url))};
    import { SystemClock } from ${JSON.stringify(new URL("./system_clock.ts", import.meta.url))};
    const clock = new CachedClock(new SystemClock());
    await clock.start();
    let share = "shared";
    try { clock.share(); } catch (error) { share = error.code; }
    const { details, errorNs } = clock.status();
    console.log(JSON.stringify({ ticker: details.ticker, share, errorNs }));
    await clock.close();`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, program);
    const read = `--allow-read=${file}`;
    const output = async (flags: string[]) => {
      const args = ["run", "--no-prompt", "--no-check", ...flags, file];
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
      const text = new TextDecoder().decode(stdout);
      if (text === "") throw new Error(new TextDecoder().decode(stderr));
      return JSON.parse(text);
    };
    const bare = await output([]);
    match(bare.ticker, /none, because the permission --allow-ffi is not granted/);
    equal(bare.share, "clock");
    equal(bare.errorNs, 100_000_000);
    match(
      (await output(["--allow-ffi", read])).ticker,
      /none, because a thread needs --allow-read/,
    );
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("CachedClock.attach() reads, and leaves the rest to the owner", async () => {
  const owner = new CachedClock(new SystemClock());
  await owner.start();
  const attached = CachedClock.attach(owner.share());
  await attached.start();
  equal(attached.kind, "system");
  ok(Math.abs(attached.nowUs() - owner.nowUs()) < 1e6);
  ok(attached.errorUs() < 1e6);
  await rejects(attached.sync(), { code: "closed" });
  await attached.close();
  equal(attached.errorUs(), Infinity);
  ok(owner.errorUs() < Infinity);
  const other = CachedClock.attach(owner.share());
  await owner.close();
  equal(other.errorUs(), Infinity);
});

Deno.test("CachedClock refuses memory that is no page, no source, and a refresh that is none", () => {
  throws(() => CachedClock.attach(new SharedArrayBuffer(64)), { code: "usage" });
  throws(() => CachedClock.attach(5 as never), { code: "usage" });
  throws(() => new CachedClock({} as never), { code: "usage" });
  throws(() => new CachedClock(null as never), { code: "usage" });
  throws(() => new CachedClock(new SystemClock(), { refreshMs: 0 }), { code: "out-of-bounds" });
  throws(() => new CachedClock(new SystemClock(), { refreshMs: "1" as never }), { code: "usage" });
});
