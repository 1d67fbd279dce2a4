/**
 * Stored schema: how many of a handle's fields its page was written with.
 *
 * A handle may know fields that its page does not have yet. Reading them gives zero; the first write that
 * needs them stages the longer schema, again if that was refused. What is stored can change under a
 * handle (a tick, another handle, a refusal), so it is looked at again whenever a field that was not
 * there is asked for; metadata is replaced and never changed, so its identity tells whether anything
 * is new.
 *
 * @module
 */

import { checkKeys, checkType, MmsbError } from "../base/mod.ts";
import type { Metadata } from "../physical/mod.ts";
import { addedFields, decodeSchema, encodeSchema, type Schema, SCHEMA_KEY } from "../schema/mod.ts";
import { type BirthOptions, checkBirth, type CheckedBirth } from "./_births.ts";
import { AttachedPage } from "./attached_page.ts";
import { Page, type PageHost } from "./page.ts";

/** The schema stored with a page, as far as a handle has to know it. */
export class StoredSchema {
  /** Fields of the handle that the page is known to have; the others may have come since. */
  count = 0;
  readonly #host: PageHost;
  readonly #page: number;
  readonly #schema: Schema;
  /** Metadata that {@linkcode StoredSchema.count} was read from. */
  #seen: Metadata | undefined;

  /**
   * Compares a schema with the stored one.
   *
   * @throws {MmsbError} `usage` where the page has none, or one that the schema does not continue.
   */
  constructor(host: PageHost, page: number, schema: Schema) {
    this.#host = host;
    this.#page = page;
    this.#schema = schema;
    this.#compare(this.#newest());
    this.refresh();
  }

  /** Looks at what the last tick left; gives the fields that the page has. */
  refresh(): number {
    const metadata = this.#host.store.metadataOf(this.#page);
    // A page that is not born yet has its schema already; one whose schema is staged does not.
    if (metadata !== this.#seen) {
      this.count = Math.min(this.#compare(metadata), this.#schema.fields.length);
      this.#seen = metadata;
    }
    return this.count;
  }

  /**
   * Stages the longer schema, if neither the page nor the staging has it.
   *
   * @returns Whether it was staged.
   * @throws {MmsbError} `usage` where another handle gave the page other fields meanwhile.
   */
  stage(): boolean {
    const metadata = this.#newest();
    if (this.#compare(metadata) >= this.#schema.fields.length) return false;
    const longer = new Map(metadata).set(SCHEMA_KEY, encodeSchema(this.#schema));
    this.#host.staging.setMetadata(this.#page, longer);
    return true;
  }

  #newest(): Metadata {
    const { store, staging } = this.#host;
    return staging.metadataOf(this.#page) ?? store.metadataOf(this.#page);
  }

  /** Fields of the stored schema. */
  #compare(metadata: Metadata): number {
    const name = this.#host.store.nameOf(this.#page);
    const what = name === "" ? `page ${this.#page}` : `"${name}"`;
    const bytes = metadata.get(SCHEMA_KEY);
    if (bytes === undefined) {
      const { kind } = this.#schema;
      throw new MmsbError(
        "usage",
        `Cannot open ${what} as a ${kind}: it is a plain page, without a schema`,
        { values: { page: this.#page, name } },
      );
    }
    const stored = decodeSchema(bytes);
    addedFields(what, stored, this.#schema);
    return stored.fields.length;
  }
}

/** Runs `look` on the pages of one tick; those of a writer in another process change meanwhile. */
export function reading<T>(host: PageHost, look: () => T): T {
  return host.attached === undefined ? look() : host.attached.read(look);
}

/** The handle of a page that is there. */
export function pageOf(host: PageHost, id: number): Page {
  return host.attached === undefined
    ? new Page(host, id, host.store.table.rowOf(id))
    : new AttachedPage(host, host.attached, id);
}

/** Handles of one kind. */
export interface TypedHandles<T> {
  /** The bus method that creates them, for messages. */
  readonly method: string;
  /** The schema, which was checked to be of their kind. */
  readonly schema: Schema;
  /** The handle of a page that is there. */
  open(page: Page): T;
  /** Stages the birth of what is created. */
  bear(birth: CheckedBirth): T;
}

const CREATE_KEYS = ["name", "metadata", "shard"];

/** Creates a page with a schema, or opens the one of that name and adds the fields that it lacks. */
export function createTyped<T extends { evolve(): void }>(
  host: PageHost,
  handles: TypedHandles<T>,
  options: BirthOptions,
): T {
  checkKeys(handles.method, options, CREATE_KEYS);
  const birth = checkBirth(host, options);
  const found = birth.name === "" ? 0 : findTyped(host, birth.name);
  if (found !== 0) {
    const opened = handles.open(pageOf(host, found));
    opened.evolve();
    return opened;
  }
  const metadata = new Map(birth.metadata).set(SCHEMA_KEY, encodeSchema(handles.schema));
  return handles.bear({ ...birth, metadata });
}

/**
 * Opens the page of a name with a schema.
 *
 * @throws {MmsbError} `invalid-handle` where no page has the name.
 */
export function openTyped<T>(
  host: PageHost,
  { open, schema: { kind } }: Pick<TypedHandles<T>, "open" | "schema">,
  name: string,
): T {
  checkType("name", name, "string");
  return reading(host, () => {
    const found = findTyped(host, name);
    if (found !== 0) return open(pageOf(host, found));
    throw new MmsbError("invalid-handle", `Cannot find a ${kind} "${name}": create it first`, {
      values: { name },
    });
  });
}

/**
 * The page that a name leads to, for opening it with a schema.
 *
 * @throws {MmsbError} `invalid-handle` where it is about to be deleted.
 */
function findTyped(host: PageHost, name: string): number {
  const page = host.store.find(name);
  if (page !== 0 && host.staging.deaths.has(page)) {
    throw new MmsbError(
      "invalid-handle",
      `Cannot open "${name}" as its deletion is staged: tick first`,
      { values: { name, page } },
    );
  }
  return page;
}

/** Refuses a field that the schema has not. */
export function refuseField(schema: Schema, name: unknown): never {
  const names = schema.fields.map((field) => field.name);
  const shown = names.slice(0, 20).join(", ") + (names.length > 20 ? ", …" : "");
  throw new MmsbError(
    "usage",
    `Cannot find ${
      typeof name === "string" ? `"${name}"` : `a value of type ${typeof name}`
    } in the ${schema.kind}: it has ${shown}`,
    { values: { name } },
  );
}
