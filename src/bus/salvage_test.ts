/** Salvage of what a bus wrote: whatever is whole is kept, whatever is lost is named. */

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  auditLog,
  bytesSource,
  type ExportLine,
  exportStorage,
  MemoryStorage,
  prepareImport,
  readMeta,
  recover,
  salvageStorage,
  segmentPath,
} from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { StateBus } from "./mod.ts";

const SMALL = { memoryLimitBytes: 2 ** 22 };
const SEGMENT_BYTES = 2 ** 16;

/** Pages `a`, `b`, `c`; tick t sets byte t of each, with 1,500 bytes of intent so that segments fill. */
async function written(
  ticks: number,
  options: { close?: boolean; checkpointAt?: number; drop?: boolean } = {},
): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const sizes = { segmentBytes: SEGMENT_BYTES, segmentBytesMax: SEGMENT_BYTES };
  const checkpoints = { keep: 1, log: options.drop ? "drop" as const : "keep" as const };
  const bus = await StateBus.open({ ...SMALL, ...sizes, storage, shards: 3, checkpoints });
  const pages = ["a", "b", "c"].map((name) => bus.createPage({ size: 4096, name }));
  await bus.commit();
  for (let tick = 2; tick <= ticks; tick++) {
    await bus.commit(() => {
      for (const page of pages) {
        page.write(tick, Uint8Array.of(tick & 255), {
          source: "s",
          intent: "x".repeat(1500) + tick,
        });
      }
    });
    if (tick === options.checkpointAt) await bus.checkpoint();
  }
  if (options.close !== false) await bus.close();
  return storage;
}

/** A byte of a payload of sevens; a single seven may stand anywhere, in a time or a checksum. */
function inSevens(bytes: Uint8Array): number {
  let at = bytes.length - 1;
  while (!bytes.subarray(at - 15, at + 1).every((byte) => byte === 7)) at--;
  return at;
}

/** A copy with changes to some files; `undefined` takes a file away. */
function changed(
  storage: MemoryStorage,
  path: string,
  change: (bytes: Uint8Array) => Uint8Array | undefined,
): MemoryStorage {
  const image = new Map<string, Uint8Array>();
  for (const file of filesOf(storage)) {
    const bytes = storage.readAll(file)!.slice();
    const after = file === path ? change(bytes) : bytes;
    if (after !== undefined) image.set(file, after);
  }
  return new MemoryStorage({ image });
}

function filesOf(storage: MemoryStorage): string[] {
  return ["", "lane-00", "checkpoints"].flatMap((folder) =>
    storage.list(folder).map((name) => folder === "" ? name : `${folder}/${name}`)
  ).filter((path) => path !== "lane-00" && path !== "checkpoints");
}

function flipped(at: (bytes: Uint8Array) => number) {
  return (bytes: Uint8Array) => {
    bytes[at(bytes)] ^= 16;
    return bytes;
  };
}

async function salvaged(storage: MemoryStorage) {
  const target = new MemoryStorage();
  const before = filesOf(storage).map((path) => storage.readAll(path)!.join());
  const report = await salvageStorage(storage, target);
  assert.deepEqual(filesOf(storage).map((path) => storage.readAll(path)!.join()), before);
  assert.deepEqual(auditLog(target).problems, []);
  const store = new PageStore(SMALL.memoryLimitBytes);
  const recovery = recover(target, readMeta(target), store);
  assert.equal(recovery.end.state, "whole");
  assert.equal(recovery.tick, report.lastTick);
  const lines = [...exportStorage(target)];
  {
    await using bus = await StateBus.open({ ...SMALL, storage: target });
    assert.equal((await bus.verify()).ok, true);
  }
  return { report, store, target, lines };
}

function bytesAt(store: PageStore, name: string, ticks: number): number[] {
  const view = store.view(store.table.rowOf(store.find(name)));
  return [...view.subarray(2, ticks + 1)];
}

/** What the pages hold when all ticks but the lost ones were done. */
function without(ticks: number, lost: { first: number; last: number }): number[] {
  return Array.from({ length: ticks - 1 }, (_, i) => {
    return i + 2 >= lost.first && i + 2 <= lost.last ? 0 : (i + 2) & 255;
  });
}

function epochs(store: PageStore): number[] {
  return ["a", "b", "c"].map((name) => store.table.epoch(store.table.rowOf(store.find(name))));
}

Deno.test("a whole directory is salvaged as it is", async () => {
  const storage = await written(40);
  const { report, lines } = await salvaged(storage);
  assert.equal(report.ok, true);
  assert.deepEqual(report.faults, []);
  assert.deepEqual(lines, [...exportStorage(storage)]);
});

