/**
 * Conformance suite of arenas: what pages, slots and kernels rely on, whatever stands behind it.
 *
 * A function of the tests' runner, so that each arena's own test file runs it. It stays small
 * (2 MiB an arena), because an arena on a disk takes all its space before it is used.
 *
 * @module
 */

import assert from "node:assert/strict";
import { SlotAllocator } from "./allocator.ts";
import { applyRows } from "./apply.ts";
import { raiseEpochs } from "./epochs.ts";
import { ADDRESS_BYTES, type Arena, REGION_BYTES, SPAN_BYTES } from "./arena.ts";
import { DeltaBatch } from "./delta_batch.ts";
import { PageTable } from "./page_table.ts";
import { resolve } from "./resolve.ts";

const LIMIT_BYTES = 32 * SPAN_BYTES;

/** What the suite needs to know of an arena. */
export interface ArenaSubject {
  /** Its name, for the names of the tests. */
  readonly name: string;
  /** Makes an arena of a limit, hands it over, and disposes of it afterwards. */
  with(limitBytes: number, check: (arena: Arena) => void): void;
}

/**
 * Hands all tests of the suite to a runner.
 *
 * @param subject The arena.
 * @param test Takes a test's name and body.
 */
export function testArena(
  subject: ArenaSubject,
  test: (name: string, body: () => void) => void,
): void {
  for (const [criterion, check] of Object.entries(CRITERIA)) {
    test(`${subject.name} ${criterion}`, () => {
      subject.with(LIMIT_BYTES, (arena) => {
        arena.checkInvariants();
        check(arena);
        arena.checkInvariants();
      });
    });
  }
}

const CRITERIA: Readonly<Record<string, (arena: Arena) => void>> = {
  "starts with zero bytes, below its limit": (arena) => {
    assert.equal(arena.limitBytes, LIMIT_BYTES);
    assert.ok(arena.byteLength >= SPAN_BYTES && arena.byteLength <= LIMIT_BYTES);
    assert.ok(arena.words.every((word) => word === 0));
  },

  "shows the same bytes as words, doubles, regions and views, little endian": (arena) => {
    arena.words[20] = 0x0403_0201;
    arena.doubles[11] = 1;
    const expected = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    assert.deepEqual([...arena.bytes(5, 16)], expected);
    assert.deepEqual([...arena.region(0).subarray(80, 96)], expected);
    arena.bytes(5, 16)[1] = 0xff;
    arena.region(0)[82] = 0xff;
    assert.equal(arena.words[20], 0x04ff_ff01);
    assert.equal(arena.bytes(5, 0).length, 0);
  },

  "grow() keeps what is there, adds zero bytes and never shrinks": (arena) => {
    for (let asked = SPAN_BYTES; asked <= LIMIT_BYTES; asked += 3 * SPAN_BYTES + 1) {
      const before = arena.byteLength, last = before / 4 - 1;
      arena.words[last] = asked;
      arena.grow(asked);
      arena.checkInvariants();
      assert.ok(arena.byteLength >= asked && arena.byteLength >= before);
      assert.equal(arena.byteLength % SPAN_BYTES, 0);
      assert.equal(arena.words[last], asked);
      assert.ok(arena.words.subarray(last + 1).every((word) => word === 0));
      for (const smaller of [0, 1, before, asked]) {
        const now = arena.byteLength;
        arena.grow(smaller);
        assert.equal(arena.byteLength, now);
      }
    }
  },

  "bytes() gives views that stay good when the arena grows": (arena) => {
    const view = arena.bytes(7, 40);
    arena.grow(LIMIT_BYTES);
    view[39] = 9;
    assert.equal(arena.region(0)[7 * ADDRESS_BYTES + 39], 9);
    arena.words[7 * ADDRESS_BYTES / 4] = -1;
    assert.deepEqual([...view.subarray(0, 4)], [255, 255, 255, 255]);
    const end = arena.bytes((LIMIT_BYTES - 16) / ADDRESS_BYTES, 16);
    end[15] = 1;
    assert.equal(arena.words[LIMIT_BYTES / 4 - 1], 1 << 24);
  },

  "views of earlier lengths show the same bytes as later ones": (arena) => {
    const earlier = [arena.words, arena.doubles, arena.region(0)];
    arena.grow(LIMIT_BYTES);
    arena.doubles[3] = 1;
    const later = [arena.words, arena.doubles, arena.region(0)];
    for (const [i, view] of later.entries()) {
      assert.ok(view.length > earlier[i].length, "its length is fixed");
      assert.equal(earlier[i].at(24 / view.BYTES_PER_ELEMENT), view[24 / view.BYTES_PER_ELEMENT]);
    }
    earlier[2][31] = 0xbf;
    assert.equal(arena.doubles[3], -1);
  },

  "grow() reaches the limit and refuses one byte more, changing nothing": (arena) => {
    arena.words[1] = 5;
    for (let round = 0; round < 2; round++) {
      const { words, byteLength } = arena;
      assert.throws(() => arena.grow(LIMIT_BYTES + 1), {
        code: "allocation",
        values: { byteLength: LIMIT_BYTES + 1, limitBytes: LIMIT_BYTES },
      });
      arena.checkInvariants();
      assert.equal(arena.byteLength, byteLength);
      assert.equal(arena.words, words);
      arena.grow(LIMIT_BYTES);
      assert.equal(arena.byteLength, LIMIT_BYTES);
    }
    assert.equal(arena.words[1], 5);
  },

  "region() covers the arena by spans of 1 GiB": (arena) => {
    arena.grow(LIMIT_BYTES);
    assert.equal(arena.region(0).length, Math.min(REGION_BYTES, arena.byteLength));
    assert.equal(arena.region(1), undefined);
  },

  "holds pages that the kernels write by words, by bytes and by elements": (arena) => {
    const allocator = new SlotAllocator(arena), table = new PageTable(10);
    for (const id of [1, 2, 3]) {
      table.setActive(table.add(id, allocator.allocate(100_000), 100_000, 0), true);
    }
    const pattern = Uint8Array.from({ length: 5000 }, (_, i) => i * 7 + 1);
    const expected = new Uint8Array(100_000);
    for (const step of [1, 4]) {
      const batch = new DeltaBatch({ rows: 16, payloadBytes: 20_000, growable: true });
      for (const [id, offset] of [[1, 3 * step], [2, 60_000], [3, 94_000 + 4 * step]]) {
        batch.push(id, offset, pattern.subarray(0, 1000 * step + step - 1 & -step));
      }
      if (step === 1) batch.combine(2, "u32", "add", 99_996, 0x0102_0304);
      const shape = resolve({
        columns: batch.kernel,
        rows: batch.length,
        payloadLength: batch.payloadLength,
        strings: 1,
      }, table);
      raiseEpochs(batch.kernel, batch.length, table.epochs);
      applyRows(batch.kernel, batch.length, shape, arena);
    }
    for (const [id, start, small] of [[1, 12, 3], [2, 60_000, 60_000], [3, 94_016, 94_004]]) {
      expected.fill(0);
      expected.set(pattern.subarray(0, 1000), small);
      if (id === 2) expected.set([4, 3, 2, 1], 99_996);
      expected.set(pattern.subarray(0, 4000), start);
      const row = table.rowOf(id);
      assert.deepEqual(arena.bytes(table.slot(row), 100_000), expected, `page ${id}`);
    }
    allocator.checkInvariants();
    table.checkInvariants();
  },
};
