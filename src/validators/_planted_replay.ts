/**
 * Faults planted for validator 1: logs forged whole, with checksums and digests that are right, which no check of
 * the log by itself can find. What a replay of them gives must differ from what the true log gives, and the
 * page must be named.
 */

import { ROW_KIND, STRUCTURAL } from "../log/mod.ts";
import { EDGE_TYPES, KIND_SET } from "../physical/mod.ts";
import { type ForgedFrame, type ForgedTick, putTogether, takeApart } from "./_forge.ts";
import { replay } from "./_forms.ts";
import { addFrame, PLAIN } from "./_planted_rows.ts";
import { SAMPLE_SHARDS, sampleLog } from "./_sample_log.ts";
import { divergenceOf } from "./_state.ts";
import type { PlantedResult } from "./validator.ts";

/** Changes the ticks of a log; gives what must be said of the difference. */
type Edit = (ticks: ForgedTick[]) => RegExp;

const EDITS: Readonly<Record<string, Edit>> = {
  "replay-byte": (ticks) => {
    const { frame, index } = lastRow(ticks, KIND_SET), { page, start } = frame.rows[index];
    frame.payload[start] ^= 1;
    return new RegExp(`^page ${page}: its bytes differ`);
  },
  "replay-delta-lost": (ticks) => {
    const { frame, index } = lastRow(ticks), [{ page }] = frame.rows.splice(index, 1);
    return new RegExp(`^page ${page}: its epoch is `);
  },
  "replay-page-missing": (ticks) => {
    const { frame, index } = lastRow(ticks), { page } = frame.rows[index];
    const row = { ...PLAIN, page, kind: STRUCTURAL.deletePage };
    addFrame(ticks, ticks.length - 1, ROW_KIND.structural, [row]);
    return new RegExp(`^page ${page}: it is missing`);
  },
  "replay-page-extra": (ticks) => {
    const last = ticks.at(-1)!, page = last.nextPageId++;
    const row = { ...PLAIN, page, kind: STRUCTURAL.createPage, offset: 16 };
    addFrame(ticks, ticks.length - 1, ROW_KIND.structural, [row]);
    return new RegExp(`^page ${page}: it is one too many`);
  },
  "replay-name": ([{ frames }]) => {
    const named = frames.flatMap(({ rows }) => rows).find(({ kind, length }) => {
      return kind === STRUCTURAL.createPage && length > 0;
    })!;
    named.length = 0;
    return new RegExp(`^page ${named.page}: its name is ""`);
  },
  "replay-tick-lost": (ticks) => {
    ticks.pop();
    return /^(page \d+|the edge \d+ → \d+)\b/;
  },
  "replay-edge-lost": (ticks) => {
    const type = EDGE_TYPES.indexOf("control");
    for (const { frames } of ticks) {
      for (const frame of frames.filter(({ rowKind }) => rowKind === ROW_KIND.structural)) {
        const at = frame.rows.findIndex(({ kind, shard }) => {
          return kind === STRUCTURAL.addEdge && shard === type;
        });
        if (at < 0) continue;
        const [{ page, offset }] = frame.rows.splice(at, 1);
        return new RegExp(`^the edge ${offset} → ${page} \\(control\\) is missing`);
      }
    }
    throw new Error("the sample has no such edge");
  },
};

/** The last row of all of a page that nothing follows: no later row of the log is of the same page. */
function lastRow(ticks: readonly ForgedTick[], kind?: number) {
  const seen = new Set<number>();
  for (const { frames } of ticks.toReversed()) {
    for (const frame of frames.toReversed()) {
      for (let index = frame.rows.length - 1; index >= 0; index--) {
        const row = frame.rows[index], isData = frame.rowKind === ROW_KIND.data;
        const isWanted = isData && !seen.has(row.page) && (kind ?? row.kind) === row.kind;
        seen.add(row.page);
        // Of the caller's own batch a frame may have a single row, without which it is none.
        if (isWanted && frame.rows.length > 1) return { frame: frame as ForgedFrame, index };
      }
    }
  }
  throw new Error("the sample has no such row");
}

/**
 * Replays each forged log beside the true one.
 *
 * @param folder A folder to work in.
 * @param seed Seed of the log.
 */
export async function plantReplays(folder: string, seed: number): Promise<PlantedResult[]> {
  const sample = await sampleLog(seed);
  const replayOf = async (name: string, edit: Edit) => {
    const ticks = takeApart(sample), finds = edit(ticks), directory = `${folder}/${name}`;
    await Deno.mkdir(`${directory}/lane-00`, { recursive: true });
    for (const [path, bytes] of putTogether(ticks, SAMPLE_SHARDS).storage.image()) {
      await Deno.writeFile(`${directory}/${path}`, bytes);
    }
    return { finds, ...replay({ directory, tick: Infinity }) };
  };
  const clean = await replayOf("clean", () => /$/), again = await replayOf("again", () => /$/);
  const isAlike = divergenceOf(clean.state!, again.state!).value === 0;
  const results: PlantedResult[] = [];
  for (const [id, edit] of Object.entries(EDITS)) {
    const { state, digest, finds } = await replayOf(id, edit);
    const { value, found = "" } = divergenceOf(clean.state!, state!);
    const isTold = value !== 0 && digest !== clean.digest && finds.test(found);
    results.push({ id, found: isAlike && isTold });
  }
  return results;
}
