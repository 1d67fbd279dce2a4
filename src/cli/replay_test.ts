/** `mmsb replay` as it is published, on real directories: whole, damaged, different, missing. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { mmsbIn, type Outcome, testFolder } from "./_mmsb_test.ts";

const folder = testFolder("mmsb-cli-replay-");

function mmsb(line: string): Promise<Outcome> {
  return mmsbIn(folder, line);
}

/** A directory of 12 ticks, closed; gives the digest after each. */
async function make(name: string, ticks = 12): Promise<string[]> {
  const digests: string[] = [];
  await using bus = await StateBus.open({ dir: `${folder}/${name}` });
  const board = bus.createPage({ size: 64, name: "board", metadata: { unit: Uint8Array.of(7) } });
  for (let tick = 1; tick <= ticks; tick++) {
    await bus.commit(() => board.write(tick % 16, Uint8Array.of(0x41, tick), { source: "feed" }));
    digests[tick] = bus.digest();
  }
  return digests;
}

Deno.test("mmsb replay gives the state at the end, a tick, a time, and a page's bytes", async () => {
  const digests = await make("whole");
  const [end, tick, late, page] = await Promise.all([
    mmsb("replay whole"),
    mmsb("replay whole --to-tick 5 --json --page board"),
    mmsb("replay whole --to-time 2999-01-01 --json"),
    mmsb("replay whole --page 1"),
  ]);
  assert.deepEqual([end.code, end.err.includes("mmsb:")], [0, false], end.err);
  assert.match(end.out, /^state {7}whole$/m);
  assert.match(end.out, /^tick {8}12 of 12$/m);
  assert.match(end.out, new RegExp(`^digest {6}${digests[12]}$`, "m"));
  const json = JSON.parse(tick.out);
  assert.deepEqual([json.tick, json.tickLast, json.pages, json.digest], [5, 12, 1, digests[5]]);
  assert.deepEqual([json.page.epoch, json.page.metadata], [5, { unit: "07" }]);
  assert.equal(json.page.bytes.slice(0, 14), "00414141414105");
  assert.equal(JSON.parse(late.out).digest, digests[12]);
  assert.match(page.out, /^page {8}1 board: 64 bytes, epoch 12$/m);
  assert.match(page.out, /^00000000 {2}00 41 41 .* \|\.AAAAAAAAAAAA\.\.\.\|$/m);
  assert.match(page.out, /^\*$/m);
});

Deno.test("mmsb replay --diff and --diff-tick say what differs, with exit 1", async () => {
  await make("first");
  await make("second");
  const longer = await make("third", 13);
  const [same, different, ticks, json, few] = await Promise.all([
    mmsb("replay first --diff second"),
    mmsb("replay first --diff third"),
    mmsb("replay first --to-tick 4 --diff-tick 5"),
    mmsb("replay third --diff-tick 12 --json"),
    mmsb("replay first --to-tick 1 --diff-tick 12 --limit 1"),
  ]);
  assert.deepEqual([same.code, different.code, ticks.code, json.code, few.code], [0, 1, 1, 1, 1]);
  assert.match(same.out, /^same as second, tick 12$/m);
  assert.match(different.out, /^page 1 board {2}changed {2}epoch 12 → 13$/m);
  assert.match(different.out, /^2 differences from third, tick 13$/m);
  assert.match(ticks.out, /^page 1 {2}bytes 5\+2 {2}0400 → 4105$/m);
  const found = JSON.parse(json.out);
  assert.deepEqual([found.same, found.digest, found.against], [false, longer[13], "tick 12"]);
  assert.deepEqual(found.differences[1], {
    kind: "bytes",
    page: 1,
    offset: 13,
    before: "410d",
    after: "0c00",
  });
  assert.match(few.out, /^1 or more differences/m);
});

Deno.test("mmsb replay goes as far as a damaged log is whole, with exit 3", async () => {
  const digests = await make("damaged");
  const path = `${folder}/damaged/lane-00/0000000001.log`;
  const bytes = await Deno.readFile(path);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(path, bytes);
  const [end, before, behind] = await Promise.all([
    mmsb("replay damaged --json"),
    mmsb("replay damaged --to-tick 2 --json"),
    mmsb("replay damaged --to-tick 11"),
  ]);
  assert.deepEqual([end.code, before.code], [3, 3]);
  assert.match(end.err, /mmsb: corrupt-log: Cannot replay [^\n]+byte \d+[^\n]+\n$/);
  const { tick, digest, state } = JSON.parse(end.out);
  assert.deepEqual([state, digest], ["damaged", digests[tick]]);
  assert.equal(JSON.parse(before.out).digest, digests[2]);
  assert.equal(behind.code, 3, behind.err);
  assert.match(behind.err, /mmsb log salvage DIR --to DIR2\n$/);
});

Deno.test("mmsb replay refuses what it cannot use, with exit 2", async () => {
  await make("used", 2);
  await Deno.mkdir(`${folder}/empty`);
  const lines = [
    "replay empty",
    "replay missing",
    "replay used --to-tick x",
    "replay used --to-tick 3",
    "replay used --to-tick 1 --to-time 2026-01-01",
    "replay used --to-time yesterday",
    "replay used --page nobody",
    "replay used --page 9",
    "replay used --diff missing",
    "replay used --other",
  ];
  const outcomes = await Promise.all(lines.map(mmsb));
  outcomes.forEach(({ code, out, err }, index) => {
    assert.equal(code, 2, `${lines[index]}: ${out}${err}`);
    assert.match(err, /^mmsb: (usage|invalid-handle|out-of-bounds): [^\n]+\n$/);
    if (lines[index].includes("--page")) {
      assert.match(err, /see mmsb log inspect used --pages 0\n$/);
    }
  });
});
