/**
 * Loads the flights in a process of its own, which can be killed: `_flights_process.ts DIR
 * FLIGHTS_PER_TICK STATE_FILE`. It writes
 *
 * - `opened TICK DELTAS`: the tick that it found, and the deltas that it replayed to get there;
 * - `durable TICK FLIGHTS` for each tick that is acknowledged;
 * - `checkpoint FIRST LAST`: the last ticks before and after a checkpoint was made, which it asks for
 *   where a fifth of the flights are in, and does not wait for;
 *
 * and at the end the live state to a file.
 */

import { StateBus } from "../bus/mod.ts";
import { encodeState, stateOfBus } from "./_state.ts";
import { flightsIn, loadFlights, readFlights } from "./flights.ts";

/** Flights after which a checkpoint is asked for, as a share of all. */
const CHECKPOINT_AT = 1 / 5;

function say(...words: readonly (string | number)[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${words.join(" ")}\n`));
}

if (import.meta.main) {
  const [dir, flightsPerTick, stateFile] = Deno.args;
  const flights = await readFlights();
  const bus = await StateBus.open({ dir, durability: "group" });
  say("opened", bus.opened.tick, bus.opened.rows);
  let checkpoint = flightsIn(bus) > 0 ? Promise.resolve() : undefined;
  const options = { flightsPerTick: Number(flightsPerTick) };
  for await (const { tick, flights: count } of loadFlights(bus, flights, options)) {
    say("durable", tick, count);
    if (count < CHECKPOINT_AT * flights.count) continue;
    if (checkpoint !== undefined) continue;
    const first = bus.tickNumber;
    checkpoint = bus.checkpoint().then(() => say("checkpoint", first, bus.tickNumber));
  }
  await checkpoint;
  Deno.writeFileSync(stateFile, encodeState(stateOfBus(bus)));
  await bus.close();
}
