/**
 * Kernel columns: the rows of a batch, or of a frame of the log, as the loops that check, fold and
 * apply them see them.
 *
 * Cost: 33 bytes a row.
 *
 * @module
 */

/**
 * A batch's columns as the kernels see them: signed words (an unsigned load may leave the range of
 * 31-bit integers, and then its arithmetic is done in doubles), and the scratch that resolving
 * fills. It also stands for rows decoded from the log.
 */
export interface KernelColumns {
  /** Page id. */
  readonly page: Int32Array;
  /** First byte of the span. */
  readonly offset: Int32Array;
  /** Bytes of the span. */
  readonly length: Int32Array;
  /** First byte of the payload. */
  readonly start: Int32Array;
  /** Scratch: first word of the page's record in the page table. */
  readonly record: Int32Array;
  /** Scratch: index of the 32-bit word of the arena in which the span starts. */
  readonly target: Int32Array;
  /** Scratch: low 32 bits of the page's epoch after the row. */
  readonly epoch: Int32Array;
  /** Source number. */
  readonly source: Uint16Array;
  /** Intent number. */
  readonly intent: Uint16Array;
  /** Sources and intents, two to a word, sources first. */
  readonly strings: Int32Array;
  /** Kind byte. */
  readonly kind: Uint8Array;
  /** Kinds, four to a word. */
  readonly kinds: Int32Array;
  /** Payload pool. */
  readonly payloadBytes: Uint8Array;
  /** Payload pool as words. */
  readonly payloadWords: Int32Array;
}

/** Bytes of the columns of a batch, a row. */
export const ROW_BYTES = 33;

/**
 * Lays the kernels' columns over a buffer of at least `rows` × {@linkcode ROW_BYTES} bytes.
 *
 * @param buffer The buffer, shared or not.
 * @param rows Rows, a multiple of 8.
 * @param payload The payload pool; starts at a multiple of 4 of its buffer.
 */
export function kernelColumns(
  buffer: ArrayBufferLike,
  rows: number,
  payload: Uint8Array,
): KernelColumns {
  const words = (index: number) => new Int32Array(buffer, 4 * rows * index, rows);
  const halves = 28 * rows, kindStart = halves + 4 * rows;
  return {
    page: words(0),
    offset: words(1),
    length: words(2),
    start: words(3),
    record: words(4),
    target: words(5),
    epoch: words(6),
    source: new Uint16Array(buffer, halves, rows),
    intent: new Uint16Array(buffer, halves + 2 * rows, rows),
    strings: new Int32Array(buffer, halves, rows),
    kind: new Uint8Array(buffer, kindStart, rows),
    kinds: new Int32Array(buffer, kindStart, rows / 4),
    payloadBytes: payload,
    payloadWords: new Int32Array(payload.buffer, payload.byteOffset, payload.byteLength >>> 2),
  };
}

/** Bytes of a masked payload: the mask and one byte for each set bit. */
export function maskedPayloadBytes(bytes: Uint8Array, start: number, length: number): number {
  const maskBytes = length + 7 >>> 3;
  let set = 0;
  for (let i = 0; i < maskBytes; i++) {
    let byte = bytes[start + i];
    for (; byte !== 0; byte &= byte - 1) set++;
  }
  return maskBytes + set;
}
