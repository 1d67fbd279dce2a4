/** A log as lines of JSON and back: `deno bench -A bench/transfer_bench.ts`. */

import { type DeltaBatch, exportFile, importLog, StateBus } from "../mod.ts";
import { bench, type OpenSide, type Place } from "./_comparison.ts";
import { busOfPages, emptyBatch, filledBatch, SEED, stateHash, tickOf } from "./_work.ts";

const PAGE_BYTES = 64;

interface Line {
  readonly page: number;
  readonly offset: number;
  readonly bytes: string;
}

function batchOf(size: number): DeltaBatch {
  return filledBatch(PAGE_BYTES, SEED, emptyBatch(size), size);
}

async function written({ size }: Place, dir: string): Promise<void> {
  await using bus = await busOfPages(size, PAGE_BYTES, { dir });
  await tickOf(bus, batchOf(size));
}

/** The obvious way: an object a delta. */
function text(batch: DeltaBatch): string {
  let lines = "";
  for (let i = 0; i < batch.length; i++) {
    const { page, offset, payloadStart } = batch.columns, start = payloadStart[i];
    const bytes = batch.payload.subarray(start, start + 16).toHex();
    lines += `${JSON.stringify({ page: page[i], offset: offset[i], bytes })}\n`;
  }
  return lines;
}

function importing(): OpenSide {
  return async (place) => {
    const folder = place.folder();
    await written(place, `${folder}/data`);
    await exportFile(`${folder}/data`, `${folder}/lines`);
    let runs = 0, state = "";
    return {
      async run(watch) {
        const dir = `${folder}/copy-${runs++}`;
        watch.start();
        await importLog(`${folder}/lines`, dir);
        watch.end();
        if (state === "") {
          await using bus = await StateBus.open({ dir, readOnly: true });
          state = stateHash(bus);
        }
        Deno.removeSync(dir, { recursive: true });
      },
      result: () => state,
    };
  };
}

export default bench({
  unit: "a log of 10,000 deltas written to a file as JSON lines",
  size: 10_000,
  smokeSize: 200,
  runs: 10,
  sides: {
    "JSON.stringify of each delta": ({ size, folder }) => {
      const batch = batchOf(size), path = `${folder()}/lines`;
      return {
        run: () => Deno.writeTextFileSync(path, text(batch)),
        result: () => `${Deno.readTextFileSync(path).split("\n").length - 1} deltas`,
      };
    },
    "exportFile": async (place) => {
      const folder = place.folder();
      await written(place, `${folder}/data`);
      let runs = 0, rows = 0;
      return {
        async run(watch) {
          const path = `${folder}/lines-${runs++}`;
          watch.start();
          ({ rows } = await exportFile(`${folder}/data`, path));
          watch.end();
          Deno.removeSync(path);
        },
        result: () => `${rows - place.size} deltas`,
      };
    },
  },
}, {
  unit: "a log of 10,000 deltas made from JSON lines",
  size: 10_000,
  smokeSize: 200,
  runs: 10,
  sides: {
    "JSON.parse of each, into arrays": ({ size }) => {
      const lines = text(batchOf(size)), state = new Uint8Array(size * PAGE_BYTES);
      return {
        run() {
          for (const line of lines.trimEnd().split("\n")) {
            const { page, offset, bytes } = JSON.parse(line) as Line;
            state.set(Uint8Array.fromHex(bytes), (page - 1) * PAGE_BYTES + offset);
          }
        },
        result: () => state,
      };
    },
    "importLog": importing(),
  },
});
