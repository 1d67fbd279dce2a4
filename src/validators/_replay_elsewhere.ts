/**
 * Replays a directory away from whoever asks: as a worker thread, which is sent a task, or as a
 * process of its own, `_replay_elsewhere.ts DIR TICK`, which writes a line of JSON and the state to
 * its standard output.
 */

import { type ReplayTask, replayToCarry } from "./_forms.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<ReplayTask>) => void) | null;
  postMessage(message: unknown, transfer: Transferable[]): void;
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }) => {
    const { message, carried } = replayToCarry(data);
    scope.postMessage([message, carried], [carried.buffer]);
  };
} else if (import.meta.main) {
  const [directory, tick] = Deno.args;
  const { message, carried } = replayToCarry({ directory, tick: Number(tick) });
  for (const part of [new TextEncoder().encode(`${JSON.stringify(message)}\n`), carried]) {
    for (let at = 0; at < part.length;) at += Deno.stdout.writeSync(part.subarray(at));
  }
}
