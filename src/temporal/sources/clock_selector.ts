/**
 * Selector: several sources of time as one, from the best of them at any moment.
 *
 * The chain is hardware clock → daemon → SNTP → system. Of those that somebody vouches for, and that most
 * others do not contradict, the one with the smallest bound gives the time. It stays while it is good, until another is
 * clearly better for a while, so that time does not step to and fro between equals. A source that is lost is left
 * at the next look, and preferred again when it has been good for a while.
 *
 * When the selection changes, time steps by the difference of two sources, at most the sum of their bounds if both
 * are honest. A hybrid logical clock on top stays strictly increasing.
 *
 * Looks at the sources are made by a timer, or by hand. A reading between two looks asks the selected source only: if
 * that one loses its time, its own bound says so at once.
 *
 * Cost: a reading is one field and one call more than the source's own; a look reads each source once, some µs.
 */
import { checkType, MmsbError } from "../../base/mod.ts";
import type { ClockEventStream } from "./clock_event.ts";
import type {
  ClockSelectorOpenOptions,
  ClockSelectorOptions,
  RepeatingTimer,
  SelectorStatus,
  SourceStanding,
} from "./clock_selector_status.ts";
import type { ClockKind, ClockReading, ClockSource, SteadyCounter } from "./clock_source.ts";
import { runtimeNowUs } from "./_platform.ts";
import { MachineChain } from "./_selector_chain.ts";
import { SelectorNews } from "./_selector_news.ts";
import { checkOpenOptions, checkOptions } from "./_selector_options.ts";
import { SelectionRule } from "./_selector_rule.ts";
import { offsetBetween, Sight } from "./_selector_sight.ts";
import { standingOf, statusOf, whyBad } from "./_selector_words.ts";

/**
 * Several sources of time as one.
 *
 * @example The system's clock alone
 * ```ts
 * import { equal } from "node:assert/strict";
 * import { ClockSelector, SystemClock } from "@mmsb/mmsb";
 *
 * await using clock = new ClockSelector({ sources: [new SystemClock()] });
 * await clock.start();
 *
 * equal(clock.selected, "system");
 * const { errorNs, bound } = clock.status();
 * equal(bound.reduce((sum, { ns }) => sum + ns, 0), errorNs);
 * ```
 */
export class ClockSelector implements ClockSource, AsyncDisposable {
  /** Always `selector`; {@linkcode ClockSelector.selected} names the source. */
  readonly name = "selector";
  /** The source that is read. */
  #active: ClockSource;
  readonly #sights: Sight[];
  readonly #rule: SelectionRule;
  readonly #steady: SteadyCounter;
  readonly #timer: RepeatingTimer;
  readonly #checkMs: number;
  readonly #startMsMax: number;
  #notes: readonly string[];
  /** Where sources come from that appear later; none where the sources were given. */
  #chain: MachineChain | undefined;
  #findMs = 0;
  #stopFinding: (() => void) | undefined;
  #finding: Promise<void> | undefined;
  readonly #news: SelectorNews;
  #stopTimer: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  #starting: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Makes a selector, which owns its sources from now on, and chooses among them as they are. Nothing is started.
   *
   * @param options The sources and the rule.
   * @throws {MmsbError} `usage`, `out-of-bounds` or `limit` for wrong options.
   */
  constructor(options: ClockSelectorOptions) {
    const { sources, notes, checkMs, startMsMax, rule, steady, timer } = checkOptions(options);
    this.#sights = sources.map((source) => new Sight(source));
    this.#notes = notes;
    this.#checkMs = checkMs;
    this.#startMsMax = startMsMax;
    this.#rule = new SelectionRule(this.#sights.length, rule);
    this.#news = new SelectorNews(this.#sights, this.#rule);
    this.#steady = steady;
    this.#timer = timer;
    this.#active = this.#sights[0].source;
    this.#look(true);
  }

  /**
   * Opens a selector over what this machine has, and starts it. What could not be had stands in `status().notes`;
   * no permission is asked for at a prompt.
   *
   * @param options Sources or servers, and the rule.
   * @returns The selector, after the first syncs.
   * @throws {MmsbError} `usage`, `out-of-bounds` or `limit` for wrong options; `clock` if nothing is there of the `kinds`
   * named, which cannot be where `system` is among them.
   *
   * @example The clock of this machine
   * ```ts
   * import { ok } from "node:assert/strict";
   * import { ClockSelector } from "@mmsb/mmsb";
   *
   * await using clock = await ClockSelector.open();
   *
   * ok(clock.nowUs() > 1.7e15);
   * ok(clock.errorUs() > 0);
   * ```
   */
  static async open(options: ClockSelectorOpenOptions = {}): Promise<ClockSelector> {
    const { settings, sources, machine, findMs } = checkOpenOptions(options);
    if (sources !== undefined) return await new ClockSelector({ ...settings, sources }).#opened();
    const chain = new MachineChain(machine);
    const found = await chain.first(), { notes } = chain;
    if (found.length === 0) {
      throw new MmsbError(
        "clock",
        `Cannot open a clock as there is no source of these kinds: ${notes.join("; ")}`,
        { values: { kinds: machine.kinds, notes } },
      );
    }
    const selector = new ClockSelector({ ...settings, sources: found, notes });
    selector.#chain = chain;
    selector.#findMs = findMs;
    return await selector.#opened();
  }

