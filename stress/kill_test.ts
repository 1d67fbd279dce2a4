import assert from "node:assert/strict";
import { killProcesses } from "./kill.ts";

const KILLS = Deno.env.get("CI") === "true" ? 200 : 20;
/** What a process was doing is left to chance, and on a busy machine few of some ten come to a checkpoint. */
const TRIES = 4;

Deno.test(`kill -9 at ${KILLS} random moments loses no acknowledged tick and leaves none half`, async () => {
  for (let seed = 1;; seed++) {
    const counts = await killProcesses({ kills: KILLS, seed });
    assert.equal(counts.kills, KILLS);
    if (counts.acknowledged > 0 && counts.checkpoints > 0 && counts.past > KILLS / 2) return;
    assert(seed < TRIES, `killed amid ticks and checkpoints: ${JSON.stringify(counts)}`);
  }
});
