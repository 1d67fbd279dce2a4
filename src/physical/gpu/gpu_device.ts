/**
 * A GPU device: WebGPU with every size, offset and range checked before the call, and every failure an
 * `MmsbError`.
 *
 * Why a class of our own over `GPUDevice`: WebGPU reports most mistakes later, to a scope, to an event or not at
 * all, and goes on with a buffer that is none; a kernel would then read back old bytes as if they were its
 * result. And in Deno some mistakes end the process. So mistakes are refused here, by name, before the call;
 * what only the driver can know is asked for with {@linkcode GpuDevice.checked}.
 *
 * A device can be lost at any time (the driver restarts, the machine sleeps, a test destroys it). Then all calls
 * throw `gpu`, and what was on the way is refused; open another one.
 *
 * Cost: the checks take some 50 ns a call; opening takes 50 to 300 ms.
 */

import { checkInteger, checkKeys, checkType, isBytes, MmsbError } from "../../base/mod.ts";
import { findAdapter, type GpuAdapterReport, requestDevice } from "./_adapter.ts";
import { DeviceWatch, type GpuLoss } from "./_device_watch.ts";
import { denoVersion, runtimeGpu } from "./_platform.ts";
import { compileShader, type PipelineOptions } from "./_shader.ts";
import { clip, gpuFailure } from "./gpu_errors.ts";
import { EARLY_READ_VERSIONS, ReadBack } from "./read_back.ts";

export type { GpuAdapterReport } from "./_adapter.ts";
export type { GpuLoss } from "./_device_watch.ts";
export type { PipelineOptions } from "./_shader.ts";

/** Longest wait for an adapter or a device where no other is given, in milliseconds. */
const OPEN_MS_MAX = 10_000;

/** Reads of no more bytes share a buffer, as making one waits for a promise of 10 ms. */
const READ_BYTES_KEPT = 65_536;

/** All flags of `GPUBufferUsage` but the two that let a buffer be mapped. */
const USAGE_FLAGS = 0x3fc;

/** Options of {@linkcode GpuDevice.open}. */
export interface GpuDeviceOptions {
  /** The WebGPU to use; that of the runtime if left out, none if `null`. */
  readonly gpu?: GPU | null | undefined;
  /** Longest wait for the adapter and for the device, in milliseconds; 10,000 if left out. */
  readonly timeoutMs?: number | undefined;
}

/** A device, open until it is destroyed or lost. */
export class GpuDevice {
  /** What the device runs on. */
  readonly adapter: GpuAdapterReport;
  /** The device of WebGPU, for encoders and bind groups. */
  readonly device: GPUDevice;
  /** Its queue. */
  readonly queue: GPUQueue;
  /** Settles when the device is gone, never rejects. */
  readonly loss: Promise<GpuLoss>;
  readonly #watch: DeviceWatch;
  readonly #buffers = new Set<GPUBuffer>();
  #bufferBytes = 0;
  /** Of the last small read, for the next one; reads that run at one time make more. */
  #readBack: ReadBack | undefined;

  private constructor(watch: DeviceWatch, adapter: GpuAdapterReport) {
    this.adapter = adapter;
    this.device = watch.device;
    this.queue = watch.device.queue;
    this.loss = watch.loss;
    this.#watch = watch;
  }

  /**
   * Opens a device on the adapter that WebGPU prefers, with all of its limits.
   *
   * @param options Which WebGPU, and how long to wait.
   * @returns The device.
   * @throws {MmsbError} `gpu` where there is none: no WebGPU, no adapter, or one that does not answer; the
   * reason is in `values.reason`. `usage` where an option is none.
   */
  static async open(options: GpuDeviceOptions = {}): Promise<GpuDevice> {
    checkKeys("GpuDevice.open", options, ["gpu", "timeoutMs"]);
    const { gpu = runtimeGpu(), timeoutMs = OPEN_MS_MAX } = options;
    checkInteger("timeoutMs", timeoutMs, 1, 600_000);
    const found = await findAdapter(gpu, timeoutMs);
    const device = await requestDevice(found, timeoutMs);
    const readsEarly = EARLY_READ_VERSIONS.includes(denoVersion() ?? "");
    return new GpuDevice(new DeviceWatch(device, readsEarly), found.report);
  }

