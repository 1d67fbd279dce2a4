/**
 * Copy: ranges of words from one buffer into another, all in one dispatch. What gathers pages that lie all over a buffer
 * would otherwise be a command each. Cost: a load and a store a word.
 */

import { WORKGROUP_LANES } from "./rows.ts";
import { TILES_WGSL, type WordRange } from "./ranges.ts";

/** Bindings tiles, source (1), target (2). */
export const COPY_WGSL: string = /* wgsl */ `${TILES_WGSL}
@group(0) @binding(1) var<storage, read> source_words: array<u32>;
@group(0) @binding(2) var<storage, read_write> target_words: array<u32>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn copy(invocation: Invocation) {
  let tile = tile_of(invocation);
  if (tile.is_none) { return; }
  for (var k = invocation.lane; k < tile.words; k += ${WORKGROUP_LANES}u) {
    target_words[tile.target_word + k] = source_words[tile.source + k];
  }
}
`;

/** The twin. */
export function copyRanges(
  source: Uint32Array,
  target: Uint32Array,
  ranges: readonly WordRange[],
): void {
  for (const range of ranges) {
    target.set(source.subarray(range.source, range.source + range.words), range.target);
  }
}
