/**
 * Export rows: rows of a decoded frame as lines.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { decodeMetadata, EDGE_TYPES, MARK_NAMES } from "../physical/mod.ts";
import { decodeBinding } from "./binding.ts";
import { decodeBirth } from "./birth.ts";
import { bytesJson, type ExportLine, metadataJson, type RowLine } from "./export_line.ts";
import { ROW_KIND, RULE_ROW, STRUCTURAL } from "./format.ts";
import { type DecodedRows, type FrameHeader, importedId, payloadLength } from "./frame_reader.ts";
import type { LaneTick } from "./lane_reader.ts";

/** A frame of the tick at hand, decoded. */
export interface Part {
  readonly lane: LaneTick;
  readonly frame: FrameHeader;
  readonly decoded: DecodedRows;
}

/** Whether its rows are operations on pages. */
export function isStructural({ frame }: Part): boolean {
  return frame.rowKind === ROW_KIND.structural;
}

/** Whether a row is a birth. */
export function isBirth({ frame, decoded }: Part, row: number): boolean {
  return frame.rowKind === ROW_KIND.structural &&
    decoded.columns.kind[row] === STRUCTURAL.createPage;
}

/** The line of a birth. */
export function birthLine(part: Part, row: number, about: RowLine, shard: number): ExportLine {
  const size = part.decoded.columns.offset[row] >>> 0;
  const { name, metadata } = decodeBirth(payloadOf(part, row));
  return {
    type: "birth",
    ...about,
    shard,
    size,
    ...(name === "" ? {} : { name }),
    ...(metadata.size === 0 ? {} : { metadata: metadataJson(metadata) }),
  };
}

/** The line of a delta. */
export function deltaLine(
  part: Part,
  row: number,
  about: RowLine,
  epoch: number,
  canonical: boolean,
): ExportLine {
  const { frame, decoded } = part;
  const { columns, strings, timesUs, imported, rules } = decoded;
  const source = strings[columns.source[row]], intent = strings[columns.intent[row]];
  const kind = columns.kind[row], length = columns.length[row] >>> 0;
  const timeUs = timesUs?.[row] ?? NaN, step = stepOf(decoded, row);
  return {
    type: "delta",
    ...about,
    producer: frame.producer,
    ...(canonical ? {} : { sequence: frame.sequence }),
    epoch,
    offset: columns.offset[row] >>> 0,
    length,
    ...bytesJson(kind, length, payloadOf(part, row)),
    ...(source ? { source } : {}),
    ...(intent ? { intent } : {}),
    ...(Number.isNaN(timeUs) ? {} : { timeUs }),
    ...(step === 1 ? {} : { advance: step }),
    ...(frame.rowKind === ROW_KIND.derived ? { derived: true as const } : {}),
    ...(rules === undefined || rules[row] === 0 ? {} : { rule: rules[row] >>> 0 }),
    ...(imported === undefined ? {} : {
      imported: {
        id: String(importedId(imported, row)),
        epoch: imported.epoch[row] >>> 0,
      },
    }),
  };
}

/** The line of another change of a page, an edge, a rule or a mark. */
export function changeLine(part: Part, row: number, about: RowLine): ExportLine {
  const { columns, shards } = part.decoded;
  if (part.frame.rowKind === ROW_KIND.rule) return ruleLine(part, row, about);
  if (part.frame.rowKind === ROW_KIND.mark) return markLine(part, row, about);
  switch (columns.kind[row]) {
    case STRUCTURAL.deletePage:
      return { type: "death", ...about };
    case STRUCTURAL.setMetadata:
      return {
        type: "metadata",
        ...about,
        metadata: metadataJson(decodeMetadata(payloadOf(part, row))),
      };
    case STRUCTURAL.resizePage:
      return { type: "resize", ...about, size: columns.offset[row] >>> 0 };
    case STRUCTURAL.migratePage:
      return { type: "migrate", ...about, shard: shards?.[row] ?? 0 };
    case STRUCTURAL.addEdge:
    case STRUCTURAL.removeEdge:
      return {
        type: "edge",
        ...about,
        from: columns.offset[row] >>> 0,
        edge: EDGE_TYPES[shards?.[row] ?? 0] ?? String(shards?.[row]),
        change: columns.kind[row] === STRUCTURAL.addEdge ? "add" : "remove",
      };
    default:
      throw new MmsbError(
        "version",
        `structural operation ${columns.kind[row]} cannot be exported yet`,
      );
  }
}

function ruleLine(part: Part, row: number, about: RowLine): ExportLine {
  const { columns } = part.decoded, rule = columns.offset[row] >>> 0;
  if (columns.kind[row] === RULE_ROW.unbind) return { type: "unbind", ...about, rule };
  return { type: "bind", ...about, rule, binding: decodeBinding(payloadOf(part, row)) };
}

function markLine(part: Part, row: number, about: RowLine): ExportLine {
  const { columns } = part.decoded;
  const mark = MARK_NAMES[columns.kind[row]] ?? String(columns.kind[row]);
  return { type: "mark", ...about, mark, set: columns.offset[row] !== 0 };
}

/** Deltas that a row stands for. */
export function stepOf({ advance }: DecodedRows, row: number): number {
  return advance === undefined ? 1 : advance[row] >>> 0;
}

function payloadOf({ lane, frame, decoded }: Part, row: number): Uint8Array {
  const { bytes } = lane.segment, start = decoded.columns.start[row];
  const size = payloadLength(lane.segment, frame, decoded, row);
  if (size > 0 && (start < 0 || start + size > decoded.payloadEnd)) {
    throw new MmsbError("corrupt-log", `the payload of row ${row} is not in its frame`);
  }
  return bytes.subarray(start, start + size);
}
