import assert from "node:assert/strict";
import { VERSION } from "../perf/mod.ts";

/** A command line with validators and log tools of its own, so that a run takes no time. */
const PROGRAM = `
import { runCommandLine } from ${JSON.stringify(new URL("./_cli.ts", import.meta.url).href)};
import { MmsbError } from ${JSON.stringify(new URL("../base/errors.ts", import.meta.url).href)};

const replay = {
  id: 1,
  name: "Replay",
  run: async ({ directory, seed, progress }) => {
    progress("cycle 1");
    if (directory) throw new MmsbError("corrupt-log", "Cannot read frame 7: its checksum differs");
    return { metrics: { divergence: 0, cycles: 1000, formsAgreed: 5, lostTicks: 0, wrongTotals: 0, wrongSums: 0, wrongRows: 0, seed }, samples: 1000 };
  },
};
const purity = {
  id: 4,
  name: "Purity",
  needsWorkload: "it needs a workload of its own",
  run: async () => ({
    metrics: { sideEffects: 2, agreePercent: 100, plantedFound: 100 },
    samples: 10,
  }),
};
const delta = {
  tick: 41,
  hlc: 1767225600000001n << 12n,
  page: 7,
  name: "board",
  epoch: 3,
  kind: "set",
  offset: 16,
  length: 2,
  payload: Uint8Array.of(1, 255),
  source: "feed-a",
  intent: "line\\n\\u001b[31mred",
};
const logTools = {
  requireDirectory: () => {},
  inspectLog: async (directory) => {
    if (directory.endsWith("bug")) throw new TypeError("x is\\nundefined");
    return {
      format: 1, incarnation: 2, shards: 24, ticks: { first: 1, last: 41 },
      state: directory.endsWith("damaged")
        ? { state: "damaged", file: "lane-00/1.log", offset: 4096, tick: 42, reason: "no frame" }
        : { state: "whole" },
      hlc: { first: delta.hlc, last: delta.hlc }, deltas: 3, payloadBytes: 2048,
      kinds: [{ kind: "set", deltas: 3 }], rows: [{ kind: "data", frames: 1, rows: 3 }],
      pages: 1, pageBytes: 4096, pagesBorn: 2,
      epochs: [{ page: 7, name: "a board", size: 4096, epoch: 3 }],
      lanes: [{ lane: 0, segments: 1, frames: 41, bytes: 65536 }], checkpoints: [],
      sources: [{ source: "feed-a", deltas: 2, payloadBytes: 1024 }], notes: [],
    };
  },
  queryLog: async function* (_directory, query) {
    if (query.page === "none") throw new MmsbError("invalid-handle", "Cannot find page none");
    yield { ...delta, query };
    yield delta;
  },
  verifyLog: async (directory) => ({
    frames: 41, deltas: 3, bytes: 65536, lastTick: 41,
    problems: [{
      kind: directory.endsWith("damaged") ? "damage" : "torn",
      fault: "frame-body", file: "lane-00/00000001.log", offset: 4096, tick: 12,
      message: "checksum\\u001b differs",
    }],
  }),
};
Deno.exit(await runCommandLine(Deno.args, {
  validators: async () => [replay, purity],
  logTools: async () => logTools,
  transferTools: async () => ({}),
}));
`;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const folder = Deno.makeTempDirSync({ prefix: "mmsb-cli-" });
Deno.writeTextFileSync(`${folder}/program.ts`, PROGRAM);
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

async function deno(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: folder,
    stdin: "null",
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: output.code, out: text(output.stdout), err: text(output.stderr) };
}

/** Runs a line, its words set apart by blanks, with the validators and tools above. */
function mmsb(line: string): Promise<Outcome> {
  return deno(["run", "-A", "--no-config", "--no-lock", "program.ts", ...line.split(" ")]);
}

const MAIN = new URL("./main.ts", import.meta.url).href;

Deno.test("mmsb as it is published answers --help, --version and refuses what it does not know", async () => {
  const [help, version, none, wrong] = await Promise.all([
    deno(["run", "-A", MAIN, "--help"]),
    deno(["run", "-A", MAIN, "--version"]),
    deno(["run", "-A", MAIN]),
    deno(["run", "-A", MAIN, "valdiate"]),
  ]);
  assert.equal(help.code, 0);
  assert.match(help.out, /^ {2}log query DIR +list deltas/m);
  assert.match(
    help.out,
    /Exit code: 0 done, 1 a check failed or the system refused, 2 wrong usage, 3 damaged data/,
  );
  assert.deepEqual(version, { code: 0, out: `mmsb ${VERSION}\n`, err: "" });
  assert.equal(none.code, 2);
  assert.match(none.err, /^mmsb: usage: Missing command: give one of validate, log inspect, .*\n$/);
  assert.deepEqual(wrong, {
    code: 2,
    out: "",
    err: `mmsb: usage: Unknown command "valdiate": did you mean "validate"? See mmsb --help\n`,
  });
});

