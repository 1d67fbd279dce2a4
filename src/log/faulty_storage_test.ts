import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import { FaultyStorage, type UnsyncedChange } from "./faulty_storage.ts";
import { MemoryStorage } from "./memory_storage.ts";
import type { StorageFile } from "./storage.ts";

const SECTOR_BYTES = 512;

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

/** An image as plain values, for comparing. */
function plain(storage: { image(): Map<string, Uint8Array> }): Record<string, number[]> {
  return Object.fromEntries([...storage.image()].map(([path, found]) => [path, [...found]]));
}

/** A store with one durable file `a` of these bytes, open. */
function durableFile(content: Uint8Array, seed = 0): [FaultyStorage, StorageFile] {
  const storage = new FaultyStorage({ seed, image: new Map([["a", content]]) });
  return [storage, storage.open("a", "write")];
}

/** Every outcome of a crash, one subset of the unsynced changes after the other. */
function* everyCrash(storage: FaultyStorage): Generator<MemoryStorage> {
  const changes = storage.unsynced();
  for (let subset = 0; subset < 2 ** changes.length; subset++) {
    const kept = new Set(changes.filter((_, i) => subset & (1 << i)).map(({ number }) => number));
    yield storage.crash({ survive: ({ number }) => kept.has(number) });
  }
}

function distinct(crashes: Iterable<MemoryStorage>): string[] {
  return [...new Set(Array.from(crashes, (crash) => JSON.stringify(plain(crash))))].sort();
}

// Crashes, by example.

Deno.test("FaultyStorage.crash() keeps what was synced and loses what was not", () => {
  const [storage, file] = durableFile(bytes(1, 2, 3));
  file.write(bytes(9), 0);
  file.sync();
  file.write(bytes(8), 1);
  file.truncate(2);
  assert.deepEqual(plain(storage.crash({ keep: "none" })), { a: [9, 2, 3] });
  assert.deepEqual(plain(storage.crash({ keep: "all" })), { a: [9, 8] });
  assert.deepEqual(plain(storage), { a: [9, 8] });
});

Deno.test("FaultyStorage.crash() knows what was written, whatever became of the source", () => {
  const [storage, file] = durableFile(bytes(1));
  const source = bytes(2);
  file.write(source, 0);
  source.fill(3);
  assert.deepEqual(plain(storage.crash({ keep: "all" })), { a: [2] });
});

Deno.test("FaultyStorage.syncFolder() makes the names of that folder durable, and no others", () => {
  const storage = new FaultyStorage();
  storage.makeFolder("f/g");
  for (const path of ["a", "f/a", "f/g/a"]) storage.open(path, "create").close();
  storage.syncFolder("f");
  assert.deepEqual(plain(storage.crash({ keep: "none" })), { "f/a": [] });
});

Deno.test("FaultyStorage.crash() reaches every subset of the changes, whatever their order", () => {
  const [storage, file] = durableFile(bytes(0, 0, 0));
  file.write(bytes(1, 1), 0);
  file.write(bytes(2, 2), 1);
  assert.deepEqual(
    distinct(everyCrash(storage)),
    ["000", "022", "110", "122"].map((text) => JSON.stringify({ a: [...text].map(Number) })),
  );
  const byChance = distinct(Array.from({ length: 500 }, () => storage.crash({ tear: "never" })));
  assert.deepEqual(byChance, distinct(everyCrash(storage)));
});

Deno.test("FaultyStorage.crash() may lose or keep a name whose folder was not synced", () => {
  const storage = new FaultyStorage();
  const file = storage.open("a", "create");
  file.write(bytes(1), 0);
  file.sync();
  assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[1]}', "{}"]);
  storage.syncFolder("");
  assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[1]}']);
  storage.remove("a");
  assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[1]}', "{}"]);
  storage.open("a", "create");
  assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[1]}', '{"a":[]}', "{}"]);
  storage.syncFolder("");
  assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[]}']);
});

