/** Page lease: the copies of pages that a job uses, until it releases them. */

import { assert } from "../../base/mod.ts";
import { HEAD_FLAGS, HEAD_VERSION, HEAD_WORDS, PAGE_WRITTEN, type PageList } from "./page_list.ts";

/** One page's copy. */
export interface PageCopy {
  /** Number of the arena that the page stands in. */
  readonly arena: number;
  /** Its row. */
  readonly row: number;
  /** Bytes of the page, rounded up to a multiple of 4. */
  readonly bytes: number;
  /** The copy: STORAGE, COPY_SRC and COPY_DST. It may be larger: bind and copy {@linkcode PageCopy.bytes}. */
  readonly buffer: GPUBuffer;
}

/** A copy as {@linkcode DevicePages} keep it. */
export interface DeviceCopy extends PageCopy {
  /** By which it is found. */
  readonly key: number;
  /** What it holds; 0 where nobody can say. */
  version: number;
  /** Jobs that use it. */
  users: number;
  /** Whether it is not evicted. */
  isKept: boolean;
  /** Whether another copy stands in its place, or none: it is only there for those who use it. */
  isGone: boolean;
}

/** What was sent. */
export interface PageUpload {
  /** Pages that something was sent for. */
  readonly pages: number;
  /** Those that were sent whole. */
  readonly full: number;
  /** Ranges, whole pages among them. */
  readonly ranges: number;
  /** Bytes. */
  readonly bytes: number;
}

/** The copies that a job uses; they stay until it releases them. */
export class PageLease {
  /** In the order of the list. */
  readonly copies: readonly PageCopy[];
  /** What bringing them into step took. */
  readonly upload: PageUpload;
  readonly #written: () => void;
  readonly #release: () => void;
  #isReleased = false;

  /** Made by {@linkcode DevicePages.use}. */
  constructor(
    copies: readonly PageCopy[],
    upload: PageUpload,
    written: () => void,
    release: () => void,
  ) {
    this.copies = copies;
    this.upload = upload;
    this.#written = written;
    this.#release = release;
  }

  /** The job has written what it was to write: the copies that it writes hold what the list says. */
  written(): void {
    assert(!this.#isReleased, "what was released is not written");
    this.#written();
  }

  /** The commands that use the copies are submitted. Twice does no harm. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#release();
  }
}

/** Gives the copies that a job writes their version, or takes it: they hold what the list says, or nobody can say what. */
export function setWritten(
  copies: readonly DeviceCopy[],
  { heads }: PageList,
  isWritten: boolean,
): void {
  for (let i = 0; i < copies.length; i++) {
    const at = HEAD_WORDS * i;
    if ((heads[at + HEAD_FLAGS] & PAGE_WRITTEN) === 0) continue;
    copies[i].version = isWritten ? heads[at + HEAD_VERSION] : 0;
  }
}
