/**
 * A thread that validates a directory for a program that goes on with its own work: it is sent what to run, tells how
 * far it is, and answers with the report.
 */

import { MmsbError, type MmsbErrorJson, reasonOf } from "../base/mod.ts";
import { type MeasuredDevice, validators } from "../validators/mod.ts";
import { runBenchmarks, type RunReport } from "./runner.ts";
import { loadTargets } from "./targets.ts";

/** What to run. */
export interface ValidateTask {
  /** The directory; it is only read. */
  readonly directory: string;
  /** Numbers of the validators; all if left out. */
  readonly only?: readonly number[];
  /** Whether to do the short form. */
  readonly quick: boolean;
  /** Seed of everything random. */
  readonly seed: number;
  /** How often each runs. */
  readonly repeats: number;
  /** Path of a file with targets. */
  readonly targets?: string;
  /** URL of the module with rules and invariants. */
  readonly rules?: string;
  /** Milliseconds that one of them may take. */
  readonly ruleTimeoutMs?: number;
  /** Where the validators' buses work. */
  readonly device: MeasuredDevice;
  /** When it began. */
  readonly startedAt: Date;
}

/** What the thread says. */
export type ValidateMessage =
  | { readonly progress: string }
  | { readonly report: RunReport }
  | { readonly error: MmsbErrorJson | string };

interface WorkerScope {
  onmessage: ((event: MessageEvent<ValidateTask>) => void) | null;
  postMessage(message: ValidateMessage): void;
}

async function run(task: ValidateTask, progress: (text: string) => void): Promise<RunReport> {
  const { targets, rules, ruleTimeoutMs, ...options } = task;
  return await runBenchmarks({
    ...options,
    validators,
    targets: await loadTargets(targets),
    own: { rules, ruleTimeoutMs },
    progress,
  });
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }) => {
    run(data, (progress) => scope.postMessage({ progress })).then(
      (report) => scope.postMessage({ report }),
      (error) => {
        const plain = error instanceof MmsbError ? error.toJSON() : reasonOf(error);
        scope.postMessage({ error: plain });
      },
    );
  };
}
