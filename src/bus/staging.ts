/**
 * Staging: what was asked for since the last tick and is not real yet.
 *
 * Single writes go into one growing batch, the caller's own; births, deaths and metadata beside it.
 * All of it is one unit: the tick takes it whole or refuses it whole.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { DeltaBatch, type Metadata, type PageStore, type PageTable } from "../physical/mod.ts";
import { StagedEdges } from "./_staged_edges.ts";
import { StagedRules } from "./_staged_rules.ts";

/** A place in the staging that it can be taken back to. */
export interface StagingMark {
  /** How often the staging was emptied before. */
  readonly clears: number;
  /** Rows. */
  readonly rows: number;
  /** Bytes of payload. */
  readonly payload: number;
  /** Births. */
  readonly births: number;
  /** Deaths. */
  readonly deaths: number;
  /** Changes of metadata. */
  readonly metadata: number;
  /** Effects. */
  readonly effects: number;
}

/** What a handle remembers of something staged, and forgets if that is taken back. */
export interface StagedEffect {
  /** Forgets it; called in the opposite order of the staging. */
  undo(): void;
}

const ROWS_START = 1024;
/** Rows up to which the open batch keeps the room it has grown to. */
const ROWS_KEPT = 65_536;
/** Bytes of payloads up to which it does. */
const PAYLOAD_KEPT = 64 * 1024 * 1024;
const NONE = { rows: 0, payload: 0, births: 0, deaths: 0, metadata: 0, effects: 0 };

/** The caller's open batch and structural changes. */
export class Staging {
  /** Single writes. */
  batch: DeltaBatch = newBatch();
  /** Ids of pages created. */
  births: number[] = [];
  /** Ids of pages to be deleted. */
  deaths: Set<number> = new Set();
  /** Metadata to be set. */
  metadata: { readonly page: number; readonly metadata: Metadata }[] = [];
  /**
   * What handles remember, in the order in which it was staged. A tick that takes or refuses the open
   * batch drops it: handles see by {@linkcode Staging.generation} that they have to look at the pages.
   */
  effects: StagedEffect[] = [];
  /** Sizes that pages are to get. */
  readonly sizes: Map<number, number> = new Map();
  /** Shards that pages are to go to. */
  readonly shards: Map<number, number> = new Map();
  /** Epochs that pages must still have when the tick comes: what was staged follows from them. */
  readonly #epochs = new Map<number, number>();
  /** Edges to be added and removed. */
  readonly edges: StagedEdges = new StagedEdges();
  /** Rules to be bound and unbound. */
  readonly rules: StagedRules = new StagedRules();
  /** For each page its newest staged metadata. */
  #latest = new Map<number, Metadata>();
  #clears = 0;

  /** Number of the open batch; each tick that takes it begins another one. */
  get generation(): number {
    return this.#clears;
  }

  /** Whether nothing is staged. */
  get isEmpty(): boolean {
    return this.batch.length === 0 && this.births.length === 0 && this.deaths.size === 0 &&
      this.metadata.length === 0 && this.sizes.size === 0 && this.shards.size === 0 &&
      this.edges.size === 0 && this.rules.size === 0;
  }

  /** Structural rows. */
  get structural(): number {
    return this.births.length + this.deaths.size + this.metadata.length + this.edges.size +
      this.rules.size +
      this.living(this.sizes).length + this.living(this.shards).length;
  }

  /** Notes where the staging stands. */
  mark(): StagingMark {
    return {
      clears: this.#clears,
      rows: this.batch.length,
      payload: this.batch.payloadLength,
      births: this.births.length,
      deaths: this.deaths.size,
      metadata: this.metadata.length,
      effects: this.effects.length,
    };
  }

  /**
   * Takes back what was staged since a mark, or since a tick that came after it.
   *
   * @returns The births taken back.
   */
  rollBack(mark: StagingMark): number[] {
    const { rows, payload, births, deaths, metadata, effects } = mark.clears === this.#clears
      ? mark
      : NONE;
    for (const effect of this.effects.splice(effects).reverse()) effect.undo();
    this.batch.setLength(rows, payload);
    for (const page of [...this.deaths].slice(deaths)) this.deaths.delete(page);
    if (this.metadata.length > metadata) {
      this.metadata.length = metadata;
      this.#latest = new Map(this.metadata.map((change) => [change.page, change.metadata]));
    }
    return this.births.splice(births);
  }

