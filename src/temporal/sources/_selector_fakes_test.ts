/** What the tests of the selector share: sources that do as they are told, over one counter of true time. */
import {
  type ClockKind,
  ClockReading,
  type ClockSource,
  type ClockStatus,
} from "./clock_source.ts";
import type { RepeatingTimer } from "./clock_selector_status.ts";
import { MmsbError } from "../../base/mod.ts";

/** True time of the tests, and the steady counter. */
export class FakeTime {
  /** ns since the beginning. */
  ns = 0;

  nowNs(): number {
    return this.ns;
  }

  advanceS(seconds: number): void {
    this.ns += seconds * 1e9;
  }
}

/** Second of the epoch at which the tests begin. */
export const START_S = 1_767_225_600;

/** A source that does as it is told. */
export class FakeSource implements ClockSource {
  readonly name: string;
  readonly kind: ClockKind;
  isSynchronised = true;
  errorNs: number;
  /** Its time less true time. */
  offsetNs = 0;
  starts = 0;
  closes = 0;
  /** What its start waits for. */
  starting: Promise<void> = Promise.resolve();
  /** Whether its methods throw, against the contract. */
  throws = false;
  readonly #time: FakeTime;
  readonly #reading = new ClockReading();

  constructor(time: FakeTime, name: string, kind: ClockKind, errorNs: number) {
    this.#time = time;
    this.name = name;
    this.kind = kind;
    this.errorNs = errorNs;
  }

  read(out: ClockReading): void {
    if (this.throws) throw new Error("no");
    const ns = this.#time.ns + this.offsetNs, s = Math.floor(ns / 1e9);
    out.set(START_S + s, Math.round(ns - s * 1e9), this.errorNs);
  }

  nowUs(): number {
    this.read(this.#reading);
    return this.#reading.us;
  }

  errorUs(): number {
    return this.errorNs / 1e3;
  }

  async start(): Promise<void> {
    this.starts++;
    await this.starting;
  }

  sync(): Promise<void> {
    return this.isSynchronised
      ? Promise.resolve()
      : Promise.reject(new MmsbError("clock", `Cannot ask ${this.name}: nobody answers`));
  }

  status(): ClockStatus {
    const { name, kind, errorNs, isSynchronised: synchronised } = this;
    return {
      name,
      kind,
      synchronised,
      ...(synchronised ? {} : { reason: "nobody answers" }),
      nowNs: BigInt(START_S) * 1_000_000_000n + BigInt(Math.round(this.#time.ns + this.offsetNs)),
      errorNs,
      bound: errorNs < Infinity ? [{ name: "all", ns: errorNs, meaning: "All of it" }] : [],
      offsetNs: this.offsetNs,
      driftPpm: NaN,
      lastSyncAgeS: 0,
      syncs: 0,
      failures: 0,
      details: {},
    };
  }

  close(): Promise<void> {
    this.closes++;
    this.errorNs = Infinity;
    this.isSynchronised = false;
    return Promise.resolve();
  }
}

/** A timer that is called by hand. */
export class FakeTimer implements RepeatingTimer {
  readonly calls = new Map<() => void, number>();

  every(ms: number, call: () => void): () => void {
    this.calls.set(call, ms);
    return () => this.calls.delete(call);
  }
}
