/** A disk in memory for tests of what is spilled: it fails when it is told to, and its bytes can be damaged. */

import { MmsbError } from "../base/mod.ts";
import type { SpillDisk } from "./spill_file.ts";

/** A spill file in memory. */
export class TestDisk implements SpillDisk {
  /** Not a path that anybody could open. */
  readonly path = "test disk";
  /** What was written. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Writes until it is full. */
  writesLeft = Infinity;
  /** Whether reads fail. */
  readsFail = false;
  /** Whether it was closed. */
  isClosed = false;
  #room = new Uint8Array(4096);

  /** Reads from a position on; gives how many bytes there were. */
  read(target: Uint8Array, position: number): number {
    if (this.readsFail) throw new MmsbError("io", "Cannot read the test disk: it was told to fail");
    const part = this.bytes.subarray(position, position + target.length);
    target.set(part);
    return part.length;
  }

  /** Writes all bytes, or none. */
  write(bytes: Uint8Array, position: number): void {
    if (this.writesLeft-- <= 0) {
      throw new MmsbError("disk-full", "Cannot write to the test disk: it was told to be full");
    }
    this.#resize(Math.max(this.bytes.length, position + bytes.length));
    this.bytes.set(bytes, position);
  }

  /** Cuts it. */
  truncate(size: number): void {
    this.#resize(size);
  }

  /** It is of no more use. */
  close(): void {
    this.isClosed = true;
  }

  #resize(size: number): void {
    if (size > this.#room.length) {
      const longer = new Uint8Array(2 * size);
      longer.set(this.bytes);
      this.#room = longer;
    }
    // What was cut off is gone.
    this.#room.fill(0, Math.min(size, this.bytes.length), this.bytes.length);
    this.bytes = this.#room.subarray(0, size);
  }
}
