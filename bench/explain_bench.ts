/** Where a derived value came from: `deno bench -A bench/explain_bench.ts`. */

import { FileStorage, readMeta } from "../src/log/mod.ts";
import { ScannedLog } from "../src/model/provenance_scan.ts";
import { ProvenanceWork } from "../src/validators/provenance_work.ts";
import { StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { hash } from "./_harness.ts";

const STEPS = 31;

interface Asked {
  readonly dir: string;
  readonly page: number;
  readonly bus: StateBus;
}

/** A graph of rules 31 deep over so many deltas, written and opened again, and a question. */
function asking(ask: (asked: Asked) => Promise<readonly string[]> | readonly string[]): OpenSide {
  return async ({ size, folder }) => {
    const dir = folder();
    const work = await ProvenanceWork.begin(dir, {
      sources: Math.min(16_384, size >> 2),
      layers: STEPS,
      width: 8,
      rows: Math.min(1000, size >> 2),
      deltas: size,
      seed: 7,
    });
    const page = work.last[0];
    await work.write(() => {});
    await work.bus.close();
    const bus = await StateBus.open({ dir, readOnly: true });
    let answer: readonly string[] = [];
    return {
      run: async () => void (answer = await ask({ dir, page, bus })),
      result: () => hash(new TextEncoder().encode(answer.toSorted().join())),
      close: () => bus.close(),
    };
  };
}

async function explained({ bus, page }: Asked): Promise<string[]> {
  const explanation = await bus.explain(page);
  return [...explanation].map(({ id, tick, epoch }) => `${id} at ${tick} ${epoch}`);
}

export default bench({
  unit: "a value 31 rules deep explained, in a log of 100,000 deltas",
  size: 100_000,
  smokeSize: 2000,
  runs: 5,
  sides: {
    "a scan of the log": asking(({ dir, page }) => {
      const storage = new FileStorage(dir), log = new ScannedLog(storage, readMeta(storage));
      const found = log.explain(page, Infinity, STEPS);
      return [...found].map(([key, { epoch }]) => `${key} ${epoch}`);
    }),
    "bus.explain, cold": asking(async ({ dir, page }) => {
      await using bus = await StateBus.open({ dir, readOnly: true });
      return await explained({ dir, page, bus });
    }),
    "bus.explain, asked again": asking(explained),
  },
});
