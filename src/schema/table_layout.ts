/**
 * Table layout: what the root page and the directory pages of a table hold.
 *
 * - The root page has the table's name and schema: f64 rows, u32 entries of the directory, u32 its own id
 *   (a clone has another one, and is no table), u32 shard + 1 or 0 for any, u32 ids of up to 15 directory
 *   pages.
 * - Directory pages, each twice as large as the one before it: entries of u32 column, u32 chunk, u32 page,
 *   in the order in which chunks were made, so that an append adds to the end and nothing moves.
 *
 * @module
 */

/** Bytes of a root page. */
export const ROOT_BYTES = 80;
/** Where in the root page the number of entries stands; the number of rows is before it. */
export const ROOT_ENTRIES = 8;
/** Where its own id stands. */
export const ROOT_SELF = 12;
/** Where its shard stands. */
export const ROOT_SHARD = 16;
/** Where the ids of the directory pages stand. */
export const ROOT_DIRECTORIES = 20;
/** Directory pages, at most. */
export const DIRECTORIES_MAX = 15;
/** Words of an entry. */
export const ENTRY_WORDS = 3;
/** Bytes of an entry. */
export const ENTRY_BYTES = 4 * ENTRY_WORDS;

/** Entries of the first directory page, as a shift. */
const ENTRIES_SHIFT = 6;
/** Entries of all directory pages. */
export const ENTRIES_MAX = ((1 << DIRECTORIES_MAX) - 1) << ENTRIES_SHIFT;

/** An entry of the directory: which page holds a chunk of a column. */
export interface TableEntry {
  /** Number of the column. */
  readonly column: number;
  /** Number of the chunk in the column. */
  readonly chunk: number;
  /** Id of the page. */
  readonly page: number;
}

/** The directory page that holds an entry. */
export function directoryOf(index: number): number {
  return 31 - Math.clz32((index >>> ENTRIES_SHIFT) + 1);
}

/** First entry of a directory page. */
export function directoryStart(directory: number): number {
  return ((1 << directory) - 1) << ENTRIES_SHIFT;
}

/** Bytes of a directory page. */
export function directoryBytes(directory: number): number {
  return ENTRY_BYTES << ENTRIES_SHIFT + directory;
}

/** Directory pages that so many entries need. */
export function directoriesFor(entries: number): number {
  return entries === 0 ? 0 : directoryOf(entries - 1) + 1;
}

/** The bytes of entries. */
export function entriesBytes(entries: readonly TableEntry[]): Uint8Array {
  const words = new Uint32Array(entries.length * ENTRY_WORDS);
  entries.forEach(({ column, chunk, page }, index) => {
    words.set([column, chunk, page], index * ENTRY_WORDS);
  });
  return new Uint8Array(words.buffer);
}

/** The root's counts, which are its first bytes. */
export function countsBytes(rows: number, entries: number): Uint8Array {
  const bytes = new Uint8Array(ROOT_ENTRIES + 4), view = new DataView(bytes.buffer);
  view.setFloat64(0, rows, true);
  view.setUint32(ROOT_ENTRIES, entries, true);
  return bytes;
}
