/** `mmsb log export`, `import` and `salvage` as they are published, on real files. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { MAIN, makeBoard, mmsbIn, type Outcome, runIn, testFolder } from "./_mmsb_test.ts";

const LOG = "lane-00/0000000001.log";
const folder = testFolder("mmsb-cli-transfer-");

function mmsb(line: string): Promise<Outcome> {
  return mmsbIn(folder, line);
}

function run(args: string[], program: string): Promise<Outcome> {
  return runIn(folder, args, program);
}

/** A directory of 12 ticks, closed. */
function make(name: string): Promise<string> {
  return makeBoard(`${folder}/${name}`);
}

function namesIn(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

/** An older log of version 2: one page of four bytes, two deltas. */
function oldLog(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(200), view = new DataView(bytes.buffer);
  let at = 0;
  const u32 = (value: number) => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const text = (value: string) => {
    u32(value.length);
    raw(...new TextEncoder().encode(value));
  };
  const raw = (...values: number[]) => {
    bytes.set(values, at);
    at += values.length;
  };
  raw(...new TextEncoder().encode("MMSBLOG1"));
  u32(2);
  for (
    const [id, flags, payload, sparse] of [[77, [1, 1, 0, 0], [1, 2, 9, 9], 0], [
      78,
      [0, 1, 0, 1],
      [5, 6],
      1,
    ]] as const
  ) {
    u32(id);
    u32(0);
    u32(9);
    u32(0);
    u32(0);
    u32(flags.length);
    raw(...flags);
    u32(payload.length);
    raw(...payload);
    raw(sparse);
    u32(0);
    u32(0);
    text("feed-old");
    text("why");
  }
  return bytes.slice(0, at);
}

Deno.test("mmsb log export and import lead to the same log", async () => {
  await make("whole");
  const [lines, file] = await Promise.all([
    mmsb("log export whole"),
    mmsb("log export whole --to whole.jsonl --json"),
  ]);
  assert.deepEqual([lines.code, lines.err], [0, ""]);
  assert.equal(file.code, 0, file.err);
  assert.equal(JSON.parse(file.out).ticks, 12);
  assert.equal(await Deno.readTextFile(`${folder}/whole.jsonl`), lines.out);
  const imported = await mmsb("log import whole.jsonl --to copy");
  assert.equal(imported.code, 0, imported.err);
  assert.match(
    imported.out,
    /^✓ imported: copy, JSON lines 1, .*: 1 page, 12 deltas, last tick 12\n$/,
  );
  const [again, one, two, verify] = await Promise.all([
    mmsb("log export copy"),
    mmsb("log export whole --canonical"),
    mmsb("log export copy --canonical"),
    mmsb("log verify copy"),
  ]);
  assert.equal(again.out, lines.out);
  assert.equal(two.out, one.out);
  assert.match(one.out, /^\{"type":"header","format":"mmsb-log","version":1,"canonical":true,/);
  assert.match(verify.out, /^✓ whole/);
  assert.ok(!namesIn(folder).some((name) => name.endsWith(".tmp")), "nothing temporary is left");
});

Deno.test("mmsb log import reads an older log, and query shows what it was", async () => {
  await Deno.writeFile(`${folder}/old.log`, oldLog());
  const imported = await mmsb("log import old.log --to old --json");
  assert.equal(imported.code, 0, imported.err);
  assert.deepEqual(JSON.parse(imported.out), {
    form: "MMSBLOG1 2",
    frames: 2,
    pages: 1,
    deltas: 2,
    ticks: 1,
    bytes: oldLog().length,
  });
  const [text, lines] = await Promise.all([
    mmsb("log query old --page imported:9"),
    mmsb("log query old --page imported:9 --json"),
  ]);
  assert.match(
    text.out,
    /epoch 2 {2}masked 1\+3 .*source=feed-old {2}intent=why .*imported=78 at epoch 0\n$/,
  );
  const rows = lines.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(rows[1].imported, { id: "77", epoch: 0 });
  await using bus = await StateBus.open({ dir: `${folder}/old` });
  assert.deepEqual([...bus.find("imported:9")!.read()], [1, 5, 0, 6]);
});

Deno.test("mmsb log import refuses a file that is wrong, with exit 3, and makes nothing", async () => {
  const bytes = oldLog();
  const flipped = bytes.slice();
  flipped[12 + 24] ^= 2;
  await Deno.writeFile(`${folder}/flipped.log`, flipped);
  await Deno.writeFile(`${folder}/cut.log`, bytes.slice(0, -3));
  await Deno.writeTextFile(
    `${folder}/bad.jsonl`,
    '{"type":"header","format":"mmsb-log","version":1,"canonical":false,"shards":1,"incarnation":1}\n' +
      '{"type":"birth","tick":1,"hlc":"1","page":1,"shard":0,"size":-4}\n',
  );
  const outcomes = await Promise.all(
    ["flipped.log", "cut.log", "bad.jsonl"].map((file) => mmsb(`log import ${file} --to none`)),
  );
  for (const { code, out, err } of outcomes) {
    assert.deepEqual([code, out], [3, ""], err);
    assert.match(err, /^mmsb: corrupt-log: Cannot import "[^\n]+; nothing was imported\n$/);
  }
  assert.match(outcomes[0].err, /frame 1 is wrong at byte 36, flags: flag 0 is 3/);
  assert.match(outcomes[1].err, /frame 2 is wrong at byte \d+, intent length/);
  assert.match(outcomes[2].err, /line 2 is wrong at byte \d+, size: it is -4/);
  assert.deepEqual(namesIn(folder).filter((name) => name.startsWith("none")), []);
});

Deno.test("mmsb log salvage saves what is whole, names the rest, and says so by its exit code", async () => {
  const dir = await make("damaged");
  const whole = await mmsb("log salvage damaged --to saved-whole");
  assert.deepEqual([whole.code, whole.err], [0, ""]);
  assert.match(
    whole.out,
    /^✓ saved all: saved-whole, 12 ticks, 12 deltas, 1 page, last tick 12\n$/,
  );
  const bytes = await Deno.readFile(`${dir}/${LOG}`);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(`${dir}/${LOG}`, bytes);
  const [text, asJson] = await Promise.all([
    mmsb("log salvage damaged --to saved"),
    mmsb("log salvage damaged --to saved-json --json"),
  ]);
  assert.equal(text.code, 3);
  assert.match(text.err, /^mmsb: corrupt-log: Cannot save all of [^\n]+1 tick is lost[^\n]+\n$/);
  assert.match(
    text.out,
    /^✗ damage: lane-00\/0000000001\.log at byte \d+(, tick \d+: |: tick \d+ )/,
  );
  assert.match(text.out, /^✗ lost: page 1 board: epoch \d+, in tick \d+$/m);
  assert.match(
    text.out,
    /^✗ saved what is whole: saved, 11 ticks, 11 deltas, 1 page, last tick 12/m,
  );
  const report = JSON.parse(asJson.out);
  assert.deepEqual([asJson.code, report.ok, report.pagesHurt.length], [3, false, 1]);
  assert.equal((await mmsb("log verify saved")).code, 0);
  // The tick that is gone is told of, and is no damage.
  const [{ first: gone, last }] = report.ticksLost;
  assert.equal(last, gone);
  const [inspect, inspectJson, replay, at] = await Promise.all([
    mmsb("log inspect saved"),
    mmsb("log inspect saved --json"),
    mmsb(`replay saved --to-tick ${gone}`),
    mmsb(`replay saved --to-tick ${gone + 1}`),
  ]);
  assert.deepEqual([inspect.code, replay.code, at.code], [0, 2, 0], replay.err + at.err);
  assert.match(
    inspect.out,
    new RegExp(`^ticks {7}1 to 12\n {12}1 tick not in the log \\(merged or lost\\): ${gone}$`, "m"),
  );
  assert.deepEqual(JSON.parse(inspectJson.out).missing, {
    ticks: 1,
    gaps: [{ first: gone, last: gone }],
  });
  assert.equal(
    replay.err,
    `mmsb: out-of-bounds: Cannot go to tick ${gone} as it is not in the log, where it was lost or ` +
      `merged: before it is tick ${gone - 1}, after it tick ${gone + 1}\n`,
  );
  assert.deepEqual(await Deno.readFile(`${dir}/${LOG}`), bytes);
  const refused = await mmsb("log export damaged --to damaged.jsonl");
  assert.equal(refused.code, 3, refused.err);
  assert.match(refused.err, /salvage it first/);
  assert.ok(!namesIn(folder).includes("damaged.jsonl"));
});

Deno.test("mmsb refuses targets that are there, and what is no file, with exit 2", async () => {
  await make("there");
  await Deno.writeTextFile(`${folder}/text`, "hello");
  const lines = [
    "log import text --to there",
    "log import text --to text",
    "log import text --to new",
    "log import missing --to new",
    "log import text",
    "log salvage there",
    "log salvage there --to there",
    "log salvage there --to there/inside",
    "log salvage missing --to new",
    "log export missing",
    "log export there --to missing/file",
  ];
  const outcomes = await Promise.all(lines.map(mmsb));
  outcomes.forEach(({ code, out, err }, index) => {
    assert.equal(code, 2, `${lines[index]}: ${out}${err}`);
    assert.match(err, /^mmsb: usage: [^\n]+\n$/);
  });
  assert.ok(!namesIn(folder).some((name) => name.startsWith("new")));
});

Deno.test("mmsb log export ends quietly when its reader goes, and names a full disk", async () => {
  await make("long");
  const command = `'${Deno.execPath()}' run -A '${MAIN}' log export long`;
  const gone = await run(["-c", `${command} | true; echo "\${PIPESTATUS[0]}"`], "bash");
  assert.deepEqual([gone.out, gone.err], ["0\n", ""]);
  const full = await run(["-c", `${command} > /dev/full`], "bash");
  assert.equal(full.code, 1);
  assert.match(full.err, /^mmsb: disk-full: Cannot write to standard output: [^\n]+\n$/);
});

Deno.test("every command of the group has help with an example", async () => {
  for (const name of ["export", "import", "salvage"]) {
    const { code, out } = await mmsb(`log ${name} --help`);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`Examples:\n  mmsb log ${name} `));
    assert.match(out, /--json/);
  }
});
