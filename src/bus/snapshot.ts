/**
 * Snapshot: many pages read as one tick left them.
 *
 * On the thread that ticks, nothing can come between two reads, so a snapshot is only a way to write
 * code that also works elsewhere. For a reader in another process it is the whole of the guarantee:
 * the function runs again if a tick came while it ran.
 *
 * @module
 */

import { checkInteger, MmsbError, PAGE_ID_MAX } from "../base/mod.ts";
import { Page } from "./page.ts";

/** Pages as one tick left them; good only inside the function it was given to. */
export interface Snapshot {
  /** The tick. */
  readonly tick: number;
  /**
   * A copy of a page's bytes.
   *
   * @param page Handle or id.
   * @param offset First byte. Default 0.
   * @param length Bytes. Default: to the end.
   */
  read(page: Page | number, offset?: number, length?: number): Uint8Array<ArrayBuffer>;
  /** Copies bytes of a page into `target`, as many as it holds. */
  readInto<T extends Uint8Array>(page: Page | number, target: T, offset?: number): T;
  /** A page's epoch. */
  epoch(page: Page | number): number;
  /** The page of a name, `undefined` where there is none. */
  find(name: string): Page | undefined;
}

/** What a snapshot needs of its bus. */
export interface SnapshotHost {
  /** The last tick. */
  readonly tickNumber: number;
  /** The handle of a page. */
  page(id: number): Page;
  /** The page of a name. */
  find(name: string): Page | undefined;
}

type Owns = (page: Page) => boolean;

/** The handle of a page shows the state of the bus that made it, whatever tick that has come to. */
function refuseForeign(page: Page): never {
  throw new MmsbError(
    "usage",
    `Cannot read page ${page.id} of another bus in this snapshot: give its id, or find it here by name`,
    { values: { page: page.id } },
  );
}

/** A snapshot over a bus whose ticks cannot come between. */
function snapshotOf(host: SnapshotHost, owns: Owns): Snapshot & { end(): void } {
  let isOver = false;
  const tick = host.tickNumber;
  const checkInside = (): void => {
    if (!isOver && host.tickNumber === tick) return;
    throw new MmsbError(
      "usage",
      isOver
        ? "Cannot read a snapshot after its function returned: read inside"
        : `Cannot go on reading at tick ${tick} as a tick was run inside: only read there`,
      { values: { tick } },
    );
  };
  const pageOf = (page: Page | number): Page => {
    checkInside();
    if (page instanceof Page) {
      if (!owns(page)) refuseForeign(page);
      return page;
    }
    return host.page(checkInteger("page id", page, 1, PAGE_ID_MAX));
  };
  return {
    tick,
    read: (page, offset, length) => pageOf(page).read(offset, length),
    readInto: (page, target, offset) => pageOf(page).readInto(target, offset),
    epoch: (page) => pageOf(page).epoch,
    find: (name) => {
      checkInside();
      return host.find(name);
    },
    end: () => isOver = true,
  };
}

/**
 * Runs a function on a snapshot.
 *
 * @param host The bus.
 * @param owns Whether a page is one of this bus.
 * @param look The function.
 */
export function runSnapshot<T>(host: SnapshotHost, owns: Owns, look: (at: Snapshot) => T): T {
  const at = snapshotOf(host, owns);
  try {
    const value = look(at);
    refusePromise(value);
    return value;
  } finally {
    at.end();
  }
}

/** Throws where a snapshot's function is asynchronous: ticks would come between. */
function refusePromise(value: unknown): void {
  if (!(value instanceof Promise)) return;
  value.catch(() => {});
  throw new MmsbError(
    "usage",
    "Cannot take a snapshot with an asynchronous function as ticks could come between: read inside it, await outside",
  );
}
