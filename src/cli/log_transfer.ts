/**
 * `mmsb log export`, `import` and `salvage`: a log as JSON lines, a log from a file, and what can be
 * saved of a damaged one.
 *
 * This file reads the flags and writes the answers; the work is that of the tools that it is given
 * ({@linkcode TransferTools}).
 *
 * Cost: lines are written as they come; nothing is held.
 */

import { formatBytes } from "../base/bytes.ts";
import { MmsbError } from "../base/errors.ts";
import type {
  ExportOptions,
  ExportReport,
  ImportOptions,
  ImportReport,
  SalvageOptions,
  SalvageRange,
  SalvageReport,
} from "../log/mod.ts";
import { EXIT, type ExitCode } from "../perf/mod.ts";
import { type Call, type Command, type Flag, usage } from "./_command.ts";
import { counted, escaped, json, placeText, shown } from "./_log_text.ts";
import {
  requireFile,
  requireFolder,
  requireFolderOf,
  writeStdout,
  writeStdoutBytes,
} from "./_platform.ts";
import { progressLine } from "./_progress.ts";

/** What moves logs. Each throws an `MmsbError`, and leaves nothing half done then. */
export interface TransferTools {
  /** Gives a log as pieces of text; stops where `write` says `false`. */
  exportText(
    directory: string,
    write: (bytes: Uint8Array) => boolean,
    options: ExportOptions,
  ): Promise<ExportReport>;
  /** Writes a log to a file. */
  exportFile(directory: string, path: string, options: ExportOptions): Promise<ExportReport>;
  /** Makes a directory of a file. */
  importLog(path: string, directory: string, options: ImportOptions): Promise<ImportReport>;
  /** Makes a whole directory of a damaged one. */
  salvageLog(directory: string, target: string, options: SalvageOptions): Promise<SalvageReport>;
}

const JSON_FLAG: Flag = { help: "write the report as JSON in place of text" };

/**
 * The commands of the group `log` that move logs.
 *
 * @param load Gives the tools; called once the call is known to be right.
 * @returns The commands.
 */
export function transferCommands(load: () => Promise<TransferTools>): readonly Command[] {
  return [
    {
      name: "log export",
      summary: "write a log as JSON lines",
      operands: ["DIR"],
      flags: {
        canonical: { help: "only what two logs of the same inputs have in common, in one order" },
        to: { value: "FILE", help: "the file, which appears whole; standard output if left out" },
        json: { help: "with --to, write the report as JSON; lines are JSON anyway" },
      },
      details: [
        "A header, then for each tick its births, deltas, other changes of pages and its commit, then\n" +
        "an end with counts. A file without its end was cut.",
        "The canonical form is sorted by tick, shard, producer and sequence, without lanes, times of\n" +
        "this machine's clock and openings: the same inputs give the same bytes.",
        "Where the log is damaged, all that is whole before is given, and the exit code is 3; with\n" +
        "--to there is no file then.",
      ],
      examples: [
        "mmsb log export data/flights --to flights.jsonl",
        "mmsb log export data/flights --canonical | sha256sum",
      ],
      run: (call) => exportTo(call, load),
    },
    {
      name: "log import",
      summary: "make a directory of a file: JSON lines, MMSBLOG1 or MMSBSNAP",
      operands: ["FILE"],
      flags: {
        to: { value: "DIR", help: "the new directory; it appears whole, or not at all" },
        snapshot: { value: "FILE", help: "an MMSBSNAP that stands beside an MMSBLOG1" },
        json: JSON_FLAG,
      },
      details: [
        "What the file is, is told by its first bytes: lines of mmsb log export, or a log (versions 1\n" +
        "and 2) or checkpoint (version 2) of the older system. Of those, page N is named imported:N,\n" +
        "and mmsb log query shows the old ids and epochs of its deltas.",
        "A file that is wrong anywhere is refused, with the byte and what is wrong there, and the exit\n" +
        "code is 3.",
      ],
      examples: [
        "mmsb log import flights.jsonl --to data/flights-copy",
        "mmsb log import old.log --snapshot old.snap --to data/old",
      ],
      run: (call) => importFrom(call, load),
    },
    {
      name: "log salvage",
      summary: "save what is whole of a damaged log into a new directory",
      operands: ["DIR"],
      flags: {
        to: { value: "DIR2", help: "the new directory; it appears whole, or not at all" },
        json: JSON_FLAG,
      },
      details: [
        "Whole ticks are taken, also behind damage, with their numbers, times and epochs. What cannot\n" +
        "be read is named by file, byte, tick and page. DIR is only read; nobody should be writing it.",
        "The exit code is 0 where all could be read, and 3 where something is lost; DIR2 is there in\n" +
        "both cases.",
      ],
      examples: ["mmsb log salvage data/flights --to data/flights-saved"],
      run: (call) => salvage(call, load),
    },
  ];
}

