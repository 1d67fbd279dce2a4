/** Amounts moved between accounts, each move a transaction: `deno bench -A bench/transaction_bench.ts`. */

import { DatabaseSync } from "node:sqlite";
import { StateBus, struct } from "../mod.ts";
import { bench, type Place, type Side } from "./_comparison.ts";
import { numbers } from "./_harness.ts";
import { SEED } from "./_work.ts";

const Account = struct({ balance: "f64" });
const ACCOUNTS = 256;
const FIRST = 1000;

/** Who gives to whom, and how much. */
type Move = readonly [from: number, to: number, amount: number];

function movesOf(count: number): readonly Move[] {
  const next = numbers(SEED);
  return Array.from({ length: count }, () => {
    const from = next() % ACCOUNTS, step = 1 + next() % (ACCOUNTS - 1);
    return [from, (from + step) % ACCOUNTS, 1 + next() % 10] as const;
  });
}

async function onBus({ size }: Place): Promise<Side> {
  const moves = movesOf(size), bus = await StateBus.open();
  const accounts = Array.from({ length: ACCOUNTS }, () => bus.create(Account));
  await bus.commit(() => accounts.forEach((account) => account.set({ balance: FIRST })));
  return {
    async run() {
      for (const [from, to, amount] of moves) {
        await bus.transaction((tx) => {
          tx.set(accounts[from], { balance: tx.get(accounts[from], "balance") - amount });
          tx.set(accounts[to], { balance: tx.get(accounts[to], "balance") + amount });
        });
      }
    },
    result: () => accounts.map((account) => account.get("balance")).join(),
    close: () => bus.close(),
  };
}

function onSqlite({ size }: Place): Side {
  const moves = movesOf(size), database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE account (id INTEGER PRIMARY KEY, balance REAL NOT NULL)");
  const insert = database.prepare("INSERT INTO account VALUES (?, ?)");
  const read = database.prepare("SELECT balance FROM account WHERE id = ?");
  const write = database.prepare("UPDATE account SET balance = ? WHERE id = ?");
  for (let id = 0; id < ACCOUNTS; id++) insert.run(id, FIRST);
  const balance = (id: number) => read.get(id)!.balance as number;
  return {
    run() {
      for (const [from, to, amount] of moves) {
        database.exec("BEGIN");
        write.run(balance(from) - amount, from);
        write.run(balance(to) + amount, to);
        database.exec("COMMIT");
      }
    },
    result: () => Array.from({ length: ACCOUNTS }, (_, id) => balance(id)).join(),
    close: () => database.close(),
  };
}

export default bench({
  unit: "100 transactions that each move an amount between two of 256 accounts, in memory",
  size: 100,
  smokeSize: 20,
  sides: {
    "numbers in an array": ({ size }) => {
      const moves = movesOf(size), balances = new Float64Array(ACCOUNTS).fill(FIRST);
      return {
        run() {
          for (const [from, to, amount] of moves) {
            balances[from] -= amount;
            balances[to] += amount;
          }
        },
        result: () => balances.join(),
      };
    },
    "bus.transaction": onBus,
    "node:sqlite :memory:": onSqlite,
  },
});