Deno.test("a flipped byte in the middle costs one tick, which is named with its pages", async () => {
  const storage = await written(100);
  const path = segmentPath(0, 1);
  const { report, store, lines } = await salvaged(
    changed(storage, path, flipped((bytes) => bytes.length >> 1)),
  );
  assert.equal(report.ok, false);
  assert.equal(report.ticksLost.length, 1);
  const [{ first, last }] = report.ticksLost;
  assert.equal(first, last);
  assert.equal(report.faults[0].file, path);
  assert.equal(report.faults[0].tick, first);
  assert.equal(report.lastTick, 100);
  assert.deepEqual(report.pagesHurt.map(({ name, epochs, ticks }) => [name, epochs, ticks]), [
    ["a", { first: first - 1, last: first - 1 }, { first, last }],
    ["b", { first: first - 1, last: first - 1 }, { first, last }],
    ["c", { first: first - 1, last: first - 1 }, { first, last }],
  ]);
  assert.deepEqual(epochs(store), [99, 99, 99]);
  for (const name of ["a", "b", "c"]) {
    assert.deepEqual(bytesAt(store, name, 100), without(100, { first, last }));
  }
  const behind = lines.filter((line): line is ExportLine & { type: "delta" } =>
    line.type === "delta" && line.tick === first + 1
  );
  assert.deepEqual(behind.map(({ advance }) => advance), [2, 2, 2]);
});

Deno.test("a tick that was lost is not there to go to, and the ticks beside it are named", async () => {
  const path = segmentPath(0, 1);
  for (const part of [0.5, 0]) {
    const damaged = changed(
      await written(100),
      path,
      // The second time all of the first segment.
      (bytes) => part === 0 ? undefined : flipped((bytes) => bytes.length * part | 0)(bytes),
    );
    const { report, target } = await salvaged(damaged);
    const [{ first, last }] = report.ticksLost;
    assert.equal(first === 1, part === 0);
    await using bus = await StateBus.open({ ...SMALL, storage: target });
    assert.equal(bus.horizon, 0);
    const [page] = bus.pages();
    for (const tick of new Set([first, last])) {
      const values = { tick, before: first === 1 ? undefined : first - 1, after: last + 1 };
      const isRight = (error: Error & { code?: string; values?: unknown }) => {
        assert.equal(error.code, "out-of-bounds", error.message);
        assert.deepEqual(error.values, values);
        assert.match(error.message, /not in the log, where it was lost or merged: .* \d+$/);
        return true;
      };
      await assert.rejects(bus.at({ tick }), isRight);
      await assert.rejects(bus.whatIf(() => true, { tick }), isRight);
      if (page !== undefined) assert.throws(() => bus.pageAt(page.id, { tick }), isRight);
    }
    for (const tick of new Set([first - 1, last + 1, 100])) {
      await using state = await bus.at({ tick });
      assert.equal(state.tickNumber, tick);
    }
  }
});

Deno.test("pages that nothing wrote behind a lost tick are named by what the frame still says", async () => {
  const storage = new MemoryStorage();
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const [a, b] = ["a", "b"].map((name) => bus.createPage({ size: 64, name }));
    await bus.commit(() => [a, b].forEach((page) => page.write(0, Uint8Array.of(1))));
    await bus.commit(() => [a, b].forEach((page) => page.write(8, new Uint8Array(32).fill(7))));
    await bus.commit(() => a.write(48, Uint8Array.of(9)));
  }
  const path = segmentPath(0, 1);
  const inBody = await salvaged(
    changed(storage, path, flipped(inSevens)),
  );
  assert.deepEqual(inBody.report.ticksLost, [{ first: 2, last: 2 }]);
  assert.deepEqual(
    inBody.report.pagesHurt,
    ["a", "b"].map((name, index) => ({
      page: index + 1,
      name,
      epochs: { first: 2, last: 2 },
      ticks: { first: 2, last: 2 },
    })),
  );
  assert.deepEqual(inBody.report.notes, []);
  // Of a frame without a header nothing can be told but that.
  const { report } = await salvaged(
    changed(storage, path, flipped((bytes) => frameOf(bytes, 2) + 30)),
  );
  assert.deepEqual(report.pagesHurt.map(({ name }) => name), ["a"]);
  assert.match(report.notes.join(), /not written again behind tick 2 may miss deltas too/);
});

