/**
 * Minimum and maximum of 32-bit floats with integers: a map to whole numbers that keeps the order, −0 below +0.
 *
 * As kind.ts says: a number is preferred to NaN, and two NaNs give the canonical quiet one. A comparison of floats
 * would not do: a device may take subnormals for zero. Any order of the operands gives the same bytes.
 */

/** The functions `float_order`, `float_min` and `float_max` on the bits of floats. */
export const FLOAT_ORDER_WGSL: string = /* wgsl */ `
fn float_order(bits: u32) -> u32 {
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
fn is_nan(bits: u32) -> bool { return (bits & 0x7fffffffu) > 0x7f800000u; }
fn float_min(old: u32, value: u32) -> u32 {
  if (is_nan(old)) { return select(value, 0x7fc00000u, is_nan(value)); }
  return select(old, value, !is_nan(value) && float_order(value) < float_order(old));
}
fn float_max(old: u32, value: u32) -> u32 {
  if (is_nan(old)) { return select(value, 0x7fc00000u, is_nan(value)); }
  return select(old, value, !is_nan(value) && float_order(value) > float_order(old));
}
`;

/**
 * The twin of `float_order`.
 *
 * @param bits Bits of a float that is no NaN.
 * @returns A number from 0 to 2³² − 1, larger for a larger float.
 */
export function floatOrder(bits: number): number {
  return (bits < 0 || bits > 0x7fff_ffff ? ~bits : bits | 0x8000_0000) >>> 0;
}
