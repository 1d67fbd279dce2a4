/**
 * The one place of this folder that calls the machine: its C library by FFI, the runtime's clocks.
 *
 * The library is opened at the first use, and only where FFI is granted already, so that importing MMSB
 * asks for nothing and nobody is prompted. It is closed again at once: the process holds its C library
 * anyway, the functions stay good for its life, and no open library stays behind that a test's leak check would find.
 *
 * Cost: opening 0.1 ms a thread; a clock 27 ns by FFI, 90 ns by the runtime.
 */
import type { SystemCalls } from "./system_calls.ts";

/** Files that hold the C library, by system; the first that opens is taken. */
const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  linux: ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"],
  darwin: ["libSystem.B.dylib"],
};

const CLOCK_SYMBOLS = {
  clock_gettime: { parameters: ["i32", "pointer"], result: "i32" },
  clock_getres: { parameters: ["i32", "pointer"], result: "i32" },
} as const satisfies Record<string, Deno.ForeignFunction>;

const LINUX_SYMBOLS = {
  ...CLOCK_SYMBOLS,
  __errno_location: { parameters: [], result: "pointer" },
  adjtimex: { parameters: ["buffer"], result: "i32" },
  open: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Record<string, Deno.ForeignFunction>;

const DARWIN_SYMBOLS = {
  ...CLOCK_SYMBOLS,
  __error: { parameters: [], result: "pointer" },
} as const satisfies Record<string, Deno.ForeignFunction>;

/** So that a device that is busy or no device does not hold the thread, and no child process gets the file. */
const O_NONBLOCK = 0o4000, O_CLOEXEC = 0o2000000;

const ENOENT = 2, ENOSYS = 38;

/** Opens the C library of this machine; where that cannot be, says why in words that go on after `because`. */
export function openLibrary(): SystemCalls | { readonly reason: string } {
  const { os } = Deno.build;
  const libraries = LIBRARIES[os];
  if (libraries === undefined) return { reason: `the system's own clock is not known on ${os}` };
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { reason: "the permission --allow-ffi is not granted" };
  }
  let first: unknown;
  for (const library of libraries) {
    try {
      return os === "linux" ? openLinux(library) : openDarwin(library);
    } catch (error) {
      first ??= error;
    }
  }
  const message = first instanceof Error ? first.message : String(first);
  return { reason: `the C library does not answer (${message.split("\n", 1)[0]})` };
}

function openLinux(library: string): SystemCalls {
  const opened = Deno.dlopen(library, LINUX_SYMBOLS);
  opened.close();
  const { symbols } = opened;
  const { __errno_location: errnoAddress, adjtimex, open, ioctl, close } = symbols;
  const failed = () => -errnoAt(errnoAddress());
  return {
    clocks: { realtime: 0, steady: 7, realtimeCoarse: 5, steadyCoarse: 6 },
    ...clockCalls(symbols, failed),
    adjtimex(timex) {
      const state = adjtimex(timex);
      return state >= 0 ? state : failed();
    },
    open(path, flags) {
      if (path.includes("\0")) return -ENOENT;
      const file = open(new TextEncoder().encode(`${path}\0`), flags | O_CLOEXEC | O_NONBLOCK, 0);
      return file >= 0 ? file : failed();
    },
    ioctl(file, request, argument) {
      const result = ioctl(file, BigInt(request), argument);
      return result >= 0 ? result : failed();
    },
    close: (file) => close(file) === 0 ? 0 : failed(),
  };
}

function openDarwin(library: string): SystemCalls {
  const opened = Deno.dlopen(library, DARWIN_SYMBOLS);
  opened.close();
  const { symbols } = opened;
  const absent = () => -ENOSYS;
  return {
    // Its CLOCK_MONOTONIC counts while the machine sleeps, as Linux's CLOCK_BOOTTIME does; it has no coarse ones.
    clocks: { realtime: 0, steady: 6, realtimeCoarse: undefined, steadyCoarse: undefined },
    ...clockCalls(symbols, () => -errnoAt(symbols.__error())),
    adjtimex: absent,
    open: absent,
    ioctl: absent,
    close: absent,
  };
}

type ClockSymbols = Deno.DynamicLibrary<typeof CLOCK_SYMBOLS>["symbols"];

function clockCalls(
  symbols: ClockSymbols,
  failed: () => number,
): Pick<SystemCalls, "timespec" | "clockGettime" | "clockGetres"> {
  const { clock_gettime: gettime, clock_getres: getres } = symbols;
  // Over a buffer of its own, so that its bytes stay where they are; the address is taken once, which is cheaper.
  const timespec = new Uint32Array(new ArrayBuffer(16));
  const address = Deno.UnsafePointer.of(timespec);
  return {
    timespec,
    clockGettime: (clock) => gettime(clock, address) === 0 ? 0 : failed(),
    clockGetres: (clock) => getres(clock, address) === 0 ? 0 : failed(),
  };
}

function errnoAt(address: Deno.PointerValue): number {
  return address === null ? ENOSYS : new Deno.UnsafePointerView(address).getInt32();
}

/** The thread's start, whole µs since the Unix epoch; rounded once so that the sum stays exact. */
const originUs = Math.round(performance.timeOrigin * 1000);

/** The runtime's wall clock in µs: monotonic in a thread, and does not follow when the system's clock is set. */
export function runtimeNowUs(): number {
  return originUs + Math.floor(performance.now() * 1000);
}

/** The runtime's steady clock in ns; each thread has its own beginning. */
export function runtimeSteadyNs(): number {
  return performance.now() * 1e6;
}

/** The system's wall clock in whole ms: it follows when the clock is set. */
export function runtimeWallMs(): number {
  return Date.now();
}

/** Whether a permission is granted already: nobody is prompted. */
export function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** Why a module cannot be loaded by a worker, in words that go on after `because`. */
export function workerMissing(module: URL): string | undefined {
  if (module.protocol !== "file:") return undefined;
  const isReadable = isGranted({ name: "read", path: module });
  return isReadable ? undefined : `a thread needs --allow-read for ${module.pathname}`;
}
