import assert from "node:assert/strict";
import fc from "fast-check";
import { crc32, isMmsbError, toHex } from "../base/mod.ts";
import {
  asSegment,
  beginTick,
  type FrameSpec,
  fromHex,
  joined,
  reseal,
  rowFrame,
  type RowSpec,
  tickBytes,
  type TickSpec,
} from "./_frames_test.ts";
import { FRAME_HEADER_BYTES, ROW_KIND, SECTION } from "./format.ts";
import {
  bodyFault,
  type FrameHeader,
  readCommit,
  readFrameHeader,
  readSegmentHeader,
  readStrings,
  RowDecoder,
  type SegmentBytes,
} from "./frame_reader.ts";
import { stringsBytes } from "./frame_body.ts";
import { digestOf, FrameWriter, segmentHeader } from "./frame_writer.ts";
import { participantsOf } from "./log_reader.ts";

/** Reads and checks a frame that must be good. */
function goodFrame(segment: SegmentBytes, at = 0): FrameHeader {
  const frame = readFrameHeader(segment, at, "a.log");
  assert(!("fault" in frame), "fault" in frame ? frame.fault : "");
  assert.equal(bodyFault(segment, frame), undefined);
  return frame;
}

/** All frames that stand one after the other, each good. */
function goodFrames(segment: SegmentBytes): FrameHeader[] {
  const frames: FrameHeader[] = [];
  for (let at = 0; at < segment.length;) {
    const frame = goodFrame(segment, at);
    frames.push(frame);
    at += frame.length;
  }
  return frames;
}

/** What is wrong with the frame at the start; `undefined` where it is whole. */
function faultOf(bytes: Uint8Array): string | undefined {
  const segment = asSegment(bytes);
  const frame = readFrameHeader(segment, 0, "a.log");
  return "fault" in frame ? frame.fault : bodyFault(segment, frame);
}

// The format, byte for byte, from the table in format.ts.

const GOLDEN_TICK: TickSpec = {
  tick: 7,
  lane: 3,
  lanes: [3, 0],
  incarnation: 9,
  graphVersion: 2,
  clockErrorUs: 250,
  synced: 4096,
  frames: [{
    producer: 5,
    sequence: 2 ** 32 + 1,
    hlc: 0x0123_4567_89ab_cdefn,
    rows: [
      { page: 7, offset: 8, length: 4, start: 0, source: 1, epoch: 300, timeUs: 1000 },
      { page: 1, offset: 8, length: 4, start: 4, source: 1, epoch: 1 },
      { page: 3, offset: 8, length: 4, start: 8, source: 1, epoch: 7, timeUs: 1005 },
    ],
    strings: ["", "größe"],
    payload: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
  }],
  commitHlc: 0x0123_4567_89ab_cdf2n,
  nextPageId: 8,
};

const GOLDEN_FRAME = [
  // 0 magic MMSF
  "4d4d5346",
  // 4 checksum of bytes 8 to the end of the directory
  "5d5afdca",
  // 8 format
  "0100",
  // 10 header length: 128 and 9 times 8
  "c800",
  // 12 frame length
  "48010000",
  // 16 tick
  "07000000 00000000",
  // 24 lane
  "0300",
  // 26 row kind: data
  "00",
  // 27 sections
  "09",
  // 28 rows
  "03000000",
  // 32 lanes taking part: 0 and 3
  "09000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
  // 64 graph version
  "02000000 00000000",
  // 72 HLC of the first row
  "efcdab89 67452301",
  // 80 HLC of the last row
  "f1cdab89 67452301",
  // 88 error bound of the clock in µs
  "fa000000",
  // 92 producer
  "05000000",
  // 96 the producer's sequence number
  "01000000 01000000",
  // 104 synced position
  "00100000 00000000",
  // 112 incarnation
  "09000000",
  // 116 checksum of the body
  "f9981bb4",
  // 120 index of the frame in its tick
  "00000000",
  // 124 zero
  "00000000",
  // directory: page, narrow8
  "01020000 0b000000",
  // directory: offset, constant
  "02010000 08000000",
  // directory: length, constant
  "03010000 08000000",
  // directory: start, delta; the kinds are all 0 and have no section
  "04040000 08000000",
  // directory: source, constant; the intents are all 0
  "06010000 08000000",
  // directory: epoch, narrow16
  "08030000 0e000000",
  // directory: times, narrow32
  "0b050000 14000000",
  // directory: strings
  "20000000 13000000",
  // directory: payload
  "22000000 0c000000",
  // page: base 1, then 7, 1, 3 less 1
  "01000000 00000000 06000200 00000000",
  // offset: 8
  "08000000 00000000",
  // length: 4
  "04000000 00000000",
  // start: 0, and 4 more each
  "00000000 04000000",
  // source: 1
  "01000000 00000000",
  // epoch: base 1, then 300, 1, 7 less 1
  "01000000 00000000 2b010000 06000000",
  // times: base 1000 as a double, then 0, none, 5
  "00000000 00408f40 00000000 ffffffff 05000000 00000000",
  // strings: two, "" and "größe"
  "02000000 00000000 07000000 6772c3b6 c39f6500 00000000",
  // payload
  "01020304 05060708 090a0b0c 00000000",
];

