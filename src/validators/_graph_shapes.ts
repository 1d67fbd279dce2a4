/**
 * The graphs of validator 3: a chain, a random graph, a deep tree, and all three in one.
 *
 * Edges come in a random order, which is the hard case for whatever keeps a topological order up, and types
 * take turns.
 */

import { SeededRandom } from "../log/seeded_random.ts";
import { EDGE_TYPES, type EdgeType } from "../physical/mod.ts";

/** An edge between two pages by their place in the shape. */
export interface ShapeEdge {
  /** Place of the source, from 0. */
  readonly from: number;
  /** Place of the target. */
  readonly to: number;
  /** Its type. */
  readonly type: EdgeType;
}

/** A graph without a cycle. */
export interface Shape {
  /** What it is, for people. */
  readonly name: string;
  /** Pages. */
  readonly pages: number;
  /** Edges in the order in which they are added; all lead from lower to higher places. */
  readonly edges: readonly ShapeEdge[];
}

/** Edges of the random graph out of each page. */
export const RANDOM_EDGES_A_PAGE = 4;
/** The parent of a page of the tree is one of so many before it, so the tree is deep. */
const TREE_NEAREST = 3;

/** The shapes of so many pages each. */
export function shapesOf(pages: number, seed: number): Shape[] {
  const random = new SeededRandom(seed);
  const third = Math.floor(pages / 3);
  const parts = [
    chainOf(third, 0),
    randomOf(third, third, random),
    treeOf(third, 2 * third, random),
  ];
  const bridges: [number, number][] = [[third - 1, third], [2 * third - 1, 2 * third]];
  return [
    shape("a chain", pages, chainOf(pages, 0), random),
    shape(
      `a random graph with ${RANDOM_EDGES_A_PAGE} edges a page`,
      pages,
      randomOf(pages, 0, random),
      random,
    ),
    shape("a deep tree", pages, treeOf(pages, 0, random), random),
    shape("the three in one", 3 * third, [...parts.flat(), ...bridges], random),
  ];
}

function shape(
  name: string,
  pages: number,
  pairs: [number, number][],
  random: SeededRandom,
): Shape {
  for (let i = pairs.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [pairs[i], pairs[j]] = [pairs[j], pairs[i]];
  }
  const edges = pairs.map(([from, to]) => ({ from, to, type: EDGE_TYPES[random.below(4)] }));
  return { name, pages, edges };
}

function chainOf(count: number, first: number): [number, number][] {
  return Array.from({ length: count - 1 }, (_, i) => [first + i, first + i + 1]);
}

/** Some edges out of each page to later ones; the last ones have fewer to go to. */
function randomOf(count: number, first: number, random: SeededRandom): [number, number][] {
  const pairs: [number, number][] = [];
  for (let i = 0; i < count - 1; i++) {
    const targets = new Set<number>(), wanted = Math.min(RANDOM_EDGES_A_PAGE, count - 1 - i);
    while (targets.size < wanted) targets.add(i + 1 + random.below(count - 1 - i));
    for (const to of targets) pairs.push([first + i, first + to]);
  }
  return pairs;
}

function treeOf(count: number, first: number, random: SeededRandom): [number, number][] {
  return Array.from({ length: count - 1 }, (_, i) => {
    const parent = Math.max(0, i - random.below(TREE_NEAREST));
    return [first + parent, first + i + 1];
  });
}
