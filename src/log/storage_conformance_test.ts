/** One suite for every `Storage`: what the log may rely on, whatever stands behind it. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { FileStorage } from "./file_storage.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { type Storage, type StorageFile, temporaryPath } from "./storage.ts";

interface Subject {
  readonly storage: Storage;
  /** A second opening of the same place, where there can be one. */
  readonly second?: Storage;
  dispose(): void;
}

const SUBJECTS: Readonly<Record<Storage["kind"], () => Subject>> = {
  files(): Subject {
    const directory = Deno.makeTempDirSync({ prefix: "mmsb-storage-" });
    return {
      storage: new FileStorage(directory),
      second: new FileStorage(directory),
      dispose: () => Deno.removeSync(directory, { recursive: true }),
    };
  },
  memory: () => ({ storage: new MemoryStorage(), dispose(): void {} }),
  faulty: () => ({ storage: new FaultyStorage(), dispose(): void {} }),
};

const KINDS = Object.keys(SUBJECTS) as Storage["kind"][];

function conform(what: string, check: (subject: Subject) => void | Promise<void>): void {
  for (const kind of KINDS) {
    Deno.test(`Storage (${kind}) ${what}`, async () => {
      const subject = SUBJECTS[kind]();
      try {
        assert.equal(subject.storage.kind, kind);
        await check(subject);
      } finally {
        subject.dispose();
      }
    });
  }
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

/** A file's whole content, read through an open file. */
function content(file: StorageFile): number[] {
  const target = new Uint8Array(file.size());
  assert.equal(file.read(target, 0), target.length);
  return [...target];
}

conform("reads at any position what was written at any position", ({ storage }) => {
  const file = storage.open("a", "create");
  assert.equal(file.path, "a");
  assert.equal(file.size(), 0);
  file.write(bytes(1, 2, 3, 4, 5), 0);
  file.write(bytes(8, 9), 1);
  assert.deepEqual(content(file), [1, 8, 9, 4, 5]);
  const target = new Uint8Array(3);
  assert.equal(file.read(target, 2), 3);
  assert.deepEqual([...target], [9, 4, 5]);
  file.close();
});

conform("reads fewer bytes only at the end of the file", ({ storage }) => {
  const file = storage.open("a", "create");
  file.write(bytes(1, 2, 3), 0);
  const target = new Uint8Array(4).fill(7);
  assert.equal(file.read(target, 1), 2);
  assert.deepEqual([...target], [2, 3, 7, 7]);
  assert.equal(file.read(target, 3), 0);
  assert.equal(file.read(target, 1000), 0);
  assert.equal(file.read(new Uint8Array(0), 0), 0);
  file.close();
});

conform("writes and reads more than one system call takes", ({ storage }) => {
  const source = new Uint8Array(5_000_000);
  for (let i = 0; i < source.length; i++) source[i] = i % 251;
  const file = storage.open("a", "create");
  file.write(source, 3);
  const target = new Uint8Array(source.length);
  assert.equal(file.read(target, 3), source.length);
  assert(target.every((value, i) => value === i % 251));
  file.close();
});

conform("takes views of any buffer, and only their bytes", ({ storage }) => {
  const file = storage.open("a", "create");
  const shared = new Uint8Array(new SharedArrayBuffer(8)).fill(5);
  file.write(shared.subarray(2, 4), 0);
  const growable = new SharedArrayBuffer(4, { maxByteLength: 4096 });
  file.write(new Uint8Array(growable, 0, 1), 2);
  assert.deepEqual(content(file), [5, 5, 0]);
  const target = new Uint8Array(new SharedArrayBuffer(8));
  assert.equal(file.read(target.subarray(3, 5), 0), 2);
  assert.deepEqual([...target], [0, 0, 0, 5, 5, 0, 0, 0]);
  file.close();
});

conform("keeps the bytes of a write, whatever happens to its source", ({ storage }) => {
  const source = bytes(1, 2);
  const file = storage.open("a", "create");
  file.write(source, 0);
  storage.replace("b", source);
  source.fill(9);
  assert.deepEqual(content(file), [1, 2]);
  storage.readAll("b")!.fill(9);
  assert.deepEqual(storage.readAll("b"), bytes(1, 2));
  file.close();
});

conform("reads a gap as zeros", ({ storage }) => {
  const file = storage.open("a", "create");
  file.write(bytes(1), 0);
  file.write(bytes(2), 5);
  assert.deepEqual(content(file), [1, 0, 0, 0, 0, 2]);
  file.write(bytes(), 100);
  assert.equal(file.size(), 6);
  file.close();
});

conform("cuts and grows by zeros", ({ storage }) => {
  const file = storage.open("a", "create");
  file.write(bytes(1, 2, 3, 4), 0);
  file.truncate(2);
  assert.deepEqual(content(file), [1, 2]);
  file.truncate(4);
  assert.deepEqual(content(file), [1, 2, 0, 0]);
  file.truncate(1);
  file.write(bytes(9), 3);
  assert.deepEqual(content(file), [1, 0, 0, 9]);
  file.truncate(0);
  assert.deepEqual(content(file), []);
  file.close();
});

conform("opens to read, to write and to create", ({ storage }) => {
  assert.throws(() => storage.open("a", "read"), { code: "io" });
  assert.throws(() => storage.open("a", "write"), { code: "io" });
  assert.equal(storage.exists("a"), false);
  const created = storage.open("a", "create");
  created.write(bytes(1), 0);
  assert.throws(() => storage.open("a", "create"), { code: "io" });
  const written = storage.open("a", "write");
  written.write(bytes(2), 1);
  const read = storage.open("a", "read");
  assert.deepEqual(content(read), [1, 2]);
  assert.deepEqual(content(created), [1, 2]);
  for (
    const change of [
      () => read.write(bytes(3), 0),
      () => read.truncate(0),
      () => read.sync(),
    ]
  ) assert.throws(change, { code: "usage" });
  for (const file of [created, written, read]) file.close();
  assert.deepEqual(storage.readAll("a"), bytes(1, 2));
});

conform("refuses a file that is closed", async ({ storage }) => {
  for (const mode of ["create", "write", "read"] as const) {
    const file = storage.open("a", mode);
    file.close();
    file.close();
    const uses = [
      () => file.size(),
      () => file.read(new Uint8Array(1), 0),
      () => file.write(bytes(1), 0),
      () => file.truncate(0),
      () => file.sync(),
    ];
    for (const use of uses) assert.throws(use, { code: "closed" });
    await assert.rejects(() => file.syncAsync(), { code: "closed" });
  }
});

conform("refuses arguments that are none", async ({ storage }) => {
  const file = storage.open("a", "create");
  for (const position of [-1, 0.5, NaN, Infinity, "0", 0n, undefined]) {
    const wrong = position as number;
    assert.throws(() => file.write(bytes(1), wrong), { code: "usage" });
    assert.throws(() => file.read(new Uint8Array(1), wrong), { code: "usage" });
    assert.throws(() => file.truncate(wrong), { code: "usage" });
    assert.throws(() => storage.allocateNow("b", wrong), { code: "usage" });
    await assert.rejects(() => storage.allocate("b", wrong), { code: "usage" });
  }
  const words = new Uint16Array(2) as unknown as Uint8Array;
  assert.throws(() => file.write(words, 0), { code: "usage" });
  assert.throws(() => file.read(words, 0), { code: "usage" });
  assert.throws(() => storage.replace("b", words), { code: "usage" });
  assert.throws(() => storage.open("a", "append" as "write"), { code: "usage" });
  file.close();
  assert.deepEqual(storage.list(""), ["a"]);
});

conform("refuses paths that lead out or have another spelling", ({ storage }) => {
  for (const path of ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0", "a\\b", 1]) {
    const wrong = path as string;
    const uses = [
      () => storage.open(wrong, "create"),
      () => storage.readAll(wrong),
      () => storage.replace(wrong, bytes(1)),
      () => storage.remove(wrong),
      () => storage.exists(wrong),
      () => storage.allocateNow(wrong, 1),
    ];
    if (path !== "") uses.push(() => storage.makeFolder(wrong), () => storage.list(wrong));
    for (const use of uses) assert.throws(use, { code: "usage" });
  }
  assert.deepEqual(storage.list(""), []);
});

conform("makes folders with their parents, and lists them", ({ storage }) => {
  assert.deepEqual(storage.list("a/b"), []);
  assert.throws(() => storage.open("a/b/c", "create"), { code: "io" });
  assert.throws(() => storage.syncFolder("a"), { code: "io" });
  storage.makeFolder("a/b");
  storage.makeFolder("a/b");
  storage.makeFolder("");
  assert(storage.exists("a") && storage.exists("a/b"));
  for (const name of ["10", "9", "B", "a", "ä"]) storage.replace(`a/b/${name}`, bytes(1));
  storage.makeFolder("a/b/c");
  storage.syncFolder("a/b");
  assert.deepEqual(storage.list("a/b"), ["10", "9", "B", "a", "c", "ä"]);
  assert.deepEqual(storage.list("a"), ["b"]);
  assert.deepEqual(storage.list(""), ["a"]);
});

conform("tells files and folders apart", ({ storage }) => {
  storage.replace("file", bytes(1));
  storage.makeFolder("folder");
  const uses = [
    () => storage.makeFolder("file"),
    () => storage.makeFolder("file/a"),
    () => storage.list("file"),
    () => storage.list("file/a"),
    () => storage.open("file/a", "create"),
    () => storage.replace("file/a", bytes(1)),
    () => storage.open("folder", "read"),
    () => storage.open("folder", "write"),
    () => storage.open("folder", "create"),
    () => storage.readAll("folder"),
    () => storage.replace("folder", bytes(1)),
    () => storage.remove("folder"),
    () => storage.allocateNow("folder", 1),
  ];
  for (const use of uses) assert.throws(use, { code: "io" }, String(use));
  assert.equal(storage.exists("file/a"), false);
  assert.equal(storage.readAll("file/a"), undefined);
  storage.remove("file/a");
  assert.deepEqual(storage.list(""), ["file", "folder"]);
});

conform("replaces a file whole, and leaves no other name", ({ storage }) => {
  storage.replace("a", bytes(1, 2, 3));
  const old = storage.open("a", "read");
  storage.replace("a", bytes(4));
  assert.deepEqual(storage.readAll("a"), bytes(4));
  assert.deepEqual(content(old), [1, 2, 3]);
  old.close();
  // As a crash may leave it.
  storage.open(temporaryPath("a"), "create").close();
  storage.replace("a", bytes());
  assert.deepEqual(storage.readAll("a"), bytes());
  assert.throws(() => storage.replace("absent/a", bytes(1)), { code: "io" });
  assert.deepEqual(storage.list(""), ["a"]);
});

conform("renames a file, also over another and into another folder", ({ storage }) => {
  storage.replace("a", bytes(1));
  storage.replace("b", bytes(2, 3));
  storage.makeFolder("folder");
  const old = storage.open("b", "read");
  storage.rename("a", "b");
  assert.deepEqual(storage.readAll("b"), bytes(1));
  assert.deepEqual(content(old), [2, 3]);
  old.close();
  storage.rename("b", "b");
  storage.rename("b", "folder/c");
  storage.syncFolder("");
  storage.syncFolder("folder");
  assert.deepEqual(storage.readAll("folder/c"), bytes(1));
  assert.deepEqual(storage.list(""), ["folder"]);
  const wrong: [string, string][] = [
    ["absent", "b"],
    ["absent", "absent"],
    ["folder/c", "absent/c"],
    ["folder/c", "folder"],
    ["folder", "b"],
    ["folder", "folder"],
    ["folder/c", "folder/c/d"],
  ];
  for (const [source, target] of wrong) {
    assert.throws(() => storage.rename(source, target), { code: "io" }, `${source} ${target}`);
  }
  assert.throws(() => storage.rename("../a", "b"), { code: "usage" });
  assert.throws(() => storage.rename("folder/c", ""), { code: "usage" });
  assert.deepEqual(storage.readAll("folder/c"), bytes(1));
});

conform("removes and syncs names on another thread", async ({ storage }) => {
  storage.makeFolder("folder");
  storage.replace("folder/a", bytes(1));
  await storage.removeAsync("folder/a");
  await storage.removeAsync("folder/a");
  await storage.syncFolderAsync("folder");
  assert.deepEqual(storage.list("folder"), []);
  await assert.rejects(() => storage.removeAsync("folder"), { code: "io" });
  await assert.rejects(() => storage.removeAsync("../a"), { code: "usage" });
  await assert.rejects(() => storage.syncFolderAsync("absent"), { code: "io" });
});

conform("writes on another thread", async ({ storage }) => {
  const file = storage.open("a", "create");
  const source = new Uint8Array(5_000_000);
  for (let i = 0; i < source.length; i++) source[i] = i % 251;
  await file.writeAsync(source, 3);
  await file.writeAsync(new Uint8Array(new SharedArrayBuffer(2)).fill(9), 0);
  file.write(bytes(7), 2);
  await file.writeAsync(bytes(), 9_000_000);
  assert.deepEqual(content(file), [9, 9, 7, ...source]);
  await assert.rejects(() => file.writeAsync(bytes(1), -1), { code: "usage" });
  await assert.rejects(() => file.writeAsync([1] as unknown as Uint8Array, 0), { code: "usage" });
  file.close();
  await assert.rejects(() => file.writeAsync(bytes(1), 0), { code: "closed" });
  const read = storage.open("a", "read");
  await assert.rejects(() => read.writeAsync(bytes(1), 0), { code: "usage" });
  read.close();
});

conform("removes a name, and an open file lives on", ({ storage }) => {
  const file = storage.open("a", "create");
  file.write(bytes(1), 0);
  storage.remove("a");
  storage.remove("a");
  storage.remove("absent/a");
  storage.syncFolder("");
  assert.equal(storage.exists("a"), false);
  assert.equal(storage.readAll("a"), undefined);
  file.write(bytes(2), 1);
  file.sync();
  assert.deepEqual(content(file), [1, 2]);
  storage.open("a", "create").close();
  assert.deepEqual(storage.readAll("a"), bytes());
  file.close();
});

conform("allocates zeros, whole or not at all", async ({ storage }) => {
  const size = 3_000_001;
  storage.allocateNow("now", size);
  const pending = storage.allocate("later", size);
  storage.replace("meanwhile", bytes(1));
  await pending;
  for (const path of ["now", "later"]) {
    const found = storage.readAll(path)!;
    assert.equal(found.length, size);
    assert(found.every((value) => value === 0));
  }
  storage.allocateNow("empty", 0);
  assert.deepEqual(storage.readAll("empty"), bytes());
  assert.deepEqual(storage.list(""), ["empty", "later", "meanwhile", "now"]);
});

conform("allocates no file that exists", async ({ storage }) => {
  storage.replace("a", bytes(1));
  assert.throws(() => storage.allocateNow("a", 2), { code: "io" });
  await assert.rejects(() => storage.allocate("a", 2), { code: "io" });
  assert.throws(() => storage.allocateNow("absent/a", 2), { code: "io" });
  await assert.rejects(() => storage.allocate("absent/a", 2), { code: "io" });
  const both = [storage.allocate("b", 100_000), storage.allocate("b", 5)];
  const outcomes = (await Promise.allSettled(both)).map(({ status }) => status);
  assert.deepEqual(outcomes, ["fulfilled", "rejected"]);
  assert.equal(storage.readAll("b")!.length, 100_000);
  // As a crash may leave it.
  storage.open(temporaryPath("c"), "create").close();
  await storage.allocate("c", 1);
  // Made by another while the allocation is under way: it is not overwritten.
  const pending = storage.allocate("d", 100_000);
  const size = storage.exists("d") ? 100_000 : 0;
  if (size === 0) storage.open("d", "create").close();
  await Promise.allSettled([pending]);
  assert.equal(storage.readAll("d")!.length, size);
  assert.deepEqual(storage.readAll("a"), bytes(1));
  assert.deepEqual(storage.list(""), ["a", "b", "c", "d"]);
});

conform("syncs while writes go on, and while the file is closed", async ({ storage }) => {
  const file = storage.open("a", "create");
  file.write(new Uint8Array(1_000_000), 0);
  const syncs = [file.syncAsync(), file.syncAsync()];
  file.write(bytes(1), 0);
  file.sync();
  file.write(bytes(2), 1);
  syncs.push(file.syncAsync());
  file.close();
  await Promise.all(syncs);
  assert.deepEqual(storage.readAll("a")!.subarray(0, 3), bytes(1, 2, 0));
});

conform("gives the lock to one writer at a time", ({ storage, second }) => {
  const unlock = storage.lock();
  assert(storage.exists("lock"));
  assert.throws(() => storage.lock(), { code: "locked" });
  if (second !== undefined) assert.throws(() => second.lock(), { code: "locked" });
  unlock();
  const unlockAgain = (second ?? storage).lock();
  // Late and twice: it must not release what another holds by now.
  unlock();
  assert.throws(() => storage.lock(), { code: "locked" });
  unlockAgain();
  storage.lock()();
  assert.deepEqual(storage.list(""), ["lock"]);
});

// All stores against the obvious one, on random operations.

type Operation =
  | readonly ["write", path: string, position: number, size: number]
  | readonly ["truncate", path: string, size: number]
  | readonly ["create" | "remove" | "makeFolder" | "list" | "readAll" | "exists", path: string]
  | readonly ["replace" | "allocate", path: string, size: number]
  | readonly ["rename", path: string, target: string];

const path = fc.constantFrom("a", "b", "f/a", "f/b", "f", "f/g", "f/g/a");
const size = fc.nat(40);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant("write"), path, size, size) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("truncate"), path, size) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom("replace", "allocate"), path, size) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("rename"), path, path) },
  {
    weight: 6,
    arbitrary: fc.tuple(
      fc.constantFrom("create", "remove", "makeFolder", "list", "readAll", "exists"),
      path,
    ),
  },
) as fc.Arbitrary<Operation>;

