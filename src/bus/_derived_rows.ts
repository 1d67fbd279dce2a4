/**
 * Derived rows: what the rules of a tick changed, as rows for the log.
 *
 * One row for each span of words that differ, in the order of pages and offsets, with the new bytes as payload;
 * the old ones stand in the change log. A page's epoch grows by one for each of its rows, as for any delta.
 * Each row names its rule, and a tick has about as many rules as rows: so the names are kept as bytes from
 * tick to tick, and the frame's section of strings is put together from those.
 *
 * Cost: some 30 ns a row for the columns, 5 ns where nobody keeps a log and only epochs are counted.
 */

import { alignUp, DICTIONARY_STRINGS_MAX, encodeUtf8, STRING_BYTES_MAX } from "../base/mod.ts";
import { ROW_KIND, type RowFrame } from "../log/mod.ts";
import { type KernelColumns, kernelColumns, type PageStore, ROW_BYTES } from "../physical/mod.ts";
import type { ChangeLog, RuleProgram, Waves } from "../propagation/mod.ts";

const ROWS_START = 1024;
const PAYLOAD_START = 16 * 1024;
/** Room that is kept from tick to tick. */
const ROWS_KEPT = 65_536;
const PAYLOAD_KEPT = 16 * 1024 * 1024;

/** The derived rows of one tick. */
export class DerivedRows {
  /** Rows. */
  rows = 0;
  /** Bytes of payload. */
  payloadLength = 0;
  /** Names of the rules, "" first. */
  strings: string[] = [""];
  /** The columns. */
  columns: KernelColumns;
  /** Number of the rule of each row. */
  rules: Int32Array = new Int32Array(ROWS_START);
  #room = ROWS_START;
  #bytes = PAYLOAD_START;
  #pages = new Uint32Array(ROWS_START);
  /** For each rule, by index, the number of its name. */
  #sources = new Uint16Array(0);
  #named: number[] = [];
  /** For each rule, by index, the bytes of its name, as long as the program is the same. */
  #names: (Uint8Array | undefined)[] = [];
  #program: RuleProgram | undefined;
  /** The section of strings so far. */
  #section = new Uint8Array(1024);
  #sectionLength = 0;

  /** None yet. */
  constructor() {
    this.columns = columnsFor(ROWS_START, PAYLOAD_START);
  }

