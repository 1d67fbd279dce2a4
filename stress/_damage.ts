/**
 * Damage to the files of a directory, at random: one bit, some bytes, a sector of zeros, two sectors swapped, a file cut short,
 * longer, gone, or another's.
 */

import type { SeededRandom } from "../src/log/seeded_random.ts";

/** Files by path. */
export type Image = Map<string, Uint8Array<ArrayBuffer>>;

const SECTOR = 512;

/** One way of damaging a file: gives what stands there afterwards, nothing for a file that is gone. */
type Way = (
  bytes: Uint8Array<ArrayBuffer>,
  random: SeededRandom,
  image: Image,
) => Uint8Array<ArrayBuffer> | undefined;

const WAYS: Readonly<Record<string, Way>> = {
  "a bit flipped": (bytes, random) => {
    if (bytes.length > 0) bytes[random.below(bytes.length)] ^= 1 << random.below(8);
    return bytes;
  },
  "bytes overwritten": (bytes, random) => {
    const at = random.below(Math.max(1, bytes.length)),
      end = Math.min(bytes.length, at + 1 + random.below(200));
    for (let i = at; i < end; i++) bytes[i] = random.next();
    return bytes;
  },
  "a sector of zeros": (bytes, random) => {
    const at = SECTOR * random.below(Math.max(1, Math.ceil(bytes.length / SECTOR)));
    bytes.fill(0, at, at + SECTOR);
    return bytes;
  },
  "two sectors swapped": (bytes, random) => {
    const count = Math.floor(bytes.length / SECTOR);
    if (count < 2) return bytes;
    const a = SECTOR * random.below(count), b = SECTOR * random.below(count);
    const first = bytes.slice(a, a + SECTOR);
    bytes.copyWithin(a, b, b + SECTOR);
    bytes.set(first, b);
    return bytes;
  },
  "cut short": (bytes, random) => bytes.slice(0, random.below(Math.max(1, bytes.length))),
  "longer": (bytes, random) => {
    const longer = new Uint8Array(bytes.length + 1 + random.below(2000));
    longer.set(bytes);
    if (random.chance(0.5)) {
      for (let i = bytes.length; i < longer.length; i++) longer[i] = random.next();
    }
    return longer;
  },
  "gone": () => undefined,
  "another file's bytes": (_, random, image) => {
    const files = [...image.values()];
    return files[random.below(files.length)].slice();
  },
};

/** Damages a copy of an image; gives it and says what was done, or nothing where that changed no byte. */
export function damaged(
  image: Image,
  random: SeededRandom,
): { readonly image: Image; readonly what: string; readonly way: string } | undefined {
  const paths = [...image.keys()], path = paths[random.below(paths.length)];
  const ways = Object.keys(WAYS), way = ways[random.below(ways.length)];
  const before = image.get(path)!, after = WAYS[way](before.slice(), random, image);
  const isSame = after !== undefined && after.length === before.length &&
    after.every((byte, i) => byte === before[i]);
  if (isSame) return undefined;
  const copy: Image = new Map(image);
  if (after === undefined) copy.delete(path);
  else copy.set(path, after);
  const { length } = before;
  return {
    image: copy,
    way,
    what: `${path} (${length} B): ${way}${after === undefined ? "" : `, now ${after.length} B`}`,
  };
}
