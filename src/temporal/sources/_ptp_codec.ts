/**
 * What Linux's hardware clocks say, byte by byte: the requests of `linux/ptp_clock.h` and how their answers are read.
 *
 * A hardware clock is compared with the system's by reading one between two readings of the other. The kernel does that closest to
 * the device, and says it in three ways, best first:
 *
 * ```text
 * request         number      bytes   answer
 * precise         0xc0403d08     64   device, realtime, monotonic raw: latched at the same moment by hardware
 * extended        0xc4c03d09   1216   u32 n at 0; from 16 on n times: realtime, device, realtime
 * offset          0x43403d05    832   u32 n at 0; from 16 on realtime, then n times: device, realtime
 * capabilities    0x80503d01     80   i32 at 24: whether `precise` is there
 * ```
 *
 * A time is 16 bytes: i64 seconds, u32 nanoseconds, 4 bytes of nothing; all in the machine's order, which is little-endian wherever
 * this runs. Of several samples the one that took least time is the best: the least could come between.
 *
 * Cost: below a microsecond for five samples.
 */

/** The request for a clock's capabilities. */
export const PTP_CAPABILITIES = 0x80503d01;
/** The request for interleaved times. */
export const PTP_OFFSET = 0x43403d05;
/** The request for times latched by hardware. */
export const PTP_PRECISE = 0xc0403d08;
/** The request for triples of times. */
export const PTP_EXTENDED = 0xc4c03d09;

/** Bytes of the largest answer. */
export const PTP_BYTES_MAX = 1216;
/** Samples of one request at most. */
export const PTP_SAMPLES_MAX = 25;

const NS_PER_S = 1_000_000_000;
const TIMES_AT = 16, TIME_BYTES = 16;
const CROSS_TIMESTAMPING_AT = 24;
/** Reading a device takes microseconds; two samples so far apart are a step of the device. */
const JUMP_NS = NS_PER_S;

/** One comparison of two clocks: what they said at the same moment. */
export interface CrossTimestamp {
  /** Seconds of the system's clock. */
  readonly systemSeconds: number;
  /** Its nanoseconds; may have half a nanosecond. */
  readonly systemNs: number;
  /** Seconds of the device. */
  readonly deviceSeconds: number;
  /** Its nanoseconds. */
  readonly deviceNs: number;
  /** How far the moments may be apart, either way, in ns. */
  readonly widthNs: number;
}

/** Clock id of an open device, for `clock_gettime`: as `linux/posix-timers.h` makes it. */
export function deviceClockId(file: number): number {
  return (~file << 3) | 3;
}

/** Whether the device latches both times by hardware. */
export function hasPrecise(capabilities: DataView): boolean {
  return capabilities.getInt32(CROSS_TIMESTAMPING_AT, true) !== 0;
}

/** Writes how many samples are wanted. */
export function requestSamples(view: DataView, samples: number): void {
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).fill(0);
  view.setUint32(0, samples, true);
}

/**
 * Reads triples.
 *
 * @returns The best of them, or why they are refused, to go on after `as`.
 */
export function readExtended(view: DataView, samples: number): CrossTimestamp | string {
  return best(view, samples, (index) => TIMES_AT + 3 * TIME_BYTES * index);
}

/** Reads interleaved times; see {@linkcode readExtended}. */
export function readOffset(view: DataView, samples: number): CrossTimestamp | string {
  // The system's time behind one sample is that before the next.
  return best(view, samples, (index) => TIMES_AT + 2 * TIME_BYTES * index);
}

/** Reads latched times: the system's is its raw monotonic clock. */
export function readPrecise(view: DataView): CrossTimestamp | string {
  const device = 0, raw = 2 * TIME_BYTES;
  if (!isTime(view, device) || !isTime(view, raw)) return IMPOSSIBLE;
  return {
    systemSeconds: secondsAt(view, raw),
    systemNs: nsAt(view, raw),
    deviceSeconds: secondsAt(view, device),
    deviceNs: nsAt(view, device),
    widthNs: 0,
  };
}

const IMPOSSIBLE = "it gives a time that cannot be";

function best(
  view: DataView,
  samples: number,
  at: (index: number) => number,
): CrossTimestamp | string {
  if (view.getUint32(0, true) !== samples) return "it gives another number of samples than asked";
  let found: CrossTimestamp | undefined;
  let lastDevice = -1;
  for (let index = 0; index < samples; index++) {
    const before = at(index), device = before + TIME_BYTES, after = device + TIME_BYTES;
    if (!isTime(view, before) || !isTime(view, device) || !isTime(view, after)) return IMPOSSIBLE;
    if (lastDevice >= 0 && nsBetween(view, lastDevice, device) < 0) {
      return "its time goes backward while it is read";
    }
    if (lastDevice >= 0 && nsBetween(view, lastDevice, device) > JUMP_NS) {
      return "its time jumps while it is read";
    }
    lastDevice = device;
    const span = nsBetween(view, before, after);
    // Somebody set the system's clock between the two.
    if (span < 0 || (found !== undefined && span / 2 >= found.widthNs)) continue;
    found = {
      systemSeconds: secondsAt(view, before),
      systemNs: nsAt(view, before) + span / 2,
      deviceSeconds: secondsAt(view, device),
      deviceNs: nsAt(view, device),
      widthNs: span / 2,
    };
  }
  return found ?? "the system's clock was set while it was read";
}

function isTime(view: DataView, at: number): boolean {
  const seconds = secondsAt(view, at);
  return Number.isSafeInteger(seconds * 1024) && nsAt(view, at) < NS_PER_S;
}

function secondsAt(view: DataView, at: number): number {
  return view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

function nsAt(view: DataView, at: number): number {
  return view.getUint32(at + 8, true);
}

function nsBetween(view: DataView, from: number, to: number): number {
  return (secondsAt(view, to) - secondsAt(view, from)) * NS_PER_S + nsAt(view, to) -
    nsAt(view, from);
}