Deno.test("pages whose births are in a lost tick may be missing, and that is said", async () => {
  const storage = new MemoryStorage();
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const page = bus.createPage({ size: 64, name: "a" });
    await bus.commit(() => page.write(0, Uint8Array.of(1)));
    bus.createPage({ size: 64, name: "b" });
    await bus.commit();
    await bus.commit(() => page.write(1, Uint8Array.of(1)));
  }
  const change = flipped((bytes) => frameOf(bytes, 2) + 130);
  const { report } = await salvaged(changed(storage, segmentPath(0, 1), change));
  assert.equal(report.pages, 1);
  assert.match(report.notes.join(), /or be lost, without being listed/);
});

/** Where the first frame of a tick stands. */
function frameOf(bytes: Uint8Array, tick: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = 64;
  while (view.getUint32(at + 16, true) !== tick) at += view.getUint32(at + 12, true);
  return at;
}

Deno.test("a missing segment in the middle costs its ticks and nothing else", async () => {
  const storage = await written(200);
  const path = segmentPath(0, 2);
  assert.ok(storage.exists(segmentPath(0, 4)));
  const { report, store } = await salvaged(changed(storage, path, () => undefined));
  assert.equal(report.faults[0].fault, "segment-missing");
  assert.equal(report.faults[0].file, path);
  assert.equal(report.ticksLost.length, 1);
  const [lost] = report.ticksLost;
  assert.ok(lost.last > lost.first);
  assert.deepEqual(bytesAt(store, "b", 200), without(200, lost));
  assert.deepEqual(epochs(store), [199, 199, 199]);
  assert.deepEqual(report.pagesHurt.map(({ ticks }) => ticks), [lost, lost, lost]);
});

Deno.test("a damaged segment header costs nothing", async () => {
  const storage = await written(200);
  const { report, store } = await salvaged(changed(storage, segmentPath(0, 2), flipped(() => 20)));
  assert.equal(report.faults[0].fault, "segment-header");
  assert.equal(report.ok, true);
  assert.deepEqual(bytesAt(store, "b", 200), without(200, { first: 0, last: 0 }));
});

Deno.test("a cut segment costs the ticks behind the cut", async () => {
  const storage = await written(200);
  const path = segmentPath(0, 2);
  for (const cut of [200, 1000, 30_000]) {
    const { report, store } = await salvaged(
      changed(storage, path, (bytes) => {
        return bytes.slice(0, bytes.findLastIndex((byte) => byte !== 0) - cut);
      }),
    );
    assert.equal(report.ok, false);
    assert.ok(report.faults.some(({ fault, file }) => fault === "frame-cut" && file === path));
    assert.deepEqual(bytesAt(store, "a", 200), without(200, report.ticksLost[0]));
  }
  // The last one: a clean close says how far it went.
  const last = segmentPath(0, storage.list("lane-00").length);
  const { report } = await salvaged(
    changed(storage, last, (bytes) => bytes.slice(0, bytes.length - 1)),
  );
  assert.deepEqual(report.ticksLost, [{ first: 200, last: 200 }]);
  assert.equal(report.pagesHurt.length, 3, "the page that no later tick touches is named as well");
  // An empty one tells nothing of what was in it.
  const empty = await salvaged(changed(storage, last, () => new Uint8Array(0)));
  assert.deepEqual([empty.report.ok, empty.report.ticksLost.at(-1)?.last], [false, 200]);
  assert.match(empty.report.notes.join(), /may miss deltas too, or be lost, without being listed/);
});

Deno.test("damaged or missing metadata costs nothing but the number of shards", async () => {
  const storage = await written(50);
  for (
    const change of [flipped((bytes: Uint8Array) => bytes.length >> 1), () => undefined] as const
  ) {
    const { report, store } = await salvaged(changed(storage, "meta.json", change));
    assert.equal(report.ok, true);
    assert.equal(report.faults[0].fault, "meta");
    assert.match(report.notes[0], /the new directory has 24/);
    assert.deepEqual(bytesAt(store, "c", 50), without(50, { first: 0, last: 0 }));
  }
});

Deno.test("a first segment that is lost takes its pages with it, and they are named", async () => {
  const storage = await written(200);
  const { report, store } = await salvaged(changed(storage, segmentPath(0, 1), () => undefined));
  assert.equal(store.table.size, 0);
  assert.deepEqual(report.pagesLost.map(({ page }) => page), [1, 2, 3]);
  const [{ rows, ticks }] = report.pagesLost;
  assert.equal(report.ticksLost[0].first, 1);
  assert.deepEqual(ticks, { first: report.ticksLost[0].last + 1, last: 200 });
  assert.equal(rows, 200 - report.ticksLost[0].last);
  assert.equal(report.deltasLost, 3 * rows);
  assert.equal(report.lastTick, 200);
});

