/** `mmsb clock` as it is published: on this machine as it is, and with a chronyd on loopback. */
import assert from "node:assert/strict";
import { Chronyd, freePort, testWithChronyd } from "../temporal/sources/testdata/chronyd.ts";
import { durationText } from "../temporal/sources/mod.ts";
import { MAIN, type Outcome, runIn, testFolder } from "./_mmsb_test.ts";
import { statusText, verdictOf } from "./_clock_text.ts";
import { type ClockKind, ClockSelector, SimulatedClock } from "../temporal/sources/mod.ts";

const folder = testFolder("mmsb-cli-clock-");

/** Runs command lines one after another in one process: each start of one takes longer than most of these calls. */
async function mmsb(...lines: string[]): Promise<Outcome[]> {
  const program = `${folder}/calls-${crypto.randomUUID()}.ts`;
  await Deno.writeTextFile(
    program,
    `import { main } from ${JSON.stringify(MAIN)};
     const say = (to, text) => to.write(new TextEncoder().encode(text));
     for (const line of ${JSON.stringify(lines)}) {
       const code = await main(line.split(" "));
       await say(Deno.stdout, "\0" + code + "\0");
       await say(Deno.stderr, "\0");
     }`,
  );
  const { out, err } = await runIn(folder, ["run", "-A", "--no-config", "--no-lock", program]);
  const outs = out.split("\0"), errs = err.split("\0");
  return lines.map((_, index) => ({
    code: Number(outs[2 * index + 1]),
    out: outs[2 * index],
    err: errs[index],
  }));
}

function assertShort(text: string): void {
  for (const line of text.split("\n")) assert(line.length <= 100, line);
}

