/**
 * Progress of a command that reads or moves a log: shown on a terminal only. Elsewhere standard error
 * holds nothing but what went wrong, so that a script can take any of it as a reason to look.
 */

import { Progress } from "../perf/mod.ts";
import { stderrIsTerminal, terminalColumns, writeStderr } from "./_platform.ts";

/** A progress line; silent where standard error is no terminal. */
export function progressLine(): Progress {
  const terminal = stderrIsTerminal();
  return new Progress({
    write: terminal ? writeStderr : () => {},
    terminal,
    columns: terminalColumns,
  });
}
