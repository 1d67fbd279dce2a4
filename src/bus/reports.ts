/**
 * Reports: what the bus tells of ticks, openings and checks, and what it is told of pages.
 *
 * @module
 */

import type { MmsbError } from "../base/mod.ts";
import type { CheckpointReport, RecoveredCheckpoint } from "../log/mod.ts";
import type { AllocatorStatistics, MetadataInput } from "../physical/mod.ts";
import type {
  CostEstimate,
  PhaseStatistics,
  TickStatistics,
  WorkerStatistics,
} from "../propagation/mod.ts";
import type { EventStatistics } from "./_events.ts";
import type { TransactionStatistics } from "./_transactions.ts";
import type { ClockKind } from "../temporal/sources/clock_source.ts";
import type { StoreDifference } from "./compare.ts";
import type { DeviceReport, DeviceStatistics } from "./device.ts";
import type { Durability } from "./options.ts";

/** What a page is created with. */
export interface PageOptions {
  /** Bytes, 1 to 16 MiB. Default 4096. */
  readonly size?: number;
  /** Name, by which `bus.find` finds it; unique among live pages. */
  readonly name?: string;
  /** Metadata: short strings to bytes. */
  readonly metadata?: MetadataInput;
  /** Shard. Default: by id, round robin. */
  readonly shard?: number;
}

/** Acknowledgement of a tick. */
export interface TickAcknowledgement {
  /** Tick. */
  readonly tick: number;
  /** How durable it is. */
  readonly durability: Durability;
}

