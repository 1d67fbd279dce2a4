/**
 * Page handle: reads and staged writes of one page.
 *
 * A handle is made where it is asked for and remembers no bytes: it holds the page's id and row, and
 * each call checks that the row still belongs to the id. Reading copies straight out of the arena.
 *
 * Cost: `readInto` of 64 bytes some 40 ns, `read` the same and one small array, a staged write of
 * 8 bytes some 80 ns (`deno task anchors handle`).
 *
 * @module
 */

import {
  checkInteger,
  checkKeys,
  checkType,
  isBytes,
  MmsbError,
  PAGE_BYTES_MAX,
  PAGE_BYTES_MIN,
} from "../base/mod.ts";
import type { IncrementalOrder } from "../graph/mod.ts";
import {
  type CombineOperation,
  type CombineType,
  decodeMetadata,
  encodeMetadata,
  MARK,
  type Metadata,
  type MetadataInput,
  type PageState,
  type PageStore,
  RECORD_LIMIT,
  RECORD_WORDS,
} from "../physical/mod.ts";
import { copyMetadata } from "./_births.ts";
import { deltaOptions } from "./_delta_options.ts";
import { deathsWith, refuseAttached } from "./_edges.ts";
import type { AttachedReader } from "./attached_reader.ts";
import type { PageLocation } from "./device.ts";
import { clonePage, refuseTable, restorePage } from "./_page_operations.ts";
import { PageSnapshot } from "./page_snapshot.ts";
import type { Staging } from "./staging.ts";

/** What a write may say beside its bytes. */
export interface WriteOptions {
  /** Who writes. */
  readonly source?: string;
  /** Why: free text or JSON. */
  readonly intent?: string;
  /** The page's epoch before this batch; the tick refuses the batch where it differs. */
  readonly expectedEpoch?: number;
  /** The source's own time in µs since the Unix epoch. */
  readonly timeUs?: number;
}

/** Bytes of a live view: they change under the reader and cannot be set through it. */
export type ReadonlyBytes =
  & Readonly<
    Pick<Uint8Array, "length" | "byteLength" | "at" | "slice" | "indexOf" | "every" | "entries">
  >
  & Iterable<number>
  & { readonly [index: number]: number };

/** What a clone is to have of its own. */
export interface CloneOptions {
  /** Its name. Default: none, as no two pages have the same. */
  readonly name?: string;
  /** Its metadata, to which the page's schema is added if it has one. Default: that of the page. */
  readonly metadata?: MetadataInput;
  /** Its shard. Default: dealt out as for any new page. */
  readonly shard?: number;
  /** Who clones: the source of the delta that fills the clone. */
  readonly source?: string;
  /** Why. */
  readonly intent?: string;
}

/** What a handle needs of its bus. */
export interface PageHost {
  /** The pages. */
  readonly store: PageStore;
  /** What is staged. */
  readonly staging: Staging;
  /** Shards of the bus. */
  readonly shards: number;
  /** Reads the pages of a writer in another process, each time at one of its ticks. */
  readonly attached?: AttachedReader;
  /** Whether the bus was reset since, so that its ids mean other pages now. */
  readonly wasReset: boolean;
  /** Throws where the bus is closed or was reset. */
  checkOpen(): void;
  /** The order of the pages that have edges, as the next tick will leave them. */
  readonly order: IncrementalOrder;
  /** Has the rule that writes a stale page run; not in a transaction. */
  fresh?(page: number): Promise<void>;
  /** Where a page is, on a bus with a device. */
  location?(page: number): PageLocation;
  /** All pages of the table with a root page. */
  tablePages(root: number): number[];
  /** Whether the bus takes writes at all. */
  canWrite(): boolean;
  /** Throws where the bus is closed, was reset, or cannot write. */
  checkWritable(): void;
}

const CLONE_KEYS = ["name", "metadata", "shard", "source", "intent"];

/** A handle of one page. */
export class Page {
  /** The page's id; never reused. */
  readonly id: number;
  readonly #host: PageHost;
  readonly #row: number;

  /** @ignore Made by the bus. */
  constructor(host: PageHost, id: number, row: number) {
    this.#host = host;
    this.id = id;
    this.#row = row;
  }

  /** @ignore Whether it is a page of that host; one from before a reset is nobody's, and says so itself. */
  isOf(host: PageHost): boolean {
    return this.#host === host || this.#host.wasReset;
  }

  /** The page's name, "" for none. */
  get name(): string {
    this.#live();
    return this.#host.store.nameOf(this.id);
  }

