/**
 * Reading a text file whole, with a limit on its size: a folder or a core dump given by mistake is
 * refused with what is wrong, not read into memory.
 */

import { MmsbError } from "../base/errors.ts";

/**
 * Reads a file.
 *
 * @param what What is read, for messages: `targets`.
 * @param path The file.
 * @param bytesMax Largest size.
 * @returns Its text.
 * @throws {MmsbError} `usage` where it cannot be read or is larger.
 */
export async function readText(what: string, path: string, bytesMax: number): Promise<string> {
  try {
    const { size, isDirectory } = await Deno.stat(path);
    if (isDirectory) throw unreadable(what, path, "it is a folder, give a file");
    if (size > bytesMax) {
      throw unreadable(what, path, `it has ${size} bytes, such a file has at most ${bytesMax}`);
    }
    return await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof MmsbError) throw cause;
    const reason = cause instanceof Deno.errors.NotFound
      ? "there is no such file"
      : cause instanceof Error
      ? cause.message
      : String(cause);
    throw unreadable(what, path, reason, cause);
  }
}

function unreadable(what: string, path: string, reason: string, cause?: unknown): MmsbError {
  return new MmsbError("usage", `Cannot read ${what} from ${JSON.stringify(path)}: ${reason}`, {
    values: { path },
    ...(cause === undefined ? {} : { cause }),
  });
}
