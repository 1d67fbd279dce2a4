/**
 * Faults planted in the bytes of a log: what a disk, a copy that went wrong or a hand in the wrong folder does.
 */

import {
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  laneFolder,
  MemoryStorage,
  META_PATH,
  readFrameHeader,
  readMeta,
  ROW_KIND,
  SECTION,
  SEGMENT_HEADER_BYTES,
  segmentBytes,
  segmentPath,
  writeMeta,
} from "../log/mod.ts";
import { putTogether, takeApart } from "./_forge.ts";
import { type PlantedFault, plantedFault } from "./_planted_fault.ts";
import { SAMPLE_SHARDS } from "./_sample_log.ts";

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

/** All of them; `other` is another log, of which a segment is taken. */
export function plantInBytes(sample: MemoryStorage, other: MemoryStorage): PlantedFault[] {
  return [
    ...plantInOneFrame(sample),
    ...plantInFiles(sample, other),
    ...plantAtTheEnd(sample),
    ...plantInMeta(sample),
  ];
}

/** Plants a fault at a frame. */
function plant(sample: MemoryStorage, id: string, place: Place, edit: Edit): PlantedFault {
  const { path: file, at: offset, tick } = place;
  return plantedFault(id, edited(sample, place, edit), { file, offset, tick });
}

/** Faults in a frame in the middle of the log, whatever the file that it stands in. */
function plantInOneFrame(sample: MemoryStorage): PlantedFault[] {
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
  const flip = (at: (place: Place) => number): Edit => (bytes, place) => {
    bytes[at(place)] ^= 0x10;
    return bytes;
  };
  const doubled = { ...inMiddle, at: inMiddle.at + inMiddle.length };
  return [
    plant(sample, "header-byte", inMiddle, flip(({ at }) => at + FRAME_HEADER_BYTES / 2)),
    plant(sample, "column-byte", inMiddle, flip(({ column }) => column)),
    plant(sample, "payload-byte", inMiddle, flip(({ payload }) => payload)),
    plant(sample, "commit-byte", commit, flip(({ column }) => column)),
    plant(sample, "frame-cut", second, (bytes, { at, length }) => bytes.slice(0, at + length - 8)),
    plant(sample, "frame-zeroed", commit, (bytes, { at, length }) => {
      return bytes.fill(0, at, at + length);
    }),
    plant(sample, "frames-swapped", inMiddle, (bytes, { at, length }) => {
      const [first, next] = [
        bytes.slice(at, at + length),
        bytes.slice(after.at, after.at + after.length),
      ];
      bytes.set(next, at);
      bytes.set(first, at + next.length);
      return bytes;
    }),
    plant(sample, "frame-twice", doubled, (bytes, { at, length }) => {
      return inserted(bytes, at, bytes.slice(at - length, at));
    }),
    plant(sample, "frame-lost", inMiddle, (bytes, { at, length }) => {
      bytes.copyWithin(at, at + length);
      return bytes.slice(0, bytes.length - length);
    }),
  ];
}

/** Faults of whole segments. */
function plantInFiles(sample: MemoryStorage, other: MemoryStorage): PlantedFault[] {
  const [second, third] = [2, 3].map((number) => segmentPath(0, number));
  const inFile = (id: string, edit: (image: Map<string, Uint8Array<ArrayBuffer>>) => void) => {
    const image = sample.image();
    edit(image);
    return plantedFault(id, new MemoryStorage({ image }), { file: second, offset: 0 });
  };
  const commits = placesIn(sample).filter(({ path, rowKind }) => {
    return path === second && rowKind === ROW_KIND.commit;
  });
  const { at, length } = commits[commits.length >> 1];
  // What is wrong with the second shows where the third begins.
  const inNext: typeof inFile = (id, edit) => {
    const planted = inFile(id, edit), anywhere = id === "segment-of-another-log";
    return { ...planted, anywhere, expected: { ...planted.expected, file: third } };
  };
  return [
    inFile("segment-header-byte", (image) => {
      image.get(second)![SEGMENT_HEADER_BYTES / 2] ^= 0x10;
    }),
    inFile("segment-missing", (image) => void image.delete(second)),
    inFile("segments-swapped", (image) => {
      const [a, b] = [image.get(second)!, image.get(third)!];
      image.set(second, b).set(third, a);
    }),
    inNext("segment-of-another-log", (image) => {
      image.set(second, other.image().get(second)!);
    }),
    inNext("segment-short", (image) => {
      image.set(second, image.get(second)!.slice(0, at + length));
    }),
  ];
}

