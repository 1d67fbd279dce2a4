/**
 * The bytes of a temporal message: one spelling for one message, and every other one refused with its reason.
 *
 * ```text
 * 0        4   5    6      8     16    24     32     40     48      56       60            64
 * │ crc32  │ver│prio│ node │ id  │ time│ seq  │ error│ from │ until │ deps n │ payload n   │ ids 8 n │ payload │
 * ```
 *
 * All numbers are little-endian. Times and the sequence are doubles, so that an end that never comes and an error that nobody
 * knows are Infinity. The checksum covers all that follows it; the length must be exactly that which the counts say.
 *
 * Cost: 64 bytes and 8 a dependency beside the payload; below 1 µs a short message each way, and its objects.
 */
import { checkBytes } from "../../base/assert.ts";
import { crc32 } from "../../base/checksum.ts";
import { isMmsbError, MmsbError } from "../../base/errors.ts";
import {
  type MessageOptions,
  type Priority,
  type TemporalMessage,
  temporalMessage,
} from "./message.ts";

/** Bytes of a message without dependencies and payload. */
export const MESSAGE_HEADER_BYTES = 64;

const VERSION = 1;

/**
 * Encodes a message.
 *
 * @param message The message.
 * @returns Its bytes.
 * @throws {MmsbError} As {@linkcode temporalMessage} for what is no message.
 *
 * @example There and back
 * ```ts
 * import { deepEqual, equal } from "node:assert/strict";
 *
 * const message = { id: 1n, timestamp: 4096n, dependencies: [7n], payload: Uint8Array.of(1, 2) };
 * const bytes = encodeMessage(message);
 * equal(bytes.length, 64 + 8 + 2);
 * deepEqual(decodeMessage(bytes), { ...decodeMessage(bytes), ...message });
 * ```
 */
export function encodeMessage(message: MessageOptions): Uint8Array<ArrayBuffer> {
  const whole = temporalMessage(message), { dependencies, payload } = whole;
  const payloadAt = MESSAGE_HEADER_BYTES + 8 * dependencies.length;
  const bytes = new Uint8Array(payloadAt + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(4, VERSION);
  view.setUint8(5, whole.priority);
  view.setUint16(6, whole.node, true);
  view.setBigUint64(8, whole.id, true);
  view.setBigUint64(16, whole.timestamp, true);
  view.setFloat64(24, whole.sequence, true);
  view.setFloat64(32, whole.errorUs, true);
  view.setFloat64(40, whole.validFromUs, true);
  view.setFloat64(48, whole.validUntilUs, true);
  view.setUint32(56, dependencies.length, true);
  view.setUint32(60, payload.length, true);
  dependencies.forEach((id, index) =>
    view.setBigUint64(MESSAGE_HEADER_BYTES + 8 * index, id, true)
  );
  bytes.set(payload, payloadAt);
  view.setUint32(0, crc32(bytes.subarray(4)), true);
  return bytes;
}

/**
 * Decodes a message.
 *
 * @param bytes What {@linkcode encodeMessage} gave: the whole message and nothing else.
 * @returns The message; its payload is a copy.
 * @throws {MmsbError} `usage` where they are no bytes, too few or too many, or say what no message says; `checksum` where they
 * have changed; `version` where a newer version wrote them.
 *
 * @example Bytes that have changed
 * ```ts
 * import { throws } from "node:assert/strict";
 *
 * const bytes = encodeMessage({ id: 1n, timestamp: 4096n });
 * bytes[8] ^= 1;
 * throws(() => decodeMessage(bytes), { code: "checksum" });
 * ```
 */
export function decodeMessage(bytes: Uint8Array): TemporalMessage {
  checkBytes("bytes of a message", bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < MESSAGE_HEADER_BYTES) refuseLength(bytes.length, MESSAGE_HEADER_BYTES);
  if (view.getUint8(4) > VERSION) {
    throw new MmsbError(
      "version",
      `Cannot decode a message of version ${view.getUint8(4)}: this is ${VERSION}`,
      {
        values: { version: view.getUint8(4) },
      },
    );
  }
  const count = view.getUint32(56, true), payloadBytes = view.getUint32(60, true);
  const payloadAt = MESSAGE_HEADER_BYTES + 8 * count;
  if (bytes.length !== payloadAt + payloadBytes) {
    refuseLength(bytes.length, payloadAt + payloadBytes);
  }
  const stated = view.getUint32(0, true), found = crc32(bytes.subarray(4));
  if (stated !== found) {
    throw new MmsbError(
      "checksum",
      "Cannot decode a message as its bytes have changed: have it sent again",
      {
        values: { stated, found },
      },
    );
  }
  if (view.getUint8(4) !== VERSION) refuseValues(`version ${view.getUint8(4)}`);
  try {
    return temporalMessage(read(view, bytes, count, payloadAt));
  } catch (error) {
    if (!isMmsbError(error)) throw error;
    refuseValues(error.message, error);
  }
}

function read(
  view: DataView,
  bytes: Uint8Array,
  count: number,
  payloadAt: number,
): TemporalMessage {
  const dependencies: bigint[] = [];
  for (let i = 0; i < count; i++) {
    dependencies.push(view.getBigUint64(MESSAGE_HEADER_BYTES + 8 * i, true));
  }
  // One spelling for one message: a zero with a sign would read the same and be other bytes.
  for (let at = 24; at < 56; at += 8) {
    if (Object.is(view.getFloat64(at, true), -0)) refuseValues(`a negative zero at byte ${at}`);
  }
  return {
    id: view.getBigUint64(8, true),
    timestamp: view.getBigUint64(16, true),
    node: view.getUint16(6, true),
    sequence: view.getFloat64(24, true),
    errorUs: view.getFloat64(32, true),
    dependencies,
    validFromUs: view.getFloat64(40, true),
    validUntilUs: view.getFloat64(48, true),
    priority: view.getUint8(5) as Priority,
    payload: bytes.slice(payloadAt),
  };
}

function refuseLength(length: number, expected: number): never {
  throw new MmsbError(
    "usage",
    `Cannot decode a message of ${length} bytes: its header says ${expected}`,
    { values: { length, expected } },
  );
}

function refuseValues(why: string, cause?: MmsbError): never {
  throw new MmsbError("usage", `Cannot decode a message as its bytes say what none says: ${why}`, {
    cause,
  });
}
