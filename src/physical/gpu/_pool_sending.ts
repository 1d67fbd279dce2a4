/** Sending: brings copies of pages into step, as a list of pages says. */

import type { DeviceCopy, PageUpload } from "./page_lease.ts";
import {
  HEAD_BASE,
  HEAD_RANGES,
  HEAD_SLOT,
  HEAD_VERSION,
  HEAD_WORDS,
  type PageList,
} from "./page_list.ts";

/** What is needed of a device; `GpuDevice` has it. */
export interface PageDevice {
  /** Sends bytes into a buffer. */
  write(buffer: GPUBuffer, offset: number, view: ArrayBufferView): void;
  /** Reads bytes of a buffer. */
  read(buffer: GPUBuffer, offset: number, target: Uint8Array): Promise<void>;
  /** Does work and throws what the device has against it. */
  checked<T>(what: string, work: () => T): Promise<T>;
}

/** Where bytes of pages are read from; `SharedArena` is one. */
export interface PageBytes {
  /** Bytes that there are. */
  readonly byteLength: number;
  /** A view of some of them. */
  bytes(address: number, length: number): Uint8Array;
}

/** What is sent where all is in step. */
export const NOTHING_SENT: PageUpload = { pages: 0, full: 0, ranges: 0, bytes: 0 };

/**
 * Sends what copies lack. Where the device refuses afterwards, nobody can say what they hold.
 *
 * @param device Takes the bytes.
 * @param copies Copies of the pages of the list.
 * @param memory Where the pages are.
 * @param list The pages, checked.
 * @returns What was sent.
 */
export function sendPages(
  device: PageDevice,
  copies: readonly DeviceCopy[],
  memory: PageBytes,
  { heads, ranges }: PageList,
): PageUpload {
  let range = 0, pages = 0, full = 0, sent = 0, bytes = 0;
  for (let i = 0; i < copies.length; i++) {
    const at = HEAD_WORDS * i, copy = copies[i], { version, buffer } = copy;
    const first = range, end = range += heads[at + HEAD_RANGES];
    // A page that the list names twice is in step the second time.
    if (version === heads[at + HEAD_VERSION]) continue;
    copy.version = heads[at + HEAD_VERSION];
    const page = memory.bytes(heads[at + HEAD_SLOT], copy.bytes);
    if (version === 0 || version !== heads[at + HEAD_BASE]) {
      device.write(buffer, 0, page);
      pages++;
      full++;
      sent++;
      bytes += page.length;
      continue;
    }
    if (first < end) pages++;
    for (let r = first; r < end; r++) {
      const part = page.subarray(ranges[2 * r], ranges[2 * r + 1]);
      device.write(buffer, ranges[2 * r], part);
      sent++;
      bytes += part.length;
    }
  }
  return { pages, full, ranges: sent, bytes };
}