/** Faults at the end of the log. */
function plantAtTheEnd(sample: MemoryStorage): PlantedFault[] {
  const frames = placesIn(sample);
  const lastSegment = segmentPath(0, sample.list(laneFolder(0)).length);
  const last = frames.findLast(({ path }) => path === lastSegment)!;
  const { at } = frames.find(({ tick }) => tick === last.tick)!;
  const end = last.at + last.length;
  const atEnd = (id: string, offset: number, edit: Edit, kind?: "torn") =>
    plantedFault(id, edited(sample, last, edit), { file: lastSegment, offset }, kind);
  return [
    atEnd("end-cut", at, (bytes) => bytes.slice(0, at)),
    atEnd("end-rubbish", end, (bytes) => {
      return inserted(bytes, end, Uint8Array.from({ length: 64 }, (_, i) => i + 1));
      // Nothing that was written is lost, and the next opening cuts it.
    }, "torn"),
    tickBehindTheEnd(sample),
    tornTail(sample),
  ];
}

/** Faults of the directory's metadata. */
function plantInMeta(sample: MemoryStorage): PlantedFault[] {
  const inMeta = (id: string, edit: (storage: MemoryStorage) => void) => {
    const storage = new MemoryStorage({ image: sample.image() });
    edit(storage);
    return plantedFault(id, storage, { file: META_PATH, offset: 0 });
  };
  return [
    inMeta("meta-missing", (storage) => storage.remove(META_PATH)),
    inMeta("meta-digit", (storage) => {
      const bytes = storage.readAll(META_PATH)!;
      const digit = new TextDecoder().decode(bytes).indexOf(`"position": `) + 12;
      bytes[digit] ^= 1;
      storage.replace(META_PATH, bytes);
    }),
    inMeta("meta-older", (storage) => {
      const meta = readMeta(storage)!;
      writeMeta(storage, { ...meta, incarnation: meta.incarnation - 1, closed: null });
    }),
  ];
}

/** A whole tick more than the directory was closed with. */
function tickBehindTheEnd(sample: MemoryStorage): PlantedFault {
  const ticks = takeApart(sample);
  const { storage } = putTogether(ticks, SAMPLE_SHARDS);
  const before = putTogether(ticks.slice(0, -1), SAMPLE_SHARDS);
  storage.replace(META_PATH, before.storage.readAll(META_PATH)!);
  return plantedFault("end-tick-more", storage, { file: META_PATH, offset: 0 });
}

/** A tail that was never synced: to be named, and not to be called damage. */
function tornTail(sample: MemoryStorage): PlantedFault {
  const log = putTogether(takeApart(sample), SAMPLE_SHARDS);
  const { at: offset, length, tickIndex } = log.places.at(-1)!;
  const { storage, path: file } = log;
  const segment = storage.open(file, "write");
  segment.truncate(offset + length - 8);
  segment.close();
  // As a crash leaves it: nothing was closed, and nothing is known to be synced.
  const unclosed = putTogether([], SAMPLE_SHARDS);
  storage.replace(META_PATH, unclosed.storage.readAll(META_PATH)!);
  return plantedFault("torn-tail", storage, { file, offset, tick: tickIndex + 1 }, "torn");
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
