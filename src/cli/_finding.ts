/**
 * What a probe of `mmsb doctor` finds. Each tries one thing that MMSB builds on, and says what it
 * found, what that means, and what to do where it is less than it could be.
 *
 * A probe never throws and asks for no permission at a prompt: what fails is what it reports.
 */

import { formatFigure } from "../perf/mod.ts";

/** `missing` is needed, `limited` is done without or slower. */
export type FindingStatus = "ok" | "limited" | "missing";

/** What a probe found. */
export interface Finding {
  /** Key for programs. */
  readonly id: string;
  /** Name for people. */
  readonly name: string;
  /** How it is. */
  readonly status: FindingStatus;
  /** What was found, in one line. */
  readonly found: string;
  /** What that means. */
  readonly meaning: string;
  /** What to do, where something can be done. */
  readonly advice?: string;
  /** The figures, units in their names; null where there is none. */
  readonly figures: Readonly<Record<string, number | string | boolean | null>>;
}

/** Longest wait for a thread or a device to answer, in milliseconds. */
const WAIT_MS_MAX = 5000;

/** Waits for a promise, up to a limit. */
export async function within<T>(promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`no answer within ${WAIT_MS_MAX} ms`)),
    WAIT_MS_MAX,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Milliseconds for people. */
export function ms(value: number): string {
  return formatFigure(value, "ms");
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
