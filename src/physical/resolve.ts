/**
 * Resolve: check a whole batch against the page table before anything of it counts.
 *
 * The batch is the unit of refusal, so nothing is changed here: a refused batch leaves no trace.
 * Each row's page is looked up, its span, payload, kind and strings are checked, and the word of
 * the arena where it starts is noted for the apply kernels. The work is cut into short loops over
 * few columns; each folds its findings into one number (a negative sum means "some row is bad"),
 * and only then is the first bad row looked for and named. What the columns have in common (one
 * length, payloads in a row, no special kinds) is found on the way and chooses the kernels.
 *
 * Cost: 5 to 8 ns a row for uniform batches over 65,536 pages, most of it cache misses.
 *
 * @module
 */

import { assert, MmsbError, PAGE_BYTES_MAX } from "../base/mod.ts";
import { type KernelColumns, maskedPayloadBytes } from "./kernel_columns.ts";
import { elementBytes, isKind, KIND_MASKED, KIND_SET, kindName } from "./kind.ts";
import {
  type PageTable,
  RECORD_LIMIT,
  RECORD_SHIFT,
  RECORD_SLOT,
  RECORD_WORDS,
} from "./page_table.ts";

/** What a batch's rows have in common; chooses the apply kernel. */
export interface BatchShape {
  /** Length of every row, 0 where they differ. */
  readonly uniformLength: number;
  /** Whether payloads follow each other in row order, each at a multiple of 4. */
  readonly sequential: boolean;
  /** Whether offsets, lengths and payload starts are all multiples of 4. */
  readonly aligned: boolean;
  /** All kinds or-ed together: 0 where every row sets bytes. */
  readonly kinds: number;
}

/** For {@linkcode ResolveInput.strings}: rows whose strings nobody will look at. */
export const ANY_STRINGS: number = Infinity;

/** What is to be resolved. */
export interface ResolveInput {
  /** The columns. */
  readonly columns: KernelColumns;
  /** Rows. */
  readonly rows: number;
  /** Bytes of the payload pool in use. */
  readonly payloadLength: number;
  /** Number of interned strings. */
  readonly strings: number;
  /** Expected epochs by row, if any row has one. */
  readonly expectedEpochs?: Float64Array;
}

/**
 * Checks all rows and fills the scratch columns `record` and `target`.
 *
 * @param input The batch.
 * @param table The pages.
 * @returns What the rows have in common.
 * @throws {MmsbError} with the first bad row's index in `values.row`: `invalid-handle` for a page
 * that is not there, `out-of-bounds` for a span that leaves its page, `usage` for columns that
 * disagree, `stale-epoch` where an expected epoch differs.
 */
export function resolve(input: ResolveInput, table: PageTable): BatchShape {
  const survey = surveyRows(input, table, 0, input.rows);
  if (isDoubtful(survey, input.strings)) explain(input, table);
  const { columns, rows, expectedEpochs } = input;
  if (expectedEpochs !== undefined) {
    for (let row = 0; row < rows; row++) checkEpoch(columns, row, table, expectedEpochs[row]);
  }
  return shapeOf(survey, input);
}

/** What was found in some rows of a batch; those of its parts, or-ed together, say it of the whole. */
export interface RowSurvey {
  /** All kinds or-ed together. */
  readonly kinds: number;
  /** All sources and intents or-ed together. */
  readonly strings: number;
  /** Bit 0: lengths differ from the batch's first, or rows do not set; bit 1: payloads are not in a row. */
  readonly differs: number;
  /** At least 2^25, unsigned, where a row may be bad; else the lowest bits say what is aligned. */
  readonly findings: number;
}

/**
 * Looks at some rows of a batch and fills their scratch columns `record` and `target`. Nothing of it
 * depends on other rows, so any thread may do any part.
 *
 * @param first First row, a multiple of 8.
 * @param end Behind the last row; a multiple of 8, or the end of the batch.
 */
export function surveyRows(
  input: ResolveInput,
  table: PageTable,
  first: number,
  end: number,
): RowSurvey {
  const { columns, rows, payloadLength } = input;
  lookUp(columns.page, table.blocks, table.entries, columns.record, first, end);
  const kinds = orKinds(columns, first, end);
  const strings = input.strings === ANY_STRINGS ? 0 : orStrings(columns, first, end);
  const length = rows === 0 ? 0 : columns.length[0], start = rows === 0 ? 0 : columns.start[0];
  const stride = length + 3 & ~3;
  const uniform = kinds === KIND_SET && isUniform(columns.length, first, end, length);
  const sequential = uniform && (start & 3) === 0 &&
    isSequential(columns.start, first, end, start, stride);
  let findings: number;
  if (sequential) {
    const last = start + (end - 1) * stride + length;
    findings = checkUniform(columns, table.records, first, end, length) |
      (start < 0 || last > payloadLength ? -1 : 0);
  } else {
    findings = checkSpans(columns, table.records, first, end) |
      (kinds === KIND_SET
        ? checkPayloads(columns, first, end, payloadLength)
        : checkKinds(columns, first, end, payloadLength));
  }
  return { kinds, strings, differs: (uniform ? 0 : 1) | (sequential ? 0 : 2), findings };
}

