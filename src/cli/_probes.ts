/**
 * The probes of `mmsb doctor` for what every bus needs: versions, threads, address space, memory, a
 * clock; and the list of all probes.
 */

import { formatBytes, formatCount } from "../base/bytes.ts";
import { MEMORY_LIMIT_BYTES_DEFAULT } from "../base/limits.ts";
import { describeMachine, formatFigure } from "../perf/mod.ts";
import { verdictOf } from "./_clock_text.ts";
import { type Finding, messageOf, ms, within } from "./_finding.ts";
import { probeGpu } from "./_probe_gpu.ts";
import { probeFfi, probeMapping } from "./_probes_devices.ts";
import { probeSpace, probeSync } from "./_probes_disk.ts";

/** The probes, in the order of the report; each is given the folder whose disk is tried. */
export const PROBES: readonly ((folder: string) => Finding | Promise<Finding>)[] = [
  probeVersions,
  probeThreads,
  probeReserve,
  probeMemory,
  probeSync,
  probeSpace,
  probeClock,
  probeFfi,
  probeMapping,
  probeGpu,
];

const MIB = 2 ** 20;
const GIB = 2 ** 30;

function probeVersions(): Finding {
  const { versions, os, osRelease, arch } = describeMachine();
  return {
    id: "versions",
    name: "versions",
    status: "ok",
    found:
      `mmsb ${versions.mmsb}, deno ${versions.deno}, v8 ${versions.v8}, typescript ${versions.typescript}`,
    meaning: `On ${os} ${osRelease ?? ""} ${arch}: name these where you report a fault`,
    figures: { ...versions, os, osRelease: osRelease ?? null, arch },
  };
}

async function probeThreads(): Promise<Finding> {
  const cores = navigator.hardwareConcurrency;
  const started = performance.now();
  const error = await startWorker();
  const startMs = performance.now() - started;
  const common = { id: "threads", name: "threads", figures: { cores, startMs, works: !error } };
  if (error !== undefined) {
    return {
      ...common,
      status: "missing",
      found: `a worker does not start: ${error}`,
      meaning: "Shards cannot be owned by threads",
      advice: "open the bus with workers: 0, and report this",
    };
  }
  return {
    ...common,
    status: cores > 1 ? "ok" : "limited",
    found: `${cores} logical cores, a worker starts in ${ms(startMs)}`,
    meaning: cores > 1
      ? `Up to ${cores} workers gain from threads; more only share the cores`
      : "Workers would share the one core: workers: 0 is the fastest here",
  };
}

async function startWorker(): Promise<string | undefined> {
  let worker: Worker | undefined;
  try {
    const shared = new Int32Array(new SharedArrayBuffer(4));
    const source = "onmessage = ({ data }) => { Atomics.store(data, 0, 7); postMessage(0); };";
    worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, { type: "module" });
    const answer = Promise.withResolvers<void>();
    worker.onmessage = () => answer.resolve();
    worker.onerror = (event) => {
      event.preventDefault();
      answer.reject(new Error(event.message));
    };
    worker.postMessage(shared);
    await within(answer.promise);
    return Atomics.load(shared, 0) === 7 ? undefined : "it does not share memory";
  } catch (error) {
    return messageOf(error);
  } finally {
    worker?.terminate();
  }
}

function probeReserve(): Finding {
  const wanted = MEMORY_LIMIT_BYTES_DEFAULT;
  let reserved = wanted;
  while (reserved >= MIB && !canReserve(reserved)) reserved /= 2;
  const common = { id: "reserve", name: "arena" };
  if (reserved < MIB) {
    return {
      ...common,
      status: "missing",
      found: "a SharedArrayBuffer cannot grow",
      meaning: "Pages cannot be shared between threads",
      advice: "run Deno 2.9 or newer on a 64-bit system",
      figures: { reservedBytes: 0, wantedBytes: wanted },
    };
  }
  return {
    ...common,
    status: reserved === wanted ? "ok" : "limited",
    found: `a SharedArrayBuffer with ${formatBytes(reserved)} reserved grows`,
    meaning: reserved === wanted
      ? "The default arena can be reserved whole; memory is taken as pages are made"
      : `The default arena wants ${formatBytes(wanted)} of address space`,
    ...(reserved === wanted ? {} : {
      advice: `set memoryLimitBytes to ${reserved} or less, or raise the limit (ulimit -v)`,
    }),
    figures: { reservedBytes: reserved, wantedBytes: wanted },
  };
}