/** Acknowledgement of a submitted batch. */
export interface BatchReceipt extends TickAcknowledgement {
  /** Rows applied. */
  readonly rows: number;
  /** Producer. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
}

/** A batch that a tick refused. */
export interface RefusedBatch {
  /** Producer; 0 is the caller's own open batch. */
  readonly producer: number;
  /** The producer's sequence number. */
  readonly sequence: number;
  /** Why. */
  readonly error: MmsbError;
}

/** Milliseconds of each phase of a tick. */
export interface TickPhases {
  /** Admitting and checking batches, assigning epochs. */
  readonly ingest: number;
  /** Building frames and writing them. */
  readonly log: number;
  /** Writing rows into pages. */
  readonly apply: number;
  /** Waves of rules. */
  readonly propagate: number;
  /** Invariants. */
  readonly check: number;
  /** The rest: structural changes, acknowledgements, events. */
  readonly publish: number;
  /** Work of checkpoints that was done beside the ticks, since the tick before; no part of this one. */
  readonly maintain: number;
}

/** What a tick did. */
export interface TickReport {
  /** Its number; the last tick's where nothing was accepted. */
  readonly tick: number;
  /** Rows applied. */
  readonly rows: number;
  /** Rows that rules made: spans of their outputs that changed. */
  readonly derived: number;
  /** Rules run. */
  readonly fired: number;
  /** Batches applied. */
  readonly batches: number;
  /** Batches refused; their receipts say the same. */
  readonly refused: readonly RefusedBatch[];
  /** Where the time went. */
  readonly phasesMs: TickPhases;
  /** Batches left for the next tick, because this one would have passed its budget with them. */
  readonly carriedOver: number;
  /** Their rows. */
  readonly carriedOverRows: number;
  /** Milliseconds above the tick's budget, 0 if it was kept. */
  readonly overBudgetMs: number;
  /** Hybrid logical timestamp of the commit. */
  readonly hlc: bigint;
  /**
   * How far true time is from the tick's timestamps at most, either way, in whole µs; 2^32−1 where that is unknown. It is
   * the clock's bound at the commit, and by how much the timestamps are ahead of the clock.
   */
  readonly clockErrorUs: number;
  /** Settles when the tick has the bus's durability; rejects if it cannot get it. */
  readonly durable: Promise<TickAcknowledgement>;
}

/** Counts of a bus. */
export interface BusStatistics {
  /** Last tick. */
  readonly tick: number;
  /** Pages. */
  readonly pages: number;
  /** Bytes of the slots of pages in memory. */
  readonly pageBytes: number;
  /** Bytes of bookkeeping: the page table's columns. */
  readonly bookkeepingBytes: number;
  /** The slots. */
  readonly allocator: AllocatorStatistics;
  /** Rows applied since the bus was opened. */
  readonly rows: number;
  /** Batches refused since the bus was opened. */
  readonly refused: number;
  /** Batches waiting for a tick. */
  readonly queued: number;
  /** Rows staged for the next tick. */
  readonly staged: number;
  /** Bytes of the log, 0 in memory. */
  readonly logBytes: number;
  /** Bytes of the log that are not known to be durable. */
  readonly unsyncedBytes: number;
  /** When ticks are acknowledged. */
  readonly durability: Durability;
  /** Number of this opening of the directory; 0 in memory. */
  readonly incarnation: number;
  /** Checkpoints; only of a bus that writes to a directory. */
  readonly checkpoints?: CheckpointStatistics;
  /** How long ticks and their phases took, since the bus was opened or reset. */
  readonly phases: PhaseStatistics;
  /** What ticks did. */
  readonly ticks: TickStatistics;
  /** What the budget believes that rows and rules cost. */
  readonly cost: CostEstimate;
  /** Subscribers and what they missed. */
  readonly events: EventStatistics;
  /** Transactions. */
  readonly transactions: TransactionStatistics;
  /** The clock that ticks are stamped from; only of a bus that writes. */
  readonly clock?: BusClockStatistics;
  /** What each worker did; only where there are any. */
  readonly workers?: readonly WorkerStatistics[];
  /** For each thread that runs rules from modules the runs so far; only where there are such threads. */
  readonly ruleRuns?: readonly number[];
  /** The GPU; only where `device` was `gpu` or `auto`. */
  readonly device?: DeviceStatistics;
}

/** The clock of a bus. */
export interface BusClockStatistics {
  /** Name of the source of time; `given` where the clock is none. */
  readonly source: string;
  /** Where its time comes from; `given` where the clock is no source. */
  readonly kind: ClockKind | "given";
  /** How wrong the clock may be now, either way, in µs; Infinity where that is unknown. */
  readonly errorUs: number;
  /** By how much the last tick's timestamps were ahead of the clock, in ms: they go on rising while a clock that was set back catches up. */
  readonly aheadMs: number;
  /** Readings that were no time (NaN, negative) and were ignored. */
  readonly ignoredReadings: number;
  /**
   * Steps of the clock from tick to tick that the thread's steady time (or the clock's `monotonicMs`) did not take. Of a clock
   * that is no source and has no `monotonicMs` only steps back are known.
   */
  readonly jumps: {
    /** Steps forward, of more than 100 ms. */
    readonly forward: number;
    /** Steps backward, of more than 1 ms. */
    readonly backward: number;
    /** The last one in ms, negative if it was backward; 0 if there was none. */
    readonly lastMs: number;
  };
}

/** The checkpoints of a bus. */
export interface CheckpointStatistics {
  /** Ticks of those that are there, oldest first. */
  readonly ticks: readonly number[];
  /** Whether one is being made. */
  readonly running: boolean;
  /** The last one that this bus made, `undefined` for none. */
  readonly last: CheckpointReport | undefined;
  /** Why the last try failed, `undefined` where it did not. */
  readonly failure: string | undefined;
  /** First tick of the log that is there. */
  readonly logFirst: number;
  /** States before this tick cannot be had any more; 0 where all can. */
  readonly horizon: number;
}

/** Where pages live, where `arena: "mmap"` was asked for. */
export interface ArenaReport {
  /** `mmap`, or `shared` where a mapped file could not be had. */
  readonly kind: "shared" | "mmap";
  /** Whether the pages were there already: of a writer that closed cleanly, or of the one attached to. */
  readonly adopted: boolean;
  /** Why it is not as was asked, or why the pages were made anew; "" where there is nothing to say. */
  readonly reason: string;
}

/** What opening found in the directory. */
export interface OpenReport {
  /** Last whole tick. */
  readonly tick: number;
  /** Rows replayed. */
  readonly rows: number;
  /** `whole`; `torn`: an unsynced tail was cut; `damaged`: read-only, what is whole was read. */
  readonly state: "whole" | "torn" | "damaged";
  /** What was found, in words. */
  readonly reason: string;
  /** Where pages live; only where `arena: "mmap"` was asked for. */
  readonly arena?: ArenaReport;
  /** Threads beside this one; only where `workers` were asked for. */
  readonly workers?: WorkersReport;
  /** The GPU; only where `device` was `gpu` or `auto`. */
  readonly device?: DeviceReport;
  /** The source of time that ticks are stamped from; only of a bus that writes, and whose clock is a source. */
  readonly clock?: ClockReport;
  /** The checkpoint that was used; absent where the whole log was replayed. */
  readonly checkpoint?: RecoveredCheckpoint;
  /** Checkpoints that could not be used, and why; absent where there were none. */
  readonly passedOver?: readonly RecoveredCheckpoint[];
}

/** The source of time of a bus when it was opened. */
export interface ClockReport {
  /** Its name. */
  readonly source: string;
  /** Where its time comes from. */
  readonly kind: ClockKind;
  /** Whether somebody vouches for its time. */
  readonly synchronised: boolean;
  /** How wrong it may be, either way, in µs; Infinity where it has no time. */
  readonly errorUs: number;
  /** By how much the last timestamp of the log is ahead of it, in ms: timestamps go on from there until it has caught up. */
  readonly aheadMs: number;
  /** Why it is not better, in words: no permission, nobody who vouches for it; empty where there is nothing to say. */
  readonly reason: string;
}

/** The workers of a bus. */
export interface WorkersReport {
  /** How many there are. */
  readonly count: number;
  /** Why there are none, or why they are not pinned; empty where all is as asked. */
  readonly reason: string;
}

/** What `bus.refresh` did. */
export interface RefreshReport {
  /** The bus's last tick now. */
  readonly tick: number;
  /** Ticks that came. */
  readonly ticks: number;
  /** Their deltas. */
  readonly rows: number;
}

/** What `bus.verify` found. */
export interface VerifyReport {
  /** Last tick. */
  readonly tick: number;
  /** Rows of the log that were replayed; 0 in memory. */
  readonly rows: number;
  /** Pages whose bytes were compared with the replayed log's; none in memory. */
  readonly compared: StoreDifference | undefined;
  /** As opening found the log; `damaged` is never `ok`, however well the rest agrees. */
  readonly state: OpenReport["state"];
  /** Whether all structures keep their rules, no synced byte was lost, and the log up to this bus's
   * last tick leads to just these bytes. */
  readonly ok: boolean;
}