Deno.test("births of a tick that is not whole are kept, so that later deltas are", async () => {
  const storage = new MemoryStorage();
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const page = bus.createPage({ size: 64, name: "a", metadata: { k: Uint8Array.of(1) } });
    await bus.commit(() => page.write(0, new Uint8Array(32).fill(7)));
    await bus.commit(() => page.write(40, Uint8Array.of(9)));
  }
  const path = segmentPath(0, 1);
  const { report, store } = await salvaged(changed(storage, path, flipped(inSevens)));
  assert.deepEqual(report.ticksLost, [{ first: 1, last: 1 }]);
  assert.equal(report.deltasLost, 1);
  const row = store.table.rowOf(store.find("a"));
  assert.equal(store.table.epoch(row), 2);
  assert.deepEqual([store.view(row)[0], store.view(row)[40]], [0, 9]);
  assert.deepEqual([...store.metadataOf(1).get("k")!], [1]);
});

Deno.test("a name that was given again tells of a death that is lost", async () => {
  const storage = new MemoryStorage();
  {
    await using bus = await StateBus.open({ ...SMALL, storage });
    const page = bus.createPage({ size: 64, name: "a" });
    const other = bus.createPage({ size: 64, name: "b" });
    await bus.commit(() => page.write(0, Uint8Array.of(1)));
    await bus.commit(() => page.delete());
    await bus.commit(() => other.write(0, Uint8Array.of(2)));
    const again = bus.createPage({ size: 32, name: "a" });
    await bus.commit(() => again.write(0, Uint8Array.of(3)));
  }
  // The tick of the death is the second; its first frame is the one that says so.
  const { report, store } = await salvaged(
    changed(storage, segmentPath(0, 1), flipped((bytes) => frameOf(bytes, 2) + 130)),
  );
  assert.deepEqual(report.ticksLost, [{ first: 2, last: 2 }]);
  assert.equal(store.find("a"), 3);
  assert.equal(store.table.size, 2);
  assert.deepEqual(report.pagesHurt, []);
});

Deno.test("a checkpoint behind the damage gives the pages back their bytes and epochs", async () => {
  const storage = await written(200, { checkpointAt: 150 });
  for (
    const [path, change] of [
      [segmentPath(0, 2), () => undefined],
      [segmentPath(0, 2), flipped((bytes: Uint8Array) => bytes.length >> 1)],
      [segmentPath(0, 1), () => undefined],
    ] as const
  ) {
    const { report, store } = await salvaged(changed(storage, path, change));
    assert.equal(report.ok, false);
    assert.deepEqual(report.pagesLost.length, 0);
    assert.deepEqual(report.pagesHurt.map(({ repaired }) => repaired), [150, 150, 150]);
    assert.match(report.notes.join(), /the checkpoint of tick 150 gave the pages back/);
    assert.deepEqual(epochs(store), [199, 199, 199]);
    for (const name of ["a", "b", "c"]) {
      assert.deepEqual(bytesAt(store, name, 200), without(200, { first: 0, last: 0 }));
    }
  }
  // All segments are gone: what is left is the checkpoint.
  let bare = storage;
  for (const name of storage.list("lane-00")) {
    bare = changed(bare, `lane-00/${name}`, () => undefined);
  }
  const { report, store } = await salvaged(bare);
  assert.equal(report.lastTick, 150);
  assert.deepEqual(epochs(store), [149, 149, 149]);
  assert.deepEqual(report.ticksLost, [{ first: 1, last: 200 }]);
});

Deno.test("a damaged checkpoint is passed over, and named", async () => {
  const storage = await written(200, { checkpointAt: 150 });
  const checkpoint = `checkpoints/${storage.list("checkpoints")[0]}`;
  const harmed = changed(
    changed(storage, checkpoint, flipped((bytes) => bytes.length >> 1)),
    segmentPath(0, 2),
    () => undefined,
  );
  const { report, store } = await salvaged(harmed);
  assert.match(report.notes.join(), /Cannot use the checkpoint/);
  assert.deepEqual(epochs(store), [199, 199, 199]);
  assert.deepEqual(bytesAt(store, "a", 200), without(200, report.ticksLost[0]));
});

