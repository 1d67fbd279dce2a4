/**
 * A source of time that is wrong in known ways: for tests of everything that trusts a clock.
 *
 * The test moves true time; the clock's oscillator runs beside it with a constant error of its rate (skew), one that
 * changes (drift), one that wanders at random, and the clock may be set (jump), be read unevenly (jitter) and lose
 * those who keep it (outage). The bound that it states is made as a real source makes it:
 *
 * ```text
 * bound = error of a sync + jitter + growth · age of the last sync + jumps that were noticed
 * ```
 *
 * It contains true time as long as the rate stays within `growthPpm` and jumps are noticed. With a skew beyond that, or
 * jumps that nobody notices, it is the liar that a selector must find.
 *
 * All chance comes from the seed. Cost: a reading takes some 10 ns; moving time takes 20 ns a simulated second.
 */
import {
  assert,
  checkInteger,
  checkKeys,
  checkNumber,
  checkType,
  MmsbError,
} from "../../base/mod.ts";
import {
  type BoundPart,
  ClockReading,
  type ClockSource,
  type ClockStatus,
  type SteadyCounter,
} from "./clock_source.ts";
import {
  ADVANCE_NS_MAX,
  eventsOf,
  ppmOf,
  SIMULATED_CLOCK_OPTIONS,
  type SimulatedClockOptions,
  type SimulatedEvents,
} from "./_simulated_faults.ts";

export type { SimulatedClockOptions, SimulatedEvents } from "./_simulated_faults.ts";

const NS_PER_S = 1_000_000_000;

/** Time moves in pieces of at most this, in ns: what happens at random happens between them. */
const PIECE_NS_MAX = NS_PER_S;

// Places of the numbers.
/** True time: whole seconds, and ns with a fraction. */
const TRUE_S = 0, TRUE_NS = 1;
/** The clock less true time, ns. */
const ERROR = 2;
/** Jumps that were noticed since the last sync, ns. */
const NOTICED = 3;
/** Seconds since the beginning, and then when the last sync was. */
const PASSED = 4, SYNCED = 5;
/** The oscillator's own count, ns; and how far its rate has wandered, ppm. */
const STEADY = 6, WANDER = 7;
/** Seconds since the beginning when the next jump comes, when the next outage, and when the outage of now ends. */
const NEXT_JUMP = 8, NEXT_OUTAGE = 9, OUTAGE_END = 10;

/**
 * A clock with faults of known size.
 *
 * @example The interval that it states contains true time
 * ```ts
 * import { ok } from "node:assert/strict";
 * import { ClockReading } from "./clock_source.ts";
 *
 * const clock = new SimulatedClock({ seed: 7, skewPpm: 30, jitterNs: 200 });
 * const reading = new ClockReading();
 * clock.advance(3_600_000_000_000n); // an hour without a sync
 * clock.read(reading);
 *
 * const away = Number(reading.ns - clock.trueNs);
 * ok(away > 100_000_000); // it runs 30 ppm fast: 108 ms an hour
 * ok(away <= reading.errorNs);
 * ```
 */
export class SimulatedClock implements ClockSource {
  /** Its name. */
  readonly name: string;
  /** Always `simulated`. */
  readonly kind = "simulated";
  /** The clock's oscillator as a steady counter: it is never set, and runs as fast as the clock does. */
  readonly steady: SteadyCounter;
  readonly #skewPpm: number;
  readonly #driftPpmPerS: number;
  readonly #wanderPpm: number;
  readonly #jitterNs: number;
  readonly #syncErrorNs: number;
  readonly #syncEveryS: number;
  readonly #growth: number;
  readonly #errorNsMax: number;
  readonly #jumps: SimulatedEvents;
  readonly #outages: SimulatedEvents;
  readonly #noticesJumps: boolean;
  readonly #values = new Float64Array(11);
  readonly #random = new Uint32Array(1);
  readonly #reading = new ClockReading();
  #isReachable = true;
  #isLost = false;
  #isClosed = false;
  #syncs = 0;
  #failures = 0;
  #jumpCount = 0;

