/**
 * Births: staging a new page, for the bus and for handles that keep their state in several pages.
 *
 * @module
 */

import { checkInteger, checkType, encodeUtf8, MmsbError, NAME_BYTES_MAX } from "../base/mod.ts";
import {
  decodeMetadata,
  encodeMetadata,
  type Metadata,
  type MetadataInput,
} from "../physical/mod.ts";
import { SCHEMA_KEY } from "../schema/mod.ts";
import { Page, type PageHost } from "./page.ts";

/** What a page may be born with, as the caller gives it. */
export interface BirthOptions {
  /** Name, by which it is found; unique among live pages. */
  readonly name?: string;
  /** Metadata: short strings to bytes. */
  readonly metadata?: MetadataInput;
  /** Shard. Default: by id, round robin. */
  readonly shard?: number;
}

/** What a page is born with, checked. */
export interface CheckedBirth {
  /** Name, "" for none. */
  readonly name: string;
  /** Metadata; a copy. */
  readonly metadata?: Metadata;
  /** Shard. */
  readonly shard?: number;
}

/**
 * Checks the options of a birth.
 *
 * @throws {MmsbError} `usage` for wrong types, `limit` for what is too long, `out-of-bounds` for a
 * shard that is none.
 */
export function checkBirth(host: PageHost, options: BirthOptions): CheckedBirth {
  const { name = "", metadata, shard } = options;
  if (name !== "") encodeUtf8("page name", checkType("name", name, "string"), NAME_BYTES_MAX);
  if (shard !== undefined) checkInteger("shard", shard, 0, host.shards - 1);
  return { name, shard, metadata: metadata === undefined ? undefined : copyMetadata(metadata) };
}

/**
 * Checks and copies metadata that a caller gives.
 *
 * @throws {MmsbError} `usage` for what is none, or under the key that schemas are kept under.
 */
export function copyMetadata(metadata: MetadataInput): Map<string, Uint8Array> {
  const copy = decodeMetadata(
    encodeMetadata(checkType("metadata", metadata, "object") as MetadataInput),
  );
  if (copy.has(SCHEMA_KEY)) {
    throw new MmsbError(
      "usage",
      `Cannot set metadata "${SCHEMA_KEY}" as the schema of the page is kept there: use another key`,
      { values: { key: SCHEMA_KEY } },
    );
  }
  return copy;
}

/**
 * Stages the birth of a page.
 *
 * @throws {MmsbError} `usage` where the name is taken, `allocation` where memory is short.
 */
export function stageBirth(host: PageHost, size: number, birth: CheckedBirth): Page {
  const { store } = host;
  const id = store.nextPageId;
  const { name, metadata, shard = (id - 1) % host.shards } = birth;
  const row = store.create(id, { size, name, metadata, shard });
  host.staging.births.push(id);
  return new Page(host, id, row);
}
