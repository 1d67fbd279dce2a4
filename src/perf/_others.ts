/**
 * How busy a machine was with other things while something ran: a time taken then says little. On Linux
 * the system counts the time that all processes took together and the time that this one and its
 * children took; the difference is the others', the time stolen from a virtual machine included. In a
 * container the counts are those of the whole host.
 *
 * Cost: two small files read at the beginning and two at the end.
 */

/** Counts of the system at one moment, in its own unit of time. */
export interface BusyCounts {
  /** Time of all cores together. */
  readonly total: number;
  /** Of that, time in which they did something. */
  readonly busy: number;
  /** Of that, time of this process and of its children that have ended. */
  readonly own: number;
}

/** Reads the counts; nothing where the system has none, or does not show them. */
export function readBusyCounts(): BusyCounts | undefined {
  try {
    return parseBusyCounts(
      Deno.readTextFileSync("/proc/stat"),
      Deno.readTextFileSync("/proc/self/stat"),
    );
  } catch {
    return undefined; // Another system, or no permission: then it is not known.
  }
}

/** The counts in the texts of `/proc/stat` and `/proc/self/stat`, see proc(5). */
export function parseBusyCounts(system: string, self: string): BusyCounts | undefined {
  const line = /^cpu +([\d ]+)$/m.exec(system)?.[1];
  // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user already.
  const times = (line ?? "").trim().split(" ").map(Number).slice(0, 8);
  // The name of the program stands in brackets and may hold anything; utime is the 12th field after.
  const fields = self.slice(self.lastIndexOf(")") + 2).split(" ").slice(11, 15).map(Number);
  if (times.length < 8 || fields.length < 4 || ![...times, ...fields].every(Number.isFinite)) {
    return undefined;
  }
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  const total = sum(times);
  const [, , , idle, iowait] = times;
  return { total, busy: total - idle - iowait, own: sum(fields) };
}

/** Percent of all cores' time that others took between two moments. */
export function othersPercent(
  start: BusyCounts | undefined,
  end: BusyCounts | undefined,
): number | undefined {
  if (start === undefined || end === undefined || end.total <= start.total) return undefined;
  const others = (end.busy - start.busy) - (end.own - start.own);
  return Math.max(0, Math.round(1000 * others / (end.total - start.total)) / 10);
}
