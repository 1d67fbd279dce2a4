/** Edges, rules, marks and derived deltas: whatever reads a log reads them, and finds what is wrong. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { MmsbError } from "../base/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { Structure, type StructureStep } from "../model/mod.ts";
import { bindingOf, decodeBinding, encodeBinding } from "./binding.ts";
import { writeCheckpoint } from "./checkpoint_writer.ts";
import { Checkpoint } from "./checkpoint_reader.ts";
import { compactDirectory } from "./compaction.ts";
import type { ExportLine } from "./export_line.ts";
import { exportStorage } from "./export_log.ts";
import { FileStorage } from "./file_storage.ts";
import { ROW_KIND, RULE_ROW, STRUCTURAL } from "./format.ts";
import type { LogRow } from "./import_columns.ts";
import { importJson } from "./import_json.ts";
import { bytesSource } from "./import_source.ts";
import { inspectLog } from "./inspect.ts";
import { LogBuilder, structuralRow } from "./log_builder.ts";
import { LogReader } from "./log_reader.ts";
import { MemoryStorage } from "./memory_storage.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { queryLog } from "./query.ts";
import { recover } from "./recovery.ts";
import { Replayer } from "./replay.ts";
import { salvageStorage } from "./salvage.ts";
import type { Storage } from "./storage.ts";
import { auditLog } from "./verify.ts";

const MEMORY_BYTES = 2 ** 26;

/** One tick of a program: numbers that choose what happens among what is possible. */
interface TickPlan {
  readonly births: number;
  readonly sizes: readonly number[];
  readonly writes: readonly number[];
  readonly edges: readonly (readonly [source: number, target: number, type: number])[];
  readonly removes: readonly number[];
  readonly bind: number;
  readonly unbind: number;
  readonly marks: readonly (readonly [page: number, mark: number, isSet: boolean])[];
  readonly deaths: readonly number[];
}

const index = fc.nat(50);
const tickPlan: fc.Arbitrary<TickPlan> = fc.record({
  births: fc.nat(3),
  sizes: fc.array(fc.integer({ min: 8, max: 64 }), { minLength: 3, maxLength: 3 }),
  writes: fc.array(index, { maxLength: 4 }),
  edges: fc.array(fc.tuple(index, index, fc.nat(3)), { maxLength: 5 }),
  removes: fc.array(index, { maxLength: 2 }),
  bind: fc.nat(100),
  unbind: fc.nat(100),
  marks: fc.array(fc.tuple(index, fc.integer({ min: 1, max: 3 }), fc.boolean()), { maxLength: 3 }),
  deaths: fc.array(index, { maxLength: 1 }),
});

/** What a program leads to after one of its ticks. */
interface Outcome {
  readonly lines: readonly string[];
  /** Epoch and bytes of each page. */
  readonly pages: readonly string[];
}

