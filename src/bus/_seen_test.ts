/** What a test of this folder sees of a bus, and the claim that a refusal changed nothing of it. */

import assert from "node:assert/strict";
import { isMmsbError, type MmsbErrorCode } from "../base/mod.ts";
import type { StateBus } from "./mod.ts";

/** What is no integer at all. */
export const NO_INTEGERS: readonly unknown[] = [
  null,
  NaN,
  Infinity,
  -Infinity,
  1.5,
  "1",
  "",
  1n,
  true,
  {},
  [],
  [1],
  Symbol("1"),
  () => 1,
];

/** Integers that are no offset, length, size or id. */
export const NO_OFFSETS: readonly unknown[] = [
  -1,
  2 ** 31,
  2 ** 32,
  2 ** 32 + 1,
  Number.MAX_SAFE_INTEGER,
];

/** What is no Uint8Array. */
export const NO_BYTES: readonly unknown[] = [
  undefined,
  null,
  1,
  1n,
  "abc",
  true,
  {},
  [1, 2],
  { length: 2 },
  new ArrayBuffer(4),
  new DataView(new ArrayBuffer(4)),
  new Uint16Array(2),
  new Float64Array(2),
];

/** What is no string. */
export const NO_STRINGS: readonly unknown[] = [null, 1, NaN, 1n, true, {}, [], Symbol("a")];

/** What is no object of options. */
export const NO_OPTIONS: readonly unknown[] = [null, 1, "a", true, 1n, () => ({}), { other: 1 }];

/** All that can be seen of a bus: its counts, and each page. */
export function seen(bus: StateBus): unknown {
  const pages = [...bus.pages()].map((page) => ({
    id: page.id,
    name: page.name,
    size: page.size,
    epoch: page.epoch,
    shard: page.shard,
    state: page.state,
    dirty: page.dirty,
    metadata: [...page.metadata],
    bytes: page.read(),
  }));
  return { pages, stats: bus.stats(), tick: bus.tickNumber, readOnly: bus.readOnly };
}

/** The call refuses with the code and a sentence, and leaves the bus as it was. */
export async function assertRefused(
  bus: StateBus,
  code: MmsbErrorCode,
  call: () => unknown,
  what: string = String(call),
): Promise<void> {
  const before = seen(bus);
  await assert.rejects(async () => await call(), (error) => isRefusal(error, code, what), what);
  assert.deepEqual(seen(bus), before, what);
}

/** The error is a refusal of that code, in a sentence as all of them are. */
export function isRefusal(error: unknown, code: MmsbErrorCode, what: string): boolean {
  assert(isMmsbError(error), `${what}: ${error instanceof Error ? error.stack : String(error)}`);
  assert.equal(error.code, code, `${what}: ${error.message}`);
  assert.match(error.message, /^Cannot \S.*[^.]$/su, what);
  return true;
}
