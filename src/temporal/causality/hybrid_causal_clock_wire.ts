/**
 * Stamps and messages of a group outside a process.
 *
 * ```text
 * 0            8        10                        end of the vector
 * │ word u64   │node u16│ vector (2 + 10 n bytes) │ payload …
 *   big-endian  big-endian little-endian
 * ```
 *
 * The first 10 bytes are the sortable form of `wire.ts`, so that encoded stamps sort by timestamp and node; the vector is that
 * of `vector_clock_wire.ts`. A vector's first number says how long it is, so the payload of a message is what is left.
 *
 * Cost: some 10 ns an entry of the vector, and the copy of the payload.
 */
import { checkBytes } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { SORTABLE_BYTES } from "../wire.ts";
import { requireSequence } from "./_causal_refusals.ts";
import type { CausalMessage } from "./causal_message.ts";
import { type HybridCausalStamp, requireStamp } from "./hybrid_causal_clock.ts";
import {
  type DecodeVectorOptions,
  nodesMaxOf,
  readVector,
  vectorBytes,
  writeVector,
} from "./vector_clock_wire.ts";

/**
 * Encodes a stamp.
 *
 * @param stamp The stamp.
 * @returns New bytes: 10 of the sortable timestamp, then the vector.
 * @throws {MmsbError} `usage` if it is no stamp.
 *
 * @example There and back
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { VectorTime } from "./vector_clock.ts";
 *
 * const stamp = { node: 3, hi: 1, lo: 2, vector: VectorTime.of([[3, 1]]) };
 *
 * deepEqual(encodeCausalStamp(stamp).subarray(0, 10), Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2, 0, 3));
 * deepEqual(decodeCausalStamp(encodeCausalStamp(stamp)).vector.entries(), [[3, 1]]);
 * ```
 */
export function encodeCausalStamp(stamp: HybridCausalStamp): Uint8Array<ArrayBuffer> {
  requireStamp(stamp);
  const bytes = new Uint8Array(SORTABLE_BYTES + vectorBytes(stamp.vector));
  writeStamp(bytes, stamp);
  return bytes;
}

/**
 * Decodes {@linkcode encodeCausalStamp}.
 *
 * @param bytes A stamp and nothing else.
 * @param options How many entries its vector may have.
 * @returns The stamp.
 * @throws {MmsbError} `usage` if the bytes are no stamp; `limit` above `nodesMax`.
 */
export function decodeCausalStamp(
  bytes: Uint8Array,
  options: DecodeVectorOptions = {},
): HybridCausalStamp {
  const stamp = readStamp("decodeCausalStamp", bytes, options);
  const end = SORTABLE_BYTES + vectorBytes(stamp.vector);
  if (end !== bytes.length) {
    throwRefused(`its ${end} bytes are followed by others`, bytes.length);
  }
  return stamp;
}

/**
 * Encodes a message whose payload is bytes.
 *
 * @param message The message.
 * @returns New bytes: the stamp, then the payload.
 * @throws {MmsbError} `usage` if it is no message of bytes.
 *
 * @example There and back
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { VectorTime } from "./vector_clock.ts";
 *
 * const vector = VectorTime.of([[3, 1]]);
 * const message = { node: 3, sequence: 1, hi: 1, lo: 2, vector, payload: Uint8Array.of(7) };
 *
 * deepEqual(decodeCausalMessage(encodeCausalMessage(message)).payload, Uint8Array.of(7));
 * ```
 */
export function encodeCausalMessage(message: CausalMessage<Uint8Array>): Uint8Array<ArrayBuffer> {
  requireStamp(message);
  requireSequence(message.sequence);
  checkBytes("payload", message.payload);
  const { node, sequence, vector, payload } = message;
  if (vector.get(node) !== sequence) {
    throw new MmsbError(
      "usage",
      `Cannot encode message ${sequence} of node ${node} as its vector counts ${
        vector.get(node)
      }: ` +
        "give the message that send() made",
      { values: { node, sequence } },
    );
  }
  const start = SORTABLE_BYTES + vectorBytes(vector);
  const bytes = new Uint8Array(start + payload.length);
  writeStamp(bytes, message);
  bytes.set(payload, start);
  return bytes;
}

/**
 * Decodes {@linkcode encodeCausalMessage}.
 *
 * @param bytes A message.
 * @param options How many entries its vector may have.
 * @returns The message; its payload is a view of `bytes`.
 * @throws {MmsbError} `usage` if the bytes are no message; `limit` above `nodesMax`.
 */
export function decodeCausalMessage(
  bytes: Uint8Array,
  options: DecodeVectorOptions = {},
): CausalMessage<Uint8Array> {
  const stamp = readStamp("decodeCausalMessage", bytes, options);
  const { node, hi, lo, vector } = stamp;
  const payload = bytes.subarray(SORTABLE_BYTES + vectorBytes(vector));
  return { node, sequence: vector.get(node), hi, lo, vector, payload };
}

function writeStamp(bytes: Uint8Array, { node, hi, lo, vector }: HybridCausalStamp): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(0, hi);
  view.setUint32(4, lo);
  view.setUint16(8, node);
  writeVector(bytes, SORTABLE_BYTES, vector);
}

function readStamp(
  name: string,
  bytes: Uint8Array,
  options: DecodeVectorOptions,
): HybridCausalStamp {
  checkBytes("bytes of a stamp", bytes);
  const nodesMax = nodesMaxOf(name, options);
  if (bytes.length < SORTABLE_BYTES) throwRefused("it is truncated", bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const vector = readVector(bytes, SORTABLE_BYTES, nodesMax);
  const stamp = { node: view.getUint16(8), hi: view.getUint32(0), lo: view.getUint32(4), vector };
  if (vector.get(stamp.node) === 0) {
    throwRefused(`its vector has no count of node ${stamp.node}`, 8);
  }
  return stamp;
}

function throwRefused(why: string, offset: number): never {
  throw new MmsbError(
    "usage",
    `Cannot decode a stamp as ${why}: give the bytes that encodeCausalStamp or encodeCausalMessage made`,
    { values: { offset } },
  );
}
