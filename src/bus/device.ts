/**
 * Device: what a bus tells of its GPU, and how it is told which pages to keep there.
 *
 * The pages in memory, and the log, are what counts; a GPU has copies of pages, which are brought into step where they
 * are used. So nothing is lost with a device, and where there is none all of this works too, with nothing to do.
 *
 * @module
 */

import { checkIterable, checkOneOf, MmsbError } from "../base/mod.ts";
import type { GpuRulesStatistics } from "../propagation/mod.ts";
import type { DevicePages } from "./_device_pages.ts";
import type { Region } from "./_edges.ts";

/**
 * Where a page is: `cpu`, in memory only; `unified`, in memory with a copy on the device that may give way to others;
 * `gpu`, in memory with a copy on the device that stays.
 */
export type PageLocation = "cpu" | "gpu" | "unified";

/** The names of {@linkcode PageLocation}. */
export const PAGE_LOCATIONS: readonly PageLocation[] = ["cpu", "gpu", "unified"];

/** The adapter behind a device. */
export interface DeviceAdapter {
  /** Its name. */
  readonly name: string;
  /** Its maker; empty where the driver does not say. */
  readonly vendor: string;
  /** Its family; empty where the driver does not say. */
  readonly architecture: string;
  /** What the driver says of itself; empty where it says nothing, as in Deno 2.9. */
  readonly driver: string;
  /** Whether it computes on the CPU: right for tests, no gain in speed. */
  readonly isSoftware: boolean;
}

/** From how many rows on a batch is faster on the device than on the CPU, measured on both. */
export interface DeviceCrossover {
  /** Rows of 16 bytes; `null` where the device was slower with as many as were tried. */
  readonly rows: number | null;
  /** What was measured, by rising rows: milliseconds of the CPU, and of upload, kernels and read-back. */
  readonly points: readonly {
    readonly rows: number;
    readonly cpuMs: number;
    readonly gpuMs: number;
  }[];
}

/** The device of a bus when it was opened. */
export interface DeviceReport {
  /** What was asked for. */
  readonly asked: "gpu" | "auto";
  /** What applies batches; with `gpu` those that the device has a kernel for, with `auto` those that are large enough. */
  readonly uses: "gpu" | "cpu";
  /** Why it is the CPU, or is for batches where rules run on the device; empty where it is the device for both. */
  readonly reason: string;
  /** The adapter, where there is one. */
  readonly adapter?: DeviceAdapter;
  /** From how many rows on the device is faster; absent where that was not measured. */
  readonly crossover?: DeviceCrossover;
}

/** The device of a bus now. */
export interface DeviceStatus extends Omit<DeviceReport, "asked"> {
  /** What was asked for. */
  readonly asked: "cpu" | "gpu" | "auto";
  /** Times since the bus was opened that another device took the place of one that was lost or whose thread was given up. */
  readonly lost: number;
}

/** What a bus did on its device, and what it did not. */
export interface DeviceStatistics {
  /** What applies batches now. */
  readonly uses: "gpu" | "cpu";
  /** Why it is the CPU; empty where it is the device. */
  readonly reason: string;
  /** What the device applied. */
  readonly gpu: { readonly batches: number; readonly rows: number };
  /** What the CPU applied, and why: batches by reason. */
  readonly cpu: {
    readonly batches: number;
    readonly rows: number;
    readonly reasons: Readonly<Record<string, number>>;
  };
  /** Bytes that went to the device for batches, and for copies of pages. */
  readonly uploadedBytes: number;
  /** Bytes that came back of batches. */
  readonly readBytes: number;
  /** Batches that failed there and were done by the CPU, and copies that could not be brought into step behind a tick. */
  readonly failures: number;
  /** Times that another device took the place of one that was lost or whose thread was given up. */
  readonly lost: number;
  /** Pages with a copy on the device, those of them that stay there, and bytes of all. */
  readonly resident: { readonly pages: number; readonly kept: number; readonly bytes: number };
  /** Times that copies were brought into step. */
  readonly syncs: number;
  /** Rules in WGSL. */
  readonly rules: GpuRulesStatistics;
  /** Buffers on the device, of all buses of this thread together, as of the last job of this one. */
  readonly pool: {
    readonly hits: number;
    readonly misses: number;
    readonly cached: number;
    readonly cachedBytes: number;
  };
  /** From how many rows on the device is faster; absent where that was not measured. */
  readonly crossover?: DeviceCrossover;
}

/** What went to the device. */
export interface DeviceTransfer {
  /** Pages of which something went. */
  readonly pages: number;
  /** Bytes of it. */
  readonly bytes: number;
}

