/** Files of the older system: what is in them, what is wrong with them, and that nothing is half done. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, type MmsbError } from "../base/mod.ts";
import { encodeMetadata, PageStore } from "../physical/mod.ts";
import { exportStorage } from "./export_log.ts";
import type { DeltaLine } from "./export_line.ts";
import { formOf, prepareImport } from "./import_log.ts";
import { OldLogReader } from "./import_mmsblog.ts";
import { OldSnapshotReader } from "./import_mmsbsnap.ts";
import type { ImportOptions } from "./import_options.ts";
import { bytesSource, type ImportSource } from "./import_source.ts";
import { MemoryStorage } from "./memory_storage.ts";
import {
  type OldDeltaSpec,
  oldFrame,
  oldLog,
  type OldPageSpec,
  oldSnapshot,
  oldStates,
} from "./_old_files_test.ts";
import { readMeta } from "./meta.ts";
import { recover } from "./recovery.ts";
import { auditLog } from "./verify.ts";

const STORE_BYTES = 64 * 2 ** 20;

/** Imports into memory; gives the pages, the lines of deltas, and the storage. */
async function imported(bytes: Uint8Array, snapshot?: Uint8Array, options: ImportOptions = {}) {
  const storage = new MemoryStorage();
  const beside = snapshot === undefined ? undefined : bytesSource("old.snap", snapshot);
  const report = await prepareImport(bytesSource("old.log", bytes), beside, options)(storage);
  const store = new PageStore(STORE_BYTES);
  const { end } = recover(storage, readMeta(storage), store);
  assert.equal(end.state, "whole");
  assert.deepEqual(auditLog(storage).problems, []);
  const deltas = [...exportStorage(storage)].filter((line): line is DeltaLine =>
    line.type === "delta"
  );
  return { report, store, deltas, storage };
}

/** Bytes of the page that was N. */
function bytesOf(store: PageStore, page: bigint): number[] {
  const row = store.table.rowOf(store.find(`imported:${page}`));
  assert.notEqual(row, 0, `page ${page} is there`);
  return [...store.view(row)];
}

function epochOf(store: PageStore, page: bigint): number {
  return store.table.epoch(store.table.rowOf(store.find(`imported:${page}`)));
}

function refusal(bytes: Uint8Array, snapshot?: Uint8Array): MmsbError {
  try {
    const beside = snapshot === undefined ? undefined : bytesSource("old.snap", snapshot);
    prepareImport(bytesSource("dir/old.log", bytes), beside);
  } catch (error) {
    assert.ok(isMmsbError(error), String(error));
    return error;
  }
  assert.fail("it was taken");
}

/** A run of `length` flags of which `count` from `first` on are set. */
function run(length: number, first: number, count: number): number[] {
  return Array.from({ length }, (_, i) => i >= first && i < first + count ? 1 : 0);
}

function counted(length: number, start = 1): number[] {
  return Array.from({ length }, (_, i) => (start + i * 7) & 255);
}

Deno.test("an older log of version 1 keeps source and time, and takes the next epochs", async () => {
  const bytes = oldLog(1, [
    { id: 9n, page: 7n, epoch: 0, flags: [1, 1, 0, 0], payload: [1, 2, 9, 9], source: "feed-a" },
    { id: 8n, page: 7n, epoch: 0, flags: [0, 1, 0, 1], payload: [5, 6], sparse: 1 },
    {
      id: 2n ** 64n - 1n,
      page: 7n,
      epoch: 4_294_967_295,
      flags: [0, 0, 0, 0],
      payload: [3, 3, 3, 3],
      timeNs: 1_767_225_600_123_456_789n,
    },
  ]);
  const { report, store, deltas } = await imported(bytes);
  assert.deepEqual(bytesOf(store, 7n), [1, 5, 0, 6]);
  assert.equal(epochOf(store, 7n), 3);
  assert.deepEqual(
    deltas.map(({ epoch, kind, offset, length, imported }) => [
      epoch,
      kind,
      offset,
      length,
      imported?.id,
      imported?.epoch,
    ]),
    [
      [1, "set", 0, 2, "9", 0],
      [2, "masked", 1, 3, "8", 0],
      [3, "masked", 0, 1, "18446744073709551615", 4_294_967_295],
    ],
  );
  assert.deepEqual(deltas.map(({ source }) => source), ["feed-a", undefined, undefined]);
  assert.deepEqual(deltas.map(({ timeUs }) => timeUs), [0, 0, 1_767_225_600_123_456]);
  const { form, frames, pages } = report;
  assert.deepEqual({ form, frames, pages }, { form: "MMSBLOG1 1", frames: 3, pages: 1 });
});