  /** Whether the device is gone: destroyed, or lost by its driver. */
  get isLost(): boolean {
    return this.#watch.isLost;
  }

  /** Why the device is gone, in words; empty while it is there. */
  get lossReason(): string {
    return this.#watch.lossReason;
  }

  /** Whether bytes are read back at once; otherwise each read takes some 10 ms more in Deno. */
  get readsEarly(): boolean {
    return this.#watch.readsEarly;
  }

  /** Promises of early reads that have not settled: they do so when the event loop has time for its timers. */
  get unsettled(): number {
    return this.#watch.unsettled;
  }

  /** Bytes of all buffers that stand. */
  get bufferBytes(): number {
    return this.#bufferBytes;
  }

  /** Buffers that stand. */
  get buffers(): number {
    return this.#buffers.size;
  }

  /**
   * Makes a buffer, filled with zeros.
   *
   * @param bytes Its size: a multiple of 4, up to `adapter.limits.maxBufferSize`, and where it is a storage
   * buffer up to `maxStorageBufferBindingSize`.
   * @param usage What it is for: flags of `GPUBufferUsage`. One to be mapped is made by {@linkcode GpuDevice.readBack}.
   * @param label Its name, for messages.
   * @returns The buffer; give it to {@linkcode GpuDevice.destroyBuffer} in the end.
   * @throws {MmsbError} `usage` where the size is 0 or no multiple of 4, or a flag is none; `limit` where it is larger
   * than the device can; `gpu` where the device is lost.
   */
  createBuffer(bytes: number, usage: number, label: string): GPUBuffer {
    checkInteger("usage", usage, 1, USAGE_FLAGS, "usage");
    if ((usage & ~USAGE_FLAGS) !== 0) {
      throw new MmsbError("usage", "Cannot create a buffer to be mapped: use readBack and write");
    }
    return this.#createBuffer(bytes, usage, label);
  }

  /**
   * Makes a buffer as {@linkcode GpuDevice.createBuffer} does, and asks the driver whether it had the memory.
   *
   * @param bytes Its size.
   * @param usage What it is for.
   * @param label Its name, for messages.
   * @returns The buffer.
   * @throws {MmsbError} As {@linkcode GpuDevice.createBuffer}, and `allocation` where there is no memory.
   */
  async allocate(bytes: number, usage: number, label: string): Promise<GPUBuffer> {
    return await this.#allocate(bytes, () => this.createBuffer(bytes, usage, label));
  }

