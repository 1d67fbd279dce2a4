/**
 * Verify: reads every byte of a log and checks everything that can be checked without replaying it.
 *
 * Checksums, segments and frames in order, ticks without gaps, commit rows that fit, time that
 * rises, sequences of producers, pages that are born before they change and never after they died,
 * spans inside pages, epochs that rise by one for each delta. It is written apart from recovery and
 * replay, so that it finds what they would miss; a fault never ends it. What is damaged and what is
 * only a torn tail is told apart by the evidence that recovery uses.
 *
 * Cost: the log is read and decoded once; a second time where damage was found, because a
 * log that is being written can look damaged for a moment.
 *
 * @module
 */

import { MmsbError } from "../base/mod.ts";
import { findMeta, holderOf, lanesOf, openDirectory, settle } from "./_directory.ts";
import { LaneWalk, type WalkedTick } from "./_lane_walk.ts";
import { PageLedger } from "./_page_ledger.ts";
import { type StructureChange, structureChanges, StructureLedger } from "./_structure_ledger.ts";
import { auditCheckpoints } from "./checkpoint_audit.ts";
import { readSettled } from "./compaction_switch.ts";
import { faultKey, type LogFault, type LogFaultName } from "./fault.ts";
import { ROW_KIND, ROW_KIND_NAMES } from "./format.ts";
import { type DecodedRows, type FrameHeader, isDeltas, RowDecoder } from "./frame_reader.ts";
import { framesOf, LaneProof, participantsHex } from "./log_reader.ts";
import { META_PATH } from "./meta.ts";
import type { Storage } from "./storage.ts";

/** What checking a log found. */
export interface LogAudit {
  /** Frames whose checksums fit. */
  readonly frames: number;
  /** Deltas in all frames that could be counted, whole or not. */
  readonly deltas: number;
  /** Deltas without any fault. */
  readonly validDeltas: number;
  /** Deltas whose page was never born, or was deleted before. */
  readonly orphans: number;
  /** Structural rows: births, deaths, metadata. */
  readonly structural: number;
  /** Bytes of the files that were read. */
  readonly bytes: number;
  /** Segments. */
  readonly segments: number;
  /** Ticks that were found, whole or not. */
  readonly ticks: number;
  /** Last of them, 0 for none. */
  readonly lastTick: number;
  /** Pages that live after it. */
  readonly pages: number;
  /**
   * Numbers that producers left out. A refused batch leaves its number out, so a gap is no fault of
   * the log.
   */
  readonly sequenceGaps: number;
  /** Checkpoints that are good. */
  readonly checkpoints: number;
  /** Ticks up to this one are in checkpoints only, as the log's beginning was dropped; 0 for none. */
  readonly tickBase: number;
  /** All that is wrong, lane by lane in the order of the log. */
  readonly problems: readonly LogFault[];
}

/** Options of {@linkcode auditLog} and {@linkcode verifyLog}. */
export interface AuditOptions {
  /** Told how far the work is, in words. */
  readonly progress?: (text: string) => void;
}

/** Problems that are kept; a log with more is not made clearer by them. */
const PROBLEMS_MAX = 10_000;
/** Ticks between two words of progress. */
const PROGRESS_TICKS = 256;

/**
 * Checks a log that nobody is writing.
 *
 * @param storage Where it is.
 * @param options Progress.
 * @returns What was found.
 * @throws {MmsbError} `version` where a newer MMSB wrote it, `io` where files cannot be read.
 *
 * @example An empty bus
 * ```ts
 * import assert from "node:assert/strict";
 * import { MemoryStorage } from "./memory_storage.ts";
 * import { writeMeta } from "./meta.ts";
 *
 * const storage = new MemoryStorage();
 * writeMeta(storage, { format: 1, shards: 24, incarnation: 0, lanes: [], closed: null });
 * assert.deepEqual(auditLog(storage).problems, []);
 * ```
 */
export function auditLog(storage: Storage, options: AuditOptions = {}): LogAudit {
  return readSettled(
    storage,
    () => findMeta(storage).meta,
    (view) => new Audit(view, options).run(),
    ({ problems }) => problems.every(({ kind }) => kind !== "damage"),
  );
}

