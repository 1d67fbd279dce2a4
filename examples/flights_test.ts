/** The example as a reader runs it: a part, then more, and a wrong call. */

import assert from "node:assert/strict";

const EXAMPLE = new URL("./flights.ts", import.meta.url).href;

async function run(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", EXAMPLE, ...args],
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("flights.ts goes on where it stopped, and equals the file", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-flights-" });
  try {
    const dir = `${folder}/flights`;
    const part = await run("--dir", dir, "--ticks-of", "500", "--stop-after", "3000");
    assert.equal(part.code, 0, part.err);
    assert.match(part.out, /^Bus {7}.*: new$/m);
    assert.match(part.out, /^Loaded {4}[\d,]+ deltas in 6 ticks and /m);
    const rest = await run("--dir", dir, "--stop-after", "6001");
    assert.equal(rest.code, 0, rest.err);
    assert.match(rest.out, /: 3,000 flights are there after 7 ticks$/m);
    assert.match(rest.out, /^Loaded {4}[\d,]+ deltas in 2 ticks and /m);
    assert.match(rest.out, /tick 4, epoch 1, bts, count into the hour's totals: flights 0 → 1, /);
    assert.match(rest.out, /^✓ The totals of all 24 hours equal the sums over the file/m);
    assert.match(rest.out, /^✓ 6,001 of 6,001 rows equal the file's$/m);
    assert.match(rest.out, /^✓ The sum of each column equals the sum over the file$/m);
    assert.match(rest.out, /^Table "flights": 6,001 rows, [\d,]+ miles in all; /m);
    assert.match(rest.out, /^✓ Replaying the log's [\d,]+ deltas .* gives the same bytes$/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("flights.ts refuses a wrong number, and has help", async () => {
  const [wrong, help] = await Promise.all([run("--ticks-of", "0"), run("--help")]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /^Cannot use "0" as --ticks-of: give a number from 1 to 100000$/m);
  assert.equal(help.code, 0);
  assert.match(help.out, /--stop-after N/);
});
