/**
 * Open lanes: a bus that writes its log in several lanes, which no other opening does.
 *
 * What a log of several lanes promises does not depend on who builds its frames, so crashes, damage and
 * all that reads a log can be tried with one thread and a storage in memory. It is no part of what the
 * package exports.
 *
 * @module
 */

import { checkInteger, LANES_MAX } from "../base/mod.ts";
import { busAccess } from "./_inside.ts";
import { type OpenOptions, resolveOptions } from "./options.ts";
import type { StateBus } from "./state_bus.ts";
// It gives the access.
import "./state_bus.ts";

/**
 * Opens a bus, as `StateBus.open` does.
 *
 * @param options Options of the bus.
 * @param lanes Lanes of the log that are written, at least 1.
 * @throws {MmsbError} as `StateBus.open`.
 */
export function openLanes(options: OpenOptions, lanes: number): Promise<StateBus> {
  checkInteger("lanes", lanes, 1, LANES_MAX - 1);
  return busAccess().open({ ...resolveOptions(options), lanes });
}
