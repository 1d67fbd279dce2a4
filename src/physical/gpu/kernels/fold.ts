/**
 * Combining one operand into one word on the device: what combine.ts does, for all kinds of 4 bytes an element.
 *
 * Its twin is `combineElement`. Costs a jump by kind, which all lanes of a row take together.
 */

import { FLOAT_ADD_WGSL } from "./float_add.ts";
import { FLOAT_ORDER_WGSL } from "./float_order.ts";

/** The function `fold(kind: u32, old: u32, value: u32) -> u32`; kinds are those of kind.ts. */
export const FOLD_WGSL: string = /* wgsl */ `${FLOAT_ADD_WGSL}${FLOAT_ORDER_WGSL}
fn fold(kind: u32, old: u32, value: u32) -> u32 {
  switch (kind) {
    case 0x11u, 0x21u: { return old + value; }
    case 0x12u: { return bitcast<u32>(min(bitcast<i32>(old), bitcast<i32>(value))); }
    case 0x13u: { return bitcast<u32>(max(bitcast<i32>(old), bitcast<i32>(value))); }
    case 0x22u: { return min(old, value); }
    case 0x23u: { return max(old, value); }
    case 0x14u, 0x24u: { return old | value; }
    case 0x15u, 0x25u: { return old & value; }
    case 0x16u, 0x26u: { return old ^ value; }
    case 0x31u: { return float_add(old, value); }
    case 0x32u: { return float_min(old, value); }
    case 0x33u: { return float_max(old, value); }
    default: { return old; }
  }
}
`;
