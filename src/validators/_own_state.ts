/**
 * What every validator of a user's directory must know first: whether its log is whole, and how far it goes.
 */

import { MmsbError } from "../base/mod.ts";
import { inspectLog } from "../log/mod.ts";
import type { Measured, ValidatorContext } from "./validator.ts";

/** What a validator says of a directory whose log is damaged; nothing where it is whole, or only torn. */
export async function damagedLog(directory: string): Promise<Measured | undefined> {
  try {
    const { state } = await inspectLog(directory, { pages: 0 });
    return state.state === "damaged" ? damaged() : undefined;
  } catch (error) {
    if (error instanceof MmsbError && error.code === "corrupt-log") return damaged();
    throw error;
  }
}

function damaged(): Measured {
  const leftOut = "its log is damaged: validator 2 says where and what to do";
  return { metrics: {}, samples: 1, leftOut, damage: leftOut };
}

/** Last whole tick; of a live bus the one at which it stood when this was asked. */
export async function lastTickOf(
  directory: string,
  { bus }: Pick<ValidatorContext, "bus">,
): Promise<number> {
  if (bus !== undefined) return bus.tickNumber;
  const { ticks } = await inspectLog(directory, { pages: 0 });
  return ticks?.last ?? 0;
}

/** What a validator that needs a log says of a bus in memory. */
export function leftOutInMemory(why: string): Measured {
  return { metrics: {}, samples: 1, leftOut: `the bus is in memory: ${why}` };
}
