/**
 * Planted faults: what can be wrong with a log, one at a time, in a copy of a small one. Those that a
 * checksum finds are planted in bytes, the others in frames that are whole (see `_forge.ts`); each
 * says by which name and at which place it must be found.
 *
 * A check that finds nothing proves nothing: this is the proof that it can find.
 */

import {
  encodeBinding,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  laneFolder,
  type LogAudit,
  type LogFault,
  type LogFaultName,
  MemoryStorage,
  META_PATH,
  readFrameHeader,
  ROW_KIND,
  RULE_ROW,
  SECTION,
  SEGMENT_HEADER_BYTES,
  segmentBytes,
  segmentPath,
  STRUCTURAL,
} from "../log/mod.ts";
import { crc32 } from "../base/mod.ts";
import {
  type ForgedFrame,
  type ForgedRow,
  type ForgedTick,
  putTogether,
  takeApart,
} from "./_forge.ts";
import { SAMPLE_SHARDS } from "./_sample_log.ts";

/** A fault in a log. */
export interface PlantedFault {
  /** What was done. */
  readonly name: string;
  /** The log that has it. */
  readonly storage: MemoryStorage;
  /** How it must be found. */
  readonly expected: Pick<LogFault, "kind" | "fault" | "file" | "offset" | "tick">;
}

/** Whether an audit found a planted fault where it is, by its name. */
export function isFound({ expected }: PlantedFault, { problems }: LogAudit): boolean {
  return problems.some((problem) =>
    problem.kind === expected.kind && problem.fault === expected.fault &&
    problem.file === expected.file && problem.offset === expected.offset &&
    problem.tick === expected.tick
  );
}

/** All planted faults, each in a copy of the sample. */
export function plantAll(sample: MemoryStorage): PlantedFault[] {
  return [...plantInBytes(sample), ...plantInFrames(sample)];
}

interface Place {
  readonly path: string;
  readonly at: number;
  readonly length: number;
  readonly headerLength: number;
  readonly tick: number;
  readonly rowKind: number;
  /** First byte of a column, and of the payload. */
  readonly column: number;
  readonly payload: number;
}

type Edit = (bytes: Uint8Array<ArrayBuffer>, place: Place) => Uint8Array<ArrayBuffer> | undefined;

function plantInBytes(sample: MemoryStorage): PlantedFault[] {
  const frames = placesIn(sample);
  const data = frames.filter(({ rowKind }) => rowKind === ROW_KIND.data);
  // A frame with a data frame of its tick on either side.
  const inMiddle = data.find((place, index) =>
    index > data.length / 2 && data[index - 1].tick === place.tick &&
    data[index + 1].tick === place.tick
  )!;
  const second = data.find(({ path }) => path === segmentPath(0, 2))!;
  const after = frames[frames.indexOf(inMiddle) + 1];
  const commit = frames.find(({ tick, rowKind }) => {
    return tick === inMiddle.tick && rowKind === ROW_KIND.commit;
  })!;
  const lastSegment = segmentPath(0, sample.list(laneFolder(0)).length);
  const last = frames.findLast(({ path }) => path === lastSegment)!;
  const plant = (name: string, fault: LogFaultName, place: Place, edit: Edit): PlantedFault => {
    const storage = edited(sample, place, edit);
    const { path: file, at: offset, tick } = place;
    return { name, storage, expected: { kind: "damage", fault, file, offset, tick } };
  };
  const flip = (at: (place: Place) => number): Edit => (bytes, place) => {
    bytes[at(place)] ^= 0x10;
    return bytes;
  };
  const cutAt = (at: (place: Place) => number): Edit => (bytes, place) => bytes.slice(0, at(place));
  const noTick = (planted: PlantedFault, offset = planted.expected.offset): PlantedFault => ({
    ...planted,
    expected: { ...planted.expected, offset, tick: undefined },
  });
  const torn = tornTail(sample);
  return [
    plant("flipped byte in a frame's header", "frame-header", inMiddle, flip(inHeader)),
    plant("flipped byte in a column", "frame-body", inMiddle, flip(({ column }) => column)),
    plant("flipped byte in a payload", "frame-body", inMiddle, flip(({ payload }) => payload)),
    plant("flipped byte in a commit row", "frame-body", commit, flip(({ column }) => column)),
    noTick(
      plant(
        "flipped byte in a segment's header",
        "segment-header",
        second,
        flip(() => SEGMENT_HEADER_BYTES / 2),
      ),
      0,
    ),
    plant("cut frame", "frame-cut", second, cutAt(({ at, length }) => at + length - 8)),
    plant("zeros in place of a frame", "frame-header", commit, (bytes, { at, length }) => {
      return bytes.fill(0, at, at + length);
    }),
    plant("swapped frames", "frame-order", inMiddle, (bytes, { at, length }) => {
      const [first, next] = [
        bytes.slice(at, at + length),
        bytes.slice(after.at, after.at + after.length),
      ];
      bytes.set(next, at);
      bytes.set(first, at + next.length);
      return bytes;
    }),
    {
      ...plant("duplicated frame", "frame-twice", inMiddle, (bytes, { at, length }) => {
        return inserted(bytes, at + length, bytes.slice(at, at + length));
      }),
      expected: {
        kind: "damage",
        fault: "frame-twice",
        file: inMiddle.path,
        offset: inMiddle.at + inMiddle.length,
        tick: inMiddle.tick,
      },
    },
    plant("frame taken out", "frame-order", inMiddle, (bytes, { at, length }) => {
      bytes.copyWithin(at, at + length);
      return bytes.slice(0, bytes.length - length);
    }),
    noTick(plant("missing segment", "segment-missing", { ...second, at: 0 }, () => undefined)),
    noTick(
      plant("last tick cut off after a clean close", "frame-header", last, (bytes) => {
        const { at } = frames.find(({ tick }) => tick === last.tick)!;
        return bytes.slice(0, at);
      }),
      frames.find(({ tick }) => tick === last.tick)!.at,
    ),
    noTick(
      plant("missing meta.json", "meta", { ...second, path: META_PATH, at: 0 }, () => undefined),
    ),
    noTick(
      plant(
        "flipped digit in meta.json",
        "meta",
        { ...second, path: META_PATH, at: 0 },
        (bytes) => {
          const digit = new TextDecoder().decode(bytes).indexOf(`"position": `) + 12;
          bytes[digit] ^= 1;
          return bytes;
        },
      ),
    ),
    torn,
  ];
}

