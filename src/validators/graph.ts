/**
 * Validator 3, graph: acyclic and resolvable.
 *
 * Four graphs of 10,000 pages (a chain, a random one with 4 edges a page, a deep tree, the three in one) are
 * added to a bus edge by edge in a random order, logged, and opened again from the log. Then the bus is asked for
 * levels, ancestors and ways, each answer compared with a reference that is plain lists; and cycles are planted, short
 * ones and some through all pages, each of which must be refused with the pages of a cycle that is one.
 *
 * A page is resolved when all that it is made from is known. The figure is the slowest shape's: the median
 * over pages resolved one by one, or the levels of all by the page, whichever is larger.
 *
 * In a user's directory it checks the stored graph: edges between living pages, no cycle; by an algorithm of its own.
 */

import { StateBus } from "../bus/mod.ts";
import type { GraphEdge } from "../graph/mod.ts";
import { milliseconds, quantile, text } from "./_figures.ts";
import { type GraphOutcome, type GraphPlan, measureShape } from "./_graph_measure.ts";
import { shapesOf } from "./_graph_shapes.ts";
import { ReferenceGraph } from "./_reference_graph.ts";
import { plantedNotes, plantedResults } from "./catalogue.ts";
import { damagedLog } from "./_own_state.ts";
import type { Measured, PlantedResult, Validator, ValidatorContext } from "./validator.ts";

const PAGES = 10_000;
const RESOLVED = 100;
const RESOLVED_QUICK = 20;
/** Pages of the graph in which faults of stored graphs are planted. */
const STORED_PAGES = 300;
/** Pages of a user's directory that are resolved one by one. */
const RESOLVED_MAX = 1000;

/** The validator. */
export const graphValidator: Validator = {
  id: 3,
  name: "Graph",
  run: (context) =>
    context.directory !== undefined
      ? runOn(context.directory, context)
      : context.bus !== undefined
      ? Promise.resolve(checkStored(context.bus, context))
      : runOwn(context),
};

async function runOwn({ quick, seed, progress }: ValidatorContext): Promise<Measured> {
  const plan = { pages: PAGES, resolved: quick ? RESOLVED_QUICK : RESOLVED, seed };
  const outcomes = await measureGraph(plan, progress);
  const planted = plantedResults(3, [
    ...outcomes.flatMap(({ planted }) => planted),
    ...plantStored(seed),
  ]);
  return {
    metrics: graphMetrics(outcomes),
    samples: outcomes.reduce((sum, { answers, planted }) => sum + answers + planted.length, 0),
    notes: [...notesOf(outcomes), ...plantedNotes(planted)],
    durability: "group",
    planted,
  };
}

/** Whether what is asked of a stored graph would tell a cycle, and an edge whose end is not there. */
function plantStored(seed: number): PlantedResult[] {
  const [{ edges, pages }] = shapesOf(STORED_PAGES, seed);
  const known = new Set(Array.from({ length: pages }, (_, page) => page));
  const [{ from, to }] = edges, type = "data" as const;
  const isClean = faultOf(edges, known) === undefined;
  const cycle = faultOf([...edges, { from: to, to: from, type }], known);
  const missing = faultOf([...edges, { from, to: pages, type }], known);
  return [
    { id: "cycle-unseen", found: isClean && /cycle/.test(cycle ?? "") },
    { id: "graph-end-missing", found: isClean && missing?.includes(`page ${pages}`) === true },
  ];
}

/** Measures all shapes. */
export async function measureGraph(
  plan: GraphPlan,
  progress: (text: string) => void,
): Promise<GraphOutcome[]> {
  const outcomes: GraphOutcome[] = [];
  for (const shape of shapesOf(plan.pages, plan.seed)) {
    outcomes.push(await measureShape(shape, plan, progress));
  }
  return outcomes;
}

/** The figures of outcomes. */
export function graphMetrics(outcomes: readonly GraphOutcome[]): Record<string, number> {
  const sum = (count: (outcome: GraphOutcome) => number) =>
    outcomes.reduce((sum, outcome) => sum + count(outcome), 0);
  const planted = sum(({ planted }) => planted.length);
  const missed = sum(({ planted }) => planted.filter(({ found }) => !found).length);
  return {
    resolveMsPerPage: Math.max(...outcomes.map(resolveMs)),
    cycleCheckMs: Math.max(...outcomes.map(({ checkMs }) => checkMs)),
    plantedFound: 100 * (planted - missed) / planted,
    wrongAnswers: sum(({ wrong }) => wrong.length),
  };
}

