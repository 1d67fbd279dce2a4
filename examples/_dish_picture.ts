/**
 * The picture of a dish: what grows as a relief that light falls on from the upper left, coloured by its height and by how much
 * food is eaten around it.
 */

import { encode } from "fast-png";

/** Colours from nothing to full growth: place, then red, green, blue. */
const COLOURS: readonly (readonly [at: number, red: number, green: number, blue: number])[] = [
  [0, 7, 11, 31],
  [0.1, 10, 32, 71],
  [0.28, 13, 93, 120],
  [0.45, 64, 176, 150],
  [0.62, 240, 226, 164],
  [0.8, 238, 134, 71],
  [1, 150, 27, 62],
];
/** Growth that is full, and how steep the relief is. */
const FULL = 0.4, STEEPNESS = 6;
/** Where the light comes from: from above, from the left, and towards who looks. */
const LIGHT = [-0.5, -0.6, 0.62] as const;

/**
 * Makes a PNG.
 *
 * @param eaten Food that is eaten, cell by cell.
 * @param grown What grows.
 * @param size Cells along a side.
 */
export function dishPicture(eaten: Float32Array, grown: Float32Array, size: number): Uint8Array {
  const data = new Uint8Array(3 * size * size);
  for (let y = 0; y < size; y++) {
    const north = (y === 0 ? size - 1 : y - 1) * size, south = (y === size - 1 ? 0 : y + 1) * size;
    for (let x = 0; x < size; x++) {
      const west = x === 0 ? size - 1 : x - 1, east = x === size - 1 ? 0 : x + 1, here = y * size;
      const slopeX = grown[here + east] - grown[here + west];
      const slopeY = grown[south + x] - grown[north + x];
      paint(data, 3 * (here + x), grown[here + x], eaten[here + x], slopeX, slopeY);
    }
  }
  return encode({ width: size, height: size, data, channels: 3, depth: 8 });
}

function paint(
  data: Uint8Array,
  at: number,
  grown: number,
  eaten: number,
  slopeX: number,
  slopeY: number,
): void {
  const [x, y] = [-STEEPNESS * slopeX, -STEEPNESS * slopeY], length = Math.hypot(x, y, 1);
  const light = Math.max(0, (LIGHT[0] * x + LIGHT[1] * y + LIGHT[2]) / length);
  const shine = 90 * light ** 24 * Math.min(1, 4 * grown);
  // Where food is eaten and nothing grows, a glimmer shows how far it reaches.
  const glow = 40 * Math.max(0, eaten - 2 * grown);
  const place = Math.min(1, Math.max(0, grown / FULL));
  const upper = Math.max(1, COLOURS.findIndex(([from]) => from >= place));
  const [from, ...low] = COLOURS[upper - 1], [to, ...high] = COLOURS[upper];
  const share = (place - from) / (to - from);
  for (let i = 0; i < 3; i++) {
    const colour = low[i] + share * (high[i] - low[i]);
    data[at + i] = Math.min(255, colour * (0.45 + 0.8 * light) + shine + glow * (i + 1) / 3);
  }
}
