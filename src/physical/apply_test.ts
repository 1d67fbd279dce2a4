import assert from "node:assert/strict";
import fc from "fast-check";
import { applyRows } from "./apply.ts";
import { raiseEpochs } from "./epochs.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { KIND_MASKED, KIND_SET } from "./kind.ts";
import { Pages } from "./_pages_test.ts";
import { drafts, fill, fit, flavours, fold, maskedPayload, poolBytes } from "./_rows_test.ts";
import type { BatchShape } from "./resolve.ts";
import { sizeClassOf, sizeOfClass } from "./size_class.ts";

/** Puts a batch into its pages, as a tick does. */
function apply(pages: Pages, batch: DeltaBatch): BatchShape {
  const shape = pages.resolve(batch);
  raiseEpochs(batch.kernel, batch.length, pages.table.epochs);
  applyRows(batch.kernel, batch.length, shape, pages.arena);
  pages.checkInvariants();
  return shape;
}

/** The fold beside the pages: bytes and epochs. */
class Oracle {
  readonly bytes: Map<number, Uint8Array>;
  readonly epochs = new Map<number, number>();

  constructor(sizes: Iterable<readonly [number, number]>) {
    this.bytes = new Map([...sizes].map(([id, size]) => [id, new Uint8Array(size)]));
  }

  /** Folds the rows in; gives the epoch after each. */
  apply(rows: readonly DeltaRow[]): number[] {
    return rows.map((row) => {
      fold(this.bytes, row);
      const epoch = (this.epochs.get(row.page) ?? 0) + 1;
      this.epochs.set(row.page, epoch);
      return epoch;
    });
  }

  /** Pages hold these bytes and epochs, and zeros between page and slot. */
  check(pages: Pages): void {
    for (const [id, expected] of this.bytes) {
      const found = pages.bytes(id);
      const at = expected.findIndex((byte, index) => byte !== found[index]);
      assert.equal(at, -1, `byte ${at} of page ${id} is ${found[at]}, not ${expected[at]}`);
      assert.equal(pages.epoch(id), this.epochs.get(id) ?? 0, `epoch of page ${id}`);
      const slot = pages.table.slot(pages.table.rowOf(id)), size = expected.length;
      const rest = pages.arena.bytes(slot, sizeOfClass(sizeClassOf(size))).subarray(size);
      assert.ok(rest.every((byte) => byte === 0), `bytes behind page ${id}`);
    }
  }
}

const pageSizes = fc.uniqueArray(
  fc.tuple(
    fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 2 ** 32 - 1 })),
    fc.oneof(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 300 }),
      fc.constantFrom(4096, 20_000, 70_001),
    ),
  ),
  { minLength: 1, maxLength: 5, selector: ([id]) => id },
);

const layout = fc.oneof(
  fc.constant(undefined),
  fc.record({
    gaps: fc.constantFrom([0], [4], [0, 8, 4], [0, 1, 2, 3], [3]),
    reversed: fc.boolean(),
  }),
);

Deno.test("applyRows() gives the bytes and epochs of a fold, pushed or filled, of all kinds", () => {
  const batches = fc.array(fc.tuple(drafts, flavours, layout), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(pageSizes, batches, (sizes, batches) => {
      const pages = new Pages(sizes), oracle = new Oracle(sizes);
      for (const [drafts, flavour, layout] of batches) {
        const rows = fit(drafts, sizes, flavour);
        let batch: DeltaBatch;
        if (layout === undefined) {
          batch = DeltaBatch.from(rows);
        } else {
          batch = new DeltaBatch({ rows: rows.length + 1, payloadBytes: poolBytes(rows) });
          fill(batch, rows, layout);
        }
        assert.deepEqual(batch.toRows(), rows);
        apply(pages, batch);
        const epochs = oracle.apply(rows);
        assert.deepEqual([...batch.kernel.epoch.subarray(0, rows.length)], epochs);
        oracle.check(pages);
      }
    }),
    { numRuns: 250 },
  );
});

