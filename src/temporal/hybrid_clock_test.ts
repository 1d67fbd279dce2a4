/**
 * What every hybrid clock must do, run against both of them: single cases that a reader can follow,
 * and random histories against a model of a few lines in bigints.
 */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import fc from "fast-check";
import { HLC_AHEAD_MS_MAX, TICK_ROWS_MAX } from "../base/limits.ts";
import { MmsbError } from "../base/errors.ts";
import { HybridLogicalClock } from "./hlc.ts";
import type { HybridClock, HybridClockOptions } from "./hybrid_clock.ts";
import { SHARED_CLOCK_BYTES, SharedHybridLogicalClock } from "./shared_hlc.ts";
import { timestampFromHalves, timestampOf } from "./timestamp.ts";

const END = 2n ** 64n - 1n;
const BASE_US = 1_767_225_600_000_000;

const KINDS: Record<string, (options: HybridClockOptions) => HybridClock> = {
  HybridLogicalClock: (options) => new HybridLogicalClock(options),
  SharedHybridLogicalClock: (options) =>
    new SharedHybridLogicalClock(new SharedArrayBuffer(SHARED_CLOCK_BYTES), options),
};

/** The obvious clock. */
class Model {
  last = 0n;
  first = 0n;
  /** The last good reading, in whole µs. */
  standingUs = 0;

  read(us: number): bigint {
    if (Number.isFinite(us) && us >= 2 ** 52) throw new MmsbError("limit", "reading");
    if (us >= 0 && us < 2 ** 52) this.standingUs = Math.floor(us);
    return BigInt(this.standingUs) << 12n;
  }

  take(count: bigint, clock: bigint): bigint {
    const first = max(this.last + 1n, clock);
    if (first + count - 1n > END) throw new MmsbError("limit", "end");
    this.last = first + count - 1n;
    return first;
  }

  now(us: number): void {
    this.take(1n, this.read(us));
  }

  reserve(count: number, us: number): void {
    this.first = this.take(BigInt(count), this.read(us));
  }

  update(received: bigint, us: number): void {
    const clock = this.read(us);
    const aheadUs = (received >> 12n) - (clock >> 12n);
    if (received > this.last && aheadUs > HLC_AHEAD_MS_MAX * 1000) {
      throw new MmsbError("limit", "ahead");
    }
    this.take(1n, max(received, clock) + 1n);
  }

  restore(last: bigint): void {
    this.last = max(this.last, last);
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** What a call threw: an error's code, or nothing. */
function codeOf(call: () => void): string {
  try {
    call();
    return "";
  } catch (error) {
    if (error instanceof MmsbError) return error.code;
    throw error;
  }
}

type Step =
  | { readonly kind: "now" }
  | { readonly kind: "reserve"; readonly count: number }
  | { readonly kind: "update"; readonly offset: bigint; readonly of: "last" | "clock" }
  | { readonly kind: "restore"; readonly offset: bigint };

/** Offsets that matter: near, around 500 ms, far; in words. */
const offsets: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt(-5n, 5n),
  fc.bigInt(-5000n, 5000n),
  fc.bigInt(499_990n << 12n, 500_010n << 12n),
  fc.bigInt(-(1n << 45n), 1n << 45n),
);

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>({ kind: "now" }),
  fc.record({
    kind: fc.constant("reserve" as const),
    count: fc.oneof(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 2 ** 26 })),
  }),
  fc.record({
    kind: fc.constant("update" as const),
    offset: offsets,
    of: fc.constantFrom("last" as const, "clock" as const),
  }),
  fc.record({ kind: fc.constant("restore" as const), offset: offsets }),
);

/** How the physical clock goes on before a step: µs forward or back, or a reading that is none. */
const moves: fc.Arbitrary<{ readonly byUs: number } | { readonly reading: number }> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ byUs: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ byUs: fc.integer({ min: -2_000_000, max: 2_000_000 }) }) },
  { weight: 1, arbitrary: fc.record({ byUs: fc.constantFrom(0.25, 0.75, -0.5) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      reading: fc.constantFrom(NaN, Infinity, -Infinity, -1, -0, 0.5, 2 ** 52, 1.8e18),
    }),
  },
);

