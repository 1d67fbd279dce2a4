/** A real file system of some MiB in memory, where this process may mount one. */

/** A mounted disk. */
export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Mounts it again so that it can be written, or not. */
  allowWriting(allow: boolean): Promise<boolean>;
}

/** Mounts a disk; nothing where that is not allowed. */
export async function mountSmallDisk(mebibytes: number): Promise<SmallDisk | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return undefined;
  const path = await Deno.makeTempDir({ prefix: "mmsb-disk-" });
  if (!await succeeds("mount", "-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", path)) {
    await Deno.remove(path);
    return undefined;
  }
  return {
    path,
    allowWriting: (allow) => succeeds("mount", "-o", `remount,${allow ? "rw" : "ro"}`, path),
    async [Symbol.asyncDispose](): Promise<void> {
      // Lazily, as a run that failed may have left a file open.
      if (!await succeeds("umount", "--lazy", path)) throw new Error(`Cannot unmount ${path}`);
      await Deno.remove(path);
    },
  };
}

async function succeeds(command: string, ...args: string[]): Promise<boolean> {
  try {
    const options = { args, stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}
