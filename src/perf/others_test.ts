import assert from "node:assert/strict";
import { othersPercent, parseBusyCounts } from "./_others.ts";

Deno.test("othersPercent() is what others took of all cores' time between two moments", () => {
  const system = (user: number, idle: number, steal: number) =>
    `cpu  ${user} 0 10 ${idle} 5 0 0 ${steal} 99 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n`;
  const self = (utime: number) =>
    `42 (deno (x) y) R 1 42 42 0 -1 0 1 2 3 4 ${utime} 5 20 0 20 0 9 0 1234 0 0`;
  const start = parseBusyCounts(system(100, 200, 0), self(30));
  assert.deepEqual(start, { total: 315, busy: 110, own: 55 });
  // Of 200 units 150 were busy, 60 of them with this process.
  const end = parseBusyCounts(system(240, 250, 10), self(90));
  assert.equal(othersPercent(start, end), 45);
  assert.equal(othersPercent(start, start), undefined);
  assert.equal(othersPercent(undefined, end), undefined);
});

Deno.test("parseBusyCounts() gives nothing for a text of another form", () => {
  for (const text of ["", "cpu ", "cpu  1 2 3\n", "cpux 1 2 3 4 5 6 7 8"]) {
    assert.equal(parseBusyCounts(text, "1 (a) R"), undefined);
  }
});
