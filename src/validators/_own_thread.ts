/**
 * Has another thread run a user's module, and ends it where the module does not come to an end.
 *
 * Cost: a thread, which loads the module anew each time.
 */

import { MmsbError } from "../base/mod.ts";
import type { InvariantsVerdict } from "./_own_asked.ts";
import type { DeviceVerdict } from "./_own_device.ts";
import type { RulesVerdict } from "./_own_rules.ts";
import type { OwnMessage, OwnTask } from "./_own_rules_worker.ts";
import { addToRun } from "./device_run.ts";

/** Milliseconds that a rule, an invariant or the loading of a module may take, if nothing else is said. */
export const OWN_TIMEOUT_MS: number = 10_000;

/** What a thread found. */
export interface OwnVerdict {
  readonly rules?: RulesVerdict;
  /** Of rules in WGSL beside their twins, where a device was asked for. */
  readonly onDevice?: DeviceVerdict;
  readonly invariants?: InvariantsVerdict;
}

/**
 * Runs a task.
 *
 * @throws {MmsbError} `usage` where the module cannot be used, `rule` where it does not come to an end.
 */
export async function runInThread(
  own: Omit<OwnTask, "device"> & Partial<Pick<OwnTask, "device">>,
  { timeoutMs, progress }: {
    readonly timeoutMs: number;
    readonly progress: (text: string) => void;
  },
): Promise<OwnVerdict> {
  const task: OwnTask = { device: "cpu", ...own };
  const worker = new Worker(new URL("./_own_rules_worker.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<OwnMessage>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  worker.onmessage = ({ data }: MessageEvent<OwnMessage>) => {
    clearTimeout(timer);
    if (!("progress" in data)) return resolve(data);
    progress(data.progress);
    const { running } = data;
    if (running === undefined) return;
    timer = setTimeout(() => reject(neverEnds(task, running, timeoutMs)), timeoutMs);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(
      new MmsbError("usage", `Cannot use the rules of ${task.module}: ${event.message}`, {
        values: { module: task.module },
      }),
    );
  };
  try {
    worker.postMessage(task);
    const message = await promise;
    if (!("error" in message)) {
      if ("counts" in message) addToRun(message.counts);
      return message as OwnVerdict;
    }
    const { error } = message;
    throw typeof error === "string" ? new MmsbError("rule", error) : MmsbError.fromJSON(error);
  } finally {
    clearTimeout(timer);
    worker.terminate();
  }
}

function neverEnds({ module, what }: OwnTask, name: string, timeoutMs: number): MmsbError {
  const one = name === "the module" ? name : `${what === "rules" ? "rule" : "invariant"} "${name}"`;
  return new MmsbError(
    "rule",
    `Cannot wait for ${one} of ${module}: it was not done after ${timeoutMs} ms; give it longer with --rule-timeout-ms, or end its loop`,
    { values: { module, name, timeoutMs } },
  );
}
