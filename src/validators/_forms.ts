/**
 * Forms of replay: the same log replayed in this thread, from a checkpoint, in a worker thread, in
 * another process. Each gives its whole state, so that the bytes themselves are compared and not only what stands for them.
 *
 * A replay stops at a given tick, so that a directory which another process is writing gives the
 * same state to all of them.
 */

import { MEMORY_LIMIT_BYTES_DEFAULT, MmsbError, type MmsbErrorJson } from "../base/mod.ts";
import { FileStorage, readMeta, recover, type RecoveryStart } from "../log/mod.ts";
import { PageStore } from "../physical/mod.ts";
import {
  type BusState,
  bytesIn,
  decodeState,
  digestOf,
  encodeState,
  stateOfStore,
} from "./_state.ts";

/** What is to be replayed. */
export interface ReplayTask {
  /** The directory; it is only read. */
  readonly directory: string;
  /** Last tick to replay. */
  readonly tick: number;
}

/** What a replay gave. */
export interface Replayed {
  /** Last tick that was replayed. */
  readonly tick: number;
  /** Deltas. */
  readonly rows: number;
  /** Tick of the checkpoint that it began with, if it did. */
  readonly checkpoint?: number;
  /** SHA-256 over all pages in order of their ids, with their epochs. */
  readonly digest: string;
  /** The state; absent where it is too large to be carried from where it was made. */
  readonly state?: BusState;
}

/** A replay as it comes from another thread or process. */
export type ReplayMessage =
  | {
    readonly tick: number;
    readonly rows: number;
    readonly digest: string;
    readonly bytes: number;
  }
  | { readonly error: MmsbErrorJson | string };

/** States of up to this many bytes are carried from other threads and processes. */
export const CARRIED_BYTES_MAX: number = 64 * 2 ** 20;

/** The form that needs a checkpoint in the directory. */
export const FROM_CHECKPOINT = "from a checkpoint and the tail";

/** The form that needs the right to start a process. */
export const IN_A_PROCESS = "in another process";

/** The forms, by what a reader of the report calls them. */
export const FORMS: Readonly<Record<string, (task: ReplayTask) => Promise<Replayed>>> = {
  "from the start": async (task) => await replay(task),
  [FROM_CHECKPOINT]: async (task) => await replay(task, "newest"),
  "a second time": async (task) => await replay(task),
  "in a worker thread": replayInWorker,
  [IN_A_PROCESS]: replayInProcess,
};

/**
 * Replays in this thread.
 *
 * @param start Where to begin: as early as the log goes, or with the newest checkpoint.
 */
export function replay(
  { directory, tick: last }: ReplayTask,
  start: RecoveryStart = "earliest",
): Replayed {
  const storage = new FileStorage(directory), store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT);
  const { tick, rows, checkpoint } = recover(storage, readMeta(storage), store, last, start);
  const state = stateOfStore(store);
  return { tick, rows, checkpoint: checkpoint?.tick, digest: digestOf(state), state };
}

/** Replays for another thread or process: what to tell it, and the state if it can be carried. */
export function replayToCarry(
  task: ReplayTask,
): { message: ReplayMessage; carried: Uint8Array<ArrayBuffer> } {
  const none = new Uint8Array(0);
  try {
    const { tick, rows, digest, state } = replay(task);
    const carried = bytesIn(state!) <= CARRIED_BYTES_MAX ? encodeState(state!) : none;
    return { message: { tick, rows, digest, bytes: carried.length }, carried };
  } catch (error) {
    const plain = error instanceof MmsbError ? error.toJSON() : String(error);
    return { message: { error: plain }, carried: none };
  }
}

const ELSEWHERE = new URL("./_replay_elsewhere.ts", import.meta.url);

async function replayInWorker(task: ReplayTask): Promise<Replayed> {
  const worker = new Worker(ELSEWHERE, { type: "module" });
  try {
    const { promise, resolve, reject } = Promise.withResolvers<[ReplayMessage, Uint8Array]>();
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`the worker failed: ${event.message}`));
    };
    worker.postMessage(task);
    return received(...await promise);
  } finally {
    worker.terminate();
  }
}

async function replayInProcess({ directory, tick }: ReplayTask): Promise<Replayed> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", ELSEWHERE.href, directory, String(tick)],
    stdin: "null",
  }).output();
  const end = stdout.indexOf(10);
  if (code !== 0 || end < 0) {
    throw new Error(`the process ended with ${code}: ${new TextDecoder().decode(stderr).trim()}`);
  }
  const message = JSON.parse(new TextDecoder().decode(stdout.subarray(0, end)));
  return received(message, stdout.slice(end + 1));
}

function received(message: ReplayMessage, carried: Uint8Array): Replayed {
  if ("error" in message) {
    const { error } = message;
    throw typeof error === "string" ? new Error(error) : MmsbError.fromJSON(error);
  }
  const { tick, rows, digest, bytes } = message;
  if (bytes !== carried.length) throw new Error(`${carried.length} of ${bytes} bytes arrived`);
  return { tick, rows, digest, ...(bytes === 0 ? {} : { state: decodeState(carried) }) };
}
