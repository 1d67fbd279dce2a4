/** Five nodes over a bad network, judged by what really happened; `deno task stress causal` runs 1,000 seeds. */
import { equal, ok, throws } from "node:assert/strict";
import { runNetwork } from "./testdata/simulated_network.ts";

const SEEDS = 40;

Deno.test("CausalQueue delivers everything once and in causal order over a network that fails", () => {
  let held = 0, lost = 0, duplicates = 0, requests = 0, restarts = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      const counts = runNetwork({ seed, checks: seed <= 5 });
      held += counts.held;
      lost += counts.lostPackets;
      duplicates += counts.duplicates;
      requests += counts.requests;
      restarts += counts.restarts;
    } catch (error) {
      throw new Error(`Seed ${seed}: deno task stress causal --seed ${seed} --scale 0.001`, {
        cause: error,
      });
    }
  }
  // What was to be survived did happen.
  for (const count of [held, lost, duplicates, requests]) ok(count > 10 * SEEDS);
  equal(restarts, SEEDS);
});

Deno.test("The oracle of the simulated network finds planted faults", () => {
  const faults = {
    "deliver-early": /before what it depends on/,
    "deliver-twice": /twice/,
    "no-requests": /does not have all/,
    "no-causality-in-hlc": /not after what it took/,
    "restart-without-vector": /has sent 0|twice/,
  } as const;
  for (const [fault, message] of Object.entries(faults)) {
    throws(() => {
      for (let seed = 1; seed <= 10; seed++) {
        runNetwork({ seed, fault: fault as keyof typeof faults });
      }
    }, message);
  }
});