/**
 * Checks the log of a directory, which may be in use.
 *
 * @param directory The directory; it is only read.
 * @param options Progress.
 * @returns What was found; faults are given, not thrown.
 * @throws {MmsbError} `usage` where it is no data directory, `version` where a newer MMSB wrote it,
 * `io` where files cannot be read.
 */
export async function verifyLog(directory: string, options: AuditOptions = {}): Promise<LogAudit> {
  const storage = openDirectory(directory);
  // A turn for whoever shows progress.
  await Promise.resolve();
  const { reading, damage } = settle(
    () => auditLog(storage, options),
    ({ problems }) => problems.filter(({ kind }) => kind === "damage").map(faultKey),
  );
  const holder = holderOf(storage);
  const problems = reading.problems
    .filter((problem) => problem.kind === "torn" || damage.has(faultKey(problem)))
    .map((problem) =>
      problem.kind === "torn" && holder !== undefined
        ? {
          ...problem,
          message: `${problem.message} (process ${holder} has it open, or was killed)`,
        }
        : problem
    );
  return { ...reading, problems };
}

/** A rule that made rows and was not bound before their tick. */
interface UnboundRule {
  readonly number: number;
  readonly sink: (fault: LogFaultName, message: string) => void;
}

class Audit {
  readonly #storage: Storage;
  readonly #progress: (text: string) => void;
  readonly #problems: LogFault[] = [];
  readonly #decoder = new RowDecoder();
  readonly #sequences = new Map<number, { incarnation: number; sequence: number }>();
  #ledger = new PageLedger(0);
  readonly #structure = new StructureLedger((page) => this.#ledger.lives(page));
  #deltas = 0;
  #bad = 0;
  #orphans = 0;
  #structural = 0;
  #ticks = 0;
  #lastTick = 0;
  #hlcLast = 0n;
  #nextPageId = 0;
  #nextRule = 1;
  #graphVersion = 0;
  #gaps = 0;
  /** Ticks up to here are merged or gone, and with them the producers' sequences. */
  #horizon = 0;

  constructor(storage: Storage, options: AuditOptions) {
    this.#storage = storage;
    this.#progress = options.progress ?? (() => {});
  }

