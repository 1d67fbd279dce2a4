/** `mmsb profile` on programs of a few milliseconds. */

import assert from "node:assert/strict";
import { MAIN, mmsbIn, runIn, testFolder } from "./_mmsb_test.ts";

const folder = testFolder("mmsb-profile-");
const BUS = new URL("../bus/mod.ts", import.meta.url).href;

Deno.writeTextFileSync(
  `${folder}/busy.ts`,
  `import { StateBus } from ${JSON.stringify(BUS)};

interface Root {
  readonly value: number;
}

/** Stands below an interface that is not there when the program runs. */
export function spin(times: number): Root {
  let sum = 0;
  for (let i = 0; i < times; i++) sum += Math.sqrt(i);
  return { value: sum };
}

export function litter(count: number): Root[] {
  return Array.from({ length: count }, (_, value) => ({ value }));
}

const end = performance.now() + 300;
let kept = 0;
while (performance.now() < end) kept += spin(100_000).value + litter(1000).length;
await using bus = await StateBus.open();
const page = bus.createPage({ size: 64 });
for (let i = 0; i < 5; i++) {
  page.write(0, Uint8Array.of(i));
  await bus.tick();
}
console.log("arguments", Deno.args.join(" "), kept > 0, import.meta.main);
if (Deno.args.includes("leave")) Deno.exit(7);
`,
);

Deno.test("mmsb profile names the busy function at its line, and counts deltas", async () => {
  const { code, out, err } = await mmsbIn(folder, "profile -- busy.ts --flag x");
  assert.equal(code, 0, err);
  assert.match(out, /^arguments --flag x true true$/m);
  assert.match(out, /^busy\.ts ran to its end after /m);
  assert.match(out, /^5 ticks with 5 deltas, and 0 from rules: /m);
  const [time, allocated] = out.split("Allocated by function");
  assert.match(time, /^spin +[\d.]+ ms .* busy\.ts:8$/m);
  assert.match(allocated, /^(litter|from|\(a module, or .*|value) +[\d.]+ [KM]iB /m);
});

Deno.test("mmsb profile writes a .cpuprofile and JSON, and says how the program ended", async () => {
  const line =
    "profile --json --top 3 --interval 2000 --cpuprofile out.cpuprofile -- -A busy.ts leave";
  const { code, out, err } = await mmsbIn(folder, line);
  assert.equal(code, 1);
  assert.match(err, /^mmsb: io: The program "busy\.ts" ended with 7$/m);
  const json = JSON.parse(out.slice(out.indexOf("\n{") + 1));
  assert.deepEqual([json.program, json.reason, json.tally.rows], ["busy.ts", "exit", 5]);
  assert.equal(json.functions.length, 3);
  const { nodes, samples, timeDeltas } = JSON.parse(
    await Deno.readTextFile(`${folder}/out.cpuprofile`),
  );
  assert(nodes.length > 3 && samples.length > 50 && samples.length === timeDeltas.length);
  // Each sample comes when it was asked for, or later.
  const deltas: number[] = timeDeltas.slice(1).sort((a: number, b: number) => a - b);
  assert(deltas[deltas.length >> 1] > 1500, `${deltas[deltas.length >> 1]} µs`);
});

Deno.test("mmsb profile asks a program once whether it may end", async () => {
  const text = `addEventListener("beforeunload", () => console.log("asked"));\n`;
  await Deno.writeTextFile(`${folder}/asked.ts`, text);
  const { code, out, err } = await mmsbIn(folder, "profile -- asked.ts");
  assert.equal(code, 0, err);
  assert.equal(out.match(/^asked$/gm)?.length, 1, out);
});

Deno.test("mmsb profile ends a program that does not end", async () => {
  await Deno.writeTextFile(`${folder}/forever.ts`, "setInterval(() => {}, 1);\n");
  const { code, out } = await mmsbIn(folder, "profile --seconds 1 -- forever.ts");
  assert.equal(code, 0);
  assert.match(out, /^forever\.ts was ended after 1\./m);
  assert.match(out, /^No bus had a tick/m);
});

Deno.test("mmsb profile says in a line what it cannot do", async () => {
  await Deno.writeTextFile(`${folder}/broken.ts`, `throw new Error("boo");\n`);
  for (
    const [args, exit, message] of [
      [[], 2, /^mmsb: usage: Missing PROGRAM behind --, see mmsb profile --help$/m],
      [["--top", "0", "--", "busy.ts"], 2, /^mmsb: usage: .*top/m],
      [["--interval", "1", "--", "busy.ts"], 2, /^mmsb: usage: .*interval/m],
      [
        ["--cpuprofile", "no/where", "--", "busy.ts"],
        2,
        /^mmsb: usage: Cannot use "no" as --cpuprofile/m,
      ],
      [["--", "absent.ts"], 1, /^mmsb: io: Cannot profile "absent\.ts" as it ended with 1 before/m],
      [["--", "broken.ts"], 1, /^mmsb: io: Cannot profile "broken\.ts" as it ended with 1 before/m],
    ] as const
  ) {
    const { code, err } = await runIn(folder, ["run", "-A", MAIN, "profile", ...args]);
    assert.equal(code, exit, err);
    assert.match(err, message);
  }
});
