/**
 * The threads beside a checkpoint. `node:zlib`'s own asynchronous functions run on the calling thread
 * in Deno, so these are workers; where none can be had (no right to load their module, too little work
 * to be worth 30 ms of starting one), the jobs are done on this thread, a turn of its loop for each.
 *
 * Cost: a worker is some 30 ms and 10 MB while it lives, a job some 50 µs.
 */

import {
  type ChunkJob,
  type ChunkResult,
  doChunkJob,
  packChunk,
  type PackedChunk,
} from "./_chunk_work.ts";
import { mayLoad, nextTurn } from "./_platform.ts";

/** Most workers of one pool. */
const WORKERS_MAX = 4;

interface Waiting {
  readonly job: ChunkJob;
  readonly worker: number;
  readonly resolve: (result: ChunkResult) => void;
}

/** Packs and unpacks chunks beside this thread. */
export class ChunkPool {
  #workers: Worker[] = [];
  readonly #load: number[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #jobs = 0;

  /**
   * Starts the workers.
   *
   * @param threads How many; none for a little work.
   */
  constructor(threads: number) {
    const module = new URL("./_chunk_worker.ts", import.meta.url);
    // Asked first: a worker that may not load it fails with words on the standard error.
    if (threads === 0 || !mayLoad(module)) return;
    try {
      for (let index = 0; index < threads; index++) {
        const worker = new Worker(module, { type: "module" });
        worker.onmessage = ({ data }: { data: ChunkResult }) => this.#settle(data);
        worker.onerror = (event) => {
          event.preventDefault();
          this.#giveUp();
        };
        this.#workers.push(worker);
        this.#load.push(0);
      }
    } catch {
      this.#end();
    }
  }

  /** Workers there are. */
  get threads(): number {
    return this.#workers.length;
  }

  /** Packs data in its place; it stands in shared memory. `here`: on this thread, at once. */
  async pack(data: Uint8Array, here: boolean): Promise<PackedChunk> {
    if (here) return packChunk(data);
    return (await this.#do({ kind: "pack", job: this.#jobs++, data })).packed!;
  }

  /** Unpacks data; both stand in shared memory. Gives what is wrong, if anything is. */
  async unpack(stored: Uint8Array, check: number, target: Uint8Array): Promise<string | undefined> {
    return (await this.#do({ kind: "unpack", job: this.#jobs++, stored, check, target })).fault;
  }

  /** Ends the workers, and forgets what they have not done. */
  close(): void {
    this.#end();
    this.#waiting.clear();
  }

  async #do(job: ChunkJob): Promise<ChunkResult> {
    if (this.#workers.length === 0) {
      await nextTurn();
      return doChunkJob(job);
    }
    const worker = this.#load.indexOf(Math.min(...this.#load));
    this.#load[worker]++;
    const { promise, resolve } = Promise.withResolvers<ChunkResult>();
    this.#waiting.set(job.job, { job, worker, resolve });
    this.#workers[worker].postMessage(job);
    return promise;
  }

  #settle(result: ChunkResult): void {
    const waiting = this.#waiting.get(result.job);
    if (waiting === undefined) return;
    this.#waiting.delete(result.job);
    this.#load[waiting.worker]--;
    waiting.resolve(result);
  }

  #end(): void {
    for (const worker of this.#workers) worker.terminate();
    this.#workers = [];
  }

  /** A worker that could not start takes no job: all of them are done here. */
  #giveUp(): void {
    this.#end();
    for (const { job } of [...this.#waiting.values()]) this.#settle(doChunkJob(job));
  }
}

/** Threads for a number of bytes: none for a few, else what the machine has beside this one. */
export function threadsFor(bytes: number, bytesMin: number): number {
  if (bytes < bytesMin) return 0;
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.max(1, Math.min(WORKERS_MAX, cores - 1));
}
