import assert from "node:assert/strict";
import { type KernelTest, selfTest } from "./selftest.ts";

const GOOD: KernelTest<number> = { name: "good", test: () => {} };

Deno.test("selfTest() passes only where there is a kernel and all agree", async () => {
  assert.deepEqual(await selfTest(1, [GOOD]), {
    passed: true,
    reason: undefined,
    kernels: [{ name: "good", reason: undefined, ms: undefined }],
    ms: undefined,
  });
  const none = await selfTest(1, []);
  assert(!none.passed);
  assert.equal(none.reason, "there is no kernel to be tested");
});

Deno.test("selfTest() names the first kernel that is wrong, and tests the others all the same", async () => {
  const run: string[] = [];
  const kernel = (name: string, outcome: () => string | undefined): KernelTest<string> => ({
    name,
    test: async (engine) => {
      await Promise.resolve();
      run.push(`${engine} ${name}`);
      return outcome();
    },
  });
  const report = await selfTest("gpu", [
    kernel("copy", () => undefined),
    kernel("merge", () => "word 7 is 1, not\n 2"),
    kernel("zero", () => {
      throw { not: "an error" };
    }),
    kernel("last", () => undefined),
  ]);
  assert(!report.passed);
  assert.equal(report.reason, "merge: word 7 is 1, not 2");
  assert.equal(typeof report.kernels[2].reason, "string");
  assert.deepEqual(run, ["gpu copy", "gpu merge", "gpu zero", "gpu last"]);
});

Deno.test("selfTest() gives each kernel its own words, the same in every run", async () => {
  const words: number[][] = [];
  const kernel = (name: string): KernelTest<number> => ({
    name,
    test: (_, random) => {
      words.push(Array.from({ length: 1000 }, random));
    },
  });
  await selfTest(1, [kernel("a"), kernel("b")]);
  await selfTest(1, [kernel("b")]);
  await selfTest(1, [kernel("b")], { seed: 2 });
  const [a, b, again, other] = words;
  assert.deepEqual(b, again);
  assert.notDeepEqual(a, b);
  assert.notDeepEqual(other, b);
  assert.equal(new Set(a).size, 1000);
  assert(a.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32));
  assert(Math.abs(a.reduce((sum, word) => sum + word) / 1000 / 2 ** 32 - 0.5) < 0.05);
});

Deno.test("selfTest() counts time by the clock that it is given", async () => {
  let now = 100;
  const slow: KernelTest<number> = { name: "slow", test: () => void (now += 5) };
  const report = await selfTest(1, [GOOD, slow], { nowMs: () => now });
  assert.deepEqual(report.kernels.map(({ ms }) => ms), [0, 5]);
  assert.equal(report.ms, 5);
});

Deno.test("selfTest() refuses two kernels with one name, and options that are none", async () => {
  await assert.rejects(selfTest(1, [GOOD, GOOD]), { code: "usage" });
  await assert.rejects(selfTest(1, [GOOD], { seed: 1.5 }), { code: "usage" });
  await assert.rejects(selfTest(1, [GOOD], { seed: -1 }), { code: "out-of-bounds" });
  await assert.rejects(selfTest(1, [GOOD], { sed: 1 } as object), { code: "usage" });
});
