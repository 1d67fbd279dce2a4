/**
 * Causal delivery over simulated networks, one a seed.
 *
 * Five nodes broadcast and answer while packets are late, lost, doubled and cut off, clocks are off, one node comes late, one
 * is paused, and one is opened again from what it wrote down. What really happened before what is kept by the simulator, apart from all vectors; it judges each delivery, every
 * stamp, and that at the end every node has every message once.
 */

import {
  type NetworkCounts,
  runNetwork,
} from "../src/temporal/causality/testdata/simulated_network.ts";
import { scaled, type StressOptions } from "./_report.ts";

/** Networks at scale 1. */
const NETWORKS = 1000;

/** Runs networks with seeds from `seed` on; gives what they did together. A failure names the seed. */
export async function runNetworks(
  { scale, seed, progress }: StressOptions,
): Promise<NetworkCounts & { networks: number }> {
  const networks = scaled(NETWORKS, scale);
  const sum: Record<string, number> = { networks };
  for (let i = 0; i < networks; i++) {
    const counts = runSeed(seed + i);
    for (const [name, value] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + value;
    if (i % 100 === 99) {
      progress(`${i + 1} of ${networks} networks`);
      // The simulation waits for nothing: let others run.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  return sum as unknown as NetworkCounts & { networks: number };
}

function runSeed(seed: number): NetworkCounts {
  try {
    return runNetwork({ seed, checks: seed % 16 === 0 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `Network ${seed}: ${reason}; repeat it with deno task stress causal --seed ${seed} --scale 0.001`,
      { cause: error },
    );
  }
}