Deno.test("an older log of version 2 keeps intents, and ids past 2^53 as names", async () => {
  const page = 2n ** 63n + 5n;
  const { store, deltas } = await imported(oldLog(2, [
    { page, flags: [1], payload: [4], source: "größe", intent: '{"why":"open"}' },
    { page: 0n, flags: [1, 1], payload: [1, 2], sparse: 1 },
  ]));
  assert.deepEqual(bytesOf(store, page), [4]);
  assert.deepEqual(bytesOf(store, 0n), [1, 2]);
  assert.deepEqual([deltas[0].source, deltas[0].intent], ["größe", '{"why":"open"}']);
});

Deno.test("runs of more than 127, 255 and 65,535 flags lead to the right bytes", async () => {
  const deltas: OldDeltaSpec[] = [];
  for (const [length, first, count] of [[300, 20, 128], [600, 0, 256], [70_000, 3, 65_540]]) {
    for (const sparse of [0, 1]) {
      const flags = run(length, first, count);
      const page = BigInt(2 * length + sparse);
      deltas.push({ page, flags, payload: counted(sparse ? count : length), sparse });
      // A second delta with a hole in the run.
      const holed = flags.map((flag, i) => i === first + 100 ? 0 : flag);
      const payload = counted(sparse ? count - 1 : length, 77);
      deltas.push({ page, epoch: 0, flags: holed, payload, sparse });
    }
  }
  const { store } = await imported(oldLog(2, deltas));
  for (const [page, state] of oldStates(deltas)) {
    assert.deepEqual(bytesOf(store, page), [...state], `page ${page}`);
    assert.equal(epochOf(store, page), 2);
  }
});

Deno.test("a delta of id 0 and epoch 0 is known to be imported", async () => {
  const { deltas } = await imported(oldLog(1, [{ flags: [1], payload: [1] }]));
  assert.deepEqual(deltas[0].imported, { id: "0", epoch: 0 });
});

Deno.test("an older log without deltas, and one of deltas without bytes, can be imported", async () => {
  assert.equal((await imported(oldLog(2, []))).report.pages, 0);
  const { store } = await imported(oldLog(1, [{ page: 3n, flags: [], payload: [] }]));
  assert.deepEqual(bytesOf(store, 3n), [0]);
  assert.equal(epochOf(store, 3n), 1);
});

Deno.test("what is wrong with an older log is named by byte, frame, field and reason", () => {
  const good: OldDeltaSpec = { flags: [1, 0], payload: [1, 2], source: "s", intent: "i" };
  const first = 12 + oldFrame(2, good).length;
  const cases: [OldDeltaSpec, string, number, RegExp][] = [
    [{ ...good, flags: [1, 2] }, "flags", 24 + 1, /flag 1 is 2, not 0 or 1/],
    [{ ...good, flags: [1, 1], payload: [1], sparse: 1 }, "payload length", 26, /2 flags are set/],
    [{ ...good, payload: [1] }, "payload length", 26, /dense and there are 2 flags/],
    [{ ...good, payload: [1, 2, 3] }, "payload length", 26, /longer than the mask/],
    [{ ...good, sparse: 2 }, "sparse", 32, /it is 2, not 0 or 1/],
    [{ ...good, lengths: { flags: 0xffff_ffff } }, "mask length", 20, /4294967295 and \d+ bytes/],
    [{ ...good, lengths: { payload: 0x7fff_ffff } }, "payload length", 26, /bytes are left/],
    [{ ...good, lengths: { source: 0xffff_fff0 } }, "source length", 41, /bytes are left/],
    [{ ...good, source: Uint8Array.of(0xff) }, "source", 45, /not UTF-8/],
    [{ ...good, intent: Uint8Array.of(0xc3) }, "intent", 50, /not UTF-8/],
    [{ ...good, lengths: { intent: 2 } }, "intent length", 46, /it is 2 and 1 bytes are left/],
  ];
  for (const [bad, field, at, reason] of cases) {
    const { code, values, message } = refusal(oldLog(2, [good, bad]));
    assert.equal(code, "corrupt-log", message);
    assert.deepEqual([values.field, values.offset, values.frame], [field, first + at, 2], message);
    assert.match(String(values.reason), reason);
    assert.match(message, /^Cannot import "old\.log" as frame 2 is wrong at byte \d+, /);
    assert.equal(values.path, "dir/old.log");
  }
  const long = { ...good, flags: new Uint8Array(16 * 2 ** 20 + 1), payload: [], sparse: 1 };
  assert.equal(refusal(oldLog(2, [long])).code, "limit");
  assert.equal(refusal(oldLog(3, [good])).code, "version");
  assert.equal(refusal(oldLog(0, [good])).values.field, "version");
  const other = oldLog(2, [good]);
  other[8] = 1;
  assert.equal(refusal(other).code, "corrupt-log", "version 2 read as version 1");
  assert.equal(refusal(Uint8Array.of(1, 2, 3)).code, "usage");
});

