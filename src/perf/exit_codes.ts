/**
 * How the command ends: four codes, the same for every command, so that a script can tell "your data
 * is damaged" from "you called me wrongly".
 */

import { isMmsbError, type MmsbErrorCode } from "../base/errors.ts";

/** An exit code of the `mmsb` command. */
export type ExitCode = 0 | 1 | 2 | 3;

/** The exit codes by name. */
export const EXIT: {
  /** What was asked is done, and every check held. */
  readonly done: 0;
  /** A check failed, or the work could not be done. */
  readonly failed: 1;
  /** The command was called wrongly. */
  readonly usage: 2;
  /** The data is damaged. */
  readonly damaged: 3;
} = { done: 0, failed: 1, usage: 2, damaged: 3 };

const USAGE: readonly MmsbErrorCode[] = ["invalid-handle", "limit", "out-of-bounds", "usage"];
const DAMAGE: readonly MmsbErrorCode[] = ["checksum", "corrupt-log", "snapshot"];

/**
 * The exit code of an error.
 *
 * @param error What was thrown.
 * @returns 2 where the call was wrong, 3 where data is damaged, else 1.
 *
 * @example Damage and a wrong call
 * ```ts
 * import assert from "node:assert/strict";
 * import { MmsbError } from "../base/errors.ts";
 *
 * assert.equal(exitCodeOf(new MmsbError("corrupt-log", "Cannot read frame 7")), 3);
 * assert.equal(exitCodeOf(new MmsbError("usage", "Cannot use -1 as seed")), 2);
 * assert.equal(exitCodeOf(new TypeError("x is undefined")), 1);
 * ```
 */
export function exitCodeOf(error: unknown): ExitCode {
  if (!isMmsbError(error)) return EXIT.failed;
  if (USAGE.includes(error.code)) return EXIT.usage;
  return DAMAGE.includes(error.code) ? EXIT.damaged : EXIT.failed;
}
