/**
 * What the rows that are no deltas say, as text and as JSON: births, metadata, sizes, shards, edges,
 * rules, marks. Their
 * payload is the log's own form, which as hex tells nobody anything; a stored schema is shown as its
 * fields and types.
 *
 * It stands apart from the other texts because it needs the layers that read those forms, which a
 * command loads only when it has such a row to show.
 */

import { toHex } from "../base/bytes.ts";
import { MmsbError } from "../base/errors.ts";
import { decodeBinding } from "../log/binding.ts";
import { decodeBirth } from "../log/birth.ts";
import { decodeMetadata, type Metadata } from "../physical/mod.ts";
import { decodeSchema, type FieldType, SCHEMA_KEY } from "../schema/mod.ts";
import { shown } from "./_log_text.ts";
import type { LogDelta } from "./log_tools.ts";

/** Metadata for JSON: values are hex, a stored schema is given as text beside. */
export interface MetadataJson {
  /** Values by key, in hexadecimal digits. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The stored schema, if there is one that can be read. */
  readonly schema?: string;
}

/** What a structural row did, in words; `undefined` for a delta. */
export function rowText(delta: LogDelta): string | undefined {
  const { kind, length, shard, payload } = delta;
  const list = () => metadataOf(delta)?.map((line) => `  ${line}`).join("");
  if (kind === "create") return `create  ${length} bytes${list() ?? ` ${toHex(payload)}`}`;
  if (kind === "metadata") return `metadata${list() || "  none"}`;
  if (kind === "resize") return `resize  to ${length} bytes`;
  if (kind === "migrate") return `migrate  to shard ${shard}`;
  if (kind === "add edge" || kind === "remove edge") {
    return `${kind}  ${delta.edge} from page ${delta.from}`;
  }
  if (kind === "unbind") return `unbind  ${ruleText(delta)}`;
  if (kind === "bind") return `bind  ${ruleText(delta)}  ${new TextDecoder().decode(payload)}`;
  if (kind === "mark" || kind === "unmark") return `${kind}  ${delta.mark}`;
  return kind === "delete" ? kind : undefined;
}

function ruleText({ rule, ruleNumber }: LogDelta): string {
  return rule === undefined ? `rule ${ruleNumber}` : `${shown(rule)}, rule ${ruleNumber}`;
}

/** The metadata or binding that a row sets, for JSON; nothing for other rows. */
export function rowJson(delta: LogDelta): Partial<MetadataJson> | { readonly binding: unknown } {
  if (delta.kind === "bind") return { binding: decodeBinding(delta.payload) };
  const metadata = decoded(delta);
  return metadata === undefined || metadata.size === 0 ? {} : metadataJson(metadata);
}

/** One metadata value as text: a schema as its fields, all else as hex. */
export function metadataText(key: string, value: Uint8Array): string {
  const schema = key === SCHEMA_KEY ? schemaText(value) : undefined;
  return `${shown(key)}: ${schema ?? toHex(value)}`;
}

/** Metadata for JSON. */
export function metadataJson(metadata: Metadata): MetadataJson {
  const stored = metadata.get(SCHEMA_KEY);
  const schema = stored === undefined ? undefined : schemaText(stored);
  return {
    metadata: Object.fromEntries([...metadata].map(([key, value]) => [key, toHex(value)])),
    ...(schema === undefined ? {} : { schema }),
  };
}

function metadataOf(delta: LogDelta): string[] | undefined {
  const metadata = decoded(delta);
  return metadata && [...metadata].map(([key, value]) => metadataText(key, value));
}

/** The metadata in a row's payload; nothing where it has none, or none that can be read. */
function decoded({ kind, payload }: LogDelta): Metadata | undefined {
  try {
    if (kind === "create") return decodeBirth(payload).metadata;
    return kind === "metadata" ? decodeMetadata(payload) : undefined;
  } catch (error) {
    if (error instanceof MmsbError) return undefined;
    throw error;
  }
}

/** A stored schema as its kind, fields and types; nothing for bytes that are none. */
function schemaText(bytes: Uint8Array): string | undefined {
  try {
    const { kind, fields } = decodeSchema(bytes);
    const list = fields.map(({ name, type }) => `${shown(name)}: ${typeText(type)}`).join(", ");
    return `${kind} { ${list} }`;
  } catch (error) {
    if (error instanceof MmsbError) return undefined;
    throw error;
  }
}

function typeText(type: FieldType): string {
  if (typeof type === "string") return type;
  return type.type === "bytes" ? `bytes(${type.length})` : `utf8(${type.bytesMax})`;
}
