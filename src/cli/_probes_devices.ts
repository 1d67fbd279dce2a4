/**
 * The probes of `mmsb doctor` for what MMSB uses where it is there: calls into the system, and mapped files.
 */

import { MEMORY_LIMIT_BYTES_DEFAULT } from "../base/limits.ts";
import { MappedImage, mappingUnavailable, uniqueFileName } from "../physical/mod.ts";
import { type Finding, messageOf } from "./_finding.ts";

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

/** Tries a mapped file as `arena: "mmap"` has it: in memory, and on the disk of a folder. */
export function probeMapping(folder: string): Finding {
  const common = { id: "mapping", name: "mapping" };
  const unavailable = mappingUnavailable();
  const reasons = unavailable === undefined
    ? [tryMapping("/dev/shm"), tryMapping(folder)]
    : [unavailable, unavailable];
  const figures = { inMemory: reasons[0] === undefined, onDisk: reasons[1] === undefined };
  const works = ["in /dev/shm", "on this disk"].filter((_, index) => reasons[index] === undefined);
  const failed = [...new Set(reasons.filter((reason) => reason !== undefined))];
  return {
    ...common,
    status: failed.length === 0 ? "ok" : "limited",
    found: works.length === 0
      ? `not available: ${failed.join("; ")}`
      : `works ${works.join(" and ")}${failed.length === 0 ? "" : `; ${failed.join("; ")}`}`,
    meaning: figures.onDisk
      ? "Other processes can follow a bus's pages, and a clean close is opened again without a replay"
      : 'arena: "mmap" serves from the shared arena: other processes read the log',
    ...(unavailable === "it needs --allow-ffi"
      ? { advice: "run with --allow-ffi if you want it" }
      : {}),
    figures,
  };
}

/** Makes, grows and uses a mapped file of the default limit; why not, where it cannot be. */
function tryMapping(folder: string): string | undefined {
  const path = `${folder}/${uniqueFileName()}`;
  try {
    using image = MappedImage.create(path, { limitBytes: MEMORY_LIMIT_BYTES_DEFAULT, shards: 1 });
    image.arena.grow(GROWN_BYTES);
    image.arena.words[GROWN_BYTES / 4 - 1] = 7;
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    try {
      Deno.removeSync(path);
    } catch { /* It was not made. */ }
  }
}

const GROWN_BYTES = 2 ** 20;
