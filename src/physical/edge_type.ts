/**
 * Edge types: what edges mean, their numbers in a log, and choices of edges as one number.
 *
 * The kind of an edge in a table of edges is its type and two flags in four bits, so that a set of kinds is a
 * number of sixteen, and a walk asks one question of an edge.
 *
 * @module
 */

/** What an edge means: data → recompute, control → stale until read, gpu → sync, compiler → invalidate. */
export type EdgeType = "data" | "control" | "gpu" | "compiler";

/** Number of each type of edge, as it stands in a log. */
export const EDGE = {
  data: 0,
  control: 1,
  gpu: 2,
  compiler: 3,
} as const satisfies Readonly<Record<EdgeType, number>>;

/** The types of edges, by their number. */
export const EDGE_TYPES: readonly EdgeType[] = ["data", "control", "gpu", "compiler"];

/** Flag of a kind: the edge is only staged. */
export const STAGED = 4;
/** Flag of a kind: the edge's removal is staged. */
export const LEAVING = 8;
/** The type in a kind. */
export const TYPE_MASK = 3;

/** Which edges a walk goes along. */
export interface EdgeChoice {
  /** Types. Default: all. */
  readonly types?: readonly EdgeType[];
  /** Whether staged edges are walked. Default: no. */
  readonly staged?: boolean;
  /** Whether edges are walked whose removal is staged. Default: yes. */
  readonly leaving?: boolean;
}

/**
 * A choice of edges as one number, so that a walk asks one question of an edge:
 * `mask >>> edges.kind(edge) & 1`.
 */
export function edgeMask(choice: EdgeChoice = {}): number {
  const { types = EDGE_TYPES, staged = false, leaving = true } = choice;
  let mask = 0;
  for (const type of types) mask |= 1 << EDGE[type];
  if (staged) mask |= mask << STAGED;
  return leaving ? mask | mask << LEAVING : mask;
}