async function exportTo(call: Call, load: () => Promise<TransferTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  const path = call.text("to"), canonical = call.has("canonical");
  await requireFolder("DIR", directory);
  if (path === undefined) {
    const tools = await load();
    await withProgress((progress) =>
      tools.exportText(directory, writeLines, { canonical, progress })
    );
    return EXIT.done;
  }
  await requireFolderOf("--to", path);
  const tools = await load();
  const report = await withProgress((progress) =>
    tools.exportFile(directory, path, { canonical, progress })
  );
  const { ticks, rows, lines, bytes } = report;
  const counts = [counted(ticks, "tick"), counted(rows, "row"), counted(lines, "line")];
  const text = `${counts.join(", ")}, ${formatBytes(bytes)}`;
  writeStdout(call.has("json") ? json(report, 2) : `✓ exported: ${shown(path)}, ${text}\n`);
  return EXIT.done;
}

async function importFrom(call: Call, load: () => Promise<TransferTools>): Promise<ExitCode> {
  const [path] = call.operands;
  const target = targetOf(call, "log import", "DIR"), snapshot = call.text("snapshot");
  await requireFile("FILE", path);
  if (snapshot !== undefined) await requireFile("--snapshot", snapshot);
  const tools = await load();
  const report = await withProgress((progress) =>
    tools.importLog(path, target, { snapshot, progress })
  );
  const { form, frames, pages, deltas, ticks, bytes } = report;
  const text = `${form}, ${counted(frames, form.startsWith("JSON") ? "line" : "frame")}, ${
    formatBytes(bytes)
  }: ${counted(pages, "page")}, ${counted(deltas, "delta")}, last tick ${ticks}`;
  writeStdout(call.has("json") ? json(report, 2) : `✓ imported: ${shown(target)}, ${text}\n`);
  return EXIT.done;
}

async function salvage(call: Call, load: () => Promise<TransferTools>): Promise<ExitCode> {
  const [directory] = call.operands;
  const target = targetOf(call, "log salvage", "DIR2");
  await requireFolder("DIR", directory);
  const tools = await load();
  const report = await withProgress((progress) =>
    tools.salvageLog(directory, target, { progress })
  );
  writeStdout(call.has("json") ? json(report, 2) : salvageText(target, report));
  if (report.ok) return EXIT.done;
  const lost = report.ticksLost.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const found = `${counted(lost, "tick")} ${lost === 1 ? "is" : "are"} lost`;
  throw new MmsbError(
    "corrupt-log",
    `Cannot save all of the log of ${JSON.stringify(directory)} (${found}): what is whole is in ${
      JSON.stringify(target)
    }, take the rest from a backup`,
    { values: { directory, target, found } },
  );
}

function targetOf(call: Call, name: string, placeholder: string): string {
  const target = call.text("to");
  if (target !== undefined) return target;
  throw usage({ name }, `Missing --to: write --to ${placeholder}`);
}

/** Shows progress while something is done. */
async function withProgress<T>(work: (progress: (text: string) => void) => Promise<T>): Promise<T> {
  const progress = progressLine();
  try {
    return await work((text) => progress.update(text));
  } finally {
    progress.clear();
  }
}

/** Lines to standard output; a reader that has gone ends the export, a full disk is said as one. */
function writeLines(bytes: Uint8Array): boolean {
  try {
    return writeStdoutBytes(bytes);
  } catch (cause) {
    const code = (cause as { code?: string }).code === "ENOSPC" ? "disk-full" : "io";
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MmsbError(code, `Cannot write to standard output: ${reason}`, { cause });
  }
}

/** Pages and faults that the text lists. */
const LISTED_MAX = 1000;

function salvageText(target: string, report: SalvageReport): string {
  const { faults, ticksLost, pagesHurt, pagesLost, deltasLost, notes } = report;
  const lines = [
    ...faults.map(({ kind, file, offset, tick, message }) => {
      const place = placeText(file, offset, tick, message);
      return `${kind === "damage" ? "✗ damage" : "– torn tail"}: ${place}`;
    }),
    ...ticksLost.map((ticks) => `✗ lost: ${range("tick", ticks)}`),
    ...pagesHurt.map(({ page, name, epochs, ticks, repaired }) => {
      const again = repaired === undefined
        ? ""
        : ` (its bytes are right again at tick ${repaired})`;
      const called = name === undefined ? "" : ` ${shown(name)}`;
      return `✗ lost: page ${page}${called}: ${range("epoch", epochs)}, in ${
        range("tick", ticks)
      }${again}`;
    }),
    ...pagesLost.map(({ page, rows, ticks }) => {
      return `✗ lost: page ${page}: its birth, and so ${counted(rows, "delta")} in ${
        range("tick", ticks)
      }`;
    }),
  ];
  const more = lines.length - LISTED_MAX;
  return [
    ...lines.slice(0, LISTED_MAX),
    ...(more > 0 ? [`… and ${more} more: see --json`] : []),
    ...notes.slice(0, LISTED_MAX).map((note) => `– note: ${escaped(note)}`),
    `${report.ok ? "✓ saved all" : "✗ saved what is whole"}: ${shown(target)}, ${
      counted(report.ticks, "tick")
    }, ${counted(report.deltas, "delta")}, ${
      counted(report.pages, "page")
    }, last tick ${report.lastTick}${
      deltasLost === 0
        ? ""
        : `; at least ${counted(deltasLost, "delta")} ${deltasLost === 1 ? "is" : "are"} lost`
    }`,
  ].map((line) => `${line}\n`).join("");
}

function range(unit: string, { first, last }: SalvageRange): string {
  return first === last ? `${unit} ${first}` : `${unit}s ${first} to ${last}`;
}
