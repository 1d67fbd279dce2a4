/**
 * Where an id belongs in a hash table whose buckets are words, a power of two of them.
 *
 * The upper 60 bits of the id choose a line of 16 buckets (Fibonacci hashing, Knuth 6.4), the lower four the bucket in it, so
 * that ids given in a row lie beside each other in the cache; which is which within a line differs from line to
 * line, so that ids with equal lower bits spread too.
 *
 * Cost: two multiplications.
 */

/** The number of an id's bucket, of 2^`bits`. */
export function bucketOf(idHi: number, idLo: number, bits: number): number {
  const line = Math.imul((idLo >>> 4) ^ Math.imul(idHi, 0x85ebca6b), 0x9e3779b1);
  const shifted = line >>> (32 - bits);
  return (shifted & ~15) | ((idLo ^ shifted ^ (line >>> 4)) & 15);
}