function canReserve(bytes: number): boolean {
  try {
    const buffer = new SharedArrayBuffer(65_536, { maxByteLength: bytes });
    buffer.grow(MIB);
    new Uint8Array(buffer)[MIB - 1] = 1;
    return buffer.byteLength === MIB;
  } catch {
    return false;
  }
}

function probeMemory(): Finding {
  const common = { id: "memory", name: "memory" };
  try {
    const { total, available: free } = Deno.systemMemoryInfo();
    const limit = controlGroupLimit();
    const available = Math.min(free, limit ?? Infinity);
    const isEnough = available >= GIB;
    return {
      ...common,
      status: isEnough ? "ok" : "limited",
      found: `${formatBytes(available)} free of ${formatBytes(total)}${
        limit !== undefined && limit < total ? `, limited to ${formatBytes(limit)}` : ""
      }`,
      meaning: `Room for about ${
        formatCount(available / 1073)
      } pages of 1 KiB, if nothing else grows`,
      ...(available < MEMORY_LIMIT_BYTES_DEFAULT
        ? {
          advice: `set memoryLimitBytes: the default, ${
            formatBytes(MEMORY_LIMIT_BYTES_DEFAULT)
          }, is more`,
        }
        : {}),
      figures: { totalBytes: total, availableBytes: available, limitBytes: limit ?? null },
    };
  } catch (error) {
    return {
      ...common,
      status: "limited",
      found: `unknown: ${messageOf(error)}`,
      meaning: "How many pages fit is not known",
      advice: "run with --allow-sys=systemMemoryInfo",
      figures: { totalBytes: null, availableBytes: null, limitBytes: null },
    };
  }
}

/** The memory limit of a container, where there is one (control groups, version 2). */
function controlGroupLimit(): number | undefined {
  try {
    const text = Deno.readTextFileSync("/sys/fs/cgroup/memory.max").trim();
    return /^\d+$/.test(text) ? Number(text) : undefined;
  } catch {
    return undefined;
  }
}

const CLOCK_SAMPLES = 20_000;

async function probeClock(): Promise<Finding> {
  let stepMs = Infinity;
  const started = performance.now();
  let last = started;
  for (let index = 0; index < CLOCK_SAMPLES; index++) {
    const now = performance.now();
    if (now > last) stepMs = Math.min(stepMs, now - last);
    last = now;
  }
  const callNs = (last - started) / CLOCK_SAMPLES * 1e6;
  const stepUs = stepMs * 1000;
  const isFine = stepUs <= 1;
  const { ClockSelector } = await import("../temporal/sources/mod.ts");
  await using clock = await ClockSelector.open();
  const status = clock.status(), { text, advice } = verdictOf(status);
  const { synchronised, selected, errorNs } = status;
  return {
    id: "clock",
    name: "clock",
    status: isFine && synchronised ? "ok" : "limited",
    found: text,
    meaning: `Steps of ${formatFigure(stepUs, "number")} µs, ${
      formatFigure(callNs, "number")
    } ns a reading: ${
      isFine
        ? "a timestamp's microseconds are real"
        : "timestamps count microseconds, finer than this, and fill the steps with a counter"
    }`,
    ...(advice === undefined
      ? {}
      : { advice: "see mmsb clock status, and mmsb clock setup for what to do" }),
    figures: {
      stepUs,
      callNs,
      source: selected,
      synchronised,
      errorMs: errorNs < Infinity ? errorNs / 1e6 : null,
    },
  };
}
