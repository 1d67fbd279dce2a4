import assert from "node:assert/strict";
import fc from "fast-check";
import { MAIL_BYTES_MAX, MailRing } from "./mail_ring.ts";

Deno.test("MailRing gives what was posted, whole and in order, as a list does", () => {
  const anyStep = fc.oneof(
    { weight: 3, arbitrary: fc.record({ post: fc.integer({ min: 0, max: 30_000 }) }) },
    { weight: 2, arbitrary: fc.constant({ take: true }) },
    { weight: 1, arbitrary: fc.record({ post: fc.integer({ min: 60_000, max: 200_000 }) }) },
  );
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 120 }), (steps) => {
      const ring = new MailRing(), other = new MailRing(ring.buffers);
      const waiting: { length: number; mark: number }[] = [];
      let mark = 0;
      for (const step of steps) {
        if ("post" in step) {
          mark = (mark + 1) % 251;
          const given = mark;
          const posted = ring.post(step.post, (bytes) => bytes.fill(given));
          // An empty ring takes everything.
          assert(posted || waiting.length > 0);
          if (posted) waiting.push({ length: step.post, mark: given });
        } else {
          const expected = waiting.shift();
          const found = other.take((bytes) => ({
            length: bytes.length,
            isWhole: bytes.every((byte) => byte === expected?.mark),
          }));
          assert.deepEqual(
            found,
            expected && { length: expected.length, isWhole: true },
          );
        }
        assert.equal(ring.isEmpty, waiting.length === 0);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("MailRing.post() refuses what no ring can hold", () => {
  assert.throws(() => new MailRing().post(MAIL_BYTES_MAX, () => {}), { code: "limit" });
});

Deno.test("MailRing.whenPosted() hears of a message", async () => {
  const ring = new MailRing();
  setTimeout(() => ring.post(3, () => {}), 5);
  while (ring.isEmpty) await ring.whenPosted(50);
  assert.equal(new MailRing(ring.buffers).take((bytes) => bytes.length), 3);
});
