/**
 * A WebGPU without a GPU, for what a real one does not do when it is asked to: no adapter, one that rejects, hangs or says
 * nonsense, a device that is refused, lost, or out of memory, and mapping as the standard has it.
 *
 * Buffers are arrays, copies are done when they are submitted, shaders compile and do nothing.
 */

/** How the fake behaves. */
export interface FakeGpuOptions {
  /** What `requestAdapter` does; it gives one if left out. */
  readonly adapter?:
    | "none"
    | "undefined"
    | "rejects"
    | "throws"
    | "hangs"
    | "no info"
    | "no limits";
  /** What the adapter says of itself. */
  readonly info?: Readonly<Partial<Record<keyof GPUAdapterInfo, unknown>>>;
  /** Limits other than those of the fake. */
  readonly limits?: Readonly<Record<string, number>>;
  /** What `requestDevice` does; it gives one if left out. */
  readonly device?: "none" | "rejects" | "throws" | "hangs" | "is late" | "is lost";
  /** Whether a mapping can be looked into before its promise settles, as in Deno; unmapped before, that rejects. */
  readonly showsEarly?: boolean;
  /** Bytes of device memory; a buffer beyond them is an error of the scope "out-of-memory". */
  readonly memoryBytes?: number;
}

const LIMITS: Readonly<Record<string, number>> = {
  maxBindGroups: 4,
  maxBindingsPerBindGroup: 1000,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBufferBindingSize: 65_536,
  maxStorageBufferBindingSize: 134_217_728,
  minUniformBufferOffsetAlignment: 256,
  minStorageBufferOffsetAlignment: 256,
  maxBufferSize: 268_435_456,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65_535,
};

/** The fake. */
export class FakeGpu {
  /** Devices that it gave. */
  readonly devices: FakeDevice[] = [];
  /** Milliseconds behind which a late device comes. */
  readonly lateMs = 20;
  readonly #options: FakeGpuOptions;

  constructor(options: FakeGpuOptions = {}) {
    this.#options = options;
  }

  /** Itself, as what `GpuDevice.open` takes. */
  get gpu(): GPU {
    return this as unknown as GPU;
  }

  requestAdapter(): Promise<unknown> {
    const { adapter, info, limits } = this.#options;
    switch (adapter) {
      case "none":
        return Promise.resolve(null);
      case "undefined":
        return Promise.resolve(undefined);
      case "rejects":
        return Promise.reject(new DOMException("the driver is too old", "OperationError"));
      case "throws":
        throw new Error("the driver cannot be loaded");
      case "hangs":
        return new Promise(() => {});
      case "no info":
        return Promise.resolve({ limits: LIMITS, features: new Set() });
      default:
    }
    return Promise.resolve({
      info: { vendor: "acme", architecture: "one", device: "", description: "Acme One", ...info },
      limits: adapter === "no limits" ? {} : { ...LIMITS, ...limits },
      features: new Set(["timestamp-query", "shader-f16"]),
      requestDevice: () => this.#requestDevice(),
    });
  }

  #requestDevice(): Promise<unknown> {
    const { device } = this.#options;
    switch (device) {
      case "none":
        return Promise.resolve(null);
      case "rejects":
        return Promise.reject(new TypeError("a limit is not supported"));
      case "throws":
        throw new Error("the adapter is used up");
      case "hangs":
        return new Promise(() => {});
      default:
    }
    const given = new FakeDevice(this.#options);
    this.devices.push(given);
    if (device === "is lost") given.lose("it fell off the bus");
    if (device !== "is late") return Promise.resolve(given);
    return new Promise((resolve) => setTimeout(() => resolve(given), this.lateMs));
  }
}

/** A device of the fake. */
export class FakeDevice extends EventTarget {
  readonly queue: FakeQueue = new FakeQueue();
  readonly lost: Promise<{ reason: string; message: string }>;
  /** Whether it was destroyed. */
  isDestroyed = false;
  readonly #lose: (info: { reason: string; message: string }) => void;
  readonly #scopes: { filter: string; error: unknown }[] = [];
  readonly #memoryBytes: number;
  readonly #showsEarly: boolean;
  /** Mappings whose promise has not settled. */
  readonly pending = new Set<Promise<void>>();
  #usedBytes = 0;

