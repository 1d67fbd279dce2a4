/** Durable transactions of rows under keys, on the bus and in the embedded databases that wait for the same sync. */

import { DatabaseSync } from "node:sqlite";
import { DeltaBatch } from "../mod.ts";
import type { Comparison, Place, Side } from "./_comparison.ts";
import { hash, numbers } from "./_harness.ts";
import { busOfPages, PAGES, PAYLOAD, SEED } from "./_work.ts";

/** Rows of a transaction. */
export const TRANSACTION_ROWS = 1000;
/** Name of our side. */
export const OURS = "bus.submit, tick, durable";

interface Rows {
  readonly pages: number;
  readonly keys: Uint32Array;
  readonly values: readonly Uint8Array[];
}

function rowsOf(transactions: number): Rows {
  const next = numbers(SEED), count = transactions * TRANSACTION_ROWS;
  const pages = Math.min(PAGES, 2 * count);
  const keys = Uint32Array.from({ length: count }, () => 1 + next() % pages);
  const values = Array.from({ length: count }, () => {
    return new Uint8Array(Uint32Array.from({ length: PAYLOAD / 4 }, next).buffer);
  });
  return { pages, keys, values };
}

/** Hash of what stands under the first keys. */
function valuesHash({ keys }: Rows, read: (key: number) => Uint8Array): string {
  return hash(...[...new Set(keys)].slice(0, 1000).map(read));
}

async function onBus({ size, folder }: Place): Promise<Side> {
  const rows = rowsOf(size), { keys, values } = rows;
  const bus = await busOfPages(rows.pages, PAYLOAD, { dir: `${folder()}/bus` });
  const batch = new DeltaBatch({
    rows: TRANSACTION_ROWS,
    payloadBytes: TRANSACTION_ROWS * PAYLOAD,
  });
  return {
    async run() {
      for (let first = 0; first < keys.length; first += TRANSACTION_ROWS) {
        batch.clear();
        for (let i = first; i < first + TRANSACTION_ROWS; i++) batch.push(keys[i], 0, values[i]);
        bus.submit(batch);
        const report = await bus.tick();
        await report.durable;
      }
    },
    result: () => valuesHash(rows, (key) => bus.page(key).read()),
    close: () => bus.close(),
  };
}

function onSqlite({ size, folder }: Place): Side {
  const rows = rowsOf(size), { keys, values } = rows;
  const database = new DatabaseSync(`${folder()}/peer.sqlite`);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  database.exec("CREATE TABLE cell (id INTEGER PRIMARY KEY, value BLOB NOT NULL)");
  const upsert = database.prepare(
    "INSERT INTO cell VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
  );
  const select = database.prepare("SELECT value FROM cell WHERE id = ?");
  return {
    run() {
      for (let first = 0; first < keys.length; first += TRANSACTION_ROWS) {
        database.exec("BEGIN");
        for (let i = first; i < first + TRANSACTION_ROWS; i++) upsert.run(keys[i], values[i]);
        database.exec("COMMIT");
      }
    },
    result: () => valuesHash(rows, (key) => select.get(key)!.value as Uint8Array),
    close: () => database.close(),
  };
}

/** Opened and closed around each run: what it has open when a process ends brings that process down. */
function onLmdb({ size, folder }: Place): Side {
  const rows = rowsOf(size), { keys, values } = rows, path = `${folder()}/lmdb`;
  let found = "";
  return {
    async run(watch) {
      const { open } = await import("lmdb");
      // overlappingSync off: a transaction is on the disk when it returns, as ours is.
      const database = open({
        path,
        encoding: "binary",
        keyEncoding: "uint32",
        overlappingSync: false,
      });
      watch.start();
      for (let first = 0; first < keys.length; first += TRANSACTION_ROWS) {
        await database.transaction(() => {
          for (let i = first; i < first + TRANSACTION_ROWS; i++) database.put(keys[i], values[i]);
        });
      }
      watch.end();
      found = valuesHash(rows, (key) => database.get(key));
      await database.close();
    },
    result: () => found,
  };
}

/** Some transactions, each on the disk before the next begins. */
export const transactions: Comparison = {
  unit: `40 durable transactions of ${TRANSACTION_ROWS} rows of 16 bytes`,
  size: 40,
  smokeSize: 2,
  runs: 8,
  sides: {
    "node:sqlite (WAL, FULL)": onSqlite,
    "lmdb (durable)": onLmdb,
    [OURS]: onBus,
  },
};
