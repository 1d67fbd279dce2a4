#!/usr/bin/env -S deno run -A
/**
 * 200,000 real flights through the bus: kill it halfway, start it again, and it goes on where the
 * last durable tick ended.
 *
 * ```sh
 * deno run -A examples/flights.ts                     # all of them, into ./data/flights
 * deno run -A examples/flights.ts --stop-after 50000  # some of them; run again for the rest
 * deno task mmsb log inspect ./data/flights           # what the log holds
 * ```
 *
 * Flights are a table of four columns, and the totals of each hour a page that their deltas add up to; how
 * both are filled stands in src/validators/flights.ts, which the validators load the same data with.
 */

import { parseArgs } from "node:util";
import { StateBus } from "@mmsb/mmsb";
import {
  clockText,
  decodeTotals,
  FLIGHTS_SCHEMA,
  FLIGHTS_TABLE,
  flightsIn,
  HOURS,
  LATE_MINUTES,
  loadFlights,
  readFlights,
  sumsIn,
  sumsOf,
  totalsIn,
  totalsName,
  totalsOf,
  wrongRows,
} from "../src/validators/flights.ts";

const HELP =
  `Loads 200,000 flights into a bus, tick by tick, and checks the result against the file.

Usage: deno run -A examples/flights.ts [--dir DIR] [--ticks-of N] [--stop-after N]

  --dir DIR         the bus's directory; ./data/flights if left out
  --ticks-of N      flights a tick, 1 to 100000; 2000 if left out
  --stop-after N    stop after so many flights; run again to go on
`;

const given = parseFlags();
if (given.help) {
  console.log(HELP);
  Deno.exit(0);
}

/** The command line; what is no flag of ours ends the program with a line that says so. */
function parseFlags() {
  try {
    return parseArgs({
      args: Deno.args,
      options: {
        "dir": { type: "string", default: "./data/flights" },
        "ticks-of": { type: "string", default: "2000" },
        "stop-after": { type: "string", default: "1000000000" },
        "help": { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}: --help shows what there is`);
    Deno.exit(2);
  }
}

/** A number from the command line. */
function count(flag: "ticks-of" | "stop-after", max: number): number {
  const value = /^\d+$/.test(given[flag]) ? Number(given[flag]) : NaN;
  if (value >= 1 && value <= max) return value;
  console.error(`Cannot use "${given[flag]}" as --${flag}: give a number from 1 to ${max}`);
  Deno.exit(2);
}

const number = (value: number) => value.toLocaleString("en");
const flightsPerTick = count("ticks-of", 100_000), stopAfter = count("stop-after", 1e9);

const flights = await readFlights();
console.log(
  `File      ${number(flights.count)} flights, reported to the U.S. Bureau of Transportation
          Statistics (vega-datasets: ${flights.url.pathname.split("/").at(-1)}); it names no day`,
);

await using bus = await StateBus.open({ dir: given.dir, durability: "group" });
const { tick, state, reason } = bus.opened;
const before = flightsIn(bus);
console.log(
  `Bus       ${given.dir}: ${
    tick === 0
      ? "new"
      : `${number(before)} flights are there after ${number(tick)} ticks${
        state === "torn" ? `; a torn tail was cut (${reason})` : ""
      }`
  }`,
);

// Load, and say what is on the disk: a line is printed when its tick is acknowledged.
const started = performance.now();
let deltas = 0, ticks = 0, shown = started;
for await (const step of loadFlights(bus, flights, { flightsPerTick, stopAfter })) {
  deltas += step.deltas;
  ticks++;
  if (performance.now() - shown < 100) continue;
  shown = performance.now();
  console.log(`          tick ${number(step.tick)} is durable: ${number(step.flights)} flights`);
}
const seconds = (performance.now() - started) / 1000;
if (ticks === 0) console.log("Loaded    nothing: all that was asked for is there");
else {
  console.log(
    `Loaded    ${number(deltas)} deltas in ${number(ticks)} ticks and ${seconds.toFixed(2)} s: ${
      number(Math.round(deltas / seconds))
    } deltas/s from the first
          tick to the last acknowledgement, all on the disk (durability "${bus.durability}")`,
  );
}

// One page's past: who changed it, when, why, and from what to what.
const hour = 3;
console.log(`\nHistory of page "${totalsName(hour)}", its first deltas:`);
let lines = 0;
for await (const entry of bus.history(bus.find(totalsName(hour))!)) {
  const [old, now] = [entry.before, entry.after].map((span) => {
    const bytes = new Uint8Array(24);
    bytes.set(span, entry.offset);
    return decodeTotals(bytes);
  });
  const change = entry.offset === 0
    ? `flights ${old.flights} → ${now.flights}, minutes late ${old.delay} → ${now.delay}, miles ${old.miles} → ${now.miles}`
    : `latest ${old.latest} → ${now.latest} min, earliest ${old.earliest} → ${now.earliest} min`;
  console.log(
    `  tick ${entry.tick}, epoch ${entry.epoch}, ${entry.source}, ${entry.intent}: ${change}`,
  );
  if (++lines === 6) break;
}

// A column is typed arrays over the bytes of the pages: this loop reads it where it lies.
const rows = bus.table(FLIGHTS_SCHEMA, FLIGHTS_TABLE);
let miles = 0, longest = 0, row = 0;
for (const chunk of rows.column("distance")) {
  for (let i = 0; i < chunk.length; i++, row++) {
    miles += chunk[i];
    if (chunk[i] > rows.get(longest, "distance")) longest = row;
  }
}
const { distance, delay, time } = rows.row(longest);
console.log(`
Table "${rows.name}": ${number(rows.length)} rows, ${number(miles)} miles in all; row ${
  number(longest)
} is the first of the longest flights:
  ${number(distance)} miles, departed ${clockText(Math.round(60 * time))}, ${
  Math.abs(delay)
} minutes ${delay < 0 ? "early" : "late"}`);

// What the deltas add up to, beside sums that never saw the bus.
const loaded = flightsIn(bus);
const inBus = totalsIn(bus), inFile = totalsOf(flights, loaded);
console.log("\nHour    flights   late by 15 min   mean delay   latest      miles");
for (let h = 0; h < HOURS; h += 3) {
  const { flights: f, late, delay, latest, miles } = inBus[h];
  const share = f === 0 ? "-" : `${(100 * late / f).toFixed(1)} %`;
  const mean = f === 0 ? "-" : `${(delay / f).toFixed(1)} min`;
  console.log(
    `${String(h).padStart(2, "0")}h  ${number(f).padStart(11)}${share.padStart(17)}${
      mean.padStart(13)
    }${`${latest} min`.padStart(10)}${number(miles).padStart(11)}`,
  );
}
const equal = JSON.stringify(inBus) === JSON.stringify(inFile);
const wrong = wrongRows(bus, flights, loaded);
const sumsEqual = JSON.stringify(sumsIn(bus)) === JSON.stringify(sumsOf(flights, loaded));
const { ok, rows: replayed } = await bus.verify();
console.log(`
${
  equal
    ? "✓"
    : "✗"
} The totals of all ${HOURS} hours equal the sums over the file (late: ${LATE_MINUTES} minutes or more)
${wrong === 0 ? "✓" : "✗"} ${number(loaded - wrong)} of ${number(loaded)} rows equal the file's
${sumsEqual ? "✓" : "✗"} The sum of each column equals the sum over the file
${ok ? "✓" : "✗"} Replaying the log's ${
  number(replayed)
} deltas (two a flight for the totals, the rest for the table) gives the same bytes`);
await bus.close();
if (!equal || !sumsEqual || wrong > 0 || !ok) Deno.exit(1);
