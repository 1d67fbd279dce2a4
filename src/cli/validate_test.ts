/** `mmsb validate` with a validator that measures in a process of its own, from the outside. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";

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

Deno.test("`mmsb validate --data` ends with the right exit code and a line that says what to do", async () => {
  const folder = await Deno.makeTempDir({ prefix: "mmsb-validate-" });
  const mmsb = async (...args: string[]) => {
    const main = new URL("./main.ts", import.meta.url).href;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", main, "validate", ...args],
      cwd: folder,
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  };
  try {
    {
      await using bus = await StateBus.open({ dir: `${folder}/data` });
      const page = bus.createPage({ size: 8, name: "board" });
      for (let i = 1; i < 9; i++) await bus.commit(() => page.write(0, Uint8Array.of(i)));
    }
    await Deno.copyFile(`${folder}/data/meta.json`, `${folder}/meta`);
    await Deno.writeTextFile(`${folder}/none.ts`, "export const x = 1;");
    await Deno.writeTextFile(
      `${folder}/stuck.ts`,
      "export const invariants = { 'it ends': () => { for (;;); } };",
    );
    const stuck = ["--data", "data", "--only", "8", "--rules", "stuck.ts", "--results", "r"];
    const [clean, alone, missing, unused, within, taken, late, wrong, device, both] = await Promise
      .all([
        mmsb("--data", "data", "--only", "2", "--results", "r"),
        mmsb("--rules", "none.ts"),
        mmsb("--data", "data", "--rules", "gone.ts"),
        mmsb("--data", "data", "--rules", "none.ts", "--only", "4", "--results", "r"),
        mmsb("--data", "data", "--only", "2", "--results", "data/results"),
        mmsb("--only", "2", "--results", "none.ts"),
        mmsb(...stuck, "--rule-timeout-ms", "500"),
        mmsb(...stuck, "--rule-timeout-ms", "0"),
        mmsb("--device", "tpu"),
        mmsb("--device", "gpu", "--baseline", "b.json"),
      ]);
    assert.deepEqual([device.code, both.code], [2, 2]);
    assert.match(device.err, /usage: Cannot use --device "tpu": give one of cpu, gpu, auto/);
    assert.match(both.err, /usage: Cannot use --baseline with --device/);
    assert.deepEqual([late.code, wrong.code], [1, 2], late.err);
    assert.match(late.out, /^✗ #8: {2}Invariants .*500 ms/m);
    assert.match(wrong.err, /^mmsb: usage: .*rule-timeout-ms/m);
    assert.equal(clean.code, 0, clean.err);
    assert.deepEqual([alone.code, missing.code, unused.code, within.code], [2, 2, 1, 0]);
    assert.match(alone.err, /usage: Cannot use --rules without --data DIR/);
    assert.match(missing.err, /usage: Cannot use "gone.ts" as --rules: it does not exist/);
    assert.match(unused.out, /it exports no rules and no invariants/);
    // Before a validator starts, as a run takes its time.
    assert.deepEqual([taken.code, taken.out], [2, ""]);
    assert.match(taken.err, /^mmsb: usage: Cannot use "none.ts" as --results: it is no folder$/m);
    assert.match(within.err, /warning: Results are not kept/);
    assert.deepEqual([...Deno.readDirSync(`${folder}/data`)].map(({ name }) => name).sort(), [
      "lane-00",
      "lock",
      "meta.json",
    ]);
    const path = `${folder}/data/lane-00/0000000001.log`, bytes = await Deno.readFile(path);
    bytes[600] ^= 1;
    await Deno.writeFile(path, bytes);
    const damaged = await mmsb("--data", "data", "--results", "r");
    assert.equal(damaged.code, 3);
    assert.match(
      damaged.out,
      /^Data: data\n[^]*lane-00\/0000000001\.log, byte 600: 0x.* "board"[^]*: mmsb log salvage data/m,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