/** Runs a program against the model, and writes its log. */
async function run(
  storage: Storage,
  plans: readonly TickPlan[],
  pageBytes = 0,
): Promise<Outcome[]> {
  const builder = new LogBuilder(storage, { shards: 4, segmentBytes: 4096, segmentBytesMax: 4096 });
  const structure = new Structure(),
    pages = new Map<number, { bytes: Uint8Array; epoch: number }>();
  const outcomes: Outcome[] = [];
  let hlc = 1000n, nextId = 1;
  const at = () => (hlc += 1000n, hlc);
  for (const [index, plan] of plans.entries()) {
    const pick = (number: number) => [...pages.keys()][number % Math.max(1, pages.size)] ?? 0;
    const births = Array.from({ length: plan.births }, (_, i) => {
      const page = nextId++, size = Math.max(pageBytes, plan.sizes[i]);
      pages.set(page, { bytes: new Uint8Array(size), epoch: 0 });
      return { page, size, shard: page % 4, name: page % 3 === 0 ? `page ${page}` : "" };
    });
    const dying = [...new Set(plan.deaths.map(pick))].filter((page) => page > 0);
    const steps = stepsOf(structure, plan, pages, pick);
    const rules = new Map([...structure.rules].map(([number, rule]) => [number, rule]));
    const version = () => {
      const after = clone(structure);
      for (const step of steps) after.apply(step);
      for (const page of dying) after.removePage(page);
      return after;
    };
    await builder.begin({ tick: index + 1, graphVersion: version().version });
    builder.births(births, at());
    const data = builder.rows(), derived = builder.rows();
    const made: [number, number, string][] = [];
    for (const number of plan.writes) {
      const page = pick(number);
      if (page === 0) continue;
      const writer = [...rules].find(([, rule]) => rule.written.includes(page));
      if (writer !== undefined) made.push([page, writer[0], writer[1].name]);
      else {
        const known = pages.get(page)!;
        const payload = Uint8Array.of(number, index), offset = number % (known.bytes.length - 2);
        known.bytes.set(payload, offset);
        data.push({
          page,
          kind: 0,
          offset,
          length: 2,
          payload,
          epoch: ++known.epoch,
          source: "feed",
        });
      }
    }
    builder.frame(data, { producer: 1, sequence: index + 1, hlc: at() });
    for (const [page, rule, source] of made.sort(([a], [b]) => a - b)) {
      const known = pages.get(page)!, payload = Uint8Array.of(page, index + 1);
      known.bytes.set(payload, 0);
      derived.push({
        page,
        kind: 0,
        offset: 0,
        length: 2,
        payload,
        epoch: ++known.epoch,
        source,
        rule,
      });
    }
    builder.frame(derived, { rowKind: ROW_KIND.derived, hlc: at() });
    writeSteps(builder, steps, at);
    for (const step of steps) structure.apply(step);
    const deaths = builder.rows();
    for (const page of dying) {
      deaths.push(structuralRow(page, STRUCTURAL.deletePage));
      pages.delete(page);
      structure.removePage(page);
    }
    builder.frame(deaths, { rowKind: ROW_KIND.structural, hlc: at() });
    await builder.commit(at(), nextId, structure.nextRule);
    outcomes.push({
      lines: structure.lines(),
      pages: [...pages].map(([id, { bytes, epoch }]) => `${id} ${epoch} ${bytes}`),
    });
  }
  await builder.close();
  return outcomes;
}

/** The steps of a plan that nothing is wrong with, in the order in which they take effect. */
function stepsOf(
  structure: Structure,
  plan: TickPlan,
  pages: ReadonlyMap<number, unknown>,
  pick: (number: number) => number,
): StructureStep[] {
  const now = clone(structure), steps: StructureStep[] = [];
  const lives = (page: number) => pages.has(page);
  const take = (step: StructureStep) => {
    if (now.faultOf(step, lives) !== undefined) return;
    now.apply(step);
    steps.push(step);
  };
  const bound = [...now.rules.keys()];
  if (plan.unbind < 20 && bound.length > 0) {
    take({ kind: "unbind", rule: bound[plan.unbind % bound.length] });
  }
  for (const number of plan.removes) {
    if (now.edges.length === 0) continue;
    take({ kind: "edge", ...now.edges[number % now.edges.length], adds: false });
  }
  for (const [source, target, type] of plan.edges) {
    take({ kind: "edge", source: pick(source), target: pick(target), type, adds: true });
  }
  if (plan.bind < 50 && pages.size > 2) {
    const [input, output, state] = [plan.bind, plan.bind + 1, plan.bind + 2].map(pick);
    const rule = now.nextRule, name = `rule ${plan.bind % 7}`;
    const about = { inputs: [input], outputs: [output], state: plan.bind % 2 === 0 ? [state] : [] };
    take({ kind: "bind", rule, name, ...about });
  }
  for (const [page, mark, isSet] of plan.marks) {
    take({ kind: "mark", page: pick(page), mark, isSet });
  }
  return steps;
}

/** Writes steps as rows: edges, rules and marks in frames of their own. */
function writeSteps(builder: LogBuilder, steps: readonly StructureStep[], at: () => bigint): void {
  const edges = builder.rows(), rules = builder.rows(), marks = builder.rows();
  for (const step of steps) {
    if (step.kind === "edge") {
      const kind = step.adds ? STRUCTURAL.addEdge : STRUCTURAL.removeEdge;
      edges.push(structuralRow(step.target, kind, { size: step.source, shard: step.type }));
    } else if (step.kind === "mark") {
      marks.push(structuralRow(step.page, step.mark, { size: step.isSet ? 1 : 0 }));
    } else if (step.kind === "bind") {
      const payload = payloadOf(step);
      rules.push(structuralRow(step.outputs[0], RULE_ROW.bind, { size: step.rule, payload }));
    }
  }
  builder.frame(marks, { rowKind: ROW_KIND.mark, hlc: at() });
  builder.frame(edges, { rowKind: ROW_KIND.structural, hlc: at() });
  const unbinds = builder.rows();
  for (const step of steps) {
    if (step.kind !== "unbind") continue;
    unbinds.push(
      structuralRow(PAGES_OF_RULES.get(step.rule)!, RULE_ROW.unbind, { size: step.rule }),
    );
  }
  builder.frame(rules, { rowKind: ROW_KIND.rule, hlc: at() });
  builder.frame(unbinds, { rowKind: ROW_KIND.rule, hlc: at() });
}

