/**
 * What is refused of causal messages and by their queue, in words.
 *
 * Cost: that of an error, where there is one.
 */
import { checkInteger } from "../../base/assert.ts";
import { MmsbError } from "../../base/errors.ts";

/** Refuses what is no number of a message, from 1. */
export function requireSequence(sequence: number): void {
  checkInteger("sequence", sequence, 1, Number.MAX_SAFE_INTEGER, "usage");
}

/** Something names a message of this node that it never sent: it has lost its state, or shares its id. */
export function throwOwn(count: number, sent: number, node: number): never {
  throw new MmsbError(
    "usage",
    `Cannot take what names message ${count} of node ${node}, which is this node and has sent ${sent}: ` +
      "start it with the vector that it had, or with another node id",
    { values: { node, count, sent } },
  );
}

/** Own messages cannot be lost to the node that sent them. */
export function throwOwnSkip(node: number): never {
  throw new MmsbError(
    "usage",
    `Cannot skip messages of node ${node}, which is this node: give the node that sent what is missing`,
    { values: { node } },
  );
}

/** A message's number is not the one that its vector counts. */
export function throwContradicts(node: number, sequence: number, named: number): never {
  throw new MmsbError(
    "usage",
    `Cannot take message ${sequence} of node ${node} as its vector counts ${named}: ` +
      "give the message that send() made",
    { values: { node, sequence, named } },
  );
}

/** A count is so far ahead that it must be wrong, or this node too far behind to catch up. */
export function throwAhead(node: number, count: number, settled: number, aheadMax: number): never {
  throw new MmsbError(
    "limit",
    `Cannot go to message ${count} of node ${node} as ${settled} are here: at most ${aheadMax} may be ` +
      "missing, so start from another node's state",
    { values: { node, count, settled, aheadMax } },
  );
}

/** A message is larger than all the room there is. */
export function throwTooLarge(bytes: number, pendingBytesMax: number): never {
  throw new MmsbError(
    "limit",
    `Cannot hold a message of ${bytes} bytes: this queue has room for ${pendingBytesMax}`,
    { values: { bytes, pendingBytesMax } },
  );
}
