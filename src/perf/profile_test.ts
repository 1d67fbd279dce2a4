import assert from "node:assert/strict";
import { profileOf, type RawProfile } from "./profile.ts";
import { profileText } from "./profile_report.ts";

const SOURCE = "file:///work/apply.ts";

/** A source map by which line 1 of what runs was line 8 of the source. */
const MAP = `data:application/json;base64,${
  btoa(JSON.stringify({ version: 3, names: [], sources: [SOURCE], mappings: "AAOA" }))
}`;

function frame(functionName: string, url = "", lineNumber = -1) {
  return { functionName, url, lineNumber, columnNumber: lineNumber };
}

/** Samples of 1 ms each but for the last, which lasts 3. */
function rawOf(names: readonly string[], sizes: readonly [string, number][] = []): RawProfile {
  const frames = [
    frame("apply", SOURCE, 0),
    frame("other", "file:///work/plain.js", 4),
    frame("(garbage collector)"),
    frame("(idle)"),
    frame("(program)"),
  ];
  const nodes = frames.map((callFrame, at) => ({ id: at + 1, callFrame, children: [] }));
  const idOf = (name: string) => frames.findIndex(({ functionName }) => functionName === name) + 1;
  return {
    reason: "end",
    elapsedMs: 20,
    cpu: {
      nodes,
      startTime: 0,
      endTime: 1000 * (names.length + 3),
      samples: names.map(idOf),
      timeDeltas: names.map(() => 1000),
    },
    heap: {
      head: { id: 0, callFrame: frame("(root)"), children: nodes },
      samples: sizes.map(([name, size]) => ({ nodeId: idOf(name) || 99, size })),
    },
    maps: { [SOURCE]: MAP },
    tally: { ticks: 2, rows: 900, derived: 100, phasesMs: { ingest: 3, apply: 1, log: 0 } },
    gcMs: [],
  };
}

Deno.test("profileOf() adds time up by function, and takes places back to the source", () => {
  const names = ["apply", "apply", "(idle)", "other", "(program)", "apply"];
  const { functions, busyMs } = profileOf(rawOf(names));
  assert.equal(busyMs, 7);
  assert.deepEqual(
    functions.map(({ name, place, amount, samples }) => [name, place, amount, samples]),
    [
      ["apply", `${SOURCE}:8`, 5, 3],
      ["other", "file:///work/plain.js:5", 1, 1],
      ["native code, and the runtime itself", "", 1, 1],
    ],
  );
  assert.equal(functions[0].share, 5 / 7);
});

Deno.test("profileOf() adds pauses for garbage collection up", () => {
  const gcMs = [1.5, 0.5, 3];
  const { gc } = profileOf({ ...rawOf(["apply"]), gcMs });
  assert.deepEqual(gc, { count: 3, totalMs: 5, maxMs: 3 });
  assert.deepEqual(profileOf(rawOf(["apply"])).gc, { count: 0, totalMs: 0, maxMs: 0 });
});

Deno.test("profileOf() adds allocations up, also those that the engine does not place", () => {
  const raw = rawOf(["apply"], [["apply", 64], ["other", 16], ["apply", 16], ["gone", 4]]);
  const { allocatedBytes, allocators } = profileOf(raw);
  assert.equal(allocatedBytes, 100);
  assert.deepEqual(allocators.map(({ name, amount }) => [name, amount]), [
    ["apply", 80],
    ["other", 16],
    ["native code, and the runtime itself", 4],
  ]);
});

Deno.test("profileText() tells times and bytes by the delta", () => {
  const raw = rawOf(["apply", "other"], [["apply", 500]]);
  const text = profileText(profileOf(raw), {
    program: "work.ts",
    top: 1,
    shorten: (place) => place.replace("file:///work/", ""),
  });
  assert.match(text, /^2 ticks with 900 deltas, and 100 from rules: 4000\.0 ns and 0\.500 B/m);
  assert.match(text, /^4\.0 ms inside ticks: ingest 75\.0%, apply 25\.0%$/m);
  assert.match(text, /^other +3\.0 ms +75\.0% +3000\.0 ns +1 +plain\.js:5$/m);
  assert.match(text, /^apply +500 B +100\.0% +0\.500 B +1 +apply\.ts:8$/m);
  assert.doesNotMatch(text, /^apply +1\.0 ms/m);
});
