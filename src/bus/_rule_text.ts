/**
 * What a binding says: as it was checked, as one text for the log, and as the waves need it.
 *
 * The waves get all of it from the log's form, parameters too, so that a rule runs with the same ones before and after
 * an opening.
 */

import { type BindingText, decodeBinding } from "../log/mod.ts";
import { MARK, type PageStore, type RuleBinding } from "../physical/mod.ts";
import {
  BoundRule,
  CHANGED,
  frozen,
  NEEDS_FULL,
  type RuleMode,
  STALE,
} from "../propagation/mod.ts";

/** When a rule may run. */
export const MODES: readonly RuleMode[] = ["immediate", "deferred", "batch"];

/** A binding that was checked. */
export interface Checked {
  readonly name: string;
  readonly inputs: readonly { readonly page: number; readonly edge: "data" | "control" }[];
  readonly outputs: readonly number[];
  readonly state: readonly number[];
  readonly params: unknown;
  readonly mode: RuleMode;
  readonly every: number;
  readonly finite: boolean;
  readonly export: string;
  readonly replace: boolean;
}

/** A rule of the store whose code is not there. */
export function detachedRule(binding: RuleBinding, store: PageStore): BoundRule {
  const bound = new BoundRule(partsOf(binding), undefined);
  bound.isStaged = false;
  const isStale = binding.outputs.some((page) => store.marks.has(page, MARK.stale));
  bound.flags = isStale ? NEEDS_FULL | CHANGED | STALE : NEEDS_FULL;
  return bound;
}

/** What the waves need of a binding. */
export function partsOf(binding: RuleBinding): ConstructorParameters<typeof BoundRule>[0] {
  const text = decodeBinding(binding.payload);
  const { number, name, inputs, outputs, state } = binding;
  const { mode, every, finite } = modeOf(text);
  return {
    number,
    name,
    inputIds: inputs,
    outputIds: outputs,
    stateIds: state,
    params: frozen(text.params),
    mode,
    every,
    finite,
    module: text.module,
    export: text.export,
  };
}

/**
 * Mode and what else a binding asks for, as words: `immediate`, `batch 8`, `deferred finite`, `immediate control 0,2`
 * where the inputs 0 and 2 do not wake it.
 */
export function modeText({ mode, every, finite, inputs }: Checked): string {
  const control = [...inputs.keys()].filter((index) => inputs[index].edge === "control");
  return `${mode}${mode === "batch" ? ` ${every}` : ""}${finite ? " finite" : ""}${
    control.length > 0 ? ` control ${control.join(",")}` : ""
  }`;
}

function modeOf({ mode }: BindingText): Pick<Checked, "mode" | "every" | "finite"> {
  const words = mode.split(" "), name = MODES.find((known) => known === words[0]);
  const every = Number(words[1]);
  return {
    mode: name ?? "immediate",
    every: Number.isInteger(every) && every > 0 ? every : 1,
    finite: words.includes("finite"),
  };
}
