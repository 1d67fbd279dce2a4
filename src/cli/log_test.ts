/** The command as it is published, on real directories: whole, torn, damaged, empty, missing. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { struct, utf8 } from "../schema/mod.ts";
import { makeBoard, mmsbIn, type Outcome, testFolder } from "./_mmsb_test.ts";

const LOG = "lane-00/0000000001.log";
const folder = testFolder("mmsb-cli-log-");

function mmsb(line: string): Promise<Outcome> {
  return mmsbIn(folder, line);
}

/** A directory of 12 ticks, closed. */
function make(name: string): Promise<string> {
  return makeBoard(`${folder}/${name}`);
}

/** Names, sizes and bytes of all files. */
function contentOf(dir: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const { name, isFile } of Deno.readDirSync(dir)) {
    if (isFile) files[name] = Deno.readFileSync(`${dir}/${name}`).join();
    else Object.assign(files, contentOf(`${dir}/${name}`));
  }
  return files;
}

Deno.test("mmsb log inspect, query and verify read a whole directory", async () => {
  const dir = await make("whole");
  const before = contentOf(dir);
  const [inspect, query, verify] = await Promise.all([
    mmsb("log inspect whole"),
    mmsb("log query whole --page board --tick-from 3 --tick-to 4 --json"),
    mmsb("log verify whole"),
  ]);
  assert.equal(inspect.code, 0, inspect.err);
  assert.match(inspect.out, /^state {7}whole$/m);
  assert.match(inspect.out, /^ticks {7}1 to 12$/m);
  assert.match(inspect.out, /^deltas {6}12, 48 B of payload\n {12}add i32: 12$/m);
  assert.match(inspect.out, /^ {12}page 1 board: epoch 12$/m);
  assert.match(inspect.out, /^source {6}feed-a: 12 deltas, 48 B$/m);
  assert.equal(query.code, 0, query.err);
  const rows = query.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(
    rows.map(({ tick, epoch, kind, payload, intent }) => [tick, epoch, kind, payload, intent]),
    [[3, 3, "add i32", "02000000", "step 2"], [4, 4, "add i32", "03000000", "step 3"]],
  );
  assert.deepEqual([verify.code, verify.err], [0, ""]);
  assert.match(verify.out, /^✓ whole: whole, 25 frames, 12 deltas, .*, last tick 12\n$/);
  assert.deepEqual(contentOf(dir), before);
});

