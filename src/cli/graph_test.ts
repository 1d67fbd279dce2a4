/** `mmsb graph` as it is published, on real directories. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { mmsbIn, type Outcome, testFolder } from "./_mmsb_test.ts";

const folder = testFolder("mmsb-cli-graph-");

function mmsb(line: string): Promise<Outcome> {
  return mmsbIn(folder, line);
}

/** A directory of two ticks with a graph of four pages; gives the digest after each. */
async function make(name: string): Promise<string[]> {
  await using bus = await StateBus.open({ dir: `${folder}/${name}` });
  const [quote, mid, other, alert] = ["quote", 'mid "1"', "", "alert"].map((name) =>
    bus.createPage({ size: 8, name })
  );
  bus.edge(quote, mid, "data");
  bus.edge(mid, alert, "control");
  await bus.commit();
  const first = bus.graph.digest();
  await bus.commit(() => bus.edge(quote, other, "data"));
  return [first, bus.graph.digest()];
}

Deno.test("mmsb graph says what depends on what, and draws it", async () => {
  const [first, last] = await make("board");
  const [text, dot, mermaid, json, earlier] = await Promise.all([
    mmsb("graph board"),
    mmsb("graph board --dot"),
    mmsb("graph board --mermaid --types data"),
    mmsb("graph board --json"),
    mmsb("graph board --to-tick 1 --json --types control,gpu"),
  ]);
  assert.deepEqual([text, dot, mermaid, json, earlier].map(({ code }) => code), [0, 0, 0, 0, 0]);
  assert.match(text.out, /^tick {8}2 of 2$/m);
  assert.match(text.out, /^version {5}3$/m);
  assert.match(text.out, /^edges {7}3: 2 data, 1 control$/m);
  assert.match(text.out, /^levels {6}3, the widest of 2 pages$/m);
  assert.match(text.out, new RegExp(`^digest {6}${last}$`, "m"));
  assert.match(dot.out, /^digraph mmsb \{\n/);
  assert.match(dot.out, /^ {2}p2 \[label="mid \\"1\\""\];$/m);
  assert.match(dot.out, /^ {2}p2 -> p4 \[style=dashed, label="control"\];$/m);
  assert.match(
    mermaid.out,
    /^flowchart LR\n {2}p1\["quote"\]\n {2}p2\["mid #34;1#34;"\]\n {2}p3\["page 3"\]\n/,
  );
  assert(!mermaid.out.includes("alert"));
  const found = JSON.parse(json.out);
  assert.deepEqual(found.levels, [[1], [2, 3], [4]]);
  assert.deepEqual(found.pages, [{ id: 1, name: "quote" }, { id: 2, name: 'mid "1"' }, { id: 3 }, {
    id: 4,
    name: "alert",
  }]);
  assert.deepEqual(found.edges[0], { from: 1, to: 2, type: "data" });
  assert.deepEqual(found.check, { ok: true, pages: 4, edges: 3, cycle: [], dangling: 0 });
  const before = JSON.parse(earlier.out);
  assert.deepEqual([before.tick, before.version, before.digest], [1, 2, first]);
  assert.deepEqual(before.edges, [{ from: 2, to: 4, type: "control" }]);
});

Deno.test("mmsb graph refuses wrong usage, and goes as far as a damaged log is whole", async () => {
  await make("damaged");
  const path = `${folder}/damaged/lane-00/0000000001.log`;
  const bytes = await Deno.readFile(path);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(path, bytes);
  const [damaged, both, types, missing, late, help] = await Promise.all([
    mmsb("graph damaged --json"),
    mmsb("graph damaged --dot --mermaid"),
    mmsb("graph damaged --types data,date"),
    mmsb("graph nowhere"),
    mmsb("graph damaged --to-tick 99"),
    mmsb("graph --help"),
  ]);
  assert.deepEqual([damaged.code, both.code, types.code, late.code, help.code], [3, 2, 2, 3, 0]);
  assert.notEqual(missing.code, 0);
  assert.match(damaged.err, /corrupt-log: Cannot read the graph of "damaged" past tick/);
  assert.equal(JSON.parse(damaged.out).state, "damaged");
  assert.match(both.err, /Cannot use both --dot and --mermaid/);
  assert.match(types.err, /Cannot use "date" in --types: give some of data,control,gpu,compiler/);
  assert.match(help.out, /mmsb graph data\/board --dot/);
});
