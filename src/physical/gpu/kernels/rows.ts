/**
 * The rows of a batch on the device: their columns in one buffer, their payloads in another, and how a kernel
 * finds its row.
 *
 * The columns go up as they are, one section a column; a section that all rows have in common (one length,
 * payloads in a row, one kind) is left out and said in the head instead. Words are counted from the start of a window of the
 * packed memory, so that memory larger than one binding is worked on window by window: what lies outside is
 * skipped, by one comparison of unsigned numbers.
 *
 * A row is worked on by 2^lane_shift invocations, each of which takes every so many-th word of it.
 */

import { INVOCATION_WGSL } from "./invocation.ts";

/** Invocations of a workgroup, in all kernels. */
export const WORKGROUP_LANES = 64;

/** 32-bit words of a batch's head on the device. */
export const BATCH_HEAD_WORDS = 16;

/** What a chunk's rows have in common, and where its columns stand. */
export interface BatchHead {
  /** Rows, or groups of rows, that the kernel goes through. */
  readonly count: number;
  /** Invocations a row, as a shift. */
  readonly laneShift: number;
  /** First word of the window. */
  readonly window: number;
  /** Words of the window. */
  readonly windowWords: number;
  /** Bytes of every row; 0 where lengths are a column. */
  readonly length: number;
  /** First byte of the first payload in the chunk's payloads, where they are in a row; else the byte of the pool at which the chunk's begin. */
  readonly start: number;
  /** Bytes from a payload to the next; 0 where starts are a column. */
  readonly stride: number;
  /** Kind of every row, where kinds are no column. */
  readonly kind: number;
  /** Word at which lengths begin. */
  readonly lengthAt: number;
  /** Word at which starts begin. */
  readonly startAt: number;
  /** Word at which offsets begin. */
  readonly offsetAt: number;
  /** Word at which kinds begin, four to a word. */
  readonly kindAt: number;
}

/** Puts a head into words, as {@linkcode ROWS_WGSL} reads them. */
export function writeHead(head: BatchHead, words: Uint32Array): void {
  words[0] = head.count;
  words[1] = head.laneShift;
  words[2] = head.window;
  words[3] = head.windowWords;
  words[4] = head.length;
  words[5] = head.start;
  words[6] = head.stride;
  words[7] = head.kind;
  words[8] = head.lengthAt;
  words[9] = head.startAt;
  words[10] = head.offsetAt;
  words[11] = head.kindAt;
}

/** The head and the columns, and what row an invocation has. */
export const ROWS_WGSL: string = /* wgsl */ `${INVOCATION_WGSL}
struct Batch {
  count: u32, lane_shift: u32, window: u32, window_words: u32,
  length: u32, start: u32, stride: u32, kind: u32,
  length_at: u32, start_at: u32, offset_at: u32, kind_at: u32,
  rest: vec4<u32>,
}
@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> columns: array<u32>;

fn thread_of(invocation: Invocation) -> u32 {
  return workgroup_of(invocation) * ${WORKGROUP_LANES}u + invocation.lane;
}
fn lane_of(thread: u32) -> u32 { return thread & ((1u << batch.lane_shift) - 1u); }
fn row_target(row: u32) -> u32 { return columns[row] - batch.window; }
fn row_length(row: u32) -> u32 {
  if (batch.length != 0u) { return batch.length; }
  return columns[batch.length_at + row];
}
fn row_start(row: u32) -> u32 {
  if (batch.stride != 0u) { return batch.start + row * batch.stride; }
  return columns[batch.start_at + row] - batch.start;
}
`;

/** The payloads: four bytes from any byte on; bytes past the end are whatever is there. */
export const PAYLOAD_WGSL: string = /* wgsl */ `
@group(0) @binding(2) var<storage, read> payload: array<u32>;

fn payload_bytes(byte: u32) -> u32 {
  let word = byte >> 2u;
  let shift = (byte & 3u) * 8u;
  let low = payload[word];
  if (shift == 0u) { return low; }
  return (low >> shift) | (payload[min(word + 1u, arrayLength(&payload) - 1u)] << (32u - shift));
}
`;
