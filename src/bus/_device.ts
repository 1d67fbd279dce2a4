/**
 * Device of a bus: opened with it, asked by its ticks, closed with it.
 *
 * Nothing of the GPU is loaded before a bus asks for one, and a bus that gets none is as one that never asked: its ticks
 * do not know of a device at all. Why it got none is in `bus.opened.device`, and said nowhere else.
 *
 * Cost: without a device nothing; with one what `DeviceApply` and `DevicePages` say.
 */

import { reasonOf } from "../base/mod.ts";
import type { Storage } from "../log/mod.ts";
import {
  type ApplyBackend,
  type ApplyPages,
  type BatchShape,
  type KernelColumns,
  type PageStore,
  SharedArena,
} from "../physical/mod.ts";
import type { GpuThread } from "../physical/gpu/gpu_thread.ts";
import type { ThreadApply } from "../physical/gpu/thread_apply.ts";
import type { GpuRules } from "../propagation/gpu/mod.ts";
import type { ChangeLog, RuleWorkers } from "../propagation/mod.ts";
import { DeviceApply } from "./_device_apply.ts";
import { DevicePages } from "./_device_pages.ts";
import type { EventHub } from "./_events.ts";
import type {
  DeviceAdapter,
  DeviceCrossover,
  DeviceReport,
  DeviceStatistics,
  DeviceStatus,
} from "./device.ts";
import type { ResolvedOptions } from "./options.ts";

/** What a tick asks of a device. */
export interface TickDevice extends ApplyBackend {
  /** Whether it would do a batch; where not, the caller has the CPU do it. */
  takes(rows: number, shape: BatchShape): boolean;
  /** Begins a tick, before epochs are raised for it. */
  beginTick(): void;
  /** Ends a tick: one that counts when its rows are in the pages, and before its old words are forgotten. */
  endTick(log: ChangeLog, isCommitted: boolean): void;
  /** Brings the copies of pages into step, and tells of each that is. */
  bringIntoStep(pages: readonly number[], events: EventHub | undefined): void;
}

/** Where a crossover is kept in a directory. */
export const DEVICE_PATH = "device.json";

/** A GPU and what a bus needs to use it. */
interface DeviceParts {
  readonly thread: GpuThread;
  readonly apply: ThreadApply;
  readonly pages: DevicePages;
  readonly rules: (next: RuleWorkers | undefined) => GpuRules;
  readonly rowsMin: number;
}

/** The device of a bus, or why it has none. */
export class OpenedDevice implements TickDevice {
  /** Always `gpu`. */
  readonly name = "gpu";
  /** What opening found. */
  readonly report: DeviceReport;
  /** The copies of pages; none where there is no device. */
  readonly pages: DevicePages | undefined;
  readonly #parts: DeviceParts | undefined;
  readonly #apply: DeviceApply | undefined;
  /** Number of the device when the bus was opened. */
  readonly #generation: number = 0;
  #rules: GpuRules | undefined;
  #closed: Promise<void> | undefined;

