/** Columns: scans and appends: `deno bench -A bench/table_bench.ts`. */

import { tableFromArrays } from "apache-arrow";
import { StateBus } from "../mod.ts";
import { bench, type OpenSide, type Place } from "./_comparison.ts";
import { hash } from "./_harness.ts";
import { bytesOf, flightColumns, Flights, type FlightTable, readBack } from "./_subjects_table.ts";

async function loaded({ size }: Place): Promise<{ bus: StateBus; flights: FlightTable }> {
  const bus = await StateBus.open({ memoryLimitBytes: 2 ** 28 });
  const flights = bus.createTable(Flights);
  await bus.commit(() => flights.append(flightColumns(size)));
  return { bus, flights };
}

function sumOf(array: Int16Array): number {
  let sum = 0;
  for (let i = 0; i < array.length; i++) sum += array[i];
  return sum;
}

interface Scan {
  /** Sums all delays once. */
  readonly sum: () => number;
  readonly close?: () => Promise<void>;
}

function scanning(open: (place: Place) => Scan | Promise<Scan>): OpenSide {
  return async (place) => {
    const { sum, close } = await open(place);
    let total = 0;
    return { run: () => void (total += sum()), result: () => `${total}`, close };
  };
}

function appending(dir: boolean): OpenSide {
  return async ({ size, folder }) => {
    const bus = await StateBus.open({ memoryLimitBytes: 2 ** 30, ...(dir && { dir: folder() }) });
    const columns = flightColumns(size), flights = bus.createTable(Flights, { name: "flights" });
    await bus.commit();
    let first = 0;
    return {
      async run() {
        first = flights.append(columns);
        const report = await bus.tick();
        await report.durable;
      },
      result: () => `${hash(...readBack(flights, columns, first))} ${flights.length}`,
      close: () => bus.close(),
    };
  };
}

export default bench({
  unit: "one column of 1,000,000 i16 summed",
  size: 1_000_000,
  smokeSize: 2000,
  sides: {
    "typed array": scanning(({ size }) => {
      const { delay } = flightColumns(size);
      return { sum: () => sumOf(delay) };
    }),
    "table.column": scanning(async (place) => {
      const { bus, flights } = await loaded(place);
      const sum = (): number => {
        let sum = 0;
        for (const chunk of flights.column("delay")) {
          for (let i = 0; i < chunk.length; i++) sum += chunk[i];
        }
        return sum;
      };
      return { sum, close: () => bus.close() };
    }),
    "apache-arrow, for of": scanning(({ size }) => {
      const column = tableFromArrays({ delay: flightColumns(size).delay }).getChild("delay")!;
      const sum = (): number => {
        let sum = 0;
        for (const value of column) sum += value!;
        return sum;
      };
      return { sum };
    }),
    "array of objects": scanning(({ size }) => {
      const { delay, distance } = flightColumns(size);
      const rows = Array.from(delay, (value, i) => ({ delay: value, distance: distance[i] }));
      return { sum: () => rows.reduce((sum, row) => sum + row.delay, 0) };
    }),
  },
}, {
  unit: "100,000 rows of 6 columns appended to a table",
  size: 100_000,
  smokeSize: 2000,
  runs: 20,
  sides: {
    "columns copied": ({ size }) => {
      const columns = flightColumns(size), parts = Object.values(columns);
      const kept: ArrayBufferView[][] = [];
      return {
        run: () => void kept.push(parts.map((part) => part.slice())),
        result: () => {
          const last = kept[kept.length - 1].map(bytesOf);
          return `${hash(...last)} ${kept.length * size}`;
        },
      };
    },
    "raw write and sync": ({ size, folder }) => {
      const parts = Object.values(flightColumns(size)).map(bytesOf), dir = folder();
      let files = 0;
      return {
        run() {
          const file = Deno.openSync(`${dir}/${files++}`, { write: true, create: true });
          for (const part of parts) {
            for (let done = 0; done < part.length;) done += file.writeSync(part.subarray(done));
          }
          file.syncDataSync();
          file.close();
        },
        result: () => `${hash(Deno.readFileSync(`${dir}/${files - 1}`))} ${files * size}`,
      };
    },
    "table.append, in memory": appending(false),
    "table.append, durable": appending(true),
  },
});
