/**
 * Import ledger: the pages as the lines of an import tell of them, so that each line can be checked
 * against those before it.
 *
 * Cost: an entry of a map a page that ever lived.
 *
 * @module
 */

import { NAME_BYTES_MAX, PAGE_BYTES_MAX, PAGE_BYTES_MIN } from "../base/mod.ts";
import type { ImportLine } from "./import_lines.ts";

/** A page of an import. */
export interface ImportedPage {
  /** Bytes. */
  size: number;
  /** Shard. */
  shard: number;
  /** Epoch. */
  epoch: number;
  /** Name. */
  readonly name: string;
  /** Whether it was deleted in an earlier tick. */
  isDead: boolean;
}

/** Pages by their ids. */
export class ImportLedger {
  /** Pages born so far. */
  born = 0;
  /** Largest id. */
  idMax = 0;
  readonly #shards: number;
  readonly #pages = new Map<number, ImportedPage>();
  readonly #names = new Map<string, number>();
  #changes: (() => void)[] = [];
  #dying = new Set<number>();

  /** @param shards Shards of the directory. */
  constructor(shards: number) {
    this.#shards = shards;
  }

  /** A page that lives. */
  living(line: ImportLine, page: number): ImportedPage {
    const known = this.#pages.get(page);
    if (known === undefined) line.refuse("page", `page ${page} was not born`);
    if (known.isDead) line.refuse("page", `page ${page} was deleted`);
    return known;
  }

  /** Whether a page lives. */
  isThere(page: number): boolean {
    return this.#pages.get(page)?.isDead === false;
  }

  /** Pages that die at the end of the tick. */
  get dying(): Iterable<number> {
    return this.#dying;
  }

  /** Takes a birth. */
  bear(line: ImportLine, page: number): { size: number; shard: number; name: string } {
    if (this.#pages.has(page)) line.refuse("page", `page ${page} is born twice`);
    const size = this.#size(line), shard = this.#shard(line);
    const name = line.textOr("name", NAME_BYTES_MAX);
    const other = name === "" ? undefined : this.#names.get(name);
    if (other !== undefined) line.refuse("name", `page ${other} has it`);
    if (name !== "") this.#names.set(name, page);
    this.#pages.set(page, { size, shard, epoch: 0, name, isDead: false });
    this.born++;
    this.idMax = Math.max(this.idMax, page);
    return { size, shard, name };
  }

  /** Takes a new size, for the end of the tick. */
  resize(line: ImportLine, page: number): number {
    const known = this.living(line, page), size = this.#size(line);
    this.#changes.push(() => known.size = size);
    return size;
  }

  /** Takes a new shard, for the end of the tick. */
  migrate(line: ImportLine, page: number): number {
    const known = this.living(line, page), shard = this.#shard(line);
    this.#changes.push(() => known.shard = shard);
    return shard;
  }

  /** Takes a death, for the end of the tick. */
  bury(line: ImportLine, page: number): void {
    const known = this.living(line, page);
    if (this.#dying.has(page)) line.refuse("page", `page ${page} is deleted twice`);
    this.#dying.add(page);
    this.#changes.push(() => {
      known.isDead = true;
      if (known.name !== "") this.#names.delete(known.name);
    });
  }

  /** Ends a tick. */
  endTick(): void {
    for (const change of this.#changes) change();
    this.#changes = [];
    this.#dying.clear();
  }

  #size(line: ImportLine): number {
    return line.integer("size", PAGE_BYTES_MIN, PAGE_BYTES_MAX);
  }

  #shard(line: ImportLine): number {
    return line.integer("shard", 0, this.#shards - 1);
  }
}
