/**
 * Forge: a log taken apart into ticks, frames and rows that can be changed, and put together again
 * with checksums, digests and positions that are right.
 *
 * A flipped byte is found by a checksum; what a checksum does not find (an epoch left out, a page
 * that was never born) has to be planted in frames that are whole, and this is how.
 */

import { alignUp, crc32, joinBytes } from "../base/mod.ts";
import {
  digestOf,
  FORMAT,
  FrameWriter,
  isDeltas,
  LogReader,
  MemoryStorage,
  participantsOf,
  readFrameHeader,
  readMeta,
  ROW_KIND,
  RowDecoder,
  SECTION,
  segmentBytes,
  segmentHeader,
  segmentPath,
  type Storage,
  type TickHeader,
  writeMeta,
} from "../log/mod.ts";
import { kernelColumns, ROW_BYTES } from "../physical/mod.ts";

/** One row, as it stands in its columns. */
export interface ForgedRow {
  page: number;
  offset: number;
  length: number;
  /** First byte in the frame's payload. */
  start: number;
  kind: number;
  source: number;
  intent: number;
  epoch: number;
  shard: number;
  /** Number of the rule that made it; of derived rows. */
  rule?: number;
}

/** One frame of rows. */
export interface ForgedFrame {
  rowKind: number;
  producer: number;
  sequence: number;
  hlc: bigint;
  rows: ForgedRow[];
  strings: string[];
  payload: Uint8Array<ArrayBuffer>;
}

/** One tick on lane 0. */
export interface ForgedTick {
  tick: number;
  frames: ForgedFrame[];
  commitHlc: bigint;
  nextPageId: number;
  nextRule: number;
  graphVersion: number;
  /** What its frames say of themselves in place of what is right. */
  about?: Partial<TickHeader>;
}

/** Where a frame stands in a log that was put together. */
export interface FramePlace {
  /** Index of its tick in the list, from 0. */
  readonly tickIndex: number;
  /** Index of the frame in its tick; that of the commit row is the last one. */
  readonly index: number;
  /** First byte in the file. */
  readonly at: number;
  /** Bytes. */
  readonly length: number;
}

/** A log that was put together, in one segment. */
export interface ForgedLog {
  /** Where it is. */
  readonly storage: MemoryStorage;
  /** Its one segment. */
  readonly path: string;
  /** Its frames. */
  readonly places: readonly FramePlace[];
}

/** Takes the ticks of a log's first writer apart; they fit in one segment. */
export function takeApart(storage: Storage): ForgedTick[] {
  const reader = new LogReader(storage, readMeta(storage));
  const decoder = new RowDecoder();
  const ticks: ForgedTick[] = [];
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    const [lane] = tick.lanes;
    if (lane.commitFrame.incarnation > 1) break;
    const frames = lane.frames.map((frame): ForgedFrame => {
      const { columns, rows, strings, shards, rules } = decoder.decode(lane.segment, frame);
      const section = frame.sections.get(SECTION.payload);
      const base = section?.at ?? 0, bytes = section?.length ?? 0;
      return {
        rowKind: frame.rowKind,
        producer: frame.producer,
        sequence: frame.sequence,
        hlc: frame.hlcFirst,
        rows: Array.from({ length: rows }, (_, row) => ({
          page: columns.page[row] >>> 0,
          offset: columns.offset[row] >>> 0,
          length: columns.length[row] >>> 0,
          start: columns.start[row] - base,
          kind: columns.kind[row],
          source: columns.source[row],
          intent: columns.intent[row],
          epoch: columns.epoch[row],
          shard: shards?.[row] ?? 0,
          ...(rules === undefined ? {} : { rule: rules[row] }),
        })),
        strings: [...strings],
        payload: lane.segment.bytes.slice(base, base + bytes),
      };
    });
    const { nextPageId, nextRule } = lane.commit, { hlcFirst, graphVersion } = lane.commitFrame;
    const { tick: number } = tick;
    ticks.push({ tick: number, frames, commitHlc: hlcFirst, nextPageId, nextRule, graphVersion });
  }
  return ticks;
}

