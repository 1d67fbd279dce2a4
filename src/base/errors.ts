/**
 * Errors: one class, a closed set of codes, and the values involved.
 *
 * Why one class: a caller decides by *code* what to do (retry, read again, give up), and a code
 * survives what a class does not: `postMessage` between threads, a line of JSON in a log, another
 * copy of this module. Why a closed set: a `switch` over `MmsbErrorCode` is checked by the
 * compiler, so that a new code is noticed everywhere it matters.
 *
 * A message is one sentence, capitalised, active, without a full stop, values quoted, state after
 * a colon, and says what to do:
 * `Cannot apply delta to page 7 as its epoch is 4: the delta expects epoch 2`.
 *
 * Cost: making an error walks the stack (microseconds). Errors are made per refused batch, never
 * per row.
 */

/** What went wrong, as a word that a program can decide by; see {@linkcode MMSB_ERROR_CODES}. */
export type MmsbErrorCode =
  | "allocation"
  | "checksum"
  | "clock"
  | "closed"
  | "compression"
  | "corrupt-log"
  | "cycle"
  | "disk-full"
  | "gpu"
  | "invalid-handle"
  | "io"
  | "limit"
  | "locked"
  | "memory-pressure"
  | "network"
  | "out-of-bounds"
  | "read-only"
  | "rule"
  | "snapshot"
  | "stale-epoch"
  | "transaction-conflict"
  | "usage"
  | "version"
  | "worker";

/** What one code means, and whether doing the same again can help. */
export interface MmsbErrorCodeInfo {
  /** Whether the same call, started again from its first read, can succeed with nothing else changed. */
  readonly retryable: boolean;
  /** One sentence on the meaning and on what to do. */
  readonly meaning: string;
}

/** The plain form of an {@linkcode MmsbError}: safe for JSON and for `postMessage`. */
export interface MmsbErrorJson {
  /** Always `"MmsbError"`, so that a reader can tell the object's kind. */
  readonly name: "MmsbError";
  /** The code. */
  readonly code: MmsbErrorCode;
  /** The message. */
  readonly message: string;
  /** Whether a retry can help; given for readers without the table. */
  readonly retryable: boolean;
  /** The values involved; what JSON cannot say is text (see {@linkcode MmsbError.toJSON}). */
  readonly values: Readonly<Record<string, unknown>>;
  /** The cause, if there is one: an error's plain form if it is an `MmsbError`, else text. */
  readonly cause?: unknown;
}

/**
 * Every code, whether a retry can help, and what it means.
 *
 * @example Print the table
 * ```ts
 * import { MMSB_ERROR_CODES } from "@mmsb/mmsb";
 * import assert from "node:assert/strict";
 *
 * assert.equal(MMSB_ERROR_CODES["transaction-conflict"].retryable, true);
 * assert.equal(MMSB_ERROR_CODES["corrupt-log"].retryable, false);
 * ```
 */
export const MMSB_ERROR_CODES: Readonly<Record<MmsbErrorCode, MmsbErrorCodeInfo>> = Object
  .freeze({
    "allocation": info(false, "No room for a page; delete pages or raise the memory limit"),
    "checksum": info(false, "Bytes do not match their checksum; take them from a good copy"),
    "clock": info(true, "No source of time that can be trusted answers; it may come back"),
    "closed": info(false, "The bus, page or stream is closed; open it again"),
    "compression": info(
      false,
      "Bytes cannot be compressed or restored; take them from a good copy",
    ),
    "corrupt-log": info(
      false,
      "Synced bytes of the log are lost; open it with readOnly, or restore the file from a copy",
    ),
    "cycle": info(
      false,
      "The edge would close a cycle in the graph; leave it out or turn it round",
    ),
    "disk-full": info(
      false,
      "The disk has no room for the log; free some, then open the bus again",
    ),
    "gpu": info(true, "The GPU device failed or was lost; another try gets a new one or the CPU"),
    "invalid-handle": info(false, "The page or region does not exist; it may have been deleted"),
    // Not retryable: after a failed sync the system may have dropped the dirty pages, and a second
    // sync that succeeds proves nothing (Rebello et al., "Can Applications Recover from fsync
    // Failures?", USENIX ATC 2020).
    "io": info(
      false,
      "The system refused to read or write; see the cause, then open the bus again",
    ),
    "limit": info(
      false,
      "A limit would be passed; split the work or raise the limit that is named",
    ),
    "locked": info(
      true,
      "Another writer holds the directory; close it, or open this one read-only",
    ),
    "memory-pressure": info(true, "Queues or memory are full for now; wait for a tick, then go on"),
    "network": info(true, "A peer or server cannot be reached; it may come back"),
    "out-of-bounds": info(false, "An offset, length, index or id lies outside what exists"),
    "read-only": info(false, "The bus is read-only; open the directory for writing"),
    "rule": info(false, "A rule failed, so its tick was taken back; mend the rule or its input"),
    "snapshot": info(false, "A checkpoint cannot be written or read; use an older one and the log"),
    "stale-epoch": info(true, "The page has changed since it was read; read it again, then write"),
    "transaction-conflict": info(true, "What the transaction read has changed; run it again"),
    "usage": info(false, "The call is wrong as it stands: an argument's type, value or order"),
    "version": info(false, "A newer version wrote this data; use that version or a newer one"),
    "worker": info(true, "A worker thread ended or does not answer; its tick was taken back"),
  });

