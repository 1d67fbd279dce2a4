/**
 * `mmsb report`: the reports of a run that is over, from its result: the terminal's, and the files that
 * `mmsb validate` could have written, so that nothing has to run again for a page.
 */

import { EXIT, type ExitCode, readResult, terminalReport } from "../perf/mod.ts";
import type { Call, Command } from "./_command.ts";
import {
  requireFolder,
  stdoutColumns,
  stdoutTakesColour,
  writeStderr,
  writeStdout,
} from "./_platform.ts";
import { isPiped, REPORT_FLAGS, reportFilesOf, writeReports } from "./_reports.ts";

/**
 * The command `report`.
 *
 * @returns The command.
 */
export function reportCommand(): Command {
  const command: Command = {
    name: "report",
    summary: "print and convert the report of an earlier run",
    operands: ["RESULT"],
    flags: {
      ...REPORT_FLAGS,
      history: {
        value: "DIR",
        help: "earlier results for the charts; the history beside RESULT if left out",
      },
    },
    details: [
      "RESULT is a file that mmsb validate has written: results/latest.json, one of\n" +
      "results/history, or that of --json. The exit code is 0 whatever the run's outcome was.",
    ],
    examples: [
      "mmsb report results/latest.json",
      "mmsb report results/latest.json --html report.html",
    ],
    run: (call) => run(command, call),
  };
  return command;
}

async function run(command: Command, call: Call): Promise<ExitCode> {
  const [path] = call.operands;
  const files = await reportFilesOf(command, call);
  const given = call.text("history");
  if (given !== undefined) await requireFolder("--history", given);
  const result = await readResult(path);
  if (isPiped(files)) writeStderr(terminalReport(result));
  else {writeStdout(
      terminalReport(result, { colour: stdoutTakesColour(), columns: stdoutColumns() }),
    );}
  await writeReports(files, {
    report: result,
    machine: result.machine,
    history: given ?? historyBeside(path),
  });
  return EXIT.done;
}

/** `results/history`, for a file of `results` as for one of the history itself. */
function historyBeside(path: string): string {
  const folder = path.replace(/[/\\]?[^/\\]*$/, "") || (/^[/\\]/.test(path) ? "/" : ".");
  return /(^|[/\\])history$/.test(folder) ? folder : `${folder}/history`;
}
