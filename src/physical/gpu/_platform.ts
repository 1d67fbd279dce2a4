/**
 * What the device layer asks of the runtime: its WebGPU, its version, its cores, and whether a thread can load its
 * module. Nothing else in this folder knows Deno. A runtime without one of these, or one that is not Deno, answers with
 * `undefined` or the least; nobody is asked for a permission. Costs nothing: looking at `navigator.gpu` loads no driver.
 */

/** The WebGPU of this runtime; `undefined` where it has none. */
export function runtimeGpu(): GPU | undefined {
  return typeof navigator === "undefined" ? undefined : navigator.gpu as GPU | undefined;
}

/** The version of Deno; `undefined` in another runtime. */
export function denoVersion(): string | undefined {
  return typeof Deno === "undefined" ? undefined : Deno.version.deno;
}

/** Cores that this process may use. */
export function coreCount(): number {
  return globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Why a thread cannot load its module, in words. */
export function threadUnavailable(module: URL): string | undefined {
  if (module.protocol !== "file:" || typeof Deno === "undefined") return undefined;
  const { state } = Deno.permissions.querySync({ name: "read", path: module });
  return state === "granted" ? undefined : `its thread needs --allow-read for ${module.pathname}`;
}
