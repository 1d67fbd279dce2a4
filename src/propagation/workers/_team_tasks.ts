/**
 * Team tasks: what a worker does of a plan, and the coordinator where no worker comes.
 *
 * Checking a block depends on nothing, so any thread takes the next one. A batch is decided by who checks its
 * last block; it is then put into its pages part by part, the parts' batches in order, while others go on
 * checking the next ones. With one part the thread runs the same loops as without workers; with more, blocks
 * leave their rows in order of parts, so that each part walks only its own.
 *
 * Measured (64-byte pages, 16-byte rows, 11 ns a row inline, of which checking is 6): sorting rows by part
 * costs 4 ns a row and walking them in that order 2 more, so two threads go as fast with one part as they can (the
 * one checks, the other applies), and parts pay from four threads on.
 */

import {
  ADDRESS_BYTES,
  applyPicked,
  applyRows,
  type Arena,
  type BatchShape,
  countEpochs,
  countPicked,
  isDoubtful,
  type KernelColumns,
  kernelColumns,
  memoryOf,
  PageTable,
  raiseEpochs,
  raisePicked,
  RECORD_SHIFT,
  resolve,
  type ResolveInput,
  shapeOf,
  type SharedArena,
  type SharedPages,
  surveyRows,
} from "../../physical/mod.ts";
import { MmsbError } from "../../base/mod.ts";
import { type BodyRoom, bodyRoom, planRows, writeBody } from "../../log/mod.ts";
import * as words from "./_team_words.ts";

const { BLOCK_ROWS, WORK, BATCH_STATE, BODY_STATE } = words;
/** Decided batches that are worth leaving the checking for: either work wants the caches for itself. */
const RIPE_BATCHES = 4;

interface PlannedBatch {
  readonly at: number;
  readonly input: ResolveInput;
  readonly columns: KernelColumns;
  readonly rows: number;
  readonly first: number;
  readonly blocks: number;
}

/** What a thread counts of its own work. */
export interface TaskCounts {
  /** Rows checked. */
  checked: number;
  /** Rows put into their pages. */
  applied: number;
  /** Rows whose frames it has built. */
  built: number;
  /** Tasks. */
  tasks: number;
}

/** Does tasks of plans on one thread. */
export class TeamTasks {
  /** What this thread has done. */
  readonly counts: TaskCounts = { checked: 0, applied: 0, built: 0, tasks: 0 };
  readonly #words: Int32Array;
  readonly #arena: SharedArena | Arena;
  readonly #table: PageTable;
  readonly #bufferOf: (number: number) => SharedArrayBuffer;
  readonly #catchUp: () => void;
  readonly #thread: number;
  #plan = 0;
  #work = 0;
  #parts = 1;
  #batches: PlannedBatch[] = [];
  #batchOfBlock = new Int32Array(0);
  #order: Int32Array = new Int32Array(0);
  #room: BodyRoom | undefined;
  readonly #partOfRow = new Uint8Array(BLOCK_ROWS);
  readonly #next = new Int32Array(words.PARTS_MAX);