  /**
   * Makes a clock that was synced at the beginning.
   *
   * @param options Its faults.
   * @throws {MmsbError} `usage` if an option is unknown or of the wrong type, `out-of-bounds` if it is out of range.
   */
  constructor(options: SimulatedClockOptions = {}) {
    checkKeys("SimulatedClock", options, SIMULATED_CLOCK_OPTIONS);
    const { seed = 1, startNs = 1_767_225_600_000_000_000n } = options;
    this.name = checkType("name", options.name ?? "simulated", "string");
    this.#random[0] = checkInteger("seed", seed, 0, 2 ** 32 - 1);
    this.#skewPpm = ppmOf("skewPpm", options.skewPpm);
    this.#driftPpmPerS = ppmOf("driftPpmPerHour", options.driftPpmPerHour) / 3600;
    this.#wanderPpm = Math.abs(ppmOf("wanderPpm", options.wanderPpm));
    this.#jitterNs = checkNumber("jitterNs", options.jitterNs ?? 0, 0, 3600e9);
    this.#syncErrorNs = checkNumber("syncErrorNs", options.syncErrorNs ?? 1000, 0, 3600e9);
    this.#growth = Math.abs(ppmOf("growthPpm", options.growthPpm ?? 100)) * 1e-6;
    this.#errorNsMax = checkNumber("errorNsMax", options.errorNsMax ?? 1e8, 0, Number.MAX_VALUE);
    this.#syncEveryS = options.syncEveryS === undefined
      ? Infinity
      : checkNumber("syncEveryS", options.syncEveryS, 1e-3, 1e9);
    this.#jumps = eventsOf("jumps", options.jumps);
    this.#outages = eventsOf("outages", options.outages);
    this.#noticesJumps = checkType("noticesJumps", options.noticesJumps ?? true, "boolean");
    this.steady = { nowNs: () => this.#values[STEADY] };
    const values = this.#values;
    values[TRUE_S] = Number(checkType("startNs", startNs, "bigint") / 1_000_000_000n);
    values[TRUE_NS] = Number(startNs % 1_000_000_000n);
    values[NEXT_JUMP] = this.#wait(this.#jumps);
    values[NEXT_OUTAGE] = this.#wait(this.#outages);
    this.#correct();
  }

  /** True time, which no real source knows, in ns since the Unix epoch. */
  get trueNs(): bigint {
    return BigInt(this.#values[TRUE_S]) * 1_000_000_000n +
      BigInt(Math.floor(this.#values[TRUE_NS]));
  }

  /** How wrong the clock is without jitter, in ns: what no real source knows either. */
  get trueErrorNs(): number {
    return this.#values[ERROR];
  }

  /** Whether a sync would succeed now. Settable: false is an outage that lasts until it is set to true. */
  get isReachable(): boolean {
    return this.#isReachable && this.#values[PASSED] >= this.#values[OUTAGE_END];
  }
  set isReachable(value: boolean) {
    this.#isReachable = value;
  }

  /** Whether the clock has no time at all, as a device that was taken out. Settable. */
  get isLost(): boolean {
    return this.#isLost;
  }
  set isLost(value: boolean) {
    this.#isLost = value;
  }

  /** Jumps that happened. */
  get jumpCount(): number {
    return this.#jumpCount;
  }

  /** Whether its bound is below `errorNsMax`. */
  get isSynchronised(): boolean {
    return this.#boundNs() <= this.#errorNsMax;
  }

  /**
   * Lets true time pass.
   *
   * @param ns How much, in ns; at most ten years.
   * @throws {MmsbError} `usage` if it is no number or bigint, `out-of-bounds` if it is negative or too large.
   */
  advance(ns: number | bigint): void {
    let rest = checkNumber("ns", typeof ns === "bigint" ? Number(ns) : ns, 0, ADVANCE_NS_MAX);
    while (rest > 0) {
      const piece = Math.min(rest, PIECE_NS_MAX);
      this.#pass(piece);
      rest -= piece;
    }
  }

  /**
   * Sets the clock by mistake.
   *
   * @param ns How far ahead; negative: back.
   * @throws {MmsbError} `usage` if it is no number, `out-of-bounds` beyond ten years.
   */
  jump(ns: number): void {
    this.#values[ERROR] += checkNumber("ns", ns, -ADVANCE_NS_MAX, ADVANCE_NS_MAX);
    if (this.#noticesJumps) this.#values[NOTICED] += Math.abs(ns);
    this.#jumpCount++;
  }

  /** Reads time and bound; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    const values = this.#values;
    const off = values[ERROR] + this.#uniform() * this.#jitterNs;
    const ns = Math.floor(values[TRUE_NS] + off);
    const carry = Math.floor(ns / NS_PER_S);
    out.set(values[TRUE_S] + carry, ns - carry * NS_PER_S, this.#boundNs());
  }

  /** The time in µs; see {@linkcode ClockSource.nowUs}. */
  nowUs(): number {
    this.read(this.#reading);
    return this.#reading.us;
  }

  /** The bound in µs; see {@linkcode ClockSource.errorUs}. */
  errorUs(): number {
    return this.#boundNs() / 1e3;
  }

  /** Syncs if it can; see {@linkcode ClockSource.start}. */
  async start(): Promise<void> {
    if (!this.#isClosed) this.#trySync();
  }

  /**
   * Puts the clock right; see {@linkcode ClockSource.sync}.
   *
   * @throws {MmsbError} `clock` in an outage, `closed` after {@linkcode SimulatedClock.close}.
   */
  async sync(): Promise<void> {
    if (this.#isClosed) {
      throw new MmsbError("closed", "Cannot sync the simulated clock as it is closed");
    }
    if (this.#trySync()) return;
    throw new MmsbError("clock", "Cannot sync the simulated clock: nobody answers in its outage");
  }

  /** How the clock is doing; see {@linkcode ClockSource.status}. */
  status(): ClockStatus {
    const values = this.#values;
    this.read(this.#reading);
    const { ns: nowNs, errorNs } = this.#reading;
    return {
      name: this.name,
      kind: this.kind,
      synchronised: this.isSynchronised,
      ...(this.isSynchronised ? {} : { reason: this.#reason() }),
      nowNs,
      errorNs,
      bound: errorNs === Infinity ? [] : this.#parts(),
      offsetNs: NaN,
      driftPpm: this.#ratePpm(),
      lastSyncAgeS: this.#syncs > 0 ? values[PASSED] - values[SYNCED] : Infinity,
      syncs: this.#syncs,
      failures: this.#failures,
      details: { jumps: this.#jumpCount, isReachable: this.isReachable },
    };
  }

  /** Closes the clock; see {@linkcode ClockSource.close}. */
  async close(): Promise<void> {
    this.#isClosed = true;
  }

  /** Checks what must always hold. */
  checkInvariants(): void {
    const values = this.#values;
    assert(values[TRUE_NS] >= 0 && values[TRUE_NS] < NS_PER_S, "Nanoseconds are within a second");
    assert(Math.abs(values[WANDER]) <= this.#wanderPpm, "The rate wanders within its limit");
    assert(values[SYNCED] <= values[PASSED], "The last sync is not in the future");
  }

  /** A piece of true time passes, and what is due by its end happens then. */
  #pass(ns: number): void {
    const values = this.#values;
    const off = ns * this.#ratePpm() * 1e-6;
    values[ERROR] += off;
    values[STEADY] += ns + off;
    const passed = values[TRUE_NS] + ns;
    const carry = Math.floor(passed / NS_PER_S);
    values[TRUE_S] += carry;
    values[TRUE_NS] = passed - carry * NS_PER_S;
    values[PASSED] += ns / NS_PER_S;
    const wander = values[WANDER] + this.#uniform() * this.#wanderPpm * 0.1;
    values[WANDER] = Math.max(-this.#wanderPpm, Math.min(this.#wanderPpm, wander));
    if (values[PASSED] >= values[NEXT_JUMP]) {
      this.jump(this.#uniform() * this.#jumps.max);
      values[NEXT_JUMP] = values[PASSED] + this.#wait(this.#jumps);
    }
    if (values[PASSED] >= values[NEXT_OUTAGE]) {
      values[OUTAGE_END] = values[PASSED] + Math.abs(this.#uniform()) * this.#outages.max;
      values[NEXT_OUTAGE] = values[OUTAGE_END] + this.#wait(this.#outages);
    }
    if (values[PASSED] - values[SYNCED] >= this.#syncEveryS && !this.#isClosed) this.#trySync();
  }

  #trySync(): boolean {
    if (!this.isReachable || this.#isLost) {
      this.#failures++;
      return false;
    }
    this.#correct();
    return true;
  }

  #correct(): void {
    const values = this.#values;
    values[ERROR] = this.#uniform() * this.#syncErrorNs;
    values[NOTICED] = 0;
    values[SYNCED] = values[PASSED];
    this.#syncs++;
  }

  #ratePpm(): number {
    const values = this.#values;
    return this.#skewPpm + this.#driftPpmPerS * values[PASSED] + values[WANDER];
  }

  #boundNs(): number {
    if (this.#isClosed || this.#isLost) return Infinity;
    const values = this.#values;
    // The ns that a reading drops is a part of the jitter.
    return this.#syncErrorNs + this.#jitterNs + 1 + values[NOTICED] +
      (values[PASSED] - values[SYNCED]) * NS_PER_S * this.#growth;
  }

  #parts(): BoundPart[] {
    const values = this.#values;
    return [
      { name: "sync", ns: this.#syncErrorNs, meaning: "How wrong a sync may be" },
      { name: "jitter", ns: this.#jitterNs + 1, meaning: "How uneven a reading is" },
      { name: "jumps", ns: values[NOTICED], meaning: "How far the clock was set since" },
      {
        name: "growth",
        ns: (values[PASSED] - values[SYNCED]) * NS_PER_S * this.#growth,
        meaning: "How much it may have run fast or slow since",
      },
    ];
  }

  #reason(): string {
    if (this.#isClosed) return "it is closed";
    return this.#isLost ? "its device is gone" : "its last sync is too long ago";
  }

  #wait(events: SimulatedEvents): number {
    return events.everyS * (1 + this.#uniform());
  }

  /** A number of chance, −1 to below 1: a counter whose bits are mixed (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014). */
  #uniform(): number {
    const random = this.#random;
    random[0] += 0x9e37_79b9;
    let mixed = random[0];
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    mixed ^= mixed >>> 15;
    return mixed / 2 ** 31;
  }
}
