import assert from "node:assert/strict";
import fc from "fast-check";
import { crc32 } from "../../base/checksum.ts";
import { isMmsbError } from "../../base/errors.ts";
import { type Priority, temporalMessage } from "./message.ts";
import { MessageBatch } from "./message_batch.ts";
import { decodeMessage, encodeMessage } from "./message_codec.ts";

const word = fc.bigInt(0n, 2n ** 64n - 1n);
const us = fc.integer({ min: 0, max: 2 ** 52 - 1 });
const message = fc.record({
  id: fc.bigInt(0n, 2n ** 63n),
  timestamp: word,
  node: fc.integer({ min: 0, max: 65_535 }),
  sequence: fc.maxSafeNat(),
  errorUs: fc.oneof(fc.constant(Infinity), fc.double({ min: 0, noNaN: true })),
  dependencies: fc.array(fc.bigInt(2n ** 63n + 1n, 2n ** 64n - 1n), { maxLength: 255 }),
  times: fc.tuple(us, fc.oneof(us, fc.constant(Infinity))),
  priority: fc.constantFrom<Priority>(0, 1, 2, 3),
  payload: fc.uint8Array({ maxLength: 300 }),
}).map(({ times, ...rest }) =>
  temporalMessage({
    ...rest,
    validFromUs: Math.min(...times),
    validUntilUs: Math.max(...times),
  })
);

Deno.test("decodeMessage() gives what encodeMessage() was given, a batch too", () => {
  fc.assert(fc.property(message, (one) => {
    assert.deepEqual(decodeMessage(encodeMessage(one)), one);
    const batch = new MessageBatch({ capacity: 1, payloadBytes: 300, dependencies: 255 });
    batch.add(one);
    assert.deepEqual(batch.get(0), one);
  }));
});

Deno.test("decodeMessage() refuses any changed byte and any other length, with a reason", () => {
  const flip = fc.nat(), left = fc.integer({ min: 1, max: 255 });
  fc.assert(fc.property(message, flip, left, fc.nat(), (one, at, bits, length) => {
    const bytes = encodeMessage(one);
    assert.throws(() => decodeMessage(bytes.subarray(0, length % bytes.length)), { code: "usage" });
    assert.throws(() => decodeMessage(Uint8Array.of(...bytes, 0)), { code: "usage" });
    bytes[at % bytes.length] ^= bits;
    assert.throws(() => decodeMessage(bytes), (error) => isMmsbError(error));
  }));
});

Deno.test("decodeMessage() of random bytes throws nothing but an MmsbError, with a good checksum too", () => {
  let taken = 0;
  const good = encodeMessage(
    temporalMessage({ id: 5n, timestamp: 6n, payload: new Uint8Array(9) }),
  );
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 120 }),
      fc.option(fc.nat(good.length - 1)),
      (random, at) => {
        let bytes = random;
        if (at !== null) {
          // A good one, of which some bytes are others.
          bytes = good.slice();
          bytes.set(random.subarray(0, Math.min(4, good.length - at)), at);
          new DataView(bytes.buffer).setUint32(0, crc32(bytes.subarray(4)), true);
        }
        try {
          assert.deepEqual(encodeMessage(decodeMessage(bytes)), Uint8Array.from(bytes));
          taken++;
        } catch (error) {
          assert.ok(isMmsbError(error) && error.message.length > 20, String(error));
        }
      },
    ),
    { numRuns: 20_000 },
  );
  assert.ok(taken > 0, "None of the random bytes were a message");
  assert.throws(() => decodeMessage("bytes" as never), { code: "usage" });
});