/** A tail that was never synced: to be named, and not to be called damage. */
function tornTail(sample: MemoryStorage): PlantedFault {
  const log = putTogether(takeApart(sample), SAMPLE_SHARDS);
  const { at, length, tickIndex } = log.places.at(-1)!;
  const storage = log.storage;
  const file = storage.open(log.path, "write");
  file.truncate(at + length - 8);
  file.close();
  // As a crash leaves it: nothing was closed, and nothing is known to be synced.
  const text = new TextDecoder().decode(storage.readAll(META_PATH));
  const { shards } = JSON.parse(text);
  const unclosed = putTogether([], shards);
  storage.replace(META_PATH, unclosed.storage.readAll(META_PATH)!);
  return {
    name: "torn tail of a crash",
    storage,
    expected: {
      kind: "torn",
      fault: "frame-cut",
      file: log.path,
      offset: at,
      tick: tickIndex + 1,
    },
  };
}

function inHeader({ at }: Place): number {
  return at + FRAME_HEADER_BYTES / 2;
}

/** Faults in frames whose checksums, digests and positions are right. */
function plantInFrames(sample: MemoryStorage): PlantedFault[] {
  const plant = (
    name: string,
    fault: LogFaultName,
    edit: (ticks: ForgedTick[]) => { tickIndex: number; index?: number },
  ): PlantedFault => {
    const ticks = takeApart(sample);
    const { tickIndex, index = 0 } = edit(ticks);
    const { storage, path, places } = putTogether(ticks, SAMPLE_SHARDS);
    const place = places.find((place) => place.tickIndex === tickIndex && place.index === index)!;
    return {
      name,
      storage,
      expected: {
        kind: "damage",
        fault,
        file: path,
        offset: place.at,
        tick: ticks[tickIndex].tick,
      },
    };
  };
  const inRow = (
    name: string,
    fault: LogFaultName,
    edit: (row: ForgedFrame["rows"][number], frame: ForgedFrame, ticks: ForgedTick[]) => void,
  ) =>
    plant(name, fault, (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1);
      const { frame } = found;
      edit(frame.rows[frame.rows.length >> 1], frame, ticks);
      return found;
    });
  return [
    plant("page without a birth", "page-unborn", (ticks) => {
      const { page } = dataFrame(ticks, ticks.length >> 1).frame.rows[0];
      for (const { frames } of ticks) {
        for (const frame of frames.filter(isStructural)) {
          frame.rows = frame.rows.filter((row) => row.page !== page);
        }
      }
      const hasPage = ({ rows }: ForgedFrame) => rows.some((row) => row.page === page);
      const tickIndex = ticks.findIndex(({ frames }) => frames.some(hasPage));
      return { tickIndex, index: ticks[tickIndex].frames.findIndex(hasPage) };
    }),
    inRow("delta without a page", "page-dead", (row, _frame, ticks) => {
      row.page = deadPage(ticks, ticks.length >> 1);
    }),
    inRow("epoch left out", "epoch", (row) => void (row.epoch += 1)),
    inRow("epoch that falls", "epoch", (row) => void (row.epoch -= 3)),
    inRow("span past the page's end", "row", (row) => void (row.offset = 1_000_000)),
    inRow("kind that does not exist", "row", (row) => void (row.kind = 0x7f)),
    inRow("source that does not exist", "row", (row, frame) => {
      row.source = frame.strings.length;
    }),
    inRow("payload outside its frame", "row", (row, frame) => {
      row.start = frame.payload.length;
    }),
    plant("time that goes back", "time", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 1);
      found.frame.hlc -= 10_000_000_000n;
      return found;
    }),
    plant("sequence that goes back", "sequence", (ticks) => {
      const found = dataFrame(ticks, ticks.length >> 2);
      found.frame.sequence -= 1;
      return found;
    }),
    plant("replayed tick", "tick-twice", (ticks) => {
      ticks.splice(ticks.length - 5, 0, structuredClone(ticks[10]));
      return { tickIndex: ticks.length - 6 };
    }),
    plant("tick left out", "tick-missing", (ticks) => {
      const at = ticks.length >> 1;
      ticks.splice(at, 1);
      return { tickIndex: at };
    }),
    plant("page born twice", "structure", (ticks) => {
      const birth = ticks[0].frames.find(isStructural)!;
      const tickIndex = ticks.findIndex(({ frames }, at) => at > 5 && frames.some(isBirth));
      const index = ticks[tickIndex].frames.findIndex(isBirth);
      const [row] = ticks[tickIndex].frames[index].rows;
      row.page = birth.rows[0].page;
      return { tickIndex, index };
    }),
    plant("page deleted twice", "structure", (ticks) => {
      const tickIndex = ticks.findLastIndex(({ frames }) => frames.some(isDeath));
      const index = ticks[tickIndex].frames.findIndex(isDeath);
      const row = ticks[tickIndex].frames[index].rows.find(({ kind }) => {
        return kind === STRUCTURAL.deletePage;
      })!;
      row.page = deadPage(ticks, tickIndex);
      return { tickIndex, index };
    }),
    plant("page id given out again", "commit", (ticks) => {
      const tickIndex = ticks.length >> 1;
      ticks[tickIndex].nextPageId = 2;
      return { tickIndex, index: ticks[tickIndex].frames.length };
    }),
    ...plantInStructure(plant),
    wrongDigest(sample),
  ];
}

