/**
 * Staging: what was asked for since the last tick and is not real yet.
 *
 * Single writes go into one growing batch, the caller's own; births, deaths and metadata beside it.
 * All of it is one unit: the tick takes it whole or refuses it whole.
 *
 * @module
 */

import { DeltaBatch, type Metadata } from "../physical/mod.ts";

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
}

const ROWS_START = 1024;
/** Rows up to which the open batch keeps the room it has grown to. */
const ROWS_KEPT = 65_536;
const NONE = { rows: 0, payload: 0, births: 0, deaths: 0, metadata: 0 };

/** The caller's open batch and structural changes. */
export class Staging {
  /** Single writes. */
  batch: DeltaBatch = newBatch();
  /** Ids of pages created. */
  births: number[] = [];
  /** Ids of pages to be deleted. */
  readonly deaths: Set<number> = new Set();
  /** Metadata to be set. */
  metadata: { readonly page: number; readonly metadata: Metadata }[] = [];
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
      this.metadata.length === 0;
  }

  /** Structural rows. */
  get structural(): number {
    return this.births.length + this.deaths.size + this.metadata.length;
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
    };
  }

  /**
   * Takes back what was staged since a mark, or since a tick that came after it.
   *
   * @returns The births taken back.
   */
  rollBack(mark: StagingMark): number[] {
    const { rows, payload, births, deaths, metadata } = mark.clears === this.#clears ? mark : NONE;
    this.batch.setLength(rows, payload);
    for (const page of [...this.deaths].slice(deaths)) this.deaths.delete(page);
    if (this.metadata.length > metadata) {
      this.metadata.length = metadata;
      this.#latest = new Map(this.metadata.map((change) => [change.page, change.metadata]));
    }
    return this.births.splice(births);
  }

  /** Forgets everything staged. */
  clear(): void {
    this.#clears++;
    if (this.batch.rowsMax > ROWS_KEPT) {
      // Small ticks after a large one must not pay for its size.
      this.batch = newBatch();
    } else {
      this.batch.clear();
      if (this.batch.strings.length > 1) this.batch.clearStrings();
    }
    if (this.births.length > 0) this.births = [];
    this.deaths.clear();
    if (this.metadata.length > 0) {
      this.metadata = [];
      this.#latest.clear();
    }
  }

  /** The newest staged metadata of a page, if any is staged. */
  metadataOf(page: number): Metadata | undefined {
    return this.#latest.get(page);
  }

  /** Stages metadata of a page. */
  setMetadata(page: number, metadata: Metadata): void {
    this.metadata.push({ page, metadata });
    this.#latest.set(page, metadata);
  }
}

function newBatch(): DeltaBatch {
  return new DeltaBatch({ rows: ROWS_START, payloadBytes: 16 * ROWS_START, growable: true });
}
