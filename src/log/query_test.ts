/** Inspecting and querying a small directory laid down by hand, whole, torn and damaged. */

import assert from "node:assert/strict";
import { addTo } from "../temporal/mod.ts";
import type { FrameSpec, TickSpec } from "./_frames_test.ts";
import { lanesOf, pathOf, type SegmentSpec } from "./_lanes_test.ts";
import { encodeBirth } from "./birth.ts";
import { FORMAT, ROW_KIND, STRUCTURAL } from "./format.ts";
import { inspectLog } from "./inspect.ts";
import { META_PATH, writeMeta } from "./meta.ts";
import { type DeltaQuery, queryLog } from "./query.ts";

/** 2026-01-01, in µs. */
const START_US = 1_767_225_600_000_000;

function hlcOf(tick: number, row = 0): bigint {
  return (BigInt(START_US + 1_000_000 * tick) << 12n) + BigInt(row);
}

function birth(page: number, name: string, shard: number): FrameSpec {
  const payload = encodeBirth(name, undefined);
  const kind = STRUCTURAL.createPage;
  return {
    rowKind: ROW_KIND.structural,
    rows: [{ page, offset: 64, length: payload.length, kind, shard }],
    payload,
  };
}

function death(page: number): FrameSpec {
  const rows = [{ page, kind: STRUCTURAL.deletePage }];
  return { rowKind: ROW_KIND.structural, rows };
}

function deltas(tick: number, source: string): FrameSpec {
  const payload = Uint8Array.of(tick, 0, 0, 0, 9, 8, 7, 6, 0b101, 1, 2);
  return {
    producer: 1,
    sequence: tick,
    strings: ["", source, "why"],
    payload,
    rows: [
      { page: 2, offset: 4, length: 4, epoch: 2 * tick - 3, source: 1 },
      {
        page: 1,
        offset: 8,
        length: 4,
        start: 4,
        kind: 0x11,
        epoch: tick - 1,
        source: 1,
        intent: 2,
      },
      { page: 2, length: 3, start: 8, kind: 1, epoch: 2 * tick - 2, timeUs: 1234 },
    ],
  };
}

/** Tick 1: two births; 2 to 4: deltas; 5: page 2 dies; 6: a page takes its name. */
function ticks(): TickSpec[] {
  const bodies: FrameSpec[][] = [
    [birth(1, "board", 1), birth(2, "other", 0)],
    [deltas(2, "feed-a")],
    [deltas(3, "feed-b")],
    [deltas(4, "feed-a")],
    [death(2)],
    [birth(3, "other", 0)],
  ];
  return bodies.map((frames, index) => ({
    tick: index + 1,
    frames: frames.map((frame, at) => ({ hlc: hlcOf(index + 1, 10 * at), ...frame })),
    commitHlc: hlcOf(index + 1, 99),
    nextPageId: index < 5 ? 3 : 4,
  }));
}

