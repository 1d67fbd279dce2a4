/**
 * Subject of provenance: where a derived value came from, among 1,000,000 deltas, against finding the same
 * by reading the whole log.
 *
 * Cold: a bus that has the log's index and nothing of the page. The first question of a log, which makes
 * its index, is told beside it. Cached: the same question again.
 */

import { type Explanation, StateBus } from "../mod.ts";
import { FileStorage, readMeta } from "../src/log/mod.ts";
import { ScannedLog } from "../src/model/provenance_scan.ts";
import { type ProvenancePlan, ProvenanceWork } from "../src/validators/provenance_work.ts";
import { hash, interleave, type Row } from "./_harness.ts";

const PLAN: ProvenancePlan = {
  sources: 16_384,
  layers: 31,
  width: 24,
  rows: 1000,
  deltas: 1_000_000,
  seed: 7,
};

/** A value 31 steps from its sources, cold and cached. */
export async function provenance(rounds: number): Promise<Row[]> {
  const dir = await Deno.makeTempDir({ prefix: "mmsb-anchors-" });
  try {
    const work = await ProvenanceWork.begin(dir, PLAN), page = work.last[0];
    await work.write(() => {});
    const start = performance.now();
    await work.bus.explain(page);
    const first = performance.now() - start;
    await work.bus.close();
    return await rowsOf(dir, page, Math.min(rounds, 5), work.deltas, first);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function rowsOf(
  dir: string,
  page: number,
  rounds: number,
  deltas: number,
  first: number,
): Promise<Row[]> {
  const storage = new FileStorage(dir), meta = readMeta(storage);
  let ours = "", theirs = "", pages = 0;
  const cached: number[] = [];
  const byIndex = async () => {
    await using bus = await StateBus.open({ dir, readOnly: true });
    await Array.fromAsync(bus.history(1, { limit: 1 }));
    const start = performance.now();
    const explanation = await bus.explain(page);
    const spent = (performance.now() - start) / 1000;
    const again = performance.now();
    await bus.explain(page);
    cached.push((performance.now() - again) / 1000);
    ours = hash(keysOf(explanation));
    pages = explanation.pages;
    return spent;
  };
  const byScan = () => {
    const start = performance.now();
    const log = new ScannedLog(storage, meta);
    const found = log.explain(page, Infinity, 31);
    const spent = (performance.now() - start) / 1000;
    theirs = hash(textBytes([...found].map(([key, { epoch }]) => `${key} ${epoch}`)));
    return spent;
  };
  const measured = await interleave(byIndex, byScan, rounds, 1);
  const same = ours === theirs, middle = cached.toSorted((a, b) => a - b)[cached.length >> 1];
  const what = `provenance of a value over ${(deltas / 1e6).toFixed(2)} M deltas: ${pages} pages`;
  return [
    {
      subject: `${what}, 31 steps, cold, against a scan (first question of the log ${
        milliseconds(first / 1000)
      })`,
      ours: milliseconds(measured.ours),
      peer: milliseconds(measured.peer),
      ratio: measured.ratio,
      spread: measured.spread,
      target: "< 50 ms",
      met: same && measured.ours < 0.05,
      hash: same ? ours : `${ours} differs from ${theirs}`,
    },
    {
      subject: `${what}, the same question again, against the first`,
      ours: milliseconds(middle),
      peer: milliseconds(measured.ours),
      ratio: measured.ours / middle,
      spread: [measured.ours / Math.max(...cached), measured.ours / Math.min(...cached)],
      target: "< 1 ms",
      met: same && middle < 0.001,
      hash: ours,
    },
  ];
}

function keysOf(explanation: Explanation): Uint8Array {
  return textBytes([...explanation].map(({ id, tick, epoch }) => `${id} at ${tick} ${epoch}`));
}

function textBytes(lines: readonly string[]): Uint8Array {
  return new TextEncoder().encode(lines.toSorted().join());
}

function milliseconds(time: number): string {
  return `${(time * 1000).toFixed(time < 0.01 ? 2 : 0)} ms`;
}