  /** For a thread, a control block, and the pages of it; `bufferOf` gives a buffer by its number. */
  constructor(
    thread: number,
    control: Int32Array,
    pages: SharedPages,
    bufferOf: (number: number) => SharedArrayBuffer,
  ) {
    this.#thread = thread;
    this.#words = control;
    const memory = memoryOf(pages);
    this.#arena = memory.arena;
    this.#table = new PageTable(Math.floor(memory.arena.limitBytes / ADDRESS_BYTES), memory.table);
    this.#bufferOf = bufferOf;
    this.#catchUp = () => {
      memory.arena.catchUp();
      this.#table.catchUp();
    };
  }

  /**
   * Does one task, if there is one.
   *
   * @returns Whether there was.
   */
  step(): boolean {
    return this.#advance() || this.#checkBlock() || this.#buildBody();
  }

  /** Takes the next block and checks it. */
  #checkBlock(): boolean {
    const control = this.#words;
    if (Atomics.load(control, words.W_CURSOR) >= control[words.W_BLOCKS]) return false;
    const block = Atomics.add(control, words.W_CURSOR, 1);
    // The plan was written before its cursor was set back, so what was claimed is of this plan.
    this.#load();
    if (block >= this.#batchOfBlock.length) return false;
    const batch = this.#batches[this.#batchOfBlock[block]];
    const first = (block - batch.first) * BLOCK_ROWS;
    const end = Math.min(batch.rows, first + BLOCK_ROWS);
    const found = surveyRows(batch.input, this.#table, first, end);
    if (this.#parts > 1) this.#sort(batch, block, first, end);
    this.counts.checked += end - first;
    this.counts.tasks++;
    const { at } = batch;
    Atomics.or(control, at + words.B_KINDS, found.kinds);
    Atomics.or(control, at + words.B_SOURCES, found.strings);
    Atomics.or(control, at + words.B_DIFFERS, found.differs);
    Atomics.or(control, at + words.B_FINDINGS, found.findings);
    if (Atomics.add(control, at + words.B_CHECKED, 1) === batch.blocks - 1) this.#decide(batch);
    return true;
  }

  /** Takes the next batch of a plan of frames, and builds its body. */
  #buildBody(): boolean {
    const control = this.#words;
    if (Atomics.load(control, words.W_BUILD) >= control[words.W_BATCHES]) return false;
    const index = Atomics.add(control, words.W_BUILD, 1);
    this.#load();
    if (index >= this.#batches.length) return false;
    const batch = this.#batches[index], { at } = batch;
    const built = this.#writeBody(batch);
    this.counts.built += batch.rows;
    this.counts.tasks++;
    Atomics.store(control, at + words.B_BODY, built ? BODY_STATE.built : BODY_STATE.noRoom);
    if (Atomics.add(control, words.W_BUILT, 1) === this.#batches.length - 1) {
      Atomics.store(control, words.W_FINISHED, this.#plan);
    }
    Atomics.notify(control, words.W_BUILT);
    return true;
  }

  /** Builds the body of a batch's frame in the room; not where the room has not enough left. */
  #writeBody({ at, rows, columns, input }: PlannedBatch): boolean {
    const control = this.#words, room = this.#room!;
    const textBytes = control[at + words.B_TEXT_BYTES], text = 8 * control[at + words.B_TEXT];
    const stringBytes = textBytes === 0 ? undefined : room.bytes.subarray(text, text + textBytes);
    const { payloadLength } = input;
    const body = planRows({ rows, columns, epochs: true, payloadLength }, stringBytes);
    const units = body.bytes >>> 3;
    const first = Atomics.add(control, words.W_ROOM_USED, units);
    if (first + units > control[words.W_ROOM_UNITS]) return false;
    const check = writeBody(body, room, 8 * first);
    control[at + words.B_BODY_AT] = first;
    control[at + words.B_BODY_BYTES] = body.bytes;
    control[at + words.B_BODY_SECTIONS] = body.sections.length;
    control[at + words.B_BODY_CHECK] = check | 0;
    return true;
  }

  #decide(batch: PlannedBatch): void {
    const state = this.#isGood(batch) ? BATCH_STATE.accepted : BATCH_STATE.refused;
    Atomics.store(this.#words, batch.at + words.B_STATE, state);
    this.#tell();
  }

  #isGood({ at, input }: PlannedBatch): boolean {
    if (!isDoubtful(this.#surveyOf(at), input.strings)) return true;
    try {
      resolve(input, this.#table);
      return true;
    } catch (error) {
      if (error instanceof MmsbError) return false;
      throw error;
    }
  }

  #surveyOf(at: number) {
    const control = this.#words;
    return {
      kinds: control[at + words.B_KINDS],
      strings: control[at + words.B_SOURCES],
      differs: control[at + words.B_DIFFERS],
      findings: control[at + words.B_FINDINGS],
    };
  }

  /** The shape of a decided batch. */
  shapeOf(batch: number): BatchShape {
    this.#load();
    const { at, input } = this.#batches[batch];
    return shapeOf(this.#surveyOf(at), input);
  }

  /** Takes a part that can go on, and brings it as far as batches are decided. */
  #advance(): boolean {
    const control = this.#words, parts = control[words.W_PARTS];
    let done = false;
    for (let part = 0; part < parts; part++) {
      const at = words.partAt(part);
      if (!this.#canAdvance(at) || !this.#isTurn(at)) continue;
      if (Atomics.compareExchange(control, at + words.P_LOCK, 0, 1) !== 0) continue;
      // Somebody may have had it in between.
      if (this.#canAdvance(at)) {
        this.#load();
        Atomics.compareExchange(control, at + words.P_OWNER, 0, 1 + this.#thread);
        this.#bring(part, at);
        done = true;
      }
      Atomics.store(control, at + words.P_LOCK, 0);
      if (!done) continue;
      this.counts.tasks++;
      this.#tell();
      return true;
    }
    return false;
  }

  #canAdvance(at: number): boolean {
    const control = this.#words, next = Atomics.load(control, at + words.P_NEXT);
    if (next >= Atomics.load(control, words.W_BATCHES)) return false;
    return Atomics.load(control, words.batchAt(next) + words.B_STATE) !== BATCH_STATE.waiting;
  }

  /**
   * Whether this thread should leave the checking for a part: while there is anything to check, only who had
   * the part before, and only for several batches at once.
   */
  #isTurn(at: number): boolean {
    const control = this.#words;
    if (Atomics.load(control, words.W_CURSOR) >= control[words.W_BLOCKS]) return true;
    const owner = Atomics.load(control, at + words.P_OWNER);
    if (owner !== 0 && owner !== 1 + this.#thread) return false;
    const next = Atomics.load(control, at + words.P_NEXT);
    const last = Math.min(next + RIPE_BATCHES, Atomics.load(control, words.W_BATCHES)) - 1;
    const state = Atomics.load(control, words.batchAt(last) + words.B_STATE);
    return state !== BATCH_STATE.waiting;
  }

  #bring(part: number, at: number): void {
    const control = this.#words, count = this.#batches.length;
    while (this.#canAdvance(at)) {
      const next = control[at + words.P_NEXT], batch = this.#batches[next];
      if (control[batch.at + words.B_STATE] === BATCH_STATE.accepted) this.#put(batch, part);
      Atomics.store(control, at + words.P_NEXT, next + 1);
      if (next + 1 < count) continue;
      const ended = Atomics.add(control, words.W_PARTS_DONE, 1) + 1;
      if (ended === this.#parts) {
        Atomics.store(control, words.W_FINISHED, this.#plan);
        Atomics.notify(control, words.W_FINISHED);
      }
      // What stands there from here on may be of the next plan.
      return;
    }
  }

  /** Counts the epochs of a batch's rows in a part, and puts them into their pages, as the plan says. */
  #put(batch: PlannedBatch, part: number): void {
    const { columns, rows, at, input } = batch, work = this.#work;
    const { epochs } = this.#table, arena = this.#arena;
    if (this.#parts === 1) {
      if ((work & WORK.epochs) !== 0) {
        if ((work & WORK.noteEpochs) !== 0) raiseEpochs(columns, rows, epochs);
        else countEpochs(columns, rows, epochs);
      }
      if ((work & WORK.apply) === 0) return;
      applyRows(columns, rows, shapeOf(this.#surveyOf(at), input), arena);
      this.counts.applied += rows;
      return;
    }
    const order = this.#order, parts = this.#parts;
    const shape = shapeOf(this.#surveyOf(at), input);
    for (let block = batch.first; block < batch.first + batch.blocks; block++) {
      const starts = block * (parts + 1) + part;
      const from = order[starts], to = order[starts + 1];
      if (from === to) continue;
      if ((work & WORK.epochs) !== 0) {
        if ((work & WORK.noteEpochs) !== 0) raisePicked(columns, order, from, to, epochs);
        else countPicked(columns, order, from, to, epochs);
      }
      if ((work & WORK.apply) === 0) continue;
      applyPicked(columns, order, from, to, shape, arena);
      this.counts.applied += to - from;
    }
  }

  /** Puts the rows of a block in order of their parts. */
  #sort(batch: PlannedBatch, block: number, first: number, end: number): void {
    const { record } = batch.columns, { shards } = this.#table;
    const parts = this.#parts, order = this.#order, next = this.#next, partOfRow = this.#partOfRow;
    next.fill(0, 0, parts);
    for (let i = first; i < end; i++) {
      const part = shards[record[i] >> RECORD_SHIFT] % parts;
      partOfRow[i - first] = part;
      next[part]++;
    }
    const starts = block * (parts + 1);
    let at = this.#batchOfBlock.length * (parts + 1) + block * BLOCK_ROWS;
    for (let part = 0; part < parts; part++) {
      const count = next[part];
      order[starts + part] = at;
      next[part] = at;
      at += count;
    }
    order[starts + parts] = at;
    for (let i = first; i < end; i++) order[next[partOfRow[i - first]]++] = i;
  }

  /** Tells sleepers that something can be done. */
  #tell(): void {
    Atomics.add(this.#words, words.W_PROGRESS, 1);
    Atomics.notify(this.#words, words.W_PROGRESS);
  }

  /** Reads the plan, if it is another one than the last. */
  #load(): void {
    const control = this.#words, plan = Atomics.load(control, words.W_PLAN);
    if (plan === this.#plan) return;
    this.#plan = plan;
    this.#work = control[words.W_WORK];
    this.#parts = control[words.W_PARTS];
    this.#catchUp();
    const order = control[words.W_ORDER];
    if (order !== 0) this.#order = new Int32Array(this.#bufferOf(order));
    const room = control[words.W_ROOM];
    this.#room = room === 0 ? undefined : bodyRoom(this.#bufferOf(room));
    this.#batches = Array.from({ length: control[words.W_BATCHES] }, (_, batch) => {
      return this.#batchOf(words.batchAt(batch));
    });
    const last = this.#batches[this.#batches.length - 1];
    this.#batchOfBlock = new Int32Array(last.first + last.blocks);
    this.#batches.forEach(({ first, blocks }, batch) => {
      this.#batchOfBlock.fill(batch, first, first + blocks);
    });
  }

  #batchOf(at: number): PlannedBatch {
    const control = this.#words, rows = control[at + words.B_ROWS];
    const buffer = this.#bufferOf(control[at + words.B_BUFFER]);
    const pool = new Uint8Array(
      buffer,
      control[at + words.B_POOL],
      control[at + words.B_POOL_BYTES],
    );
    const columns = kernelColumns(buffer, control[at + words.B_CAPACITY], pool);
    const payloadLength = control[at + words.B_PAYLOAD], strings = control[at + words.B_STRINGS];
    return {
      at,
      input: { columns, rows, payloadLength, strings },
      columns,
      rows,
      first: control[at + words.B_FIRST],
      blocks: control[at + words.B_BLOCKS],
    };
  }
}
