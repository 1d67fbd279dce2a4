/**
 * Differences between a shader's words and its twin's: integers agree or they do not, floats lie so many floats apart.
 *
 * Floats in the order of their bits, with the negative ones turned round, are integers one apart, so a distance in floats
 * ("units in the last place") is a difference of integers. It says nothing near zero, where a device may write 0 for what is
 * too small: there the difference itself counts. A shader may compute a sum of products in one rounding where the twin
 * takes two, and its functions (`exp`, `sin`) have an error of their own, so floats of a shader are no exact bytes.
 *
 * Cost: a nanosecond a word that agrees, some five a float that does not.
 *
 * @module
 */

import { MmsbError } from "../../base/mod.ts";
import type { CheckedShader, ShaderElement } from "./rule_shader.ts";

/** A word in which the shader and its twin disagree. */
export interface WordDifference {
  /** Which word of the page. */
  readonly word: number;
  /** The shader's value. */
  readonly shader: number;
  /** The twin's. */
  readonly twin: number;
  /** Floats between them; of integers their difference. */
  readonly distance: number;
}

/**
 * The first word in which a page differs by more than the shader is allowed.
 *
 * @param shader Words of the page as the shader left them.
 * @param twin As the twin did; as many.
 * @param element What the words are.
 * @param tolerance How far floats may be apart.
 * @returns The word; `undefined` where there is none.
 */
export function firstDifference(
  shader: Int32Array,
  twin: Int32Array,
  element: ShaderElement,
  tolerance: Pick<CheckedShader, "ulp" | "absolute">,
): WordDifference | undefined {
  for (let word = 0; word < twin.length; word++) {
    if (shader[word] === twin[word]) continue;
    if (element !== "f32") {
      const value = (bits: number) => element === "u32" ? bits >>> 0 : bits;
      const [ours, its] = [value(shader[word]), value(twin[word])];
      return { word, shader: ours, twin: its, distance: Math.abs(ours - its) };
    }
    const difference = floatDifference(shader[word], twin[word], tolerance);
    if (difference !== undefined) return { word, ...difference };
  }
  return undefined;
}

const bits = new Int32Array(2), floats = new Float32Array(bits.buffer);

function floatDifference(
  shader: number,
  twin: number,
  { ulp, absolute }: Pick<CheckedShader, "ulp" | "absolute">,
): Omit<WordDifference, "word"> | undefined {
  bits[0] = shader;
  bits[1] = twin;
  const [ours, its] = floats;
  if (Number.isNaN(ours) && Number.isNaN(its)) return undefined;
  if (Math.abs(ours - its) <= absolute) return undefined;
  const distance = Number.isNaN(ours) || Number.isNaN(its)
    ? Infinity
    : Math.abs(ordered(shader) - ordered(twin));
  return distance <= ulp ? undefined : { shader: ours, twin: its, distance };
}

/** Bits of a float as an integer that grows with it; −0 is 0. */
function ordered(float: number): number {
  return float >= 0 ? float : -2147483648 - float;
}

/** What a rule fails with whose forms disagree. */
export function differenceError(
  page: number,
  { word, shader, twin, distance }: WordDifference,
): MmsbError {
  return new MmsbError(
    "rule",
    `Cannot use its shader as that computes ${shader} for word ${word} of page ${page} and compute gives ${twin}: mend one of them, or allow for it with tolerance where it is rounding`,
    { values: { page, word, shader, twin, distance } },
  );
}

/**
 * What a rule fails with that writes a number which is not finite, where its binding asks for finite ones.
 *
 * @param now Words of the page as the shader left them, all floats.
 * @param before As they were: a number that stands there already is nobody's write.
 */
export function firstInfinite(
  page: number,
  now: Int32Array,
  before: Int32Array,
): MmsbError | undefined {
  for (let word = 0; word < now.length; word++) {
    if ((now[word] & 0x7f800000) !== 0x7f800000 || now[word] === before[word]) continue;
    bits[0] = now[word];
    return new MmsbError(
      "usage",
      `Cannot write ${floats[0]}: the binding of the rule asks for finite numbers`,
      { values: { page, value: floats[0], word } },
    );
  }
  return undefined;
}