/** Edges, rules and derived rows that cannot be, in a frame of their own. */
function plantInStructure(
  plant: (
    name: string,
    fault: LogFaultName,
    edit: (ticks: ForgedTick[]) => { tickIndex: number; index?: number },
  ) => PlantedFault,
): PlantedFault[] {
  /** Adds a frame in the middle; the rows are made of two pages that live, and one that is dead. */
  const inStructure = (
    name: string,
    rowKind: number,
    rowsOf: (one: ForgedRow, other: ForgedRow, dead: number) => ForgedRow[],
    payload: (page: number, dead: number) => Uint8Array = () => new Uint8Array(0),
  ) =>
    plant(name, "structure", (ticks) => {
      const { tickIndex, frame } = dataFrame(ticks, ticks.length >> 1), tick = ticks[tickIndex];
      const dead = deadPage(ticks, tickIndex), [one] = frame.rows;
      const other = frame.rows.find(({ page }) => page !== one.page)!;
      const bytes = payload(one.page, dead);
      const plain = { offset: 0, length: bytes.length, start: 0, kind: 0, source: 0, intent: 0 };
      const rowOf = ({ page, epoch }: ForgedRow) => ({ ...plain, page, epoch, shard: 0 });
      const rows = rowsOf(rowOf(one), rowOf(other), dead);
      const about = { producer: 0, sequence: 0, hlc: tick.commitHlc, strings: [""] };
      tick.commitHlc += BigInt(rows.length);
      const index = tick.frames.push({ ...about, rowKind, rows, payload: bytes.slice() }) - 1;
      return { tickIndex, index };
    });
  const { addEdge } = STRUCTURAL;
  const bindingOf = (page: number, input: number) => {
    const about = { name: "rule", module: null, export: "", version: 1, params: null, mode: "" };
    return encodeBinding({ ...about, inputs: [input], outputs: [page], state: [] });
  };
  return [
    inStructure("edge without a page", ROW_KIND.structural, (one, _other, dead) => [
      { ...one, kind: addEdge, offset: dead },
    ]),
    inStructure("edges that make a cycle", ROW_KIND.structural, (one, other) => [
      { ...one, kind: addEdge, offset: other.page },
      { ...other, kind: addEdge, offset: one.page },
    ]),
    inStructure(
      "binding without a page",
      ROW_KIND.rule,
      (one) => [{ ...one, kind: RULE_ROW.bind, offset: 1 }],
      bindingOf,
    ),
    inStructure(
      "derived row without a binding",
      ROW_KIND.derived,
      (one) => [{ ...one, rule: 7, length: 1 }],
      () => new Uint8Array(1),
    ),
  ];
}

