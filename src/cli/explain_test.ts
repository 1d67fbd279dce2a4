/** `mmsb explain` as it is published, on real directories. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { defineRule } from "../propagation/mod.ts";
import { mmsbIn, type Outcome, testFolder } from "./_mmsb_test.ts";

const folder = testFolder("mmsb-cli-explain-");

function mmsb(line: string): Promise<Outcome> {
  return mmsbIn(folder, line);
}

/** Two sources, their sum, and its double; `temp` is deleted at the end, and another page has its name. */
async function make(name: string): Promise<void> {
  await using bus = await StateBus.open({ dir: `${folder}/${name}` });
  const [a, b, sum, double, temp] = ["a", "b", "sum", "double", "temp"].map((name) =>
    bus.createPage({ size: 4, name })
  );
  await bus.tick();
  const add = defineRule({
    version: 1,
    compute(ctx) {
      ctx.output(0).setUint32(0, ctx.input(0).getUint32(0) + ctx.input(1).getUint32(0));
    },
  });
  const twice = defineRule({
    version: 2,
    compute: (ctx) => ctx.output(0).setUint32(0, 2 * ctx.input(0).getUint32(0)),
  });
  bus.rule(add, { name: "add", inputs: [a, b], outputs: [sum] });
  bus.rule(twice, { name: "twice", inputs: [sum], outputs: [double] });
  await bus.tick();
  const four = (value: number) => Uint8Array.of(value, 0, 0, 0);
  await bus.commit(() => a.write(0, four(3), { source: "feed-a", intent: "open" }));
  await bus.commit(() => b.write(0, four(4), { source: "feed-b" }));
  await bus.commit(() => temp.write(0, four(9), { source: "gone" }));
  await bus.commit(() => temp.delete());
  await bus.commit(() => bus.createPage({ size: 4, name: "temp" }));
}

Deno.test("mmsb explain shows the way from a value to its sources, now and as of a tick", async () => {
  await make("whole");
  const [now, past, json, part, gone] = await Promise.all([
    mmsb("explain whole double"),
    mmsb("explain whole 4 --tick 3 --depth 1"),
    mmsb("explain whole double --json --deltas 1"),
    mmsb("explain whole a --span 0+1"),
    mmsb("explain whole temp --tick 5"),
  ]);
  assert.deepEqual([now.code, now.err], [0, ""]);
  const lines = now.out.replaceAll(/, at [\dT:.Z-]+/g, "").trimEnd().split("\n");
  assert.deepEqual(lines, [
    "as of tick 7",
    'page 4 "double", epoch 2, tick 4, by rule 2 "twice" version 2, graph 5',
    "│ set 0+4: 06000000 → 0e000000",
    '└─ page 3 "sum", epoch 2, tick 4, by rule 1 "add" version 1, graph 5',
    "   │ set 0+4: 03000000 → 07000000",
    '   ├─ page 1 "a", epoch 1, tick 3',
    '   │    set 0+4: 00000000 → 03000000, by "feed-a", because "open"',
    '   └─ page 2 "b", epoch 1, tick 4',
    '        set 0+4: 00000000 → 04000000, by "feed-b"',
  ]);
  assert.match(past.out, /^as of tick 3\npage 4 "double", epoch 1, tick 3, by rule 2/);
  assert.match(past.out, /its parents are further away than the depth asked for/);
  const found = JSON.parse(json.out);
  assert.deepEqual([found.tick, found.depth, found.truncated, found.complete], [7, 2, false, true]);
  assert.deepEqual(found.pages.map(({ id }: { id: number }) => id), [4, 3, 1, 2]);
  assert.deepEqual(found.pages[1].parents, [2, 3]);
  assert.equal(found.pages[2].deltas[0].after, "03000000");
  assert.match(part.out, /set 0\+1: 00 → 03/);
  assert.match(gone.out, /page 5 "temp", epoch 1, tick 5\n.*by "gone"/);
});

Deno.test("mmsb explain refuses what cannot be explained, in one line", async () => {
  await make("refused");
  const cases: [string, number, RegExp][] = [
    ["explain refused nobody", 2, /Cannot find a page named "nobody"/],
    ["explain refused double --tick 99", 2, /the last one is 7/],
    ["explain refused double --depth 32", 2, /--depth/],
    ["explain refused double --depth 0", 2, /--depth/],
    ["explain refused double --span 3", 2, /--span "3"/],
    ["explain refused double --span 2+9", 2, /it has 4 bytes/],
    ["explain refused 77", 2, /page 77/],
    ["explain refused temp --tick 6", 2, /Cannot find a page named "temp" then/],
    ["explain refused double --tick 1 --time 2030-01-01", 2, /both/],
    ["explain nowhere double", 2, /nowhere/],
    ["explain refused", 2, /PAGE/],
  ];
  const outcomes = await Promise.all(cases.map(([line]) => mmsb(line)));
  cases.forEach(([line, code, text], at) => {
    const { err, out } = outcomes[at];
    assert.match(err, text, line);
    assert.equal(err.trimEnd().split("\n").length, 1, err);
    assert.deepEqual([outcomes[at].code > 0, out], [code > 0, ""], line);
  });
});
