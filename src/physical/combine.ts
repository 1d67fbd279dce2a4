/**
 * Combining kernels: fold operands into elements of a page.
 *
 * One element at a time, in row order; the operation is chosen per row, so these kernels serve
 * rows that are mixed. The results are defined so that integer and bit operations, min and max
 * give the same bytes in whatever order they come (see kind.ts).
 *
 * @module
 */

import type { Arena } from "./arena.ts";
import type { KernelColumns } from "./kernel_columns.ts";
import { elementBytes } from "./kind.ts";

const scratchBytes = new Uint8Array(8);
const scratchInt = new Int32Array(scratchBytes.buffer);
const scratchUint = new Uint32Array(scratchBytes.buffer);
const scratchFloat = new Float32Array(scratchBytes.buffer);
const scratchDouble = new Float64Array(scratchBytes.buffer);
const elementWords = new Int32Array(2);
const elementBytesView = new Uint8Array(elementWords.buffer);
const CANONICAL_NAN_F32 = 0x7fc0_0000;
const CANONICAL_NAN_F64_HIGH = 0x7ff8_0000;

/** Folds all elements of row `row` into the arena. */
export function applyCombine(columns: KernelColumns, row: number, arena: Arena): void {
  const kind = columns.kind[row];
  const width = elementBytes(kind), length = columns.length[row];
  const start = columns.start[row], target = columns.target[row];
  const operation = kind & 15, type = kind >>> 4;
  for (let done = 0; done < length; done += width) {
    for (let i = 0; i < width; i++) scratchBytes[i] = columns.payloadBytes[start + done + i];
    const word = target + (done >>> 2);
    if (type === 1) arena.words[word] = combineInt(operation, arena.words[word], scratchInt[0]);
    else if (type === 2) combineUintAt(operation, arena.words, word, scratchUint[0]);
    else if (type === 3) combineFloatAt(operation, arena.words, word, scratchFloat[0]);
    else combineDoubleAt(operation, arena.words, word, scratchDouble[0]);
  }
}

/**
 * Folds one operand into one element, both as bytes, just as {@linkcode applyCombine} does.
 *
 * @param kind A combining kind.
 * @param target Where the element stands, at `at`.
 * @param operands Where the operand stands, at `from`.
 */
export function combineElement(
  kind: number,
  target: Uint8Array,
  at: number,
  operands: Uint8Array,
  from: number,
): void {
  const width = elementBytes(kind), operation = kind & 15, type = kind >>> 4;
  for (let i = 0; i < width; i++) scratchBytes[i] = target[at + i];
  elementWords[0] = scratchInt[0];
  elementWords[1] = scratchInt[1];
  for (let i = 0; i < width; i++) scratchBytes[i] = operands[from + i];
  if (type === 1) elementWords[0] = combineInt(operation, elementWords[0], scratchInt[0]);
  else if (type === 2) combineUintAt(operation, elementWords, 0, scratchUint[0]);
  else if (type === 3) combineFloatAt(operation, elementWords, 0, scratchFloat[0]);
  else combineDoubleAt(operation, elementWords, 0, scratchDouble[0]);
  for (let i = 0; i < width; i++) target[at + i] = elementBytesView[i];
}

function combineInt(operation: number, old: number, value: number): number {
  switch (operation) {
    case 1:
      return old + value | 0;
    case 2:
      return Math.min(old, value);
    case 3:
      return Math.max(old, value);
    case 4:
      return old | value;
    case 5:
      return old & value;
    default:
      return old ^ value;
  }
}

function combineUintAt(operation: number, words: Int32Array, word: number, value: number): void {
  const old = words[word] >>> 0;
  if (operation === 2) words[word] = Math.min(old, value);
  else if (operation === 3) words[word] = Math.max(old, value);
  else words[word] = combineInt(operation, old | 0, value | 0);
}

function combineFloatAt(operation: number, words: Int32Array, word: number, value: number): void {
  scratchInt[0] = words[word];
  const result = combineFloat(operation, scratchFloat[0], value);
  scratchFloat[0] = result;
  words[word] = Number.isNaN(result) ? CANONICAL_NAN_F32 : scratchInt[0];
}

function combineDoubleAt(operation: number, words: Int32Array, word: number, value: number): void {
  scratchInt[0] = words[word];
  scratchInt[1] = words[word + 1];
  const result = combineFloat(operation, scratchDouble[0], value);
  scratchDouble[0] = result;
  const isNaN = Number.isNaN(result);
  words[word] = isNaN ? 0 : scratchInt[0];
  words[word + 1] = isNaN ? CANONICAL_NAN_F64_HIGH : scratchInt[1];
}

/** Math.min and Math.max order −0 below +0 already; only NaN needs a hand. */
function combineFloat(operation: number, old: number, value: number): number {
  if (operation === 1) return old + value;
  if (Number.isNaN(old)) return value;
  if (Number.isNaN(value)) return old;
  return operation === 2 ? Math.min(old, value) : Math.max(old, value);
}
