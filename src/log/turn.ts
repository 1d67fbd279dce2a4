/** Waiting: for a turn of the event loop, so that what other threads have finished is heard of, or a while. */

export { nextTurn } from "./_platform.ts";

/** Settles after some milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
