/**
 * The report files that `mmsb validate` and `mmsb report` write: the same flags, the same checks before
 * the work begins, the same writers.
 *
 * A history that cannot be read is no reason to lose a report of a minute's work: the page says so.
 */

import { isMmsbError } from "../base/errors.ts";
import {
  baselineReport,
  EXIT,
  jsonReport,
  junitReport,
  type Machine,
  markdownReport,
  parseResult,
  readHistory,
  type RunReport,
  type StoredResult,
} from "../perf/mod.ts";
import { type Call, type Command, type Flag, usage } from "./_command.ts";
import { requireFolderOf, writeFile, writeStderr, writeStdout } from "./_platform.ts";

/** Stands for standard output in place of a file. */
const STDOUT = "-";

/** The flags that both commands have; `baseline` is one of `mmsb validate` alone. */
export const REPORT_FLAGS: Readonly<Record<string, Flag>> = {
  json: { value: "FILE", help: "write the report as JSON; - is standard output" },
  junit: { value: "FILE", help: "write the report as JUnit XML; - is standard output" },
  markdown: { value: "FILE", help: "write the report as Markdown; - is standard output" },
  html: { value: "FILE", help: "write the report as one HTML page, with charts of the history" },
};

/** A run, and where its history is. */
interface Source {
  readonly report: RunReport;
  readonly machine: Machine;
  /** The folder of earlier results. */
  readonly history: string;
}

const WRITERS: Readonly<Record<string, (source: Source) => string | Promise<string>>> = {
  json: ({ report, machine }) => jsonReport(report, machine),
  junit: ({ report }) => junitReport(report),
  markdown: ({ report }) => markdownReport(report),
  html: writeHtml,
  baseline: ({ report, machine }) => baselineReport(report, machine),
};

/** A report that was asked for. */
export interface ReportFile {
  /** Its form. */
  readonly flag: string;
  /** Where it goes. */
  readonly path: string;
}

/** Reads which reports a call asks for, and refuses those that could not be written. */
export async function reportFilesOf(command: Command, call: Call): Promise<readonly ReportFile[]> {
  const files = Object.keys(WRITERS).flatMap((flag) => {
    const path = call.text(flag);
    return path === undefined ? [] : [{ flag, path }];
  });
  if (new Set(files.map(({ path }) => path)).size < files.length) {
    throw usage(command, "Cannot write two reports to one file");
  }
  for (const { flag, path } of files) {
    if (path !== STDOUT) await requireFolderOf(`--${flag}`, path);
  }
  return files;
}

/** Whether one of the reports goes to standard output, which is then for it alone. */
export function isPiped(files: readonly ReportFile[]): boolean {
  return files.some(({ path }) => path === STDOUT);
}

/** Writes the reports. */
export async function writeReports(files: readonly ReportFile[], source: Source): Promise<void> {
  for (const { flag, path } of files) {
    if (flag === "baseline" && source.report.exitCode !== EXIT.done) {
      writeStderr("mmsb: warning: No baseline is written as not all that ran has passed\n");
      continue;
    }
    const text = await WRITERS[flag](source);
    if (path === STDOUT) writeStdout(text);
    else await writeFile(path, text);
  }
}

async function writeHtml({ report, machine, history }: Source): Promise<string> {
  // The page and what it draws with are loaded only where one is asked for.
  const { htmlReport } = await import("../perf/report_html.ts");
  const warnings: string[] = [];
  let earlier: readonly StoredResult[] = [];
  try {
    earlier = await readHistory(history, { warn: (warning) => warnings.push(warning) });
  } catch (error) {
    if (!isMmsbError(error)) throw error;
    warnings.push(error.message);
  }
  const result = parseResult(jsonReport(report, machine), "this run");
  return await htmlReport(result, { history: earlier, warnings });
}
