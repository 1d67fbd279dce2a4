/**
 * The self-test of a device: every kernel on small random batches against its twin on the CPU.
 *
 * A driver that computes wrongly is worse than none: its bytes would go into the log as if they were right. So
 * a device is used only when all kernels have given the CPU's bytes on it, in the process that uses it. The random
 * numbers are the same in every run, so that what one machine found wrong another can repeat.
 *
 * Cost: some milliseconds a kernel, once a device.
 */

import { checkInteger, checkKeys, MmsbError, reasonOf } from "../../base/mod.ts";
import { clip } from "./gpu_errors.ts";

/** The test of one kernel, on an engine with what it needs. */
export interface KernelTest<Engine> {
  /** Name of the kernel. */
  readonly name: string;
  /**
   * Runs the kernel on small random data and compares with the CPU.
   *
   * @param engine What it runs on.
   * @param random Gives random words, 0 … 2³² − 1.
   * @returns What differs, in words; nothing where all bytes agree. It may throw instead.
   */
  readonly test: (
    engine: Engine,
    random: () => number,
  ) => string | undefined | void | Promise<string | undefined | void>;
}

/** How a kernel did. */
export interface KernelVerdict {
  /** Name of the kernel. */
  readonly name: string;
  /** What is wrong; `undefined` where it agrees. */
  readonly reason?: string;
  /** Time of its test, in milliseconds; `undefined` without a clock. */
  readonly ms?: number;
}

/** What a self-test found. */
export interface SelfTestReport {
  /** Whether there was a kernel and all agree. */
  readonly passed: boolean;
  /** What is wrong first, in words; `undefined` where all agree. */
  readonly reason?: string;
  /** Each kernel, in order. */
  readonly kernels: readonly KernelVerdict[];
  /** Time of all, in milliseconds; `undefined` without a clock. */
  readonly ms?: number;
}

/** Options of {@linkcode selfTest}. */
export interface SelfTestOptions {
  /** Start of the random numbers, 0 … 2³² − 1; 1 if left out. */
  readonly seed?: number | undefined;
  /** A clock in milliseconds, to say how long it took. */
  readonly nowMs?: (() => number) | undefined;
}

/**
 * Tests all kernels, one after the other, and goes on behind one that is wrong.
 *
 * @typeParam Engine What the tests run on.
 * @param engine What the tests run on.
 * @param tests A test a kernel.
 * @param options Start of the random numbers, and a clock.
 * @returns What was found; what a test throws is in it.
 * @throws {MmsbError} `usage` where an option is none, or two tests have one name.
 */
export async function selfTest<Engine>(
  engine: Engine,
  tests: readonly KernelTest<Engine>[],
  options: SelfTestOptions = {},
): Promise<SelfTestReport> {
  checkKeys("selfTest", options, ["seed", "nowMs"]);
  const { seed = 1, nowMs } = options;
  checkInteger("seed", seed, 0, 0xffff_ffff);
  checkNames(tests);
  const started = nowMs?.();
  const kernels: KernelVerdict[] = [];
  for (const kernel of tests) {
    const before = nowMs?.();
    const reason = await reasonAgainst(engine, kernel, seed);
    kernels.push({ name: kernel.name, reason, ms: since(before, nowMs) });
  }
  const wrong = kernels.find(({ reason }) => reason !== undefined);
  const reason = wrong !== undefined
    ? `${wrong.name}: ${wrong.reason}`
    : kernels.length === 0
    ? "there is no kernel to be tested"
    : undefined;
  return { passed: reason === undefined, reason, kernels, ms: since(started, nowMs) };
}

async function reasonAgainst<Engine>(
  engine: Engine,
  { name, test }: KernelTest<Engine>,
  seed: number,
): Promise<string | undefined> {
  try {
    const differs = await test(engine, randomWords(seed, name));
    return differs === undefined ? undefined : clip(differs);
  } catch (error) {
    return clip(reasonOf(error));
  }
}

function checkNames<Engine>(tests: readonly KernelTest<Engine>[]): void {
  const names = new Set<string>();
  for (const { name } of tests) {
    if (names.has(name)) {
      throw new MmsbError("usage", `Cannot test two kernels with one name: "${name}"`, {
        values: { name },
      });
    }
    names.add(name);
  }
}

function since(start: number | undefined, nowMs: (() => number) | undefined): number | undefined {
  return start === undefined || nowMs === undefined ? undefined : nowMs() - start;
}

/**
 * Random words from a seed and a name: xorshift32 (Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8,
 * 2003), so that a kernel has the same data whichever kernels are tested before it.
 */
function randomWords(seed: number, name: string): () => number {
  let state = seed;
  for (const letter of name) state = Math.imul(state ^ letter.codePointAt(0)!, 0x9e37_79b1) >>> 0;
  // Zero is the one state that is never left.
  state ||= 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>>= 0;
  };
}
