/**
 * Thread clock: what this thread spent on a processor, as pauses are measured on machines that do other work, too.
 */

import { cpuUsage } from "node:process";

/** `CLOCK_THREAD_CPUTIME_ID` of Linux: what this thread spent on a processor, to the ns. */
const THREAD_CLOCK = 3;

/**
 * A clock that counts the milliseconds of this thread on a processor; of all threads of this process, where the system
 * does not tell: V8's own among them, which have much to do after a million handles were made. What Linux shows
 * in `/proc` moves by 4 or 10 ms and is of no use here.
 */
export function threadClock(): { readonly usedMs: () => number; readonly close: () => void } {
  try {
    const library = Deno.dlopen("libc.so.6", {
      clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
    });
    const time = new BigInt64Array(2);
    const usedMs = () => {
      library.symbols.clock_gettime(THREAD_CLOCK, time);
      return Number(time[0]) * 1e3 + Number(time[1]) / 1e6;
    };
    return { usedMs, close: () => library.close() };
  } catch {
    const usedMs = () => {
      const { user, system } = cpuUsage();
      return (user + system) / 1000;
    };
    return { usedMs, close: () => {} };
  }
}
