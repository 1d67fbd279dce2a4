/**
 * What is given to a causal graph, checked once at its boundary: ids, events, cuts and limits.
 *
 * Lists that a caller gives are read once, into arrays of ours, before anything is changed; so a list that
 * throws in the middle, or says something else the second time, harms nothing.
 *
 * Cost: some comparisons an id.
 */

import { checkInteger, checkIterable, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { requireTimestamp } from "../check.ts";
import { NODE_MAX } from "../timestamp.ts";

/** Names an event: the node on which it happened, and the how manieth there it was, from 1. */
export interface EventId {
  /** Node, 0 to 65535. */
  readonly node: number;
  /** Sequence on its node, from 1 without gaps. */
  readonly sequence: number;
}

/** A vector or a cut in plain form: pairs of a node and a sequence. */
export type VectorEntries = Iterable<readonly [node: number, sequence: number]>;

/** An event that is added to a causal graph. */
export interface CausalEventInput extends EventId {
  /** Its hybrid logical timestamp; 0n, or left out, for none. */
  readonly hlc?: bigint;
  /**
   * What came directly before it. The event before it on its own node always does and need not be
   * named.
   */
  readonly parents?: Iterable<EventId>;
  /**
   * Its vector clock: how many events of each node are before it or itself. In place of parents, or
   * beside them as a check.
   */
  readonly vector?: VectorEntries;
}

/** An event as the graph takes it. */
export interface CheckedEvent extends EventId {
  readonly hi: number;
  readonly lo: number;
  readonly parents: readonly EventId[] | undefined;
  readonly vector: ReadonlyMap<number, number> | undefined;
  /** What must be in the graph before it, but for its own node's. */
  readonly needs: readonly EventId[];
}

/** How an event is called in messages. */
export function textOf({ node, sequence }: EventId): string {
  return `${node}:${sequence}`;
}

/** Checks an id. */
export function checkId(name: string, id: EventId): EventId {
  const { node, sequence } = checkType(name, id, "object") as EventId;
  checkInteger(`node of ${name}`, node, 0, NODE_MAX);
  checkInteger(`sequence of ${name}`, sequence, 1, Number.MAX_SAFE_INTEGER - 1);
  return { node: node + 0, sequence };
}

/** Checks entries of a vector or of a cut, each node once; entries of 0 say nothing and are left out. */
export function checkEntries(name: string, entries: VectorEntries): Map<number, number> {
  const checked = new Map<number, number>();
  for (const entry of checkIterable(name, entries)) {
    const [node, sequence] = checkIterable(`entry of ${name}`, entry);
    checkInteger(`node of ${name}`, node, 0, NODE_MAX);
    checkInteger(`sequence of ${name}`, sequence, 0, Number.MAX_SAFE_INTEGER - 1);
    if (checked.has(node)) {
      throw new MmsbError("usage", `Cannot use ${name}: node ${node} is in it twice`, {
        values: { node },
      });
    }
    checked.set(node + 0, sequence);
  }
  for (const [node, sequence] of checked) if (sequence === 0) checked.delete(node);
  return checked;
}

/** No ids: what most events name. */
const NONE: readonly EventId[] = Object.freeze([]);

/** Checks an event. */
export function checkEvent(event: CausalEventInput): CheckedEvent {
  const { node, sequence } = checkId("event", event), { hlc } = event;
  const parents = event.parents === undefined ? undefined : checkParents(event.parents);
  const vector = event.vector === undefined
    ? undefined
    : checkVector(node, sequence, checkEntries("vector", event.vector));
  let needs = parents ?? NONE, hi = 0, lo = 0;
  if (vector !== undefined) {
    const others = [...vector].filter(([other]) => other !== node);
    needs = [...needs, ...others.map(([other, count]) => ({ node: other, sequence: count }))];
  }
  if (hlc !== undefined) {
    requireTimestamp(hlc);
    hi = Number(hlc >> 32n);
    lo = Number(hlc & 0xffff_ffffn);
  }
  return { node, sequence, hi, lo, parents, vector, needs };
}

function checkParents(parents: Iterable<EventId>): EventId[] {
  const checked: EventId[] = [];
  for (const parent of checkIterable("parents", parents)) checked.push(checkId("parent", parent));
  return checked;
}

function checkVector(
  node: number,
  sequence: number,
  vector: Map<number, number>,
): Map<number, number> {
  const entry = vector.get(node) ?? 0;
  if (entry === sequence) return vector;
  throw new MmsbError(
    "usage",
    `Cannot add event ${node}:${sequence} as its vector says ${entry} for its own node: an event's ` +
      "own entry is its sequence",
    { values: { node, sequence, entry } },
  );
}
