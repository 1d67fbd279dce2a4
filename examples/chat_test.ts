/** The chat beside what must hold of it, whatever the network does. */

import assert from "node:assert/strict";
import { answersTooEarly, chat, graphOf, main } from "./chat.ts";

Deno.test("chat() gives everybody every message once, none before what its sender had read", async () => {
  let early = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const loss = [0, 20, 60][seed % 3];
    const { everybody } = await chat({ people: 2 + seed % 4, messages: 60, loss, seed });
    for (const { read, arrived } of everybody) {
      early += answersTooEarly(arrived);
      const place = new Map(read.map(({ node, sequence }, at) => [`${node}:${sequence}`, at]));
      assert.equal(place.size, 60, `seed ${seed}: none is missing or there twice`);
      assert.equal(read.length, 60);
      read.forEach(({ node, vector }, at) => {
        for (const [other, count] of vector.entries()) {
          const last = other === node ? count - 1 : count;
          if (last > 0) assert.ok(place.get(`${other}:${last}`)! < at, `seed ${seed}`);
        }
      });
      // The graph says the same as the vectors, pair by pair.
      const graph = graphOf(read);
      for (const a of read.slice(0, 20)) {
        for (const b of read) assert.equal(graph.relation(a, b), a.vector.compare(b.vector));
      }
    }
  }
  assert.ok(early > 20, `${early} answers came too early, which is enough to tell`);
});

Deno.test("chat.ts runs, and finds its chat right", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-chat-" });
  try {
    const lines: string[] = [];
    const options = { dir, people: 4, messages: 80, loss: 30, seed: 3 };
    const isRight = await main(options, (line) => lines.push(line));
    const text = lines.join("\n");
    assert.ok(isRight, text);
    assert.equal(text.match(/^✓/gm)?.length, 4, text);
    assert.match(text, /^Chat {6}80 messages of 4 people in \d+ simulated ms/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
