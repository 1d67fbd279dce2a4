/**
 * How honest and how tight the bounds of an SNTP clock are in simulated networks: 10,000 readings a model.
 *
 * Tightness is how much narrower all bounds could be, in one factor for all, with 99.9 % of the readings still inside: the
 * 99.9 % quantile of |error| / bound. At 0.5 the stated interval is twice the smallest that would have done.
 */
import { ClockReading } from "../clock_source.ts";
import { SntpClock } from "../sntp_clock.ts";
import { chanceOf, SimulatedNetwork, type SimulatedServer } from "./simulated_network.ts";

/** One kind of network. */
export interface SntpModel {
  readonly name: string;
  /**
   * Whether a factor of 2 can be asked of it. Not of symmetric paths: there the middle of the interval is true time but for
   * the queues, so a tenth of the bound would have done. But the same four timestamps come from a path whose delay is all
   * on one way, where true time is at the end of the interval. Who can't tell the two apart has to state the bound of the
   * worse one.
   */
  readonly isTightPossible: boolean;
  readonly driftPpm: number;
  readonly wanderPpm: number;
  readonly servers: (chance: () => number) => SimulatedServer[];
}

/** What a model showed. */
export interface SntpFigures {
  readonly readings: number;
  readonly contained: number;
  readonly tightness: number;
  readonly boundMs: number;
  readonly failures: number;
}

/** A server that is as wrong as it may be by its own word, anywhere in it. */
function within(chance: () => number, server: SimulatedServer): SimulatedServer {
  const possibleMs = (server.rootDelayMs ?? 0) / 2 + (server.rootDispersionMs ?? 0);
  return { ...server, errorMs: (2 * chance() - 1) * possibleMs };
}

function wan(chance: () => number, baseMs: number): SimulatedServer {
  return within(chance, {
    baseMs,
    forward: chance(),
    queueMs: 0.5,
    congested: 0.1,
    rootDelayMs: 4,
    rootDispersionMs: 1,
  });
}

/** The models. Asymmetry is drawn once a path, evenly from all of the way there to all of the way back. */
export const SNTP_MODELS: readonly SntpModel[] = [
  {
    name: "local network, 0.2 ms, one server",
    isTightPossible: true,
    driftPpm: 20,
    wanderPpm: 0.1,
    servers: (chance) => [{ baseMs: 0.2, forward: chance(), queueMs: 0.03, congested: 0.05 }],
  },
  {
    name: "wide network, 20 ms, one server with a root distance of 3 ms",
    isTightPossible: true,
    driftPpm: 40,
    wanderPpm: 0.3,
    servers: (chance) => [wan(chance, 20)],
  },
  {
    name: "wide network, 10 to 40 ms, four servers, one of them wrong by 100 ms",
    isTightPossible: true,
    driftPpm: -40,
    wanderPpm: 0.3,
    servers: (chance) => [
      wan(chance, 10),
      wan(chance, 20),
      wan(chance, 40),
      { ...wan(chance, 15), errorMs: 100 },
    ],
  },
  {
    name: "mobile network, 80 ms, queues of 15 ms, a fifth lost",
    isTightPossible: true,
    driftPpm: 40,
    wanderPpm: 0.5,
    servers: (
      chance,
    ) => [{ baseMs: 80, forward: chance(), queueMs: 15, congested: 0.1, loss: 0.2 }],
  },
  {
    name: "wide network, 20 ms, symmetric paths, one server",
    isTightPossible: false,
    driftPpm: 40,
    wanderPpm: 0.3,
    servers: (chance) => [{ ...wan(chance, 20), forward: 0.5, errorMs: 0 }],
  },
];

/** Runs a model: `worlds` networks, in each some syncs, and after each sync some readings. */
export async function measureSntpModel(
  model: SntpModel,
  { worlds = 250, syncs = 10, readings = 4, seed = 1 } = {},
): Promise<SntpFigures> {
  const ratios: number[] = [];
  const reading = new ClockReading();
  let contained = 0, boundNs = 0, failures = 0;
  for (let world = 0; world < worlds; world++) {
    const chance = chanceOf(seed * 1_000_003 + world);
    const driftPpm = model.driftPpm * (2 * chance() - 1);
    const crystal = { driftPpm, wanderPpm: model.wanderPpm };
    const network = new SimulatedNetwork(model.servers(chance), crystal, seed + world);
    const clock = new SntpClock({ servers: network.names }, network.surroundings);
    for (let sync = 0; sync < syncs; sync++) {
      await clock.sync().catch(() => failures++);
      const pollS = Number(clock.status().details.pollS);
      for (let i = 0; i < readings; i++) {
        network.advance(chance() * 2 * pollS * 1e9 / readings);
        clock.read(reading);
        if (reading.errorNs === Infinity) continue;
        const errorNs = Math.abs(Number(reading.ns - network.trueNs));
        if (errorNs <= reading.errorNs) contained++;
        ratios.push(errorNs / reading.errorNs);
        boundNs += reading.errorNs;
      }
    }
    await clock.close();
  }
  ratios.sort((a, b) => a - b);
  return {
    readings: ratios.length,
    contained: contained / ratios.length,
    tightness: ratios[Math.floor(ratios.length * 0.999)],
    boundMs: boundNs / ratios.length / 1e6,
    failures,
  };
}
