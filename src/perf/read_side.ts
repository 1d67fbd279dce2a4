/**
 * What `mmsb compare` is given: a result, a baseline, or anchors; one file, or a folder of which all
 * files are pooled. What a file is stands in it, not in its name.
 */

import { MmsbError } from "../base/errors.ts";
import { type Origin, parseJson, wrong } from "./_fields.ts";
import { readText } from "./_read_text.ts";
import { anchorsGroup, isAnchors, sideOfAnchors } from "./anchors_result.ts";
import { BASELINE_FORMAT, BASELINE_KIND, sideOfBaseline } from "./baseline.ts";
import { HISTORY_FILES_MAX, jsonFilesOf } from "./history.ts";
import { type RunGroup, type Side, sideOfResults } from "./series.ts";
import { parseResult, RESULT_BYTES_MAX, type StoredResult } from "./stored_result.ts";

/** Options of {@linkcode readSide}. */
export interface ReadSideOptions {
  /** Told of each file of a folder that was passed over and why, in one sentence. */
  readonly warn?: (warning: string) => void;
}

/**
 * Reads one side of a comparison.
 *
 * @param path A result, a baseline, a file of anchors; or a folder of results or of anchors, such as
 * `results/history`, or one that has such a `history`.
 * @param options Whom to tell what was passed over in a folder.
 * @returns The side.
 * @throws {MmsbError} `usage` where there is no such file, it is nothing that can be compared, or a
 * folder has nothing of the kind; `version` where a newer MMSB wrote it; `corrupt-log` where it is
 * damaged. In a folder, files that are damaged or of another kind are passed over.
 */
export async function readSide(path: string, options: ReadSideOptions = {}): Promise<Side> {
  let isFolder: boolean;
  try {
    isFolder = (await Deno.stat(path)).isDirectory;
  } catch {
    isFolder = false; // Reading it as a file says what is wrong.
  }
  if (!isFolder) return sideOf(path, [await readItem(path)]);
  const history = `${path}/history`;
  const inside = await jsonFilesOf(history);
  const folder = inside.length > 0 ? history : path;
  const names = inside.length > 0 ? inside : await jsonFilesOf(path);
  const items: Item[] = [];
  for (const name of names.slice(-HISTORY_FILES_MAX)) {
    try {
      items.push(await readItem(`${folder}/${name}`));
    } catch (error) {
      if (!(error instanceof MmsbError)) throw error;
      options.warn?.(error.message);
    }
  }
  if (items.length === 0) {
    throw new MmsbError(
      "usage",
      `Cannot compare ${JSON.stringify(path)} as it has no result that can be read: give a file, ` +
        `or a folder such as results/history`,
      { values: { path } },
    );
  }
  return sideOf(path, items);
}

/** What one file holds. */
type Item =
  | { readonly kind: "result"; readonly result: StoredResult }
  | { readonly kind: "anchors"; readonly group: RunGroup }
  | { readonly kind: "baseline"; readonly side: Side };

async function readItem(path: string): Promise<Item> {
  const json = await readText("a result", path, RESULT_BYTES_MAX);
  const origin = { file: path, deed: "read the result", code: "corrupt-log", text: json } as const;
  const value = parseJson(origin);
  if (isAnchors(value)) return { kind: "anchors", group: anchorsGroup(value, origin) };
  if ((value as { kind?: unknown } | null)?.kind === BASELINE_KIND) {
    checkFormat((value as { format?: unknown }).format, origin);
    return { kind: "baseline", side: sideOfBaseline(value, path, origin) };
  }
  return { kind: "result", result: parseResult(json, path) };
}

function checkFormat(format: unknown, origin: Origin): void {
  if (format === BASELINE_FORMAT) return;
  const isNewer = typeof format === "number" && format > BASELINE_FORMAT;
  const advice = `this version of MMSB reads format ${BASELINE_FORMAT}`;
  throw wrong(origin, "format", format, advice, isNewer ? "version" : "corrupt-log");
}

function sideOf(path: string, items: readonly Item[]): Side {
  const [first] = items;
  const odd = items.find(({ kind }) => kind !== first.kind);
  if (odd !== undefined || (first.kind === "baseline" && items.length > 1)) {
    const kinds = [...new Set(items.map(({ kind }) => kind))].join(" and ");
    throw new MmsbError(
      "usage",
      `Cannot pool ${
        JSON.stringify(path)
      } as it holds ${kinds}: give a folder of one kind, or a file`,
      { values: { path } },
    );
  }
  if (first.kind === "baseline") return first.side;
  if (first.kind === "anchors") {
    return sideOfAnchors(path, items.flatMap((item) => item.kind === "anchors" ? item.group : []));
  }
  const results = items.flatMap((item) => item.kind === "result" ? item.result : []);
  return sideOfResults(
    path,
    results.sort((a, b) => a.startedAt.getTime() - b.startedAt.getTime()),
  );
}
