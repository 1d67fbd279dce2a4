/** Lines that are wrong are named by number and field; nothing that is wrong is taken. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError } from "../base/mod.ts";
import { combineKind, KIND_MASKED, PageStore } from "../physical/mod.ts";
import { exportStorage } from "./export_log.ts";
import { ROW_KIND, STRUCTURAL } from "./format.ts";
import { buildDirectory } from "./import_target.ts";
import { importLog, prepareImport } from "./import_log.ts";
import { bytesSource } from "./import_source.ts";
import { LogBuilder, structuralRow } from "./log_builder.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { readMeta } from "./meta.ts";
import { recover } from "./recovery.ts";
import { auditLog } from "./verify.ts";

/** Three ticks of two incarnations with rows of all kinds; ticks 3 to 6 were merged into the last. */
async function sample(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const builder = new LogBuilder(storage, { shards: 2 });
  await builder.begin({ tick: 1, clockErrorUs: 7 });
  const metadata = new Map([["unit", Uint8Array.of(1, 2)]]);
  builder.births([
    { page: 1, size: 16, shard: 0, name: "board", metadata },
    { page: 2, size: 8, shard: 1, name: "" },
  ], 4096n);
  const rows = builder.rows();
  const imported = { idLow: -1, idHigh: 5, epoch: 3 };
  rows.push({ page: 1, epoch: 1, kind: 0, offset: 2, length: 2, payload: Uint8Array.of(1, 2) });
  const payload = Uint8Array.of(0b101, 9, 8), source = "feed-ä", intent = '{"why":1}';
  rows.push({ page: 2, epoch: 1, kind: KIND_MASKED, offset: 1, length: 3, payload, imported });
  const add = { kind: combineKind("i32", "add"), offset: 4, length: 4, payload: new Uint8Array(4) };
  rows.push({ page: 1, epoch: 2, ...add, source, intent, timeUs: 1234.5 });
  builder.frame(rows, { producer: 3, sequence: 9, hlc: 4098n });
  await builder.commit(5000n, 4);
  await builder.begin({ tick: 2, incarnation: 3, graphVersion: 1 });
  const changes = builder.rows();
  changes.push(structuralRow(1, STRUCTURAL.resizePage, { size: 32 }));
  changes.push(structuralRow(1, STRUCTURAL.migratePage, { shard: 1 }));
  changes.push(structuralRow(2, STRUCTURAL.deletePage));
  builder.frame(changes, { rowKind: ROW_KIND.structural, hlc: 6000n });
  await builder.commit(6003n);
  await builder.begin({ tick: 6, graphVersion: 1 });
  const merged = builder.rows();
  const late = { page: 1, kind: 0, offset: 20, length: 1, payload: Uint8Array.of(7) };
  merged.push({ ...late, epoch: 6, advance: 4 });
  builder.frame(merged, { rowKind: ROW_KIND.derived, hlc: 7000n });
  await builder.commit(7001n);
  await builder.close({ incarnation: 4 });
  return storage;
}

function textOf(storage: MemoryStorage, canonical = false): string {
  return [...exportStorage(storage, { canonical })].map((line) => `${JSON.stringify(line)}\n`).join(
    "",
  );
}

async function importText(text: string | Uint8Array<ArrayBuffer>): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  await prepareImport(bytesSource("log.jsonl", bytes), undefined, { nowUs: 1 })(storage);
  return storage;
}

async function refusal(text: string) {
  try {
    await importText(text);
  } catch (error) {
    assert.ok(isMmsbError(error), String(error));
    return error;
  }
  assert.fail(`it was taken: ${text}`);
}

Deno.test("rows of all kinds, merged ticks and incarnations come back as they were", async () => {
  const storage = await sample();
  assert.deepEqual(auditLog(storage).problems, []);
  const text = textOf(storage), copy = await importText(text);
  assert.equal(textOf(copy), text);
  assert.deepEqual(auditLog(copy).problems, []);
  assert.equal(readMeta(copy)?.incarnation, 4);
  const store = new PageStore(2 ** 20);
  assert.equal(recover(copy, readMeta(copy), store).tick, 6);
  const row = store.table.rowOf(store.find("board"));
  assert.deepEqual([store.table.sizeOf(row), store.table.epoch(row), store.view(row)[20]], [
    32,
    6,
    7,
  ]);
  assert.equal(textOf(await importText(textOf(storage, true)), true), textOf(storage, true));
});