/** First outputs of the rules of the program at hand. */
const PAGES_OF_RULES = new Map<number, number>();

function payloadOf(step: StructureStep & { kind: "bind" }): Uint8Array {
  PAGES_OF_RULES.set(step.rule, step.outputs[0]);
  const { name, inputs, outputs, state } = step;
  const code = { module: "file:///rule.ts", export: "default", version: 1, mode: "immediate" };
  return encodeBinding({ name, ...code, inputs, outputs, state, params: { step: step.rule } });
}

function clone(structure: Structure): Structure {
  const copy = new Structure();
  copy.edges = [...structure.edges];
  for (const [number, rule] of structure.rules) copy.rules.set(number, rule);
  for (const mark of structure.marks) copy.marks.add(mark);
  copy.version = structure.version;
  copy.nextRule = structure.nextRule;
  return copy;
}

/** What a store holds, in the model's words. */
function outcomeOf(store: PageStore): Outcome {
  store.checkInvariants();
  const { edges, table } = store;
  return {
    lines: [
      ...Array.from(
        edges.edges(),
        (edge) =>
          `edge ${table.ids[edges.from(edge)]} ${table.ids[edges.to(edge)]} ${edges.type(edge)}`,
      )
        .sort(),
      ...store.bindings.list().map(({ number, name, inputs, outputs, state }) =>
        `rule ${number} ${name} ${[...inputs, ...outputs, ...state].join(" ")}`
      ),
      ...store.marks.list().map(({ page, mark }) => `mark ${page} ${mark}`).sort(),
      `version ${store.graphVersion}, next rule ${store.nextRule}`,
    ],
    pages: [...table.rows()].map((row) => table.ids[row]).sort((a, b) => a - b)
      .map((id) => {
        const row = table.rowOf(id);
        return `${id} ${table.epoch(row)} ${store.view(row)}`;
      }),
  };
}

function stateAt(storage: Storage, tick = Infinity): PageStore {
  const store = new PageStore(MEMORY_BYTES);
  const { tick: reached } = recover(storage, readMeta(storage), store, tick);
  if (tick !== Infinity) assert.equal(reached, tick);
  return store;
}

function checkWhole(storage: Storage): void {
  assert.deepEqual(auditLog(storage).problems, []);
}

function textOf(lines: Iterable<ExportLine>): string {
  return [...lines].map((line) => `${JSON.stringify(line)}\n`).join("");
}

async function imported(text: string): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await importJson(bytesSource("log.jsonl", new TextEncoder().encode(text)), storage);
  return storage;
}

Deno.test("a log with edges, rules, marks and derived deltas is read as the model has it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(tickPlan, { minLength: 1, maxLength: 14 }), async (plans) => {
      const storage = new MemoryStorage(), outcomes = await run(storage, plans);
      checkWhole(storage);
      for (const [index, outcome] of outcomes.entries()) {
        assert.deepEqual(outcomeOf(stateAt(storage, index + 1)), outcome);
      }
      // Out and in again, whole and in the canonical form.
      const text = textOf(exportStorage(storage)), last = outcomes[outcomes.length - 1];
      const again = await imported(text);
      checkWhole(again);
      assert.equal(textOf(exportStorage(again)), text);
      assert.deepEqual(outcomeOf(stateAt(again)), last);
      const canonical = textOf(exportStorage(storage, { canonical: true }));
      assert.equal(textOf(exportStorage(again, { canonical: true })), canonical);
      const thrice = await imported(canonical);
      checkWhole(thrice);
      assert.equal(textOf(exportStorage(thrice, { canonical: true })), canonical);
      const version = last.lines.at(-1)!;
      const state = outcomeOf(stateAt(thrice));
      assert.deepEqual([...state.lines.slice(0, -1), version], last.lines);
      assert.deepEqual(state.pages, last.pages);
    }),
    { numRuns: 60 },
  );
});

