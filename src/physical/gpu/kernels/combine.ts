/**
 * Combine: rows that all fold operands by one operation of which any order gives the same bytes, with atomics.
 *
 * Integer add, min, max and the bit operations are atomics of WGSL. Minimum and maximum of floats are a
 * compare-and-exchange, which ends at once where the operand changes nothing: of many operands on one word few do. Float add
 * depends on the order and is not here (see grouped.ts). The twin is `applyCombine` of combine.ts.
 *
 * WGSL has signed and unsigned atomics but no way from one to the other, hence two kernels: one for
 * minimum and maximum of i32, one for all the rest.
 *
 * Cost: an atomic an element.
 */

import { combineKind } from "../../kind.ts";
import { FLOAT_ORDER_WGSL } from "./float_order.ts";
import { PAYLOAD_WGSL, ROWS_WGSL, WORKGROUP_LANES } from "./rows.ts";

const I32_MIN = combineKind("i32", "min"), I32_MAX = combineKind("i32", "max");
const F32_ADD = combineKind("f32", "add");

/** Whether any order of rows of this kind gives the same bytes, and there is a kernel for it. */
export function isAtomic(kind: number): boolean {
  return kind > 0x10 && kind < 0x40 && kind !== F32_ADD;
}

/** Whether a kind is for the kernel with signed atomics. */
export function isSignedAtomic(kind: number): boolean {
  return kind === I32_MIN || kind === I32_MAX;
}

function combineWgsl(word: "i32" | "u32", functions: string, combine: string): string {
  return /* wgsl */ `${ROWS_WGSL}${PAYLOAD_WGSL}${functions}
@group(0) @binding(4) var<storage, read_write> pages: array<atomic<${word}>>;

@compute @workgroup_size(${WORKGROUP_LANES})
fn combine(invocation: Invocation) {
  let thread = thread_of(invocation);
  let row = thread >> batch.lane_shift;
  if (row >= batch.count) { return; }
  let first = row_target(row);
  let words = row_length(row) >> 2u;
  let start = row_start(row);
  for (var k = lane_of(thread); k < words; k += 1u << batch.lane_shift) {
    let word = first + k;
    if (word < batch.window_words) {
      let value = payload_bytes(start + 4u * k);
      ${combine}
    }
  }
}
`;
}

/** Minimum and maximum of i32: bindings head, columns, payload, pages (4). */
export const COMBINE_SIGNED_WGSL: string = combineWgsl(
  "i32",
  "",
  /* wgsl */ `
      if (batch.kind == ${I32_MIN}u) { atomicMin(&pages[word], bitcast<i32>(value)); }
      else { atomicMax(&pages[word], bitcast<i32>(value)); }`,
);

/** All other kinds but float add: bindings as {@linkcode COMBINE_SIGNED_WGSL}. */
export const COMBINE_UNSIGNED_WGSL: string = combineWgsl(
  "u32",
  /* wgsl */ `${FLOAT_ORDER_WGSL}
fn float_pick(old: u32, value: u32) -> u32 {
  if (batch.kind == 0x32u) { return float_min(old, value); }
  return float_max(old, value);
}`,
  /* wgsl */ `
      switch (batch.kind) {
        case 0x11u, 0x21u: { atomicAdd(&pages[word], value); }
        case 0x22u: { atomicMin(&pages[word], value); }
        case 0x23u: { atomicMax(&pages[word], value); }
        case 0x14u, 0x24u: { atomicOr(&pages[word], value); }
        case 0x15u, 0x25u: { atomicAnd(&pages[word], value); }
        case 0x16u, 0x26u: { atomicXor(&pages[word], value); }
        default: {
          var old = atomicLoad(&pages[word]);
          loop {
            let next = float_pick(old, value);
            if (next == old) { break; }
            let swap = atomicCompareExchangeWeak(&pages[word], old, next);
            if (swap.exchanged) { break; }
            old = swap.old_value;
          }
        }
      }`,
);
