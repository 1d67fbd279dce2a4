/**
 * What a bus holds, as plain values, and how two such states differ. A state is the yardstick of the
 * property tests: build one from any bus, and `difference()` says in words where it departs.
 */

/** One live page. */
export interface PageState {
  /** The whole page. */
  readonly bytes: Uint8Array;
  /** 0 when created, + `advance` for each row applied. */
  readonly epoch: number;
  /** Unique among live pages. */
  readonly name: string | undefined;
  /** The order of the keys means nothing. */
  readonly metadata: Readonly<Record<string, Uint8Array>>;
  /** 0 … shards − 1. */
  readonly shard: number;
}

/** All live pages by id; the order of the entries means nothing. */
export type State = ReadonlyMap<number, PageState>;

/** Whether both states hold the same pages with the same contents. */
export function equals(a: State, b: State): boolean {
  return difference(a, b) === undefined;
}

/** The first difference in order of page id, in words (`a` first); `undefined` where there is none. */
export function difference(a: State, b: State): string | undefined {
  const ids = [...new Set([...a.keys(), ...b.keys()])].sort((x, y) => x - y);
  for (const id of ids) {
    const left = a.get(id);
    const right = b.get(id);
    if (left === undefined) return `page ${id}: absent, present`;
    if (right === undefined) return `page ${id}: present, absent`;
    const found = pageDifference(left, right);
    if (found !== undefined) return `page ${id}: ${found}`;
  }
  return undefined;
}

function pageDifference(a: PageState, b: PageState): string | undefined {
  if (a.epoch !== b.epoch) return `epoch ${a.epoch}, ${b.epoch}`;
  if (a.name !== b.name) return `name ${JSON.stringify(a.name)}, ${JSON.stringify(b.name)}`;
  if (a.shard !== b.shard) return `shard ${a.shard}, ${b.shard}`;
  const keys = [...new Set([...Object.keys(a.metadata), ...Object.keys(b.metadata)])].sort();
  for (const key of keys) {
    const where = `metadata ${JSON.stringify(key)}`;
    if (!Object.hasOwn(a.metadata, key)) return `${where}: absent, present`;
    if (!Object.hasOwn(b.metadata, key)) return `${where}: present, absent`;
    const found = bytesDifference(a.metadata[key], b.metadata[key]);
    if (found !== undefined) return `${where}: ${found}`;
  }
  return bytesDifference(a.bytes, b.bytes);
}

function bytesDifference(a: Uint8Array, b: Uint8Array): string | undefined {
  if (a.length !== b.length) return `size ${a.length}, ${b.length}`;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? undefined : `byte ${at} is ${a[at]}, ${b[at]}`;
}
