/**
 * Results on disk: `latest.json`, and `history/<time>.json` for charts and comparisons. Each file is
 * written beside its place and moved there, so that a reader never sees half of one.
 *
 * A folder that cannot be written (a read-only checkout, a permission not given) is no failure of
 * what was validated: it is a warning. Other errors, such as a full disk, are thrown.
 */

import { MmsbError } from "../base/errors.ts";

/** What became of {@linkcode writeResults}. */
export interface WrittenResults {
  /** The files that were written. */
  readonly paths: readonly string[];
  /** Why there are none, in one sentence, where the folder is read-only. */
  readonly warning?: string;
}

/**
 * Writes a result as the latest one and into the history.
 *
 * @param folder The folder; it is made where it does not exist.
 * @param json The result, as {@linkcode jsonReport} writes it.
 * @param startedAt When the run began; names the file in the history.
 * @returns The files written, or a warning.
 * @throws {MmsbError} `disk-full` or `io` where the system refuses for another reason than
 * permission.
 */
export async function writeResults(
  folder: string,
  json: string,
  startedAt: Date,
): Promise<WrittenResults> {
  // No colons: Windows does not take them in a name.
  const time = startedAt.toISOString().replaceAll(":", "-");
  const paths = [`${folder}/history/${time}.json`, `${folder}/latest.json`];
  try {
    await Deno.mkdir(`${folder}/history`, { recursive: true });
    for (const path of paths) {
      const temporary = `${path}.${Deno.pid}.tmp`;
      await Deno.writeTextFile(temporary, json);
      await Deno.rename(temporary, path);
    }
    return { paths };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const place = JSON.stringify(folder);
    if (isReadOnly(cause)) {
      return {
        paths: [],
        warning: `Results are not kept as ${place} cannot be written: ${reason}`,
      };
    }
    const code = codeOf(cause) === "ENOSPC" ? "disk-full" : "io";
    throw new MmsbError(code, `Cannot write results to ${place}: ${reason}`, {
      values: { folder },
      cause,
    });
  }
}

function isReadOnly(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied ||
    error instanceof Deno.errors.NotCapable || codeOf(error) === "EROFS";
}

function codeOf(error: unknown): string | undefined {
  return (error as { code?: string } | undefined)?.code;
}
