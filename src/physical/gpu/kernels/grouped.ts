/**
 * Grouped apply: rows of any kinds, on any bytes, in their order.
 *
 * The packed memory is seen as blocks of at most 64 words. For each block that is hit there is a list of the rows that
 * hit it, in row order (a row that goes over several blocks is in the list of each), and a few lanes go through that
 * list. A word always belongs to the same lane, so its rows come in the order of that lane's program: nothing is atomic, there
 * are no barriers, and blocks run in any order. Grouping by block is finer than by page: rows of one large page
 * still run side by side.
 *
 * An entry of a list has the row and, for a masked row, how many bits of its mask are set before
 * the block, so that the place of a byte among the packed ones need not be counted from the start. The twin is
 * `applyRows` of apply.ts.
 *
 * Cost: the rows of a block one after the other; 8 bytes an entry, 16 a block.
 */

import { FOLD_WGSL } from "./fold.ts";
import { PAYLOAD_WGSL, ROWS_WGSL, WORKGROUP_LANES } from "./rows.ts";

/** Words of the largest block, as a shift. */
export const BLOCK_SHIFT_MAX = 6;

/** Bindings head, columns, payload, pages (4), entries (5), groups (6). */
export const GROUPED_WGSL: string = /* wgsl */ `${ROWS_WGSL}${PAYLOAD_WGSL}${FOLD_WGSL}
@group(0) @binding(4) var<storage, read_write> pages: array<u32>;
@group(0) @binding(5) var<storage, read> entries: array<vec2<u32>>;
// First entry, entry behind the last, first word of the block, word behind its last.
@group(0) @binding(6) var<storage, read> blocks: array<vec4<u32>>;

fn low_bits(count: u32) -> u32 { return select((1u << count) - 1u, 0xffffffffu, count >= 32u); }

// 32 bits of a mask that starts at a byte of the payloads.
fn mask_bits(start: u32, bit: u32) -> u32 {
  let byte = start + (bit >> 3u);
  let shift = bit & 7u;
  let low = payload_bytes(byte);
  if (shift == 0u) { return low; }
  return (low >> shift) | (payload_bytes(byte + 4u) << (32u - shift));
}

fn set_bits(start: u32, first: u32, end: u32) -> u32 {
  var count = 0u;
  for (var bit = first; bit < end; bit += 32u) {
    count += countOneBits(mask_bits(start, bit) & low_bits(min(end - bit, 32u)));
  }
  return count;
}

@compute @workgroup_size(${WORKGROUP_LANES})
fn apply(invocation: Invocation) {
  let thread = thread_of(invocation);
  let number = thread >> batch.lane_shift;
  if (number >= batch.count) { return; }
  let block = blocks[number];
  let lanes = 1 << batch.lane_shift;
  let lane = i32(lane_of(thread));
  for (var index = block.x; index < block.y; index++) {
    let entry = entries[index];
    let row = entry.x;
    // Signed: a row may start in front of the window.
    let first = bitcast<i32>(row_target(row));
    let shift = columns[batch.offset_at + row] & 3u;
    let end = shift + row_length(row);
    let start = row_start(row);
    let kind = (columns[batch.kind_at + (row >> 2u)] >> ((row & 3u) * 8u)) & 0xffu;
    let from_word = max(first, i32(block.z));
    let end_word = min(first + i32((end + 3u) >> 2u), i32(block.w));
    for (var at = from_word + ((lane - from_word) & (lanes - 1)); at < end_word; at += lanes) {
      let word = u32(at);
      let byte = u32(at - first) * 4u;
      if (kind > 1u) {
        pages[word] = fold(kind, pages[word], payload_bytes(start + byte));
        continue;
      }
      // Bytes of this word that the row reaches: from_byte to end_byte; the first of them is byte k of the row.
      let from_byte = select(0u, shift, byte == 0u);
      let end_byte = min(end - byte, 4u);
      let k = byte + from_byte - shift;
      if (kind == 0u) {
        let bytes = low_bits(8u * (end_byte - from_byte)) << (8u * from_byte);
        let value = payload_bytes(start + k) << (8u * from_byte);
        pages[word] = (pages[word] & ~bytes) | (value & bytes);
        continue;
      }
      // The first byte of the row in this block is the one that the entry's count is for.
      let block_byte = u32(from_word - first) * 4u;
      let counted = block_byte + select(0u, shift, block_byte == 0u) - shift;
      let bits = mask_bits(start, k) & low_bits(end_byte - from_byte);
      var source = start + ((end - shift + 7u) >> 3u) + entry.y + set_bits(start, counted, k);
      var value = pages[word];
      for (var i = 0u; i < end_byte - from_byte; i++) {
        if (((bits >> i) & 1u) == 1u) {
          let place = 8u * (from_byte + i);
          value = (value & ~(0xffu << place)) | ((payload_bytes(source) & 0xffu) << place);
          source++;
        }
      }
      pages[word] = value;
    }
  }
}
`;
