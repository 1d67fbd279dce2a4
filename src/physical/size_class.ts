/**
 * Size classes: the slot sizes that pages come in.
 *
 * Steps of 16 bytes up to 128, then four steps to each doubling, so that a slot is at most a
 * quarter larger than its page (the scheme of jemalloc; Evans, "A scalable concurrent malloc
 * implementation", BSDCan 2006). Powers of two are classes of their own: pages of 64, 1,024 or
 * 4,096 bytes waste nothing.
 *
 * @module
 */

/** Number of size classes: 8 of 16 bytes' step, then 4 for each doubling from 128 B to 16 MiB. */
export const SIZE_CLASSES = 76;

/** The class of the smallest slot that holds `size` bytes, 1 to 16 MiB. */
export function sizeClassOf(size: number): number {
  if (size <= 128) return (size + 15 >>> 4) - 1;
  const exponent = 31 - Math.clz32(size - 1);
  const quarter = (size - 1 >>> exponent - 2) & 3;
  return 8 + (exponent - 7 << 2) + quarter;
}

/** Bytes of a slot of class `index`, a multiple of 16. */
export function sizeOfClass(index: number): number {
  if (index < 8) return index + 1 << 4;
  const exponent = 7 + (index - 8 >>> 2);
  const quarter = index - 8 & 3;
  return (1 << exponent) + (quarter + 1 << exponent - 2);
}
