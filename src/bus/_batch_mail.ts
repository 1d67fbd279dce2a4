/**
 * Batch mail: a batch as one message from a producer's thread to the bus, and the answer to it.
 *
 * Columns are copied as they stand; the batch itself stays with the producer.
 */

import { alignUp, MmsbError, type MmsbErrorJson } from "../base/mod.ts";
import { DeltaBatch } from "../physical/mod.ts";
import type { BatchReceipt } from "./reports.ts";

/** A batch that came from another thread. */
export interface MailedBatch {
  /** Number that its producer's thread gave it. */
  readonly number: number;
  /** Producer. */
  readonly producer: number;
  /** The batch. */
  readonly batch: DeltaBatch;
}

/** What became of a batch. */
export interface MailedAnswer {
  /** Number that its producer's thread gave it. */
  readonly number: number;
  /** Where the tick took it. */
  readonly receipt?: BatchReceipt;
  /** Where it was refused. */
  readonly error?: MmsbErrorJson;
}

const HEAD_WORDS = 8;
const HAS_EPOCHS = 1, HAS_TIMES = 2;
/** Bytes of the columns that a row takes: four of 32 bits, two of 16, one of 8. */
const COLUMN_BYTES = 21;

/** Bytes of a batch as a message, and what writes them. */
export function packBatch(
  number: number,
  producer: number,
  batch: DeltaBatch,
): { readonly length: number; readonly write: (bytes: Uint8Array) => void } {
  const { length: rows, payloadLength, expectedEpochs, timesUs } = batch;
  const strings = new TextEncoder().encode(JSON.stringify(batch.strings.slice(1)));
  const flags = (expectedEpochs === undefined ? 0 : HAS_EPOCHS) |
    (timesUs === undefined ? 0 : HAS_TIMES);
  const doubles = (expectedEpochs === undefined ? 0 : 1) + (timesUs === undefined ? 0 : 1);
  const room = alignUp(rows, 8), columnsAt = 4 * HEAD_WORDS + 8 * room * doubles;
  const payloadAt = columnsAt + COLUMN_BYTES * room, stringsAt = payloadAt + payloadLength;
  return {
    length: stringsAt + strings.length,
    write: (bytes) => {
      const { buffer, byteOffset: start } = bytes;
      const head = [number, producer, rows, payloadLength, strings.length, flags, 0, 0];
      new Uint32Array(buffer, start, HEAD_WORDS).set(head);
      let at = start + 4 * HEAD_WORDS;
      for (const column of [expectedEpochs, timesUs]) {
        if (column === undefined) continue;
        new Float64Array(buffer, at, rows).set(column.subarray(0, rows));
        at += 8 * room;
      }
      const { kernel } = batch;
      const columns = [kernel.page, kernel.offset, kernel.length, kernel.start];
      for (const column of columns) {
        new Int32Array(buffer, at, rows).set(column.subarray(0, rows));
        at += 4 * room;
      }
      for (const column of [kernel.source, kernel.intent]) {
        new Uint16Array(buffer, at, rows).set(column.subarray(0, rows));
        at += 2 * room;
      }
      new Uint8Array(buffer, at, rows).set(kernel.kind.subarray(0, rows));
      bytes.set(batch.payload.subarray(0, payloadLength), payloadAt);
      bytes.set(strings, stringsAt);
    },
  };
}

/** The batch of a message. */
export function unpackBatch(bytes: Uint8Array): MailedBatch {
  const { buffer, byteOffset: start } = bytes;
  const head = new Uint32Array(buffer, start, HEAD_WORDS);
  const [number, producer, rows, payloadLength, stringsLength, flags] = head;
  const batch = new DeltaBatch({ rows, payloadBytes: payloadLength });
  const room = alignUp(rows, 8), { kernel } = batch;
  let at = start + 4 * HEAD_WORDS;
  if ((flags & HAS_EPOCHS) !== 0) {
    batch.expectEpochs().set(new Float64Array(buffer, at, rows));
    at += 8 * room;
  }
  if ((flags & HAS_TIMES) !== 0) {
    batch.stateTimes().set(new Float64Array(buffer, at, rows));
    at += 8 * room;
  }
  for (const column of [kernel.page, kernel.offset, kernel.length, kernel.start]) {
    column.set(new Int32Array(buffer, at, rows));
    at += 4 * room;
  }
  for (const column of [kernel.source, kernel.intent]) {
    column.set(new Uint16Array(buffer, at, rows));
    at += 2 * room;
  }
  kernel.kind.set(new Uint8Array(buffer, at, rows));
  at += room;
  batch.payload.set(new Uint8Array(buffer, at, payloadLength));
  const text = new Uint8Array(buffer, at + payloadLength, stringsLength).slice();
  for (const string of JSON.parse(new TextDecoder().decode(text)) as string[]) batch.source(string);
  batch.setLength(rows, payloadLength);
  return { number, producer, batch };
}

/** Bytes of an answer. */
export function packAnswer(answer: MailedAnswer): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(answer));
}

/** An answer of its bytes. */
export function unpackAnswer(bytes: Uint8Array): MailedAnswer {
  return JSON.parse(new TextDecoder().decode(bytes.slice())) as MailedAnswer;
}

/** An error as another thread is told of it. */
export function errorJson(error: unknown): MmsbErrorJson {
  if (error instanceof MmsbError) return error.toJSON();
  return new MmsbError("worker", `Cannot apply the batch: ${String(error)}`).toJSON();
}
