/** What an import is asked and what it tells. */

/** Options of an import. */
export interface ImportOptions {
  /** Told how far the work is, in words. */
  readonly progress?: (text: string) => void;
  /** Path of an older checkpoint that stands beside an older log. */
  readonly snapshot?: string;
  /** Shards of the new directory, for files that do not say. Default 24. */
  readonly shards?: number;
  /** Time that files without hybrid logical time get, in µs since the Unix epoch. Default: now. */
  readonly nowUs?: number;
  /** Bytes of the log's first segment. */
  readonly segmentBytes?: number;
  /** Bytes up to which segments grow. */
  readonly segmentBytesMax?: number;
}

/** What was imported. */
export interface ImportReport {
  /** What the file was: `MMSBLOG1 1`, `MMSBLOG1 2`, `MMSBSNAP 2`, `JSON lines 1`. */
  readonly form: string;
  /** Frames or lines read. */
  readonly frames: number;
  /** Pages born. */
  readonly pages: number;
  /** Deltas written. */
  readonly deltas: number;
  /** Last tick. */
  readonly ticks: number;
  /** Bytes of the files. */
  readonly bytes: number;
}
