/**
 * The fault catalogue: every fault that is planted in a log or a checkpoint is found by its name and at its place,
 * in memory and by `mmsb validate --data` on a disk; and nothing is found where there is none.
 */

import assert from "node:assert/strict";
import { auditLog, type MemoryStorage, verifyLog } from "../log/mod.ts";
import { withFolder } from "./_figures.ts";
import { putTogether, takeApart } from "./_forge.ts";
import { plantAll } from "./_planted.ts";
import {
  isFoundIn,
  otherCheckpoints,
  plantCheckpoints,
  withCheckpoints,
} from "./_planted_checkpoints.ts";
import { isFound, type PlantedFault } from "./_planted_fault.ts";
import { plantReplays } from "./_planted_replay.ts";
import { SAMPLE_SHARDS, sampleLog } from "./_sample_log.ts";
import { CATALOGUE, catalogueFault, plantedNotes, plantedResults } from "./catalogue.ts";
import { integrityValidator } from "./integrity.ts";

Deno.test("the catalogue names each fault once, says what it is, and whose it is", () => {
  assert(CATALOGUE.length >= 150, `${CATALOGUE.length}`);
  for (const field of ["id", "title"] as const) {
    const texts = CATALOGUE.map((fault) => fault[field]);
    assert.deepEqual(texts.filter((text, at) => texts.indexOf(text) !== at), []);
  }
  for (const { id, title, about, finding, place, validators } of CATALOGUE) {
    assert.match(id, /^[a-z]+(-[a-z]+)*$/);
    for (const text of [title, about, finding, place]) assert(text.length >= 3, id);
    assert(validators.length > 0 && validators.every((number) => number >= 1 && number <= 10), id);
  }
  for (let number = 1; number <= 10; number++) {
    assert(CATALOGUE.filter(({ validators }) => validators.includes(number)).length >= 3);
  }
});

Deno.test("plantedResults() takes what was not planted as not found, and nothing that is not the validator's", () => {
  const own = CATALOGUE.filter(({ validators }) => validators.includes(5)).map(({ id }) => id);
  const all = own.map((id) => ({ id, found: true }));
  assert.deepEqual(plantedResults(5, all), all);
  assert.deepEqual(plantedNotes(all), [`${own.length} of ${own.length} planted faults found`]);
  const [first, ...rest] = all;
  // Planted twice and found once, and never planted: neither is found.
  const seen = plantedResults(5, [first, { ...first, found: false }]);
  assert.deepEqual(seen.map(({ found }) => found), own.map(() => false));
  const [count, missed] = plantedNotes(plantedResults(5, rest));
  assert.match(count, new RegExp(`^${rest.length} of ${own.length} `));
  assert.equal(missed, `not found: ${catalogueFault(own[0]).title}`);
  assert.throws(() => plantedResults(5, [{ id: "epoch-gap", found: true }]), RangeError);
  assert.throws(() => catalogueFault("none"), RangeError);
});

Deno.test("auditLog() finds each planted fault by its name and at its place, and nothing in the sample", async () => {
  const sample = await sampleLog(3), other = await sampleLog(4);
  const clean = auditLog(sample);
  assert.deepEqual(clean.problems, []);
  assert.deepEqual(auditLog(putTogether(takeApart(sample), SAMPLE_SHARDS).storage).problems, []);
  const planted = await plantAll(sample, other);
  for (const fault of planted) {
    const audit = auditLog(fault.storage);
    assert(isFound(fault, audit), `${fault.id}: ${JSON.stringify(audit.problems.slice(0, 5))}`);
    // One fault is not told as a thousand; what misses a whole lane is told once a tick.
    const most = fault.id === "segment-of-another-log" ? 1000 : 15;
    assert(audit.problems.length <= most, `${fault.id}: ${audit.problems.length} problems`);
    assert(!isFound(fault, clean), fault.id);
  }
  const good = await withCheckpoints(sample);
  const inCheckpoints = plantCheckpoints(good, await otherCheckpoints(sample, other));
  const ids = [...planted, ...inCheckpoints].map(({ id }) => id);
  const due = CATALOGUE.filter(({ validators }) => validators.includes(2)).map(({ id }) => id);
  assert.deepEqual(ids.toSorted(), due.toSorted());
});

Deno.test("each fault planted in a checkpoint is found by its file, and nothing where there is none", async () => {
  const sample = await sampleLog(3), good = await withCheckpoints(sample);
  assert.deepEqual(auditLog(good.closed).problems, []);
  const others = await otherCheckpoints(sample, await sampleLog(4));
  for (const { closed } of Object.values(others)) assert.deepEqual(auditLog(closed).problems, []);
  for (const fault of plantCheckpoints(good, others)) {
    assert(isFoundIn(fault), fault.id);
    for (const storage of [good.closed, good.crashed]) {
      assert(!isFoundIn({ ...fault, storage }), fault.id);
    }
    // A state that is not the right one is no good, however well the file is named.
    if (fault.foundBy === "both") assert(!isFoundIn({ ...fault, digest: "" }), fault.id);
  }
});

Deno.test("what is planted for replays differs from the true log, whatever the seed", async () => {
  for (const seed of [1, 2]) {
    await withFolder("planted", async (folder) => {
      const results = plantedResults(1, await plantReplays(folder, seed));
      assert.deepEqual(results.filter(({ found }) => !found), []);
    });
  }
});

Deno.test("validator 2 and mmsb log verify find every planted fault on a disk, and say where", async () => {
  const sample = await sampleLog(5), planted = await plantAll(sample, await sampleLog(6));
  await withFolder("catalogue", async (folder) => {
    for (const fault of planted) {
      const directory = `${folder}/${fault.id}`;
      await store(directory, fault.storage);
      assert(isFound(fault, await verifyLog(directory)), fault.id);
      await assertNamed(fault, directory);
    }
  });
});

/** What validator 2 says of a directory names the place; a torn tail is named, and no damage. */
async function assertNamed({ id, expected, anywhere }: PlantedFault, directory: string) {
  const context = { quick: true, seed: 1, progress: () => {}, directory };
  const { damage, notes = [] } = await integrityValidator.run(context);
  const { kind, file, offset, tick } = expected, said = [damage ?? "", ...notes].join("\n");
  assert.equal(damage === undefined, kind === "torn", `${id}: ${damage}`);
  assert(said.includes(file), `${id}: ${file} in ${said}`);
  const at = new RegExp(`\\bbyte ${offset}\\b`);
  if (offset > 0 && !anywhere) assert.match(said, at, id);
  if (tick !== undefined) assert.match(said, new RegExp(`\\b[tT]icks? [^\n]*\\b${tick}\\b`), id);
}

/** Writes a log into a directory. */
async function store(directory: string, storage: MemoryStorage): Promise<void> {
  for (const [path, bytes] of storage.image()) {
    const folder = path.includes("/")
      ? `${directory}/${path.slice(0, path.lastIndexOf("/"))}`
      : directory;
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeFile(`${directory}/${path}`, bytes);
  }
}
