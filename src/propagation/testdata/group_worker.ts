/** One participant of a group's test: reduces and gathers many times, and sends all results. */

import { type GroupHandle, type Reduction, SharedGroup } from "../collectives.ts";

/** What a participant is to do. */
export interface GroupTask {
  readonly handle: GroupHandle;
  readonly rank: number;
  readonly calls: number;
}

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<GroupTask>) => void;
  postMessage: (results: number[][]) => void;
};

const REDUCTIONS: readonly Reduction[] = ["sum", "product", "min", "max"];

thread.onmessage = ({ data: { handle, rank, calls } }): void => {
  const group = SharedGroup.attach(handle, rank), results: number[][] = [];
  for (let call = 0; call < calls; call++) {
    const own = [rank + call, 1 / (1 + rank + call)];
    results.push([...group.allReduce(REDUCTIONS[call % 4], own)], [...group.allGather(own)]);
  }
  thread.postMessage(results);
};