Deno.test("FaultyStorage.crash() keeps folders, but not the bytes under a durable name", () => {
  const storage = new FaultyStorage();
  storage.makeFolder("f/g");
  storage.open("f/g/a", "create").write(bytes(1), 0);
  storage.syncFolder("f/g");
  const crash = storage.crash({ keep: "none" });
  assert.deepEqual(plain(crash), { "f/g/a": [] });
  assert.deepEqual(crash.list("f"), ["g"]);
  crash.lock()();
});

Deno.test("FaultyStorage.crash() tears writes at sectors, or at any byte", () => {
  const content = new Uint8Array(3 * SECTOR_BYTES);
  const [storage, file] = durableFile(content);
  file.write(new Uint8Array(2 * SECTOR_BYTES).fill(1), 100);
  const edges = { sector: new Set<number>(), byte: new Set<number>(), never: new Set<number>() };
  for (const tear of ["sector", "byte", "never"] as const) {
    for (let i = 0; i < 200; i++) {
      const found = storage.crash({ tear }).readAll("a")!;
      assert.equal(found.length, content.length);
      for (let at = 1; at < found.length; at++) {
        if (found[at] !== found[at - 1]) edges[tear].add(at);
      }
    }
  }
  const [start, end] = [100, 100 + 2 * SECTOR_BYTES];
  assert.deepEqual([...edges.never].sort((a, b) => a - b), [start, end]);
  assert.deepEqual(
    [...edges.sector].sort((a, b) => a - b),
    [start, SECTOR_BYTES, 2 * SECTOR_BYTES, end],
  );
  assert(edges.byte.size > 20);
});

Deno.test("FaultyStorage.crash() may keep a grown size without its bytes", () => {
  const [storage, file] = durableFile(bytes(1));
  file.write(bytes(2, 2), 1);
  const found = distinct(Array.from({ length: 100 }, () => storage.crash({ tear: "never" })));
  assert.deepEqual(found, ['{"a":[1,0,0]}', '{"a":[1,2,2]}', '{"a":[1]}']);
});

Deno.test("FaultyStorage.replace() leaves the old file or the new one, at every step", () => {
  const make = () => new FaultyStorage({ image: new Map([["a", bytes(1, 1)]]) });
  const whole = make();
  whole.replace("a", bytes(2, 2, 2));
  assert.deepEqual(distinct(everyCrash(whole)), ['{"a":[2,2,2]}']);
  const found = new Set<string>();
  for (let after = 0; after < whole.steps; after++) {
    const storage = make();
    storage.stop({ after });
    assert.throws(() => storage.replace("a", bytes(2, 2, 2)), { code: "io" });
    for (const crash of everyCrash(storage)) found.add(`${crash.readAll("a")}`);
  }
  assert.deepEqual([...found].sort(), ["1,1", "2,2,2"]);
});

Deno.test("FaultyStorage.allocate() leaves no file or a whole one, at every step", async () => {
  const size = 40_000;
  const whole = new FaultyStorage();
  await whole.allocate("a", size);
  const [survivor] = everyCrash(whole);
  assert.deepEqual(survivor.list(""), ["a"]);
  const found = new Set<number | undefined>();
  for (let after = 0; after < whole.steps; after++) {
    const storage = new FaultyStorage();
    storage.stop({ after });
    await assert.rejects(() => storage.allocate("a", size), { code: "io" });
    for (const crash of everyCrash(storage)) found.add(crash.readAll("a")?.length);
  }
  assert.deepEqual([...found].sort(), [size, undefined]);
});

Deno.test("FaultyStorage: a sync under way covers the writes before it, not those after", async () => {
  const [storage, file] = durableFile(bytes(0, 0));
  file.write(bytes(1), 0);
  const sync = file.syncAsync();
  assert.deepEqual(plain(storage.crash({ keep: "none" })), { a: [0, 0] });
  file.write(bytes(2), 1);
  await sync;
  assert.deepEqual(plain(storage.crash({ keep: "none" })), { a: [1, 0] });
  assert.deepEqual(plain(storage.crash({ keep: "all" })), { a: [1, 2] });
});

