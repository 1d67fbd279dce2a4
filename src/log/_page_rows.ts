/**
 * Page rows: which rows of a segment belong to which page, as columns: the pages in order, where each
 * one's rows start, and the rows themselves.
 *
 * Rows are numbered through a segment. The segment that is being written gets rows all the time, so
 * they are sorted in runs: a new run for what has come since the last look, joined with the one before
 * while that is not twice as long. A look has a handful of runs to search, and each row is sorted
 * again some log2(rows) times at most.
 *
 * Cost: a row takes 4 bytes, a page of a run 8; a run is sorted by counting the rows of each page, or by a
 * radix sort in two passes of 16 bits where ids are far apart, and looking up a page is a binary search a
 * run.
 */

/** Rows by page, sorted once. */
export interface PageRun {
  /** Pages that have rows, in order. */
  readonly pages: Uint32Array;
  /** For each page the index of its first row in `rows`, and one more for the end. */
  readonly starts: Uint32Array;
  /** Rows in order of pages, each page's in order. */
  readonly rows: Uint32Array;
}

/** Rows up to which one numeric sort is faster than two passes over 65,536 counters. */
const SMALL_ROWS = 4096;
/** Ids up to which counters are few enough for any number of rows. */
const COUNTED_PAGES_MIN = 65_536;

/**
 * Sorts rows by page.
 *
 * @param pageOf Page of each row.
 * @param first First row.
 * @param end Row behind the last.
 */
export function sortRows(pageOf: Uint32Array, first: number, end: number): PageRun {
  if (end - first <= SMALL_ROWS) return runOf(pageOf, sortSmall(pageOf, first, end));
  let max = 0;
  for (let row = first; row < end; row++) if (pageOf[row] > max) max = pageOf[row];
  return max < Math.max(COUNTED_PAGES_MIN, 2 * (end - first))
    ? sortCounted(pageOf, first, end, max)
    : runOf(pageOf, sortLarge(pageOf, first, end));
}

/** Finds the pages of sorted rows. */
function runOf(pageOf: Uint32Array, rows: Uint32Array): PageRun {
  let count = 0;
  for (let i = 0; i < rows.length; i++) {
    if (i === 0 || pageOf[rows[i]] !== pageOf[rows[i - 1]]) count++;
  }
  const pages = new Uint32Array(count), starts = new Uint32Array(count + 1);
  let next = 0;
  for (let i = 0; i < rows.length; i++) {
    const page = pageOf[rows[i]];
    if (next > 0 && pages[next - 1] === page) continue;
    pages[next] = page;
    starts[next++] = i;
  }
  starts[count] = rows.length;
  return { pages, starts, rows };
}

/** One counter a page: the counts alone give the pages and where their rows start. */
function sortCounted(pageOf: Uint32Array, first: number, end: number, max: number): PageRun {
  const next = new Uint32Array(max + 1);
  let count = 0;
  for (let row = first; row < end; row++) if (next[pageOf[row]]++ === 0) count++;
  const pages = new Uint32Array(count), starts = new Uint32Array(count + 1);
  for (let page = 0, at = 0, sum = 0; page <= max; page++) {
    const rows = next[page];
    if (rows === 0) continue;
    pages[at] = page;
    starts[at++] = next[page] = sum;
    sum += rows;
  }
  starts[count] = end - first;
  const rows = new Uint32Array(end - first);
  for (let row = first; row < end; row++) rows[next[pageOf[row]]++] = row;
  return { pages, starts, rows };
}

/** Page and row make one number below 2^53. */
function sortSmall(pageOf: Uint32Array, first: number, end: number): Uint32Array {
  const keys = new Float64Array(end - first);
  for (let row = first; row < end; row++) {
    keys[row - first] = pageOf[row] * SMALL_ROWS + (row - first);
  }
  keys.sort();
  const rows = new Uint32Array(keys.length);
  for (let i = 0; i < rows.length; i++) rows[i] = first + keys[i] % SMALL_ROWS;
  return rows;
}

function sortLarge(pageOf: Uint32Array, first: number, end: number): Uint32Array {
  const rows = new Uint32Array(end - first);
  for (let i = 0; i < rows.length; i++) rows[i] = first + i;
  return scatter(pageOf, scatter(pageOf, rows, 0), 16);
}

/** One stable pass over 16 bits of the page. */
function scatter(pageOf: Uint32Array, rows: Uint32Array, shift: number): Uint32Array {
  const starts = new Uint32Array(65_537);
  for (let i = 0; i < rows.length; i++) starts[(pageOf[rows[i]] >>> shift & 0xffff) + 1]++;
  for (let i = 1; i < starts.length; i++) starts[i] += starts[i - 1];
  const sorted = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    sorted[starts[pageOf[rows[i]] >>> shift & 0xffff]++] = rows[i];
  }
  return sorted;
}

/** Rows of a page, in order; none where the run has none. */
export function rowsIn(run: PageRun, page: number): Uint32Array {
  let low = 0, high = run.pages.length;
  while (low < high) {
    const middle = low + high >>> 1;
    if (run.pages[middle] < page) low = middle + 1;
    else high = middle;
  }
  if (run.pages[low] !== page) return NO_ROWS;
  return run.rows.subarray(run.starts[low], run.starts[low + 1]);
}

const NO_ROWS = new Uint32Array(0);

/** Rows by page of a segment that is being written. */
export class GrowingRows {
  #pageOf = new Uint32Array(1024);
  #rows = 0;
  #sorted = 0;
  #runs: (PageRun & { readonly first: number })[] = [];

  /** Rows so far. */
  get length(): number {
    return this.#rows;
  }

  /** Adds a frame's column of pages. */
  add(pages: Int32Array, count: number): void {
    if (this.#rows + count > this.#pageOf.length) {
      const grown = new Uint32Array(Math.max(2 * this.#pageOf.length, this.#rows + count));
      grown.set(this.#pageOf.subarray(0, this.#rows));
      this.#pageOf = grown;
    }
    this.#pageOf.set(new Uint32Array(pages.buffer, pages.byteOffset, count), this.#rows);
    this.#rows += count;
  }

  /** Rows of a page, in order. */
  find(page: number): Uint32Array {
    this.#sort();
    if (this.#runs.length === 1) return rowsIn(this.#runs[0], page);
    const parts = this.#runs.map((run) => rowsIn(run, page)).filter((rows) => rows.length > 0);
    if (parts.length <= 1) return parts[0] ?? NO_ROWS;
    const rows = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      rows.set(part, at);
      at += part.length;
    }
    return rows;
  }

  /** All rows in one run. */
  finish(): PageRun {
    return sortRows(this.#pageOf, 0, this.#rows);
  }

  #sort(): void {
    if (this.#sorted === this.#rows) return;
    let first = this.#sorted;
    for (let last = this.#runs.at(-1); last !== undefined; last = this.#runs.at(-1)) {
      if (first - last.first >= 2 * (this.#rows - first)) break;
      first = last.first;
      this.#runs.pop();
    }
    this.#runs.push({ first, ...sortRows(this.#pageOf, first, this.#rows) });
    this.#sorted = this.#rows;
  }
}
