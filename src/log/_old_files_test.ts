/** Files of the older system made by hand, for the tests of this folder. */

/** One delta of an older log. */
export interface OldDeltaSpec {
  readonly id?: bigint;
  readonly page?: bigint;
  readonly epoch?: number;
  /** A byte a flag. */
  readonly flags: readonly number[] | Uint8Array;
  /** Payload as it stands in the file. */
  readonly payload: readonly number[] | Uint8Array;
  readonly sparse?: number;
  readonly timeNs?: bigint;
  readonly source?: string | Uint8Array;
  readonly intent?: string | Uint8Array;
  /** Lengths in place of the true ones. */
  readonly lengths?: { flags?: number; payload?: number; source?: number; intent?: number };
}

/** One page of an older checkpoint. */
export interface OldPageSpec {
  readonly id?: bigint;
  readonly size?: bigint;
  readonly epoch?: number;
  readonly location?: number;
  readonly metadata?: Uint8Array;
  readonly data: readonly number[] | Uint8Array;
}

/** Bytes, one after the other. */
class Bytes {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    return this.raw(Uint8Array.of(value));
  }

  u32(value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return this.raw(bytes);
  }

  u64(value: bigint): this {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return this.raw(bytes);
  }

  raw(bytes: Uint8Array | readonly number[] | string): this {
    this.#parts.push(
      typeof bytes === "string" ? new TextEncoder().encode(bytes) : Uint8Array.from(bytes),
    );
    return this;
  }

  part(bytes: Uint8Array | readonly number[] | string, length?: number): this {
    const size = typeof bytes === "string" ? new TextEncoder().encode(bytes).length : bytes.length;
    return this.u32(length ?? size).raw(bytes);
  }

  done(): Uint8Array<ArrayBuffer> {
    const size = this.#parts.reduce((sum, part) => sum + part.length, 0);
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** Bytes of one frame. */
export function oldFrame(version: number, delta: OldDeltaSpec): Uint8Array<ArrayBuffer> {
  const { flags, payload, lengths = {} } = delta;
  const bytes = new Bytes()
    .u64(delta.id ?? 0n)
    .u64(delta.page ?? 1n)
    .u32(delta.epoch ?? 0)
    .part(flags, lengths.flags)
    .part(payload, lengths.payload)
    .u8(delta.sparse ?? 0)
    .u64(delta.timeNs ?? 0n)
    .part(delta.source ?? "", lengths.source);
  if (version >= 2) bytes.part(delta.intent ?? "", lengths.intent);
  return bytes.done();
}

/** An older log. */
export function oldLog(
  version: number,
  deltas: readonly OldDeltaSpec[],
  tail: readonly number[] = [],
): Uint8Array<ArrayBuffer> {
  const bytes = new Bytes().raw("MMSBLOG1").u32(version);
  for (const delta of deltas) bytes.raw(oldFrame(version, delta));
  return bytes.raw(tail).done();
}

/** An older checkpoint. */
export function oldSnapshot(
  pages: readonly OldPageSpec[],
  { logOffset = 0n, version = 2, count = pages.length, tail = [] as readonly number[] } = {},
): Uint8Array<ArrayBuffer> {
  const bytes = new Bytes().raw("MMSBSNAP").u32(version).u32(count).u64(logOffset);
  for (const page of pages) {
    bytes.u64(page.id ?? 1n)
      .u64(page.size ?? BigInt(page.data.length))
      .u32(page.epoch ?? 0)
      .u32(page.location ?? 0)
      .part(page.metadata ?? [])
      .part(page.data);
  }
  return bytes.raw(tail).done();
}

/** The bytes that the deltas of an older log lead to, by page: ten obvious lines. */
export function oldStates(deltas: readonly OldDeltaSpec[]): Map<bigint, Uint8Array> {
  const sizes = new Map<bigint, number>(), states = new Map<bigint, Uint8Array>();
  for (const { page = 1n, flags } of deltas) {
    sizes.set(page, Math.max(1, flags.length, sizes.get(page) ?? 0));
  }
  for (const [page, size] of sizes) states.set(page, new Uint8Array(size));
  for (const { page = 1n, flags, payload, sparse } of deltas) {
    let packed = 0;
    Array.from(flags).forEach((flag, i) => {
      if (flag === 1) states.get(page)![i] = sparse === 1 ? payload[packed++] : payload[i];
    });
  }
  return states;
}
