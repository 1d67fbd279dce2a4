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
const NONE = { rows: 0, payload: 0, births: 0, deaths: 0, metadata: 0 };

/** The caller's open batch and structural changes. */
export class Staging {
  /** Single writes. */
  readonly batch: DeltaBatch = new DeltaBatch({
    rows: ROWS_START,
    payloadBytes: 16 * ROWS_START,
    growable: true,
  });
  /** Ids of pages created. */
  births: number[] = [];
  /** Ids of pages to be deleted. */
  readonly deaths: Set<number> = new Set();
  /** Metadata to be set. */
  metadata: { readonly page: number; readonly metadata: Metadata }[] = [];
  #clears = 0;

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
    this.metadata.length = metadata;
    return this.births.splice(births);
  }

  /** Forgets everything staged. */
  clear(): void {
    this.#clears++;
    this.batch.clear();
    if (this.batch.strings.length > 1) this.batch.clearStrings();
    if (this.births.length > 0) this.births = [];
    this.deaths.clear();
    if (this.metadata.length > 0) this.metadata = [];
  }
}
