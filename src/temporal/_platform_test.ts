import { equal, ok } from "node:assert/strict";
import { systemClockErrorUs, systemNowUs } from "./_platform.ts";

Deno.test("systemNowUs() gives whole microseconds that never go back", () => {
  let before = 0;
  for (let i = 0; i < 10_000; i++) {
    const us = systemNowUs();
    ok(Number.isSafeInteger(us));
    ok(us >= before);
    before = us;
  }
});

Deno.test("systemNowUs() lies within its bound of the wall clock", () => {
  const aheadUs = systemNowUs() - Date.now() * 1000;
  ok(Math.abs(aheadUs) <= systemClockErrorUs() + 1000, `${aheadUs} µs apart`);
  equal(systemClockErrorUs(), 100_000);
});
