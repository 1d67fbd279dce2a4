/** Bytes compared with what they should be, with a message that fits on a line: pages are large. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";

/** Throws where two runs of bytes differ, and says at which byte first. */
export function assertSameBytes(found: Uint8Array, expected: Uint8Array, who: string): void {
  assert.equal(found.length, expected.length, `length of ${who}`);
  // Ten times as fast as a loop here: most are the same.
  if (Buffer.compare(found, expected) === 0) return;
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  if (at >= 0) assert.fail(`byte ${at} of ${who} is ${found[at]}, not ${expected[at]}`);
}
