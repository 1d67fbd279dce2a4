/** The runtime's timer for a selector: it calls back every so often and does not keep the process alive. */
import { clearInterval, setInterval } from "node:timers";
import type { RepeatingTimer } from "./clock_selector_status.ts";

/** The runtime's timer. */
export const runtimeTimer: RepeatingTimer = {
  every(ms, call) {
    const timer = setInterval(call, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
};
