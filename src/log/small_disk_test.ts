/** A disk of 1 MiB for tests: a file system in memory, mounted for one test. */

import assert from "node:assert/strict";

/** Whether this process may do everything. */
export const ROOT: boolean = Deno.build.os === "linux" && Deno.uid() === 0;

/** Whether a command ran and ended well. */
export async function succeeds(command: string, ...args: string[]): Promise<boolean> {
  try {
    const options = { args, stdout: "null", stderr: "null" } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}

/** A small file system of its own, in memory. */
async function mountDisk(): Promise<({ path: string } & AsyncDisposable) | undefined> {
  const path = Deno.makeTempDirSync({ prefix: "mmsb-disk-" });
  if (!await succeeds("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path)) {
    Deno.removeSync(path);
    return undefined;
  }
  return {
    path,
    async [Symbol.asyncDispose](): Promise<void> {
      // Lazily, as a test that failed may have left a file open.
      assert(await succeeds("umount", "--lazy", path));
      Deno.removeSync(path);
    },
  };
}

async function canMount(): Promise<boolean> {
  if (!ROOT) return false;
  await using disk = await mountDisk();
  return disk !== undefined;
}

/** Without the right to mount these tests cannot run; in CI as root that is a failure, not a skip. */
const MOUNT_SKIPPED = !(await canMount()) && !(ROOT && Deno.env.get("CI") === "true");

/** Defines a test that gets the path of a disk of 1 MiB. */
export function testOnDisk(name: string, check: (path: string) => Promise<void>): void {
  const reason = MOUNT_SKIPPED ? " (skipped: only root may mount a small disk)" : "";
  Deno.test({
    name: name + reason,
    ignore: MOUNT_SKIPPED,
    async fn(): Promise<void> {
      await using disk = await mountDisk();
      assert(disk !== undefined, "Cannot mount a tmpfs as root: give the container CAP_SYS_ADMIN");
      await check(disk.path);
    },
  });
}
