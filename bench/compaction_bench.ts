/** A log in which every byte was overwritten ten times: `deno bench -A bench/compaction_bench.ts`. */

import { StateBus } from "../mod.ts";
import { bench, type OpenSide } from "./_comparison.ts";
import { copy, fill, OPTIONS } from "./_subjects_compaction.ts";
import { stateHash } from "./_work.ts";

type Act = (bus: StateBus) => Promise<unknown>;

/** Opens a copy of the log; the act counts, or the opening. */
function onCopies(act: Act | "open"): OpenSide {
  return async ({ size, folder }) => {
    const origin = `${folder()}/origin`, copies = folder();
    await fill(origin, size);
    let runs = 0, state = "";
    return {
      async run(watch) {
        const dir = `${copies}/${runs++}`;
        copy(origin, dir);
        if (act === "open") watch.start();
        const bus = await StateBus.open({ dir, ...OPTIONS });
        if (act !== "open") {
          watch.start();
          await act(bus);
        }
        watch.end();
        await bus.close();
        const again = await StateBus.open({ dir, ...OPTIONS, readOnly: true });
        state = stateHash(again);
        await again.close();
        Deno.removeSync(dir, { recursive: true });
      },
      result: () => state,
    };
  };
}

export default bench({
  unit: "a log of 1 MiB of state, each byte of it written ten times",
  size: 256,
  smokeSize: 8,
  runs: 4,
  sides: {
    "opened, all replayed": onCopies("open"),
    "merged by bus.compact": onCopies((bus) => bus.compact()),
  },
});
