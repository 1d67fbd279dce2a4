/** What holds for the clock of one thread alone; see `hybrid_clock_test.ts` for the rest. */
import { equal, ok } from "node:assert/strict";
import { HybridLogicalClock } from "./hlc.ts";
import { systemNowUs } from "./_platform.ts";
import { addToHi, addToLo, physicalUs } from "./timestamp.ts";

Deno.test("HybridLogicalClock.now() rises strictly a million times within one microsecond", () => {
  const clock = new HybridLogicalClock({ nowUs: () => 1_767_225_600_000_000 });
  clock.now();
  const first = clock.peek();
  let [hi, lo] = [clock.hi, clock.lo];
  for (let i = 0; i < 1_000_000; i++) {
    clock.now();
    ok(clock.hi === addToHi(hi, lo, 1) && clock.lo === addToLo(lo, 1));
    hi = clock.hi;
    lo = clock.lo;
  }
  equal(clock.peek(), first + 1_000_000n);
});

Deno.test("HybridLogicalClock follows the system's clock", () => {
  const clock = new HybridLogicalClock({ nowUs: systemNowUs });
  const before = systemNowUs();
  const us = physicalUs(clock.nowBigint());
  ok(us >= before && us <= systemNowUs());
});

Deno.test("HybridLogicalClock orders a message's answer after the message", () => {
  // Two nodes whose physical clocks disagree by 300 ms.
  const fast = new HybridLogicalClock({ node: 1, nowUs: () => 10_300_000 });
  const slow = new HybridLogicalClock({ node: 2, nowUs: () => 10_000_000 });
  let last = 0n;
  for (let round = 0; round < 100; round++) {
    const question = fast.nowBigint();
    const answer = slow.updateBigint(question);
    ok(last < question && question < answer);
    last = fast.updateBigint(answer);
    ok(answer < last);
  }
});