// Faults.

Deno.test("FaultyStorage.failWrites() fails the n-th write, after a prefix", () => {
  const [storage, file] = durableFile(bytes(0, 0, 0, 0));
  storage.failWrites({ after: 1, prefix: 2 });
  file.write(bytes(1), 0);
  assert.throws(() => file.write(bytes(2, 2, 2), 1), { code: "io" });
  assert.deepEqual(plain(storage), { a: [1, 2, 2, 0] });
  file.write(bytes(3), 3);
  storage.failWrites({ after: 0, times: Infinity, error: "read-only", prefix: 0 });
  assert.throws(() => file.write(bytes(4), 0), { code: "read-only" });
  assert.throws(() => file.truncate(0), { code: "read-only" });
  assert.throws(() => storage.replace("a", bytes(4)), { code: "read-only" });
  assert.throws(() => storage.allocateNow("b", 4), { code: "read-only" });
  assert.deepEqual(plain(storage), { a: [1, 2, 2, 3] });
});

Deno.test("FaultyStorage.failWrites() leaves prefixes of every length by chance", () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 100; seed++) {
    const [storage, file] = durableFile(bytes(), seed);
    storage.failWrites({ after: 0 });
    assert.throws(() => file.write(bytes(1, 2, 3), 0), { code: "io" });
    lengths.add(file.size());
  }
  assert.deepEqual([...lengths].sort(), [0, 1, 2, 3]);
});

Deno.test("FaultyStorage.failSyncs() leaves what it covers undecided, whatever syncs follow", async () => {
  for (const fail of ["sync", "syncAsync"] as const) {
    const [storage, file] = durableFile(bytes(0, 0));
    storage.failSyncs({ after: 0 });
    file.write(bytes(1), 0);
    await assert.rejects(async () => await file[fail](), { code: "io" });
    file.write(bytes(2), 1);
    file.sync();
    assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[0,2]}', '{"a":[1,2]}']);
    // Written again, the bytes are the concern of the next sync.
    file.write(bytes(1), 0);
    file.sync();
    assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[1,2]}']);
  }
});

Deno.test("FaultyStorage.failSyncs() counts folder syncs, and leaves their names undecided", () => {
  const [storage, file] = durableFile(bytes(0));
  storage.failSyncs({ after: 1 });
  file.sync();
  storage.remove("a");
  assert.throws(() => storage.syncFolder(""), { code: "io" });
  storage.syncFolder("");
  assert.deepEqual(distinct(everyCrash(storage)), ['{"a":[0]}', "{}"]);
});

Deno.test("FaultyStorage.fillUp() lets a prefix in, overwrites pass, and takes room back", () => {
  const [storage, file] = durableFile(bytes(1, 1));
  storage.fillUp({ bytesLeft: 3 });
  assert.throws(() => file.write(bytes(2, 2, 2, 2, 2), 1), { code: "disk-full" });
  assert.deepEqual(plain(storage), { a: [1, 2, 2, 2, 2] });
  file.write(bytes(3, 3, 3, 3, 3), 0);
  assert.throws(() => storage.replace("b", bytes(1)), { code: "disk-full" });
  assert.throws(() => storage.allocateNow("b", 1), { code: "disk-full" });
  assert.deepEqual(storage.list(""), ["a"]);
  file.truncate(3);
  storage.replace("b", bytes(4, 4));
  assert.throws(() => file.write(bytes(5), 3), { code: "disk-full" });
  storage.remove("b");
  file.write(bytes(5), 3);
  storage.fillUp({ bytesLeft: 2 });
  for (let i = 0; i < 3; i++) {
    storage.replace("c", bytes(i));
  }
  storage.fillUp({ bytesLeft: Infinity });
  storage.allocateNow("b", 1000);
});

