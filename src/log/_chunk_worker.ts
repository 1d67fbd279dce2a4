/** The thread beside a checkpoint: packs or unpacks one chunk a message, in shared memory. */

import { type ChunkJob, type ChunkResult, doChunkJob } from "./_chunk_work.ts";

/** The worker's own side of the messages, typed without a library for workers. */
const port = globalThis as unknown as {
  onmessage: (event: { readonly data: ChunkJob }) => void;
  postMessage: (message: ChunkResult) => void;
};

port.onmessage = ({ data }) => port.postMessage(doChunkJob(data));
