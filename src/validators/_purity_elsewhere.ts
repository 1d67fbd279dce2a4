/**
 * Runs rules and folds of validator 4 in another thread: a worker that is sent a task and answers with what came
 * out.
 */

import { columnOf, foldText } from "./_purity_folds.ts";
import { plantedRules, PURE, SEMIRINGS } from "./_purity_subjects.ts";
import { runSubject } from "./_purity_work.ts";
import { addToRun, deviceOfRun, onDevice } from "./device_run.ts";
import type { DeviceCounts, MeasuredDevice } from "./validator.ts";

/** What to run. */
export interface PurityTask {
  /** Names of rules. */
  readonly rules: readonly string[];
  /** Rounds of changes. */
  readonly rounds: number;
  /** Seed of everything random. */
  readonly seed: number;
  /** Where the buses work; that of the run around whoever asks, if left out. */
  readonly device?: MeasuredDevice;
}

/** What came out. */
export interface PurityAnswer {
  /** Outputs by rule. */
  readonly outputs: Readonly<Record<string, readonly string[]>>;
  /** Folds by semiring. */
  readonly folds: Readonly<Record<string, string>>;
  /** What ran on a GPU. */
  readonly counts: DeviceCounts;
}

interface WorkerScope {
  onmessage: ((event: MessageEvent<PurityTask>) => void) | null;
  postMessage(message: unknown): void;
}

/** Runs a task. */
async function answer(task: PurityTask): Promise<PurityAnswer> {
  const { value, counts } = await onDevice(task.device ?? "cpu", () => resultsOf(task));
  return { ...value, counts };
}

async function resultsOf(
  { rules, rounds, seed }: PurityTask,
): Promise<Omit<PurityAnswer, "counts">> {
  const outputs: Record<string, readonly string[]> = {};
  for (const subject of [...PURE, ...plantedRules()]) {
    if (rules.includes(subject.name)) {
      outputs[subject.name] = await runSubject(subject, { rounds, seed });
    }
  }
  const folds = SEMIRINGS.map((ring) => [ring.name, foldText(ring, columnOf(ring, seed))]);
  return { outputs, folds: Object.fromEntries(folds) };
}

/** Has another thread run a task. */
export async function runElsewhere(task: PurityTask): Promise<PurityAnswer> {
  const worker = new Worker(import.meta.url, { type: "module" });
  try {
    const answer = await new Promise<PurityAnswer>((resolve, reject) => {
      worker.onmessage = ({ data }) =>
        data.error === undefined ? resolve(data) : reject(new Error(data.error));
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      worker.postMessage({ device: deviceOfRun(), ...task });
    });
    addToRun(answer.counts);
    return answer;
  } finally {
    worker.terminate();
  }
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }) => {
    answer(data).then(
      (message) => scope.postMessage(message),
      (error) => scope.postMessage({ error: String(error) }),
    );
  };
}
