/**
 * What a process holds: memory after collection, open files, threads, timers that wait. A soak looks at them again
 * and again; what grows is a leak.
 *
 * Files and threads are read from `/proc` and so known on Linux only; elsewhere they are NaN and not judged.
 */

import v8 from "node:v8";
import vm from "node:vm";

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
