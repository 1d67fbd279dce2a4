/** What export, import and salvage refuse before they touch anything. */

import assert from "node:assert/strict";
import { exportFile } from "./export_file.ts";
import { exportLog } from "./export_log.ts";
import { importLog } from "./import_log.ts";
import { salvageLog } from "./salvage.ts";

const NO_TEXT: readonly unknown[] = [undefined, null, 5, NaN, 5n, {}, [], Symbol("x"), () => {}];
const NO_PATH = [...NO_TEXT, "", "a\0b"];
const NO_OPTIONS = [null, 5, "x", { misspelt: 1 }, { progress: "x" }];

/** The calls, each with one argument left open. */
function calls(folder: string): Record<"path" | "options", ((bad: never) => Promise<unknown>)[]> {
  const file = `${folder}/file.jsonl`, target = `${folder}/target`;
  return {
    path: [
      (path) => importLog(path, target),
      (path) => importLog(file, path),
      (path) => Array.fromAsync(exportLog(path)),
      (path) => exportFile(path, file),
      (path) => exportFile(folder, path),
      (path) => salvageLog(path, target),
      (path) => salvageLog(folder, path),
    ],
    options: [
      (options) => importLog(file, target, options),
      (options) => Array.fromAsync(exportLog(folder, options)),
      (options) => exportFile(folder, `${folder}/out`, options),
      (options) => salvageLog(folder, target, options),
    ],
  };
}

Deno.test("export, import and salvage refuse what is no path and no option, and make nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/file.jsonl`, "{}\n");
    const { path, options } = calls(folder);
    for (const bad of NO_PATH) {
      for (const call of path) await assert.rejects(call(bad as never), { code: "usage" });
    }
    for (const bad of NO_OPTIONS) {
      for (const call of options) await assert.rejects(call(bad as never), { code: "usage" });
    }
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["file.jsonl"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("importLog() refuses sizes, times and counts that can be none", async () => {
  const refused = {
    snapshot: NO_PATH.slice(1),
    shards: [0, 257, 1.5, "3", NaN, 5n],
    nowUs: [-1, 2 ** 53, "now", Infinity],
    segmentBytes: [0, 2 ** 40, {}],
    segmentBytesMax: [-1, 2 ** 40, null],
  };
  for (const [name, values] of Object.entries(refused)) {
    for (const value of values) {
      const call = importLog("none.jsonl", "none", { [name]: value } as never);
      await assert.rejects(call, ({ code, message }) => {
        return ["usage", "out-of-bounds", "limit"].includes(code) && message.includes(name);
      });
    }
  }
});
