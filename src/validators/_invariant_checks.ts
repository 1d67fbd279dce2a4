/**
 * The checks of validator 8: a bus beside a model of plain maps that shares no code with it.
 *
 * They are apart from the work so that what is planted at its end is told by the very checks that found nothing in it.
 *
 * Cost: a pass over all pages and edges.
 */

import type { StateBus } from "../bus/mod.ts";
import type { GraphView } from "../graph/mod.ts";
import type { EdgeType } from "../physical/mod.ts";
import { ReferenceGraph } from "./_reference_graph.ts";

/** A page of the model. */
export interface ModelPage {
  bytes: Uint8Array<ArrayBuffer>;
  epoch: number;
}

/** An edge of the model. */
export interface ModelEdge {
  readonly from: number;
  readonly to: number;
  readonly type: EdgeType;
}

/** What a bus must hold. */
export interface InvariantModel {
  /** Pages by id. */
  readonly pages: ReadonlyMap<number, ModelPage>;
  /** Edges, in the order of their birth. */
  readonly edges: readonly ModelEdge[];
}

/** Checks, and what they found wrong. */
export class InvariantChecks {
  /** What was wrong, in words. */
  readonly failures: string[] = [];
  /** The last epoch that was seen of each page. */
  readonly seenEpochs: Map<number, number> = new Map();

  /** Two values that must be the same. */
  expect(what: string, actual: unknown, expected: unknown): void {
    if (!Object.is(actual, expected)) {
      this.failures.push(`${what} is ${actual}, not ${expected}`);
    }
  }

  /** The bus's pages are the model's, and no epoch went back. */
  checkPages(bus: StateBus, model: InvariantModel): void {
    const pages = [...bus.pages()];
    this.expect("the number of pages", pages.length, model.pages.size);
    let bytes = 0;
    for (const page of pages) {
      const { id, size, epoch } = page, known = model.pages.get(id);
      bytes += size;
      if (known === undefined) {
        this.failures.push(`page ${id} should not be there`);
        continue;
      }
      this.expect(`epoch of page ${id}`, epoch, known.epoch);
      const seen = this.seenEpochs.get(id) ?? 0;
      if (epoch < seen) {
        this.failures.push(`epoch of page ${id} went back from ${seen} to ${epoch}`);
      }
      this.seenEpochs.set(id, epoch);
      this.expect(`size of page ${id}`, size, known.bytes.length);
      const found = page.read();
      if (known.bytes.some((byte, i) => byte !== found[i])) {
        this.failures.push(`bytes of page ${id} are not those of the model`);
      }
    }
    const { liveBytes, carvedBytes } = bus.stats().allocator;
    if (!(bytes <= liveBytes && liveBytes <= carvedBytes)) {
      this.failures.push(`slots have ${liveBytes} of ${carvedBytes} bytes, pages ${bytes}`);
    }
  }

  /** The bus's edges are the model's, and lead nowhere back. */
  checkGraph(graph: Pick<GraphView, "edges" | "check">, model: InvariantModel): void {
    const edges = graph.edges(), found = new ReferenceGraph(), known = new Set<string>();
    for (const { from, to, type } of edges) {
      found.add(from, to);
      known.add(`${from} ${to} ${type}`);
    }
    this.expect("the number of edges", edges.length, model.edges.length);
    const missing = model.edges.filter(({ from, to, type }) => !known.has(`${from} ${to} ${type}`));
    this.expect("edges that are missing", missing.length, 0);
    this.expect("whether the graph has levels", found.levels() !== undefined, true);
    this.expect("the graph's own check", graph.check().ok, true);
  }
}

/** The 32-bit integer at the beginning of bytes. */
export function int(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
}