  async #opened(): Promise<this> {
    await this.start();
    // Nobody has read it yet, so no time has stepped.
    this.#news.forget();
    return this;
  }

  /** Kind of the selected source. */
  get kind(): ClockKind {
    return this.#active.kind;
  }

  /** Name of the selected source. */
  get selected(): string {
    return this.#active.name;
  }

  /** Whether somebody vouches for the selected source now. */
  get isSynchronised(): boolean {
    try {
      return this.#closing === undefined && this.#active.isSynchronised && !this.#isContradicted;
    } catch {
      return false;
    }
  }

  /** Reads the selected source; see {@linkcode ClockSource.read}. */
  read(out: ClockReading): void {
    try {
      this.#active.read(out);
    } catch {
      // It breaks its word; the next look leaves it.
      const us = runtimeNowUs(), seconds = Math.floor(us / 1e6);
      out.set(seconds, (us - seconds * 1e6) * 1e3, Infinity);
    }
  }

  /** The time of the selected source; see {@linkcode ClockSource.nowUs}. */
  nowUs(): number {
    try {
      return this.#active.nowUs();
    } catch {
      return runtimeNowUs();
    }
  }

  /** The bound of the selected source; see {@linkcode ClockSource.errorUs}. */
  errorUs(): number {
    try {
      return this.#active.errorUs();
    } catch {
      return Infinity;
    }
  }

  /** Starts all sources, and looks at them from now on. Resolves after their first syncs; never rejects. */
  start(): Promise<void> {
    if (this.#closing !== undefined) return Promise.resolve();
    return this.#starting ??= this.#begin();
  }

  /**
   * Asks all sources for the time once, now, and looks at them. A second call at the same time waits for the first's result.
   *
   * @throws {MmsbError} `clock` if none of them could be synchronised, `closed` after {@linkcode ClockSelector.close}.
   */
  async sync(): Promise<void> {
    this.#requireOpen("sync");
    const syncing = this.#syncing ??= this.#syncAll();
    try {
      await syncing;
    } finally {
      if (this.#syncing === syncing) this.#syncing = undefined;
    }
  }

  /**
   * Looks at the sources now, as the timer does.
   *
   * @throws {MmsbError} `closed` after {@linkcode ClockSelector.close}.
   */
  check(): void {
    this.#requireOpen("check");
    this.#look(false);
  }

  /**
   * Takes the time from one source from now on, whatever the rule says, and however it does, until {@linkcode ClockSelector.auto}.
   *
   * @param name The source's name.
   * @throws {MmsbError} `usage` if there is none of that name, `closed` after {@linkcode ClockSelector.close}.
   */
  use(name: string): void {
    this.#requireOpen("use");
    checkType("name", name, "string");
    const index = this.#sights.findIndex(({ source }) => source.name === name);
    if (index < 0) {
      const names = this.#sights.map(({ source }) => source.name);
      throw new MmsbError(
        "usage",
        `Cannot use ${JSON.stringify(name)} as there is no such source: give one of ${
          names.map((one) => JSON.stringify(one)).join(", ")
        }`,
        { values: { name, names } },
      );
    }
    this.#rule.manual = index;
    this.#look(false);
    this.#news.emit(
      "manual",
      this.#sights[index],
      `${name} was chosen by hand: no other takes over`,
    );
  }

  /**
   * Gives the choice back to the rule, which may choose another source at once.
   *
   * @throws {MmsbError} `closed` after {@linkcode ClockSelector.close}.
   */
  auto(): void {
    this.#requireOpen("auto");
    if (this.#rule.manual < 0) return;
    this.#rule.manual = -1;
    this.#look(true);
    this.#news.emit("manual", this.#sights[this.#rule.selected], "The choice is the rule's again");
  }

  /**
   * What happens from now on, for `for await`; leaving the loop ends it.
   *
   * @param options Places of its queue, 256 if left out: the oldest event makes room where it is full.
   * @returns The events; they end when the selector is closed.
   * @throws {MmsbError} `usage` or `limit` for wrong options, `closed` after {@linkcode ClockSelector.close}.
   */
  events(options?: { readonly buffer?: number }): ClockEventStream {
    return this.#news.hub.open(options);
  }

  /** The selected source's status, how the others stand, and the last steps of time. */
  status(): SelectorStatus {
    const { selected, manual, isDisputed } = this.#rule;
    const status = statusOf(this.#active);
    const reason = this.#closing !== undefined
      ? "the selector is closed"
      : this.#isContradicted
      ? whyBad(selected, this.#sights, this.#rule)
      : undefined;
    return {
      ...status,
      ...(reason === undefined ? {} : { synchronised: false, reason }),
      name: this.name,
      offsetNs: this.#offsetNs() ?? status.offsetNs,
      selected: status.name,
      mode: manual < 0 ? "auto" : "manual",
      isDisputed,
      sources: this.#sights.map((_, index): SourceStanding =>
        standingOf(index, this.#sights, this.#rule)
      ),
      steps: this.#news.steps,
      notes: this.#notes,
      details: {
        ...status.details,
        selected: this.#sights[selected].source.name,
        mode: manual < 0 ? "auto" : "manual",
        switches: this.#news.switches,
      },
    };
  }

  /** Closes the sources, and ends the looks and the streams of events. A closed selector has no time. */
  close(): Promise<void> {
    return this.#closing ??= this.#end();
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The selected source's time less the system's, where both have one: closer than what a source can know by itself. */
  #offsetNs(): number | undefined {
    const selected = this.#sights[this.#rule.selected];
    const system = this.#sights.find(({ kind, hasTime }) => kind === "system" && hasTime);
    if (system === undefined || system === selected) return undefined;
    return offsetBetween(selected.source, system.source, this.#steady);
  }

  /** Whether the selected one is called false by most others: it was chosen by hand then. */
  get #isContradicted(): boolean {
    return this.#rule.standings[this.#rule.selected].isFalse;
  }

  async #begin(): Promise<void> {
    this.#stopTimer = this.#timer.every(this.#checkMs, () => this.#look(false));
    const late = Promise.withResolvers<void>();
    this.#stopWaiting = late.resolve;
    const stopWaiting = this.#timer.every(this.#startMsMax, late.resolve);
    const chain = this.#chain;
    if (chain !== undefined) {
      this.#stopFinding = this.#timer.every(this.#findMs, () => this.#find(chain));
    }
    const all = this.#sights.map(({ source }) => this.#begun(source));
    await Promise.race([Promise.all(all), late.promise]);
    stopWaiting();
    this.#look(true);
  }

  async #syncAll(): Promise<void> {
    const results = await Promise.allSettled(
      this.#sights.map(async ({ source }) => await source.sync()),
    );
    this.#look(false);
    if (results.some(({ status }) => status === "fulfilled")) return;
    const reasons = results.map((result) =>
      result.status === "fulfilled"
        ? ""
        : result.reason instanceof Error
        ? result.reason.message
        : String(result.reason)
    );
    throw new MmsbError(
      "clock",
      `Cannot synchronise as none of the sources could be: ${reasons.join("; ")}`,
      { values: { reasons } },
    );
  }

  async #end(): Promise<void> {
    this.#stopTimer?.();
    this.#stopFinding?.();
    this.#stopWaiting?.();
    this.#news.hub.end();
    await this.#finding;
    await Promise.allSettled(this.#sights.map(async ({ source }) => await source.close()));
  }

  /** Looks for sources that were not there before, one look at a time. */
  #find(chain: MachineChain): void {
    if (this.#closing !== undefined) return;
    this.#finding ??= this.#findMore(chain).finally(() => this.#finding = undefined);
  }

  async #findMore(chain: MachineChain): Promise<void> {
    const found = await chain.again();
    this.#notes = chain.notes;
    // Those that are found while the selector closes are closed with the others.
    for (const source of found) {
      this.#sights.push(new Sight(source));
      this.#rule.add();
      this.#news.add();
    }
    if (this.#closing === undefined) { for (const source of found) this.#begun(source); }
  }

  /** Starts a source, and looks when it has started; never rejects. */
  async #begun(source: ClockSource): Promise<void> {
    try {
      await source.start();
    } catch { /* It says itself that it has no time. */ }
    this.#look(false);
  }

  /** Sees each source, lets the rule choose, and tells what changed. */
  #look(settles: boolean): void {
    if (this.#closing !== undefined) return;
    const sights = this.#sights, rule = this.#rule;
    const startNs = this.#steady.nowNs();
    for (const sight of sights) sight.read(this.#steady);
    const baseS = sights.find(({ hasTime }) => hasTime)?.seconds ?? 0;
    for (const sight of sights) sight.place(startNs, baseS);

    const before = rule.selected;
    rule.decide(startNs, sights, settles);
    this.#active = sights[rule.selected].source;
    this.#news.tell(before);
  }

  #requireOpen(what: string): void {
    if (this.#closing === undefined) return;
    throw new MmsbError("closed", `Cannot ${what} as the clock selector is closed: open one`);
  }
}