Deno.test("compaction keeps edges, rules and marks as of the horizon, and derived deltas derived", async () => {
  let compacted = 0, derived = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(tickPlan, { minLength: 12, maxLength: 40 }), async (plans) => {
      const storage = new MemoryStorage(), outcomes = await run(storage, plans);
      const before = lastKinds(storage);
      const report = await compactDirectory(storage);
      checkWhole(storage);
      const last = outcomes[outcomes.length - 1];
      assert.deepEqual(outcomeOf(stateAt(storage)), last);
      const horizon = readMeta(storage)!.base?.horizon ?? 0;
      if (horizon > 0) {
        compacted++;
        assert.deepEqual(outcomeOf(stateAt(storage, horizon)), outcomes[horizon - 1]);
      }
      assert.deepEqual(lastKinds(storage), before);
      derived += [...before.values()].filter((text) => text.startsWith("2 ")).length;
      assert.ok(report !== undefined);
      // Again, over what was merged.
      await compactDirectory(storage);
      checkWhole(storage);
      assert.deepEqual(outcomeOf(stateAt(storage)), last);
    }),
    { numRuns: 25 },
  );
  assert.ok(compacted > 0 && derived > 0);
});

/** Row kind, rule and source of the last delta of each page that lives. */
function lastKinds(storage: Storage): Map<number, string> {
  const kinds = new Map<number, string>();
  for (const line of exportStorage(storage)) {
    if (line.type === "delta") {
      kinds.set(line.page, `${line.derived ? 2 : 0} ${line.rule ?? 0} ${line.source}`);
    }
    if (line.type === "death") kinds.delete(line.page);
  }
  return kinds;
}

Deno.test("a checkpoint that is made while ticks go on has edges, rules and marks of its tick", async () => {
  let fuzzy = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(tickPlan, { minLength: 4, maxLength: 8 }),
      fc.nat(7),
      fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 12, maxLength: 12 }),
      async (plans, begin, steps) => {
        const storage = new MemoryStorage();
        // A page fills a chunk, so that there are ticks between the images.
        const outcomes = await run(storage, plans.map(fewBirths), 700 * 1024);
        const first = begin % plans.length;
        const made = await checkpoint(storage, first, steps);
        if (made.tick > made.tickFirst) fuzzy++;
        using opened = Checkpoint.open(storage, made.tick);
        opened.check();
        checkWhole(storage);
        for (let tick = made.tick; tick <= plans.length; tick++) {
          const store = new PageStore(MEMORY_BYTES);
          const { checkpoint: used } = recover(storage, readMeta(storage), store, tick);
          assert.equal(used?.tick, made.tick);
          assert.deepEqual(
            outcomeOf(store),
            outcomes[tick - 1] ?? outcomeOf(new PageStore(2 ** 20)),
          );
        }
      },
    ),
    { numRuns: 12 },
  );
  assert.ok(fuzzy > 0);
});

function fewBirths(plan: TickPlan, index: number): TickPlan {
  return { ...plan, births: index < 3 ? 1 : 0, deaths: plan.deaths };
}

/** Makes a checkpoint that begins after a tick; each turn lets some ticks pass. */
async function checkpoint(storage: Storage, first: number, steps: readonly number[]) {
  const store = new PageStore(MEMORY_BYTES), meta = readMeta(storage);
  const found = recover(storage, meta, store, first);
  const replayer = new Replayer(store);
  const lanes = found.end.lanes.map(({ lane, number, offset, position }) => {
    return { lane, segment: number, offset, position };
  });
  const place = { tick: first, lanes };
  const reader = new LogReader(storage, meta, first === 0 ? {} : { start: place });
  const begin = first === 0 ? { lane: 0, segment: 1, offset: 64, position: 64 } : lanes[0];
  let tick = first, turn = 0;
  return await writeCheckpoint(storage, {
    store,
    pack: "never",
    header: {
      place: { tick: first, lanes: [begin] },
      hlcLast: found.hlcLast,
      nextPageId: store.nextPageId,
      shards: 4,
      incarnation: 1,
    },
    tick: () => tick,
    turn: () => {
      for (let step = steps[turn++ % steps.length]; step > 0; step--) {
        const next = reader.next();
        if (next === undefined) break;
        replayer.apply(next);
        tick = next.tick;
      }
      return Promise.resolve();
    },
    isIdle: () => true,
    syncLog: () => Promise.resolve(),
  });
}

