/** What the examples that begin anew do with their directory: only one that a bus has made is emptied. */

/**
 * Removes the directory of an earlier run.
 *
 * @throws {Error} Where the directory holds anything else.
 */
export async function removeOldRun(dir: string): Promise<void> {
  const entries = await Array.fromAsync(Deno.readDir(dir)).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  });
  const known = /^(meta\.json|device\.json|lock|arena|checkpoints|archive|lane-\d+)$/;
  const other = entries.find(({ name }) => !known.test(name));
  if (other !== undefined) {
    throw new Error(`Cannot begin anew in ${dir}, where "${other.name}" is: give another --dir`);
  }
  if (entries.length > 0) await Deno.remove(dir, { recursive: true });
}
