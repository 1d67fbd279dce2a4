/**
 * Losses: what a causal queue gives up when the time of missing messages is over, or when it is told to.
 *
 * Of a sender messages are lost from the front: those behind a message that is here and waits for another
 * sender are not in anybody's way yet. Its turn comes when that message is settled, which another loss may do; so
 * an expiry keeps a list of senders whose front may have moved, and ends when it is empty.
 *
 * Cost: O(n log n) in the messages that wait, once, however many ranges are lost.
 */
import { AwaitedCounts } from "./_causal_awaited.ts";
import type { CausalCore } from "./_causal_core.ts";
import { type Gap, sequencesHere } from "./_causal_gaps.ts";
import type { OverdueRange } from "./causal_message.ts";

/** A sender whose missing messages are overdue. */
interface Overdue {
  readonly node: number;
  readonly sinceMs: number;
  /** Number up to which they are. */
  readonly last: number;
  /** Numbers of its messages that wait here, rising, and which of them come next. */
  readonly here: readonly number[];
  next: number;
  isQueued: boolean;
}

/** Declares all lost that is overdue and at the front of its sender, and what comes to the front by that. */
export function loseOverdue<T>(
  core: CausalCore<T>,
  gaps: readonly Gap[],
  lastOf: (gap: Gap) => number,
): OverdueRange[] {
  const found: OverdueRange[] = [], here = sequencesHere(gaps, core.waiting);
  const senders = new Map<number, Overdue>(gaps.map((gap) => {
    const { node, sinceMs } = gap;
    const sequences = here.get(node)!;
    return [node, { node, sinceMs, last: lastOf(gap), here: sequences, next: 0, isQueued: true }];
  }));
  const awaited = new AwaitedCounts(core.waiting), queue = [...senders.values()];
  for (const sender of queue) {
    sender.isQueued = false;
    for (let last = lossOf(core, sender); last > 0; last = lossOf(core, sender)) {
      const { node, sinceMs } = sender, settled = core.ready.count;
      found.push({ node, first: core.settledOf(node) + 1, last, sinceMs, lost: true });
      core.lose(node, last, awaited);
      for (let i = settled; i < core.ready.count; i++) {
        const freed = senders.get(core.ready.at(i).node);
        if (freed === undefined || freed === sender || freed.isQueued) continue;
        freed.isQueued = true;
        queue.push(freed);
      }
    }
  }
  return found;
}

/** Declares messages of a sender lost up to a number, those that wait here included; gives how many. */
export function loseUpTo<T>(core: CausalCore<T>, node: number, last: number): number {
  const settled = core.settledOf(node);
  if (last <= settled) return 0;
  core.waiting.removeWhere((sender, sequence) => sender === node && sequence <= last);
  core.lose(node, last, new AwaitedCounts(core.waiting, node));
  return last - settled;
}

/** Up to which number the front of a sender is lost now; 0 where it is not, or not yet. */
function lossOf<T>(core: CausalCore<T>, sender: Overdue): number {
  const { node, here, last } = sender, settled = core.settledOf(node);
  while (sender.next < here.length && here[sender.next] <= settled) sender.next++;
  const end = Math.min(last, (here[sender.next] ?? Infinity) - 1);
  return end > settled ? end : 0;
}
