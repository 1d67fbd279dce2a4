/** How an SNTP clock does against the clock that its server serves: `CLOCK_REALTIME` of this machine. */
import { ClockReading, type ClockSource } from "../clock_source.ts";
import { systemCalls, timespecSeconds } from "../system_calls.ts";

/** A reading that took longer says nothing: the thread was held up between two clocks. */
const WIDTH_NS_MAX = 2000;

/** What was found. */
export interface TrueTimeFigures {
  readonly readings: number;
  readonly contained: number;
  /** 99.9 % quantile of |error| / bound. */
  readonly tightness: number;
  readonly boundUs: number;
}

/** Reads a source beside `CLOCK_REALTIME`, `readings` times after each sync; undefined without FFI. */
export async function compareWithTrueTime(
  source: ClockSource,
  { syncs, readings }: { syncs: number; readings: number },
): Promise<TrueTimeFigures | undefined> {
  const calls = systemCalls();
  if (calls === undefined) return undefined;
  const reading = new ClockReading();
  const errors: number[] = [], bounds: number[] = [];
  const realtime = () => {
    calls.clockGettime(calls.clocks.realtime);
    return BigInt(timespecSeconds(calls.timespec)) * 1_000_000_000n + BigInt(calls.timespec[2]);
  };
  for (let sync = 0; sync < syncs; sync++) {
    await source.sync();
    for (let i = 0; i < readings; i++) {
      const before = realtime();
      source.read(reading);
      const after = realtime();
      if (after - before > WIDTH_NS_MAX && i > 0) {
        i--;
        continue;
      }
      errors.push(Math.abs(Number(2n * reading.ns - before - after) / 2));
      bounds.push(reading.errorNs + Number(after - before) / 2);
    }
  }
  const ratios = errors.map((error, i) => error / bounds[i]).sort((a, b) => a - b);
  return {
    readings: ratios.length,
    contained: ratios.filter((ratio) => ratio <= 1).length / ratios.length,
    tightness: ratios[Math.floor(ratios.length * 0.999)],
    boundUs: bounds.reduce((sum, bound) => sum + bound, 0) / bounds.length / 1000,
  };
}
