/**
 * Time from NTP servers, asked by this process itself: the Simple Network Time Protocol of RFC 4330 with the checks, the
 * filter, the intersection and the poll intervals of RFC 5905. It never touches the system's clock.
 *
 * What a sync does: a short burst of questions to each server ({@linkcode SntpServer}), an interval for each server from
 * what its answers have in common ({@linkcode ClockFilter}), the interval where a majority of servers agrees
 * (`intersect`). Its middle is the time, half its width the bound. From then on time runs along a line over the
 * steady counter ({@linkcode ClockLine}) whose rate is measured, and the bound grows by what the rate may be wrong by.
 *
 * The bound is honest if a majority of the servers is within what it states itself, however asymmetric the paths are: it
 * makes no guess about how the round trip divides into the way there and the way back.
 *
 * Cost: a reading is one of the counter and some multiplications. A sync takes a round trip and 3 gaps of 8 ms, on a short way some ms.
 */
import { MmsbError } from "../../base/errors.ts";
import { boundParts, partsOf, type SntpBoundParts } from "./_sntp_bound.ts";
import { SntpServer } from "./_sntp_server.ts";
import { serverStatus } from "./_sntp_server_text.ts";
import { agree, announcedLeap } from "./_sntp_vote.ts";
import { SntpWatch } from "./_sntp_watch.ts";
import {
  type BoundPart,
  type ClockKind,
  ClockReading,
  type ClockSource,
  type ClockStatus,
  type SteadyCounter,
} from "./clock_source.ts";
import type { FilterRate } from "./clock_filter.ts";
import { ClockLine } from "./clock_line.ts";
import { PollInterval, rateOf } from "./discipline.ts";
import { type SntpClockOptions, type SntpClockSettings, sntpSettings } from "./sntp_options.ts";
import type { SntpServerStatus } from "./sntp_server_status.ts";
import { type SntpSurroundings, surroundingsOf } from "./sntp_surroundings.ts";

/** Failed syncs in a row after which nobody vouches for the time: RFC 5905's reach register is empty then. */
const FAILURES_MAX = 8;

/** When a majority has answered, the others get twice as long as it took, and at least this. */
const LATE_MS_MIN = 100;

const DAY_S = 86_400;

/** Pairs of readings of both clocks of which the narrowest counts. */
const PAIR_TRIES = 4;

/** Offsets further than this from zero are counted from another second, so that they are exact. */
const OFFSET_NS_MAX = 1e9;

/**
 * Time from NTP servers; see {@linkcode ClockSource} for what each member does.
 *
 * @example A server that does not answer
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const clock = new SntpClock({ servers: ["127.0.0.1:9"], timeoutMs: 20 });
 * await clock.start(); // never rejects: what is known now is in the status
 *
 * equal(clock.isSynchronised, false);
 * equal(clock.errorUs(), Infinity);
 * equal(clock.servers()[0].state, "silent");
 * await clock.close();
 * ```
 */
export class SntpClock implements ClockSource {
  /** Its name. */
  readonly name: string;
  /** Always `sntp`. */
  readonly kind: ClockKind = "sntp";
  readonly #settings: SntpClockSettings;
  readonly #servers: readonly SntpServer[];
  readonly #counter: SteadyCounter;
  readonly #around: Required<SntpSurroundings>;
  readonly #line = new ClockLine();
  readonly #reading = new ClockReading();
  readonly #poll: PollInterval;
  readonly #closing = new AbortController();
  readonly #watch: SntpWatch;
  /** Seconds since 1970 at the counter's zero, whole. */
  #epochS: number;
  #rate: FilterRate;
  #parts: SntpBoundParts | undefined;
  #syncing: Promise<void> | undefined;
  #starting: Promise<void> | undefined;
  #polling: Promise<void> | undefined;
  #syncs = 0;
  #failures = 0;
  #failuresInRow = 0;
  #restarts = 0;
  #lastStepNs = NaN;
  #lastSyncMs = NaN;
  #lastFailure = "it has not been asked yet";

