/**
 * The state of a bus as plain values: what two replays are compared by.
 *
 * A page counts with its bytes, epoch, size, shard, name and metadata, the graph with its edges. Divergence is the root of the
 * sum of squared byte differences; what no sum of bytes shows (a page too few or too many, another
 * epoch, size, name) is an infinite one, with a sentence that names it.
 *
 * Cost: a comparison of all bytes.
 */

import { createHash } from "node:crypto";
import { decodeUtf8, equalBytes, joinBytes } from "../base/mod.ts";
import type { StateBus } from "../bus/mod.ts";
import { GraphView } from "../graph/mod.ts";
import { EDGE_TYPES, encodeMetadata, type MetadataInput, type PageStore } from "../physical/mod.ts";

/** One page. */
export interface PageImage {
  /** Its bytes; of a store the live ones. */
  readonly bytes: Uint8Array;
  /** Its epoch. */
  readonly epoch: number;
  /** Its shard. */
  readonly shard: number;
  /** Its name, "" for none. */
  readonly name: string;
  /** Its metadata in its byte form, keys in order of their text. */
  readonly metadata: Uint8Array;
}

/** All pages by id; under the id 0, which no page has, the edges, where there are any. */
export type BusState = ReadonlyMap<number, PageImage>;

const EDGES_ID = 0;

/** How two states differ. */
export interface Divergence {
  /** Root of the sum of squared byte differences; infinite where pages themselves differ. */
  readonly value: number;
  /** The first difference in words, if there is one. */
  readonly found?: string;
}

/** The pages of a bus, as its handles give them. */
export function stateOfBus(bus: StateBus): BusState {
  const state = new Map<number, PageImage>();
  for (const page of bus.pages()) {
    const { epoch, shard, name } = page;
    state.set(page.id, {
      bytes: page.read(),
      epoch,
      shard,
      name,
      metadata: metadataBytes(page.metadata),
    });
  }
  addEdges(state, bus.graph);
  return state;
}

/** Adds the edges of a graph as an image of their own: source, target and type of each, in order. */
function addEdges(state: Map<number, PageImage>, graph: GraphView): void {
  const edges = [...graph.snapshot().edges()];
  if (edges.length === 0) return;
  const words = edges.flatMap(({ from, to, type }) => [from, to, EDGE_TYPES.indexOf(type)]);
  const bytes = new Uint8Array(Uint32Array.from(words).buffer);
  state.set(EDGES_ID, { bytes, epoch: 0, shard: 0, name: "edges", metadata: new Uint8Array(0) });
}

/** The pages of a store; their bytes are not copied. */
export function stateOfStore(store: PageStore): BusState {
  const state = new Map<number, PageImage>();
  for (const row of store.table.rows()) {
    const id = store.table.ids[row];
    state.set(id, {
      bytes: store.view(row),
      epoch: store.table.epoch(row),
      shard: store.table.shards[row],
      name: store.nameOf(id),
      metadata: metadataBytes(store.metadataOf(id)),
    });
  }
  addEdges(state, new GraphView(() => store));
  return state;
}

/** Metadata in its byte form, keys in order: their order of insertion means nothing. */
export function metadataBytes(metadata: MetadataInput): Uint8Array {
  const entries = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  return encodeMetadata(new Map(entries.toSorted(([a], [b]) => a < b ? -1 : 1)));
}

/** Compares a state with the one that it should equal. */
export function divergenceOf(expected: BusState, actual: BusState): Divergence {
  let squares = 0;
  let found: string | undefined;
  const edges = edgesDifference(expected.get(EDGES_ID), actual.get(EDGES_ID));
  if (edges !== undefined) return { value: Infinity, found: edges };
  for (const [id, page] of expected) {
    if (id === EDGES_ID) continue;
    const other = actual.get(id);
    const difference = other === undefined ? "it is missing" : pageDifference(page, other);
    if (difference !== undefined) return { value: Infinity, found: `page ${id}: ${difference}` };
    if (equalBytes(page.bytes, other!.bytes)) continue;
    squares += squaredDifference(page.bytes, other!.bytes);
    found ??= `page ${id}: its bytes differ`;
  }
  for (const id of actual.keys()) {
    if (!expected.has(id)) return { value: Infinity, found: `page ${id}: it is one too many` };
  }
  return { value: Math.sqrt(squares), ...(found === undefined ? {} : { found }) };
}