  constructor({ memoryBytes = Infinity, showsEarly = false }: FakeGpuOptions) {
    super();
    this.#memoryBytes = memoryBytes;
    this.#showsEarly = showsEarly;
    const lost = Promise.withResolvers<{ reason: string; message: string }>();
    this.lost = lost.promise;
    this.#lose = lost.resolve;
  }

  /** Loses the device, as a driver does. */
  lose(message: string): void {
    this.#lose({ reason: "unknown", message });
  }

  destroy(): void {
    this.isDestroyed = true;
    this.#lose({ reason: "destroyed", message: "" });
  }

  pushErrorScope(filter: string): void {
    this.#scopes.push({ filter, error: null });
  }

  popErrorScope(): Promise<unknown> {
    const scope = this.#scopes.pop();
    return scope === undefined
      ? Promise.reject(new DOMException("no scope is open", "OperationError"))
      : Promise.resolve(scope.error);
  }

  createBuffer({ size }: { size: number }): FakeBuffer {
    if (this.#usedBytes + size > this.#memoryBytes) {
      const scope = this.#scopes.findLast(({ filter }) => filter === "out-of-memory");
      const error = new GPUOutOfMemoryError("no memory for the buffer");
      if (scope === undefined) {
        this.dispatchEvent(Object.assign(new Event("uncapturederror"), { error }));
      } else scope.error ??= error;
      return new FakeBuffer(this, 0, size);
    }
    this.#usedBytes += size;
    return new FakeBuffer(this, size, size);
  }

  /** Whether bytes can be seen before the promise settles. */
  get showsEarly(): boolean {
    return this.#showsEarly;
  }

  /** Takes the memory of a buffer back. */
  free(bytes: number): void {
    this.#usedBytes -= bytes;
  }

  createCommandEncoder(): FakeEncoder {
    return new FakeEncoder();
  }
}

/** A buffer of the fake: an array, with mapping as the standard has it. */
export class FakeBuffer {
  readonly size: number;
  bytes: Uint8Array;
  readonly #device: FakeDevice;
  #isMapped = false;
  #mapping: { readonly reject: (reason: unknown) => void } | undefined;

  constructor(device: FakeDevice, bytes: number, size: number) {
    this.#device = device;
    this.bytes = new Uint8Array(bytes);
    this.size = size;
  }

  mapAsync(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const mapping = { reject };
    this.#mapping = mapping;
    this.#isMapped = this.#device.showsEarly;
    const { pending } = this.#device;
    pending.add(promise);
    setTimeout(() => {
      pending.delete(promise);
      if (this.#mapping !== mapping) return reject(aborted());
      this.#mapping = undefined;
      this.#isMapped = true;
      resolve();
    }, 5);
    return promise;
  }

  getMappedRange(offset = 0, bytes: number = this.size - offset): ArrayBuffer {
    if (!this.#isMapped) throw new DOMException("it is not mapped", "OperationError");
    return this.bytes.slice(offset, offset + bytes).buffer;
  }

  unmap(): void {
    if (!this.#device.showsEarly) this.#mapping?.reject(aborted());
    this.#mapping = undefined;
    this.#isMapped = false;
  }

  destroy(): void {
    this.unmap();
    this.#device.free(this.bytes.length);
    this.bytes = new Uint8Array(0);
  }
}

function aborted(): DOMException {
  return new DOMException("it was unmapped", "AbortError");
}

type Command = () => void;

class FakeEncoder {
  readonly #commands: Command[] = [];

  copyBufferToBuffer(
    source: FakeBuffer,
    sourceOffset: number,
    target: FakeBuffer,
    targetOffset: number,
    bytes: number,
  ): void {
    this.#commands.push(() =>
      target.bytes.set(source.bytes.subarray(sourceOffset, sourceOffset + bytes), targetOffset)
    );
  }

  finish(): readonly Command[] {
    return this.#commands;
  }
}

class FakeQueue {
  writeBuffer(buffer: FakeBuffer, offset: number, view: ArrayBufferView): void {
    buffer.bytes.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), offset);
  }

  submit(lists: readonly (readonly Command[])[]): void {
    for (const list of lists) for (const command of list) command();
  }
}