const GOLDEN_COMMIT = [
  // magic, checksum, format, header length 136, frame length 160
  "4d4d5346 9646d59c 0100 8800 a0000000",
  // tick, lane, row kind commit, 1 section, 1 row
  "07000000 00000000 0300 05 01 01000000",
  "09000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
  // graph version, HLC twice, error bound, producer 0, sequence 0
  "02000000 00000000 f2cdab89 67452301 f2cdab89 67452301 fa000000 00000000 00000000 00000000",
  // synced position, incarnation, checksum of the body, index 1, zero
  "00100000 00000000 09000000 eefa3a3d 01000000 00000000",
  // directory: commit, 24 bytes
  "28000000 18000000",
  // 1 frame, the digest (of one frame: its header's checksum), 3 rows, next page id 8
  "01000000 5d5afdca 00000000 00000840 08000000 00000000",
];

const GOLDEN_SEGMENT = [
  // 0 magic MMSG
  "4d4d5347",
  // 4 checksum of bytes 8 to 64
  "8ade0f27",
  // 8 format
  "0100",
  // 10 lane
  "0300",
  // 12 segment number
  "02000000",
  // 16 position
  "70110100 00000000",
  // 24 incarnation
  "09000000",
  // 28 zero
  "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
];

Deno.test("FrameWriter writes format 1, byte for byte", () => {
  const golden = [...GOLDEN_FRAME, ...GOLDEN_COMMIT];
  assert.equal(toHex(tickBytes(GOLDEN_TICK)), golden.join("").replaceAll(" ", ""));
});

Deno.test("readFrameHeader() and RowDecoder read format 1", () => {
  const segment = asSegment(fromHex([...GOLDEN_FRAME, ...GOLDEN_COMMIT]));
  const [frame, commit] = goodFrames(segment);
  const { sections: _, ...header } = frame;
  assert.deepEqual(header, {
    at: 0,
    length: 328,
    headerLength: 200,
    tick: 7,
    lane: 3,
    rowKind: ROW_KIND.data,
    rows: 3,
    participants: "09" + "00".repeat(31),
    graphVersion: 2,
    hlcFirst: 0x0123_4567_89ab_cdefn,
    hlcLast: 0x0123_4567_89ab_cdf1n,
    clockErrorUs: 250,
    producer: 5,
    sequence: 2 ** 32 + 1,
    syncedPosition: 4096,
    incarnation: 9,
    index: 0,
    span: 0,
    check: 0xcafd5a5d,
  });
  assert.deepEqual(
    decoded(segment, frame),
    plainFrame(GOLDEN_TICK.frames![0]),
  );
  assert.equal(commit.rowKind, ROW_KIND.commit);
  assert.deepEqual(readCommit(segment, commit), {
    frames: 1,
    digest: digestOf(0, frame.check),
    rows: 3,
    nextPageId: 8,
    nextRule: 1,
  });
});

Deno.test("segmentHeader() writes format 1, and readSegmentHeader() reads it", () => {
  const golden = fromHex(GOLDEN_SEGMENT);
  assert.equal(toHex(segmentHeader(3, 2, 70_000, 9)), toHex(golden));
  assert.deepEqual(readSegmentHeader(asSegment(golden), "a.log"), {
    lane: 3,
    number: 2,
    position: 70_000,
    incarnation: 9,
  });
});

// Round trips.

