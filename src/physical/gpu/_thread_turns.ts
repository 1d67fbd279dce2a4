/** Waits on the event loop: for its next turn, which lets others be heard of, and for a time. */

import { setImmediate } from "node:timers";

/** Lets the event loop run once; some 10 µs. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}

/** Waits for some milliseconds. */
export function pauseMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
