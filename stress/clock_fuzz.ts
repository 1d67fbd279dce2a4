/** A million hostile datagrams against the SNTP client's codec and checks, and the memory that stays. */
import { fuzzSntp, type SntpFuzzCounts } from "../src/temporal/sources/testdata/fuzz_sntp.ts";
import { scaled, type StressOptions } from "./_report.ts";

const DATAGRAMS = 1_000_000;

/** Parts of the run between which memory is looked at. */
const PARTS = 10;

/** What the process may grow by after the first part: the collector's, not the codec's. */
const GROWTH_BYTES_MAX = 16 * 2 ** 20;

/** Runs them; throws at the first exception, and where memory grows. */
export function fuzzClock({ scale, seed, progress }: StressOptions): SntpFuzzCounts {
  const part = Math.ceil(scaled(DATAGRAMS, scale) / PARTS);
  const sum = { datagrams: 0, noPackets: 0, foreign: 0, refused: 0, kisses: 0, samples: 0 };
  let firstBytes = 0;
  for (let i = 0; i < PARTS; i++) {
    const counts = fuzzSntp(part, seed * PARTS + i);
    for (const key of Object.keys(sum) as (keyof SntpFuzzCounts)[]) sum[key] += counts[key];
    const { heapUsed, external } = Deno.memoryUsage();
    if (i === 0) firstBytes = heapUsed + external;
    const growth = heapUsed + external - firstBytes;
    if (growth > GROWTH_BYTES_MAX) throw new Error(`${growth} bytes more after ${sum.datagrams}`);
    progress(`${sum.datagrams} datagrams`);
  }
  return sum;
}
