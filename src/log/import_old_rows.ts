/**
 * Rows of old deltas and pages: the flags of an old delta become a span, or a mask and its packed
 * bytes; only flagged bytes are ever written.
 *
 * @module
 */

import { KIND_MASKED, KIND_SET } from "../physical/mod.ts";
import type { ImportedFrom, LogRow } from "./import_columns.ts";
import type { OldDelta } from "./import_mmsblog.ts";
import type { OldPage } from "./import_mmsbsnap.ts";

/** What of a row says which bytes it changes. */
export type RowBytes = Pick<LogRow, "kind" | "offset" | "length" | "payload">;

/** A row that changes no byte: a mask of one byte that is not set. */
const NOTHING: RowBytes = { kind: KIND_MASKED, offset: 0, length: 1, payload: new Uint8Array(1) };
/** Who the bytes of a checkpoint come from. */
const SNAPSHOT_SOURCE = "MMSBSNAP";

/** The row of an old delta: set bytes where they are one run, else masked ones. */
export function rowOfDelta(delta: OldDelta): RowBytes {
  const { flags, payload, sparse, first, last, set } = delta;
  if (set === 0) return NOTHING;
  const length = last - first;
  if (set === length) {
    const bytes = sparse ? payload : payload.subarray(first, last);
    return { kind: KIND_SET, offset: first, length, payload: bytes };
  }
  const maskBytes = length + 7 >>> 3;
  const packed = new Uint8Array(maskBytes + set);
  let at = maskBytes;
  for (let i = 0; i < length; i++) {
    if (flags[first + i] === 0) continue;
    packed[i >>> 3] |= 1 << (i & 7);
    packed[at] = sparse ? payload[at - maskBytes] : payload[first + i];
    at++;
  }
  return { kind: KIND_MASKED, offset: first, length, payload: packed };
}

/** Does to a page's bytes what an old delta says. */
export function applyDelta(state: Uint8Array, delta: OldDelta): void {
  const { flags, payload, sparse, first, last } = delta;
  for (let i = first, packed = 0; i < last; i++) {
    if (flags[i] === 1) state[i] = payload[sparse ? packed++ : i];
  }
}

/** The row that brings a new page to an old one's bytes and epoch, if it is not there already. */
export function pageRow(old: OldPage, imported: ImportedFrom): Omit<LogRow, "page"> | undefined {
  const bytes = spanOf(old.data, (byte) => byte !== 0);
  if (bytes === undefined && old.epoch === 0) return undefined;
  const advance = Math.max(1, old.epoch);
  return { ...bytes ?? NOTHING, advance, source: SNAPSHOT_SOURCE, imported };
}

/** The row that brings a page from one state to another, if there is a difference. */
export function repairRow(
  state: Uint8Array,
  data: Uint8Array,
  imported: ImportedFrom,
): Omit<LogRow, "page"> | undefined {
  const bytes = spanOf(data, (byte, i) => byte !== state[i]);
  return bytes === undefined ? undefined : { ...bytes, source: SNAPSHOT_SOURCE, imported };
}

function spanOf(
  data: Uint8Array,
  counts: (byte: number, index: number) => boolean,
): RowBytes | undefined {
  const first = data.findIndex(counts);
  if (first < 0) return undefined;
  const payload = data.subarray(first, data.findLastIndex(counts) + 1);
  return { kind: KIND_SET, offset: first, length: payload.length, payload };
}
