/** Vector clocks and delivery in causal order: `deno bench -A bench/causal_bench.ts`. */

import { comparisons, increments, inOrder, merges, reversed } from "./_subjects_causal.ts";
import { bench } from "./_comparison.ts";

export default bench(increments, merges, comparisons, inOrder, reversed);