/** A frame as plain values: each row whole, its payload as the reader finds it. */
function plainFrame(spec: FrameSpec): unknown {
  const { rows, strings = [""], payload = new Uint8Array(0) } = spec;
  const structural = spec.rowKind === ROW_KIND.structural;
  return {
    rows: rows.map((row) => ({
      page: row.page ?? 0,
      offset: row.offset ?? 0,
      length: row.length ?? 0,
      start: row.start ?? 0,
      kind: row.kind ?? 0,
      source: row.source ?? 0,
      intent: row.intent ?? 0,
      epoch: row.epoch ?? 0,
      advance: row.advance ?? 1,
      shard: structural ? row.shard ?? 0 : undefined,
      timeUs: row.timeUs ?? NaN,
    })),
    strings,
    payload: `${payload.length} bytes, ${crc32(payload)}`,
  };
}

function decoded(segment: SegmentBytes, frame: FrameHeader, decoder = new RowDecoder()): unknown {
  const found = decoder.decode(segment, frame);
  const { columns, rows } = found;
  const payload = frame.sections.get(SECTION.payload);
  const at = payload?.at ?? 0, size = payload?.length ?? 0;
  assert.equal(found.payloadEnd, at + size);
  return {
    rows: Array.from({ length: rows }, (_, i) => ({
      page: columns.page[i],
      offset: columns.offset[i],
      length: columns.length[i],
      start: columns.start[i] - at,
      kind: columns.kind[i],
      source: columns.source[i],
      intent: columns.intent[i],
      epoch: columns.epoch[i],
      advance: found.advance?.[i] ?? 1,
      shard: found.shards?.[i],
      timeUs: found.timesUs?.[i] ?? NaN,
    })),
    strings: found.strings,
    payload: `${size} bytes, ${crc32(segment.bytes.subarray(at, at + size))}`,
  };
}

const small = fc.constantFrom(0, 0, 1, 2, 3, 255, 256, 65_535);
const word = fc.oneof(small, fc.integer());
const half = fc.oneof(fc.constant(0), fc.nat(0xffff));

const rowSpecs: fc.Arbitrary<RowSpec> = fc.record({
  page: word,
  offset: word,
  length: word,
  start: fc.nat(1 << 20),
  kind: fc.nat(255),
  source: half,
  intent: half,
  epoch: word,
  advance: fc.oneof(fc.constant(1), fc.integer({ min: 1 })),
  shard: fc.nat(255),
  timeUs: fc.oneof(fc.constant(NaN), fc.nat(1000), fc.double({ noNaN: true })),
}, { requiredKeys: ["page", "offset", "length", "start", "kind"] });

/** Frames whose payload is stated by its size, so that a counterexample can be read. */
const frameSpecs: fc.Arbitrary<Omit<FrameSpec, "payload"> & { size: number }> = fc.record({
  rowKind: fc.nat(4),
  producer: fc.nat(0xffff_ffff),
  sequence: fc.maxSafeNat(),
  hlc: fc.bigInt(0n, 2n ** 63n),
  rows: fc.oneof(
    fc.array(rowSpecs, { maxLength: 20 }),
    // All rows alike, or alike but for one column: what the short forms are for.
    fc.tuple(rowSpecs, rowSpecs, fc.nat(30)).map(([row, other, count]) =>
      Array.from({ length: count }, (_, i) => ({ ...row, page: i, epoch: i & 1 ? other.epoch : 9 }))
    ),
  ),
  strings: fc.array(fc.string({ unit: "grapheme" }), { maxLength: 5 })
    .map((texts) => ["", ...texts]),
  size: fc.oneof(
    fc.nat(40),
    // Around the size from which a payload is handed on as it stands.
    fc.integer({ min: 32 * 1024 - 9, max: 32 * 1024 + 9 }),
    fc.constantFrom(0, 200_000),
  ),
});

function withPayload({ size, ...frame }: Omit<FrameSpec, "payload"> & { size: number }): FrameSpec {
  return { ...frame, payload: Uint8Array.from({ length: size }, (_, i) => i * 7 + size) };
}

