/**
 * Graph drawing: the graph as text for Graphviz (DOT) and for Mermaid.
 *
 * Pages that have edges are drawn, each with its name, or its id where it has none. Names may hold anything, so
 * nodes are called by their id and names stand in labels, with what the language would read as its own replaced.
 *
 * Cost: a line a page and an edge.
 *
 * @module
 */

import type { EdgeType } from "../physical/mod.ts";
import type { GraphEdge } from "./graph_snapshot.ts";

/** What is drawn. */
export interface DrawnGraph {
  /** The edges, in the order of their lines. */
  readonly edges: Iterable<GraphEdge>;
  /** Name of a page, "" for none. */
  nameOf(page: number): string;
}

const DOT_STYLES: Readonly<Record<EdgeType, string>> = {
  data: "",
  control: ' [style=dashed, label="control"]',
  gpu: ' [style=bold, label="gpu"]',
  compiler: ' [style=dotted, label="compiler"]',
};
const MERMAID_ARROWS: Readonly<Record<EdgeType, string>> = {
  data: "-->",
  control: "-. control .->",
  gpu: "== gpu ==>",
  compiler: "-. compiler .->",
};

/** The graph in the DOT language. */
export function toDot(graph: DrawnGraph): string {
  const { pages, edges } = linesOf(graph);
  const lines = ["digraph mmsb {", "  rankdir=LR;", "  node [shape=box];"];
  for (const page of pages) lines.push(`  p${page} [label="${dotText(labelOf(graph, page))}"];`);
  for (const { from, to, type } of edges) lines.push(`  p${from} -> p${to}${DOT_STYLES[type]};`);
  return lines.join("\n") + "\n}\n";
}

/** The graph as a Mermaid flowchart. */
export function toMermaid(graph: DrawnGraph): string {
  const { pages, edges } = linesOf(graph);
  const lines = ["flowchart LR"];
  for (const page of pages) lines.push(`  p${page}["${mermaidText(labelOf(graph, page))}"]`);
  for (const { from, to, type } of edges) lines.push(`  p${from} ${MERMAID_ARROWS[type]} p${to}`);
  return lines.join("\n") + "\n";
}

function linesOf(graph: DrawnGraph): { pages: Uint32Array; edges: GraphEdge[] } {
  const edges = [...graph.edges], pages = new Set<number>();
  for (const { from, to } of edges) pages.add(from).add(to);
  return { pages: Uint32Array.from(pages).sort(), edges };
}

function labelOf(graph: DrawnGraph, page: number): string {
  return graph.nameOf(page) || `page ${page}`;
}

/** Text between quotes: a backslash begins an escape there, and a line ends where `\n` is written. */
function dotText(text: string): string {
  return printable(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

/** Text between quotes, where `#…;` stands for a character and `<` begins a tag. */
function mermaidText(text: string): string {
  const replaced = printable(text).replace(
    /[#"<>&`]/g,
    (character) => `#${character.charCodeAt(0)};`,
  );
  return replaced.replaceAll("\n", "<br>");
}

/** Text without control characters, which end the line or the file for some readers. */
function printable(text: string): string {
  return text.replaceAll(/\r\n?/g, "\n").replaceAll(/(?!\n)[\p{Cc}\p{Zl}\p{Zp}]/gu, "\ufffd");
}