  /** The page's size in bytes. */
  get size(): number {
    this.#live();
    return this.#host.store.table.sizeOf(this.#row);
  }

  /** The page's epoch: the number of deltas applied to it. */
  get epoch(): number {
    this.#live();
    return this.#host.store.table.epoch(this.#row);
  }

  /** The page's shard. */
  get shard(): number {
    this.#live();
    return this.#host.store.table.shards[this.#row];
  }

  /** `allocated` until its first tick, then `active`; `deleted` for ever after. */
  get state(): PageState {
    const { store: { table }, wasReset } = this.#host;
    if (wasReset || table.ids[this.#row] !== this.id) return "deleted";
    return table.isActive(this.#row) ? "active" : "allocated";
  }

  /** Whether it is older than what it depends on; see {@linkcode Page.fresh}. */
  get stale(): boolean {
    refuseAttached(this.#host);
    this.#live();
    return this.#host.store.marks.has(this.id, MARK.stale);
  }

  /** Whether something that it was made from has changed, by a compiler edge, and it has not since. */
  get invalidated(): boolean {
    refuseAttached(this.#host);
    this.#live();
    return this.#host.store.marks.has(this.id, MARK.invalidated);
  }

  /**
   * Brings a stale page up to date: the rule that writes it runs in a tick of its own, if anything that it reads
   * has changed. Of a page that no rule writes it only takes the mark off.
   *
   * @returns Settles when the page is fresh; at once where it is.
   * @throws {MmsbError} `usage` where the rule that writes it is detached; otherwise as {@linkcode StateBus.tick}.
   *
   * @example Computed when somebody asks
   * ```ts
   * import assert from "node:assert/strict";
   * import { defineRule, StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [a, twice] = [bus.createPage({ size: 4 }), bus.createPage({ size: 4 })];
   * const double = defineRule({
   *   compute: (ctx) => ctx.output(0).setInt32(0, 2 * ctx.input(0).getInt32(0)),
   * });
   * const inputs = [{ region: a, edge: "control" as const }];
   * bus.rule(double, { name: "double", inputs, outputs: [twice] });
   * await bus.tick();
   * await bus.commit(() => a.write(0, Uint8Array.of(4)));
   * assert.deepEqual([twice.stale, twice.read(0, 1)[0]], [true, 0]);
   * await twice.fresh();
   * assert.deepEqual([twice.stale, twice.read(0, 1)[0]], [false, 8]);
   * ```
   */
  async fresh(): Promise<void> {
    refuseAttached(this.#host);
    this.#live();
    if (!this.stale) return;
    if (this.#host.fresh === undefined) {
      throw new MmsbError(
        "usage",
        "Cannot bring a page up to date in a transaction: do it before",
        {
          values: { page: this.id },
        },
      );
    }
    await this.#host.fresh(this.id);
  }

  /** Whether it has changed since its birth or the last checkpoint. */
  get dirty(): boolean {
    this.#live();
    return this.#host.store.table.isDirty(this.#row);
  }

  /** Where it is: its bytes are in memory in any case, with a copy on the device besides where it is not `cpu`. */
  get location(): PageLocation {
    this.#live();
    return this.#host.location?.(this.id) ?? "cpu";
  }

  /** The page's metadata, in order of first insertion; a copy. */
  get metadata(): Map<string, Uint8Array> {
    this.#live();
    return decodeMetadata(encodeMetadata(this.#host.store.metadataOf(this.id)));
  }

  /**
   * A copy of the page's bytes.
   *
   * @param offset First byte. Default 0.
   * @param length Bytes. Default: to the end.
   * @throws {MmsbError} `out-of-bounds` where the span leaves the page, `invalid-handle` where the
   * page was deleted, `closed` where the bus is.
   */
  read(offset?: number, length?: number): Uint8Array<ArrayBuffer> {
    const size = this.#sizeForReading();
    const first = offset === undefined ? 0 : offset;
    const rest = typeof first === "number" ? Math.max(0, size - first) : 0;
    const count = length === undefined ? rest : length;
    if (!areWhole(first, count) || first + count > size) this.#refuseSpan(first, count, size);
    const target = new Uint8Array(count);
    this.#host.store.copyOut(this.#row, first, target, count);
    return target;
  }

  /**
   * Copies bytes of the page into `target`, as many as it holds, without allocating.
   *
   * @param target Where the bytes go.
   * @param offset First byte of the page. Default 0.
   * @returns `target`.
   * @throws {MmsbError} as {@linkcode Page.read}; `usage` where the target is no Uint8Array.
   */
  readInto<T extends Uint8Array>(target: T, offset = 0): T {
    const size = this.#sizeForReading();
    if (!isBytes(target)) refuseBytes("target", target);
    const count = target.length;
    if (!areWhole(offset, count) || offset + count > size) {
      this.#refuseSpan(offset, count, size);
    }
    this.#host.store.copyOut(this.#row, offset, target, count);
    return target;
  }

  /**
   * The live bytes: no copy, and they change with every tick. A view outlives its page's deletion;
   * it then shows whatever the slot is used for next.
   */
  view(): ReadonlyBytes {
    this.#sizeForReading();
    return this.#host.store.liveView(this.#row);
  }

  /**
   * Stages a write; the next tick makes it real.
   *
   * @param offset First byte in the page.
   * @param bytes The bytes; copied.
   * @param options Source, intent, expected epoch, time.
   * @throws {MmsbError} `out-of-bounds` where the span leaves the page, `usage` for wrong types,
   * `invalid-handle`, `closed`, `read-only`. Nothing is staged then.
   *
   * @example Write and commit
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 64 });
   * page.write(8, new Uint8Array([1, 2, 3]), { source: "feed-a" });
   * await bus.tick();
   * assert.deepEqual([...page.read(8, 3)], [1, 2, 3]);
   * assert.equal(page.epoch, 1);
   * ```
   */
  write(offset: number, bytes: Uint8Array, options?: WriteOptions): void {
    const size = this.#sizeForWriting();
    if (!isBytes(bytes)) refuseBytes("bytes", bytes);
    const count = bytes.length;
    if (!areWhole(offset, count) || offset + count > size) {
      this.#refuseSpan(offset, count, size);
    }
    const { batch } = this.#host.staging;
    batch.push(this.id, offset, bytes, options === undefined ? 0 : deltaOptions(batch, options));
  }

  /**
   * Stages a write of only those bytes whose bit in a mask is set.
   *
   * @param offset First byte of the span.
   * @param length Bytes of the span.
   * @param mask A bit a byte of the span, lowest bit first.
   * @param packed One byte for each set bit.
   * @param options Source, intent, expected epoch, time.
   * @throws {MmsbError} as {@linkcode Page.write}; `usage` where mask and bytes disagree.
   */
  writeMasked(
    offset: number,
    length: number,
    mask: Uint8Array,
    packed: Uint8Array,
    options?: WriteOptions,
  ): void {
    const size = this.#sizeForWriting();
    if (!areWhole(offset, length) || offset + length > size) {
      this.#refuseSpan(offset, length, size);
    }
    if (!isBytes(mask)) refuseBytes("mask", mask);
    if (!isBytes(packed)) refuseBytes("packed", packed);
    checkMask(length, mask, packed);
    const { batch } = this.#host.staging;
    const delta = options === undefined ? 0 : deltaOptions(batch, options);
    batch.pushMasked(this.id, offset, length, mask, packed, delta);
  }

  /**
   * Stages folding a value into what is there.
   *
   * @param type Element type.
   * @param operation `add`, `min`, `max`; on integers also `or`, `and`, `xor`.
   * @param offset Byte of the element, a multiple of its width.
   * @param value The operand; integers are taken modulo 2^32.
   * @param options Source, intent, expected epoch, time.
   * @throws {MmsbError} as {@linkcode Page.write}; `usage` for an operation that the type has not.
   */
  combine(
    type: CombineType,
    operation: CombineOperation,
    offset: number,
    value: number,
    options?: WriteOptions,
  ): void {
    const size = this.#sizeForWriting();
    const width = type === "f64" ? 8 : 4;
    if (!areWhole(offset, width) || offset + width > size) {
      this.#refuseSpan(offset, width, size);
    }
    const { batch } = this.#host.staging;
    const delta = options === undefined ? 0 : deltaOptions(batch, options);
    batch.combine(this.id, type, operation, offset, value, delta);
  }

  /**
   * Stages setting metadata: keys that are there are replaced in place, others are added.
   *
   * @throws {MmsbError} `usage` for values that are no bytes and for the key that schemas are kept
   * under, `limit` where there are too many.
   */
  setMetadata(entries: MetadataInput): void {
    this.#sizeForWriting();
    const { staging, store } = this.#host;
    const merged = new Map(staging.metadataOf(this.id) ?? store.metadataOf(this.id));
    const added: Metadata = copyMetadata(entries);
    for (const [key, value] of added) merged.set(key, value);
    encodeMetadata(merged);
    staging.setMetadata(this.id, merged);
  }

  /**
   * Stages a page that holds what this one holds now: size, bytes and metadata as reads show them, not
   * what is staged.
   *
   * @param options Name, metadata, shard; source and intent of the delta that fills it.
   * @returns Its handle.
   * @throws {MmsbError} as {@linkcode StateBus.createPage}; `usage` for the root of a table, whose rows are
   * in other pages. Nothing is staged then.
   *
   * @example A copy to try something on
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const board = bus.createPage({ size: 64, name: "board" });
   * await bus.commit(() => board.write(8, new Uint8Array([1, 2, 3])));
   * const trial = board.clone({ name: "trial" });
   * await bus.tick();
   * assert.deepEqual(trial.read(), board.read());
   * ```
   */
  clone(options: CloneOptions = {}): Page {
    this.#sizeForWriting();
    checkKeys("clone", options, CLONE_KEYS);
    return clonePage(this.#host, this.metadata, this.#host.store.stableView(this.#row), options);
  }

  /**
   * Stages another size; it takes effect at the end of the next tick, behind the writes of that tick,
   * which are checked against the old size. Leading bytes stay, new ones are zero; the page keeps its
   * id, epoch, name and metadata. Of several sizes staged for one tick the last one counts. A page
   * that the same tick deletes is just deleted. Views made before show the old place.
   *
   * @param size Bytes, 1 to 16 MiB.
   * @throws {MmsbError} `out-of-bounds` for sizes that are none, `usage` for what is no size and for the
   * root of a table; the
   * tick refuses the open batch with `allocation` where memory is short.
   *
   * @example Room for more
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 2 });
   * page.write(0, new Uint8Array([1, 2]));
   * page.resize(4);
   * await bus.tick();
   * assert.deepEqual([...page.read()], [1, 2, 0, 0]);
   * ```
   */
  resize(size: number): void {
    this.#sizeForWriting();
    this.#refuseDying("resize");
    refuseTable("resize", this.#host.store.metadataOf(this.id));
    checkInteger("size", size, PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    this.#host.staging.resize(this.id, size);
  }

  /**
   * Stages giving the page to another shard at the end of the next tick.
   *
   * @param options `shard`: 0 to the number of the bus's shards − 1.
   * @throws {MmsbError} `out-of-bounds` or `usage` for what is no shard.
   */
  migrate(options: { readonly shard: number }): void {
    this.#sizeForWriting();
    checkKeys("migrate", options, ["shard"]);
    this.#refuseDying("migrate");
    const shard = checkInteger("shard", options?.shard, 0, this.#host.shards - 1);
    this.#host.staging.migrate(this.id, shard);
  }

  /**
   * A copy of the page as reads show it, which nothing can change.
   *
   * @throws {MmsbError} as {@linkcode Page.read}.
   *
   * @example Take it back
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const page = bus.createPage({ size: 4 });
   * await bus.commit(() => page.write(0, new Uint8Array([1, 2, 3, 4])));
   * const before = page.snapshot();
   * await bus.commit(() => page.write(1, new Uint8Array([9, 9])));
   * await bus.commit(() => page.restore(before, { intent: "undo" }));
   * assert.deepEqual([...page.read()], [1, 2, 3, 4]);
   * assert.deepEqual([before.epoch, page.epoch], [1, 3]);
   * ```
   */
  snapshot(): PageSnapshot {
    const bytes = this.read();
    const { name, id, epoch } = this;
    const metadata = encodeMetadata(this.#host.store.metadataOf(id));
    return new PageSnapshot({ id, name, epoch, bytes, metadata });
  }

  /**
   * Stages the bytes and the metadata of a snapshot, of this page or of another one of the same size:
   * only bytes that differ are written. What the open batch staged for the page before is overwritten;
   * batches submitted come after it, as behind any write. Nothing is staged where nothing differs.
   *
   * @param snapshot From {@linkcode Page.snapshot}.
   * @param options Source, intent, expected epoch, time of the write.
   * @throws {MmsbError} as {@linkcode Page.write}; `out-of-bounds` where the sizes differ, `usage` where
   * the page is a struct and the snapshot is not of one with its first fields, or is of a table's root.
   */
  restore(snapshot: PageSnapshot, options: WriteOptions = {}): void {
    this.#sizeForWriting();
    restorePage(this.#host, this, this.#host.store.view(this.#row), snapshot, options);
  }

  /**
   * Stages deleting the page at the end of the next tick; rows of that tick still reach it.
   *
   * @param options `cascade`: delete what is derived from it too, that is all that its edges lead to;
   * without it a page that others depend on is refused. Edges go with their pages.
   * @throws {MmsbError} `invalid-handle` where it is deleted already, or about to be; `usage` where other
   * pages depend on it, and for the root of a table, which `Table.delete` deletes with all its pages.
   *
   * @example A page that another one is derived from
   * ```ts
   * import assert from "node:assert/strict";
   * import { StateBus } from "@mmsb/mmsb";
   *
   * await using bus = await StateBus.open();
   * const [raw, mean] = [bus.createPage({ size: 64 }), bus.createPage({ size: 8 })];
   * bus.edge(raw, mean, "data");
   * await bus.tick();
   * assert.throws(() => raw.delete(), /others depend on it/);
   * raw.delete({ cascade: true });
   * await bus.tick();
   * assert.equal(mean.state, "deleted");
   * ```
   */
  delete(options: { readonly cascade?: boolean } = {}): void {
    this.#sizeForWriting();
    checkKeys("delete", options, ["cascade"]);
    const { cascade = false } = options;
    checkType("cascade", cascade, "boolean");
    const { staging } = this.#host;
    if (staging.deaths.has(this.id)) {
      throw new MmsbError("invalid-handle", `Cannot delete page ${this.id} twice: it is staged`, {
        values: { page: this.id },
      });
    }
    refuseTable("delete", this.#host.store.metadataOf(this.id));
    for (const page of deathsWith(this.#host, this.id, [this.id], cascade)) {
      staging.deaths.add(page);
    }
  }

  #refuseDying(what: string): void {
    if (!this.#host.staging.deaths.has(this.id)) return;
    throw new MmsbError(
      "invalid-handle",
      `Cannot ${what} page ${this.id}: its deletion is staged`,
      { values: { page: this.id } },
    );
  }

  #live(): void {
    this.#host.checkOpen();
    if (this.#host.store.table.ids[this.#row] !== this.id) this.#refuseDeleted();
  }

  #sizeForReading(): number {
    const { store } = this.#host;
    this.#host.checkOpen();
    if (store.table.ids[this.#row] !== this.id) this.#refuseDeleted();
    const limit = store.table.records[this.#row * RECORD_WORDS + RECORD_LIMIT];
    return limit < 0 ? ~limit : limit;
  }

  #sizeForWriting(): number {
    this.#host.checkWritable();
    const { store } = this.#host;
    if (store.table.ids[this.#row] !== this.id) this.#refuseDeleted();
    const limit = store.table.records[this.#row * RECORD_WORDS + RECORD_LIMIT];
    return limit < 0 ? ~limit : limit;
  }

  #refuseDeleted(): never {
    throw new MmsbError(
      "invalid-handle",
      `Cannot use page ${this.id} as it is not there: it was deleted, or the batch that created it was refused`,
      { values: { page: this.id } },
    );
  }

  #refuseSpan(offset: number, length: number, size: number): never {
    checkInteger("offset", offset, 0, size);
    checkInteger("length", length, 0, size);
    throw new MmsbError(
      "out-of-bounds",
      `Cannot use bytes ${offset} to ${offset + length} of page ${this.id}: its size is ${size}`,
      { values: { page: this.id, offset, length, size } },
    );
  }
}

/**
 * Whether both are whole numbers from 0 to 2^32 − 1. To be asked before they are added: arithmetic
 * with a bigint or a symbol throws an error of the language.
 */
function areWhole(a: unknown, b: unknown): boolean {
  return typeof a === "number" && typeof b === "number" && (a >>> 0) === a && (b >>> 0) === b;
}

function refuseBytes(name: string, value: unknown): never {
  throw new MmsbError("usage", `Cannot use ${describe(value)} as ${name}: give a Uint8Array`, {
    values: { name },
  });
}

function describe(value: unknown): string {
  return typeof value === "object" && value !== null
    ? value.constructor?.name ?? "an object"
    : String(value);
}

function checkMask(length: number, mask: Uint8Array, packed: Uint8Array): void {
  let set = 0;
  for (const byte of mask) for (let rest = byte; rest !== 0; rest &= rest - 1) set++;
  const bitsPast = mask.length > 0 && (length & 7) !== 0 &&
    mask[mask.length - 1] >>> (length & 7) !== 0;
  if (set !== packed.length || bitsPast) {
    throw new MmsbError(
      "usage",
      bitsPast
        ? `Cannot use a mask with bits past its span of ${length} bytes: clear them`
        : `Cannot use ${packed.length} bytes with a mask of ${set} set bits: they must agree`,
      { values: { length, set, packed: packed.length } },
    );
  }
}
