/** A view over a table that changes, kept up by its deltas: `deno bench -A bench/incremental_bench.ts`. */

import { bench } from "./_comparison.ts";
import { groupsBeside } from "./_work_incremental.ts";

export default bench(groupsBeside);
