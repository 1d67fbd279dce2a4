/**
 * A thread that loads a user's module and runs what it exports over a directory: rules, or invariants. It is sent one
 * task, tells which rule or invariant it is about to run, and answers with what was found.
 *
 * The code is the user's: it may throw, wait for ever, or never end. Whoever started the thread ends it then.
 */

import { MmsbError, type MmsbErrorJson, reasonOf } from "../base/mod.ts";
import { busOver } from "../bus/mod.ts";
import { FileStorage } from "../log/mod.ts";
import { checkInvariants, type InvariantsVerdict } from "./_own_asked.ts";
import { loadOwnModule } from "./_own_module.ts";
import { checkOnDevice, checkRules, type RulesPlan, type RulesVerdict } from "./_own_rules.ts";
import type { DeviceVerdict } from "./_own_device.ts";
import { stateAt } from "./_own_ticks.ts";
import { onDevice } from "./device_run.ts";
import type { DeviceCounts, MeasuredDevice } from "./validator.ts";

/** What to do. */
export interface OwnTask {
  /** Which of the module's exports to run. */
  readonly what: "rules" | "invariants";
  /** The directory; it is only read. */
  readonly directory: string;
  /** URL of the module. */
  readonly module: string;
  /** How much of the rules. */
  readonly plan: RulesPlan;
  /** Ticks that the invariants are asked about. */
  readonly ticks: readonly number[];
  /** Where rules in WGSL are compared with their twins. */
  readonly device: MeasuredDevice;
}

/** What the thread says. */
export type OwnMessage =
  | { readonly progress: string; readonly running?: string }
  | {
    readonly rules: RulesVerdict;
    readonly onDevice?: DeviceVerdict | undefined;
    readonly counts: DeviceCounts;
  }
  | { readonly invariants: InvariantsVerdict }
  | { readonly error: MmsbErrorJson | string };

interface WorkerScope {
  onmessage: ((event: MessageEvent<OwnTask>) => void) | null;
  postMessage(message: OwnMessage): void;
}

async function run(
  { what, directory, module, plan, ticks, device }: OwnTask,
  scope: WorkerScope,
): Promise<void> {
  const tell = (progress: string, running?: string) =>
    scope.postMessage({ progress, ...(running === undefined ? {} : { running }) });
  const storage = new FileStorage(directory);
  tell("loading the rules", "the module");
  const loaded = await loadOwnModule(
    module,
    async () => busOver(stateAt(storage, plan.tickMax), plan.tickMax),
  );
  tell("reading the log");
  if (what === "rules") {
    const rules = checkRules(storage, loaded, plan, tell);
    const { value, counts } = await onDevice(
      device,
      () => checkOnDevice(storage, loaded, plan.tickMax, tell),
    );
    scope.postMessage({ rules, onDevice: value, counts });
  } else {
    const verdict = await checkInvariants(storage, loaded.invariants, ticks, tell);
    scope.postMessage({ invariants: verdict });
  }
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }) => {
    run(data, scope).catch((error) => {
      scope.postMessage({ error: error instanceof MmsbError ? error.toJSON() : reasonOf(error) });
    });
  };
}
