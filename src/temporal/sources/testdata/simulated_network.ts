/**
 * A network of NTP servers in simulated time: delays, their asymmetry, loss, wrong servers and a crystal that drifts and
 * wanders, all from a seed. It knows true time, so it can tell how wrong a client is.
 */
import type { SteadyCounter } from "../clock_source.ts";
import type { SntpSurroundings } from "../sntp_surroundings.ts";
import type { SntpAsk, SntpTransport } from "../sntp_transport.ts";
import { ntpAnswer } from "./ntp_answer.ts";

const BEGIN_NS = 1_767_225_600_000_000_000n;

/** A server and the path to it. */
export interface SimulatedServer {
  /** Round trip without queues, ms. */
  readonly baseMs: number;
  /** How much of it is on the way there, 0 to 1. */
  readonly forward: number;
  /** Mean of the exponentially distributed time in queues, each way, ms. */
  readonly queueMs: number;
  /** Part of the datagrams that meets a congested queue, 20 times as long. */
  readonly congested?: number;
  /** Part of the questions that get no answer. */
  readonly loss?: number;
  /** Leap second that it announces: 1 one more, 2 one less. */
  readonly leap?: number;
  /** Its time less true time, ms. */
  readonly errorMs?: number;
  /** Its root delay as it states it, ms. */
  readonly rootDelayMs?: number;
  /** Its root dispersion as it states it, ms. */
  readonly rootDispersionMs?: number;
}

/** The crystal. */
export interface SimulatedCrystal {
  /** Parts per million that it runs fast. */
  readonly driftPpm: number;
  /** Standard deviation of what that changes by in an hour, ppm. */
  readonly wanderPpm: number;
}

/** Chance from a seed: mulberry32. */
export function chanceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  };
}

/** The world: servers at 10.0.0.1, 10.0.0.2, … */
export class SimulatedNetwork implements SntpTransport, SteadyCounter {
  readonly #servers: readonly SimulatedServer[];
  readonly #chance: () => number;
  readonly #wanderPpm: number;
  #driftPpm: number;
  #trueNs = 0;
  #steadyNs = 1e12;

  constructor(servers: readonly SimulatedServer[], crystal: SimulatedCrystal, seed: number) {
    this.#servers = servers;
    this.#chance = chanceOf(seed);
    this.#driftPpm = crystal.driftPpm;
    this.#wanderPpm = crystal.wanderPpm;
  }

  /** What a client takes from here; the system's clock is half a second off. */
  get surroundings(): SntpSurroundings {
    return {
      counter: this,
      counterStepNs: 1,
      transport: this,
      random: (words) => words.forEach((_, i) => words[i] = this.#chance() * 2 ** 32),
      sleep: (ms, signal) => this.#sleep(ms, signal),
      wallMs: () => Number(this.trueNs) / 1e6 + 500,
    };
  }

  /** The servers as a client names them. */
  get names(): readonly string[] {
    return this.#servers.map((_, i) => `10.0.0.${i + 1}`);
  }

  /** True time, ns since the Unix epoch. */
  get trueNs(): bigint {
    return BEGIN_NS + BigInt(Math.round(this.#trueNs));
  }

  nowNs(): number {
    return this.#steadyNs;
  }

  /** Lets time pass. */
  advance(ns: number): void {
    // In steps, as the crystal wanders meanwhile.
    for (let left = ns; left > 0;) {
      const stepNs = Math.min(left, 1e9);
      this.#trueNs += stepNs;
      this.#steadyNs += stepNs * (1 + this.#driftPpm * 1e-6);
      this.#driftPpm += this.#normal() * this.#wanderPpm * Math.sqrt(stepNs / 3.6e12);
      left -= stepNs;
    }
  }

  resolve(host: string): ReturnType<SntpTransport["resolve"]> {
    return Promise.resolve({ reason: `the name ${host} has no address` });
  }

  async ask(ask: SntpAsk): Promise<string | undefined> {
    const server = this.#servers[Number(ask.address.split(".")[3]) - 1];
    const sentNs = this.#trueNs;
    const wayNs = this.#wayNs(server, server.forward);
    const heldNs = 20_000 + this.#chance() * 30_000;
    const backNs = this.#wayNs(server, 1 - server.forward);
    const drift = 1 + this.#driftPpm * 1e-6;
    const steadyNs = this.#steadyNs;
    ask.sent(steadyNs);
    await Promise.resolve();
    if (this.#chance() < (server.loss ?? 0)) return "silent";
    const serverNs = BEGIN_NS + BigInt(Math.round(sentNs + wayNs + (server.errorMs ?? 0) * 1e6));
    const answer = ntpAnswer(ask.request, {
      leap: server.leap ?? 0,
      rootDelayNs: (server.rootDelayMs ?? 0) * 1e6,
      rootDispersionNs: (server.rootDispersionMs ?? 0) * 1e6,
      receiveNs: serverNs,
      transmitNs: serverNs + BigInt(Math.round(heldNs)),
    });
    const passedNs = wayNs + heldNs + backNs;
    this.advance(Math.max(0, sentNs + passedNs - this.#trueNs));
    ask.arrived(answer, steadyNs + passedNs * drift);
    return undefined;
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    // The time for late servers: none is late here, as their answers are there at once.
    if (ms >= 100) {
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    }
    this.advance(ms * 1e6);
    return Promise.resolve();
  }

  #wayNs({ baseMs, queueMs, congested = 0 }: SimulatedServer, part: number): number {
    const mean = this.#chance() < congested ? 20 * queueMs : queueMs;
    return (baseMs * part - mean * Math.log(1 - this.#chance())) * 1e6;
  }

  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#chance())) * Math.cos(2 * Math.PI * this.#chance());
  }
}
