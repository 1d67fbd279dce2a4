/**
 * Page snapshot: what one page was at one tick, as a copy that nobody can change.
 *
 * Cost: the page's bytes and metadata once; each look at `bytes` or `metadata` copies again, `read`
 * copies just what is asked for.
 *
 * @module
 */

import { checkInteger } from "../base/mod.ts";
import { decodeMetadata } from "../physical/mod.ts";

/** What a snapshot is made of. */
export interface SnapshotParts {
  /** Page id. */
  readonly id: number;
  /** Name, "" for none. */
  readonly name: string;
  /** Epoch. */
  readonly epoch: number;
  /** Bytes; the snapshot's own. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Metadata in its byte form; the snapshot's own. */
  readonly metadata: Uint8Array;
}

/** A copy of a page, from {@linkcode Page.snapshot}. */
export class PageSnapshot {
  /** Id of the page. */
  readonly id: number;
  /** Its name, "" for none. */
  readonly name: string;
  /** Its bytes in number. */
  readonly size: number;
  /** Its epoch. */
  readonly epoch: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #metadata: Uint8Array;

  /** @ignore Made by pages. */
  constructor(parts: SnapshotParts) {
    this.id = parts.id;
    this.name = parts.name;
    this.epoch = parts.epoch;
    this.size = parts.bytes.length;
    this.#bytes = parts.bytes;
    this.#metadata = parts.metadata;
    Object.freeze(this);
  }

  /** A copy of its bytes. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice();
  }

  /** A copy of its metadata, in order of first insertion. */
  get metadata(): Map<string, Uint8Array> {
    return decodeMetadata(this.#metadata);
  }

  /**
   * A copy of some of its bytes.
   *
   * @param offset First byte. Default 0.
   * @param length Bytes. Default: to the end.
   * @throws {MmsbError} `out-of-bounds` where the span leaves the page, `usage` for what is no span.
   */
  read(offset?: number, length?: number): Uint8Array<ArrayBuffer> {
    const first = checkInteger("offset", offset === undefined ? 0 : offset, 0, this.size);
    const rest = this.size - first;
    const count = checkInteger("length", length === undefined ? rest : length, 0, rest);
    return this.#bytes.slice(first, first + count);
  }
}