Deno.test("a checkpoint whose structure is damaged is passed over and named", async () => {
  const storage = new MemoryStorage();
  await linked(storage);
  const { tick, path } = await checkpoint(storage, 1, [0]);
  const bytes = storage.readAll(path)!;
  using opened = Checkpoint.open(storage, tick);
  assert.equal(opened.structure.sources.length, 1);
  const { tableAt } = opened.footer;
  bytes[tableAt - 8] ^= 1;
  storage.replace(path, bytes);
  const store = new PageStore(MEMORY_BYTES);
  const { checkpoint: used, passedOver } = recover(storage, readMeta(storage), store);
  assert.equal(used, undefined);
  assert.match(passedOver![0].reason ?? "", /structure does not match its checksum/);
  assert.equal(store.edges.size, 1);
  assert.match(auditLog(storage).problems[0].message, /structure does not match its checksum/);
});

/** Three pages; an edge from 1 to 2, a rule 1 that reads 1 and writes 2. */
async function linked(
  storage: Storage,
  more: (builder: LogBuilder, at: () => bigint) => Promise<void> | void = () => {},
): Promise<void> {
  const builder = new LogBuilder(storage, { shards: 4 });
  let hlc = 1000n;
  const at = () => hlc += 1000n;
  await builder.begin({ tick: 1, graphVersion: 2 });
  builder.births([1, 2, 3].map((page) => ({ page, size: 16, shard: 0, name: "" })), at());
  writeSteps(builder, [
    { kind: "edge", source: 1, target: 2, type: 0, adds: true },
    { kind: "bind", rule: 1, name: "mid", inputs: [1], outputs: [2], state: [] },
    { kind: "mark", page: 3, mark: 1, isSet: true },
  ], at);
  await builder.commit(at(), 4);
  await builder.begin({ tick: 2 });
  await more(builder, at);
  await builder.commit(at(), 4);
  await builder.close();
}

/** A row with its row kind. */
interface KindRow {
  readonly rowKind: number;
  readonly row: LogRow;
}

const edge = (source: number, target: number, type = 0, adds = true): KindRow => {
  const kind = adds ? STRUCTURAL.addEdge : STRUCTURAL.removeEdge;
  return {
    rowKind: ROW_KIND.structural,
    row: structuralRow(target, kind, { size: source, shard: type }),
  };
};
const rule = (page: number, kind: number, number: number, payload?: Uint8Array): KindRow => {
  return { rowKind: ROW_KIND.rule, row: structuralRow(page, kind, { size: number, payload }) };
};
const binding = (name: string, inputs: number[], outputs: number[]) => {
  const code = { module: null, export: "", version: 1, params: null, mode: "immediate" };
  return encodeBinding({ name, ...code, inputs, outputs, state: [] });
};
const mark = (page: number, kind: number, size: number): KindRow => {
  return { rowKind: ROW_KIND.mark, row: structuralRow(page, kind, { size }) };
};

/** Rows that cannot be, and what is said of them. */
const WRONG: readonly (readonly [string, KindRow, RegExp])[] = [
  ["an edge from a page that is not there", edge(9, 2), /page 9 is not there/],
  ["an edge to a page that is not there", edge(1, 9), /page 9 is not there/],
  ["an edge that is there", edge(1, 2), /data edge from page 1 to page 2 is added and was there/],
  ["an edge to itself", edge(3, 3), /page 3 has an edge to itself/],
  ["an edge of no type", edge(1, 3, 7), /type 7 of an edge is not known/],
  ["a cycle", edge(2, 1, 3), /compiler edge from page 2 to page 1 closes a cycle/],
  ["no edge to remove", edge(1, 3, 0, false), /edge from page 1 to page 3 is removed and was not/],
  [
    "a rule that is bound",
    rule(3, RULE_ROW.bind, 1, binding("b", [], [3])),
    /rule 1 is bound twice/,
  ],
  ["a rule's name twice", rule(3, RULE_ROW.bind, 2, binding("mid", [], [3])), /named "mid"/],
  [
    "a binding of a page that is not there",
    rule(3, RULE_ROW.bind, 2, binding("b", [7], [3])),
    /page 7 of rule "b"/,
  ],
  [
    "a binding at another page",
    rule(3, RULE_ROW.bind, 2, binding("b", [], [1])),
    /writes page 1, not (page )?3/,
  ],
  [
    "a page that two rules write",
    rule(2, RULE_ROW.bind, 2, binding("b", [], [2])),
    /rules "mid" and "b" write page 2/,
  ],
  ["a binding that is no JSON", rule(3, RULE_ROW.bind, 2, Uint8Array.of(1)), /it is no JSON/],
  ["an unbound rule unbound", rule(3, RULE_ROW.unbind, 5), /rule 5 is unbound and was not bound/],
  ["no operation on a rule", rule(3, 9, 1), /operation 9 on a rule is not known/],
  ["a mark of no page", mark(9, 1, 1), /page 9 (is marked and )?is not there/],
  ["no mark", mark(3, 7, 1), /mark 7 .*is not known|mark 7 is not known/],
  ["a mark neither set nor taken off", mark(3, 1, 2), /neither set nor taken off/],
];

