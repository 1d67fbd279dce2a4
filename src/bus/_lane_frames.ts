/**
 * Lane frames: the frames of one tick, in one lane or over several.
 *
 * In one lane each batch is a frame. With workers the bodies of a large tick's frames are built by them, side
 * by side and in order, and the parts are given out as they are ready: whoever asks writes the first ones meanwhile.
 * The bytes are the same.
 *
 * In several lanes a batch's rows go to the lane of their page's shard, each lane's part as a frame of its own with the same
 * producer and sequence; whatever else a tick has goes to lane 0. So a page's rows stand in one lane as
 * long as it keeps its shard, in their order, and rows of one shard say nothing of the number of lanes. All
 * frames name the lanes that take part, which is known only once all rows are: so they are built last.
 *
 * Cost: with one lane nothing but a call, or a plan for the workers. With several a look at each row's shard, and a copy of the rows of
 * batches that touch more than one lane.
 */

import { alignUp, assert } from "../base/mod.ts";
import {
  FrameWriter,
  type LaneParts,
  type LaneSet,
  participantsOf,
  ROW_KIND,
  type RowFrame,
  type TickHeader,
} from "../log/mod.ts";
import {
  type KernelColumns,
  kernelColumns,
  KIND_MASKED,
  maskedPayloadBytes,
  type PageStore,
  ROW_BYTES,
} from "../physical/mod.ts";
import type { WorkerTeam } from "../propagation/mod.ts";
import { addToHi, addToLo } from "../temporal/mod.ts";

/** Bytes up to which a loop is faster than a block move with its two views. */
const COPIED_BY_LOOP_MAX = 96;

/** The rows of a frame that go to one lane. */
interface LaneRows {
  readonly lane: number;
  readonly frame: RowFrame;
}

/** HLC, next page id and next rule. */
type CommitContent = [hlcHi: number, hlcLo: number, nextPageId: number, nextRule: number];

/** Builds the frames of one tick. */
export class LaneFrames {
  readonly #set: LaneSet | undefined;
  readonly #store: PageStore;
  readonly #team: WorkerTeam | undefined;
  readonly #writers: readonly FrameWriter[];
  readonly #first: FrameWriter;
  #header: TickHeader | undefined;
  #waiting: LaneRows[] = [];
  #parts: (readonly Uint8Array[] | undefined)[] = [];
  /** The lane of each row at hand. */
  #lanes = new Uint8Array(0);

  /** What the commit row of a tick of one lane says, while its frames wait. */
  #commit: CommitContent = [0, 0, 0, 0];

  /** For the lanes that a set writes; pages have their shards from `store`, and large ticks are built by `team`. */
  constructor(set: LaneSet | undefined, store: PageStore, team?: WorkerTeam) {
    this.#set = set;
    this.#store = store;
    this.#team = team;
    this.#writers = Array.from({ length: set?.size ?? 1 }, () => new FrameWriter());
    this.#first = this.#writers[0];
  }

  /** Bytes of the room that frames are built in. */
  get roomBytes(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.roomBytes, this.#lanes.length);
  }

