/** The order list against an array. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { OrderList } from "./order_list.ts";

Deno.test("OrderList keeps the order of an array, whatever is moved where", () => {
  const rows = 30, row = fc.integer({ min: 1, max: rows });
  const what = fc.constantFrom("append", "prepend", "before", "before", "behind", "behind");
  fc.assert(
    fc.property(fc.array(fc.tuple(what, row, row), { maxLength: 200, size: "max" }), (steps) => {
      const list = new OrderList();
      let model: number[] = [];
      list.reserve(rows + 1);
      for (const [what, row, other] of steps) {
        const isNew = !model.includes(row);
        assert.equal(list.has(row), !isNew);
        if (isNew) {
          if (what === "prepend") list.prepend(row);
          else list.append(row);
          model = what === "prepend" ? [row, ...model] : [...model, row];
        } else if (row !== other && model.includes(other)) {
          if (what === "before") list.moveBefore(row, other);
          else list.moveBehind(row, other);
          model = model.filter((one) => one !== row);
          model.splice(model.indexOf(other) + (what === "before" ? 0 : 1), 0, row);
        }
        list.checkInvariants();
        assert.deepEqual([...list.rows()], model);
      }
    }),
  );
});

Deno.test("OrderList finds room at one place for 100,000 rows, and at each end", () => {
  const list = new OrderList(), count = 100_000;
  list.reserve(2 * count + 10);
  list.append(1);
  list.append(2);
  for (let row = 3; row < count; row++) {
    list.append(row);
    list.moveBehind(row, 1);
  }
  list.checkInvariants();
  const rows = [...list.rows()];
  assert.deepEqual(rows.slice(0, 3), [1, count - 1, count - 2]);
  assert.equal(rows[rows.length - 1], 2);
  assert.equal(rows.length, count - 1);
});

Deno.test("OrderList spreads its labels anew when they run out at an end", () => {
  const list = new OrderList();
  list.reserve(5);
  for (const row of [1, 2, 3]) list.append(row);
  // As after 2^28 moves to each end.
  list.labels[3] = 2 ** 52 - 2;
  list.labels[1] = 2 - 2 ** 52;
  list.moveBehind(2, 3);
  list.checkInvariants();
  assert.deepEqual([...list.rows()], [1, 3, 2]);
  list.labels[1] = 2 - 2 ** 52;
  list.moveBefore(3, 1);
  list.append(4);
  list.checkInvariants();
  assert.deepEqual([...list.rows()], [3, 1, 2, 4]);
});
