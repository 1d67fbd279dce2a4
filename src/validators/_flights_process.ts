/**
 * Loads the flights in a process of its own, which can be killed: `_flights_process.ts DIR
 * FLIGHTS_PER_TICK STATE_FILE`. It writes `durable TICK FLIGHTS` for each tick that is acknowledged, and at
 * the end the live state to a file.
 */

import { StateBus } from "../bus/mod.ts";
import { encodeState, stateOfBus } from "./_state.ts";
import { loadFlights, readFlights } from "./flights.ts";

if (import.meta.main) {
  const [dir, flightsPerTick, stateFile] = Deno.args;
  const flights = await readFlights();
  const bus = await StateBus.open({ dir, durability: "group" });
  const options = { flightsPerTick: Number(flightsPerTick) };
  for await (const { tick, flights: count } of loadFlights(bus, flights, options)) {
    Deno.stdout.writeSync(new TextEncoder().encode(`durable ${tick} ${count}\n`));
  }
  Deno.writeFileSync(stateFile, encodeState(stateOfBus(bus)));
  await bus.close();
}
