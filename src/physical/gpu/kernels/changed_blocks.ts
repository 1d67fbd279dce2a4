/**
 * Changed blocks: finds the blocks of a page that differ from what it was before, and packs them, so that only they
 * come back.
 *
 * A list takes their numbers, in any order; its head has their count, the words of the page, and how many of them
 * there is room for behind each other. Those that there is no room for are listed and not packed. Words are
 * compared as whole numbers.
 *
 * Cost: two loads a word, an atomic and a copy a block that differs.
 */

import { INVOCATION_WGSL } from "./invocation.ts";
import { WORKGROUP_LANES } from "./rows.ts";

/** Words of a block. */
export const BLOCK_WORDS = 1024;
/** Words of a list before its numbers: count, words of the page, blocks there is room for, one to spare. */
export const BLOCK_HEAD_WORDS = 4;

/** Bindings before, after, list, packed. */
export const CHANGED_BLOCKS_WGSL: string = /* wgsl */ `${INVOCATION_WGSL}
@group(0) @binding(0) var<storage, read> before: array<u32>;
@group(0) @binding(1) var<storage, read> after: array<u32>;
@group(0) @binding(2) var<storage, read_write> list: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> packed: array<u32>;

var<workgroup> differs: atomic<u32>;
var<workgroup> place: u32;

@compute @workgroup_size(${WORKGROUP_LANES})
fn changed_blocks(invocation: Invocation) {
  let block = workgroup_of(invocation);
  let start = block * ${BLOCK_WORDS}u;
  let end = min(start + ${BLOCK_WORDS}u, atomicLoad(&list[1]));
  var difference = 0u;
  for (var k = start + invocation.lane; k < end; k += ${WORKGROUP_LANES}u) {
    difference |= before[k] ^ after[k];
  }
  if (difference != 0u) { atomicStore(&differs, 1u); }
  workgroupBarrier();
  if (invocation.lane == 0u && atomicLoad(&differs) != 0u) {
    place = atomicAdd(&list[0], 1u) + 1u;
    atomicStore(&list[${BLOCK_HEAD_WORDS - 1}u + place], block);
  }
  workgroupBarrier();
  if (place == 0u || place > atomicLoad(&list[2])) { return; }
  let target_start = (place - 1u) * ${BLOCK_WORDS}u;
  for (var k = start + invocation.lane; k < end; k += ${WORKGROUP_LANES}u) {
    packed[target_start + k - start] = after[k];
  }
}
`;

/** Blocks of a page of so many words, the last one perhaps not whole. */
export function blockCount(words: number): number {
  return Math.ceil(words / BLOCK_WORDS);
}

/** The twin: numbers of the blocks that differ, by rising numbers. */
export function changedBlocks(before: Uint32Array, after: Uint32Array): number[] {
  const blocks: number[] = [];
  for (let k = 0; k < after.length; k++) {
    const block = Math.floor(k / BLOCK_WORDS);
    if (before[k] !== after[k] && blocks.at(-1) !== block) blocks.push(block);
  }
  return blocks;
}