Deno.test("FrameWriter and RowDecoder: whole ticks come back as they were", () => {
  const writer = new FrameWriter(), decoder = new RowDecoder();
  fc.assert(
    fc.property(
      fc.array(frameSpecs, { maxLength: 4 }),
      fc.nat(255),
      fc.maxSafeNat(),
      (drafts, lane, position) => {
        const specs = drafts.map(withPayload);
        const spec = { tick: position, lane, frames: specs, synced: position, incarnation: 3 };
        beginTick(writer, spec);
        writer.addCommit(0, 0, 5);
        const size = writer.byteLength;
        const bytes = joined(writer.finish());
        assert.equal(bytes.length, size, "byteLength");
        assert.equal(writer.byteLength, size, "byteLength after finish()");
        const segment = asSegment(bytes);
        const frames = goodFrames(segment);
        const commit = frames.pop()!;
        assert.equal(frames.length, specs.length);
        let digest = 0;
        frames.forEach((frame, i) => {
          const found = specs[i];
          assert.equal(frame.at % 8, 0);
          assert.equal(frame.index, i);
          assert.equal(frame.tick, position);
          assert.equal(frame.syncedPosition, position);
          assert.equal(frame.producer, found.producer);
          assert.equal(frame.sequence, found.sequence);
          assert.equal(frame.hlcFirst, found.hlc);
          const last = BigInt(Math.max(0, found.rows.length - 1));
          assert.equal(frame.hlcLast, found.hlc! + last);
          assert.deepEqual(decoded(segment, frame, decoder), plainFrame(found));
          digest = digestOf(digest, frame.check);
        });
        const rows = specs.reduce((sum, { rows }) => sum + rows.length, 0);
        assert.deepEqual(readCommit(segment, commit), {
          frames: specs.length,
          digest,
          rows,
          nextPageId: 5,
          nextRule: 1,
        });
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("FrameWriter grows its buffer in the middle of a tick, and keeps what it has", () => {
  const writer = new FrameWriter();
  const frames = Array.from({ length: 40 }, (_, i): FrameSpec => ({
    rows: [{ page: i, length: 20_000 }],
    payload: new Uint8Array(i % 3 === 0 ? 40_000 : 20_000).fill(i),
  }));
  for (let tick = 1; tick <= 2; tick++) {
    beginTick(writer, { tick, frames });
    writer.addCommit(0, 0, 1);
    const segment = asSegment(joined(writer.finish()));
    const found = goodFrames(segment);
    assert.equal(found.length, 41);
    frames.forEach((frame, i) => {
      assert.deepEqual(decoded(segment, found[i]), plainFrame(frame));
    });
  }
});

Deno.test("FrameWriter hands a large payload on as it stands, and copies a small one", () => {
  const parts = (size: number) => {
    const payload = new Uint8Array(size).fill(7);
    const writer = new FrameWriter();
    beginTick(writer, { tick: 1, frames: [{ rows: [{ length: size }], payload }] });
    return writer.finish().map((part) => part.buffer === payload.buffer);
  };
  assert.deepEqual(parts(32 * 1024 - 1), [false]);
  assert.deepEqual(parts(32 * 1024), [false, true]);
  assert.deepEqual(parts(32 * 1024 + 1), [false, true, false]);
});

Deno.test("FrameWriter carries many strings, within stringsBytes()", () => {
  const strings = ["", ...Array.from({ length: 65_535 }, (_, i) => `source ${i} ü`)];
  const segment = asSegment(tickBytes({ tick: 1, frames: [{ rows: [{ page: 1 }], strings }] }));
  const [frame] = goodFrames(segment);
  assert.deepEqual(readStrings(segment, frame), strings);
  assert(frame.sections.get(SECTION.strings)!.length <= stringsBytes(strings));
});

Deno.test("FrameWriter writes a frame without rows", () => {
  const bytes = tickBytes({
    tick: 1,
    frames: [{ rows: [] }, { rows: [], strings: ["", "a"], payload: Uint8Array.of(1) }],
  });
  const segment = asSegment(bytes);
  const frames = goodFrames(segment);
  assert.deepEqual(frames.map((frame) => [...frame.sections.keys()]), [
    [],
    [SECTION.strings, SECTION.payload],
    [SECTION.commit],
  ]);
  assert.deepEqual(decoded(segment, frames[0]), plainFrame({ rows: [] }));
});

Deno.test("FrameWriter.addMark() writes a frame that is all header", () => {
  const writer = new FrameWriter();
  beginTick(writer, { tick: 0, frames: [] });
  writer.addMark();
  const bytes = joined(writer.finish());
  assert.equal(bytes.length, FRAME_HEADER_BYTES);
  const [frame] = goodFrames(asSegment(bytes));
  assert.deepEqual([frame.rowKind, frame.rows, frame.sections.size], [ROW_KIND.mark, 0, 0]);
});

Deno.test("participantsOf() has a bit for each lane", () => {
  assert.equal(toHex(participantsOf([])), "00".repeat(32));
  assert.equal(toHex(participantsOf([0, 7, 8, 255])), "8101" + "00".repeat(29) + "80");
});

// Damage.

const ALL_SECTIONS: FrameSpec = {
  rows: [
    { page: 9, offset: 4, length: 4, start: 0, kind: 1, source: 1, intent: 2, epoch: 70_000 },
    { page: 1, offset: 8, length: 5, start: 4, kind: 0, source: 0, intent: 1, epoch: 3 },
    { page: 300, offset: 0, length: 1, start: 12, advance: 4, shard: 3, timeUs: 12.5 },
  ],
  strings: ["", "feed", "why"],
  payload: Uint8Array.from({ length: 13 }, (_, i) => i),
};

Deno.test("readFrameHeader() and bodyFault() notice every flipped bit of a frame", () => {
  for (const frames of [[ALL_SECTIONS], []]) {
    const bytes = tickBytes({ tick: 2 ** 40, frames });
    const frame = goodFrame(asSegment(bytes));
    if (frames.length > 0) assert.equal(frame.sections.size, 13);
    for (let bit = 0; bit < 8 * frame.length; bit++) {
      bytes[bit >> 3] ^= 1 << (bit & 7);
      assert.notEqual(faultOf(bytes), undefined, `bit ${bit}`);
      bytes[bit >> 3] ^= 1 << (bit & 7);
    }
    assert.equal(faultOf(bytes), undefined);
  }
});

Deno.test("readFrameHeader() and bodyFault() notice every cut of a frame", () => {
  const bytes = tickBytes({ tick: 1, frames: [ALL_SECTIONS] });
  const { length } = goodFrame(asSegment(bytes));
  for (let size = 0; size < length; size++) {
    assert.notEqual(faultOf(bytes.subarray(0, size)), undefined, `cut at ${size}`);
    // A file that was prepared goes on in zeros.
    const zeroed = new Uint8Array(length);
    zeroed.set(bytes.subarray(0, size));
    if (toHex(zeroed) !== toHex(bytes.subarray(0, length))) {
      assert.notEqual(faultOf(zeroed), undefined, `zeros from ${size}`);
    }
  }
});

Deno.test("readSegmentHeader() notices every flipped bit and every cut of a header", () => {
  const bytes = segmentHeader(1, 2, 3, 4);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    bytes[bit >> 3] ^= 1 << (bit & 7);
    assert("fault" in Object(readSegmentHeader(asSegment(bytes), "a.log")), `bit ${bit}`);
    bytes[bit >> 3] ^= 1 << (bit & 7);
  }
  for (let size = 1; size < bytes.length; size++) {
    assert("fault" in Object(readSegmentHeader(asSegment(bytes.subarray(0, size)), "a.log")));
  }
});

Deno.test("readSegmentHeader() calls a segment unused only where its header is all zeros", () => {
  for (const size of [0, 1, 63, 64, 65, 4096]) {
    assert.equal(readSegmentHeader(asSegment(new Uint8Array(size)), "a.log"), "unused");
  }
  const bytes = new Uint8Array(64);
  bytes[63] = 1;
  assert.deepEqual(readSegmentHeader(asSegment(bytes), "a.log"), {
    fault: "its header has no magic",
  });
});

Deno.test("readers refuse a newer format with its path, once the checksum fits", () => {
  const header = segmentHeader(0, 1, 0, 1);
  new DataView(header.buffer).setUint16(8, 2, true);
  assert("fault" in Object(readSegmentHeader(asSegment(header), "a.log")));
  const frame = tickBytes({ tick: 1 });
  new DataView(frame.buffer).setUint16(8, 2, true);
  assert.notEqual(faultOf(frame), undefined);
  reseal(frame);
  const sealed = fromHex([toHex(header)]);
  new DataView(sealed.buffer).setUint32(4, checkOf(sealed), true);
  const newer = { code: "version", values: { path: "a.log", format: 2, formatMax: 1 } };
  assert.throws(() => readFrameHeader(asSegment(frame), 0, "a.log"), newer);
  assert.throws(() => readSegmentHeader(asSegment(sealed), "a.log"), newer);
});

/** CRC-32, bit by bit: IEEE 802.3, reflected. */
function checkOf(segmentHead: Uint8Array): number {
  let check = 0xffff_ffff;
  for (const byte of segmentHead.subarray(8)) {
    check ^= byte;
    for (let bit = 0; bit < 8; bit++) check = check >>> 1 ^ (check & 1 ? 0xedb8_8320 : 0);
  }
  return ~check >>> 0;
}

// Hostile bytes: whatever the checksums say, nothing is read outside and no memory is wasted.

/** Decodes what says that it is good; gives whether it was. */
function survives(bytes: Uint8Array): boolean {
  const segment = asSegment(bytes);
  try {
    const frame = readFrameHeader(segment, 0, "a.log");
    if ("fault" in frame || bodyFault(segment, frame) !== undefined) return false;
    readCommit(segment, frame);
    const rows = new RowDecoder().decode(segment, frame);
    assert(rows.payloadEnd <= bytes.length);
    return true;
  } catch (error) {
    assert(isMmsbError(error, "corrupt-log") || isMmsbError(error, "version"), String(error));
    return false;
  }
}

Deno.test("readFrameHeader() refuses random bytes behind a good magic and checksum", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 128, maxLength: 600, size: "max" }),
      fc.nat(32),
      fc.boolean(),
      (bytes, sections, sealed) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        view.setUint32(0, 0x46534d4d, true);
        if (sealed) {
          view.setUint16(8, 1, true);
          view.setUint16(10, FRAME_HEADER_BYTES + 8 * sections, true);
          view.setUint8(27, sections);
          reseal(bytes);
        }
        survives(bytes);
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("RowDecoder refuses lies in a frame whose checksums all fit", () => {
  const good = tickBytes({ tick: 1, frames: [ALL_SECTIONS] });
  const frame = goodFrame(asSegment(good));
  const first = good.slice(0, frame.length);
  let survived = 0, refused = 0;
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.oneof(
            // Rows, the directory, the heads of sections, anything.
            fc.constantFrom(28, 29, 30, 31),
            fc.integer({ min: FRAME_HEADER_BYTES, max: frame.headerLength - 1 }),
            fc.integer({ min: frame.headerLength, max: frame.length - 1 }),
            fc.nat(frame.length - 1),
          ),
          fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
        ),
        { minLength: 1, maxLength: 4 },
      ),
      (changes) => {
        const bytes = first.slice();
        for (const [at, value] of changes) bytes[at] = value;
        reseal(bytes);
        if (survives(bytes)) survived++;
        else refused++;
      },
    ),
    { numRuns: 3000 },
  );
  assert(survived > 0 && refused > 0);
});

