/** What only real files can show: what the system refuses, and locks between processes. */

import assert from "node:assert/strict";
import { isMmsbError, type MmsbError } from "../base/mod.ts";
import { FileStorage } from "./file_storage.ts";
import { ROOT, succeeds, testOnDisk } from "./small_disk_test.ts";

const LINUX = Deno.build.os === "linux";

function temporaryDirectory(): { path: string } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "mmsb-files-" });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

function thrown(call: () => unknown): MmsbError {
  try {
    call();
  } catch (error) {
    assert(isMmsbError(error), String(error));
    return error;
  }
  return assert.fail("Nothing was thrown");
}

Deno.test("FileStorage makes its directory on request only", () => {
  using directory = temporaryDirectory();
  const storage = new FileStorage(`${directory.path}/a/../b/c`);
  assert.equal(storage.location, `${directory.path}/b/c`);
  assert.deepEqual(storage.list(""), []);
  assert.throws(() => storage.lock(), { code: "io" });
  assert.throws(() => storage.replace("a", Uint8Array.of(1)), { code: "io" });
  assert.deepEqual([...Deno.readDirSync(directory.path)], []);
  storage.makeFolder("d");
  storage.replace("d/a", Uint8Array.of(1));
  assert.deepEqual(Deno.readFileSync(`${directory.path}/b/c/d/a`), Uint8Array.of(1));
});

Deno.test("FileStorage refuses a directory that is no text", () => {
  assert.throws(() => new FileStorage(undefined as unknown as string), { code: "usage" });
});

Deno.test("FileStorage errors say what to do, and keep path, system message and cause", () => {
  using directory = temporaryDirectory();
  const error = thrown(() => new FileStorage(directory.path).open("a", "read"));
  const path = `${directory.path}/a`;
  assert.match(error.message, /^Cannot open ".*\/a" as it or its folder does not exist: check/);
  assert.match(String(error.values.systemMessage), /No such file or directory/);
  assert.deepEqual([error.values.path, error.values.systemCode], [path, "ENOENT"]);
  assert(error.cause instanceof Deno.errors.NotFound);
});

Deno.test("FileStorage.makeFolder() says where a file is in the way", () => {
  using directory = temporaryDirectory();
  Deno.writeTextFileSync(`${directory.path}/file`, "");
  const error = thrown(() => new FileStorage(`${directory.path}/file/a/b`).makeFolder(""));
  assert.equal(error.code, "io");
  assert.match(error.message, /file stands where a folder should be|as it exists already/);
});

Deno.test({
  name: "FileStorage refuses a directory that not even root may write: read-only",
  ignore: !LINUX,
  fn(): void {
    const storage = new FileStorage("/sys/mmsb-storage-test");
    const error = thrown(() => storage.makeFolder("lane-00"));
    assert.equal(error.code, "read-only");
    assert.match(error.message, /use another directory|mount it for writing/);
    assert.equal(new FileStorage("/sys").list("").includes("kernel"), true);
  },
});

Deno.test({
  name: `FileStorage reads a directory without the right to write it${
    ROOT ? " (skipped: root may write)" : ""
  }`,
  ignore: !LINUX || ROOT,
  fn(): void {
    using directory = temporaryDirectory();
    const storage = new FileStorage(directory.path);
    storage.replace("a", Uint8Array.of(1));
    Deno.chmodSync(`${directory.path}/a`, 0o400);
    Deno.chmodSync(directory.path, 0o500);
    try {
      refusesChanges(storage);
    } finally {
      Deno.chmodSync(directory.path, 0o700);
    }
  },
});

testOnDisk("FileStorage reads a read-only file system, and refuses changes", async (path) => {
  const storage = new FileStorage(path);
  storage.replace("a", Uint8Array.of(1));
  assert(await succeeds("mount", "-o", "remount,ro", path));
  refusesChanges(storage);
  await assert.rejects(() => storage.allocate("b", 1), { code: "read-only" });
});

/** With a file `a` of one byte that may be read, and nothing that may be written. */
function refusesChanges(storage: FileStorage): void {
  const changes = [
    () => storage.open("a", "write"),
    () => storage.open("b", "create"),
    () => storage.replace("a", Uint8Array.of(2)),
    () => storage.remove("a"),
    () => storage.makeFolder("f/g"),
    () => storage.allocateNow("b", 1),
    () => storage.lock(),
  ];
  for (const change of changes) assert.throws(change, { code: "read-only" }, String(change));
  assert.deepEqual(storage.list(""), ["a"]);
  assert.deepEqual(storage.readAll("a"), Uint8Array.of(1));
  const file = storage.open("a", "read");
  assert.equal(file.size(), 1);
  file.close();
}

Deno.test({
  name: "FileStorage meets a device without room: disk-full",
  ignore: !LINUX,
  fn(): void {
    const file = new FileStorage("/dev").open("full", "write");
    const error = thrown(() => file.write(Uint8Array.of(1), 0));
    assert.equal(error.code, "disk-full");
    assert.match(error.message, /as the disk is full: free some space/);
    file.close();
  },
});