for (const [what, { rowKind, row }, message] of WRONG) {
  Deno.test(`a log with ${what} is damaged, and salvage leaves the row out`, async () => {
    const storage = new MemoryStorage();
    await linked(storage, (builder, at) => {
      const rows = builder.rows();
      rows.push(row);
      builder.frame(rows, { rowKind, hlc: at() });
    });
    const [problem] = auditLog(storage).problems;
    assert.equal(problem.fault, "structure");
    assert.equal(problem.tick, 2);
    assert.match(problem.message, message);
    assert.throws(() => stateAt(storage), (error) => {
      assert.ok(error instanceof MmsbError && error.code === "corrupt-log");
      assert.equal(error.values.tick, 2);
      assert.equal(error.values.offset, problem.offset);
      assert.match(error.message, message);
      return true;
    });
    const target = new MemoryStorage();
    const { notes } = await salvageStorage(storage, target);
    assert.ok(notes.some((note) => note.startsWith("tick 2: ") && message.test(note)), `${notes}`);
    checkWhole(target);
    assert.deepEqual(outcomeOf(stateAt(target)).lines.slice(0, 3), [
      "edge 1 2 0",
      "rule 1 mid 1 2",
      "mark 3 1",
    ]);
  });
}

Deno.test("verify finds derived deltas of a rule that is not bound", async () => {
  for (const [number, isFault] of [[1, false], [5, true]] as const) {
    const storage = new MemoryStorage();
    await linked(storage, (builder, at) => {
      const rows = builder.rows(), payload = Uint8Array.of(1);
      const about = { kind: 0, offset: 0, length: 1, payload, source: "mid", rule: number };
      rows.push({ page: 2, epoch: 1, ...about });
      builder.frame(rows, { rowKind: ROW_KIND.derived, hlc: at() });
    });
    const messages = auditLog(storage).problems.map(({ message }) => message);
    assert.deepEqual(messages, isFault ? ["its rows were made by rule 5, which is not bound"] : []);
  }
});

Deno.test("a tick may remove and add the same edge, and replace a rule", async () => {
  const storage = new MemoryStorage();
  await linked(storage, (builder, at) => {
    const rows = builder.rows();
    rows.push(edge(2, 3).row);
    rows.push(edge(1, 2, 0, true).row);
    rows.push(edge(1, 2, 0, false).row);
    builder.frame(rows, { rowKind: ROW_KIND.structural, hlc: at() });
    const rules = builder.rows();
    rules.push(rule(2, RULE_ROW.bind, 2, binding("mid", [1], [2])).row);
    rules.push(rule(2, RULE_ROW.unbind, 1).row);
    builder.frame(rules, { rowKind: ROW_KIND.rule, hlc: at() });
  });
  checkWhole(storage);
  const { lines } = outcomeOf(stateAt(storage));
  assert.deepEqual(lines.slice(0, 3), ["edge 1 2 0", "edge 2 3 0", "rule 2 mid 1 2"]);
});

Deno.test("edges, rules and marks go with their page", async () => {
  const storage = new MemoryStorage();
  await linked(storage, (builder, at) => {
    const rows = builder.rows();
    for (const page of [1, 3]) rows.push(structuralRow(page, STRUCTURAL.deletePage));
    builder.frame(rows, { rowKind: ROW_KIND.structural, hlc: at() });
  });
  checkWhole(storage);
  // Two changes made the edge and the rule, two took them away.
  assert.deepEqual(outcomeOf(stateAt(storage)).lines, ["version 4, next rule 2"]);
});