  private constructor(report: DeviceReport, parts?: DeviceParts) {
    this.report = report;
    this.#parts = parts;
    this.pages = parts?.pages;
    if (parts === undefined) return;
    const { thread, apply, rowsMin } = parts;
    this.#generation = thread.generation;
    this.#apply = new DeviceApply({
      name: "gpu",
      get isReady() {
        return thread.isReady;
      },
      refusal: (shape) => apply.refusal(shape),
      apply: (columns, rows, shape, pages) => apply.apply(columns, rows, shape, pages),
    }, rowsMin);
  }

  /**
   * Opens the device that options ask for.
   *
   * @returns `undefined` where they ask for none.
   */
  static async open(
    { device: asked, readOnly }: ResolvedOptions,
    store: PageStore,
    storage?: Storage,
  ): Promise<OpenedDevice | undefined> {
    if (asked === "cpu") return undefined;
    const without = (reason: string, more?: Partial<DeviceReport>): OpenedDevice =>
      new OpenedDevice({ ...more, asked, uses: "cpu", reason });
    if (readOnly) return without("a bus that only reads applies nothing");
    const { arena } = store;
    if (!(arena instanceof SharedArena)) {
      return without("pages of a mapped file are not shared with the thread of the GPU");
    }
    const gpu = await import("../physical/gpu/mod.ts");
    const thread = await gpu.openGpuThread();
    try {
      const { state, reason, adapter: found } = thread.status;
      const adapter = found === undefined ? undefined : adapterOf(found);
      const refuse = async (reason: string) => {
        await thread.close();
        return without(reason, adapter && { adapter });
      };
      if (state !== "ready") return await refuse(`${reason}; \`mmsb doctor\` says what to do`);
      if (asked === "auto" && adapter?.isSoftware !== false) {
        return await refuse(`${adapter?.name ?? "the adapter"} computes on the CPU`);
      }
      const crossover = kept(storage, (text) => gpu.crossoverOf(thread, text));
      const apply = new gpu.ThreadApply(thread, arena);
      const { arenaNumber } = apply, locations = new gpu.PageLocations(store.table);
      const pages = new DevicePages({ jobs: gpu, thread, arena: arenaNumber, locations, store });
      const { GpuRules } = await import("../propagation/gpu/mod.ts");
      const rules = (next: RuleWorkers | undefined) =>
        new GpuRules(store, {
          thread,
          arena: arenaNumber,
          locations,
          mode: asked,
          next,
          limitsModules: next?.isStrict ?? false,
        });
      // Rules may pay where batches do not.
      const rowsMin = asked === "auto" ? crossover.rows ?? Infinity : 1;
      const report = {
        asked,
        uses: "gpu",
        reason: rowsMin < Infinity ? "" : tooSlow(crossover),
        ...(adapter && { adapter }),
        crossover,
      } as const;
      return new OpenedDevice(report, { thread, apply, pages, rules, rowsMin });
    } catch (error) {
      await thread.close();
      return without(reasonOf(error));
    }
  }

  /** What ticks use; `undefined` where there is no device. */
  get forTicks(): TickDevice | undefined {
    return this.#parts === undefined ? undefined : this;
  }

  /** The thread, `undefined` where there is no device. */
  get thread(): GpuThread | undefined {
    return this.#parts?.thread;
  }

  /** What runs rules on the device, and hands on to others what it does not; `undefined` where there is no device. */
  rules(next: RuleWorkers | undefined): GpuRules | undefined {
    return this.#rules ??= this.#parts?.rules(next);
  }

  /** The device now. */
  status(): DeviceStatus {
    const { report } = this, parts = this.#parts;
    if (parts === undefined) return { ...report, lost: 0 };
    const { state, reason } = parts.thread.status;
    const against = state === "ready" ? this.#apply!.givenUp : reason || `it is ${state}`;
    const lost = parts.thread.generation - this.#generation;
    if (against === undefined) return { ...report, lost };
    return { ...report, uses: "cpu", reason: against, lost };
  }

  /** What it did, and what it did not. */
  statistics(): DeviceStatistics {
    const { uses, reason, lost, crossover } = this.status();
    const parts = this.#parts, counts = this.#apply?.counts;
    const none = { batches: 0, rows: 0 };
    return {
      uses,
      reason,
      gpu: { ...counts?.gpu ?? none },
      cpu: {
        ...counts?.cpu ?? none,
        reasons: Object.fromEntries(counts?.reasons ?? []),
      },
      uploadedBytes: (parts?.apply.counts.uploadedBytes ?? 0) + (parts?.pages.uploadedBytes ?? 0),
      readBytes: parts?.apply.counts.readBytes ?? 0,
      failures: (counts?.failures ?? 0) + (parts?.pages.failures ?? 0),
      lost,
      resident: parts?.pages.resident() ?? { pages: 0, kept: 0, bytes: 0 },
      syncs: parts?.pages.syncs ?? 0,
      rules: this.#rules?.statistics() ?? NO_RULES,
      pool: { ...parts?.apply.pool ?? { hits: 0, misses: 0, cached: 0, cachedBytes: 0 } },
      ...(crossover && { crossover }),
    };
  }

  /** {@inheritDoc TickDevice.takes} */
  takes(rows: number, shape: BatchShape): boolean {
    return this.#apply!.takes(rows, shape);
  }

  /** {@inheritDoc ApplyBackend.apply} */
  apply(columns: KernelColumns, rows: number, shape: BatchShape, pages: ApplyPages): void {
    this.#apply!.apply(columns, rows, shape, pages);
    this.pages!.noteRows(columns, rows);
  }

  /** {@inheritDoc TickDevice.beginTick} */
  beginTick(): void {
    this.pages!.locations.beginTick();
  }

  /** {@inheritDoc TickDevice.endTick} */
  endTick(log: ChangeLog, isCommitted: boolean): void {
    this.pages!.endTick(log, isCommitted);
  }

  /** {@inheritDoc TickDevice.bringIntoStep} */
  bringIntoStep(pages: readonly number[], events: EventHub | undefined): void {
    this.pages!.bringIntoStep(pages, events);
  }

  /** Forgets the copies of pages that are no more. */
  forget(): void {
    this.pages?.forget();
  }

  /** Lets go of the device. A second call does nothing more. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    const parts = this.#parts;
    if (parts === undefined) return;
    await this.#rules?.close();
    parts.apply.end();
    await parts.thread.close();
  }
}

/** Why batches stay on the CPU. */
function tooSlow({ points }: DeviceCrossover): string {
  return `batches of up to ${points.at(-1)?.rows ?? 0} rows are faster on the CPU`;
}

const NO_RULES = { runs: 0, steps: 0, checks: 0, twins: 0, uploadedBytes: 0, readBytes: 0 };

function adapterOf(
  { name, vendor, architecture, driver, isSoftware }: DeviceAdapter,
): DeviceAdapter {
  return { name, vendor, architecture, driver, isSoftware };
}

/** A crossover from the directory, or one that is measured and kept there. */
function kept(
  storage: Storage | undefined,
  find: (text?: string) => { readonly crossover: DeviceCrossover; readonly text?: string },
): DeviceCrossover {
  let stored: Uint8Array | undefined;
  try {
    stored = storage?.readAll(DEVICE_PATH);
  } catch {
    // As one that is not there.
  }
  const { crossover, text } = find(
    stored === undefined ? undefined : new TextDecoder().decode(stored),
  );
  if (text === undefined || storage === undefined) return crossover;
  try {
    storage.replace(DEVICE_PATH, new TextEncoder().encode(text));
  } catch {
    // The next opening measures again; nothing else depends on it.
  }
  return crossover;
}