Deno.test({
  name: "FileStorage refuses every sync after one that failed",
  ignore: !LINUX,
  async fn(): Promise<void> {
    // This device has nothing to sync, and says so by an error.
    const file = new FileStorage("/dev").open("full", "write");
    const error = thrown(() => file.sync());
    assert.equal(error.code, "io");
    assert.equal(thrown(() => file.sync()), error);
    await assert.rejects(() => file.syncAsync(), (later) => later === error);
    file.close();
  },
});

testOnDisk("FileStorage meets a full disk, and loses nothing", async (path) => {
  const storage = new FileStorage(path);
  storage.allocateNow("segment", 256 * 1024);
  storage.replace("a", Uint8Array.of(1));
  const growing = storage.open("growing", "create");
  const piece = new Uint8Array(100_000).fill(7);
  const error = thrown(() => {
    for (let position = 0; position < 2_000_000; position += piece.length) {
      growing.write(piece, position);
    }
  });
  assert.equal(error.code, "disk-full");
  assert(growing.size() > piece.length, "A prefix is left");
  const full = [
    () => storage.replace("a", piece),
    () => storage.replace("b", piece),
    () => storage.allocateNow("b", 300_000),
  ];
  for (const change of full) assert.throws(change, { code: "disk-full" }, String(change));
  await assert.rejects(() => storage.allocate("b", 300_000), { code: "disk-full" });
  // Nothing half-made stays, what was there is whole, and what was allocated takes writes.
  assert.deepEqual(storage.list(""), ["a", "growing", "segment"]);
  assert.deepEqual(storage.readAll("a"), Uint8Array.of(1));
  const segment = storage.open("segment", "write");
  segment.write(piece, 150_000);
  segment.sync();
  segment.close();
  storage.lock()();
  growing.close();
  storage.remove("growing");
  await storage.allocate("b", 300_000);
  storage.replace("a", piece);
});

/** A child process that takes the lock, says so and keeps it; killed at the end. */
async function lockedByChild(directory: string): Promise<{ pid: number } & AsyncDisposable> {
  const script = `${directory}-child.ts`;
  const module = import.meta.resolve("./file_storage.ts");
  Deno.writeTextFileSync(
    script,
    `import { FileStorage } from ${JSON.stringify(module)};
    new FileStorage(Deno.args[0]).lock();
    console.log("locked");
    setInterval(() => {}, 1000);`,
  );
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--no-lock", "-A", script, directory],
    stdout: "piped",
  }).spawn();
  async function end(): Promise<void> {
    child.kill("SIGKILL");
    await child.stdout.cancel();
    await child.status;
    Deno.removeSync(script);
  }
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  if (new TextDecoder().decode(value) !== "locked\n") {
    await end();
    assert.fail("The child took no lock");
  }
  return { pid: child.pid, [Symbol.asyncDispose]: end };
}

Deno.test("FileStorage.lock() keeps other processes out until this one is killed", async () => {
  using directory = temporaryDirectory();
  const storage = new FileStorage(directory.path);
  {
    await using child = await lockedByChild(directory.path);
    const error = thrown(() => storage.lock());
    assert.equal(error.code, "locked");
    assert.equal(error.values.holder, String(child.pid));
    assert.match(error.message, new RegExp(`process ${child.pid}\\), or open the directory read`));
  }
  const unlock = storage.lock();
  assert.equal(Deno.readTextFileSync(`${directory.path}/lock`), `${Deno.pid}\n`);
  unlock();
  assert.equal(Deno.readTextFileSync(`${directory.path}/lock`), "");
});

Deno.test({
  name: "FileStorage.lock() given back is free at once, while other threads start programs",
  ignore: !LINUX,
  fn: async () => {
    using directory = temporaryDirectory();
    const storage = new FileStorage(directory.path);
    const starter = `
      postMessage("begun");
      for (;;) new Deno.Command("true", { stdout: "null", stderr: "null" }).outputSync();
    `;
    const thread = new Worker(`data:text/javascript,${encodeURIComponent(starter)}`, {
      type: "module",
    });
    try {
      await new Promise((resolve) => thread.onmessage = resolve);
      for (let i = 0; i < 500; i++) storage.lock()();
    } finally {
      thread.terminate();
    }
  },
});

function sizeOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).size;
  } catch {
    return undefined;
  }
}

Deno.test("FileStorage.allocate() lets the thread go on", async () => {
  using directory = temporaryDirectory();
  const storage = new FileStorage(directory.path);
  const path = `${directory.path}/a`;
  const size = 16 * 1024 * 1024;
  let done = false;
  const allocation = storage.allocate("a", size).finally(() => done = true);
  let turns = 0;
  while (!done) {
    assert([undefined, size].includes(sizeOf(path)), "It appears whole");
    await new Promise((resolve) => setTimeout(resolve, 0));
    turns++;
  }
  await allocation;
  assert(turns > 1);
  assert.equal(sizeOf(path), size);
  const { blocks } = Deno.statSync(path);
  assert(blocks === null || blocks * 512 >= size, "The zeros are really written");
});
