/**
 * What no kernel on the GPU computes, in words: rows of 64-bit floats, as WGSL has none.
 *
 * This stands alone, without WebGPU, so that a thread that only decides need not load more. Costs a test of one bit.
 */

/** The bit of a kind byte that no other element type has (see kind.ts: types are 1 to 4, in the high half). */
const F64_BIT = 0x40;

/**
 * Why the GPU cannot apply a batch.
 *
 * @param kinds All kinds of its rows, or-ed together, as `BatchShape` has them.
 * @returns The reason in words; `undefined` where it can.
 */
export function applyRefusal(kinds: number): string | undefined {
  return (kinds & F64_BIT) === 0 ? undefined : "its rows combine f64, which WGSL does not have";
}