  /**
   * Opens nothing yet: {@linkcode SntpClock.start} or {@linkcode SntpClock.sync} do.
   *
   * @param options Whom to ask, and how.
   * @param surroundings What a test gives in place of the real clock and network.
   * @throws {MmsbError} `usage` if an option is wrong or no server is named, `limit` if they are too many.
   */
  constructor(options: SntpClockOptions, surroundings: SntpSurroundings = {}) {
    const settings = this.#settings = sntpSettings(options);
    this.name = settings.name;
    this.#servers = settings.servers.map(({ host, port }) => new SntpServer(host, port));
    const around = this.#around = surroundingsOf(surroundings);
    this.#watch = new SntpWatch(around.wallMs, around.countsSleep);
    const counter = this.#counter = around.counter;
    this.#poll = new PollInterval(settings.pollMinS, settings.pollMaxS);
    this.#rate = { ratePpm: 0, growthPpm: settings.unknownDriftPpm };
    const steadyNs = counter.nowNs();
    const wallNs = this.#around.wallMs() * 1e6 - steadyNs;
    this.#epochS = Math.floor(wallNs / 1e9);
    this.#set(steadyNs, wallNs - this.#epochS * 1e9, Infinity);
  }

  /** Whether a majority of servers vouches for its time. */
  get isSynchronised(): boolean {
    const ageNs = this.#counter.nowNs() - this.#line.steadyNs;
    return this.#line.isSet && this.#failuresInRow < FAILURES_MAX &&
      ageNs < FAILURES_MAX * this.#settings.pollMaxS * 1e9;
  }

  /** Reads time and bound; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    const steadyNs = this.#counter.nowNs();
    this.#line.read(steadyNs, out);
    this.#watch.widen(steadyNs, out);
  }

  /** The time in µs; see {@linkcode ClockSource.nowUs}. */
  nowUs(): number {
    this.read(this.#reading);
    return this.#reading.us;
  }

  /** The bound in µs; see {@linkcode ClockSource.errorUs}. */
  errorUs(): number {
    this.read(this.#reading);
    return this.#reading.errorNs / 1000;
  }

  /** Syncs now, and again and again; see {@linkcode ClockSource.start}. */
  start(): Promise<void> {
    return this.#starting ??= this.sync().catch(() => {}).then(() => {
      this.#polling = this.#keep();
    });
  }

  /** Asks all servers once; see {@linkcode ClockSource.sync}. */
  sync(): Promise<void> {
    return this.#syncing ??= this.#sync().finally(() => this.#syncing = undefined);
  }

  /** How each server does. */
  servers(): readonly SntpServerStatus[] {
    return this.#servers.map((server) => serverStatus(server, this.#offsetOf(server)));
  }