Deno.test("FaultyStorage.stop() ends everything but closing and unlocking", async () => {
  const [storage, file] = durableFile(bytes(1));
  const unlock = storage.lock();
  const steps = storage.steps;
  file.write(bytes(2), 0);
  const sync = file.syncAsync();
  assert.equal(storage.steps, steps + 2);
  storage.stop({ after: 0 });
  assert.throws(() => file.write(bytes(3), 0), { code: "io" });
  await assert.rejects(sync, { code: "io" });
  const uses = [
    () => file.size(),
    () => file.read(new Uint8Array(1), 0),
    () => file.sync(),
    () => storage.readAll("a"),
    () => storage.list(""),
    () => storage.exists("a"),
    () => storage.open("a", "read"),
    () => storage.remove("a"),
    () => storage.makeFolder("f"),
    () => storage.syncFolder(""),
    () => storage.lock(),
  ];
  for (const use of uses) assert.throws(use, { code: "io" }, String(use));
  file.close();
  unlock();
  assert.deepEqual(plain(storage.crash({ keep: "none" })), { a: [1] });
});

Deno.test("FaultyStorage.flip() and cut() damage the file and every crash", () => {
  const [storage, file] = durableFile(bytes(0, 0, 0));
  file.write(bytes(255), 1);
  storage.flip("a", 8);
  storage.flip("a", 7);
  storage.cut("a", 2);
  assert.deepEqual(plain(storage), { a: [128, 254] });
  assert.deepEqual(plain(storage.crash({ keep: "none" })), { a: [128, 1] });
  assert.deepEqual(plain(storage.crash({ keep: "all" })), { a: [128, 254] });
  assert.throws(() => storage.flip("a", 16), { code: "out-of-bounds" });
  assert.throws(() => storage.cut("a", 3), { code: "out-of-bounds" });
  assert.throws(() => storage.flip("b", 0), { code: "io" });
});

Deno.test("FaultyStorage refuses options that it does not know, and counts that are none", () => {
  const storage = new FaultyStorage();
  const wrong = [
    () => new FaultyStorage({ sead: 1 } as object),
    () => storage.crash({ keeps: "all" } as object),
    () => storage.crash({ keep: "most" as "all" }),
    () => storage.crash({ tear: "page" as "byte" }),
    () => storage.failWrites({ after: 0, before: 1 } as { after: number }),
    () => storage.failSyncs({ after: NaN }),
    () => storage.fillUp({ bytesLeft: 0.5 }),
    () => storage.stop({ after: "1" as unknown as number }),
  ];
  for (const call of wrong) assert.throws(call, { code: "usage" }, String(call));
});

Deno.test("MemoryStorage.clone() shares no bytes, no names and no lock", () => {
  const storage = new MemoryStorage({ image: new Map([["f/a", bytes(1)]]) });
  storage.makeFolder("g");
  storage.lock();
  const clone = storage.clone();
  clone.lock();
  clone.open("f/a", "write").write(bytes(2), 0);
  clone.replace("f/b", bytes(3));
  assert.deepEqual(plain(storage), { "f/a": [1], "lock": [] });
  assert.deepEqual(plain(clone), { "f/a": [2], "f/b": [3], "lock": [] });
  assert.deepEqual(clone.list(""), ["f", "g", "lock"]);
});

// Crashes, by random operations against an obvious model: what each byte and name may be.

type Operation =
  | readonly ["write", name: number, position: number, size: number]
  | readonly ["truncate", name: number, size: number]
  | readonly ["create" | "remove" | "sync" | "failingSync" | "replace", name: number]
  | readonly ["syncFolder" | "failingSyncFolder"];

const name = fc.nat(2);
const position = fc.nat(1500);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(fc.constant("write"), name, position, position) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("truncate"), name, position) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("create"), name) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("sync"), name) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom("remove", "failingSync", "replace"), name) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("syncFolder")) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("failingSyncFolder")) },
) as fc.Arbitrary<Operation>;

/** A file: its bytes now, and of each byte what it may be after a crash; −1 is past the end. */
interface ModelFile {
  bytes: number[];
  readonly maybe: Set<number>[];
}

