/** The trading board beside an index that never saw the bus. */

import assert from "node:assert/strict";
import { main, quotesOf, SYMBOLS } from "./trading_board.ts";

/** The index after each step, from the quotes alone. */
function indicesOf(steps: number): number[] {
  const bids: number[] = SYMBOLS.map(({ price }) => price - 0.05);
  return [...quotesOf(steps)].map((changes) => {
    for (const { at, bid } of changes) bids[at] = bid;
    return SYMBOLS.reduce((sum, { price, weight }, i) => {
      return sum + 100 * weight * (bids[i] + 0.05) / price;
    }, 0);
  });
}

Deno.test("trading_board.ts fires the alert that it must, and says why", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-board-" });
  try {
    const lines: string[] = [], steps = 90;
    await main({ dir, steps, band: 1 }, (line) => lines.push(line));
    const text = lines.join("\n"), indices = indicesOf(steps);
    const out = indices.findIndex((index) => Math.abs(index - 100) > 1);
    assert.equal(out, 59, "the news of step 60");
    // The first tick opened the board.
    assert.ok(
      text.includes(
        `ALERT     tick ${out + 2}: the index is above the band at ${indices[out].toFixed(3)}`,
      ),
      text,
    );
    assert.ok(text.includes(`the index is ${indices[steps - 1].toFixed(3)}\n`), text);
    assert.match(text, /they get 80 and 20; 1 conflict, tried again$/m);
    assert.match(text, /bob: offered 20 → 0 \(buy 80 NVDA\)$/m);
    assert.match(text, /^ {2}index +value 101\.\d+ +by rule "index" over 5 pages$/m);
    assert.match(
      text,
      /^ {2}quote NVDA +bid 128\.\d+, ask 128\.\d+, offered 100 +by feed-b: .*earnings beat$/m,
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("trading_board.ts without an alert says so", async () => {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-board-" });
  try {
    const lines: string[] = [];
    await main({ dir, steps: 20, band: 50 }, (line) => lines.push(line));
    assert.match(lines.join("\n"), /^No alert: try --band 0\.5$/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