/** Rows that overlap and follow each other over two pages. */
function rowsOf(length: number, align: number, count = 40): DeltaRow[] {
  return Array.from({ length: count }, (_, i) => ({
    page: 1 + i % 2,
    offset: (i * 52 % 2500) - (i * 52 % 2500) % align,
    length,
    kind: KIND_SET,
    payload: Uint8Array.from({ length }, (_, k) => i * 31 + k * 7 + 1),
    source: "",
    intent: "",
  }));
}

const NOTHING: DeltaRow = {
  page: 2,
  offset: 3,
  length: 9,
  kind: KIND_MASKED,
  payload: new Uint8Array(2),
  source: "",
  intent: "",
};

for (const length of [1, 3, 4, 5, 8, 12, 16, 20, 380, 384, 388, 390, 1000, 1024, 1501]) {
  const words = length % 4 === 0;
  Deno.test(`applyRows() writes the same by each kernel that takes rows of ${length} bytes`, () => {
    const sizes = [[1, 4096], [2, 4096]] as const;
    const kernels: Record<string, [readonly DeltaRow[], readonly number[], Partial<BatchShape>]> = {
      // 4, 8 and 16 bytes have kernels of their own; other whole words share one.
      "in a row": [rowsOf(length, 4), [], {
        uniformLength: length,
        sequential: true,
        aligned: words,
      }],
      ...words && {
        "in a row, further back in the pool": [rowsOf(length, 4), [12, ...Array(63).fill(0)], {
          uniformLength: length,
          sequential: true,
          aligned: true,
        }],
      },
      "by words": [rowsOf(length, 4), [4, 8], { sequential: false, aligned: words }],
      "by bytes": [rowsOf(length, 4), [1, 5], { sequential: false, aligned: false }],
      "mixed": [[...rowsOf(length, 4), NOTHING], [], { uniformLength: 0, kinds: KIND_MASKED }],
    };
    const oracle = new Oracle(sizes);
    oracle.apply(rowsOf(length, 4));
    for (const [name, [rows, gaps, expected]] of Object.entries(kernels)) {
      const pages = new Pages(sizes);
      const batch = new DeltaBatch({ rows: 64, payloadBytes: poolBytes(rows) });
      if (gaps.length === 0) rows.forEach((row) => batch.append(row));
      else fill(batch, rows, { gaps, reversed: expected.sequential === false });
      const shape = apply(pages, batch);
      assert.deepEqual({ ...shape, ...expected }, shape, name);
      if (name === "mixed") oracle.epochs.set(2, oracle.epochs.get(2)! + 1);
      oracle.check(pages);
    }
  });

  Deno.test(`applyRows() writes rows of ${length} bytes at any offset`, () => {
    const sizes = [[1, 4096], [2, 4096]] as const, rows = rowsOf(length, 1);
    const pages = new Pages(sizes), oracle = new Oracle(sizes);
    rows.forEach((row, i) => Object.assign(row, { offset: row.offset + i % 5 }));
    assert.equal(apply(pages, DeltaBatch.from(rows)).aligned, false);
    oracle.apply(rows);
    oracle.check(pages);
  });
}

Deno.test("applyRows() writes whole words of mixed lengths by the word kernel", () => {
  const sizes = [[1, 4096], [2, 4096]] as const;
  const pages = new Pages(sizes), oracle = new Oracle(sizes);
  const rows = [4, 1000, 8, 384, 16, 380].flatMap((length) => rowsOf(length, 4, 5));
  const shape = apply(pages, DeltaBatch.from(rows));
  assert.deepEqual(shape, { uniformLength: 0, sequential: false, aligned: true, kinds: 0 });
  oracle.apply(rows);
  oracle.check(pages);
});

Deno.test("applyRows() fills whole pages of 1 byte to 16 MiB", () => {
  const sizes = [1, 15, 16, 17, 4097, 2 ** 20, 2 ** 24].map((size, i) => [i + 1, size] as const);
  const pages = new Pages(sizes, 2 ** 26);
  const batch = new DeltaBatch({ rows: 8, payloadBytes: 2 ** 25 });
  for (const [id, size] of sizes) {
    batch.push(id, 0, new Uint8Array(size).fill(id));
  }
  apply(pages, batch);
  for (const [id, size] of sizes) {
    const row = pages.table.rowOf(id), slot = pages.table.slot(row);
    assert.equal(pages.bytes(id).findIndex((byte) => byte !== id), -1);
    const rest = pages.arena.bytes(slot, sizeOfClass(sizeClassOf(size))).subarray(size);
    assert.ok(rest.every((byte) => byte === 0));
  }
});

