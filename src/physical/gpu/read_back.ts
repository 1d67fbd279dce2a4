/**
 * Buffers that bring bytes back from the device.
 *
 * WebGPU gives bytes back through a promise: `mapAsync`. In Deno the wait for the GPU is over when that call
 * returns, and the promise settles some 10 ms later nevertheless, because of a sleep in its polling loop; at
 * 60 ticks a second that is most of a tick. A buffer that was mapped once before can be looked into at once,
 * though. That is how these versions of Deno are made, not what WebGPU promises, and on a buffer that was never
 * mapped the same call ends the process. So bytes are read early only with versions of Deno that were tried
 * (`EARLY_READ_VERSIONS`; testdata/early_read.ts tries one), from buffers that were mapped once when they were made. All
 * else awaits, and where an early look is refused there is no second one.
 *
 * Cost: an early read is two copies of the bytes; an awaited one takes 10 ms more.
 */

import { checkInteger, isBytes, MmsbError } from "../../base/mod.ts";
import type { DeviceWatch } from "./_device_watch.ts";
import { deviceLost } from "./gpu_errors.ts";

/** Versions of Deno in which a look into a buffer before its promise settles was tried and gave its bytes. */
export const EARLY_READ_VERSIONS: readonly string[] = Object.freeze([
  "2.9.0",
  "2.9.1",
  "2.9.2",
  "2.9.3",
  "2.9.4",
  "2.9.5",
  "2.9.6",
]);

/**
 * A buffer for bytes on their way back: copy into {@linkcode ReadBack.buffer}, submit, then read. One read at a time.
 * Made by `GpuDevice.readBack`.
 */
export class ReadBack {
  /** The buffer, for `copyBufferToBuffer`; it is never mapped between two reads. */
  readonly buffer: GPUBuffer;
  /** Its size, in bytes. */
  readonly bytes: number;
  readonly #watch: DeviceWatch;
  readonly #free: (buffer: GPUBuffer) => void;
  #isReading = false;
  #isDestroyed = false;

  /**
   * Takes a buffer that was mapped once already; use `GpuDevice.readBack`.
   *
   * @param buffer The buffer, with usages COPY_DST and MAP_READ.
   * @param watch What its device says.
   * @param free Frees the buffer.
   */
  constructor(buffer: GPUBuffer, watch: DeviceWatch, free: (buffer: GPUBuffer) => void) {
    this.buffer = buffer;
    this.bytes = buffer.size;
    this.#watch = watch;
    this.#free = free;
  }

  /**
   * Reads bytes of the buffer, as they are when all that was submitted before has run.
   *
   * @param target Where the bytes go: its length, a multiple of 4, says how many.
   * @param offset The first byte of the buffer, a multiple of 8.
   * @returns Nothing where the bytes are there already, else a promise for them; await what is given, either way.
   * @throws {MmsbError} `usage` where an argument is none, the buffer is destroyed, or a read is under
   * way; `out-of-bounds` outside the buffer; `gpu` where the device is lost.
   */
  read(target: Uint8Array, offset = 0): void | Promise<void> {
    const what = this.#check(target, offset);
    if (target.length === 0) return;
    const mapped = this.buffer.mapAsync(GPUMapMode.READ, offset, target.length);
    // Settles when Deno's sleep is over; by then the buffer may be mapped for the next read.
    this.#watch.settleLater(mapped);
    const isEarly = this.#watch.readsEarly;
    if (isEarly && this.#takeEarly(target, offset)) return;
    return this.#readAwaited(what, mapped, { target, offset, isEarly });
  }

  /** Frees the buffer; a read under way is refused. Twice does no harm. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#free(this.buffer);
  }

  #check(target: unknown, offset: number): string {
    if (!isBytes(target)) {
      throw new MmsbError("usage", "Cannot read back: give a Uint8Array as target");
    }
    const bytes = target.length;
    const what = `read ${bytes} bytes back`;
    checkInteger("offset", offset, 0, this.bytes);
    if (offset % 8 !== 0 || bytes % 4 !== 0) {
      throw new MmsbError(
        "usage",
        `Cannot ${what} from offset ${offset}: give multiples of 4 bytes from multiples of 8`,
        { values: { bytes, offset } },
      );
    }
    checkInteger("end of the bytes to be read", offset + bytes, 0, this.bytes);
    this.#watch.checkAlive(what);
    if (this.#isDestroyed) throw destroyed(what);
    if (this.#isReading) {
      throw new MmsbError("usage", `Cannot ${what}: await the read that is under way`);
    }
    return what;
  }

  #takeEarly(target: Uint8Array, offset: number): boolean {
    try {
      target.set(new Uint8Array(this.buffer.getMappedRange(offset, target.length)));
      this.buffer.unmap();
      return true;
    } catch {
      return false;
    }
  }

  async #readAwaited(
    what: string,
    mapped: Promise<unknown>,
    { target, offset, isEarly }: { target: Uint8Array; offset: number; isEarly: boolean },
  ): Promise<void> {
    this.#isReading = true;
    try {
      await mapped;
      if (this.#watch.isLost) throw deviceLost(what, this.#watch.lossReason);
      if (this.#isDestroyed) throw destroyed(what);
      target.set(new Uint8Array(this.buffer.getMappedRange(offset, target.length)));
      this.buffer.unmap();
      // The bytes were there in the end, so it is the runtime that lets nobody look earlier.
      if (isEarly) this.#watch.refuseEarlyReads();
    } catch (error) {
      if (this.#isDestroyed && !this.#watch.isLost) throw destroyed(what);
      throw await this.#watch.failure(what, error);
    } finally {
      this.#isReading = false;
    }
  }
}

function destroyed(what: string): MmsbError {
  return new MmsbError("usage", `Cannot ${what}: the buffer is destroyed`);
}
