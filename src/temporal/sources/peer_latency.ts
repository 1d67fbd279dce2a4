/**
 * Round trips to a peer, over UDP or TCP, to know by how much a bound must be widened for what travels between two
 * machines. It never corrects a time: both clocks state their own bounds, and a round trip says nothing about how it
 * divides into the way there and the way back.
 *
 * ```text
 * widened bound = bound + 99th percentile of the round trip
 * ```
 *
 * A message can have been under way for as long as a whole round trip. What was lost is counted, and not in the figures.
 *
 * The peer runs a {@linkcode PeerLatencyResponder}. A peer that lies can only be slower than it is: an answer must repeat
 * 128 random bits of the question, so none can be sent before the question came. Duplicates, answers that come too late
 * and packets of others are counted and change nothing.
 *
 * Cost: a packet of 24 bytes each way; memory for the window, 8 bytes a round trip.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { checkInteger, checkKeys, checkNumber, checkOneOf, checkType } from "../../base/mod.ts";
import { MmsbError, reasonOf } from "../../base/errors.ts";
import type { SteadyCounter } from "./clock_source.ts";
import { type PeerChannel, TcpChannel, UdpChannel } from "./_peer_channel.ts";
import { answeredNonce, nonceOf, peerQuestion } from "./_peer_packet.ts";
import { LatencyWindow } from "./_peer_window.ts";
import { steadyCounter } from "./system_calls.ts";

/** Options of {@linkcode PeerLatency}. */
export interface PeerLatencyOptions {
  /** Name or address of the peer. */
  readonly host: string;
  /** Port of its {@linkcode PeerLatencyResponder}. */
  readonly port: number;
  /** How to ask: TCP adds what a stream costs, as traffic over TCP has it. Default `udp`. */
  readonly protocol?: "udp" | "tcp";
  /** Round trips that count, the newest, 2 to 65,536. Default 256. */
  readonly window?: number;
  /** Longest wait for an answer, ms, 1 to 60,000. Default 1000. */
  readonly timeoutMs?: number;
  /** Milliseconds from one question to the next, 10 to 3,600,000, once started. Default 1000. */
  readonly intervalMs?: number;
  /** From which standard deviation on, as part of the median, the way counts as unsteady, 0 to 100. Default 0.5. */
  readonly unsteadyFrom?: number;
  /** What time is measured with. Default: the system's steady counter. */
  readonly steady?: SteadyCounter;
}

/** What the round trips say; NaN where nothing was answered. */
export interface PeerLatencyStatistics {
  /** Questions in the window. */
  readonly asked: number;
  /** Those of them without an answer in time. */
  readonly lost: number;
  /** Part that was lost, 0 to 1. */
  readonly loss: number;
  /** Shortest round trip, ns. */
  readonly minNs: number;
  /** Median of the round trips, ns. */
  readonly medianNs: number;
  /** 99th percentile, ns. */
  readonly p99Ns: number;
  /** Longest, ns. */
  readonly maxNs: number;
  /** Mean difference between one round trip and the next, ns. */
  readonly jitterNs: number;
  /** Standard deviation, ns. */
  readonly deviationNs: number;
  /** Whether the deviation is more than the stated part of the median: what was measured may not hold. */
  readonly isUnsteady: boolean;
  /** Second and further answers to one question, since it was made. */
  readonly duplicates: number;
  /** Answers that came too late. */
  readonly late: number;
  /** Packets that answer nothing that was asked. */
  readonly foreign: number;
  /** Why the last question was lost; "" if none was. */
  readonly lastFailure: string;
}

const KEYS = [
  "host",
  "port",
  "protocol",
  "window",
  "timeoutMs",
  "intervalMs",
  "unsteadyFrom",
  "steady",
];
/** Questions that may be under way at a time. */
const PENDING_MAX = 1024;
/** Questions whose end is remembered, so that duplicates and late answers are told from what was never asked. */
const ENDED_MAX = 4096;

interface Pending {
  sentNs: number;
  readonly answer: (ns: number) => void;
  readonly fail: (error: MmsbError) => void;
  readonly timer: ReturnType<typeof setTimeout>;
}

