/**
 * Many temporal messages in columns: what is pushed into a queue and popped out of it in numbers.
 *
 * One array a property, a row a message. Dependencies and payloads of all rows lie behind each other in two shared arrays,
 * each row says where its own begin. Payloads begin at multiples of 4 bytes, so that they are copied by words.
 *
 * The columns are there to be written and read directly; {@linkcode MessageBatch.add} and
 * {@linkcode MessageBatch.get} turn single messages into rows and back. What a queue cannot take is refused when the batch is
 * pushed, in one pass over the columns.
 *
 * Cost: all memory is taken when it is made, 75 bytes a row and the payloads; filling a row's columns costs some ns.
 */
import { checkBytes, checkInteger, checkKeys } from "../../base/assert.ts";
import { BATCH_PAYLOAD_BYTES_MAX, BATCH_ROWS_MAX } from "../../base/limits.ts";
import { timestampFromHalves } from "../timestamp.ts";
import {
  type MessageOptions,
  type Priority,
  type TemporalMessage,
  temporalMessage,
} from "./message.ts";

/** How large a batch is. */
export interface MessageBatchOptions {
  /** Most rows; 1,024 if left out. */
  readonly capacity?: number;
  /** Most bytes of payload of all rows, each rounded up to 4; 64 a row if left out. */
  readonly payloadBytes?: number;
  /** Most dependencies of all rows; two a row if left out. */
  readonly dependencies?: number;
}

/** What became of a pushed message, by the number in {@linkcode MessageBatch.outcome}. */
export const PUSH_OUTCOMES: readonly ["ready", "held", "waiting", "expired", "duplicate"] = Object
  .freeze(["ready", "held", "waiting", "expired", "duplicate"] as const);

/** What became of a pushed message: it may be delivered, its window has not begun, it waits for others, its window was over, or its id was there. */
export type PushOutcome = typeof PUSH_OUTCOMES[number];

/**
 * Columns of temporal messages.
 *
 * @example Two messages
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const batch = new MessageBatch({ capacity: 16 });
 * batch.add({ id: 1n, timestamp: 4096n, payload: Uint8Array.of(1, 2, 3) });
 * const row = batch.reserve(1); // a row with nothing but defaults
 * batch.idLo[row] = 2;
 * batch.lo[row] = 4097;
 *
 * equal(batch.count, 2);
 * equal(batch.get(0).payload.length, 3);
 * equal(batch.get(1).timestamp, 4097n);
 * ```
 */
export class MessageBatch {
  /** Most rows. */
  readonly capacity: number;
  /** Upper halves of the ids. */
  readonly idHi: Uint32Array<ArrayBuffer>;
  /** Lower halves of the ids. */
  readonly idLo: Uint32Array<ArrayBuffer>;
  /** Upper halves of the timestamps. */
  readonly hi: Uint32Array<ArrayBuffer>;
  /** Lower halves of the timestamps. */
  readonly lo: Uint32Array<ArrayBuffer>;
  /** Nodes that sent them. */
  readonly node: Uint16Array<ArrayBuffer>;
  /** Their numbers among those of their senders. */
  readonly sequence: Float64Array<ArrayBuffer>;
  /** Error bounds of the timestamps, in µs. */
  readonly errorUs: Float64Array<ArrayBuffer>;
  /** First µs of the windows; 0: at once. */
  readonly validFromUs: Float64Array<ArrayBuffer>;
  /** Last µs of the windows; Infinity: for ever. */
  readonly validUntilUs: Float64Array<ArrayBuffer>;
  /** Priorities, 0 to 3. */
  readonly priority: Uint8Array<ArrayBuffer>;
  /** Where in {@linkcode dependencies} a row's own begin, counted in ids. */
  readonly dependencyStart: Uint32Array<ArrayBuffer>;
  /** How many they are. */
  readonly dependencyCount: Uint8Array<ArrayBuffer>;
  /** Where in {@linkcode payload} a row's own begins, a multiple of 4. */
  readonly payloadStart: Uint32Array<ArrayBuffer>;
  /** How many bytes it has. */
  readonly payloadBytes: Uint32Array<ArrayBuffer>;
  /** What became of each row when the batch was pushed: an index of {@linkcode PUSH_OUTCOMES}. */
  readonly outcome: Uint8Array<ArrayBuffer>;
  /** Ids that the rows depend on: upper half, lower half. */
  readonly dependencies: Uint32Array<ArrayBuffer>;
  /** Payloads of the rows. */
  readonly payload: Uint8Array<ArrayBuffer>;
  /** The same as words. */
  readonly payloadWords: Uint32Array<ArrayBuffer>;
  /** Rows in use. */
  count = 0;
  /** Ids of {@linkcode dependencies} in use. */
  dependencyEnd = 0;
  /** Bytes of {@linkcode payload} in use, a multiple of 4. */
  payloadEnd = 0;

  /**
   * Makes an empty batch.
   *
   * @param options How large it is.
   * @throws {MmsbError} `usage` or `limit` for options that cannot be.
   */
  constructor(options: MessageBatchOptions = {}) {
    checkKeys("MessageBatch", options, ["capacity", "payloadBytes", "dependencies"]);
    const { capacity = 1024 } = options;
    checkInteger("capacity", capacity, 1, BATCH_ROWS_MAX, "limit");
    const { payloadBytes = 64 * capacity, dependencies = 2 * capacity } = options;
    checkInteger("payloadBytes", payloadBytes, 0, BATCH_PAYLOAD_BYTES_MAX, "limit");
    checkInteger("dependencies", dependencies, 0, BATCH_ROWS_MAX, "limit");
    this.capacity = capacity;
    this.idHi = new Uint32Array(capacity);
    this.idLo = new Uint32Array(capacity);
    this.hi = new Uint32Array(capacity);
    this.lo = new Uint32Array(capacity);
    this.node = new Uint16Array(capacity);
    this.sequence = new Float64Array(capacity);
    this.errorUs = new Float64Array(capacity);
    this.validFromUs = new Float64Array(capacity);
    this.validUntilUs = new Float64Array(capacity);
    this.priority = new Uint8Array(capacity);
    this.dependencyStart = new Uint32Array(capacity);
    this.dependencyCount = new Uint8Array(capacity);
    this.payloadStart = new Uint32Array(capacity);
    this.payloadBytes = new Uint32Array(capacity);
    this.outcome = new Uint8Array(capacity);
    this.dependencies = new Uint32Array(2 * dependencies);
    this.payloadWords = new Uint32Array(Math.ceil(payloadBytes / 4));
    this.payload = new Uint8Array(this.payloadWords.buffer);
  }

