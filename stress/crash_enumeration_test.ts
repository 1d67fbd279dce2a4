import assert from "node:assert/strict";
import { enumerateCrashes } from "./crash_enumeration.ts";

Deno.test("the crash enumeration over the faulty storage agrees with the model", async () => {
  const counts = await enumerateCrashes({ scale: 0.02 });
  assert(counts.workloads >= 72, "all workloads of one and two operations");
  for (const [what, count] of Object.entries(counts)) assert(count > 0, what);
});

Deno.test("the crash enumeration over several lanes agrees with the model", async () => {
  const counts = await enumerateCrashes({ scale: 0.02, lanes: 3, part: [1, 8] });
  for (const [what, count] of Object.entries(counts)) {
    assert(count > 0 || what === "metaFlips", what);
  }
});
