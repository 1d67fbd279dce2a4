/** Drawings: what stands in them, whatever pages are called. */

import assert from "node:assert/strict";
import { toDot, toMermaid } from "./graph_drawing.ts";

const GRAPH = {
  edges: [
    { from: 1, to: 2, type: "data" },
    { from: 1, to: 30, type: "control" },
    { from: 2, to: 30, type: "gpu" },
    { from: 2, to: 30, type: "compiler" },
  ] as const,
  nameOf: (page: number) =>
    page === 1 ? 'a "b" \\n <i>#1;</i>\r\n`c`\u0000' : page === 2 ? "mid" : "",
};

Deno.test("toDot() calls pages by their id and escapes their names", () => {
  assert.equal(
    toDot(GRAPH),
    String.raw`digraph mmsb {
  rankdir=LR;
  node [shape=box];
  p1 [label="a \"b\" \\n <i>#1;</i>\n${"`c`\ufffd"}"];
  p2 [label="mid"];
  p30 [label="page 30"];
  p1 -> p2;
  p1 -> p30 [style=dashed, label="control"];
  p2 -> p30 [style=bold, label="gpu"];
  p2 -> p30 [style=dotted, label="compiler"];
}
`,
  );
  assert.equal(
    toDot({ edges: [], nameOf: () => "" }),
    "digraph mmsb {\n  rankdir=LR;\n  node [shape=box];\n}\n",
  );
});

Deno.test("toMermaid() calls pages by their id and replaces what it would read", () => {
  assert.equal(
    toMermaid(GRAPH),
    `flowchart LR
  p1["a #34;b#34; \\n #60;i#62;#35;1;#60;/i#62;<br>#96;c#96;\ufffd"]
  p2["mid"]
  p30["page 30"]
  p1 --> p2
  p1 -. control .-> p30
  p2 == gpu ==> p30
  p2 -. compiler .-> p30
`,
  );
});
