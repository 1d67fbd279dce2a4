/** A bus opened and closed: `deno bench -A bench/open_bench.ts`. */

import { DatabaseSync } from "node:sqlite";
import { StateBus } from "../mod.ts";
import { bench } from "./_comparison.ts";
import { busOfPages, stateHash } from "./_work.ts";

export default bench({
  unit: "an empty store opened and closed, in memory",
  size: 1,
  smokeSize: 1,
  sides: {
    "node:sqlite :memory:": () => {
      let runs = 0;
      return {
        run() {
          const database = new DatabaseSync(":memory:");
          database.close();
          runs++;
        },
        result: () => `${runs}`,
      };
    },
    "StateBus": () => {
      let runs = 0;
      return {
        async run() {
          const bus = await StateBus.open();
          await bus.close();
          runs += bus.closed ? 1 : 0;
        },
        result: () => `${runs}`,
      };
    },
  },
}, {
  unit: "a store of 1,000 rows of 16 bytes opened, one row written, closed, all durable",
  size: 1000,
  smokeSize: 50,
  runs: 20,
  sides: {
    "node:sqlite (WAL, FULL)": ({ size, folder }) => {
      const path = `${folder()}/peer.sqlite`;
      const open = () => {
        const database = new DatabaseSync(path);
        database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
        return database;
      };
      const first = open();
      first.exec("CREATE TABLE cell (id INTEGER PRIMARY KEY, value BLOB NOT NULL)");
      const insert = first.prepare("INSERT INTO cell VALUES (?, ?)");
      first.exec("BEGIN");
      for (let id = 1; id <= size; id++) insert.run(id, new Uint8Array(16));
      first.exec("COMMIT");
      first.close();
      let runs = 0;
      return {
        run() {
          const database = open(), value = new Uint8Array(16);
          value[0] = ++runs;
          database.prepare("UPDATE cell SET value = ? WHERE id = 1").run(value);
          database.close();
        },
        result() {
          const database = open();
          const rows = database.prepare("SELECT value FROM cell ORDER BY id").all();
          database.close();
          const bytes = new Uint8Array(16 * size);
          rows.forEach(({ value }, i) => bytes.set(value as Uint8Array, 16 * i));
          return bytes;
        },
      };
    },
    "StateBus": async ({ size, folder }) => {
      const dir = folder(), first = await busOfPages(size, 16, { dir });
      await first.close();
      let runs = 0;
      return {
        async run() {
          const bus = await StateBus.open({ dir });
          await bus.commit(() => bus.page(1).write(0, Uint8Array.of(++runs)));
          await bus.close();
        },
        async result() {
          await using bus = await StateBus.open({ dir, readOnly: true });
          return stateHash(bus);
        },
      };
    },
  },
});
