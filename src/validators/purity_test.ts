/** Validator 4 on few rounds: pure rules pass, each planted fault is found, and a fault among the pure ones counts. */

import assert from "node:assert/strict";
import { cleanGlobals, plantedRules, PURE } from "./_purity_subjects.ts";
import { runSubject } from "./_purity_work.ts";
import { measurePurity, purityMetrics } from "./purity.ts";

Deno.test("measurePurity() finds pure rules pure and every planted fault", async () => {
  const outcome = await measurePurity({ rounds: 10, seed: 2 }, () => {});
  assert.deepEqual(outcome.verdict.found, []);
  assert.deepEqual(outcome.planted.filter(({ found }) => !found), []);
  assert(outcome.planted.length >= 20 && outcome.verdict.incremental > 100);
  assert.deepEqual(purityMetrics(outcome), {
    sideEffects: 0,
    agreePercent: 100,
    plantedFound: 100,
  });
});

Deno.test("measurePurity() says which planted fault was not found", async () => {
  // A rule without a fault, and one whose fault is not the one that is looked for.
  const [pure] = PURE, counting = plantedRules().find(({ id }) => id === "rule-counts")!;
  const outcome = await measurePurity({ rounds: 2, seed: 1 }, () => {}, [], [
    { ...pure, id: "rule-clock", finds: /./ },
    { ...counting, finds: /Date was asked/ },
  ]);
  const missed = outcome.planted.filter(({ found }) => !found).map(({ id }) => id);
  assert.deepEqual(missed, ["rule-clock", "rule-counts"]);
  assert(purityMetrics(outcome).plantedFound < 100);
});

Deno.test("measurePurity() counts what an impure rule does, and says what it is", async () => {
  const found = async (name: string) => {
    const faulty = plantedRules().find((rule) => rule.name === name)!;
    const outcome = await measurePurity({ rounds: 10, seed: 1 }, () => {}, [faulty], []);
    const { sideEffects, agreePercent } = purityMetrics(outcome);
    return { sideEffects, agreePercent, text: outcome.verdict.found.join("\n") };
  };
  const writing = await found("writes another page");
  assert(writing.sideEffects > 10);
  assert.match(writing.text, /page \d+ was written, which is no output/);
  const drawing = await found("draws a number and does not use it");
  assert(drawing.sideEffects > 10);
  assert.match(drawing.text, /crypto.getRandomValues was asked/);
  const counting = await found("counts its runs");
  assert(counting.agreePercent < 80 && counting.sideEffects === 0);
  const reading = await found("reads another page");
  assert.match(reading.text, /after unrelated work: \d+ of 11 results differ/);
  const threads = await found("threadDependent");
  assert.match(threads.text, /in another thread: \d+ of 11 results differ/);
  const wrong = await found("forgets the old value");
  assert.match(wrong.text, /in full: \d+ of 11 results differ/);
  cleanGlobals();
});

Deno.test("runSubject() gives other outputs for other seeds, and clocks and chance are as before", async () => {
  const { now } = Date, { random } = Math;
  for (const subject of PURE) {
    const [a, b] = [1, 2].map((seed) => runSubject(subject, { rounds: 5, seed }));
    assert.notDeepEqual(await a, await b, subject.name);
  }
  await measurePurity({ rounds: 2, seed: 1 }, () => {}, PURE.slice(0, 1), []);
  assert.equal(Date.now, now);
  assert.equal(Math.random, random);
  assert.equal(Object.hasOwn(performance, "now"), false);
});