async function withDirectory(
  segments: readonly SegmentSpec[],
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-query-" });
  try {
    const storage = lanesOf(segments);
    const lanes = [{ lane: 0, segment: 1, position: 0 }];
    writeMeta(storage, { format: FORMAT, shards: 4, incarnation: 1, lanes, closed: null });
    await Deno.mkdir(`${folder}/lane-00`);
    for (const [path, bytes] of storage.image()) await Deno.writeFile(`${folder}/${path}`, bytes);
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Rows as `tick page epoch kind`. */
async function rowsOf(folder: string, query: DeltaQuery = {}): Promise<string[]> {
  const rows: string[] = [];
  for await (const { tick, page, epoch, kind } of queryLog(folder, query)) {
    rows.push(`${tick} ${page} ${epoch} ${kind}`);
  }
  return rows;
}

Deno.test("inspectLog() sums up", async () => {
  await withDirectory([{ content: ticks(), padding: 64 }], async (folder) => {
    const summary = await inspectLog(folder);
    assert.deepEqual({ ...summary, lanes: [] }, {
      format: 1,
      incarnation: 1,
      shards: 4,
      state: { state: "whole" },
      ticks: { first: 1, last: 6 },
      hlc: { first: hlcOf(1), last: hlcOf(6, 99) },
      deltas: 9,
      payloadBytes: 3 * (4 + 4 + 3),
      kinds: [
        { kind: "set", deltas: 3 },
        { kind: "masked", deltas: 3 },
        { kind: "add i32", deltas: 3 },
      ],
      rows: [
        { kind: "data", frames: 3, rows: 9 },
        { kind: "structural", frames: 4, rows: 4 },
        { kind: "commit", frames: 6, rows: 6 },
      ],
      pages: 2,
      pageBytes: 128,
      pagesBorn: 3,
      epochs: [
        { page: 1, name: "board", size: 64, epoch: 3 },
        { page: 3, name: "other", size: 64, epoch: 0 },
      ],
      lanes: [],
      checkpoints: [],
      sources: [
        { source: "feed-a", deltas: 4, payloadBytes: 16 },
        { deltas: 3, payloadBytes: 9 },
        { source: "feed-b", deltas: 2, payloadBytes: 8 },
      ],
      notes: [],
    });
    const [{ bytes, ...lane }] = summary.lanes;
    assert.deepEqual(lane, { lane: 0, segments: 1, frames: 13 });
    assert.equal(bytes, (await Deno.stat(`${folder}/${pathOf(0, 1)}`)).size);
  });
});

Deno.test("queryLog() gives rows by tick, then shard, then as they were applied", async () => {
  await withDirectory([{ content: ticks() }], async (folder) => {
    assert.deepEqual(await rowsOf(folder), [
      "1 2 0 create",
      "1 1 0 create",
      "2 2 1 set",
      "2 2 2 masked",
      "2 1 1 add i32",
      "3 2 3 set",
      "3 2 4 masked",
      "3 1 2 add i32",
      "4 2 5 set",
      "4 2 6 masked",
      "4 1 3 add i32",
      "5 2 6 delete",
      "6 3 0 create",
    ]);
    const found = await Array.fromAsync(
      queryLog(folder, { page: "board", tickFrom: 3, tickTo: 3 }),
    );
    assert.deepEqual(found, [{
      tick: 3,
      hlc: addTo(Number(hlcOf(3) >> 32n), Number(hlcOf(3) & 0xffff_ffffn), 1),
      page: 1,
      name: "board",
      epoch: 2,
      kind: "add i32",
      offset: 8,
      length: 4,
      payload: Uint8Array.of(9, 8, 7, 6),
      source: "feed-b",
      intent: "why",
    }]);
    const [masked] = (await Array.fromAsync(queryLog(folder, { page: 2, tickFrom: 4 }))).slice(1);
    assert.deepEqual([[...masked.payload], masked.timeUs], [[0b101, 1, 2], 1234]);
  });
});

Deno.test("queryLog() narrows by page, tick, time, source and intent", async () => {
  await withDirectory([{ content: ticks() }], async (folder) => {
    const cases: readonly (readonly [DeltaQuery, readonly string[]])[] = [
      [{ source: "feed-b" }, ["3 2 3 set", "3 1 2 add i32"]],
      [{ intent: "why", tickFrom: 3 }, ["3 1 2 add i32", "4 1 3 add i32"]],
      [{ source: "feed-a", intent: "why", page: 1, tickTo: 3 }, ["2 1 1 add i32"]],
      [{ source: "nobody" }, []],
      // The name was another page's before.
      [{ page: "other", tickFrom: 4 }, [
        "4 2 5 set",
        "4 2 6 masked",
        "5 2 6 delete",
        "6 3 0 create",
      ]],
      [{ sinceUs: START_US + 5e6, untilUs: START_US + 6e6 }, ["5 2 6 delete"]],
      [{ sinceUs: START_US + 5e6, untilUs: START_US + 6e6 + 1 }, ["5 2 6 delete", "6 3 0 create"]],
      [{ page: 3, tickTo: 2 }, []],
    ];
    for (const [query, expected] of cases) {
      assert.deepEqual(await rowsOf(folder, query), expected, JSON.stringify(query));
    }
    await assert.rejects(rowsOf(folder, { page: "nobody", tickTo: 2 }), { code: "invalid-handle" });
    await assert.rejects(rowsOf(folder, { page: 4 }), { code: "invalid-handle" });
  });
});

Deno.test("inspectLog() and queryLog() take a damaged log as far as it is whole", async () => {
  await withDirectory([{ content: ticks() }], async (folder) => {
    const path = `${folder}/${pathOf(0, 1)}`;
    const bytes = await Deno.readFile(path);
    await Deno.writeFile(path, bytes.slice(0, -100));
    const torn = await inspectLog(folder);
    assert.deepEqual([torn.state.state, torn.state.tick, torn.ticks?.last], ["torn", 6, 5]);
    assert.equal((await rowsOf(folder)).length, 12);

    // The same with a record of a clean close is damage.
    const meta = JSON.parse(await Deno.readTextFile(`${folder}/${META_PATH}`));
    const lanes = [{ lane: 0, segment: 1, position: bytes.length }];
    const storage = lanesOf([]);
    writeMeta(storage, { ...meta, lanes });
    await Deno.writeFile(`${folder}/${META_PATH}`, storage.readAll(META_PATH)!);
    const { state } = await inspectLog(folder);
    assert.deepEqual([state.state, state.file, state.tick], ["damaged", pathOf(0, 1), 6]);
    assert.equal((await rowsOf(folder, { tickTo: 4 })).length, 11);
    const given: number[] = [];
    await assert.rejects(async () => {
      for await (const { tick } of queryLog(folder)) given.push(tick);
    }, { code: "corrupt-log", message: /tick 6 .* \(lane-00\/0000000001\.log, byte \d+\)/ });
    assert.equal(given.length, 12);

    await Deno.remove(`${folder}/${META_PATH}`);
    const lost = await inspectLog(folder);
    assert.deepEqual([lost.state.state, lost.state.file, lost.shards, lost.deltas], [
      "damaged",
      META_PATH,
      undefined,
      9,
    ]);
  });
});

Deno.test("inspectLog() and queryLog() refuse a folder that is no data directory", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-query-" });
  await assert.rejects(inspectLog(folder), { code: "usage" });
  await assert.rejects(rowsOf(folder), { code: "usage" });
  await Deno.remove(folder);
});
