/**
 * Adding 32-bit floats with integers, bit by bit as IEEE 754 says: round to nearest, ties to even, subnormals
 * and infinities as they are, and the canonical quiet NaN for every NaN.
 *
 * WGSL leaves open which way its own `+` rounds, and lets a device take subnormals for zero and forget NaNs. The
 * bytes in a page must not depend on the device, so no float instruction is used. The twin below is the same
 * algorithm; both give what the CPU gives, which adds in 64 bits and rounds once (exact for a sum of two).
 *
 * How: the larger magnitude first; significands with three more bits (guard, round, sticky), which is all that one
 * rounding needs; then normalised, but never below the exponent of the subnormals, and rounded.
 *
 * Cost: some 40 integer instructions; a memory access takes longer.
 */

/** The function `float_add(a: u32, b: u32) -> u32` on the bits of floats. */
export const FLOAT_ADD_WGSL: string = /* wgsl */ `
fn float_add(a: u32, b: u32) -> u32 {
  let a_size = a & 0x7fffffffu;
  let b_size = b & 0x7fffffffu;
  if (a_size > 0x7f800000u || b_size > 0x7f800000u) { return 0x7fc00000u; }
  let large = select(b, a, a_size >= b_size);
  let small = select(a, b, a_size >= b_size);
  let sign = large & 0x80000000u;
  let differs = ((large ^ small) & 0x80000000u) != 0u;
  let large_field = (large >> 23u) & 0xffu;
  if (large_field == 255u) {
    return select(large, 0x7fc00000u, differs && a_size == b_size);
  }
  let small_field = (small >> 23u) & 0xffu;
  var exponent = max(large_field, 1u);
  let shift = exponent - max(small_field, 1u);
  let more = ((large & 0x7fffffu) | select(0u, 0x800000u, large_field != 0u)) << 3u;
  var less = ((small & 0x7fffffu) | select(0u, 0x800000u, small_field != 0u)) << 3u;
  if (shift > 26u) {
    less = select(0u, 1u, less != 0u);
  } else if (shift > 0u) {
    less = (less >> shift) | select(0u, 1u, (less & ((1u << shift) - 1u)) != 0u);
  }
  var sum = 0u;
  if (differs) {
    sum = more - less;
    if (sum == 0u) { return 0u; }
    let up = min(countLeadingZeros(sum) - 5u, exponent - 1u);
    sum = sum << up;
    exponent = exponent - up;
  } else {
    sum = more + less;
    if (sum >= 0x8000000u) {
      sum = (sum >> 1u) | (sum & 1u);
      exponent = exponent + 1u;
    }
  }
  let rest = sum & 7u;
  sum = sum >> 3u;
  if (rest > 4u || (rest == 4u && (sum & 1u) == 1u)) { sum = sum + 1u; }
  if (sum >= 0x1000000u) {
    sum = sum >> 1u;
    exponent = exponent + 1u;
  }
  if (exponent >= 255u) { return sign | 0x7f800000u; }
  return sign | select(sum, (exponent << 23u) | (sum & 0x7fffffu), sum >= 0x800000u);
}
`;

const CANONICAL_NAN = 0x7fc0_0000;

/**
 * The twin of `float_add`.
 *
 * @param a Bits of a float.
 * @param b Bits of another.
 * @returns Bits of the sum, unsigned.
 */
export function addFloatBits(a: number, b: number): number {
  const aSize = a & 0x7fff_ffff, bSize = b & 0x7fff_ffff;
  if (aSize > 0x7f80_0000 || bSize > 0x7f80_0000) return CANONICAL_NAN;
  const large = aSize >= bSize ? a : b, small = aSize >= bSize ? b : a;
  const sign = large & 0x8000_0000, differs = ((large ^ small) & 0x8000_0000) !== 0;
  const largeField = large >>> 23 & 0xff, smallField = small >>> 23 & 0xff;
  if (largeField === 255) return differs && aSize === bSize ? CANONICAL_NAN : large >>> 0;
  let exponent = Math.max(largeField, 1);
  const shift = exponent - Math.max(smallField, 1);
  const more = (large & 0x7f_ffff | (largeField === 0 ? 0 : 0x80_0000)) << 3;
  let less = (small & 0x7f_ffff | (smallField === 0 ? 0 : 0x80_0000)) << 3;
  if (shift > 26) less = less === 0 ? 0 : 1;
  else if (shift > 0) less = less >>> shift | ((less & (1 << shift) - 1) === 0 ? 0 : 1);
  let sum: number;
  if (differs) {
    sum = more - less;
    if (sum === 0) return 0;
    const up = Math.min(Math.clz32(sum) - 5, exponent - 1);
    sum <<= up;
    exponent -= up;
  } else {
    sum = more + less;
    if (sum >= 0x800_0000) {
      sum = sum >>> 1 | sum & 1;
      exponent++;
    }
  }
  const rest = sum & 7;
  sum >>>= 3;
  if (rest > 4 || rest === 4 && (sum & 1) === 1) sum++;
  if (sum >= 0x100_0000) {
    sum >>>= 1;
    exponent++;
  }
  if (exponent >= 255) return (sign | 0x7f80_0000) >>> 0;
  return (sign | (sum >= 0x80_0000 ? exponent << 23 | sum & 0x7f_ffff : sum)) >>> 0;
}