/** The files by name now, and what each name may lead to after a crash. */
class Model {
  readonly files = new Map<string, ModelFile>();
  readonly maybe = new Map<string, Set<ModelFile | undefined>>();

  setName(path: string, file: ModelFile | undefined): void {
    if (file === undefined) this.files.delete(path);
    else this.files.set(path, file);
    const maybe = this.maybe.get(path) ?? new Set([undefined]);
    this.maybe.set(path, maybe.add(file));
  }

  /** `lost` are the names that met a failing sync and were not changed since. */
  syncFolder(lost: Set<string>): void {
    for (const path of this.maybe.keys()) {
      if (!lost.has(path)) this.maybe.set(path, new Set([this.files.get(path)]));
    }
  }
}

function change(file: ModelFile, position: number, values: readonly number[]): void {
  while (file.bytes.length < position) file.bytes.push(0);
  for (const [i, value] of values.entries()) file.bytes[position + i] = value;
  noteAll(file);
}

/** What a byte is now it may be after a crash; past the end, zeros of a grown size too. */
function noteAll(file: ModelFile): void {
  const length = Math.max(file.bytes.length, file.maybe.length);
  for (let at = 0; at < length; at++) {
    const maybe = file.maybe[at] ??= new Set([-1]);
    maybe.add(file.bytes[at] ?? -1);
    if (maybe.has(-1)) maybe.add(0);
  }
}

/** Runs operations on both; refused ones do nothing on either. */
function run(storage: FaultyStorage, operations: readonly Operation[]): Model {
  const model = new Model();
  const lostNames = new Set<string>();
  /** Files with changes that a failing sync left undecided for good. */
  const lostFiles = new Set<ModelFile>();
  for (const [step, [kind, name, first, second]] of operations.entries()) {
    const path = "abc"[name ?? 0];
    const file = model.files.get(path);
    const value = step % 255 + 1;
    if (kind === "create") {
      if (file !== undefined) continue;
      storage.open(path, "create").close();
      model.setName(path, { bytes: [], maybe: [] });
      lostNames.delete(path);
    } else if (kind === "syncFolder") {
      storage.syncFolder("");
      model.syncFolder(lostNames);
    } else if (kind === "failingSyncFolder") {
      storage.failSyncs({ after: 0 });
      assert.throws(() => storage.syncFolder(""), { code: "io" });
      for (const [path, maybe] of model.maybe) if (maybe.size > 1) lostNames.add(path);
    } else if (kind === "replace") {
      storage.replace(path, bytes(value, value));
      const maybe = [new Set([value]), new Set([value])];
      model.setName(path, { bytes: [value, value], maybe });
      lostNames.delete(path);
      model.syncFolder(lostNames);
    } else if (file !== undefined) {
      if (kind === "remove") {
        storage.remove(path);
        model.setName(path, undefined);
        lostNames.delete(path);
        continue;
      }
      const open = storage.open(path, "write");
      if (kind === "write") {
        open.write(new Uint8Array(second).fill(value), first);
        if (second > 0) change(file, first, new Array(second).fill(value));
      } else if (kind === "truncate") {
        open.truncate(first);
        file.bytes = file.bytes.slice(0, first);
        change(file, first, []);
      } else if (kind === "sync") {
        open.sync();
        // A byte under an undecided change may still be what that change makes of it, so the model
        // only says what a file may be that no failing sync has met.
        if (!lostFiles.has(file)) {
          file.maybe.length = 0;
          file.maybe.push(...file.bytes.map((byte) => new Set([byte])));
        }
      } else if (kind === "failingSync") {
        storage.failSyncs({ after: 0 });
        assert.throws(() => open.sync(), { code: "io" });
        lostFiles.add(file);
      }
      open.close();
    }
  }
  return model;
}

/** Whether a crash may leave these bytes of a file. */
function possible(file: ModelFile, found: Uint8Array): boolean {
  for (let at = 0; at < Math.max(found.length, file.maybe.length); at++) {
    const maybe = file.maybe[at];
    if (maybe === undefined || !maybe.has(at < found.length ? found[at] : -1)) return false;
  }
  return true;
}

