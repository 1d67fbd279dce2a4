/** `mmsb validate` with a validator that measures in a process of its own, from the outside. */

import assert from "node:assert/strict";

Deno.test("`mmsb validate --only 7 --quick` prints its line and its figures", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-memory-" });
  try {
    const main = new URL("./main.ts", import.meta.url).href;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", main, "validate", "--only", "7", "--quick", "--results", folder],
      stdin: "null",
    }).output();
    const out = new TextDecoder().decode(stdout);
    // Whether it passes depends on the machine's other work: the pause is timed by the clock.
    assert.match(out, /^[✓✗] #7: {2}Memory \(/m, new TextDecoder().decode(stderr));
    assert.match(out, /^ {7}100,000 pages of 1 KiB in a process of its own, every byte written/m);
    const { benchmarks } = JSON.parse(await Deno.readTextFile(`${folder}/latest.json`));
    const { id, metrics, samples } = benchmarks[0];
    assert.equal(id, 7);
    const { wrongPages, wrongReuses, regrownBytes, pages, dataBytesPerPage } = metrics;
    assert.deepEqual({ wrongPages, wrongReuses, regrownBytes, pages, dataBytesPerPage }, {
      wrongPages: 0,
      wrongReuses: 0,
      regrownBytes: 0,
      pages: 100_000,
      dataBytesPerPage: 1024,
    });
    assert(metrics.bookkeepingBytesPerPage <= 32 && metrics.fragmentation <= 25);
    assert(metrics.bytesPerPage < 1300 && samples > pages);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
