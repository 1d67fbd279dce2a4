/**
 * Operations: the numbers by which jobs for the GPU thread name their handlers.
 *
 * They stand apart so that who writes jobs imports nothing of what runs in that thread.
 */

/** Rows of a batch are put into pages. */
export const APPLY_JOB = 1;
/** Rules of a level are run. */
export const RULE_JOB = 2;
/** Copies of pages on the device are made, brought into step or given up. */
export const PAGE_JOB = 3;
