/** Clocks, beside @consento/hlc and the runtime's: `deno bench -A bench/clock_bench.ts`. */

import { bench } from "./_comparison.ts";
import { comparing, readingTime, receiving, taking } from "./_work_clock.ts";

export default bench(taking, receiving, comparing, readingTime);