  /**
   * Frees a buffer of this device; twice does no harm.
   *
   * @param buffer The buffer.
   */
  destroyBuffer(buffer: GPUBuffer): void {
    if (!this.#buffers.delete(buffer)) return;
    this.#bufferBytes -= buffer.size;
    buffer.destroy();
  }

  /**
   * Writes bytes into a buffer, before all that is submitted later.
   *
   * @param buffer A buffer of this device that stands, with usage COPY_DST.
   * @param offset Its first byte to be written, a multiple of 4.
   * @param view The bytes, a multiple of 4; shared memory is copied at once.
   * @throws {MmsbError} `usage` where an argument is none, `out-of-bounds` outside the buffer, `gpu` where the
   * device is lost.
   */
  write(buffer: GPUBuffer, offset: number, view: ArrayBufferView): void {
    if (!ArrayBuffer.isView(view)) {
      throw new MmsbError("usage", "Cannot write to a buffer: give a view of bytes");
    }
    this.checkRange(buffer, offset, view.byteLength);
    this.checkAlive(`write ${view.byteLength} bytes`);
    if (view.byteLength === 0) return;
    try {
      this.queue.writeBuffer(buffer, offset, view as ArrayBufferView<ArrayBuffer>);
    } catch (error) {
      throw gpuFailure(`write ${view.byteLength} bytes`, error);
    }
  }

  /**
   * Checks a range of a buffer, as a copy or a binding has it.
   *
   * @param buffer A buffer of this device that stands.
   * @param offset The first byte, a multiple of 4.
   * @param bytes The length, a multiple of 4.
   * @throws {MmsbError} `usage` where the buffer is not one of this device or is destroyed, or a number is no multiple of 4;
   * `out-of-bounds` where the range is not inside the buffer.
   */
  checkRange(buffer: GPUBuffer, offset: number, bytes: number): void {
    if (!this.#buffers.has(buffer)) {
      throw new MmsbError("usage", "Cannot use a buffer that is destroyed or of another device");
    }
    checkInteger("offset", offset, 0, buffer.size);
    checkInteger(
      "end of the range",
      offset + checkInteger("bytes", bytes, 0, buffer.size),
      0,
      buffer.size,
    );
    if (offset % 4 !== 0 || bytes % 4 !== 0) {
      throw new MmsbError(
        "usage",
        `Cannot use bytes ${offset} to ${offset + bytes} of a buffer: give multiples of 4`,
        { values: { offset, bytes } },
      );
    }
  }

  /**
   * Does something with WebGPU and asks the driver whether it was right.
   *
   * @typeParam T What it gives.
   * @param what What is done, for the message: `run a batch of 40 pages`.
   * @param work Does it; all calls of WebGPU that are to be checked happen before it returns.
   * @returns What `work` gave, when the driver has agreed.
   * @throws {MmsbError} `allocation` where device memory ran out, `gpu` for what else the driver refuses or where the
   * device is lost; what `work` throws if it is an `MmsbError`.
   */
  checked<T>(what: string, work: () => T): Promise<T> {
    return this.#watch.checked(what, work);
  }

  /**
   * Compiles a compute shader.
   *
   * @param code WGSL text.
   * @param options Entry point, name, layout, constants.
   * @returns The pipeline.
   * @throws {MmsbError} `usage` where the shader does not compile, with `line`, `column` and `text` as values;
   * `limit` where it is longer or deeper nested than can be compiled; `gpu` where the device is lost.
   */
  async pipeline(code: string, options: PipelineOptions): Promise<GPUComputePipeline> {
    return await compileShader(this.#watch, code, options);
  }

  /**
   * Makes a buffer to read bytes back with.
   *
   * @param bytes Its size, as in {@linkcode GpuDevice.createBuffer}.
   * @param label Its name, for messages.
   * @returns The buffer, mapped once already and thus good for early reads.
   * @throws {MmsbError} As {@linkcode GpuDevice.createBuffer}, and `allocation` where there is no memory.
   */
  async readBack(bytes: number, label = "read back"): Promise<ReadBack> {
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const buffer = await this.#allocate(bytes, () => this.#createBuffer(bytes, usage, label));
    try {
      const mapped = buffer.mapAsync(GPUMapMode.READ);
      this.#watch.settleLater(mapped);
      await mapped;
      buffer.unmap();
    } catch (error) {
      this.destroyBuffer(buffer);
      throw await this.#watch.failure(`map a buffer of ${bytes} bytes`, error);
    }
    return new ReadBack(buffer, this.#watch, () => this.destroyBuffer(buffer));
  }

  /**
   * Reads bytes of a buffer once; for every tick use a {@linkcode ReadBack}.
   *
   * @param buffer A buffer of this device that stands, with usage COPY_SRC.
   * @param offset Its first byte to be read, a multiple of 4.
   * @param target Where the bytes go: its length, a multiple of 4, says how many.
   * @throws {MmsbError} As {@linkcode GpuDevice.write} and {@linkcode GpuDevice.readBack}.
   */
  async read(buffer: GPUBuffer, offset: number, target: Uint8Array): Promise<void> {
    if (!isBytes(target)) throw new MmsbError("usage", "Cannot read: give a Uint8Array as target");
    const bytes = target.length;
    this.checkRange(buffer, offset, bytes);
    this.checkAlive(`read ${bytes} bytes`);
    if (bytes === 0) return;
    const back = await this.#takeReadBack(bytes);
    try {
      await this.checked(`read ${bytes} bytes`, () => {
        this.checkRange(buffer, offset, bytes);
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer, offset, back.buffer, 0, bytes);
        this.queue.submit([encoder.finish()]);
      });
      await back.read(target);
    } finally {
      this.#giveReadBack(back);
    }
  }

  /**
   * Makes ready for small reads, so that the first one need not wait.
   *
   * @throws {MmsbError} As {@linkcode GpuDevice.readBack}.
   */
  async prepareReads(): Promise<void> {
    this.#giveReadBack(await this.#takeReadBack(READ_BYTES_KEPT));
  }

  /**
   * The first error that the driver reported outside of {@linkcode GpuDevice.checked} since the last call.
   *
   * @returns The error; `undefined` where there was none.
   */
  takeError(): MmsbError | undefined {
    return this.#watch.takeError();
  }

  /**
   * Refuses to go on where the device is gone.
   *
   * @param what What was to be done: `write 4096 bytes`.
   * @throws {MmsbError} `gpu` where it is.
   */
  checkAlive(what: string): void {
    this.#watch.checkAlive(what);
  }

  /**
   * Gives the device back: frees all buffers, and waits for what is on its way. Twice does no harm.
   *
   * @returns When nothing of it is left.
   */
  async destroy(): Promise<void> {
    // The word first: what is refused because of it says so.
    const closed = this.#watch.close();
    for (const buffer of [...this.#buffers]) this.destroyBuffer(buffer);
    await closed;
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  #createBuffer(bytes: number, usage: number, label: string): GPUBuffer {
    checkType("label", label, "string");
    this.#checkSize(bytes, usage);
    const what = `create a buffer of ${bytes} bytes`;
    this.checkAlive(what);
    try {
      const buffer = this.device.createBuffer({ size: bytes, usage, label: clip(label) });
      this.#buffers.add(buffer);
      this.#bufferBytes += bytes;
      return buffer;
    } catch (error) {
      throw gpuFailure(what, error);
    }
  }

  async #takeReadBack(bytes: number): Promise<ReadBack> {
    if (bytes > READ_BYTES_KEPT) return await this.readBack(bytes);
    const kept = this.#readBack;
    this.#readBack = undefined;
    return kept ?? await this.readBack(READ_BYTES_KEPT, "small reads");
  }

  #giveReadBack(back: ReadBack): void {
    if (back.bytes === READ_BYTES_KEPT && this.#readBack === undefined && !this.isLost) {
      this.#readBack = back;
    } else back.destroy();
  }

  async #allocate(bytes: number, create: () => GPUBuffer): Promise<GPUBuffer> {
    let buffer: GPUBuffer | undefined;
    try {
      return await this.checked(`create a buffer of ${bytes} bytes`, () => buffer = create());
    } catch (error) {
      // A buffer that the driver refused is an object all the same.
      if (buffer !== undefined) this.destroyBuffer(buffer);
      throw error;
    }
  }

  #checkSize(bytes: number, usage: number): void {
    if (bytes === 0) {
      throw new MmsbError("usage", "Cannot create a buffer of 0 bytes: give 4 or more");
    }
    const { maxBufferSize, maxStorageBufferBindingSize } = this.adapter.limits;
    const isStorage = (usage & GPUBufferUsage.STORAGE) !== 0;
    const max = isStorage ? Math.min(maxBufferSize, maxStorageBufferBindingSize) : maxBufferSize;
    checkInteger("bytes of a buffer", bytes, 4, max - max % 4, "limit");
    if (bytes % 4 !== 0) {
      throw new MmsbError(
        "usage",
        `Cannot create a buffer of ${bytes} bytes: give a multiple of 4`,
        { values: { bytes } },
      );
    }
  }
}