const operations = fc.array(operation, { maxLength: 30, size: "max" });
const seed = fc.integer();
const tear = fc.constantFrom("sector" as const, "byte" as const, "never" as const);

Deno.test("FaultyStorage.crash() leaves only bytes and names that were there since the last sync", () => {
  fc.assert(
    fc.property(operations, seed, tear, (operations, seed, tear) => {
      const storage = new FaultyStorage({ seed });
      const model = run(storage, operations);
      for (let i = 0; i < 5; i++) {
        const found = storage.crash({ tear }).image();
        for (const [path, maybe] of model.maybe) {
          const content = found.get(path);
          assert(
            content === undefined
              ? maybe.has(undefined)
              : [...maybe].some((file) => file !== undefined && possible(file, content)),
            `${path}: ${content}`,
          );
        }
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("FaultyStorage.crash() keeps all that was synced before it", () => {
  fc.assert(
    fc.property(operations, seed, tear, (operations, seed, tear) => {
      const storage = new FaultyStorage({ seed });
      run(storage, operations.filter(([kind]) => !kind.startsWith("failing")));
      for (const path of storage.list("")) storage.open(path, "write").sync();
      storage.syncFolder("");
      assert.deepEqual(storage.unsynced(), []);
      assert.deepEqual(plain(storage.crash({ tear })), plain(storage));
      assert.deepEqual(plain(storage.crash({ keep: "none" })), plain(storage));
    }),
    { numRuns: 100 },
  );
});

Deno.test("FaultyStorage.crash() that keeps all is what the program saw", () => {
  fc.assert(
    fc.property(operations, (operations) => {
      const storage = new FaultyStorage();
      run(storage, operations);
      assert.deepEqual(plain(storage.crash({ keep: "all" })), plain(storage));
      assert.deepEqual(plain(storage.crash({ survive: () => true })), plain(storage));
    }),
    { numRuns: 100 },
  );
});

Deno.test("FaultyStorage.crash() is the same for the same seed and operations", () => {
  fc.assert(
    fc.property(operations, seed, tear, (operations, seed, tear) => {
      const crashes = [0, 1].map(() => {
        const storage = new FaultyStorage({ seed });
        run(storage, operations);
        return [storage.crash({ tear }), storage.crash({ tear }), storage.crash({ seed, tear })];
      });
      assert.deepEqual(crashes[0].map(plain), crashes[1].map(plain));
    }),
    { numRuns: 50 },
  );
});

Deno.test("FaultyStorage.unsynced() lists changes in order, and sees the fate of each", () => {
  const [storage, file] = durableFile(bytes(1, 1));
  file.write(bytes(2, 2), 1);
  file.truncate(2);
  storage.open("b", "create").close();
  storage.remove("b");
  const expected: UnsyncedChange[] = [
    { number: 0, kind: "write", path: "a", position: 1, size: 2 },
    { number: 1, kind: "truncate", path: "a", position: 0, size: 2 },
    { number: 2, kind: "create", path: "b", position: 0, size: 0 },
    { number: 3, kind: "remove", path: "b", position: 0, size: 0 },
  ];
  assert.deepEqual(storage.unsynced(), expected);
  const asked: UnsyncedChange[] = [];
  storage.crash({ survive: (change) => asked.push(change) < 0 });
  assert.deepEqual(asked.sort((a, b) => a.number - b.number), expected);
});

Deno.test("FaultyStorage.stop() at any step leaves to a crash what was seen until then", () => {
  fc.assert(
    fc.property(operations, fc.nat(20), (operations, after) => {
      const storage = new FaultyStorage();
      storage.stop({ after });
      try {
        run(storage, operations);
      } catch (error) {
        if (!isMmsbError(error, "io")) throw error;
      }
      assert.deepEqual(plain(storage.crash({ keep: "all" })), plain(storage));
    }),
    { numRuns: 50 },
  );
});
