/**
 * A source of time for millions of readings a second: a page of shared memory that a thread refreshes.
 *
 * ```text
 * bound = the source's bound + its growth since it was asked + half the time for which a page's time is good
 * ```
 *
 * A time from the page was right at some moment since the last tick; which one, its reader does not know. So the page gives the middle
 * of that while, and half its length is a part of the bound.
 *
 * A reader copies a tick once, and hands out the copy until there is another. It sees that by a plain load of the page's counter, which
 * may be late, and by an atomic one with each 32nd reading, which is not: so a thread that does nothing but read sees time go on.
 *
 * A reader does not see by itself that the ticker's thread was kept waiting or has died. So it looks at the page's age against the
 * steady counter whenever there is a new tick, and with each 32nd reading, and goes to the source while the page is older than it promises.
 * Of a reader that reads without pause, at most 31 readings in a row can be older than their bound says, after a pause of all
 * threads (a stopped process, a sleeping machine) that began just behind such a look.
 *
 * The ticker rests, and readings go to the source, until somebody reads more than about a million times a second: for less, waking
 * a thread some hundred times a second costs more than it saves.
 *
 * Where there is no ticker to be had (no FFI: no counter that is the same in all threads; no permission to load a worker; a thread that
 * dies) every reading goes to the source, and the status says why.
 *
 * Cost: 5 to 8 ns a reading from the page, a fifth of it for the looks; some 10 ns more than the source's while the ticker rests. To wake takes
 * 40 µs of a virtual machine's core, whatever one waits with: 1.3 % of it each 3 ms, 4 % each 1 ms, and nothing while it rests. Its
 * thread takes 20 MB.
 * In a program that reads the clock once in a while, the source itself is the better clock.
 */
import { clearInterval, setInterval } from "node:timers";
import { checkKeys, checkNumber, MmsbError } from "../../base/mod.ts";
import { TickerThread } from "./_ticker_thread.ts";
import {
  NO_TICK,
  OVER,
  RESTING,
  RUNNING,
  S_ERROR_NS,
  S_GOOD_NS,
  S_NANOSECONDS,
  S_SECONDS,
  S_UNTIL_NS,
  S_US,
  SIGHT_DOUBLES,
  TimePage,
  W_ALIVE,
  W_READS,
  W_STATE,
  W_SYNCED,
  W_TICK,
} from "./_time_page.ts";
import {
  type BoundPart,
  type ClockKind,
  ClockReading,
  type ClockSource,
  type ClockStatus,
} from "./clock_source.ts";
import { systemCalls, systemCallsMissing, SystemSteadyCounter } from "./system_calls.ts";

/** Readings after which the page's age is looked at, if there was no new tick before. */
const READS_PER_LOOK = 32;
/** No tick has this number: what a reader trusts while it goes to the source. */
const TRUSTS_NONE = -2;
/** How old an anchor may be before a check of the owner renews it, and how often a timer does, in ms. */
const ANCHOR_NS = 10_000_000, ANCHOR_TIMER_MS = 250;
/** A ticker is wanted when so many readings of the source took less than so long: 1 µs each. */
const HOT_READS = 1024, HOT_NS = 1_024_000;

// Places of the numbers.
/** The steady counter at the last anchor. */
const ANCHORED = 1;
/** Readings of the source since the moment of the next place. */
const DIRECT = 2, DIRECT_SINCE = 3;
/** Counts: readings from the page since it was last told, and all; late pages; readings of the source. */
const UNTOLD = 4, FROM_PAGE = 5, LATE = 6, FROM_SOURCE = 7;

/** Options of {@linkcode CachedClock}. */
export interface CachedClockOptions {
  /** Milliseconds from tick to tick, 0.1 to 1,000. Default 3. */
  readonly refreshMs?: number;
}

/**
 * A page of time over another source. It starts and closes the source with itself.
 *
 * @example Millions of timestamps a second
 * ```ts
 * import { ok } from "node:assert/strict";
 * import { HybridLogicalClock } from "../hlc.ts";
 * import { SystemClock } from "./system_clock.ts";
 *
 * const cached = new CachedClock(new SystemClock());
 * await cached.start();
 * const clock = new HybridLogicalClock({ nowUs: () => cached.nowUs() });
 * const first = clock.nowBigint();
 *
 * ok(clock.nowBigint() > first);
 * await cached.close();
 * ```
 */