Deno.test("RowDecoder refuses an absurd number of rows before it makes room for them", () => {
  // Constant columns fit any number of rows, so nothing but a limit can tell.
  const bytes = tickBytes({ tick: 1, frames: [{ rows: [{ page: 1, length: 4, timeUs: 5 }] }] });
  const { length, sections } = goodFrame(asSegment(bytes));
  const timed = bytes.slice(0, length);
  const view = new DataView(timed.buffer);
  for (const rows of [2, 3000, 16_777_216, 67_108_865, 0xffff_ffff]) {
    view.setUint32(28, rows, true);
    reseal(timed);
    assert.equal(survives(timed), false, `${rows} rows`);
  }
  assert(sections.has(SECTION.timeUs));
  const constant = tickBytes({ tick: 1, frames: [{ rows: [{ page: 1, length: 4 }] }] })
    .slice(0, length);
  new DataView(constant.buffer).setUint32(28, 0xffff_ffff, true);
  reseal(constant);
  assert.equal(survives(constant), false);
});

Deno.test("readStrings() refuses counts and lengths that leave the section", () => {
  const bytes = tickBytes({ tick: 1, frames: [{ rows: [{ page: 1 }], strings: ["", "abc"] }] });
  const frame = goodFrame(asSegment(bytes));
  const { at } = frame.sections.get(SECTION.strings)!;
  for (
    const [position, value] of [[at, 3], [at, 0xffff_ffff], [at + 8, 4], [at + 8, 0xffff_fff0]]
  ) {
    const lie = bytes.slice(0, frame.length);
    new DataView(lie.buffer).setUint32(position, value, true);
    reseal(lie);
    assert.equal(survives(lie), false, `${value} at ${position}`);
  }
});

Deno.test("rowFrame() of the tests leaves out what no row has", () => {
  const frame = rowFrame({ rows: [{ page: 1 }] });
  assert.deepEqual([frame.epochs, frame.timesUs, frame.shards, frame.advance], [
    false,
    undefined,
    undefined,
    undefined,
  ]);
});