function edgesDifference(a: PageImage | undefined, b: PageImage | undefined): string | undefined {
  const [one, other] = [a, b].map((image) => image?.bytes ?? new Uint8Array(0));
  if (equalBytes(one, other)) return undefined;
  const [expected, found] = [one, other].map((bytes) => edgeTexts(bytes));
  const lost = [...expected].find((edge) => !found.has(edge));
  if (lost !== undefined) return `the edge ${lost} is missing`;
  return `the edge ${[...found].find((edge) => !expected.has(edge))} is one too many`;
}

/** Edges in words. */
function edgeTexts(bytes: Uint8Array): Set<string> {
  const words = new Uint32Array(bytes.slice().buffer), texts = new Set<string>();
  for (let at = 0; at < words.length; at += 3) {
    texts.add(`${words[at]} → ${words[at + 1]} (${EDGE_TYPES[words[at + 2]]})`);
  }
  return texts;
}

function pageDifference(a: PageImage, b: PageImage): string | undefined {
  if (a.bytes.length !== b.bytes.length) {
    return `its size is ${b.bytes.length}, not ${a.bytes.length}`;
  }
  if (a.epoch !== b.epoch) return `its epoch is ${b.epoch}, not ${a.epoch}`;
  if (a.shard !== b.shard) return `its shard is ${b.shard}, not ${a.shard}`;
  if (a.name !== b.name) {
    return `its name is ${JSON.stringify(b.name)}, not ${JSON.stringify(a.name)}`;
  }
  return equalBytes(a.metadata, b.metadata) ? undefined : "its metadata differs";
}

function squaredDifference(a: Uint8Array, b: Uint8Array): number {
  let squares = 0;
  for (let i = 0; i < a.length; i++) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return squares;
}

/** Bytes that pages have together. */
export function bytesIn(state: BusState): number {
  return [...state.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** SHA-256 over all pages in order of their ids, with their epochs. */
export function digestOf(state: BusState): string {
  const hash = createHash("sha256");
  for (const part of parts(state)) hash.update(part);
  return hash.digest("hex");
}

/** A state as one run of bytes, in which it travels between threads and processes. */
export function encodeState(state: BusState): Uint8Array<ArrayBuffer> {
  return joinBytes([...parts(state)]);
}

/** Reads what {@linkcode encodeState} wrote; pages share its bytes. */
export function decodeState(bytes: Uint8Array): BusState {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const state = new Map<number, PageImage>();
  let at = 0;
  while (at < bytes.length) {
    const [id, shard, nameBytes, metadataBytes, size] = [0, 4, 8, 12, 16]
      .map((offset) => view.getUint32(at + offset, true));
    const epoch = view.getFloat64(at + 20, true);
    const take = (length: number) => bytes.subarray(at, at += length);
    at += HEAD_BYTES;
    const name = decodeUtf8("page name", take(nameBytes));
    const metadata = take(metadataBytes);
    state.set(id, { shard, epoch, name, metadata, bytes: take(size) });
  }
  return state;
}

const HEAD_BYTES = 28;

function* parts(state: BusState): Generator<Uint8Array> {
  for (const id of [...state.keys()].sort((a, b) => a - b)) {
    const page = state.get(id)!;
    const name = new TextEncoder().encode(page.name);
    const head = new DataView(new ArrayBuffer(HEAD_BYTES));
    [id, page.shard, name.length, page.metadata.length, page.bytes.length]
      .forEach((value, index) => head.setUint32(4 * index, value, true));
    head.setFloat64(20, page.epoch, true);
    yield new Uint8Array(head.buffer);
    yield name;
    yield page.metadata;
    yield page.bytes;
  }
}
