import assert from "node:assert/strict";
import { killProcesses } from "./kill.ts";

const KILLS = Deno.env.get("CI") === "true" ? 200 : 20;

Deno.test(`kill -9 at ${KILLS} random moments loses no acknowledged tick and leaves none half`, async () => {
  const counts = await killProcesses({ kills: KILLS });
  assert.equal(counts.kills, KILLS);
  assert(counts.acknowledged > 0, "ticks were acknowledged before the kills");
  assert(counts.checkpoints > 0 && counts.past > KILLS / 2, JSON.stringify(counts));
});