/**
 * Measures round trips to one peer.
 *
 * @example A peer on this machine
 * ```ts
 * import { ok } from "node:assert/strict";
 * import { PeerLatency, PeerLatencyResponder } from "@mmsb/mmsb";
 *
 * await using peer = await PeerLatencyResponder.open();
 * await using latency = new PeerLatency({ host: peer.host, port: peer.port });
 * for (let round = 0; round < 10; round++) await latency.sample();
 *
 * const { minNs, medianNs, p99Ns } = latency.statistics();
 * ok(minNs <= medianNs && medianNs <= p99Ns);
 * ok(latency.widenedErrorNs(50_000) > 50_000);
 * ```
 */
export class PeerLatency implements AsyncDisposable {
  readonly #channel: PeerChannel;
  readonly #window: LatencyWindow;
  readonly #timeoutMs: number;
  readonly #intervalMs: number;
  readonly #unsteadyFrom: number;
  readonly #name: string;
  readonly #pending = new Map<string, Pending>();
  /** How questions ended, by nonce, oldest first. */
  readonly #ended = new Map<string, "answered" | "lost">();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStarted = false;
  #closing: Promise<void> | undefined;
  #duplicates = 0;
  #late = 0;
  #foreign = 0;
  #lastFailure = "";

  /**
   * Opens nothing yet: {@linkcode PeerLatency.sample} or {@linkcode PeerLatency.start} do.
   *
   * @param options Whom to ask, and how.
   * @throws {MmsbError} `usage` or `out-of-bounds` for wrong options.
   */
  constructor(options: PeerLatencyOptions) {
    checkType("options of PeerLatency", options, "object");
    checkKeys("PeerLatency", options, KEYS);
    const { protocol = "udp", window = 256, timeoutMs = 1000, intervalMs = 1000 } = options;
    const { unsteadyFrom = 0.5, steady = steadyCounter() } = options;
    const host = checkType("host", options.host, "string");
    if (host === "") {
      throw new MmsbError("usage", "Cannot use an empty host: give a name or address");
    }
    const port = checkInteger("port", options.port, 1, 65_535);
    checkType("steady", steady, "object");
    checkType("steady.nowNs", steady.nowNs, "function");
    this.#window = new LatencyWindow(checkInteger("window", window, 2, 65_536));
    this.#timeoutMs = checkNumber("timeoutMs", timeoutMs, 1, 60_000);
    this.#intervalMs = checkNumber("intervalMs", intervalMs, 10, 3_600_000);
    this.#unsteadyFrom = checkNumber("unsteadyFrom", unsteadyFrom, 0, 100);
    const Channel = checkOneOf("protocol", protocol, ["udp", "tcp"]) === "udp"
      ? UdpChannel
      : TcpChannel;
    this.#name = `${host}:${port}`;
    this.#channel = new Channel({ host, port, steady, timeoutMs }, {
      arrived: (packet, steadyNs) => this.#arrived(packet, steadyNs),
      broke: (reason) => this.#failAll(reason),
    });
  }

  /**
   * Makes one round trip.
   *
   * @returns How long it took, ns.
   * @throws {MmsbError} `network` if there was no answer in time or the peer cannot be reached, `limit` if too many
   * questions are under way, `closed` after {@linkcode PeerLatency.close}.
   */
  sample(): Promise<number> {
    return this.#ask(true);
  }

  /** One round trip; one that nobody waits for does not keep the process alive. */
  async #ask(isAwaited: boolean): Promise<number> {
    if (this.#closing !== undefined) throw this.#closedError();
    if (this.#pending.size >= PENDING_MAX) {
      throw new MmsbError(
        "limit",
        `Cannot ask ${this.#name} more than ${PENDING_MAX} questions at a time: wait for answers`,
      );
    }
    const question = peerQuestion((bytes) => crypto.getRandomValues(bytes));
    const nonce = nonceOf(question);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const pending: Pending = {
      sentNs: NaN,
      answer: resolve,
      fail: reject,
      timer: setTimeout(
        () => this.#lose(nonce, `there was no answer within ${this.#timeoutMs} ms`),
        this.#timeoutMs,
      ),
    };
    if (!isAwaited) pending.timer.unref();
    this.#pending.set(nonce, pending);
    this.#channel.send(question, (steadyNs) => pending.sentNs = steadyNs).catch((error) =>
      this.#lose(nonce, reasonOf(error))
    );
    return await promise;
  }

  /**
   * Begins to ask at intervals, by a timer that does not keep the process alive. Calling it again does nothing.
   *
   * @throws {MmsbError} `closed` after {@linkcode PeerLatency.close}.
   */
  start(): void {
    if (this.#closing !== undefined) throw this.#closedError();
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#askLater();
  }

  /** What the last round trips say. */
  statistics(): PeerLatencyStatistics {
    const { meanNs: _, ...figures } = this.#window.figures();
    const { asked, lost, deviationNs, medianNs } = figures;
    return {
      ...figures,
      loss: asked === 0 ? 0 : lost / asked,
      isUnsteady: deviationNs > medianNs * this.#unsteadyFrom,
      duplicates: this.#duplicates,
      late: this.#late,
      foreign: this.#foreign,
      lastFailure: this.#lastFailure,
    };
  }

  /**
   * Widens a bound by what the way to the peer may take.
   *
   * @param errorNs The bound of a time that came from the peer, ns.
   * @returns The bound of that time here, ns; Infinity where no round trip was made.
   * @throws {MmsbError} `usage` if the bound is no number or below 0.
   */
  widenedErrorNs(errorNs: number): number {
    if (errorNs === Infinity) return Infinity;
    checkNumber("errorNs", errorNs, 0, Number.MAX_VALUE, "usage");
    const { p99Ns } = this.#window.figures();
    return Number.isNaN(p99Ns) ? Infinity : errorNs + p99Ns;
  }

  /** Ends the questions, and gives back socket and timers. Closing again does nothing. */
  close(): Promise<void> {
    return this.#closing ??= this.#end();
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    clearTimeout(this.#timer);
    for (const { timer, fail } of this.#pending.values()) {
      clearTimeout(timer);
      fail(this.#closedError());
    }
    this.#pending.clear();
    await this.#channel.close();
  }

  #askLater(): void {
    this.#timer = setTimeout(async () => {
      // What is lost is counted.
      await this.#ask(false).catch(() => {});
      if (this.#closing === undefined) this.#askLater();
    }, this.#intervalMs);
    this.#timer.unref();
  }

  /** Takes what came; whether the peer can have sent it. */
  #arrived(packet: Uint8Array, steadyNs: number): boolean {
    const nonce = answeredNonce(packet);
    const pending = nonce === undefined ? undefined : this.#pending.get(nonce);
    if (nonce !== undefined && pending !== undefined && !Number.isNaN(pending.sentNs)) {
      const passedNs = Math.max(0, steadyNs - pending.sentNs);
      this.#settle(nonce, pending, "answered", passedNs);
      pending.answer(passedNs);
      return true;
    }
    const ended = nonce === undefined ? undefined : this.#ended.get(nonce);
    if (ended === "answered") this.#duplicates++;
    else if (ended === "lost") this.#late++;
    else this.#foreign++;
    if (nonce !== undefined && ended === "lost") this.#ended.set(nonce, "answered");
    return ended !== undefined;
  }

  #lose(nonce: string, reason: string): void {
    const pending = this.#pending.get(nonce);
    if (pending === undefined) return;
    this.#lastFailure = reason;
    this.#settle(nonce, pending, "lost", NaN);
    pending.fail(
      new MmsbError("network", `Cannot measure the way to ${this.#name} as ${reason}`, {
        values: { peer: this.#name, reason },
      }),
    );
  }

  #settle(nonce: string, { timer }: Pending, how: "answered" | "lost", ns: number): void {
    clearTimeout(timer);
    this.#pending.delete(nonce);
    this.#window.push(ns);
    this.#ended.set(nonce, how);
    if (this.#ended.size <= ENDED_MAX) return;
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest);
      return;
    }
  }

  #failAll(reason: string): void {
    for (const nonce of [...this.#pending.keys()]) this.#lose(nonce, reason);
  }

  #closedError(): MmsbError {
    return new MmsbError("closed", `Cannot ask ${this.#name} as this is closed: make another`);
  }
}