Deno.test("mmsb names the place of damage, with exit 3, and changes nothing", async () => {
  const dir = await make("damaged");
  const bytes = await Deno.readFile(`${dir}/${LOG}`);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(`${dir}/${LOG}`, bytes);
  const before = contentOf(dir);
  const [inspect, query, verify, validate] = await Promise.all([
    mmsb("log inspect damaged"),
    mmsb("log query damaged"),
    mmsb("log verify damaged --json"),
    mmsb("validate --data damaged"),
  ]);
  const place = /lane-00\/0000000001\.log at byte \d+(, tick \d+: |: tick \d+ )/;
  for (const { code, err } of [inspect, query, verify]) {
    assert.equal(code, 3);
    assert.match(err, /^mmsb: corrupt-log: Cannot [^\n]+\n$/);
  }
  for (const { err } of [inspect, verify]) assert.match(err, /mmsb log salvage DIR --to DIR2/);
  assert.match(
    inspect.out,
    /^state {7}damaged: lane-00\/0000000001\.log at byte \d+: tick \d+ is /m,
  );
  for (const { err } of [inspect, query]) assert.doesNotMatch(err, /tick (\d+): tick \1/);
  assert.match(inspect.err, place);
  assert.match(query.out, /^tick 1 .* {2}page 1 board {2}epoch 0 {2}create {2}64 bytes\n/);
  assert.match(query.err, /tick \d+ .* \(lane-00\/0000000001\.log, byte \d+\)/);
  const outcome = JSON.parse(verify.out);
  assert.deepEqual([outcome.ok, outcome.problems.length, outcome.lastTick], [false, 1, 12]);
  assert.deepEqual([outcome.problems[0].kind, outcome.problems[0].file], ["damage", LOG]);
  assert.equal(validate.code, 3, validate.err);
  assert.match(validate.out, /^– #1: {2}Replay – skipped: its log is damaged: validator 2 says/m);
  const told =
    /^✗ #2: {2}Integrity \(lane-00\/0000000001\.log, byte (\d+): .*; tick \d+, page 1 "board"/m;
  assert.equal(Number(told.exec(validate.out)?.[1]), bytes.length >> 1, validate.out);
  assert.deepEqual(contentOf(dir), before);
});

Deno.test("mmsb says that a torn tail is one, with exit 0", async () => {
  const dir = `${folder}/torn`;
  const bus = await StateBus.open({ dir, durability: "buffered" });
  const page = bus.createPage({ size: 8, name: "board" });
  for (let tick = 0; tick < 3; tick++) await bus.commit(() => page.write(0, Uint8Array.of(tick)));
  // As a crash in the middle of a write leaves it.
  const copy = `${folder}/torn-copy`;
  await Deno.mkdir(`${copy}/lane-00`, { recursive: true });
  await Deno.copyFile(`${dir}/meta.json`, `${copy}/meta.json`);
  const bytes = await Deno.readFile(`${dir}/${LOG}`);
  const used = bytes.findLastIndex((byte) => byte !== 0);
  await Deno.writeFile(`${copy}/${LOG}`, bytes.slice(0, used - 40));
  await bus.close();
  const [inspect, verify, validate] = await Promise.all([
    mmsb("log inspect torn-copy"),
    mmsb("log verify torn-copy"),
    mmsb("validate --data torn-copy --only 2"),
  ]);
  assert.deepEqual([inspect.code, verify.code, validate.code], [0, 0, 0]);
  assert.match(inspect.out, /^state {7}torn: lane-00\/0000000001\.log at byte \d+: tick 3 /m);
  assert.match(
    verify.out,
    /^– torn tail: lane-00\/0000000001\.log at byte \d+(, tick 3: |: tick 3 )/,
  );
  assert.match(validate.out, /a torn tail, which the next open cuts: lane-00/);
});

Deno.test("mmsb says that a damaged checkpoint beside a whole log can be deleted, with exit 3", async () => {
  const dir = `${folder}/ckpt`;
  {
    await using bus = await StateBus.open({ dir });
    const page = bus.createPage({ size: 4096, name: "board" });
    await bus.commit(() => page.write(0, crypto.getRandomValues(new Uint8Array(4096))));
    await bus.checkpoint();
  }
  const [{ name }] = [...Deno.readDirSync(`${dir}/checkpoints`)];
  const file = `${dir}/checkpoints/${name}`;
  const whole = await mmsb("log inspect ckpt");
  assert.doesNotMatch(whole.out, /^note/m);
  const bytes = await Deno.readFile(file);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(file, bytes);
  const [inspect, verify] = await Promise.all([mmsb("log inspect ckpt"), mmsb("log verify ckpt")]);
  assert.deepEqual([inspect.code, verify.code], [0, 3]);
  assert.match(inspect.out, /^state {7}whole$/m);
  assert.match(inspect.out, /^note {8}a checkpoint is damaged, see mmsb log verify: /m);
  assert.match(verify.out, /^✗ 1 damaged place: ckpt, /m);
  assert.equal(
    verify.err,
    `mmsb: corrupt-log: Cannot use 1 checkpoint of "ckpt" (checkpoints/${name}), ` +
      "while the log is whole: delete the file, nothing is lost with it\n",
  );
  await Deno.remove(file);
  assert.equal((await mmsb("log verify ckpt")).code, 0);
});

Deno.test("mmsb log query shows births and schemas as text, and says which ticks there are", async () => {
  {
    await using bus = await StateBus.open({ dir: `${folder}/typed` });
    bus.create(struct({ price: "f64", ticker: utf8(8) }), { name: "quote" });
    for (let i = 0; i < 20; i++) bus.createPage({ size: 8, name: `page ${i}` });
    await bus.commit();
  }
  const [text, asJson, late, few, all, page] = await Promise.all([
    mmsb("log query typed --page quote"),
    mmsb("log query typed --page quote --json"),
    mmsb("log query typed --tick-from 999"),
    mmsb("log inspect typed --pages 2"),
    mmsb("log inspect typed --pages 0"),
    mmsb("replay typed --page quote"),
  ]);
  const schema = "struct { price: f64, ticker: utf8(8) }";
  assert.ok(text.out.includes(`  mmsb.schema: ${schema}\n`), text.out);
  assert.ok(page.out.includes(`  mmsb.schema: ${schema}\n`), page.out);
  assert.equal(JSON.parse(asJson.out).schema, schema);
  assert.deepEqual(late, {
    code: 0,
    out: "",
    err: "mmsb: no rows: the last tick of the log is 1\n",
  });
  assert.match(few.out, /^ {12}and 19 more: --pages 0 names all$/m);
  assert.equal(all.out.match(/^ {12}page \d+ /gm)?.length, 21);
});

Deno.test("mmsb log query and verify know a log whose beginning was dropped", async () => {
  const dir = `${folder}/dropped`, sizes = { segmentBytes: 65_536, segmentBytesMax: 65_536 };
  {
    await using bus = await StateBus.open({ dir, ...sizes, checkpoints: { keep: 1, log: "drop" } });
    const page = bus.createPage({ size: 512, name: "board" });
    const write = (value: number) => page.write(0, new Uint8Array(512).fill(value));
    for (let tick = 1; tick <= 200; tick++) await bus.commit(() => write(tick));
    await bus.checkpoint();
    await bus.commit(() => write(201));
  }
  const [before, rows] = await Promise.all([
    mmsb("log query dropped --tick-to 5"),
    mmsb("log query dropped --page board"),
  ]);
  assert.deepEqual([before.code, before.out], [0, ""]);
  assert.match(
    before.err,
    /^mmsb: no rows: the first tick of the log is 201, earlier ones were dropped, merged or lost\n$/,
  );
  assert.match(rows.out, /^tick 201 .* page 1 board {2}epoch 201 {2}set 0\+512 /);
  // Nothing else has what this checkpoint has.
  const [{ name }] = [...Deno.readDirSync(`${dir}/checkpoints`)];
  const bytes = await Deno.readFile(`${dir}/checkpoints/${name}`);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(`${dir}/checkpoints/${name}`, bytes);
  const verify = await mmsb("log verify dropped");
  assert.equal(verify.code, 3);
  assert.match(
    verify.err,
    /ticks up to 200 are in no other place, so restore the file from a backup/,
  );
});

Deno.test("mmsb log inspect knows nothing of the format where meta.json is lost", async () => {
  await make("headless");
  await Deno.writeTextFile(`${folder}/headless/meta.json`, "{");
  const { code, out } = await mmsb("log inspect headless");
  assert.equal(code, 3);
  assert.match(out, /^format {6}unknown, as meta\.json cannot be used$/m);
  assert.match(out, /^state {7}damaged: meta\.json at byte 0: .* mmsb log salvage$/m);
});

Deno.test("mmsb refuses an empty folder and a missing one, with exit 2", async () => {
  await Deno.mkdir(`${folder}/empty`);
  const lines = [
    "log inspect empty",
    "log query empty",
    "log verify empty",
    "log verify missing",
    "validate --data missing",
    "validate --data empty",
    "log query whole --page nobody",
  ];
  const outcomes = await Promise.all(lines.map(mmsb));
  outcomes.forEach(({ code, out, err }, index) => {
    assert.equal(code, 2, `${lines[index]}: ${out}${err}`);
    assert.match(err, /^mmsb: (usage|invalid-handle): Cannot [^\n]+\n$/);
  });
  assert.match(outcomes[0].err, /as it is no data directory: give the dir of a bus/);
});