/** Puts ticks together as a log of one segment that was closed cleanly. */
export function putTogether(ticks: readonly ForgedTick[], shards: number): ForgedLog {
  const path = segmentPath(0, 1);
  const parts: Uint8Array[] = [segmentHeader(0, 1, 0, 1)];
  const places: FramePlace[] = [];
  let at = parts[0].length;
  ticks.forEach((tick, tickIndex) => {
    const ends = addTick(parts, tick, at);
    let from = at;
    ends.forEach((end, index) => {
      places.push({ tickIndex, index, at: from, length: end - from });
      from = end;
    });
    at = from;
  });
  const storage = new MemoryStorage({ image: new Map([[path, joinBytes(parts)]]) });
  const last = ticks.at(-1);
  writeMeta(storage, {
    format: FORMAT,
    shards,
    incarnation: 1,
    lanes: [{ lane: 0, segment: 1, position: at }],
    closed: last === undefined ? null : { tick: last.tick, hlc: String(last.commitHlc) },
  });
  return { storage, path, places };
}

/**
 * Changes bytes of one frame of a log that was put together, and makes its checksums, and the digest in the
 * tick's commit row, fit again.
 *
 * @param edit Given the file and the frame's first byte.
 */
export function reseal(
  { storage, path, places }: ForgedLog,
  place: FramePlace,
  edit: (view: DataView, at: number) => void,
): void {
  const bytes = storage.readAll(path)!, view = new DataView(bytes.buffer);
  const seal = ({ at, length }: FramePlace) => {
    const header = at + view.getUint16(at + 10, true);
    view.setUint32(at + 116, crc32(bytes.subarray(header, at + length)), true);
    view.setUint32(at + 4, crc32(bytes.subarray(at + 8, header)), true);
  };
  edit(view, place.at);
  seal(place);
  const ofTick = places.filter(({ tickIndex }) => tickIndex === place.tickIndex);
  const commit = ofTick.at(-1)!;
  if (commit !== place) {
    const digest = ofTick.slice(0, -1)
      .reduce((digest, { at }) => digestOf(digest, view.getUint32(at + 4, true)), 0);
    const frame = readFrameHeader(
      segmentBytes(bytes.slice().buffer, bytes.length),
      commit.at,
      path,
    );
    if ("fault" in frame) throw new Error(frame.fault);
    view.setUint32(frame.sections.get(SECTION.commit)!.at + 4, digest, true);
    seal(commit);
  }
  storage.replace(path, bytes);
}

/** Adds the bytes of a tick; gives where each of its frames ends. */
function addTick(parts: Uint8Array[], tick: ForgedTick, at: number): number[] {
  const writer = new FrameWriter();
  const ends: number[] = [];
  writer.begin({
    tick: tick.tick,
    lane: 0,
    participants: participantsOf([0]),
    incarnation: 1,
    graphVersion: tick.graphVersion,
    clockErrorUs: 0,
    syncedPosition: 0,
    ...tick.about,
  });
  for (const frame of tick.frames) {
    writer.addRows(rowFrame(frame));
    ends.push(at + writer.byteLength);
  }
  writer.addCommit(...halves(tick.commitHlc), tick.nextPageId, tick.nextRule);
  ends.push(at + writer.byteLength);
  parts.push(joinBytes(writer.finish()));
  return ends;
}

function rowFrame({ rows, payload, strings, hlc, ...about }: ForgedFrame) {
  const capacity = alignUp(Math.max(rows.length, 1), 8);
  const padded = new Uint8Array(alignUp(payload.length, 8));
  padded.set(payload);
  const columns = kernelColumns(new ArrayBuffer(capacity * ROW_BYTES), capacity, padded);
  rows.forEach((row, index) => {
    for (
      const name of [
        "page",
        "offset",
        "length",
        "start",
        "kind",
        "source",
        "intent",
        "epoch",
      ] as const
    ) columns[name][index] = row[name];
  });
  const [hlcHi, hlcLo] = halves(hlc);
  const isStructural = about.rowKind === ROW_KIND.structural;
  return {
    ...about,
    rows: rows.length,
    hlcHi,
    hlcLo,
    columns,
    epochs: isDeltas(about.rowKind),
    ...(rows.some(({ rule = 0 }) => rule > 0)
      ? { rules: Int32Array.from(rows, ({ rule = 0 }) => rule) }
      : {}),
    strings,
    payloadLength: payload.length,
    ...(isStructural ? { shards: Uint8Array.from(rows, ({ shard }) => shard) } : {}),
  };
}

function halves(hlc: bigint): [hi: number, lo: number] {
  return [Number(hlc >> 32n), Number(hlc & 0xffff_ffffn)];
}