  /** Makes the rows of pages whose epochs were counted. */
  build(store: PageStore, waves: Waves): void {
    const { log, sources } = waves, { words, heads, touched, count } = log, { ids } = store.table;
    this.#clear();
    if (count - sources > this.#pages.length) this.#pages = new Uint32Array(2 * (count - sources));
    let pages = 0, bytes = 0, isSorted = true;
    for (let i = sources; i < count; i++) {
      const row = touched[i];
      if (heads[row] === 0) continue;
      if (pages > 0 && ids[row] < this.#pages[pages - 1]) isSorted = false;
      this.#pages[pages++] = ids[row];
      for (let at = heads[row]; at !== 0; at = words[at + 3]) bytes += 4 * words[at + 2];
    }
    this.#reserve(waves.derived, bytes);
    const sorted = this.#pages.subarray(0, pages);
    if (!isSorted) sorted.sort();
    const { program } = waves;
    if (this.#program !== program) {
      this.#program = program;
      this.#names = [];
    }
    if (this.#sources.length < program.rules.length) {
      this.#sources = new Uint16Array(program.rules.length);
    }
    for (let i = 0; i < pages; i++) this.#addPage(store, waves.log, program, sorted[i]);
  }

  /** The frame, without its time. */
  frame(): Omit<RowFrame, "hlcHi" | "hlcLo"> {
    return {
      rowKind: ROW_KIND.derived,
      rows: this.rows,
      producer: 0,
      sequence: 0,
      columns: this.columns,
      rules: this.rules,
      epochs: true,
      strings: this.strings,
      stringBytes: this.#stringBytes(),
      payloadLength: this.payloadLength,
    };
  }

  #addPage(store: PageStore, log: ChangeLog, program: RuleProgram, page: number): void {
    const { table, arena } = store, { words, heads } = log, { columns } = this;
    const row = table.rowOf(page), base = table.slot(row) << 2, size = table.sizeOf(row);
    const rule = program.writerAt(row), { number } = program.rules[rule].parts;
    const source = this.#sourceOf(rule, program.rules[rule].parts.name), rows = log.records(row);
    // The newest record comes first and stands last in the page.
    let index = this.rows + rows;
    for (let at = heads[row], epoch = table.epochs.low[row]; at !== 0; at = words[at + 3]) {
      const first = words[at + 1], count = words[at + 2], start = this.payloadLength;
      index--;
      columns.page[index] = page;
      columns.offset[index] = 4 * first;
      columns.length[index] = Math.min(4 * count, size - 4 * first);
      columns.start[index] = start;
      columns.kind[index] = 0;
      columns.source[index] = source;
      columns.intent[index] = 0;
      columns.epoch[index] = epoch--;
      this.rules[index] = number;
      for (let k = 0, to = start >>> 2; k < count; k++, to++) {
        columns.payloadWords[to] = arena.words[base + first + k];
      }
      this.payloadLength = start + 4 * count;
    }
    this.rows += rows;
  }

  #sourceOf(rule: number, name: string): number {
    const known = this.#sources[rule];
    // Past what a dictionary holds the rule's number has to do.
    if (known !== 0 || this.strings.length >= DICTIONARY_STRINGS_MAX) return known;
    this.#named.push(rule);
    this.#addName(this.#names[rule] ??= encodeUtf8("name", name, STRING_BYTES_MAX));
    return this.#sources[rule] = this.strings.push(name) - 1;
  }

  /** Adds a name to the section of strings, which begins with how many there are, and "". */
  #addName(name: Uint8Array): void {
    const at = this.#sectionLength, { length } = name, end = at + 4 + length;
    if (end > this.#section.length) {
      const section = new Uint8Array(2 * end);
      section.set(this.#section.subarray(0, at));
      this.#section = section;
    }
    const section = this.#section;
    putWord(section, at, length);
    // Names are short, and a call costs as much as a loop over some sixty bytes.
    for (let i = 0; i < length; i++) section[at + 4 + i] = name[i];
    this.#sectionLength = end;
  }

  #stringBytes(): Uint8Array | undefined {
    if (this.strings.length === 1) return undefined;
    putWord(this.#section, 0, this.strings.length);
    return this.#section.subarray(0, this.#sectionLength);
  }

  #clear(): void {
    this.rows = this.payloadLength = 0;
    putWord(this.#section, 4, 0);
    this.#sectionLength = 8;
    this.strings = [""];
    for (const rule of this.#named) this.#sources[rule] = 0;
    this.#named = [];
    if (this.#room > ROWS_KEPT || this.#bytes > PAYLOAD_KEPT) this.#lay(ROWS_START, PAYLOAD_START);
  }

  #reserve(rows: number, bytes: number): void {
    if (rows <= this.#room && bytes <= this.#bytes) return;
    const room = Math.max(this.#room, alignUp(rows + (rows >> 1), 8));
    this.#lay(room, Math.max(this.#bytes, alignUp(bytes + (bytes >>> 1), 8)));
  }

  #lay(rows: number, bytes: number): void {
    this.#room = rows;
    this.#bytes = bytes;
    this.columns = columnsFor(rows, bytes);
    this.rules = new Int32Array(rows);
  }
}

function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word;
  bytes[at + 1] = word >>> 8;
  bytes[at + 2] = word >>> 16;
  bytes[at + 3] = word >>> 24;
}

function columnsFor(rows: number, bytes: number): KernelColumns {
  return kernelColumns(new ArrayBuffer(rows * ROW_BYTES), rows, new Uint8Array(bytes));
}
