/**
 * Outputs of a rule in WGSL beside what its twin computes: what is stored may have come from a device, whose floats
 * may differ from the twin's by what the rule allows a step; integers, and all bytes of other rules, may not.
 *
 * What differs in the first of several steps goes into the next, so the allowance is taken once a step.
 *
 * Cost: a comparison of the bytes, and a pass over their words where they differ.
 */

import { equalBytes } from "../base/mod.ts";
import type { RuleBinding } from "../physical/mod.ts";
import { firstDifference } from "../propagation/gpu/shader_difference.ts";
import { type Rule, twinsOf } from "../propagation/rule.ts";

/**
 * Whether a rule's outputs are those that are stored.
 *
 * @param sizeOf Bytes of a page.
 * @param outputs What the rule computes here, its pages one behind the other.
 * @param stored What is stored.
 */
export function isAsStored(
  { binding, code }: { readonly binding: RuleBinding; readonly code: Rule },
  sizeOf: (page: number) => number,
  outputs: Uint8Array,
  stored: Uint8Array,
): boolean {
  if (equalBytes(outputs, stored)) return true;
  const shader = twinsOf(code)?.shader;
  if (shader === undefined || outputs.length !== stored.length) return false;
  const { ulp, absolute, steps } = shader;
  const allowed = { ulp: ulp * steps, absolute: absolute * steps };
  let at = 0;
  return binding.outputs.every((page, index) => {
    const end = at + sizeOf(page), ours = outputs.slice(at, end), theirs = stored.slice(at, end);
    at = end;
    // A device has whole words only; the twin alone writes other pages.
    if (ours.length % 4 !== 0) return equalBytes(ours, theirs);
    const element = shader.outputs[index] ?? "u32";
    return firstDifference(wordsOf(theirs), wordsOf(ours), element, allowed) === undefined;
  });
}

/** Words of bytes that stand alone in their buffer. */
function wordsOf({ buffer }: Uint8Array<ArrayBuffer>): Int32Array {
  return new Int32Array(buffer);
}