Deno.test("a line that is wrong is refused by its number, byte and field", async () => {
  const lines = textOf(await sample()).trimEnd().split("\n");
  const at = (type: string, nth = 0) =>
    lines.flatMap((line, i) => JSON.parse(line).type === type ? [i] : [])[nth];
  const delta = at("delta"), masked = at("delta", 1), add = at("delta", 2);
  const cases: [number, Record<string, unknown>, string, RegExp][] = [
    [0, { format: "other" }, "format", /is not mmsb-log/],
    [0, { version: 2 }, "version", /reads up to 1/],
    [0, { shards: 0 }, "shards", /it is 0, not an integer from 1 to 256/],
    [0, { type: "delta" }, "type", /first line is no header/],
    [at("birth"), { size: 2 ** 24 + 1 }, "size", /not an integer from 1/],
    [at("birth"), { shard: 2 }, "shard", /from 0 to 1/],
    [at("birth"), { metadata: [["a", "!"]] }, "metadata", /not base64/],
    [at("birth"), { metadata: [["a", ""], ["a", ""]] }, "metadata", /there twice/],
    [at("birth"), { name: 7 }, "name", /not a text/],
    [at("birth"), { colour: "red" }, "colour", /no such field/],
    [at("birth", 1), { page: 1 }, "page", /born twice/],
    [at("birth", 1), { name: "board" }, "name", /page 1 has it/],
    [delta, { page: 9 }, "page", /was not born/],
    [delta, { page: 1.5 }, "page", /not an integer/],
    [delta, { epoch: 2 }, "epoch", /it is 2, page 1 goes to 1/],
    [delta, { offset: 15 }, "length", /leave page 1 of 16/],
    [delta, { kind: "cat" }, "kind", /there is no kind/],
    [delta, { payload: "AQ==" }, "payload", /it has 1 bytes, the span 2/],
    [delta, { payload: "A Q=" }, "payload", /not base64/],
    [delta, { mask: "AAAA" }, "mask", /only masked deltas/],
    [delta, { hlc: "-1" }, "hlc", /below 2\^64/],
    [delta, { hlc: 4098 }, "hlc", /as text/],
    [delta, { advance: 0 }, "advance", /from 1/],
    [delta, { tick: 2 }, "tick", /tick 1 has no commit/],
    [masked, { payload: "AQ==" }, "payload", /the mask 2 set bits/],
    [masked, { mask: "AQ==" }, "mask", /stored mask/],
    [masked, { imported: { id: "x", epoch: 1 } }, "imported", /as text/],
    [masked, { imported: { id: "1" } }, "imported", /is not \{ id, epoch \}/],
    [add, { offset: 2 }, "offset", /multiples of 4/],
    [add, { timeUs: "soon" }, "timeUs", /not a number/],
    [add, { intent: "\ud800" }, "intent", /no Unicode/],
    [at("commit"), { nextPageId: 2 }, "nextPageId", /from 3/],
    [at("commit"), { hlc: "4000" }, "hlc", /times must rise/],
    [at("commit"), { incarnation: 9 }, "incarnation", /header's is 4/],
    [at("commit", 1), { incarnation: 0 }, "incarnation", /from 1/],
    [at("resize"), { size: 0 }, "size", /from 1/],
    [at("delta", 3), { page: 2 }, "page", /was deleted/],
    [at("end"), { rows: 3 }, "rows", /it is 3, there were 9/],
    [at("end"), { ticks: 4 }, "ticks", /it is 4, there were 3/],
  ];
  for (const [line, change, field, reason] of cases) {
    const text = lines.with(line, JSON.stringify({ ...JSON.parse(lines[line]), ...change }))
      .join("\n");
    const error = await refusal(text);
    const { values, message } = error;
    assert.deepEqual([values.line, values.field], [line + 1, field], message);
    assert.match(String(values.reason), reason);
    const offset = lines.slice(0, line).join("\n").length + (line === 0 ? 0 : 1);
    assert.ok((values.offset as number) >= offset, "the byte is that of the line");
  }
});

Deno.test("a file of lines that is cut anywhere, or goes on, is refused", async () => {
  const text = textOf(await sample());
  const lines = text.trimEnd().split("\n");
  for (let count = 1; count < lines.length; count++) {
    assert.equal((await refusal(lines.slice(0, count).join("\n"))).code, "corrupt-log");
  }
  for (let cut = 40; cut < text.length - 2; cut += 37) await refusal(text.slice(0, cut));
  assert.match((await refusal(text + "{}\n")).message, /line 15 is wrong.*type/);
  assert.match((await refusal(text + lines[1])).message, /lines follow the end/);
  assert.match((await refusal(text.replace("\n", "\n\n"))).message, /line 2 .*no JSON/);
  await importText(text.trimEnd());
});

Deno.test("no flip of a file of lines makes anything but an MmsbError, or another log", async () => {
  const bytes = new TextEncoder().encode(textOf(await sample()));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), {
        minLength: 1,
        maxLength: 3,
      }),
      async (flips) => {
        const harmed = bytes.slice();
        for (const [at, value] of flips) harmed[at] ^= value;
        let storage: MemoryStorage;
        try {
          storage = await importText(harmed);
        } catch (error) {
          assert.ok(isMmsbError(error), String(error));
          return;
        }
        assert.deepEqual(auditLog(storage).problems, []);
        recover(storage, readMeta(storage), new PageStore(2 ** 26));
      },
    ),
    { numRuns: 400 },
  );
});