Deno.test("mmsb as the first module of a worker does not run", async () => {
  await Deno.writeTextFile(
    `${folder}/worker.ts`,
    `const worker = new Worker(${JSON.stringify(MAIN)}, { type: "module" });
     worker.onerror = (event) => { console.log("error", event.message); Deno.exit(9); };
     setTimeout(() => { console.log("quiet"); Deno.exit(0); }, 500);`,
  );
  assert.deepEqual(await deno(["run", "-A", "worker.ts"]), { code: 0, out: "quiet\n", err: "" });
});

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ["log", /Missing command after "log": give one of log inspect, log query, log verify, /],
  ["log inspekt", /Unknown command "log inspekt": did you mean "log inspect"\?/],
  ["--verion", /Unknown flag "--verion": did you mean "--version"\?/],
  ["validate --qiuck", /Unknown flag --qiuck: did you mean --quick\? See mmsb validate --help/],
  ["validate --only", /Missing value of --only: write --only IDS, see mmsb validate --help/],
  ["validate --json --quick", /Missing value of --json: write --json FILE/],
  ["validate --quick=no", /Cannot use a value for --quick: it takes none/],
  ["validate --seed 1 --seed 2", /Cannot use --seed twice/],
  ["validate --seed 1e3", /Cannot use "1e3" as --seed: give an integer from 0 to 4294967295/],
  ["validate --only 1;5", /Cannot use "1;5" as --only: give numbers set apart by commas/],
  ["validate --only 11", /Cannot run validator 11 as there is none of that number/],
  ["validate --data no/such", /Cannot use "no\/such" as --data: /],
  ["validate --json no/such/x.json", /Cannot use "no\/such" as --json: /],
  ["validate --targets program.ts", /Cannot use targets of "program\.ts" as it is no JSON/],
  ["validate --json x --junit x", /Cannot write two reports to one file/],
  ["validate extra", /Cannot use "extra": too much is given/],
  ["log query", /Missing DIR, see mmsb log query --help/],
  ["log query . --since yesterday", /Cannot use "yesterday" as --since: give an ISO time/],
  ["log query . --since 2026-02-30", /Cannot use "2026-02-30" as --since/],
  ["log query . --tick-from 5 --tick-to 4", /from --tick-from 5 to --tick-to 4 .*: swap them/],
  [
    "replay . --to-tick -1",
    /Cannot use "-1" as --to-tick: it is no tick, give an integer from 0 on/,
  ],
  ["log inspect no/such", /Cannot use "no\/such" as DIR: it does not exist\n$/],
  ["log query . --page none", /invalid-handle: Cannot find page none/],
  ["doctor --dir no/such", /Cannot use "no\/such" as --dir/],
];

Deno.test("mmsb refuses a wrong call in one line, with exit 2", async () => {
  // All in one process after another would take seconds; two at a time keep two cores busy.
  const queue = [...REFUSED];
  const next = async (): Promise<void> => {
    for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
      const [line, message] = item;
      const { code, out, err } = await mmsb(line);
      assert.equal(code, 2, `${line}: ${out}${err}`);
      assert.match(err, message);
      assert.match(err, /^mmsb: [a-z-]+: [^\n]+\n$/);
      assert.equal(out, "");
    }
  };
  await Promise.all([next(), next()]);
});