/**
 * Whether a row may be bad. An or of numbers below n can reach n, so this sends some good batches to the
 * exact search, and no bad one past it.
 */
export function isDoubtful({ findings, strings }: RowSurvey, stringsCount: number): boolean {
  return findings >>> 25 !== 0 || strings >= stringsCount;
}

/** The shape of a batch of which all rows were surveyed. */
export function shapeOf({ kinds, differs, findings }: RowSurvey, input: ResolveInput): BatchShape {
  const length = input.rows === 0 ? 0 : input.columns.length[0];
  return {
    uniformLength: (differs & 1) === 0 ? length : 0,
    sequential: (differs & 2) === 0,
    aligned: (findings & 3) === 0,
    kinds,
  };
}

function lookUp(
  page: Int32Array,
  blocks: Int32Array,
  entries: Int32Array,
  record: Int32Array,
  first: number,
  end: number,
): void {
  for (let i = first; i < end; i++) {
    const id = page[i];
    record[i] = entries[blocks[id >>> 16] + (id & 0xffff)] << RECORD_SHIFT;
  }
}

function orKinds(columns: KernelColumns, first: number, end: number): number {
  const { kinds, kind } = columns;
  const words = end >>> 2;
  let or = 0;
  for (let i = first >>> 2; i < words; i++) or |= kinds[i];
  or = (or | or >>> 8 | or >>> 16 | or >>> 24) & 0xff;
  for (let i = words << 2; i < end; i++) or |= kind[i];
  return or;
}

function orStrings(columns: KernelColumns, first: number, end: number): number {
  const { strings, source, intent } = columns;
  const words = end >>> 1, intents = source.length >>> 1;
  let or = 0;
  for (let i = first >>> 1; i < words; i++) or |= strings[i];
  for (let i = first >>> 1; i < words; i++) or |= strings[intents + i];
  or = (or | or >>> 16) & 0xffff;
  if (end & 1) or |= source[end - 1] | intent[end - 1];
  return or;
}

function isUniform(length: Int32Array, first: number, end: number, expected: number): boolean {
  let different = 0;
  for (let i = first; i < end; i++) different |= length[i] ^ expected;
  return different === 0 && expected > 0;
}

function isSequential(
  column: Int32Array,
  first: number,
  end: number,
  start: number,
  stride: number,
): boolean {
  let different = 0, expected = start + Math.imul(first, stride) | 0;
  for (let i = first; i < end; i++) {
    different |= column[i] ^ expected;
    expected = expected + stride | 0;
  }
  return different === 0;
}

/**
 * At least 2^25 (unsigned) if a span is bad; otherwise the low bits say what is aligned.
 *
 * A page has at most 2^24 bytes, so what is left of it behind a good span is below 2^25, as is every
 * good offset; a negative rest (too small a page, an inactive one, none) has the sign bit, and an
 * offset so large that the subtraction wraps has a high bit of its own.
 */
function checkUniform(
  columns: KernelColumns,
  records: Int32Array,
  first: number,
  end: number,
  length: number,
): number {
  if (length > PAGE_BYTES_MAX) return -1;
  const { record, offset, target } = columns;
  let findings = length;
  for (let i = first; i < end; i++) {
    const r = record[i], o = offset[i];
    findings |= records[r | RECORD_LIMIT] - length - o | o;
    target[i] = (records[r] << 2) + (o >>> 2);
  }
  return findings;
}

/** As {@linkcode checkUniform} for rows of any lengths. */
function checkSpans(
  columns: KernelColumns,
  records: Int32Array,
  first: number,
  end: number,
): number {
  const { record, offset, length, target } = columns;
  let findings = 0;
  for (let i = first; i < end; i++) {
    const r = record[i], o = offset[i], l = length[i];
    const room = records[r + RECORD_LIMIT] - l;
    findings |= room & 0x8000_0000 | (room - o) & 0x8000_0000 | o | l | (l - 1) & 0x8000_0000;
    target[i] = (records[r + RECORD_SLOT] << 2) + (o >>> 2);
  }
  return findings;
}