Deno.test("an older log cut at any byte, or with a tail, is refused with the byte", () => {
  const deltas: OldDeltaSpec[] = [
    { flags: [1, 0, 1], payload: [1, 2], sparse: 1, source: "a", intent: "why" },
    { flags: [1, 1, 1], payload: [1, 2, 3], source: "b" },
  ];
  const bytes = oldLog(2, deltas), whole = 12 + oldFrame(2, deltas[0]).length;
  for (let cut = 8; cut < bytes.length; cut++) {
    if (cut === 12 || cut === whole) continue;
    const error = refusal(bytes.subarray(0, cut));
    assert.equal(error.code, "corrupt-log", `cut at ${cut}`);
    assert.ok((error.values.offset as number) <= cut, error.message);
  }
  assert.equal(refusal(oldLog(2, deltas, [0])).values.frame, 3);
});

Deno.test("an older checkpoint keeps bytes, epochs, metadata and location", async () => {
  const metadata = encodeMetadata({ unit: Uint8Array.of(1, 2) });
  const pages: OldPageSpec[] = [
    { id: 5n, epoch: 41, metadata, data: [0, 1, 2, 0] },
    { id: 2n, epoch: 0, data: [7, 0] },
    { id: 3n, epoch: 0, data: [0, 0, 0] },
    { id: 4n, epoch: 9, location: 1, data: [0] },
    { id: 6n, epoch: 4_294_967_295, data: [1] },
  ];
  const { store, deltas, report } = await imported(oldSnapshot(pages, { logOffset: 77n }));
  for (const { id, data } of pages) assert.deepEqual(bytesOf(store, id!), [...data]);
  assert.deepEqual([5n, 2n, 3n, 4n, 6n].map((id) => epochOf(store, id)), [
    41,
    1,
    0,
    9,
    2 ** 32 - 1,
  ]);
  const of = (id: bigint) => store.metadataOf(store.find(`imported:${id}`));
  assert.deepEqual(encodeMetadata(of(5n)), metadata);
  assert.equal(new TextDecoder().decode(of(4n).get("imported:location")), "gpu");
  assert.deepEqual(deltas.find(({ epoch }) => epoch === 41)?.imported, { id: "0", epoch: 41 });
  assert.equal(report.form, "MMSBSNAP 2");
});

Deno.test("what is wrong with an older checkpoint is named", () => {
  const page: OldPageSpec = { id: 1n, data: [1, 2] };
  const cases: [Uint8Array, string][] = [
    [oldSnapshot([page], { count: 2 }), "page count"],
    [oldSnapshot([page, { ...page }]), "page id"],
    [oldSnapshot([{ ...page, location: 3 }]), "location"],
    [oldSnapshot([{ ...page, size: 3n }]), "data length"],
    [oldSnapshot([{ ...page, metadata: Uint8Array.of(1, 0, 0, 0) }]), "metadata"],
    [oldSnapshot([page], { tail: [0] }), "end"],
    [oldSnapshot([page], { count: 0xffff_ffff }), "page count"],
    [oldSnapshot([page]).slice(0, -1), "data length"],
    [oldSnapshot([page]).slice(0, 20), "magic"],
  ];
  for (const [bytes, field] of cases) {
    const { code, values, message } = refusal(bytes);
    assert.deepEqual([code, values.field], ["corrupt-log", field], message);
  }
  assert.equal(refusal(oldSnapshot([{ ...page, size: 2n ** 40n }])).code, "limit");
  assert.equal(refusal(oldSnapshot([page], { version: 1 })).code, "version");
  assert.equal(refusal(oldSnapshot([page]), oldSnapshot([page])).code, "usage");
});

