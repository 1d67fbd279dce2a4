/**
 * Compare: which words of ranges differ between two buffers, as first, end and count a range, so that only what changed
 * is read back. Words are compared as whole numbers, so NaNs are equal to themselves and −0 is not 0.
 *
 * A range has four words of result, which begin as zeros: the inverted first changed word (so that the largest
 * wins, like the end), the end, how many words changed, and one to spare; positions count from the range's first word.
 *
 * Cost: two loads a word, and three atomics a tile that differs.
 */

import { WORKGROUP_LANES } from "./rows.ts";
import { TILES_WGSL, type WordRange } from "./ranges.ts";

/** 32-bit words of the result of one range. */
export const COMPARE_WORDS = 4;

/** Bindings tiles, before (1), after (2), result (3). */
export const COMPARE_WGSL: string = /* wgsl */ `${TILES_WGSL}
@group(0) @binding(1) var<storage, read> before: array<u32>;
@group(0) @binding(2) var<storage, read> after: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<atomic<u32>>;

var<workgroup> inverted_first: atomic<u32>;
var<workgroup> last_end: atomic<u32>;
var<workgroup> changed: atomic<u32>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn compare(invocation: Invocation) {
  let tile = tile_of(invocation);
  var first = 0u;
  var end = 0u;
  var count = 0u;
  for (var k = invocation.lane; k < tile.words; k += ${WORKGROUP_LANES}u) {
    if (before[tile.source + k] != after[tile.target_word + k]) {
      if (count == 0u) { first = ~(tile.within + k); }
      end = tile.within + k + 1u;
      count++;
    }
  }
  if (count > 0u) {
    atomicMax(&inverted_first, first);
    atomicMax(&last_end, end);
    atomicAdd(&changed, count);
  }
  workgroupBarrier();
  if (invocation.lane == 0u && atomicLoad(&changed) > 0u) {
    atomicMax(&result[${COMPARE_WORDS}u * tile.range], atomicLoad(&inverted_first));
    atomicMax(&result[${COMPARE_WORDS}u * tile.range + 1u], atomicLoad(&last_end));
    atomicAdd(&result[${COMPARE_WORDS}u * tile.range + 2u], atomicLoad(&changed));
  }
}
`;

/** What changed in a range; words count from its first. */
export interface ChangedRange {
  /** First word that changed. */
  readonly first: number;
  /** Word behind the last that changed. */
  readonly end: number;
  /** Words that changed. */
  readonly changed: number;
}

/**
 * Reads the result of one range.
 *
 * @param result Results, as the kernel left them.
 * @param range Number of the range.
 * @returns What changed; `undefined` where nothing did.
 */
export function changedRange(
  result: Uint32Array | Int32Array,
  range: number,
): ChangedRange | undefined {
  const at = COMPARE_WORDS * range, end = result[at + 1] >>> 0;
  return end === 0 ? undefined : { first: ~result[at] >>> 0, end, changed: result[at + 2] >>> 0 };
}

/** The twin: the result of one range. */
export function compareRange(
  before: Uint32Array,
  after: Uint32Array,
  range: WordRange,
): ChangedRange | undefined {
  let first = -1, end = 0, changed = 0;
  for (let k = 0; k < range.words; k++) {
    if (before[range.source + k] === after[range.target + k]) continue;
    if (first < 0) first = k;
    end = k + 1;
    changed++;
  }
  return changed === 0 ? undefined : { first, end, changed };
}