function info(retryable: boolean, meaning: string): MmsbErrorCodeInfo {
  return Object.freeze({ retryable, meaning });
}

/** Options of {@linkcode MmsbError}. */
export interface MmsbErrorOptions {
  /** The values involved, by name: ids, offsets, epochs, paths. */
  readonly values?: Readonly<Record<string, unknown>> | undefined;
  /** The error underneath. */
  readonly cause?: unknown;
}

/**
 * The error of everything that cannot do what it was asked. When it is thrown, nothing was lost
 * and nothing is half-applied.
 *
 * @example Decide by code
 * ```ts
 * import { isMmsbError, MmsbError } from "@mmsb/mmsb";
 * import assert from "node:assert/strict";
 *
 * try {
 *   throw new MmsbError("stale-epoch", "Cannot apply delta to page 7 as its epoch is 4", {
 *     values: { page: 7, epoch: 4, expectedEpoch: 2 },
 *   });
 * } catch (error) {
 *   assert(isMmsbError(error, "stale-epoch"));
 *   assert.equal(error.retryable, true);
 *   assert.equal(error.values.page, 7);
 * }
 * ```
 */
export class MmsbError extends Error {
  /** Always `"MmsbError"`. */
  override readonly name = "MmsbError";
  /** What went wrong. */
  readonly code: MmsbErrorCode;
  /** The values involved, by name; frozen. */
  readonly values: Readonly<Record<string, unknown>>;

  /**
   * Makes an error.
   *
   * @param code What went wrong.
   * @param message One sentence: capitalised, active, no full stop, saying what to do.
   * @param options The values involved and the cause.
   */
  constructor(code: MmsbErrorCode, message: string, options: MmsbErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.values = Object.freeze({ ...options.values });
  }

  /** Whether the same call, started again from its first read, can succeed. */
  get retryable(): boolean {
    return MMSB_ERROR_CODES[this.code].retryable;
  }

  /**
   * The plain form, for JSON and for `postMessage`. Values that JSON cannot say become text:
   * bigints their digits, numbers that are not finite their names, byte arrays their type and
   * length, errors their message, functions and symbols their description.
   *
   * @returns A plain object; {@linkcode MmsbError.fromJSON} makes an error of it again.
   */
  toJSON(): MmsbErrorJson {
    return {
      name: "MmsbError",
      code: this.code,
      message: this.message,
      retryable: this.retryable,
      values: Object.fromEntries(
        Object.entries(this.values).map(([key, value]) => [key, plain(value, 0)]),
      ),
      ...(this.cause === undefined ? {} : { cause: plain(this.cause, 0) }),
    };
  }

  /**
   * Makes an error of its plain form, on the other side of a `postMessage` or of a file.
   *
   * @param json What {@linkcode MmsbError.toJSON} gave.
   * @returns An error with the same code, message and values. A code that this version does not
   * know (a newer version wrote it) becomes `usage`, and the code is kept in `values.code`.
   */
  static fromJSON(json: MmsbErrorJson): MmsbError {
    const cause = isErrorJson(json.cause) ? MmsbError.fromJSON(json.cause) : json.cause;
    if (Object.hasOwn(MMSB_ERROR_CODES, json.code)) {
      return new MmsbError(json.code, json.message, { values: json.values, cause });
    }
    return new MmsbError("usage", json.message, {
      values: { ...json.values, code: json.code },
      cause,
    });
  }
}

/**
 * Tells whether a caught value is an {@linkcode MmsbError}, and of one code if that is given.
 *
 * @param error What was caught.
 * @param code The code that it must have; any if left out.
 * @returns Whether it is.
 */
export function isMmsbError(error: unknown, code?: MmsbErrorCode): error is MmsbError {
  return error instanceof MmsbError && (code === undefined || error.code === code);
}

/**
 * What was thrown, in words: a caller's code may throw anything, values that cannot be printed too.
 *
 * @param thrown What was caught, or what stands in the place of an answer.
 * @returns The message of an error, another value as text.
 */
export function reasonOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : String(thrown);
  } catch {
    return `a value of type ${typeof thrown} that cannot be shown`;
  }
}

function isErrorJson(value: unknown): value is MmsbErrorJson {
  return typeof value === "object" && value !== null &&
    (value as { name?: unknown }).name === "MmsbError";
}

/** Deep enough for any value that an error carries, and a bound where one refers to itself. */
const PLAIN_DEPTH_MAX = 4;

function plain(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case "bigint":
    case "symbol":
      return value.toString();
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "function":
      return `function ${value.name || "(anonymous)"}`;
    case "object":
      return value === null ? null : plainObject(value, depth);
    default:
      return value;
  }
}

function plainObject(value: object, depth: number): unknown {
  if (value instanceof MmsbError) return value.toJSON();
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof URL || value instanceof Date) return value.toJSON();
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength} B)`;
  if (depth >= PLAIN_DEPTH_MAX) return "…";
  if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
  if (value instanceof Set) return [...value].map((item) => plain(item, depth + 1));
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(entries.map(([key, item]) => [String(key), plain(item, depth + 1)]));
}