  /**
   * Checks that the pages are there whose life it changes, or which its edges and rules name: another open
   * batch may have deleted some, or have created them without a tick so far. The log knows neither.
   *
   * @throws {MmsbError} `invalid-handle` where one is gone, or is another batch's; `stale-epoch` where one
   * has changed that had to stay.
   */
  checkPages({ table }: PageStore): void {
    if (this.#namesNone) return;
    const metadata = this.metadata.map(({ page }) => page);
    const own = new Set(this.births);
    const deaths = table.areActive(this.deaths) ? [] : this.deaths;
    for (const pages of [deaths, metadata, this.sizes.keys(), this.shards.keys()]) {
      for (const page of pages) {
        if (table.rowOf(page) === 0) {
          throw new MmsbError(
            "invalid-handle",
            `Cannot change page ${page} as another batch has deleted it meanwhile`,
            { values: { page } },
          );
        }
        refuseForeign(table, page, own);
      }
    }
    for (const [page, epoch] of this.#epochs) refuseChanged(table, page, epoch);
    for (const page of this.edges.pages()) refuseForeign(table, page, own);
    for (const page of this.rules.pages()) refuseForeign(table, page, own);
  }

  /** Whether nothing staged names a page, beside the rows and the births. */
  get #namesNone(): boolean {
    return this.deaths.size === 0 && this.metadata.length === 0 && this.sizes.size === 0 &&
      this.shards.size === 0 && this.#epochs.size === 0 && this.edges.size === 0 &&
      this.rules.size === 0;
  }

  /** Forgets everything staged. */
  clear(): void {
    this.#clears++;
    if (this.batch.rowsMax > ROWS_KEPT || this.batch.payload.length > PAYLOAD_KEPT) {
      // Small ticks after a large one must not pay for its size.
      this.batch = newBatch();
    } else {
      this.batch.clear();
      if (this.batch.strings.length > 1) this.batch.clearStrings();
    }
    if (this.births.length > 0) this.births = [];
    if (this.effects.length > 0) this.effects = [];
    // A set that is emptied again and again leaves tables that lead one to the next, and so outlive the
    // collector's quick rounds.
    if (this.deaths.size > 0) this.deaths = new Set();
    // To empty an empty map costs as much as to make one.
    if (this.sizes.size > 0) this.sizes.clear();
    if (this.shards.size > 0) this.shards.clear();
    if (this.#epochs.size > 0) this.#epochs.clear();
    this.edges.clear();
    this.rules.clear();
    if (this.metadata.length > 0) {
      this.metadata = [];
      this.#latest.clear();
    }
  }

  /** The newest staged metadata of a page, if any is staged. */
  metadataOf(page: number): Metadata | undefined {
    return this.#latest.get(page);
  }

  /**
   * The changes of size or shard that a tick makes real: those of pages that it does not delete.
   *
   * @param changes {@linkcode Staging.sizes} or {@linkcode Staging.shards}.
   */
  living(
    changes: ReadonlyMap<number, number>,
  ): readonly (readonly [page: number, value: number])[] {
    return changes.size === 0 ? [] : [...changes].filter(([page]) => !this.deaths.has(page));
  }

  /** Stages a page's size. */
  resize(page: number, size: number): void {
    this.#change(this.sizes, page, size);
  }

  /** Stages a page's shard. */
  migrate(page: number, shard: number): void {
    this.#change(this.shards, page, shard);
  }

  /** Has the tick refuse all of this if a page changes before it, as by a transaction. */
  expect({ table }: PageStore, page: number): void {
    if (this.#epochs.has(page)) return;
    this.#epochs.set(page, table.epoch(table.rowOf(page)));
    this.effects.push({ undo: () => this.#epochs.delete(page) });
  }

  #change(changes: Map<number, number>, page: number, value: number): void {
    const before = changes.get(page);
    changes.set(page, value);
    this.effects.push({
      undo: () => before === undefined ? changes.delete(page) : changes.set(page, before),
    });
  }

  /** Stages metadata of a page. */
  setMetadata(page: number, metadata: Metadata): void {
    this.metadata.push({ page, metadata });
    this.#latest.set(page, metadata);
  }
}

/** Refuses to go on from what a page held, where it holds something else by now. */
function refuseChanged(table: PageTable, page: number, expectedEpoch: number): void {
  const row = table.rowOf(page), epoch = row === 0 ? undefined : table.epoch(row);
  if (epoch === expectedEpoch) return;
  throw new MmsbError(
    "stale-epoch",
    `Cannot append to table ${page} as another batch has done so since: stage it again`,
    { values: { page, expectedEpoch, epoch } },
  );
}

/** Refuses a page that another open batch creates. */
function refuseForeign(table: PageTable, page: number, own: ReadonlySet<number>): void {
  const row = table.rowOf(page);
  if (row === 0 || table.isActive(row) || own.has(page)) return;
  throw new MmsbError(
    "invalid-handle",
    `Cannot use page ${page} as another batch creates it, which no tick has taken yet: wait for that`,
    { values: { page } },
  );
}

function newBatch(): DeltaBatch {
  return new DeltaBatch({ rows: ROWS_START, payloadBytes: 16 * ROWS_START, growable: true });
}

/** Stages all or nothing: what is staged before an error is taken back. */
export function atomically<T>(
  { staging, store }: { readonly staging: Staging; readonly store: PageStore },
  stage: () => T,
): T {
  const mark = staging.mark();
  try {
    return stage();
  } catch (error) {
    for (const page of staging.rollBack(mark)) store.remove(page);
    throw error;
  }
}
