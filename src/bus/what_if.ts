/**
 * What if: the state that some of a log's deltas lead to.
 *
 * The pages' lives, edges, rules and marks are replayed as they were; each delta is shown to a predicate and applied if it
 * passes. Epochs count what is applied, so they are not those of the log.
 *
 * Cost: that of a replay, and an object a delta for the predicate to see, which is most of it.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import {
  decodeBirth,
  type DecodedRows,
  type DirectoryMeta,
  type FrameHeader,
  isEdgeRow,
  type LaneTick,
  LogReader,
  type LogTick,
  type Recovery,
  ROW_KIND,
  RowDecoder,
  type Storage,
  STRUCTURAL,
  StructureReplayer,
} from "../log/mod.ts";
import {
  ANY_STRINGS,
  applyRows,
  countEpochs,
  decodeMetadata,
  type KernelColumns,
  type PageStore,
  type Residency,
  resolve,
} from "../physical/mod.ts";
import { deltaOf, type FollowedDelta } from "./follow.ts";

/** Which deltas count. */
export interface SomeDeltas {
  /** The last tick that the store holds already. */
  readonly from: number;
  /** The last tick wanted. */
  readonly to: number;
  /** Whether a delta counts. */
  readonly keep: (delta: FollowedDelta) => boolean;
}

/**
 * Replays a log into a store, with those deltas that pass.
 *
 * @throws {MmsbError} `corrupt-log` where a row does not fit the pages, and what `keep` throws.
 */
export function replaySome(
  storage: Storage,
  meta: DirectoryMeta | undefined,
  store: PageStore,
  some: SomeDeltas,
): Recovery {
  const reader = new LogReader(storage, meta, { tickMax: some.to });
  const replay = new SomeReplay(store, some.keep);
  let hlcLast = 0n;
  for (let tick = reader.next(); tick !== undefined; tick = reader.next()) {
    for (const { commitFrame } of tick.lanes) {
      if (commitFrame.hlcLast > hlcLast) hlcLast = commitFrame.hlcLast;
    }
    if (tick.tick > some.from) replay.apply(tick);
  }
  const end = reader.end();
  return { tick: end.tick, hlcLast, rows: replay.rows, end };
}

class SomeReplay {
  rows = 0;
  readonly #store: PageStore;
  readonly #keep: SomeDeltas["keep"];
  readonly #structure: StructureReplayer;
  readonly #decoder = new RowDecoder();

  constructor(store: PageStore, keep: SomeDeltas["keep"]) {
    this.#store = store;
    this.#keep = keep;
    this.#structure = new StructureReplayer(store);
  }

  apply(tick: LogTick): void {
    this.#store.isMovable = !this.#store.isSeen;
    try {
      this.#tick(tick);
    } finally {
      this.#store.isMovable = false;
    }
  }

  #tick(tick: LogTick): void {
    const ends: (() => void)[] = [], deaths: number[] = [];
    this.#frames(tick, ROW_KIND.structural, (lane, frame, decoded) => {
      for (let row = 0; row < decoded.rows; row++) {
        this.#live(lane, frame, decoded, row, ends, deaths);
      }
    });
    for (const kind of [ROW_KIND.data, ROW_KIND.derived]) {
      this.#frames(tick, kind, (lane, frame, decoded) => this.#deltas(lane, frame, decoded));
    }
    for (const end of ends) {
      end();
      // A page that gets another size is held.
      this.#store.residency?.endTick();
    }
    this.#structure.apply(tick);
    for (const page of deaths) this.#store.remove(page);
    for (const { commit } of tick.lanes) {
      this.#store.nextPageId = Math.max(this.#store.nextPageId, commit.nextPageId);
      this.#store.nextRule = Math.max(this.#store.nextRule, commit.nextRule);
    }
  }

  #frames(
    tick: LogTick,
    kind: number,
    take: (lane: LaneTick, frame: FrameHeader, decoded: DecodedRows) => void,
  ): void {
    for (const lane of tick.lanes) {
      for (const frame of lane.frames) {
        if (frame.rowKind !== kind) continue;
        take(lane, frame, this.#decoder.decode(lane.segment, frame));
      }
    }
  }

  #deltas(lane: LaneTick, frame: FrameHeader, decoded: DecodedRows): void {
    const { columns } = decoded;
    let kept = 0;
    for (let row = 0; row < decoded.rows; row++) {
      if (!this.#keep(deltaOf(lane, frame, decoded, row))) continue;
      moveRow(columns, row, kept++);
    }
    if (kept === 0) return;
    const { table, arena, residency } = this.#store;
    if (residency !== undefined) return this.#someDeltas(decoded, kept, residency);
    const input = {
      columns,
      rows: kept,
      payloadLength: decoded.payloadEnd,
      strings: ANY_STRINGS,
    };
    const shape = resolve(input, table);
    countEpochs(columns, kept, table.epochs);
    applyRows(columns, kept, shape, arena);
    this.rows += kept;
  }

  /** The same where pages may be spilled: as many rows at a time as there is room for their pages. */
  #someDeltas({ columns, payloadEnd }: DecodedRows, rows: number, residency: Residency): void {
    const { table, arena } = this.#store;
    try {
      for (let first = 0; first < rows;) {
        const end = residency.holdSome(columns.page, first, rows), count = end - first;
        for (let row = first; row < end; row++) moveRow(columns, row, row - first);
        const input = { columns, rows: count, payloadLength: payloadEnd, strings: ANY_STRINGS };
        const shape = resolve(input, table);
        countEpochs(columns, count, table.epochs);
        applyRows(columns, count, shape, arena);
        residency.endTick();
        first = end;
      }
    } finally {
      residency.endTick();
    }
    this.rows += rows;
  }

  #live(
    lane: LaneTick,
    frame: FrameHeader,
    { columns, shards }: DecodedRows,
    row: number,
    ends: (() => void)[],
    deaths: number[],
  ): void {
    const store = this.#store;
    const page = columns.page[row] >>> 0, operation = columns.kind[row];
    if (isEdgeRow(operation)) return;
    const size = columns.offset[row] >>> 0, shard = shards?.[row] ?? 0;
    const start = columns.start[row];
    const payload = lane.segment.bytes.slice(start, start + columns.length[row]);
    const isBirth = operation === STRUCTURAL.createPage;
    if (isBirth !== (store.table.rowOf(page) === 0)) {
      throw new MmsbError(
        "corrupt-log",
        `Cannot replay tick ${frame.tick}: page ${page} ${
          isBirth ? "is born twice" : "is not there"
        }`,
        { values: { tick: frame.tick, page, path: lane.path, offset: frame.at } },
      );
    }
    if (isBirth) {
      const row = store.create(page, { size, shard, ...decodeBirth(payload) });
      store.table.setActive(row, true);
    } else if (operation === STRUCTURAL.deletePage) deaths.push(page);
    else if (operation === STRUCTURAL.resizePage) ends.push(() => store.resize(page, size));
    else if (operation === STRUCTURAL.migratePage) ends.push(() => store.migrate(page, shard));
    else if (operation === STRUCTURAL.setMetadata) {
      ends.push(() => store.setMetadata(page, decodeMetadata(payload)));
    }
  }
}

function moveRow(columns: KernelColumns, from: number, to: number): void {
  if (from === to) return;
  columns.page[to] = columns.page[from];
  columns.offset[to] = columns.offset[from];
  columns.length[to] = columns.length[from];
  columns.start[to] = columns.start[from];
  columns.kind[to] = columns.kind[from];
}
