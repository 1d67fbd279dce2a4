/** A thread that is attached to a bus: reads checksummed pages, or sends batches, as it is asked to. */

import { DeltaBatch } from "../../physical/mod.ts";
import { type SharedBus, StateBus } from "../mod.ts";

/** What the thread is to do. */
export interface AttachedTask {
  readonly kind: "read" | "send";
  readonly shared: SharedBus;
  /** Word 0: not 0 where reading is to end. */
  readonly stop: SharedArrayBuffer;
  readonly page?: number;
  readonly batches?: number;
  readonly rows?: number;
  readonly producer?: number;
}

/** What came of it. */
export interface AttachedResult {
  readonly readings?: number;
  readonly ticks?: number;
  readonly faults: readonly string[];
  readonly sequences?: readonly number[];
}

const thread = globalThis as unknown as {
  onmessage: (event: MessageEvent<AttachedTask>) => void;
  postMessage: (result: AttachedResult | "ready") => void;
};

/** Pages are full of one number, all pages of a tick of the same, and `named` too. */
function read({ shared, stop }: AttachedTask): AttachedResult {
  const bus = StateBus.attach(shared), words = new Int32Array(stop);
  const faults: string[] = [], ticks = new Set<number>();
  let readings = 0;
  thread.postMessage("ready");
  while (Atomics.load(words, 0) === 0 && faults.length === 0) {
    const found = bus.snapshot((at) => {
      const values = new Set<number>();
      const count = new DataView(at.read(at.find("count")!).buffer).getUint32(0, true);
      for (let i = 0; i < count; i++) {
        const page = at.find(`page ${i}`);
        if (page === undefined) return { tick: at.tick, fault: `page ${i} of ${count} is missing` };
        for (const byte of at.read(page)) values.add(byte);
      }
      const after = at.find(`page ${count}`);
      const fault = values.size > 1
        ? `values ${[...values]}`
        : after !== undefined
        ? `page ${count} is there`
        : "";
      return { tick: at.tick, fault };
    });
    if (found.fault !== "") faults.push(`tick ${found.tick}: ${found.fault}`);
    ticks.add(found.tick);
    readings++;
  }
  void bus.close();
  return { readings, ticks: ticks.size, faults };
}

async function send(
  { shared, page, batches, rows, producer }: AttachedTask,
): Promise<AttachedResult> {
  await using bus = StateBus.attach(shared, producer === undefined ? {} : { producer });
  const receipts = [], sequences: number[] = [], faults: string[] = [];
  for (let i = 0; i < batches!; i++) {
    const batch = new DeltaBatch({ rows: rows!, payloadBytes: 8 * rows! });
    const source = batch.source(`producer ${producer}`);
    for (let row = 0; row < rows!; row++) batch.combine(page!, "u32", "add", 0, 1, { source });
    receipts.push(bus.submit(batch));
  }
  thread.postMessage("ready");
  for (const receipt of receipts) {
    try {
      sequences.push((await receipt).sequence);
    } catch (error) {
      faults.push((error as { code: string }).code);
    }
  }
  return { sequences, faults };
}

thread.onmessage = async ({ data }) => {
  thread.postMessage(data.kind === "read" ? read(data) : await send(data));
};