Deno.test("mmsb clock status and sources say how it is here, without any permission too", async () => {
  const bare = (line: string) => runIn(folder, ["run", "--no-prompt", MAIN, ...line.split(" ")]);
  const [[text, json, sources], poor] = await Promise.all([
    mmsb("clock status", "clock status --json", "clock sources"),
    bare("clock status"),
  ]);
  assert.deepEqual([text.code, json.code, sources.code, poor.code], [0, 0, 0, 0], poor.err);
  assert.deepEqual([text.err, sources.err, poor.err], ["", "", ""]);
  for (const { out } of [text, poor]) {
    assert.match(out, /^(This machine's clock|The time) .*\d+(\.\d+)? (ns|µs|ms|s)\b/);
    for (const name of ["time", "source", "bound", "offset", "confirmed", "drift"]) {
      assert.match(out, new RegExp(`^${name.padEnd(11)}\\S`, "m"));
    }
    assertShort(out);
  }
  assert.match(poor.out, /^not used .*--allow-ffi is not granted/m);
  const { kind, format, ok, verdict, status } = JSON.parse(json.out);
  assert.deepEqual([kind, format, ok], ["mmsb-clock-status", 1, true]);
  assert.equal(typeof verdict, "string");
  assert.match(status.nowNs, /^\d{19}$/);
  const sum = status.bound.reduce((sum: number, { ns }: { ns: number }) => sum + ns, 0);
  assert(Math.abs(sum - status.errorNs) < 1);
  assert.match(sources.out, /^\* \S+ +± /m);
  assertShort(sources.out);
});

Deno.test("mmsb clock status --max-error is about a bound that somebody vouches for", async () => {
  const port = await freePort();
  const [above, below, silent] = await mmsb(
    "clock status --max-error 0.000001 --json",
    "clock status --max-error 100000 --json --sources system",
    `clock status --sntp 127.0.0.1:${port} --max-error 100000 --sources sntp`,
  );
  assert.equal(above.code, 1);
  assert.equal(JSON.parse(above.out).ok, false);
  assert.match(above.err, /^mmsb: clock: .* is not within the 0.000001 ms of --max-error\n$/);
  assert.equal(below.code, JSON.parse(below.out).status.synchronised ? 0 : 1);
  assert.equal(silent.code, 1);
  assert.match(silent.out, /^Nobody knows the time here now: sntp 127/);
  assertShort(silent.out);
});

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ["clock", /Missing command after "clock": give one of clock status, clock sources, clock watch/],
  ["clock stats", /did you mean "clock status"\?/],
  ["clock status --max-error 0", /Cannot use "0" as --max-error: give milliseconds/],
  ["clock status --max-error 1e9", /Cannot use "1e9" as --max-error/],
  ["clock status --sources gps", /Cannot use "gps" in --sources: give some of ptp,daemon,sntp,sys/],
  ["clock status --sources sntp", /Cannot use only sntp without a server/],
  ["clock status --sources ptp --sntp a", /Cannot ask the servers of --sntp where --sources/],
  ["clock status --sntp a:b", /Cannot use "a:b" as a server/],
  ["clock watch --interval 5", /Cannot use "5" as --interval: give an integer from 10/],
  ["clock watch --count 0", /Cannot use "0" as --count/],
  ["clock watch --count 1 --count 2", /Cannot use --count twice/],
];

Deno.test("mmsb clock refuses a wrong call in one line, with exit 2, and each command's help has an example", async () => {
  const helps = ["clock status", "clock sources", "clock watch"];
  const lines = [...REFUSED.map(([line]) => line), ...helps.map((name) => `${name} --help`)];
  const outcomes = await mmsb(...lines);
  REFUSED.forEach(([line, message], index) => {
    const { code, out, err } = outcomes[index];
    assert.deepEqual([out, code], ["", 2], `${line}: ${err}`);
    assert.match(err, message);
    assert.match(err, /^mmsb: [a-z-]+: [^\n]+\n$/);
  });
  helps.forEach((command, index) => {
    const { code, out } = outcomes[REFUSED.length + index];
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^mmsb ${command}: [^]*\nExamples:\n {2}mmsb ${command}`));
  });
});

Deno.test("mmsb clock watch gives a line each time, and a summary", async () => {
  const [text, json] = await mmsb(
    "clock watch --count 3 --interval 10",
    "clock watch --count 2 --interval 10 --json --sources system",
  );
  assert.deepEqual([text.code, json.code], [0, 0]);
  assert.match(text.out, /^time +source +bound +offset\n(\d{4}-\S+Z .*\n){3,}\n3 lines, bound ± /);
  assertShort(text.out);
  const lines = json.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ kind }) => kind), ["reading", "reading", "summary"]);
  assert.equal(lines[2].lines, 2);
});

Deno.test("mmsb clock watch ends at Ctrl-C with its summary, and when nobody reads", async () => {
  const program = Deno.execPath();
  const args = ["run", "-A", MAIN, "clock", "watch", "--interval", "20", "--sources", "system"];
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped" }).spawn();
  const gone = new Deno.Command(program, { args, stdin: "null", stdout: "piped" }).spawn();
  await gone.stdout.cancel();
  const decoder = new TextDecoder();
  let out = "";
  for await (const piece of child.stdout) {
    const before = out.split("\n").length;
    out += decoder.decode(piece);
    if (before <= 3 && out.split("\n").length > 3) child.kill("SIGINT");
  }
  assert.equal((await child.status).code, 0);
  assert.match(out, /\n\n\d+ lines, bound ± .*, 0 changes of source, .*\n$/);
  assert.equal((await gone.status).code, 0);
});

testWithChronyd(
  "mmsb clock status names the servers' time and how this machine stands to it",
  async () => {
    const [first, second] = await Promise.all([Chronyd.start(), Chronyd.start()]);
    await using one = first;
    await using other = second;
    const servers = `--sntp ${one.address} --sntp ${other.address}`;
    const [text, json, watched] = await mmsb(
      `clock status ${servers} --max-error 1000`,
      `clock status ${servers} --json`,
      `clock watch --sntp ${one.address} --count 2 --interval 20`,
    );
    assert.deepEqual([text.code, json.code, watched.code], [0, 0, 0], text.err);
    assertShort(text.out);
    assert.match(text.out, /^source {5}(sntp 127\.0\.0\.1:\d+ and 1 more|system|chrony)/m);
    const { status } = JSON.parse(json.out);
    if (status.kind !== "sntp") return; // This machine has something better.
    assert.match(text.out, /^The time is known to within/);
    assert.match(text.out, /^bound {6}[\d.]+ [µm]s either way, the sum of$/m);
    // Both chronyds serve this machine's own clock; 20 ms for a machine that pauses between two readings.
    const { offsetNs, errorNs } = status;
    assert(Math.abs(offsetNs) <= errorNs + 20e6, `${offsetNs} ± ${errorNs}`);
    assert.match(watched.out, /^\d\S+Z +sntp 127\.0\.0\.1:\d+ +± /m);
  },
);

Deno.test("the verdict on a clock says who keeps it, who lost it, and who contradicts whom", async () => {
  const clocks = ["ptp0", "chrony"].map((name, seed) =>
    new SimulatedClock({ name, seed, noticesJumps: false })
  );
  const kinds: readonly ClockKind[] = ["ptp", "daemon"];
  clocks.forEach((clock, index) => Object.defineProperty(clock, "kind", { value: kinds[index] }));
  const timer = { every: () => () => {} };
  await using selector = new ClockSelector({ sources: clocks, steady: clocks[0].steady, timer });
  const text = (): string => verdictOf(selector.status()).text;
  const bound = () => durationText(selector.status().errorNs);
  selector.use("ptp0");
  assert.equal(
    text(),
    `The time is known to within ${bound()}, from ptp0; this machine's own clock is not compared with it`,
  );
  selector.use("chrony");
  assert.equal(text(), `This machine's clock is right to within ${bound()}: chrony keeps it`);
  clocks[1].jump(-3600e9);
  selector.check();
  assert.match(text(), /^The sources of time contradict each other: chrony says/);
  clocks[0].isLost = true;
  for (const clock of clocks) clock.isReachable = false;
  for (const clock of clocks) clock.advance(7200e9);
  selector.check();
  assert.match(
    text(),
    /^The time of chrony may be wrong by up to [\d.]+ m?s, and nobody vouches for it any more$/,
  );
  assert.match(
    statusText(selector.status(), verdictOf(selector.status())),
    /^others +ptp0, no time: /m,
  );
  clocks[1].isLost = true;
  assert.equal(text(), "Nobody knows the time here now: chrony has none");
});
