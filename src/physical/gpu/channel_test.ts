import assert from "node:assert/strict";
import fc from "fast-check";
import { JobReader, JobWriter } from "./_channel.ts";
import { Staging, STAGING_BYTES_MAX } from "./_staging.ts";

const anyItem = fc.oneof(
  fc.record({ kind: fc.constant("word" as const), value: fc.integer() }),
  fc.record({ kind: fc.constant("double" as const), value: fc.double() }),
  fc.record({ kind: fc.constant("text" as const), value: fc.string({ unit: "grapheme" }) }),
  fc.record({ kind: fc.constant("json" as const), value: fc.jsonValue() }),
  fc.record({ kind: fc.constant("words" as const), value: fc.array(fc.integer()) }),
  fc.record({ kind: fc.constant("unsigned" as const), value: fc.array(fc.nat()) }),
  fc.record({
    kind: fc.constant("floats" as const),
    value: fc.array(fc.integer({ max: 2 ** 24 })),
  }),
  fc.record({ kind: fc.constant("doubles" as const), value: fc.array(fc.double()) }),
  fc.record({ kind: fc.constant("bytes" as const), value: fc.array(fc.nat(255)) }),
);
type Item = typeof anyItem extends fc.Arbitrary<infer T> ? T : never;

function write(job: JobWriter, { kind, value }: Item): () => void {
  switch (kind) {
    case "word":
    case "double":
    case "text":
    case "json":
      job[kind](value as never);
      return () => {};
    default: {
      const view = job[kind](value.length);
      assert.equal(view.byteOffset % 16, 0);
      // Filled in when all is written: the view stays good while the memory grows.
      return () => view.set(value);
    }
  }
}

Deno.test("a JobReader reads what a JobWriter wrote, from memory that grows", () => {
  const staging = new Staging(), reader = new Staging(staging.buffer);
  fc.assert(fc.property(fc.array(anyItem), fc.nat(200_000), (items, more) => {
    const job = new JobWriter(staging);
    const fills = items.map((item) => write(job, item));
    job.bytes(more);
    for (const fill of fills) fill();
    const read = new JobReader(reader, job.length);
    for (const { kind, value } of items) {
      const found = read[kind]();
      const isView = ArrayBuffer.isView(found);
      if (kind === "floats") assert.deepEqual([...found as Float32Array], value.map(Math.fround));
      else if (kind === "json") assert.deepEqual(found, JSON.parse(JSON.stringify(value)));
      else assert.deepEqual(isView ? [...found as Int32Array] : found, value);
    }
    assert.equal(read.bytes().length, more);
    assert.equal(read.hasMore, false);
    assert.throws(() => read.word(), /as it was written/);
  }));
});

Deno.test("JobWriter refuses views that are none and what staging memory cannot hold", () => {
  const job = new JobWriter(new Staging());
  for (const count of [-1, 1.5, NaN, Infinity]) assert.throws(() => job.words(count));
  assert.throws(() => job.words(STAGING_BYTES_MAX / 4), { code: "limit", message: /split/ });
  assert.throws(() => job.bytes(2 ** 40), { code: "limit" });
  assert.throws(() => job.buffer(new SharedArrayBuffer(8)), /only jobs name memory/);
  job.clear();
  job.word(1);
  assert.equal(job.length, 1);
});

Deno.test("Staging is wasteful where much of it is unused for long, and only then", () => {
  const staging = new Staging();
  for (let i = 0; i < 1000; i++) assert.equal(staging.isWasteful(0), false);
  staging.reserve(2 ** 23);
  for (let i = 0; i < 1000; i++) {
    assert.equal(staging.isWasteful(i % 50 === 0 ? 2 ** 21 : 1), false);
  }
  const verdicts = Array.from({ length: 100 }, () => staging.isWasteful(1));
  assert.equal(verdicts.at(-1), true);
  assert.ok(verdicts.indexOf(true) > 10);
});