function resolveMs({ ancestorsMs, levelsMs, pages }: GraphOutcome): number {
  return Math.max(ancestorsMs, levelsMs / pages);
}

function notesOf(outcomes: readonly GraphOutcome[]): string[] {
  const planted = outcomes.flatMap(({ planted }) => planted);
  const missed = outcomes.flatMap(({ missed }) => missed);
  const wrong = outcomes.flatMap(({ wrong }) => wrong);
  const answers = outcomes.reduce((sum, { answers }) => sum + answers, 0);
  return [
    ...outcomes.map((outcome) =>
      `${outcome.shape}: ${text(outcome.pages)} pages, ${text(outcome.edges)} edges (${
        outcome.edgeUs.toFixed(1)
      } µs each to add), ${text(outcome.levels)} levels in ${
        milliseconds(outcome.levelsMs)
      }, the median page's ancestors in ${milliseconds(outcome.ancestorsMs)}, cycle check ${
        milliseconds(outcome.checkMs)
      }`
    ),
    `${text(answers)} answers compared with a reference, ${text(wrong.length)} unlike it`,
    `faults planted ${
      text(planted.length)
    } times: cycles refused with a cycle that is one (edges turned round, through the longest way, between the shapes, staged, in a list of changes), an edge that was lost told with levels and ancestors`,
    ...[...missed, ...wrong].slice(0, 5),
  ];
}

async function runOn(directory: string, context: ValidatorContext): Promise<Measured> {
  context.progress("reading the log");
  const damaged = await damagedLog(directory);
  if (damaged !== undefined) return damaged;
  await using bus = await StateBus.open({ dir: directory, readOnly: true });
  return checkStored(bus, context);
}

/** Checks the graph of a bus: one that is opened to be read, or a live one. */
function checkStored(bus: StateBus, context: ValidatorContext): Measured {
  const { graph } = bus;
  const unmeasured = { plantedFound: "nothing is planted in a user's directory" };
  context.progress("checking the graph");
  const edges = graph.edges(), pages = new Set(graph.snapshot().pages());
  const notes = [
    `${text(pages.size)} pages, ${text(edges.length)} edge${edges.length === 1 ? "" : "s"}`,
  ];
  const found = faultOf(edges, pages);
  if (found !== undefined) return { metrics: {}, samples: edges.length, notes, damage: found };
  if (edges.length === 0) {
    const none = "it has no edges";
    return {
      metrics: {},
      samples: 1,
      notes,
      unmeasured: { ...unmeasured, resolveMsPerPage: none, cycleCheckMs: none, wrongAnswers: none },
    };
  }
  return {
    ...measureStored(bus, edges, context),
    notes: [...notes, "no cycle, and all edges between pages that are there"],
    unmeasured,
  };
}

/** What is wrong with edges, if anything is. */
export function faultOf(
  edges: readonly GraphEdge[],
  pages: ReadonlySet<number>,
): string | undefined {
  const reference = new ReferenceGraph();
  for (const { from, to, type } of edges) {
    const missing = [from, to].find((page) => !pages.has(page));
    if (missing !== undefined) {
      return `the ${type} edge ${from} → ${to} has an end that is not there: page ${missing}`;
    }
    reference.add(from, to);
  }
  return reference.levels() === undefined ? "the graph has a cycle" : undefined;
}

/** Asks a stored graph as those of our own are asked. */
function measureStored(
  { graph }: StateBus,
  edges: readonly GraphEdge[],
  { progress }: ValidatorContext,
): Measured {
  const reference = new ReferenceGraph();
  for (const { from, to } of edges) reference.add(to, from);
  const times: number[] = [];
  let wrong = 0;
  for (let i = 0; i < 9; i++) {
    const started = performance.now();
    if (!graph.check().ok) wrong++;
    times.push(performance.now() - started);
  }
  const order = graph.topologicalOrder();
  const step = Math.ceil(order.length / RESOLVED_MAX);
  const resolving: number[] = [];
  for (let i = 0; i < order.length; i += step) {
    if (resolving.length % 50 === 0) progress(`${text(resolving.length)} pages resolved`);
    const started = performance.now();
    const ancestors = graph.ancestors(order[i]);
    resolving.push(performance.now() - started);
    const expected = reference.reach(order[i]);
    if (ancestors.length !== expected.size || !ancestors.every((page) => expected.has(page))) {
      wrong++;
    }
  }
  return {
    metrics: {
      resolveMsPerPage: quantile(resolving, 0.5),
      cycleCheckMs: quantile(times, 0.5),
      wrongAnswers: wrong,
    },
    samples: edges.length + resolving.length,
  };
}
