/**
 * Sparse apply: rows that set whole words, anywhere, in two passes. Where several rows hit one word, the last
 * row wins, whatever order the device runs them in.
 *
 * First each row puts its number, counted from 1, on the words that it hits, and the largest number stays
 * (`atomicMax`); then each row writes the words that carry its number, and takes the number off again, so
 * that the owners are zero for the next batch: a row that comes later finds another's number or none. The twin is
 * `applyRows` of apply.ts.
 *
 * Cost: an atomic and a load a word, four bytes of device memory a word for the owners.
 */

import { ROWS_WGSL, WORKGROUP_LANES } from "./rows.ts";

/** First pass: bindings head, columns, owners (3). */
export const SPARSE_RESOLVE_WGSL: string = /* wgsl */ `${ROWS_WGSL}
@group(0) @binding(3) var<storage, read_write> owners: array<atomic<u32>>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn resolve(invocation: Invocation) {
  let thread = thread_of(invocation);
  let row = thread >> batch.lane_shift;
  if (row >= batch.count) { return; }
  let first = row_target(row);
  let words = row_length(row) >> 2u;
  for (var k = lane_of(thread); k < words; k += 1u << batch.lane_shift) {
    let word = first + k;
    if (word < batch.window_words) { atomicMax(&owners[word], row + 1u); }
  }
}
`;

/** Second pass: bindings head, columns, payload, owners (3), pages (4). */
export const SPARSE_WRITE_WGSL: string = /* wgsl */ `${ROWS_WGSL}
@group(0) @binding(2) var<storage, read> payload: array<u32>;
@group(0) @binding(3) var<storage, read_write> owners: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read_write> pages: array<u32>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn write(invocation: Invocation) {
  let thread = thread_of(invocation);
  let row = thread >> batch.lane_shift;
  if (row >= batch.count) { return; }
  let first = row_target(row);
  let words = row_length(row) >> 2u;
  let source = row_start(row) >> 2u;
  for (var k = lane_of(thread); k < words; k += 1u << batch.lane_shift) {
    let word = first + k;
    if (word < batch.window_words && atomicLoad(&owners[word]) == row + 1u) {
      pages[word] = payload[source + k];
      atomicStore(&owners[word], 0u);
    }
  }
}
`;
