/**
 * Delta lines: a line as a row, checked against its page as the bus would.
 *
 * @module
 */

import { PAGE_BYTES_MAX, PAGE_ID_MAX, STRING_BYTES_MAX } from "../base/mod.ts";
import { elementBytes, isKind, KIND_MASKED, KIND_SET, kindName } from "../physical/mod.ts";
import { maskedPayload } from "./export_line.ts";
import type { ImportedFrom, LogRow } from "./import_columns.ts";
import type { ImportLedger } from "./import_ledger.ts";
import type { ImportLine } from "./import_lines.ts";

const KINDS: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, kind) => kind).filter(isKind)
    .map((kind) => [kindName(kind), kind] as const),
);
/** Longest name of a kind. */
const KIND_BYTES_MAX = 16;
/** Most rows that one row can stand for. */
const ADVANCE_MAX = 2 ** 32 - 1;

/** The row of a delta line; the page's epoch is raised. */
export function deltaOfLine(line: ImportLine, ledger: ImportLedger): LogRow {
  const id = line.integer("page", 1, PAGE_ID_MAX);
  const page = ledger.living(line, id);
  const name = line.text("kind", KIND_BYTES_MAX);
  const kind = KINDS.get(name);
  if (kind === undefined) line.refuse("kind", `there is no kind ${JSON.stringify(name)}`);
  const offset = line.integer("offset", 0, PAGE_BYTES_MAX);
  const length = line.integer("length", 1, PAGE_BYTES_MAX);
  if (offset + length > page.size) {
    line.refuse("length", `bytes ${offset} to ${offset + length} leave page ${id} of ${page.size}`);
  }
  const advance = line.integerOr("advance", 1, ADVANCE_MAX, 1);
  const epoch = line.integer("epoch", 0, Number.MAX_SAFE_INTEGER);
  if (epoch !== page.epoch + advance) {
    line.refuse("epoch", `it is ${epoch}, page ${id} goes to ${page.epoch + advance}`);
  }
  page.epoch = epoch;
  return {
    page: id,
    epoch,
    kind,
    offset,
    length,
    payload: payloadOf(line, kind, offset, length),
    source: line.textOr("source", STRING_BYTES_MAX),
    intent: line.textOr("intent", STRING_BYTES_MAX),
    timeUs: line.numberOr("timeUs"),
    advance,
    imported: importedOf(line),
  };
}

function payloadOf(line: ImportLine, kind: number, offset: number, length: number): Uint8Array {
  const bytes = line.bytes("payload");
  if (kind === KIND_MASKED) {
    const payload = maskedPayload(line.bytes("mask"), bytes, length);
    if (payload instanceof Uint8Array) return payload;
    line.refuse(payload.field, payload.reason);
  }
  if (line.has("mask")) line.refuse("mask", "only masked deltas have one");
  if (bytes.length !== length) {
    line.refuse("payload", `it has ${bytes.length} bytes, the span ${length}`);
  }
  if (kind === KIND_SET) return bytes;
  const width = elementBytes(kind);
  if (offset % width !== 0 || length % width !== 0) {
    line.refuse("offset", `${kindName(kind)} stands at multiples of ${width}`);
  }
  return bytes;
}

function importedOf(line: ImportLine): ImportedFrom | undefined {
  const part = line.part("imported");
  if (part === undefined) return undefined;
  const id = line.digits("imported", part.id), { epoch } = part;
  const isEpoch = Number.isSafeInteger(epoch) && (epoch as number) >= 0 &&
    (epoch as number) < 2 ** 32;
  if (!isEpoch || Object.keys(part).length !== 2) {
    line.refuse("imported", "it is not { id, epoch } with an epoch below 2^32");
  }
  return {
    idLow: Number(BigInt.asIntN(32, id)),
    idHigh: Number(BigInt.asIntN(32, id >> 32n)),
    epoch: (epoch as number) | 0,
  };
}
