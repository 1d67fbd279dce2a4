/**
 * Masked merge: ranges of one buffer go into another, but only those bytes whose bit in a mask is set.
 *
 * The mask has a bit for each byte of the whole source, lowest bit first, so word w of the source has its four bits in
 * word w / 8 of the mask. Masked rows of a batch, whose bytes are packed, are applied in grouped.ts.
 *
 * Cost: three loads and a store a word.
 */

import { WORKGROUP_LANES } from "./rows.ts";
import { TILES_WGSL, type WordRange } from "./ranges.ts";

/** Bindings tiles, source (1), target (2), mask (3). */
export const MASKED_MERGE_WGSL: string = /* wgsl */ `${TILES_WGSL}
@group(0) @binding(1) var<storage, read> source_words: array<u32>;
@group(0) @binding(2) var<storage, read_write> target_words: array<u32>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn merge(invocation: Invocation) {
  let tile = tile_of(invocation);
  if (tile.is_none) { return; }
  for (var k = invocation.lane; k < tile.words; k += ${WORKGROUP_LANES}u) {
    let word = tile.source + k;
    let bits = (mask[word >> 3u] >> ((word & 7u) * 4u)) & 0xfu;
    // Each of the four bits becomes a byte of ones.
    let bytes = ((bits * 0x00204081u) & 0x01010101u) * 0xffu;
    let at = tile.target_word + k;
    target_words[at] = (target_words[at] & ~bytes) | (source_words[word] & bytes);
  }
}
`;

/** The twin. */
export function mergeMasked(
  source: Uint8Array,
  target: Uint8Array,
  mask: Uint8Array,
  ranges: readonly WordRange[],
): void {
  for (const range of ranges) {
    for (let k = 4 * range.source; k < 4 * (range.source + range.words); k++) {
      if (mask[k >>> 3] >>> (k & 7) & 1) target[k + 4 * (range.target - range.source)] = source[k];
    }
  }
}