  run(): LogAudit {
    const { meta, fault } = findMeta(this.#storage);
    if (fault !== undefined) this.#damage("meta", META_PATH, 0, fault);
    this.#ledger = new PageLedger(meta?.shards ?? 0);
    const lanes = new Set([...lanesOf(this.#storage), ...(meta?.lanes ?? []).map((l) => l.lane)]);
    const walks = [...lanes].sort((a, b) => a - b).map((lane) => {
      const known = meta?.lanes.find((known) => known.lane === lane);
      const begin = meta?.base?.lanes.find((place) => place.lane === lane);
      return new LaneWalk(this.#storage, lane, known, (problem) => this.#report(problem), begin);
    });
    const tickBase = meta?.base?.tick ?? 0;
    this.#lastTick = tickBase;
    this.#horizon = meta?.base?.horizon ?? 0;
    // The births before the log's beginning are in a checkpoint: pages are believed at first sight.
    if (this.#lastTick > 0) this.#lose();
    this.#merge(walks, meta?.closed?.tick ?? 0);
    const incarnation = Math.max(0, ...walks.map((walk) => walk.incarnation));
    if (meta !== undefined && meta.incarnation < incarnation) {
      const message = `its incarnation is ${meta.incarnation}, that of a segment is ${incarnation}`;
      this.#damage("meta", META_PATH, 0, message);
    }
    const closed = meta?.closed ?? undefined;
    if (this.#problems.length === 0 && closed !== undefined && closed.tick !== this.#lastTick) {
      const message =
        `it was closed after tick ${closed.tick}, the lanes end with ${this.#lastTick}`;
      this.#damage("meta", META_PATH, 0, message);
    }
    const checkpoints = auditCheckpoints(this.#storage, meta, (path, tick, message) => {
      this.#damage("checkpoint", path, 0, message, tick);
    });
    const sum = (of: (walk: LaneWalk) => number) => walks.reduce((all, walk) => all + of(walk), 0);
    return {
      frames: sum((walk) => walk.frames),
      deltas: this.#deltas,
      validDeltas: this.#deltas - this.#bad,
      orphans: this.#orphans,
      structural: this.#structural,
      bytes: sum((walk) => walk.bytes),
      segments: sum((walk) => walk.segments),
      ticks: this.#ticks,
      lastTick: this.#lastTick,
      pages: this.#ledger.living,
      sequenceGaps: this.#gaps,
      checkpoints,
      tickBase,
      problems: this.#problems,
    };
  }

  /** Takes the ticks of all lanes in order. */
  #merge(walks: readonly LaneWalk[], durable: number): void {
    const proofs = walks.map(() => new LaneProof());
    const next = (index: number) => {
      const head = walks[index].next();
      if (head?.commit !== undefined) {
        proofs[index].take({ ...head, commitFrame: head.commit.frame });
      }
      return head;
    };
    // A tick that one lane lacks was torn off it, unless another lane shows that it was durable.
    const wasDurable = (tick: number) => {
      if (heads.every((head) => head !== undefined) || tick <= durable) return true;
      for (let index = 0; index < walks.length; index++) while (next(index) !== undefined);
      return proofs.some((proof) => proof.tick >= tick);
    };
    const heads = walks.map((_, index) => next(index));
    for (;;) {
      const present = heads.filter((head) => head !== undefined);
      if (present.length === 0) return;
      const tick = Math.min(...present.map((head) => head.tick));
      const lanes = present.filter((head) => head.tick === tick);
      if (!this.#isWhole(tick, lanes, walks, wasDurable)) return;
      this.#tick(tick, lanes);
      heads.forEach((head, index) => {
        if (head?.tick === tick) heads[index] = next(index);
      });
    }
  }

  /** Whether every lane has the tick that took part in it; `false` where the log ends in it. */
  #isWhole(
    tick: number,
    lanes: readonly WalkedTick[],
    walks: readonly LaneWalk[],
    wasDurable: (tick: number) => boolean,
  ): boolean {
    const committed = lanes.filter((lane) => lane.commit !== undefined);
    if (committed.length === 0 || lanes.some(({ isLossy }) => isLossy)) return true;
    const present = participantsHex(lanes.map(({ lane }) => lane));
    const absent = committed.find((lane) => lane.commit!.frame.participants !== present);
    const due = this.#lastTick + 1, isMissing = tick - committed[0].commit!.frame.span > due;
    if (absent === undefined && (!isMissing || walks.length === 1 || wasDurable(due))) return true;
    const { path } = absent ?? committed[0], { frame } = (absent ?? committed[0]).commit!;
    const message = absent === undefined
      ? `tick ${due} is missing before tick ${tick}`
      : `tick ${tick} is not whole: not every lane that took part has it`;
    const isTorn = walks.some((walk) => walk.isTorn) || !wasDurable(tick);
    const fault = isTorn ? "commit" : "frame-place";
    this.#report({
      kind: isTorn ? "torn" : "damage",
      fault,
      file: path,
      offset: frame.at,
      tick,
      message,
    });
    return !isTorn;
  }

  #tick(tick: number, lanes: readonly WalkedTick[]): void {
    let isLossy = lanes.some((lane) => lane.isLossy);
    // A merged tick stands for earlier ones as well.
    const begin = tick - Math.max(0, ...lanes.map((lane) => lane.commit?.frame.span ?? 0));
    if (!isLossy && begin !== this.#lastTick + 1) {
      const [lane] = lanes;
      const first = this.#lastTick + 1, last = begin - 1;
      const missing = first === last ? `tick ${first} is` : `ticks ${first} to ${last} are`;
      const at = lane.frames[0]?.at ?? lane.commit?.frame.at ?? 0;
      this.#damage("tick-missing", lane.path, at, `${missing} missing before tick ${tick}`, tick);
      isLossy = true;
    }
    if (isLossy) this.#lose();
    this.#ticks++;
    this.#lastTick = tick;
    if (this.#ticks % PROGRESS_TICKS === 0) {
      this.#progress(`tick ${tick}, ${this.#deltas} deltas checked`);
    }
    let hlcLast = this.#hlcLast;
    for (const lane of lanes) {
      this.#deltas += lane.rowsLost;
      this.#bad += lane.rowsLost;
      const last = this.#headers(lane);
      if (last > hlcLast) hlcLast = last;
    }
    this.#hlcLast = hlcLast;
    this.#batches(lanes, isLossy);
    this.#rows(lanes, ROW_KIND.structural, (lane, frame, decoded) => {
      this.#structural += decoded.rows;
      this.#ledger.births(decoded, lane.segment.bytes, this.#sink(lane, frame));
    });
    const unbound: UnboundRule[] = [];
    for (const kind of [ROW_KIND.data, ROW_KIND.derived]) {
      this.#rows(lanes, kind, (lane, frame, decoded) => {
        const { bytes } = lane.segment;
        const sink = this.#sink(lane, frame);
        // What was lost may stand before this frame or after it.
        if (isLossy) this.#lose();
        if (kind === ROW_KIND.derived) this.#noteRules(decoded, tick, sink, unbound);
        const { bad, orphans } = this.#ledger.deltas(decoded, frame, bytes, tick, sink);
        this.#bad += bad;
        this.#orphans += orphans;
      });
    }
    this.#structureOf(lanes);
    for (const { number, sink } of unbound) {
      if (!this.#structure.mayBeBound(number)) {
        sink("structure", `its rows were made by rule ${number}, which is not bound`);
      }
    }
    this.#rows(lanes, ROW_KIND.structural, (lane, frame, decoded) => {
      const sink = this.#sink(lane, frame);
      this.#ledger.changes(decoded, lane.segment.bytes, tick, sink, (page) => {
        this.#structure.removePage(page);
      });
    }, true);
    for (const lane of lanes) this.#commit(lane);
    if (isLossy) this.#lose();
  }

  #lose(): void {
    this.#ledger.lose();
    this.#structure.lose();
  }

  /** Notes the rules of derived rows that are not bound before the tick: they must be after it. */
  #noteRules(
    { rules }: DecodedRows,
    tick: number,
    sink: (fault: LogFaultName, message: string) => void,
    unbound: UnboundRule[],
  ): void {
    // A merged row may be of a rule that was unbound before the horizon.
    if (rules === undefined || tick <= this.#horizon) return;
    for (const rule of new Set(rules)) {
      const number = rule >>> 0;
      if (number !== 0 && !this.#structure.mayBeBound(number)) unbound.push({ number, sink });
    }
  }

  /** Takes the edges, rules and marks of a tick. */
  #structureOf(lanes: readonly WalkedTick[]): void {
    const changes: (StructureChange & { sink: (fault: LogFaultName, message: string) => void })[] =
      [];
    for (const kind of [ROW_KIND.structural, ROW_KIND.rule, ROW_KIND.mark]) {
      this.#rows(lanes, kind, (lane, frame, decoded) => {
        const sink = this.#sink(lane, frame);
        for (const change of structureChanges(lane.segment, frame, decoded)) {
          changes.push({ ...change, sink });
        }
      }, kind === ROW_KIND.structural);
    }
    this.#structure.apply(changes, ({ sink }, message) => sink("structure", message));
  }

  /** Checks what frames say of time and graph; gives the largest time. */
  #headers(lane: WalkedTick): bigint {
    let last = this.#hlcLast, isOlder = false;
    for (
      const frame of [...lane.frames, ...(lane.commit === undefined ? [] : [lane.commit.frame])]
    ) {
      const sink = this.#sink(lane, frame);
      if (frame.hlcFirst <= last) sink("time", `time ${frame.hlcFirst} comes after ${last}`);
      if (frame.hlcLast !== frame.hlcFirst + BigInt(Math.max(0, frame.rows - 1))) {
        sink("time", `${frame.rows} rows go from time ${frame.hlcFirst} to ${frame.hlcLast}`);
      }
      if (frame.hlcLast > last) last = frame.hlcLast;
      if (ROW_KIND_NAMES[frame.rowKind] === undefined) {
        sink("columns", `row kind ${frame.rowKind} is not known`);
        // Whatever its rows did is not known either.
        this.#lose();
      }
      // All frames of a tick say the same: one fault is enough.
      if (frame.graphVersion < this.#graphVersion && !isOlder) {
        sink("structure", `graph version ${frame.graphVersion} follows ${this.#graphVersion}`);
        isOlder = true;
      }
      this.#graphVersion = Math.max(this.#graphVersion, frame.graphVersion);
    }
    return last;
  }

  /** Checks the numbers of batches, of which each lane may have a part. */
  #batches(lanes: readonly WalkedTick[], isLossy: boolean): void {
    let before: FrameHeader | undefined;
    for (const { lane, frame } of framesOf(lanes)) {
      if (frame.rowKind !== ROW_KIND.data) continue;
      const isPart = before !== undefined && before.lane !== frame.lane &&
        before.producer === frame.producer && before.sequence === frame.sequence;
      if (!isPart) this.#sequence(frame, isLossy, this.#sink(lane, frame));
      before = frame;
    }
  }

  #sequence(
    frame: FrameHeader,
    isLossy: boolean,
    sink: (fault: LogFaultName, message: string) => void,
  ): void {
    const { producer, sequence, incarnation } = frame;
    // A merged frame is nobody's batch.
    if (frame.tick <= this.#horizon || sequence === 0) return;
    const before = this.#sequences.get(producer);
    this.#sequences.set(producer, { incarnation, sequence });
    const isNew = before === undefined || before.incarnation !== incarnation;
    const last = isNew ? 0 : before.sequence;
    // A writer may count on from the one before it.
    const goesOn = before !== undefined && sequence === before.sequence + 1;
    const isUnknown = before === undefined && this.#horizon > 0;
    if (sequence === last + 1 || goesOn || isLossy || isUnknown) return;
    if (sequence <= last) {
      sink("sequence", `producer ${producer} goes from sequence ${last} back to ${sequence}`);
    } else if (producer === 0) {
      // The caller's own batch takes its number only when it is accepted.
      sink("sequence", `the open batch goes from sequence ${last} to ${sequence}`);
    } else {
      this.#gaps += sequence - last - 1;
    }
  }

  #commit(lane: WalkedTick): void {
    if (lane.commit === undefined) return;
    const { nextPageId, nextRule, frame } = lane.commit;
    const sink = this.#sink(lane, frame);
    const { ruleMax } = this.#structure;
    if (nextRule <= ruleMax) {
      sink("commit", `the next rule is ${nextRule}, rule ${ruleMax} was bound`);
    } else if (nextRule < this.#nextRule) {
      sink("commit", `the next rule falls from ${this.#nextRule} to ${nextRule}`);
    }
    this.#nextRule = Math.max(this.#nextRule, nextRule);
    if (nextPageId <= this.#ledger.idMax) {
      sink("commit", `the next page id is ${nextPageId}, page ${this.#ledger.idMax} is there`);
    } else if (nextPageId < this.#nextPageId) {
      sink("commit", `the next page id falls from ${this.#nextPageId} to ${nextPageId}`);
    }
    this.#nextPageId = Math.max(this.#nextPageId, nextPageId);
  }

  /** Decodes the frames of one kind; a second time, what cannot be decoded was told already. */
  #rows(
    lanes: readonly WalkedTick[],
    kind: number,
    take: (lane: WalkedTick, frame: FrameHeader, decoded: DecodedRows) => void,
    isSecond = false,
  ): void {
    for (const lane of lanes) {
      for (const frame of lane.frames) {
        if (frame.rowKind !== kind) continue;
        const isData = isDeltas(kind);
        if (isData) this.#deltas += frame.rows;
        let decoded: DecodedRows;
        try {
          decoded = this.#decoder.decode(lane.segment, frame);
        } catch (error) {
          if (!(error instanceof MmsbError)) throw error;
          if (isSecond) continue;
          this.#sink(lane, frame)("columns", error.message);
          if (isData) this.#bad += frame.rows;
          this.#lose();
          continue;
        }
        take(lane, frame, decoded);
      }
    }
  }

  #sink(lane: WalkedTick, frame: FrameHeader): (fault: LogFaultName, message: string) => void {
    return (fault, message) => this.#damage(fault, lane.path, frame.at, message, lane.tick);
  }

  #damage(fault: LogFaultName, file: string, offset: number, message: string, tick?: number): void {
    this.#report({ kind: "damage", fault, file, offset, tick, message });
  }

  #report(problem: LogFault): void {
    if (this.#problems.length < PROBLEMS_MAX) this.#problems.push(problem);
  }
}