Deno.test("a checkpoint beside a log gives sizes, and bytes that no delta explains", async () => {
  const deltas: OldDeltaSpec[] = [
    { page: 1n, flags: [1, 1], payload: [1, 2] },
    { page: 1n, flags: [0, 1], payload: [9], sparse: 1 },
    { page: 2n, flags: [1], payload: [5] },
  ];
  const logOffset = BigInt(12 + oldFrame(2, deltas[0]).length);
  const snapshot = oldSnapshot([
    { id: 1n, epoch: 1, data: [1, 2, 0, 0, 7, 0, 0, 0] },
    { id: 3n, epoch: 12, data: [3] },
  ], { logOffset });
  const { store } = await imported(oldLog(2, deltas), snapshot);
  assert.deepEqual(bytesOf(store, 1n), [1, 9, 0, 0, 7, 0, 0, 0]);
  assert.deepEqual(bytesOf(store, 2n), [5]);
  assert.deepEqual(bytesOf(store, 3n), [3]);
  assert.deepEqual([1n, 2n, 3n].map((page) => epochOf(store, page)), [3, 1, 12]);
  const small = oldSnapshot([{ id: 1n, data: [0] }]);
  assert.match(refusal(oldLog(2, deltas), small).message, /sets byte 1 of page 1 of 1 bytes/);
});

/** A delta that is right. */
const anyDelta: fc.Arbitrary<OldDeltaSpec> = fc.record({
  id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  page: fc.constantFrom(0n, 1n, 7n, 2n ** 60n),
  epoch: fc.integer({ min: 0, max: 3 }),
  runs: fc.array(fc.tuple(fc.nat(1), fc.integer({ min: 1, max: 200 })), { maxLength: 5 }),
  sparse: fc.nat(1),
  seed: fc.nat(255),
  timeNs: fc.bigInt({ min: 0n, max: 2n ** 62n }),
  source: fc.string({ maxLength: 5 }),
  intent: fc.string({ maxLength: 5 }),
}).map(({ runs, seed, ...rest }) => {
  const flags = runs.flatMap(([flag, count]) => Array<number>(count).fill(flag));
  const set = flags.filter((flag) => flag === 1).length;
  return { ...rest, flags, payload: counted(rest.sparse ? set : flags.length, seed) };
});

Deno.test("any older log leads to the bytes of its deltas, one after the other", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 }),
      fc.array(anyDelta, { maxLength: 20 }),
      async (version, deltas) => {
        const bytes = oldLog(version, deltas);
        const { store, deltas: lines } = await imported(bytes);
        for (const [page, state] of oldStates(deltas)) {
          assert.deepEqual(bytesOf(store, page), [...state]);
        }
        assert.deepEqual(
          lines.map(({ imported, source = "", intent = "", timeUs }) => [
            imported!.id,
            imported!.epoch,
            source,
            intent,
            timeUs,
          ]),
          deltas.map(({ id, epoch, source, intent, timeNs }) => [
            String(id),
            epoch,
            source,
            version === 1 ? "" : intent,
            Number(timeNs! / 1000n),
          ]),
        );
      },
    ),
    { numRuns: 60 },
  );
});

/** Reads a source to its end. */
function readAll(source: ImportSource): void {
  const reader = formOf(source) === "MMSBLOG1"
    ? new OldLogReader(source)
    : new OldSnapshotReader(source);
  while (reader.next() !== undefined);
}

Deno.test("no flip and no cut of an older file makes anything but an MmsbError", () => {
  const metadata = encodeMetadata({ unit: Uint8Array.of(1, 2), other: new Uint8Array(9) });
  const files = [
    oldLog(1, [{ flags: run(40, 3, 9), payload: counted(9), sparse: 1, source: "abc" }]),
    oldLog(2, [
      { flags: run(30, 0, 30), payload: counted(30), source: "größe", intent: "why" },
      { flags: [], payload: [] },
    ]),
    oldSnapshot([{ data: counted(20), metadata }, { id: 2n, data: [1] }]),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.option(fc.nat(), { freq: 3 }),
      (file, flips, cut) => {
        const bytes = file.slice(0, cut === null ? file.length : cut % file.length);
        for (const [at, value] of flips) bytes[at % Math.max(1, bytes.length)] ^= value;
        let largest = 0;
        const inner = bytesSource("old", bytes);
        const source = {
          ...inner,
          read: (target: Uint8Array, position: number) => {
            largest = Math.max(largest, target.length);
            return inner.read(target, position);
          },
        };
        try {
          readAll(source);
        } catch (error) {
          assert.ok(isMmsbError(error), String(error));
        }
        assert.ok(largest <= 2 ** 20, "no more room is made than the file can need");
      },
    ),
    { numRuns: 3000 },
  );
});
