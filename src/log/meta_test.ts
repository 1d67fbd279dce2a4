import assert from "node:assert/strict";
import { isMmsbError } from "../base/mod.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { type DirectoryMeta, META_PATH, readMeta, writeMeta } from "./meta.ts";

const META: DirectoryMeta = {
  format: 1,
  shards: 24,
  incarnation: 12,
  lanes: [{ lane: 0, segment: 3, position: 2 ** 40 }, { lane: 9, segment: 0, position: 0 }],
  closed: { tick: 77, hlc: String(2n ** 63n - 1n) },
};

/** A directory with this text as its metadata. */
function stored(text: string | Uint8Array): MemoryStorage {
  const storage = new MemoryStorage();
  storage.replace(META_PATH, typeof text === "string" ? new TextEncoder().encode(text) : text);
  return storage;
}

function textOf(meta: DirectoryMeta): string {
  const storage = new MemoryStorage();
  writeMeta(storage, meta);
  return new TextDecoder().decode(storage.readAll(META_PATH));
}

Deno.test("readMeta() reads what writeMeta() stored", () => {
  for (const meta of [META, { ...META, closed: null, lanes: [] }]) {
    assert.deepEqual(readMeta(stored(textOf(meta))), meta);
  }
  assert.equal(readMeta(new MemoryStorage()), undefined);
});

Deno.test("writeMeta() stores JSON for people, with a checksum at its end", () => {
  assert.equal(
    textOf({ ...META, lanes: [] }),
    `{
  "format": 1,
  "shards": 24,
  "incarnation": 12,
  "lanes": [],
  "closed": {
    "tick": 77,
    "hlc": "9223372036854775807"
  },
  "check": "a2a6bd8c"
}
`,
  );
});

Deno.test("readMeta() refuses every flipped bit and every cut", () => {
  const bytes = new TextEncoder().encode(textOf(META));
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    bytes[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(
      () => readMeta(stored(bytes)),
      (error) => isMmsbError(error, "corrupt-log") || isMmsbError(error, "version"),
      `bit ${bit}: ${new TextDecoder().decode(bytes)}`,
    );
    bytes[bit >> 3] ^= 1 << (bit & 7);
  }
  for (let size = 0; size < bytes.length - 1; size++) {
    assert.throws(() => readMeta(stored(bytes.subarray(0, size))), { code: "corrupt-log" });
  }
  assert.deepEqual(readMeta(stored(bytes.subarray(0, bytes.length - 1))), META, "the last newline");
});

Deno.test("readMeta() names the field that is wrong", () => {
  const cases: [string, unknown][] = [
    ["format", { ...META, format: 0 }],
    ["format", { ...META, format: "1" }],
    ["format", null],
    ["format", 7],
    ["shards", { ...META, shards: 0 }],
    ["shards", { ...META, shards: 257 }],
    ["incarnation", { ...META, incarnation: -1 }],
    ["incarnation", { ...META, incarnation: 1.5 }],
    ["lanes", { ...META, lanes: {} }],
    ["lanes", { ...META, lanes: [null] }],
    ["lanes", { ...META, lanes: [{ lane: 0, segment: 1 }] }],
    ["closed", { ...META, closed: undefined }],
    ["closed", { ...META, closed: { tick: 1, hlc: "x" } }],
    ["closed", { ...META, closed: { tick: 1, hlc: 5 } }],
    ["check", META],
    ["check", { ...META, check: "00000000" }],
  ];
  for (const [field, value] of cases) {
    assert.throws(
      () => readMeta(stored(JSON.stringify(value))),
      (error) => {
        assert(isMmsbError(error, "corrupt-log"), `${field}: ${error}`);
        assert.equal(error.values.field, field);
        return true;
      },
    );
  }
});

Deno.test("readMeta() refuses a newer format by its own code, whatever else is in it", () => {
  assert.throws(
    () => readMeta(stored(JSON.stringify({ format: 2, anything: true }))),
    (error) => {
      assert(isMmsbError(error, "version"));
      assert.deepEqual([error.values.format, error.values.formatMax], [2, 1]);
      return true;
    },
  );
});
