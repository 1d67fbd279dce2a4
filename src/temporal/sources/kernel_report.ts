/**
 * What the kernel says about its clock: `struct timex`, asked by `adjtimex` without changing anything.
 *
 * A daemon that keeps the time (chronyd, ntpd, ptp4l with phc2sys) tells the kernel how wrong the clock may be, and
 * the kernel lets that grow by 500 ppm from then on, the most that it believes an oscillator to be off. After 16 s of such growth,
 * nine hours, or if no daemon ever came, it calls its clock unsynchronised (RFC 1589; Linux, `kernel/time/ntp.c`; adjtimex(2)).
 *
 * Cost: some 1.3 µs a question; nothing is allocated.
 */
import type { SystemCalls } from "./system_calls.ts";

/** Bytes of `struct timex` on 64-bit Linux. */
const TIMEX_BYTES = 208;

// Words of 32 bits where the fields stand, lower half first.
const MODES = 0, OFFSET = 2, FREQUENCY = 4, MAX_ERROR = 6, ESTIMATED_ERROR = 8, STATUS = 10;
const PRECISION = 14, TOLERANCE = 16, TICK = 22, TAI = 40;

/** Bits of `status`. */
const STA_INS = 0x10, STA_DEL = 0x20, STA_UNSYNC = 0x40, STA_CLOCKERR = 0x1000, STA_NANO = 0x2000;

/** What `adjtimex` gives where the clock is not synchronised. */
const TIME_ERROR = 5;

const TWO_32 = 2 ** 32;
/** Frequencies and tolerances count 1/65,536 ppm. */
const PPM = 2 ** -16;
/** µs of a tick when nobody adjusts it; one more is 100 ppm. */
const NOMINAL_TICK_US = 10_000, PPM_PER_TICK_US = 100;

/** The kernel's last answer. */
export class KernelReport {
  readonly #bytes = new Uint8Array(new ArrayBuffer(TIMEX_BYTES));
  readonly #words = new Int32Array(this.#bytes.buffer);
  #state = -1;

  /**
   * Asks the kernel.
   *
   * @param calls The C library.
   * @returns Whether it answered; if not, `error` says why and the other members mean nothing.
   */
  ask(calls: SystemCalls): boolean {
    // 0: change nothing.
    this.#words[MODES] = 0;
    this.#state = calls.adjtimex(this.#bytes);
    return this.#state >= 0;
  }

  /** Number of the error of the last question, 0 if it was answered. */
  get error(): number {
    return this.#state < 0 ? -this.#state : 0;
  }

  /** Whether a daemon vouches for the clock. */
  get isSynchronised(): boolean {
    return this.#state >= 0 && this.#state !== TIME_ERROR &&
      (this.#words[STATUS] & (STA_UNSYNC | STA_CLOCKERR)) === 0;
  }

  /** The most that the clock may be wrong by, in ns: what the daemon said and the growth since. */
  get maxErrorNs(): number {
    return 1000 * Math.max(this.#long(MAX_ERROR), this.#long(ESTIMATED_ERROR), 0);
  }

  /** What the daemon thinks it is wrong by, in ns. */
  get estimatedErrorNs(): number {
    return 1000 * Math.max(this.#long(ESTIMATED_ERROR), 0);
  }

  /** A correction that the kernel is still slewing into the clock, in ns. */
  get offsetNs(): number {
    return this.#long(OFFSET) * ((this.#words[STATUS] & STA_NANO) === 0 ? 1000 : 1);
  }

  /** The clock's precision, in ns. */
  get precisionNs(): number {
    return 1000 * Math.max(this.#long(PRECISION), 0);
  }

  /** The most that the kernel believes the oscillator to be off, in ppm; some 500. */
  get tolerancePpm(): number {
    return Math.max(this.#long(TOLERANCE), 0) * PPM;
  }

  /** By how much the oscillator is found to run fast, in ppm: the correction, the other way round. */
  get driftPpm(): number {
    const tickPpm = (this.#long(TICK) - NOMINAL_TICK_US) * PPM_PER_TICK_US;
    return 0 - this.#long(FREQUENCY) * PPM - tickPpm;
  }

  /** International atomic time less UTC, in s; 0 where nobody told the kernel. */
  get taiOffsetS(): number {
    return this.#words[TAI];
  }

  /** The leap second that comes at the end of the day. */
  get leap(): "none" | "insert" | "delete" {
    const status = this.#words[STATUS];
    return (status & STA_INS) !== 0 ? "insert" : (status & STA_DEL) !== 0 ? "delete" : "none";
  }

  #long(word: number): number {
    return this.#words[word + 1] * TWO_32 + (this.#words[word] >>> 0);
  }
}
