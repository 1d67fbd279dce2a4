/**
 * Digest: one number for a whole state, so that two can be compared without being in one place.
 *
 * SHA-256 over the pages in order of id, each as u32 id, u32 size, f64 epoch, u32 shard, u32 length
 * of the name and the name, u32 length of the metadata's byte form and that form with its keys in
 * order, and the bytes; little endian. Pages whose first tick has not come are no part of it. Behind the
 * pages come, if there are any, the edges by target, source and type, each as "E", u32 target, u32
 * source and u32 type; the bindings of rules by number, each as "R", u32 number, u32 length and the
 * logged binding; and the marks by page, each as "M", u32 page and u32 mark; each letter as a u32.
 *
 * Cost: SHA-256's over all bytes, and a sort of the page ids.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { edgesOf } from "../log/mod.ts";
import { encodeMetadata, type PageStore } from "../physical/mod.ts";

const encoder = new TextEncoder();
const EDGE = 0x45, RULE = 0x52, MARKED = 0x4d;

/** Digest of a state, as 64 hexadecimal digits. */
export function digestOfStore(store: PageStore): string {
  const { table } = store;
  const hash = createHash("sha256");
  const head = new DataView(new ArrayBuffer(24));
  const rows = [...table.rows()].filter((row) => table.isActive(row));
  rows.sort((a, b) => table.ids[a] - table.ids[b]);
  const text = (bytes: Uint8Array) => {
    const length = new DataView(new ArrayBuffer(4));
    length.setUint32(0, bytes.length, true);
    hash.update(new Uint8Array(length.buffer)).update(bytes);
  };
  for (const row of rows) {
    const page = table.ids[row];
    head.setUint32(0, page, true);
    head.setUint32(4, table.sizeOf(row), true);
    head.setFloat64(8, table.epoch(row), true);
    head.setUint32(16, table.shards[row], true);
    hash.update(new Uint8Array(head.buffer, 0, 20));
    text(encoder.encode(store.nameOf(page)));
    const metadata = [...store.metadataOf(page)].sort(([a], [b]) => a < b ? -1 : 1);
    text(encodeMetadata(new Map(metadata)));
    hash.update(store.view(row));
  }
  const words = (...values: number[]) => {
    values.forEach((value, index) => head.setUint32(4 * index, value, true));
    hash.update(new Uint8Array(head.buffer, 0, 4 * values.length));
  };
  for (const { source, target, type } of edgesOf(store)) words(EDGE, target, source, type);
  for (const { number, payload } of store.bindings.list()) {
    words(RULE, number);
    text(payload);
  }
  for (const { page, mark } of store.marks.list()) words(MARKED, page, mark);
  return hash.digest("hex");
}
