/**
 * The threads beside a checkpoint. `node:zlib`'s own asynchronous functions run on the calling thread
 * in Deno, so these are workers; where none can be had (no right to load their module, too little work
 * to be worth 30 ms of starting one), the jobs are done on this thread, a turn of its loop for each.
 *
 * Cost: a worker is some 30 ms, 13 of them of this thread, and 10 MB while it lives; a job some 50 µs.
 */

import { type ChunkJob, type ChunkResult, doChunkJob, type PackedChunk } from "./_chunk_work.ts";
import { mayLoad, nextTurn } from "./_platform.ts";

/** Most workers of one pool. */
const WORKERS_MAX = 4;

interface Thread {
  readonly worker: Worker;
  /** Jobs that it has. */
  load: number;
}

interface Waiting {
  readonly job: ChunkJob;
  readonly thread: Thread;
  readonly resolve: (result: ChunkResult) => void;
}

/** Packs and unpacks chunks beside this thread. */
export class ChunkPool {
  #threads: Thread[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #jobs = 0;
  #hasFailed = false;

  /**
   * Starts one more worker, which stops this thread for some 13 ms.
   *
   * @returns Whether there is one: where one cannot be had, no other can.
   */
  grow(): boolean {
    const module = new URL("./_chunk_worker.ts", import.meta.url);
    // Asked first: a worker that may not load it fails with words on the standard error.
    if (this.#hasFailed || !mayLoad(module)) return false;
    try {
      const thread = { worker: new Worker(module, { type: "module" }), load: 0 };
      thread.worker.onmessage = ({ data }: { data: ChunkResult }) => this.#settle(data);
      thread.worker.onerror = (event) => {
        event.preventDefault();
        this.#drop(thread);
      };
      this.#threads.push(thread);
      return true;
    } catch {
      this.#hasFailed = true;
      return false;
    }
  }

  /** Workers there are. */
  get threads(): number {
    return this.#threads.length;
  }

  /** Packs data in its place; it stands in shared memory. */
  async pack(data: Uint8Array): Promise<PackedChunk> {
    return (await this.#do({ kind: "pack", job: this.#jobs++, data })).packed!;
  }

  /** Unpacks data; both stand in shared memory. Gives what is wrong, if anything is. */
  async unpack(stored: Uint8Array, check: number, target: Uint8Array): Promise<string | undefined> {
    return (await this.#do({ kind: "unpack", job: this.#jobs++, stored, check, target })).fault;
  }

  /** Ends the workers, and forgets what they have not done. */
  close(): void {
    for (const { worker } of this.#threads) worker.terminate();
    this.#threads = [];
    this.#waiting.clear();
  }

  async #do(job: ChunkJob): Promise<ChunkResult> {
    if (this.#threads.length === 0) {
      await nextTurn();
      return doChunkJob(job);
    }
    const thread = this.#threads.reduce((least, other) => other.load < least.load ? other : least);
    thread.load++;
    const { promise, resolve } = Promise.withResolvers<ChunkResult>();
    this.#waiting.set(job.job, { job, thread, resolve });
    thread.worker.postMessage(job);
    return promise;
  }

  #settle(result: ChunkResult): void {
    const waiting = this.#waiting.get(result.job);
    if (waiting === undefined) return;
    this.#waiting.delete(result.job);
    waiting.thread.load--;
    waiting.resolve(result);
  }

  /**
   * A worker that could not start has touched none of its jobs: they are done here. Jobs of others go on,
   * because they change data in its place.
   */
  #drop(thread: Thread): void {
    this.#hasFailed = true;
    thread.worker.terminate();
    this.#threads = this.#threads.filter((other) => other !== thread);
    for (const waiting of [...this.#waiting.values()]) {
      if (waiting.thread === thread) this.#settle(doChunkJob(waiting.job));
    }
  }
}

/** Threads for a number of bytes: none for a few, else what the machine has beside this one. */
export function threadsFor(bytes: number, bytesMin: number): number {
  if (bytes < bytesMin) return 0;
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.max(1, Math.min(WORKERS_MAX, cores - 1));
}
