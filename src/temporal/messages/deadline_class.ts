/**
 * Deadline classes: how soon a message's window ends, in four steps.
 *
 * A queue that ordered by the deadline itself would never look at priorities, as two deadlines are hardly ever
 * equal; one that ordered by priority alone would let messages expire that a moment's attention had saved.
 * So the deadline counts in coarse classes, and within a class the priority decides:
 *
 * | class | name | time left to the end of the window |
 * | --- | --- | --- |
 * | 0 | urgent | at most 100 ms |
 * | 1 | second | at most 1 s |
 * | 2 | minute | at most 60 s |
 * | 3 | none | more, or the window has no end |
 *
 * A message moves from class to class as time passes, always towards 0: at the very µs at which the time left becomes
 * the bound. It keeps its priority and its place by time among those it joins. The bounds can be
 * chosen a queue.
 */
import { checkInteger } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";

/** Bounds of the classes urgent, second and minute in µs, rising. */
export type DeadlineBounds = readonly [urgentUs: number, secondUs: number, minuteUs: number];

/** The bounds where none are given: 100 ms, 1 s, 60 s. */
export const DEADLINE_CLASSES_US: DeadlineBounds = Object.freeze(
  [100_000, 1_000_000, 60_000_000] as const,
);

/**
 * The class of a message.
 *
 * @param untilUs Last µs of its window; Infinity where it has no end.
 * @param nowUs The time.
 * @param bounds Bounds of the classes.
 * @returns 0 (urgent) to 3 (none).
 *
 * @example A second before the end, and later
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(deadlineClass(5_000_000, 3_999_999), 2);
 * equal(deadlineClass(5_000_000, 4_000_000), 1);
 * equal(deadlineClass(5_000_000, 4_900_000), 0);
 * equal(deadlineClass(Infinity, 0), 3);
 * ```
 */
export function deadlineClass(
  untilUs: number,
  nowUs: number,
  bounds: DeadlineBounds = DEADLINE_CLASSES_US,
): 0 | 1 | 2 | 3 {
  const leftUs = untilUs - nowUs;
  if (leftUs > bounds[2]) return 3;
  if (leftUs > bounds[1]) return 2;
  return leftUs > bounds[0] ? 1 : 0;
}

/**
 * Checks bounds of classes.
 *
 * @param bounds What the caller gave.
 * @returns The bounds.
 * @throws {MmsbError} `usage` where they are not three rising whole numbers from 0.
 */
export function deadlineBounds(bounds: DeadlineBounds): DeadlineBounds {
  if (!Array.isArray(bounds) || bounds.length !== 3) {
    throw new MmsbError("usage", "Cannot use classesUs: give an array of three bounds in µs", {
      values: { classesUs: bounds },
    });
  }
  for (const bound of bounds) checkInteger("bound of a deadline class", bound, 0, 2 ** 52, "usage");
  if (bounds[0] > bounds[1] || bounds[1] > bounds[2]) {
    throw new MmsbError("usage", "Cannot use classesUs: the bounds must rise", {
      values: { classesUs: bounds },
    });
  }
  return [bounds[0], bounds[1], bounds[2]];
}
