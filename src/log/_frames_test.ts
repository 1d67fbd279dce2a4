/** Frames, ticks and segments made by hand: what the tests of this folder share. */

import { alignUp, crc32 } from "../base/mod.ts";
import { kernelColumns, ROW_BYTES } from "../physical/mod.ts";
import { ROW_KIND } from "./format.ts";
import { type SegmentBytes, segmentBytes } from "./frame_reader.ts";
import { FrameWriter, type RowFrame } from "./frame_writer.ts";
import { participantsOf } from "./log_reader.ts";

/** One row; what is left out is 0, or "none". */
export interface RowSpec {
  readonly page?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly start?: number;
  readonly kind?: number;
  readonly source?: number;
  readonly intent?: number;
  readonly epoch?: number;
  readonly advance?: number;
  readonly shard?: number;
  readonly timeUs?: number;
}

/** One frame of rows; `epochs` is set, and columns are there, where a row has a value for them. */
export interface FrameSpec {
  readonly rowKind?: number;
  readonly producer?: number;
  readonly sequence?: number;
  readonly hlc?: bigint;
  readonly rows: readonly RowSpec[];
  readonly strings?: readonly string[];
  readonly payload?: Uint8Array;
}

/** One tick on one lane. */
export interface TickSpec {
  readonly tick: number;
  readonly lane?: number;
  /** Lanes taking part; `lane` alone if left out. */
  readonly lanes?: readonly number[];
  readonly incarnation?: number;
  readonly synced?: number;
  readonly graphVersion?: number;
  readonly clockErrorUs?: number;
  /** One frame of one small row if left out. */
  readonly frames?: readonly FrameSpec[];
  readonly commitHlc?: bigint;
  readonly nextPageId?: number;
  /** Earlier ticks that it stands for beside itself. */
  readonly span?: number;
}

/** A frame as the writer takes it. */
export function rowFrame(spec: FrameSpec): RowFrame {
  const { rows, payload = new Uint8Array(0) } = spec;
  const capacity = alignUp(Math.max(rows.length, 1), 8);
  const columns = kernelColumns(new ArrayBuffer(capacity * ROW_BYTES), capacity, payload);
  rows.forEach((row, i) => {
    columns.page[i] = row.page ?? 0;
    columns.offset[i] = row.offset ?? 0;
    columns.length[i] = row.length ?? 0;
    columns.start[i] = row.start ?? 0;
    columns.kind[i] = row.kind ?? 0;
    columns.source[i] = row.source ?? 0;
    columns.intent[i] = row.intent ?? 0;
    columns.epoch[i] = row.epoch ?? 0;
  });
  const has = (key: keyof RowSpec) => rows.some((row) => row[key] !== undefined);
  const column = (key: keyof RowSpec, none: number) => rows.map((row) => row[key] ?? none);
  const hlc = spec.hlc ?? 0n;
  return {
    rowKind: spec.rowKind ?? ROW_KIND.data,
    rows: rows.length,
    producer: spec.producer ?? 0,
    sequence: spec.sequence ?? 0,
    hlcHi: Number(hlc >> 32n),
    hlcLo: Number(hlc & 0xffff_ffffn),
    columns,
    epochs: has("epoch"),
    ...(has("timeUs") ? { timesUs: Float64Array.from(column("timeUs", NaN)) } : {}),
    ...(has("shard") ? { shards: Uint8Array.from(column("shard", 0)) } : {}),
    ...(has("advance") ? { advance: Int32Array.from(column("advance", 1)) } : {}),
    strings: spec.strings ?? [""],
    payloadLength: payload.length,
  };
}

/** Starts a tick and adds its frames, without the commit row. */
export function beginTick(writer: FrameWriter, spec: TickSpec): void {
  const { tick, lane = 0, lanes = [lane] } = spec;
  writer.begin({
    tick,
    lane,
    participants: participantsOf(lanes),
    incarnation: spec.incarnation ?? 1,
    graphVersion: spec.graphVersion ?? 0,
    clockErrorUs: spec.clockErrorUs ?? 0,
    syncedPosition: spec.synced ?? 0,
    span: spec.span,
  });
  const payload = Uint8Array.of(tick, lane, 3, 4);
  for (const frame of spec.frames ?? [{ rows: [{ page: 1, length: 4, epoch: tick }], payload }]) {
    writer.addRows(rowFrame(frame));
  }
}

/** A whole tick as the parts that a lane writer takes. */
export function tickParts(spec: TickSpec, writer = new FrameWriter()): readonly Uint8Array[] {
  beginTick(writer, spec);
  const hlc = spec.commitHlc ?? 0n;
  writer.addCommit(Number(hlc >> 32n), Number(hlc & 0xffff_ffffn), spec.nextPageId ?? 2);
  return writer.finish();
}

/** The same as one run of bytes. */
export function tickBytes(spec: TickSpec): Uint8Array<ArrayBuffer> {
  return joined(tickParts(spec));
}

/** Parts as one run of bytes. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Bytes as a segment that a reader takes; the buffer ends where they do. */
export function asSegment(bytes: Uint8Array): SegmentBytes {
  return segmentBytes(new Uint8Array(bytes).buffer, bytes.length);
}

/** The bytes of lines of hexadecimal digits; spaces mean nothing. */
export function fromHex(lines: readonly string[]): Uint8Array {
  const digits = lines.join("").replaceAll(" ", "");
  return Uint8Array.from(digits.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

/** Writes the checksums of a frame's body, if it is all there, and of its header anew. */
export function reseal(bytes: Uint8Array, at = 0): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerEnd = at + view.getUint16(at + 10, true);
  const end = at + view.getUint32(at + 12, true);
  if (headerEnd <= end && end <= bytes.length) {
    view.setUint32(at + 116, crc32(bytes.subarray(headerEnd, end)), true);
  }
  view.setUint32(at + 4, crc32(bytes.subarray(at + 8, Math.min(headerEnd, bytes.length))), true);
}
