/**
 * What an SNTP clock takes from outside itself, so that a simulation can steer all of it: counter, network, chance, waiting
 * and the system's clock.
 */
import { setTimeout as sleepMs } from "node:timers/promises";
import { runtimeWallMs } from "./_platform.ts";
import type { SteadyCounter } from "./clock_source.ts";
import { type SntpTransport, UdpTransport } from "./sntp_transport.ts";
import { steadyCounter, systemCalls, timespecSeconds } from "./system_calls.ts";

/** Steps of the runtime's counter, where the system's can't be read, ns. */
const RUNTIME_STEP_NS = 1000;

/** What an SNTP clock takes from its surroundings: the real ones if left out, a simulation's in tests. */
export interface SntpSurroundings {
  /** Where the time of this machine is read. */
  readonly counter?: SteadyCounter;
  /** Smallest difference that it can tell, ns. */
  readonly counterStepNs?: number;
  /** Whether it goes on while the machine sleeps; the runtime's does not. */
  readonly countsSleep?: boolean;
  /** The network. */
  readonly transport?: SntpTransport;
  /** Fills words with random bits. */
  readonly random?: (words: Uint32Array) => void;
  /** Waits; resolves early when it is aborted. `isIdle`: nothing else is under way, so the wait does not keep the process alive. */
  readonly sleep?: (ms: number, signal: AbortSignal, isIdle: boolean) => Promise<void>;
  /** The system's clock, ms since the Unix epoch, as fine as it is to be had: read once, for the offset in the status, and to notice sleep. */
  readonly wallMs?: () => number;
}

/**
 * The real ones where none are given.
 *
 * @param given What a test gives.
 * @returns All of them.
 */
export function surroundingsOf(given: SntpSurroundings): Required<SntpSurroundings> {
  const counter = given.counter ?? steadyCounter();
  const isRuntime = "originS" in counter && counter.originS === undefined;
  return {
    counter,
    counterStepNs: given.counterStepNs ?? (isRuntime ? RUNTIME_STEP_NS : 1),
    countsSleep: given.countsSleep ?? !isRuntime,
    transport: given.transport ?? new UdpTransport(counter),
    random: given.random ?? ((words) => crypto.getRandomValues(words)),
    sleep: given.sleep ?? sleepUnlessAborted,
    wallMs: given.wallMs ?? systemWallMs,
  };
}

/** To a quarter of a µs by the C library, else to whole ms. */
function systemWallMs(): number {
  const calls = systemCalls();
  if (calls === undefined || calls.clockGettime(calls.clocks.realtime) !== 0) {
    return runtimeWallMs();
  }
  return timespecSeconds(calls.timespec) * 1e3 + calls.timespec[2] / 1e6;
}

async function sleepUnlessAborted(ms: number, signal: AbortSignal, isIdle: boolean): Promise<void> {
  try {
    await sleepMs(ms, undefined, { signal, ref: !isIdle });
  } catch {
    // Aborted: that is early enough.
  }
}