/** What a bus gives its device handle. */
export interface DeviceHost {
  /** The device now. */
  status(): DeviceStatus;
  /** The copies of pages; none where there is no device. */
  readonly pages: DevicePages | undefined;
  /** The ids of the pages of a region: of a table all its pages. */
  pagesOf(region: Region): number[];
  /** Throws where the bus is closed, or reads only. */
  checkWritable(): void;
}

const NOTHING: DeviceTransfer = { pages: 0, bytes: 0 };

/**
 * The device of a bus, as `bus.device` gives it.
 *
 * @example The same with a GPU and without
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open({ device: "auto" });
 * const page = bus.createPage({ size: 4096 });
 * await bus.commit(() => page.write(0, Uint8Array.of(7)));
 * const { uses, reason } = bus.device.status;
 * if (uses === "gpu") await bus.device.migrate(page, "gpu");
 * else assert.notEqual(reason, "");
 * assert.equal(page.location, uses);
 * assert.equal(page.read(0, 1)[0], 7);
 * ```
 *
 * @example Only what changed goes up
 * ```ts
 * import assert from "node:assert/strict";
 * import { StateBus } from "@mmsb/mmsb";
 *
 * await using bus = await StateBus.open({ device: "gpu" });
 * const page = bus.createPage({ size: 65_536 });
 * await bus.tick();
 * const whole = await bus.device.prefetch([page]);
 * await bus.commit(() => page.write(0, Uint8Array.of(7)));
 * const changed = await bus.device.sync();
 * const isThere = bus.device.status.uses === "gpu";
 * assert.equal(whole.bytes, isThere ? 65_536 : 0);
 * assert.equal(changed.bytes, isThere ? 4 : 0); // a word
 * ```
 */
export class BusDevice {
  readonly #host: DeviceHost;

  /** @ignore Made by the bus. */
  constructor(host: DeviceHost) {
    this.#host = host;
  }

  /** What it is, whether it is used, and why not. */
  get status(): DeviceStatus {
    return this.#host.status();
  }

  /**
   * Puts copies of pages on the device before something there needs them. Where there is no device it does nothing.
   *
   * @param pages Pages, structs, tables (with all their pages) or ids.
   * @returns What went there, when it is there.
   * @throws {MmsbError} `usage` or `invalid-handle` for what is no page of this bus, `gpu` where the device fails,
   * `allocation` where it has no memory left, `closed`, `read-only`.
   */
  // deno-lint-ignore require-await
  async prefetch(pages: Iterable<Region>): Promise<DeviceTransfer> {
    const ids = this.#idsOf(pages);
    return this.#host.pages?.upload(ids) ?? NOTHING;
  }

  /**
   * Says where a page is to be. To `gpu` and `unified` it gets a copy on the device, if it has none; to `cpu` it loses
   * the one that it has. Its bytes are the same wherever it is.
   *
   * @param page A page, struct, table (with all its pages) or id.
   * @param location Where to.
   * @throws {MmsbError} `usage` for another location and on a bus opened with `device: "cpu"`; `gpu` where there is no
   * device, or it fails; otherwise as {@linkcode BusDevice.prefetch}.
   */
  // deno-lint-ignore require-await
  async migrate(page: Region, location: PageLocation): Promise<void> {
    checkOneOf("location", location, PAGE_LOCATIONS);
    const ids = this.#idsOf([page]), { pages } = this.#host;
    if (pages !== undefined) return pages.migrate(ids, location);
    if (location === "cpu") return;
    const { asked, reason } = this.status;
    throw new MmsbError(
      asked === "cpu" ? "usage" : "gpu",
      asked === "cpu"
        ? `Cannot move page ${
          ids[0]
        } to a device of a bus without one: open it with device "gpu" or "auto"`
        : `Cannot move page ${ids[0]} to the GPU as there is none: ${reason}`,
      { values: { page: ids[0], location, reason } },
    );
  }

  /**
   * Brings copies on the device into step with their pages: what has changed since goes up.
   *
   * @param pages As for {@linkcode BusDevice.prefetch}; those without a copy are left out. Default: all that have one.
   * @returns What went there.
   * @throws {MmsbError} as {@linkcode BusDevice.prefetch}.
   */
  // deno-lint-ignore require-await
  async sync(pages?: Iterable<Region>): Promise<DeviceTransfer> {
    const ids = pages === undefined ? undefined : this.#idsOf(pages);
    if (ids === undefined) this.#host.checkWritable();
    return this.#host.pages?.sync(ids) ?? NOTHING;
  }

  #idsOf(pages: Iterable<Region>): number[] {
    this.#host.checkWritable();
    return [
      ...new Set([...checkIterable("pages", pages)].flatMap((page) => this.#host.pagesOf(page))),
    ];
  }
}