Deno.test("mmsb COMMAND --help has an example for every command", async () => {
  for (const command of ["validate", "log inspect", "log query", "log verify", "doctor"]) {
    const { code, out } = await mmsb(`${command} --help --whatever`);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^mmsb ${command}: [^]*\nExamples:\n {2}mmsb ${command}`));
    assert.match(out, /--json/);
  }
});

Deno.test("mmsb validate passes with exit 0, and keeps its results", async () => {
  const files = "--json r.json --junit r.xml --markdown r.md";
  const { code, out, err } = await mmsb(`validate --only 1,3 --seed 7 ${files}`);
  assert.equal(code, 0, err);
  assert.equal(
    out,
    `=== MMSB Benchmark Validation ===
✓ #1:  Replay (divergence: 0, cycles: 1000)
– #3:  Graph – not built
Result: 1/2 PASS – 1 not built (not counted as passed), every validator that ran passed, so exit code 0
`,
  );
  assert.equal(err, "#1 Replay …\n");
  const json = await Deno.readTextFile(`${folder}/r.json`);
  assert.equal(JSON.parse(json).benchmarks[0].metrics.seed, 7);
  assert.equal(await Deno.readTextFile(`${folder}/results/latest.json`), json);
  assert.match(await Deno.readTextFile(`${folder}/r.xml`), /tests="2" failures="0"/);
  assert.match(await Deno.readTextFile(`${folder}/r.md`), /\| ✓ 1 \| Replay \|/);
});

Deno.test("mmsb validate ends with 1 where one fails, 2 where none ran, 3 where data is damaged", async () => {
  const [failed, none, damaged] = await Promise.all([
    mmsb("validate"),
    mmsb("validate --only 3"),
    mmsb("validate --data . --json -"),
  ]);
  assert.equal(failed.code, 1);
  assert.match(failed.out, /✗ #4: {2}Purity \(2, target: 0\) {2}← NEEDS WORK/);
  assert.match(failed.out, /Result: 1\/10 PASS – 1 failed, 8 not built/);
  assert.equal(none.code, 2);
  assert.match(none.err, /usage: Cannot validate as none of 3 can run here: built are 1, 4, see/);
  assert.equal(damaged.code, 3);
  const result = JSON.parse(damaged.out);
  assert.equal(result.exitCode, 3);
  assert.match(result.benchmarks[0].reason, /^corrupt-log: Cannot read frame 7/);
  assert.equal(result.benchmarks[3].status, "skipped");
  assert.match(damaged.err, /✗ #1: {2}Replay \(corrupt-log: Cannot read frame 7/);
});

Deno.test("mmsb log query prints deltas on one line each, and as JSON lines", async () => {
  const filters =
    "--page 7 --since 2026-01-01 --until 2026-01-01T01:00:00.000002+01:00 --tick-to 50";
  const [text, json] = await Promise.all([
    mmsb(`log query . --limit 1`),
    mmsb(`log query . --json --limit 0 --source feed-a --intent=-x ${filters}`),
  ]);
  assert.equal(text.code, 0);
  assert.equal(
    text.out,
    'tick 41  2026-01-01T00:00:00.000001Z  page 7 board  epoch 3  set 16+2  01ff  source=feed-a  intent="line\\n\\u001b[31mred"\n',
  );
  assert.match(text.err, /stopped after 1 row: write --limit 0 for all/);
  const [first, second] = json.out.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(first.query, {
    page: 7,
    sinceUs: 1_767_225_600_000_000,
    untilUs: 1_767_225_600_000_002,
    tickTo: 50,
    source: "feed-a",
    intent: "-x",
  });
  assert.equal(second.hlc, String(1767225600000001n << 12n));
  assert.equal(second.payload, "01ff");
});

Deno.test("mmsb log inspect sums up, and an error of ours is one line with exit 1", async () => {
  await Deno.mkdir(`${folder}/bug`);
  const [text, json, bug] = await Promise.all([
    mmsb("log inspect ."),
    mmsb("log inspect . --json"),
    mmsb("log inspect ./bug"),
  ]);
  assert.match(text.out, /^ticks {7}1 to 41$/m);
  assert.match(text.out, /^state {7}whole$/m);
  assert.match(text.out, /^ {12}page 7 "a board": epoch 3$/m);
  assert.match(text.out, /^lane 0 {6}1 segment, 41 frames, 64 KiB$/m);
  assert.equal(JSON.parse(json.out).sources[0].source, "feed-a");
  assert.deepEqual(bug, {
    code: 1,
    out: "",
    err: "mmsb: internal: TypeError: x is undefined, please report it\n",
  });
});

Deno.test("mmsb log verify ends with 3 on damage, and with 0 on a torn tail", async () => {
  await Deno.mkdir(`${folder}/damaged`);
  const [torn, damaged] = await Promise.all([
    mmsb("log verify ."),
    mmsb("log verify damaged --json"),
  ]);
  assert.equal(torn.code, 0);
  assert.match(
    torn.out,
    /^– torn tail: lane-00\/00000001\.log at byte 4096, tick 12: checksum\\u\{1b\} differs$/m,
  );
  assert.match(torn.out, /^✓ whole: \., 41 frames/m);
  assert.equal(damaged.code, 3);
  assert.equal(JSON.parse(damaged.out).ok, false);
  assert.match(
    damaged.err,
    /^mmsb: corrupt-log: Cannot trust all of the log of "damaged" \(1 problem was found\): restore/,
  );
});

Deno.test("mmsb doctor says what each thing means, in text and JSON, and leaves nothing behind", async () => {
  const dir = `${folder}/disk`;
  await Deno.mkdir(dir);
  const [text, json] = await Promise.all([
    mmsb("doctor --dir disk"),
    // Without FFI nothing is asked and nothing fails.
    deno(["run", "-R", "-W", "-E", "--allow-sys", "--no-prompt", MAIN, "doctor", "--json"]),
  ]);
  assert.equal(text.code, 0, text.err);
  assert.match(text.out, /^✓ threads {3}\d+ logical core/m);
  assert.match(text.out, /disk sync 4 KiB written and synced in [\d.]+ ms \(median of 50\)/);
  assert.deepEqual([...Deno.readDirSync(dir)], []);
  assert.equal(json.code, 0, json.err);
  const { ok, findings } = JSON.parse(json.out);
  assert.equal(ok, true);
  assert.deepEqual(
    findings.map(({ id }: { id: string }) => id),
    ["versions", "threads", "reserve", "memory", "sync", "space", "clock", "ffi", "mapping", "gpu"],
  );
  for (const { meaning, found } of findings) assert(meaning.length > 10 && found.length > 3);
  assert.equal(findings[7].figures.permitted, false);
});
