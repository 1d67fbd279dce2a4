/**
 * Memory figures: what a memory report says, gathered from a store.
 *
 * Cost: one pass over the page table (10 ns a row), two where ages are noted, and one over names and metadata (50 to
 * 100 ns each).
 */

import { alignUp } from "../base/mod.ts";
import { countPages, type PageCensus, type PageStore, sizeOfClass } from "../physical/mod.ts";
import type {
  BookkeepingMemory,
  ClassMemory,
  ColdPages,
  ColdReport,
  Fragmentation,
  MemoryReport,
} from "./memory_report.ts";

/** What of a report follows from a store. */
export type StoreFigures = Pick<
  MemoryReport,
  | "limitBytes"
  | "arenaBytes"
  | "carvedBytes"
  | "pages"
  | "pageBytes"
  | "classes"
  | "fragmentation"
  | "bookkeeping"
  | "pendingReclaim"
>;

/** Entries of a map in V8 with the room around them; measured over 200,000 names. */
const MAP_ENTRY_BYTES = 36;
const STRING_BYTES = 16;
/** A map of metadata by itself, and each entry of it with its key and its array. */
const METADATA_BYTES = 240;
const METADATA_ENTRY_BYTES = 190;
const BINDING_BYTES = 300;
const BINDING_PAGE_BYTES = 100;
const MARK_BYTES = 40;
/** Ages up to 2^32: more powers than a bus has ticks. */
const AGE_BOUNDS: readonly number[] = Array.from({ length: 33 }, (_, power) => 2 ** power);

/**
 * The figures of a store.
 *
 * @param isOwn Whether its slots are this bus's to give out; those of another thread or process are not known.
 */
export function figuresOf(store: PageStore, isOwn: boolean): StoreFigures {
  const census = countPages(store.table, !isOwn), { allocator, arena } = store;
  const carvedBytes = isOwn ? allocator.statistics().carvedBytes : undefined;
  const classes = isOwn ? ownClasses(store, census) : othersClasses(census);
  let pages = 0, pageBytes = 0, slotBytes = 0;
  for (const count of census.pages) pages += count;
  for (const one of classes) {
    pageBytes += one.pageBytes;
    slotBytes += one.live * one.slotBytes;
  }
  return {
    limitBytes: arena.limitBytes,
    arenaBytes: arena.byteLength,
    carvedBytes,
    pages,
    pageBytes,
    classes,
    fragmentation: carvedBytes === undefined
      ? undefined
      : fragmentationOf(carvedBytes, slotBytes, pageBytes),
    bookkeeping: bookkeepingOf(store),
    pendingReclaim: isOwn
      ? { slots: allocator.pendingSlots, bytes: allocator.pendingBytes }
      : undefined,
  };
}

/** Pages by age, if ages are noted. */
export function coldPages({ ages }: PageStore): ColdReport | undefined {
  if (ages === undefined) return undefined;
  const counted: ColdPages[] = [];
  ages.byAge(AGE_BOUNDS).forEach(({ pages, bytes }, index) => {
    if (pages === 0) return;
    const fromTicks = index === 0 ? 0 : AGE_BOUNDS[index - 1];
    counted.push({ fromTicks, toTicks: AGE_BOUNDS[index] ?? Infinity, pages, bytes });
  });
  return { sinceTick: ages.sinceTick, ages: counted };
}

function ownClasses({ allocator }: PageStore, { bytes }: PageCensus): ClassMemory[] {
  const byIndex = new Map(Array.from(bytes, (own, index) => [sizeOfClass(index), own]));
  return allocator.classes().map((one) => ({ ...one, pageBytes: byIndex.get(one.slotBytes) ?? 0 }));
}

function othersClasses({ pages, bytes }: PageCensus): ClassMemory[] {
  const classes: ClassMemory[] = [];
  pages.forEach((live, index) => {
    if (live === 0) return;
    classes.push({
      slotBytes: sizeOfClass(index),
      live,
      pageBytes: bytes[index],
      pending: undefined,
      free: undefined,
      carved: undefined,
    });
  });
  return classes;
}

function fragmentationOf(
  carvedBytes: number,
  slotBytes: number,
  pageBytes: number,
): Fragmentation {
  if (carvedBytes === 0) return { share: 0, internal: 0, external: 0 };
  return {
    share: (carvedBytes - pageBytes) / carvedBytes,
    internal: (slotBytes - pageBytes) / carvedBytes,
    external: (carvedBytes - slotBytes) / carvedBytes,
  };
}

function bookkeepingOf(store: PageStore): BookkeepingMemory {
  const { table, edges, marks, bindings } = store;
  const { names, metadata } = store.texts;
  let namesBytes = 0, metadataBytes = 0, bindingsBytes = 0;
  for (const name of names.values()) {
    namesBytes += 2 * MAP_ENTRY_BYTES + alignUp(STRING_BYTES + name.length, 8);
  }
  for (const entries of metadata.values()) {
    metadataBytes += METADATA_BYTES + METADATA_ENTRY_BYTES * entries.size;
    for (const value of entries.values()) metadataBytes += alignUp(value.length, 8);
  }
  for (const { inputs, outputs, state, payload } of bindings.list()) {
    const named = inputs.length + outputs.length + state.length;
    bindingsBytes += BINDING_BYTES + BINDING_PAGE_BYTES * named + payload.length;
  }
  const parts = {
    pageTableBytes: table.bookkeepingBytes(),
    namesBytes,
    metadataBytes,
    edgesBytes: edges.bookkeepingBytes(),
    bindingsBytes,
    marksBytes: MARK_BYTES * marks.size,
    agesBytes: store.ages?.bookkeepingBytes() ?? 0,
  };
  return { totalBytes: Object.values(parts).reduce((sum, bytes) => sum + bytes, 0), ...parts };
}
