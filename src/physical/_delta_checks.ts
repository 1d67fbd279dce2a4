/** Checks of what callers push to a batch, row by row. */

import { isBytes, MmsbError } from "../base/mod.ts";
import type { DeltaRow } from "./delta_batch.ts";
import { maskedPayloadBytes } from "./kernel_columns.ts";

/** Looks at the type first: `>>>` throws on a bigint and runs the code of an object. */
export function isUint32(value: number): boolean {
  return typeof value === "number" && (value >>> 0) === value;
}

/** Checks that a mask fits its span and its packed bytes. */
export function checkMask(mask: Uint8Array, packedLength: number, length: number): void {
  const maskBytes = length + 7 >>> 3;
  if (mask.length !== maskBytes) {
    throw new MmsbError(
      "usage",
      `Cannot use a mask of ${mask.length} bytes for a span of ${length}: it needs ${maskBytes}`,
      { values: { length, maskLength: mask.length } },
    );
  }
  if ((length & 7) !== 0 && mask[maskBytes - 1] >>> (length & 7) !== 0) {
    throw new MmsbError(
      "usage",
      `Cannot use a mask with bits past its span of ${length} bytes: clear them`,
      { values: { length } },
    );
  }
  const bits = maskedPayloadBytes(mask, 0, length) - maskBytes;
  if (packedLength !== bits) {
    throw new MmsbError(
      "usage",
      `Cannot use ${packedLength} packed bytes for a mask of ${bits} set bits: they must agree`,
      { values: { packedLength, bits } },
    );
  }
}

/** Checks that a combining operation begins at one of its elements. */
export function checkAligned(offset: number, width: number): void {
  if (typeof offset === "number" && offset % width !== 0 && Number.isInteger(offset)) {
    throw new MmsbError(
      "usage",
      `Cannot combine at offset ${offset}: elements of ${width} bytes stand at multiples of ${width}`,
      { values: { offset, width } },
    );
  }
}

/** Refuses what is no payload. */
export function refusePayload(payload: unknown): never {
  const empty = isBytes(payload) && payload.length === 0;
  throw new MmsbError(
    "usage",
    empty
      ? "Cannot use an empty payload: give at least one byte"
      : "Cannot use the payload: give a Uint8Array",
    { values: { payload } },
  );
}

/** Refuses a row whose payload is not as long as its span. */
export function refuseLength(row: DeltaRow): never {
  throw new MmsbError(
    "usage",
    `Cannot use a payload of ${row.payload.length} bytes for a span of ${row.length}: they must agree`,
    { values: { length: row.length, payloadLength: row.payload.length } },
  );
}
