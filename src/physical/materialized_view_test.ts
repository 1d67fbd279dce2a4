import assert from "node:assert/strict";
import fc from "fast-check";
import { COMBINE_KINDS, drafts, fit, fold } from "./_rows_test.ts";
import { combineKind, elementBytes, KIND_MASKED, KIND_SET } from "./kind.ts";
import { mergeBatch } from "./merge.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { MaterializedView } from "./materialized_view.ts";

const SIZE = 40;

/**
 * The obvious view: fold the deltas over several bases; a byte is known where all of them agree
 * because it was set, so each base is told from the others by what no operation can hide.
 */
function known(rows: readonly DeltaRow[]): (number | undefined)[] {
  const bytes = new Array<number | undefined>(SIZE).fill(undefined);
  const page = new Map([[1, new Uint8Array(SIZE)]]), values = page.get(1)!;
  for (const row of rows) {
    fold(page, row);
    for (let i = 0; i < row.length; i++) {
      const at = row.offset + i;
      if (row.kind === KIND_SET) bytes[at] = 0;
      else if (row.kind === KIND_MASKED) {
        if (row.payload[i >> 3] >> i % 8 & 1) bytes[at] = 0;
      } else if (i % elementBytes(row.kind) === 0) {
        const element = Array.from({ length: elementBytes(row.kind) }, (_, k) => at + k);
        // The result is known where the whole element was.
        if (element.some((k) => bytes[k] === undefined)) {
          for (const k of element) bytes[k] = undefined;
        }
      }
    }
  }
  return bytes.map((byte, at) => byte === undefined ? undefined : values[at]);
}

const rowsOf = drafts.map((some) =>
  fit(some, [[1, SIZE]], {
    kinds: [KIND_SET, KIND_SET, KIND_MASKED, KIND_MASKED, ...COMBINE_KINDS],
    align: 1,
    uniform: 0,
    lengthMax: 12,
  })
);

Deno.test("MaterializedView shows what its deltas set and none elsewhere", () => {
  let none = 0, written = 0;
  fc.assert(
    fc.property(rowsOf, (rows) => {
      const view = MaterializedView.from(SIZE, rows), expected = known(rows);
      assert.deepEqual(view.read(), expected);
      assert.equal(view.deltas, rows.length);
      assert.equal(view.written, expected.filter((byte) => byte !== undefined).length);
      assert.deepEqual([...view.bytes(255)], expected.map((byte) => byte ?? 255));
      const mask = view.mask();
      expected.forEach((byte, at) =>
        assert.equal(mask[at >> 3] >> at % 8 & 1, Number(byte !== undefined))
      );
      // Merged rows show the same.
      const merged = mergeBatch(DeltaBatch.from(rows)).batch;
      assert.deepEqual(MaterializedView.from(SIZE, merged).read(), expected);
      none += SIZE - view.written;
      written += view.written;
    }),
    { numRuns: 500 },
  );
  assert.ok(none > 1000 && written > 1000);
});

Deno.test("MaterializedView refuses what does not fit and stays as it was", () => {
  const view = new MaterializedView(8);
  const row = { page: 1, kind: KIND_SET, offset: 0, length: 4, source: "", intent: "" };
  const payload = Uint8Array.of(1, 2, 3, 4);
  view.apply({ ...row, payload });
  const bad: readonly [object, string][] = [
    [{ ...row, offset: 5, payload }, "out-of-bounds"],
    [{ ...row, offset: NaN, payload }, "usage"],
    [{ ...row, length: 3, payload }, "usage"],
    [{ ...row, kind: 99, payload }, "usage"],
    [{ ...row, kind: combineKind("i32", "add"), offset: 2, payload }, "usage"],
    [{ ...row, kind: KIND_MASKED, payload }, "usage"],
  ];
  for (const [delta, code] of bad) assert.throws(() => view.apply(delta as DeltaRow), { code });
  assert.deepEqual(view.read(), [1, 2, 3, 4, undefined, undefined, undefined, undefined]);
  assert.equal(view.deltas, 1);
  assert.throws(() => view.at(8), { code: "out-of-bounds" });
  assert.throws(() => view.read(4, 5), { code: "out-of-bounds" });
  assert.throws(() => view.bytes(256), { code: "out-of-bounds" });
  assert.throws(() => new MaterializedView(0), { code: "out-of-bounds" });
  assert.throws(() => new MaterializedView(1n as never), { code: "usage" });
});

Deno.test("MaterializedView.from() refuses what is no list of deltas", () => {
  for (const deltas of [undefined, null, 1, {}, [null], [1]]) {
    assert.throws(() => MaterializedView.from(8, deltas as never), { code: "usage" });
  }
});
