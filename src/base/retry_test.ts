import assert from "node:assert/strict";
import fc from "fast-check";
import { MMSB_ERROR_CODES, MmsbError, type MmsbErrorCode } from "./errors.ts";
import { retry, RETRY_ATTEMPTS_MAX } from "./retry.ts";

/** A sleep that notes how long it was asked for, and takes no time. */
function fakeSleep(): { delaysMs: number[]; sleep: (delayMs: number) => Promise<void> } {
  const delaysMs: number[] = [];
  return { delaysMs, sleep: async (delayMs) => void delaysMs.push(delayMs) };
}

/** A function that fails with the code a number of times, then gives its attempt's number. */
function failing(times: number, code: MmsbErrorCode = "network") {
  const seen: number[] = [];
  const fn = (attempt: number): number => {
    seen.push(attempt);
    if (seen.length <= times) throw new MmsbError(code, `Cannot do it: failure ${seen.length}`);
    return attempt;
  };
  return { seen, fn };
}

Deno.test("retry() calls once and does not wait where the first call succeeds", async () => {
  const { delaysMs, sleep } = fakeSleep();
  const { seen, fn } = failing(0);
  assert.equal(await retry(fn, { sleep }), 1);
  assert.deepEqual([seen, delaysMs], [[1], []]);
});

Deno.test("retry() numbers the attempts and returns the first success", async () => {
  const { delaysMs, sleep } = fakeSleep();
  const { seen, fn } = failing(3);
  assert.equal(await retry(fn, { sleep, delayMsMin: 8, delayMsMax: 1000 }), 4);
  assert.deepEqual(seen, [1, 2, 3, 4]);
  assert.deepEqual(delaysMs, [4, 8, 16], "half of 8, 16, 32");
});

Deno.test("retry() waits for a promise that the function gives", async () => {
  const { sleep } = fakeSleep();
  const { fn } = failing(1);
  assert.equal(await retry(async (attempt) => await Promise.resolve(fn(attempt)), { sleep }), 2);
});

Deno.test("retry() throws the last error unchanged where the attempts are spent", async () => {
  for (const attempts of [1, 2, 5]) {
    const { delaysMs, sleep } = fakeSleep();
    const { seen, fn } = failing(Infinity);
    await assert.rejects(retry(fn, { attempts, sleep }), {
      code: "network",
      message: `Cannot do it: failure ${attempts}`,
    });
    assert.equal(seen.length, attempts);
    assert.equal(delaysMs.length, attempts - 1, "no wait after the last call");
  }
});

Deno.test("retry() tries again exactly where the code says that it can help", async () => {
  for (const [code, { retryable }] of Object.entries(MMSB_ERROR_CODES)) {
    const { seen, fn } = failing(1, code as MmsbErrorCode);
    const { sleep } = fakeSleep();
    if (retryable) assert.equal(await retry(fn, { sleep }), 2);
    else await assert.rejects(retry(fn, { sleep }), { code });
    assert.equal(seen.length, retryable ? 2 : 1, code);
  }
});

Deno.test("retry() does not try again on errors of others", async () => {
  const { sleep } = fakeSleep();
  for (const error of [new TypeError("x"), "text", undefined, { retryable: true }]) {
    let calls = 0;
    const run = retry(() => {
      calls++;
      throw error;
    }, { sleep });
    assert.equal(await run.then(() => "resolved", (caught) => caught), error);
    assert.equal(calls, 1);
  }
});

Deno.test("retry() draws each wait from 0 up to the doubling bound", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), {
      minLength: 1,
      maxLength: 20,
    }),
    fc.integer({ min: 0, max: 100 }),
    fc.integer({ min: 100, max: 5000 }),
    async (draws, delayMsMin, delayMsMax) => {
      const { delaysMs, sleep } = fakeSleep();
      const { fn } = failing(draws.length);
      let next = 0;
      const random = () => draws[next++];
      await retry(fn, { attempts: draws.length + 1, delayMsMin, delayMsMax, random, sleep });
      let bound = delayMsMin;
      for (const [i, delayMs] of delaysMs.entries()) {
        assert.equal(delayMs, draws[i] * Math.min(bound, delayMsMax));
        bound *= 2;
      }
    },
  ));
});

Deno.test("retry() stays at the longest wait after any number of attempts", async () => {
  const { delaysMs, sleep } = fakeSleep();
  const { fn } = failing(RETRY_ATTEMPTS_MAX - 1);
  await retry(fn, { attempts: RETRY_ATTEMPTS_MAX, delayMsMin: 1, delayMsMax: 64, sleep });
  assert.equal(delaysMs.length, RETRY_ATTEMPTS_MAX - 1);
  assert(delaysMs.slice(6).every((delayMs) => delayMs === 32), "2 ** 1000 overflows nothing");
});

Deno.test("retry() throws the signal's reason before the first call", async () => {
  const { seen, fn } = failing(0);
  const reason = new Error("stopped");
  await assert.rejects(retry(fn, { signal: AbortSignal.abort(reason) }), reason);
  assert.deepEqual(seen, []);
});

Deno.test("retry() ends a wait in progress where the signal aborts, and leaves no timer", async () => {
  const controller = new AbortController();
  const { seen, fn } = failing(Infinity);
  const run = retry(fn, { delayMsMin: 60_000, delayMsMax: 60_000, signal: controller.signal });
  queueMicrotask(() => controller.abort(new Error("stopped")));
  await assert.rejects(run, { message: "stopped" });
  assert.deepEqual(seen, [1]);
});

Deno.test("retry() does not wait where the signal aborts during the call", async () => {
  const { delaysMs, sleep } = fakeSleep();
  const controller = new AbortController();
  const run = retry(() => {
    controller.abort(new Error("stopped"));
    throw new MmsbError("network", "Cannot reach the peer");
  }, { sleep, signal: controller.signal });
  await assert.rejects(run, { message: "stopped" });
  assert.deepEqual(delaysMs, []);
});

Deno.test("retry() waits by a real timer where no sleep is given", async () => {
  const { fn } = failing(2);
  const signal = new AbortController().signal;
  assert.equal(await retry(fn, { delayMsMin: 1, delayMsMax: 2, signal }), 3);
});

Deno.test("retry() refuses options that make no sense, before the first call", async () => {
  for (
    const options of [
      { attempts: 0 },
      { attempts: 1.5 },
      { attempts: Infinity },
      { attempts: RETRY_ATTEMPTS_MAX + 1 },
      { delayMsMin: -1 },
      { delayMsMin: NaN },
      { delayMsMin: 100, delayMsMax: 10 },
      { delayMsMax: Infinity },
    ]
  ) {
    const { seen, fn } = failing(0);
    await assert.rejects(retry(fn, options), MmsbError);
    assert.deepEqual(seen, []);
  }
  await assert.rejects(retry("fn" as never), { code: "usage" });
});