/** From where a history starts: anywhere, at 0, close to a carry of the halves, at the end. */
const starts: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(0, 2 ** 20 - 2, BASE_US, 2 ** 52 - 300_000, 2 ** 52 - 1),
  fc.integer({ min: 0, max: 2 ** 52 - 1 }),
);

for (const [name, open] of Object.entries(KINDS)) {
  Deno.test(`${name} agrees with the model in every history`, () => {
    fc.assert(
      fc.property(
        starts,
        fc.array(fc.tuple(moves, steps), { maxLength: 40 }),
        (startUs, history) => {
          let clockUs = startUs;
          let reading = startUs;
          const model = new Model();
          const clock = open({ node: 3, nowUs: () => reading });
          for (const [move, step] of history) {
            if ("byUs" in move) reading = clockUs = Math.max(0, clockUs + move.byUs);
            else reading = move.reading;
            runStep(clock, model, step, reading);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  Deno.test(`${name}.now() gives the clock's time with an empty counter`, () => {
    const clock = open({ nowUs: () => BASE_US });
    clock.now();
    equal(timestampFromHalves(clock.hi, clock.lo), timestampOf(BASE_US, 0));
  });

  Deno.test(`${name}.now() carries a full counter into the microsecond`, () => {
    const clock = open({ nowUs: () => BASE_US, last: timestampOf(BASE_US, 4095) });
    equal(clock.nowBigint(), timestampOf(BASE_US + 1, 0));
    equal(clock.nowBigint(), timestampOf(BASE_US + 1, 1));
  });

  Deno.test(`${name}.now() carries from the lower half into the upper`, () => {
    const us = 5 * 2 ** 20 - 1;
    const clock = open({ nowUs: () => us, last: timestampOf(us, 4094) });
    equal(clock.nowBigint(), 0x0000_0004_ffff_ffffn);
    equal(clock.nowBigint(), 0x0000_0005_0000_0000n);
    deepEqual([clock.hi, clock.lo], [5, 0]);
  });

  Deno.test(`${name}.now() rises strictly while the clock goes back a day`, () => {
    let us = BASE_US;
    const clock = open({ nowUs: () => us });
    const before = clock.nowBigint();
    us -= 86_400_000_000;
    equal(clock.nowBigint(), before + 1n);
    us = BASE_US + 1;
    equal(clock.nowBigint(), timestampOf(BASE_US + 1, 0));
  });

  Deno.test(`${name} follows a jump of an hour ahead at once, and waits for the clock after one back`, () => {
    const hourUs = 3_600_000_000;
    let us = BASE_US;
    const clock = open({ nowUs: () => us });
    clock.now();
    us += hourUs;
    equal(clock.nowBigint(), timestampOf(BASE_US + hourUs, 0));
    us -= hourUs;
    for (let i = 1; i <= 5000; i++) clock.now();
    // What is given meanwhile carries into the microsecond, not further.
    equal(clock.peek(), timestampOf(BASE_US + hourUs, 0) + 5000n);
    clock.reserve(4096);
    us += hourUs + 3;
    equal(clock.nowBigint(), timestampOf(BASE_US + hourUs + 3, 0));
    // Others may be told of the time that this clock had already, and of none further ahead.
    us -= hourUs;
    equal(clock.updateBigint(clock.peek()), timestampOf(BASE_US + hourUs + 3, 1));
    throws(() => clock.updateBigint(timestampOf(BASE_US + hourUs + 4, 0)), {
      code: "limit",
      message: /3600000\.001 ms ahead of this clock/,
    });
  });

  Deno.test(`${name}.now() goes on counting when the clock has no answer`, () => {
    let us = BASE_US;
    const clock = open({ nowUs: () => us });
    const before = clock.nowBigint();
    const broken = [NaN, Infinity, -Infinity, -1, undefined, null, 5n, "5", {}] as number[];
    for (const [index, reading] of broken.entries()) {
      us = reading;
      equal(clock.nowBigint(), before + BigInt(index) + 1n);
    }
    equal(clock.ignoredReadingCount, broken.length);
  });

  Deno.test(`${name}.now() refuses a clock in the wrong unit and stays as it was`, () => {
    let us = BASE_US;
    const clock = open({ nowUs: () => us });
    const before = clock.nowBigint();
    us = BASE_US * 1000;
    throws(() => clock.now(), { code: "limit" });
    throws(() => clock.reserve(5), { code: "limit" });
    throws(() => clock.update(clock.hi, clock.lo), { code: "limit" });
    equal(clock.peek(), before);
    us = BASE_US + 1;
    equal(clock.nowBigint(), timestampOf(BASE_US + 1, 0));
  });

  Deno.test(`${name}.now() passes on an error of the clock and stays as it was`, () => {
    const clock = open({
      nowUs: () => {
        throw new RangeError("no clock");
      },
      last: 9n,
    });
    throws(() => clock.now(), RangeError);
    equal(clock.peek(), 9n);
  });

  Deno.test(`${name} refuses what passes 64 bits and stays as it was`, () => {
    const clock = open({ nowUs: () => BASE_US, last: END - 2n });
    throws(() => clock.reserve(3), { code: "limit" });
    equal(clock.peek(), END - 2n);
    clock.reserve(2);
    equal(clock.peek(), END);
    throws(() => clock.now(), { code: "limit" });
    throws(() => clock.reserve(1), { code: "limit" });
    throws(() => clock.updateBigint(5n), { code: "limit" });
    equal(clock.peek(), END);
  });

  Deno.test(`${name}.reserve() gives a range without gaps that nobody else gets`, () => {
    const clock = open({ nowUs: () => BASE_US });
    clock.reserve(10_000);
    equal(timestampFromHalves(clock.firstHi, clock.firstLo), timestampOf(BASE_US, 0));
    equal(timestampFromHalves(clock.hi, clock.lo), timestampOf(BASE_US, 0) + 9999n);
    equal(clock.nowBigint(), timestampOf(BASE_US, 0) + 10_000n);
  });

  Deno.test(`${name}.reserve() takes 1 to 2^26 timestamps and no other count`, () => {
    const clock = open({ nowUs: () => BASE_US });
    clock.reserve(1);
    equal(clock.lo, clock.firstLo);
    clock.reserve(TICK_ROWS_MAX);
    equal(clock.peek(), timestampOf(BASE_US, 0) + 2n ** 26n);
    for (const count of [0, -1, 1.5, NaN, Infinity, TICK_ROWS_MAX + 1]) {
      throws(() => clock.reserve(count), { code: "usage" });
    }
    equal(clock.peek(), timestampOf(BASE_US, 0) + 2n ** 26n);
  });

  Deno.test(`${name}.update() gives a timestamp after the largest of the three`, () => {
    const clock = open({ nowUs: () => BASE_US });
    equal(clock.updateBigint(timestampOf(BASE_US - 5, 9)), timestampOf(BASE_US, 1));
    equal(clock.updateBigint(timestampOf(BASE_US + 5, 9)), timestampOf(BASE_US + 5, 10));
    equal(clock.updateBigint(timestampOf(BASE_US + 2, 0)), timestampOf(BASE_US + 5, 11));
  });

  Deno.test(`${name}.update() takes 500 ms ahead and refuses a microsecond more`, () => {
    const clock = open({ nowUs: () => BASE_US });
    const allowed = timestampOf(BASE_US + 500_000, 4095);
    throws(() => clock.updateBigint(allowed + 1n), { code: "limit", message: /500\.001 ms ahead/ });
    equal(clock.peek(), 0n);
    equal(clock.updateBigint(allowed), allowed + 1n);
  });

  Deno.test(`${name}.update() keeps to a bound of its own`, () => {
    const clock = open({ nowUs: () => BASE_US, aheadMsMax: 0 });
    throws(() => clock.updateBigint(timestampOf(BASE_US + 1, 0)), { code: "limit" });
    equal(clock.updateBigint(timestampOf(BASE_US, 7)), timestampOf(BASE_US, 8));
  });

  Deno.test(`${name}.update() takes what is ahead of the clock but not of itself`, () => {
    const own = timestampOf(BASE_US + 10_000_000, 0);
    const clock = open({ nowUs: () => BASE_US, last: own });
    equal(clock.updateBigint(own), own + 1n);
    throws(() => clock.updateBigint(own + 2n), { code: "limit" });
    equal(clock.peek(), own + 1n);
  });

  Deno.test(`${name}.update() cannot be pushed by many messages while the clock is silent`, () => {
    let us = BASE_US;
    const clock = open({ nowUs: () => us });
    clock.now();
    us = NaN;
    clock.updateBigint(timestampOf(BASE_US + 400_000, 0));
    throws(() => clock.updateBigint(timestampOf(BASE_US + 800_000, 0)), { code: "limit" });
  });

  Deno.test(`${name}.update() refuses what are no halves`, () => {
    const clock = open({ nowUs: () => BASE_US });
    for (const [hi, lo] of [[-1, 0], [0, 2 ** 32], [0.5, 0], [0, NaN]]) {
      throws(() => clock.update(hi, lo), { code: "usage" });
    }
    throws(() => clock.updateBigint(-1n), { code: "usage" });
    throws(() => clock.updateBigint(END + 1n), { code: "usage" });
    equal(clock.peek(), 0n);
  });

  Deno.test(`${name}.restore() makes the next timestamp larger and never goes back`, () => {
    const clock = open({ nowUs: () => BASE_US });
    const logged = timestampOf(BASE_US + 3_600_000_000, 17);
    clock.restore(logged);
    equal(clock.peek(), logged);
    clock.restore(5n);
    equal(clock.peek(), logged);
    equal(clock.nowBigint(), logged + 1n);
    throws(() => clock.restore(-1n), { code: "usage" });
    throws(() => clock.restore(7 as unknown as bigint), { code: "usage" });
  });

  Deno.test(`${name} refuses options that are out of range or unknown`, () => {
    const nowUs = () => BASE_US;
    for (const node of [-1, 65_536, 0.5, NaN]) {
      throws(() => open({ nowUs, node }), { code: "usage" });
    }
    for (const aheadMsMax of [-1, NaN, Infinity]) {
      throws(() => open({ nowUs, aheadMsMax }), { code: "usage" });
    }
    throws(() => open({ nowUs, last: -1n }), { code: "usage" });
    throws(() => open({} as HybridClockOptions), { code: "usage" });
    throws(() => open({ nowUs, nodeId: 1 } as HybridClockOptions), { code: "usage" });
    equal(open({ nowUs, node: 65_535 }).node, 65_535);
  });
}

/** Runs one step on both and compares everything that can be seen. */
function runStep(clock: HybridClock, model: Model, step: Step, reading: number): void {
  const before = clock.peek();
  const expected = codeOf(() => stepModel(model, step, reading, before));
  const got = codeOf(() => stepClock(clock, step, before, reading));
  equal(got, expected);
  equal(clock.peek(), model.last);
  equal(timestampFromHalves(clock.hi, clock.lo), model.last);
  equal(timestampFromHalves(clock.firstHi, clock.firstLo), model.first);
  if (got === "" && step.kind !== "restore") ok(clock.peek() > before);
  if (got !== "") equal(clock.peek(), before);
  clock.checkInvariants();
}

function stepModel(model: Model, step: Step, reading: number, last: bigint): void {
  if (step.kind === "now") model.now(reading);
  else if (step.kind === "reserve") model.reserve(step.count, reading);
  else if (step.kind === "update") model.update(wordOf(step, last, reading), reading);
  else model.restore(wordOf(step, last, reading));
}

function stepClock(clock: HybridClock, step: Step, last: bigint, reading: number): void {
  if (step.kind === "now") {
    clock.now();
  } else if (step.kind === "reserve") {
    clock.reserve(step.count);
  } else if (step.kind === "update") {
    const received = wordOf(step, last, reading);
    clock.update(Number(received >> 32n), Number(received & 0xffff_ffffn));
  } else {
    clock.restore(wordOf(step, last, reading));
  }
}

/** The word that an update or a restore is about, brought into 64 bits. */
function wordOf(step: Step & { offset: bigint }, last: bigint, reading: number): bigint {
  const ofClock = step.kind === "update" && step.of === "clock" && reading >= 0 &&
    reading < 2 ** 52;
  const base = ofClock ? BigInt(Math.floor(reading)) << 12n : last;
  const word = base + step.offset;
  return word < 0n ? 0n : word > END ? END : word;
}