Deno.test("many edges of one tick are sorted at once, and a cycle among them is found", async () => {
  const pages = 500;
  for (const closes of [false, true]) {
    const storage = new MemoryStorage(), builder = new LogBuilder(storage, { shards: 1 });
    await builder.begin({ tick: 1 });
    const ids = Array.from({ length: pages }, (_, i) => i + 1);
    builder.births(ids.map((page) => ({ page, size: 1, shard: 0, name: "" })), 1000n);
    const rows = builder.rows();
    // From the last page to the first: each edge goes against the order of the rows.
    for (let page = pages; page > 1; page--) rows.push(edge(page, page - 1).row);
    if (closes) rows.push(edge(1, pages).row);
    builder.frame(rows, { rowKind: ROW_KIND.structural, hlc: 5000n });
    await builder.commit(9000n, pages + 1);
    for (let tick = 2; tick <= 40 && !closes; tick++) {
      await builder.begin({ tick });
      const one = builder.rows();
      one.push(edge(pages - tick, tick, 1).row);
      builder.frame(one, { rowKind: ROW_KIND.structural, hlc: BigInt(tick) * 10_000n });
      await builder.commit(BigInt(tick) * 10_000n + 10n, pages + 1);
    }
    await builder.close();
    const problems = auditLog(storage).problems.map(({ message }) => message);
    const message = `the data edge from page 1 to page ${pages} closes a cycle`;
    assert.deepEqual(problems, closes ? [message] : []);
    if (closes) assert.throws(() => stateAt(storage), new RegExp(message));
    else assert.equal(stateAt(storage).edges.size, pages - 1 + 39);
  }
});

Deno.test("an import refuses wrong edges, rules and marks by line and field", async () => {
  const storage = new MemoryStorage();
  await linked(storage);
  const lines = textOf(exportStorage(storage)).trimEnd().split("\n");
  const find = (type: string) => lines.findIndex((line) => line.includes(`"type":"${type}"`));
  const cases: [string, object, string, RegExp][] = [
    ["edge", { from: 9 }, "from", /page 9 is not there/],
    ["edge", { from: 2 }, "from", /page 2 has an edge to itself/],
    ["edge", { edge: "red" }, "edge", /no edge of type "red"/],
    ["edge", { change: "remove" }, "from", /was not there/],
    ["bind", { rule: 0 }, "rule", /it is 0/],
    ["bind", { binding: { name: "b" } }, "binding", /its export|its module/],
    ["mark", { mark: "red" }, "mark", /no mark "red"/],
    ["mark", { page: 7 }, "page", /page 7 was not born/],
  ];
  for (const [type, change, field, reason] of cases) {
    const at = find(type), wrong = lines.slice();
    wrong[at] = JSON.stringify({ ...JSON.parse(lines[at]), ...change });
    await assert.rejects(imported(`${wrong.join("\n")}\n`), (error) => {
      assert.ok(error instanceof MmsbError);
      assert.equal(error.values.line, at + 1, `${type} ${JSON.stringify(change)}`);
      assert.equal(error.values.field, field);
      assert.match(error.message, reason);
      return true;
    });
  }
});