/** Does one operation; what came of it, as text: a result, or the code of an error. */
function outcome(storage: Storage, operation: Operation, step: number): string {
  try {
    return JSON.stringify(perform(storage, operation, step)) ?? "";
  } catch (error) {
    assert(isMmsbError(error), String(error));
    return error.code;
  }
}

function perform(storage: Storage, operation: Operation, step: number): unknown {
  if (operation[0] === "rename") return storage.rename(operation[1], operation[2]);
  const [name, path, first, second] = operation;
  switch (name) {
    case "create":
      return storage.open(path, "create").close();
    case "write":
    case "truncate": {
      const file = storage.open(path, "write");
      try {
        if (name === "truncate") file.truncate(first);
        else file.write(new Uint8Array(second).fill(step + 1), first);
        return content(file);
      } finally {
        file.close();
      }
    }
    case "replace":
      return storage.replace(path, new Uint8Array(first).fill(step + 1));
    case "allocate":
      return storage.allocateNow(path, first);
    case "readAll":
      return [...storage.readAll(path) ?? ["absent"]];
    default:
      return storage[name](path);
  }
}

Deno.test("Storage: all kinds agree on every outcome of random operations", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40, size: "max" }), (operations) => {
      const subjects = KINDS.map((kind) => SUBJECTS[kind]());
      try {
        for (const [step, operation] of operations.entries()) {
          const outcomes = subjects.map(({ storage }) => outcome(storage, operation, step));
          assert.deepEqual(outcomes, KINDS.map(() => outcomes[0]), `${step}: ${operation}`);
        }
      } finally {
        for (const subject of subjects) subject.dispose();
      }
    }),
    { numRuns: 40 },
  );
});
