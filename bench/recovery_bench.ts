/** A log without a checkpoint opened again: `deno bench -A bench/recovery_bench.ts`. */

import { StateBus, verifyLog } from "../mod.ts";
import { crc32 } from "node:zlib";
import { bench, type OpenSide, type Place } from "./_comparison.ts";
import {
  bareApply,
  bareMemory,
  busOfPages,
  emptyBatch,
  filledBatch,
  SEED,
  signed,
  stateHash,
  tickOf,
} from "./_work.ts";

const PAGE_BYTES = 64;
const TICKS = 16;

/** Batches that take turns; rows and pages are as many as the size. */
function batchesOf(size: number) {
  return Array.from({ length: 4 }, (_, i) => {
    return filledBatch(PAGE_BYTES, SEED + i, emptyBatch(size), size);
  });
}

async function written({ size }: Place, dir: string): Promise<void> {
  await using bus = await busOfPages(size, PAGE_BYTES, { dir });
  const batches = batchesOf(size);
  for (let tick = 0; tick < TICKS; tick++) await tickOf(bus, batches[tick % batches.length]);
}

function opening(): OpenSide {
  return async (place) => {
    const dir = place.folder();
    await written(place, dir);
    let state = "";
    return {
      async run(watch) {
        watch.start();
        const bus = await StateBus.open({ dir, readOnly: true });
        watch.end();
        if (state === "") state = stateHash(bus);
        await bus.close();
      },
      result: () => state,
    };
  };
}

/** Something said of the log: how many ticks it found to be whole. */
function checking(check: (dir: string) => Promise<string> | string): OpenSide {
  return async (place) => {
    const dir = place.folder();
    await written(place, dir);
    let said = "";
    return { run: async () => void (said = await check(dir)), result: () => said };
  };
}

/** Bytes of all segments, read and summed by the checksum that frames have. */
function checksums(dir: string): string {
  let bytes = 0, sum = 0;
  for (const { name, isDirectory } of Deno.readDirSync(dir)) {
    if (!isDirectory) continue;
    for (const file of Deno.readDirSync(`${dir}/${name}`)) {
      const content = Deno.readFileSync(`${dir}/${name}/${file.name}`);
      sum = crc32(content, sum);
      bytes += content.length;
    }
  }
  return bytes > 0 && sum !== 0 ? "read" : "nothing";
}

export default bench({
  unit: "a log of 1,048,576 deltas of 16 bytes opened",
  size: 65_536,
  smokeSize: 256,
  runs: 6,
  sides: {
    "bare loop, nothing read": ({ size }) => {
      const words = bareMemory(PAGE_BYTES, size), views = batchesOf(size).map(signed);
      return {
        run() {
          for (let tick = 0; tick < TICKS; tick++) {
            const { page, offset, start, payload } = views[tick % views.length];
            bareApply(words, payload, page, offset, start, size, PAGE_BYTES / 4);
          }
        },
        result: () => new Uint8Array(words.buffer),
      };
    },
    "StateBus.open": opening(),
  },
}, {
  unit: "a log of 1,048,576 deltas of 16 bytes checked",
  size: 65_536,
  smokeSize: 256,
  runs: 6,
  sides: {
    "files read, one checksum": checking(checksums),
    "verifyLog, no bus": checking(async (dir) => {
      const { problems, ticks } = await verifyLog(dir);
      return `${problems.length === 0} ${ticks}`;
    }),
    "bus.verify, replayed and compared": checking(async (dir) => {
      await using bus = await StateBus.open({ dir, readOnly: true });
      const { ok } = await bus.verify();
      return `${ok} ${bus.tickNumber}`;
    }),
  },
  others: ["verifyLog, no bus", "bus.verify, replayed and compared"],
});
