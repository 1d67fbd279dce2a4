/**
 * Ranges: what the kernels that go through memory word by word work on, many in one dispatch.
 *
 * Ranges of very different lengths (pages of 16 bytes and of 1 MiB) are cut into tiles of at most 1,024
 * words, and a workgroup has a tile. The list of tiles is a buffer that is made once and can be used each
 * tick: its first four words hold the count, each further four a tile.
 *
 * Cost: 16 bytes a tile.
 */

import { checkInteger, checkType, MmsbError } from "../../../base/mod.ts";
import { INVOCATION_WGSL } from "./invocation.ts";

/** Words of a tile. */
export const TILE_WORDS = 1024;
/** Words that 32-bit byte addresses reach. */
const WORDS_MAX = 2 ** 30;
/** Most tiles of one table: 1 GiB of it. */
const TILES_MAX = 2 ** 26 - 1;

/** Words of one buffer, and words of another. */
export interface WordRange {
  /** First word in the source. */
  readonly source: number;
  /** First word in the target. */
  readonly target: number;
  /** Words. */
  readonly words: number;
}

/** Ranges, cut. */
export interface Tiles {
  /** Count, three zeros, then source, target, words − 1 and number in the range, and range of each tile. */
  readonly table: Uint32Array<ArrayBuffer>;
  /** Tiles. */
  readonly count: number;
  /** Word behind the last in the source. */
  readonly sourceEnd: number;
  /** Word behind the last in the target. */
  readonly targetEnd: number;
}

/**
 * Cuts ranges into tiles. The ranges may be of any lengths, also 0; where targets overlap, the result is open.
 *
 * @param ranges Ranges of words.
 * @returns The tiles, in the order of the ranges.
 * @throws {MmsbError} `usage` for what are no ranges, `out-of-bounds` and `limit` past what 32 bits address.
 */
export function cutRanges(ranges: readonly WordRange[]): Tiles {
  checkType("ranges", ranges, "object");
  let count = 0, sourceEnd = 0, targetEnd = 0;
  for (const { source, target, words } of ranges) {
    checkInteger("words of a range", words, 0, WORDS_MAX);
    checkInteger("source of a range", source, 0, WORDS_MAX - words);
    checkInteger("target of a range", target, 0, WORDS_MAX - words);
    count += Math.ceil(words / TILE_WORDS);
    if (words > 0) {
      sourceEnd = Math.max(sourceEnd, source + words);
      targetEnd = Math.max(targetEnd, target + words);
    }
  }
  if (count > TILES_MAX) {
    throw new MmsbError(
      "limit",
      `Cannot work on ${ranges.length} ranges at once: they are ${count} tiles, the most is ${TILES_MAX}; split them`,
      { values: { ranges: ranges.length, tiles: count, tilesMax: TILES_MAX } },
    );
  }
  const table = new Uint32Array(4 * (count + 1));
  table[0] = count;
  let at = 4;
  for (let range = 0; range < ranges.length; range++) {
    const { source, target, words } = ranges[range];
    for (let done = 0, number = 0; done < words; done += TILE_WORDS, number++) {
      table[at] = source + done;
      table[at + 1] = target + done;
      table[at + 2] = (Math.min(TILE_WORDS, words - done) - 1 | number << 10) >>> 0;
      table[at + 3] = range;
      at += 4;
    }
  }
  return { table, count, sourceEnd, targetEnd };
}

/** The table of tiles, and which of them a workgroup has. */
export const TILES_WGSL: string = /* wgsl */ `${INVOCATION_WGSL}
@group(0) @binding(0) var<storage, read> tiles: array<vec4<u32>>;

struct Tile { is_none: bool, source: u32, words: u32, target_word: u32, range: u32, within: u32 }
fn tile_of(invocation: Invocation) -> Tile {
  let number = workgroup_of(invocation);
  if (number >= tiles[0].x) { return Tile(true, 0u, 0u, 0u, 0u, 0u); }
  let tile = tiles[number + 1u];
  return Tile(
    false, tile.x, (tile.z & ${TILE_WORDS - 1}u) + 1u, tile.y, tile.w,
    (tile.z >> 10u) * ${TILE_WORDS}u,
  );
}
`;
