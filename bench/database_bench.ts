/** Durable transactions beside node:sqlite and lmdb: `deno bench -A bench/database_bench.ts`. */

import { bench } from "./_comparison.ts";
import { transactions } from "./_work_databases.ts";

export default bench(transactions);
