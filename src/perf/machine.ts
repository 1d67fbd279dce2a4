/**
 * The machine and the versions behind a figure. A figure without them cannot be compared with
 * another, so every report that a program reads carries them. Nothing here names the machine or its
 * user.
 *
 * Cost: a few system calls; done once a run. Where a permission is missing, the field is absent.
 */

import { cpus } from "node:os";
import { VERSION } from "./version.ts";

/** What a run ran on. */
export interface Machine {
  /** Versions of MMSB and of what it runs on. */
  readonly versions: {
    /** This package. */
    readonly mmsb: string;
    /** The runtime. */
    readonly deno: string;
    /** The engine. */
    readonly v8: string;
    /** The compiler. */
    readonly typescript: string;
  };
  /** Operating system: `linux`, `darwin`, `windows`. */
  readonly os: string;
  /** Its release. */
  readonly osRelease?: string;
  /** Architecture: `x86_64`, `aarch64`. */
  readonly arch: string;
  /** Processor, by its maker's words. */
  readonly processor?: string;
  /** Logical cores that this process may use. */
  readonly cores: number;
  /** Physical memory, in bytes. */
  readonly memoryBytes?: number;
}

/**
 * Describes the machine.
 *
 * @returns What is known of it.
 *
 * @example Cores
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert(describeMachine().cores >= 1);
 * ```
 */
export function describeMachine(): Machine {
  return {
    versions: { mmsb: VERSION, ...Deno.version },
    os: Deno.build.os,
    osRelease: permitted(() => Deno.osRelease()),
    arch: Deno.build.arch,
    processor: permitted(() => cpus()[0]?.model),
    cores: navigator.hardwareConcurrency,
    memoryBytes: permitted(() => Deno.systemMemoryInfo().total),
  };
}

function permitted<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
