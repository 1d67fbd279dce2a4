/**
 * What a process holds: memory after collection, open files, threads, timers that wait. A soak looks at them again
 * and again; what grows is a leak.
 *
 * Files and threads are read from `/proc` and so known on Linux only; elsewhere they are NaN and not judged.
 */

import { cpuUsage } from "node:process";
import v8 from "node:v8";
import vm from "node:vm";
import { threadClock } from "../src/validators/thread_clock.ts";

/** What is held. */
export interface ProcessState {
  /** Resident set, in bytes. */
  readonly residentBytes: number;
  /** Bytes of live objects. */
  readonly heapBytes: number;
  /** Bytes of buffers outside the heap that objects keep. */
  readonly externalBytes: number;
  readonly files: number;
  /** Threads of workers. */
  readonly workers: number;
  /** Timers that wait. */
  readonly timers: number;
}

/** Runs V8's collector: a full collection. */
export function collector(): () => void {
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc");
}

/** Looks at this process, after a collection. */
export function processState(collect: () => void, timers: TimerCount): ProcessState {
  collect();
  const { rss, heapUsed, external } = Deno.memoryUsage();
  return {
    residentBytes: rss,
    heapBytes: heapUsed,
    externalBytes: external,
    files: countOf("/proc/self/fd", () => true),
    // Deno names the threads of workers so.
    workers: countOf("/proc/self/task", (task) => /^worker-\d+$/.test(nameOf(task))),
    timers: timers.live,
  };
}

function countOf(folder: string, counts: (name: string) => boolean): number {
  if (Deno.build.os !== "linux") return NaN;
  return [...Deno.readDirSync(folder)].filter(({ name }) => counts(name)).length;
}

function nameOf(task: string): string {
  try {
    return Deno.readTextFileSync(`/proc/self/task/${task}/comm`).trim();
  } catch {
    return ""; // It has ended meanwhile.
  }
}

/**
 * Counts the milliseconds of this thread on a processor, however busy the machine is with other things; of all threads of
 * this process where the system does not tell of one.
 */
export class ThreadClock implements Disposable {
  /** Milliseconds so far. */
  readonly usedMs: () => number;
  readonly #close: () => void;

  constructor() {
    const { usedMs, close } = threadClock();
    this.usedMs = usedMs;
    this.#close = close;
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}

/** Milliseconds of all threads of this process on a processor. */
function processMs(): number {
  const { user, system } = cpuUsage();
  return (user + system) / 1000;
}

/** What the machine did so far, in milliseconds: all cores, the cores at work, and this process. */
export interface MachineTime {
  readonly allMs: number;
  readonly busyMs: number;
  readonly ownMs: number;
}

/** Milliseconds of a tick of the kernel's clock, which Linux shows to programs as 100 Hz everywhere. */
const KERNEL_TICK_MS = 10;

/** What the machine did so far; NaN where the system does not tell. */
export function machineTime(): MachineTime {
  if (Deno.build.os !== "linux") return { allMs: NaN, busyMs: NaN, ownMs: NaN };
  const [line] = Deno.readTextFileSync("/proc/stat").split("\n");
  // user, nice, system, idle, iowait, irq, softirq, steal
  const times = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const allMs = KERNEL_TICK_MS * times.reduce((sum, time) => sum + time, 0);
  return { allMs, busyMs: allMs - KERNEL_TICK_MS * (times[3] + times[4]), ownMs: processMs() };
}

/** Percent of all cores' time between two moments that others than this process took. */
export function othersPercent(from: MachineTime, to: MachineTime): number {
  const others = to.busyMs - from.busyMs - (to.ownMs - from.ownMs);
  return Math.max(0, 100 * others / (to.allMs - from.allMs));
}

/** Bytes of all files in a folder and below. */
export function folderBytes(folder: string): number {
  let bytes = 0;
  for (const { name, isDirectory, isFile } of Deno.readDirSync(folder)) {
    if (isDirectory) bytes += folderBytes(`${folder}/${name}`);
    else if (isFile) bytes += Deno.statSync(`${folder}/${name}`).size;
  }
  return bytes;
}

/** Counts the timers of a program: stands in the way of those who set and clear them until it is disposed of. */
export class TimerCount implements Disposable {
  readonly #live = new Set<unknown>();
  readonly #real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setInterval: globalThis.setInterval,
    clearInterval: globalThis.clearInterval,
  };

  constructor() {
    const live = this.#live, real = this.#real;
    Object.assign(globalThis, {
      setTimeout(callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): unknown {
        const timer: unknown = real.setTimeout(() => {
          live.delete(timer);
          callback(...args);
        }, ms);
        live.add(timer);
        return timer;
      },
      clearTimeout(timer: number): void {
        live.delete(timer);
        real.clearTimeout(timer);
      },
      setInterval(
        callback: (...args: unknown[]) => void,
        ms?: number,
        ...args: unknown[]
      ): unknown {
        const timer = real.setInterval(callback, ms, ...args);
        live.add(timer);
        return timer;
      },
      clearInterval(timer: number): void {
        live.delete(timer);
        real.clearInterval(timer);
      },
    });
  }

  /** Timers that wait now. */
  get live(): number {
    return this.#live.size;
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, this.#real);
  }
}
