/**
 * The probes of `mmsb doctor` for what MMSB uses where it is there: calls into the system, and a GPU.
 * The search for a GPU may hold the thread while a driver loads, whatever the limit on waiting.
 */

import { type Finding, messageOf, within } from "./_finding.ts";

/** The C library of each system, and a call in it that does nothing. */
const C_LIBRARIES: Readonly<Record<string, readonly [string, string]>> = {
  linux: ["libc.so.6", "getpid"],
  darwin: ["libSystem.B.dylib", "getpid"],
  windows: ["kernel32.dll", "GetCurrentProcessId"],
};

/** Tries a call into the C library. */
export function probeFfi(): Finding {
  const common = { id: "ffi", name: "FFI" };
  const meaning = 'arena: "mmap" and pinning of workers to cores need calls into the system';
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  const library = C_LIBRARIES[Deno.build.os];
  const figures = { permitted: state === "granted", works: false };
  if (state !== "granted") {
    return {
      ...common,
      status: "limited",
      found: "not permitted",
      meaning: `${meaning}; the shared arena serves without`,
      advice: "run with --allow-ffi if you want them",
      figures,
    };
  }
  try {
    if (library === undefined) throw new Error(`no library is known for ${Deno.build.os}`);
    const [file, symbol] = library;
    const opened = Deno.dlopen(file, { [symbol]: { parameters: [], result: "i32" } });
    const pid = opened.symbols[symbol]();
    opened.close();
    return {
      ...common,
      status: "ok",
      found: `permitted, ${file} answers`,
      meaning,
      figures: { ...figures, works: pid === Deno.pid },
    };
  } catch (error) {
    return {
      ...common,
      status: "limited",
      found: `permitted, but it does not work: ${messageOf(error)}`,
      meaning: `${meaning}; the shared arena serves without`,
      figures,
    };
  }
}

/** Looks for a GPU. */
export async function probeGpu(): Promise<Finding> {
  const common = { id: "gpu", name: "GPU" };
  const figures = { adapter: null, software: null, bufferBytesMax: null };
  const meaning = "All work is done by the CPU, with the same results";
  try {
    // An older Deno, or one without WebGPU, has no such property.
    const gpu = navigator.gpu as GPU | undefined;
    const adapter = gpu === undefined ? null : await within(gpu.requestAdapter());
    if (adapter === null) {
      return {
        ...common,
        status: "limited",
        found: gpu === undefined ? "this Deno has no WebGPU" : "no adapter",
        meaning,
        advice: "install a Vulkan, Metal or DirectX 12 driver if there is a GPU",
        figures,
      };
    }
    const { description, vendor } = adapter.info;
    const name = description || vendor || "unnamed";
    const isSoftware = /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(name);
    return {
      ...common,
      status: isSoftware ? "limited" : "ok",
      found: `${name}${isSoftware ? ", a software driver" : ""}`,
      meaning: isSoftware
        ? "Shaders run, on the CPU: good to test them, no gain in speed"
        : 'device: "gpu" or "auto" can use it',
      figures: {
        adapter: name,
        software: isSoftware,
        bufferBytesMax: adapter.limits.maxBufferSize,
      },
    };
  } catch (error) {
    return {
      ...common,
      status: "limited",
      found: `no adapter: ${messageOf(error)}`,
      meaning,
      figures,
    };
  }
}
