/** A thread of its own that attaches to a bus and sends it a stream of batches, for the throughput suite. */

import { type SharedBus, StateBus } from "../src/bus/mod.ts";
import { batchFor, producerStream, Xorshift } from "./_delta_streams.ts";

/** What it is told. */
export interface ProducerTask {
  readonly shared: SharedBus;
  readonly producer: number;
  readonly producers: number;
  readonly batches: number;
  readonly seed: number;
}

/** What it answers. */
export type ProducerAnswer = { readonly rows: number } | { readonly error: string };

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ProducerTask>) => void;
  postMessage(answer: ProducerAnswer): void;
};

/** Batches under way at a time. */
const UNDER_WAY = 4;

scope.onmessage = async ({ data }: MessageEvent<ProducerTask>) => {
  const { shared, producer, producers, batches, seed } = data;
  const stream = producerStream(producer, producers), random = new Xorshift(seed);
  let rows = 0;
  try {
    await using bus = StateBus.attach(shared, { producer: 2 + producer });
    const waiting: Promise<void>[] = [];
    for (let i = 0; i < batches; i++) {
      const batch = batchFor(stream);
      stream.fill(batch, stream.rows, random);
      waiting.push(bus.submit(batch).then((receipt) => void (rows += receipt.rows)));
      if (waiting.length >= UNDER_WAY) await waiting.shift();
    }
    await Promise.all(waiting);
    scope.postMessage({ rows });
  } catch (error) {
    scope.postMessage({ error: `${error}` });
  }
};
