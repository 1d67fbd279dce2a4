/**
 * What a queue cannot take is refused before any of a batch is in: one pass over its columns, outside the lock.
 *
 * Cost: some 5 ns a row.
 */
import { checkInteger, checkType } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";
import { MESSAGE_DEPENDENCIES_MAX, MESSAGE_PAYLOAD_BYTES_MAX } from "../../base/limits.ts";
import { MessageBatch } from "./message_batch.ts";

/** Refuses a value that is no batch. */
export function checkBatch(batch: unknown): MessageBatch {
  // An object that only has its prototype has no columns.
  if (batch instanceof MessageBatch && batch.payloadWords !== undefined) return batch;
  checkType("batch", batch, "object");
  throw new MmsbError("usage", "Cannot use the batch: give a MessageBatch", { values: {} });
}

/** Rows of a batch that may not be plain, as bits of what {@linkcode checkRows} gives. */
export const HAS_WINDOWS = 1;
/** The same for rows with dependencies. */
export const HAS_DEPENDENCIES = 2;
/** The same for rows with a payload of more than 20 bytes. */
export const HAS_LONG = 4;
const IS_BAD = 8;
const SHORT_BYTES = 20;
const TIME_END_US = 2 ** 52;

/**
 * Refuses a batch with a row that is no message, before any of them is taken.
 *
 * One loop without a call, so that the engine looks once at what the columns are, and not in each row.
 *
 * @returns Bits that say what rows there are.
 */
export function checkRows(batch: MessageBatch): number {
  const { priority, sequence, errorUs, validFromUs, validUntilUs } = batch;
  const { dependencyCount, payloadStart, payloadBytes } = batch;
  const count = checkInteger("count of a batch", batch.count, 0, batch.capacity);
  const bytesMax = batch.payload.length;
  let row = 0, found = 0;
  for (; row < count; row++) {
    const number = sequence[row], fromUs = validFromUs[row], untilUs = validUntilUs[row];
    if (
      priority[row] > 3 || !(number >= 0 && number <= Number.MAX_SAFE_INTEGER) ||
      Math.floor(number) !== number || !(errorUs[row] >= 0)
    ) found |= IS_BAD;
    if (fromUs !== 0 || untilUs !== Infinity) {
      found |= HAS_WINDOWS;
      if (
        !(fromUs >= 0 && fromUs <= untilUs && fromUs < TIME_END_US) ||
        Math.floor(fromUs) !== fromUs ||
        !(untilUs < TIME_END_US && Math.floor(untilUs) === untilUs || untilUs === Infinity)
      ) found |= IS_BAD;
    }
    const bytes = payloadBytes[row];
    if (bytes !== 0) {
      const start = payloadStart[row];
      if ((start & 3) !== 0 || start + bytes > bytesMax || bytes > MESSAGE_PAYLOAD_BYTES_MAX) {
        found |= IS_BAD;
      }
      if (bytes > SHORT_BYTES) found |= HAS_LONG;
    }
    if (dependencyCount[row] !== 0) found |= HAS_DEPENDENCIES;
    if ((found & IS_BAD) !== 0) break;
  }
  if ((found & IS_BAD) !== 0) refuseRow(batch, row);
  if ((found & HAS_DEPENDENCIES) !== 0) checkDependencies(batch);
  return found;
}

function checkDependencies(batch: MessageBatch): void {
  const { count, dependencyCount } = batch;
  for (let row = 0; row < count; row++) {
    if (dependencyCount[row] !== 0) checkDependenciesOf(batch, row);
  }
}

function checkDependenciesOf(batch: MessageBatch, row: number): void {
  const { dependencies, dependencyEnd } = batch;
  const first = batch.dependencyStart[row], end = first + batch.dependencyCount[row];
  if (!(end <= dependencyEnd && 2 * dependencyEnd <= dependencies.length)) refuseRow(batch, row);
  for (let i = first; i < end; i++) {
    const isSelf = dependencies[2 * i] === batch.idHi[row] &&
      dependencies[2 * i + 1] === batch.idLo[row];
    if (isSelf) refuseRow(batch, row);
  }
}

function refuseRow(batch: MessageBatch, row: number): never {
  const values = {
    row,
    priority: batch.priority[row],
    sequence: batch.sequence[row],
    errorUs: batch.errorUs[row],
    validFromUs: batch.validFromUs[row],
    validUntilUs: batch.validUntilUs[row],
    dependencies: `${batch.dependencyCount[row]} from ${batch.dependencyStart[row]}`,
    payload: `${batch.payloadBytes[row]} bytes from ${batch.payloadStart[row]}`,
  };
  throw new MmsbError(
    "usage",
    `Cannot push row ${row} as it is no message: give a priority from 0 to 3, a whole sequence, an error ` +
      "from 0, a window of whole µs that ends no sooner than it begins, at most " +
      `${MESSAGE_DEPENDENCIES_MAX} dependencies other than itself, a payload at a multiple of 4`,
    { values },
  );
}