Deno.test("a log that begins with a checkpoint can be exported, imported and salvaged", async () => {
  const storage = await written(200, { checkpointAt: 150, drop: true });
  assert.equal(storage.exists(segmentPath(0, 1)), false);
  const { report, store } = await salvaged(storage);
  assert.equal(report.ok, true, JSON.stringify(report));
  assert.match(report.notes.join(), /begins with the checkpoint of tick 150/);
  const without150 = changed(storage, "checkpoints/000000000150.ckpt", () => undefined);
  const blind = (await salvaged(without150)).report;
  assert.equal(blind.ok, false);
  assert.match(blind.notes.join(), /no checkpoint of what was before can be read/);
  const target = new MemoryStorage();
  const text = [...exportStorage(storage)].map((line) => JSON.stringify(line)).join("\n");
  const source = bytesSource("log.jsonl", new TextEncoder().encode(text));
  await prepareImport(source, undefined)(target);
  assert.deepEqual(auditLog(target).problems, []);
  const imported = new PageStore(SMALL.memoryLimitBytes);
  assert.equal(recover(target, readMeta(target), imported).tick, 200);
  for (const each of [store, imported]) {
    assert.deepEqual(epochs(each), [199, 199, 199]);
    assert.deepEqual(bytesAt(each, "c", 200), without(200, { first: 0, last: 0 }));
  }
  assert.ok([...exportStorage(storage, { canonical: true })].length > 150);
});

Deno.test("a log that was merged can be exported, imported and salvaged", async () => {
  const storage = new MemoryStorage();
  const sizes = { segmentBytes: SEGMENT_BYTES, segmentBytesMax: SEGMENT_BYTES };
  {
    await using bus = await StateBus.open({ ...SMALL, ...sizes, storage });
    const page = bus.createPage({ size: 1024, name: "a" });
    for (let i = 1; i <= 300; i++) {
      await bus.commit(() => page.write(0, new Uint8Array(1024).fill(i & 255)));
    }
    await bus.compact();
  }
  const merged = readMeta(storage)!.base!.horizon;
  const { report, store, target } = await salvaged(storage);
  assert.equal(report.ok, true);
  assert.equal(readMeta(target)!.base!.horizon, merged);
  const copy = new MemoryStorage();
  const text = [...exportStorage(storage)].map((line) => JSON.stringify(line)).join("\n");
  await prepareImport(bytesSource("log", new TextEncoder().encode(text)), undefined)(copy);
  assert.deepEqual(auditLog(copy).problems, []);
  assert.deepEqual([...exportStorage(copy)].map((line) => JSON.stringify(line)).join("\n"), text);
  assert.deepEqual([store.view(1)[0], store.table.epoch(1)], [300 & 255, 300]);
});

Deno.test("a torn tail is no loss and is not taken", async () => {
  const storage = await written(20, { close: false });
  const path = segmentPath(0, 1);
  const torn = changed(storage, path, (bytes) => {
    const used = bytes.findLastIndex((byte) => byte !== 0);
    return bytes.slice(0, used - 40);
  });
  const { report } = await salvaged(torn);
  assert.equal(report.ok, true);
  assert.equal(report.lastTick, 19);
  assert.deepEqual(report.faults.map(({ kind }) => kind), ["torn"]);
});

Deno.test("any flips, cuts and lost files leave a directory that opens, and deltas that were there", async () => {
  const storage = await written(150);
  const original = new Map<string, string>();
  const keyOf = (line: ExportLine) => {
    if (line.type !== "delta" && line.type !== "birth") return undefined;
    // The open batch is numbered anew where numbers would be missing.
    const rest = { ...line, hlc: undefined, advance: undefined, sequence: undefined };
    return [`${line.type} ${line.tick} ${line.page}`, JSON.stringify(rest)] as const;
  };
  for (const line of exportStorage(storage)) {
    const entry = keyOf(line);
    if (entry !== undefined) original.set(...entry);
  }
  const files = filesOf(storage);
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          file: fc.constantFrom(...files),
          at: fc.nat(),
          what: fc.constantFrom("flip" as const, "flip" as const, "cut" as const, "lose" as const),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      async (harms) => {
        let harmed = storage;
        for (const { file, at, what } of harms) {
          if (!harmed.exists(file)) continue;
          harmed = changed(harmed, file, (bytes) => {
            if (what === "lose") return undefined;
            if (what === "cut") return bytes.slice(0, at % (bytes.length + 1));
            return bytes.length === 0 ? bytes : flipped(() => at % bytes.length)(bytes);
          });
        }
        const { report, lines } = await salvaged(harmed);
        let kept = 0;
        for (const line of lines) {
          const entry = keyOf(line);
          if (entry === undefined) continue;
          assert.equal(original.get(entry[0]), entry[1]);
          if (line.type === "delta") kept++;
        }
        assert.equal(report.deltas, kept);
        // Without the metadata a log that was cut between two ticks looks like a whole one.
        const isBlind = report.faults.some(({ fault }) => fault === "meta");
        assert.ok(kept === 3 * 149 || !report.ok || isBlind, "a loss is told");
      },
    ),
    { numRuns: 40 },
  );
});