  /** Empties the batch; columns keep what they held. */
  clear(): void {
    this.count = 0;
    this.dependencyEnd = 0;
    this.payloadEnd = 0;
  }

  /**
   * Appends rows that hold nothing but defaults: all zeros, priority normal, a window without end.
   *
   * @param count How many.
   * @returns The first of them.
   * @throws {MmsbError} `limit` where they do not fit.
   */
  reserve(count: number): number {
    const first = this.count;
    checkInteger("count of rows", count, 0, this.capacity - first, "limit");
    const end = first + count;
    this.idHi.fill(0, first, end);
    this.idLo.fill(0, first, end);
    this.hi.fill(0, first, end);
    this.lo.fill(0, first, end);
    this.node.fill(0, first, end);
    this.sequence.fill(0, first, end);
    this.errorUs.fill(0, first, end);
    this.validFromUs.fill(0, first, end);
    this.validUntilUs.fill(Infinity, first, end);
    this.priority.fill(1, first, end);
    this.dependencyCount.fill(0, first, end);
    this.payloadBytes.fill(0, first, end);
    this.count = end;
    return first;
  }

  /**
   * Appends a message.
   *
   * @param options The message.
   * @returns Its row.
   * @throws {MmsbError} `limit` where it does not fit; as {@linkcode temporalMessage} for what is none.
   */
  add(options: MessageOptions): number {
    const message = temporalMessage(options);
    const { dependencies, payload } = message;
    const idsLeft = this.dependencies.length / 2 - this.dependencyEnd;
    checkInteger("dependencies for the room left", dependencies.length, 0, idsLeft, "limit");
    const bytesLeft = this.payload.length - this.payloadEnd;
    checkInteger("bytes of payload for the room left", payload.length, 0, bytesLeft, "limit");
    const row = this.reserve(1);
    this.idHi[row] = Number(message.id >> 32n);
    this.idLo[row] = Number(message.id & 0xffff_ffffn);
    this.hi[row] = Number(message.timestamp >> 32n);
    this.lo[row] = Number(message.timestamp & 0xffff_ffffn);
    this.node[row] = message.node;
    this.sequence[row] = message.sequence;
    this.errorUs[row] = message.errorUs;
    this.validFromUs[row] = message.validFromUs;
    this.validUntilUs[row] = message.validUntilUs;
    this.priority[row] = message.priority;
    this.setPayload(row, payload);
    this.dependencyStart[row] = this.dependencyEnd;
    this.dependencyCount[row] = dependencies.length;
    for (const id of dependencies) {
      this.dependencies[2 * this.dependencyEnd] = Number(id >> 32n);
      this.dependencies[2 * this.dependencyEnd + 1] = Number(id & 0xffff_ffffn);
      this.dependencyEnd++;
    }
    return row;
  }

  /**
   * Gives a row a payload, behind those that are there; one that it had stays where it was, unused.
   *
   * @param row The row.
   * @param bytes Its payload, which is copied.
   * @throws {MmsbError} `out-of-bounds` for a row that is not in use, `limit` where the bytes do not fit, `usage` for what are no bytes.
   */
  setPayload(row: number, bytes: Uint8Array): void {
    checkInteger("row", row, 0, this.count - 1);
    checkBytes("payload", bytes);
    const start = this.payloadEnd;
    checkInteger("bytes of payload", bytes.length, 0, this.payload.length - start, "limit");
    this.payload.set(bytes, start);
    this.payloadStart[row] = start;
    this.payloadBytes[row] = bytes.length;
    this.payloadEnd = start + ((bytes.length + 3) & ~3);
  }

  /**
   * Reads a row as an object.
   *
   * @param row The row.
   * @returns The message; its payload is a copy.
   * @throws {MmsbError} `out-of-bounds` for a row that is not in use.
   */
  get(row: number): TemporalMessage {
    checkInteger("row", row, 0, this.count - 1);
    const start = this.payloadStart[row], first = this.dependencyStart[row];
    return {
      id: timestampFromHalves(this.idHi[row], this.idLo[row]),
      timestamp: timestampFromHalves(this.hi[row], this.lo[row]),
      node: this.node[row],
      sequence: this.sequence[row],
      errorUs: this.errorUs[row],
      dependencies: Array.from({ length: this.dependencyCount[row] }, (_, index) => {
        const at = 2 * (first + index);
        return timestampFromHalves(this.dependencies[at], this.dependencies[at + 1]);
      }),
      validFromUs: this.validFromUs[row],
      validUntilUs: this.validUntilUs[row],
      priority: this.priority[row] as Priority,
      payload: this.payload.slice(start, start + this.payloadBytes[row]),
    };
  }

  /** What became of a row when the batch was pushed, by name. */
  outcomeOf(row: number): PushOutcome {
    checkInteger("row", row, 0, this.count - 1);
    return PUSH_OUTCOMES[this.outcome[row]];
  }
}