Deno.test("a file of lines whose graph version falls, or whose times and epochs disagree, is refused", async () => {
  const text = textOf(await sample());
  const falls = text.replace('"graphVersion":1', '"graphVersion":2');
  assert.notEqual(falls, text);
  await assert.rejects(importText(falls), { code: "corrupt-log" });
  const swapped = text.replace('"hlc":"4100"', '"hlc":"4097"');
  assert.notEqual(swapped, text);
  await assert.rejects(importText(swapped), { code: "corrupt-log" });
});

Deno.test("importLog() makes no directory of a wrong file, and goes on over what a kill left", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const text = textOf(await sample());
    await Deno.writeTextFile(`${folder}/log.jsonl`, text);
    await Deno.writeTextFile(`${folder}/cut.jsonl`, text.slice(0, -20));
    const target = `${folder}/data`;
    await assert.rejects(importLog(`${folder}/cut.jsonl`, target), { code: "corrupt-log" });
    const names = () => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assert.deepEqual(names(), ["cut.jsonl", "log.jsonl"]);
    // As a kill in the middle leaves it.
    await Deno.mkdir(`${target}.tmp/lane-00`, { recursive: true });
    await Deno.writeTextFile(`${target}.tmp/lane-00/0000000001.log`, "half");
    await Deno.writeTextFile(`${target}.tmp/meta.json`, "half");
    await importLog(`${folder}/log.jsonl`, target);
    assert.deepEqual(names(), ["cut.jsonl", "data", "log.jsonl"]);
    assert.deepEqual([...Deno.readDirSync(target)].map(({ name }) => name).sort(), [
      "lane-00",
      "meta.json",
    ]);
    await assert.rejects(importLog(`${folder}/log.jsonl`, target), { code: "usage" });
    await Deno.mkdir(`${folder}/other.tmp`);
    await Deno.writeTextFile(`${folder}/other.tmp/mine`, "");
    await assert.rejects(importLog(`${folder}/log.jsonl`, `${folder}/other`), { code: "usage" });
    assert.equal(await Deno.readTextFile(`${folder}/other.tmp/mine`), "");
    await Deno.mkdir(`${folder}/empty`);
    await importLog(`${folder}/log.jsonl`, `${folder}/empty`);
    await buildDirectory(`${folder}/third`, async () => {
      await assert.rejects(importLog(`${folder}/log.jsonl`, `${folder}/third`), { code: "locked" });
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
