/**
 * Staged edges: edges that the next tick adds or removes.
 *
 * An edge to be added stands in the store's table at once, with the flag `staged`, so that a cycle is found
 * by the call that would close it; an edge to be removed stays there, with the flag `leaving`, until the
 * tick commits. What is remembered here is which ones, so that the tick can log them, and so that they can
 * be taken back with the open batch.
 *
 * Cost: an object and an entry of a map an edge, until its tick.
 */

import { MmsbError } from "../base/mod.ts";
import { edgeRow, type StructureRow } from "../log/mod.ts";
import { EDGE_TYPES, type EdgeTable, type PageStore } from "../physical/mod.ts";
import type { ComingEdges, Waves } from "../propagation/mod.ts";

/** An edge that is staged, or leaving. */
export interface StagedEdge {
  /** Its number; another one where it was taken away and put back. */
  edge: number;
  /** Page of its source. */
  readonly from: number;
  /** Page of its target. */
  readonly to: number;
  /** Number of its type. */
  readonly type: number;
}

/** What an open batch does to the edges. */
export class StagedEdges implements ComingEdges {
  readonly #added = new Map<number, StagedEdge>();
  readonly #removed = new Map<number, StagedEdge>();
  #isTaken = false;

  /** Whether a tick has taken them on: for what it does they count as if it were over. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Edges added and removed. */
  get size(): number {
    return this.#added.size + this.#removed.size;
  }

  /** Notes an edge that was put into the table. */
  add(edge: number, from: number, to: number, type: number): StagedEdge {
    const staged = { edge, from, to, type };
    this.#added.set(edge, staged);
    return staged;
  }

  /** The record of an edge that this batch adds. */
  addedAs(edge: number): StagedEdge | undefined {
    return this.#added.get(edge);
  }

  /** Takes an edge out of the table that this batch was to add. */
  cancel(edges: EdgeTable, staged: StagedEdge): void {
    this.#added.delete(staged.edge);
    edges.remove(staged.edge);
  }

  /** Puts an edge back that {@linkcode StagedEdges.cancel} took out. */
  renew(store: PageStore, staged: StagedEdge): void {
    const { table, edges } = store;
    staged.edge = edges.add(table.rowOf(staged.from), table.rowOf(staged.to), staged.type, true);
    this.#added.set(staged.edge, staged);
  }

  /** Notes that an edge is to go. */
  remove(edges: EdgeTable, staged: StagedEdge): void {
    edges.setLeaving(staged.edge, true);
    this.#removed.set(staged.edge, staged);
  }

  /** The record of an edge that this batch removes. */
  removedAs(edge: number): StagedEdge | undefined {
    return this.#removed.get(edge);
  }

  /** Lets an edge stay that was to go. */
  keep(edges: EdgeTable, staged: StagedEdge): void {
    edges.setLeaving(staged.edge, false);
    this.#removed.delete(staged.edge);
  }

  /** Hands them to the waves of the tick that takes them on. */
  begin(waves: Waves): void {
    if (this.size === 0) return;
    this.#isTaken = true;
    waves.expect(this);
  }

  /** Whether the tick adds an edge. */
  adds(edge: number): boolean {
    return this.#added.has(edge);
  }

  /** Whether the tick removes an edge. */
  removes(edge: number): boolean {
    return this.#removed.has(edge);
  }

  /** The ends of all of them. */
  *pages(): Generator<number> {
    for (const edges of [this.#added, this.#removed]) {
      for (const { from, to } of edges.values()) {
        yield from;
        yield to;
      }
    }
  }

  /** The rows for the log: what goes first, so that the edges never close a cycle on the way. */
  rows(): StructureRow[] {
    const rows: StructureRow[] = [];
    for (const { from, to, type } of this.#removed.values()) {
      rows.push(edgeRow(from, to, type, false));
    }
    for (const { from, to, type } of this.#added.values()) rows.push(edgeRow(from, to, type, true));
    return rows;
  }

  /**
   * Checks that all edges are as they were staged: another open batch may have deleted a page meanwhile.
   *
   * @throws {MmsbError} `invalid-handle` where one is gone.
   */
  check({ table, edges }: PageStore): void {
    if (this.size === 0) return;
    for (const staged of [this.#added, this.#removed]) {
      for (const { edge, from, to, type } of staged.values()) {
        if (edges.find(table.rowOf(from), table.rowOf(to), type) === edge) continue;
        throw new MmsbError(
          "invalid-handle",
          `Cannot change the ${
            EDGE_TYPES[type]
          } edge ${from} → ${to} as it went with one of its pages meanwhile`,
          { values: { from, to, type: EDGE_TYPES[type] } },
        );
      }
    }
  }

  /** Makes all of it real; the pages are still there. */
  commit(edges: EdgeTable): void {
    if (this.size === 0) return;
    for (const edge of this.#removed.keys()) edges.remove(edge);
    for (const edge of this.#added.keys()) edges.setActive(edge);
    this.clear();
  }

  /** Takes all of it back, before pages go that the same batch was to create. */
  takeBack({ table, edges }: PageStore): void {
    this.#isTaken = false;
    if (this.size === 0) return;
    const isThere = ({ edge, from, to, type }: StagedEdge): boolean =>
      edges.find(table.rowOf(from), table.rowOf(to), type) === edge;
    for (const staged of this.#added.values()) if (isThere(staged)) edges.remove(staged.edge);
    for (const staged of this.#removed.values()) {
      if (isThere(staged)) edges.setLeaving(staged.edge, false);
    }
    this.clear();
  }

  /** Forgets all of it. */
  clear(): void {
    this.#isTaken = false;
    if (this.size === 0) return;
    this.#added.clear();
    this.#removed.clear();
  }
}
