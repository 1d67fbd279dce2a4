/** What the bus asks of the system beside its log: the memory of its process. */

/** Memory of this process, in bytes. */
export interface ProcessMemory {
  /** What of it is in the machine's memory. */
  readonly residentBytes: number;
  /** The heap of this thread's JavaScript: in use. */
  readonly heapUsedBytes: number;
  /** The same heap: taken from the system. */
  readonly heapTotalBytes: number;
}

/** Asks the system; `undefined` where it does not tell. */
export function processMemory(): ProcessMemory | undefined {
  try {
    const { rss, heapUsed, heapTotal } = Deno.memoryUsage();
    // A platform that does not know says 0, and no process has none.
    if (!(rss > 0)) return undefined;
    return { residentBytes: rss, heapUsedBytes: heapUsed, heapTotalBytes: heapTotal };
  } catch {
    return undefined;
  }
}
