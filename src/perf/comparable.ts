/**
 * Which runs can be compared at all: timed figures of two machines differ for reasons that are no
 * news, a quick run does other work than a full one, and a run over a user's directory other work than
 * one over the validators' own.
 */

import type { Machine } from "./machine.ts";

/** A machine as far as timed figures follow from it, in words: equal words, comparable times. */
export function machineKind(machine: Pick<Machine, "os" | "arch" | "processor" | "cores">): string {
  const { os, arch, processor, cores } = machine;
  return `${processor ?? "unknown processor"}, ${cores} cores, ${os} ${arch}`;
}

/** The kind of work of a run, in words. */
export function workOf(run: Omit<ComparableRun, "machine">): string {
  const device = run.device === undefined ? "" : ` with device ${deviceKind(run.device)}`;
  if (run.directory !== undefined) {
    return `${run.quick ? "quick " : ""}run over ${JSON.stringify(run.directory)}${device}`;
  }
  return `${run.quick ? "quick run" : "full run"}${device}`;
}

/** A device as far as timed figures follow from it. */
function deviceKind({ asked, adapter }: NonNullable<ComparableRun["device"]>): string {
  return `${asked} (${adapter === undefined ? "no adapter" : adapter.name})`;
}

/** The work of a run with its seed, in words: equal words, the same work. */
export function workText(run: Omit<ComparableRun, "machine"> & { readonly seed: number }): string {
  return `${workOf(run)}${run.seed === 1 ? "" : ` with seed ${run.seed}`}`;
}

/**
 * Whether the figures of two runs stand on the same kind of machine and the same work.
 *
 * @param a One run.
 * @param b The other.
 * @returns Whether their timed figures can be compared.
 *
 * @example Charts leave out runs of other machines
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const machine = { os: "linux", arch: "x86_64", processor: "P", cores: 2 };
 * const run = { machine, quick: false };
 * assert(isComparable(run, run));
 * assert(!isComparable(run, { ...run, quick: true }));
 * assert(!isComparable(run, { ...run, machine: { ...machine, cores: 4 } }));
 * ```
 */
export function isComparable(a: ComparableRun, b: ComparableRun): boolean {
  return machineKind(a.machine) === machineKind(b.machine) && workOf(a) === workOf(b);
}

/** What decides whether runs can be compared. */
export interface ComparableRun {
  /** What it ran on. */
  readonly machine: Pick<Machine, "os" | "arch" | "processor" | "cores">;
  /** Whether it was a quick run. */
  readonly quick: boolean;
  /** The user's directory, where one was validated. */
  readonly directory?: string;
  /** The device, where one was asked for. */
  readonly device?: {
    readonly asked: string;
    readonly adapter?: { readonly name: string };
  };
}
