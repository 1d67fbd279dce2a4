/**
 * The temporal message: something said by a node at a time, with what must have been heard before it and the time
 * for which it is worth hearing.
 *
 * The object here is for the edges, for single messages and for people; between threads and in numbers messages are
 * rows of a {@linkcode MessageBatch}.
 *
 * Cost: an object, two bigints and a payload a message; checking one is some 100 ns.
 */
import { checkBytes, checkInteger, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { MESSAGE_DEPENDENCIES_MAX, MESSAGE_PAYLOAD_BYTES_MAX } from "../../base/limits.ts";

/** How much a message matters: its number in columns and bytes, by name. */
export const PRIORITIES: Readonly<Record<"low" | "normal" | "high" | "critical", Priority>> = Object
  .freeze({ low: 0, normal: 1, high: 2, critical: 3 });

/** 0 low, 1 normal, 2 high, 3 critical. */
export type Priority = 0 | 1 | 2 | 3;

/** A message as it is read. */
export interface TemporalMessage {
  /** What names it, in all nodes: 64 bits without sign, chosen by the sender. */
  readonly id: bigint;
  /** Hybrid logical timestamp of its sending. */
  readonly timestamp: bigint;
  /** Node that sent it, 0 to 65535. */
  readonly node: number;
  /** Its number among those of its sender, 0 to 2⁵³ − 1. */
  readonly sequence: number;
  /** How far the timestamp may be from true time, in µs; Infinity where nobody knows. */
  readonly errorUs: number;
  /** Ids of messages that must be delivered before it. */
  readonly dependencies: readonly bigint[];
  /** First µs since the Unix epoch at which it may be delivered; 0: at once. */
  readonly validFromUs: number;
  /** Last µs at which it may be delivered, itself included; Infinity: for ever. */
  readonly validUntilUs: number;
  /** How much it matters. */
  readonly priority: Priority;
  /** What it says. */
  readonly payload: Uint8Array;
}

/** A message as it is given: the id and the timestamp, and what differs from nothing. */
export type MessageOptions =
  & Pick<TemporalMessage, "id" | "timestamp">
  & Partial<Omit<TemporalMessage, "id" | "timestamp">>;

const NO_BYTES = new Uint8Array(0);
const KEYS = [
  "id",
  "timestamp",
  "node",
  "sequence",
  "errorUs",
  "dependencies",
  "validFromUs",
  "validUntilUs",
  "priority",
  "payload",
];

/**
 * Checks a message and fills in what it leaves out: node 0, sequence 0, no error, no dependencies, no window, priority
 * normal, no payload.
 *
 * @param options The message.
 * @returns The message; the payload is the same array.
 * @throws {MmsbError} `usage` where a value is of another type or out of its range, `limit` for too many dependencies or too
 * long a payload.
 *
 * @example What is left out
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const message = temporalMessage({ id: 7n, timestamp: 4096n, validUntilUs: 5_000_000 });
 * equal(message.priority, PRIORITIES.normal);
 * equal(message.validFromUs, 0);
 * ```
 */
export function temporalMessage(options: MessageOptions): TemporalMessage {
  checkType("message", options, "object");
  for (const key of Object.keys(options)) {
    if (!KEYS.includes(key)) {
      throw new MmsbError(
        "usage",
        `Cannot use ${JSON.stringify(key.slice(0, 60))} of a message: ` +
          `its parts are ${KEYS.join(", ")}`,
        { values: { key } },
      );
    }
  }
  const { id, timestamp, node = 0, sequence = 0, errorUs = 0, priority = 1 } = options;
  const { validFromUs = 0, validUntilUs = Infinity, payload = NO_BYTES } = options;
  requireId("id of a message", id);
  requireId("timestamp of a message", timestamp);
  checkInteger("node", node, 0, 0xffff, "usage");
  checkInteger("sequence", sequence, 0, Number.MAX_SAFE_INTEGER, "usage");
  checkInteger("priority", priority, 0, 3, "usage");
  requireTimes(errorUs, validFromUs, validUntilUs);
  checkBytes("payload", payload);
  checkInteger("bytes of a payload", payload.length, 0, MESSAGE_PAYLOAD_BYTES_MAX, "limit");
  const dependencies = copyOf(options.dependencies ?? []);
  for (const dependency of dependencies) requireDependency(dependency, id);
  return {
    id,
    timestamp,
    node: node + 0,
    sequence: sequence + 0,
    errorUs: errorUs + 0,
    dependencies,
    validFromUs: validFromUs + 0,
    validUntilUs: validUntilUs + 0,
    priority: (priority + 0) as Priority,
    payload,
  };
}

/** Refuses what is no id: a word of 64 bits. */
export function requireId(name: string, id: unknown): void {
  if (typeof id === "bigint" && BigInt.asUintN(64, id) === id) return;
  throw new MmsbError(
    "usage",
    `Cannot use ${typeof id === "bigint" ? `${id}n` : typeof id} as ${name}: ` +
      "give a bigint of 64 bits without sign",
    { values: { id } },
  );
}

/** Whether three numbers are an error bound and a window. */
export function areTimes(errorUs: number, fromUs: number, untilUs: number): boolean {
  return errorUs >= 0 && isTime(fromUs) && (untilUs === Infinity || isTime(untilUs)) &&
    fromUs <= untilUs;
}

/** Refuses numbers that are no error bound and no window. */
export function requireTimes(errorUs: number, fromUs: number, untilUs: number): void {
  if (
    typeof errorUs === "number" && typeof fromUs === "number" && typeof untilUs === "number" &&
    areTimes(errorUs, fromUs, untilUs)
  ) return;
  throw new MmsbError(
    "usage",
    `Cannot use error ${shown(errorUs)}, window ${shown(fromUs)} to ${shown(untilUs)}: ` +
      "give an error from 0, whole µs before 2^52, and an end not before the beginning or Infinity",
    { values: { errorUs, validFromUs: fromUs, validUntilUs: untilUs } },
  );
}

function copyOf(dependencies: readonly bigint[]): bigint[] {
  if (!Array.isArray(dependencies)) {
    throw new MmsbError("usage", "Cannot use the dependencies of a message: give an array of ids", {
      values: { dependencies },
    });
  }
  checkInteger("dependencies", dependencies.length, 0, MESSAGE_DEPENDENCIES_MAX, "limit");
  return [...dependencies];
}

/** A number, or what else it is: an object may have no text. */
function shown(value: unknown): string {
  return typeof value === "number" ? `${value}` : typeof value;
}

function isTime(us: number): boolean {
  return us >= 0 && us < 2 ** 52 && Math.floor(us) === us;
}

function requireDependency(dependency: unknown, id: bigint): void {
  requireId("dependency", dependency);
  if (dependency !== id) return;
  throw new MmsbError("usage", `Cannot have message ${id} wait for itself: leave it out`, {
    values: { id },
  });
}
