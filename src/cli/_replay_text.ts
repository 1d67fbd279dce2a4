/**
 * What `mmsb replay` prints of bytes and differences, as text and as JSON.
 */

import { toHex } from "../base/bytes.ts";
import type { StateDifference, StructureDifference } from "../bus/mod.ts";
import { shown } from "./_log_text.ts";

const LINE_BYTES = 16;
/** Bytes of a difference that a line of text shows on each side. */
const SHOWN_BYTES_MAX = 16;

/** Bytes as lines of offset, hex and text; lines that repeat the one before are one `*`. */
export function* hexDump(bytes: Uint8Array): Generator<string> {
  let before = "", isRepeating = false;
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const line = bytes.subarray(at, at + LINE_BYTES);
    const hex = toHex(line);
    if (hex === before && at + LINE_BYTES < bytes.length) {
      if (!isRepeating) yield "*";
      isRepeating = true;
      continue;
    }
    isRepeating = false;
    before = hex;
    const pairs = (hex.match(/../g) ?? []).join(" ").padEnd(3 * LINE_BYTES - 1);
    const text = [...line].map((byte) =>
      byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "."
    );
    yield `${at.toString(16).padStart(8, "0")}  ${pairs}  |${text.join("")}|`;
  }
}

/** A difference on a line. */
export function differenceText(one: StateDifference): string {
  if (one.kind === "bytes") {
    const { page, offset, before, after } = one;
    const length = Math.max(before.length, after.length);
    return `page ${page}  bytes ${offset}+${length}  ${short(before)} → ${short(after)}`;
  }
  if (isStructure(one)) return structureText(one);
  const { kind, page, before, after } = one;
  const facts = after ?? before!;
  const name = facts.name === "" ? "" : ` ${shown(facts.name)}`;
  if (before === undefined || after === undefined) {
    return `page ${page}${name}  ${kind}  ${facts.size} bytes, epoch ${facts.epoch}`;
  }
  const changes = [
    ...(["size", "epoch", "shard"] as const).filter((key) => before[key] !== after[key])
      .map((key) => `${key} ${before[key]} → ${after[key]}`),
    ...(before.name === after.name ? [] : [`name ${shown(before.name)} → ${shown(after.name)}`]),
    ...(metadataText(before.metadata) === metadataText(after.metadata) ? [] : ["metadata"]),
  ];
  return `page ${page}${name}  changed  ${changes.join(", ")}`;
}

/** A difference for JSON: bytes are hex. */
export function differenceJson(one: StateDifference): object {
  if (one.kind === "bytes") {
    return { ...one, before: toHex(one.before), after: toHex(one.after) };
  }
  if (isStructure(one)) return one;
  const { kind, page, before, after } = one;
  const facts = (side: typeof before) =>
    side && {
      ...side,
      metadata: Object.fromEntries([...side.metadata].map(([key, value]) => [key, toHex(value)])),
    };
  return { kind, page, before: facts(before), after: facts(after) };
}

/** Whether a difference is about an edge, a rule or a mark. */
function isStructure(one: StateDifference): one is StructureDifference {
  return one.kind !== "bytes" && one.kind !== "born" && one.kind !== "deleted" &&
    one.kind !== "changed";
}

function structureText({ kind, page, source, edge, rule, mark }: StructureDifference): string {
  if (edge !== undefined) return `page ${source} → page ${page}  ${edge} ${kind.replace("-", " ")}`;
  if (rule !== undefined) return `page ${page}  rule ${shown(rule)} ${kind}`;
  return `page ${page}  ${kind} ${mark}`;
}

function short(bytes: Uint8Array): string {
  if (bytes.length === 0) return "none";
  const hex = toHex(bytes.subarray(0, SHOWN_BYTES_MAX));
  return bytes.length > SHOWN_BYTES_MAX ? `${hex}…` : hex;
}

function metadataText(metadata: ReadonlyMap<string, Uint8Array>): string {
  return JSON.stringify([...metadata].map(([key, value]) => [key, toHex(value)]));
}
