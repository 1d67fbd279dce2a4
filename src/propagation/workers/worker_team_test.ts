import assert from "node:assert/strict";
import fc from "fast-check";
import { FrameWriter, participantsOf, ROW_KIND, type RowFrame } from "../../log/mod.ts";
import {
  applyRows,
  combineKind,
  DeltaBatch,
  PageStore,
  raiseEpochs,
  resolve,
} from "../../physical/mod.ts";
import { WorkerTeam } from "./worker_team.ts";

const PAGES = 40, PAGE_BYTES = 64, ROWS = 40_000;

function newStore(): PageStore {
  const store = new PageStore(1 << 24);
  for (let id = 1; id <= PAGES; id++) {
    const row = store.create(id, { size: PAGE_BYTES, shard: id % 7, name: "" });
    store.table.setActive(row, true);
  }
  return store;
}

async function startTeam(store: PageStore, options: Parameters<typeof WorkerTeam.start>[1]) {
  const team = await WorkerTeam.start(store, options);
  assert(team instanceof WorkerTeam);
  return team;
}

/** Numbers from a seed. */
function numbersOf(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

type Form = "uniform" | "mixed" | "words";

/** A batch of rows of one form; `bad` is the index of a row that leaves its page. */
function batchOf(form: Form, rows: number, seed: number, bad: number | undefined): DeltaBatch {
  const next = numbersOf(seed);
  const batch = new DeltaBatch({ rows, payloadBytes: 32 * rows });
  const { page, offset, length, payloadStart, kind } = batch.columns;
  for (let row = 0; row < rows; row++) {
    const bytes = form === "uniform" ? 16 : form === "words" ? 4 + next() % 4 * 4 : 1 + next() % 16;
    page[row] = 1 + next() % PAGES;
    kind[row] = form === "mixed" && next() % 3 === 0 ? combineKind("u32", "add") : 0;
    length[row] = kind[row] === 0 ? bytes : 4;
    const step = form === "mixed" && kind[row] === 0 ? 1 : 4;
    offset[row] = next() % ((PAGE_BYTES - length[row]) / step | 0) * step;
    payloadStart[row] = 16 * row;
    if (row === bad) offset[row] = PAGE_BYTES;
  }
  const pool = batch.kernel.payloadWords;
  for (let i = 0; i < 4 * rows; i++) pool[i] = next();
  batch.setLength(rows, 16 * rows);
  return batch;
}

/** What a team does, on one thread. */
function inline(store: PageStore, batches: readonly DeltaBatch[]): boolean[] {
  return batches.map((batch) => {
    try {
      const input = {
        columns: batch.kernel,
        rows: batch.length,
        payloadLength: batch.payloadLength,
        strings: batch.strings.length,
      };
      const shape = resolve(input, store.table);
      raiseEpochs(batch.kernel, batch.length, store.table.epochs);
      applyRows(batch.kernel, batch.length, shape, store.arena);
      return true;
    } catch {
      return false;
    }
  });
}

function assertSame(store: PageStore, expected: PageStore): void {
  for (const row of expected.table.rows()) {
    assert.equal(store.table.epoch(row), expected.table.epoch(row), `epoch of row ${row}`);
    assert.deepEqual(store.view(row), expected.view(row), `bytes of row ${row}`);
  }
}

/** Gives workers more to do until they have done some of it: on a busy machine they may come too late for a few plans. */
async function untilTheyTakePart(
  team: WorkerTeam,
  what: "checked" | "logged" | "ticks",
  more: () => void,
  whose: (worker: number) => boolean = () => true,
): Promise<void> {
  const hasSome = () => team.statistics().some((one) => whose(one.worker) && one[what] > 0);
  for (let look = 0; look < 500 && !hasSome(); look++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    more();
  }
  assert(hasSome(), "workers take part");
}

const anyBatch = fc.record({
  form: fc.constantFrom<Form>("uniform", "mixed", "words"),
  rows: fc.integer({ min: 1, max: ROWS }),
  seed: fc.integer({ min: 1 }),
  bad: fc.option(fc.nat(ROWS - 1), { nil: undefined }),
});

for (const [workers, parts] of [[1, 1], [2, 1], [3, 4], [8, 3]]) {
  Deno.test(`a team of ${workers} with ${parts} parts does what one thread does`, async () => {
    const store = newStore(), expected = newStore();
    const team = await startTeam(store, { workers, parts, active: workers });
    try {
      fc.assert(
        fc.property(
          fc.array(anyBatch, { minLength: 1, maxLength: 5 }),
          fc.boolean(),
          (all, notes) => {
            const batches = all.map(({ form, rows, seed, bad }) => batchOf(form, rows, seed, bad));
            const twins = all.map(({ form, rows, seed, bad }) => batchOf(form, rows, seed, bad));
            const shapes = team.check(
              batches.map((batch) => ({ batch })),
              { epochs: notes ? "note" : "count", apply: true },
            );
            const good = inline(expected, twins);
            assert.deepEqual(shapes.map((shape) => shape !== undefined), good);
            assertSame(store, expected);
            if (!notes) return;
            batches.forEach((batch, index) => {
              if (!good[index]) return;
              const noted = batch.kernel.epoch.subarray(0, batch.length);
              assert.deepEqual(noted, twins[index].kernel.epoch.subarray(0, batch.length));
            });
          },
        ),
        { numRuns: 8 },
      );
      await untilTheyTakePart(team, "checked", () => {
        team.check([{ batch: batchOf("uniform", ROWS, 7, undefined) }]);
      });
    } finally {
      await team.close();
    }
  });
}

Deno.test("WorkerTeam.check() alone leaves pages and epochs as they are", async () => {
  const store = newStore();
  const team = await startTeam(store, { workers: 2 });
  try {
    const shapes = team.check([
      { batch: batchOf("uniform", ROWS, 3, undefined) },
      { batch: batchOf("uniform", ROWS, 4, ROWS - 1) },
    ]);
    assert.deepEqual(shapes, [
      { uniformLength: 16, sequential: true, aligned: true, kinds: 0 },
      undefined,
    ]);
    assertSame(store, newStore());
  } finally {
    await team.close();
  }
});

Deno.test("a team sees pages that were created after it started", async () => {
  const store = newStore(), expected = newStore();
  const team = await startTeam(store, { workers: 2, parts: 2 });
  try {
    for (const one of [store, expected]) {
      for (let id = PAGES + 1; id <= 70_000; id++) {
        one.table.setActive(one.create(id, { size: 64, shard: id % 7, name: "" }), true);
      }
    }
    const make = () => {
      const batch = batchOf("uniform", ROWS, 5, undefined);
      for (let i = 0; i < ROWS; i++) batch.columns.page[i] = 70_000 - i % 40_000;
      return batch;
    };
    const [shape] = team.check([{ batch: make() }], { epochs: "count", apply: true });
    assert(shape !== undefined);
    assert.deepEqual(inline(expected, [make()]), [true]);
    assertSame(store, expected);
  } finally {
    await team.close();
  }
});

Deno.test("a team goes on where all its workers are killed, and starts others", async () => {
  const store = newStore(), expected = newStore();
  const team = await startTeam(store, { workers: 2, parts: 1 });
  try {
    for (let round = 1; round <= 3; round++) {
      // Where the first ended, another may be there already: the second plan shows it.
      await Promise.all([team.kill(0), team.kill(1)]);
      const make = () => batchOf("words", ROWS, round, undefined);
      team.check([{ batch: make() }, { batch: make() }], { epochs: "count", apply: true });
      inline(expected, [make(), make()]);
      assertSame(store, expected);
      const frames = [frameOf(make()), frameOf(make())];
      assert(isSame(bytesOf(frames, team), bytesOf(frames)), "the same bytes");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const ticks = () => team.statistics().reduce((sum, { ticks }) => sum + ticks, 0);
    const before = ticks();
    for (let look = 0; look < 200 && ticks() === before; look++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      team.check([{ batch: batchOf("words", ROWS, 9, undefined) }]);
    }
    assert(ticks() > before, "others were started");
  } finally {
    await team.close();
  }
});

/** The frame of a batch, and the bytes that a writer makes of frames, some of which a team has built. */
function frameOf(batch: DeltaBatch): RowFrame {
  return {
    rowKind: ROW_KIND.data,
    rows: batch.length,
    producer: 3,
    sequence: 4,
    hlcHi: 5,
    hlcLo: 6,
    columns: batch.kernel,
    epochs: true,
    timesUs: batch.timesUs,
    strings: batch.strings,
    payloadLength: batch.payloadLength,
  };
}

function bytesOf(frames: readonly RowFrame[], team?: WorkerTeam): Uint8Array {
  const writer = new FrameWriter(), participants = participantsOf([0]);
  const about = { incarnation: 1, graphVersion: 2, clockErrorUs: 3, syncedPosition: 4 };
  writer.begin({ tick: 9, lane: 0, participants, ...about });
  const building = team?.build(frames);
  for (const [index, frame] of frames.entries()) {
    const built = building?.take(index);
    if (team !== undefined) assert(built !== undefined, "there is room for every body");
    if (built === undefined) writer.addRows(frame);
    else writer.addBuilt(frame, built);
  }
  writer.addCommit(7, 8, 9);
  // As long as nothing else is built, the bytes stay.
  building?.end();
  const parts = writer.finish(), bytes = new Uint8Array(writer.byteLength);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  assert.equal(at, bytes.length);
  return bytes;
}

/** Says no more: a difference of megabytes is no message. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

for (const workers of [1, 2, 8]) {
  Deno.test(`a team of ${workers} builds the frames that one thread builds`, async () => {
    const store = newStore();
    const team = await startTeam(store, { workers });
    try {
      const anyFrame = fc.record({
        form: fc.constantFrom<Form>("uniform", "mixed", "words"),
        rows: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: ROWS })),
        seed: fc.integer({ min: 1 }),
        strings: fc.nat(3),
        odd: fc.nat(7),
      });
      fc.assert(
        fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 6 }), (all) => {
          const frames = all.map(({ form, rows, seed, strings, odd }) => {
            const batch = batchOf(form, rows, seed, undefined);
            for (let i = 0; i < strings; i++) batch.columns.source[i] = batch.source(`Straße ${i}`);
            batch.setLength(rows, 16 * rows - odd);
            for (let row = 0; row < rows; row++) batch.kernel.epoch[row] = Math.imul(row, seed);
            return frameOf(batch);
          });
          assert(frames.every((frame) => team.canBuild(frame)));
          assert(isSame(bytesOf(frames, team), bytesOf(frames)), "the same bytes");
        }),
        { numRuns: 15 },
      );
      const frames = [1, 2, 3].map((seed) => frameOf(batchOf("uniform", ROWS, seed, undefined)));
      await untilTheyTakePart(team, "logged", () => void bytesOf(frames, team));
      const timed = batchOf("uniform", 8, 1, undefined);
      timed.timesUs = new Float64Array(8);
      assert.equal(team.canBuild(frameOf(timed)), false);
    } finally {
      await team.close();
    }
  });
}

Deno.test("of many workers those that are not needed stay out of it", async () => {
  const store = newStore();
  const team = await startTeam(store, { workers: 6, active: 2 });
  const busy = () => team.statistics().filter(({ ticks }) => ticks > 0).map(({ worker }) => worker);
  try {
    for (let round = 1; round <= 5; round++) {
      team.check([{ batch: batchOf("words", ROWS, round, undefined) }]);
    }
    assert(busy().every((worker) => worker < 2), `${busy()}`);
    await team.kill(0);
    // Another one takes its place.
    const more = () => void team.check([{ batch: batchOf("words", ROWS, 6, undefined) }]);
    await untilTheyTakePart(team, "ticks", more, (worker) => worker >= 2);
  } finally {
    await team.close();
  }
});

Deno.test("WorkerTeam.isWorth() leaves small ticks, and rows that expect epochs, to one thread", async () => {
  const store = newStore();
  const team = await startTeam(store, { workers: 1 });
  try {
    const large = batchOf("uniform", ROWS, 1, undefined);
    assert.equal(team.isWorth([{ batch: large }]), true);
    assert.equal(team.isWorth([{ batch: batchOf("uniform", 100, 1, undefined) }]), false);
    large.expectEpochs();
    assert.equal(team.isWorth([{ batch: large }]), false);
  } finally {
    await team.close();
  }
});