  /** Starts a tick; the header's lane, participants and synced position count for one lane only. */
  begin(header: TickHeader): void {
    this.#waiting = [];
    if (this.#writers.length === 1) return this.#first.begin(header);
    this.#header = header;
  }

  /**
   * Adds a frame of rows, which is split by lane if its rows are data. Its columns must stay as they are until the
   * tick is written.
   *
   * @throws {MmsbError} `limit` where there are more rows than a reader takes.
   */
  addRows(frame: RowFrame): void {
    if (this.#writers.length === 1) {
      if (this.#team === undefined) this.#first.addRows(frame);
      else this.#waiting.push({ lane: 0, frame });
    } else if (frame.rowKind === ROW_KIND.data) this.#split(frame);
    else this.#waiting.push({ lane: 0, frame });
  }

  /** Adds the commit row in every lane that takes part, and builds what waits for it. */
  addCommit(hlcHi: number, hlcLo: number, nextPageId: number, nextRule: number): void {
    if (this.#writers.length === 1) {
      this.#commit = [hlcHi, hlcLo, nextPageId, nextRule];
      if (this.#team === undefined) this.#first.addCommit(...this.#commit);
      return;
    }
    const lanes = [...new Set(this.#waiting.map(({ lane }) => lane))].sort((a, b) => a - b);
    // A tick without rows is a commit row by itself.
    if (lanes.length === 0) lanes.push(0);
    const participants = participantsOf(lanes), header = this.#header!;
    this.#parts = new Array(this.#writers.length);
    for (const lane of lanes) {
      const writer = this.#writers[lane];
      const syncedPosition = this.#set!.syncedPositionOf(lane);
      writer.begin({ ...header, lane, participants, syncedPosition });
      for (const { lane: own, frame } of this.#waiting) if (own === lane) writer.addRows(frame);
      writer.addCommit(hlcHi, hlcLo, nextPageId, nextRule);
      this.#parts[lane] = writer.finish();
    }
    this.#waiting = [];
  }

  /** The frames by lane, to be read once; good until the next `begin`. */
  finish(): LaneParts {
    if (this.#writers.length > 1) return this.#parts;
    const team = this.#team;
    if (team === undefined) return [this.#first.finish()];
    const frames = this.#waiting.map(({ frame }) => frame);
    const large = frames.filter((frame) => team.canBuild(frame));
    if (team.isWorthBuilding(large)) return [this.#build(team, frames, large)];
    for (const frame of frames) this.#first.addRows(frame);
    this.#first.addCommit(...this.#commit);
    return [this.#first.finish()];
  }

  /** The parts of one lane as they come: while workers build frames, whoever asks for these writes the first ones. */
  *#build(
    team: WorkerTeam,
    frames: readonly RowFrame[],
    large: readonly RowFrame[],
  ): Generator<Uint8Array> {
    const writer = this.#first, building = team.build(large);
    let index = 0, given = 0;
    try {
      for (const frame of frames) {
        const isLarge = frame === large[index];
        const built = isLarge ? building?.take(index++) : undefined;
        if (built === undefined) {
          writer.addRows(frame);
          continue;
        }
        writer.addBuilt(frame, built);
        for (const parts = writer.finish(); given < parts.length; given++) yield parts[given];
      }
      writer.addCommit(...this.#commit);
      for (const parts = writer.finish(); given < parts.length; given++) yield parts[given];
    } finally {
      building?.end();
    }
  }

  /**
   * What to reserve in each lane for a tick that is not built yet: as many bytes of data as an even spread gives,
   * and as many again. A segment that is too small for its part grows.
   *
   * @param structural Bytes on lane 0 beside data.
   * @param data Bytes of data in all lanes.
   */
  shares(structural: number, data: number): readonly number[] {
    const { length } = this.#writers;
    if (length === 1) return [structural + data];
    const share = Math.min(data, Math.ceil(2 * data / length));
    return this.#writers.map((_, lane) => lane === 0 ? structural + share : share);
  }

  /** Sets rows of data aside by lane, in order. */
  #split(frame: RowFrame): void {
    const { rows, columns } = frame;
    const { table } = this.#store, count = this.#writers.length;
    if (this.#lanes.length < rows) this.#lanes = new Uint8Array(alignUp(rows, 1024));
    const lanes = this.#lanes, counts = new Uint32Array(count);
    for (let row = 0; row < rows; row++) {
      const lane = table.shards[table.rowOf(columns.page[row] >>> 0)] % count;
      lanes[row] = lane;
      counts[lane]++;
    }
    let before = 0;
    for (let lane = 0; lane < count; lane++) {
      const own = counts[lane];
      if (own === 0) continue;
      if (own === rows) {
        this.#waiting.push({ lane, frame });
        return;
      }
      const part = partOf(frame, lanes, lane, own);
      const hlcHi = addToHi(frame.hlcHi, frame.hlcLo, before);
      const hlcLo = addToLo(frame.hlcLo, before);
      this.#waiting.push({ lane, frame: { ...part, hlcHi, hlcLo } });
      before += own;
    }
    assert(before === rows, "every row has a lane");
  }
}

/** The rows of one lane as a frame with columns of their own. */
function partOf(frame: RowFrame, lanes: Uint8Array, lane: number, count: number): RowFrame {
  const { columns, rows } = frame, picked = new Uint32Array(count + 1);
  const { page, offset, length, epoch, source, intent, kind } = columns;
  let at = 0, bytes = 0;
  // Without a branch, which would be guessed wrong every other time.
  for (let row = 0; row < rows; row++) {
    picked[at] = row;
    at += lanes[row] === lane ? 1 : 0;
  }
  for (let to = 0; to < count; to++) bytes += alignUp(payloadOf(columns, picked[to]), 8) + 8;
  // Rows may share their payload: then all of it is less than one for each.
  const isShared = bytes > frame.payloadLength + 16 * count;
  const capacity = alignUp(count, 8);
  const payload = isShared ? columns.payloadBytes : new Uint8Array(alignUp(bytes, 8));
  const own = kernelColumns(new ArrayBuffer(capacity * ROW_BYTES), capacity, payload);
  const timesUs = frame.timesUs === undefined ? undefined : new Float64Array(count);
  let end = 0;
  for (let to = 0; to < count; to++) {
    const row = picked[to], start = columns.start[row];
    own.page[to] = page[row];
    own.offset[to] = offset[row];
    own.length[to] = length[row];
    own.epoch[to] = epoch[row];
    own.source[to] = source[row];
    own.intent[to] = intent[row];
    own.kind[to] = kind[row];
    if (timesUs !== undefined) timesUs[to] = frame.timesUs![row];
    if (isShared) {
      own.start[to] = start;
      continue;
    }
    // As it was aligned, so it is again.
    const size = payloadOf(columns, row), place = alignUp(end, 8) + (start & 7);
    if (size <= COPIED_BY_LOOP_MAX) {
      for (let k = 0; k < size; k++) payload[place + k] = columns.payloadBytes[start + k];
    } else {
      payload.set(columns.payloadBytes.subarray(start, start + size), place);
    }
    own.start[to] = place;
    end = place + size;
  }
  const payloadLength = isShared ? frame.payloadLength : end;
  return { ...frame, rows: count, columns: own, timesUs, payloadLength };
}

function payloadOf({ kind, start, length, payloadBytes }: KernelColumns, row: number): number {
  if (kind[row] !== KIND_MASKED) return length[row];
  return maskedPayloadBytes(payloadBytes, start[row], length[row]);
}