/** A commit row with another digest, in a frame that is whole. */
function wrongDigest(sample: MemoryStorage): PlantedFault {
  const ticks = takeApart(sample);
  const tickIndex = ticks.length >> 1;
  const { storage, path, places } = putTogether(ticks, SAMPLE_SHARDS);
  const { at, length } = places.findLast((place) => place.tickIndex === tickIndex)!;
  const bytes = storage.readAll(path)!, view = new DataView(bytes.buffer);
  const segment = segmentBytes(bytes.slice().buffer, bytes.length);
  const frame = readFrameHeader(segment, at, path);
  if ("fault" in frame) throw new Error(frame.fault);
  bytes[frame.sections.get(SECTION.commit)!.at + 4] ^= 1;
  view.setUint32(at + 116, crc32(bytes.subarray(at + frame.headerLength, at + length)), true);
  view.setUint32(at + 4, crc32(bytes.subarray(at + 8, at + frame.headerLength)), true);
  storage.replace(path, bytes);
  const { tick } = ticks[tickIndex];
  return {
    name: "wrong commit digest",
    storage,
    expected: { kind: "damage", fault: "commit", file: path, offset: at, tick },
  };
}

/** The last data frame at or after a tick, which has more than one row. */
function dataFrame(ticks: readonly ForgedTick[], from: number) {
  for (let tickIndex = from;; tickIndex++) {
    const { frames } = ticks[tickIndex];
    const index = frames.findLastIndex(({ rowKind, rows }) => {
      return rowKind === ROW_KIND.data && rows.length > 1;
    });
    if (index >= 0) return { tickIndex, index, frame: frames[index] };
  }
}

/** A page that died before a tick. */
function deadPage(ticks: readonly ForgedTick[], before: number): number {
  for (const { frames } of ticks.slice(0, before)) {
    for (const { rows } of frames.filter(isDeath)) {
      for (const row of rows) if (row.kind === STRUCTURAL.deletePage) return row.page;
    }
  }
  throw new Error("no page of the sample died");
}

function isStructural({ rowKind }: ForgedFrame): boolean {
  return rowKind === ROW_KIND.structural;
}

function isBirth(frame: ForgedFrame): boolean {
  return isStructural(frame) && frame.rows.some(({ kind }) => kind === STRUCTURAL.createPage);
}

function isDeath(frame: ForgedFrame): boolean {
  return isStructural(frame) && frame.rows.some(({ kind }) => kind === STRUCTURAL.deletePage);
}

/** All frames of the log, found by their headers alone. */
function placesIn(storage: MemoryStorage): Place[] {
  const places: Place[] = [];
  for (const [path, bytes] of storage.image()) {
    if (!path.startsWith(laneFolder(0))) continue;
    const segment = segmentBytes(bytes.buffer, bytes.length);
    for (let at = SEGMENT_HEADER_BYTES; at + FRAME_HEADER_BYTES <= bytes.length;) {
      if (segment.view.getUint32(at, true) !== FRAME_MAGIC) break;
      const frame = readFrameHeader(segment, at, path);
      if ("fault" in frame) throw new Error(`${path}: ${frame.fault}`);
      const { length, headerLength, tick, rowKind, sections } = frame;
      const column = at + headerLength, payload = sections.get(SECTION.payload)?.at ?? column;
      places.push({ path, at, length, headerLength, tick, rowKind, column, payload });
      at += length;
    }
  }
  return places;
}

/** A copy with one file changed, or taken away. */
function edited(sample: MemoryStorage, place: Place, edit: Edit): MemoryStorage {
  const image = sample.image();
  const bytes = edit(image.get(place.path)!, place);
  if (bytes === undefined) image.delete(place.path);
  else image.set(place.path, bytes);
  return new MemoryStorage({ image });
}

function inserted(bytes: Uint8Array, at: number, part: Uint8Array): Uint8Array<ArrayBuffer> {
  const longer = new Uint8Array(bytes.length + part.length);
  longer.set(bytes.subarray(0, at));
  longer.set(part, at);
  longer.set(bytes.subarray(at), at + part.length);
  return longer;
}
