/**
 * Anchors: ours and the peers side by side in one process run.
 *
 * `deno task anchors [SUBJECT…] [--rounds N] [--scale N] [--json FILE]`
 *
 * Each subject prints ours, the peer, the ratio (above 1: ours is faster), the spread of the ratio
 * over rounds, the target and a hash of the result, which is compared before any time counts.
 */

import { parseArgs } from "node:util";
import type { Row } from "./_harness.ts";

type Subject = (rounds: number, options: { readonly scale?: number }) => Promise<Row[]>;

const SUBJECTS: Readonly<Record<string, () => Promise<Subject>>> = {
  apply: async () => (await import("./_subjects_memory.ts")).apply,
  submit: async () => (await import("./_subjects_memory.ts")).submit,
  handle: async () => (await import("./_subjects_memory.ts")).handle,
  heap: async () => (await import("./_subjects_memory.ts")).heap,
  memory: async () => (await import("./_subjects_memory.ts")).memory,
  table: async () => (await import("./_subjects_table.ts")).tables,
  logged: async () => (await import("./_subjects_disk.ts")).logged,
  recovery: async () => (await import("./_subjects_disk.ts")).recovery,
  checkpoint: async () => (await import("./_subjects_checkpoint.ts")).checkpoint,
  compaction: async () => (await import("./_subjects_compaction.ts")).compaction,
  sqlite: async () => (await import("./_subjects_disk.ts")).sqlite,
  lmdb: async () => (await import("./_subjects_disk.ts")).lmdb,
  ring: async () => (await import("./_subjects_ring.ts")).ring,
  propagation: async () => (await import("./_subjects_propagation.ts")).propagation,
  tick: async () => (await import("./_subjects_tick.ts")).ticks,
  incremental: async () => (await import("./_subjects_propagation.ts")).incremental,
  workers: async () => (await import("./_subjects_workers.ts")).workers,
  history: async () => (await import("./_subjects_history.ts")).history,
  provenance: async () => (await import("./_subjects_provenance.ts")).provenance,
  graph: async () => (await import("./_subjects_graph.ts")).graph,
  deadlock: async () => (await import("./_subjects_deadlock.ts")).deadlock,
  spill: async () => (await import("./_subjects_spill.ts")).spill,
  clock: async () => (await import("./_subjects_clock.ts")).clock,
  causal: async () => (await import("./_subjects_causal.ts")).causal,
  cost: async () => (await import("./_subjects_cost.ts")).cost,
  queue: async () => (await import("./_subjects_queue.ts")).queue,
  gpu: async () => (await import("./_subjects_gpu.ts")).gpu,
};

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "7" },
    scale: { type: "string" },
    json: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});

if (values.help) {
  console.log(`deno task anchors [SUBJECT…] [--rounds N] [--scale N] [--json FILE]

Runs ours and the peers side by side in one process, in the order A B B A.
Subjects: ${Object.keys(SUBJECTS).join(", ")} (all where none is named)
--scale: part of the work of gpu, above 0; if left out 1, on a software adapter 1/256

  deno task anchors apply submit --rounds 15`);
  Deno.exit(0);
}

const names = positionals.length > 0 ? positionals : Object.keys(SUBJECTS);
const unknown = names.find((name) => !(name in SUBJECTS));
const rounds = Number(values.rounds);
const scale = values.scale === undefined ? undefined : Number(values.scale);
const isScale = scale === undefined || scale > 0 && scale <= 1;
if (unknown !== undefined || !Number.isInteger(rounds) || rounds < 1 || !isScale) {
  const what = unknown !== undefined
    ? `subject "${unknown}"`
    : isScale
    ? `--rounds ${values.rounds}`
    : `--scale ${values.scale}`;
  console.error(
    `usage: Cannot use ${what}: the subjects are ${
      Object.keys(SUBJECTS).join(", ")
    }, rounds a number from 1, scale one above 0 and at most 1`,
  );
  Deno.exit(2);
}

const all: Row[] = [];
for (const name of names) {
  const rows = await (await SUBJECTS[name]())(rounds, { scale });
  for (const row of rows) {
    all.push(row);
    const spread = row.spread.map((value) => value.toFixed(2)).join(" to ");
    console.log(`${!row.met ? "✗" : row.target === "" ? "–" : "✓"} ${row.subject}`);
    console.log(
      `    ours ${row.ours}${row.peer ? `   peer ${row.peer}` : ""}   ratio ${
        row.ratio.toFixed(2)
      } (${spread})` +
        `${row.target ? `   target ${row.target}` : ""}   hash ${row.hash}`,
    );
  }
}
if (values.json !== undefined) {
  const { deno, v8 } = Deno.version;
  const machine = {
    deno,
    v8,
    os: Deno.build.os,
    arch: Deno.build.arch,
    cores: navigator.hardwareConcurrency,
  };
  Deno.writeTextFileSync(
    values.json,
    JSON.stringify({ machine, rounds, rows: all }, null, 2) + "\n",
  );
}
const targets = all.filter((row) => row.target !== "");
const missed = all.filter((row) => !row.met);
const met = targets.length - missed.filter((row) => row.target !== "").length;
const wrong = missed.filter((row) => row.target === "").length;
console.log(
  `${met} of ${targets.length} targets met${wrong > 0 ? `, ${wrong} results are wrong` : ""}`,
);
Deno.exit(missed.length === 0 ? 0 : 1);
