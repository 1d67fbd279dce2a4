/**
 * Results of `deno task anchors --json FILE` read back: ours against a peer in one process run.
 *
 * Ratios travel between machines better than times do, so they are compared whatever the machine;
 * figures without a peer (nanoseconds of one call) only on the same kind of machine. The file keeps the
 * median and the range of the rounds, not the rounds, so the range stands for the noise.
 *
 * Which way a figure gets better is not in the file; it is read off the target's words (`>= 0.9`,
 * `< 60 ns`). A ratio to a peer without a target is better when larger, as the anchors print it.
 */

import { fields, integer, list, number, type Origin, text, wrong } from "./_fields.ts";
import type { Direction, RunGroup, Series, Side } from "./series.ts";

/** Whether a JSON value has the outline of an anchors file. */
export function isAnchors(value: unknown): boolean {
  return typeof value === "object" && value !== null && "rows" in value && "rounds" in value;
}

/** One file of anchors as a group of runs. */
export function anchorsGroup(value: unknown, origin: Origin): RunGroup {
  const root = fields(value, "", ["machine", "rounds", "rows"], "any", origin);
  const machine = fields(root.machine, "machine", ["os", "arch", "cores"], "any", origin);
  const rounds = integer(root.rounds, "rounds", origin, 1);
  const rows = list(root.rows, "rows", origin, 0)
    .map((row, index) => ({ ...seriesOfRow(row, `rows[${index}]`, origin), rounds }));
  return {
    machine: `${integer(machine.cores, "machine.cores", origin, 1)} cores, ${
      text(machine.os, "machine.os", origin)
    } ${text(machine.arch, "machine.arch", origin)}`,
    work: "anchors",
    files: 1,
    series: new Map(rows.map((series) => [series.key, series])),
    failures: new Map(),
  };
}

/** Files of anchors as one side, pooled by machine; the newest last. */
export function sideOfAnchors(path: string, files: readonly RunGroup[]): Side {
  const pools = new Map<string, RunGroup>();
  for (const file of files.toReversed()) {
    const known = pools.get(file.machine);
    pools.set(file.machine, known === undefined ? file : pool(known, file));
  }
  return { path, kind: "anchors", groups: [...pools.values()] };
}

function pool(a: RunGroup, b: RunGroup): RunGroup {
  const series = new Map(a.series);
  for (const [key, added] of b.series) {
    const known = series.get(key);
    series.set(
      key,
      known === undefined ? added : {
        ...known,
        figures: [...known.figures, ...added.figures],
        rounds: known.rounds! + added.rounds!,
        range: [
          Math.min(known.range![0], added.range![0]),
          Math.max(known.range![1], added.range![1]),
        ],
      },
    );
  }
  return { ...a, files: a.files + b.files, series };
}

function seriesOfRow(value: unknown, path: string, origin: Origin): Series {
  const row = fields(value, path, ["subject", "peer", "ratio", "spread", "target"], "any", origin);
  const subject = text(row.subject, `${path}.subject`, origin);
  for (const key of ["peer", "target"]) {
    if (typeof row[key] !== "string") {
      throw wrong(origin, `${path}.${key}`, row[key], "give a text");
    }
  }
  const spread = list(row.spread, `${path}.spread`, origin)
    .map((item, index) => number(item, `${path}.spread[${index}]`, origin));
  if (spread.length !== 2) {
    throw wrong(origin, `${path}.spread`, spread, "give the least and the largest");
  }
  const target = row.target as string;
  return {
    key: subject,
    group: "Anchors",
    label: subject,
    unit: "number",
    direction: directionOf(target, row.peer !== ""),
    steadiness: "noisy",
    machineBound: row.peer === "" && !target.includes("(ratio"),
    figures: [number(row.ratio, `${path}.ratio`, origin)],
    range: [spread[0], spread[1]],
  };
}

function directionOf(target: string, hasPeer: boolean): Direction {
  if (target.includes("(ratio") || /^(>|≥)/.test(target)) return "more";
  if (/^(<|≤)|\bunder\b/.test(target)) return "less";
  return hasPeer ? "more" : "unknown";
}
