/**
 * The system calls under the command: streams, files, terminal. Thin, so that the rest of the folder
 * speaks of text and paths.
 *
 * Output is written whole and at once, as a process that ends right after must not lose its last
 * lines. A reader that has gone (`mmsb log query … | head`) is no error: writing says so, and whoever
 * has more to write stops.
 */

import { MmsbError } from "../base/errors.ts";

const encoder = new TextEncoder();

/** Writes bytes to a stream; `false` where nobody reads it any more. */
function writeTo(stream: { writeSync(bytes: Uint8Array): number }, all: Uint8Array): boolean {
  let bytes = all;
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw error;
  }
}

/** Writes to standard output; `false` where nobody reads it any more. */
export function writeStdout(text: string): boolean {
  return writeTo(Deno.stdout, encoder.encode(text));
}

/** Writes bytes to standard output; `false` where nobody reads it any more. */
export function writeStdoutBytes(bytes: Uint8Array): boolean {
  return writeTo(Deno.stdout, bytes);
}

/** Writes to standard error. */
export function writeStderr(text: string): void {
  writeTo(Deno.stderr, encoder.encode(text));
}

/** Columns of the terminal that standard output is; nothing where it is none. */
export function stdoutColumns(): number | undefined {
  return Deno.stdout.isTerminal() ? terminalColumns() : undefined;
}

/** Whether standard output is a terminal that takes colour, and the user wants it. */
export function stdoutTakesColour(): boolean {
  // `Deno.noColor` is the variable NO_COLOR, readable without a permission.
  return Deno.stdout.isTerminal() && !Deno.noColor && variable("TERM") !== "dumb";
}

/** Whether a line on standard error can be written over. */
export function stderrIsTerminal(): boolean {
  return Deno.stderr.isTerminal() && variable("TERM") !== "dumb";
}

/** Columns of the terminal; 80 where there is none. */
export function terminalColumns(): number {
  try {
    // A terminal that does not know its width says 0.
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

function variable(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) : undefined;
}

/** Refuses a path that is no folder; `flag` says where it came from. */
export async function requireFolder(flag: string, path: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(path);
  } catch (cause) {
    throw unusable(flag, path, cause);
  }
  if (!info.isDirectory) throw unusable(flag, path, "it is no folder");
}

/** Refuses a path where a folder is to be made and something else stands. */
export async function requireNoFile(flag: string, path: string): Promise<void> {
  try {
    if ((await Deno.stat(path)).isDirectory) return;
  } catch (cause) {
    // What is not there yet is made when it is needed; of what this user may not see a warning says so then.
    if (!(cause instanceof Error && "code" in cause && cause.code === "ENOTDIR")) return;
    throw unusable(flag, path, cause);
  }
  throw unusable(flag, path, "it is no folder");
}

/** Refuses a path that is no file; `flag` says where it came from. */
export async function requireFile(flag: string, path: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(path);
  } catch (cause) {
    throw unusable(flag, path, cause);
  }
  if (info.isDirectory) throw unusable(flag, path, "it is a folder");
}

/** Refuses a file that cannot be written for want of its folder, before work is done for it. */
export async function requireFolderOf(flag: string, path: string): Promise<void> {
  const folder = path.replace(/[/\\]?[^/\\]*$/, "") || (/^[/\\]/.test(path) ? "/" : ".");
  await requireFolder(flag, folder);
  const info = await Deno.stat(path).catch(() => undefined);
  if (info?.isDirectory) throw unusable(flag, path, "it is a folder, give a file");
}

/** Writes a file whole. */
export async function writeFile(path: string, text: string): Promise<void> {
  try {
    await Deno.writeTextFile(path, text);
  } catch (cause) {
    const code = (cause as { code?: string }).code === "ENOSPC" ? "disk-full" : "io";
    throw new MmsbError(code, `Cannot write ${JSON.stringify(path)}: ${messageOf(cause)}`, {
      values: { path },
      cause,
    });
  }
}

/** A file that is gone when its block ends. */
export interface TemporaryFile extends Disposable {
  /** Where it is. */
  readonly path: string;
  /** What stands in it. */
  read(): string;
}

/** Makes an empty file that is gone when its block ends. */
export function temporaryFile(prefix: string): TemporaryFile {
  const path = Deno.makeTempFileSync({ prefix });
  return {
    path,
    read: () => Deno.readTextFileSync(path),
    [Symbol.dispose]: () => Deno.removeSync(path),
  };
}

/**
 * Runs this runtime in a process of its own, with this one's streams; Ctrl-C is left to it.
 *
 * @returns Its exit code.
 */
export async function runProgram(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const ignore = () => {};
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env,
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  Deno.addSignalListener("SIGINT", ignore);
  try {
    return (await child.status).code;
  } finally {
    Deno.removeSignalListener("SIGINT", ignore);
  }
}

/** A module's place as a path below the working folder, where it is there. */
export function shortPlace(place: string): string {
  const folder = `file://${Deno.cwd()}/`;
  return place.startsWith(folder) ? place.slice(folder.length) : place.replace(/^file:\/\//, "");
}

function unusable(flag: string, path: string, why: unknown): MmsbError {
  const reason = typeof why === "string" ? why : reasonOf(why);
  return new MmsbError("usage", `Cannot use ${JSON.stringify(path)} as ${flag}: ${reason}`, {
    values: { flag, path },
    cause: typeof why === "string" ? undefined : why,
  });
}

/** What the system says, in words of ours where it is plain. */
function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.NotADirectory) return "a part of the path is no folder";
  if (error instanceof Deno.errors.PermissionDenied) return "the system does not let it be read";
  return messageOf(error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Calls back at Ctrl-C, in place of ending the process, until it is disposed of. */
export function onInterrupt(call: () => void): Disposable {
  Deno.addSignalListener("SIGINT", call);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", call) };
}
