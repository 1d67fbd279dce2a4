/**
 * What goes by port between coordinators and the GPU thread, and what a thread is started with.
 *
 * News go to the thread in their order and are counted in the control block, so it knows how many it has still to
 * read; answers come back by the same port.
 */

import type { MessagePort } from "node:worker_threads";
import { isMmsbError, MmsbError, type MmsbErrorJson, reasonOf } from "../../base/mod.ts";
import type { GpuAdapterReport } from "./_adapter.ts";
import type { SelfTestReport } from "./selftest.ts";

/** Something that is asked of the thread between jobs; structured clones go both ways. */
export interface GpuAsk {
  /** Which handler answers. */
  readonly kind: string;
  /** What the handler reads. */
  readonly [key: string]: unknown;
}

/** News for the thread. */
export type ThreadNews =
  /** Memory that jobs name; taken back where there is none. */
  | {
    readonly kind: "buffer";
    readonly number: number;
    readonly buffer: SharedArrayBuffer | undefined;
  }
  /** An arena; taken back where there is none. */
  | { readonly kind: "arena"; readonly number: number; readonly arena: ArenaNews | undefined }
  /** A question; `key` has it asked again of each new device. */
  | {
    readonly kind: "ask";
    readonly id: number;
    readonly message: GpuAsk;
    readonly key: string | undefined;
  }
  /** A question that is not to be asked again. */
  | { readonly kind: "drop"; readonly key: string };

/** An arena, as it goes to the thread. */
export interface ArenaNews {
  /** Its memory. */
  readonly buffer: SharedArrayBuffer;
  /** Bytes it may grow to. */
  readonly limitBytes: number;
}

/** The answer to a question. */
export interface ThreadAnswer {
  /** The question's number. */
  readonly id: number;
  /** What was answered. */
  readonly answer?: unknown;
  /** Why there is no answer. */
  readonly error?: MmsbErrorJson;
}

/** What a thread is given when it starts. */
export interface ThreadStart {
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** Where news come, and answers go. */
  readonly port: MessagePort;
  /** Number of its first device. */
  readonly generation: number;
  /** Arenas by their numbers. */
  readonly arenas: readonly (readonly [number, ArenaNews])[];
  /** Questions that each new device is asked. */
  readonly kept: readonly (readonly [string, GpuAsk])[];
  /** What tests make of it: a machine without an adapter, or with a slow driver. */
  readonly trial: ThreadTrial;
}

/** How a thread differs from what it is on this machine, for tests. */
export interface ThreadTrial {
  /** Whether it finds no adapter. */
  readonly hasNoGpu?: boolean;
  /** Whether its kernels are taken to be right. */
  readonly hasNoSelfTest?: boolean;
  /** Milliseconds that each opening of a device takes longer. */
  readonly slowMs?: number;
  /** Openings of a device after the first that fail. */
  readonly failedOpenings?: number;
  /** A module that is loaded first: it may add handlers, or fail. */
  readonly module?: string;
}

/** What a thread says of itself. */
export interface ThreadReport {
  /** Why it is in its state, in words; empty where all is well. */
  readonly reason: string;
  /** The adapter, once one was found. */
  readonly adapter?: GpuAdapterReport;
  /** What the self-test of the present device found. */
  readonly selfTest?: SelfTestReport;
  /** Milliseconds from the start of the opening of the present device to its end. */
  readonly openMs: number;
  /** Devices that it has lost. */
  readonly devicesLost: number;
}

/** Longest text of an error that goes to another thread, in characters. */
const TEXT_CHARACTERS_MAX = 2000;

/** What was thrown, as it goes to another thread; what is no `MmsbError` becomes one with code `gpu`. */
export function plainError(what: string, thrown: unknown): MmsbErrorJson {
  const error = isMmsbError(thrown)
    ? thrown
    : new MmsbError("gpu", `Cannot ${what} on the GPU: ${cut(reasonOf(thrown))}`, {
      values: { stack: thrown instanceof Error ? cut(String(thrown.stack)) : undefined },
    });
  const json = error.toJSON();
  try {
    if (JSON.stringify(json).length < 16 * TEXT_CHARACTERS_MAX) return json;
  } catch {
    // Values that JSON cannot say.
  }
  return { ...json, message: cut(json.message), values: {}, cause: undefined };
}

function cut(text: string): string {
  return text.length <= TEXT_CHARACTERS_MAX ? text : `${text.slice(0, TEXT_CHARACTERS_MAX)}…`;
}
