/**
 * Loads the flights in a process of its own, which can be killed: `_flights_process.ts DIR
 * FLIGHTS_PER_TICK STATE_FILE DEVICE`. It writes
 *
 * - `opened TICK DELTAS`: the tick that it found, and the deltas that it replayed to get there;
 * - `durable TICK FLIGHTS` for each tick that is acknowledged;
 * - `checkpoint FIRST LAST`: the last ticks before and after a checkpoint was made, which it asks for
 *   where a fifth of the flights are in, and does not wait for;
 * - `gpu BATCHES ROWS RULES` before each `durable`, where a GPU was asked for: what ran on it so far;
 *
 * and at the end the live state to a file.
 */

import { encodeState, stateOfBus } from "./_state.ts";
import { onDevice, openBus } from "./device_run.ts";
import { type Flights, flightsIn, loadFlights, readFlights } from "./flights.ts";
import type { DeviceCounts, MeasuredDevice } from "./validator.ts";

/** Flights after which a checkpoint is asked for, as a share of all. */
const CHECKPOINT_AT = 1 / 5;

function say(...words: readonly (string | number)[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${words.join(" ")}\n`));
}

interface Load {
  readonly dir: string;
  readonly flightsPerTick: number;
  readonly stateFile: string;
  readonly flights: Flights;
  /** What ran on the GPU so far; absent where none was asked for. */
  readonly counts?: () => DeviceCounts;
}

async function load({ dir, flightsPerTick, stateFile, flights, counts }: Load): Promise<void> {
  const bus = await openBus({ dir, durability: "group" });
  say("opened", bus.opened.tick, bus.opened.rows);
  let checkpoint = flightsIn(bus) > 0 ? Promise.resolve() : undefined;
  for await (const { tick, flights: count } of loadFlights(bus, flights, { flightsPerTick })) {
    if (counts !== undefined) {
      const { batches, rows, rules } = counts();
      say("gpu", batches, rows, rules);
    }
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

if (import.meta.main) {
  const [dir, perTick, stateFile, device = "cpu"] = Deno.args;
  const flights = await readFlights(), all = { dir, stateFile, flights };
  await onDevice(device as MeasuredDevice, async (counts) => {
    const told = device === "cpu" ? {} : { counts };
    await load({ ...all, ...told, flightsPerTick: Number(perTick) });
  });
}
