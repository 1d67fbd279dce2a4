/**
 * What workers ask of the system: to stay on one core. All else is the same on every platform.
 */

const MASK_WORDS = 16;

/**
 * Keeps the calling thread on one core.
 *
 * @returns Why not, where that cannot be had; nothing is changed then.
 */
export function pinThread(core: number): string | undefined {
  const unavailable = pinningUnavailable();
  if (unavailable !== undefined) return unavailable;
  if (core < 0 || core >= 64 * MASK_WORDS) return `there is no core ${core}`;
  try {
    const library = Deno.dlopen("libc.so.6", {
      sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
    });
    try {
      const mask = new BigUint64Array(MASK_WORDS);
      mask[core >> 6] = 1n << BigInt(core & 63);
      const bytes = new Uint8Array(mask.buffer);
      // 0 is the calling thread, not its process.
      const failed = library.symbols.sched_setaffinity(0, BigInt(bytes.length), bytes) !== 0;
      return failed ? `the system refused core ${core}` : undefined;
    } finally {
      library.close();
    }
  } catch (error) {
    return `the system's library cannot be called (${(error as Error).message})`;
  }
}

/** Why threads cannot be pinned here, in words. */
export function pinningUnavailable(): string | undefined {
  if (Deno.build.os !== "linux") return `threads cannot be pinned on ${Deno.build.os}`;
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  return state === "granted" ? undefined : "pinning threads needs --allow-ffi";
}

/** Cores that this process may use. */
export function coreCount(): number {
  return globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Why a module cannot be loaded by a worker, in words. */
export function workerUnavailable(module: URL): string | undefined {
  if (module.protocol !== "file:") return undefined;
  const { state } = Deno.permissions.querySync({ name: "read", path: module });
  return state === "granted" ? undefined : `workers need --allow-read for ${module.pathname}`;
}