Deno.test("applyRows() reaches pages beyond 1, 2 and 4 GiB and the last of 8 GiB", () => {
  const sizes = Array.from({ length: 511 }, (_, i) => [i + 1, 2 ** 24] as const);
  const pages = new Pages(sizes, 2 ** 33), end = 2 ** 24;
  const far = [1, 64, 128, 256, 257, 400, 511];
  const expected = new Map<string, number[]>();
  const check = () => {
    for (const [key, bytes] of expected) {
      const [id, offset] = key.split(" ").map(Number);
      assert.deepEqual([...pages.bytes(id).subarray(offset, offset + bytes.length)], bytes, key);
    }
  };
  const bytes = (length: number, first: number) =>
    Uint8Array.from({ length }, (_, i) => first + i * 3);
  for (const [step, length] of [4, 8, 16, 12, 400, 5, 401].entries()) {
    const batch = new DeltaBatch({ rows: 32, payloadBytes: 32_000 });
    for (const id of far) {
      for (const offset of [step * 1000, end - 1000 * (step + 1)]) {
        batch.push(id, offset, bytes(length, id + step));
        expected.set(`${id} ${offset}`, [...bytes(length, id + step)]);
      }
    }
    apply(pages, batch);
    check();
  }
  const mixed = new DeltaBatch({ rows: 64, payloadBytes: 32_000 });
  for (const id of far) {
    mixed.push(id, end - 17_001, bytes(17, id));
    mixed.pushMasked(id, end - 18_001, 3, Uint8Array.of(5), Uint8Array.of(id & 255, 9));
    mixed.combine(id, "u32", "or", end - 19_000, 0x0400_0001);
    mixed.combine(id, "f64", "max", end - 20_000, 1);
    expected.set(`${id} ${end - 17_001}`, [...bytes(17, id)]);
    expected.set(`${id} ${end - 18_001}`, [id & 255, 0, 9]);
    expected.set(`${id} ${end - 19_000}`, [1, 0, 0, 4]);
    expected.set(`${id} ${end - 20_000}`, [0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
  }
  apply(pages, mixed);
  check();
});

Deno.test("applyRows() leaves bytes whose bit is not set, for every mask of up to 9 bits", () => {
  const sizes = [[1, 32]] as const;
  for (let length = 1; length <= 9; length++) {
    const pages = new Pages(sizes), oracle = new Oracle(sizes);
    const rows = Array.from({ length: 1 << length }, (_, mask): DeltaRow => {
      const bits = [...Array(length).keys()].filter((bit) => mask >> bit & 1);
      return {
        page: 1,
        offset: mask % 20,
        length,
        kind: KIND_MASKED,
        payload: Uint8Array.of(
          ...length > 8 ? [mask & 255, mask >> 8] : [mask],
          ...bits.map((bit) => mask * 5 + bit + 1),
        ),
        source: "",
        intent: "",
      };
    });
    apply(pages, DeltaBatch.from(rows));
    oracle.apply(rows);
    oracle.check(pages);
  }
});

Deno.test("applyRows() takes a mask over a whole large page", () => {
  const sizes = [[1, 100_003]] as const, length = 100_000;
  const pages = new Pages(sizes), oracle = new Oracle(sizes);
  const payload = maskedPayload(length, Uint8Array.of(0xff, 0xff, 0xff, 0x5a, 0));
  const rows = [{ page: 1, offset: 3, length, kind: KIND_MASKED, payload, source: "", intent: "" }];
  apply(pages, DeltaBatch.from(rows));
  oracle.apply(rows);
  oracle.check(pages);
});

Deno.test("applyRows() does nothing for a batch without rows", () => {
  const pages = new Pages([[1, 16]]), before = pages.copy();
  apply(pages, new DeltaBatch({ rows: 1, payloadBytes: 0 }));
  assert.deepEqual(pages.copy(), before);
});
