/**
 * Base pages: the pages that were there before a log's first tick, where its beginning was dropped.
 * Their births are gone with it; a checkpoint tells of them.
 *
 * Cost: that checkpoint is read, and its pages take their memory meanwhile; nothing where the log is all
 * there.
 */

import { MEMORY_LIMIT_BYTES_DEFAULT, MmsbError } from "../base/mod.ts";
import { PageStore } from "../physical/mod.ts";
import { Checkpoint } from "./checkpoint_reader.ts";
import type { DirectoryMeta } from "./meta.ts";
import { horizonOf } from "./retention.ts";
import type { Storage } from "./storage.ts";
import type { StructureImage } from "./structure_image.ts";

/** A page as a checkpoint has it. */
export interface BasePage {
  /** Its id. */
  readonly page: number;
  /** Its name, "" for none. */
  readonly name: string;
  /** Its shard. */
  readonly shard: number;
  /** Its bytes. */
  readonly size: number;
  /** Its epoch in the image. */
  readonly epoch: number;
  /** Tick at which the image was made: what earlier ticks of the log did to it is in it. */
  readonly imageTick: number;
}

/** Edges, bindings and marks after the first tick whose state can be had, where the log has lost the beginning. */
export function baseStructure(
  storage: Storage,
  meta: DirectoryMeta | undefined,
): { readonly tick: number; readonly image: StructureImage } | undefined {
  const { base } = meta ?? {};
  if (base === undefined || base.tick === 0) return undefined;
  const tick = horizonOf(storage, meta);
  try {
    using checkpoint = Checkpoint.open(storage, tick);
    return { tick, image: checkpoint.structure };
  } catch (error) {
    if (!(error instanceof MmsbError)) throw error;
    return undefined;
  }
}

/** The pages, none where the log is all there or no checkpoint can be read. */
export function basePages(storage: Storage, meta: DirectoryMeta | undefined): BasePage[] {
  const { base } = meta ?? {};
  if (base === undefined || base.tick === 0) return [];
  const store = new PageStore(MEMORY_LIMIT_BYTES_DEFAULT);
  try {
    using checkpoint = Checkpoint.open(storage, horizonOf(storage, meta));
    const images = checkpoint.load(store);
    return [...store.table.rows()].map((row) => {
      const page = store.table.ids[row];
      return {
        page,
        name: store.nameOf(page),
        shard: store.table.shards[row],
        size: store.table.sizeOf(row),
        epoch: store.table.epoch(row),
        imageTick: images.tickOf(page) ?? 0,
      };
    });
  } catch (error) {
    // Then only the pages are told of that the log has.
    if (!(error instanceof MmsbError)) throw error;
    return [];
  }
}