/** Negative if a payload of a set leaves the pool; otherwise the low bits of all starts. */
function checkPayloads(
  columns: KernelColumns,
  first: number,
  end: number,
  payloadLength: number,
): number {
  const { start, length } = columns;
  let findings = 0;
  for (let i = first; i < end; i++) {
    const room = payloadLength - length[i] | 0;
    findings |= room & 0x8000_0000 | (room - start[i]) & 0x8000_0000 | start[i] & 0x8000_0003;
  }
  return findings;
}

/** As {@linkcode checkPayloads}, for rows of any kind. */
function checkKinds(
  columns: KernelColumns,
  first: number,
  end: number,
  payloadLength: number,
): number {
  let findings = 0;
  for (let i = first; i < end; i++) {
    findings |= rowFault(columns, i, payloadLength) === undefined ? columns.start[i] & 3 : -1;
  }
  return findings;
}

/** What is wrong with a row by itself, whatever its page is, in words. */
export function rowFault(
  columns: KernelColumns,
  row: number,
  payloadLength: number,
): string | undefined {
  const kind = columns.kind[row], start = columns.start[row];
  const length = columns.length[row], offset = columns.offset[row];
  // No page is that long; a mask for such a span is not worth counting.
  if (length <= 0 || length > PAGE_BYTES_MAX) return `its length is ${length >>> 0}`;
  if (!isKind(kind)) return `its kind is ${kind}`;
  if (start < 0 || start > payloadLength) return `its payload starts at ${start >>> 0}`;
  const left = payloadLength - start;
  if (kind !== KIND_MASKED) {
    if (length > left) return `its payload of ${length} bytes ends past the pool`;
    if (kind === KIND_SET) return undefined;
    const width = elementBytes(kind);
    const odd = offset % width !== 0 || length % width !== 0;
    return odd ? `${kindName(kind)} stands at multiples of ${width}` : undefined;
  }
  const maskBytes = length + 7 >>> 3;
  if (maskBytes > left) return `its mask of ${maskBytes} bytes ends past the pool`;
  const bytes = columns.payloadBytes;
  if ((length & 7) !== 0 && bytes[start + maskBytes - 1] >>> (length & 7) !== 0) {
    return `its mask has bits past ${length}`;
  }
  return maskedPayloadBytes(bytes, start, length) > left
    ? "its masked payload ends past the pool"
    : undefined;
}

/** Finds the first bad row and throws its first fault; returns if there is none. */
function explain(input: ResolveInput, table: PageTable): void {
  const { columns } = input;
  for (let row = 0; row < input.rows; row++) {
    const page = columns.page[row] >>> 0;
    const offset = columns.offset[row] >>> 0, length = columns.length[row] >>> 0;
    const values = { row, page, offset, length, kind: columns.kind[row] };
    const tableRow = columns.record[row] / RECORD_WORDS;
    if (tableRow === 0 || !table.isActive(tableRow)) {
      throw new MmsbError(
        "invalid-handle",
        `Cannot apply row ${row} to page ${page}: there is no such page, or it was deleted`,
        { values },
      );
    }
    // Whoever checks a batch has its pages brought back before; nothing may be written to address 0.
    assert(!table.isSpilled(tableRow), `page ${page} is in memory`);
    const size = table.sizeOf(tableRow);
    if (offset + length > size) {
      throw new MmsbError(
        "out-of-bounds",
        `Cannot apply row ${row} to bytes ${offset} to ${
          offset + length
        } of page ${page}: its size is ${size}`,
        { values: { ...values, size } },
      );
    }
    const fault = rowFault(columns, row, input.payloadLength) ??
      (columns.source[row] >= input.strings || columns.intent[row] >= input.strings
        ? `its source or intent is not one of the ${input.strings} interned strings`
        : undefined);
    if (fault !== undefined) {
      throw new MmsbError("usage", `Cannot apply row ${row} to page ${page}: ${fault}`, { values });
    }
    checkEpoch(columns, row, table, input.expectedEpochs?.[row] ?? NaN);
  }
}

/** Throws where a row's page has another epoch than the row expects; NaN expects none. */
function checkEpoch(
  columns: KernelColumns,
  row: number,
  table: PageTable,
  expected: number,
): void {
  const epoch = table.epoch(columns.record[row] / RECORD_WORDS);
  if (!Number.isNaN(expected) && expected !== epoch) {
    const page = columns.page[row] >>> 0;
    throw new MmsbError(
      "stale-epoch",
      `Cannot apply row ${row} to page ${page} as its epoch is ${epoch}: the row expects ${expected}`,
      { values: { row, page, epoch, expectedEpoch: expected } },
    );
  }
}
