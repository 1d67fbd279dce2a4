/**
 * Host of handles: what the handles of one bus share, and how a reset ends them all.
 */

import { MmsbError } from "../base/mod.ts";
import type { PageHost } from "./page.ts";

/** A host whose handles can be ended. */
export type MutableHost = { -readonly [key in keyof PageHost]: PageHost[key] };

/** A host for new handles. */
export function newHost(parts: Omit<PageHost, "wasReset">): MutableHost {
  const host: MutableHost = { ...parts, wasReset: false };
  const { attached } = parts;
  if (attached !== undefined) {
    // Another writer's image may take the place of the one attached to.
    Object.defineProperty(host, "store", { get: () => attached.store });
  }
  return host;
}

/** Ends all handles of a host: its ids are about to mean other pages. */
export function endHandles(host: MutableHost): void {
  host.wasReset = true;
  host.checkOpen = host.checkWritable = refuseReset;
  host.canWrite = () => false;
}

function refuseReset(): never {
  throw new MmsbError(
    "invalid-handle",
    "Cannot use a page from before the bus was reset: create it again",
  );
}