Deno.test("inspect counts edges, rules and marks, and query gives them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const storage = new FileStorage(dir);
    storage.makeFolder("");
    await linked(storage, (builder, at) => {
      const rows = builder.rows(), payload = Uint8Array.of(1);
      const about = { kind: 0, offset: 0, length: 1, payload, source: "mid", rule: 1 };
      rows.push({ page: 2, epoch: 1, ...about });
      builder.frame(rows, { rowKind: ROW_KIND.derived, hlc: at() });
    });
    const { edges, rules, marks } = await inspectLog(dir);
    assert.deepEqual(edges, { data: 1 });
    assert.deepEqual(rules, [{ number: 1, name: "mid", deltas: 1 }]);
    assert.deepEqual(marks, { stale: 1 });
    const ask = async (query: Parameters<typeof queryLog>[1]) =>
      (await Array.fromAsync(queryLog(dir, query))).map(({ kind, page }) => `${kind} ${page}`);
    assert.deepEqual(await ask({ rule: "mid" }), ["bind 2", "set 2"]);
    assert.deepEqual(await ask({ rule: "other" }), []);
    assert.deepEqual(await ask({ rowKinds: ["derived"] }), ["set 2"]);
    assert.deepEqual(await ask({ rowKinds: ["mark", "rule"] }), ["mark 3", "bind 2"]);
    assert.deepEqual(await ask({ page: 2 }), ["create 2", "bind 2", "add edge 2", "set 2"]);
    const [added] = await Array.fromAsync(queryLog(dir, { page: 2, rowKinds: ["structural"] }))
      .then((rows) => rows.filter(({ kind }) => kind === "add edge"));
    assert.deepEqual([added.from, added.edge, added.length], [1, "data", 0]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("encodeBinding() refuses what is no binding, and decodeBinding() gives it back", () => {
  const good = {
    name: "mid",
    module: null,
    export: "",
    version: 1,
    inputs: [1],
    outputs: [2],
    state: [],
    params: { a: [1] },
    mode: "immediate",
  };
  const payload = encodeBinding(good);
  assert.deepEqual(decodeBinding(payload), good);
  assert.deepEqual(bindingOf(3, payload).page, 2);
  const circle: { self?: unknown } = {};
  circle.self = circle;
  const bad: object[] = [
    { name: "" },
    { name: "x".repeat(2000) },
    { module: 1 },
    { version: 1.5 },
    { outputs: [] },
    { outputs: [2, 2] },
    { inputs: [0] },
    { inputs: [2 ** 32] },
    { params: circle },
    { params: 1n },
  ];
  for (const change of bad) {
    assert.throws(
      () => encodeBinding({ ...good, ...change }),
      { code: "usage" },
      Object.keys(change)[0],
    );
  }
  for (const text of ["", "1", "[]", "{}", '{"name":"a"}']) {
    assert.throws(() => decodeBinding(new TextEncoder().encode(text)), { code: "corrupt-log" });
  }
});

Deno.test("salvage makes a whole log of a damaged one with edges, rules and marks", async () => {
  let hurt = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(tickPlan, { minLength: 3, maxLength: 14 }),
      fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      async (plans, places, hasCheckpoint) => {
        const storage = new MemoryStorage(), outcomes = await run(storage, plans);
        if (hasCheckpoint) await checkpoint(storage, plans.length - 1, [0]);
        const names = storage.list("lane-00").filter((name) => name.endsWith(".log"));
        for (const place of places) {
          const path = `lane-00/${names[place % names.length]}`, bytes = storage.readAll(path)!;
          bytes[64 + place % Math.max(1, bytes.length - 64)] ^= 1 << place % 8;
          storage.replace(path, bytes);
        }
        const target = new MemoryStorage(), report = await salvageStorage(storage, target);
        checkWhole(target);
        const { lines } = outcomeOf(stateAt(target));
        if (!report.ok) hurt++;
        else assert.deepEqual(lines, outcomes[outcomes.length - 1].lines);
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(hurt > 0);
});

Deno.test("a log that begins with a checkpoint is exported, inspected and salvaged with its structure", async () => {
  let edges = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(tickPlan, { minLength: 6, maxLength: 12 }), async (plans) => {
      const storage = new MemoryStorage(), outcomes = await run(storage, plans);
      const made = await checkpoint(storage, 4, [0]);
      // As where the segments before the checkpoint were dropped.
      using opened = Checkpoint.open(storage, made.tick);
      const { place } = opened.header, meta = readMeta(storage)!;
      const base = { tick: place.tick, horizon: made.tick, lanes: place.lanes };
      writeMeta(storage, { ...meta, base });
      checkWhole(storage);
      const last = outcomes[outcomes.length - 1];
      assert.deepEqual(outcomeOf(stateAt(storage)), last);
      const text = textOf(exportStorage(storage)), again = await imported(text);
      checkWhole(again);
      assert.deepEqual(outcomeOf(stateAt(again)), last);
      const canonical = textOf(exportStorage(storage, { canonical: true }));
      const { lines, pages } = outcomeOf(stateAt(await imported(canonical)));
      assert.deepEqual([lines.slice(0, -1), pages], [last.lines.slice(0, -1), last.pages]);
      const target = new MemoryStorage();
      await salvageStorage(storage, target);
      checkWhole(target);
      assert.deepEqual(outcomeOf(stateAt(target)), last);
      edges += last.lines.length - 1;
    }),
    { numRuns: 25 },
  );
  assert.ok(edges > 0);
});
