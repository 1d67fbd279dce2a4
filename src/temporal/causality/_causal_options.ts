/**
 * The options of a causal queue, checked once, with what stands for those left out.
 *
 * Cost: paid when a queue is opened.
 */
import {
  checkInteger,
  checkKeys,
  checkNumber,
  checkOneOf,
  checkType,
  isBytes,
} from "../../base/assert.ts";
import {
  CAUSAL_AHEAD_DEFAULT,
  CAUSAL_PENDING_BYTES_DEFAULT,
  CAUSAL_PENDING_DEFAULT,
  CAUSAL_PENDING_MAX,
} from "../../base/limits.ts";
import { MmsbError } from "../../base/errors.ts";
import type { CausalQueueOptions } from "./causal_message.ts";
import { HybridCausalClock } from "./hybrid_causal_clock.ts";

/** What a queue goes by. */
export type CausalSettings<T> = Readonly<Required<Omit<CausalQueueOptions<T>, "clock">>>;

const KEYS = [
  "clock",
  "monotonicMs",
  "pendingMax",
  "pendingBytesMax",
  "bytesOf",
  "aheadMax",
  "requestAfterMs",
  "requestEveryMsMax",
  "timeoutMs",
  "onTimeout",
];

/** Longest time that an option may give, in ms: a year. */
const MS_MAX = 366 * 24 * 3_600_000;

/** Checks the options of a queue. */
export function causalSettings<T>(options: CausalQueueOptions<T>): CausalSettings<T> {
  checkType("options of CausalQueue", options, "object");
  checkKeys("CausalQueue", options, KEYS);
  if (!(options.clock instanceof HybridCausalClock)) {
    throw new MmsbError("usage", "Cannot open a causal queue without its HybridCausalClock", {
      values: { clock: options.clock },
    });
  }
  const {
    monotonicMs = () => performance.now(),
    pendingMax = CAUSAL_PENDING_DEFAULT,
    pendingBytesMax = CAUSAL_PENDING_BYTES_DEFAULT,
    bytesOf,
    aheadMax = CAUSAL_AHEAD_DEFAULT,
    requestAfterMs = 50,
    requestEveryMsMax = 5000,
    timeoutMs = 30_000,
    onTimeout = "report",
  } = options;
  checkType("monotonicMs", monotonicMs, "function");
  checkInteger("pendingMax", pendingMax, 1, CAUSAL_PENDING_MAX, "usage");
  checkInteger("pendingBytesMax", pendingBytesMax, 1, Number.MAX_SAFE_INTEGER, "usage");
  checkInteger("aheadMax", aheadMax, 1, Number.MAX_SAFE_INTEGER, "usage");
  for (const [name, value] of Object.entries({ requestAfterMs, requestEveryMsMax, timeoutMs })) {
    checkNumber(name, value, 0, MS_MAX, "usage");
  }
  checkOneOf("onTimeout", onTimeout, ["report", "skip"]);
  return {
    monotonicMs,
    pendingMax,
    pendingBytesMax,
    bytesOf: bytesOf === undefined ? bytesOfPayload : checkedBytesOf(bytesOf),
    aheadMax,
    requestAfterMs,
    requestEveryMsMax,
    timeoutMs,
    onTimeout,
  };
}

function bytesOfPayload(payload: unknown): number {
  return isBytes(payload) ? payload.byteLength : 0;
}

function checkedBytesOf<T>(bytesOf: (payload: T) => number): (payload: T) => number {
  checkType("bytesOf", bytesOf, "function");
  return (payload) =>
    checkInteger("result of bytesOf", bytesOf(payload), 0, Number.MAX_SAFE_INTEGER, "usage");
}
