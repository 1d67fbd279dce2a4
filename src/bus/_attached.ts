/**
 * Attached bus: opening a directory to follow its writer's mapped file, and what such a bus tells.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { type DirectoryMeta, readMeta, readSettled, recover, type Storage } from "../log/mod.ts";
import { PageStore, sizeClassOf, sizeOfClass } from "../physical/mod.ts";
import { identityOf, imagePath } from "./_mapped_image.ts";
import { AttachedPage, rowOf } from "./attached_page.ts";
import { AttachedReader } from "./attached_reader.ts";
import { compareStores } from "./compare.ts";
import type { PageHost } from "./page.ts";
import type { BusStatistics, VerifyReport } from "./reports.ts";

/**
 * Attaches to the mapped file of a directory.
 *
 * @returns Why not, where its log is to be read instead.
 */
export function attach(storage: Storage): AttachedReader | { readonly reason: string } {
  if (storage.kind !== "files") return { reason: "its storage is no directory" };
  return AttachedReader.open(imagePath(storage), (image) => {
    const expected = identityOf(metaOf(storage), image.identity.shards);
    const { incarnation, tick, hlc } = image.identity;
    return expected !== undefined && incarnation === expected.incarnation &&
      tick === expected.tick && hlc === expected.hlc;
  });
}

/** Handles of all pages as of one tick. */
export function attachedPages(host: PageHost, reader: AttachedReader): AttachedPage[] {
  return reader.read((store) => {
    const pages: AttachedPage[] = [];
    const { table } = store;
    // Rows of pages that were born since the table was last looked at count too.
    table.refresh();
    for (const row of table.rows()) {
      if (table.isActive(row)) pages.push(new AttachedPage(host, reader, table.ids[row]));
    }
    return pages;
  });
}

/** What an attached bus can count: the writer's pages, of their slots those in use. */
export function attachedStatistics(reader: AttachedReader): Partial<BusStatistics> {
  return reader.read((store) => {
    const { table } = store;
    table.refresh();
    let live = 0, liveBytes = 0;
    for (const row of table.rows()) {
      if (!table.isActive(row)) continue;
      live++;
      liveBytes += sizeOfClass(sizeClassOf(table.sizeOf(row)));
    }
    const { tick, rows } = reader.published;
    return {
      tick,
      rows,
      pages: live,
      pageBytes: liveBytes,
      bookkeepingBytes: table.bookkeepingBytes(),
      allocator: { ...store.allocator.statistics(), allocations: live, live, liveBytes },
      incarnation: reader.incarnation,
    };
  });
}

/** Compares the pages at one tick with what the log leads to. */
export function verifyAttached(
  reader: AttachedReader,
  storage: Storage,
): VerifyReport {
  const { store: copy, tick } = copyAttached(reader);
  return readSettled(storage, () => metaOf(storage), (storage, meta) => {
    const replayed = new PageStore(copy.arena.limitBytes);
    const recovery = recover(storage, meta, replayed, tick);
    const compared = compareStores(copy, replayed);
    const ok = compared.same && recovery.tick === tick;
    return { tick, rows: recovery.rows, compared, state: "whole", ok };
  }, ({ ok }) => ok);
}

/** A copy of all pages as of one tick. */
export function copyAttached(
  reader: AttachedReader,
): { readonly store: PageStore; readonly tick: number } {
  return reader.read((store) => ({ store: copyOf(store), tick: reader.published.tick }));
}

function copyOf(store: PageStore): PageStore {
  const copy = new PageStore(store.arena.limitBytes), { table } = store;
  table.refresh();
  for (const row of table.rows()) {
    const id = table.ids[row];
    if (rowOf(store, id) !== row) continue;
    const birth = { size: table.sizeOf(row), shard: table.shards[row], name: store.nameOf(id) };
    const to = copy.create(id, { ...birth, metadata: store.metadataOf(id) });
    copy.table.setActive(to, true);
    copy.table.setEpoch(to, table.epoch(row));
    (copy.view(to) as Uint8Array).set(store.view(row));
  }
  return copy;
}

/** The metadata as it stands now, if it can be read. */
function metaOf(storage: Storage): DirectoryMeta | undefined {
  try {
    return readMeta(storage);
  } catch (error) {
    if (error instanceof MmsbError) return undefined;
    throw error;
  }
}
