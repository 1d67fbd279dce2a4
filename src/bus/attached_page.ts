/**
 * Attached page: a handle of a page that another process writes.
 *
 * It reads as every handle does, each call at one tick. It holds the id alone: the page may have another
 * row after a new writer came, and a page that its writer has staged is not there until its tick.
 *
 * Cost: that of a reading of the attached image, on top of what a handle of one's own pages costs.
 *
 * @module
 */

import type { PageState, PageStore } from "../physical/mod.ts";
import type { AttachedReader } from "./attached_reader.ts";
import { Page, type PageHost, type ReadonlyBytes } from "./page.ts";
import type { PageSnapshot } from "./page_snapshot.ts";

/** A handle of one page of an attached bus. */
export class AttachedPage extends Page {
  readonly #host: PageHost;
  readonly #reader: AttachedReader;
  #inner: Page;
  #innerRow = -1;

  /** @ignore Made by the bus. */
  constructor(host: PageHost, reader: AttachedReader, id: number) {
    super(host, id, 0);
    this.#host = host;
    this.#reader = reader;
    this.#inner = this;
  }

  /** {@inheritDoc Page.name} */
  override get name(): string {
    return this.#read((page) => page.name);
  }

  /** {@inheritDoc Page.size} */
  override get size(): number {
    return this.#read((page) => page.size);
  }

  /** {@inheritDoc Page.epoch} */
  override get epoch(): number {
    return this.#read((page) => page.epoch);
  }

  /** {@inheritDoc Page.shard} */
  override get shard(): number {
    return this.#read((page) => page.shard);
  }

  /** `active` or `deleted`: a page that its writer has only staged is not there yet. */
  override get state(): PageState {
    return this.#reader.read((store) => rowOf(store, this.id) === 0 ? "deleted" : "active");
  }

  /** {@inheritDoc Page.dirty} */
  override get dirty(): boolean {
    return this.#read((page) => page.dirty);
  }

  /** {@inheritDoc Page.metadata} */
  override get metadata(): Map<string, Uint8Array> {
    return this.#read((page) => page.metadata);
  }

  /** {@inheritDoc Page.read} */
  override read(offset?: number, length?: number): Uint8Array<ArrayBuffer> {
    return this.#read((page) => page.read(offset, length));
  }

  /** {@inheritDoc Page.readInto} */
  override readInto<T extends Uint8Array>(target: T, offset = 0): T {
    return this.#read((page) => page.readInto(target, offset));
  }

  /**
   * The live bytes, which change under the reader, also in the middle of a tick; they cannot be
   * written by any means: the system ends a process that tries.
   */
  override view(): ReadonlyBytes {
    return this.#read((page) => page.view());
  }

  /** {@inheritDoc Page.snapshot} */
  override snapshot(): PageSnapshot {
    return this.#read((page) => page.snapshot());
  }

  #read<T>(look: (page: Page) => T): T {
    return this.#reader.read((store) => {
      this.#host.checkOpen();
      const row = rowOf(store, this.id);
      if (row !== this.#innerRow) {
        this.#inner = new Page(this.#host, this.id, row);
        this.#innerRow = row;
      }
      return look(this.#inner);
    });
  }
}

/** Row of an active page, 0 where there is none. */
export function rowOf(store: PageStore, id: number): number {
  const row = store.table.rowOf(id);
  return row !== 0 && store.table.isActive(row) ? row : 0;
}
