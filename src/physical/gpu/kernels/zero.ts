/** Zero: ranges of words of a buffer become 0, all in one dispatch. Cost: a store a word. */

import { WORKGROUP_LANES } from "./rows.ts";
import { TILES_WGSL, type WordRange } from "./ranges.ts";

/** Bindings tiles, target (2). */
export const ZERO_WGSL: string = /* wgsl */ `${TILES_WGSL}
@group(0) @binding(2) var<storage, read_write> target_words: array<u32>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn zero(invocation: Invocation) {
  let tile = tile_of(invocation);
  if (tile.is_none) { return; }
  for (var k = invocation.lane; k < tile.words; k += ${WORKGROUP_LANES}u) {
    target_words[tile.target_word + k] = 0u;
  }
}
`;

/** The twin. */
export function zeroRanges(target: Uint32Array, ranges: readonly WordRange[]): void {
  for (const range of ranges) target.fill(0, range.target, range.target + range.words);
}