  /** How it does; see {@linkcode ClockSource.status}. */
  status(): ClockStatus {
    const steadyNs = this.#counter.nowNs();
    const reading = new ClockReading();
    this.read(reading);
    const ageNs = Math.abs(steadyNs - this.#line.steadyNs);
    const synchronised = this.isSynchronised;
    const hasTime = this.#line.isSet && this.#parts !== undefined;
    return {
      name: this.name,
      kind: this.kind,
      synchronised,
      ...(synchronised
        ? {}
        : { reason: this.#closing.signal.aborted ? "it is closed" : this.#lastFailure }),
      nowNs: reading.ns,
      errorNs: reading.errorNs,
      bound: hasTime && this.#parts !== undefined ? this.#bound(this.#parts, reading.errorNs) : [],
      offsetNs: hasTime ? this.#offsetNs() : NaN,
      driftPpm: this.#rate.growthPpm < this.#settings.unknownDriftPpm ? -this.#rate.ratePpm : NaN,
      lastSyncAgeS: this.#syncs === 0 ? Infinity : ageNs / 1e9,
      syncs: this.#syncs,
      failures: this.#failures,
      servers: this.servers(),
      details: this.#details(),
    };
  }

  /** Ends all questions and the timer; see {@linkcode ClockSource.close}. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#line.clear();
    await this.#syncing?.catch(() => {});
    await this.#starting;
    await this.#polling;
    this.#line.clear();
  }

  /** Steps of the own counter, and of whole ns. */
  get #ownNs(): number {
    return this.#around.counterStepNs + 1;
  }

  #bound(parts: SntpBoundParts, errorNs: number): readonly BoundPart[] {
    const { path, rootDelay, rootDispersion, precision, age } = parts;
    const told = path + rootDelay + rootDispersion + precision + age + this.#ownNs;
    return boundParts(parts, this.#ownNs, Math.max(0, errorNs - told));
  }

  /** Its time less the system's: both are read between two counts that are close together. */
  #offsetNs(): number {
    const reading = this.#reading;
    let narrowest = Infinity, offsetNs = NaN;
    for (let tries = 0; tries < PAIR_TRIES; tries++) {
      const before = this.#counter.nowNs();
      const wallMs = this.#around.wallMs();
      const width = this.#counter.nowNs() - before;
      if (width >= narrowest) continue;
      narrowest = width;
      this.#line.read(before + width / 2, reading);
      const wallS = Math.floor(wallMs / 1e3);
      offsetNs = (reading.seconds - wallS) * 1e9 + reading.nanoseconds -
        (wallMs - wallS * 1e3) * 1e6;
    }
    return Math.round(offsetNs);
  }

  /** Syncs as long as the source is open. The waiting does not keep the process alive. */
  async #keep(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#around.sleep(this.#untilNextS() * 1000, signal, true);
      if (!signal.aborted) await this.sync().catch(() => {});
    }
  }

  /** Until the next sync: where a leap second is announced, no later than just behind it, as it moves the servers' time. */
  #untilNextS(): number {
    const pollS = this.#poll.seconds;
    if (announcedLeap(this.#servers) === 0) return pollS;
    this.read(this.#reading);
    const untilMidnightS = DAY_S - this.#reading.seconds % DAY_S;
    return Math.min(pollS, untilMidnightS + 1);
  }

  async #sync(): Promise<void> {
    if (this.#closing.signal.aborted) {
      throw new MmsbError("closed", `Cannot sync ${this.name} as it is closed: open another`);
    }
    const beganNs = this.#counter.nowNs();
    try {
      await this.#askAll();
      if (this.#closing.signal.aborted) throw this.#failure("the source was closed");
      this.#take();
    } catch (error) {
      this.#failures++;
      this.#failuresInRow++;
      this.#poll.failed();
      throw error;
    }
    this.#lastSyncMs = (this.#counter.nowNs() - beganNs) / 1e6;
    this.#syncs++;
    this.#failuresInRow = 0;
  }

  /** Asks all servers side by side; those that are late when a majority has answered are given up. */
  async #askAll(): Promise<void> {
    const late = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, late.signal]);
    const beganNs = this.#counter.nowNs();
    const majority = Math.floor(this.#servers.length / 2) + 1;
    let answered = 0;
    let isDone = false;
    const bursts = this.#servers.map(async (server) => {
      const samples = await server.burst(this.#burst(signal));
      if (samples.length === 0) return;
      const reason = server.filter.add(samples, this.#rate);
      if (reason !== undefined) {
        server.state = "refused";
        server.reason = reason;
        return;
      }
      if (++answered !== majority) return;
      const ms = (this.#counter.nowNs() - beganNs) / 1e6;
      this.#around.sleep(Math.max(LATE_MS_MIN, 2 * ms), signal, false).then(() =>
        isDone || late.abort()
      );
    });
    await Promise.all(bursts);
    isDone = true;
    late.abort(); // ends the sleep
  }

  #burst(signal: AbortSignal): Parameters<SntpServer["burst"]>[0] {
    const { samples, gapMs, timeoutMs, rootDistanceMsMax } = this.#settings;
    return {
      samples,
      gapMs,
      timeoutMs,
      epochS: this.#epochS,
      counterStepNs: this.#around.counterStepNs,
      rootDistanceNsMax: rootDistanceMsMax * 1e6,
      transport: this.#around.transport,
      random: this.#around.random,
      sleep: this.#around.sleep,
      nowNs: () => this.#counter.nowNs(),
      signal,
    };
  }

  /** Makes the time of what the servers have said. */
  #take(): void {
    const steadyNs = this.#counter.nowNs();
    if (!this.#servers.some(({ reach }) => (reach & 1) === 1)) {
      throw this.#failure("no usable answer");
    }
    const before = this.#rate;
    this.#rate = this.#measuredRate();
    const found = agree(this.#servers, steadyNs, this.#rate);
    if (found === undefined) {
      this.#rate = before;
      throw this.#failure("no majority of the servers agrees");
    }
    const middleNs = (found.low.ns + found.high.ns) / 2;
    const halfNs = (found.high.ns - found.low.ns) / 2;
    this.#parts = partsOf(found);
    const hadTime = this.#line.isSet;
    this.#line.read(steadyNs, this.#reading);
    const { seconds, nanoseconds, errorNs } = this.#reading;
    this.#set(steadyNs, middleNs, halfNs + this.#ownNs);
    this.#line.read(steadyNs, this.#reading);
    const stepNs = (this.#reading.seconds - seconds) * 1e9 + this.#reading.nanoseconds -
      nanoseconds;
    this.#lastStepNs = hadTime ? stepNs : NaN;
    if (hadTime) this.#judgeStep(stepNs, errorNs + halfNs);
    this.#watch.synced(steadyNs, this.#reading.seconds, announcedLeap(this.#servers) !== 0);
    this.#recount(middleNs);
  }

  /** The rate that the servers in the majority show; at the first sync none is known. */
  #measuredRate(): FilterRate {
    const fits = this.#servers.map(({ filter, state }) =>
      state === "falseticker" ? undefined : filter.fit
    );
    return rateOf(fits, this.#settings.unknownDriftPpm);
  }

  #set(steadyNs: number, offsetNs: number, errorNs: number): void {
    const ns = steadyNs + offsetNs;
    const carry = Math.floor(ns / 1e9);
    this.#line.set({
      steadyNs,
      seconds: this.#epochS + carry,
      nanoseconds: ns - carry * 1e9,
      errorNs,
      ...this.#rate,
    });
  }

  /** Whether the new time is what the old one foretold: else the machine was suspended, or a clock was set. */
  #judgeStep(stepNs: number, possibleNs: number): void {
    const jitterNs = Math.max(...this.#servers.map(({ filter }) => filter.jitterNs));
    if (Math.abs(stepNs) > possibleNs) {
      this.#restarts++;
      this.#poll.restart();
    } else this.#poll.synced(stepNs, Math.max(4 * jitterNs, this.#ownNs * 100));
  }

  /** Keeps offsets small. */
  #recount(offsetNs: number): void {
    if (Math.abs(offsetNs) <= OFFSET_NS_MAX) return;
    const seconds = Math.floor(offsetNs / 1e9);
    this.#epochS += seconds;
    for (const { filter } of this.#servers) filter.shift(-seconds * 1e9);
  }

  #failure(what: string): MmsbError {
    const reasons = this.#servers
      .map((server) => `${server.name}: ${server.reason || "it answered"}`).join("; ");
    this.#lastFailure = `${what} (${reasons})`;
    return new MmsbError(
      "clock",
      `Cannot take the time from ${this.name} as there is ${what} (${reasons}): check the servers and the network`,
      { values: { source: this.name, servers: this.servers() } },
    );
  }

  /** A server's time less this clock's. */
  #offsetOf({ filter }: SntpServer): number {
    const steadyNs = this.#counter.nowNs();
    const interval = filter.interval(steadyNs, this.#rate);
    if (interval === undefined || !this.#line.isSet) return NaN;
    this.#line.read(steadyNs, this.#reading);
    const { seconds, nanoseconds } = this.#reading;
    const ownNs = (seconds - this.#epochS) * 1e9 + nanoseconds - steadyNs;
    return (interval.low.ns + interval.high.ns) / 2 - ownNs;
  }

  #details(): ClockStatus["details"] {
    return {
      selected: this.#servers.filter(({ state }) => state === "selected").length,
      pollS: this.#poll.seconds,
      rateUncertaintyPpm: this.#rate.growthPpm,
      lastStepNs: this.#lastStepNs,
      lastSyncMs: this.#lastSyncMs,
      leap: ["none", "one second more", "one second less"][announcedLeap(this.#servers)],
      restarts: this.#restarts,
    };
  }
}
