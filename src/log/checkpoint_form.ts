/** How a chunk's data is stored in a checkpoint; apart, so that a worker loads nothing else. */

/** The forms of a chunk's data. */
export const CHUNK_FORM = {
  /** As it is. */
  raw: 0,
  /** One zstd frame. */
  zstd: 1,
} as const;