export class CachedClock implements ClockSource {
  /** Its name: `cached`, and the source's. */
  readonly name: string;
  /** The source's kind. */
  readonly kind: ClockKind;
  readonly #source: ClockSource | undefined;
  readonly #page: TimePage | undefined;
  readonly #words: Int32Array;
  readonly #steady: SystemSteadyCounter;
  readonly #reading = new ClockReading();
  readonly #values = new Float64Array(8);
  readonly #line = new Float64Array(2);
  /** A copy of the tick that is trusted. */
  readonly #seen = new Float64Array(SIGHT_DOUBLES);
  /** That tick; the one that was looked at last; and how many readings may go on without a look. */
  #tick = TRUSTS_NONE;
  #looked = TRUSTS_NONE;
  #left = 0;
  /** Why there is no page. */
  readonly #missing: string | undefined;
  #ticker: TickerThread | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #started: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Wraps a source; nothing runs before {@linkcode CachedClock.start}.
   *
   * @param source Where time comes from.
   * @param options How often the page is refreshed.
   * @throws {MmsbError} `usage` if an option is unknown or no number, `out-of-bounds` if it is out of range.
   */
  constructor(source: ClockSource, options: CachedClockOptions = {}) {
    checkKeys("CachedClock", options, ["refreshMs"]);
    const refreshMs = checkNumber("refreshMs", options.refreshMs ?? 3, 0.1, 1000);
    if (source instanceof AttachedPage) {
      // Another thread's page: there is no source here.
      this.#source = undefined;
      this.#page = source.page;
      this.name = source.name;
      this.kind = source.page.kind;
      this.#steady = new SystemSteadyCounter(systemCalls() ?? null, source.page.originS);
    } else {
      requireSource(source);
      this.#source = source;
      this.name = `cached ${source.name}`;
      this.kind = source.kind;
      this.#steady = new SystemSteadyCounter();
      const { originS } = this.#steady;
      this.#page = originS === undefined ? undefined : TimePage.make(originS, refreshMs, this.kind);
      if (this.#page === undefined) this.#missing = systemCallsMissing() ?? "there is no FFI";
    }
    this.#words = this.#page?.words ?? new Int32Array(8).fill(NO_TICK);
  }

  /**
   * Reads another thread's page. The clock that is made reads, and does nothing else: it is started, synced and closed where the page is.
   *
   * @param memory What the other thread's {@linkcode CachedClock.share} gave.
   * @returns A clock over the same page.
   * @throws {MmsbError} `usage` if it is no time page, `clock` if this thread has no FFI and so no counter to see the page's age by.
   */
  static attach(memory: SharedArrayBuffer): CachedClock {
    if (!TimePage.isPage(memory)) {
      throw new MmsbError(
        "usage",
        "Cannot attach to this memory as it is no time page: give what share() of a CachedClock gave",
      );
    }
    const missing = systemCallsMissing();
    if (missing !== undefined) {
      throw new MmsbError("clock", `Cannot see how old a page of time is, because ${missing}`);
    }
    return new CachedClock(new AttachedPage(new TimePage(memory)) as unknown as ClockSource);
  }

  /** Whether somebody vouches for the source's time. */
  get isSynchronised(): boolean {
    if (this.#source !== undefined) return !this.#isClosed && this.#source.isSynchronised;
    return !this.#isClosed && Atomics.load(this.#words, W_SYNCED) === 1;
  }

  /** Reads time and bound; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    if (this.#words[W_TICK] !== this.#tick || this.#left-- <= 0) {
      if (!this.#look()) return this.#readSource(out);
    }
    const seen = this.#seen;
    out.set(seen[S_SECONDS], seen[S_NANOSECONDS], seen[S_ERROR_NS]);
  }

  /** The time in µs; see {@linkcode ClockSource.nowUs}. */
  nowUs(): number {
    // Not an atomic load: what is trusted was copied behind one, and this only says that there is more to see.
    if (this.#words[W_TICK] !== this.#tick || this.#left-- <= 0) {
      // The sign tells the compiler that this is a number, too: else it allocates one for each result.
      if (!this.#look()) return +this.#sourceUs();
    }
    return this.#seen[S_US];
  }

  /** The bound in µs; see {@linkcode ClockSource.errorUs}. */
  errorUs(): number {
    this.read(this.#reading);
    return this.#reading.errorNs / 1e3;
  }

  /** Starts the source and the ticker; see {@linkcode ClockSource.start}. */
  start(): Promise<void> {
    return this.#started ??= this.#start();
  }

  /**
   * Syncs the source; see {@linkcode ClockSource.sync}.
   *
   * @throws {MmsbError} As the source does; `closed` where the page is another thread's, or closed.
   */
  async sync(): Promise<void> {
    if (this.#source === undefined || this.#isClosed) {
      throw new MmsbError(
        "closed",
        "Cannot sync the cached clock as its source is closed or in another thread: sync it there",
      );
    }
    await this.#source.sync();
    this.#anchor();
  }

  /**
   * The page, for other threads.
   *
   * @returns Memory to be posted to a worker, which calls {@linkcode CachedClock.attach} with it.
   * @throws {MmsbError} `clock` if there is no page here: without FFI threads have no counter in common.
   */
  share(): SharedArrayBuffer {
    if (this.#page !== undefined) return this.#page.memory;
    throw new MmsbError("clock", `Cannot share a page of time, because ${this.#missing}`);
  }

  /** How the clock is doing; see {@linkcode ClockSource.status}. */
  status(): ClockStatus {
    const reading = this.#reading;
    this.read(reading);
    const { ns: nowNs, errorNs } = reading;
    const source = this.#source?.status();
    const reason = this.#isClosed ? "it is closed" : source?.reason ?? "its source is not";
    const { synchronised } = source ?? { synchronised: this.isSynchronised };
    const isGood = synchronised && !this.#isClosed && errorNs < Infinity;
    return {
      name: this.name,
      kind: this.kind,
      synchronised: isGood,
      ...(isGood ? {} : { reason }),
      nowNs,
      errorNs,
      bound: this.#bound(errorNs),
      offsetNs: source?.offsetNs ?? NaN,
      driftPpm: source?.driftPpm ?? NaN,
      lastSyncAgeS: source?.lastSyncAgeS ?? Infinity,
      syncs: source?.syncs ?? 0,
      failures: source?.failures ?? 0,
      details: this.#details(),
    };
  }

  /** Ends the ticker and closes the source; see {@linkcode ClockSource.close}. An attached clock only stops reading. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  get #isClosed(): boolean {
    return this.#closing !== undefined || Atomics.load(this.#words, W_STATE) === OVER;
  }

  /** Looks at the page's last tick and its age; gives whether the next readings may go on with the copy of it. */
  #look(): boolean {
    const tick = Atomics.load(this.#words, W_TICK);
    if (this.#tick === TRUSTS_NONE && tick === this.#looked && this.#left-- > 0) return false;
    const now = this.#steady.nowNs();
    // Nothing new, and still good: nearly all looks of those who read without pause.
    if (tick !== this.#tick || now > this.#seen[S_UNTIL_NS]) return this.#see(tick, now);
    this.#values[UNTOLD] += READS_PER_LOOK;
    this.#left = READS_PER_LOOK - 1;
    return true;
  }

  /** Copies a tick, if it is one to trust. */
  #see(tick: number, now: number): boolean {
    const values = this.#values;
    const page = this.#page;
    if (this.#tick !== TRUSTS_NONE) values[UNTOLD] += READS_PER_LOOK - Math.max(this.#left, 0);
    const isNew = tick !== this.#looked;
    this.#looked = tick;
    this.#left = READS_PER_LOOK - 1;
    this.#tick = TRUSTS_NONE;
    if (page === undefined || this.#isClosed) return false;
    if (this.#source !== undefined && !(now - values[ANCHORED] < ANCHOR_NS)) this.#anchor();
    if (isNew) this.#tell();
    if (page.see(tick, now, this.#seen)) {
      this.#tick = tick;
      return true;
    }
    if (Atomics.load(this.#words, W_STATE) === RUNNING) values[LATE]++;
    return false;
  }

  /** Tells the ticker that the page is read. */
  #tell(): void {
    const values = this.#values;
    if (values[UNTOLD] === 0) return;
    values[FROM_PAGE] += values[UNTOLD];
    Atomics.add(this.#words, W_READS, values[UNTOLD]);
    values[UNTOLD] = 0;
  }

  #readSource(out: ClockReading): void {
    this.#countSource();
    if (this.#source !== undefined && this.#closing === undefined) return this.#source.read(out);
    const us = this.#lineUs();
    const seconds = Math.floor(us / 1e6);
    out.set(seconds, Math.floor((us - seconds * 1e6) * 1e3), this.#line[1] * 1e3);
  }

  #sourceUs(): number {
    this.#countSource();
    const isOpen = this.#source !== undefined && this.#closing === undefined;
    return isOpen ? this.#source!.nowUs() : this.#lineUs();
  }

  /** What the anchor makes of now; the bound is left in `#line`. */
  #lineUs(): number {
    const line = this.#line;
    line[1] = Infinity;
    if (this.#page === undefined) this.#source!.read(this.#reading);
    else this.#page.line(this.#steady.nowNs(), line);
    if (this.#closing !== undefined) line[1] = Infinity;
    return this.#page === undefined ? this.#reading.us : line[0];
  }

  /** Notes that a reading went to the source, and wakes the ticker where that happens often. */
  #countSource(): void {
    const values = this.#values;
    values[FROM_SOURCE]++;
    if (++values[DIRECT] < HOT_READS) return;
    const now = this.#steady.nowNs();
    if (now - values[DIRECT_SINCE] < HOT_NS && Atomics.load(this.#words, W_ALIVE) === 1) {
      if (Atomics.compareExchange(this.#words, W_STATE, RESTING, RUNNING) === RESTING) {
        Atomics.notify(this.#words, W_STATE);
      }
    }
    values[DIRECT] = 0;
    values[DIRECT_SINCE] = now;
  }

  /** Notes for the ticker and other threads what the source says now. */
  #anchor(): void {
    const source = this.#source!;
    if (this.#page === undefined || this.#closing !== undefined) return;
    const reading = this.#reading;
    const before = this.#steady.nowNs();
    source.read(reading);
    const after = this.#steady.nowNs();
    // The time was read at some moment between the two, so half of that while is a part of the bound; and the step of a µs.
    const errorUs = (reading.errorNs + (after - before) / 2) / 1e3 + 0.5;
    this.#page.anchor((before + after) / 2, reading.us, errorUs, source.isSynchronised);
    this.#values[ANCHORED] = after;
  }

  async #start(): Promise<void> {
    if (this.#source === undefined || this.#closing !== undefined) return;
    await this.#source.start();
    if (this.#page === undefined || this.#closing !== undefined) return;
    this.#anchor();
    this.#timer = setInterval(() => this.#anchor(), ANCHOR_TIMER_MS).unref();
    this.#ticker = new TickerThread(this.#page);
    await this.#ticker.answered;
  }

  async #close(): Promise<void> {
    // An attached clock leaves the page to its owner.
    if (this.#source === undefined) return;
    clearInterval(this.#timer);
    Atomics.store(this.#words, W_STATE, OVER);
    Atomics.notify(this.#words, W_STATE);
    await this.#ticker?.gone();
    Atomics.store(this.#words, W_TICK, NO_TICK);
    await this.#source.close();
  }

  #bound(errorNs: number): BoundPart[] {
    if (errorNs === Infinity) return [];
    const isFromPage = this.#tick !== TRUSTS_NONE;
    const staleNs = isFromPage ? Math.min(this.#seen[S_GOOD_NS] / 2, errorNs) : 0;
    return [
      {
        name: `bound of ${this.#source?.name ?? "the source"}`,
        ns: errorNs - staleNs,
        meaning:
          "How wrong the time was when the source was asked, and what it may have run off since",
      },
      {
        name: "age of the page",
        ns: staleNs,
        meaning: "The page is refreshed now and then; a reader comes at some moment in between",
      },
    ];
  }

  #details(): Record<string, string | number | boolean> {
    const values = this.#values;
    const missing = this.#missing ?? this.#ticker?.missing;
    const state = this.#isClosed
      ? "closed"
      : missing !== undefined
      ? `none, because ${missing}`
      : Atomics.load(this.#words, W_ALIVE) !== 1
      ? "not started"
      : Atomics.load(this.#words, W_STATE) === RUNNING
      ? "running"
      : "resting, as few read the clock";
    return {
      ticker: state,
      refreshMs: this.#page?.refreshMs ?? 0,
      readsFromPage: values[FROM_PAGE] + values[UNTOLD],
      readsFromSource: values[FROM_SOURCE],
      latePages: values[LATE],
    };
  }
}

/** What `attach` hands to the constructor in place of a source. */
class AttachedPage {
  readonly name = "cached page of another thread";
  readonly page: TimePage;

  constructor(page: TimePage) {
    this.page = page;
  }
}

function requireSource(source: ClockSource): void {
  if (typeof source?.read === "function" && typeof source.nowUs === "function") return;
  throw new MmsbError("usage", "Cannot cache this as it is no source of time: give a ClockSource");
}
